//! What stored responses cost, and whether `memory.size` bounds the memory of the process.

use crate::check::{Checks, mib};
use crate::client::{self, Client};
use crate::origin::OriginSim;
use crate::program::{Programs, Weir};
use crate::{Error, scaled};
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Responses stored at full size.
const RESPONSES: u64 = 200_000;
/// The least that makes what the store grows by at its beginning count for little.
const LEAST: u64 = 100_000;
/// Bytes of RSS that one may cost, 1,024 bytes of body included.
const MOST_EACH: u64 = 1_800;
/// `memory.size` to fill, in MiB, at full size.
const BRIM: u64 = 512;
/// What the process may have beside `memory.size`.
const BESIDE: u64 = 64 << 20;
/// Bodies of the mixed kind: sizes that no allocator has blocks for. The last digit of a
/// number decides.
const MIXED_BODIES: [u64; 10] =
    [0, 700, 1_100, 1_700, 2_700, 5_300, 11_000, 23_000, 47_000, 130_000];
/// Their mean.
const MIXED: u64 = 22_250;
/// Connections to warm through.
const CONNECTIONS: u64 = 32;
/// How long the node may take to settle what it deferred.
const PATIENCE: Duration = Duration::from_secs(30);

/// RSS before and after so many URLs of 1 KB.
pub(crate) async fn cost(
    programs: &Programs,
    scale: f64,
    checks: &mut Checks,
) -> Result<(), Error> {
    let count = scaled(RESPONSES, scale, LEAST);
    println!("memory: {count} responses of 1 KB");
    let origin = OriginSim::scripted(programs, &script()).await?;
    let weir = Weir::start(programs, origin.at, "4GiB")?;
    // Buffers, threads and connections are no part of what a response costs.
    let first = 2_000;
    warm(weir.listen, "/1k/first", first).await?;
    until_stored(&weir, first).await?;
    let before = weir.rss()?;
    warm(weir.listen, "/1k/page", count).await?;
    until_stored(&weir, first + count).await?;
    let after = weir.rss()?;
    let hits = hits(weir.listen, "/1k/page", count).await?;
    checks.check("memory: still hits, one in a hundred asked", hits.0 == hits.1, hits.0, hits.1);
    checks.note("memory: before and after", format!("{}, {}", mib(before), mib(after)));
    let counted = client::metric(weir.admin, "weir_store_bytes").await?;
    checks.note("memory: counted for each by the store", counted / (first + count));
    let each = after.saturating_sub(before) / count;
    checks.check("memory: bytes of RSS each", each <= MOST_EACH, each, MOST_EACH);
    Ok(())
}

/// The store filled over its size, with small and with larger responses.
pub(crate) async fn brim(
    programs: &Programs,
    scale: f64,
    checks: &mut Checks,
) -> Result<(), Error> {
    let size = scaled(BRIM, scale, 64) << 20;
    let origin = OriginSim::scripted(programs, &script()).await?;
    for (kind, body) in [("1k", 1_024), ("64k", 65_536), ("mixed", MIXED)] {
        println!("brim: {} of memory.size, bodies of {kind}", mib(size));
        let weir = Weir::start(programs, origin.at, &format!("{}MiB", size >> 20))?;
        // Twice over for bodies alone: whatever else is counted, it is full then.
        warm(weir.listen, &format!("/{kind}/page"), 2 * size / body).await?;
        until_settled(&weir).await?;
        let evicted = client::metric(weir.admin, "weir_evictions_total").await?;
        checks.check(&format!("brim, {kind}: evictions"), evicted > 0, evicted, "above 0");
        let held = client::metric(weir.admin, "weir_store_bytes").await?;
        let objects = client::metric(weir.admin, "weir_store_objects").await?;
        checks.note(&format!("brim, {kind}: in the store"), format!("{objects}, {}", mib(held)));
        checks.note(&format!("brim, {kind}: memory now"), mib(weir.rss()?));
        let most = weir.most_rss()?;
        let bound = size + BESIDE;
        let name = format!("brim, {kind}: most memory of the node");
        checks.check(&name, most <= bound, mib(most), mib(bound));
    }
    Ok(())
}

pub(crate) fn script() -> serde_json::Value {
    let route = |bytes: u64| {
        json!({"body_bytes": bytes, "content_type": "text/html; charset=utf-8",
               "etag": "\"b10a8db164e0754105b7a99be72e3fe5\"", "last_modified_secs_ago": 86_400,
               "max_age": 86_400, "headers": [["Server", "origin"], ["Accept-Ranges", "bytes"]]})
    };
    let mut routes = json!({"/1k/*": route(1_024), "/64k/*": route(65_536)});
    for (digit, bytes) in MIXED_BODIES.iter().enumerate() {
        routes[format!("/mixed/page/{digit}/*")] = route(*bytes);
    }
    json!({"routes": routes})
}

/// The target of a number, by whose last digit routes can tell them apart.
pub(crate) fn target(beginning: &str, number: u64) -> String {
    format!("{beginning}/{}/{number}", number % 10)
}

/// Asks for `count` URLs, each once, on several connections.
pub(crate) async fn warm(to: SocketAddr, beginning: &str, count: u64) -> Result<(), Error> {
    let mut set = JoinSet::new();
    for lane in 0..CONNECTIONS {
        let beginning = beginning.to_owned();
        set.spawn(async move {
            let mut client = Client::connect(to).await?;
            for number in (lane..count).step_by(CONNECTIONS as usize) {
                let answer = client.get(&target(&beginning, number)).await?;
                if answer.status != 200 {
                    return Err::<(), Error>(format!("status {}", answer.status).into());
                }
            }
            Ok(())
        });
    }
    while let Some(ended) = set.join_next().await {
        ended??;
    }
    Ok(())
}

/// How many of one in a hundred of these URLs are answered from the store, and how many were
/// asked.
async fn hits(to: SocketAddr, beginning: &str, count: u64) -> Result<(u64, u64), Error> {
    let mut client = Client::connect(to).await?;
    let (mut hits, mut asked) = (0, 0);
    for number in (0..count).step_by(100) {
        let answer = client.get(&target(beginning, number)).await?;
        hits += u64::from(answer.is_hit());
        asked += 1;
    }
    Ok((hits, asked))
}

/// Waits until the node counts exactly so many.
async fn until_stored(weir: &Weir, count: u64) -> Result<(), Error> {
    let end = Instant::now() + PATIENCE;
    loop {
        let stored = client::metric(weir.admin, "weir_store_objects").await?;
        if stored == count {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("{stored} responses are stored, not {count}").into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the node evicts nothing more: its count stands still for longer than it defers.
async fn until_settled(weir: &Weir) -> Result<(), Error> {
    let end = Instant::now() + PATIENCE;
    let mut last = (0, Instant::now());
    while last.1.elapsed() < Duration::from_secs(3) && Instant::now() < end {
        let evicted = client::metric(weir.admin, "weir_evictions_total").await?;
        if evicted != last.0 {
            last = (evicted, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
