//! What purges that arrive all the time cost the hits of a node.

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
/// Times that each kind is measured, at full size, beside as many without purges.
const ROUNDS: u64 = 7;
/// How long each time.
const WINDOW: Duration = Duration::from_secs(3);
/// Of the hits without purges, the least with them.
const SHARE: f64 = 0.95;

/// The kinds of purges, none of which takes anything stored; the first is none.
const KINDS: [&str; 4] = ["", "path", "tag", "prefix"];

/// Hits per processor second of a node, without purges and with them, in turn.
pub(crate) async fn run(programs: &Programs, scale: f64, checks: &mut Checks) -> Result<(), Error> {
    let rounds = scaled(ROUNDS, scale, 1);
    println!("purged-hits: {RESPONSES} responses of 1 KB, {RATE} purges a second");
    let origin = OriginSim::scripted(programs, &script()).await?;
    let topology = Topology::start(programs, origin.at, 1).await?;
    let node = &topology.nodes[0];
    warm(node.listen, "/1k/page", RESPONSES).await?;
    let hits = Arc::new(AtomicU64::new(0));
    let mut asking = JoinSet::new();
    for lane in 0..ASKING {
        asking.spawn(ask(node.listen, lane, Arc::clone(&hits)));
    }
    let mut measured = [const { Vec::new() }; KINDS.len()];
    for round in 0..=rounds {
        for (kind, rates) in KINDS.into_iter().zip(&mut measured) {
            let purging = Purging::start(topology.control_at(), kind);
            let (rate, arrived) = window(node, &hits).await?;
            purging.stop()?;
            // The first round warms everything up.
            if round == 0 {
                continue;
            }
            rates.push(rate);
            if !kind.is_empty() && arrived < LEAST {
                return Err(format!("only {arrived} purges a second arrived").into());
            }
        }
        if let Some(Ok(Err(error))) = asking.try_join_next() {
            return Err(error);
        }
    }
    let without = median(&mut measured[0]);
    checks.note("purged-hits: a processor second, no purges", format!("{without:.0}"));
    for (kind, rates) in KINDS.into_iter().zip(&mut measured).skip(1) {
        let (with, name) = (median(rates), format!("purged-hits: with purges by {kind}"));
        let figure = format!("{with:.0}, {:.1} %", with * 100.0 / without);
        checks.check(&name, with >= SHARE * without, figure, "at least 95 %");
    }
    Ok(())
}

/// Hits per processor second, and purges applied per second.
async fn window(node: &Weir, hits: &AtomicU64) -> Result<(f64, u64), Error> {
    let applied = || client::metric(node.admin, "weir_purge_applied_seq");
    let (at, seq) = (Instant::now(), applied().await?);
    let (answered, used) = (hits.load(Ordering::Relaxed), node.processor_time()?);
    tokio::time::sleep(WINDOW).await;
    let (answered, used) = (hits.load(Ordering::Relaxed) - answered, node.processor_time()? - used);
    let arrived = (applied().await? - seq) as f64 / at.elapsed().as_secs_f64();
    Ok((answered as f64 / used.as_secs_f64(), arrived as u64))
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
    stopped: Arc<AtomicBool>,
}

impl Purging {
    fn start(control: SocketAddr, kind: &'static str) -> Self {
        let stopped = Arc::new(AtomicBool::new(kind.is_empty()));
        let seen = Arc::clone(&stopped);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut set = JoinSet::new();
                for lane in 0..PURGING {
                    set.spawn(purges(control, kind, lane, Arc::clone(&seen)));
                }
                while let Some(ended) = set.join_next().await {
                    ended??;
                }
                Ok(())
            })
        });
        Self { thread, stopped }
    }

    fn stop(self) -> Result<(), Error> {
        self.stopped.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the purging thread broke off")?
    }
}

async fn purges(
    to: SocketAddr,
    kind: &'static str,
    lane: u64,
    stopped: Arc<AtomicBool>,
) -> Result<(), Error> {
    let mut client = Client::connect(to).await?;
    let mut due = tokio::time::interval(Duration::from_micros(1_000_000 * PURGING / RATE));
    let mut number = lane;
    while !stopped.load(Ordering::Relaxed) {
        due.tick().await;
        number += PURGING;
        purge(&mut client, &of_kind(kind, number)).await?;
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

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
