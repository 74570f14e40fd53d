//! Control with many nodes: fake ones that speak the protocol, and real ones among them.

mod fake;
mod simulated;

use crate::check::Checks;
use crate::origin::OriginSim;
use crate::program::Programs;
use crate::topology::{Topology, purge};
use crate::{Error, scaled};
use fake::Fleet;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Real nodes among the fake ones.
const REAL: usize = 2;
/// Nodes at full size, purges a second, and until all nodes applied a purge: the median at most, ms.
const LOADS: [(u64, u32, f64); 3] = [(1_000, 10, 8.0), (1_000, 100, 25.0), (4_000, 10, 40.0)];
/// Edges at full size, the relays that they follow, purges a second, and until all applied a purge:
/// the median at most, ms.
const BEHIND: (u64, u64, u32, f64) = (10_000, 20, 100, 60.0);
/// How long each load lasts at full size, seconds.
const LASTS: u64 = 20;
/// Memory of control for each node, bytes.
const BYTES: u64 = 4 << 10;
/// Connections that purge at a fixed rate.
const LANES: usize = 16;
/// Purges a second that are accepted, for how many seconds, by how many nodes followed.
const ACCEPTED: (u64, u64, usize) = (10_000, 10, 8);
/// Callers at once, purges a second, and milliseconds of 99 in 100.
const CALLERS: (usize, f64, f64) = (64, 10_000.0, 30.0);
/// Purges one after another on one node, and the median at most, ms.
const SEQUENTIAL: (u64, f64) = (1_000, 1.0);
/// What an fsync may take for that figure to be control's, ms.
const FSYNC: f64 = 0.25;
/// How long a state is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// Purges at fleets of several sizes.
pub(crate) async fn run(programs: &Programs, scale: f64, checks: &mut Checks) -> Result<(), Error> {
    let origin = OriginSim::scripted(programs, &crate::memory::script()).await?;
    alone(programs, origin.at, scale, checks).await?;
    together(programs, scale, checks).await?;
    accepted(programs, scale, checks).await?;
    let mut before = None;
    for (full, rate, most) in LOADS {
        let nodes = usize::try_from(scaled(full, scale, 50))?;
        if before.as_ref().is_none_or(|(count, _)| *count != nodes) {
            drop(before.take());
            let crowd = Crowd::start(programs, origin.at, nodes - REAL, None, checks).await?;
            before = Some((nodes, crowd));
        }
        let Some((_, crowd)) = &before else { return Err("no nodes".into()) };
        crowd.bear(scale, rate, scaled(LASTS, scale, 3), most, checks).await?;
        if rate != 10 || full != LOADS[0].0 {
            crowd.weigh(scale, checks)?;
        }
    }
    drop(before);
    let (edges, relays, rate, most) = BEHIND;
    let edges = usize::try_from(scaled(edges, scale, 50))?;
    let relays = usize::try_from(scaled(relays, scale, 2))?;
    let crowd = Crowd::start(programs, origin.at, edges, Some(relays), checks).await?;
    crowd.bear(scale, rate, scaled(LASTS, scale, 3), most, checks).await?;
    drop(crowd);
    simulated::run(scale, checks)
}

/// Control with a crowd of nodes.
struct Crowd {
    topology: Topology,
    fleet: Fleet,
    /// Control's memory before they came.
    empty: u64,
    nodes: usize,
    /// How they follow control, in words.
    way: String,
}

impl Crowd {
    /// So many fake nodes, with a few real ones, or behind so many relays, which are real.
    async fn start(
        programs: &Programs,
        origin: SocketAddr,
        fake: usize,
        relays: Option<usize>,
        checks: &Checks,
    ) -> Result<Self, Error> {
        let (topology, way) = match relays {
            None => (Topology::start(programs, origin, REAL).await?, String::new()),
            Some(count) => {
                let topology = Topology::with_relays(programs, origin, count, fake).await?;
                (topology, format!(" behind {count} relays"))
            }
        };
        let real = topology.nodes.len();
        let nodes = fake + real;
        println!("fleet: {fake} fake nodes{way}, and {real} real ones");
        let relays: Vec<SocketAddr> = topology.parents().map(|node| node.listen).collect();
        let empty = topology.control_rss()?;
        let begun = Instant::now();
        let fleet = Fleet::start(topology.control_at(), &relays, fake)?;
        fleet.until_joined(PATIENCE)?;
        checks.note(&format!("fleet: until all{way} had joined"), format!("{:?}", begun.elapsed()));
        Ok(Self { topology, fleet, empty, nodes, way })
    }

    /// Purges at a fixed rate for so many seconds.
    async fn bear(
        &self,
        scale: f64,
        rate: u32,
        seconds: u64,
        most: f64,
        checks: &mut Checks,
    ) -> Result<(), Error> {
        let what = format!("fleet: {} nodes{}, {rate} purges a second", self.nodes, self.way);
        let lanes = LANES.min(rate as usize);
        let mut purging = JoinSet::new();
        let before = self.topology.control_time()?;
        let begun = Instant::now();
        for lane in 0..lanes {
            let mut control = self.topology.control().await?;
            let nodes = self.nodes;
            purging.spawn(async move {
                let first = Duration::from_secs(1) * lane as u32 / rate;
                let every = Duration::from_secs(1) * lanes as u32 / rate;
                let mut due = tokio::time::interval_at((begun + first).into(), every);
                let mut times = Vec::new();
                while begun.elapsed() < Duration::from_secs(seconds) {
                    due.tick().await;
                    let path = format!("/fleet/{lane}/{}", times.len());
                    let told = purge(&mut control, &json!({"paths": [path]})).await?;
                    let all = told["nodes_total"] == nodes && told["nodes_lagging"] == 0;
                    match told["elapsed_ms"].as_f64() {
                        Some(took) if told["status"] == "completed" && all => times.push(took),
                        _ => return Err::<_, Error>(format!("not completed: {told}").into()),
                    }
                }
                Ok(times)
            });
        }
        let mut times = Vec::new();
        while let Some(lane) = purging.join_next().await {
            times.extend(lane??);
        }
        // With what it takes while nobody purges.
        let spent = (self.topology.control_time()? - before).as_secs_f64() * 1e3;
        let each = spent / times.len().max(1) as f64;
        let (median, late) = (of_hundred(&mut times, 50), of_hundred(&mut times, 99));
        let name = format!("{what}: all applied it, median");
        let (figure, bar) = (format!("{median:.1} ms"), format!("{most} ms or less"));
        match self.way.is_empty() {
            true => checks.check(&name, median <= most, figure, bar),
            // Few relays with all their edges on one machine say little of many.
            false => judge(checks, scale, &name, median <= most, figure, bar),
        }
        checks.note(&format!("{what}: 99 in 100, of {}", times.len()), format!("{late:.1} ms"));
        let name = format!("{what}: control's time of processors, of each purge");
        checks.note(&name, format!("{each:.2} ms"));
        self.fleet.check()
    }

    /// What a node costs control.
    fn weigh(&self, scale: f64, checks: &mut Checks) -> Result<(), Error> {
        let each = self.topology.control_rss()?.saturating_sub(self.empty) / self.nodes as u64;
        let name = format!("fleet: control's memory for each of {} nodes", self.nodes);
        let (figure, bar) = (format!("{each} bytes"), format!("{BYTES} or less"));
        judge(checks, scale, &name, each <= BYTES, figure, bar);
        Ok(())
    }
}

/// Purges one after another, at one real node.
async fn alone(
    programs: &Programs,
    origin: SocketAddr,
    scale: f64,
    checks: &mut Checks,
) -> Result<(), Error> {
    let count = scaled(SEQUENTIAL.0, scale, 100);
    println!("fleet: {count} purges one after another, one node");
    let topology = Topology::start(programs, origin, 1).await?;
    let mut control = topology.control().await?;
    let mut times = Vec::new();
    for number in 0..count {
        let sent = Instant::now();
        let told = purge(&mut control, &json!({"paths": [format!("/alone/{number}")]})).await?;
        times.push(sent.elapsed().as_secs_f64() * 1e3);
        if told["status"] != "completed" {
            return Err(format!("not completed: {told}").into());
        }
    }
    let (median, late) = (of_hundred(&mut times, 50), of_hundred(&mut times, 99));
    let sync = fsync(topology.folder())?;
    let name = "fleet: one after another, as the caller sees it, median";
    let figure = format!("{median:.2} ms; an fsync takes {sync:.2} ms");
    if sync <= FSYNC {
        let bar = format!("{} ms or less", SEQUENTIAL.1);
        judge(checks, scale, name, median <= SEQUENTIAL.1, figure, bar);
    } else {
        checks.note(name, figure);
    }
    checks.note("fleet: one after another, 99 in 100", format!("{late:.2} ms"));
    Ok(())
}

/// Callers who each purge again as soon as they are answered.
async fn together(programs: &Programs, scale: f64, checks: &mut Checks) -> Result<(), Error> {
    let (callers, least, most) = CALLERS;
    let seconds = scaled(10, scale, 2);
    println!("fleet: {callers} callers at once, one node");
    let topology = Topology::alone(programs)?;
    let fleet = Fleet::start(topology.control_at(), &[], 1)?;
    fleet.until_joined(PATIENCE)?;
    let begun = Instant::now();
    let mut calling = JoinSet::new();
    for caller in 0..callers {
        let mut control = topology.control().await?;
        calling.spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < Duration::from_secs(seconds) {
                let path = format!("/together/{caller}/{}", times.len());
                let sent = Instant::now();
                let told = purge(&mut control, &json!({"paths": [path]})).await?;
                times.push(sent.elapsed().as_secs_f64() * 1e3);
                if told["status"] != "completed" {
                    return Err::<_, Error>(format!("not completed: {told}").into());
                }
            }
            Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(caller) = calling.join_next().await {
        times.extend(caller??);
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    let (median, late) = (of_hundred(&mut times, 50), of_hundred(&mut times, 99));
    let name = format!("fleet: {callers} callers, purges a second");
    let (figure, bar) = (format!("{rate:.0}"), format!("{least} or more"));
    judge(checks, scale, &name, rate >= least, figure, bar);
    let name = format!("fleet: {callers} callers, 99 in 100");
    let (figure, bar) = (format!("{late:.1} ms"), format!("{most} ms or less"));
    judge(checks, scale, &name, late <= most, figure, bar);
    checks.note("fleet: callers at once, median", format!("{median:.1} ms"));
    fleet.check()
}

/// Purges at a high rate, of which none may be lost.
async fn accepted(programs: &Programs, scale: f64, checks: &mut Checks) -> Result<(), Error> {
    let (rate, seconds, nodes) = ACCEPTED;
    let seconds = scaled(seconds, scale, 2);
    println!("fleet: {rate} purges a second for {seconds} s, {nodes} nodes");
    let topology = Topology::alone(programs)?;
    let fleet = Fleet::start(topology.control_at(), &[], nodes)?;
    fleet.until_joined(PATIENCE)?;
    let lanes = CALLERS.0;
    let answered = Arc::new(AtomicU64::new(0));
    let mut purging = JoinSet::new();
    let begun = Instant::now();
    for lane in 0..lanes {
        let mut control = topology.control().await?;
        let answered = Arc::clone(&answered);
        purging.spawn(async move {
            let mut number = lane as u64;
            while number < rate * seconds {
                let due = begun + Duration::from_secs_f64(number as f64 / rate as f64);
                tokio::time::sleep_until(due.into()).await;
                let body = json!({"paths": [format!("/accepted/{number}")], "wait_ms": 0});
                purge(&mut control, &body).await?;
                answered.fetch_add(1, Ordering::Relaxed);
                number += lanes as u64;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(lane) = purging.join_next().await {
        lane??;
    }
    let took = begun.elapsed().as_secs_f64();
    let answered = answered.load(Ordering::Relaxed);
    let reached = answered as f64 / took;
    // The last one may be answered a little after the time is over.
    let enough = reached >= 0.98 * rate as f64;
    let bar = format!("{rate}, a fiftieth less at worst");
    let name = "fleet: accepted, purges a second";
    judge(checks, scale, name, enough, format!("{reached:.0}"), bar);
    let there = fleet.until_applied(answered, PATIENCE);
    let head: Value = {
        let answer = topology.control().await?.get("/v1/nodes").await?;
        serde_json::from_slice(&answer.body)?
    };
    let lost = there.is_err() || head["head"] != answered;
    let figure = format!("{answered} answered, the log ends at {}", head["head"]);
    checks.check("fleet: accepted, none lost or doubled", !lost, figure, "the same");
    there?;
    fleet.check()
}

/// A check at full size. A smaller run is too short for a rate, and few nodes show what control has
/// without any: there it is told only.
pub(crate) fn judge(
    checks: &mut Checks,
    scale: f64,
    name: &str,
    passed: bool,
    figure: String,
    bar: impl std::fmt::Display,
) {
    if scale < 1.0 {
        checks.note(name, figure);
    } else {
        checks.check(name, passed, figure, bar);
    }
}

/// The median time of an fsync after 4 KiB were written to a file of the folder, ms.
pub(crate) fn fsync(folder: &std::path::Path) -> Result<f64, Error> {
    let mut file = File::create(folder.join("fsync"))?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let begun = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(of_hundred(&mut times, 50))
}

/// The value that so many in a hundred do not pass.
pub(crate) fn of_hundred(values: &mut [f64], part: usize) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let at = (values.len() * part / 100).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or_default()
}
