//! What was purged, as lookups ask it: one integer comparison while nothing new was purged.
//!
//! Order (design of invariant I1): raise the index, publish the applied seq, then acknowledge;
//! a lookup reads the applied seq first.

mod popular;
mod swept;
mod taken;

pub(crate) use popular::Popular;

use crate::store::Stored;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use strum::EnumCount;
use swept::Swept;
use taken::Taken;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use weir_rules::invalidation::{
    Bounds, Index, IndexKind, KeyedPurge, RaisedFloor, Seq, Sieve, Subject, Validity,
};
use weir_rules::log::{LogId, Position};
use weir_rules::tier::{self, Admission, Asking, Claim, Provenance, admit};

/// The node's invalidation index and the seq up to which it is applied. All seqs here are the
/// node's own numbers, which only grow; [`FollowedLog`] tells them from the log's.
#[derive(Debug)]
pub(crate) struct Purges {
    applied: AtomicU64,
    /// The same, for those who wait.
    published: watch::Sender<Seq>,
    /// Asked before the index, which most lookups then need not lock.
    sieve: Sieve,
    index: RwLock<Index>,
    /// Targets in the index, of all sites, beyond which those that nothing needs any more are
    /// forgotten.
    many: usize,
    /// The index has used up half of a bound: the next walks are urgent.
    crowded: AtomicBool,
    /// Told when the index may have forgotten something.
    forgot: Notify,
    /// The last wait for room was in vain.
    in_vain: AtomicBool,
    /// Floors that rose for lack of room, by kind.
    floors: [AtomicU64; IndexKind::COUNT],
    /// What lookups find purged before the sweeper does.
    pub(crate) taken: Taken,
    /// What purges removed last.
    pub(crate) swept: Swept,
    stamps: Arc<Stamps>,
    /// The highest mark that a walk began with: purges below it may be forgotten at its end.
    marked: AtomicU64,
    /// Up to where what is stored was judged.
    walked: Mutex<Walked>,
    /// Held while anything of the log is applied, so that who holds it sees whole entries.
    position: Mutex<Position>,
    followed: ArcSwap<FollowedLog>,
}

/// Up to where walks have judged what is stored.
#[derive(Clone, Copy, Debug, Default)]
struct Walked {
    /// Everything in memory was judged up to `last`, and what is being fetched began after `mark`.
    mark: Seq,
    last: Seq,
    /// Everything in the store below memory was judged up to here; `None` where there is none.
    below: Option<Seq>,
}

/// The log that the node follows, as requests need to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FollowedLog {
    /// Its id; `None` before the first.
    pub(crate) log: Option<LogId>,
    /// The node's own number of its seq 0.
    pub(crate) base: Seq,
    /// Own number below which nothing is trusted since this log is followed.
    pub(crate) floor: Seq,
    /// What nodes of this log show each other; `None` before the first welcome.
    pub(crate) tier_key: Option<Box<str>>,
}

impl FollowedLog {
    /// The node's own number of a seq of the log.
    pub(crate) fn own(&self, seq: Seq) -> Seq {
        self.base.saturating_add(seq)
    }

    /// The log's number of an own one; `None` of one from before this log was followed.
    pub(crate) fn of_log(&self, own: Seq) -> Option<Seq> {
        own.checked_sub(self.base)
    }

    /// Whether seqs of both mean the same.
    pub(crate) fn is_same_log(&self, other: &FollowedLog) -> bool {
        self.log == other.log && self.base == other.base
    }
}

/// The filled_at_seqs of what is being fetched, and how many fetches carry each.
#[derive(Debug, Default)]
struct Stamps(Mutex<BTreeMap<Seq, usize>>);

impl Stamps {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Seq, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The filled_at_seq of one fetch (invariant I2), known to the index while the fetch runs.
#[derive(Debug)]
pub(crate) struct Stamp {
    seq: Seq,
    stamps: Arc<Stamps>,
}

impl Stamp {
    /// The seq applied when the fetch began.
    pub(crate) fn seq(&self) -> Seq {
        self.seq
    }
}

impl Drop for Stamp {
    fn drop(&mut self) {
        let mut stamps = self.stamps.lock();
        if let Some(count) = stamps.get_mut(&self.seq) {
            *count -= 1;
            if *count == 0 {
                stamps.remove(&self.seq);
            }
        }
    }
}

/// What the index holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    /// Targets.
    pub(crate) targets: u64,
    /// The part of a bound that is used up, of the site that has used up most.
    pub(crate) fullness: f64,
    /// The highest floor of a site.
    pub(crate) floor: Seq,
    /// Floors that rose for lack of room, by kind.
    pub(crate) floors: [u64; IndexKind::COUNT],
}

impl Purges {
    /// An index in which nothing was purged.
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            applied: AtomicU64::new(0),
            published: watch::Sender::new(0),
            sieve: Sieve::default(),
            index: RwLock::new(Index::new(bounds)),
            many: bounds.targets / 2,
            crowded: AtomicBool::new(false),
            forgot: Notify::new(),
            in_vain: AtomicBool::new(false),
            floors: std::array::from_fn(|_| AtomicU64::new(0)),
            taken: Taken::default(),
            swept: Swept::default(),
            stamps: Arc::default(),
            marked: AtomicU64::new(0),
            walked: Mutex::default(),
            position: Mutex::default(),
            followed: ArcSwap::default(),
        }
    }

    /// Applies one purge. Lookups that begin after this returns see it.
    pub(crate) fn apply(&self, purge: &KeyedPurge) {
        self.raise(purge);
        self.publish(purge.seq);
    }

    /// The first half of applying a purge: it takes effect, on a stored response that was found
    /// valid before, when its seq is published.
    pub(crate) fn raise(&self, purge: &KeyedPurge) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let raised = index.apply(purge);
        if index.is_crowded_by(purge) {
            self.crowded.store(true, Ordering::Relaxed);
        }
        drop(index);
        self.sieve.raise(purge);
        raised.iter().for_each(|floor| self.note_floor(floor));
    }

    fn note_floor(&self, RaisedFloor { site, kind, seq }: &RaisedFloor) {
        if self.floors[*kind as usize].fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                site = site.as_deref().unwrap_or("(all)"),
                kind = kind.name(),
                seq,
                "so many targets were purged that some had to be forgotten before all that is \
                 stored was held against them: what such a target could have taken is fetched again. \
                 See limits.purge_targets and limits.patterns; weir_purge_floors_total counts on"
            );
        }
    }

    fn lacks_room(&self, purge: &KeyedPurge) -> bool {
        self.index.read().unwrap_or_else(PoisonError::into_inner).lacks_room(purge)
    }

    /// Waits until the index has room for what a purge names, for at most `most`: what is stored is
    /// judged meanwhile, so that purges can be forgotten without a floor. After a wait in vain there is
    /// none before there was room again.
    pub(crate) async fn until_room(&self, purge: &KeyedPurge, most: Duration) {
        let end = Instant::now() + most;
        loop {
            let mut forgot = pin!(self.forgot.notified());
            // From here on it is not missed.
            forgot.as_mut().enable();
            if !self.lacks_room(purge) {
                self.in_vain.store(false, Ordering::Relaxed);
                return;
            }
            if self.in_vain.load(Ordering::Relaxed) {
                return;
            }
            if tokio::time::timeout_at(end, forgot).await.is_err() {
                self.in_vain.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Everything up to `seq` is applied. A lower seq than before is ignored.
    pub(crate) fn publish(&self, seq: Seq) {
        self.applied.fetch_max(seq, Ordering::Release);
        self.published.send_if_modified(|published| {
            let later = seq > *published;
            *published = seq.max(*published);
            later
        });
    }

    /// Begins at a place that was kept over a restart. The index knows nothing of what was applied
    /// before.
    pub(crate) fn begin(&self, place: Position) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.raise_floor(place.base());
        index.forget_below(place.applied());
        drop(index);
        self.sieve.raise_all(place.base());
        let (log, base) = (place.log().cloned(), place.base());
        self.followed.store(Arc::new(FollowedLog { log, base, floor: base, tier_key: None }));
        let applied = place.applied();
        *self.position() = place;
        self.publish(applied);
    }

    /// Follows the log as `place`, which is that of the node, has it. Where that is not what the
    /// node followed before, it has a floor: what was fetched below is invalid when this returns.
    pub(crate) fn follow(&self, place: &Position, floor: Option<Seq>, tier_key: &str) {
        if let Some(floor) = floor {
            self.index.write().unwrap_or_else(PoisonError::into_inner).raise_floor(floor);
            self.sieve.raise_all(floor);
        }
        let followed = FollowedLog {
            log: place.log().cloned(),
            base: place.base(),
            floor: floor.unwrap_or_else(|| self.followed.load().floor),
            tier_key: Some(tier_key.into()),
        };
        self.followed.store(Arc::new(followed));
        self.publish(place.applied());
    }

    /// The node's place in the log. To be held for a moment only.
    pub(crate) fn position(&self) -> MutexGuard<'_, Position> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log that the node follows.
    pub(crate) fn standing(&self) -> Arc<FollowedLog> {
        self.followed.load_full()
    }

    /// A request to a parent that begins now; `None` where no parent may be asked.
    pub(crate) fn asking(&self) -> Option<Asking> {
        // Held meanwhile: what is applied is then no more than it says.
        let position = self.position();
        Asking::begin(&position, self.applied())
    }

    /// How an edge that claims this is met.
    pub(crate) fn admit(&self, claim: &Claim) -> Admission {
        let position = self.position();
        admit(&position, self.applied(), claim)
    }

    /// The own number below which the index cannot judge responses of a site.
    pub(crate) fn reach(&self, site: &str) -> Seq {
        self.index.read().unwrap_or_else(PoisonError::into_inner).reach(site)
    }

    /// The highest seq applied.
    pub(crate) fn applied(&self) -> Seq {
        self.applied.load(Ordering::Acquire)
    }

    /// Waits until `seq` is applied, for at most `bound`; whether it is. An own number of a log
    /// that is no longer followed counts as applied.
    pub(crate) async fn until_applied(&self, seq: Seq, bound: Duration) -> bool {
        let mut published = self.published.subscribe();
        let reached = published.wait_for(|published| *published >= seq);
        matches!(tokio::time::timeout(bound, reached).await, Ok(Ok(_)))
    }

    /// Judges a stored response as of now.
    pub(crate) fn validity(&self, stored: &Stored) -> Validity {
        self.judge_stored(stored, true)
    }

    /// The same for one that is not in the store yet: nothing was taken there.
    pub(crate) fn validity_of_new(&self, stored: &Stored) -> Validity {
        self.judge_stored(stored, false)
    }

    fn judge_stored(&self, stored: &Stored, is_in_store: bool) -> Validity {
        let applied = self.applied();
        let judged = stored.valid_at.load(Ordering::Acquire);
        let known = || match stored.soft_at.load(Ordering::Relaxed) {
            0 => Validity::Valid,
            seq => Validity::Soft(seq),
        };
        if judged == applied {
            return known();
        }
        let validity = if self.passes(stored, judged) {
            Validity::Valid
        } else {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            stored.with_subject(|subject| index.validity_since(subject, judged))
        };
        match validity {
            Validity::Hard(_) if is_in_store => self.taken.hard(stored, applied),
            Validity::Soft(seq) if is_in_store => self.taken.soft(stored, seq),
            Validity::Soft(seq) => drop(stored.soft_at.fetch_max(seq, Ordering::Relaxed)),
            Validity::Hard(_) | Validity::Valid => {}
        }
        if matches!(validity, Validity::Hard(_)) {
            return validity;
        }
        stored.valid_at.fetch_max(applied, Ordering::Release);
        known()
    }

    /// Whether no purge after `since` that is applied can have taken a stored response. Where it is
    /// `false`, one may have.
    pub(crate) fn passes(&self, stored: &Stored, since: Seq) -> bool {
        self.sieve.passes(&stored.sieved(), stored.tags.iter().map(|tag| &**tag), since)
    }

    /// The stamp for a fetch that begins now.
    pub(crate) fn stamp(&self) -> Stamp {
        let stamps = self.stamps.lock();
        // Read under the lock, so that no forgetting comes between.
        let seq = self.applied();
        self.stamped(stamps, seq)
    }

    /// The stamp of what a parent sent of a site in answer to what was asked while a stamp no later
    /// than [`Asking::begun`] was held. `None` where nobody can say what it is worth.
    pub(crate) fn receive(
        &self,
        site: &str,
        asking: &Asking,
        provenance: Option<&Provenance>,
    ) -> Option<Stamp> {
        let stamps = self.stamps.lock();
        // What a walk that still runs may forget at its end cannot be judged after it.
        let reach = self.reach(site).max(self.marked.load(Ordering::Relaxed));
        let seq = tier::received(asking, reach, provenance)?;
        Some(self.stamped(stamps, seq))
    }

    fn stamped(&self, mut stamps: MutexGuard<'_, BTreeMap<Seq, usize>>, seq: Seq) -> Stamp {
        *stamps.entry(seq).or_default() += 1;
        Stamp { seq, stamps: Arc::clone(&self.stamps) }
    }

    /// The seq below which a walk over the store that begins now will have judged everything: the
    /// applied one or, where that is lower, the oldest stamp of what is being fetched, which may
    /// be stored behind the walk's back.
    pub(crate) fn mark(&self) -> Seq {
        let stamps = self.stamps.lock();
        let applied = self.applied();
        let mark = stamps.first_key_value().map_or(applied, |(seq, _)| applied.min(*seq));
        self.marked.fetch_max(mark, Ordering::Relaxed);
        mark
    }

    /// Everything in memory was judged against the purges up to `last`, and everything that is
    /// being fetched began after those below `mark`: a crowded index forgets what no store needs any
    /// more. Where long fetches keep a site's part of it crowded, it raises that floor over what they
    /// began under; what is stored has been judged since, and stays.
    pub(crate) fn checked(&self, mark: Seq, last: Seq) {
        self.walked().mark = mark;
        self.walked().last = last;
        self.forget();
    }

    /// There is a store below memory, in which everything was judged up to `seq`: the index forgets no
    /// later purge before it was judged by that, too.
    pub(crate) fn checked_below(&self, seq: Seq) {
        self.walked().below = Some(seq);
        self.forget();
    }

    fn walked(&self) -> MutexGuard<'_, Walked> {
        self.walked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self) {
        let Walked { mark, last, below } = *self.walked();
        let below = below.unwrap_or(Seq::MAX);
        let (mark, last) = (mark.min(below), last.min(below));
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if index.is_crowded() || index.len() > self.many {
            index.forget_below(mark);
        }
        if index.is_crowded() && last > mark {
            index.raise_floor_where_crowded(last);
        }
        self.crowded.store(index.is_crowded(), Ordering::Relaxed);
        drop(index);
        self.forgot.notify_waiters();
    }

    /// Whether the index has used up so much of a bound that a sweep should be over soon.
    pub(crate) fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    /// What the index holds.
    pub(crate) fn held(&self) -> Held {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        Held {
            targets: index.len() as u64,
            fullness: index.fullness(),
            floor: index.highest_floor(),
            floors: std::array::from_fn(|kind| self.floors[kind].load(Ordering::Relaxed)),
        }
    }

    /// Own number below which anything fetched is invalid, unless it was judged since.
    pub(crate) fn floor(&self) -> Seq {
        self.index.read().unwrap_or_else(PoisonError::into_inner).highest_floor()
    }

    /// Judges anything that can be described.
    pub(crate) fn judge(&self, subject: &Subject<'_>) -> Validity {
        self.judge_since(subject, subject.filled_at)
    }

    /// The same for a response that was valid when all purges up to `judged` were applied.
    pub(crate) fn judge_since(&self, subject: &Subject<'_>, judged: Seq) -> Validity {
        self.index.read().unwrap_or_else(PoisonError::into_inner).validity_since(subject, judged)
    }

    /// The last purge that matches, whenever it was: its seq and whether it was soft.
    pub(crate) fn last_match(&self, subject: &Subject<'_>) -> Option<(Seq, bool)> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).last_match(subject)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use weir_rules::invalidation::{Purge, Target};

    fn purge(purges: &Purges, seq: Seq) {
        let targets = vec![Target::parse_tag(&format!("t{seq}")).unwrap()];
        let purge = Purge { seq, targets, site: None, soft: false, versions: false };
        purges.apply(&KeyedPurge::as_sent(purge));
    }

    #[test]
    fn nothing_is_forgotten_that_a_store_below_was_not_judged_by() {
        let bounds = Bounds { targets: 8, ..Bounds::default() };
        for below in [None, Some(3)] {
            let purges = Purges::new(bounds);
            if let Some(seq) = below {
                purges.checked_below(seq);
            }
            (1..=6).for_each(|seq| purge(&purges, seq));
            assert!(purges.is_crowded());
            purges.checked(6, 6);
            let tagged = |seq: Seq| {
                let tag = format!("t{seq}");
                let subject = Subject {
                    site: "s",
                    host: "h",
                    path: "/",
                    query: None,
                    tags: &[&tag],
                    filled_at: 0,
                };
                // Of what was forgotten the index says that it took everything from before.
                purges.judge_since(&subject, 3)
            };
            let kept = purges.held().targets;
            match below {
                // The mark itself was not passed.
                None => assert_eq!(kept, 1, "memory was judged by all of them"),
                Some(_) => {
                    assert_eq!(kept, 4);
                    (4..=6).for_each(|seq| assert_eq!(tagged(seq), Validity::Hard(seq)));
                    purges.checked_below(6);
                    assert!(purges.held().targets <= 4, "no longer crowded, or forgotten");
                }
            }
        }
    }
}
