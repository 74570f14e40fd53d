//! The memory store: stored responses by resource, bounded in bytes.
//!
//! One entry for each resource (cache key) holds all its variants, so that they are purged and
//! evicted together. An entry is never changed in place: a new one replaces it in one step.
//! Entries are removed by eviction or by purge, never by age: a stale response still serves
//! validation, stale-if-error and stale-while-revalidate.

mod body;
mod digest;
mod fields;
mod served;
mod stored;
mod tags;
mod urls;
mod weight;

pub(crate) use body::{SLICE, Slice, SliceRef, StoredBody};
pub(crate) use digest::{Digest, DigestSecret};
pub(crate) use fields::PackedHead;
pub(crate) use served::Served;
pub(crate) use stored::{
    Answered, KeyText, LONGEST_URL, Selecting, Stored, release_in, url_in, url_name_of,
};
pub(crate) use tags::Tags;
pub(crate) use urls::UrlHash;

use http::HeaderMap;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::sync::Cache;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use urls::Urls;
use weir_config::Memory;

/// Stored responses of one resource, newest first.
#[derive(Clone, Debug)]
pub(crate) enum Resource {
    /// The common case.
    One(Arc<Stored>),
    /// Several variants (RFC 9111 §4.1).
    Many(Arc<[Arc<Stored>]>),
}

impl Resource {
    fn new(mut variants: Vec<Arc<Stored>>) -> Option<Self> {
        match variants.len() {
            0 => None,
            1 => variants.pop().map(Self::One),
            _ => Some(Self::Many(variants.into())),
        }
    }

    /// All variants, newest first.
    pub(crate) fn variants(&self) -> &[Arc<Stored>] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    fn weight(&self) -> u32 {
        let bytes: u64 = self.variants().iter().map(|stored| stored.weight()).sum();
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

/// The memory store.
pub(crate) struct Store {
    cache: Cache<Digest, Resource, BuildHasherDefault<DigestHasher>>,
    evicted: Arc<AtomicU64>,
    variants: usize,
    urls: Urls,
}

impl Store {
    /// An empty store of `memory.size` bytes that keeps at most `variants` variants a resource.
    pub(crate) fn new(memory: &Memory, variants: usize) -> Self {
        let evicted = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&evicted);
        let cache = Cache::builder()
            .max_capacity(memory.size)
            .weigher(|_, resource: &Resource| resource.weight())
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build_with_hasher(BuildHasherDefault::default());
        Self { cache, evicted, variants, urls: Urls::default() }
    }

    /// All stored responses of a resource. `key` guards against a colliding digest.
    pub(crate) fn get(&self, digest: Digest, key: &[u8]) -> Option<Resource> {
        self.cache.get(&digest).filter(|resource| is_of(resource, key))
    }

    /// Stores the response that `make` makes of the variants held of the resource, in place of
    /// those that it replaces. Refused (`false`) if nothing is made, or if a stored variant began
    /// its fetch under a higher seq (invariant I2). `key` guards against a colliding digest.
    ///
    /// `make` runs without a lock and may take its time. It is called again whenever the variants
    /// changed meanwhile, so that of two responses made at once neither misses the other. The first
    /// call assumes that nothing is held, as is the case after a miss.
    pub(crate) fn insert_over(
        &self,
        digest: Digest,
        key: &[u8],
        mut make: impl FnMut(&[Arc<Stored>]) -> Option<Arc<Stored>>,
    ) -> bool {
        let mut seen: Option<Resource> = None;
        loop {
            let made = make(variants(&seen));
            let (mut changed, mut inserted) = (false, false);
            self.cache.entry(digest).and_compute_with(|entry| {
                let held = entry.map(|entry| entry.into_value()).filter(|held| is_of(held, key));
                changed = !is_same(variants(&held), variants(&seen));
                if changed {
                    seen = held;
                    return Op::Nop;
                }
                let Some(stored) = made else { return Op::Nop };
                let put = self.with(variants(&held), stored);
                inserted = put.is_some();
                put.map_or(Op::Nop, Op::Put)
            });
            if inserted {
                self.urls.list(digest, key, |digest| self.cache.contains_key(&digest));
            }
            if !changed {
                return inserted;
            }
        }
    }

    /// The resource with `stored` among the variants `held`; `None` if one of them is later.
    fn with(&self, held: &[Arc<Stored>], stored: Arc<Stored>) -> Option<Resource> {
        let later =
            |old: &Stored| old.is_selected_like(&stored) && old.filled_at > stored.filled_at;
        if held.iter().any(|old| later(old)) {
            return None;
        }
        let kept = held.iter().filter(|old| !stored.is_selected_like(old)).cloned();
        let variants = std::iter::once(Arc::clone(&stored)).chain(kept).take(self.variants);
        Resource::new(variants.collect())
    }

    /// The hash of the URL that a key has, whatever its scheme and its extras.
    pub(crate) fn url_of(&self, key: &[u8]) -> UrlHash {
        self.urls.hash_of(key)
    }

    /// The hash of a URL by its name ([`weir_rules::invalidation::url_name`]).
    pub(crate) fn url_named(&self, name: &str) -> UrlHash {
        self.urls.hash(name)
    }

    /// The keys of a URL that are not just a scheme and its name.
    pub(crate) fn keys_of(&self, url: UrlHash) -> Vec<Digest> {
        self.urls.of(url)
    }

    /// Removes one stored response, if it is still there.
    pub(crate) fn remove(&self, digest: Digest, stored: &Arc<Stored>) {
        self.retain(digest, |held| !Arc::ptr_eq(held, stored));
    }

    /// Keeps the variants of a resource that `keep` accepts; returns how many were removed.
    pub(crate) fn retain(&self, digest: Digest, keep: impl Fn(&Arc<Stored>) -> bool) -> u64 {
        let mut removed = 0;
        self.cache.entry(digest).and_compute_with(|entry| {
            let Some(held) = entry.map(|entry| entry.into_value()) else { return Op::Nop };
            let kept: Vec<_> = held.variants().iter().filter(|held| keep(held)).cloned().collect();
            removed = (held.variants().len() - kept.len()) as u64;
            match removed {
                0 => Op::Nop,
                _ => Resource::new(kept).map_or(Op::Remove, Op::Put),
            }
        });
        removed
    }

    /// Shows `visitor` every resource, in no order, until it breaks. A resource that is inserted
    /// meanwhile may be missed. No lock is held: the visitor may take its time, and change the
    /// store.
    pub(crate) fn visit(
        &self,
        mut visitor: impl FnMut(Digest, &Resource) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.cache.iter().try_for_each(|(digest, resource)| visitor(*digest, &resource))
    }

    /// Does the evictions that the map deferred. To be called about once a second, because an idle
    /// map does nothing by itself.
    pub(crate) fn tidy(&self) {
        self.cache.run_pending_tasks();
    }

    /// Resources held, as of the last call of [`Store::tidy`].
    pub(crate) fn objects(&self) -> u64 {
        self.cache.entry_count()
    }

    /// Bytes held, as of the same call.
    pub(crate) fn bytes(&self) -> u64 {
        self.cache.weighted_size()
    }

    /// Resources evicted to make room since the start.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

fn variants(resource: &Option<Resource>) -> &[Arc<Stored>] {
    resource.as_ref().map_or(&[], Resource::variants)
}

fn is_same(a: &[Arc<Stored>], b: &[Arc<Stored>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}

fn is_of(resource: &Resource, key: &[u8]) -> bool {
    resource.variants().first().is_some_and(|stored| stored.key() == key)
}

/// The variants that a request selects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selected<'a> {
    /// The one to use.
    pub(crate) best: &'a Arc<Stored>,
    /// A newer one without Vary, for the case that the best one must not be used. An older one would
    /// be one that the best one superseded.
    pub(crate) newer: Option<&'a Arc<Stored>>,
}

/// Selects among `variants`, newest first, for a request: the newest one whose Vary matches, if
/// there is one, else the one without Vary (RFC 9111 §4.1). An origin that omits Vary from some of
/// its responses must not hide the others.
pub(crate) fn select<'a>(variants: &'a [Arc<Stored>], request: &HeaderMap) -> Option<Selected<'a>> {
    let mut newer = None;
    for stored in variants {
        if stored.selecting.is_none() {
            newer = newer.or(Some(stored));
        } else if stored.selected_by(request) {
            return Some(Selected { best: stored, newer });
        }
    }
    newer.map(|best| Selected { best, newer: None })
}

/// The digest is a keyed hash already; hashing it again would be waste.
#[derive(Default)]
pub(crate) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = self.0.rotate_left(31) ^ u64::from_le_bytes(word);
        }
    }

    fn write_u128(&mut self, digest: u128) {
        // Truncation is meant: either half is as good as the whole.
        self.0 = digest as u64;
    }
}

#[cfg(test)]
mod tests;
