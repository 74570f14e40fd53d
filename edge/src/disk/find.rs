//! Finding stored responses on disk for a request that memory cannot answer.

use super::body::CachedBody;
use super::{DiskBody, DiskStore, record};
use crate::purge::Stamp;
use crate::store::{Digest, Store, Stored, StoredBody, UrlHash};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use weir_rules::invalidation::Validity;
use weir_rules::time::Time;
use weir_store::StoreFound;
use weir_store::volume::{Body, StoredResponse, Unread};

/// A body of fewer bytes is copied out of what was read.
const COPIED: usize = 32 << 10;

/// The variants of a resource on disk, newest first.
#[derive(Default)]
pub(crate) struct FoundOnDisk {
    /// The stored responses.
    pub(crate) variants: Vec<Arc<Stored>>,
    places: Vec<Found>,
    /// Held until what is promoted is in memory: the index forgets nothing that it must be judged by.
    _stamp: Option<Stamp>,
}

impl FoundOnDisk {
    /// Whether the body of this one of them was not read.
    pub(crate) fn is_cached(&self, stored: &Arc<Stored>) -> bool {
        self.place(stored).is_some_and(|found| found.is_cached)
    }

    fn place(&self, stored: &Arc<Stored>) -> Option<&Found> {
        let at = self.variants.iter().position(|variant| Arc::ptr_eq(variant, stored))?;
        self.places.get(at)
    }
}

/// Where a response is on disk.
struct Found {
    place: StoreFound,
    /// The life of its site.
    life: u64,
    /// Whether its body was not read, because it is in the page cache.
    is_cached: bool,
}

impl DiskStore {
    /// The variants of a resource, judged by all purges up to now. What a hard purge took is none of
    /// them, nor what is of another life of the site. If they are found `cached`, bodies that the kernel can
    /// send from the page cache are not read.
    pub(crate) async fn find(
        &self,
        url: UrlHash,
        key: &[u8],
        site: &Arc<str>,
        now: Time,
        cached: bool,
    ) -> FoundOnDisk {
        if !self.is_shown() {
            return FoundOnDisk::default();
        }
        let places = self.store.find(url, key);
        if places.is_empty() {
            return FoundOnDisk::default();
        }
        // Before anything is read.
        let stamp = self.purges.stamp();
        let mut found = Vec::new();
        for place in places {
            let in_cache = if cached { place.cached(key) } else { None };
            let read = match in_cache.map(Ok).or_else(|| place.read_ready(key)) {
                Some(read) => read,
                None => place.read(key).await,
            };
            match read {
                Ok(response) => {
                    let order = response.write_seq;
                    let is_cached = matches!(response.body, Body::Cached(_));
                    match self.stored(response, &place, site, now) {
                        Some((stored, life)) => {
                            let place = Found { place, life, is_cached };
                            found.push((order, Arc::new(stored), place));
                        }
                        None => place.remove(),
                    }
                }
                // Another key with the same digest.
                Err(Unread::Other) => {}
                Err(why) => {
                    self.counters.unread.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(%why, "a response on disk could not be read");
                }
            }
        }
        found.sort_by_key(|(order, ..)| std::cmp::Reverse(*order));
        let (mut variants, mut places) = (Vec::new(), Vec::new());
        for (_, stored, place) in found {
            variants.push(stored);
            places.push(place);
        }
        FoundOnDisk { variants, places, _stamp: Some(stamp) }
    }

    /// The response as it is used, and the life of its site; `None` if it must not be.
    pub(super) fn stored(
        &self,
        response: StoredResponse,
        place: &StoreFound,
        site: &Arc<str>,
        now: Time,
    ) -> Option<(Stored, u64)> {
        let StoredResponse { head, survived, body, .. } = response;
        let mut record = record::decode(&head)?;
        if *head.site != **site || self.lives.load().life(site) != Some(record.life) {
            return None;
        }
        // Its age is not known: it is stale beyond all windows.
        if record.freshness.born > now || (survived && self.clock_was_set_back) {
            record.freshness.born = Time::from_millis(0);
        }
        let body = match body {
            Body::Whole(bytes) => StoredBody::whole_of(apart(bytes)),
            Body::Cached(bytes) => {
                let (place, key) = (place.clone(), head.key.clone());
                StoredBody::below(Arc::new(CachedBody { bytes, place, key }))
            }
            Body::Sliced { objects, length } => {
                let body = DiskBody::stored(&self.store, head.url, objects, length);
                StoredBody::below(Arc::new(body))
            }
        };
        let life = record.life;
        let stored = record.into_stored(&head, Arc::clone(site), body);
        let validity = self.purges.validity_of_new(&stored);
        (!matches!(validity, Validity::Hard(_))).then_some((stored, life))
    }

    /// Whether what a request found is to come into memory: because it `must` be there, or because it was
    /// found before within the window. To be asked once for each request.
    pub(crate) fn is_wanted(&self, url: UrlHash, must: bool) -> bool {
        self.promotion.as_ref().is_some_and(|hits| hits.admits(url, false)) || must
    }

    /// A request found this one of them. Brings it into memory if it is `wanted` there.
    pub(crate) fn hit(
        &self,
        memory: &Store,
        digest: Digest,
        found: &FoundOnDisk,
        stored: &Arc<Stored>,
        wanted: bool,
    ) {
        self.counters.hits.fetch_add(1, Ordering::Relaxed);
        let Some(Found { place, life, .. }) = found.place(stored) else { return };
        let is_current =
            || place.is_current() && self.lives.load().life(&stored.site) == Some(*life);
        if wanted && memory.promote(digest, stored, is_current) {
            self.counters.promoted.fetch_add(1, Ordering::Relaxed);
            // Whoever removes the URL, or changes the site, does so here first and then in memory: what
            // came into memory too late to be removed there is removed by this.
            if !is_current() {
                memory.remove(digest, stored);
            }
        }
    }
}

/// Bytes that do not keep much more allocated than themselves: what was read has the head before the body.
fn apart(body: Bytes) -> Bytes {
    match body.len() < COPIED {
        true => Bytes::copy_from_slice(&body),
        false => body,
    }
}
