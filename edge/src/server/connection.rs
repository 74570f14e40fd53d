//! One client connection as the handler sees it, and the cells through which connection task, I/O,
//! guard and sweeper of one worker share it. Everything here stays on that worker's thread.

use super::charge::ConnectionCharge;
use super::clients::Share;
use super::h2::Streams;
use super::tls::Certificates;
use super::upgrade::{State, Upgrade};
use super::upload::Upload;
use super::wire::Wire;
use super::worker::Worker;
use crate::error::ClientError;
use crate::host::KnownHost;
use http::{HeaderMap, StatusCode};
use std::cell::{Cell, RefCell};
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
    local: SocketAddr,
    secured: Option<Secured>,
    share: RefCell<Option<Share>>,
    pub(super) worker: Rc<Worker>,
    pub(super) protocol: Cell<Protocol>,
    /// The last Host whose canonical form is its beginning, and how much of it that is.
    pub(super) known_host: Cell<KnownHost<usize>>,
    /// HTTP/1: the ordinal of the request in hand, from 1.
    started: Cell<u64>,
    /// HTTP/1: whether the request in hand came as HTTP/1.0.
    http10: Cell<bool>,
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
            local,
            secured,
            share: RefCell::new(share),
            protocol: Cell::new(Protocol::Http1),
            known_host: Cell::default(),
            started: Cell::new(0),
            http10: Cell::new(false),
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

    /// What the guard, or the sweeper, found wrong with the request in hand. Asked at first it
    /// says whether the request is a stand-in; asked again after the request's body ended in an
    /// error, it says why. HTTP/1 only: with HTTP/2 the protocol itself answers.
    pub(crate) fn defect(&self) -> Option<ClientError> {
        if self.protocol.get() == Protocol::Http2 {
            return None;
        }
        self.wire.borrow().defect_of(self.started.get())
    }

    /// The request line of what the request in hand stands for, if the guard refused its head.
    pub(crate) fn refused_line(&self) -> Option<Box<[u8]>> {
        if self.protocol.get() == Protocol::Http2 {
            return None;
        }
        self.wire.borrow().refused_line(self.started.get()).map(Box::from)
    }

    /// Sends an interim response (1xx, such as 103 of RFC 8297) ahead of the final one, without
    /// waiting. `false` when it was dropped: HTTP/1.0 and HTTP/2 clients (hyper cannot send it),
    /// a status that is not 1xx or is 101, or a socket that takes nothing now.
    pub(crate) fn interim(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let fit = self.protocol.get() == Protocol::Http1
            && !self.http10.get()
            && status.is_informational()
            && status != StatusCode::SWITCHING_PROTOCOLS;
        fit && self.wire.borrow_mut().send_interim(status, headers)
    }

    /// Closes the connection when the response in hand is sent; HTTP/2 connections finish their
    /// streams first. To be called before the handler's future ends.
    pub(crate) fn close_after(&self) {
        if self.protocol.get() == Protocol::Http2 {
            self.order(Order::Finish);
        } else {
            self.closing.set(true);
        }
    }

    /// The request's body, bounded by `limits.body_bytes` and with the reason at hand when it
    /// breaks off. Use it wherever a request body is read.
    pub(crate) fn upload(self: &Rc<Self>, body: hyper::body::Incoming) -> Upload {
        Upload::new(body, Rc::clone(self))
    }

    /// The connection itself, once a 101 response went out. To be called before the handler's
    /// future ends with that response (HTTP/1.1 only); the returned future is then to be polled
    /// in a task of its own, and resolves to `None` when the connection ended otherwise.
    pub(crate) fn upgrade(self: &Rc<Self>) -> Upgrade {
        Upgrade::new(Rc::clone(self))
    }

    /// Counts the connection for no client from now on: a node sends on it what many clients ask for.
    pub(crate) fn is_of_node(&self) {
        drop(self.share.take());
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
            let _ = self.wire.borrow().transport.tcp().set_zero_linger();
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

    /// Has it rest, unless a request comes first.
    pub(super) fn rest(&self) {
        if self.rest.get() == Rest::No {
            self.rest.set(Rest::Wanted);
            self.wake();
        }
    }

    /// Begins to rest if that is wanted and everything of the last response was sent; whether it does.
    pub(super) fn begin_rest(&self) -> bool {
        let rests = self.rest.get() == Rest::Wanted
            && self.is_idle()
            && !self.wire.borrow().outgoing.blocked;
        if rests {
            self.rest.set(Rest::Resting);
            #[cfg(test)]
            self.worker.shared.rests.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        rests
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
