//! Readers, writers and purges at random against real processes (invariants I1, I2, I3, I5, I6),
//! while control, edges, parents and the lines between them are killed, paused and cut.
//!
//! The origin is in this process and knows the truth: the content of each URL is a version that
//! only rises, and every byte of a body follows from URL, version and offset. Writers change what
//! the origin has and then purge it at control, by every sort of target. Each node that an answer
//! of control names as `applied`, and every node once it is `completed`, obeys from then on: an
//! answer to a request that is sent after that is held against it, byte by byte, wherever it came
//! from: three of four nodes have a disk store, which outlives their processes, and in which films are stored in the
//! slices that somebody asked for. What happens to the processes meanwhile costs errors and slow answers, never an old
//! body.
//!
//! ```text
//! WEIR_READS=1000000 cargo test --profile ci --test torture eight -- --nocapture
//! WEIR_READS=1000000 cargo test --profile ci --test torture parents -- --nocapture
//! ```
//!
//! `WEIR_READS` is how many answers are checked in each run (15,000 unless said otherwise),
//! `WEIR_SEED` what the choices are drawn from. A failure names the seed, the node, the URL, the
//! versions, the last purges of the URL with their times, and what happened to whom last. Processes
//! do not repeat themselves to the step: the same seed makes the same choices, not the same run.
//!
//! `tests/fault.sh` shows that this run notices a node that stamps its fetches when they end.

#[path = "race/change.rs"]
mod change;
#[path = "torture/chaos.rs"]
mod chaos;
#[path = "race/check.rs"]
mod check;
#[path = "race/door.rs"]
mod door;
mod program;
#[path = "race/random.rs"]
mod random;
#[path = "race/reader.rs"]
mod reader;
#[path = "torture/shape.rs"]
mod shape;
mod support;
#[path = "race/tally.rs"]
mod tally;
#[path = "race/world.rs"]
mod world;
#[path = "torture/writer.rs"]
mod writer;

use chaos::Chaos;
use random::{Random, number, seed};
use reader::{Changes, Reader};
use shape::Shape;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::Origin;
use tally::Tally;
use tokio::task::JoinSet;
use world::{KINDS, Kind, World};
use writer::Writer;

/// Clients at once.
const READERS: usize = 24;

/// Who purge at once.
const WRITERS: u64 = 8;

/// Purges that wait for a writer; further ones are left out.
const DUE: usize = 32;

/// One run at a time: each has the machine for itself.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn eight_edges_show_nothing_from_before_a_purge_that_they_applied() {
    let (reads, tally) = run(Shape::eight_edges);
    tally.must_have_covered([("disk", reads / 200)]);
}

#[test]
fn edges_under_parents_show_nothing_from_before_a_purge_that_they_applied() {
    let (reads, tally) = run(Shape::parents);
    tally.must_have_covered(
        ["parent's hit", "parent's fetch", "disk"].map(|what| (what, reads / 200)),
    );
}

/// Runs it; returns how many answers were to be checked, and what was met.
fn run(shape: fn(&str, u64) -> Shape) -> (u64, Tally) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
    let reads = number("WEIR_READS").unwrap_or(15_000);
    (reads, runtime.block_on(torture(shape, reads)))
}

async fn torture(shape: fn(&str, u64) -> Shape, reads: u64) -> Tally {
    let seed = seed();
    println!("WEIR_SEED={seed} WEIR_READS={reads}");
    let origin = Origin::builder().keep_requests(1).start().await;
    let shape = shape(&origin.url(), seed);
    let kinds: Vec<Kind> = KINDS.into_iter().chain([Kind::Film]).collect();
    let world = World::new(seed, shape.doors.len(), Duration::from_millis(4), &kinds);
    let world = Arc::new(world);
    origin.default_route(world.route());
    let began = Instant::now();
    let (due, orders) = sync_channel::<()>(DUE);
    let changes: Changes = Arc::new(move |_, _| {
        // Where too many wait already, this one is left out.
        let _ = due.try_send(());
    });
    let left = Arc::new(AtomicU64::new(reads));
    let doors = shape.doors.clone();
    let orders = Arc::new(Mutex::new(orders));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let random = Random::new(!seed ^ (writer << 32));
            let writer = Writer::new(Arc::clone(&world), shape.topology.at(), &doors, random);
            let (orders, left) = (Arc::clone(&orders), Arc::clone(&left));
            std::thread::spawn(move || {
                let _over = Over(&left);
                writer.run(&orders, &left)
            })
        })
        .collect();
    let (chaos, events) = Chaos::new(shape, Random::new(seed.rotate_left(32)));
    let chaos = {
        let left = Arc::clone(&left);
        std::thread::spawn(move || {
            let _over = Over(&left);
            chaos.run(&left)
        })
    };
    let mut readers = JoinSet::new();
    for number in 0..READERS {
        let random = Random::new(seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let door = Arc::clone(&doors[number % doors.len()]);
        let reader = Reader::new(world.clone(), door, random, changes.clone(), left.clone());
        readers.spawn(reader.run());
    }
    drop(changes);
    let mut tally = Tally::default();
    let wrong = collect(&mut readers, &mut tally).await.err();
    let read = began.elapsed();
    let wrong = wrong.map(|wrong| format!("WEIR_SEED={seed}, {read:?} on: {wrong}\n{events}"));
    // Also where something is wrong: whoever disturbs ends the processes.
    let ended = tokio::task::spawn_blocking(|| {
        let chaos = chaos.join();
        let purged: Result<Vec<u64>, _> = writers.into_iter().map(JoinHandle::join).collect();
        (chaos, purged)
    });
    let (chaos, purged) = ended.await.expect("they ended");
    assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
    let (topology, disturbed) = chaos.unwrap_or_else(|_| panic!("WEIR_SEED={seed}\n{events}"));
    tally.add(&disturbed);
    let purged = purged.unwrap_or_else(|_| panic!("WEIR_SEED={seed}\n{events}"));
    let purged: u64 = purged.iter().sum();
    // Every purge is completed now: nobody may show anything older any more.
    for door in &doors {
        let (changes, left): (Changes, _) = (Arc::new(|_, _| {}), Arc::clone(&left));
        let random = Random::new(seed);
        let reader = Reader::new(world.clone(), Arc::clone(door), random, changes, left);
        readers.spawn(reader.read_all());
    }
    let wrong = collect(&mut readers, &mut tally).await.err();
    assert!(wrong.is_none(), "WEIR_SEED={seed}: {}", wrong.unwrap_or_default());
    let listed = topology.listed();
    assert_eq!(listed.len() as u64, purged, "WEIR_SEED={seed}: each is listed once");
    println!("{purged} purges; {read:?} of reading; {tally:?}");
    assert_eq!(left.load(Ordering::Relaxed), 0);
    tally.must_have_covered([("checked", reads), ("hit", reads / 20), ("200", reads / 4)]);
    let some = ["206", "304", "416", "multipart", "collapsed", "post", "left", "slow"];
    tally.must_have_covered(some.map(|what| (what, reads / 2000)));
    tally.must_have_covered(
        ["stale-while-revalidate", "film's hit", "film's part"].map(|what| (what, reads / 10_000)),
    );
    assert!(purged >= reads / 1000, "{purged} purges");
    tally
}

/// What all the readers met, if nothing was wrong.
async fn collect(
    readers: &mut JoinSet<Result<Tally, String>>,
    tally: &mut Tally,
) -> Result<(), String> {
    while let Some(ended) = readers.join_next().await {
        tally.add(&ended.map_err(|panic| panic.to_string())??);
    }
    Ok(())
}

/// Whoever ends, well or not, ends the reading: nobody reads for ever.
struct Over<'a>(&'a AtomicU64);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
