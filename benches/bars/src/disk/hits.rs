//! What a hit costs that is read from disk, beside nginx and, where it is installed, Traffic Server: by turns, in
//! short windows, with the same clients. Server and clients have a processor each. What neighbouring windows say is compared; the
//! figure is the mean of the middle half of all pairs.

use super::asker::{Asker, request};
use super::node::{Kind, Node, Setup, fill};
use super::page::Origin;
use crate::check::Checks;
use crate::nginx::{Nginx, Shape};
use crate::program::{Programs, Weir, processor_time};
use crate::purged_hits::middle_half;
use crate::traffic_server::{Sizes, TrafficServer};
use crate::{Error, affinity, client, scaled, traffic_server};
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
    /// Hits per processor second, of nginx's, that weir is to have.
    aim: f64,
    /// Those that it must have at full size: as measured, with a margin.
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
        bar: 1.0,
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
        bar: 0.6,
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
        bar: 0.6,
        reads: 1 + 128,
        from: 0.5,
    },
];

/// The part of the aim that a scaled-down run must reach. Machines differ: one on which system calls are cheap
/// took nginx from 36,000 to 56,000 hits per processor second, and weir from 62,000 to 55,000.
const PART: f64 = 0.5;

/// The least scale at which `bar` counts.
const JUDGED: f64 = 0.5;

impl Size {
    fn bar(&self, scale: f64) -> f64 {
        if scale < JUDGED { PART * self.aim } else { self.bar }
    }
}

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
    println!("disk, hits: read from disk each time, weir and others by turns");
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
    let traffic_server = match traffic_server::find() {
        None => None,
        Some(program) => {
            let sizes = Sizes { disk, memory: 0 };
            Some(TrafficServer::start(&program, origin.at, sizes, None).await?)
        }
    };
    let mut peers = vec![Peer { name: "nginx", listen: nginx.listen, ids: nginx.ids()? }];
    peers.extend(traffic_server.as_ref().map(|server| Peer {
        name: "Traffic Server",
        listen: server.listen,
        ids: vec![server.id()],
    }));
    for peer in &peers {
        peer.fill(&kinds).await?;
    }
    drop(origin);
    let [own, shared] = affinity::two()?;
    affinity::pin(weir.id(), own)?;
    for id in peers.iter().flat_map(|peer| &peer.ids) {
        affinity::pin(*id, own)?;
    }
    affinity::pin(std::process::id(), shared)?;
    for size in sizes {
        compare(&weir, &peers, size, scale, checks).await?;
    }
    Ok(())
}

/// A server beside weir.
struct Peer {
    name: &'static str,
    listen: SocketAddr,
    ids: Vec<u32>,
}

impl Peer {
    /// Has it store all there is.
    async fn fill(&self, kinds: &[Kind]) -> Result<(), Error> {
        // The first time fetches it.
        let mut asker = Asker::connect(self.listen).await?;
        let mut again = Asker::connect(self.listen).await?;
        for page in kinds.iter().flat_map(|kind| kind.pages()) {
            let request = request(&page.path());
            asker.ask(&request).await?;
            let end = Instant::now() + STORED_WITHIN;
            while !again.ask(&request).await?.is_hit {
                if Instant::now() > end {
                    return Err(format!("{} did not store {}", self.name, page.path()).into());
                }
            }
        }
        Ok(())
    }
}

/// How long after its last byte a body may take to be stored.
const STORED_WITHIN: Duration = Duration::from_secs(5);

async fn compare(
    weir: &Weir,
    peers: &[Peer],
    size: Size,
    scale: f64,
    checks: &mut Checks,
) -> Result<(), Error> {
    let pairs = scaled(PAIRS.0, scale, PAIRS.1);
    let requests = (Kind { bytes: size.bytes, count: size.pages }).pages();
    let requests: Arc<[_]> = requests.map(|page| request(&page.path())).collect();
    let mut sides = vec![Side::new(weir.listen, vec![weir.id()], size, &requests).await?];
    for peer in peers {
        sides.push(Side::new(peer.listen, peer.ids.clone(), size, &requests).await?);
    }
    let reads = client::metric(weir.admin, READS).await?;
    let mut rounds: Vec<Vec<f64>> = Vec::new();
    for round in 0..=pairs {
        // Each first in turn, so that a drift of the machine favours none.
        let count = sides.len();
        let first = usize::try_from(round)? % count;
        let mut seen = vec![0.0; count];
        for side in (first..first + count).map(|side| side % count) {
            seen[side] = sides[side].window(size.window).await?;
        }
        // The first round warms everything up.
        if round > 0 {
            rounds.push(seen);
        }
    }
    let reads = client::metric(weir.admin, READS).await? - reads;
    let asked = sides[0].answered;
    let name = format!("disk, hits of {}: records read for {asked} requests", size.name);
    checks.check(&name, reads == asked * size.reads, reads, asked * size.reads);
    let of = |side: usize| rounds.iter().map(|round| round[side]).collect::<Vec<_>>();
    for (peer, side) in peers.iter().zip(1..) {
        let mut parts: Vec<_> = rounds.iter().map(|round| round[0] / round[side]).collect();
        let [low, middle, high] = middle_half(&mut parts);
        let figure = format!("{middle:.2}, half of the pairs from {low:.2} to {high:.2}");
        let name = format!("disk, hits of {}: of {}'s per processor second", size.name, peer.name);
        match peer.name {
            "nginx" => {
                let least = size.bar(scale);
                let bar = format!("at least {least}; the aim is {}", size.aim);
                checks.check(&name, middle >= least, figure, bar);
            }
            _ => checks.note(&name, figure),
        }
        let [[_, ours, _], [_, theirs, _]] = [middle_half(&mut of(0)), middle_half(&mut of(side))];
        let name =
            format!("disk, hits of {}: per processor second, weir and {}", size.name, peer.name);
        checks.note(&name, format!("{ours:.0} and {theirs:.0}"));
    }
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
