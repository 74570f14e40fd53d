//! Requests: generated ones, the same in each run, and those of files.

use std::collections::HashMap;
use weir_edge::Usage;

/// A request, and the bytes of the body that it gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) url: u64,
    pub(crate) length: u64,
}

/// Bytes of a key and headers.
const HEAD: usize = 400;

impl Asked {
    /// What its response takes of memory.
    pub(crate) fn usage(self) -> Usage {
        Usage::of(HEAD, self.length)
    }
}

pub(crate) struct Trace {
    pub(crate) name: String,
    pub(crate) requests: Vec<Asked>,
}

impl Trace {
    fn each(&self) -> HashMap<u64, u64> {
        self.requests.iter().map(|asked| (asked.url, asked.usage().bytes())).collect()
    }

    /// Bytes that a store takes that holds all.
    pub(crate) fn unique_bytes(&self) -> u64 {
        self.each().values().sum()
    }
}

/// How long generated traces are, and of how many URLs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Requests of each.
    requests: u64,
    /// URLs whose popularity is Zipf's.
    popular: u64,
}

impl Scale {
    /// So many requests, ten for each popular URL.
    pub(crate) const fn of(requests: u64) -> Self {
        Self { requests, popular: requests / 10 }
    }
}

/// A source of numbers that is the same in each run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From 0 to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

pub(crate) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Ranks by Zipf's law.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(exponent: f64, urls: u64) -> Self {
        let mut sum = 0.0;
        let parts = (1..=urls).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        Self(parts.collect())
    }

    fn rank(&self, numbers: &mut Numbers) -> u64 {
        let all = self.0.last().copied().unwrap_or(1.0);
        let at = numbers.share() * all;
        self.0.partition_point(|sum| *sum < at) as u64
    }
}

/// Bytes of a page: 1 to 64 KiB, most of them small.
fn page(url: u64) -> u64 {
    1_024 << (mix(url) % 7).min(mix(url ^ 1) % 7)
}

/// From 100 bytes to 10 MB, each power of ten as often.
fn wide(url: u64) -> u64 {
    let share = (mix(url) >> 11) as f64 / (1_u64 << 53) as f64;
    (100.0 * 10_f64.powf(5.0 * share)) as u64
}

/// Days of the trace with a daily rhythm.
const DAYS: u64 = 5;

/// Traces of this scale.
pub(crate) fn generated(scale: Scale) -> Vec<Trace> {
    let Scale { requests, popular } = scale;
    let zipf = Zipf::new(0.9, popular);
    let trace =
        |name: &str, length: fn(u64) -> u64, url: &mut dyn FnMut(u64, &mut Numbers) -> u64| {
            let mut numbers = Numbers(1);
            let asked = |at| {
                let url = url(at, &mut numbers);
                Asked { url, length: length(url) }
            };
            Trace { name: name.to_owned(), requests: (0..requests).map(asked).collect() }
        };
    let once = 1 << 32;
    vec![
        trace(
            "Zipf 0.9, and each third URL asked for once",
            page,
            &mut |at, numbers| match numbers.share() < 1.0 / 3.0 {
                true => once + at,
                false => zipf.rank(numbers),
            },
        ),
        trace("Zipf 0.9, and a scan of half as many URLs, six times", page, &mut |at, numbers| {
            match at % (requests / 6) < popular / 2 {
                true => once + at % (requests / 6),
                false => zipf.rank(numbers),
            }
        }),
        trace(
            "Zipf 0.9, half of them other URLs after each tenth of the requests",
            page,
            &mut |at, numbers| {
                let turn = at / (requests / 10);
                // Half of them stay as popular as they were.
                let rank = zipf.rank(numbers);
                match rank % 2 {
                    0 => rank,
                    _ => mix(rank ^ (turn << 40)) % (4 * popular) + popular,
                }
            },
        ),
        trace(
            "Zipf 0.9 with a daily rhythm: a tenth of the URLs are new each day, and at night a crawler asks for all",
            page,
            &mut |at, numbers| {
                let hour = at * 24 * DAYS / requests;
                let is_night = hour % 24 < 6;
                match is_night && numbers.share() < 0.5 {
                    true => at % popular,
                    false => {
                        let rank = zipf.rank(numbers);
                        let day = if mix(rank).is_multiple_of(10) { hour / 24 } else { 0 };
                        rank + (day << 40)
                    }
                }
            },
        ),
        trace("Zipf 0.9, bodies of 100 B to 10 MB", wide, &mut |_, numbers| zipf.rank(numbers)),
    ]
}
