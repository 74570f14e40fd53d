//! How long a purge takes to every node, and what is told while one of them sleeps.

use crate::check::Checks;
use crate::client::Client;
use crate::memory::{script, target, warm};
use crate::origin::OriginSim;
use crate::program::Programs;
use crate::topology::{Topology, purge};
use crate::{Error, scaled};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Nodes.
const NODES: usize = 8;
/// Purges at full size, one after another.
const PURGES: u64 = 1_000;
/// Requests a second, over all nodes.
const RATE: u64 = 2_000;
/// What each node has stored.
const RESPONSES: u64 = 1_000;
/// Milliseconds until every node has applied a purge: the median, and of 99 in 100.
const BARS: (f64, f64) = (5.0, 50.0);
/// How long a purge of a node that sleeps is waited for, and what the answer may take more.
const WAIT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(250));
/// How long a node may take to wake.
const PATIENCE: Duration = Duration::from_secs(10);

/// Purges one path after another while the nodes are asked for what they have.
pub(crate) async fn run(programs: &Programs, scale: f64, checks: &mut Checks) -> Result<(), Error> {
    let count = scaled(PURGES, scale, 50);
    println!("propagation: {count} purges of a path, {NODES} nodes, {RATE} requests a second");
    let origin = OriginSim::scripted(programs, &script()).await?;
    let topology = Topology::start(programs, origin.at, NODES).await?;
    let answered = Arc::new(AtomicU64::new(0));
    let mut asking = JoinSet::new();
    for node in &topology.nodes {
        warm(node.listen, "/1k/page", RESPONSES).await?;
        asking.spawn(ask(node.listen, Arc::clone(&answered)));
    }
    let mut control = topology.control().await?;
    let (begun, before) = (Instant::now(), answered.load(Ordering::Relaxed));
    let (mut applied, mut seen) = (Vec::new(), Vec::new());
    for number in 0..count {
        let sent = Instant::now();
        let told = of_path(&mut control, number, PATIENCE).await?;
        seen.push(sent.elapsed().as_secs_f64() * 1000.0);
        let all = told["nodes"].as_array().is_some_and(|nodes| {
            nodes.len() == NODES && nodes.iter().all(|node| node["state"] == "applied")
        });
        match told["elapsed_ms"].as_f64() {
            Some(elapsed) if told["status"] == "completed" && all => applied.push(elapsed),
            _ => return Err(format!("a purge was not completed: {told}").into()),
        }
        if let Some(Ok(Err(error))) = asking.try_join_next() {
            return Err(error);
        }
    }
    let ran = begun.elapsed().as_secs_f64();
    let rate = (answered.load(Ordering::Relaxed) - before) as f64 / ran;
    let enough = rate >= 0.9 * RATE as f64;
    let name = "propagation: requests a second meanwhile";
    checks.check(name, enough, format!("{rate:.0}"), format!("{RATE}, a tenth less at worst"));
    let (median, late) = (of_hundred(&mut applied, 50), of_hundred(&mut applied, 99));
    for (name, figure, bar) in [("median", median, BARS.0), ("99 in 100", late, BARS.1)] {
        let name = format!("propagation: until all nodes applied it, {name}");
        checks.check(&name, figure <= bar, format!("{figure:.1} ms"), format!("{bar} ms or less"));
    }
    let (median, late) = (of_hundred(&mut seen, 50), of_hundred(&mut seen, 99));
    checks.note("propagation: as its caller sees it", format!("{median:.1} ms, {late:.1} ms"));
    asleep(&topology, &mut control, checks).await
}

/// A purge while one node sleeps, and once it wakes.
async fn asleep(
    topology: &Topology,
    control: &mut Client,
    checks: &mut Checks,
) -> Result<(), Error> {
    let sleeper = NODES / 2;
    let id = i32::try_from(topology.nodes[sleeper].id()).ok().and_then(Pid::from_raw);
    let id = id.ok_or("no process id")?;
    kill_process(id, Signal::STOP)?;
    let sent = Instant::now();
    let told = of_path(control, 0, WAIT.0).await;
    let answered = sent.elapsed();
    kill_process(id, Signal::CONT)?;
    let told = told?;
    let name = format!("edge-{sleeper}");
    let late = told["nodes"].as_array().into_iter().flatten();
    let late: Vec<&Value> = late.filter(|node| node["state"] != "applied").collect();
    let named = told["status"] == "in_progress" && late.len() == 1 && late[0]["name"] == *name;
    let figure = format!("{} with {late:?}", told["status"]);
    let bar = format!("in progress, {name} pending");
    checks.check("propagation: while one node sleeps", named, figure, bar);
    let bound = WAIT.0 + WAIT.1;
    let figure = format!("{answered:?}");
    let bar = format!("{bound:?} or less");
    checks.check("propagation: answered after", answered <= bound, figure, bar);
    let id = told["id"].as_str().ok_or("no id")?;
    let woken = Instant::now();
    loop {
        let told = control.get(&format!("/v1/purges/{id}")).await?;
        let told: Value = serde_json::from_slice(&told.body)?;
        let done = told["status"] == "completed";
        if done || woken.elapsed() > PATIENCE {
            let name = "propagation: completed once it woke, after";
            let figure = format!("{:?}", woken.elapsed());
            checks.check(name, done, figure, format!("{PATIENCE:?} or less"));
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn of_path(control: &mut Client, number: u64, wait: Duration) -> Result<Value, Error> {
    let path = target("/1k/page", number % RESPONSES);
    let wait = u64::try_from(wait.as_millis())?;
    purge(control, &json!({"paths": [path], "wait_ms": wait})).await
}

/// Asks a node at its part of the rate, for ever.
async fn ask(to: SocketAddr, answered: Arc<AtomicU64>) -> Result<(), Error> {
    let mut client = Client::connect(to).await?;
    let mut due = tokio::time::interval(Duration::from_secs(1) * NODES as u32 / RATE as u32);
    for number in (0..RESPONSES).cycle() {
        due.tick().await;
        let answer = client.get(&target("/1k/page", number)).await?;
        if answer.status != 200 {
            return Err(format!("status {}", answer.status).into());
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// The value that so many in a hundred do not pass.
fn of_hundred(values: &mut [f64], part: usize) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let at = (values.len() * part / 100).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or_default()
}
