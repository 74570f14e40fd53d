//! Control's side of the connections of nodes: entries go out in their order as they become
//! durable, acknowledgements come back, and control asks what nodes alone know.
//!
//! Each connection has one future ([`talk`]). Whatever waits on its way to a node is bounded, and a node
//! that is not heard, or takes nothing, for the lease is dropped: it comes again and goes on where it
//! stood. [`announce`] wakes all sessions that have something to send.

use crate::auth::Caller;
use crate::certificates::Supply;
use crate::control::Control;
use crate::ledger::{Ended, Joined, Right, SessionId};
use crate::method;
use crate::relays::RelaySide;
use crate::sessions::{AwaitedAnswers, Mailbox};
use crate::traffic::history::{Now, Teller};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use talk::{Opening, Talk};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use weir_config::Token;
use weir_protocol::frame::{FromControl, FromNode, Hello, SiteHosts};
use weir_protocol::lines::{Lines, write_line};
use weir_rules::invalidation::Seq;
use weir_rules::tier::Tier;
use wire::{Direct, Wire};

mod announce;
mod behind;
mod talk;
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

/// Batches of lines for edges behind a relay that wait to be sent to it.
const MOST_RELAYED: usize = 256;

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
pub(super) fn attend<T>(
    control: Arc<Control>,
    entrance: Entrance,
    transport: T,
) -> impl Future<Output = ()> + Send
where
    T: AsyncRead + AsyncWrite + Send + Unpin,
{
    // Boxed: it is soon over, and each session would have room for what it needs.
    let admitting = Box::pin(admit(control, entrance, transport));
    async move {
        let Some(mut talk) = admitting.await else { return };
        let over = (&mut talk).await;
        let (control, name) = (talk.session.control.clone(), talk.session.name.clone());
        drop(talk);
        match over {
            // That is told where its other session begins.
            Over::Ledger(Ended::Attached) => return,
            Over::Left | Over::Stopping => {
                tracing::info!(node = &*name, "node disconnected: {over}");
            }
            _ => tracing::warn!(node = &*name, "node disconnected: {over}"),
        }
        control.events.parted(&name, &over.to_string());
    }
}

/// Hears who a node is, and lets it in if it may join. `None` where it does not.
async fn admit<T>(
    control: Arc<Control>,
    entrance: Entrance,
    transport: T,
) -> Option<Talk<Direct<T>>>
where
    T: AsyncRead + AsyncWrite + Send + Unpin,
{
    let caller = entrance.caller();
    let mut lines = Lines::new(transport);
    let hello = tokio::select! {
        hello = hello(&mut lines) => hello,
        () = control.stopped() => return None,
    };
    let hello = match hello {
        Ok(hello) => hello,
        Err(reason) => {
            tracing::warn!(caller = caller.name(), reason, "a node was refused");
            control.refused_joins.count("malformed");
            refuse(lines.stream(), reason, false).await;
            return None;
        }
    };
    let name = Arc::<str>::from(&*hello.name);
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
            tracing::warn!(node = &*name, caller = caller.name(), reason, "a node was refused");
            control.refused_joins.count(word);
            refuse(lines.stream(), reason, temporary).await;
            return None;
        }
    };
    let keep = joined.welcomed.place.keep;
    tracing::info!(node = &*name, after = joined.welcomed.place.after, keep, "node connected");
    control.events.joined(&hello, &joined.welcomed.place);
    Some(welcome(control, caller, hello, name, joined, Direct(lines)))
}

/// Begins the session of a node that was let in.
fn welcome<W: Wire>(
    control: Arc<Control>,
    caller: Caller,
    hello: Hello,
    name: Arc<str>,
    joined: Joined,
    wire: W,
) -> Talk<W> {
    let Joined { session: id, mut welcomed, ended } = joined;
    let Hello { tier, instance, sites, .. } = hello;
    let mut session = Session::new(control, caller, (name, tier, instance), id, true);
    // As of now: the log may have gone on since the node joined.
    welcomed.place.head = session.control.ledger.head();
    let (after, mut welcome) = (welcomed.place.after, Vec::new());
    write_line(&mut welcome, &FromControl::Welcome(welcomed))
        .unwrap_or_else(|error| unreachable!("a welcome is JSON: {error}"));
    // Channels take room: only parents have these.
    let relayed = (tier == Tier::Parent).then(|| {
        let (out, relayed) = mpsc::channel(MOST_RELAYED);
        session.relay = Some(Box::new(RelaySide::new(out)));
        relayed
    });
    // A parent serves no browser, and gets nothing for that.
    if let Some(sites) = sites.filter(|_| tier == Tier::Edge) {
        session.supply(sites);
    }
    Talk::new(session, wire, Opening { welcome, after: Some(after), ended, relayed })
}

/// The node's first line.
async fn hello<T: AsyncRead + Unpin>(lines: &mut Lines<T>) -> Result<Hello, String> {
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
struct Session {
    control: Arc<Control>,
    caller: Caller,
    name: Arc<str>,
    tier: Tier,
    /// The process ([`Hello::instance`]).
    instance: String,
    id: SessionId,
    lease: Duration,
    mailbox: Arc<Mailbox>,
    awaited: AwaitedAnswers,
    purges: Arc<Semaphore>,
    /// How many [`FromNode::Alive`] were heard.
    alive: u64,
    /// What only a parent has, which edges may be attached to.
    relay: Option<Box<RelaySide>>,
    /// What brings an edge its certificates.
    _supply: Option<Supply>,
}

/// What is left of a frame to be done.
type Rest = Pin<Box<dyn Future<Output = Result<(), Over>> + Send>>;

impl Drop for Session {
    fn drop(&mut self) {
        self.control.sessions.end(self.id);
        self.control.relay_tickets.end(self.id);
        self.control.ledger.parted(self.id);
    }
}

impl Session {
    /// That of a node that was let in, which `follows` if control sends it the entries.
    fn new(
        control: Arc<Control>,
        caller: Caller,
        (name, tier, instance): (Arc<str>, Tier, String),
        id: SessionId,
        follows: bool,
    ) -> Self {
        Self {
            lease: control.config().control.lease,
            mailbox: control.sessions.begin(id, follows),
            control,
            caller,
            name,
            tier,
            instance,
            id,
            awaited: AwaitedAnswers::default(),
            purges: Arc::new(Semaphore::new(MOST_PURGES)),
            alive: 0,
            relay: None,
            _supply: None,
        }
    }

    /// Has the edge brought the certificates of these sites.
    fn supply(&mut self, sites: Vec<SiteHosts>) {
        let certificates = &self.control.certificates;
        self._supply = Some(certificates.supply(&self.control, self.id, &self.name, sites));
    }

    /// Does what a frame says, or what of it need not be waited for; returns the rest. Boxed: thousands
    /// of sessions have room for what is in them at any time, and this is rare.
    fn take(&mut self, frame: FromNode) -> Result<Option<Rest>, Over> {
        let (ledger, session) = (&self.control.ledger, self.id);
        let now = Instant::now();
        match frame {
            FromNode::Hello(_) => return Err(Over::Misspoke("it said hello twice")),
            FromNode::Applied { seq } => {
                if !ledger.applied(session, seq, now) {
                    return Err(Over::Misspoke("it acknowledged what was never sent"));
                }
                self.control.events.applied(&self.name, seq);
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
                let stats = Arc::new(stats);
                // Two processes count each for itself; over time both count.
                if ledger.heard(session, now, Some(stats.clone())) {
                    self.control.traffic.hear(&self.name, self.tier, &stats, now);
                }
                let who = Teller { instance: &self.instance, node: &self.name, tier: self.tier };
                self.control.history.hear(who, &stats, Now { instant: now, ..Now::read() });
                self.alive += 1;
            }
            FromNode::Answer { ask, result } => {
                ledger.heard(session, now, None);
                self.awaited.answered(ask, result);
            }
            FromNode::Purge { call, url, site, soft } => {
                ledger.heard(session, now, None);
                self.purge(call, method::MethodPurge { url, site, soft });
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
                tracing::debug!(node = &*self.name, "an unknown frame");
            }
            FromNode::Ended { instance } => {
                ledger.heard(session, now, None);
                let ledger = ledger.clone();
                return Ok(Some(Box::pin(async move {
                    let ended = ledger.ended(session, instance).await;
                    ended.map_err(|error| Over::Journal(error.to_string()))
                })));
            }
            FromNode::Away if ledger.away(session, now) => return Err(Over::Left),
            FromNode::Leave | FromNode::Away => {
                let ledger = ledger.clone();
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
    fn purge(&self, call: u64, asked: method::MethodPurge) {
        let mailbox = self.mailbox.clone();
        let Ok(permit) = self.purges.clone().try_acquire_owned() else {
            let (status, body) = crate::errors::ApiError::busy().into_parts();
            mailbox.answer(FromControl::Purged { call, status: status.as_u16(), body });
            return;
        };
        let (control, caller) = (self.control.clone(), self.caller.clone());
        tokio::spawn(async move {
            let (status, body) = method::purge(&control, &caller, asked).await;
            mailbox.answer(FromControl::Purged { call, status, body });
            drop(permit);
        });
    }

    /// What a heartbeat says now.
    ///
    /// # Errors
    /// A reload has taken the token away that the node was let in by.
    fn heartbeat(&self) -> Result<FromControl, Over> {
        let config = self.control.config();
        let is_let_in = match &self.caller {
            Caller::Local => true,
            Caller::Bearer(token) => config.tokens.contains(token),
        };
        if !is_let_in {
            return Err(Over::Locked);
        }
        // What was heard first: the head is then at least that of when it was heard.
        let heard = Some(self.alive);
        let head = Some(self.control.ledger.head());
        // Later than what was heard, as of which it renews the lease. Without a head it renews none: a
        // writer of the past does not know the head.
        let head = head.filter(|_| self.control.is_sure());
        let retention = Some(config.control.retention as u64);
        Ok(FromControl::Heartbeat { head, heard, retention })
    }

    /// From this heartbeat to the next.
    fn beat(&self) -> Duration {
        beat(self.lease, self.control.ledger.size())
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

#[cfg(test)]
mod tests;
