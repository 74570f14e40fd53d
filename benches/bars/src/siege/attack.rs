//! Those who attack: clients that take up a server's connections, memory or time, and come back when
//! it gets rid of them.

use crate::Error;
use crate::scaled;
use crate::siege::Besieged;
use crate::siege::innocent::HIT;
use bytes::Bytes;
use clap::ValueEnum;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What a slow reader takes at a time, and how long until it takes the next.
const SIP: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_secs(4);
/// Streams of one HTTP/2 connection, as many as both servers allow.
const STREAMS: u64 = 200;
/// How long until a client comes back that a server got rid of.
const BACK: Duration = Duration::from_secs(10);
/// How often a client that cannot be told looks whether it is still connected.
const LOOK: Duration = Duration::from_secs(1);
/// How many connect at once, below what a listening socket queues.
const CONNECTING: usize = 256;
/// Clients at the admin listener, also at a small scale: they are meant to be more than it admits.
const AT_ADMIN: u64 = 600;
/// Requests that a client which never reads sends at once.
const UNREAD: usize = 16;

/// An attack.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Attack {
    /// 15,000 idle connections
    Idle,
    /// 1,000 readers that take 16 KiB every 4 s of 4 MiB that is not stored
    SlowReaders,
    /// The same of a response with no-store, which must not be written to a file
    SlowNoStore,
    /// 500 such readers of 8 MiB that would be stored, but is larger than memory.max_object
    SlowLarge,
    /// 50 HTTP/2 connections with 200 streams each that never open their window
    #[value(name = "window-0")]
    Window0,
    /// 14,000 requests to which the origin never answers
    Hanging,
    /// The same with 100 HTTP/2 connections of 200 streams each
    HangingH2,
    /// 600 clients of the admin listener that are silent, idle or never read
    Admin,
    /// All of these but slow-no-store, each a third of its size, except those of the admin listener
    Together,
}

/// They come from so many addresses, of which none is that of the other clients.
const ADDRESSES: u64 = 4;

/// The kinds that `Together` is made of.
const KINDS: [Attack; 7] = [
    Attack::Idle,
    Attack::SlowReaders,
    Attack::SlowLarge,
    Attack::Window0,
    Attack::Hanging,
    Attack::HangingH2,
    Attack::Admin,
];

/// How many clients of a kind there are, and how many requests each sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Force {
    kind: Attack,
    clients: u64,
    streams: u64,
}

impl Attack {
    /// The word for it.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Who attacks, at a scale, with so many open files in each process.
    pub(super) fn forces(self, scale: f64, files: u64) -> Vec<Force> {
        match self {
            Self::Together => {
                KINDS.iter().flat_map(|kind| kind.forces(scale / 3.0, files / 3)).collect()
            }
            kind => vec![kind.force(scale, files)],
        }
    }

    fn force(self, scale: f64, files: u64) -> Force {
        let (clients, streams) = match self {
            Self::Idle => (scaled(15_000, scale, 100), 1),
            Self::SlowReaders | Self::SlowNoStore => (scaled(1_000, scale, 20), 1),
            Self::SlowLarge => (scaled(500, scale, 20), 1),
            Self::Window0 => (scaled(50, scale, 2), STREAMS),
            Self::Hanging => (scaled(14_000, scale, 100), 1),
            Self::HangingH2 => (scaled(100, scale, 2), STREAMS),
            Self::Admin => (AT_ADMIN, 1),
            Self::Together => (0, 1),
        };
        // Of streams the origin may see a connection each.
        let most = files.saturating_sub(files / 10) / streams;
        Force { kind: self, clients: clients.min(most), streams }
    }
}

impl std::fmt::Display for Force {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, clients, streams } = self;
        match streams {
            1 => write!(f, "{} x {clients}", kind.name()),
            streams => write!(f, "{} x {clients} x {streams}", kind.name()),
        }
    }
}

/// What clients of an attack count.
#[derive(Debug, Default)]
struct Counts {
    arrived: AtomicU64,
    dismissed: AtomicU64,
}

/// An attack under way; it ends when this is dropped.
pub(super) struct Attacking {
    clients: JoinSet<()>,
    counts: Arc<Counts>,
}

impl Attacking {
    /// Begins.
    pub(super) fn begin(forces: &[Force], at: Besieged) -> Self {
        let counts = Arc::<Counts>::default();
        let connecting = Arc::new(Semaphore::new(CONNECTING));
        let mut clients = JoinSet::new();
        for force in forces {
            for number in 0..force.clients {
                let client = Client {
                    at,
                    number,
                    streams: force.streams,
                    counts: Arc::clone(&counts),
                    connecting: Arc::clone(&connecting),
                };
                clients.spawn(client.attack(force.kind));
            }
        }
        Self { clients, counts }
    }

    /// Whether all have connected and sent what they send.
    pub(super) fn is_complete(&self) -> bool {
        self.arrived() >= self.clients.len() as u64
    }

    /// How many were there once.
    pub(super) fn arrived(&self) -> u64 {
        self.counts.arrived.load(Ordering::Relaxed)
    }

    /// How often the server got rid of one, which then came back.
    pub(super) fn dismissed(&self) -> u64 {
        self.counts.dismissed.load(Ordering::Relaxed)
    }
}

/// One who attacks.
struct Client {
    at: Besieged,
    number: u64,
    streams: u64,
    counts: Arc<Counts>,
    connecting: Arc<Semaphore>,
}

impl Client {
    /// Attacks until its task ends.
    async fn attack(self, kind: Attack) {
        let mut arrived = false;
        loop {
            // However the server gets rid of it, and whether it says so.
            let _ = self.once(kind, &mut arrived).await;
            self.counts.dismissed.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(BACK).await;
        }
    }

    /// Attacks until the server is rid of it.
    async fn once(&self, kind: Attack, arrived: &mut bool) -> Result<(), Error> {
        let (at, number) = (self.at, self.number);
        match kind {
            Attack::Idle => {
                let mut stream = self.send(at.listen, &get(HIT, at.listen), arrived).await?;
                until_closed(&mut stream).await
            }
            Attack::SlowReaders => self.sip(&format!("/slow/{number}"), arrived).await,
            Attack::SlowNoStore => self.sip(&format!("/secret/{number}"), arrived).await,
            Attack::SlowLarge => self.sip(&format!("/large/{number}"), arrived).await,
            Attack::Window0 => {
                // Half of them want the same, half each something else.
                let of_stream = |stream| match number % 2 {
                    0 => "/still/same".to_owned(),
                    _ => format!("/still/{number}/{stream}"),
                };
                let (answers, sender) = self.streams(of_stream, 0, arrived).await?;
                let ended = closed(sender, &answers).await;
                drop(answers);
                ended
            }
            Attack::Hanging => {
                let request = get(&format!("/hanging/1/{number}"), at.listen);
                let mut stream = self.send(at.listen, &request, arrived).await?;
                until_answered(&mut stream).await
            }
            Attack::HangingH2 => {
                let of_stream = |stream| format!("/hanging/2/{number}/{stream}");
                let (answers, sender) = self.streams(of_stream, 65_535, arrived).await?;
                for answer in answers {
                    answer.await?;
                }
                drop(sender);
                Ok(())
            }
            Attack::Admin => match number % 3 {
                0 => {
                    let mut stream = self.send(at.admin, "", arrived).await?;
                    until_closed(&mut stream).await
                }
                1 => {
                    let mut stream =
                        self.send(at.admin, &get("/readyz", at.admin), arrived).await?;
                    until_closed(&mut stream).await
                }
                _ => {
                    let requests = get("/metrics", at.admin).repeat(UNREAD);
                    let stream = self.send(at.admin, &requests, arrived).await?;
                    // Never reads, so it learns by the error alone that it was closed.
                    loop {
                        tokio::time::sleep(LOOK).await;
                        if let Some(error) = stream.take_error()? {
                            return Err(error.into());
                        }
                    }
                }
            },
            // Its kinds are told to attack, not it.
            Attack::Together => std::future::pending().await,
        }
    }

    /// Connects with a small buffer, so that the server has what is not read, not the system.
    async fn connect(&self, to: SocketAddr) -> Result<TcpStream, Error> {
        let _turn = self.connecting.acquire().await?;
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        let address = [127, 0, 0, 2 + u8::try_from(self.number % ADDRESSES)?];
        socket.bind((address, 0).into())?;
        socket.set_recv_buffer_size(u32::try_from(SIP)?)?;
        Ok(socket.connect(to).await?)
    }

    async fn send(
        &self,
        to: SocketAddr,
        request: &str,
        arrived: &mut bool,
    ) -> Result<TcpStream, Error> {
        let mut stream = self.connect(to).await?;
        stream.write_all(request.as_bytes()).await?;
        self.arrive(arrived);
        Ok(stream)
    }

    fn arrive(&self, arrived: &mut bool) {
        if !std::mem::replace(arrived, true) {
            self.counts.arrived.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads a little at a time.
    async fn sip(&self, target: &str, arrived: &mut bool) -> Result<(), Error> {
        let to = self.at.listen;
        let mut stream = self.send(to, &get(target, to), arrived).await?;
        let mut sip = vec![0; SIP];
        loop {
            stream.read_exact(&mut sip).await?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks for all at once on one connection; each stream may be sent so many bytes.
    async fn streams(
        &self,
        target: impl Fn(u64) -> String,
        window: u32,
        arrived: &mut bool,
    ) -> Result<(Vec<ResponseFuture>, SendRequest<Bytes>), Error> {
        let stream = self.connect(self.at.http2).await?;
        let mut builder = h2::client::Builder::new();
        let handshake = builder.initial_window_size(window).handshake(stream);
        let (mut sender, connection) = handshake.await?;
        // It ends with its requests, and they with this client.
        tokio::spawn(async move { drop(connection.await) });
        let mut answers = Vec::new();
        for stream in 0..self.streams {
            let uri = format!("http://{}{}", self.at.listen, target(stream));
            sender = sender.ready().await?;
            let (answer, _) = sender.send_request(Request::get(uri).body(())?, true)?;
            answers.push(answer);
        }
        self.arrive(arrived);
        Ok((answers, sender))
    }
}

fn get(target: &str, host: SocketAddr) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// Reads and drops what comes until nothing more can.
async fn until_closed(stream: &mut TcpStream) -> Result<(), Error> {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// Waits for the first bytes of an answer.
async fn until_answered(stream: &mut TcpStream) -> Result<(), Error> {
    match stream.read(&mut [0; 64]).await? {
        0 => Err("closed without an answer".into()),
        _ => Ok(()),
    }
}

/// Waits until the connection of these streams is closed. They are not read.
async fn closed(sender: SendRequest<Bytes>, _unread: &[ResponseFuture]) -> Result<(), Error> {
    let mut sender = sender;
    loop {
        tokio::time::sleep(LOOK).await;
        // Waits for a free stream as long as the connection lives.
        if let Ok(ready) = tokio::time::timeout(LOOK, sender.clone().ready()).await {
            sender = ready?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forces_follow_the_scale_and_fit_into_open_files() {
        let words = |attack: Attack, scale, files| {
            let forces = attack.forces(scale, files);
            forces.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(words(Attack::Idle, 1.0, 65_536), "idle x 15000");
        assert_eq!(words(Attack::Idle, 0.05, 65_536), "idle x 750");
        assert_eq!(words(Attack::Idle, 1.0, 1_000), "idle x 900");
        assert_eq!(words(Attack::HangingH2, 1.0, 20_000), "hanging-h2 x 90 x 200");
        assert_eq!(words(Attack::Admin, 0.01, 65_536), "admin x 600");
        assert_eq!(Attack::Together.forces(1.0, 65_536).len(), KINDS.len());
    }
}
