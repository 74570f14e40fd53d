//! What all workers of a node share: the store, the running fills, what was purged, and the
//! configuration in force.

use crate::access::{Passwords, SiteAccess};
use crate::ahead::{Ahead, Spool};
use crate::byte_budget::ByteBudget;
use crate::clock::Clock;
use crate::coding::CodingQueue;
use crate::collapsing::Inflight;
use crate::decisions::Decisions;
use crate::disk::{DiskStore, OpenDisk, Removal};
use crate::error::StartError;
use crate::geo::Geo;
use crate::host::without_port;
use crate::memory::MemoryAccount;
use crate::metrics::{SiteSlot, SiteSlots, WorkerMetrics};
use crate::own::Own;
use crate::parents::Parents;
use crate::purge::{Popular, Purges};
use crate::ranking::Ranking;
use crate::relay::Relay;
use crate::spare_time::SpareTime;
use crate::standing::{Lease, Matched, Releases};
use crate::store::{Below, Digest, DigestSecret, KeyText, Store, Stored, UrlHash};
use crate::upstream::{Lookup, MemberCounts, Named, Target, Upstream};
use crate::via::Via;
use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderValue};
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::watch;
use weir_acme::{CHALLENGE_PATH, Received, Served};
use weir_config::{Config, Hsts, Limits, OriginPool, Site as SiteConfig, SiteTls, Tier};
use weir_protocol::question::OriginMember;
use weir_rules::country::Country;
use weir_rules::invalidation::Bounds;
use weir_rules::site_rules::{RuleResponse, RuleSet, ignore};
use weir_rules::storability::SitePolicy;
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
    /// What passes the log on to edges, if the node is a parent and may.
    pub(crate) relay: Option<Arc<Relay>>,
    /// Told when a reload changed which sites there are, or which hosts they have.
    pub(crate) moved: watch::Sender<()>,
    /// The releases that sites show.
    pub(crate) releases: Releases,
    /// Certificates that are ordered, and the challenges of orders.
    pub(crate) served: Arc<Served>,
    /// What control sent for TLS.
    pub(crate) received: Received,
    /// What purges took.
    pub(crate) matched: Matched,
    /// The popular URLs among them, for purges with a warm-up.
    pub(crate) popular: Popular,
    /// By what the node knows its own requests.
    pub(crate) own: Own,
    /// Which passwords were right.
    pub(crate) passwords: Passwords,
    /// Stored responses that wait to be compressed.
    pub(crate) coding: Arc<CodingQueue>,
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
    /// What is known of the countries of clients.
    pub(crate) geo: Option<Arc<Geo>>,
    /// Who is asked for the addresses of origins' names.
    lookup: Lookup,
}

/// One site, ready to be asked.
pub(crate) struct Site {
    /// Its id.
    pub(crate) id: Arc<str>,
    /// Its configuration.
    pub(crate) config: SiteConfig,
    /// The release that it shows before the first switch.
    pub(crate) initial: Option<Arc<str>>,
    /// Its origins, a pool each, in the order of the configuration.
    upstreams: Vec<Arc<Upstream>>,
    /// What its access settings need.
    pub(crate) access: SiteAccess,
    /// Where it is counted.
    pub(crate) slot: SiteSlot,
    /// Strict-Transport-Security, if browsers are told to do by https alone.
    pub(crate) hsts: Option<Arc<HeaderValue>>,
    /// Set once a reload changed how keys are made, the origins, or which site has which hosts.
    replaced: AtomicBool,
}

impl Site {
    /// What control is told of its origins.
    pub(crate) fn members(&self) -> Vec<OriginMember> {
        self.upstreams.iter().flat_map(|upstream| upstream.members(&self.id)).collect()
    }

    /// The origins of a request that matches these rules: as they are configured, and the way to them.
    pub(crate) fn origins(&self, matching: RuleSet) -> (&OriginPool, &Arc<Upstream>) {
        let (pools, upstreams) = (&self.config.pools, &self.upstreams);
        let of = |at: usize| (&pools[at], &upstreams[at]);
        if matching.is_empty() {
            return of(0);
        }
        let rules = &self.config.rules;
        let named = rules.origin(rules.applied(matching));
        // INVARIANT: the configuration's check has seen that each site has a pool, and each name one.
        of(named.and_then(|name| pools.iter().position(|pool| pool.name == name)).unwrap_or(0))
    }

    /// The way to the origins of the pool with this name.
    fn upstream_named(&self, name: &str) -> Option<&Upstream> {
        let at = self.config.pools.iter().position(|pool| pool.name == name)?;
        self.upstreams.get(at).map(|upstream| &**upstream)
    }

    /// Takes out of the fields by which a response is judged what rules have ignored.
    pub(crate) fn ignore(
        &self,
        matching: RuleSet,
        request: &HeaderMap,
        judged: &mut Cow<'_, HeaderMap>,
    ) {
        let rules = &self.config.rules;
        if !matching.is_empty() {
            ignore(rules.ignored(rules.applied(matching)), request, judged.to_mut());
        }
    }

    /// What bears on storing this response to a request that matches these rules.
    pub(crate) fn policy(
        &self,
        matching: RuleSet,
        response: &RuleResponse<'_>,
    ) -> Cow<'_, SitePolicy> {
        let rules = &self.config.rules;
        rules.policy(rules.applied_to(matching, response), &self.config.policy)
    }

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

/// The keys of a site whose change makes what is stored for it wrong; none if it stays right under the new
/// configuration.
fn differing(new: &SiteConfig, old: &SiteConfig) -> Vec<&'static str> {
    // References in stored responses were rewritten for these origins.
    let pools = |site: &SiteConfig| site.pools.iter().map(OriginPool::shaping).collect::<Vec<_>>();
    let host_headers =
        |site: &SiteConfig| -> Vec<_> { site.pools.iter().map(|pool| pool.host_header).collect() };
    let differs = [
        ("key", new.key != old.key),
        ("cookies", new.cookies != old.cookies),
        ("rule", !new.rules.shaping().eq(old.rules.shaping())),
        ("release", new.release != old.release),
        ("host_header", host_headers(new) != host_headers(old)),
        ("origins", pools(new) != pools(old)),
    ];
    differs.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

/// The value of Strict-Transport-Security (RFC 6797 §6.1).
fn hsts(hsts: &Hsts) -> Option<HeaderValue> {
    let subdomains = if hsts.subdomains { "; includeSubDomains" } else { "" };
    let preload = if hsts.preload { "; preload" } else { "" };
    HeaderValue::try_from(format!("max-age={}{subdomains}{preload}", hsts.max_age)).ok()
}

/// The part of `memory.size` that bodies may take while they are being filled, before the store
/// counts them: an eighth, at least 16 MiB, at most half. What they do not take is the store's.
fn fill_share(memory: u64) -> u64 {
    (memory / 8).max(16 << 20).min(memory / 2)
}

/// Bodies that wait for slow clients get this part of `memory.connections`, so that there is room for others.
const READ_AHEAD_PART: u64 = 4;

/// A parent passes the log on, if it may to any edge.
fn relay(config: &Config) -> Option<Arc<Relay>> {
    let relays = config.node.tier == Tier::Parent && config.control.relay_edges > 0;
    relays.then(|| Arc::new(Relay::new(Arc::from(config.node.name.as_str()), &config.control)))
}

impl NodeState {
    /// A node with nothing stored. Its digests mean nothing in any other process.
    #[cfg(test)]
    pub(crate) fn new(config: Config) -> Result<Self, StartError> {
        Self::with_disk(config, None, Arc::default())
    }

    /// A node with what this store holds, whose digests are the node's. Without one, its digests mean
    /// nothing in any other process.
    pub(crate) fn with_disk(
        config: Config,
        disk: Option<OpenDisk>,
        served: Arc<Served>,
    ) -> Result<Self, StartError> {
        let secret = match &disk {
            Some(disk) => disk.secret(),
            None => DigestSecret::random().map_err(|error| {
                StartError(format!("the system returned no random numbers: {error}"))
            })?,
        };
        let share = fill_share(config.memory.size);
        let name = &config.node.name;
        let via = Via::new(name)
            .ok_or_else(|| StartError(format!("node.name {name:?} is not a token")))?;
        let weir_config::Limits { purge_targets: targets, patterns, .. } = config.limits;
        let bounds = Bounds { targets, patterns };
        let workers = config.node.workers.max(1);
        let metrics: Vec<Arc<WorkerMetrics>> = (0..workers).map(|_| Arc::default()).collect();
        let slots = SiteSlots::default();
        let spool = Spool::open(&config.spool).map_err(StartError)?;
        let limit = weir_config::machine::memory_limit();
        let account = MemoryAccount::new(config.memory.beside(limit));
        let ahead = ByteBudget::within(account.budget(), account.bound() / READ_AHEAD_PART);
        let spare_time = (0..workers).map(|_| SpareTime::new()).collect();
        let ahead = Arc::new(Ahead { memory: Arc::new(ahead), spool, spare_time });
        let purges = Arc::new(Purges::new(bounds));
        let disk = disk.map(|disk| Arc::new(disk.of_node(&purges)));
        let below = disk.clone().map(|disk| disk as Arc<dyn Below>);
        let store = Store::new(&config.memory, config.limits.variants.max(1), &secret, below);
        Ok(Self {
            name: Arc::from(name.as_str()),
            clock: Clock::new(),
            via,
            tier: config.node.tier,
            inflight: Inflight::new(),
            purges,
            disk,
            lease: Lease::new(&config.control),
            relay: relay(&config),
            moved: watch::Sender::new(()),
            releases: Releases::default(),
            received: Received::new(&config, Arc::clone(&served)),
            served,
            popular: Popular::default(),
            own: Own::new()?,
            passwords: Passwords::new(config.limits.passwords, workers / 2)?,
            matched: Matched::default(),
            coding: Arc::default(),
            decisions: Decisions::new(config.limits.decisions, config.limits.hit_for_miss),
            filling: Arc::new(ByteBudget::lent(store.lender(), share)),
            store,
            memory: account,
            ahead,
            // Half of what the store has at least, whatever bodies in flight take.
            max_object: config.memory.max_object.min((config.memory.size - share) / 2),
            ranking: Ranking::default(),
            started: Instant::now(),
            secret,
            live: ArcSwap::from_pointee(Live::new(config, &metrics, &slots, None)?),
            metrics,
            slots,
        })
    }

    /// Takes a new configuration. A site whose keys, cookies, releases, origins or `host_header` changed, or
    /// that is gone, loses what it has stored, and a host that moved to another site what is stored for it:
    /// the same bytes of a key may name another resource now.
    pub(crate) fn replace(&self, live: Live) {
        // Between purges: each is whole under one configuration, which says whose hosts it names. What
        // is fetched under the new one is stamped after those that the old one had.
        let position = self.purges.position();
        let old = self.live.swap(Arc::new(live));
        drop(position);
        self.passwords.forget();
        let live = self.live.load();
        if let Some(disk) = &self.disk {
            disk.follow_sites(&live.config.sites);
        }
        let changed = |site: &Site| {
            let new = live.sites.all().iter().find(|new| new.id == site.id);
            new.is_none_or(|new| !differing(&new.config, &site.config).is_empty())
        };
        let moved = !old.sites.hosts().eq(live.sites.hosts());
        let dropped: Vec<&Arc<Site>> =
            old.sites.all().iter().filter(|site| changed(site)).collect();
        for site in &dropped {
            let new = live.sites.all().iter().find(|new| new.id == site.id);
            let keys = new.map_or_else(Vec::new, |new| differing(&new.config, &site.config));
            let why = if new.is_some() { "changed" } else { "gone" };
            tracing::info!(site = %site.id, keys = keys.join(", "), why, "stored responses of the site removed");
        }
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

    /// Removes a URL by its name ([`weir_rules::invalidation::url_name`]) from all that is stored, and
    /// revokes the fills that run for it. They are revoked before, so
    /// that a fill that ends meanwhile stores nothing; and after, because a fill may have begun in
    /// between to validate the response that was still stored.
    pub(crate) fn forget(&self, name: &str) -> Removal {
        let url = self.store.url_named(name);
        self.inflight.revoke(url);
        // Before memory: what is read from there comes into memory only while it is there.
        let mut removal = self.forget_on_disk(url);
        // Read after that: a fill that is revoked from now on removes its response itself.
        let mut digests = self.store.keys_of(url);
        for scheme in ["http://", "https://"] {
            digests.push(self.digest([scheme, name].concat().as_bytes()));
        }
        for digest in digests {
            self.store.retain(digest, |_| false);
            self.decisions.forget(digest);
        }
        self.inflight.revoke(url);
        // What came there in between was removed again, by those lines or by the fill that it is of, and
        // may be on the disk already. Whoever waits for this one waits for that too.
        removal.and(self.forget_on_disk(url));
        removal
    }

    fn forget_on_disk(&self, url: UrlHash) -> Removal {
        self.disk.as_ref().map(|disk| disk.forget(url)).unwrap_or_default()
    }

    /// The release that a site shows now: what it was switched to last, else its first.
    pub(crate) fn release_of(&self, site: &Site) -> Option<Arc<str>> {
        site.config.release.as_ref()?;
        self.releases.switched(&site.id).unwrap_or_else(|| site.initial.clone())
    }

    /// Whether a client that asks for this host (lower case, without port) and path of a site in the clear is sent
    /// to https.
    pub(crate) fn leads_to_https(&self, site: &Site, host: &str, path: &str) -> bool {
        site.config.tls == SiteTls::Auto
            && !path.starts_with(CHALLENGE_PATH)
            && self.served.has(host)
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
        let lookup = Lookup::of(&config.node.resolver, before.map(|before| &before.lookup));
        let known = before.and_then(|before| before.geo.as_deref());
        let geo = config.geo.as_ref().map(|geo| Geo::open(geo, known)).transpose()?.map(Arc::new);
        let before = before.map(|before| &before.sites);
        let sites = Sites::new(&config, &lookup, metrics, slots, before)?;
        Ok(Self { config, sites, parents, geo, lookup })
    }

    /// All pools: the parents, then the origins of each site.
    fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        let origins = self.sites.all().iter().flat_map(|site| &site.upstreams);
        self.parents.upstream().into_iter().chain(origins)
    }

    /// What is counted of the members of all pools.
    pub(crate) fn member_counts(&self) -> Vec<MemberCounts> {
        self.upstreams().flat_map(|upstream| upstream.counts()).collect()
    }

    /// Who is to be probed.
    pub(crate) fn targets(&self) -> Vec<Target> {
        self.upstreams().flat_map(Upstream::targets).collect()
    }

    /// The names that are to be looked up.
    pub(crate) fn names(&self) -> Vec<Named> {
        self.upstreams().flat_map(Upstream::names).collect()
    }

    /// The country of a client.
    pub(crate) fn country(&self, client: IpAddr) -> Country {
        self.geo.as_ref().map_or(Country::UNKNOWN, |geo| geo.country(client))
    }

    /// The limits in force.
    pub(crate) fn limits(&self) -> &Limits {
        &self.config.limits
    }
}

impl Sites {
    fn new(
        config: &Config,
        lookup: &Lookup,
        metrics: &[Arc<WorkerMetrics>],
        slots: &SiteSlots,
        before: Option<&Sites>,
    ) -> Result<Self, StartError> {
        let mut sites =
            Self { all: Vec::new(), exact: HashMap::new(), suffixes: Vec::new(), any: None };
        let before = before.into_iter().flat_map(Sites::all);
        let known: HashMap<&str, &Arc<Site>> = before.map(|site| (&*site.id, site)).collect();
        let limits = &config.limits;
        for config in &config.sites {
            let known = known.get(config.id.as_str()).copied();
            let upstreams = config.pools.iter().map(|pool| {
                let known = known.and_then(|site| site.upstream_named(&pool.name));
                Upstream::new(config, pool, limits, metrics, lookup, known).map(Arc::new).map_err(
                    |why| StartError(format!("site {}, origin {:?}: {why}", config.id, pool.name)),
                )
            });
            let upstreams = upstreams.collect::<Result<_, _>>()?;
            let mut config = config.clone();
            // What was compressed by equal rules stays.
            let before = known.and_then(|site| site.config.compress.as_ref());
            if let Some(before) = before.filter(|before| Some(*before) == config.compress.as_ref())
            {
                config.compress = Some(Arc::clone(before));
            }
            let config = &config;
            let site = Arc::new(Site {
                id: Arc::from(config.id.as_str()),
                initial: config
                    .release
                    .as_ref()
                    .and_then(|rules| rules.initial.as_deref())
                    .map(Arc::from),
                config: config.clone(),
                upstreams,
                access: SiteAccess::new(
                    config,
                    limits.rate_clients,
                    known.map(|site| &site.access),
                ),
                slot: slots.slot(&config.id),
                hsts: config.hsts.as_ref().and_then(hsts).map(Arc::new),
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
