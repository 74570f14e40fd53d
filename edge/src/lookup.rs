//! Key -> variant -> what may be done with it now. No I/O, no await.

use crate::parts::{self, AvailableBytes};
use crate::purge::Purges;
use crate::state::{NodeState, Site};
use crate::store::{Digest, Resource, Selecting, Store, Stored, select};
use http::{HeaderMap, HeaderValue, header};
use std::sync::Arc;
use weir_rules::cache_control::RequestDirectives;
use weir_rules::freshness::State;
use weir_rules::invalidation::{Seq, Validity};
use weir_rules::range::{self, Requested};
use weir_rules::time::Time;
use weir_rules::validation;
use weir_rules::vary;

/// What the store offers a request.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// A stored response that may be sent as it is.
    Fresh {
        /// It.
        stored: Arc<Stored>,
        /// Whether it should be refreshed ahead of its end.
        early: bool,
    },
    /// A stored response that may be sent only as `stale` allows.
    Stale {
        /// It.
        stored: Arc<Stored>,
        /// What it may still be used for.
        stale: Stale,
    },
    /// A fresh part of the representation which does not hold what is asked.
    Partial(Arc<Stored>),
    /// Nothing stored for this URL.
    UriMiss,
    /// Something is stored, but not for these selecting fields; they are those known.
    VaryMiss(Selecting),
}

impl Lookup {
    /// The stored response that the request selected.
    pub(crate) fn stored(&self) -> Option<&Arc<Stored>> {
        match self {
            Self::Fresh { stored, .. } | Self::Stale { stored, .. } | Self::Partial(stored) => {
                Some(stored)
            }
            Self::UriMiss | Self::VaryMiss(_) => None,
        }
    }
}

/// What a stale stored response may still be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stale {
    /// Sent while it is refreshed (RFC 5861 §3).
    pub(crate) while_revalidating: bool,
    /// Sent when the origin answers 5xx (RFC 5861 §4).
    pub(crate) on_error: bool,
    /// Sent when the origin cannot be reached (RFC 9111 §4.2.4).
    pub(crate) on_disconnect: bool,
    /// Validated.
    pub(crate) validates: bool,
    /// The client's own Cache-Control, not age, made it unusable as it is.
    pub(crate) by_request: bool,
}

/// The question to the lookup.
pub(crate) struct Query<'a> {
    /// The resource.
    pub(crate) digest: Digest,
    /// Its key.
    pub(crate) key: &'a [u8],
    /// The request's fields.
    pub(crate) request: &'a HeaderMap,
    /// Now.
    pub(crate) now: Time,
    /// The client's directives, where the site honours them.
    pub(crate) client: Option<&'a RequestDirectives>,
    /// Seconds past its lifetime that a response may be sent while its origin cannot be reached.
    pub(crate) when_unreachable: u32,
    /// Whether nothing stale may be sent: nodes are answered fresh or not at all.
    pub(crate) fresh_only: bool,
    /// What began to be fetched below it is not even to be validated; 0 is no bound.
    pub(crate) least: Seq,
    /// Whether nothing may be sent unvalidated: control is lost (invariant I5).
    pub(crate) validate: bool,
}

impl<'a> Query<'a> {
    /// What a client without cache directives asks, now. Those of others are made from it.
    pub(crate) fn new(
        state: &NodeState,
        site: &Site,
        digest: Digest,
        key: &'a [u8],
        request: &'a HeaderMap,
    ) -> Self {
        let now = state.now();
        Self {
            digest,
            key,
            request,
            now,
            client: None,
            when_unreachable: site.config.stale_when_unreachable,
            fresh_only: false,
            least: 0,
            validate: state.lease.validates(now),
        }
    }
}

/// Looks a request up.
pub(crate) fn lookup(store: &Store, purges: &Purges, query: &Query<'_>) -> Lookup {
    lookup_in(store.get(query.digest, query.key), purges, query)
}

/// Looks a request up once more ([`Store::get_again`]).
pub(crate) fn lookup_again(store: &Store, purges: &Purges, query: &Query<'_>) -> Lookup {
    lookup_in(store.get_again(query.digest, query.key), purges, query)
}

fn lookup_in(resource: Option<Resource>, purges: &Purges, query: &Query<'_>) -> Lookup {
    let Some(resource) = resource else { return Lookup::UriMiss };
    lookup_among(resource.variants(), purges, query)
}

/// Looks a request up among these variants of its resource, newest first.
pub(crate) fn lookup_among(variants: &[Arc<Stored>], purges: &Purges, query: &Query<'_>) -> Lookup {
    let Some(selected) = select(variants, query.request) else {
        let known = variants.iter().find_map(|stored| stored.selecting.as_ref());
        return known.map_or(Lookup::UriMiss, |known| {
            let values = vary::selecting_values(&known.fields, query.request);
            Lookup::VaryMiss(Selecting { fields: known.fields.clone(), values })
        });
    };
    let candidates = [Some(selected.best), selected.newer];
    let mut usable = candidates.into_iter().flatten();
    let usable = usable.find_map(|stored| Some((stored, may_be_used(purges, query, stored)?)));
    let Some((stored, soft)) = usable else { return Lookup::UriMiss };
    let stored = Arc::clone(stored);
    let state = stored.freshness.state(query.now);
    if !soft
        && !query.validate
        && let State::Fresh { left } = state
        && client_accepts(query, &stored, left)
    {
        return if holds_what_is_asked(&stored, query.request) {
            Lookup::Fresh { early: stored.freshness.in_last_tenth(query.now), stored }
        } else {
            Lookup::Partial(stored)
        };
    }
    let stale = stale_use(query, &stored, state, soft);
    if !query.validate
        && client_takes_stale(query, &stored, state, soft)
        && holds_what_is_asked(&stored, query.request)
    {
        return Lookup::Fresh { stored, early: false };
    }
    Lookup::Stale { stored, stale }
}

/// Whether a selected response is soft-purged; `None` if it must not be used at all. What was
/// hard-purged is no candidate for anything, validation included.
fn may_be_used(purges: &Purges, query: &Query<'_>, stored: &Stored) -> Option<bool> {
    if stored.filled_at < query.least {
        return None;
    }
    match purges.validity(stored) {
        Validity::Valid => Some(false),
        Validity::Soft(_) => Some(true),
        Validity::Hard(_) => None,
    }
}

fn stale_use(query: &Query<'_>, stored: &Stored, state: State, soft: bool) -> Stale {
    let freshness = &stored.freshness;
    let below = stored.body.kept_below().is_some();
    // Of a long body, the bytes that are asked for are enough; what is missing can be fetched only once it
    // was validated.
    let whole = match below {
        true => holds_what_is_asked(stored, query.request),
        false => stored.body.is_complete(),
    };
    // RFC 9111 §4.2.4: no-cache, must-revalidate and their kin forbid stale use; the windows of
    // RFC 5861 are shut by the rules where they do.
    let allowed = whole && !freshness.validate_always && !query.fresh_only && !query.validate;
    let window = match freshness.validate_when_stale {
        true => freshness.stale_if_error,
        false => query.when_unreachable.max(freshness.stale_if_error),
    };
    let (swr, sie, past) = match state {
        // Soft-purged while it would be fresh: stale as of now.
        State::Fresh { .. } => {
            (soft && freshness.stale_while_revalidate > 0, freshness.stale_if_error > 0, 0)
        }
        State::Refreshable { past } => (true, past < freshness.stale_if_error, past),
        State::Stale { past, on_error } => (false, on_error, past),
    };
    let strong = || validation::strong_validator(&stored.fields().to_map()).is_some();
    Stale {
        while_revalidating: allowed && swr,
        on_error: allowed && sie,
        on_disconnect: allowed && past < window,
        // After a soft purge only a strong validator proves that nothing changed.
        validates: (whole || (below && strong())) && (!soft || strong()),
        by_request: !soft && !query.validate && matches!(state, State::Fresh { .. }),
    }
}

/// Whether the client's own directives, where honoured, let a fresh response pass
/// (RFC 9111 §5.2.1).
fn client_accepts(query: &Query<'_>, stored: &Stored, left: u32) -> bool {
    let Some(client) = query.client else { return true };
    // RFC 8246 §2: a reload does not ask again for what is immutable while it is fresh.
    if stored.freshness.immutable {
        return true;
    }
    !client.no_cache
        && client.max_age.is_none_or(|max_age| stored.freshness.age(query.now) <= max_age)
        && client.min_fresh.is_none_or(|min_fresh| left >= min_fresh)
}

/// Whether the client's own max-stale lets a stale response pass (RFC 9111 §5.2.1.2).
fn client_takes_stale(query: &Query<'_>, stored: &Stored, state: State, soft: bool) -> bool {
    let freshness = &stored.freshness;
    let (State::Refreshable { past } | State::Stale { past, .. }) = state else { return false };
    let forbidden =
        soft || query.fresh_only || freshness.validate_when_stale || freshness.validate_always;
    query.client.and_then(|client| client.max_stale).is_some_and(|most| !forbidden && past <= most)
}

/// Whether the bytes that a request asks for are held (RFC 9111 §3.3).
fn holds_what_is_asked(stored: &Stored, request: &HeaderMap) -> bool {
    let is_by_range = stored.body.kept_below().is_some() && request.contains_key(header::RANGE);
    (!is_by_range && stored.body.is_complete())
        || parts::held(stored, request, &stored.fields().to_map()) != AvailableBytes::Nothing
}

/// The Range of a request that may be forwarded as it is: one that the rules understand.
pub(crate) fn forwardable_range(request: &HeaderMap) -> Option<&HeaderValue> {
    match range::requested(request) {
        Requested::Whole => None,
        Requested::Bytes(_) => request.get(http::header::RANGE),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
