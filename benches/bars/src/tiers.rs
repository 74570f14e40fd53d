//! A crowd at three edges with two parents behind them: what is cold everywhere is fetched from the
//! origin once, or once a region.

use crate::check::Checks;
use crate::client::{Answer, Client};
use crate::crowd::{all, gather};
use crate::origin::OriginSim;
use crate::program::Programs;
use crate::topology::{HOST, Topology};
use crate::{Error, scaled};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use weir_origin_sim::pattern;

/// Clients at full size, over all edges.
const CROWD: u64 = 10_000;
/// URLs at full size.
const URLS: u64 = 1_000;
/// Regions with a parent in each.
const REGIONS: u64 = 2;
/// Bytes of each body.
const BODY: u64 = 16 * 1024;
/// What everything has.
const SEED: u64 = 1;

pub(crate) async fn run(programs: &Programs, scale: f64, checks: &mut Checks) -> Result<(), Error> {
    let crowd = usize::try_from(scaled(CROWD, scale, 60))?;
    let urls = usize::try_from(scaled(URLS, scale, 10))?;
    for (scope, fetches) in [("global", 1), ("region", REGIONS)] {
        println!("tiers: {crowd} clients at 3 edges, 2 parents, scope = {scope:?}");
        let body = json!([SEED, BODY]);
        let script = json!({"routes": {
            "/cold": {"body_pattern": body, "max_age": 3600, "delay": "1s"},
            "/many/*": {"body_pattern": body, "max_age": 3600},
        }});
        let origin = OriginSim::scripted(programs, &script).await?;
        let tiers = Topology::with_parents(programs, origin.at, scope).await?;
        let name = format!("tiers, {scope}: one cold URL");
        ask(&tiers, crowd, |_| "/cold".to_owned(), &name, checks).await?;
        let asked = origin.requests("/cold").await?;
        checks.check(&format!("{name}: requests to the origin"), asked == fetches, asked, fetches);
        let name = format!("tiers, {scope}: {urls} cold URLs");
        ask(&tiers, crowd, |number| format!("/many/{}", number % urls), &name, checks).await?;
        let asked = origin.requests("/many/*").await?;
        let fetches = fetches * urls as u64;
        checks.check(&format!("{name}: requests to the origin"), asked == fetches, asked, fetches);
    }
    Ok(())
}

/// Has `crowd` clients, a third at each edge, ask at once, each for what its number says.
async fn ask(
    tiers: &Topology,
    crowd: usize,
    target: impl Fn(usize) -> String,
    name: &str,
    checks: &mut Checks,
) -> Result<(), Error> {
    let mut clients = Vec::with_capacity(crowd);
    let edges: Vec<_> = tiers.edges().collect();
    for (index, edge) in edges.iter().enumerate() {
        let share = (crowd + edges.len() - 1 - index) / edges.len();
        let gathered = gather(edge.listen, share).await?;
        clients.extend(gathered.into_iter().map(|client| client.for_host(HOST)));
    }
    // Every URL is asked for at every edge, where there are clients enough.
    let each = crowd.div_ceil(edges.len());
    let numbered = clients.into_iter().enumerate().map(|(n, client)| (target(n % each), client));
    let begun = Instant::now();
    let answers = all(numbered.collect(), |(target, client)| timed(client, target, begun)).await;
    let whole = answers.iter().filter(|answer| is_whole(&answer.0)).count();
    checks.check(&format!("{name}: bodies whole"), whole == crowd, whole, crowd);
    for (what, count) in failures(&answers) {
        checks.note(&format!("{name}: {what}"), count);
    }
    let mut times: Vec<Duration> = answers.iter().map(|answer| answer.1).collect();
    times.sort_unstable();
    let last = times.last().copied().unwrap_or_default();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    checks.note(&format!("{name}: half answered after"), format!("{:.2} s", median.as_secs_f64()));
    checks.note(&format!("{name}: all answered after"), format!("{:.2} s", last.as_secs_f64()));
    Ok(())
}

async fn timed(
    mut client: Client,
    target: String,
    begun: Instant,
) -> (Result<Answer, Error>, Duration) {
    let answer = client.get(&target).await;
    (answer, begun.elapsed())
}

fn is_whole(answer: &Result<Answer, Error>) -> bool {
    answer.as_ref().is_ok_and(|answer| {
        answer.status == 200
            && answer.body.len() as u64 == BODY
            && pattern::first_difference(SEED, 0, &answer.body).is_none()
    })
}

/// What came in place of whole bodies, and how often.
fn failures(answers: &[(Result<Answer, Error>, Duration)]) -> BTreeMap<String, usize> {
    let mut failures = BTreeMap::new();
    for (answer, _) in answers.iter().filter(|(answer, _)| !is_whole(answer)) {
        let what = match answer {
            Ok(answer) => format!("status {}, {}", answer.status, answer.cache_status()),
            Err(error) => error.to_string(),
        };
        *failures.entry(what).or_default() += 1;
    }
    failures
}
