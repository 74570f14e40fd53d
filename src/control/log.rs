//! The invalidation log of the built-in control: seqs from 1 without gaps, in memory like the
//! store it speaks for, bounded by `control.retention` and [`LARGEST_LOG`].
//!
//! Locking: one mutex orders append and apply, so that the node sees seqs in their order. What
//! runs under it never waits: applying a purge costs the same whatever is stored.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use weir_rules::invalidation::{Purge, Seq, Target};

/// Bytes of targets that stay listed; beyond it the oldest purges are forgotten early.
const LARGEST_LOG: usize = 32 << 20;

/// What is to be purged, as the caller asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// At least one.
    pub(crate) targets: Vec<Target>,
    /// The site it is confined to.
    pub(crate) site: Option<String>,
    /// Stale from now on, instead of never served again.
    pub(crate) soft: bool,
    /// Paths take all their versions too.
    pub(crate) versions: bool,
    /// The caller's name for it: the same order under the same name is one purge.
    pub(crate) reference: Option<String>,
}

/// One purge of the log.
#[derive(Debug)]
pub(crate) struct Entry {
    /// `<log id>-<seq>`.
    pub(crate) id: String,
    /// What the node applies.
    pub(crate) purge: Purge,
    /// The caller's name for it.
    pub(crate) reference: Option<String>,
    /// When it was accepted, by the wall clock.
    pub(crate) created_at: SystemTime,
    accepted: Instant,
    applied: OnceLock<Duration>,
    matched: OnceLock<u64>,
}

/// The order's reference names an earlier, different purge: its id.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReferenceReused(pub(crate) String);

/// The log.
#[derive(Debug)]
pub(crate) struct Log {
    /// A random name of this log's life: seqs of another life mean nothing here.
    id: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    head: Seq,
    retention: usize,
    /// Consecutive seqs that end with `head`.
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// Of retained entries only, so bounded with them.
    references: HashMap<String, Arc<Entry>>,
    forgotten: u64,
}

impl Log {
    /// An empty log that lists at most `retention` purges.
    pub(crate) fn new(retention: usize) -> Self {
        let state = State {
            head: 0,
            retention: retention.max(1),
            entries: VecDeque::new(),
            bytes: 0,
            references: HashMap::new(),
            forgotten: 0,
        };
        Self { id: random_name(), state: Mutex::new(state) }
    }

    /// The log's name.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The last seq; 0 before the first.
    pub(crate) fn head(&self) -> Seq {
        self.state().head
    }

    /// How many purges are listed, and how many were forgotten.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let state = self.state();
        (state.entries.len(), state.forgotten)
    }

    /// Appends `order` and applies it with `apply`. An order with a reference that is listed
    /// returns the first purge when the two are equal.
    ///
    /// # Errors
    /// The reference belongs to another order.
    pub(crate) fn purge(
        &self,
        order: Order,
        apply: impl FnOnce(&Purge),
    ) -> Result<Arc<Entry>, ReferenceReused> {
        let mut state = self.state();
        if let Some(first) = order.reference.as_ref().and_then(|name| state.references.get(name)) {
            return if first.is_of(&order) {
                Ok(first.clone())
            } else {
                Err(ReferenceReused(first.id.clone()))
            };
        }
        let entry = Arc::new(Entry::new(&self.id, state.head + 1, order));
        state.append(entry.clone());
        apply(&entry.purge);
        // A fresh entry: nobody has set it before.
        let _ = entry.applied.set(entry.accepted.elapsed());
        Ok(entry)
    }

    /// The purge with this id, while it is listed.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Entry>> {
        let (log, seq) = id.rsplit_once('-')?;
        let seq: Seq = seq.parse().ok()?;
        let state = self.state();
        let first = state.entries.front()?.purge.seq;
        let at = usize::try_from(seq.checked_sub(first)?).ok()?;
        // Compared whole: `+1` and `01` are numbers too, but not of the id's form.
        state.entries.get(at).filter(|entry| log == self.id && entry.id == id).cloned()
    }

    /// Listed purges with a seq above `after`, in order, at most `limit` of those that `wanted`
    /// lets through.
    pub(crate) fn list(
        &self,
        after: Seq,
        limit: usize,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Vec<Arc<Entry>> {
        let state = self.state();
        let first = state.entries.partition_point(|entry| entry.purge.seq <= after);
        state.entries.range(first..).filter(|entry| wanted(entry)).take(limit).cloned().collect()
    }

    /// Sets how many purges are listed, from a reloaded configuration.
    pub(crate) fn retain(&self, retention: usize) {
        let mut state = self.state();
        state.retention = retention.max(1);
        state.forget();
    }

    /// A panic while it was held came out of `apply`; the log itself is whole at every step.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, entry: Arc<Entry>) {
        self.head = entry.purge.seq;
        self.bytes += entry.bytes();
        if let Some(reference) = &entry.reference {
            self.references.insert(reference.clone(), entry.clone());
        }
        self.entries.push_back(entry);
        self.forget();
    }

    fn forget(&mut self) {
        let over =
            |state: &Self| state.entries.len() > state.retention || state.bytes > LARGEST_LOG;
        while over(self) && self.entries.len() > 1 {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes -= oldest.bytes();
            self.forgotten += 1;
            if let Some(reference) = &oldest.reference {
                self.references.remove(reference);
            }
        }
    }
}

impl Entry {
    fn new(log: &str, seq: Seq, order: Order) -> Self {
        let Order { targets, site, soft, versions, reference } = order;
        Self {
            id: format!("{log}-{seq}"),
            purge: Purge { seq, targets, site, soft, versions },
            reference,
            created_at: SystemTime::now(),
            accepted: Instant::now(),
            applied: OnceLock::new(),
            matched: OnceLock::new(),
        }
    }

    /// From acceptance to the node having applied it; `None` until it has.
    pub(crate) fn applied(&self) -> Option<Duration> {
        self.applied.get().copied()
    }

    /// Since acceptance.
    pub(crate) fn elapsed(&self) -> Duration {
        self.accepted.elapsed()
    }

    /// How many stored responses it took: as noted, or as `ask` tells now, which is then noted,
    /// because the node remembers it for its latest purges only.
    pub(crate) fn matched(&self, ask: impl FnOnce(Seq) -> Option<u64>) -> Option<u64> {
        if let Some(known) = self.matched.get() {
            return Some(*known);
        }
        let told = ask(self.purge.seq)?;
        Some(*self.matched.get_or_init(|| told))
    }

    fn is_of(&self, order: &Order) -> bool {
        let Purge { targets, site, soft, versions, .. } = &self.purge;
        (targets, site, soft, versions)
            == (&order.targets, &order.site, &order.soft, &order.versions)
    }

    fn bytes(&self) -> usize {
        let text = |target: &Target| match target {
            Target::Path(text)
            | Target::Pattern(text)
            | Target::Prefix(text)
            | Target::Url(text)
            | Target::Tag(text)
            | Target::Host(text) => text.len(),
            Target::All => 0,
        };
        let targets: usize =
            self.purge.targets.iter().map(|target| text(target) + size_of::<Target>()).sum();
        size_of::<Entry>() + targets + self.reference.as_ref().map_or(0, |name| 2 * name.len())
    }
}

/// Sixteen hexadecimal digits. The standard library seeds each `RandomState` from the system's
/// randomness; that is enough for a name that is no secret.
fn random_name() -> String {
    let seed = std::collections::hash_map::RandomState::new();
    let mut hasher = seed.build_hasher();
    hasher.write_u128(
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos()),
    );
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn order(path: &str, reference: Option<&str>) -> Order {
        Order {
            targets: vec![Target::Path(path.into())],
            site: None,
            soft: false,
            versions: false,
            reference: reference.map(str::to_owned),
        }
    }

    #[test]
    fn seqs_start_at_one_and_are_applied_in_order_without_gaps() {
        let log = Log::new(100);
        let applied = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        log.purge(order("/a", None), |purge| {
                            applied.lock().unwrap().push(purge.seq);
                        })
                        .unwrap();
                    }
                });
            }
        });
        assert_eq!(applied.into_inner().unwrap(), (1..=400).collect::<Vec<_>>());
        assert_eq!((log.head(), log.counts()), (400, (100, 300)));
    }

    #[test]
    fn the_same_reference_is_one_purge_or_a_refusal() {
        let log = Log::new(100);
        let mut applied = 0;
        let first = log.purge(order("/a", Some("deploy")), |_| applied += 1).unwrap();
        let again = log.purge(order("/a", Some("deploy")), |_| applied += 1).unwrap();
        assert_eq!((first.purge.seq, again.purge.seq, applied), (1, 1, 1));
        let other = log.purge(order("/b", Some("deploy")), |_| ());
        assert_eq!(other.unwrap_err(), ReferenceReused(first.id.clone()));
        let soft = Order { soft: true, ..order("/a", Some("deploy")) };
        assert!(log.purge(soft, |_| ()).is_err());
        assert_eq!(log.purge(order("/b", None), |_| ()).unwrap().purge.seq, 2);
    }

    #[test]
    fn retention_bounds_entries_and_references() {
        let log = Log::new(2);
        let first = log.purge(order("/a", Some("1")), |_| ()).unwrap();
        log.purge(order("/b", Some("2")), |_| ()).unwrap();
        log.purge(order("/c", Some("3")), |_| ()).unwrap();
        assert!(log.find(&first.id).is_none());
        assert_eq!(log.list(0, 10, |_| true).len(), 2);
        // Forgotten with its entry: the reference is free again.
        assert_eq!(log.purge(order("/z", Some("1")), |_| ()).unwrap().purge.seq, 4);
        log.retain(1);
        assert_eq!(log.counts(), (1, 3));
    }

    #[test]
    fn large_orders_are_forgotten_early() {
        let log = Log::new(1000);
        let large = "/".repeat(LARGEST_LOG / 4);
        for _ in 0..8 {
            log.purge(order(&large, None), |_| ()).unwrap();
        }
        assert_eq!(log.counts().0, 3);
    }

    #[test]
    fn purges_are_found_by_id_and_listed_after_a_seq() {
        let log = Log::new(3);
        let ids: Vec<_> = (0..5)
            .map(|n| log.purge(order(&format!("/{n}"), None), |_| ()).unwrap().id.clone())
            .collect();
        assert_eq!(log.find(&ids[4]).unwrap().purge.seq, 5);
        assert!(log.find(&ids[1]).is_none());
        for wrong in ["", "-", "-5", "x-5", &format!("{}-05", log.id()), &format!("{}-6", log.id())]
        {
            assert!(log.find(wrong).is_none(), "{wrong}");
        }
        let seqs = |after, limit| -> Vec<Seq> {
            log.list(after, limit, |_| true).iter().map(|entry| entry.purge.seq).collect()
        };
        assert_eq!((seqs(0, 10), seqs(3, 1), seqs(9, 10)), (vec![3, 4, 5], vec![4], vec![]));
    }

    #[test]
    fn what_matched_is_noted_once_it_is_known() {
        let log = Log::new(3);
        let entry = log.purge(order("/a", None), |_| ()).unwrap();
        assert!(entry.applied().is_some());
        assert_eq!(entry.matched(|_| None), None);
        assert_eq!(entry.matched(|seq| Some(seq + 6)), Some(7));
        assert_eq!(entry.matched(|_| None), Some(7));
    }

    #[test]
    fn each_log_has_a_name_of_its_own() {
        assert_ne!(Log::new(1).id(), Log::new(1).id());
        assert_eq!(Log::new(1).id().len(), 16);
    }
}
