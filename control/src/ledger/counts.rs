//! What bounds a ledger, and what is counted of it.

use std::ops::Range;
use std::time::Duration;

/// What bounds a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Most entries that stay listed, beside those that a disk store needs; at least one does.
    pub(crate) retention: usize,
    /// Most bytes that all of them take in memory.
    pub(crate) bytes: usize,
    /// Most arrivals of an entry at a node that are told one by one; those of the last entry are.
    pub(crate) arrivals: usize,
    /// How long a node counts as there after it was last heard.
    pub(crate) lease: Duration,
    /// A node that was not heard for so long is not expected any more.
    pub(crate) forget_after: Duration,
    /// Most expected nodes.
    pub(crate) nodes: usize,
    /// New names that one token may join in a minute.
    pub(crate) join_rate: u32,
    /// Most orders that wait to become durable.
    pub(crate) waiting: usize,
}

/// What is counted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Counts {
    /// Entries in the purge history.
    pub(crate) listed: usize,
    /// Bytes that they take in memory.
    pub(crate) bytes: usize,
    /// Entries that are not listed any more.
    pub(crate) forgotten: u64,
    /// Entries that are not completed.
    pub(crate) incomplete: usize,
    /// Orders that wait to become durable.
    pub(crate) waiting: usize,
    /// Expected nodes.
    pub(crate) nodes: usize,
    /// Of them, those with a session.
    pub(crate) connected: usize,
    /// Of them, those whose disk store needs entries that are not listed any more.
    pub(crate) outrun: usize,
    /// Batches that became durable since the start.
    pub(crate) commits: u64,
    /// Batches that the journal failed to take since the start.
    pub(crate) failures: u64,
    /// From a purge's acceptance to a node having applied it.
    pub(crate) propagation: Propagation,
}

/// Upper bounds of the histogram, seconds.
const BUCKETS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// A histogram of how long purges took to nodes, since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Propagation {
    /// Arrivals in each bucket alone.
    buckets: [u64; BUCKETS.len()],
    /// All arrivals whose time is known.
    pub(crate) count: u64,
    /// Their times together, seconds.
    pub(crate) sum: f64,
}

impl Propagation {
    pub(super) fn record(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        if let Some(at) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            self.buckets[at] += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }

    /// Records a run of arrivals, of which each took at most as long as the one before: as many
    /// steps as there are buckets, not as there are arrivals. Each counts in its bucket; in the sum
    /// those of one bucket count as the mean of the first and the last of them.
    pub(super) fn record_run(&mut self, run: Range<usize>, took: &impl Fn(usize) -> Duration) {
        let Some(last) = run.end.checked_sub(1).filter(|last| *last >= run.start) else { return };
        let ends = [took(run.start), took(last)].map(|took| took.as_secs_f64());
        let [first, end] = ends.map(|seconds| BUCKETS.iter().position(|bound| seconds <= *bound));
        if first != end && run.len() > 1 {
            let middle = run.start + run.len() / 2;
            self.record_run(run.start..middle, took);
            self.record_run(middle..run.end, took);
            return;
        }
        if let Some(at) = first {
            self.buckets[at] += run.len() as u64;
        }
        self.count += run.len() as u64;
        self.sum += run.len() as f64 * (ends[0] + ends[1]) / 2.0;
    }

    /// Upper bounds in seconds, ascending, and how many arrivals took at most so long.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let counts = self.buckets.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        BUCKETS.iter().copied().zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_counts_all_that_took_at_most_so_long() {
        let mut propagation = Propagation::default();
        for millis in [1, 2, 300, 100_000] {
            propagation.record(Duration::from_millis(millis));
        }
        let at = |bound| propagation.buckets().find(|(b, _)| *b == bound).map(|(_, n)| n);
        assert_eq!(
            (at(0.001), at(0.0025), at(0.25), at(0.5)),
            (Some(1), Some(2), Some(2), Some(3))
        );
        assert_eq!((at(60.0), propagation.count), (Some(3), 4));
        assert!((propagation.sum - 100.303).abs() < 1e-9);
    }

    #[test]
    fn a_run_counts_in_the_buckets_of_each() {
        let took = |at: usize| Duration::from_millis(3000 - at as u64);
        let (mut one_by_one, mut run) = (Propagation::default(), Propagation::default());
        (0..2999).for_each(|at| one_by_one.record(took(at)));
        run.record_run(0..2999, &took);
        assert_eq!((run.buckets, run.count), (one_by_one.buckets, one_by_one.count));
        assert!((run.sum - one_by_one.sum).abs() < 1e-6, "{}", run.sum);
        run.record_run(0..0, &took);
        assert_eq!(run.count, 2999);
    }
}
