//! Compares what is admitted and evicted, on traces: hit ratios and bytes written of `second` and `all`, both
//! in a volume on a disk that evicts by segment and moves what was hit, and of models of caches that admit
//! all and evict the first in, or the least recently used.
//! `admission DIRECTORY [TRACE]`; a line of a trace is a URL and its bytes. Without a trace: four
//! synthetic ones, of a million requests each for 300,000 URLs or more. Each at three sizes: a twentieth, a
//! fifth and a half of all bytes that are requested at least once.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use weir_store::disk::Directory;
use weir_store::{Admission, Admit, Checkpoint, Geometry, Options, ResponseHead, Stamps, Volume};

/// A URL, and the bytes of its response.
type Request = (u64, usize);

const URLS: u64 = 300_000;
const REQUESTS: u64 = 1_000_000;

/// Random numbers (xorshift).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }
}

/// Ranks by Zipf's law, from 0.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new() -> Self {
        let mut sum = 0.0;
        let below = (1..=URLS).map(|rank| {
            sum += (rank as f64).powf(-0.9);
            sum
        });
        Self(below.collect())
    }

    fn rank(&self, dice: &mut Dice) -> u64 {
        let whole = self.0.last().copied().unwrap_or_default();
        let at = (dice.next() % (1 << 40)) as f64 / (1u64 << 40) as f64 * whole;
        self.0.partition_point(|below| *below < at) as u64
    }
}

/// The request for a URL by its number: 500 to 16,000 bytes.
fn request(number: u64) -> Request {
    let mut dice = Dice(number.wrapping_mul(0xD6E8_FEB8_6659_FD93) | 1);
    (dice.next(), 500 << (dice.next() % 6))
}

/// A URL that is requested once.
fn once(at: u64) -> u64 {
    1 << 40 | at
}

fn synthetic() -> Vec<(&'static str, Vec<Request>)> {
    let zipf = Zipf::new();
    let made = |number: &mut dyn FnMut(u64, &mut Dice) -> u64| {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
        (0..REQUESTS).map(|at| request(number(at, &mut dice))).collect()
    };
    vec![
        ("Zipf", made(&mut |_, dice| zipf.rank(dice))),
        (
            "Zipf, and one request in three for a URL of its own",
            made(&mut |at, dice| if dice.one_in(3) { once(at) } else { zipf.rank(dice) }),
        ),
        (
            "Zipf, and one request in three of a crawler that goes over all URLs",
            made(&mut |at, dice| if dice.one_in(3) { at / 3 % URLS } else { zipf.rank(dice) }),
        ),
        (
            "Zipf, of which what is popular changes",
            // The most popular tenth is another one after each twentieth of the requests.
            made(&mut |at, dice| match zipf.rank(dice) {
                rank if rank < URLS / 10 => URLS * (1 + at / (REQUESTS / 20)) + rank,
                rank => rank,
            }),
        ),
    ]
}

fn read(path: &str) -> Vec<Request> {
    let text = std::fs::read_to_string(path).unwrap();
    let request = |line: &str| {
        let (url, bytes) = line.rsplit_once(' ').expect("a line is a URL and its bytes");
        let mut hasher = DefaultHasher::new();
        url.hash(&mut hasher);
        (hasher.finish(), bytes.parse::<usize>().unwrap().min(1 << 20))
    };
    text.lines().map(request).collect()
}

/// What came of a trace.
#[derive(Default)]
struct Outcome {
    hits: u64,
    hit_bytes: u64,
    written: u64,
}

impl Outcome {
    fn hit(&mut self, length: usize) {
        self.hits += 1;
        self.hit_bytes += length as u64;
    }
}

fn volume(path: &Path, bytes: u64, admit: Admit, trace: &[Request]) -> Outcome {
    let _gone = std::fs::remove_dir_all(path);
    let disk = Arc::new(Directory::open(path).unwrap());
    let geometry = Geometry::of_size(bytes).unwrap();
    let (volume, _) = Volume::open(disk, Options::new(geometry, 64 << 20)).unwrap();
    volume.commit(volume.checkpoint(&Checkpoint::default())).unwrap();
    // The default of a node.
    let admission = Admission::new(admit, 1_000_000);
    let (mut outcome, body) = (Outcome::default(), Bytes::from(vec![0; 1 << 20]));
    for (url, length) in trace {
        let key = Bytes::from(url.to_le_bytes().to_vec());
        if volume.get(*url, &key).is_ok_and(|stored| stored.is_some()) {
            outcome.hit(*length);
        } else if admission.admits(*url, false) {
            let head = ResponseHead {
                url: *url,
                key,
                selecting: Bytes::new(),
                site: "site".into(),
                tags: Vec::new(),
                fields: Bytes::new(),
                stamps: Stamps::default(),
            };
            volume.put(head, vec![body.slice(..*length)], None).unwrap();
            while volume.work(usize::MAX) {}
        }
    }
    outcome.written = volume.counts().bytes_written;
    drop(volume);
    std::fs::remove_dir_all(path).unwrap();
    outcome
}

/// A cache that admits all, and evicts what it was given first, or what was requested least recently.
fn model(bytes: u64, is_first_in: bool, trace: &[Request]) -> Outcome {
    let (mut places, mut order, mut held) = (HashMap::new(), BTreeMap::new(), 0);
    let mut outcome = Outcome::default();
    for (now, (url, length)) in trace.iter().enumerate() {
        match places.get(url) {
            Some(place) => {
                outcome.hit(*length);
                if is_first_in {
                    continue;
                }
                order.remove(place);
            }
            None => {
                held += *length as u64;
                outcome.written += *length as u64;
            }
        }
        places.insert(*url, now);
        order.insert(now, (*url, *length as u64));
        while held > bytes {
            let (_, (url, length)) = order.pop_first().unwrap();
            places.remove(&url);
            held -= length;
        }
    }
    outcome
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [path, trace @ ..] = &arguments[..] else { panic!("admission DIRECTORY [TRACE]") };
    let traces = match trace {
        [] => synthetic(),
        [file, ..] => vec![("trace", read(file))],
    };
    let path = Path::new(path).join("admission");
    println!("| trace | store | | hits | bytes from hits | written |\n|---|---|---|---|---|---|");
    for (name, trace) in traces {
        let asked: u64 = trace.iter().map(|(_, length)| *length as u64).sum();
        let once: HashMap<_, _> = trace.iter().copied().collect();
        let all: u64 = once.values().map(|length| *length as u64).sum();
        for part in [20, 5, 2] {
            // A store has at least so many bytes.
            let bytes = (all / part).max(Geometry::SMALLEST_STORE);
            for (what, outcome) in [
                ("`second`", volume(&path, bytes, Admit::Second, &trace)),
                ("`all`", volume(&path, bytes, Admit::All, &trace)),
                ("model, first in first out", model(bytes, true, &trace)),
                ("model, least recently used", model(bytes, false, &trace)),
            ] {
                let percent = |part: u64, whole: u64| part as f64 * 100.0 / whole as f64;
                println!(
                    "| {name} | {} MiB | {what} | {:.1} % | {:.1} % | {} MiB |",
                    bytes >> 20,
                    percent(outcome.hits, trace.len() as u64),
                    percent(outcome.hit_bytes, asked),
                    outcome.written >> 20
                );
            }
        }
    }
}
