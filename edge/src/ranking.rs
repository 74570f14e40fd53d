//! Which stored responses were sent most: found by a walk over the store, off the workers, and
//! told again for a while, so that whoever polls cannot load a node.

use crate::purge::Purges;
use crate::store::{Resource, Store, Stored, url_in};
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use weir_protocol::question::StoredUrl;
use weir_rules::freshness::State;
use weir_rules::invalidation::Validity;
use weir_rules::time::Time;

/// URLs ranked of each site.
const MOST: usize = 100;

/// How long a walk is good for, at least, and in times of what it took.
const LIFE: (Duration, u32) = (Duration::from_secs(3), 20);

/// Tags told of each.
const MOST_TAGS: usize = 16;

/// The last walk, if any. Locked during a walk: whoever asks meanwhile gets what that finds.
#[derive(Debug, Default)]
pub(crate) struct Ranking(Mutex<Option<Ranked>>);

#[derive(Debug)]
struct Ranked {
    until: Instant,
    by_site: HashMap<Arc<str>, Vec<StoredUrl>>,
}

impl Ranking {
    /// At most `most` of what is stored for these sites or, where none is named, for all, those
    /// sent most first. It may walk over the whole store: ages and TTLs are as of `now` then.
    pub(crate) fn most(
        &self,
        store: &Store,
        purges: &Purges,
        now: Time,
        most: usize,
        sites: &[String],
    ) -> Vec<StoredUrl> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ranked = match last.take().filter(|ranked| Instant::now() < ranked.until) {
            Some(ranked) => ranked,
            None => Ranked::of(store, purges, now),
        };
        let ranked = last.insert(ranked);
        let named = |site: &str| sites.is_empty() || sites.iter().any(|named| named == site);
        let of = ranked.by_site.iter().filter(|(site, _)| named(site)).flat_map(|(_, urls)| urls);
        let mut urls: Vec<_> = of.collect();
        urls.sort_by(|a, b| before(a, b));
        urls.into_iter().take(most.min(MOST)).cloned().collect()
    }
}

fn before(a: &StoredUrl, b: &StoredUrl) -> Ordering {
    b.hits.cmp(&a.hits).then_with(|| a.url.cmp(&b.url))
}

impl Ranked {
    /// Walks over the store.
    fn of(store: &Store, purges: &Purges, now: Time) -> Self {
        let begun = Instant::now();
        let mut tops: HashMap<Arc<str>, Top> = HashMap::new();
        let _ = store.visit(|_, resource| {
            if let Some(site) = resource.variants().first().map(|stored| &stored.site) {
                match tops.get_mut(site) {
                    Some(top) => top.offer(purges, resource),
                    None => tops.entry(Arc::clone(site)).or_default().offer(purges, resource),
                }
            }
            ControlFlow::Continue(())
        });
        let by_site = tops.into_iter().map(|(site, top)| (site, top.told(purges, now))).collect();
        let took = begun.elapsed();
        Self { until: Instant::now() + LIFE.0.max(took * LIFE.1), by_site }
    }
}

/// The resources of a site that were sent most, while the walk lasts.
#[derive(Default)]
struct Top(BinaryHeap<Reverse<Sent>>);

struct Sent {
    hits: u64,
    resource: Resource,
}

impl Top {
    fn offer(&mut self, purges: &Purges, resource: &Resource) {
        let hits = resource.variants().iter().map(|stored| u64::from(stored.served.times())).sum();
        let least = self.0.peek().map_or(0, |Reverse(least)| least.hits);
        let key = resource.variants().first().map(|stored| stored.key());
        let is_shown =
            || key.and_then(url_in).is_some() && valid(purges, resource).next().is_some();
        if (self.0.len() < MOST || hits > least) && is_shown() {
            if self.0.len() >= MOST {
                self.0.pop();
            }
            self.0.push(Reverse(Sent { hits, resource: resource.clone() }));
        }
    }

    /// Those of one URL together: a URL has several keys where a site has releases, or fields in
    /// its keys.
    fn told(self, purges: &Purges, now: Time) -> Vec<StoredUrl> {
        let mut urls: HashMap<String, StoredUrl> = HashMap::new();
        for Reverse(Sent { hits, resource }) in self.0 {
            let Some(told) = told(purges, now, hits, &resource) else { continue };
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

fn told(purges: &Purges, now: Time, hits: u64, resource: &Resource) -> Option<StoredUrl> {
    let newest = valid(purges, resource).next()?;
    let soft = matches!(purges.validity(newest), Validity::Soft(_));
    let ttl = match newest.freshness.state(now) {
        State::Fresh { left } if !soft => i64::from(left),
        // What was soft-purged is stale whatever its lifetime.
        State::Fresh { .. } => -1,
        State::Refreshable { past } | State::Stale { past, .. } => -i64::from(past),
    };
    Some(StoredUrl {
        url: url_in(newest.key())?.to_owned(),
        site: newest.site.to_string(),
        hits,
        bytes: newest.body.held(),
        status: newest.status.as_u16(),
        age_seconds: newest.freshness.age(now).into(),
        ttl_seconds: ttl,
        tags: newest.tags.iter().take(MOST_TAGS).map(ToString::to_string).collect(),
        variants: valid(purges, resource).count() as u64,
    })
}

/// The variants that no hard purge took; what one took is stored until the sweep has been there.
fn valid<'a>(purges: &'a Purges, resource: &'a Resource) -> impl Iterator<Item = &'a Arc<Stored>> {
    let is_valid = |stored: &&Arc<Stored>| !matches!(purges.validity(stored), Validity::Hard(_));
    resource.variants().iter().filter(is_valid)
}

impl PartialEq for Sent {
    fn eq(&self, other: &Self) -> bool {
        self.hits == other.hits
    }
}

impl Eq for Sent {}

impl PartialOrd for Sent {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Sent {
    fn cmp(&self, other: &Self) -> Ordering {
        self.hits.cmp(&other.hits)
    }
}
