//! A node whose disk holds far more than all memory that it may use: the page cache counts for its cgroup,
//! too. Clients ask for popular pages often, and now and then for one that nobody asked for. nginx and,
//! where it is installed, Traffic Server stand beside it, with the same memory, disk and clients, one after the other.

use super::asker::{Asker, request};
use super::node::{Node, Setup};
use super::page::{Origin, Page};
use crate::check::{Checks, mib};
use crate::client;
use crate::confinement::Confinement;
use crate::nginx::{Nginx, Shape};
use crate::program::{Programs, processor_time};
use crate::traffic_server::{Sizes, TrafficServer};
use crate::{Error, scaled, traffic_server};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const MIB: u64 = 1 << 20;
/// Bytes of each page.
const BODY: u64 = 64 << 10;
/// Pages that are asked for again and again, at full size.
const PAGES: u64 = (4 << 30) / BODY;
/// `memory.max` of each server.
const MEMORY: u64 = 256 * MIB;
/// MiB of its store in memory, and bytes of the one on disk.
const STORE: u64 = 64;
const DISK: u64 = 8 << 30;
/// Clients.
const CLIENTS: u64 = 16;
/// One request in so many is for a page that nobody asked for.
const NEW: u64 = 10;
/// How long they ask, at full size, and the least.
const TIME: (u64, u64) = (60, 5);
/// How long a server may take until it accepts.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn run(
    programs: &Programs,
    nginx: &Path,
    scale: f64,
    checks: &mut Checks,
) -> Result<(), Error> {
    let pages = scaled(PAGES, scale, 8_192);
    let time = Duration::from_secs(scaled(TIME.0, scale, TIME.1));
    println!("disk, bound: {} of pages, each server with {}", mib(pages * BODY), mib(MEMORY));
    let zipf = Arc::new(Zipf::new(pages));
    let origin = Origin::start().await?;
    let of_weir = {
        let confinement = Confinement::of(MEMORY)?;
        let setup =
            Setup { memory: STORE, disk: DISK, max_object: 16 * MIB, queue: 64, promote: true };
        let node = Node::new(programs, &origin, &setup)?;
        let weir = node.start(Some(confinement.folder()))?;
        let seen = ask_all(weir.listen, &[weir.id()], pages, time, &zipf).await?;
        let refused = client::metric(weir.admin, "weir_disk_refused_total").await?;
        checks.note("disk, bound: what the disk refused", refused);
        seen.told("weir", checks);
        let kills = confinement.kills()?;
        checks.check("disk, bound: kills for lack of memory", kills == 0, kills, 0);
        weir.stop().await?;
        seen
    };
    let of_nginx = {
        let confinement = Confinement::of(MEMORY)?;
        let shape = Shape {
            workers: "1",
            files: 1_024,
            cache: "8g",
            keys: "64m",
            directives: "sendfile on; keepalive_requests 1000000000;",
        };
        let nginx = Nginx::start(nginx, origin.at, shape, Some(confinement.folder())).await?;
        let seen = ask_all(nginx.listen, &nginx.ids()?, pages, time, &zipf).await?;
        seen.told("nginx", checks);
        drop(nginx);
        seen
    };
    if let Some(program) = traffic_server::find() {
        let confinement = Confinement::of(MEMORY)?;
        let sizes = Sizes { disk: DISK, memory: STORE * MIB };
        let cgroup = Some(confinement.folder());
        let server = TrafficServer::start(&program, origin.at, sizes, cgroup).await?;
        let seen = ask_all(server.listen, &[server.id()], pages, time, &zipf).await?;
        seen.told("Traffic Server", checks);
        let [ours, theirs] = [&of_weir, &seen].map(Seen::per_processor_second);
        checks.check(
            "disk, bound: requests per processor second",
            ours >= theirs,
            format!("{ours:.0}"),
            format!("at least Traffic Server's, {theirs:.0}"),
        );
    }
    let [ours, theirs] = [&of_weir, &of_nginx].map(|seen| seen.percentile(99));
    let figure = format!("{ours:.1?}");
    checks.check(
        "disk, bound: p99 of hits",
        ours <= theirs,
        figure,
        format!("at most {theirs:.1?}"),
    );
    Ok(())
}

/// What clients saw of a server.
struct Seen {
    /// How long each hit took, sorted.
    hits: Vec<Duration>,
    misses: u64,
    /// Time of processors for all of it.
    used: Duration,
}

impl Seen {
    fn percentile(&self, part: usize) -> Duration {
        let at = (self.hits.len() * part).div_ceil(100).saturating_sub(1);
        self.hits.get(at).copied().unwrap_or_default()
    }

    /// Requests for each second of processors.
    fn per_processor_second(&self) -> f64 {
        (self.hits.len() as f64 + self.misses as f64) / self.used.as_secs_f64()
    }

    fn told(&self, who: &str, checks: &Checks) {
        let hits = self.hits.len();
        let [p50, p99] = [50, 99].map(|part| self.percentile(part));
        checks.note(&format!("disk, bound: {who}"), {
            let each = self.per_processor_second();
            format!(
                "{hits} hits, p50 {p50:.1?}, p99 {p99:.1?}; {} misses; {each:.0} per processor second",
                self.misses
            )
        });
    }
}

/// Has all pages stored, and then asks for them by their popularity.
async fn ask_all(
    to: SocketAddr,
    processes: &[u32],
    pages: u64,
    time: Duration,
    zipf: &Arc<Zipf>,
) -> Result<Seen, Error> {
    let mut filling = JoinSet::new();
    for lane in 0..CLIENTS {
        filling.spawn(async move {
            let mut asker = connected(to).await?;
            for number in (lane..pages).step_by(CLIENTS as usize) {
                asker.ask(&request(&Page { bytes: BODY, number }.path())).await?;
            }
            Ok::<(), Error>(())
        });
    }
    while let Some(ended) = filling.join_next().await {
        ended??;
    }
    let used = || processes.iter().map(|id| processor_time(*id)).sum::<Result<Duration, Error>>();
    let (before, end) = (used()?, Instant::now() + time);
    let fresh = Arc::new(AtomicU64::new(pages));
    let mut asking = JoinSet::new();
    for lane in 0..CLIENTS {
        let (zipf, fresh) = (Arc::clone(zipf), Arc::clone(&fresh));
        asking.spawn(async move {
            let mut asker = connected(to).await?;
            let (mut hits, mut misses, mut dice) = (Vec::new(), 0, lane + 1);
            while Instant::now() < end {
                let number = match next(&mut dice) % NEW {
                    0 => fresh.fetch_add(1, Ordering::Relaxed),
                    _ => zipf.page(next(&mut dice)),
                };
                let got = asker.ask(&request(&Page { bytes: BODY, number }.path())).await?;
                match got.is_hit {
                    true => hits.push(got.whole),
                    false => misses += 1,
                }
            }
            Ok::<_, Error>((hits, misses))
        });
    }
    let mut seen = Seen { hits: Vec::new(), misses: 0, used: Duration::ZERO };
    while let Some(ended) = asking.join_next().await {
        let (hits, misses) = ended??;
        seen.hits.extend(hits);
        seen.misses += misses;
    }
    seen.hits.sort_unstable();
    seen.used = used()? - before;
    Ok(seen)
}

/// A connection to a server that may just have been started.
async fn connected(to: SocketAddr) -> Result<Asker, Error> {
    let end = Instant::now() + PATIENCE;
    loop {
        match Asker::connect(to).await {
            Err(error) if Instant::now() > end => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            connected => return connected,
        }
    }
}

/// Pages by popularity: the one of rank n is asked for 1/n as often as the first.
struct Zipf {
    /// The sum of the shares up to each page.
    sums: Vec<f64>,
}

impl Zipf {
    fn new(pages: u64) -> Self {
        let mut sum = 0.0;
        let shares = (1..=pages).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Self { sums: shares.collect() }
    }

    /// The page that a random number stands for.
    fn page(&self, random: u64) -> u64 {
        let whole = self.sums.last().copied().unwrap_or_default();
        let at = random as f64 / u64::MAX as f64 * whole;
        let rank = self.sums.partition_point(|sum| *sum < at).min(self.sums.len() - 1);
        // Popular pages are not neighbours on the disk: a factor scatters them.
        (rank as u64).wrapping_mul(0x9e37_79b1) % self.sums.len() as u64
    }
}

/// The next random number (xorshift).
fn next(dice: &mut u64) -> u64 {
    *dice ^= *dice << 13;
    *dice ^= *dice >> 7;
    *dice ^= *dice << 17;
    dice.wrapping_mul(0x2545_f491_4f6c_dd1d)
}
