//! Purges with the log in etcd: three members, the writer, another process of control, and real nodes.

use crate::check::Checks;
use crate::client::Client;
use crate::etcd::Etcd;
use crate::fleet::{fsync, judge, of_hundred};
use crate::origin::OriginSim;
use crate::program::Programs;
use crate::topology::{Topology, purge};
use crate::{Error, scaled};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Members of etcd, and nodes.
const MEMBERS: usize = 3;
const NODES: usize = 8;
/// Purges one after another, and the median at most, ms.
const SEQUENTIAL: (u64, f64) = (1_000, 6.0);
/// Purges a second that are accepted, for how many seconds, by how many callers.
const ACCEPTED: (u64, u64, usize) = (5_000, 10, 64);
/// How long a state is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Purges one after another, at either process; then many.
pub(crate) async fn run(programs: &Programs, scale: f64, checks: &mut Checks) -> Result<(), Error> {
    let origin = OriginSim::scripted(programs, &crate::memory::script()).await?;
    let etcd = Etcd::start(MEMBERS).await?;
    let topology = Topology::on_etcd(programs, &etcd, origin.at, NODES).await?;
    let another = topology.another(programs, &etcd)?;
    let count = scaled(SEQUENTIAL.0, scale, 50);
    println!("ha: {count} purges one after another, {NODES} nodes, {MEMBERS} members of etcd");
    let sync = fsync(etcd.folder())?;
    let median = sequential(topology.control().await?, "writer", count, checks).await?;
    let name = "ha: one after another at the writer, as the caller sees it, median";
    let figure =
        format!("{median:.2} ms; an fsync takes {sync:.2} ms, and there are {MEMBERS} at once");
    judge(
        checks,
        scale,
        name,
        median <= SEQUENTIAL.1,
        figure,
        format!("{} ms or less", SEQUENTIAL.1),
    );
    let median = sequential(topology.caller(another.at).await?, "other", count, checks).await?;
    checks.note(
        "ha: the same at the other process, which passes on, median",
        format!("{median:.2} ms"),
    );
    accepted(&topology, scale, checks).await
}

async fn sequential(
    mut control: Client,
    name: &str,
    count: u64,
    checks: &Checks,
) -> Result<f64, Error> {
    let mut times = Vec::new();
    for number in 0..count {
        let sent = Instant::now();
        let told = purge(&mut control, &json!({"paths": [format!("/{name}/{number}")]})).await?;
        times.push(sent.elapsed().as_secs_f64() * 1e3);
        if told["status"] != "completed" || told["nodes_total"] != NODES {
            return Err(format!("not completed: {told}").into());
        }
    }
    let median = of_hundred(&mut times, 50);
    checks.note(
        &format!("ha: at the {name}, 99 in 100"),
        format!("{:.1} ms", of_hundred(&mut times, 99)),
    );
    Ok(median)
}

/// Purges at a high rate, of which none may be lost.
async fn accepted(topology: &Topology, scale: f64, checks: &mut Checks) -> Result<(), Error> {
    let (rate, seconds, lanes) = ACCEPTED;
    let seconds = scaled(seconds, scale, 2);
    println!("ha: {rate} purges a second for {seconds} s, {NODES} nodes");
    let before = head(topology).await?;
    let mut purging = JoinSet::new();
    let begun = Instant::now();
    for lane in 0..lanes {
        let mut control = topology.control().await?;
        purging.spawn(async move {
            let (mut number, mut answered) = (lane as u64, 0);
            while number < rate * seconds {
                let due = begun + Duration::from_secs_f64(number as f64 / rate as f64);
                tokio::time::sleep_until(due.into()).await;
                let body = json!({"paths": [format!("/accepted/{number}")], "wait_ms": 0});
                purge(&mut control, &body).await?;
                answered += 1;
                number += lanes as u64;
            }
            Ok::<u64, Error>(answered)
        });
    }
    let mut answered = 0;
    while let Some(lane) = purging.join_next().await {
        answered += lane??;
    }
    let reached = answered as f64 / begun.elapsed().as_secs_f64();
    let enough = reached >= 0.98 * rate as f64;
    let bar = format!("{rate}, a fiftieth less at worst");
    judge(checks, scale, "ha: accepted, purges a second", enough, format!("{reached:.0}"), bar);
    let there = head(topology).await? - before;
    let figure = format!("{answered} answered, {there} in the log");
    checks.check("ha: accepted, none lost or doubled", there == answered, figure, "the same");
    let (end, mut control) = (Instant::now() + PATIENCE, topology.control().await?);
    let done = purge(&mut control, &json!({"paths": ["/last"], "wait_ms": 60_000})).await?;
    let applied = done["status"] == "completed" && Instant::now() < end;
    checks.check(
        "ha: all nodes applied the last one",
        applied,
        done["status"].to_string(),
        "completed",
    );
    Ok(())
}

async fn head(topology: &Topology) -> Result<u64, Error> {
    let answer = topology.control().await?.get("/v1/stats").await?;
    let told: Value = serde_json::from_slice(&answer.body)?;
    told["log"]["head"].as_u64().ok_or_else(|| format!("no head in {told}").into())
}
