//! One connection, from its handshake to its last stream.

use super::super::accept;
use super::super::connection::{Connection, Order, Protocol, Secured};
use super::super::h2::StreamTasks;
use super::super::serve::listed;
use super::super::transport::Transport as Wired;
use super::super::worker::{Beginning, Permit, Refusal, Worker};
use super::super::{Handler, Secrets};
use super::endpoint::{Arriving, server_config};
use super::respond::{Exchanging, answer};
use super::transport::{Exchange, Transport, code};
use bytes::Bytes;
use h3::error::Code;
use hyper::rt::Executor;
use quinn::crypto::rustls::HandshakeData;
use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// From the first packet to the end of the handshake, at most.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Clients above the limit that wait for room at one worker, beside those over TCP.
const WAITING: usize = 64;
/// How long a closed connection is kept at the end of its worker: three times what an acknowledgement may take.
const CLOSING: Duration = Duration::from_millis(250);
/// Heads of one connection that are read at once: each may have its bytes kept until it is whole. Others wait.
const HEADS: usize = 8;
/// Requests that a client gives up beyond those that are answered, until its connection ends (RFC 9114 §10.5).
const GIVEN_UP: u32 = 100;

/// Accepts connections for one worker until the listener is gone.
pub(in crate::server) async fn accept<H: Handler>(
    mut arriving: mpsc::Receiver<Arriving>,
    worker: Rc<Worker>,
    handler: Rc<H>,
) {
    while let Some(next) = arriving.recv().await {
        admit(next, &worker, &handler);
    }
}

/// Ends what a worker still has when it must stop, and lets that be said to clients.
pub(in crate::server) async fn cut(worker: &Rc<Worker>) {
    let mut is_any = false;
    worker.each(|connection| {
        if connection.protocol() == Protocol::Http3 {
            connection.order(Order::Abort);
            is_any = true;
        }
    });
    if is_any {
        tokio::time::sleep(CLOSING + CLOSING / 2).await;
    }
}

fn admit<H: Handler>(arriving: Arriving, worker: &Rc<Worker>, handler: &Rc<H>) {
    let peer = arriving.incoming.remote_address();
    if worker.shared.is_proxy(peer.ip()) {
        // Nothing would say whose connection it is.
        return arriving.incoming.refuse();
    }
    match worker.permit(peer.ip()) {
        Ok(permit) => begin(arriving, peer, worker, handler, permit),
        Err(Refusal::Full | Refusal::Memory) if worker.waiting.get() < WAITING => {
            worker.waiting.set(worker.waiting.get() + 1);
            let (worker, handler) = (Rc::clone(worker), Rc::clone(handler));
            tokio::task::spawn_local(async move {
                match worker.permit_soon(peer.ip()).await {
                    Ok(permit) => begin(arriving, peer, &worker, &handler, permit),
                    Err(_) => arriving.incoming.refuse(),
                }
                worker.waited();
            });
        }
        Err(refusal) => {
            worker.count_refused(refusal);
            arriving.incoming.refuse();
        }
    }
}

/// Begins to serve a connection that was counted in.
fn begin<H: Handler>(
    arriving: Arriving,
    peer: SocketAddr,
    worker: &Rc<Worker>,
    handler: &Rc<H>,
    mut permit: Permit,
) {
    let charged =
        permit.charge.as_mut().is_some_and(|charge| charge.begin_tls() && charge.begin_http3());
    let secrets = worker.shared.secrets.as_ref().map(|secrets| secrets.load_full());
    let Some(secrets) = secrets.filter(|_| charged) else { return arriving.incoming.refuse() };
    let (worker, handler) = (Rc::clone(worker), Rc::clone(handler));
    let beginning = worker.begin();
    tokio::task::spawn_local(async move {
        let shaken = Box::pin(shake_hands(arriving, peer, &secrets, &worker)).await;
        let Some((quic, sni)) = shaken else { return };
        let secured = Secured { sni, certificates: secrets.certificates() };
        let connection = connection(&quic, peer, secured, &mut permit, worker);
        let _permit = permit;
        Box::pin(serve(handler, connection, beginning, quic)).await;
    });
}

async fn shake_hands(
    arriving: Arriving,
    peer: SocketAddr,
    secrets: &Secrets,
    worker: &Worker,
) -> Option<(quinn::Connection, Option<Box<str>>)> {
    let Arriving { incoming, handshake: _handshake } = arriving;
    let config = server_config(secrets, &worker.limits());
    let connecting = incoming.accept_with(config);
    let shaken = async { connecting?.await };
    let quic = match tokio::time::timeout(HANDSHAKE, shaken).await {
        Ok(Ok(quic)) => quic,
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "the QUIC handshake failed");
            return None;
        }
        Err(_) => {
            tracing::debug!(%peer, "the QUIC handshake took too long");
            return None;
        }
    };
    let data = quic.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    let sni = data.and_then(|data| data.server_name);
    Some((quic, sni.map(|name| name.to_ascii_lowercase().into_boxed_str())))
}

fn connection(
    quic: &quinn::Connection,
    peer: SocketAddr,
    secured: Secured,
    permit: &mut Permit,
    worker: Rc<Worker>,
) -> Rc<Connection> {
    let listen = worker.shared.http3.address();
    let local = quic.local_ip().map_or(listen, |ip| SocketAddr::new(ip, listen.port()));
    let connection = accept::connection(Wired::Quic, peer, local, Some(secured), permit, worker);
    connection.protocol.set(Protocol::Http3);
    connection
}

/// What there is to do next on a connection.
#[allow(clippy::large_enum_variant, reason = "there is one at a time, for a moment")]
enum Next {
    Stream(Exchange),
    /// The client is told that nothing further is taken.
    Finish,
    /// It ends: everything is answered, or it must.
    End,
}

async fn serve<H: Handler>(
    handler: Rc<H>,
    connection: Rc<Connection>,
    beginning: Beginning,
    quic: quinn::Connection,
) {
    let _listed = listed(&connection, beginning).await;
    let limits = connection.worker.limits();
    let most = limits.header_bytes as u64;
    let mut builder = h3::server::builder();
    builder.max_field_section_size(most).send_grease(false);
    let building = builder.build::<_, Bytes>(Transport::new(quic.clone()));
    let http = Box::pin(tokio::time::timeout(limits.header_timeout, building)).await;
    let (given_up, heads) = (Rc::default(), Rc::new(Semaphore::new(HEADS)));
    let connection = &connection;
    let serving = http.map(|http| {
        http.map(|http| Serving { handler, connection, quic: &quic, http, given_up, heads })
    });
    let serving = match serving {
        Ok(Ok(mut serving)) => {
            serving.run().await;
            Some(serving)
        }
        _ => None,
    };
    connection.streams.abort_all();
    close(&quic, &connection.worker).await;
    drop(serving);
    connection.task.borrow_mut().take();
}

/// Closes a connection. At the end of the worker, which is that of the task that sends for the connection, it is kept
/// for a moment: packets that cross are answered by the same, and not with a reset (RFC 9000 §10.2).
async fn close(quic: &quinn::Connection, worker: &Worker) {
    let is_new = quic.close_reason().is_none();
    quic.close(code(Code::H3_NO_ERROR), b"");
    if is_new && worker.draining() {
        tokio::time::sleep(CLOSING).await;
    }
}

struct Serving<'a, H> {
    handler: Rc<H>,
    connection: &'a Rc<Connection>,
    quic: &'a quinn::Connection,
    http: h3::server::Connection<Transport, Bytes>,
    given_up: Rc<Cell<u32>>,
    heads: Rc<Semaphore>,
}

impl<H: Handler> Serving<'_, H> {
    async fn run(&mut self) {
        let mut has_told = false;
        loop {
            match self.next(has_told).await {
                // After GOAWAY its client takes it for not processed (RFC 9114 §5.2).
                Next::Stream(exchange) if has_told => reject(exchange),
                Next::Stream(exchange) => self.begin(exchange),
                Next::Finish => {
                    has_told = true;
                    // The number that it has is that of the first request that is not processed.
                    if self.http.shutdown(1).await.is_err() {
                        return;
                    }
                }
                Next::End => return,
            }
            if self.given_up.get() > GIVEN_UP {
                return self
                    .quic
                    .close(code(Code::H3_EXCESSIVE_LOAD), b"too many requests are given up");
            }
        }
    }

    async fn next(&mut self, has_told: bool) -> Next {
        let connection = self.connection;
        poll_fn(|cx| {
            match connection.ordered() {
                Order::None => {}
                Order::Finish if !has_told => return Poll::Ready(Next::Finish),
                Order::Finish if connection.streams.is_empty() => return Poll::Ready(Next::End),
                Order::Finish => {}
                Order::Abort => return Poll::Ready(Next::End),
            }
            self.http.poll_accept_request_stream(cx).map(|accepted| match accepted {
                Ok(Some(exchange)) => Next::Stream(exchange),
                Ok(None) | Err(_) => Next::End,
            })
        })
        .await
    }

    /// A request comes: what answers it is a task of its own, which the sweeper can end.
    fn begin(&self, mut exchange: Exchange) {
        let Some((incoming, shown)) = exchange.take() else { return };
        let stream = self.connection.streams.begin();
        let exchanging = Exchanging {
            connection: Rc::clone(self.connection),
            quic: self.quic.clone(),
            stream,
            incoming,
            shown,
            is_whole: exchange.is_whole(),
            stopped: Box::pin(exchange.stopped()),
            given_up: Rc::clone(&self.given_up),
            heads: Rc::clone(&self.heads),
        };
        let frames = h3::frame::FrameStream::new(h3::stream::BufRecvStream::new(exchange));
        let resolver = self.http.create_resolver(frames);
        let handler = Rc::clone(&self.handler);
        StreamTasks(Rc::clone(self.connection)).execute(answer(handler, exchanging, resolver));
    }
}

/// Refuses a stream so that its client may ask elsewhere.
fn reject(mut exchange: Exchange) {
    h3::quic::SendStream::reset(&mut exchange, Code::H3_REQUEST_REJECTED.value());
    if let Some((mut incoming, _)) = exchange.take() {
        // An error says that it is closed already.
        let _ = incoming.stop(code(Code::H3_REQUEST_REJECTED));
    }
}
