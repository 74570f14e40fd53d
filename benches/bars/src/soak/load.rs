//! Who acts in a soak: clients, slow clients, who purges, and the faults of the origin.

use crate::Error;
use crate::client::{self, Answer, Client};
use crate::dice::Dice;
use crate::topology::purge;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use weir_origin_sim::pattern::first_difference;

/// URLs: of which none ever fails, of which each fails now and then, and of which slow clients read.
const SOUND: u64 = 24;
const FAULTY: u64 = 12;
const SLOW: u64 = 8;
/// Bytes of the body of a slow client, and how it reads them.
const LONG: u64 = 1 << 20;
const SIP: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_millis(100);
const HEAD: usize = 16 * 1024;

const CLIENTS: u64 = 16;
const SLOW_CLIENTS: u64 = 24;
/// How long one waits for an answer. It is longer than what a fault takes.
const PATIENCE: Duration = Duration::from_secs(20);
const PURGE: Duration = Duration::from_millis(50);
const FAULT: Duration = Duration::from_millis(100);

/// What must not be: the names of its checks.
pub(super) const WRONG: &str = "wrong bodies";
pub(super) const UNEXPLAINED: &str = "failures that no fault explains";
pub(super) const PURGES: &str = "purges that failed";

/// What happened.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Answers to clients, and their bodies, all of which are compared.
    pub(super) answers: AtomicU64,
    pub(super) bodies: AtomicU64,
    pub(super) wrong: AtomicU64,
    /// Failures of URLs that never fail, and failures that are not visible as such.
    pub(super) unexplained: AtomicU64,
    /// Failures of URLs that do.
    pub(super) broken: AtomicU64,
    pub(super) faults: AtomicU64,
    pub(super) purges: AtomicU64,
    pub(super) purges_failed: AtomicU64,
    /// Responses that slow clients have read, and that they have left.
    pub(super) slow: AtomicU64,
    pub(super) left: AtomicU64,
    why: Mutex<BTreeMap<&'static str, String>>,
}

impl Counts {
    /// The first of each kind of failure.
    pub(super) fn why(&self) -> BTreeMap<&'static str, String> {
        self.reasons().clone()
    }

    fn reasons(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, count: &AtomicU64, kind: &'static str, why: String) {
        add(count);
        self.reasons().entry(kind).or_insert(why);
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// A URL and its body.
#[derive(Clone, Copy, Debug)]
struct Url {
    kind: &'static str,
    number: u64,
}

impl Url {
    fn path(self) -> String {
        format!("/{}/{}", self.kind, self.number)
    }

    /// Seed and length of its body; no two are equal.
    fn body(self) -> (u64, u64) {
        match self.kind {
            "sound" => (1_000 + self.number, 1_000 + self.number * 2_700),
            "faulty" => (2_000 + self.number, 20_000 + self.number * 2_700),
            _ => (3_000 + self.number, LONG),
        }
    }

    /// What the origin answers where nothing is wrong.
    fn reply(self) -> Value {
        let (seed, length) = self.body();
        let control = match (self.kind, self.number % 3) {
            // Too large to wait in memory, and not stored.
            ("slow", _) => "private",
            // Validated again and again.
            ("faulty", _) | (_, 0) => "max-age=1",
            _ => "max-age=600",
        };
        json!({
            "body_pattern": [seed, length],
            "etag": format!("\"{seed}\""),
            "conditional": true,
            "headers": [["Cache-Control", control]],
        })
    }
}

fn urls() -> impl Iterator<Item = Url> {
    let kinds = [("sound", SOUND), ("faulty", FAULTY), ("slow", SLOW)];
    kinds.into_iter().flat_map(|(kind, count)| (0..count).map(move |number| Url { kind, number }))
}

/// The routes of the origin.
pub(super) fn script() -> Value {
    let routes: BTreeMap<_, _> = urls().map(|url| (url.path(), url.reply())).collect();
    json!({ "routes": routes })
}

/// All who act; they end when this is dropped.
pub(super) struct Load(#[expect(dead_code, reason = "they end with it")] JoinSet<()>);

impl Load {
    pub(super) fn begin(
        edge: SocketAddr,
        control: SocketAddr,
        origin: SocketAddr,
        counts: &Arc<Counts>,
    ) -> Self {
        let mut all = JoinSet::new();
        for number in 0..CLIENTS {
            all.spawn(clients(edge, Dice::of(number), Arc::clone(counts)));
        }
        for number in 0..SLOW_CLIENTS {
            all.spawn(slow_clients(edge, Dice::of(100 + number), Arc::clone(counts)));
        }
        all.spawn(purges(control, Dice::of(200), Arc::clone(counts)));
        all.spawn(faults(origin, Dice::of(300), Arc::clone(counts)));
        Self(all)
    }
}

/// A client that asks, on a connection for a while and then on another.
async fn clients(edge: SocketAddr, mut dice: Dice, counts: Arc<Counts>) {
    let mut client = None;
    loop {
        tokio::time::sleep(Duration::from_millis(dice.below(10))).await;
        let url = match dice.below(4) {
            0 => Url { kind: "faulty", number: dice.below(FAULTY) },
            _ => Url { kind: "sound", number: dice.below(SOUND) },
        };
        let asked = async {
            let mut open = match client.take() {
                Some(open) => open,
                None => Client::connect(edge).await?,
            };
            let answer = open.get(&url.path()).await?;
            Ok::<_, Error>((open, answer))
        };
        let answer = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok((open, answer))) => {
                client = (dice.below(50) > 0).then_some(open);
                Ok(answer)
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        };
        judge(url, answer, &counts);
    }
}

/// Whether an answer is what it may be.
fn judge(url: Url, answer: Result<Answer, String>, counts: &Counts) {
    add(&counts.answers);
    let path = url.path();
    let why = match answer {
        Ok(answer) if answer.status == 200 => {
            let (seed, length) = url.body();
            add(&counts.bodies);
            let differs = first_difference(seed, 0, &answer.body);
            if answer.body.len() as u64 != length || differs.is_some() {
                let why = format!("{path}: {} bytes, differs at {differs:?}", answer.body.len());
                counts.failed(&counts.wrong, WRONG, why);
            }
            return;
        }
        Ok(answer) if [502, 503, 504].contains(&answer.status) && url.kind == "faulty" => {
            return add(&counts.broken);
        }
        Ok(answer) => format!("{path}: {} {}", answer.status, answer.cache_status()),
        // It broke off, visibly.
        Err(why) if url.kind == "faulty" && !why.starts_with("no answer") => {
            return add(&counts.broken);
        }
        Err(why) => format!("{path}: {why}"),
    };
    counts.failed(&counts.unexplained, UNEXPLAINED, why);
}

/// A client that reads slowly, and now and then leaves.
async fn slow_clients(edge: SocketAddr, mut dice: Dice, counts: Arc<Counts>) {
    loop {
        let url = Url { kind: "slow", number: dice.below(SLOW) };
        let leaves = (dice.below(3) == 0).then(|| dice.below(LONG));
        match slowly(edge, url, leaves, &counts).await {
            Ok(true) => add(&counts.slow),
            Ok(false) => add(&counts.left),
            Err(error) => {
                let why = format!("{}, read slowly: {error}", url.path());
                counts.failed(&counts.unexplained, UNEXPLAINED, why);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Reads a response; `false` if it left at `leaves`.
async fn slowly(
    edge: SocketAddr,
    url: Url,
    leaves: Option<u64>,
    counts: &Counts,
) -> Result<bool, Error> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(u32::try_from(SIP)?)?;
    let mut stream = socket.connect(edge).await?;
    let request = format!("GET {} HTTP/1.1\r\nHost: {edge}\r\n\r\n", url.path());
    stream.write_all(request.as_bytes()).await?;
    let (mut read, mut buffer) = (Vec::new(), vec![0; SIP]);
    let end_of_head = loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        match stream.read(&mut buffer).await? {
            0 => return Err("closed within the head".into()),
            _ if read.len() > HEAD => return Err("the head does not end".into()),
            bytes => read.extend_from_slice(&buffer[..bytes]),
        }
    };
    if !read.starts_with(b"HTTP/1.1 200 ") {
        return Err(String::from_utf8_lossy(&read[..end_of_head]).into());
    }
    let (seed, length) = url.body();
    let mut at = 0;
    let mut part = read.split_off(end_of_head);
    add(&counts.bodies);
    loop {
        let differs = first_difference(seed, at, &part);
        at += part.len() as u64;
        if differs.is_some() || at > length {
            let why = format!("{}: differs at {differs:?}, {at} bytes", url.path());
            counts.failed(&counts.wrong, WRONG, why);
        }
        if at >= length || leaves.is_some_and(|leaves| at >= leaves) {
            return Ok(at >= length);
        }
        tokio::time::sleep(PAUSE).await;
        let bytes = match tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await {
            Err(_) => return Err(format!("nothing more after {at} bytes").into()),
            Ok(read) => read?,
        };
        if bytes == 0 {
            return Err(format!("closed after {at} bytes").into());
        }
        part.clear();
        part.extend_from_slice(&buffer[..bytes]);
    }
}

/// Purges of a URL, and now and then of everything, each on a new connection.
async fn purges(control: SocketAddr, mut dice: Dice, counts: Arc<Counts>) {
    loop {
        tokio::time::sleep(PURGE).await;
        let body = match dice.below(100) {
            0 => json!({"all": true, "wait_ms": 0}),
            _ => json!({"paths": [format!("/sound/{}", dice.below(SOUND))], "wait_ms": 0}),
        };
        let asked = async { purge(&mut Client::connect(control).await?, &body).await };
        add(&counts.purges);
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => counts.failed(&counts.purges_failed, PURGES, error.to_string()),
            Err(_) => counts.failed(&counts.purges_failed, PURGES, "no answer".into()),
        }
    }
}

/// The next answer of a URL is a fault, over and over.
async fn faults(origin: SocketAddr, mut dice: Dice, counts: Arc<Counts>) {
    loop {
        tokio::time::sleep(FAULT).await;
        let url = Url { kind: "faulty", number: dice.below(FAULTY) };
        let mut reply = url.reply();
        let fault = match dice.below(6) {
            0 => json!({"reset_before_head": true}),
            1 => json!({"reset_after": 10_000}),
            2 => json!({"truncate_after": 10_000}),
            3 => json!({"delay": "300ms"}),
            4 => json!({"close": true}),
            _ => json!({"status": 503}),
        };
        if let (Value::Object(reply), Value::Object(fault)) = (&mut reply, fault) {
            reply.extend(fault);
            reply.insert("conditional".into(), false.into());
        }
        let routes = json!([reply, url.reply()]).to_string();
        match set(origin, &url.path(), routes).await {
            Ok(()) => add(&counts.faults),
            Err(error) => {
                let why = format!("the origin takes no fault: {error}");
                counts.failed(&counts.unexplained, UNEXPLAINED, why);
            }
        }
    }
}

async fn set(origin: SocketAddr, path: &str, routes: String) -> Result<(), Error> {
    let target = format!("/__sim/route?path={path}");
    let answer = client::put(origin, &target, routes).await?;
    match answer.status {
        200 => Ok(()),
        status => Err(format!("{status}: {}", String::from_utf8_lossy(&answer.body)).into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use weir_origin_sim::{Script, pattern};

    #[test]
    fn the_origin_understands_all_routes_and_no_two_bodies_are_equal() {
        Script::from_json(script().to_string().as_bytes()).unwrap();
        let mut bodies: Vec<_> = urls().map(Url::body).collect();
        bodies.sort_unstable();
        bodies.dedup_by_key(|(seed, _)| *seed);
        assert_eq!(bodies.len(), urls().count());
    }

    #[test]
    fn an_answer_is_right_broken_or_unexplained() {
        let [sound, faulty] = ["sound", "faulty"].map(|kind| Url { kind, number: 3 });
        let counts = Counts::default();
        let answer = |url: Url, status| {
            let (seed, length) = url.body();
            let mut body = vec![0; usize::try_from(length).unwrap()];
            pattern::fill(seed, 0, &mut body);
            Answer { status, fields: http::HeaderMap::new(), body: body.into() }
        };
        let seen = || {
            [&counts.wrong, &counts.unexplained, &counts.broken]
                .map(|count| count.load(Ordering::Relaxed))
        };
        judge(sound, Ok(answer(sound, 200)), &counts);
        assert_eq!(seen(), [0, 0, 0]);
        judge(sound, Ok(answer(faulty, 200)), &counts);
        assert_eq!(seen(), [1, 0, 0]);
        judge(sound, Ok(answer(sound, 502)), &counts);
        judge(faulty, Ok(answer(faulty, 404)), &counts);
        judge(faulty, Err("no answer within 20s".into()), &counts);
        assert_eq!(seen(), [1, 3, 0]);
        judge(faulty, Ok(answer(faulty, 502)), &counts);
        judge(faulty, Err("connection reset".into()), &counts);
        assert_eq!(seen(), [1, 3, 2]);
    }
}
