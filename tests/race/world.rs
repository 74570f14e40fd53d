//! What there is to read: the URLs, their versions as the origin has them, and what was purged.

use super::random::Random;
use crate::support::{Purge, Reply, Target, answer_with, reply};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use weir_edge::node::Node;
use weir_origin_sim::{Recorded, Route};

const HOSTS: [&str; 2] = ["a.example", "b.example"];
const DIRECTORIES: [&str; 2] = ["red", "blue"];

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
}

const KINDS: [Kind; 10] = [
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
    /// No version below it may be shown to requests sent from now on.
    hard: AtomicU64,
    /// None below it as fresh.
    soft: AtomicU64,
    /// Versions that were purged by themselves, hard.
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
    pub(crate) fn floor(&self) -> Floor {
        Floor {
            hard: self.hard.load(Ordering::SeqCst),
            soft: self.soft.load(Ordering::SeqCst),
            banned: self.banned.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
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
    /// The last seq.
    log: Mutex<u64>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut resources = Vec::new();
        for host in HOSTS {
            for (n, kind) in KINDS.into_iter().enumerate() {
                let directory = DIRECTORIES[n % 2];
                let path = format!("/{directory}/{kind:?}");
                for query in ["", "?q=1"] {
                    resources.push(Resource {
                        number: resources.len() as u64,
                        kind,
                        host,
                        path: path.clone(),
                        target: format!("{path}{query}"),
                        directory,
                        version: AtomicU64::new(1),
                        hard: AtomicU64::new(0),
                        soft: AtomicU64::new(0),
                        banned: Mutex::default(),
                    });
                }
            }
        }
        Self { resources, random: Mutex::new(Random::new(!seed)), log: Mutex::new(0) }
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
        let pace = || Duration::from_micros(200);
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
            0 => reply.delay(pace() * 5),
            1 => reply.delay_body(pace() * 5),
            2 => reply.pace(resource.length(1) as usize / 4, pace()),
            3 => reply.interim(103, &[("Link", "</a.css>; rel=preload")]),
            4 => reply.close(),
            _ => reply,
        }
    }

    /// Changes something and purges it; what must hold from then on is noted once the purge was
    /// applied.
    pub(crate) fn change_and_purge(&self, node: &Node, random: &mut Random) {
        let resource = &self.resources[random.below(self.resources.len() as u64) as usize];
        let before = resource.version();
        resource.write();
        let all = |_: &Resource| true;
        let Resource { host, path, target, directory, number, .. } = resource;
        type Takes<'a> = Box<dyn Fn(&Resource) -> bool + 'a>;
        let (purged, takes): (Target, Takes<'_>) = match random.below(24) {
            0 => (Target::All, Box::new(all)),
            1 => (Target::Host((*host).into()), Box::new(|r| r.host == *host)),
            2 => (Target::Prefix(format!("/{directory}")), Box::new(|r| r.directory == *directory)),
            3 => (
                Target::Prefix(format!("{host}/{directory}")),
                Box::new(|r| r.host == *host && r.directory == *directory),
            ),
            4 => {
                (Target::Pattern(format!("/*/{:?}", resource.kind)), Box::new(|r| r.path == *path))
            }
            5 => (Target::Tag((*directory).into()), Box::new(|r| r.directory == *directory)),
            6 | 7 => (Target::Tag(format!("u{number}")), Box::new(|r| r.number == *number)),
            8..12 => {
                return self.ban(node, resource, before);
            }
            12..16 => {
                (Target::Url(format!("http://{host}{target}")), Box::new(|r| r.number == *number))
            }
            _ if target.contains('?') => {
                (Target::Path(target.clone()), Box::new(|r| r.target == *target))
            }
            _ => (Target::Path(path.clone()), Box::new(|r| r.path == *path)),
        };
        let soft = random.once_in(3);
        let taken: Vec<(&Resource, u64)> =
            self.resources.iter().filter(|r| takes(r)).map(|r| (r, r.version())).collect();
        self.apply(node, purged, soft);
        for (resource, version) in taken {
            // A strong validator proves that nothing changed; one that lies proves nothing here.
            if soft && resource.kind == Kind::Lying {
                continue;
            }
            let floor = if soft { &resource.soft } else { &resource.hard };
            floor.fetch_max(version, Ordering::SeqCst);
        }
    }

    /// Purges one version by its own tag.
    fn ban(&self, node: &Node, resource: &Resource, version: u64) {
        self.apply(node, Target::Tag(format!("u{}v{version}", resource.number)), false);
        resource.banned.lock().unwrap_or_else(PoisonError::into_inner).push(version);
    }

    fn apply(&self, node: &Node, target: Target, soft: bool) {
        let mut seq = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        *seq += 1;
        node.apply(&Purge { seq: *seq, targets: vec![target], site: None, soft, versions: false });
    }

    /// A POST that succeeded has changed this resource: nothing older from now on.
    pub(crate) fn posted(&self, resource: &Resource, version: u64) {
        resource.hard.fetch_max(version, Ordering::SeqCst);
    }
}
