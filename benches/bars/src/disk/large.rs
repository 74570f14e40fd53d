//! A body of many slices on disk: how soon its first byte goes out, and what is read for a part of it.

use super::ROUNDS;
use super::asker::{Asker, request};
use super::node::{Kind, Node, Setup, fill};
use super::page::{Origin, Page};
use crate::check::{Checks, mib};
use crate::client::{self, Client};
use crate::program::Programs;
use crate::topology::HOST;
use crate::{Error, scaled};
use std::time::Duration;

const MIB: u64 = 1 << 20;
/// Bytes of a slice on disk.
const SLICE: u64 = MIB;
/// Bytes of the body at full size, and the least.
const BODY: (u64, u64) = (1 << 30, 64 * MIB);
/// How often the first byte is waited for; the median counts.
const TRIES: usize = 21;
const FIRST_WITHIN: Duration = Duration::from_millis(5);
/// Bytes of the part, which is in two slices.
const PART: u64 = MIB;
/// What heads and checksums may take.
const BESIDE: u64 = 64 << 10;

pub(super) async fn run(programs: &Programs, scale: f64, checks: &mut Checks) -> Result<(), Error> {
    let bytes = scaled(BODY.0, scale, BODY.1);
    println!("disk, large: a body of {}", mib(bytes));
    let origin = Origin::start().await?;
    let disk = 3 * bytes + 128 * MIB;
    let setup = Setup { memory: 64, disk, max_object: bytes, queue: 256, promote: false };
    let node = Node::new(programs, &origin, &setup)?;
    let weir = node.started().await?;
    fill(&weir, &[Kind { bytes, count: 1 }]).await?;
    drop(origin);
    weir.stop().await?;
    let weir = node.started().await?;
    let page = Page { bytes, number: 0 };

    for round in 1..=ROUNDS {
        let mut times = Vec::new();
        for _ in 0..TRIES {
            let mut asker = Asker::connect(weir.listen).await?;
            let begun = std::time::Instant::now();
            let (_, is_hit) = asker.begin(&request(&page.path())).await?;
            times.push(begun.elapsed());
            if !is_hit {
                return Err("a large body is no hit".into());
            }
        }
        times.sort_unstable();
        let (median, most) = (times[TRIES / 2], times[TRIES - 1]);
        if median <= FIRST_WITHIN || round == ROUNDS {
            let figure = format!("{median:.1?}, at most {most:.1?}");
            let passed = median <= FIRST_WITHIN;
            checks.check("disk, large: first byte, median", passed, figure, "5 ms");
            break;
        }
    }

    let first = bytes / 2 + SLICE / 3;
    let metric = "weir_disk_read_bytes_total";
    let before = until_still(weir.admin, metric).await?;
    let range = format!("bytes={first}-{}", first + PART - 1);
    let mut client = Client::connect(weir.listen).await?.for_host(HOST);
    let answer = client.get_with(&page.path(), ("range", &range)).await?;
    let read = client::metric(weir.admin, metric).await? - before;
    let is_right = answer.status == 206
        && answer.is_hit()
        && answer.body.len() as u64 == PART
        && page.has_at(first, &answer.body);
    checks.check("disk, large: a part from its middle is right", is_right, is_right, true);
    let most = 2 * SLICE + BESIDE;
    checks.check("disk, large: bytes read for it", read <= most, read, format!("at most {most}"));
    Ok(())
}

/// A metric, once it stands still: who left midway may be read for still.
async fn until_still(admin: std::net::SocketAddr, name: &str) -> Result<u64, Error> {
    let mut last = client::metric(admin, name).await?;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = client::metric(admin, name).await?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}
