//! What clients that wait cost: an idle connection, an idle HTTP/2 connection, and a request that waits
//! for the origin, with its connection.

use crate::check::{Checks, mib};
use crate::client;
use crate::origin::OriginSim;
use crate::program::{Folder, Programs, Weir};
use crate::{Error, scaled, siege};
use bytes::Bytes;
use clap::ValueEnum;
use h2::client::SendRequest;
use http::Request;
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Clients at full size, and the least that makes what a node has once count for little.
const CLIENTS: (u64, u64) = (6_000, 1_500);
/// Those that come before, so that what is there once is there.
const FIRST: u64 = 200;
/// How many connect at once.
const AT_ONCE: u64 = 64;
/// How long a state of the node is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(100);
/// So many looks in a row that find about the same RSS: by then idle connections rest, and what they gave up has
/// been given back.
const STILL: u32 = 50;
/// About the same: the node's threads give free memory back now and then, and take some again for each look.
const ABOUT: u64 = 128 << 10;

const HIT: &str = "/hit";
const BODY: &str = "This is what is stored.";

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// They had an answer, and their HTTP/1.1 connections stay open
    Idle,
    /// The same over HTTP/2
    IdleH2,
    /// Each has asked for a URL of its own, and waits for one of the connections to the origin
    Queued,
    /// The same, and each has such a connection
    Waiting,
    /// The same for streams of HTTP/2 connections that wait for one of the connections to the origin
    QueuedH2,
}

impl Kind {
    /// The most bytes of RSS that one may cost, and what is aimed at.
    fn most(self) -> (u64, u64) {
        match self {
            Self::Idle => (10 << 10, 6 << 10),
            Self::IdleH2 => (28 << 10, 24 << 10),
            Self::Queued => (14 << 10, 12 << 10),
            Self::Waiting => (16 << 10, 12 << 10),
            Self::QueuedH2 => (12 << 10, 12 << 10),
        }
    }

    /// Whether all that it costs is in the node's account: connections to the origin are not.
    fn is_counted(self) -> bool {
        self != Self::Waiting
    }

    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// Prints, and checks, what one client of each kind costs.
pub(crate) async fn run(
    kinds: &[Kind],
    programs: &Programs,
    scale: f64,
    checks: &mut Checks,
) -> Result<(), Error> {
    siege::raise_open_files()?;
    let kinds = if kinds.is_empty() { Kind::value_variants() } else { kinds };
    for kind in kinds {
        cost(*kind, programs, scaled(CLIENTS.0, scale, CLIENTS.1), checks).await?;
    }
    Ok(())
}

/// The head of a request as browsers send it, more or less.
const FIELDS: [(&str, &str); 7] = [
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "none"),
];

async fn cost(
    kind: Kind,
    programs: &Programs,
    count: u64,
    checks: &mut Checks,
) -> Result<(), Error> {
    let name = kind.name();
    println!("costs, {name}: {count} clients");
    let origin = OriginSim::scripted(programs, &script()).await?;
    let folder = Folder::new("costs")?;
    let at_origin = if kind == Kind::Waiting { 0 } else { 64 };
    let config = format!(
        "[memory]\nsize = \"64MiB\"\nmax_object = \"1MiB\"\n[limits]\norigin_connections = {at_origin}\n\
         [log]\nlevel = \"error\"\n[[site]]\norigins = [\"http://{}\"]\n\
         timeouts = {{ first_byte = \"10m\" }}\n",
        origin.at
    );
    let weir = Weir::configured(programs, &folder.file("node.toml", &config)?)?;
    client::once(weir.listen, "GET", HIT).await?;
    let mut clients = Clients { kind, to: weir.listen, held: Vec::new() };
    clients.come(0, FIRST).await?;
    settled(&weir, &clients).await?;
    let used = async || client::metric(weir.admin, "weir_connection_memory_bytes").await;
    let (before, used_before) = (weir.rss()?, used().await?);
    clients.come(FIRST, FIRST + count).await?;
    settled(&weir, &clients).await?;
    let (after, used_after) = (weir.rss()?, used().await?);
    checks.note(&format!("costs, {name}: before and after"), {
        format!("{}, {}", mib(before), mib(after))
    });
    let (each, (most, aim)) = (after.saturating_sub(before) / count, kind.most());
    checks.check(
        &format!("costs, {name}: bytes of RSS each, {aim} are the aim"),
        each <= most,
        each,
        most,
    );
    let counted = used_after.saturating_sub(used_before) / count;
    let name = format!("costs, {name}: bytes that the node counts for each");
    // A little more may be the allocator's.
    let least = each * 4 / 5;
    match kind.is_counted() {
        true => checks.check(&name, counted >= least, counted, format!("{least} at least")),
        false => checks.note(&name, counted),
    }
    Ok(())
}

/// Waits until the node has taken all that the clients sent, and its RSS stands still.
async fn settled(weir: &Weir, clients: &Clients) -> Result<(), Error> {
    let end = Instant::now() + PATIENCE;
    let mut last = (0, 0);
    loop {
        let running = client::metric(weir.admin, "weir_fills_running").await?;
        let there = running >= clients.waiting();
        let rss = weir.rss()?;
        let is_still = there && rss.abs_diff(last.0) <= ABOUT;
        last = if is_still { (last.0, last.1 + 1) } else { (rss, 0) };
        if last.1 == STILL {
            return Ok(());
        }
        if Instant::now() > end {
            let waiting = clients.waiting();
            return Err(match there {
                true => format!("RSS does not stand still, at {}", mib(rss)).into(),
                false => format!("{running} requests wait, not {waiting}").into(),
            });
        }
        tokio::time::sleep(SOON).await;
    }
}

/// The clients, each with what keeps its connection open.
struct Clients {
    kind: Kind,
    to: SocketAddr,
    held: Vec<Held>,
}

/// What keeps a connection open.
enum Held {
    Http1(#[expect(dead_code, reason = "open while it lives")] TcpStream),
    Http2(#[expect(dead_code, reason = "open while it lives")] SendRequest<Bytes>),
}

impl Clients {
    /// How many requests wait.
    fn waiting(&self) -> u64 {
        match self.kind {
            Kind::Idle | Kind::IdleH2 => 0,
            Kind::Queued | Kind::Waiting => self.held.len() as u64,
            Kind::QueuedH2 => self.held.len() as u64 * STREAMS,
        }
    }

    /// Has those of these numbers come.
    async fn come(&mut self, from: u64, to: u64) -> Result<(), Error> {
        let numbers: Vec<u64> = match self.kind {
            Kind::QueuedH2 => (from / STREAMS..to / STREAMS).collect(),
            _ => (from..to).collect(),
        };
        for some in numbers.chunks(AT_ONCE as usize) {
            let mut set = JoinSet::new();
            for number in some {
                set.spawn(one(self.kind, self.to, *number));
            }
            while let Some(ended) = set.join_next().await {
                self.held.push(ended??);
            }
        }
        Ok(())
    }
}

/// Streams of an HTTP/2 connection.
const STREAMS: u64 = 100;

async fn one(kind: Kind, to: SocketAddr, number: u64) -> Result<Held, Error> {
    let stream = TcpStream::connect(to).await?;
    match kind {
        Kind::Idle => http1(stream, HIT, true).await,
        Kind::Queued | Kind::Waiting => http1(stream, &format!("/hanging/{number}"), false).await,
        Kind::IdleH2 => {
            let mut sender = handshaken(stream).await?;
            let request = http2_request(to, HIT)?;
            let answer = sender.send_request(request, true)?.0.await?;
            let mut body = answer.into_body();
            while let Some(data) = body.data().await {
                let length = data?.len();
                body.flow_control().release_capacity(length)?;
            }
            Ok(Held::Http2(sender))
        }
        Kind::QueuedH2 => {
            let mut sender = handshaken(stream).await?;
            for stream in 0..STREAMS {
                let request = http2_request(to, &format!("/hanging/{number}/{stream}"))?;
                sender = sender.ready().await?;
                let (answer, _) = sender.send_request(request, true)?;
                // Until the other side ends it.
                tokio::spawn(answer);
            }
            Ok(Held::Http2(sender))
        }
    }
}

async fn http1(mut stream: TcpStream, target: &str, reads: bool) -> Result<Held, Error> {
    let mut request = format!("GET {target} HTTP/1.1\r\nhost: costs.example\r\n");
    for (name, value) in FIELDS {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while reads && !answer.ends_with(BODY.as_bytes()) {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err("closed in place of an answer".into());
        }
    }
    Ok(Held::Http1(stream))
}

async fn handshaken(stream: TcpStream) -> Result<SendRequest<Bytes>, Error> {
    let (sender, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender.ready().await?)
}

fn http2_request(to: SocketAddr, target: &str) -> Result<Request<()>, Error> {
    let mut request = Request::get(format!("http://{to}{target}"));
    for (name, value) in FIELDS {
        request = request.header(name, value);
    }
    Ok(request.body(())?)
}

fn script() -> serde_json::Value {
    json!({"routes": {
        HIT: {"body": BODY, "max_age": 86_400},
        "/hanging/*": {"held": true},
    }})
}
