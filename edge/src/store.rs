//! The memory store: stored responses by resource, bounded in bytes together with the bodies in flight.
//!
//! One entry for each resource (cache key) holds all its variants, so that they are purged and
//! evicted together. An entry is never changed in place: a new one replaces it in one step.
//! Entries are removed by eviction or by purge, never by age: a stale response still serves
//! validation, stale-if-error and stale-while-revalidate.

mod below;
mod body;
mod digest;
mod fields;
mod forms;
mod key_locks;
mod loan;
mod map;
mod policy;
mod queues;
mod served;
mod shards;
mod sketch;
mod stored;
mod tags;
mod urls;
mod weight;

pub(crate) use below::{Below, BodyBelow, Kept, ReadingBelow};
pub(crate) use body::{Answered, SLICE, Slice, SliceRef, StoredBody};
pub(crate) use digest::{ByDigest, Digest, DigestSecret};
pub(crate) use fields::PackedHead;
pub(crate) use forms::{Form, Forms};
pub use policy::{MemoryPolicy, Usage};
pub(crate) use served::Served;
pub(crate) use stored::{KeyText, LONGEST_URL, Selecting, Stored, release_in, url_in, url_name_of};
pub(crate) use tags::Tags;
pub(crate) use urls::UrlHash;

use crate::byte_budget::Lender;
use http::HeaderMap;
use key_locks::KeyLocks;
use map::Map;
use std::ops::ControlFlow;
use std::sync::Arc;
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
    /// The same, and what lies below it has no room now.
    NoRoomBelow,
}

impl Insertion {
    /// Whether it is stored.
    pub(crate) fn is_stored(self) -> bool {
        self == Self::Stored
    }
}

/// The memory store.
pub(crate) struct Store {
    map: Arc<Map<Resource>>,
    variants: usize,
    urls: Urls,
    below: Option<Arc<dyn Below>>,
    keys: KeyLocks,
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
        Self {
            map: Arc::new(Map::new(memory.size, Resource::weight)),
            variants,
            urls: Urls::new(secret),
            below,
            keys: KeyLocks::default(),
        }
    }

    /// Who lends bytes of the store to bodies in flight.
    pub(crate) fn lender(&self) -> Arc<dyn Lender> {
        Arc::clone(&self.map) as Arc<dyn Lender>
    }

    /// All stored responses of a resource, for a request: the map counts it, whether there are any or
    /// not, and keeps what is requested most. `key` guards against a colliding digest.
    pub(crate) fn get(&self, digest: Digest, key: &[u8]) -> Option<Resource> {
        self.map.get(digest).filter(|resource| is_of(resource, key))
    }

    /// The same for a request that was counted already, or for none. A miss that counted three times
    /// would make every response that is stored look popular.
    pub(crate) fn get_again(&self, digest: Digest, key: &[u8]) -> Option<Resource> {
        self.map.peek(digest).filter(|resource| is_of(resource, key))
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
            let lock = self.keys.lock(digest);
            let held = self.get_again(digest, key);
            if !is_same(variants(&held), variants(&seen)) {
                seen = held;
                continue;
            }
            let Some(stored) = made else { return Insertion::Refused };
            let Some(put) = self.with(variants(&held), &stored) else { return Insertion::Refused };
            let kept = match &self.below {
                Some(below) => below.replaced(self.urls.hash_of(key), &stored),
                None => Kept::No,
            };
            let is_admitted = self.put(digest, key, put);
            drop(lock);
            let (is_kept, otherwise) = match kept {
                Kept::No => (false, Insertion::NotAdmitted),
                Kept::Refused => (false, Insertion::NoRoomBelow),
                Kept::Yes => (true, Insertion::Stored),
                Kept::Begun(rest) => (rest(), Insertion::NoRoomBelow),
            };
            return match is_admitted || is_kept {
                true => Insertion::Stored,
                false => otherwise,
            };
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
        let key = stored.key();
        let _lock = self.keys.lock(digest);
        let held = self.get_again(digest, key);
        let is_known = variants(&held).iter().any(|held| held.is_selected_like(stored));
        if is_known || !is_current() {
            return false;
        }
        let Some(put) = self.with(variants(&held), stored) else { return false };
        self.put(digest, key, put)
    }

    /// Whether this very response is stored.
    pub(crate) fn has(&self, digest: Digest, stored: &Arc<Stored>) -> bool {
        let held = self.get_again(digest, stored.key());
        variants(&held).iter().any(|held| Arc::ptr_eq(held, stored))
    }

    /// Has `change` make a stored response larger or smaller than it was, if it is still stored, and weighs it anew.
    /// Whether it was changed.
    pub(crate) fn grow(
        &self,
        digest: Digest,
        stored: &Arc<Stored>,
        change: impl FnOnce() -> bool,
    ) -> bool {
        let _lock = self.keys.lock(digest);
        let Some(held) = self.get_again(digest, stored.key()) else { return false };
        let is_held = held.variants().iter().any(|held| Arc::ptr_eq(held, stored));
        if !is_held || !change() {
            return false;
        }
        self.map.insert(digest, held);
        true
    }

    /// Puts a resource, and lists it if the map keeps it; whether it does.
    fn put(&self, digest: Digest, key: &[u8], resource: Resource) -> bool {
        let is_admitted = self.map.insert(digest, resource);
        if is_admitted {
            self.urls.list(digest, key, |digest| self.map.holds(digest));
        }
        is_admitted
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
        let _lock = self.keys.lock(digest);
        let held = self.get_again(digest, stored.key());
        let of_variant = variants(&held).iter().find(|held| held.is_selected_like(stored));
        let is_it = of_variant.is_some_and(|held| Arc::ptr_eq(held, stored));
        if is_it || of_variant.is_none() {
            self.remove_below(stored);
        }
        if is_it {
            let kept = variants(&held).iter().filter(|held| !Arc::ptr_eq(held, stored));
            self.leave(digest, kept.cloned().collect());
        }
    }

    /// Leaves these variants of a resource whose key is locked.
    fn leave(&self, digest: Digest, kept: Vec<Arc<Stored>>) {
        match Resource::new(kept) {
            Some(kept) => {
                self.map.insert(digest, kept);
            }
            None => self.map.remove(digest),
        }
    }

    fn remove_below(&self, stored: &Stored) {
        if let Some(below) = &self.below {
            below.removed(self.urls.hash_of(stored.key()), stored);
        }
    }

    /// Keeps the variants of a resource that `keep` accepts; returns how many were removed.
    pub(crate) fn retain(&self, digest: Digest, keep: impl Fn(&Arc<Stored>) -> bool) -> u64 {
        let _lock = self.keys.lock(digest);
        let Some(held) = self.map.peek(digest) else { return 0 };
        let all = held.variants().iter().cloned();
        let (kept, gone): (Vec<_>, Vec<_>) = all.partition(|held| keep(held));
        gone.iter().for_each(|gone| self.remove_below(gone));
        if !gone.is_empty() {
            self.leave(digest, kept);
        }
        gone.len() as u64
    }

    /// Shows `visitor` every resource, in no order, until it breaks. A resource that is inserted
    /// meanwhile may be missed. No lock is held: the visitor may take its time, and change the
    /// store.
    pub(crate) fn visit(
        &self,
        mut visitor: impl FnMut(Digest, &Resource) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.map.iter().try_for_each(|(digest, resource)| visitor(digest, &resource))
    }

    /// Takes back what it lent and bodies do not use. To be called about once a second.
    pub(crate) fn tidy(&self) {
        self.map.tidy();
    }

    /// Resources held.
    pub(crate) fn objects(&self) -> u64 {
        self.map.entries()
    }

    /// Bytes held. What is lent to bodies in flight is not among them.
    pub(crate) fn bytes(&self) -> u64 {
        self.map.bytes()
    }

    /// Resources evicted to make room since the start. One that was not admitted is none of them.
    pub(crate) fn evicted(&self) -> u64 {
        self.map.evicted()
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

#[cfg(test)]
mod tests;
