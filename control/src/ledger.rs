//! The invalidation log and the nodes that are expected to apply it.

mod behind;
mod columns;
mod counts;
mod errors;
mod leases;
mod listed;
mod marks;
mod membership;
mod nodes;
mod progress;
mod published;
mod queue;
mod random;
mod recent;
mod sites;
mod staging;
mod told;
mod writer;

pub(crate) use counts::{Bounds, Counts, Propagation};
pub(crate) use errors::{Ended, Forgotten, JoinError, Refusal};
pub(crate) use listed::{Listed, Order, Referrer, Warmed};
pub(crate) use nodes::{AttachedSession, Joined, NodeState, NodeView, Right, SessionId};
pub(crate) use progress::{Arrival, Count, NodeProgress, Progress};

use crate::journal::{Batch, Contents, Journal, JournalError};
use crate::sites::ReportedSites;
use listed::Accepted;
use published::PublishedLog;
use queue::{Appended, Departing, Job, Queue, Reply};
use std::collections::HashSet;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{Notify, oneshot, watch};
use weir_protocol::frame::Hello;
use weir_protocol::stats::Stats;
use weir_rules::invalidation::Seq;
use weir_rules::log::{LogId, Release};
use writer::Writer;

/// How often who waits for counts looks at them, whether or not a node told any.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Where so many nodes tell, those who wait look at what came in so long, not at each of them.
const MANY: usize = 100;
const GATHER: Duration = Duration::from_millis(5);

/// The ledger. What was ordered of it holds until it is closed or dropped, which waits for the
/// writer.
#[derive(Debug)]
pub(crate) struct Ledger {
    shared: Arc<LedgerCore>,
    /// `None` once it is closed.
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What callers and the writer share. Nothing that runs under `state` waits.
#[derive(Debug)]
struct LedgerCore {
    state: Mutex<PublishedLog>,
    queue: Queue,
    heads: watch::Sender<Seq>,
    commits: AtomicU64,
    failures: AtomicU64,
}

impl Ledger {
    /// The ledger that `journal` holds; a new one where that is empty, a new life of it where that
    /// is a copy, or was written by a version whose marks anybody can make up.
    ///
    /// # Errors
    /// The journal's fault.
    pub(crate) fn open(
        mut journal: Box<dyn Journal>,
        bounds: Bounds,
    ) -> Result<Arc<Self>, JournalError> {
        let mut contents = journal.load()?;
        let (life, begins) = match contents.life.take() {
            Some(life) if !contents.copied && !life.mark_key.is_empty() => (life, false),
            before => {
                let life = random::life()?;
                if let Some(before) = before {
                    let why = match contents.copied {
                        true => "the journal is a copy of the one that was written",
                        false => "the journal was written by an older version",
                    };
                    tracing::warn!(
                        before = %before.log,
                        now = %life.log,
                        "{why}: the log gets a new id, and nodes discard what they stored before"
                    );
                }
                (life, true)
            }
        };
        let mut state = PublishedLog::restored(contents, life.clone(), bounds)?;
        if begins {
            state.revive(life.clone());
            let nodes = Some(state.node_records().into_values().collect());
            let follows = state.head;
            journal.commit(&Batch { follows, life: Some(life), nodes, ..Batch::default() })?;
        }
        let shared = Arc::new(LedgerCore {
            heads: watch::Sender::new(state.head),
            state: Mutex::new(state),
            queue: Queue::default(),
            commits: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        });
        let writer = Writer::new(shared.clone(), journal);
        let thread = std::thread::Builder::new().name("weir-ledger".to_owned());
        let writer = thread.spawn(|| writer.run()).map_err(|error| {
            JournalError::new(format!("cannot start the thread that writes it: {error}"))
        })?;
        Ok(Arc::new(Self { shared, writer: Mutex::new(Some(writer)) }))
    }

    /// The log's name.
    pub(crate) fn id(&self) -> LogId {
        self.shared.state().life.log.clone()
    }

    /// The last seq that is durable; 0 before the first.
    pub(crate) fn head(&self) -> Seq {
        self.shared.state().head
    }

    /// How many nodes there are.
    pub(crate) fn size(&self) -> usize {
        self.shared.state().nodes.len()
    }

    /// The head, as it moves.
    pub(crate) fn heads(&self) -> watch::Receiver<Seq> {
        self.shared.heads.subscribe()
    }

    /// Has one who waits told when entries are completed.
    pub(crate) fn completes(&self) -> Arc<Notify> {
        self.shared.state().completes.clone()
    }

    /// Appends a purge; when this returns, it is durable. An order whose reference is listed as the
    /// same referrer's returns the first purge when the two are equal.
    ///
    /// # Errors
    /// The reference is another purge's, too many wait, or the journal fails: nothing was appended.
    pub(crate) async fn purge(
        &self,
        order: Order,
        referrer: Referrer,
    ) -> Result<Arc<Listed>, Refusal> {
        self.append(Appended::Purge(order, referrer, Accepted::now())).await
    }

    /// Appends a release; when this returns, it is durable.
    ///
    /// # Errors
    /// Too many wait, or the journal fails: nothing was appended.
    pub(crate) async fn release(&self, release: Release) -> Result<Arc<Listed>, Refusal> {
        self.append(Appended::Release(release, Accepted::now())).await
    }

    /// What the expected nodes reported of their sites.
    pub(crate) fn reported_sites(&self) -> Arc<ReportedSites> {
        self.shared.state().reported.clone()
    }

    /// The releases in force.
    pub(crate) fn releases(&self) -> Vec<Release> {
        self.shared.state().releases_at(Seq::MAX)
    }

    /// Entries after `seq`, in order, at most so many.
    ///
    /// # Errors
    /// Some of them are forgotten: whoever follows must join again.
    pub(crate) fn after(&self, seq: Seq, most: usize) -> Result<Vec<Arc<Listed>>, Forgotten> {
        Ok(self.shared.state().after(seq)?.take(most).cloned().collect())
    }

    /// The purge with this id, while it is listed.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Listed>> {
        let (_, seq) = id.rsplit_once('-')?;
        let state = self.shared.state();
        // Compared whole: `+1` and `01` are numbers too, but not of the id's form.
        let found = state.entry(seq.parse().ok()?).filter(|listed| listed.id == id);
        found.filter(|listed| listed.purge().is_some()).cloned()
    }

    /// The purge with this seq, while it is listed.
    pub(crate) fn purge_at(&self, seq: Seq) -> Option<Arc<Listed>> {
        let state = self.shared.state();
        state.entry(seq).filter(|listed| listed.purge().is_some()).cloned()
    }

    /// Listed purges with a seq above `after`, in order, at most `limit` of those that `wanted`
    /// lets through.
    pub(crate) fn list(
        &self,
        after: Seq,
        limit: usize,
        wanted: impl Fn(&Listed) -> bool,
    ) -> Vec<Arc<Listed>> {
        let state = self.shared.state();
        let purges = state.listed_after(after).filter(|listed| listed.purge().is_some());
        purges.filter(|listed| wanted(listed)).take(limit).cloned().collect()
    }

    /// The seq of the last listed entry after `after`, up to `until`, that `wanted` lets through.
    pub(crate) fn last_within(
        &self,
        after: Seq,
        until: Seq,
        wanted: impl Fn(&Listed) -> bool,
    ) -> Option<Seq> {
        let state = self.shared.state();
        let entries = state.listed_after(after).take_while(|listed| listed.seq() <= until);
        entries.filter(|listed| wanted(listed)).last().map(|listed| listed.seq())
    }

    /// Takes in a node that connects. When this returns, every purge that is appended from now on
    /// expects it, durably.
    ///
    /// # Errors
    /// It is not let in; see [`JoinError`].
    pub(crate) async fn join(
        &self,
        hello: &Hello,
        right: &Right,
        now: Instant,
    ) -> Result<Joined, JoinError> {
        let (hello, right) = (Box::new(hello.clone()), right.clone());
        self.ask(|reply| Job::Join(hello, right, now, reply), JoinError::Journal).await
    }

    /// The session's node gave a sign of life; whether the session is that of the process that
    /// speaks for it: of two, the newer. What an ended session says is not heard, here and below.
    pub(crate) fn heard(
        &self,
        session: SessionId,
        now: Instant,
        stats: Option<Arc<Stats>>,
    ) -> bool {
        self.shared.state().heard(session, now, stats)
    }

    /// Completes purges without those nodes that validate all they have stored and whose lease is
    /// surely over.
    pub(crate) fn note_leases(&self, now: Instant) {
        self.shared.state().note_leases(now);
    }

    /// Everything up to `seq` holds on the session's node; `false` where that cannot be, for the
    /// log does not go so far.
    pub(crate) fn applied(&self, session: SessionId, seq: Seq, now: Instant) -> bool {
        self.shared.state().applied(session, seq, now)
    }

    /// The session goes on through a relay, as another one; `None` where it is over already.
    pub(crate) fn attach(
        &self,
        session: SessionId,
        relay: &Arc<str>,
        now: Instant,
    ) -> Option<AttachedSession> {
        self.shared.state().attach(session, relay, now)
    }

    /// Up to where a relay says that everything holds on the nodes of these sessions. The names of
    /// those that have come further; `None` where that cannot be, for the log does not go so far.
    pub(crate) fn applied_behind(
        &self,
        told: &[(SessionId, Seq)],
        now: Instant,
    ) -> Option<Vec<(Arc<str>, Seq)>> {
        self.shared.state().applied_behind(told, now)
    }

    /// What the session's node has on disk was held against the log up to `seq`; `false` where that
    /// cannot be, for the log does not go so far.
    pub(crate) fn checked(&self, session: SessionId, seq: Seq) -> bool {
        self.shared.state().checked(session, seq)
    }

    /// How many stored responses purges took on the session's node.
    pub(crate) fn matched(&self, session: SessionId, counts: &[(Seq, u64)]) {
        self.shared.state().matched(session, counts);
    }

    /// The session's connection ended; its node stays expected.
    pub(crate) fn parted(&self, session: SessionId) {
        self.shared.state().parted(session);
    }

    /// The session's process drained, and its node comes back with what it has stored: no purge waits
    /// for it before. `false` if the node has other processes: then nothing is done. A crash of control
    /// may forget it; then purges wait.
    pub(crate) fn away(&self, session: SessionId, now: Instant) -> bool {
        self.shared.state().away(session, now)
    }

    /// The session's process drained: it is no longer expected, nor is its node if it has no other.
    ///
    /// # Errors
    /// The journal fails: it is still expected.
    pub(crate) async fn leave(&self, session: SessionId) -> Result<(), JournalError> {
        self.forget_departing(Departing::Session(session), Instant::now()).await.map(drop)
    }

    /// Another process of the session's node has ended: it is no longer expected.
    ///
    /// # Errors
    /// The journal fails: it is still expected.
    pub(crate) async fn ended(
        &self,
        session: SessionId,
        instance: String,
    ) -> Result<(), JournalError> {
        let departing = Departing::Process(session, instance);
        self.forget_departing(departing, Instant::now()).await.map(drop)
    }

    /// Expects these nodes no more and ends their sessions; returns the names of those that were
    /// expected.
    ///
    /// # Errors
    /// The journal fails: the nodes are still expected.
    pub(crate) async fn forget(&self, names: Vec<String>) -> Result<Vec<String>, JournalError> {
        self.forget_departing(Departing::Named(names), Instant::now()).await
    }

    /// Forgets the ephemeral nodes whose lease is surely over; returns their names.
    ///
    /// # Errors
    /// The journal fails: the nodes are still expected.
    pub(crate) async fn forget_ephemeral(&self, now: Instant) -> Result<Vec<String>, JournalError> {
        self.forget_departing(Departing::Ephemeral, now).await
    }

    /// Forgets the nodes that were not heard for `forget_after`; returns their names.
    ///
    /// # Errors
    /// The journal fails: the nodes are still expected.
    pub(crate) async fn forget_silent(&self, now: Instant) -> Result<Vec<String>, JournalError> {
        self.forget_departing(Departing::Silent, now).await
    }

    /// The names of the expected nodes.
    pub(crate) fn names(&self) -> HashSet<Arc<str>> {
        self.shared.state().nodes.keys().cloned().collect()
    }

    /// The expected nodes, by name.
    pub(crate) fn nodes(&self, now: Instant) -> Vec<NodeView> {
        let state = self.shared.state();
        let nodes = state.nodes.values();
        nodes.map(|node| node.view(state.head, state.bounds.lease, now)).collect()
    }

    /// How far an entry has come.
    pub(crate) fn progress(&self, listed: &Listed) -> Progress {
        self.shared.state().progress(listed)
    }

    /// Whether orders wait to become durable, or are just made so: there is more to come.
    pub(crate) fn is_busy(&self) -> bool {
        self.shared.queue.orders() > 0
    }

    /// Until the entry is completed.
    pub(crate) async fn until_completed(&self, listed: &Listed) {
        loop {
            let mut done = pin!(listed.done.notified());
            // From here on it is not missed.
            done.as_mut().enable();
            if listed.completed().is_some() {
                return;
            }
            done.await;
        }
    }

    /// Until it is known how many stored responses the entry took, or nobody listens any more.
    pub(crate) async fn until_counted(&self, listed: &Listed) {
        loop {
            let mut told = pin!(listed.told.notified());
            told.as_mut().enable();
            let progress = self.progress(listed);
            if progress.is_counted() {
                return;
            }
            // A node that is forgotten is waited for no more, and does not tell.
            let _ = tokio::time::timeout(LOOK_AGAIN, told).await;
            if progress.nodes.len() > MANY {
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    /// What is counted.
    pub(crate) fn counts(&self) -> Counts {
        let shared = &self.shared;
        let counts = shared.state().counts();
        Counts {
            waiting: shared.queue.orders(),
            commits: shared.commits.load(Ordering::Relaxed),
            failures: shared.failures.load(Ordering::Relaxed),
            ..counts
        }
    }

    /// Takes new bounds into use.
    pub(crate) fn reconfigure(&self, bounds: Bounds) {
        let mut state = self.shared.state();
        state.bounds = bounds;
        state.forget();
    }

    /// Writes what waits, then lets go of the journal; returns once another process can open it.
    /// Whatever is ordered later fails. Only the first call waits.
    pub(crate) fn close(&self) {
        self.shared.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the writer of the ledger panicked");
        }
    }

    /// All that it holds, as a journal would; nothing is added once it is closed.
    pub(crate) fn contents(&self) -> Contents {
        self.shared.state().contents()
    }

    async fn append(&self, what: Appended) -> Result<Arc<Listed>, Refusal> {
        let most = self.shared.state().bounds.waiting;
        let (reply, answer) = oneshot::channel();
        self.shared.queue.order(Job::Append(what, reply), most)?;
        answer.await.unwrap_or_else(|_| Err(Refusal::Journal(ended())))
    }

    async fn forget_departing(
        &self,
        departing: Departing,
        now: Instant,
    ) -> Result<Vec<String>, JournalError> {
        self.ask(|reply| Job::Forget(departing, now, reply), |error| error).await
    }

    async fn ask<T, E>(
        &self,
        job: impl FnOnce(Reply<T, E>) -> Job,
        failed: impl FnOnce(JournalError) -> E,
    ) -> Result<T, E> {
        let (reply, answer) = oneshot::channel();
        self.shared.queue.push(job(reply));
        answer.await.unwrap_or_else(|_| Err(failed(ended())))
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.close();
    }
}

impl LedgerCore {
    /// The state is whole at every step, so a panic under the lock leaves it so.
    fn state(&self) -> MutexGuard<'_, PublishedLog> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds since 1970.
fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn ended() -> JournalError {
    JournalError::new("the writer of the ledger has ended")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;
