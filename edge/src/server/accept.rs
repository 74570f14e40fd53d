//! Accepting connections: the cap, the socket's options, TLS, and surviving a lack of descriptors.

use super::Handler;
use super::connection::{Connection, Protocol, Secured};
use super::guard::Guard;
use super::head::Bounds;
use super::serve::serve;
use super::tls;
use super::transport::Transport;
use super::wire::Wire;
use super::worker::{Permit, Worker};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// Connections the kernel completes ahead of us; it cuts this down to its own bound.
const BACKLOG: i32 = 8192;
/// How long to wait when the process or the machine is out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);
/// From the TCP connection to the end of the TLS handshake, at most.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// When the kernel asks a silent peer whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// Refused connections of a worker that are told so at once, and for how long each.
const FAREWELLS: usize = 64;
const FAREWELL: Duration = Duration::from_millis(500);

const OVERLOADED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
    Connection: close\r\nContent-Length: 0\r\n\r\n";

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

/// Accepts for one worker until it is dropped.
pub(super) async fn accept<H: Handler>(
    listener: TcpListener,
    worker: Rc<Worker>,
    handler: Rc<H>,
    secure: bool,
) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => admit(socket, peer, &worker, &handler, secure),
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

fn admit<H: Handler>(
    socket: TcpStream,
    peer: SocketAddr,
    worker: &Rc<Worker>,
    handler: &Rc<H>,
    secure: bool,
) {
    let Some(permit) = worker.shared.permit(worker.limits().connections) else {
        if !secure {
            refuse(socket, worker);
        }
        return;
    };
    let _ = socket.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
    let _ = SockRef::from(&socket).set_tcp_keepalive(&keepalive);
    let worker = Rc::clone(worker);
    let handler = Rc::clone(handler);
    if secure {
        tokio::task::spawn_local(serve_tls(socket, peer, worker, handler, permit));
    } else {
        tokio::task::spawn_local(async move {
            let _permit = permit;
            let Ok(local) = socket.local_addr() else { return };
            let connection = connection(Transport::Tcp(socket), peer, local, None, worker);
            serve(handler, connection, None).await;
        });
    }
}

async fn serve_tls<H: Handler>(
    socket: TcpStream,
    peer: SocketAddr,
    worker: Rc<Worker>,
    handler: Rc<H>,
    _permit: Permit,
) {
    let Ok(local) = socket.local_addr() else { return };
    let Some(secrets) = worker.shared.secrets.as_ref().map(|secrets| secrets.load_full()) else {
        return;
    };
    let handshake = tokio_rustls::TlsAcceptor::from(secrets.server()).accept(socket);
    let stream = match tokio::time::timeout(HANDSHAKE, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "the TLS handshake failed"),
        Err(_) => return tracing::debug!(%peer, "the TLS handshake took too long"),
    };
    let session = stream.get_ref().1;
    let protocol = match session.alpn_protocol() {
        Some(tls::H2) => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let sni = session.server_name().map(|name| name.to_ascii_lowercase().into_boxed_str());
    let secured = Secured { sni, certificates: secrets.certificates() };
    let transport = Transport::Tls(Box::new(stream));
    let connection = connection(transport, peer, local, Some(secured), worker);
    serve(handler, connection, Some(protocol)).await;
}

fn connection(
    transport: Transport,
    peer: SocketAddr,
    local: SocketAddr,
    secured: Option<Secured>,
    worker: Rc<Worker>,
) -> Rc<Connection> {
    let limits = worker.limits();
    let guard = Guard::new(Bounds {
        header_bytes: limits.header_bytes,
        header_fields: limits.header_fields,
        target_bytes: limits.target_bytes,
        body_bytes: limits.body_bytes,
    });
    let wire = Wire::new(transport, guard, worker.now());
    Rc::new(Connection::new(peer, local, secured, wire, worker))
}

/// Tells a client above the limit, without waiting for it. Its request may have arrived unread,
/// and closing then would reset the connection before it has seen the answer, so a bounded number
/// of them are read to their end for a moment.
fn refuse(socket: TcpStream, worker: &Rc<Worker>) {
    if worker.farewells.get() >= FAREWELLS {
        return;
    }
    worker.farewells.set(worker.farewells.get() + 1);
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let _ = tokio::time::timeout(FAREWELL, farewell(socket)).await;
        worker.farewells.set(worker.farewells.get() - 1);
    });
}

async fn farewell(mut socket: TcpStream) -> io::Result<()> {
    use tokio::io::AsyncWriteExt;
    socket.write_all(OVERLOADED).await?;
    socket.shutdown().await?;
    let mut unread = [0; 1024];
    while socket.read(&mut unread).await? > 0 {}
    Ok(())
}
