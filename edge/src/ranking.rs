//! Which stored responses were sent most, or come first in another order: found by a walk over the store, off the
//! workers, and told again for a while, so that whoever polls cannot load a node.

use crate::purge::Purges;
use crate::store::{Resource, Store, Stored, url_in};
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use weir_protocol::question::{StoredOrder, StoredUrl};
use weir_protocol::search::Search;
use weir_rules::freshness::State;
use weir_rules::invalidation::Validity;
use weir_rules::time::Time;

/// URLs ranked of each site.
const MOST: usize = 100;

/// How long a walk is good for, at least, and in times of what it took.
const LIFE: (Duration, u32) = (Duration::from_secs(3), 20);

/// Tags told of each.
const MOST_TAGS: usize = 16;

/// Walks that are told again; of more the oldest is forgotten.
const MOST_KEPT: usize = 8;

/// The next walk begins after a pause of so many times what the last one took: a fifth of a processor at most, whatever
/// is searched for.
const PAUSE: u32 = 4;

/// The last walks. Locked during a walk: whoever asks the same meanwhile gets what that finds.
#[derive(Debug, Default)]
pub(crate) struct Ranking(Mutex<Walks>);

#[derive(Debug, Default)]
struct Walks {
    kept: VecDeque<Ranked>,
    /// When the next one may begin.
    next: Option<Instant>,
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Those whose URL or tags it finds.
    pub(crate) search: Search,
    /// Which come first.
    pub(crate) order: StoredOrder,
}

#[derive(Debug)]
struct Ranked {
    asked: Asked,
    until: Instant,
    by_site: HashMap<Arc<str>, Vec<StoredUrl>>,
}

impl Ranking {
    /// At most `most` of what is stored for these sites or, where none is named, for all. It may
    /// walk over the whole store, and wait until it may: ages and TTLs are as of `now` then.
    pub(crate) fn first(
        &self,
        store: &Store,
        purges: &Purges,
        now: Time,
        most: usize,
        sites: &[String],
        asked: &Asked,
    ) -> Vec<StoredUrl> {
        let mut walks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Walks { kept, next } = &mut *walks;
        kept.retain(|ranked| Instant::now() < ranked.until);
        if !kept.iter().any(|ranked| ranked.asked == *asked) {
            let begin = next.unwrap_or_else(Instant::now);
            std::thread::sleep(begin.saturating_duration_since(Instant::now()));
            let begun = Instant::now();
            if kept.len() >= MOST_KEPT {
                kept.pop_front();
            }
            kept.push_back(Ranked::of(store, purges, now, asked));
            *next = Some(Instant::now() + begun.elapsed() * PAUSE);
        }
        let Some(ranked) = kept.iter().find(|ranked| ranked.asked == *asked) else {
            return Vec::new();
        };
        let named = |site: &str| sites.is_empty() || sites.iter().any(|named| named == site);
        let of = ranked.by_site.iter().filter(|(site, _)| named(site)).flat_map(|(_, urls)| urls);
        let mut urls: Vec<_> = of.collect();
        urls.sort_by(|a, b| asked.order.compare(a, b));
        urls.into_iter().take(most.min(MOST)).cloned().collect()
    }
}

impl Ranked {
    /// Walks over the store.
    fn of(store: &Store, purges: &Purges, now: Time, asked: &Asked) -> Self {
        let begun = Instant::now();
        let walk = Looking { purges, now, asked };
        let mut tops: HashMap<Arc<str>, Top> = HashMap::new();
        let _ = store.visit(|_, resource| {
            if let Some(site) = resource.variants().first().map(|stored| &stored.site) {
                match tops.get_mut(site) {
                    Some(top) => top.offer(&walk, resource),
                    None => tops.entry(Arc::clone(site)).or_default().offer(&walk, resource),
                }
            }
            ControlFlow::Continue(())
        });
        let by_site = tops.into_iter().map(|(site, top)| (site, top.told(purges, now))).collect();
        let took = begun.elapsed();
        Self { asked: asked.clone(), until: Instant::now() + LIFE.0.max(took * LIFE.1), by_site }
    }
}

/// What a walk looks for.
struct Looking<'a> {
    purges: &'a Purges,
    now: Time,
    asked: &'a Asked,
}

impl Looking<'_> {
    /// Whether it is among those that are searched for.
    fn finds(&self, url: &str, resource: &Resource) -> bool {
        let tags =
            resource.variants().iter().flat_map(|stored| stored.tags.iter()).map(|tag| &**tag);
        self.asked.search.finds(std::iter::once(url).chain(tags))
    }

    /// Its rank but for its name: the higher, the sooner it is listed.
    fn rank(&self, resource: &Resource) -> u64 {
        let newest = || valid(self.purges, resource).next();
        match self.asked.order {
            StoredOrder::Hits => hits(resource),
            StoredOrder::Size => newest().map_or(0, |stored| stored.body.held()),
            StoredOrder::Expiry => newest().map_or(0, |stored| {
                u64::MAX - ttl(self.purges, self.now, stored).cast_unsigned().wrapping_add(1 << 63)
            }),
            StoredOrder::Newest => {
                newest().map_or(0, |stored| u64::MAX - u64::from(stored.freshness.age(self.now)))
            }
            StoredOrder::Url => 0,
        }
    }
}

/// Answers from the store, of all its variants together.
fn hits(resource: &Resource) -> u64 {
    resource.variants().iter().map(|stored| u64::from(stored.served.times())).sum()
}

/// The resources of a site that come first, while the walk lasts.
#[derive(Default)]
struct Top(BinaryHeap<Reverse<Place>>);

/// Where a resource comes: by its rank and, of one rank, by its name. The greater, the sooner.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank(u64, Option<Reverse<Box<str>>>);

struct Place {
    rank: Rank,
    resource: Resource,
}

impl Top {
    fn offer(&mut self, looking: &Looking<'_>, resource: &Resource) {
        let key = resource.variants().first().map(|stored| stored.key());
        let Some(url) = key.and_then(url_in).filter(|url| looking.finds(url, resource)) else {
            return;
        };
        let rank = looking.rank(resource);
        let is_by_name = looking.asked.order == StoredOrder::Url;
        let is_before = |least: &Rank| match &least.1 {
            Some(Reverse(name)) if rank == least.0 => *url < **name,
            _ => rank > least.0,
        };
        let is_full = self.0.len() >= MOST;
        if is_full && !self.0.peek().is_some_and(|Reverse(least)| is_before(&least.rank))
            || valid(looking.purges, resource).next().is_none()
        {
            return;
        }
        if is_full {
            self.0.pop();
        }
        let rank = Rank(rank, is_by_name.then(|| Reverse(url.into())));
        self.0.push(Reverse(Place { rank, resource: resource.clone() }));
    }

    /// Those of one URL together: a URL has several keys where a site has releases, or fields in
    /// its keys.
    fn told(self, purges: &Purges, now: Time) -> Vec<StoredUrl> {
        let mut urls: HashMap<String, StoredUrl> = HashMap::new();
        for Reverse(Place { resource, .. }) in self.0 {
            let Some(told) = told(purges, now, &resource) else { continue };
            match urls.get_mut(&told.url) {
                Some(known) if told.hits <= known.hits => {
                    known.hits += told.hits;
                    known.variants += told.variants;
                }
                Some(known) => {
                    let (hits, variants) = (known.hits, known.variants);
                    *known = told;
                    known.hits += hits;
                    known.variants += variants;
                }
                None => {
                    urls.insert(told.url.clone(), told);
                }
            }
        }
        urls.into_values().collect()
    }
}

/// Seconds of freshness left; what was soft-purged is stale whatever its lifetime.
fn ttl(purges: &Purges, now: Time, stored: &Stored) -> i64 {
    match stored.freshness.state(now) {
        State::Fresh { .. } if matches!(purges.validity(stored), Validity::Soft(_)) => -1,
        State::Fresh { left } => i64::from(left),
        State::Refreshable { past } | State::Stale { past, .. } => -i64::from(past),
    }
}

fn told(purges: &Purges, now: Time, resource: &Resource) -> Option<StoredUrl> {
    let newest = valid(purges, resource).next()?;
    Some(StoredUrl {
        url: url_in(newest.key())?.to_owned(),
        site: newest.site.to_string(),
        hits: hits(resource),
        bytes: newest.body.held(),
        status: newest.status.as_u16(),
        age_seconds: newest.freshness.age(now).into(),
        ttl_seconds: ttl(purges, now, newest),
        tags: newest.tags.iter().take(MOST_TAGS).map(ToString::to_string).collect(),
        variants: valid(purges, resource).count() as u64,
    })
}

/// The variants that no hard purge took; what one took is stored until the sweep has been there.
fn valid<'a>(purges: &'a Purges, resource: &'a Resource) -> impl Iterator<Item = &'a Arc<Stored>> {
    let is_valid = |stored: &&Arc<Stored>| !matches!(purges.validity(stored), Validity::Hard(_));
    resource.variants().iter().filter(is_valid)
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.cmp(&other.rank)
    }
}
