//! Readers, writers and purges at random against a running node (invariants I1, I2 and I7).
//!
//! The content of each URL is a version that only rises, and every byte of a body follows from
//! URL, version and offset. Tasks read in all the ways that HTTP has; now and then one of them
//! changes what the origin has and purges it, or changes it by a POST. Each answer is then held
//! against what had been purged *before its request was sent*: a version from before a hard purge
//! is never shown, one from before a soft purge never as fresh; bodies are whole and of one
//! version; a body that broke off is seen to, and only where the origin misbehaved.
//!
//! `WEIR_READS` is how many answers are checked (20,000 unless said otherwise), `WEIR_SEED` what
//! the tasks draw their choices from; a failure names its seed.

#[path = "race/check.rs"]
mod check;
#[path = "race/random.rs"]
mod random;
#[path = "race/reader.rs"]
mod reader;
mod support;
#[path = "race/world.rs"]
mod world;

use random::Random;
use reader::{Reader, Tally};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use support::{Origin, edge};
use tokio::task::JoinSet;
use world::World;

/// Clients at once.
const READERS: u64 = 24;

/// A store that must evict, a bound that some bodies pass, and a window that they do not fit into.
const TABLES: &str = "[memory]\nsize = \"12MiB\"\nmax_object = \"256KiB\"\n\
    [limits]\nfill_window = \"64KiB\"\nvariants = 8";

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_from_before_a_purge_is_shown_after_it() {
    let reads = number("WEIR_READS").unwrap_or(20_000);
    let seed = number("WEIR_SEED").unwrap_or_else(seed_of_the_moment);
    println!("WEIR_SEED={seed} WEIR_READS={reads}");
    let origin = Origin::builder().keep_requests(1).start().await;
    let world = Arc::new(World::new(seed));
    origin.default_route(world.route());
    let edge = edge().origin(&origin).site("host_header = \"client\"").tables(TABLES).start();
    let left = Arc::new(AtomicU64::new(reads));
    let mut readers = JoinSet::new();
    for number in 0..READERS {
        let random = Random::new(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let reader = Reader::new(Arc::clone(&world), Arc::clone(&edge.node), random);
        let left = Arc::clone(&left);
        readers.spawn(reader.run(left));
    }
    let mut tally = Tally::default();
    while let Some(ended) = readers.join_next().await {
        match ended {
            Ok(Ok(one)) => tally.add(&one),
            Ok(Err(wrong)) => panic!("WEIR_SEED={seed}: {wrong}"),
            Err(panic) => panic!("WEIR_SEED={seed}: {panic}"),
        }
    }
    println!("{tally:?}");
    tally.must_have_covered(reads);
    assert_eq!(left.load(Ordering::Relaxed), 0);
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text:?}"));
    Some(number)
}

fn seed_of_the_moment() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_nanos() as u64
}
