//! The hit ratio of weir's memory store beside policies of other caches, at the same number of bytes:
//!
//! ```text
//! cargo bench -p weir-simulation --bench policies                      # generated traces
//! cargo bench -p weir-simulation --bench policies -- --trace FILE      # and lines of "URL BYTES"
//! ```
//!
//! Each response takes as many bytes with each policy as it takes in weir's store. `weir` is a node of that
//! `memory.size`, which keeps a part of it for bodies under way; `its map` has all of it.

mod belady;
mod ghost;
mod lru;
mod recency;
mod s3_fifo;
mod sketch;
mod traces;
mod w_tinylfu;

use std::error::Error;
use traces::{Asked, Trace};
use weir_edge::{MemoryPolicy, memory_of_store};

/// A cache that decides by itself what it keeps.
trait Policy {
    /// A request: whether it is a hit. What is missed is fetched and offered for storage.
    fn request(&mut self, asked: Asked) -> bool;
}

/// weir's own map.
struct Own(MemoryPolicy);

impl Policy for Own {
    fn request(&mut self, asked: Asked) -> bool {
        let is_hit = self.0.get(asked.url.into()).is_some();
        if !is_hit {
            self.0.put(asked.url.into(), asked.usage(), 0);
        }
        is_hit
    }
}

/// Shares of the bytes of all that a trace asks for, in hundredths.
const SIZES: [u64; 3] = [1, 5, 20];

/// Hits by request and by byte.
fn ratio(trace: &Trace, policy: &mut dyn Policy) -> (f64, f64) {
    let (mut hits, mut bytes, mut all) = (0_u64, 0, 0);
    for asked in &trace.requests {
        all += asked.length;
        if policy.request(*asked) {
            hits += 1;
            bytes += asked.length;
        }
    }
    (hits as f64 / trace.requests.len() as f64, bytes as f64 / all as f64)
}

fn compare(trace: &Trace) {
    let unique = trace.unique_bytes();
    println!(
        "\n{}: {} requests for {} URLs, {} MiB\n",
        trace.name,
        trace.requests.len(),
        trace.urls(),
        unique >> 20
    );
    println!("| bytes | weir | its map | LRU | S3-FIFO | W-TinyLFU | Belady |");
    println!("|---|---|---|---|---|---|---|");
    for share in SIZES {
        let size = unique * share / 100;
        let mut policies: [Box<dyn Policy>; 6] = [
            Box::new(Own(MemoryPolicy::new(memory_of_store(size)))),
            Box::new(Own(MemoryPolicy::new(size))),
            Box::new(lru::Lru::new(size)),
            Box::new(s3_fifo::S3Fifo::new(size)),
            Box::new(w_tinylfu::WTinyLfu::new(size)),
            Box::new(belady::Belady::new(size, &trace.requests)),
        ];
        let cells: Vec<String> = policies
            .iter_mut()
            .map(|policy| {
                let (requests, bytes) = ratio(trace, policy.as_mut());
                format!("{:.1} / {:.1}", 100.0 * requests, 100.0 * bytes)
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
    for trace in traces::generated() {
        compare(&trace);
    }
    for file in files {
        compare(&traces::read(file)?);
    }
    Ok(())
}
