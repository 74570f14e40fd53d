//! What purges that arrive all the time cost the hits of a node.
//!
//! Whoever purges, and control, take processors too, which on a small machine are the node's: that
//! is not what its purges cost. So the purges never stop, but by turns, in short windows, they go to
//! the log that the node follows and to another one, followed by a node that nobody asks. All else
//! is the same in both, and what such neighbours say is compared; the figure is the mean of the
//! middle half of all pairs. The node has a processor of its own, and all others share another.
//!
//! It is counted in time of processors. A node that has one of them answers fewer hits for two
//! reasons: each may cost its worker more, and what the other threads need for the purges is lost
//! to it. The hits that were answered in fact are told as well.

use crate::check::Checks;
use crate::client::{self, Client};
use crate::memory::{script, target, warm};
use crate::origin::OriginSim;
use crate::program::{Programs, Weir};
use crate::topology::{Topology, purge};
use crate::{Error, scaled};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Purges a second.
const RATE: u64 = 1_000;
/// The least that must have arrived for the figure to count.
const LEAST: u64 = 900;
/// Connections that purge.
const PURGING: u64 = 8;
/// Connections that ask for what is stored.
const ASKING: u64 = 32;
/// What is stored.
const RESPONSES: u64 = 1_000;
/// Pairs of windows for each kind, at full size; and the least, for a figure of any worth. On a
/// machine of two processors one pair may be a tenth off.
const PAIRS: (u64, u64) = (120, 11);
/// How long each window, and how long before it for the node to fall into step.
const WINDOW: Duration = Duration::from_millis(400);
const SETTLE: Duration = Duration::from_millis(100);
/// Of the hits without purges, the least with them.
const SHARE: f64 = 0.95;

/// The kinds of purges, none of which takes anything stored.
const KINDS: [&str; 3] = ["path", "tag", "prefix"];

/// The part of its hits that a node with one processor keeps under purges of each kind.
pub(crate) async fn run(programs: &Programs, scale: f64, checks: &mut Checks) -> Result<(), Error> {
    let pairs = scaled(PAIRS.0, scale, PAIRS.1);
    println!("purged-hits: {RESPONSES} responses of 1 KB, {RATE} purges a second");
    let origin = OriginSim::scripted(programs, &script()).await?;
    let topology = Topology::start(programs, origin.at, 1).await?;
    let elsewhere = Topology::start(programs, origin.at, 1).await?;
    let node = &topology.nodes[0];
    warm(node.listen, "/1k/page", RESPONSES).await?;
    warm(elsewhere.nodes[0].listen, "/1k/page", RESPONSES).await?;
    topology.apart(&elsewhere)?;
    let hits = Arc::new(AtomicU64::new(0));
    let mut asking = JoinSet::new();
    for lane in 0..ASKING {
        asking.spawn(ask(node.listen, lane, Arc::clone(&hits)));
    }
    for kind in KINDS {
        let purging = Purging::start([elsewhere.control_at(), topology.control_at()], kind);
        let (mut kept, mut costs, mut answered) = (Vec::new(), Vec::new(), Vec::new());
        let (mut arrived, mut under) = (0, Duration::ZERO);
        for pair in 0..=pairs {
            // Each first in turn, so that a drift of the machine favours neither.
            let mut cost = [Cost::default(); 2];
            for purged in [pair % 2 == 0, pair % 2 == 1] {
                purging.turn(purged);
                tokio::time::sleep(SETTLE).await;
                let before = client::metric(node.admin, APPLIED).await?;
                let begun = Instant::now();
                cost[usize::from(purged)] = window(node, &hits).await?;
                if purged {
                    under += begun.elapsed();
                    arrived += client::metric(node.admin, APPLIED).await? - before;
                }
            }
            // The first pair warms everything up.
            if pair > 0 {
                kept.push(cost[1].hits_of_one_processor() / cost[0].hits_of_one_processor());
                costs.push(cost[1].of_a_hit / cost[0].of_a_hit);
                answered.push(cost[1].hits / cost[0].hits);
            }
            if let Some(Ok(Err(error))) = asking.try_join_next() {
                return Err(error);
            }
        }
        purging.stop()?;
        let arrived = arrived as f64 / under.as_secs_f64();
        if arrived < LEAST as f64 {
            return Err(format!("only {arrived:.0} purges a second arrived").into());
        }
        let [low, middle, high] = middle_half(&mut kept);
        let [_, dearer, _] = middle_half(&mut costs);
        let (name, part) = (format!("purged-hits: hits kept, purges by {kind}"), 100.0 * middle);
        let spread = format!("half of the pairs from {:.1} to {:.1} %", 100.0 * low, 100.0 * high);
        checks.check(&name, middle >= SHARE, format!("{part:.1} %, {spread}"), "at least 95 %");
        checks.note("purged-hits: a hit costs its worker", format!("{dearer:.3} times as much"));
        let [low, middle, high] = middle_half(&mut answered).map(|part| 100.0 * part);
        let in_fact = format!("{middle:.1} %, half of the pairs from {low:.1} to {high:.1} %");
        checks.note("purged-hits: hits answered in fact", in_fact);
    }
    Ok(())
}

/// What was applied so far, among a node's metrics.
const APPLIED: &str = "weir_purge_applied_seq";

/// What a window showed.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// Seconds of a worker for each hit.
    of_a_hit: f64,
    /// Seconds a second that the other threads need.
    beside: f64,
    /// Answered in a second.
    hits: f64,
}

impl Cost {
    /// Hits a second of a node that has one processor for all its threads.
    fn hits_of_one_processor(self) -> f64 {
        (1.0 - self.beside) / self.of_a_hit
    }
}

async fn window(node: &Weir, hits: &AtomicU64) -> Result<Cost, Error> {
    let (begun, answered, used) =
        (Instant::now(), hits.load(Ordering::Relaxed), node.processor_time()?);
    tokio::time::sleep(WINDOW).await;
    let (took, now) = (begun.elapsed(), node.processor_time()?);
    let answered = hits.load(Ordering::Relaxed) - answered;
    if answered == 0 {
        return Err("no hits at all in a window".into());
    }
    Ok(Cost {
        of_a_hit: (now.by_workers - used.by_workers).as_secs_f64() / answered as f64,
        beside: (now.by_others - used.by_others).as_secs_f64() / took.as_secs_f64(),
        hits: answered as f64 / took.as_secs_f64(),
    })
}

/// Asks for what is stored, for ever.
async fn ask(to: SocketAddr, lane: u64, hits: Arc<AtomicU64>) -> Result<(), Error> {
    let mut client = Client::connect(to).await?;
    for number in (0..RESPONSES).cycle().skip((lane * RESPONSES / ASKING) as usize) {
        let answer = client.get(&target("/1k/page", number)).await?;
        if !answer.is_hit() {
            return Err(format!("no hit: {}", answer.cache_status()).into());
        }
        hits.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// A thread that purges, so that what asks is not held up.
struct Purging {
    thread: std::thread::JoinHandle<Result<(), Error>>,
    orders: Arc<Orders>,
}

#[derive(Default)]
struct Orders {
    /// Whether the purges go to the node that is asked.
    here: AtomicBool,
    stop: AtomicBool,
}

impl Purging {
    /// Purges at the first of `controls`, and at the second where its turn has come.
    fn start(controls: [SocketAddr; 2], kind: &'static str) -> Self {
        let orders = Arc::new(Orders::default());
        let seen = Arc::clone(&orders);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut set = JoinSet::new();
                for lane in 0..PURGING {
                    set.spawn(purges(controls, kind, lane, Arc::clone(&seen)));
                }
                while let Some(ended) = set.join_next().await {
                    ended??;
                }
                Ok(())
            })
        });
        Self { thread, orders }
    }

    fn turn(&self, here: bool) {
        self.orders.here.store(here, Ordering::Relaxed);
    }

    fn stop(self) -> Result<(), Error> {
        self.orders.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the purging thread broke off")?
    }
}

async fn purges(
    controls: [SocketAddr; 2],
    kind: &'static str,
    lane: u64,
    orders: Arc<Orders>,
) -> Result<(), Error> {
    let [elsewhere, here] = controls;
    let mut clients = [Client::connect(elsewhere).await?, Client::connect(here).await?];
    let mut due = tokio::time::interval(Duration::from_micros(1_000_000 * PURGING / RATE));
    let mut number = lane;
    while !orders.stop.load(Ordering::Relaxed) {
        due.tick().await;
        number += PURGING;
        let client = &mut clients[usize::from(orders.here.load(Ordering::Relaxed))];
        purge(client, &of_kind(kind, number)).await?;
    }
    Ok(())
}

fn of_kind(kind: &str, number: u64) -> Value {
    match kind {
        "tag" => json!({"tags": [format!("else-{number}")], "wait_ms": 0}),
        "prefix" => json!({"prefixes": [format!("/else/{number}")], "wait_ms": 0}),
        _ => json!({"paths": [format!("/else/{number}")], "wait_ms": 0}),
    }
}

/// Where the middle half of the values begins, its mean, and where it ends.
pub(crate) fn middle_half(values: &mut [f64]) -> [f64; 3] {
    values.sort_unstable_by(f64::total_cmp);
    let middle = &values[values.len() / 4..values.len() - values.len() / 4];
    let mean = middle.iter().sum::<f64>() / middle.len() as f64;
    [middle.first().copied().unwrap_or_default(), mean, middle.last().copied().unwrap_or_default()]
}
