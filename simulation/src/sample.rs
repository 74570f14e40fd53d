//! Which URLs are looked at. A store of 1 / n of the size that gets 1 / n of the URLs has about the hit ratio of
//! the whole: that is how long logs are simulated in little memory (SHARDS: Waldspurger, Park, Garthwaite and
//! Ahmad, "Efficient MRC Construction with SHARDS", FAST 2015).

use std::collections::BinaryHeap;
use std::collections::HashSet;
use weir_store::mixed;

/// A share of all URLs, chosen by their hashes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Hashes below it are in the sample; none is all.
    below: Option<u64>,
    rate: f64,
}

impl Sample {
    /// All URLs.
    pub const ALL: Self = Self { below: None, rate: 1.0 };

    /// About this share of the URLs, above 0; 1 and more are all of them.
    pub fn of_rate(rate: f64) -> Self {
        if rate >= 1.0 {
            return Self::ALL;
        }
        // As precise as a float is; at least one hash is below.
        let below = ((rate.max(0.0) * 2f64.powi(64)) as u64).max(1);
        Self { below: Some(below), rate: below as f64 / 2f64.powi(64) }
    }

    /// Whether a URL is in it.
    pub fn has(self, url: u64) -> bool {
        self.below.is_none_or(|below| mixed(url) < below)
    }

    /// The share of the URLs that are in it.
    pub fn rate(self) -> f64 {
        self.rate
    }

    /// So many bytes of a store, as it is simulated.
    pub fn of_bytes(self, bytes: u64) -> u64 {
        (bytes as f64 * self.rate) as u64
    }
}

/// How many hashes are kept to count URLs: counts are within 5 %, nearly always.
const KEPT: usize = 4_096;

/// Counts URLs in little memory, by the least of their hashes.
#[derive(Default)]
pub struct DistinctUrls {
    least: BinaryHeap<u64>,
    known: HashSet<u64>,
}

impl DistinctUrls {
    /// Counts a URL, once.
    pub fn add(&mut self, url: u64) {
        let hash = mixed(url);
        if self.least.len() == KEPT && self.least.peek().is_some_and(|most| hash >= *most) {
            return;
        }
        if self.known.insert(hash) {
            self.least.push(hash);
            if self.least.len() > KEPT
                && let Some(most) = self.least.pop()
            {
                self.known.remove(&most);
            }
        }
    }

    /// How many there were; exact up to 4,096.
    pub fn count(&self) -> u64 {
        match self.least.peek() {
            Some(most) if self.least.len() == KEPT => {
                ((KEPT - 1) as f64 / (*most as f64 / 2f64.powi(64))) as u64
            }
            _ => self.least.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_its_share_of_the_urls_and_always_the_same() {
        for rate in [0.5, 0.1, 0.01] {
            let sample = Sample::of_rate(rate);
            let urls = (0..200_000).filter(|url| sample.has(*url)).count() as f64;
            assert!((urls / 200_000.0 - rate).abs() < 0.1 * rate, "{urls} of {rate}");
            assert!((sample.rate() - rate).abs() < 1e-9);
            let smaller = Sample::of_rate(rate / 2.0);
            assert!((0..200_000).all(|url| !smaller.has(url) || sample.has(url)));
        }
        for all in [1.0, 2.0] {
            assert_eq!(Sample::of_rate(all), Sample::ALL);
        }
        assert!((0..1_000).all(|url| Sample::ALL.has(url)));
        assert_eq!(Sample::of_rate(0.25).of_bytes(1 << 30), 1 << 28);
    }

    #[test]
    fn urls_are_counted_once_and_about_right() {
        for urls in [0, 1, 4_000, 100_000, 1_000_000] {
            let mut counted = DistinctUrls::default();
            for url in (0..urls).chain(0..urls / 2) {
                counted.add(url);
            }
            let off = counted.count().abs_diff(urls) as f64 / urls.max(1) as f64;
            assert!(off < 0.05, "{urls}: {}", counted.count());
            assert!(urls > 4_000 || counted.count() == urls);
            assert!(counted.least.len() <= KEPT && counted.known.len() <= KEPT);
        }
    }
}
