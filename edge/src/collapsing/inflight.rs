//! The running fills, by resource: where a request finds one to wait for, and a local
//! invalidation what it must mark.

use super::shared::{Answer, Fill};
use crate::store::{Digest, UrlHash};
use http::{HeaderMap, HeaderValue};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use weir_rules::vary;

/// Power of two, so that the digest's low bits choose a shard.
const SHARDS: usize = 64;

/// Fills by resource.
type Shard = HashMap<Digest, Vec<Arc<Fill>>>;

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

    /// Finds a fill that may serve `request`, else registers the one that `start` makes. The
    /// caller must run a registered fill, and [`Inflight::leave`] when it ends. `start` answers
    /// `None` when it finds that a fill has ended and stored its response since the lookup: a fill
    /// is stored before it leaves the list, so under the list's lock that is seen for certain.
    pub(crate) fn join_or_start(
        &self,
        digest: Digest,
        request: &HeaderMap,
        range: Option<&HeaderValue>,
        acceptable: impl Fn(&Fill) -> bool,
        start: impl FnOnce() -> Option<Arc<Fill>>,
    ) -> Collapse {
        let mut shard = self.shard(digest);
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

    /// Lists a fill that nobody may join, so that a local invalidation reaches it too.
    pub(crate) fn start_alone(&self, digest: Digest, fill: &Arc<Fill>) {
        self.shard(digest).entry(digest).or_default().push(Arc::clone(fill));
    }

    /// Takes an ended fill off the list.
    pub(crate) fn leave(&self, digest: Digest, fill: &Arc<Fill>) {
        let mut shard = self.shard(digest);
        if let Some(fills) = shard.get_mut(&digest) {
            fills.retain(|running| !Arc::ptr_eq(running, fill));
            if fills.is_empty() {
                shard.remove(&digest);
            }
        }
    }

    /// A local invalidation of a URL: the fills that run for it now, under whatever key, are neither
    /// stored nor joined.
    pub(crate) fn revoke(&self, url: UrlHash) {
        self.revoke_where(|fill| fill.purpose.url == url);
    }

    /// The same for all running fills.
    pub(crate) fn revoke_all(&self) {
        self.revoke_where(|_| true);
    }

    fn revoke_where(&self, is_revoked: impl Fn(&Fill) -> bool) {
        for shard in &self.shards {
            let shard = lock(shard);
            shard.values().flatten().filter(|fill| is_revoked(fill)).for_each(|fill| fill.revoke());
        }
    }

    /// The fills that run for a resource now.
    pub(crate) fn of(&self, digest: Digest) -> Vec<Arc<Fill>> {
        self.shard(digest).get(&digest).cloned().unwrap_or_default()
    }

    /// How many fills run.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).values().map(Vec::len).sum::<usize>()).sum()
    }

    fn shard(&self, digest: Digest) -> MutexGuard<'_, Shard> {
        // Truncation is meant: the digest is uniform.
        lock(&self.shards[digest as usize % SHARDS])
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
        Some(Ok(Answer::Validated { .. } | Answer::NotForEveryone(_)) | Err(_)) => false,
    }
}
