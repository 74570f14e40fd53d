//! Compares what is admitted: hit ratio and bytes written of `second`, of `all`, both in a volume that
//! evicts by segment, and of a model that evicts the least recently used and admits all.
//! `admission DIRECTORY MEBIBYTES [TRACE]`; a line of a trace is a URL and its bytes. Without a trace:
//! a million requests for 300,000 URLs by Zipf's law, and as many for URLs that nobody asks for again
//! as a fifth of them.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use weir_store::disk::Directory;
use weir_store::{Admission, Admit, Checkpoint, Geometry, Options, ResponseHead, Stamps, Volume};

type Request = (u64, usize);

fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
}

fn zipf() -> Vec<Request> {
    const URLS: usize = 300_000;
    let mut sum = 0.0;
    let below: Vec<f64> = (1..=URLS)
        .map(|rank| {
            sum += (rank as f64).powf(-0.9);
            sum
        })
        .collect();
    let mut random = 0x9E37_79B9_7F4A_7C15;
    let request = |number: u64| {
        let url = match next(&mut random) % 6 {
            0 => 1 << 40 | number,
            _ => {
                let at = (next(&mut random) % (1 << 40)) as f64 / (1u64 << 40) as f64 * sum;
                below.partition_point(|below| *below < at) as u64
            }
        };
        let mut of_url = url.wrapping_mul(0xD6E8_FEB8_6659_FD93) | 1;
        (next(&mut of_url), 500 << (next(&mut of_url) % 6))
    };
    (0..1_000_000).map(request).collect()
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

fn volume(path: &Path, bytes: u64, admit: Admit, trace: &[Request]) -> (u64, u64) {
    let _gone = std::fs::remove_dir_all(path);
    let disk = Arc::new(Directory::open(path).unwrap());
    let geometry = Geometry::of_size(bytes).unwrap();
    let (volume, _) = Volume::open(disk, Options::new(geometry, 64 << 20)).unwrap();
    volume.commit(volume.checkpoint(&Checkpoint::default())).unwrap();
    // As many URLs as the store may hold of 8 KiB each.
    let admission = Admission::new(admit, (bytes >> 13) as u32);
    let (mut hits, body) = (0, Bytes::from(vec![0; 1 << 20]));
    for (url, length) in trace {
        let key = Bytes::from(url.to_le_bytes().to_vec());
        if volume.get(*url, &key).is_ok_and(|stored| stored.is_some()) {
            hits += 1;
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
    let written = volume.counts().bytes_written;
    drop(volume);
    std::fs::remove_dir_all(path).unwrap();
    (hits, written)
}

fn least_recently_used(bytes: u64, trace: &[Request]) -> (u64, u64) {
    let (mut used, mut order, mut held) = (HashMap::new(), BTreeMap::new(), 0);
    let (mut hits, mut written) = (0, 0);
    for (now, (url, length)) in trace.iter().enumerate() {
        match used.insert(*url, now) {
            Some(last) => {
                order.remove(&last);
                hits += 1;
            }
            None => {
                held += *length as u64;
                written += *length as u64;
            }
        }
        order.insert(now, (*url, *length as u64));
        while held > bytes {
            let (_, (url, length)) = order.pop_first().unwrap();
            used.remove(&url);
            held -= length;
        }
    }
    (hits, written)
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [path, mebibytes, trace @ ..] = &arguments[..] else {
        panic!("admission DIRECTORY MEBIBYTES [TRACE]");
    };
    let bytes = mebibytes.parse::<u64>().unwrap() << 20;
    let trace = trace.first().map_or_else(zipf, |path| read(path));
    let path = Path::new(path).join("admission");
    let asked = trace.iter().map(|(_, length)| *length as u64).sum::<u64>();
    println!("{} requests, {} MiB asked for, store of {mebibytes} MiB", trace.len(), asked >> 20);
    for (name, (hits, written)) in [
        ("second", volume(&path, bytes, Admit::Second, &trace)),
        ("all", volume(&path, bytes, Admit::All, &trace)),
        ("all, least recently used (model)", least_recently_used(bytes, &trace)),
    ] {
        let ratio = hits as f64 / trace.len() as f64;
        println!("{name}: hit ratio {ratio:.4}, {} MiB written", written >> 20);
    }
}
