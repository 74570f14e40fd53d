//! How long a device takes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Buckets with a bound; one without follows.
const BOUNDS: usize = 10;

/// What is told of each thing that a device does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies<T = Latency> {
    /// Reads that wait for the device: what the page cache has ready is none of them.
    pub reads: T,
    /// Writes, mostly into the page cache.
    pub writes: T,
    /// Waits until what was written is durable.
    pub syncs: T,
}

/// How often something took how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How often in each bucket alone.
    buckets: [u64; BOUNDS + 1],
    /// All of it together, in microseconds.
    micros: u64,
}

/// A [`Latency`] at work.
#[derive(Debug, Default)]
pub(crate) struct LatencyCounter {
    buckets: [AtomicU64; BOUNDS + 1],
    micros: AtomicU64,
}

/// The inclusive upper bound of a bucket: powers of four from 64 µs to 16.8 s.
const fn bound(bucket: usize) -> Duration {
    Duration::from_micros(64 << (2 * bucket))
}

impl Latency {
    /// That of things that took so long.
    pub fn of(took: impl IntoIterator<Item = Duration>) -> Self {
        let counter = LatencyCounter::default();
        took.into_iter().for_each(|took| counter.count(took));
        counter.get()
    }

    /// The upper bound of each bucket that has one, and how often it took at most so long.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let mut sum = 0;
        self.buckets[..BOUNDS].iter().enumerate().map(move |(bucket, count)| {
            sum += count;
            (bound(bucket), sum)
        })
    }

    /// How often in all.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All of it together.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.micros)
    }

    /// What was counted since it was `before`.
    pub fn since(&self, before: &Self) -> Self {
        let less = |bucket: usize| self.buckets[bucket].saturating_sub(before.buckets[bucket]);
        Self {
            buckets: std::array::from_fn(less),
            micros: self.micros.saturating_sub(before.micros),
        }
    }

    /// The time within which this share of them was over, as if they were spread evenly within each bucket; what took
    /// longer than the last bound counts as that. `None` if there are none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = self.count() as f64 * share.clamp(0.0, 1.0);
        let (mut passed, mut lower) = (0.0, Duration::ZERO);
        for (bucket, count) in self.buckets[..BOUNDS].iter().enumerate() {
            let (count, upper) = (*count as f64, bound(bucket));
            if count > 0.0 && passed + count >= wanted {
                return Some(lower + (upper - lower).mul_f64((wanted - passed) / count));
            }
            passed += count;
            lower = upper;
        }
        (self.count() > 0).then_some(lower)
    }
}

impl std::ops::AddAssign for Latency {
    fn add_assign(&mut self, other: Self) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(sum, count)| *sum += count);
        self.micros += other.micros;
    }
}

impl std::ops::AddAssign for Latencies {
    fn add_assign(&mut self, other: Self) {
        self.reads += other.reads;
        self.writes += other.writes;
        self.syncs += other.syncs;
    }
}

impl LatencyCounter {
    /// Does something and counts how long it took, whether it fails or not.
    pub(crate) fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        self.count(begun.elapsed());
        done
    }

    fn count(&self, took: Duration) {
        let bucket = (0..BOUNDS).find(|bucket| took <= bound(*bucket)).unwrap_or(BOUNDS);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn get(&self) -> Latency {
        let buckets = std::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed));
        Latency { buckets, micros: self.micros.load(Ordering::Relaxed) }
    }
}

impl Latencies<LatencyCounter> {
    pub(crate) fn get(&self) -> Latencies {
        let Self { reads, writes, syncs } = self;
        Latencies { reads: reads.get(), writes: writes.get(), syncs: syncs.get() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_as_long_as_a_bound_is_below_it() {
        let counter = LatencyCounter::default();
        for micros in [0, 64, 65, 256, 20_000_000] {
            counter.count(Duration::from_micros(micros));
        }
        let mut latency = counter.get();
        latency += counter.get();
        let counts: Vec<_> = latency.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts, [4, 8, 8, 8, 8, 8, 8, 8, 8, 8]);
        assert_eq!(latency.count(), 10);
        assert_eq!(latency.sum(), Duration::from_micros(2 * 20_000_385));
        let last = latency.cumulative().last().map(|(bound, _)| bound);
        assert_eq!(last, Some(Duration::from_micros(16_777_216)));
    }
    #[test]
    fn a_quantile_is_within_the_bucket_that_it_falls_into() {
        let counter = LatencyCounter::default();
        assert_eq!(counter.get().quantile(0.99), None);
        (0..98).for_each(|_| counter.count(Duration::from_micros(10)));
        let before = counter.get();
        (0..2).for_each(|_| counter.count(Duration::from_millis(3)));
        let all = counter.get();
        assert!(all.quantile(0.5).is_some_and(|half| half <= bound(0)));
        let p99 = all.quantile(0.99).unwrap_or_default();
        assert!((bound(2)..=bound(3)).contains(&p99), "{p99:?}");
        let since = all.since(&before);
        assert_eq!((since.count(), since.sum()), (2, Duration::from_millis(6)));
        counter.count(Duration::from_secs(100));
        assert_eq!(counter.get().quantile(1.0), Some(bound(BOUNDS - 1)));
    }
}
