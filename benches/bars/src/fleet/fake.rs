//! Fake nodes: they follow control like real ones, directly or through real relays, and have nothing
//! stored. All of them are on one thread, which reads whatever has come at once and answers it with
//! one write, so that it is control that is measured, and the relays.

mod attach;

use crate::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use weir_protocol::frame::{FromControl, FromNode, Hello, Welcomed};
use weir_protocol::lines::write_line;
use weir_protocol::relay::Ticket;
use weir_protocol::stats::Stats;
use weir_protocol::{PATH, PROTOCOL};
use weir_rules::log::Standing;
use weir_rules::tier::Tier;

/// Bytes read at once.
const READ: usize = 256 << 10;

/// Nodes that join at once.
const JOINING: usize = 256;

/// Regions that they are spread over.
const REGIONS: usize = 4;

/// How an entry begins, as control writes it.
const ENTRY: &[u8] = b"{\"frame\":\"entry\",\"seq\":";

/// Fake nodes, until this is dropped.
pub(super) struct Fleet {
    nodes: usize,
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    joined: AtomicUsize,
    stop: AtomicBool,
    /// What each node applied.
    applied: Vec<AtomicU64>,
    failed: Mutex<Option<String>>,
}

impl Fleet {
    /// Has so many nodes join control, and then follow it through these relays by turns, if there
    /// are any.
    pub(super) fn start(
        control: SocketAddr,
        relays: &[SocketAddr],
        nodes: usize,
    ) -> Result<Self, Error> {
        let relays: Arc<[SocketAddr]> = relays.into();
        let applied = (0..nodes).map(|_| AtomicU64::new(0)).collect();
        let seen = Arc::new(Seen { applied, ..Seen::default() });
        let shared = Arc::clone(&seen);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("fleet".to_owned()).spawn(move || {
            runtime.block_on(async {
                let joining = Arc::new(Semaphore::new(JOINING));
                let mut set = JoinSet::new();
                for number in 0..nodes {
                    let (joining, shared) = (Arc::clone(&joining), Arc::clone(&shared));
                    let relays = Arc::clone(&relays);
                    set.spawn(async move {
                        let permit = joining.acquire_owned().await?;
                        let relay = relays.get(number % relays.len().max(1)).copied();
                        let mut node = Node::join(control, number, relay.is_some()).await?;
                        if let Some(relay) = relay {
                            node.attach(relay).await?;
                        }
                        drop(permit);
                        shared.joined.fetch_add(1, Ordering::Relaxed);
                        node.follow(&shared.applied[number]).await
                    });
                }
                while !shared.stop.load(Ordering::Relaxed) {
                    let ended = tokio::time::timeout(Duration::from_millis(50), set.join_next());
                    if let Ok(Some(ended)) = ended.await {
                        let error = match ended {
                            Ok(Ok(never)) => match never {},
                            Ok(Err(error)) => error.to_string(),
                            Err(error) => error.to_string(),
                        };
                        shared.fail(error);
                    }
                }
            });
        })?;
        Ok(Self { nodes, seen, thread: Some(thread) })
    }

    /// Waits until control has let all of them in.
    pub(super) fn until_joined(&self, patience: Duration) -> Result<(), Error> {
        self.until(patience, "joined", |seen| seen.joined.load(Ordering::Relaxed) == self.nodes)
    }

    /// Waits until all of them have applied everything up to `seq`.
    pub(super) fn until_applied(&self, seq: u64, patience: Duration) -> Result<(), Error> {
        let all = |seen: &Seen| seen.applied.iter().all(|at| at.load(Ordering::Relaxed) >= seq);
        self.until(patience, "applied everything", all)
    }

    /// Whether each of them got every entry.
    pub(super) fn check(&self) -> Result<(), Error> {
        match &*self.seen.failed.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(format!("a node: {error}").into()),
            None => Ok(()),
        }
    }

    fn until(
        &self,
        patience: Duration,
        what: &str,
        is: impl Fn(&Seen) -> bool,
    ) -> Result<(), Error> {
        let end = Instant::now() + patience;
        while !is(&self.seen) {
            self.check()?;
            if Instant::now() > end {
                return Err(format!("not all nodes have {what} after {patience:?}").into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Seen {
    fn fail(&self, error: String) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// What no connection ends with while all is well.
enum Never {}

/// A node that was let in.
struct Node {
    stream: TcpStream,
    follower: Follower,
}

impl Node {
    /// Joins control; returns when it was let in.
    async fn join(control: SocketAddr, number: usize, behind: bool) -> Result<Self, Error> {
        let mut stream = upgraded(control, PROTOCOL, "").await?;
        let mut out = Vec::new();
        write_line(&mut out, &FromNode::Hello(hello(number, behind)))?;
        stream.write_all(&out).await?;
        let mut node = Self { stream, follower: Follower::new() };
        while node.follower.at.is_none() {
            node.turn().await?;
        }
        Ok(node)
    }

    /// Goes on until something is wrong.
    async fn follow(mut self, applied: &AtomicU64) -> Result<Never, Error> {
        loop {
            if let Some(at) = self.follower.at {
                applied.store(at, Ordering::Relaxed);
            }
            self.turn().await?;
        }
    }

    /// Takes what has come, once something has, and answers it.
    async fn turn(&mut self) -> Result<(), Error> {
        self.stream.readable().await?;
        let Self { stream, follower } = self;
        let answer = READING.with_borrow_mut(|buffer| {
            buffer.resize(READ, 0);
            match stream.try_read(buffer) {
                Ok(0) => Err("control or the relay ended the connection".into()),
                Ok(length) => follower.hear(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Vec::new()),
                Err(error) => Err(Error::from(error)),
            }
        })?;
        if !answer.is_empty() {
            stream.write_all(&answer).await?;
        }
        Ok(())
    }
}

/// A connection that was upgraded to `protocol`; the lines of `fields` are part of the request.
async fn upgraded(at: SocketAddr, protocol: &str, fields: &str) -> Result<TcpStream, Error> {
    let mut stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    let ask = format!(
        "GET {PATH} HTTP/1.1\r\nHost: {at}\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n{fields}\r\n"
    );
    stream.write_all(ask.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    if !head.starts_with(b"HTTP/1.1 101 ") {
        return Err(String::from_utf8_lossy(&head).into_owned().into());
    }
    Ok(stream)
}

thread_local! {
    /// What the node reads into whose turn it is.
    static READING: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Where a node stands.
struct Follower {
    /// What it applied; `None` before the welcome.
    at: Option<u64>,
    /// Control's answer to its hello, until it is needed.
    welcomed: Option<Box<Welcomed>>,
    /// To a relay, until it is shown.
    ticket: Option<Ticket>,
    begun: Instant,
    /// The beginning of a line.
    rest: Vec<u8>,
}

impl Follower {
    fn new() -> Self {
        let (at, welcomed, ticket, rest) = (None, None, None, Vec::new());
        Self { at, welcomed, ticket, begun: Instant::now(), rest }
    }

    /// Takes what came, and answers it.
    fn hear(&mut self, came: &[u8]) -> Result<Vec<u8>, Error> {
        let (mut out, before) = (Vec::new(), self.at);
        let mut lines = came.split_inclusive(|byte| *byte == b'\n');
        if !self.rest.is_empty() {
            self.rest.extend(lines.next().unwrap_or_default());
            if !self.rest.ends_with(b"\n") {
                return Ok(out);
            }
            let first = std::mem::take(&mut self.rest);
            self.line(&first, &mut out)?;
        }
        for line in lines {
            match line.ends_with(b"\n") {
                true => self.line(line, &mut out)?,
                false => self.rest = line.to_vec(),
            }
        }
        if let (Some(seq), true) = (self.at, self.at != before) {
            write_line(&mut out, &FromNode::Applied { seq })?;
            let first = before.unwrap_or(seq) + 1;
            if first <= seq {
                let counts = (first..=seq).map(|seq| (seq, 0)).collect();
                write_line(&mut out, &FromNode::Matched { counts })?;
            }
        }
        Ok(out)
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        if let Some(text) = line.strip_prefix(ENTRY) {
            let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
            let seq = digits.fold(0, |seq, digit| seq * 10 + u64::from(digit - b'0'));
            return self.entry(seq);
        }
        match serde_json::from_slice(line)? {
            FromControl::Welcome(welcomed) => {
                self.at = Some(welcomed.place.after);
                self.welcomed = Some(Box::new(welcomed));
            }
            FromControl::Ticket { ticket, .. } => self.ticket = Some(ticket?),
            FromControl::Entry(entry) => self.entry(entry.seq)?,
            FromControl::Heartbeat { .. } => {
                let uptime_ms = u64::try_from(self.begun.elapsed().as_millis())?;
                write_line(out, &FromNode::Alive(Stats { uptime_ms, ..Stats::default() }))?;
            }
            FromControl::Remember { .. } => {}
            other => return Err(format!("{other:?}").into()),
        }
        Ok(())
    }

    fn entry(&mut self, seq: u64) -> Result<(), Error> {
        match self.at {
            Some(at) if at + 1 == seq => {
                self.at = Some(seq);
                Ok(())
            }
            at => Err(format!("entry {seq} came after {at:?}").into()),
        }
    }
}

fn hello(number: usize, behind: bool) -> Hello {
    // Only edges follow a relay.
    let is_parent = number.is_multiple_of(10) && !behind;
    Hello {
        name: format!("fake-{number:05}"),
        tier: if is_parent { Tier::Parent } else { Tier::Edge },
        region: format!("region-{}", number % REGIONS),
        listen: "127.0.0.1:1".to_owned(),
        instance: format!("instance-{number}"),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        standing: Standing::default(),
        sites: None,
        secret: None,
        takes_over: None,
        validates_after_ms: None,
        ephemeral: false,
    }
}
