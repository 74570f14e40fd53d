//! A body that memory cannot hold: passed on whole, in bounded memory, to fast and slow readers.

use crate::check::{Checks, mib};
use crate::client::Client;
use crate::origin::OriginSim;
use crate::program::{Programs, Weir};
use crate::{Error, scaled};
use http_body_util::BodyExt;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use weir_origin_sim::pattern;

/// Bytes of the body at full size.
const BODY: u64 = 2 << 30;
/// The least that is still larger than the node's memory.
const LEAST: u64 = 160 << 20;
/// `memory.size` of the node.
const MEMORY: u64 = 64 << 20;
/// What the node may have beside it.
const BESIDE: u64 = 64 << 20;
/// A slow reader takes no more than one frame in this time.
const SLOW: Duration = Duration::from_millis(20);
const FAST_READERS: usize = 2;

pub(crate) async fn run(programs: &Programs, scale: f64, checks: &mut Checks) -> Result<(), Error> {
    let bytes = scaled(BODY, scale, LEAST);
    println!("large: {} through {} of memory", mib(bytes), mib(MEMORY));
    let route = |seed: u64| {
        json!({"body_pattern": [seed, bytes], "max_age": 3600, "ranges": true,
               "etag": format!("\"{seed}\"")})
    };
    let script = json!({"routes": {"/alone": route(1), "/together": route(2)}});
    let origin = OriginSim::scripted(programs, &script).await?;
    let weir = Weir::start(programs, origin.at, &format!("{}MiB", MEMORY >> 20))?;

    let begun = Instant::now();
    let met = Arc::new(Barrier::new(1));
    let read = reader(weir.listen, "/alone", 1, &met, None).await??;
    checks.check("large: bytes to one reader, all as sent", read == bytes, read, bytes);
    checks.note("large: one reader took", format!("{:.1?}", begun.elapsed()));

    together(&weir, bytes, checks).await?;
    let asked = origin.requests("/together").await?;
    checks.note("large: requests to the origin for all of them", asked);
    let most = weir.most_rss()?;
    let bound = MEMORY + BESIDE;
    checks.check("large: most memory of the node", most <= bound, mib(most), mib(bound));
    Ok(())
}

/// Fast readers and a slow one on the same fill; the slow one hurries once the others are done.
async fn together(weir: &Weir, bytes: u64, checks: &mut Checks) -> Result<(), Error> {
    let met = Arc::new(Barrier::new(FAST_READERS + 1));
    let pace = Arc::new(Pace::default());
    let slow = reader(weir.listen, "/together", 2, &met, Some(Arc::clone(&pace)));
    let begun = Instant::now();
    let fast: Vec<_> =
        (0..FAST_READERS).map(|_| reader(weir.listen, "/together", 2, &met, None)).collect();
    for fast in fast {
        let read = fast.await??;
        checks.check("large: bytes to a fast reader, all as sent", read == bytes, read, bytes);
    }
    let took = begun.elapsed();
    let behind = pace.read.load(Ordering::Relaxed);
    let name = "large: bytes the slow reader had when the fast ones were done";
    checks.check(name, behind < bytes / 2, behind, format!("below {}", bytes / 2));
    checks.note("large: the fast readers took", format!("{took:.1?}"));
    pace.hurry.store(true, Ordering::Relaxed);
    let read = slow.await??;
    checks.check("large: bytes to the slow reader, all as sent", read == bytes, read, bytes);
    Ok(())
}

/// What is told of, and to, a slow reader.
#[derive(Default)]
struct Pace {
    read: AtomicU64,
    hurry: AtomicBool,
}

/// Reads a body and compares every byte, beginning when all that come to `meeting` have their
/// heads, so that they read from one fill. Returns how many bytes there were.
fn reader(
    to: SocketAddr,
    path: &'static str,
    seed: u64,
    meeting: &Arc<Barrier>,
    pace: Option<Arc<Pace>>,
) -> JoinHandle<Result<u64, Error>> {
    let meeting = Arc::clone(meeting);
    tokio::spawn(async move {
        let mut client = Client::connect(to).await?;
        let mut body = client.send("GET", path).await?.into_body();
        meeting.wait().await;
        let mut at = 0;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if pattern::first_difference(seed, at, &data).is_some() {
                return Err(format!("{path}: wrong bytes from offset {at} on").into());
            }
            at += data.len() as u64;
            if let Some(pace) = &pace {
                pace.read.store(at, Ordering::Relaxed);
                if !pace.hurry.load(Ordering::Relaxed) {
                    tokio::time::sleep(SLOW).await;
                }
            }
        }
        Ok(at)
    })
}
