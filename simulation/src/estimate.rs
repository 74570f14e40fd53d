//! Counts of a sample of URLs, and what they say of all.

use crate::sample::Sample;
use weir_store::mixed;

/// Groups of URLs, whose differences say how far off an estimate may be.
const GROUPS: usize = 64;

/// An estimate, and how far it may be off with a confidence of 95 %: 0 where nothing was left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// The most that it is off, nineteen times of twenty.
    pub error: f64,
}

/// Something counted for each request of a sample, in groups of URLs.
#[derive(Clone, Debug)]
pub struct Count([u64; GROUPS]);

impl Default for Count {
    fn default() -> Self {
        Self([0; GROUPS])
    }
}

impl Count {
    /// Counts so much for a request for a URL.
    pub fn add(&mut self, url: u64, much: u64) {
        // Other bits than those that the sample is chosen by.
        self.0[mixed(!url) as usize % GROUPS] += much;
    }

    /// What the sample came to.
    pub fn sampled(&self) -> u64 {
        self.0.iter().sum()
    }

    /// What all URLs would come to.
    pub fn of_all(&self, sample: Sample) -> Estimate {
        let groups = GROUPS as f64;
        let mean = self.sampled() as f64 / groups;
        let squares: f64 = self.0.iter().map(|count| (*count as f64 - mean).powi(2)).sum();
        // Of a sum of groups; what was not left out cannot be off.
        let variance = squares * groups / (groups - 1.0) * (1.0 - sample.rate());
        let (value, error) = (self.sampled() as f64, 1.96 * variance.sqrt());
        Estimate { value: value / sample.rate(), error: error / sample.rate() }
    }

    /// What this share of a `whole`, which is known, leaves: where misses were counted, the hit ratio. Whether the
    /// most popular URLs are in a sample or not matters little then: they are hardly ever missed.
    pub fn rest_of(&self, whole: u64, sample: Sample) -> Estimate {
        if whole == 0 {
            return Estimate { value: 0.0, error: 0.0 };
        }
        let Estimate { value, error } = self.of_all(sample);
        let whole = whole as f64;
        Estimate { value: (1.0 - value / whole).clamp(0.0, 1.0), error: error / whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_of_all_is_exact() {
        let mut misses = Count::default();
        (0..1_000).for_each(|url| misses.add(url, 2));
        assert_eq!(misses.of_all(Sample::ALL), Estimate { value: 2_000.0, error: 0.0 });
        assert_eq!(misses.rest_of(8_000, Sample::ALL), Estimate { value: 0.75, error: 0.0 });
        assert_eq!(Count::default().rest_of(0, Sample::ALL).value, 0.0);
    }

    #[test]
    fn an_estimate_is_off_by_no_more_than_it_says() {
        // URLs that are missed 1 to 20 times each, and requested 50 times.
        let missed = |url: u64| mixed(url ^ 0xabcd) % 20 + 1;
        let all: u64 = (0..100_000).map(missed).sum();
        let mut within = 0;
        for round in 0..200u64 {
            let (sample, mut misses) = (Sample::of_rate(0.02), Count::default());
            for url in 0..100_000 {
                // Other URLs in each round.
                if sample.has(url ^ (round << 32)) {
                    misses.add(url ^ (round << 32), missed(url));
                }
            }
            let Estimate { value, error } = misses.rest_of(50 * 100_000, sample);
            let exact = 1.0 - all as f64 / (50.0 * 100_000.0);
            assert!(error < 0.02, "{error}");
            within += usize::from((value - exact).abs() <= error);
        }
        assert!((175..=200).contains(&within), "{within} of 200 within");
    }
}
