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

#[path = "race/change.rs"]
mod change;
#[path = "race/check.rs"]
mod check;
#[path = "race/door.rs"]
mod door;
#[path = "race/random.rs"]
mod random;
#[path = "race/reader.rs"]
mod reader;
mod support;
#[path = "race/tally.rs"]
mod tally;
#[path = "race/world.rs"]
mod world;

use door::Door;
use random::{Random, number, seed};
use reader::{Changes, Reader};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use support::{Origin, edge};
use tally::Tally;
use tokio::task::JoinSet;
use weir_edge::node::Node;
use world::{KINDS, World};

/// Clients at once.
const READERS: u64 = 24;

/// A store that must evict, a bound that some bodies pass, and a window that they do not fit into.
const TABLES: &str = "[memory]\nsize = \"12MiB\"\nmax_object = \"256KiB\"\n\
    [limits]\nfill_window = \"64KiB\"\nvariants = 8";

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_from_before_a_purge_is_shown_after_it() {
    let reads = number("WEIR_READS").unwrap_or(20_000);
    let seed = seed();
    println!("WEIR_SEED={seed} WEIR_READS={reads}");
    let origin = Origin::builder().keep_requests(1).start().await;
    let world = Arc::new(World::new(seed, 1, Duration::from_micros(200), &KINDS));
    origin.default_route(world.route());
    let edge = edge().origin(&origin).site("host_header = \"client\"").tables(TABLES).start();
    let door = Arc::new(Door::calm("edge", edge.node.listen()));
    let (changes, left) = (purges(&edge.node), Arc::new(AtomicU64::new(reads)));
    let mut readers = JoinSet::new();
    for number in 0..READERS {
        let random = Random::new(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (world, door) = (Arc::clone(&world), Arc::clone(&door));
        let reader = Reader::new(world, door, random, changes.clone(), left.clone());
        readers.spawn(reader.run());
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
    tally.must_have_covered([("hit", reads / 20), ("collapsed", reads / 200), ("200", reads / 4)]);
    let some = ["206", "304", "416", "multipart", "change", "post", "left", "slow"];
    tally.must_have_covered(some.map(|what| (what, reads / 1000)));
    let few = ["stale-while-revalidate", "stale-if-error", "502", "cut"];
    tally.must_have_covered(few.map(|what| (what, reads / 5000)));
    assert_eq!(left.load(Ordering::Relaxed), 0);
}

/// Changes something at the origin and purges it.
fn purges(node: &Arc<Node>) -> Changes {
    let (node, log) = (Arc::clone(node), Mutex::new(0));
    Arc::new(move |world, random| {
        let change = world.change(random);
        {
            let mut seq = log.lock().unwrap_or_else(PoisonError::into_inner);
            *seq += 1;
            node.apply(&change.purge(*seq));
        }
        world.obeyed(&change, 0);
    })
}
