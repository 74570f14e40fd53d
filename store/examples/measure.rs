//! Fills a store, opens it again, reads and purges it, and prints what that took:
//! `measure DIRECTORY RESPONSES BYTES`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_store::disk::Directory;
use weir_store::volume::{Body, Verdict};
use weir_store::{Checkpoint, Geometry, Options, ResponseHead, Stamps, Volume};

const FIELDS: [u8; 220] = [b'f'; 220];

fn head(number: u64) -> ResponseHead {
    ResponseHead {
        url: number.wrapping_add(1).wrapping_mul(0xD6E8_FEB8_6659_FD93),
        key: format!("https://www.example.com/articles/2026/{number:09}.html").into(),
        selecting: Bytes::new(),
        site: "example".into(),
        tags: vec![format!("article-{number}").into(), "articles".into()],
        fields: Bytes::from_static(&FIELDS),
        stamps: Stamps { filled_at: 1, valid_at: 1, soft_at: 0 },
    }
}

fn open(path: &std::path::Path, size: u64) -> Volume {
    let disk = Arc::new(Directory::open(path).unwrap());
    let options = Options::new(Geometry::of_size(size).unwrap(), 64 << 20);
    let begun = Instant::now();
    let (volume, opened) = Volume::open(disk, options).unwrap();
    println!("opened in {:.3} s: {} records", begun.elapsed().as_secs_f64(), opened.recovered);
    volume
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("measure DIRECTORY RESPONSES BYTES");
    let path = PathBuf::from(next());
    let (count, length): (u64, usize) = (next().parse().unwrap(), next().parse().unwrap());
    let size = (count * (length as u64 + 600)).max(1 << 30) * 5 / 4;
    let volume = open(&path, size);
    let mut place = Checkpoint { applied: 1, checked: 1, ..Checkpoint::default() };
    volume.commit(volume.checkpoint(&place)).unwrap();
    let body = Bytes::from(vec![b'b'; length]);
    let begun = Instant::now();
    for number in 0..count {
        while volume.put(head(number), vec![body.clone()], None).is_err() {
            volume.work(usize::MAX);
        }
        if number % 256 == 0 {
            volume.work(usize::MAX);
        }
    }
    volume.work(usize::MAX);
    let filled = begun.elapsed();
    let counts = volume.counts();
    println!(
        "filled in {:.2} s ({:.0} a second); {:.3} bytes written for each byte admitted, {} refused",
        filled.as_secs_f64(),
        count as f64 / filled.as_secs_f64(),
        counts.bytes_written as f64 / counts.bytes_admitted as f64,
        counts.refused,
    );
    let begun = Instant::now();
    volume.close().unwrap();
    println!(
        "closed in {:.2} s; {} bytes of segments and journal",
        begun.elapsed().as_secs_f64(),
        volume.bytes()
    );
    drop(volume);
    let volume = open(&path, size);
    let begun = Instant::now();
    let mut read = 0;
    for number in 0..count {
        let head = head(number);
        if let Some(stored) = volume.get(head.url, &head.key).unwrap() {
            assert!(matches!(stored.body, Body::Whole(whole) if whole == body));
            read += 1;
        }
    }
    let each = begun.elapsed() / u32::try_from(count).unwrap();
    println!("read {read} of {count}, {each:?} each");
    let begun = Instant::now();
    let mut walk = volume.walk(2);
    let (mut longest, mut seen) = (Duration::ZERO, 0);
    while !walk.is_over() {
        let step = Instant::now();
        volume.step(&mut walk, |judged| {
            seen += 1;
            let tags = judged.tags.iter();
            match tags.into_iter().any(|tag| &**tag == "article-7") {
                true => Verdict::Remove,
                false => Verdict::Keep,
            }
        });
        longest = longest.max(step.elapsed());
    }
    println!(
        "walked {seen} in {:.3} s, longest step {longest:?}, {} removed",
        begun.elapsed().as_secs_f64(),
        walk.removed()
    );
    let mut times: Vec<_> = (0..200)
        .map(|applied| {
            place.applied = applied + 2;
            let begun = Instant::now();
            volume.commit(volume.checkpoint(&place)).unwrap();
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("a commit takes {:?} (p50), {:?} (p99)", times[100], times[198]);
}
