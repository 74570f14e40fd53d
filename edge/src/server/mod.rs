//! Everything between the socket and the request spine: accepting, TLS, the wire guard, hyper,
//! the sweeper and draining.
//!
//! Each worker is one thread with its own runtime; what belongs to a connection never leaves its
//! worker and is not `Send`. Workers share a listening socket and, through [`ServerState`], the number
//! of connections and the limits. Nothing here answers a request: every request, also one that the
//! guard refused, goes to the [`Handler`], so that there is one place where errors become HTTP.

mod accept;
mod charge;
mod clients;
mod connection;
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod h2;
mod h2_io;
mod head;
mod held;
#[cfg(feature = "http3")]
mod http3;
mod in_hand;
mod intake;
mod introduced;
mod key_log;
mod line;
mod received;
mod sent;
mod serve;
mod stand_in;
mod sweeper;
mod tls;
mod transport;
mod upgrade;
mod upload;
mod wire;
mod worker;

#[cfg(test)]
mod tests;

pub(crate) use connection::{Connection, Protocol};
pub(crate) use intake::{Arrival, Intake, intake, spell_target};
pub(crate) use received::Received;
pub(crate) use tls::client_key;
pub(crate) use upload::Upload;

use crate::memory::MemoryAccount;
use arc_swap::ArcSwap;
use clients::Clients;
use http::{Request, Response};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tls::Secrets;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use weir_acme::Served;
use weir_config::{Limits, Network, Tls};
use worker::{ServerState, Worker};

/// What answers requests. One per worker; it is called on that worker's thread, inside its runtime
/// (so `tokio::task::spawn_local` works), and polled within the connection's own task for
/// HTTP/1.1, in a task for each stream for HTTP/2 and HTTP/3.
pub(crate) trait Handler: 'static {
    /// The body of its responses. An error of it aborts the response visibly.
    type Body: http_body::Body<Data: 'static, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + 'static;

    /// One request. Must first ask [`Connection::defect`]: when there is one, `request` is a
    /// stand-in for bytes that were refused, and the answer is that error's.
    fn handle(
        self: Rc<Self>,
        connection: Rc<Connection>,
        request: Request<Received>,
    ) -> impl Future<Output = Response<Self::Body>> + 'static;
}

/// Sockets that listen already, in place of ones that a server binds.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For clients in the clear.
    pub clear: Option<std::net::TcpListener>,
    /// For TLS clients.
    pub secure: Option<std::net::TcpListener>,
}

/// In the extensions of a request on a stream of HTTP/2 or HTTP/3 for which `memory.connections` has no room: it must be
/// answered with an error that says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoMemory;

/// What a server is started with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The node's name.
    pub(crate) name: Arc<str>,
    /// Where clients connect in the clear; port 0 lets the system choose.
    pub(crate) listen: SocketAddr,
    /// Worker threads, at least one.
    pub(crate) workers: usize,
    /// Bounds.
    pub(crate) limits: Limits,
    /// Whose connections are counted for no client.
    pub(crate) trusted_proxies: Vec<Network>,
    /// Whose connections begin with the PROXY protocol.
    pub(crate) proxy_protocol: Vec<Network>,
    /// What connections and streams take from.
    pub(crate) memory: Arc<MemoryAccount>,
    /// The TLS listener and its certificates.
    pub(crate) tls: Option<Tls>,
    /// Certificates that are ordered.
    pub(crate) served: Arc<Served>,
}

/// A running server. Dropping it stops it at once.
pub(crate) struct Server {
    shared: Arc<ServerState>,
    listen: SocketAddr,
    listen_tls: Option<SocketAddr>,
    phase: watch::Sender<Phase>,
    /// `None` once it drains.
    listeners: Option<Listeners>,
    /// Ends when the last worker has ended.
    workers_alive: mpsc::Receiver<()>,
    workers: Vec<JoinHandle<()>>,
    /// The thread with the socket of HTTP/3.
    #[cfg(feature = "http3")]
    http3: Option<JoinHandle<()>>,
}

/// What the workers are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Listening; nothing is accepted yet.
    Holding,
    Serving,
    Draining,
    Stopped,
}

/// The listening sockets.
struct Listeners {
    clear: std::net::TcpListener,
    secure: Option<std::net::TcpListener>,
}

impl Listeners {
    fn try_clone(&self) -> io::Result<Self> {
        let secure = self.secure.as_ref().map(std::net::TcpListener::try_clone).transpose()?;
        Ok(Self { clear: self.clear.try_clone()?, secure })
    }
}

impl Server {
    /// Binds what `sockets` does not have, reads the certificates and starts the workers, which
    /// accept nothing until [`Server::serve`]. `make_handler` is called once on each worker's
    /// thread, inside its runtime, with the worker's number from 0.
    ///
    /// Errors say which address, file or thread.
    pub(crate) fn prepare<H: Handler>(
        settings: Settings,
        sockets: Sockets,
        make_handler: impl Fn(usize) -> Rc<H> + Send + Sync + Clone + 'static,
    ) -> io::Result<Self> {
        let secrets = settings.tls.as_ref().map(|tls| Secrets::load(tls, &settings.served));
        let secrets = secrets.transpose()?;
        let bound = |socket: Option<std::net::TcpListener>, address| match socket {
            Some(socket) => socket.set_nonblocking(true).map(|()| socket),
            None => accept::bind(address),
        };
        #[cfg(feature = "http3")]
        let (quic, sockets) = match &settings.tls {
            Some(tls) if tls.http3 && sockets.secure.is_none() => {
                let (secure, quic) = http3::bind_both(tls.listen)?;
                (Some(quic), Sockets { secure: Some(secure), ..sockets })
            }
            _ => (None, sockets),
        };
        let secure = settings.tls.as_ref().map(|tls| bound(sockets.secure, tls.listen));
        let listeners = Listeners {
            clear: bound(sockets.clear, settings.listen)?,
            secure: secure.transpose()?,
        };
        let listen_tls = listeners.secure.as_ref().map(|socket| socket.local_addr()).transpose()?;
        let phase = watch::Sender::new(Phase::Holding);
        let shared = Arc::new(ServerState {
            limits: ArcSwap::from_pointee(settings.limits),
            secrets: secrets.map(ArcSwap::from_pointee),
            tls: Mutex::new(settings.tls.clone()),
            served: settings.served,
            connections: Arc::default(),
            taken: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            closed_idle: AtomicU64::new(0),
            full: Notify::new(),
            clients: Clients::new(settings.trusted_proxies),
            proxies: ArcSwap::from_pointee(settings.proxy_protocol),
            memory: settings.memory,
            name: settings.name,
            #[cfg(feature = "http3")]
            http3: http3::Http3State::new(settings.tls.as_ref(), listen_tls),
            #[cfg(test)]
            rests: AtomicU64::new(0),
        });
        let (alive, workers_alive) = mpsc::channel(1);
        let mut server = Self {
            listen: listeners.clear.local_addr()?,
            listen_tls,
            shared,
            phase,
            listeners: None,
            workers_alive,
            workers: Vec::new(),
            #[cfg(feature = "http3")]
            http3: None,
        };
        #[cfg(feature = "http3")]
        let mut http3 = match (&settings.tls, listen_tls) {
            (Some(tls), Some(address)) if tls.http3 => {
                let bound = match quic {
                    Some(bound) => Ok(bound),
                    None => http3::bind(address),
                };
                let socket = match bound {
                    // The process that hands its sockets over has it until it ends.
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
                    bound => Some(bound?),
                };
                let (shared, phase) = (Arc::clone(&server.shared), server.phase.subscribe());
                Some(http3::Listener::new(address, socket, shared, phase))
            }
            _ => None,
        };
        for number in 0..settings.workers.max(1) {
            let run = Run {
                shared: Arc::clone(&server.shared),
                listeners: listeners.try_clone()?,
                watches_files: number == 0,
                phase: server.phase.subscribe(),
                alive: alive.clone(),
                #[cfg(feature = "http3")]
                http3: http3.as_mut().map(http3::Listener::worker),
            };
            let make_handler = make_handler.clone();
            let (started, start) = std::sync::mpsc::sync_channel(1);
            let thread = std::thread::Builder::new()
                .name(format!("weir-worker-{number}"))
                .spawn(move || run.run(move || make_handler(number), &started))?;
            server.workers.push(thread);
            start.recv().map_err(|_| io::Error::other("a worker ended at its start"))??;
        }
        #[cfg(feature = "http3")]
        if let Some(listener) = http3 {
            server.http3 = Some(listener.start()?);
        }
        server.listeners = Some(listeners);
        Ok(server)
    }

    /// Accepts clients from now on.
    pub(crate) fn serve(&self) {
        self.phase.send_if_modified(|phase| {
            let held = *phase == Phase::Holding;
            if held {
                *phase = Phase::Serving;
            }
            held
        });
    }

    /// Whether clients are accepted.
    pub(crate) fn is_serving(&self) -> bool {
        *self.phase.borrow() == Phase::Serving
    }

    /// The sockets that it listens on, for another process to listen on too: clients that connect
    /// wait in the queue of a socket, from which both processes accept.
    pub(crate) fn sockets(&self) -> io::Result<Sockets> {
        match &self.listeners {
            Some(listeners) => {
                let Listeners { clear, secure } = listeners.try_clone()?;
                Ok(Sockets { clear: Some(clear), secure })
            }
            None => Ok(Sockets::default()),
        }
    }

    /// Where clients connect in the clear.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where TLS clients connect.
    pub(crate) fn listen_tls(&self) -> Option<SocketAddr> {
        self.listen_tls
    }

    /// The names of each certificate from files, and when it ends, seconds since the Unix epoch.
    pub(crate) fn certificates_of_files(&self) -> Vec<(Vec<String>, Option<u64>)> {
        let secrets = self.shared.secrets.as_ref();
        secrets.map(|secrets| secrets.load().certificates().of_files()).unwrap_or_default()
    }

    /// Connections open now.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many they are, for whoever asks from elsewhere.
    pub(crate) fn open(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.shared.connections)
    }

    /// Connections taken since the start.
    pub(crate) fn taken(&self) -> u64 {
        self.shared.taken.load(Ordering::Relaxed)
    }

    /// Connections refused because of `limits.connections`, since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Connections refused because of their client prefix's share, since the start.
    pub(crate) fn refused_for_share(&self) -> u64 {
        self.shared.clients.refused.load(Ordering::Relaxed)
    }

    /// How often connections have begun to rest.
    #[cfg(test)]
    pub(crate) fn rests(&self) -> u64 {
        self.shared.rests.load(Ordering::Relaxed)
    }

    /// Idle connections closed for new ones, since the start.
    pub(crate) fn closed_idle(&self) -> u64 {
        self.shared.closed_idle.load(Ordering::Relaxed)
    }

    /// Takes new limits, within half a second, and trusted proxies, and reads the certificates again;
    /// connections that are open keep the bounds of heads and bodies, and the certificates, they began with. On an
    /// error nothing changes. Listening addresses cannot change: a `tls` where there was none is
    /// an error, none where there was one keeps the old one.
    pub(crate) fn reload(
        &self,
        limits: Limits,
        trusted_proxies: &[Network],
        proxy_protocol: &[Network],
        tls: Option<&Tls>,
    ) -> io::Result<()> {
        if let Some(tls) = tls {
            let Some(secrets) = &self.shared.secrets else {
                return Err(io::Error::other("tls: turning TLS on needs a restart"));
            };
            secrets.store(Arc::new(Secrets::load(tls, &self.shared.served)?));
            *self.shared.tls.lock().unwrap_or_else(PoisonError::into_inner) = Some(tls.clone());
            #[cfg(feature = "http3")]
            self.shared.http3.set_port(tls.public_port);
        }
        self.shared.limits.store(Arc::new(limits));
        self.shared.clients.trust(trusted_proxies.to_vec());
        self.shared.proxies.store(Arc::new(proxy_protocol.to_vec()));
        Ok(())
    }

    /// Stops accepting, ends idle connections, lets requests under way finish for at most `bound`,
    /// then ends everything, also what handlers spawned. A client that was accepted has a moment to
    /// send its first request. Returns when all workers have ended.
    pub(crate) async fn drain(mut self, bound: Duration) {
        drop(self.listeners.take());
        self.phase.send_replace(Phase::Draining);
        let _ = tokio::time::timeout(bound, self.workers_alive.recv()).await;
        self.phase.send_replace(Phase::Stopped);
        while self.workers_alive.recv().await.is_some() {}
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Stopped);
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so already.
            let _ = worker.join();
        }
        #[cfg(feature = "http3")]
        if let Some(thread) = self.http3.take() {
            let _ = thread.join();
        }
    }
}

/// What a worker's thread is started with.
struct Run {
    shared: Arc<ServerState>,
    listeners: Listeners,
    watches_files: bool,
    phase: watch::Receiver<Phase>,
    alive: mpsc::Sender<()>,
    /// What it accepts of HTTP/3.
    #[cfg(feature = "http3")]
    http3: Option<mpsc::Receiver<http3::Arriving>>,
}

impl Run {
    fn run<H: Handler>(
        self,
        make_handler: impl FnOnce() -> Rc<H>,
        started: &std::sync::mpsc::SyncSender<io::Result<()>>,
    ) {
        let _alive = self.alive;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(error))),
        };
        runtime.block_on(async move {
            let listeners = self.listeners;
            let clear = TcpListener::from_std(listeners.clear);
            let secure = listeners.secure.map(TcpListener::from_std).transpose();
            let (clear, secure) = match (clear, secure) {
                (Ok(clear), Ok(secure)) => (clear, secure),
                (Err(error), _) | (_, Err(error)) => return drop(started.send(Err(error))),
            };
            let worker = Rc::new(Worker::new(self.shared));
            let handler = make_handler();
            let _ = started.send(Ok(()));
            let mut phase = self.phase;
            // An error says that nobody is left to say so.
            let held = phase.wait_for(|phase| *phase > Phase::Holding).await.map(|phase| *phase);
            if !matches!(held, Ok(Phase::Serving)) {
                return;
            }
            let mut accepting = vec![tokio::task::spawn_local(accept::accept(
                clear,
                Rc::clone(&worker),
                Rc::clone(&handler),
                false,
            ))];
            #[cfg(feature = "http3")]
            accepting.extend(self.http3.map(|arriving| {
                let (worker, handler) = (Rc::clone(&worker), Rc::clone(&handler));
                tokio::task::spawn_local(http3::accept(arriving, worker, handler))
            }));
            accepting.extend(secure.map(|secure| {
                tokio::task::spawn_local(accept::accept(secure, Rc::clone(&worker), handler, true))
            }));
            if self.watches_files {
                tokio::task::spawn_local(tls::reload_from_time_to_time(Arc::clone(&worker.shared)));
            }
            tokio::task::spawn_local(sweeper::sweep(Rc::clone(&worker)));
            let full = Rc::clone(&worker);
            tokio::task::spawn_local(async move { full.make_room().await });
            follow(phase, &worker, accepting).await;
        });
        // Without waiting for what handlers still run on blocking threads.
        runtime.shutdown_background();
    }
}

/// Serves until stopped, or drained.
async fn follow(
    mut phase: watch::Receiver<Phase>,
    worker: &Rc<Worker>,
    accepting: Vec<tokio::task::JoinHandle<()>>,
) {
    let drained = phase.wait_for(|phase| *phase >= Phase::Draining).await.map(|phase| *phase);
    for task in accepting {
        task.abort();
        // Cancelled; what counts is that its socket is closed now.
        let _ = task.await;
    }
    if matches!(drained, Ok(Phase::Draining)) {
        worker.drain();
        tokio::select! {
            () = worker.emptied() => {}
            _ = phase.wait_for(|phase| *phase == Phase::Stopped) => {
                #[cfg(feature = "http3")]
                http3::cut(worker).await;
            }
        }
    }
}
