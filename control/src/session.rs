//! Control's side of the connections of nodes: entries go out in their order as they become
//! durable, acknowledgements come back, and control asks what nodes alone know.
//!
//! Of each connection one half reads and the other writes; neither waits for the other. Whatever
//! waits on its way to a node is bounded, and a node that is not heard, or takes nothing, for the
//! lease is dropped: it comes again and goes on where it stood.

use crate::auth::Caller;
use crate::control::Control;
use crate::ledger::{Ended, Joined, Right};
use crate::method;
use crate::sessions::{AwaitedAnswers, PendingQuestion};
use std::fmt;
use std::future::ready;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval_at, timeout, timeout_at};
use weir_config::Token;
use weir_protocol::frame::{FromControl, FromNode, Hello, SiteHosts};
use weir_protocol::lines::{Lines, write_line};
use weir_rules::invalidation::Seq;
use weir_rules::tier::Tier;

/// From the connection to the node's first line.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest of a node's words about itself, bytes.
const LONGEST_WORD: usize = 256;

/// From one heartbeat to the next, at most: what nodes tell of their traffic is to be fresh.
const LONGEST_BEAT: Duration = Duration::from_secs(1);

/// Purges by method of one node that are under way at once; further ones get 429.
const MOST_PURGES: usize = 64;

/// From entries sent to the next ones, at most, while more are on their way: they go together. A
/// purge that comes alone waits for nothing; in a stream of them nodes wake less often than for each,
/// which leaves them to their hits.
const GATHER: Duration = Duration::from_millis(4);

/// Entries asked of the ledger at once, and bytes written at once.
const ENTRIES: usize = 256;
const BATCH: usize = 256 << 10;

/// Of the buffer for that, what is kept while there is nothing to write, bytes.
const IDLE: usize = 1 << 10;

/// How a node's connection was made.
pub(super) enum Entrance {
    /// Within this process.
    InProcess,
    /// By a call of this caller.
    Call(Caller),
}

impl Entrance {
    fn caller(&self) -> Caller {
        match self {
            Self::InProcess => Caller::Local,
            Self::Call(caller) => caller.clone(),
        }
    }

    /// By what right a node joins under this name; in words why there is none.
    fn right(&self, name: &str, tokens: &[Token]) -> Result<Right, String> {
        let caller = self.caller();
        let token = caller.name().to_owned();
        let binds = |token: &Token| token.nodes.iter().any(|bound| bound == name);
        let entitled = match self {
            Self::InProcess => true,
            Self::Call(Caller::Bearer(shown)) if binds(shown) => true,
            Self::Call(Caller::Bearer(shown)) if !shown.nodes.is_empty() => {
                let nodes = shown.nodes.join(", ");
                return Err(format!("the token {token:?} is for the nodes {nodes}, not {name:?}"));
            }
            Self::Call(_) => match tokens.iter().find(|token| binds(token)) {
                Some(_) => {
                    return Err(format!(
                        "the name {name:?} is for another token ([[token]] nodes)"
                    ));
                }
                None => false,
            },
        };
        Ok(Right { token, entitled })
    }
}

/// Why a connection ended.
#[derive(Debug)]
enum Over {
    /// The node drained and said so.
    Left,
    /// The node closed it.
    Closed,
    /// It broke, or what came over it was no frame; in words.
    Broke(String),
    /// Nothing was heard, or nothing taken, for so long.
    Silent(Duration),
    /// The node said what it must not say.
    Misspoke(&'static str),
    /// The token by which it was let in is not known any more.
    Locked,
    /// The entries that the node needs next are forgotten.
    Outrun(Seq),
    /// The ledger ended it.
    Ledger(Ended),
    /// The ledger cannot take what the node said.
    Journal(String),
    /// Control stops.
    Stopping,
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("it drained and left"),
            Self::Closed => f.write_str("it closed the connection"),
            Self::Broke(error) => f.write_str(error),
            Self::Silent(lease) => write!(f, "silent for {} ms", lease.as_millis()),
            Self::Misspoke(why) => f.write_str(why),
            Self::Locked => f.write_str("its token is no longer valid"),
            Self::Outrun(seq) => write!(
                f,
                "it needs the entries up to {seq}, which the log no \
                 longer has"
            ),
            Self::Ledger(Ended::Replaced) => f.write_str("it connected again"),
            Self::Ledger(Ended::Forgotten) => f.write_str("it is no longer expected"),
            Self::Ledger(Ended::Restored) => f.write_str("the log got a new id"),
            Self::Journal(error) => write!(f, "the journal cannot be written: {error}"),
            Self::Stopping => f.write_str("control stops"),
        }
    }
}

/// Attends a node's connection to its end.
pub(super) async fn attend<T>(control: Arc<Control>, entrance: Entrance, transport: T)
where
    T: AsyncRead + AsyncWrite + Send,
{
    let caller = entrance.caller();
    let (reading, mut writing) = tokio::io::split(transport);
    let mut lines = Lines::new(reading);
    let hello = tokio::select! {
        hello = hello(&mut lines) => hello,
        () = control.stopped() => return,
    };
    let hello = match hello {
        Ok(hello) => hello,
        Err(reason) => {
            tracing::warn!(caller = caller.name(), reason, "a node was refused");
            control.refused_joins.count("malformed");
            return refuse(&mut writing, reason, false).await;
        }
    };
    let name = hello.name.clone();
    let joined = match entrance.right(&name, &control.config().tokens) {
        Ok(right) => control
            .ledger
            .join(&hello, &right, Instant::now())
            .await
            .map_err(|error| (error.word(), error.is_temporary(), error.to_string())),
        Err(reason) => Err(("reserved", false, reason)),
    };
    let joined = match joined {
        Ok(joined) => joined,
        Err((word, temporary, reason)) => {
            tracing::warn!(node = name, caller = caller.name(), reason, "a node was refused");
            control.refused_joins.count(word);
            return refuse(&mut writing, reason, temporary).await;
        }
    };
    let keep = joined.welcomed.place.keep;
    tracing::info!(node = name, after = joined.welcomed.place.after, keep, "node connected");
    control.events.joined(&hello, &joined.welcomed.place);
    let (session, outgoing) = Session::new(&control, caller, (&name, hello.tier), joined);
    let over = session.run(lines, writing, outgoing).await;
    match over {
        Over::Left | Over::Stopping => tracing::info!(node = name, "node disconnected: {over}"),
        _ => tracing::warn!(node = name, "node disconnected: {over}"),
    }
    control.events.parted(&name, &over.to_string());
}

/// The node's first line.
async fn hello<R: AsyncRead + Unpin>(lines: &mut Lines<R>) -> Result<Hello, String> {
    match timeout(HELLO_TIMEOUT, lines.next()).await {
        Ok(Ok(Some(FromNode::Hello(hello)))) => acceptable(&hello).map(|()| hello),
        Ok(Ok(Some(_))) => Err("the first line is not a hello".into()),
        Ok(Ok(None)) => Err("closed before its hello".into()),
        Ok(Err(error)) => Err(format!("the first line is not a hello: {error}")),
        Err(_) => Err(format!("no hello within {} s", HELLO_TIMEOUT.as_secs())),
    }
}

/// What a node says of itself stands in answers, metrics and logs.
fn acceptable(hello: &Hello) -> Result<(), String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    for (field, text) in [("name", &hello.name), ("region", &hello.region)] {
        if text.is_empty() || text.len() > 64 || !text.bytes().all(token) {
            let accepted = "accepted: a token of RFC 9110 §5.6.2 of at most 64 characters";
            return Err(format!("{field} {:?}; {accepted}", crate::fields::shorten(text)));
        }
    }
    for SiteHosts { id, hosts } in hello.sites.iter().flatten() {
        let texts = [id].into_iter().chain(hosts);
        if let Some(text) = texts.into_iter().find(|text| !is_site_text(text)) {
            let accepted = "accepted: ids and hosts of sites";
            return Err(format!("sites {:?}; {accepted}", crate::fields::shorten(text)));
        }
    }
    let words =
        [("listen", &hello.listen), ("instance", &hello.instance), ("version", &hello.version)];
    let words = words.into_iter().chain(hello.takes_over.iter().map(|text| ("takes_over", text)));
    for (field, text) in words {
        if text.len() > LONGEST_WORD || text.chars().any(char::is_control) {
            let accepted = "accepted: at most 256 bytes without control characters";
            return Err(format!("{field} {:?}; {accepted}", crate::fields::shorten(text)));
        }
    }
    Ok(())
}

/// Whether it can be a site's id, or one of its hosts.
fn is_site_text(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.:[]*".contains(&b);
    (1..=LONGEST_WORD).contains(&text.len()) && text.bytes().all(allowed)
}

/// Tells a node why it is not let in, if it takes it.
async fn refuse(writing: &mut (impl AsyncWrite + Unpin), reason: String, temporary: bool) {
    let mut out = Vec::new();
    if write_line(&mut out, &FromControl::Refused { reason, temporary }).is_ok() {
        let _ = timeout(HELLO_TIMEOUT, async {
            writing.write_all(&out).await?;
            writing.shutdown().await
        })
        .await;
    }
}

/// One node's connection, from its welcome on. Dropping it tells the ledger that it ended.
struct Session<'a> {
    control: &'a Arc<Control>,
    caller: Caller,
    name: &'a str,
    tier: Tier,
    joined: Joined,
    lease: Duration,
    // Boxed: a channel has room for 32 from its beginning.
    answers: mpsc::Sender<Box<FromControl>>,
    awaited: Mutex<AwaitedAnswers>,
    purges: Arc<Semaphore>,
    /// How many [`FromNode::Alive`] were heard.
    alive: AtomicU64,
}

/// What waits to be written beside entries and heartbeats.
struct Outgoing {
    answers: mpsc::Receiver<Box<FromControl>>,
    asked: mpsc::Receiver<PendingQuestion>,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.control.sessions.end(self.joined.session);
        self.control.ledger.parted(self.joined.session);
    }
}

impl<'a> Session<'a> {
    fn new(
        control: &'a Arc<Control>,
        caller: Caller,
        (name, tier): (&'a str, Tier),
        joined: Joined,
    ) -> (Self, Outgoing) {
        let (answers, to_write) = mpsc::channel(MOST_PURGES);
        let asked = control.sessions.begin(joined.session);
        let session = Self {
            control,
            caller,
            name,
            tier,
            joined,
            lease: control.config().control.lease,
            answers,
            awaited: Mutex::default(),
            purges: Arc::new(Semaphore::new(MOST_PURGES)),
            alive: AtomicU64::new(0),
        };
        (session, Outgoing { answers: to_write, asked })
    }

    async fn run<R, W>(self, mut lines: Lines<R>, mut writing: W, outgoing: Outgoing) -> Over
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut ended = self.joined.ended.clone();
        let over = async {
            // An error says that the ledger is gone, which ends control as well.
            let reason = ended.wait_for(Option::is_some).await.ok().and_then(|reason| *reason);
            reason.map_or(Over::Stopping, Over::Ledger)
        };
        tokio::select! {
            over = over => over,
            over = self.read(&mut lines) => over,
            over = self.write(&mut writing, outgoing) => over,
            () = self.control.stopped() => Over::Stopping,
        }
    }

    /// Takes what the node says, until it says no more.
    async fn read<R: AsyncRead + Unpin>(&self, lines: &mut Lines<R>) -> Over {
        loop {
            let frame = match timeout(self.lease, lines.next()).await {
                Ok(Ok(Some(frame))) => frame,
                Ok(Ok(None)) => return Over::Closed,
                Ok(Err(error)) => return Over::Broke(error.to_string()),
                Err(_) => return Over::Silent(self.lease),
            };
            if let Err(over) = self.take(frame).await {
                return over;
            }
        }
    }

    async fn take(&self, frame: FromNode) -> Result<(), Over> {
        let (ledger, session) = (&self.control.ledger, self.joined.session);
        let now = Instant::now();
        match frame {
            FromNode::Hello(_) => return Err(Over::Misspoke("it said hello twice")),
            FromNode::Applied { seq } => {
                if !ledger.applied(session, seq, now) {
                    return Err(Over::Misspoke("it acknowledged what was never sent"));
                }
                self.control.events.applied(self.name, seq);
            }
            FromNode::Matched { counts } => {
                ledger.heard(session, now, None);
                ledger.matched(session, &counts);
            }
            FromNode::Alive(stats) => {
                // Two processes count each for itself.
                if ledger.heard(session, now, Some(stats.clone())) {
                    self.control.traffic.hear(self.name, self.tier, &stats, now);
                }
                self.alive.fetch_add(1, Ordering::Relaxed);
            }
            FromNode::Answer { ask, result } => {
                ledger.heard(session, now, None);
                self.awaited.lock().unwrap_or_else(PoisonError::into_inner).answered(ask, result);
            }
            FromNode::Purge { call, url, site, soft } => {
                ledger.heard(session, now, None);
                self.purge(call, method::MethodPurge { url, site, soft }).await;
            }
            FromNode::Unknown => {
                ledger.heard(session, now, None);
                tracing::debug!(node = self.name, "an unknown frame");
            }
            FromNode::Ended { instance } => {
                ledger.heard(session, now, None);
                if let Err(error) = ledger.ended(session, instance).await {
                    return Err(Over::Journal(error.to_string()));
                }
            }
            FromNode::Away if ledger.away(session, now) => return Err(Over::Left),
            FromNode::Leave | FromNode::Away => {
                return Err(match ledger.leave(session).await {
                    Ok(()) => Over::Left,
                    Err(error) => Over::Journal(error.to_string()),
                });
            }
        }
        Ok(())
    }

    /// Has a purge by method done beside this, for it waits for all nodes, this one among them.
    async fn purge(&self, call: u64, asked: method::MethodPurge) {
        let answers = self.answers.clone();
        let Ok(permit) = self.purges.clone().try_acquire_owned() else {
            let (status, body) = crate::errors::ApiError::busy().into_parts();
            let refused = FromControl::Purged { call, status: status.as_u16(), body };
            // Fails only when the connection ended.
            let _ = answers.send(Box::new(refused)).await;
            return;
        };
        let (control, caller) = (self.control.clone(), self.caller.clone());
        tokio::spawn(async move {
            let (status, body) = method::purge(&control, &caller, asked).await;
            // Fails only when the connection ended, and then nobody waits.
            let _ = answers.send(Box::new(FromControl::Purged { call, status, body })).await;
            drop(permit);
        });
    }

    /// Sends entries as they come, heartbeats, questions and answers.
    async fn write<W: AsyncWrite + Unpin>(&self, writing: &mut W, mut outgoing: Outgoing) -> Over {
        let mut heads = self.control.ledger.heads();
        let mut sent = self.joined.welcomed.place.after;
        let beat = (self.lease / 5).min(LONGEST_BEAT);
        let mut beats = interval_at(tokio::time::Instant::now() + beat, beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut out = Vec::new();
        let mut welcomed = self.joined.welcomed.clone();
        // As of now: the log may have gone on since the node joined.
        welcomed.place.head = self.control.ledger.head();
        let mut frame = Some(FromControl::Welcome(welcomed));
        let mut gathered = tokio::time::Instant::now();
        loop {
            let before = sent;
            let added = match frame.take() {
                Some(frame) => line(&frame, &mut out),
                None => Ok(()),
            };
            let more = match added.and_then(|()| self.entries(&mut sent, &mut out)) {
                Ok(more) => more,
                Err(over) => return over,
            };
            if !out.is_empty() {
                match timeout(self.lease, flushed(writing, &out)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Over::Broke(error.to_string()),
                    Err(_) => return Over::Silent(self.lease),
                }
                out.clear();
                out.shrink_to(if more { BATCH } else { IDLE });
            }
            if sent > before && !more {
                gathered = tokio::time::Instant::now() + GATHER;
            }
            let moved = self.gathered(&mut heads, gathered);
            frame = tokio::select! {
                // A long backlog holds up none of these: a node keeps its lease by heartbeats.
                biased;
                _ = beats.tick() => {
                    if !self.is_let_in() {
                        return Over::Locked;
                    }
                    // What was heard first: the head is then at least that of when it was heard.
                    let heard = Some(self.alive.load(Ordering::Relaxed));
                    Some(FromControl::Heartbeat { head: Some(self.control.ledger.head()), heard })
                }
                Some(asked) = outgoing.asked.recv() => self.number(asked),
                Some(answer) = outgoing.answers.recv() => Some(*answer),
                () = ready(()), if more => None,
                moved = moved => match moved {
                    Ok(()) => None,
                    Err(_) => return Over::Stopping,
                },
            };
        }
    }

    /// Until there is something to send, and nothing more on its way or `by` is past.
    async fn gathered(
        &self,
        heads: &mut watch::Receiver<Seq>,
        by: tokio::time::Instant,
    ) -> Result<(), watch::error::RecvError> {
        heads.changed().await?;
        while self.control.ledger.is_busy() {
            match timeout_at(by, heads.changed()).await {
                Ok(moved) => moved?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// A reload may have taken the token away that the node was let in by.
    fn is_let_in(&self) -> bool {
        match &self.caller {
            Caller::Local => true,
            Caller::Bearer(token) => self.control.config().tokens.contains(token),
        }
    }

    fn number(&self, asked: PendingQuestion) -> Option<FromControl> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner).number(asked)
    }

    /// Adds the entries after `sent`, up to a batch; whether there are more.
    fn entries(&self, sent: &mut Seq, out: &mut Vec<u8>) -> Result<bool, Over> {
        let forgotten = |gone: crate::ledger::Forgotten| Over::Outrun(gone.up_to);
        let entries = self.control.ledger.after(*sent, ENTRIES).map_err(forgotten)?;
        for listed in &entries {
            out.extend_from_slice(&listed.lines());
            *sent = listed.seq();
            if out.len() >= BATCH {
                return Ok(true);
            }
        }
        Ok(entries.len() == ENTRIES)
    }
}

fn line(frame: &FromControl, out: &mut Vec<u8>) -> Result<(), Over> {
    write_line(out, frame).map_err(|error| Over::Broke(error.to_string()))
}

async fn flushed(writing: &mut (impl AsyncWrite + Unpin), out: &[u8]) -> io::Result<()> {
    writing.write_all(out).await?;
    writing.flush().await
}

#[cfg(test)]
mod tests;
