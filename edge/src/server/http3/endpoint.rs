//! The UDP socket, and the thread that has it.

use super::super::worker::ServerState;
use super::super::{Phase, accept, tls::Secrets};
use super::ALPN;
use super::transport::code;
use h3::error::Code;
use http::HeaderValue;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use weir_config::{Limits, Tls};

/// Connections that wait for one worker; more are refused.
const WAITING: usize = 64;
/// Handshakes under way from which on clients first have to show that they are where they say (RFC 9000 §8.1).
const UNVALIDATED: usize = 64;
/// Connections that wait to be looked at, bytes of one of them, and of all.
const INCOMING: usize = 256;
const INCOMING_BYTES: u64 = 16 * 1024;
const INCOMING_BYTES_OF_ALL: u64 = 1024 * 1024;
/// Bytes on their way to a client that it has not acknowledged, of all responses on a connection.
pub(super) const SEND_WINDOW: u64 = crate::memory::HTTP3_WORK_BYTES;
/// What a client may send ahead on one stream, and on all streams of a connection.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Streams that a client may have for itself: it needs three, and may have some that mean nothing.
const CONTROL_STREAMS: u32 = 8;
/// A dead peer is found by packets that it has to acknowledge, sent this often, and gone when nothing came for so long.
const KEEPALIVE: Duration = Duration::from_secs(15);
const DEAD: Duration = Duration::from_secs(40);
/// Ports of the system's choice that are tried until one is free for TCP and UDP.
const PORTS: usize = 16;
/// How often a socket that another process holds is tried.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// How long clients are told at the end that connections are closed.
const FAREWELL: Duration = Duration::from_millis(500);
/// For how long clients remember that there is HTTP/3, seconds.
const MAX_AGE: u32 = 3600;
/// Bytes that the kernel keeps of datagrams in each direction; it cuts this down to its own bound.
const SOCKET_BYTES: usize = 2 * 1024 * 1024;

/// A connection that a client wants, on its way to a worker.
pub(in crate::server) struct Arriving {
    pub(super) incoming: Incoming,
    pub(super) handshake: Handshake,
}

/// A handshake under way.
pub(super) struct Handshake(Arc<AtomicUsize>);

impl Handshake {
    fn begin(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(all))
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket at `address` that no other one shares.
pub(in crate::server) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot listen on {address} (UDP): {error}"))
    };
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None).map_err(named)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // One socket for both families, as with TCP.
        socket.set_only_v6(false).map_err(named)?;
    }
    // Best effort: the kernel says how much it grants.
    let _ = socket.set_recv_buffer_size(SOCKET_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BYTES);
    socket.set_nonblocking(true).map_err(named)?;
    socket.bind(&address.into()).map_err(named)?;
    Ok(socket.into())
}

/// A TCP and a UDP socket at one address. Where the system chooses the port, one is chosen that is free for both.
pub(in crate::server) fn bind_both(address: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    let mut tries = if address.port() == 0 { PORTS } else { 1 };
    loop {
        let tcp = accept::bind(address)?;
        tries -= 1;
        match bind(tcp.local_addr()?) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            bound => return Ok((tcp, bound?)),
        }
    }
}

/// TLS as QUIC uses it: as over TCP, with the one protocol that is spoken.
pub(in crate::server) fn crypto(tcp: &rustls::ServerConfig) -> io::Result<Arc<QuicServerConfig>> {
    let mut tls = tcp.clone();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(QuicServerConfig::try_from(tls).map_err(io::Error::other)?))
}

/// What a connection is accepted with: these certificates, and limits as they are now.
pub(super) fn server_config(secrets: &Secrets, limits: &Limits) -> Arc<ServerConfig> {
    let mut config = ServerConfig::with_crypto(secrets.quic());
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.h2_streams))
        .max_concurrent_uni_streams(VarInt::from_u32(CONTROL_STREAMS))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .max_idle_timeout(DEAD.try_into().ok())
        .keep_alive_interval(Some(KEEPALIVE))
        .datagram_receive_buffer_size(None);
    let mut tokens = quinn::ValidationTokenConfig::default();
    tokens.sent(0);
    config
        .transport_config(Arc::new(transport))
        // A client that moves would be counted for where it was.
        .migration(false)
        .validation_token_config(tokens)
        .max_incoming(INCOMING)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES_OF_ALL);
    Arc::new(config)
}

/// What the thread is started with.
pub(in crate::server) struct Listener {
    pub(in crate::server) address: SocketAddr,
    /// `None` where another process still has the address.
    pub(in crate::server) socket: Option<UdpSocket>,
    pub(in crate::server) shared: Arc<ServerState>,
    pub(in crate::server) phase: watch::Receiver<Phase>,
    workers: Vec<mpsc::Sender<Arriving>>,
}

impl Listener {
    pub(in crate::server) fn new(
        address: SocketAddr,
        socket: Option<UdpSocket>,
        shared: Arc<ServerState>,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        Self { address, socket, shared, phase, workers: Vec::new() }
    }

    /// What one more worker accepts.
    pub(in crate::server) fn worker(&mut self) -> mpsc::Receiver<Arriving> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.workers.push(sender);
        receiver
    }

    /// Starts the thread, which ends once the server has stopped.
    pub(in crate::server) fn start(self) -> io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("weir-quic".into())
            .spawn(move || runtime.block_on(self.run()))
    }

    async fn run(mut self) {
        let begun = self.phase.wait_for(|phase| *phase > Phase::Holding).await;
        let begun = begun.map(|phase| *phase);
        if !matches!(begun, Ok(Phase::Serving)) {
            return;
        }
        let Some(socket) = self.socket().await else { return };
        let endpoint = match self.endpoint(socket) {
            Ok(endpoint) => endpoint,
            Err(error) => return tracing::error!(%error, "HTTP/3 does not listen"),
        };
        self.shared.http3.advertise();
        let mut phase = self.phase.clone();
        let mut turn = 0;
        loop {
            tokio::select! {
                incoming = endpoint.accept() => match incoming {
                    Some(incoming) => self.hand_over(incoming, &mut turn),
                    None => {
                        tracing::error!("HTTP/3 does not listen any more: its socket failed");
                        break;
                    }
                },
                _ = phase.wait_for(|phase| *phase >= Phase::Draining) => break,
            }
        }
        self.shared.http3.withdraw();
        self.workers.clear();
        loop {
            tokio::select! {
                incoming = endpoint.accept() => match incoming {
                    Some(incoming) => incoming.refuse(),
                    None => break,
                },
                _ = phase.wait_for(|phase| *phase == Phase::Stopped) => break,
                // The process that takes over waits for the address.
                () = tokio::time::sleep(TRY_AGAIN) => {
                    if endpoint.open_connections() == 0 {
                        break;
                    }
                }
            }
        }
        endpoint.close(code(Code::H3_NO_ERROR), b"");
        // After that the kernel says that nobody listens.
        let _ = tokio::time::timeout(FAREWELL, endpoint.wait_idle()).await;
    }

    /// The socket, once no other process has it; `None` when the server ends before.
    async fn socket(&mut self) -> Option<UdpSocket> {
        if let Some(socket) = self.socket.take() {
            return Some(socket);
        }
        tracing::info!(address = %self.address, "HTTP/3 listens once the process before has ended");
        loop {
            tokio::select! {
                () = tokio::time::sleep(TRY_AGAIN) => {}
                _ = self.phase.wait_for(|phase| *phase >= Phase::Draining) => return None,
            }
            match bind(self.address) {
                Ok(socket) => return Some(socket),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => {
                    tracing::error!(%error, "HTTP/3 does not listen");
                    return None;
                }
            }
        }
    }

    fn endpoint(&self, socket: UdpSocket) -> io::Result<Endpoint> {
        let secrets = self.shared.secrets.as_ref().map(|secrets| secrets.load_full());
        let secrets = secrets.ok_or_else(|| io::Error::other("there are no certificates"))?;
        let config = server_config(&secrets, &self.shared.limits.load());
        let config = Some(Arc::unwrap_or_clone(config));
        Endpoint::new(EndpointConfig::default(), config, socket, Arc::new(TokioRuntime))
    }

    /// Hands a connection to the next worker that takes it; without one, it is refused.
    fn hand_over(&self, incoming: Incoming, turn: &mut usize) {
        let handshakes = &self.shared.http3.handshakes;
        if !incoming.remote_address_validated() && handshakes.load(Ordering::Relaxed) >= UNVALIDATED
        {
            // An error says that it was validated.
            let _ = incoming.retry();
            return;
        }
        let handshake = Handshake::begin(handshakes);
        let mut arriving = Arriving { incoming, handshake };
        for _ in 0..self.workers.len() {
            *turn = (*turn + 1) % self.workers.len();
            match self.workers[*turn].try_send(arriving) {
                Ok(()) => return,
                Err(
                    mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back),
                ) => {
                    arriving = back;
                }
            }
        }
        self.shared.refused.fetch_add(1, Ordering::Relaxed);
        arriving.incoming.refuse();
    }
}

/// What workers know of the endpoint.
pub(in crate::server) struct Http3State {
    address: SocketAddr,
    handshakes: Arc<AtomicUsize>,
    is_listening: std::sync::atomic::AtomicBool,
    alternative: arc_swap::ArcSwapOption<HeaderValue>,
}

impl Http3State {
    /// That of a server whose TLS listener is at `address`.
    pub(in crate::server) fn new(tls: Option<&Tls>, address: Option<SocketAddr>) -> Self {
        let state = Self {
            address: address.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0))),
            handshakes: Arc::default(),
            is_listening: false.into(),
            alternative: arc_swap::ArcSwapOption::empty(),
        };
        state.set_port(tls.map_or(443, |tls| tls.public_port));
        state
    }

    /// Where TLS listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Clients reach it at this port now.
    pub(in crate::server) fn set_port(&self, port: u16) {
        let value = HeaderValue::try_from(format!("h3=\":{port}\"; ma={MAX_AGE}"));
        self.alternative.store(value.ok().map(Arc::new));
    }

    fn advertise(&self) {
        self.is_listening.store(true, Ordering::Relaxed);
    }

    fn withdraw(&self) {
        self.is_listening.store(false, Ordering::Relaxed);
    }

    /// Alt-Svc (RFC 7838 §3) of responses over TCP, while HTTP/3 listens.
    pub(in crate::server) fn alternative(&self) -> Option<HeaderValue> {
        if !self.is_listening.load(Ordering::Relaxed) {
            return None;
        }
        self.alternative.load().as_deref().cloned()
    }
}
