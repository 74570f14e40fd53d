//! The memory store finds about as much as the best policy that knows no more than it does: the comparison of
//! `benches/policies`, scaled down.

#[path = "../benches/policies/compared.rs"]
mod compared;

use compared::traces::{Scale, generated};
use compared::{Own, Policy, hits, lru, s3_fifo, w_tinylfu};

/// Points that weir may find less than the best other one, by object.
const BEHIND_BEST: f64 = 1.0;
/// Points that it may find less than LRU, by byte: it does where popularity shifts.
const BEHIND_LRU: f64 = 2.0;

#[test]
fn the_store_finds_about_as_much_as_the_best_policy() {
    for trace in generated(Scale::of(30_000)) {
        for share in [1, 5, 20] {
            let size = trace.unique_bytes() * share / 100;
            let of = |policy: &mut dyn Policy| hits(&trace, policy);
            let own = of(&mut Own::new(size));
            let lru = of(&mut lru::Lru::new(size));
            let others =
                [lru, of(&mut s3_fifo::S3Fifo::new(size)), of(&mut w_tinylfu::WTinyLfu::new(size))];
            let best = others.iter().map(|hits| hits.by_object).fold(0.0, f64::max);
            let told = format!("{} at {share} %: {own:?} of {others:?}", trace.name);
            println!("{told}");
            assert!(own.by_object >= best - BEHIND_BEST, "by object, {told}");
            assert!(own.by_byte >= lru.by_byte - BEHIND_LRU, "by byte, {told}");
        }
    }
}
