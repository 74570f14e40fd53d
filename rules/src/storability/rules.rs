//! Our own rules for storing (RFC 9111 §3), in the order in which a reason is most telling.

use super::facts::Facts;
use super::{LifetimeSource, Reason, Reuse, SitePolicy, Terms};
use crate::freshness::lifetime::{self, Lifetime};
use crate::freshness::{Freshness, State};
use crate::range;
use crate::vary::Vary;
use http::header::{CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, RANGE};
use http::{Method, StatusCode};

/// What our own rules decide when they store.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) freshness: Freshness,
    /// The lifetime before `max_ttl`.
    pub(crate) lifetime: Lifetime,
}

impl Judged {
    /// Leaves at most this many seconds of freshness on arrival.
    pub(crate) fn shorten(&mut self, facts: &Facts<'_>, left: u32) {
        let age = self.freshness.age(facts.exchange.received);
        self.freshness.lifetime = self.freshness.lifetime.min(age.saturating_add(left));
    }

    pub(crate) fn into_terms(self, facts: Facts<'_>) -> Terms {
        Terms {
            freshness: self.freshness,
            reuse: Reuse::of(&facts, &self.freshness),
            vary: facts.vary,
            lifetime_source: self.lifetime.source,
            omit: facts.omit,
            no_transform: facts.governing.directives.no_transform,
        }
    }
}

/// Whether and on which terms our own rules store.
pub(crate) fn judge(facts: &Facts<'_>, policy: &SitePolicy) -> Result<Judged, Reason> {
    method(facts)?;
    status(facts.exchange.status)?;
    partial_content(facts)?;
    prohibitions(facts)?;
    credentials(facts)?;
    let lifetime = lifetime::lifetime(facts, policy);
    permission(facts, &lifetime)?;
    let freshness = freshness(facts, &lifetime, policy);
    usefulness(facts, &freshness, &lifetime)?;
    Ok(Judged { freshness, lifetime })
}

/// RFC 9111 §3: a method whose responses are understood here. HEAD freshens what is stored
/// (§4.3.5) but has nothing to store.
fn method(facts: &Facts<'_>) -> Result<(), Reason> {
    match *facts.exchange.method {
        Method::GET => Ok(()),
        Method::POST if answers_later_get(facts) => Ok(()),
        _ => Err(Reason::Method),
    }
}

/// RFC 9110 §9.3.3: a POST's response answers a later GET when it has explicit freshness and its
/// Content-Location is the target URI, that is, when its content is the resource's representation.
fn answers_later_get(facts: &Facts<'_>) -> bool {
    let exchange = facts.exchange;
    let mut locations = exchange.response.get_all(CONTENT_LOCATION).iter();
    let (Some(location), None) = (locations.next(), locations.next()) else { return false };
    exchange.status == StatusCode::OK
        && lifetime::explicit(facts).is_some()
        && names_target(location.as_bytes(), exchange)
}

/// Whether a Content-Location, absolute or with an absolute path, is the request's own target.
fn names_target(location: &[u8], exchange: &super::Exchange<'_>) -> bool {
    let Ok(location) = std::str::from_utf8(location) else { return false };
    let target = match location.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (host, target) = rest.split_at(end);
            if !scheme.eq_ignore_ascii_case(exchange.scheme)
                || !host.eq_ignore_ascii_case(exchange.host)
            {
                return false;
            }
            target
        }
        _ => location,
    };
    match (target.split_once('?'), exchange.query) {
        (Some((path, query)), Some(own)) => path == exchange.path && query == own,
        (None, None) => target == exchange.path,
        _ => false,
    }
}

/// RFC 9111 §3: a final status, and none that answers this one request rather than its URL.
fn status(status: StatusCode) -> Result<(), Reason> {
    match status.as_u16() {
        // Interim, and what RFC 9110 §15 calls invalid.
        ..200 | 600.. => Err(Reason::Status(status)),
        // A 304 updates what is stored (RFC 9111 §4.3.4).
        304 => Err(Reason::Status(status)),
        // RFC 6585 §3-§6: MUST NOT be stored.
        428 | 429 | 431 | 511 => Err(Reason::Status(status)),
        // What the next request for the URL would not get: proxy credentials, a slow or a
        // conditional request, content, a range, Expect, this connection, early data, a protocol.
        407 | 408 | 412 | 413 | 416 | 417 | 421 | 425 | 426 => Err(Reason::Status(status)),
        _ => Ok(()),
    }
}

/// RFC 9111 §3.3: a part is stored only when it is known which part it is. Whether as many bytes
/// arrive as Content-Range promises is seen by who stores them.
fn partial_content(facts: &Facts<'_>) -> Result<(), Reason> {
    let exchange = facts.exchange;
    if exchange.status != StatusCode::PARTIAL_CONTENT {
        return Ok(());
    }
    let refuse = |why| Err(Reason::PartialContent(why));
    if !exchange.request.contains_key(RANGE) {
        return refuse("the request had no Range");
    }
    let content_type = exchange.response.get(CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
    if starts_with_ignoring_case(content_type, b"multipart/byteranges") {
        return refuse("its parts are sent as multipart/byteranges");
    }
    let Some(content_range) = range::content_range(exchange.response) else {
        return refuse("its Content-Range is missing or not valid");
    };
    let Some(span) = content_range.span else {
        return refuse("its Content-Range names no bytes");
    };
    let length = exchange.response.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > span.end - span.start) {
        return refuse("its Content-Length is more than its Content-Range names");
    }
    Ok(())
}

fn starts_with_ignoring_case(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// What forbids storing whoever asked: must-understand, no-store, private, `Vary: *`.
fn prohibitions(facts: &Facts<'_>) -> Result<(), Reason> {
    let governing = &facts.governing;
    let status = facts.exchange.status;
    // RFC 9111 §5.2.2.3: must-understand without understanding forbids, with it lifts no-store.
    if governing.directives.must_understand && !is_understood(status) {
        return Err(Reason::NotUnderstood(status));
    }
    // RFC 9111 §5.2.2.5.
    if governing.directives.no_store && !governing.directives.must_understand {
        return Err(Reason::NoStore(governing.source));
    }
    // RFC 9111 §5.2.2.7.
    if facts.private {
        return Err(Reason::Private(governing.source));
    }
    // RFC 9111 §4.1: no request selects it.
    if facts.vary == Vary::Any {
        return Err(Reason::VaryAny);
    }
    Ok(())
}

/// Final statuses whose requirements for caches are followed here (RFC 9110 §15), for
/// must-understand.
pub(crate) fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=206 | 300..=303 | 307 | 308 | 400..=406 | 409..=411 | 414 | 415 | 422 | 500..=505
    )
}

/// What who asked forbids: credentials in the request, cookies in either direction.
fn credentials(facts: &Facts<'_>) -> Result<(), Reason> {
    let directives = &facts.governing.directives;
    // RFC 9111 §3.5. A targeted field alone does not lift this: it replaces Cache-Control, not the
    // rule (RFC 9213 §2.2).
    let shared = directives.public || directives.must_revalidate || directives.s_maxage.is_some();
    if facts.authorization && !shared {
        return Err(Reason::Authorization);
    }
    // RFC 9111 §7.3 leaves cookies to the origin's Cache-Control; few origins know. It must have
    // spoken to shared caches.
    if facts.set_cookie && !may_share_set_cookie(facts) {
        return Err(Reason::SetCookie);
    }
    if facts.cookie && lifetime::explicit(facts).is_none() {
        return Err(Reason::CookieWithoutFreshness);
    }
    Ok(())
}

/// Whether the response speaks to shared caches, so that its Set-Cookie is meant for everyone.
pub(crate) fn may_share_set_cookie(facts: &Facts<'_>) -> bool {
    let governing = &facts.governing;
    governing.directives.public
        || governing.directives.s_maxage.is_some()
        || governing.source.is_targeted()
}

/// RFC 9111 §3, last condition: `public`, explicit freshness, or a status that is cacheable by
/// heuristics; or the site says so.
fn permission(facts: &Facts<'_>, lifetime: &Lifetime) -> Result<(), Reason> {
    let status = facts.exchange.status;
    let permitted = facts.governing.directives.public
        || lifetime.source != LifetimeSource::ValidatorOnly
        || lifetime::is_heuristically_cacheable(status);
    if permitted { Ok(()) } else { Err(Reason::Status(status)) }
}

fn freshness(facts: &Facts<'_>, lifetime: &Lifetime, policy: &SitePolicy) -> Freshness {
    let directives = &facts.governing.directives;
    let received = facts.exchange.received;
    let capped = match policy.max_ttl {
        0 => lifetime.seconds,
        bound => lifetime.seconds.min(bound),
    };
    // An age that reaches back before 1970 cannot be told by `born`; the lifetime is cut instead.
    let told = facts.initial_age.min(received.as_millis());
    let before_epoch = facts.initial_age.div_ceil(1000) - told.div_ceil(1000);
    // A lifetime of 0 that the response gives itself asks for validation before each use: only a
    // window that it opens itself lets it be sent without, not the site's.
    let never_fresh = lifetime.seconds == 0 && lifetime.source != LifetimeSource::ValidatorOnly;
    let validate_when_stale = directives.must_revalidate // RFC 9111 §5.2.2.2
        || directives.proxy_revalidate // §5.2.2.8
        || directives.s_maxage.is_some() // §5.2.2.10
        || never_fresh;
    // What s-maxage only implies, a window that the response itself opens takes back: `s-maxage=60,
    // stale-while-revalidate=30` is how many frameworks ask for it (RFC 5861 §3, §4). What must- or
    // proxy-revalidate say outright stands, and the site's own windows stay shut.
    let refused = facts.no_cache || directives.must_revalidate || directives.proxy_revalidate;
    let window = |said: Option<u32>, site: u32| match said {
        Some(said) if !refused => said,
        None if !refused && !validate_when_stale => site,
        _ => 0,
    };
    Freshness {
        born: received.minus_millis(facts.initial_age),
        lifetime: capped.saturating_sub(u32::try_from(before_epoch).unwrap_or(u32::MAX)),
        stale_while_revalidate: window(
            directives.stale_while_revalidate,
            policy.stale_while_revalidate,
        ),
        stale_if_error: window(directives.stale_if_error, policy.stale_if_error),
        validate_always: facts.no_cache,
        validate_when_stale,
        immutable: directives.immutable,
    }
}

/// What could never be used is not worth its place: neither fresh on arrival, nor allowed stale,
/// nor open to validation. What only its own slow fetch made stale is for the requests that wait
/// for it, and may stand in for an origin out of reach.
fn usefulness(facts: &Facts<'_>, freshness: &Freshness, lifetime: &Lifetime) -> Result<(), Reason> {
    if facts.validator {
        return Ok(());
    }
    if facts.no_cache {
        return Err(Reason::NoCache(facts.governing.source));
    }
    if lifetime.source == LifetimeSource::ValidatorOnly {
        return Err(Reason::NothingToGoBy);
    }
    match freshness.state(facts.exchange.received) {
        State::Fresh { .. } | State::Refreshable { .. } | State::Stale { on_error: true, .. } => {
            Ok(())
        }
        State::Stale { on_error: false, .. } => match Reuse::of(facts, freshness) {
            Reuse::Waiting { .. } => Ok(()),
            Reuse::Fresh | Reuse::WhileRevalidating | Reuse::Validated => Err(Reason::AlreadyStale),
        },
    }
}
