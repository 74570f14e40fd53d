//! What all workers of a node share: the store, the running fills, what was purged, and the
//! configuration in force.

use crate::ahead::{Ahead, Spool};
use crate::byte_budget::ByteBudget;
use crate::clock::Clock;
use crate::collapsing::Inflight;
use crate::decisions::Decisions;
use crate::disk::{DiskStore, OpenDisk};
use crate::error::StartError;
use crate::host::without_port;
use crate::memory::MemoryAccount;
use crate::metrics::{SiteSlot, SiteSlots, WorkerMetrics};
use crate::own::Own;
use crate::parents::Parents;
use crate::purge::{Popular, Purges};
use crate::ranking::Ranking;
use crate::standing::{Lease, Matched, Releases};
use crate::store::{Below, Digest, DigestSecret, KeyText, Store, Stored};
use crate::upstream::{MemberCounts, Target, Upstream};
use crate::via::Via;
use arc_swap::ArcSwap;
use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::watch;
use weir_config::{Config, Limits, Site as SiteConfig, Tier};
use weir_rules::invalidation::Bounds;
use weir_rules::time::Time;

/// The shared half of a node.
pub(crate) struct NodeState {
    /// The node's name: a token, used in Cache-Status, Via and CDN-Loop.
    pub(crate) name: Arc<str>,
    /// What measures how long things are stored.
    clock: Clock,
    /// What it appends to Via.
    pub(crate) via: Via,
    /// The node's tier.
    pub(crate) tier: Tier,
    /// The memory store.
    pub(crate) store: Store,
    /// Running fills.
    pub(crate) inflight: Inflight,
    /// What was purged.
    pub(crate) purges: Arc<Purges>,
    /// What is stored on disk, below memory.
    pub(crate) disk: Option<Arc<DiskStore>>,
    /// Whether control is lost.
    pub(crate) lease: Lease,
    /// Told when a reload changed which sites there are, or which hosts they have.
    pub(crate) moved: watch::Sender<()>,
    /// The releases that sites show.
    pub(crate) releases: Releases,
    /// What purges took.
    pub(crate) matched: Matched,
    /// The popular URLs among them, for purges with a warm-up.
    pub(crate) popular: Popular,
    /// By what the node knows its own requests.
    pub(crate) own: Own,
    /// Why URLs were not stored.
    pub(crate) decisions: Decisions,
    /// Which stored responses were sent most.
    pub(crate) ranking: Ranking,
    /// Memory of everything outside the store.
    pub(crate) memory: Arc<MemoryAccount>,
    /// Bytes of bodies that are being stored.
    pub(crate) filling: Arc<ByteBudget>,
    /// What bodies that are not stored may take while their clients are slow.
    pub(crate) ahead: Arc<Ahead>,
    /// Sites and limits in force.
    pub(crate) live: ArcSwap<Live>,
    /// One a worker.
    pub(crate) metrics: Vec<Arc<WorkerMetrics>>,
    /// Where sites are counted.
    pub(crate) slots: SiteSlots,
    /// Largest body stored.
    pub(crate) max_object: u64,
    /// When it was made.
    pub(crate) started: Instant,
    secret: DigestSecret,
}

/// What a reload replaces.
pub(crate) struct Live {
    /// The whole configuration.
    pub(crate) config: Config,
    /// The sites, ready to be asked.
    pub(crate) sites: Sites,
    /// Whom to ask before the origins.
    pub(crate) parents: Parents,
}

/// One site, ready to be asked.
pub(crate) struct Site {
    /// Its id.
    pub(crate) id: Arc<str>,
    /// Its configuration.
    pub(crate) config: SiteConfig,
    /// The release that it shows before the first switch.
    pub(crate) initial: Option<Arc<str>>,
    /// Its origins.
    pub(crate) upstream: Upstream,
    /// Where it is counted.
    pub(crate) slot: SiteSlot,
    /// Set once a reload changed how keys are made, the origins, or which site has which hosts.
    replaced: AtomicBool,
}

impl Site {
    /// Whether a reload changed how this site's keys are made or its origins, or moved hosts: what is still being
    /// fetched as before must not be stored.
    pub(crate) fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }
}

/// Sites by host.
pub(crate) struct Sites {
    all: Vec<Arc<Site>>,
    exact: HashMap<Box<str>, Arc<Site>>,
    /// `.example.com` for `*.example.com`, longest first.
    suffixes: Vec<(Box<str>, Arc<Site>)>,
    any: Option<Arc<Site>>,
}

/// Whether what is stored for a site stays right under a new configuration of it.
fn answers_alike(new: &SiteConfig, old: &SiteConfig) -> bool {
    // References in stored responses were rewritten for these addresses.
    let addresses = |site: &SiteConfig| -> BTreeSet<(bool, String, u16, bool)> {
        let origins = site.origins.iter();
        origins.map(|o| (o.tls, o.host.clone(), o.port, o.visitors_host)).collect()
    };
    new.key == old.key
        && new.release == old.release
        && new.host_header == old.host_header
        && addresses(new) == addresses(old)
}

/// The part of `memory.size` that bodies may take while they are being filled, before the store
/// counts them: an eighth, at least 16 MiB, at most half.
fn fill_share(memory: u64) -> u64 {
    (memory / 8).max(16 << 20).min(memory / 2)
}

/// Bodies that wait for slow clients get this part of `memory.connections`, so that there is room for others.
const READ_AHEAD_PART: u64 = 4;

impl NodeState {
    /// A node with nothing stored. Its digests mean nothing in any other process.
    #[cfg(test)]
    pub(crate) fn new(config: Config) -> Result<Self, StartError> {
        Self::with_disk(config, None)
    }

    /// A node with what this store holds, whose digests are the node's. Without one, its digests mean
    /// nothing in any other process.
    pub(crate) fn with_disk(config: Config, disk: Option<OpenDisk>) -> Result<Self, StartError> {
        let secret = match &disk {
            Some(disk) => disk.secret(),
            None => DigestSecret::random().map_err(|error| {
                StartError(format!("the system returned no random numbers: {error}"))
            })?,
        };
        let share = fill_share(config.memory.size);
        let memory = weir_config::Memory { size: config.memory.size - share, ..config.memory };
        let name = &config.node.name;
        let via = Via::new(name)
            .ok_or_else(|| StartError(format!("node.name {name:?} is not a token")))?;
        let bounds = Bounds { patterns: config.limits.patterns, ..Bounds::default() };
        let workers = config.node.workers.max(1);
        let metrics: Vec<Arc<WorkerMetrics>> = (0..workers).map(|_| Arc::default()).collect();
        let slots = SiteSlots::default();
        let spool = Spool::open(&config.spool).map_err(StartError)?;
        let limit = weir_config::machine::memory_limit();
        let account = MemoryAccount::new(config.memory.beside(limit));
        let ahead = ByteBudget::within(account.budget(), account.bound() / READ_AHEAD_PART);
        let ahead = Arc::new(Ahead { memory: Arc::new(ahead), spool });
        let purges = Arc::new(Purges::new(bounds));
        let disk = disk.map(|disk| Arc::new(disk.of_node(&purges)));
        let below = disk.clone().map(|disk| disk as Arc<dyn Below>);
        Ok(Self {
            name: Arc::from(name.as_str()),
            clock: Clock::new(),
            via,
            tier: config.node.tier,
            store: Store::new(&memory, config.limits.variants.max(1), &secret, below),
            inflight: Inflight::new(),
            purges,
            disk,
            lease: Lease::new(&config.control),
            moved: watch::Sender::new(()),
            releases: Releases::default(),
            popular: Popular::default(),
            own: Own::new()?,
            matched: Matched::default(),
            decisions: Decisions::new(config.limits.decisions, config.limits.hit_for_miss),
            filling: Arc::new(ByteBudget::new(share)),
            memory: account,
            ahead,
            max_object: config.memory.max_object.min(memory.size / 2),
            ranking: Ranking::default(),
            started: Instant::now(),
            secret,
            live: ArcSwap::from_pointee(Live::new(config, &metrics, &slots, None)?),
            metrics,
            slots,
        })
    }

    /// Takes a new configuration. A site whose keys, releases, origins or `host_header` changed, or
    /// that is gone, loses what it has stored, and a host that moved to another site what is stored for it:
    /// the same bytes of a key may name another resource now.
    pub(crate) fn replace(&self, live: Live) {
        // Between purges: each is whole under one configuration, which says whose hosts it names. What
        // is fetched under the new one is stamped after those that the old one had.
        let position = self.purges.position();
        let old = self.live.swap(Arc::new(live));
        drop(position);
        let live = self.live.load();
        if let Some(disk) = &self.disk {
            disk.follow_sites(&live.config.sites);
        }
        let changed = |site: &Site| {
            let new = live.sites.all().iter().find(|new| new.id == site.id);
            !new.is_some_and(|new| answers_alike(&new.config, &site.config))
        };
        let moved = !old.sites.hosts().eq(live.sites.hosts());
        let dropped: Vec<&Arc<Site>> =
            old.sites.all().iter().filter(|site| changed(site)).collect();
        if moved {
            self.moved.send_replace(());
        }
        if dropped.is_empty() && !moved {
            return;
        }
        for site in old.sites.all().iter().filter(|site| moved || changed(site)) {
            site.replaced.store(true, Ordering::Release);
        }
        self.inflight.revoke_all();
        let stays = |stored: &Stored| {
            let owner = live.sites.of(KeyText::of(stored.key()).host);
            !dropped.iter().any(|site| site.id == stored.site)
                && owner.is_some_and(|owner| owner.id == stored.site)
        };
        let _ = self.store.visit(|digest, resource| {
            if !resource.variants().iter().all(|stored| stays(stored)) {
                self.store.retain(digest, |stored| stays(stored));
            }
            ControlFlow::Continue(())
        });
    }

    /// The release that a site shows now: what it was switched to last, else its first.
    pub(crate) fn release_of(&self, site: &Site) -> Option<Arc<str>> {
        site.config.release.as_ref()?;
        self.releases.switched(&site.id).unwrap_or_else(|| site.initial.clone())
    }

    /// The digest of a key.
    pub(crate) fn digest(&self, key: &[u8]) -> Digest {
        self.secret.digest(key)
    }

    /// Now, by the clock that nobody sets.
    #[inline]
    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }
}

impl Live {
    /// Makes a configuration ready, with what was known of upstreams `before`; fails on what only
    /// shows here, such as an origin that is no valid authority.
    pub(crate) fn new(
        config: Config,
        metrics: &[Arc<WorkerMetrics>],
        slots: &SiteSlots,
        before: Option<&Live>,
    ) -> Result<Self, StartError> {
        let known = before.map(|before| &before.parents);
        let parents = Parents::new(&config, metrics, known)
            .map_err(|why| StartError(format!("parents.urls: {why}")))?;
        let before = before.map(|before| &before.sites);
        let sites = Sites::new(&config.sites, &config.limits, metrics, slots, before)?;
        Ok(Self { config, sites, parents })
    }

    /// What is counted of the members of all pools.
    pub(crate) fn member_counts(&self) -> Vec<MemberCounts> {
        let origins = self.sites.all().iter().map(|site| &site.upstream);
        self.parents.upstream().into_iter().chain(origins).flat_map(Upstream::counts).collect()
    }

    /// Who is to be probed.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let origins = self.sites.all().iter().map(|site| &site.upstream);
        self.parents.upstream().into_iter().chain(origins).flat_map(Upstream::targets).collect()
    }

    /// The limits in force.
    pub(crate) fn limits(&self) -> &Limits {
        &self.config.limits
    }
}

impl Sites {
    fn new(
        configs: &[SiteConfig],
        limits: &Limits,
        metrics: &[Arc<WorkerMetrics>],
        slots: &SiteSlots,
        before: Option<&Sites>,
    ) -> Result<Self, StartError> {
        let mut sites =
            Self { all: Vec::new(), exact: HashMap::new(), suffixes: Vec::new(), any: None };
        let before = before.into_iter().flat_map(Sites::all);
        let known: HashMap<&str, &Upstream> =
            before.map(|site| (&*site.id, &site.upstream)).collect();
        for config in configs {
            let known = known.get(config.id.as_str()).copied();
            let upstream = Upstream::new(config, limits, metrics, known)
                .map_err(|why| StartError(format!("site {}: {why}", config.id)))?;
            let site = Arc::new(Site {
                id: Arc::from(config.id.as_str()),
                initial: config
                    .release
                    .as_ref()
                    .and_then(|rules| rules.initial.as_deref())
                    .map(Arc::from),
                config: config.clone(),
                upstream,
                slot: slots.slot(&config.id),
                replaced: AtomicBool::new(false),
            });
            for host in &config.hosts {
                match host.strip_prefix('*') {
                    Some("") => sites.any = Some(Arc::clone(&site)),
                    Some(suffix) => sites.suffixes.push((suffix.into(), Arc::clone(&site))),
                    None => {
                        sites.exact.insert(host.as_str().into(), Arc::clone(&site));
                    }
                }
            }
            sites.all.push(site);
        }
        sites.suffixes.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        Ok(sites)
    }

    /// The site that a host (lower case; a port, where one is named, is not looked at) belongs to.
    pub(crate) fn of(&self, host: &str) -> Option<&Arc<Site>> {
        if self.exact.is_empty() && self.suffixes.is_empty() {
            return self.any.as_ref();
        }
        let name = without_port(host);
        self.exact
            .get(name)
            .or_else(|| {
                let found = self.suffixes.iter().find(|(suffix, _)| name.ends_with(&**suffix));
                found.map(|(_, site)| site)
            })
            .or(self.any.as_ref())
    }

    /// Which site has which hosts.
    fn hosts(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.all.iter().map(|site| (&*site.id, &*site.config.hosts))
    }

    /// All of them, in the order of the configuration.
    pub(crate) fn all(&self) -> &[Arc<Site>] {
        &self.all
    }
}
