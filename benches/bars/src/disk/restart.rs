//! A restart of a node with much on disk and many purges to catch up with. Without its origin, so that
//! whatever it answers is from its store.

use super::ROUNDS;
use super::asker::{Asker, request};
use super::node::{Asked, Kind, Node, Setup, fill, for_each};
use super::page::{Origin, Page};
use crate::check::{Checks, mib};
use crate::client::Client;
use crate::program::{Programs, Weir};
use crate::topology::purge;
use crate::{Error, scaled};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Responses at full size: of 1 KB, and of 1 MB.
const SMALL: u64 = 1_000_000;
const MIDDLE: u64 = 20_000;
/// Purges that the node has to catch up with, at full size, and the least.
const PURGES: (u64, u64) = (10_000, 500);
/// Connections that purge.
const PURGING: u64 = 64;
/// Connections that read all.
const READING: u64 = 8;
/// Pages of each kind that are asked for to see whether all are there.
const SAMPLE: u64 = 200;

/// From the start of the process.
const FIRST_WITHIN: Duration = Duration::from_secs(1);
const ALL_WITHIN: Duration = Duration::from_secs(2);
/// Bytes of memory that the index may take for each response, and the number of responses that it takes to
/// tell it from all else.
const INDEX: u64 = 40;
const COUNTABLE: u64 = 200_000;
/// How long a restart may take at all.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn run(programs: &Programs, scale: f64, checks: &mut Checks) -> Result<(), Error> {
    let kinds = [
        Kind { bytes: KIB, count: scaled(SMALL, scale, 1_000) },
        Kind { bytes: MIB, count: scaled(MIDDLE, scale, 20) },
    ];
    let [small, middle] = kinds;
    let purges = scaled(PURGES.0, scale, PURGES.1);
    println!(
        "disk, restart: {} responses of 1 KB, {} of 1 MB, {purges} purges meanwhile",
        small.count, middle.count
    );
    let origin = Origin::start().await?;
    // Twice what bodies take: a small store has small segments, into which few bodies of 1 MB fit, and
    // nothing must be evicted.
    let bytes: u64 = kinds.iter().map(|kind| kind.count * (kind.bytes + KIB)).sum();
    let disk = 2 * bytes + 256 * MIB;
    let setup = Setup { memory: 64, disk, max_object: 2 * MIB, queue: 128, promote: true };
    let node = Node::new(programs, &origin, &setup)?;
    let weir = node.started().await?;
    let empty = weir.rss()?;
    let begun = Instant::now();
    fill(&weir, &kinds).await?;
    checks.note("disk, restart: filled in", format!("{:.1?}", begun.elapsed()));
    drop(origin);

    let mut weir = weir;
    let (mut purged, mut now) = (0, 0);
    for round in 1..=ROUNDS {
        weir.stop().await?;
        purge_others(&node, purged..purged + purges).await?;
        purged += purges;
        let times: Times;
        (weir, times) = start(&node, &kinds).await?;
        let Times { ready, first, all, .. } = times;
        now = times.rss;
        let is_late = first > FIRST_WITHIN || all > ALL_WITHIN;
        if is_late && round < ROUNDS {
            println!("       (measured again: first hit {first:.1?}, all {all:.1?})");
            continue;
        }
        let after = |time: Duration| format!("{:.0} ms after the start", time.as_secs_f64() * 1e3);
        checks.note("disk, restart: the process listens", after(ready));
        checks.check("disk, restart: first hit", first <= FIRST_WITHIN, after(first), "1 s");
        checks.check("disk, restart: all of a sample", all <= ALL_WITHIN, after(all), "2 s");
        break;
    }
    let responses: u64 = kinds.iter().map(|kind| kind.count).sum();
    let each = now.saturating_sub(empty) / responses;
    checks.note("disk, restart: memory of an empty node, and at the first hit", {
        format!("{}, {}", mib(empty), mib(now))
    });
    let name = "disk, restart: bytes of RSS for each response on disk";
    match responses >= COUNTABLE {
        true => checks.check(name, each <= INDEX, each, INDEX),
        false => checks.note(name, format!("{each} (too few to be checked)")),
    }
    let (begun, mut total) = (Instant::now(), Asked::default());
    for kind in kinds {
        let asked = for_each(&weir, kind, READING, |_| true).await?;
        total.all += asked.all;
        total.hits += asked.hits;
        total.wrong += asked.wrong;
    }
    let Asked { all, hits, wrong } = total;
    let name = "disk, restart: responses that are hits";
    checks.check(name, hits == responses && all == responses, hits, responses);
    checks.check("disk, restart: wrong bodies, all compared", wrong == 0, wrong, 0);
    checks.note("disk, restart: all read in", format!("{:.1?}", begun.elapsed()));
    Ok(())
}

/// Since the start of a process.
struct Times {
    ready: Duration,
    first: Duration,
    all: Duration,
    /// Bytes of memory at the first hit: no large body was read yet.
    rss: u64,
}

/// Starts the node, and asks until a first response is a hit, and until all of a sample are.
async fn start(node: &Node<'_>, kinds: &[Kind]) -> Result<(Weir, Times), Error> {
    let begun = Instant::now();
    let weir = node.start(None)?;
    let ready = begun.elapsed();
    let mut asker = Asker::connect(weir.listen).await?;
    let mut first = None;
    let mut rss = 0;
    for kind in kinds {
        for number in (0..kind.count).step_by((kind.count / SAMPLE).max(1) as usize) {
            let request = request(&Page { bytes: kind.bytes, number }.path());
            while !asker.ask(&request).await.is_ok_and(|got| got.is_hit) {
                if begun.elapsed() > PATIENCE {
                    return Err("not all are hits after the restart".into());
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
                // What it answers instead is of no interest, and may be still to come.
                asker = Asker::connect(weir.listen).await?;
            }
            if first.is_none() {
                first = Some(begun.elapsed());
                rss = weir.rss()?;
            }
        }
    }
    let first = first.ok_or("nothing to ask for")?;
    Ok((weir, Times { ready, first, all: begun.elapsed(), rss }))
}

/// Purges of paths that nothing is stored under, while the node is down.
async fn purge_others(node: &Node<'_>, numbers: std::ops::Range<u64>) -> Result<(), Error> {
    let mut set = JoinSet::new();
    for lane in 0..PURGING {
        let mut control: Client = node.control().await?;
        let numbers = numbers.clone();
        set.spawn(async move {
            for number in numbers.skip(lane as usize).step_by(PURGING as usize) {
                let body = json!({"paths": [format!("/other/{number}")], "wait_ms": 0});
                purge(&mut control, &body).await?;
            }
            Ok::<(), Error>(())
        });
    }
    while let Some(ended) = set.join_next().await {
        ended??;
    }
    Ok(())
}
