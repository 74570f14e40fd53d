//! A parent as a relay: it passes the log on to edges, and acknowledges for them.
//!
//! The connection to control ([`follow`](crate::follow)) says what was applied, and has the lines
//! for control; [`link`] is the connection of one edge. Both meet in [`Relay`], under one lock
//! that is held for no wait. Entries are passed on once this node has applied them. All other lines
//! are control's and the edge's own, and pass unread.
//!
//! Links end with the connection to control: what control had let be attached is then void, and the
//! edges join it again. Whatever waits for an edge is bounded; who is slower than that is cut off,
//! and joins again.

mod link;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, watch};
use weir_config::Control;
use weir_protocol::frame::FromNode;
use weir_protocol::relay::Ticket;
use weir_protocol::unread::Unread;
use weir_rules::invalidation::Seq;
use weir_rules::relay::{AppliedBehind, Behind, Link, Passing, Unpassed};

/// Lines of edges that wait to be sent to control; then edges wait.
const QUEUE: usize = 1024;

/// From an acknowledgement of an edge to that for all of them, at most.
const GATHER: Duration = Duration::from_millis(2);

/// A parent as a relay.
pub(crate) struct Relay {
    name: Arc<str>,
    /// Most edges at once.
    edges: usize,
    /// Bytes of lines that may wait for one.
    queue: usize,
    /// How long an edge may say nothing, or take nothing.
    patience: Duration,
    state: Mutex<State>,
    /// The last seq that can be passed on.
    at: watch::Sender<Seq>,
    acknowledged: Notify,
    /// Edges that were cut off because they were too slow.
    dropped: AtomicU64,
}

struct State {
    /// To control; `None` while it is not connected.
    up: Option<mpsc::Sender<FromNode>>,
    passing: Passing<Arc<[u8]>>,
    /// Lines that belong before the next entry.
    before: Vec<u8>,
    links: BTreeMap<Link, Outlet>,
    /// No number is used twice, whatever connection to control it was for: what an edge says on a
    /// link of before is about none of now.
    last: Link,
    behind: Behind,
    /// When it is to be said.
    due: Option<Instant>,
}

/// Where lines for an edge go. Dropping it ends the link.
struct Outlet {
    lines: mpsc::UnboundedSender<Down>,
    /// Bytes of them that wait.
    waiting: Arc<AtomicUsize>,
}

/// What an edge gets, beside entries.
enum Down {
    /// Control has attached it.
    Linked,
    /// A line of control's.
    Line(Vec<u8>),
    /// It is attached no more, or was not.
    Unlinked(String),
}

/// A link at the relay's side. Dropping it ends it.
struct OpenLink<'a> {
    relay: &'a Relay,
    link: Link,
    up: mpsc::Sender<FromNode>,
    lines: mpsc::UnboundedReceiver<Down>,
    waiting: Arc<AtomicUsize>,
}

impl Relay {
    /// The relay of this name, with the bounds of `control`.
    pub(crate) fn new(name: Arc<str>, control: &Control) -> Self {
        Self {
            name,
            edges: control.relay_edges,
            queue: control.relay_queue,
            patience: control.lease,
            state: Mutex::new(State {
                up: None,
                passing: Passing::new(control.relay_entries),
                before: Vec::new(),
                links: BTreeMap::new(),
                last: 0,
                behind: Behind::default(),
                due: None,
            }),
            at: watch::Sender::new(0),
            acknowledged: Notify::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Edges that follow control through it.
    pub(crate) fn links(&self) -> usize {
        self.lock().links.len()
    }

    /// Edges that were cut off because they were too slow.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Control has let this node in, which has applied everything up to `at`: the lines for control.
    pub(crate) fn begin(&self, at: Seq) -> mpsc::Receiver<FromNode> {
        let (up, lines) = mpsc::channel(QUEUE);
        let mut state = self.lock();
        state.up = Some(up);
        state.links.clear();
        state.behind = Behind::default();
        state.due = None;
        state.before.clear();
        state.passing.begin(at);
        self.at.send_replace(at);
        lines
    }

    /// The connection to control ended, and all links with it.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.up = None;
        state.links.clear();
    }

    /// A line of control's that belongs before the next entry.
    pub(crate) fn before_entry(&self, line: &[u8]) {
        self.lock().before.extend_from_slice(line);
    }

    /// This node has applied the next entry, which control sent in this line.
    pub(crate) fn applied(&self, seq: Seq, line: &[u8]) {
        let mut state = self.lock();
        let mut lines = std::mem::take(&mut state.before);
        lines.extend_from_slice(line);
        let bytes = lines.len();
        state.passing.push(seq, lines.into(), bytes);
        drop(state);
        self.at.send_replace(seq);
    }

    /// Control has attached an edge.
    pub(crate) fn linked(&self, link: Link) {
        self.send(link, Down::Linked);
    }

    /// Control has not attached an edge, or ended that.
    pub(crate) fn unlinked(&self, link: Link, reason: String) {
        self.send(link, Down::Unlinked(reason));
    }

    /// A line of control's for an edge.
    pub(crate) fn line(&self, link: Link, line: &Unread) {
        self.send(link, Down::Line(format!("{}\n", line.text()).into_bytes()));
    }

    fn send(&self, link: Link, what: Down) {
        let mut state = self.lock();
        let Some(outlet) = state.links.get(&link) else { return };
        let bytes = match &what {
            Down::Line(line) => line.len(),
            Down::Linked | Down::Unlinked(_) => 0,
        };
        let waiting = outlet.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let is_slow = waiting > self.queue;
        if is_slow || outlet.lines.send(what).is_err() {
            self.dropped.fetch_add(u64::from(is_slow), Ordering::Relaxed);
            state.links.remove(&link);
        }
    }

    /// What the edges have applied, once it is to be said. May be dropped while it waits.
    pub(crate) async fn acknowledgement(&self) -> AppliedBehind {
        loop {
            let due = {
                let mut state = self.lock();
                let is_due =
                    state.behind.is_even() || state.due.is_some_and(|due| due <= Instant::now());
                if state.behind.is_news() && is_due {
                    state.due = None;
                    if let Some(said) = state.behind.say() {
                        return said;
                    }
                }
                state.due
            };
            match due {
                Some(due) => {
                    // More may come that makes it due at once.
                    let due = tokio::time::Instant::from_std(due);
                    let _ = tokio::time::timeout_at(due, self.acknowledged.notified()).await;
                }
                None => self.acknowledged.notified().await,
            }
        }
    }

    /// An edge has applied everything up to `seq`.
    fn edge_applied(&self, link: Link, seq: Seq) {
        let mut state = self.lock();
        state.behind.applied(link, seq);
        state.due.get_or_insert_with(|| Instant::now() + GATHER);
        drop(state);
        self.acknowledged.notify_one();
    }

    /// Whether it takes edges; in words why not.
    fn takes_edges(&self, state: &State) -> Result<mpsc::Sender<FromNode>, String> {
        let Some(up) = state.up.clone() else {
            return Err("the relay has no connection to control".to_owned());
        };
        match state.links.len() < self.edges {
            true => Ok(up),
            false => Err(format!("{} edges follow control through the relay already", self.edges)),
        }
    }

    /// Asks control to attach an edge that has applied everything up to `after`.
    ///
    /// # Errors
    /// In words, why there is no link.
    fn open(&self, ticket: Ticket, after: Seq) -> Result<OpenLink<'_>, String> {
        let mut state = self.lock();
        let up = self.takes_edges(&state)?;
        match state.passing.after(after).map(drop) {
            Ok(()) => {}
            Err(Unpassed::Ahead) => return Err("the relay is behind".to_owned()),
            Err(Unpassed::Behind) => {
                return Err("the relay no longer has the next entry".to_owned());
            }
        }
        let link = state.last + 1;
        // In the order in which they are numbered: the lock is held.
        up.try_send(FromNode::Link { link, ticket })
            .map_err(|_| "the relay has no room for lines to control".to_owned())?;
        state.last = link;
        state.behind.begin(link, after);
        let (sender, lines) = mpsc::unbounded_channel();
        let waiting = Arc::<AtomicUsize>::default();
        state.links.insert(link, Outlet { lines: sender, waiting: waiting.clone() });
        Ok(OpenLink { relay: self, link, up, lines, waiting })
    }

    /// The entries after `seq` for a link, up to some bytes, and the last one's seq.
    ///
    /// # Errors
    /// The relay has not all of them; or the link is over, and what the relay has may be of another log.
    fn entries(&self, link: Link, seq: Seq, most: usize) -> Result<(Vec<u8>, Seq), Unpassed> {
        let state = self.lock();
        if !state.links.contains_key(&link) {
            return Err(Unpassed::Behind);
        }
        let (mut out, mut last) = (Vec::new(), seq);
        for (seq, lines) in state.passing.after(seq)? {
            out.extend_from_slice(lines);
            last = seq;
            if out.len() >= most {
                break;
            }
        }
        Ok((out, last))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenLink<'_> {
    fn drop(&mut self) {
        let mut state = self.relay.lock();
        state.links.remove(&self.link);
        state.behind.end(self.link);
        // Without room, control misses the edge when it has said nothing for the lease.
        let _ = self.up.try_send(FromNode::Unlink { link: self.link });
    }
}

#[cfg(test)]
mod tests;
