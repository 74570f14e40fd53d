//! The hit ratio of weir's memory store beside policies of other caches, at the same number of bytes:
//!
//! ```text
//! cargo bench -p weir-simulation --bench policies                      # generated traces
//! cargo bench -p weir-simulation --bench policies -- --trace FILE      # and lines of "URL BYTES"
//! ```
//!
//! Each response takes as many bytes with each policy as it takes in weir's store. `weir` is a node of that
//! `memory.size` with no bodies in flight.

mod belady;
#[path = "compared.rs"]
mod compared;

use compared::traces::{self, Asked, Scale, Trace};
use compared::{Own, Policy, hits, lru, s3_fifo, w_tinylfu};
use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use weir_simulation::{Line, trace};

/// Shares of the bytes of all that a trace asks for, in hundredths.
const SIZES: [u64; 3] = [1, 5, 20];

/// Requests of each generated trace.
const REQUESTS: u64 = 100_000;

/// Lines of `URL BYTES`, or `SECONDS URL BYTES`.
fn read(file: &str) -> Result<Trace, Box<dyn Error>> {
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

fn compare(trace: &Trace) {
    let unique = trace.unique_bytes();
    println!(
        "\n{}: {} requests, all URLs together {} MiB\n",
        trace.name,
        trace.requests.len(),
        unique >> 20
    );
    println!("| bytes | weir | LRU | S3-FIFO | W-TinyLFU | Belady |");
    println!("|---|---|---|---|---|---|");
    for share in SIZES {
        let size = unique * share / 100;
        let mut policies: [Box<dyn Policy>; 5] = [
            Box::new(Own::new(size)),
            Box::new(lru::Lru::new(size)),
            Box::new(s3_fifo::S3Fifo::new(size)),
            Box::new(w_tinylfu::WTinyLfu::new(size)),
            Box::new(belady::Belady::new(size, &trace.requests)),
        ];
        let cells: Vec<String> = policies
            .iter_mut()
            .map(|policy| {
                let hits = hits(trace, policy.as_mut());
                format!("{:.1} / {:.1}", hits.by_object, hits.by_byte)
            })
            .collect();
        println!("| {:.1} MiB | {} |", size as f64 / f64::from(1 << 20), cells.join(" | "));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // What cargo passes to each bench is no file.
    let words: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let files = match &words[..] {
        [] => &[],
        [first, files @ ..] if first == "--trace" && !files.is_empty() => files,
        _ => return Err(format!("{words:?}; accepted: --trace FILE...").into()),
    };
    println!("Hits in a hundred requests / bytes.");
    for file in files {
        compare(&read(file)?);
    }
    for trace in traces::generated(Scale::of(REQUESTS)) {
        compare(&trace);
    }
    Ok(())
}
