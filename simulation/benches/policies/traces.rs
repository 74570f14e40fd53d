//! Requests: generated ones, the same in each run, and those of files.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use weir_edge::Usage;
use weir_simulation::{Line, trace};

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

    pub(crate) fn urls(&self) -> usize {
        self.each().len()
    }

    /// Bytes that a store takes that holds all.
    pub(crate) fn unique_bytes(&self) -> u64 {
        self.each().values().sum()
    }
}

/// Lines of `URL BYTES`, or `SECONDS URL BYTES`.
pub(crate) fn read(file: &str) -> Result<Trace, Box<dyn Error>> {
    let (mut requests, mut lengths) = (Vec::new(), HashMap::new());
    for line in BufReader::new(File::open(file)?).lines() {
        let line = line?;
        match trace::read(&line) {
            Line::Request(request) => {
                // A URL has one response.
                let length = *lengths.entry(request.url).or_insert(request.bytes);
                requests.push(Asked { url: request.url, length });
            }
            Line::Passed | Line::Nothing => {}
            Line::Unknown => return Err(format!("{file}: not a line of a trace: {line:?}").into()),
        }
    }
    Ok(Trace { name: file.to_owned(), requests })
}

/// Requests of each generated trace.
const REQUESTS: u64 = 300_000;
/// URLs whose popularity is Zipf's.
const POPULAR: u64 = 30_000;

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

fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Ranks by Zipf's law.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(exponent: f64) -> Self {
        let mut sum = 0.0;
        let parts = (1..=POPULAR).map(|rank| {
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

pub(crate) fn generated() -> Vec<Trace> {
    let zipf = Zipf::new(0.9);
    let trace =
        |name: &str, length: fn(u64) -> u64, url: &mut dyn FnMut(u64, &mut Numbers) -> u64| {
            let mut numbers = Numbers(1);
            let asked = |at| {
                let url = url(at, &mut numbers);
                Asked { url, length: length(url) }
            };
            Trace { name: name.to_owned(), requests: (0..REQUESTS).map(asked).collect() }
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
        trace(
            "Zipf 0.9, and a scan of 15,000 URLs in each 50,000 requests",
            page,
            &mut |at, numbers| match at % 50_000 < 15_000 {
                true => once + at % 50_000,
                false => zipf.rank(numbers),
            },
        ),
        trace(
            "Zipf 0.9, half of them other URLs after each 30,000 requests",
            page,
            &mut |at, numbers| {
                let turn = at / 30_000;
                // Half of them stay as popular as they were.
                let rank = zipf.rank(numbers);
                match rank % 2 {
                    0 => rank,
                    _ => mix(rank ^ (turn << 40)) % (4 * POPULAR) + POPULAR,
                }
            },
        ),
        trace("Zipf 0.9, bodies of 100 B to 10 MB", wide, &mut |_, numbers| zipf.rank(numbers)),
    ]
}
