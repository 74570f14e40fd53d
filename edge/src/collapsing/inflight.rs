//! The running fills, by URL and resource: where a request finds one to wait for, and a local
//! invalidation what it must mark.

use super::shared::{Answer, Fill, SliceName};
use crate::store::{ByDigest, Digest, UrlHash};
use http::{HeaderMap, HeaderValue};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use weir_rules::vary;

/// Power of two, so that the low bits of the URL's hash choose a shard: all fills of a URL are in one.
const SHARDS: usize = 64;

/// Fills by resource.
type Shard = HashMap<Digest, Vec<Arc<Fill>>, ByDigest>;

/// All running fills.
#[derive(Debug)]
pub(crate) struct Inflight {
    shards: Box<[Mutex<Shard>]>,
}

impl Inflight {
    /// None running.
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// Finds a fill of this URL and resource that may serve `request`, else registers the one that `start`
    /// makes. The caller must run a registered fill, and [`Inflight::leave`] when it ends. `start` answers
    /// `None` when it finds that a fill has ended and stored its response since the lookup: a fill
    /// is stored before it leaves the list, so under the list's lock that is seen for certain.
    pub(crate) fn join_or_start(
        &self,
        (url, digest): (UrlHash, Digest),
        request: &HeaderMap,
        range: Option<&HeaderValue>,
        acceptable: impl Fn(&Fill) -> bool,
        start: impl FnOnce() -> Option<Arc<Fill>>,
    ) -> Collapse {
        let mut shard = self.shard(url);
        let fills = shard.entry(digest).or_default();
        let found = fills.iter().rev().find_map(|fill| {
            let fits = may_serve(fill, request, range) && acceptable(fill);
            fits.then(|| fill.join()).flatten()
        });
        if let Some(reader) = found {
            return Collapse::Joined(reader);
        }
        let Some(fill) = start() else {
            if fills.is_empty() {
                shard.remove(&digest);
            }
            return Collapse::Stored;
        };
        fills.push(Arc::clone(&fill));
        Collapse::Started(fill)
    }

    /// Finds the fill that fetches a slice, else registers the one that `start` makes, which the caller must run.
    pub(crate) fn slice(
        &self,
        (url, digest): (UrlHash, Digest),
        name: SliceName,
        start: impl FnOnce() -> Arc<Fill>,
    ) -> Collapse {
        let mut shard = self.shard(url);
        let fills = shard.entry(digest).or_default();
        let mut running = fills.iter().filter(|fill| is_of_slice(fill, name));
        if let Some(reader) = running.find_map(|fill| fill.join()) {
            return Collapse::Joined(reader);
        }
        let fill = start();
        fills.push(Arc::clone(&fill));
        Collapse::Started(fill)
    }

    /// Registers a fetch of a slice that nobody waits for yet, unless one runs.
    pub(crate) fn slice_ahead(
        &self,
        (url, digest): (UrlHash, Digest),
        name: SliceName,
        start: impl FnOnce() -> Arc<Fill>,
    ) {
        let mut shard = self.shard(url);
        let fills = shard.entry(digest).or_default();
        if !fills.iter().any(|fill| is_of_slice(fill, name)) {
            fills.push(start());
        }
    }

    /// Lists a fill that nobody may join, so that a local invalidation reaches it too.
    pub(crate) fn start_alone(&self, digest: Digest, fill: &Arc<Fill>) {
        let mut shard = self.shard(fill.purpose.url);
        shard.entry(digest).or_default().push(Arc::clone(fill));
    }

    /// Takes an ended fill off the list.
    pub(crate) fn leave(&self, digest: Digest, fill: &Arc<Fill>) {
        let mut shard = self.shard(fill.purpose.url);
        if let Some(fills) = shard.get_mut(&digest) {
            fills.retain(|running| !Arc::ptr_eq(running, fill));
            if fills.is_empty() {
                shard.remove(&digest);
            }
        }
    }

    /// A local invalidation of a URL: the fills that run for it now, under whatever key, are neither
    /// stored nor joined. Where one is being stored at this moment, waits until it has removed that.
    pub(crate) fn revoke(&self, url: UrlHash) {
        let mut revoked = Vec::new();
        for fill in self.shard(url).values().flatten().filter(|fill| fill.purpose.url == url) {
            fill.revoke();
            revoked.push(Arc::clone(fill));
        }
        for fill in revoked {
            fill.storing(|| {});
        }
    }

    /// Revokes all running fills. Waits for none.
    pub(crate) fn revoke_all(&self) {
        for shard in &self.shards {
            lock(shard).values().flatten().for_each(|fill| fill.revoke());
        }
    }

    /// The fills that run for a resource of a URL now.
    pub(crate) fn of(&self, (url, digest): (UrlHash, Digest)) -> Vec<Arc<Fill>> {
        self.shard(url).get(&digest).cloned().unwrap_or_default()
    }

    /// How many fills run.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).values().map(Vec::len).sum::<usize>()).sum()
    }

    fn shard(&self, url: UrlHash) -> MutexGuard<'_, Shard> {
        // Truncation is meant: the hash is uniform.
        lock(&self.shards[url as usize % SHARDS])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The outcome of request collapsing for one request.
#[derive(Debug)]
pub(crate) enum Collapse {
    /// It waits on, and reads from, a fill that was running.
    Joined(super::shared::Reader),
    /// It has the duty to run this one.
    Started(Arc<Fill>),
    /// What it wants was stored a moment ago.
    Stored,
}

fn is_of_slice(fill: &Fill, name: SliceName) -> bool {
    fill.purpose.slice == Some(name) && !fill.is_revoked()
}

/// Whether a fill's answer may turn out to be for this request. Before its head is known that is
/// a hope, which the request checks again when the head is there.
fn may_serve(fill: &Fill, request: &HeaderMap, range: Option<&HeaderValue>) -> bool {
    if fill.purpose.alone || fill.is_revoked() {
        return false;
    }
    let same = fill.purpose.asks_what(request, range);
    match fill.answer() {
        // A request for the whole gains nothing from a part; one for another range may be answered
        // with the whole, if the origin ignores Range.
        None if !same && range.is_none() => false,
        None => fill.purpose.expects.as_ref().is_none_or(|expects| {
            vary::selecting_values(&expects.fields, request) == expects.values
        }),
        Some(Ok(Answer::Response(head))) => {
            head.terms.is_ok() && head.selected_by(request) && (same || head.is_whole())
        }
        Some(
            Ok(Answer::Stored { .. } | Answer::NotForEveryone(_) | Answer::NoSlice(_)) | Err(_),
        ) => false,
    }
}
