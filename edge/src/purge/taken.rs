//! What lookups find purged before the housekeeper does: by the time it comes by, a popular
//! response has been replaced, and the purge would seem to have taken nothing.

use super::popular::Popular;
use crate::store::{KeyText, Stored};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use weir_rules::invalidation::{Seq, Subject, Tally, Validity};

/// Responses noted at once; more are left to the walk.
const MOST: usize = 1 << 14;

/// Stored responses that purges took, until they are counted. Each purge counts a response once,
/// whoever finds it first.
#[derive(Debug, Default)]
pub(crate) struct Taken(Mutex<Vec<Found>>);

/// What of a stored response is needed to count it, and by which purges it was taken.
#[derive(Debug)]
struct Found {
    key: Box<[u8]>,
    site: Arc<str>,
    tags: Vec<Box<str>>,
    filled_at: Seq,
    /// Answers from the store.
    hits: u32,
    /// Purges up to here have counted it.
    since: Seq,
    /// The last purge that may have taken it.
    until: Seq,
}

impl Taken {
    /// Notes a response that a hard purge took, when everything up to `applied` was applied.
    pub(crate) fn hard(&self, stored: &Stored, applied: Seq) {
        if stored.served.is_taken() {
            return;
        }
        let mut found = self.lock();
        if found.len() < MOST && stored.served.take() {
            found.push(Found::of(stored, stored.soft_at.load(Ordering::Relaxed), applied));
        }
    }

    /// Notes a response that a soft purge took, the last of those with this seq.
    pub(crate) fn soft(&self, stored: &Stored, seq: Seq) {
        if stored.soft_at.load(Ordering::Relaxed) >= seq {
            return;
        }
        let mut found = self.lock();
        let before = stored.soft_at.fetch_max(seq, Ordering::Relaxed);
        if before < seq && found.len() < MOST {
            found.push(Found::of(stored, before, seq));
        }
    }

    /// Has `purges` count what was noted; what purges after `last` may have taken stays noted.
    pub(crate) fn settle(&self, purges: &mut Tally, last: Seq, popular: &Popular) {
        let mut found = std::mem::take(&mut *self.lock());
        found.retain_mut(|found| {
            let (since, until) = (found.since, found.until);
            let gone = found.with_subject(|subject| {
                purges.count(subject, since, until);
                popular.note(subject, &found.key, found.hits);
                matches!(purges.validity(subject), Validity::Hard(_))
            });
            found.since = since.max(last);
            !gone && until > last
        });
        if !found.is_empty() {
            self.lock().append(&mut found);
        }
    }

    /// Forgets what purges up to `walked` took.
    pub(crate) fn forget(&self, walked: Seq) {
        self.lock().retain(|found| found.until > walked);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Found>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    fn of(stored: &Stored, since: Seq, until: Seq) -> Self {
        Self {
            key: stored.key().into(),
            site: Arc::clone(&stored.site),
            tags: stored.tags.to_vec(),
            filled_at: stored.filled_at,
            hits: stored.plain_hits(),
            since,
            until,
        }
    }

    fn with_subject<T>(&self, judge: impl FnOnce(&Subject<'_>) -> T) -> T {
        let tags: Vec<&str> = self.tags.iter().map(|tag| &**tag).collect();
        judge(&KeyText::of(&self.key).subject(&self.site, &tags, self.filled_at))
    }
}
