//! The housekeeper: one thread a node that frees what was purged, counts what each purge took,
//! and lets the store's map do what it deferred. Lookups never depend on it: what is purged is
//! invalid from the moment it is applied, swept or not.

use crate::state::NodeState;
use crate::store::{Digest, Resource};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use weir_rules::invalidation::{Bounds, Index, Purge, Seq, Validity};

/// Purges that one walk over the store looks for; more wait for the next.
const AT_ONCE: usize = 64;

/// Resources between two pauses, so that a walk over millions does not take a core for itself.
const STRIDE: usize = 4096;

/// Pause after each stride.
const PAUSE: Duration = Duration::from_millis(1);

/// How often the map is tidied when nothing is purged.
const TIDY: Duration = Duration::from_secs(1);

/// Counts kept for purges that were swept.
const KEPT: usize = 10_000;

/// The node's side of the housekeeper. Dropping it ends the thread.
pub(crate) struct Sweeper {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<Work>,
    /// Told when there is work, or none any more.
    changed: Condvar,
}

#[derive(Default)]
struct Work {
    pending: VecDeque<Purge>,
    matched: BTreeMap<Seq, u64>,
    stopped: bool,
}

impl Sweeper {
    /// Starts the thread, which ends with the node.
    pub(crate) fn start(node: &Arc<NodeState>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (seen, node) = (Arc::clone(&shared), Arc::downgrade(node));
        std::thread::Builder::new().name("weir-sweeper".into()).spawn(move || run(&seen, &node))?;
        Ok(Self { shared })
    }

    /// Has the store searched for what a purge took.
    pub(crate) fn sweep(&self, purge: &Purge) {
        let mut work = self.shared.lock();
        work.pending.push_back(purge.clone());
        while work.pending.len() > KEPT {
            work.pending.pop_front();
        }
        drop(work);
        self.shared.changed.notify_one();
    }

    /// How many stored responses a purge took, once that is known and while it is remembered.
    pub(crate) fn matched(&self, seq: Seq) -> Option<u64> {
        self.shared.lock().matched.get(&seq).copied()
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next purges to look for; none after a second without any; `None` at the end.
    fn next(&self) -> Option<Vec<Purge>> {
        let idle = |work: &mut Work| work.pending.is_empty() && !work.stopped;
        let waited = self.changed.wait_timeout_while(self.lock(), TIDY, idle);
        let (mut work, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let count = work.pending.len().min(AT_ONCE);
        (!work.stopped).then(|| work.pending.drain(..count).collect())
    }

    fn note(&self, counts: Vec<(Seq, u64)>) {
        let mut work = self.lock();
        work.matched.extend(counts);
        while work.matched.len() > KEPT {
            work.matched.pop_first();
        }
    }
}

fn run(shared: &Shared, node: &Weak<NodeState>) {
    while let Some(purges) = shared.next() {
        let Some(node) = node.upgrade() else { return };
        if !purges.is_empty() {
            let mark = node.purges.mark();
            shared.note(walk(&node, &purges));
            node.purges.checked(mark);
        }
        node.store.tidy();
    }
}

/// Walks over the store once: frees what is hard-purged and counts what each of `purges`, which
/// are in order, took.
fn walk(node: &NodeState, purges: &[Purge]) -> Vec<(Seq, u64)> {
    let mut searches: Vec<Search> = purges.iter().map(Search::new).collect();
    for (number, (digest, resource)) in node.store.iter().enumerate() {
        visit(node, digest, &resource, &mut searches);
        if number % STRIDE == STRIDE - 1 {
            std::thread::sleep(PAUSE);
        }
    }
    searches.into_iter().map(|search| (search.seq, search.count)).collect()
}

fn visit(node: &NodeState, digest: Digest, resource: &Resource, searches: &mut [Search]) {
    let mut dead = false;
    for stored in resource.variants() {
        stored.with_subject(|subject| {
            for search in &mut *searches {
                match search.index.validity(subject) {
                    Validity::Valid => {}
                    Validity::Soft(_) => search.count += 1,
                    Validity::Hard(_) => {
                        // What the first took is gone for those after it.
                        search.count += 1;
                        break;
                    }
                }
            }
        });
        dead |= matches!(node.purges.validity(stored), Validity::Hard(_));
    }
    if dead {
        node.store
            .retain(digest, |stored| !matches!(node.purges.validity(stored), Validity::Hard(_)));
    }
}

/// One purge looked for by itself, so that what it took is not credited to a later one.
struct Search {
    seq: Seq,
    index: Index,
    count: u64,
}

impl Search {
    fn new(purge: &Purge) -> Self {
        let mut index = Index::new(Bounds::default());
        index.apply(purge);
        Self { seq: purge.seq, index, count: 0 }
    }
}
