//! Control's side of the connections of nodes: entries go out in their order as they become
//! durable, acknowledgements come back, and control asks what nodes alone know.
//!
//! Of each connection one half reads and the other writes; neither waits for the other. Whatever
//! waits on its way to a node is bounded, and a node that is not heard, or takes nothing, for the
//! lease is dropped: it comes again and goes on where it stood.

use crate::auth::Caller;
use crate::control::Control;
use crate::ledger::{Ended, Joined, Right, SessionId};
use crate::method;
use crate::relays::RelaySide;
use crate::sessions::{AwaitedAnswers, PendingQuestion};
use crate::traffic::history::{Now, Teller};
use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
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
use wire::{Direct, Hears, Speaks};

mod behind;
mod wire;

/// From the connection to the node's first line.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest of a node's words about itself, bytes.
const LONGEST_WORD: usize = 256;

/// From one heartbeat to the next, at most, with few nodes: what they tell of their traffic is to be
/// fresh.
const FRESH: Duration = Duration::from_secs(1);

/// Heartbeats a second, in about; with more nodes each has fewer, and at least five a lease.
const BEATS: usize = 10_000;

/// Purges by method of one node that are under way at once; further ones get 429.
const MOST_PURGES: usize = 64;

/// From entries sent to the next ones, at most, while more are on their way: they go together. A
/// purge that comes alone waits for nothing; in a stream of them nodes wake less often than for each,
/// which leaves them to their hits.
const GATHER: Duration = Duration::from_millis(4);

/// Batches of lines for edges behind a relay that wait to be sent to it.
const MOST_RELAYED: usize = 256;

/// Entries asked of the ledger at once, and bytes written at once.
const ENTRIES: usize = 256;
const BATCH: usize = 256 << 10;

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
            Self::Ledger(Ended::Attached) => f.write_str("it goes on through a relay"),
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
    let (name, tier) = (hello.name.clone(), hello.tier);
    let joined = match entrance.right(&name, &control.config().tokens) {
        Ok(right) => control
            .ledger
            .join(&hello, &right, Instant::now())
            .await
            .map_err(|error| (error.word(), error.is_temporary(), error.to_string())),
        Err(reason) => Err(("reserved", false, reason)),
    };
    // A welcome renews the lease as of the hello, which is earlier: no other process was the writer then.
    let joined = joined.and_then(|joined| match control.is_sure() {
        true => Ok(joined),
        false => {
            control.ledger.parted(joined.session);
            Err(("unsure", true, "another process of control may be the writer".to_owned()))
        }
    });
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
    // A parent serves no browser, and gets nothing for that.
    let sites = hello.sites.filter(|_| tier == Tier::Edge);
    let node = (&*name, tier, hello.instance);
    let (session, outgoing) = Session::new(&control, caller, node, joined);
    let _supply =
        sites.map(|sites| control.certificates.supply(&control, session.id, &name, sites));
    let over = session.run(lines, Direct(writing), outgoing).await;
    match over {
        // That is told where its other session begins.
        Over::Ledger(Ended::Attached) => return,
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
    /// The process ([`Hello::instance`]).
    instance: String,
    id: SessionId,
    ended: watch::Receiver<Option<Ended>>,
    lease: Duration,
    // Boxed: a channel has room for 32 from its beginning.
    answers: mpsc::Sender<Box<FromControl>>,
    awaited: Mutex<AwaitedAnswers>,
    purges: Arc<Semaphore>,
    /// How many [`FromNode::Alive`] were heard.
    alive: AtomicU64,
    /// What only a parent has, which edges may be attached to.
    relay: Option<Box<RelaySide>>,
}

/// What is left of a frame to be done.
type Rest<'a> = Pin<Box<dyn Future<Output = Result<(), Over>> + Send + 'a>>;

/// What waits to be written beside entries and heartbeats.
struct Outgoing {
    /// The welcome, as it is sent.
    welcome: Vec<u8>,
    /// The seq that it is to; `None` where a relay passes its own entries on.
    after: Option<Seq>,
    answers: mpsc::Receiver<Box<FromControl>>,
    asked: mpsc::Receiver<PendingQuestion>,
    /// Lines for edges behind the node, if it is a parent.
    relayed: Option<mpsc::Receiver<Vec<u8>>>,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.control.sessions.end(self.id);
        self.control.relay_tickets.end(self.id);
        self.control.ledger.parted(self.id);
    }
}

impl<'a> Session<'a> {
    fn new(
        control: &'a Arc<Control>,
        caller: Caller,
        (name, tier, instance): (&'a str, Tier, String),
        joined: Joined,
    ) -> (Self, Outgoing) {
        let Joined { session: id, mut welcomed, ended } = joined;
        let asked = control.sessions.begin(id);
        // As of now: the log may have gone on since the node joined.
        welcomed.place.head = control.ledger.head();
        let (after, mut welcome) = (welcomed.place.after, Vec::new());
        write_line(&mut welcome, &FromControl::Welcome(welcomed))
            .unwrap_or_else(|error| unreachable!("a welcome is JSON: {error}"));
        let node = (name, tier, instance);
        let (mut session, answers) = Self::attached(control, caller, node, (id, ended));
        // Channels take room: only parents have these.
        let relayed = (tier == Tier::Parent).then(|| {
            let (out, relayed) = mpsc::channel(MOST_RELAYED);
            session.relay = Some(Box::new(RelaySide::new(out)));
            relayed
        });
        (session, Outgoing { welcome, after: Some(after), answers, asked, relayed })
    }

    /// The session of a node that was let in before; and the answers for it.
    fn attached(
        control: &'a Arc<Control>,
        caller: Caller,
        (name, tier, instance): (&'a str, Tier, String),
        (id, ended): (SessionId, watch::Receiver<Option<Ended>>),
    ) -> (Self, mpsc::Receiver<Box<FromControl>>) {
        let (answers, to_write) = mpsc::channel(MOST_PURGES);
        let session = Self {
            control,
            caller,
            name,
            tier,
            instance,
            id,
            ended,
            lease: control.config().control.lease,
            answers,
            awaited: Mutex::default(),
            purges: Arc::new(Semaphore::new(MOST_PURGES)),
            alive: AtomicU64::new(0),
            relay: None,
        };
        (session, to_write)
    }

    async fn run<H, S>(self, mut lines: H, mut writing: S, outgoing: Outgoing) -> Over
    where
        H: Hears,
        S: Speaks,
    {
        let mut ended = self.ended.clone();
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
    async fn read(&self, lines: &mut impl Hears) -> Over {
        loop {
            let taken = match timeout(self.lease, lines.next()).await {
                Ok(Ok(Some(frame))) => self.take(frame),
                Ok(Ok(None)) => return Over::Closed,
                Ok(Err(error)) => return Over::Broke(error),
                Err(_) => return Over::Silent(self.lease),
            };
            match taken {
                Ok(None) => {}
                Ok(Some(rest)) => {
                    if let Err(over) = rest.await {
                        return over;
                    }
                }
                Err(over) => return over,
            }
        }
    }

    /// Does what a frame says, or what of it need not be waited for; returns the rest. Boxed: thousands
    /// of sessions have room for what is in them at any time, and this is rare.
    fn take(&self, frame: FromNode) -> Result<Option<Rest<'_>>, Over> {
        let (ledger, session) = (&self.control.ledger, self.id);
        let now = Instant::now();
        match frame {
            FromNode::Hello(_) => return Err(Over::Misspoke("it said hello twice")),
            FromNode::Applied { seq } => {
                if !ledger.applied(session, seq, now) {
                    return Err(Over::Misspoke("it acknowledged what was never sent"));
                }
                self.control.events.applied(self.name, seq);
            }
            FromNode::Checked { seq } => {
                ledger.heard(session, now, None);
                if !ledger.checked(session, seq) {
                    return Err(Over::Misspoke("it has checked what was never sent"));
                }
            }
            FromNode::Matched { counts } => {
                ledger.heard(session, now, None);
                ledger.matched(session, &counts);
            }
            FromNode::Alive(stats) => {
                // Two processes count each for itself; over time both count.
                if ledger.heard(session, now, Some(stats.clone())) {
                    self.control.traffic.hear(self.name, self.tier, &stats, now);
                }
                let who = Teller { instance: &self.instance, node: self.name, tier: self.tier };
                self.control.history.hear(who, &stats, Now { instant: now, ..Now::read() });
                self.alive.fetch_add(1, Ordering::Relaxed);
            }
            FromNode::Answer { ask, result } => {
                ledger.heard(session, now, None);
                self.awaited.lock().unwrap_or_else(PoisonError::into_inner).answered(ask, result);
            }
            FromNode::Purge { call, url, site, soft } => {
                ledger.heard(session, now, None);
                let asked = method::MethodPurge { url, site, soft };
                return Ok(Some(Box::pin(async move {
                    self.purge(call, asked).await;
                    Ok(())
                })));
            }
            FromNode::Attach { relay } => {
                ledger.heard(session, now, None);
                self.ticket(relay)?;
            }
            FromNode::Link { link, ticket } => {
                ledger.heard(session, now, None);
                return self.link(link, &ticket);
            }
            FromNode::Unlink { link } => self.unlink(link)?,
            FromNode::Relayed { link, line } => return self.relayed(link, line),
            FromNode::AppliedBehind(said) => self.applied_behind(&said)?,
            FromNode::Unknown => {
                ledger.heard(session, now, None);
                tracing::debug!(node = self.name, "an unknown frame");
            }
            FromNode::Ended { instance } => {
                ledger.heard(session, now, None);
                return Ok(Some(Box::pin(async move {
                    let ended = ledger.ended(session, instance).await;
                    ended.map_err(|error| Over::Journal(error.to_string()))
                })));
            }
            FromNode::Away if ledger.away(session, now) => return Err(Over::Left),
            FromNode::Leave | FromNode::Away => {
                return Ok(Some(Box::pin(async move {
                    Err(match ledger.leave(session).await {
                        Ok(()) => Over::Left,
                        Err(error) => Over::Journal(error.to_string()),
                    })
                })));
            }
        }
        Ok(None)
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
    async fn write(&self, writing: &mut impl Speaks, mut outgoing: Outgoing) -> Over {
        let mut heads = self.control.ledger.heads();
        let sends_entries = outgoing.after.is_some();
        let mut sent = outgoing.after.unwrap_or_default();
        let first = self.beat();
        let mut beats = interval_at(tokio::time::Instant::now() + first, first);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut out = std::mem::take(&mut outgoing.welcome);
        let mut gathered = tokio::time::Instant::now();
        loop {
            let before = sent;
            let more = match sends_entries.then(|| self.entries(&mut sent, &mut out)) {
                Some(Ok(more)) => more,
                Some(Err(over)) => return over,
                None => false,
            };
            if !out.is_empty() {
                match timeout(self.lease, writing.speak(&out)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Over::Broke(error.to_string()),
                    Err(_) => return Over::Silent(self.lease),
                }
                // What waits needs no buffer.
                out = Vec::new();
            }
            if sent > before && !more {
                gathered = tokio::time::Instant::now() + GATHER;
            }
            let moved = self.gathered(&mut heads, gathered);
            // Written at once: a frame that is kept meanwhile has its place in each session.
            let added = tokio::select! {
                // A long backlog holds up none of these: a node keeps its lease by heartbeats.
                biased;
                _ = beats.tick() => {
                    if !self.is_let_in() {
                        return Over::Locked;
                    }
                    beats.reset_after(self.beat());
                    // What was heard first: the head is then at least that of when it was heard.
                    let heard = Some(self.alive.load(Ordering::Relaxed));
                    let head = Some(self.control.ledger.head());
                    // Later than what was heard, as of which it renews the lease. Without a head it renews
                    // none: a writer of the past does not know the head.
                    let head = head.filter(|_| self.control.is_sure());
                    let retention = Some(self.control.config().control.retention as u64);
                    line(&FromControl::Heartbeat { head, heard, retention }, &mut out)
                }
                Some(asked) = outgoing.asked.recv() => {
                    self.number(asked).map_or(Ok(()), |frame| line(&frame, &mut out))
                }
                Some(answer) = outgoing.answers.recv() => line(&answer, &mut out),
                Some(lines) = relayed(&mut outgoing.relayed) => {
                    out = lines;
                    Ok(())
                }
                () = ready(()), if more => Ok(()),
                moved = moved, if sends_entries => match moved {
                    Ok(()) => Ok(()),
                    Err(_) => return Over::Stopping,
                },
            };
            if let Err(over) = added {
                return over;
            }
        }
    }

    fn beat(&self) -> Duration {
        beat(self.lease, self.control.ledger.size())
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

/// From one heartbeat of a node to the next, where there are so many.
fn beat(lease: Duration, nodes: usize) -> Duration {
    let times = u32::try_from(nodes.div_ceil(BEATS)).unwrap_or(u32::MAX);
    FRESH.saturating_mul(times.max(1)).min(lease / 5)
}

fn line(frame: &FromControl, out: &mut Vec<u8>) -> Result<(), Over> {
    write_line(out, frame).map_err(|error| Over::Broke(error.to_string()))
}

/// The next lines for edges behind the node.
async fn relayed(lines: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match lines {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
