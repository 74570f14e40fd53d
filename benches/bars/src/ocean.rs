//! What stands between a reader and an origin beyond an ocean, and how much of it each tier takes
//! away.

use crate::check::Checks;
use crate::client::Client;
use crate::line::Line;
use crate::origin::OriginSim;
use crate::program::Programs;
use crate::topology::{HOST, Topology};
use crate::{Error, scaled};
use serde_json::json;
use std::time::{Duration, Instant};

/// How long the ocean takes, there and back.
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// Requests of each kind at full size.
const REQUESTS: u64 = 500;
/// Bytes of each body.
const BODY: u64 = 16 * 1024;

pub(crate) async fn run(programs: &Programs, scale: f64, checks: &mut Checks) -> Result<(), Error> {
    let count = scaled(REQUESTS, scale, 20);
    println!("ocean: {count} requests of each kind, the origin {ROUND_TRIP:?} away");
    let script = json!({"routes": {"/page/*": {"body_pattern": [1, BODY], "max_age": 3600}}});
    let origin = OriginSim::scripted(programs, &script).await?;
    let ocean = Line::to(origin.at, ROUND_TRIP / 2).await?;
    let tiers = Topology::with_parents(programs, ocean.at, "global").await?;
    let [first, second] = [0, 1].map(|number| tiers.edges().nth(number));
    let (first, second) = (first.ok_or("no edge")?, second.ok_or("no second edge")?);
    let rows = [
        ("the origin itself", ocean.at, ""),
        ("cold edge, cold parent", first.listen, "fwd=uri-miss"),
        ("cold edge, warm parent", second.listen, "fwd=uri-miss"),
        ("warm edge", first.listen, "hit"),
    ];
    let mut medians = Vec::new();
    println!("| a kept connection to | p50 | p99 |\n|---|---|---|");
    for (kind, to, handled) in rows {
        let mut times = measure(kind, to, handled, count).await?;
        times.sort_unstable();
        let [median, most] = [50, 99].map(|percent| times[(times.len() - 1) * percent / 100]);
        println!("| {kind} | {} | {} |", milliseconds(median), milliseconds(most));
        medians.push(median);
    }
    let [direct, cold, warm_parent, warm_edge] = medians[..] else { return Err("no rows".into()) };
    let bar = format!("below half of {}", milliseconds(ROUND_TRIP));
    let checked = [
        ("cold edge, warm parent", warm_parent, warm_parent < ROUND_TRIP / 2),
        ("warm edge", warm_edge, warm_edge < ROUND_TRIP / 2),
    ];
    for (kind, median, passed) in checked {
        checks.check(&format!("ocean: median, {kind}"), passed, milliseconds(median), &bar);
    }
    let (most, added) = (direct + ROUND_TRIP / 2, milliseconds(cold));
    let bar = format!("at most half a round trip more than {}", milliseconds(direct));
    checks.check("ocean: median, cold edge, cold parent", cold <= most, added, bar);
    let asked = origin.requests("/page/*").await?;
    checks.check("ocean: requests to the origin", asked == 2 * count, asked, 2 * count);
    Ok(())
}

/// How long each of `count` requests takes on one connection, to the last byte.
async fn measure(
    kind: &str,
    to: std::net::SocketAddr,
    handled: &str,
    count: u64,
) -> Result<Vec<Duration>, Error> {
    let mut client = Client::connect(to).await?.for_host(HOST);
    // Connections on the way are opened by what is not counted.
    client.get(&format!("/unmeasured/{}", kind.replace([' ', ','], "-"))).await?;
    let mut times = Vec::new();
    for number in 0..count {
        let begun = Instant::now();
        let answer = client.get(&format!("/page/{number}")).await?;
        times.push(begun.elapsed());
        let status = answer.cache_status();
        if answer.status != 200 || answer.body.len() as u64 != BODY || !status.contains(handled) {
            return Err(format!("{kind}: {} by {status:?}", answer.status).into());
        }
    }
    Ok(times)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}
