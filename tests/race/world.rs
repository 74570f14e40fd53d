//! What there is to read: the URLs, their versions as the origin has them, and what was purged.

use super::change::Change;
use super::random::Random;
use crate::support::{Reply, Target, answer_with, reply};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use weir_origin_sim::{Recorded, Route};

const HOSTS: [&str; 2] = ["a.example", "b.example"];
const DIRECTORIES: [&str; 2] = ["red", "blue"];

/// The site that all of it belongs to.
const SITE: &str = "site";

/// A name, and the same with a version in it.
const ASSET: &str = "asset.js";
const ASSET_VERSION: &str = "asset.3f9a1c2d.js";

/// How many of the last changes of a resource are told when something is wrong with it.
const TOLD: usize = 12;

/// How a resource behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Strong validator, ranges, fresh for long.
    Plain,
    /// The same in several slices of the store's.
    Long,
    /// Selected by Accept-Encoding.
    Vary,
    /// Stale when it arrives: validated each time.
    Stale,
    /// Stale when it arrives, and sent while it is refreshed.
    Refreshed,
    /// Without length, with a weak validator.
    Chunked,
    /// Too large to be stored.
    Large,
    /// Now and then no-store.
    Sometimes,
    /// Stale when it arrives, and the origin fails now and then, in every way.
    Faulty,
    /// Last-Modified never changes: the origin answers 304 to whatever it is asked about.
    Lying,
    /// Fresh for a second, then sent for another while it is refreshed.
    Brief,
    /// Under a name without and one with a version.
    Asset,
    /// Several slices of a disk store, mostly asked for by ranges.
    Film,
}

/// Every kind but those that only a node with a disk can store.
pub(crate) const KINDS: [Kind; 12] = [
    Kind::Plain,
    Kind::Long,
    Kind::Vary,
    Kind::Stale,
    Kind::Refreshed,
    Kind::Chunked,
    Kind::Large,
    Kind::Sometimes,
    Kind::Faulty,
    Kind::Lying,
    Kind::Brief,
    Kind::Asset,
];

/// One URL.
pub(crate) struct Resource {
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    pub(crate) host: &'static str,
    path: String,
    /// Path and query.
    pub(crate) target: String,
    directory: &'static str,
    /// What the origin has now.
    version: AtomicU64,
    /// What each node obeys.
    bounds: Vec<Bounds>,
    /// The last purges that took it.
    changes: Mutex<VecDeque<Arc<Change>>>,
}

/// What a node may show of a resource to requests sent from now on.
#[derive(Default)]
struct Bounds {
    /// No version below it.
    hard: AtomicU64,
    /// None below it as fresh.
    soft: AtomicU64,
    /// None of these, which were purged by themselves, hard.
    banned: Mutex<Vec<u64>>,
}

/// What must hold for an answer to a request that is sent now.
#[derive(Clone, Debug)]
pub(crate) struct Floor {
    pub(crate) hard: u64,
    pub(crate) soft: u64,
    pub(crate) banned: Vec<u64>,
}

impl Resource {
    /// What holds for a request to this node that is sent from now on.
    pub(crate) fn floor(&self, node: usize) -> Floor {
        let Bounds { hard, soft, banned } = &self.bounds[node];
        Floor {
            hard: hard.load(Ordering::SeqCst),
            soft: soft.load(Ordering::SeqCst),
            banned: banned.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// The last purges that took it, in words.
    pub(crate) fn told(&self) -> String {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.iter().map(|change| change.told(self.number)).collect()
    }

    fn note(&self, change: &Arc<Change>) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if changes.len() == TOLD {
            changes.pop_front();
        }
        changes.push_back(Arc::clone(change));
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// What a request with this Accept-Encoding is answered with, where that makes a difference.
    pub(crate) fn variant(&self, accept_encoding: Option<&str>) -> &'static str {
        match accept_encoding {
            _ if self.kind != Kind::Vary => "",
            Some(codings) if codings.contains("br") => "br",
            Some(codings) if codings.contains("gzip") => "gzip",
            Some(_) => "identity",
            None => "none",
        }
    }

    fn write(&self) -> u64 {
        self.version.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The seed of a version's bytes.
    pub(crate) fn seed(&self, version: u64, variant: &str) -> u64 {
        let variant = variant.bytes().fold(7u64, |sum, byte| sum * 31 + u64::from(byte));
        (self.number << 48) ^ (version << 16) ^ (variant & 0xffff)
    }

    pub(crate) fn length(&self, version: u64) -> u64 {
        let spread = version.wrapping_mul(0x9e37_79b9) % 1000;
        match self.kind {
            Kind::Long => 20_000 + spread * 40,
            Kind::Large => 260 * 1024 + spread * 100,
            Kind::Film => 1_300_000 + spread * 1_500,
            _ => 500 + spread,
        }
    }

    /// The entity tag of a version, without W/.
    pub(crate) fn etag(&self, version: u64, variant: &str) -> String {
        format!("\"{}.{version}.{}\"", self.number, variant)
    }

    fn reply(&self, version: u64, variant: &str) -> Reply {
        let cache_control = match self.kind {
            Kind::Stale | Kind::Lying => "max-age=10",
            Kind::Refreshed => "max-age=10, stale-while-revalidate=600",
            Kind::Faulty => "max-age=10, stale-if-error=600",
            Kind::Brief => "max-age=1, stale-while-revalidate=1",
            Kind::Sometimes if version % 4 == 3 => "no-store",
            _ => "max-age=600",
        };
        let tags = format!("u{0} {1} u{0}v{version}", self.number, self.directory);
        let mut reply = reply("")
            .body_pattern(self.seed(version, variant), self.length(version))
            .header("Cache-Control", cache_control)
            .header("Surrogate-Key", tags)
            .conditional(true);
        if matches!(self.kind, Kind::Stale | Kind::Refreshed | Kind::Lying | Kind::Faulty) {
            reply = reply.header("Age", "20");
        }
        match self.kind {
            Kind::Lying => return reply.header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            Kind::Chunked => {
                reply = reply.chunked().etag(format!("W/{}", self.etag(version, variant)));
            }
            _ => reply = reply.ranges(true).etag(self.etag(version, variant)),
        }
        if self.kind == Kind::Vary {
            reply = reply.vary("Accept-Encoding");
        }
        reply
    }
}

/// All there is.
pub(crate) struct World {
    pub(crate) resources: Vec<Resource>,
    random: Mutex<Random>,
    /// A moment of the origin's: what is slow takes a few, or longer than a purge.
    pace: Duration,
    /// About how long the last purges took until somebody knew that a first node obeys, microseconds.
    reach: AtomicU64,
}

/// The longest that the origin lets anybody wait for what is slow.
const SLOWEST: Duration = Duration::from_millis(300);

impl World {
    /// As so many nodes show it: resources of these kinds.
    pub(crate) fn new(seed: u64, nodes: usize, pace: Duration, kinds: &[Kind]) -> Self {
        let mut resources = Vec::new();
        for host in HOSTS {
            for (n, kind) in kinds.iter().copied().enumerate() {
                let directory = DIRECTORIES[n % 2];
                let name = format!("{kind:?}");
                let both = match kind {
                    Kind::Asset => [(ASSET, ""), (ASSET_VERSION, "")],
                    _ => [(name.as_str(), ""), (name.as_str(), "?q=1")],
                };
                for (name, query) in both {
                    let path = format!("/{directory}/{name}");
                    resources.push(Resource {
                        number: resources.len() as u64,
                        kind,
                        host,
                        target: format!("{path}{query}"),
                        path,
                        directory,
                        version: AtomicU64::new(1),
                        bounds: (0..nodes).map(|_| Bounds::default()).collect(),
                        changes: Mutex::default(),
                    });
                }
            }
        }
        let (random, reach) = (Mutex::new(Random::new(!seed)), AtomicU64::new(0));
        Self { resources, random, pace, reach }
    }

    /// The origin.
    pub(crate) fn route(self: &Arc<Self>) -> Route {
        let world = Arc::clone(self);
        answer_with(move |request| world.answer(request))
    }

    fn answer(&self, request: &Recorded) -> Reply {
        let host = request.header("Host").unwrap_or_default();
        let found = self.resources.iter().find(|r| r.host == host && r.target == request.target);
        let Some(resource) = found else { return reply("no such resource").status(404) };
        if request.method == "POST" {
            let version = resource.write().to_string();
            return reply("").status(204).header("X-Version", version);
        }
        let variant = resource.variant(request.header("Accept-Encoding"));
        let reply = resource.reply(resource.version(), variant);
        self.disturb(resource, reply)
    }

    /// What goes wrong, or slowly.
    fn disturb(&self, resource: &Resource, reply: Reply) -> Reply {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let some = random.below(400);
        if resource.kind == Kind::Faulty {
            // Each says that it closes: a kept connection that ends without a word fails whoever
            // uses it next, which is no fault of the cache.
            let faulty = reply.clone().close();
            match random.below(24) {
                0 => return faulty.reset_before_head(),
                1 => return faulty.reset_after(some),
                2 => return faulty.truncate_after(some),
                3 => return faulty.chunked().truncate_after(some),
                4 => return crate::support::reply("failed").status(500),
                5 => return crate::support::reply("busy").status(503),
                6 => return faulty.raw("no HTTP at all\r\n\r\n"),
                7 => return faulty.two_lengths(3, 4),
                8 => return reply.chunked(),
                _ => {}
            }
        }
        match random.below(12) {
            0 => reply.delay(self.slow()),
            1 => reply.delay_body(self.slow()),
            2 => reply.pace(resource.length(1) as usize / 4, self.pace),
            3 => reply.interim(103, &[("Link", "</a.css>; rel=preload")]),
            4 => reply.close(),
            _ => reply,
        }
    }

    /// How long something slow takes: as a rule a purge begins and reaches nodes meanwhile, also where
    /// the disk makes purges slow. Otherwise nobody would see what is wrong with such a fetch.
    fn slow(&self) -> Duration {
        let reach = Duration::from_micros(self.reach.load(Ordering::Relaxed));
        (self.pace * 5).max(reach * 2).min(SLOWEST)
    }

    /// Changes something at the origin, and says what purge goes with that: whoever had it applied
    /// notes so by [`World::obeyed`].
    pub(crate) fn change(&self, random: &mut Random) -> Arc<Change> {
        let resource = &self.resources[random.below(self.resources.len() as u64) as usize];
        let before = resource.version();
        resource.write();
        let Resource { host, path, target, directory, number, kind, .. } = resource;
        let url = || format!("http://{host}{target}");
        type Takes<'a> = Box<dyn Fn(&Resource) -> bool + 'a>;
        let (target, takes): (Target, Takes<'_>) = match random.below(24) {
            0 => (Target::All, Box::new(|_| true)),
            1 => (Target::Host((*host).into()), Box::new(|r| r.host == *host)),
            2 => (Target::Prefix(format!("/{directory}")), Box::new(|r| r.directory == *directory)),
            3 => (
                Target::Prefix(format!("{host}/{directory}")),
                Box::new(|r| r.host == *host && r.directory == *directory),
            ),
            4 => {
                let name = &path[directory.len() + 2..];
                (Target::Pattern(format!("/*/{name}")), Box::new(|r| r.path == *path))
            }
            5 => (Target::Tag((*directory).into()), Box::new(|r| r.directory == *directory)),
            6 | 7 => (Target::Tag(format!("u{number}")), Box::new(|r| r.number == *number)),
            // A lie may have been told about it before: then the origin itself has said that the
            // old version is the new one, under the new one's tags.
            8..12 if *kind != Kind::Lying => {
                let version = Target::Tag(format!("u{number}v{before}"));
                return self.begun(Change::of_version(version, (*number, before)));
            }
            12..16 => (Target::Url(url()), Box::new(|r| r.number == *number)),
            _ if *kind == Kind::Asset && random.once_in(2) => {
                let target = Target::Path(format!("/{directory}/{ASSET}"));
                let mut change = Change::of(target, self.all(|r| r.kind == Kind::Asset));
                change.versions = true;
                return self.begun(change);
            }
            _ if target.contains('?') => {
                (Target::Path(target.clone()), Box::new(|r| r.target == *target))
            }
            _ => (Target::Path(path.clone()), Box::new(|r| r.path == *path)),
        };
        let site = match target {
            Target::Url(_) | Target::Host(_) => None,
            _ => random.once_in(3).then(|| SITE.to_owned()),
        };
        let mut change = Change::of(target, self.all(takes));
        change.site = site;
        change.soft = random.once_in(3);
        self.begun(change)
    }

    /// The resources that a purge takes, with what the origin has of them now.
    fn all(&self, takes: impl Fn(&Resource) -> bool) -> Vec<(u64, u64)> {
        self.resources.iter().filter(|r| takes(r)).map(|r| (r.number, r.version())).collect()
    }

    fn begun(&self, change: Change) -> Arc<Change> {
        let change = Arc::new(change);
        for (number, _) in &change.takes {
            self.resources[*number as usize].note(&change);
        }
        change
    }

    /// A node has said that it obeys the purge: what must hold for requests to it from now on.
    pub(crate) fn obeyed(&self, change: &Change, node: usize) {
        if let Some(took) = change.obeyed(node) {
            let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            // Mostly the quickest: others waited for nodes that are away. One that is noted at the same
            // moment may be lost: it is an estimate.
            let before = self.reach.load(Ordering::Relaxed);
            let reach = if before == 0 { took } else { took.min(before + before / 16 + 1) };
            self.reach.store(reach, Ordering::Relaxed);
        }
        for &(number, version) in &change.takes {
            let resource = &self.resources[number as usize];
            let bounds = &resource.bounds[node];
            if change.one_version {
                bounds.banned.lock().unwrap_or_else(PoisonError::into_inner).push(version);
            } else if !change.soft {
                bounds.hard.fetch_max(version, Ordering::SeqCst);
            } else if resource.kind != Kind::Lying {
                // A strong validator proves that nothing changed; one that lies proves nothing.
                bounds.soft.fetch_max(version, Ordering::SeqCst);
            }
        }
    }

    /// A POST through this node that succeeded has changed this resource: nothing older from now
    /// on.
    pub(crate) fn posted(&self, resource: &Resource, version: u64, node: usize) {
        resource.bounds[node].hard.fetch_max(version, Ordering::SeqCst);
    }
}
