//! Accepting connections: the cap, the socket's options, TLS, and surviving a lack of descriptors.

use super::Handler;
use super::charge::ConnectionCharge;
use super::connection::{Connection, Protocol, Secured};
use super::guard::Guard;
use super::head::Bounds;
use super::introduced::{self, Introduction};
use super::serve::serve;
use super::tls;
use super::transport::Transport;
use super::wire::Wire;
use super::worker::{Beginning, Permit, Refusal, Worker};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use weir_rules::outcome::{Handling, Outcome};

/// Connections the kernel completes ahead of us; it cuts this down to its own bound.
const BACKLOG: i32 = 8192;
/// How long to wait when the process or the machine is out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);
/// From the TCP connection to the end of the TLS handshake, at most.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// When the kernel asks a silent peer whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// Clients above the limit that wait for room at one worker, or are told that there is none, and for how
/// long they are told. As many others are told that their prefix holds too large a share: they take no
/// place of the former.
const WAITING: usize = 64;
const FAREWELL: Duration = Duration::from_millis(500);

/// A listening socket that [`accept`] can be run on by each worker.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).map_err(named)?;
    socket.set_reuse_address(true).map_err(named)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // One socket for both families, whatever the system's default.
        socket.set_only_v6(false).map_err(named)?;
    }
    socket.set_nonblocking(true).map_err(named)?;
    socket.bind(&address.into()).map_err(named)?;
    socket.listen(BACKLOG).map_err(named)?;
    Ok(socket.into())
}

/// Connections of proxies at one worker of which the PROXY protocol's header is still to come. More are closed.
const INTRODUCED: usize = 4096;

/// By which way a connection came.
#[derive(Clone, Copy)]
struct Entry {
    /// To the TLS listener.
    secure: bool,
    /// From a proxy of this machine, and nobody was named: it may be the node's own, and is of use to nobody else.
    is_own: bool,
}

impl Entry {
    fn of(secure: bool) -> Self {
        Self { secure, is_own: false }
    }
}

/// Accepts for one worker until it is dropped.
pub(super) async fn accept<H: Handler>(
    listener: TcpListener,
    worker: Rc<Worker>,
    handler: Rc<H>,
    secure: bool,
) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) if worker.shared.is_proxy(peer.ip()) => {
                introduce(socket, peer, &worker, &handler, secure);
            }
            Ok((socket, peer)) => admit(socket, peer, &worker, &handler, Entry::of(secure)),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections, trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Errors of a connection that was gone before it was accepted (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
    )
}

/// Reads whose connection it is, and admits that client. A proxy that does not say so in the time of a request's head
/// is not served.
fn introduce<H: Handler>(
    mut socket: TcpStream,
    peer: SocketAddr,
    worker: &Rc<Worker>,
    handler: &Rc<H>,
    secure: bool,
) {
    if worker.introduced.get() >= INTRODUCED {
        return worker.count_refused(Refusal::Full);
    }
    worker.introduced.set(worker.introduced.get() + 1);
    let (worker, handler) = (Rc::clone(worker), Rc::clone(handler));
    let beginning = worker.begin();
    tokio::task::spawn_local(async move {
        let bound = worker.limits().header_timeout;
        // Boxed, so that what is admitted has no room for it.
        let read = Box::pin(tokio::time::timeout(bound, introduced::read(&mut socket))).await;
        worker.introduced.set(worker.introduced.get() - 1);
        let (client, is_own) = match read {
            Ok(Ok(Introduction::For(client))) => (client, false),
            Ok(Ok(Introduction::Own)) => (peer, false),
            Ok(Ok(Introduction::None)) if peer.ip().to_canonical().is_loopback() && !secure => {
                (peer, true)
            }
            Ok(Ok(Introduction::None)) => {
                return tracing::debug!(%peer, "a connection without the PROXY protocol");
            }
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "the PROXY protocol failed"),
            Err(_) => return tracing::debug!(%peer, "the PROXY protocol took too long"),
        };
        admit(socket, client, &worker, &handler, Entry { secure, is_own });
        drop(beginning);
    });
}

fn admit<H: Handler>(
    socket: TcpStream,
    peer: SocketAddr,
    worker: &Rc<Worker>,
    handler: &Rc<H>,
    entry: Entry,
) {
    match worker.permit(peer.ip()) {
        Ok(permit) => begin(socket, peer, worker, handler, entry, permit),
        Err(refusal @ (Refusal::Full | Refusal::Memory)) => {
            wait(socket, peer, worker, handler, entry, refusal);
        }
        Err(Refusal::ClientShare) => turn_away(socket, worker, entry.secure),
    }
}

/// Begins to serve a connection that was counted in.
fn begin<H: Handler>(
    socket: TcpStream,
    peer: SocketAddr,
    worker: &Rc<Worker>,
    handler: &Rc<H>,
    entry: Entry,
    mut permit: Permit,
) {
    let _ = socket.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
    let _ = SockRef::from(&socket).set_tcp_keepalive(&keepalive);
    let worker = Rc::clone(worker);
    let handler = Rc::clone(handler);
    let beginning = worker.begin();
    if entry.secure {
        tokio::task::spawn_local(serve_tls(socket, peer, beginning, worker, handler, permit));
    } else {
        tokio::task::spawn_local(async move {
            let Ok(local) = socket.local_addr() else { return };
            let transport = Transport::Tcp(socket);
            let connection = connection(transport, peer, local, None, &mut permit, worker);
            if entry.is_own {
                connection.is_for_own();
            }
            let _permit = permit;
            serve(handler, connection, beginning, None).await;
        });
    }
}

/// Has a client above the limit wait for a moment until there is room, and tells it otherwise. A bounded
/// number of them: the rest are closed at once.
fn wait<H: Handler>(
    socket: TcpStream,
    peer: SocketAddr,
    worker: &Rc<Worker>,
    handler: &Rc<H>,
    entry: Entry,
    refusal: Refusal,
) {
    if worker.waiting.get() >= WAITING {
        return worker.count_refused(refusal);
    }
    worker.waiting.set(worker.waiting.get() + 1);
    let (worker, handler) = (Rc::clone(worker), Rc::clone(handler));
    tokio::task::spawn_local(async move {
        match worker.permit_soon(peer.ip()).await {
            Ok(permit) => begin(socket, peer, &worker, &handler, entry, permit),
            Err(_) if entry.secure => {}
            Err(refusal) => tell(socket, &worker, refusal).await,
        }
        worker.waited();
    });
}

/// Tells a client that its prefix holds too large a share of the connections. It does not wait for
/// room: that is for others. A bounded number of them, and those that speak TLS, are closed at once.
fn turn_away(socket: TcpStream, worker: &Rc<Worker>, secure: bool) {
    worker.count_refused(Refusal::ClientShare);
    if secure || worker.told.get() >= WAITING {
        return;
    }
    worker.told.set(worker.told.get() + 1);
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        tell(socket, &worker, Refusal::ClientShare).await;
        worker.told.set(worker.told.get() - 1);
    });
}

async fn serve_tls<H: Handler>(
    socket: TcpStream,
    peer: SocketAddr,
    beginning: Beginning,
    worker: Rc<Worker>,
    handler: Rc<H>,
    mut permit: Permit,
) {
    let Ok(local) = socket.local_addr() else { return };
    let Some(secrets) = worker.shared.secrets.as_ref().map(|secrets| secrets.load_full()) else {
        return;
    };
    if !permit.charge.as_mut().is_some_and(ConnectionCharge::begin_tls) {
        return;
    }
    let handshake = tokio_rustls::TlsAcceptor::from(secrets.server()).accept(socket);
    // Boxed, so that the connection has no room for it afterwards.
    let stream = match Box::pin(tokio::time::timeout(HANDSHAKE, handshake)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "the TLS handshake failed"),
        Err(_) => return tracing::debug!(%peer, "the TLS handshake took too long"),
    };
    let session = stream.get_ref().1;
    if session.alpn_protocol() == Some(weir_acme::ALPN) {
        // A CA has seen what it looks for (RFC 8737 §3); nothing else is said there.
        return drop(tokio::time::timeout(FAREWELL, goodbye(stream)).await);
    }
    let protocol = match session.alpn_protocol() {
        Some(tls::H2) => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let sni = session.server_name().map(|name| name.to_ascii_lowercase().into_boxed_str());
    let secured = Secured { sni, certificates: secrets.certificates() };
    let transport = Transport::Tls(Box::new(stream));
    let connection = connection(transport, peer, local, Some(secured), &mut permit, worker);
    serve(handler, connection, beginning, Some(protocol)).await;
}

/// Ends a TLS connection on which nothing is exchanged.
async fn goodbye(mut stream: tokio_rustls::server::TlsStream<TcpStream>) -> io::Result<()> {
    use tokio::io::AsyncWriteExt;
    stream.shutdown().await
}

/// A connection that was let in, with what its place holds.
pub(super) fn connection(
    transport: Transport,
    peer: SocketAddr,
    local: SocketAddr,
    secured: Option<Secured>,
    permit: &mut Permit,
    worker: Rc<Worker>,
) -> Rc<Connection> {
    let limits = worker.limits();
    let memory = &worker.shared.memory;
    let charge = permit.charge.take().unwrap_or_else(|| ConnectionCharge::take_anyway(memory));
    let guard = Guard::new(Bounds {
        header_bytes: limits.header_bytes,
        header_fields: limits.header_fields,
        target_bytes: limits.target_bytes,
        body_bytes: limits.body_bytes,
    });
    let wire = Wire::new(transport, guard, worker.now());
    Rc::new(Connection::new(peer, local, secured, permit.share.take(), charge, wire, worker))
}

/// Answers a client that is not let in, for a moment.
async fn tell(socket: TcpStream, worker: &Worker, refusal: Refusal) {
    // Its request may have arrived unread, and closing then would reset the connection before it has
    // seen the answer, so it is read to its end.
    let answer = answer(&worker.shared.name, refusal);
    drop(tokio::time::timeout(FAREWELL, farewell(socket, &answer)).await);
}

/// The whole answer to a client that is not let in.
fn answer(node: &str, refusal: Refusal) -> Vec<u8> {
    let outcome =
        Outcome { handling: Handling::Refused, detail: Some(refusal.word()), ..Outcome::default() };
    let mut answer =
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nCache-Status: ".to_vec();
    outcome.write_cache_status(node, &mut answer);
    answer.extend_from_slice(b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    answer
}

async fn farewell(mut socket: TcpStream, answer: &[u8]) -> io::Result<()> {
    use tokio::io::AsyncWriteExt;
    socket.write_all(answer).await?;
    socket.shutdown().await?;
    let mut unread = [0; 1024];
    while socket.read(&mut unread).await? > 0 {}
    Ok(())
}
