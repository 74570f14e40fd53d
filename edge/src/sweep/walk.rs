//! One walk over the store for many purges.

use super::TIDY;
use super::pace::{Pace, SLICE};
use crate::state::NodeState;
use crate::store::{Digest, Resource, Stored};
use rustix::time::{ClockId, clock_gettime};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use weir_rules::invalidation::{Seq, Tally, Validity};

/// Time of a processor that this thread has used. What others took of it meanwhile is no work of
/// the sweep, which on a busy machine would else hardly go on.
fn processor_time() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    let secs = u64::try_from(used.tv_sec).unwrap_or_default();
    Duration::new(secs, u32::try_from(used.tv_nsec).unwrap_or_default())
}

/// Resources between two looks at the clock.
const STRIDE: usize = 32;

/// Under way.
pub(super) struct Walk<'a> {
    node: &'a NodeState,
    purges: Tally,
    /// `purges` are all there are after this seq.
    after: Seq,
    /// `purges` are after this seq.
    since: Seq,
    /// What is being fetched began at this seq or later.
    mark: Seq,
}

impl<'a> Walk<'a> {
    /// One for `purges`, which are all after the seq `after`.
    pub(super) fn begin(node: &'a NodeState, purges: Tally, after: Seq) -> Self {
        let since = purges.first().map_or(after, |first| first.saturating_sub(1));
        Self { node, purges, after, since, mark: node.purges.mark() }
    }

    /// Visits everything stored, with pauses as `pause` makes them; returns the one that is still
    /// due, or `None` where `pause` says that the end has come.
    pub(super) fn run(
        &mut self,
        pace: &mut Pace,
        pause: impl Fn(Duration) -> bool,
    ) -> Option<Duration> {
        let node = self.node;
        let (mut begun, mut tidied) = (processor_time(), Instant::now());
        let mut visited = 0usize;
        let walked = node.store.visit(|digest, resource| {
            self.visit(digest, resource);
            visited += 1;
            if !visited.is_multiple_of(STRIDE) || processor_time().saturating_sub(begun) < SLICE {
                return ControlFlow::Continue(());
            }
            if tidied.elapsed() > TIDY {
                node.store.tidy();
                tidied = Instant::now();
            }
            if !pause(self.due(pace, begun)) {
                return ControlFlow::Break(());
            }
            begun = processor_time();
            ControlFlow::Continue(())
        });
        walked.is_continue().then(|| self.due(pace, begun))
    }

    /// The last purge that it looks for; the one before the first where there is none.
    pub(super) fn last(&self) -> Seq {
        self.purges.last().max(self.after)
    }

    /// What each purge took. The index is told that it may forget them.
    pub(super) fn end(mut self) -> Vec<(Seq, u64)> {
        let last = self.last();
        self.node.purges.taken.settle(&mut self.purges, last, &self.node.popular);
        self.node.purges.checked(self.mark.min(last), last);
        self.purges.counts()
    }

    /// The pause after work that began when the thread had used `begun`.
    fn due(&self, pace: &mut Pace, begun: Duration) -> Duration {
        let (work, urgent) =
            (processor_time().saturating_sub(begun), self.node.purges.is_crowded());
        let share = self.node.live.load().limits().sweep;
        pace.pause_after(work, share, urgent, Instant::now())
    }

    fn visit(&mut self, digest: Digest, resource: &Resource) {
        let mut dead = false;
        for stored in resource.variants() {
            dead |= self.takes(stored);
        }
        if dead {
            let purges = &self.node.purges;
            let keep = |stored: &Arc<Stored>| !matches!(purges.validity(stored), Validity::Hard(_));
            self.node.store.retain(digest, keep);
        }
    }

    /// Counts a stored response for the purges that took it; whether it is to go.
    fn takes(&mut self, stored: &Stored) -> bool {
        let judged = stored.valid_at.load(Ordering::Acquire);
        let validity = match self.node.purges.passes(stored, self.since) {
            // Most are no business of any purge, and the sieve is far cheaper to ask.
            true => Validity::Valid,
            false => stored.with_subject(|subject| self.purges.validity(subject)),
        };
        match validity {
            Validity::Hard(seq) => {
                self.node.purges.swept.note(stored.key(), seq);
                if stored.served.take() {
                    self.count(stored, stored.soft_at.load(Ordering::Relaxed));
                }
                return true;
            }
            Validity::Soft(seq) => {
                let before = stored.soft_at.fetch_max(seq, Ordering::Relaxed);
                if before < seq {
                    self.count(stored, before);
                }
            }
            Validity::Valid => {}
        }
        if judged < self.after {
            return matches!(self.node.purges.validity(stored), Validity::Hard(_));
        }
        // Judged up to there before, and by all that came since now.
        stored.valid_at.fetch_max(self.purges.last(), Ordering::Release);
        false
    }

    fn count(&mut self, stored: &Stored, since: Seq) {
        let popular = &self.node.popular;
        stored.with_subject(|subject| {
            self.purges.count(subject, since, Seq::MAX);
            popular.note(subject, stored.key(), stored.plain_hits());
        });
    }
}
