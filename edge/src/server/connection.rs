//! One client connection as the handler sees it, and the cells through which connection task, I/O,
//! guard and sweeper of one worker share it. Everything here stays on that worker's thread.

use super::charge::ConnectionCharge;
use super::clients::Share;
use super::h2::Streams;
use super::received::Received;
use super::stand_in::StandIn;
use super::tls::Certificates;
use super::upgrade::{State, Upgrade};
use super::upload::Upload;
use super::wire::Wire;
use super::worker::Worker;
use crate::error::ClientError;
use crate::host::KnownHost;
use crate::outbox::Outbox;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;
use weir_rules::client_share::Prefix;

/// Which protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.0 and HTTP/1.1.
    Http1,
    /// HTTP/2, by ALPN or by prior knowledge.
    Http2,
    /// HTTP/3, over QUIC.
    #[cfg(feature = "http3")]
    Http3,
}

/// What the TLS handshake settled.
#[derive(Debug)]
pub(crate) struct Secured {
    /// The server name the client asked for, lower case.
    pub(super) sni: Option<Box<str>>,
    /// The certificates in force at the handshake.
    pub(super) certificates: Arc<Certificates>,
}

/// How long a client whose HTTP/1 connection is to finish has for the first byte of its first request, or of the
/// next one after an answer: it may have sent that before it could know.
pub(super) const LAST_REQUEST: Duration = Duration::from_secs(2);

/// What others want of a connection's task; it looks at each poll.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// Go on.
    None,
    /// Finish what is running, then close.
    Finish,
    /// End now.
    Abort,
}

/// Whether a connection has given up what it needs for requests, until the next one comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rest {
    #[default]
    No,
    /// It is to, when it can.
    Wanted,
    Resting,
}

/// One client connection. Shared by `Rc` between the handler's futures on it.
pub(crate) struct Connection {
    peer: SocketAddr,
    /// Its address as a field value, once that was asked for.
    peer_field: OnceCell<HeaderValue>,
    local: SocketAddr,
    secured: Option<Secured>,
    share: RefCell<Option<Share>>,
    /// Its proxy has named no client: only the node itself may ask on it.
    own: Cell<bool>,
    pub(super) worker: Rc<Worker>,
    pub(super) protocol: Cell<Protocol>,
    /// The last Host whose canonical form is its beginning, and how much of it that is.
    pub(super) known_host: Cell<KnownHost<usize>>,
    /// HTTP/1: the ordinal of the request in hand, from 1.
    started: Cell<u64>,
    /// HTTP/1: whether the request in hand came as HTTP/1.0.
    http10: Cell<bool>,
    /// HTTP/1: what may stand in for a request, and the ordinal of that.
    stand_in: RefCell<Option<(u64, StandIn)>>,
    /// Requests whose response is not finished.
    pub(super) running: Cell<u32>,
    /// Worker time (ms) at which the last of them finished.
    pub(super) idle_since: Cell<u64>,
    closing: Cell<bool>,
    /// The response in hand was a 101.
    pub(super) switched: Cell<bool>,
    pub(super) upgrade: RefCell<State>,
    pub(super) streams: Streams,
    order: Cell<Order>,
    /// What it has of `memory.connections`.
    pub(super) memory: RefCell<ConnectionCharge>,
    rest: Cell<Rest>,
    pub(super) task: RefCell<Option<Waker>>,
    pub(super) wire: RefCell<Wire>,
}

impl Connection {
    pub(super) fn new(
        peer: SocketAddr,
        local: SocketAddr,
        secured: Option<Secured>,
        share: Option<Share>,
        charge: ConnectionCharge,
        wire: Wire,
        worker: Rc<Worker>,
    ) -> Self {
        Self {
            peer,
            peer_field: OnceCell::new(),
            local,
            secured,
            share: RefCell::new(share),
            own: Cell::new(false),
            protocol: Cell::new(Protocol::Http1),
            known_host: Cell::default(),
            started: Cell::new(0),
            http10: Cell::new(false),
            stand_in: RefCell::default(),
            running: Cell::new(0),
            idle_since: Cell::new(worker.now()),
            closing: Cell::new(false),
            switched: Cell::new(false),
            upgrade: RefCell::default(),
            streams: Streams::default(),
            order: Cell::new(Order::None),
            memory: RefCell::new(charge),
            rest: Cell::default(),
            task: RefCell::new(None),
            wire: RefCell::new(wire),
            worker,
        }
    }

    /// The client's address, as the socket says it.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// That address without its port, as a field value.
    pub(crate) fn peer_field(&self) -> &HeaderValue {
        self.peer_field.get_or_init(|| {
            let address = HeaderValue::try_from(self.peer.ip().to_canonical().to_string());
            // An address is a value.
            address.unwrap_or(HeaderValue::from_static("unknown"))
        })
    }

    /// Our address.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether the client connected over TLS.
    pub(crate) fn tls(&self) -> bool {
        self.secured.is_some()
    }

    /// The protocol spoken.
    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol.get()
    }

    /// Whether the client named another server in TLS than `host` (lower case, without port), and
    /// no certificate configured here is valid for `host`: then this is not the place to ask for
    /// it (421, RFC 9110 §15.5.20). Without SNI, or in the clear, nothing can be misdirected.
    pub(crate) fn misdirected(&self, host: &str) -> bool {
        match &self.secured {
            Some(Secured { sni: Some(sni), certificates }) => {
                **sni != *host && !certificates.cover(host)
            }
            _ => false,
        }
    }

    /// Tells a client over TLS by Alt-Svc (RFC 7838 §3) that it may come by HTTP/3, in place of what the origin says:
    /// that is not here. Nothing is changed in the clear, and where clients come by a proxy, trusted or by the PROXY
    /// protocol: they may not reach this node.
    #[cfg(feature = "http3")]
    pub(crate) fn advertise(&self, headers: &mut HeaderMap) {
        let shared = &self.worker.shared;
        let by_proxy =
            || !shared.proxies.load().is_empty() || shared.clients.is_trusted(self.peer.ip());
        if !self.tls() || by_proxy() {
            return;
        }
        let Some(alternative) = shared.http3.alternative() else { return };
        match self.protocol.get() {
            Protocol::Http3 => drop(headers.remove(http::header::ALT_SVC)),
            _ => drop(headers.insert(http::header::ALT_SVC, alternative)),
        }
    }

    /// Whether the client is connected over TLS and a certificate here is valid for `host` (lower case, without
    /// port).
    pub(crate) fn vouches_for(&self, host: &str) -> bool {
        self.secured.as_ref().is_some_and(|secured| secured.certificates.cover(host))
    }

    /// Where bodies are put that the kernel sends from the page cache; `None` if everything must pass through
    /// the program: over TLS, and with HTTP/2.
    pub(crate) fn outbox(&self) -> Option<Rc<Outbox>> {
        let is_clear = !self.tls() && self.protocol.get() == Protocol::Http1;
        is_clear.then(|| Rc::clone(&self.wire.borrow().outbox))
    }

    /// What the guard, or the sweeper, found wrong with the request in hand. Asked at first it
    /// says whether the request is a stand-in; asked again after the request's body ended in an
    /// error, it says why. HTTP/1 only: with the others the protocol itself answers.
    pub(crate) fn defect(&self) -> Option<ClientError> {
        if self.protocol.get() != Protocol::Http1 {
            return None;
        }
        self.wire.borrow().defect_of(self.started.get())
    }

    /// The request line of what the request in hand stands for, if the guard refused its head.
    pub(crate) fn refused_line(&self) -> Option<Box<[u8]>> {
        if self.protocol.get() != Protocol::Http1 {
            return None;
        }
        self.wire.borrow().refused_line(self.started.get()).map(Box::from)
    }

    /// Sends an interim response (1xx, such as 103 of RFC 8297) ahead of the final one, without
    /// waiting. `false` when it was dropped: clients of HTTP/1.0, HTTP/2 (hyper cannot send it) and HTTP/3,
    /// a status that is not 1xx or is 101, or a socket that takes nothing now.
    pub(crate) fn interim(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let fit = self.protocol.get() == Protocol::Http1
            && !self.http10.get()
            && status.is_informational()
            && status != StatusCode::SWITCHING_PROTOCOLS;
        fit && self.wire.borrow_mut().send_interim(status, headers)
    }

    /// Closes the connection when the response in hand is sent; HTTP/2 connections finish their streams first, and
    /// HTTP/3 connections go on: no stream has a part in another. To be called before the handler's future ends.
    pub(crate) fn close_after(&self) {
        match self.protocol.get() {
            Protocol::Http1 => self.closing.set(true),
            Protocol::Http2 => self.order(Order::Finish),
            #[cfg(feature = "http3")]
            Protocol::Http3 => {}
        }
    }

    /// The request's body, bounded by `limits.body_bytes` and with the reason at hand when it
    /// breaks off. Use it wherever a request body is read.
    pub(crate) fn upload(self: &Rc<Self>, body: Received) -> Upload {
        Upload::new(body, Rc::clone(self))
    }

    /// The connection itself, once a 101 response went out. To be called before the handler's
    /// future ends with that response (HTTP/1.1 only); the returned future is then to be polled
    /// in a task of its own, and resolves to `None` when the connection ended otherwise.
    pub(crate) fn upgrade(self: &Rc<Self>) -> Upgrade {
        Upgrade::new(Rc::clone(self))
    }

    /// The request in hand goes to an upstream; whether there is memory for what the connection needs meanwhile.
    pub(crate) fn begin_work(&self) -> bool {
        self.protocol.get() != Protocol::Http1 || self.memory.borrow_mut().begin_work()
    }

    /// The request in hand has no body and will wait: if that takes long, the connection rests meanwhile.
    pub(crate) fn may_rest(&self, method: &Method, headers: &HeaderMap) {
        if self.protocol.get() == Protocol::Http1 {
            let stand_in = StandIn::of(method, headers);
            *self.stand_in.borrow_mut() = stand_in.map(|stand_in| (self.started.get(), stand_in));
        }
    }

    /// Whether it rests.
    pub(crate) fn rests(&self) -> bool {
        self.rest.get() == Rest::Resting
    }

    /// Counts the connection for no client from now on: a node sends on it what many clients ask for.
    pub(crate) fn is_of_node(&self) {
        drop(self.share.take());
    }

    /// Takes it for one of the node's own: who should have named a client on it has not.
    pub(super) fn is_for_own(&self) {
        self.own.set(true);
    }

    /// Whether only the node itself may ask on it.
    #[inline]
    pub(crate) fn is_of_own(&self) -> bool {
        self.own.get()
    }

    /// Takes note of the headers of a request of a sender who is not trusted: if the connection is one
    /// of over half of all, they may show that it is a proxy's.
    pub(crate) fn note_headers(&self, headers: &HeaderMap) {
        if self.share.borrow().as_ref().is_some_and(Share::is_over_half) {
            self.worker.shared.clients.advise(self.peer.ip(), headers);
        }
    }

    /// The prefix that it counts for and that is bound by the rule of shares, and how many
    /// connections that has.
    pub(super) fn bound_share(&self) -> Option<(Prefix, u64)> {
        let share = self.share.borrow();
        share.as_ref().filter(|share| share.is_bound()).map(|share| (share.prefix(), share.total()))
    }

    /// A request goes to the handler.
    pub(super) fn begin(&self, http10: bool) {
        self.started.set(self.started.get() + 1);
        self.http10.set(http10);
        self.closing.set(self.order.get() == Order::Finish);
        self.rest.set(Rest::No);
        self.running.set(self.running.get() + 1);
    }

    /// The handler answered the request in hand.
    pub(super) fn answered(&self, switches: bool) {
        self.switched.set(switches);
        if !switches && self.protocol.get() == Protocol::Http1 && self.wire.borrow_mut().resume() {
            // hyper waits for the socket, but the bytes are here.
            self.wake();
        }
    }

    /// A response broke off. Where the end of the connection marks the end of a body (HTTP/1.0),
    /// only a reset tells the client that there is more (RFC 9112 §8).
    pub(super) fn cut_short(&self) {
        if self.http10.get() {
            self.wire.borrow().transport.reset_at_close();
        }
    }

    /// A response is finished or gone.
    pub(super) fn end(&self) {
        let running = self.running.get().saturating_sub(1);
        self.running.set(running);
        if running == 0 {
            self.idle_since.set(self.worker.now());
        }
    }

    /// Whether it has had a request.
    pub(super) fn has_asked(&self) -> bool {
        self.started.get() > 0
    }

    /// Whether a request may be on its way, over HTTP/1, that its client sent before it could know that the
    /// connection is to end: it has had no answer yet, or the last one a moment ago. The answer to that request
    /// says so.
    pub(super) fn may_be_asked(&self) -> bool {
        let idle = self.worker.now().saturating_sub(self.idle_since.get());
        let recently = Duration::from_millis(idle) < LAST_REQUEST;
        self.protocol.get() == Protocol::Http1
            && (!self.has_asked() || self.running.get() > 0 || recently)
    }

    /// Whether the response in hand must say `Connection: close`.
    pub(super) fn closing(&self) -> bool {
        self.closing.get()
    }

    /// Whether it waits for a request of which no byte is here, and is not about to end.
    pub(super) fn is_idle(&self) -> bool {
        self.running.get() == 0
            && self.order.get() == Order::None
            && !self.upgraded()
            && self.wire.borrow().head_since().is_none()
    }

    /// Has it rest as soon as it can, unless a request comes first.
    pub(super) fn rest(&self) {
        if self.rest.get() == Rest::No {
            self.rest.set(Rest::Wanted);
            self.wake();
        }
    }

    /// Begins to rest if that is wanted and everything of the last response was sent, between requests or while
    /// one `is_awaited`; whether it does.
    pub(super) fn begin_rest(&self, is_awaited: impl FnOnce() -> bool) -> bool {
        let rests = self.rest.get() == Rest::Wanted
            && !self.wire.borrow().outgoing.blocked
            && (self.is_idle() || (self.may_rest_in_between() && is_awaited()));
        if rests {
            self.rest.set(Rest::Resting);
            self.memory.borrow_mut().rest();
            #[cfg(test)]
            self.worker.shared.rests.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        rests
    }

    /// Whether the request in hand is all that there is, and something may stand in for it.
    fn may_rest_in_between(&self) -> bool {
        let of_this = |stand_in: &Option<(u64, _)>| matches!(stand_in, Some((at, _)) if *at == self.started.get());
        self.running.get() == 1
            && self.order.get() == Order::None
            && of_this(&self.stand_in.borrow())
            && self.wire.borrow().is_quiet()
    }

    /// It has rested while a request waited for its answer, which is here: what stands in for the request is to be
    /// read next.
    pub(super) fn resume(&self) {
        self.rest.set(Rest::No);
        self.memory.borrow_mut().resume();
        if let Some((_, stand_in)) = self.stand_in.take() {
            self.wire.borrow_mut().read_next(&stand_in.head(self.http10.get()));
        }
    }

    pub(super) fn ordered(&self) -> Order {
        self.order.get()
    }

    /// Gives the connection's task an order and wakes it. An order is never taken back.
    pub(super) fn order(&self, order: Order) {
        if order > self.order.get() {
            self.order.set(order);
        }
        // A response whose head is still to come says it.
        let is_http1 = self.protocol.get() == Protocol::Http1;
        if order == Order::Finish && is_http1 && self.running.get() > 0 {
            self.closing.set(true);
        }
        self.wake();
    }

    /// Has the connection's task polled.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.task.borrow() {
            waker.wake_by_ref();
        }
    }
}
