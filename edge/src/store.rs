//! The memory store: stored responses by resource, bounded in bytes.
//!
//! One entry for each resource (cache key) holds all its variants, so that they are purged and
//! evicted together. An entry is never changed in place: a new one replaces it in one step.
//! Entries are removed by eviction or by purge, never by age: a stale response still serves
//! validation, stale-if-error and stale-while-revalidate.

mod below;
mod body;
mod digest;
mod fields;
mod served;
mod stored;
mod tags;
mod urls;
mod weight;

pub(crate) use below::{Below, BodyBelow, Kept, ReadingBelow};
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
use weight::Unit;
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

    /// Bytes that it takes of `memory.size`.
    fn weight(&self) -> u64 {
        self.variants().iter().map(|stored| stored.weight()).sum()
    }
}

/// The outcome of storing a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Insertion {
    /// It is stored.
    Stored,
    /// Nothing was made to be stored, or a stored variant is later.
    Refused,
    /// The store is full, and what it holds is requested more often.
    NotAdmitted,
}

impl Insertion {
    /// Whether it is stored.
    pub(crate) fn is_stored(self) -> bool {
        self == Self::Stored
    }
}

/// The memory store.
pub(crate) struct Store {
    cache: Cache<Digest, Resource, BuildHasherDefault<DigestHasher>>,
    unit: Unit,
    /// Resources that the map removed or refused because it was full.
    displaced: Arc<AtomicU64>,
    /// Those of them that it refused.
    refused: AtomicU64,
    /// Bytes put since the map last settled: it decides later what it admits.
    undecided: AtomicU64,
    variants: usize,
    urls: Urls,
    below: Option<Arc<dyn Below>>,
}

impl Store {
    /// An empty store of `memory.size` bytes that keeps at most `variants` variants a resource, with
    /// what lies below it. URLs are hashed with `secret`.
    pub(crate) fn new(
        memory: &Memory,
        variants: usize,
        secret: &DigestSecret,
        below: Option<Arc<dyn Below>>,
    ) -> Self {
        let displaced = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&displaced);
        let unit = Unit::of(memory.size);
        let cache = Cache::builder()
            .max_capacity(unit.capacity(memory.size))
            .weigher(move |_, resource: &Resource| unit.weight(resource.weight()))
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build_with_hasher(BuildHasherDefault::default());
        Self {
            cache,
            unit,
            displaced,
            refused: AtomicU64::new(0),
            undecided: AtomicU64::new(0),
            variants,
            urls: Urls::new(secret),
            below,
        }
    }

    /// All stored responses of a resource. `key` guards against a colliding digest.
    pub(crate) fn get(&self, digest: Digest, key: &[u8]) -> Option<Resource> {
        self.cache.get(&digest).filter(|resource| is_of(resource, key))
    }

    /// Stores the response that `make` makes of the variants held of the resource, in place of
    /// those that it replaces. Nothing is stored if nothing is made, if a stored variant began its
    /// fetch under a higher seq (invariant I2), or if the store is full and what it holds is
    /// requested more often. `key` guards against a colliding digest.
    ///
    /// `make` runs without a lock and may take its time. It is called again whenever the variants
    /// changed meanwhile, so that of two responses made at once neither misses the other. The first
    /// call assumes that nothing is held, as is the case after a miss.
    pub(crate) fn insert_over(
        &self,
        digest: Digest,
        key: &[u8],
        mut make: impl FnMut(&[Arc<Stored>]) -> Option<Arc<Stored>>,
    ) -> Insertion {
        let mut seen: Option<Resource> = None;
        loop {
            let made = make(variants(&seen));
            let (mut changed, mut put) = (false, None);
            let mut kept = Kept::No;
            self.cache.entry(digest).and_compute_with(|entry| {
                let held = entry.map(|entry| entry.into_value()).filter(|held| is_of(held, key));
                changed = !is_same(variants(&held), variants(&seen));
                if changed {
                    seen = held;
                    return Op::Nop;
                }
                let Some(stored) = made else { return Op::Nop };
                put = self.with(variants(&held), &stored);
                if let (Some(_), Some(below)) = (&put, &self.below) {
                    kept = below.replaced(self.urls.hash_of(key), &stored);
                }
                put.clone().map_or(Op::Nop, Op::Put)
            });
            if let Some(put) = put {
                let is_kept = match kept {
                    Kept::No => false,
                    Kept::Yes => true,
                    Kept::Begun(rest) => rest(),
                };
                return match self.list(digest, key, &put) || is_kept {
                    true => Insertion::Stored,
                    false => Insertion::NotAdmitted,
                };
            }
            if !changed {
                return Insertion::Refused;
            }
        }
    }

    /// Stores a response that was read from below, if nothing of its variant came meanwhile: memory
    /// holds none, and `is_current` says that below it is as it was. Whether it is stored.
    pub(crate) fn promote(
        &self,
        digest: Digest,
        stored: &Arc<Stored>,
        is_current: impl Fn() -> bool,
    ) -> bool {
        let (key, mut put) = (stored.key(), None);
        self.cache.entry(digest).and_compute_with(|entry| {
            let held = entry.map(|entry| entry.into_value()).filter(|held| is_of(held, key));
            let is_known = variants(&held).iter().any(|held| held.is_selected_like(stored));
            if is_known || !is_current() {
                return Op::Nop;
            }
            put = self.with(variants(&held), stored);
            put.clone().map_or(Op::Nop, Op::Put)
        });
        put.is_some_and(|put| self.list(digest, key, &put))
    }

    /// Lists a resource that was just put, if the map keeps it; whether it does.
    fn list(&self, digest: Digest, key: &[u8], put: &Resource) -> bool {
        let admitted = self.admits(digest, put.weight());
        if admitted {
            self.urls.list(digest, key, |digest| self.cache.contains_key(&digest));
        }
        admitted
    }

    /// Whether the map keeps a resource of so many bytes that was just put. It decides that later;
    /// where it may refuse it, it is made to decide now.
    fn admits(&self, digest: Digest, bytes: u64) -> bool {
        let undecided = self.undecided.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let most = self.cache.policy().max_capacity().unwrap_or(u64::MAX);
        let used = self.cache.weighted_size().saturating_add(self.unit.units(undecided));
        if used < most {
            return true;
        }
        self.tidy();
        let admitted = self.cache.contains_key(&digest);
        if !admitted {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// The resource with `stored` among the variants `held`; `None` if one of them is later.
    fn with(&self, held: &[Arc<Stored>], stored: &Arc<Stored>) -> Option<Resource> {
        let later = |old: &Stored| old.is_selected_like(stored) && old.filled_at > stored.filled_at;
        if held.iter().any(|old| later(old)) {
            return None;
        }
        let kept = held.iter().filter(|old| !stored.is_selected_like(old)).cloned();
        let variants = std::iter::once(Arc::clone(stored)).chain(kept).take(self.variants);
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

    /// Removes one stored response, unless another one took its place.
    pub(crate) fn remove(&self, digest: Digest, stored: &Arc<Stored>) {
        self.cache.entry(digest).and_compute_with(|entry| {
            let held = entry.map(|entry| entry.into_value());
            let held = held.filter(|held| is_of(held, stored.key()));
            let of_variant = variants(&held).iter().find(|held| held.is_selected_like(stored));
            let is_it = of_variant.is_some_and(|held| Arc::ptr_eq(held, stored));
            if is_it || of_variant.is_none() {
                self.remove_below(stored);
            }
            if !is_it {
                return Op::Nop;
            }
            let kept = variants(&held).iter().filter(|held| !Arc::ptr_eq(held, stored));
            Resource::new(kept.cloned().collect()).map_or(Op::Remove, Op::Put)
        });
    }

    fn remove_below(&self, stored: &Stored) {
        if let Some(below) = &self.below {
            below.removed(self.urls.hash_of(stored.key()), stored);
        }
    }

    /// Keeps the variants of a resource that `keep` accepts; returns how many were removed.
    pub(crate) fn retain(&self, digest: Digest, keep: impl Fn(&Arc<Stored>) -> bool) -> u64 {
        let mut removed = 0;
        self.cache.entry(digest).and_compute_with(|entry| {
            let Some(held) = entry.map(|entry| entry.into_value()) else { return Op::Nop };
            let all = held.variants().iter().cloned();
            let (kept, gone): (Vec<_>, Vec<_>) = all.partition(|held| keep(held));
            gone.iter().for_each(|gone| self.remove_below(gone));
            removed = gone.len() as u64;
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
        self.undecided.store(0, Ordering::Relaxed);
        self.cache.run_pending_tasks();
    }

    /// Resources held, as of the last call of [`Store::tidy`].
    pub(crate) fn objects(&self) -> u64 {
        self.cache.entry_count()
    }

    /// Bytes held, as of the same call.
    pub(crate) fn bytes(&self) -> u64 {
        self.unit.bytes(self.cache.weighted_size())
    }

    /// Resources evicted to make room since the start. One that was not admitted is none of them.
    pub(crate) fn evicted(&self) -> u64 {
        let refused = self.refused.load(Ordering::Relaxed);
        self.displaced.load(Ordering::Relaxed).saturating_sub(refused)
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
