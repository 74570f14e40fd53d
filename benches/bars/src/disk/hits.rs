//! What a hit costs that is read from disk, beside nginx: by turns, in short windows, with the same
//! clients. Server and clients have a processor each. What neighbouring windows say is compared; the
//! figure is the mean of the middle half of all pairs.

use super::asker::{Asker, request};
use super::node::{Kind, Node, Setup, fill};
use super::page::Origin;
use crate::check::Checks;
use crate::nginx::{Nginx, Shape};
use crate::program::{Programs, Weir, processor_time};
use crate::purged_hits::middle_half;
use crate::{Error, affinity, client, scaled};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const MIB: u64 = 1 << 20;

/// A size of bodies that is measured.
#[derive(Clone, Copy, Debug)]
struct Size {
    name: &'static str,
    bytes: u64,
    /// How many there are.
    pages: u64,
    /// Connections that ask.
    lanes: usize,
    window: Duration,
    /// Hits per processor second, of nginx's, that weir is to have, and that it must have: as measured,
    /// with a margin, where the aim is not reached.
    aim: f64,
    bar: f64,
    /// Records that a hit reads: a body of more than a slice has a head and slices.
    reads: u64,
    /// The least scale at which it is measured.
    from: f64,
}

const SIZES: [Size; 3] = [
    Size {
        name: "1 KB",
        bytes: 1 << 10,
        pages: 2_000,
        lanes: 16,
        window: Duration::from_millis(400),
        aim: 1.2,
        bar: 1.2,
        reads: 1,
        from: 0.0,
    },
    Size {
        name: "1 MB",
        bytes: MIB,
        pages: 64,
        lanes: 4,
        window: Duration::from_millis(400),
        aim: 0.9,
        bar: 0.3,
        reads: 1,
        from: 0.0,
    },
    Size {
        name: "128 MB",
        bytes: 128 * MIB,
        pages: 2,
        lanes: 2,
        window: Duration::from_millis(1_000),
        aim: 0.9,
        bar: 0.3,
        reads: 1 + 128,
        from: 0.5,
    },
];

/// Pairs of windows at full size, and the least.
const PAIRS: (u64, u64) = (40, 9);

/// nginx as it is set up: one worker, files sent by the kernel, no limit of requests on a connection, as
/// weir has none.
const NGINX: Shape<'static> = Shape {
    workers: "1",
    files: 1_024,
    cache: "8g",
    keys: "64m",
    directives: "sendfile on; keepalive_requests 1000000000;",
};

pub(super) async fn run(
    programs: &Programs,
    nginx: &Path,
    scale: f64,
    checks: &mut Checks,
) -> Result<(), Error> {
    let sizes: Vec<_> = SIZES.into_iter().filter(|size| scale >= size.from).collect();
    let kinds: Vec<_> =
        sizes.iter().map(|size| Kind { bytes: size.bytes, count: size.pages }).collect();
    println!("disk, hits: read from disk each time, weir and nginx by turns");
    let origin = Origin::start().await?;
    let bytes: u64 = kinds.iter().map(|kind| kind.count * (kind.bytes + 1_024)).sum();
    let disk = 2 * bytes + 512 * MIB;
    let setup = Setup { memory: 64, disk, max_object: 128 * MIB, queue: 256, promote: false };
    let node = Node::new(programs, &origin, &setup)?;
    let weir = node.started().await?;
    fill(&weir, &kinds).await?;
    // Nothing is in memory then, and nothing gets there.
    weir.stop().await?;
    let weir = node.started().await?;
    let nginx = Nginx::start(nginx, origin.at, NGINX, None).await?;
    // The first time fetches it.
    let (mut asker, mut again) =
        (Asker::connect(nginx.listen).await?, Asker::connect(nginx.listen).await?);
    for page in kinds.iter().flat_map(|kind| kind.pages()) {
        let request = request(&page.path());
        asker.ask(&request).await?;
        if !again.ask(&request).await?.is_hit {
            return Err(format!("nginx did not store {}", page.path()).into());
        }
    }
    drop(origin);
    let [own, shared] = affinity::two()?;
    affinity::pin(weir.id(), own)?;
    for id in nginx.ids()? {
        affinity::pin(id, own)?;
    }
    affinity::pin(std::process::id(), shared)?;
    let pairs = scaled(PAIRS.0, scale, PAIRS.1);
    for size in sizes {
        compare(&weir, &nginx, size, pairs, checks).await?;
    }
    Ok(())
}

async fn compare(
    weir: &Weir,
    nginx: &Nginx,
    size: Size,
    pairs: u64,
    checks: &mut Checks,
) -> Result<(), Error> {
    let requests = (Kind { bytes: size.bytes, count: size.pages }).pages();
    let requests: Arc<[_]> = requests.map(|page| request(&page.path())).collect();
    let mut weir_side = Side::new(weir.listen, vec![weir.id()], size, &requests).await?;
    let mut nginx_side = Side::new(nginx.listen, nginx.ids()?, size, &requests).await?;
    let reads = client::metric(weir.admin, READS).await?;
    let (mut parts, mut of_weir, mut of_nginx) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..=pairs {
        // Each first in turn, so that a drift of the machine favours neither.
        let (ours, theirs);
        if pair % 2 == 0 {
            ours = weir_side.window(size.window).await?;
            theirs = nginx_side.window(size.window).await?;
        } else {
            theirs = nginx_side.window(size.window).await?;
            ours = weir_side.window(size.window).await?;
        }
        // The first pair warms everything up.
        if pair > 0 {
            parts.push(ours / theirs);
            of_weir.push(ours);
            of_nginx.push(theirs);
        }
    }
    let reads = client::metric(weir.admin, READS).await? - reads;
    let asked = weir_side.answered;
    let name = format!("disk, hits of {}: records read for {asked} requests", size.name);
    checks.check(&name, reads == asked * size.reads, reads, asked * size.reads);
    let [low, middle, high] = middle_half(&mut parts);
    let name = format!("disk, hits of {}: of nginx's per processor second", size.name);
    let figure = format!("{middle:.2}, half of the pairs from {low:.2} to {high:.2}");
    let bar = format!("at least {}; the aim is {}", size.bar, size.aim);
    checks.check(&name, middle >= size.bar, figure, bar);
    let [[_, ours, _], [_, theirs, _]] = [middle_half(&mut of_weir), middle_half(&mut of_nginx)];
    let name = format!("disk, hits of {}: per processor second, weir and nginx", size.name);
    checks.note(&name, format!("{ours:.0} and {theirs:.0}"));
    Ok(())
}

const READS: &str = "weir_disk_reads_total";

/// A server and those who ask it.
struct Side {
    processes: Vec<u32>,
    lanes: Vec<Lane>,
    answered: u64,
}

/// A client that asks for one page after the other.
struct Lane {
    asker: Asker,
    requests: Arc<[Vec<u8>]>,
    next: usize,
}

impl Side {
    async fn new(
        to: SocketAddr,
        processes: Vec<u32>,
        size: Size,
        requests: &Arc<[Vec<u8>]>,
    ) -> Result<Self, Error> {
        let mut lanes = Vec::new();
        for lane in 0..size.lanes {
            let next = lane * requests.len() / size.lanes;
            let asker = Asker::connect(to).await?;
            lanes.push(Lane { asker, requests: Arc::clone(requests), next });
        }
        Ok(Self { processes, lanes, answered: 0 })
    }

    fn used(&self) -> Result<Duration, Error> {
        self.processes.iter().map(|id| processor_time(*id)).sum()
    }

    /// Hits for each second of processors in a window, which ends with the last answer that began in it.
    async fn window(&mut self, window: Duration) -> Result<f64, Error> {
        let (used, end) = (self.used()?, Instant::now() + window);
        let mut set = JoinSet::new();
        for lane in self.lanes.drain(..) {
            set.spawn(lane.ask_until(end));
        }
        let mut answered = 0;
        while let Some(ended) = set.join_next().await {
            let (lane, count) = ended??;
            answered += count;
            self.lanes.push(lane);
        }
        self.answered += answered;
        let used = self.used()? - used;
        Ok(answered as f64 / used.as_secs_f64())
    }
}

impl Lane {
    async fn ask_until(mut self, end: Instant) -> Result<(Self, u64), Error> {
        let mut answered = 0;
        while answered == 0 || Instant::now() < end {
            let got = self.asker.ask(&self.requests[self.next]).await?;
            if !got.is_hit {
                return Err("no hit in a window".into());
            }
            self.next = (self.next + 1) % self.requests.len();
            answered += 1;
        }
        Ok((self, answered))
    }
}
