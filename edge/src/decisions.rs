//! Why URLs were not stored, as long as that is remembered: for hit-for-miss (an uncacheable URL
//! must not have its requests wait for one another), for `explain`, and for the list of what was
//! recently not stored ([`recent`]). Bounded in number. No hit comes here.

mod recent;

pub(crate) use recent::About;

use crate::error::UpstreamError;
use crate::metrics::SiteSlot;
use crate::store::{ByDigest, Digest};
use http::StatusCode;
use moka::sync::Cache;
use recent::Recent;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use weir_protocol::question::NotStored;
use weir_protocol::search::Search;
use weir_rules::storability::Reason;
use weir_rules::time::Time;

/// The last decision not to store a resource.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    /// Why.
    pub(crate) why: Why,
    /// The upstream's status, when there was one.
    pub(crate) status: Option<StatusCode>,
    /// When.
    pub(crate) at: Time,
}

/// Why a response is not in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// A rule of caching forbids it.
    Rule(Reason),
    /// It is larger than what memory and disk take, or than a rule of the site allows; the bound, in bytes.
    TooLarge(u64),
    /// Too many bodies were being stored at the same time.
    NoRoom,
    /// The disk store does not take a body that memory cannot hold.
    NoRoomOnDisk,
    /// Too many of the bytes that were being stored at the same time were of one client.
    NoRoomForClient,
    /// A field's value is longer than the store takes.
    FieldTooLong,
    /// The fetch failed.
    Failed(UpstreamError),
    /// It was purged, or invalidated by an unsafe request, or its site got another configuration,
    /// while it was being fetched.
    Overtaken,
    /// The store is full, and what it holds is requested more often.
    NotAdmitted,
    /// The answer to the anonymous request for a static asset, of this status, is not one for
    /// everyone.
    NotForEveryone(StatusCode),
}

impl Why {
    /// A stable word, kebab-case.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Rule(reason) => reason.word(),
            Self::TooLarge(_) => "too-large",
            Self::NoRoom | Self::NoRoomOnDisk => "no-room",
            Self::NoRoomForClient => "no-room-for-client",
            Self::FieldTooLong => "field-too-long",
            Self::Failed(error) => error.word(),
            Self::Overtaken => "overtaken",
            Self::NotAdmitted => "not-admitted",
            Self::NotForEveryone(_) => "not-for-everyone",
        }
    }

    /// A sentence for people.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Rule(reason) => reason.sentence(),
            Self::TooLarge(bound) => {
                format!("The body is larger than max_object of memory, of the disk or of a rule ({bound} bytes).")
            }
            Self::NoRoom => "Too many bodies were being stored at the same time.".to_owned(),
            Self::NoRoomOnDisk => {
                "The disk store could not take it: disk.queue was full, or a directory is set aside."
                    .to_owned()
            }
            Self::NoRoomForClient => {
                "Too much of what was being stored at the same time was requested by one client."
                    .to_owned()
            }
            Self::FieldTooLong => {
                "A header of the response is longer than 65,535 bytes.".to_owned()
            }
            Self::Failed(error) => format!("The fetch failed: {error}."),
            Self::Overtaken => {
                "It was purged, or invalidated by an unsafe request, or the site's configuration \
                 changed, while it was being fetched."
                    .to_owned()
            }
            Self::NotAdmitted => {
                "The store is full, and what it holds is requested more often.".to_owned()
            }
            Self::NotForEveryone(status) => format!(
                "The origin answered a request for this file without cookies and personal headers \
                 with status {}, or with a response that clients cannot share. Requests with such \
                 headers go to the origin (anonymous_assets).",
                status.as_u16()
            ),
        }
    }

    /// Whether the next request would meet the same, whoever sends it, so that requests must not
    /// wait for one another. What the client's own fields caused says nothing about others.
    fn lasts(&self) -> bool {
        match self {
            Self::Rule(
                Reason::Authorization | Reason::CookieWithoutFreshness | Reason::PartialContent(_),
            ) => false,
            // An origin's bad moment; what it will say next is open, and one request may ask.
            Self::Rule(Reason::Status(status))
                if status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS =>
            {
                false
            }
            Self::Rule(_) | Self::TooLarge(_) => true,
            // Kept apart: it concerns only requests that are not anonymous.
            Self::NotForEveryone(_) => false,
            Self::FieldTooLong
            | Self::NoRoom
            | Self::NoRoomOnDisk
            | Self::NoRoomForClient
            | Self::Failed(_)
            | Self::Overtaken
            | Self::NotAdmitted => false,
        }
    }
}

/// What is remembered by resource.
type ByResource<V> = Cache<Digest, V, ByDigest>;

/// The decisions remembered.
pub(crate) struct Decisions {
    cache: ByResource<Arc<Decision>>,
    /// When the anonymous request for a static asset last got a response that is not for everyone.
    not_for_everyone: ByResource<Time>,
    /// The resources whose upstream last answered a Range with a part.
    ranges: ByResource<()>,
    /// When a resource was last found not to be one that is stored in slices.
    not_in_slices: ByResource<Time>,
    hit_for_miss: u64,
    recent: Mutex<Recent>,
}

impl Decisions {
    /// Remembers at most `count`; hit-for-miss holds for `hit_for_miss`.
    pub(crate) fn new(count: usize, hit_for_miss: Duration) -> Self {
        let hit_for_miss = u64::try_from(hit_for_miss.as_millis()).unwrap_or(u64::MAX);
        Self {
            cache: bounded(count),
            not_for_everyone: bounded(count),
            ranges: bounded(count),
            not_in_slices: bounded(count),
            hit_for_miss,
            recent: Mutex::default(),
        }
    }

    /// Remembers a decision.
    pub(crate) fn note(&self, about: &About<'_>, decision: Decision) {
        let decision = Arc::new(decision);
        self.recent().note(about, &decision);
        if let Why::NotForEveryone(_) = decision.why {
            self.not_for_everyone.insert(about.digest, decision.at);
        }
        self.cache.insert(about.digest, decision);
    }

    /// It was stored after all.
    pub(crate) fn forget(&self, digest: Digest) {
        // Most have none, which is found out for less.
        if self.cache.contains_key(&digest) {
            self.cache.invalidate(&digest);
        }
        self.recent().forget(digest);
    }

    /// The last decision about a resource.
    pub(crate) fn of(&self, digest: Digest) -> Option<Arc<Decision>> {
        self.cache.get(&digest)
    }

    /// Why requests for a resource are to go on alone, if they are.
    pub(crate) fn hit_for_miss(&self, digest: Digest, now: Time) -> Option<&'static str> {
        let decision = self.of(digest)?;
        let recent = now.millis_since(decision.at) < self.hit_for_miss;
        (decision.why.lasts() && recent).then(|| decision.why.word())
    }

    /// Whether requests for a static asset that are not anonymous are to be passed on: an anonymous
    /// one got a response that is not for everyone.
    pub(crate) fn is_not_for_everyone(&self, digest: Digest, now: Time) -> bool {
        let at = self.not_for_everyone.get(&digest);
        at.is_some_and(|at| now.millis_since(at) < self.hit_for_miss)
    }

    /// Remembers whether a Range was answered with a part.
    pub(crate) fn note_range(&self, digest: Digest, is_part: bool) {
        match is_part {
            true => self.ranges.insert(digest, ()),
            false => self.ranges.invalidate(&digest),
        }
    }

    /// Whether a Range was last answered with a part.
    pub(crate) fn answers_ranges(&self, digest: Digest) -> bool {
        self.ranges.contains_key(&digest)
    }

    /// Remembers that a resource is not stored in slices, so that ranges of it are asked for as they came.
    pub(crate) fn note_not_in_slices(&self, digest: Digest, now: Time) {
        self.not_in_slices.insert(digest, now);
    }

    /// Whether ranges of a resource are to be asked for as they came.
    pub(crate) fn is_not_in_slices(&self, digest: Digest, now: Time) -> bool {
        let at = self.not_in_slices.get(&digest);
        at.is_some_and(|at| now.millis_since(at) < self.hit_for_miss)
    }

    /// How often nothing was stored, by reason: every reason there is.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        self.recent().counts()
    }

    /// What was recently not stored, with at most `most` URLs that `search` finds, of the sites that are
    /// counted and named so.
    pub(crate) fn told(
        &self,
        most: usize,
        search: &Search,
        now: Time,
        is_counted: impl Fn(SiteSlot) -> bool,
        is_named: impl Fn(&str) -> bool,
    ) -> NotStored {
        self.recent().told(most, search, now, is_counted, is_named)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bounded<V: Clone + Send + Sync + 'static>(count: usize) -> ByResource<V> {
    Cache::builder().max_capacity(count as u64).build_with_hasher(ByDigest::default())
}
