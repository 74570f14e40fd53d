//! What bounds a ledger, and what is counted of it.

use std::time::Duration;

/// What bounds a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Most entries that stay listed; at least one does.
    pub(crate) retention: usize,
    /// Most bytes that they take in memory.
    pub(crate) bytes: usize,
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
}
