//! freshness_lifetime: what a response says, what may be guessed, what the site gives
//! (RFC 9111 §4.2.1, §4.2.2).

use crate::storability::facts::{Expires, Facts};
use crate::storability::{LifetimeSource, SitePolicy};
use crate::time::Time;
use crate::{assets, versions};
use http::{Method, StatusCode};

/// A lifetime in seconds, before `max_ttl`, and where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    pub(crate) seconds: u32,
    pub(crate) source: LifetimeSource,
}

/// The first source that has a lifetime to give. What the operator set precedes what is guessed.
pub(crate) fn lifetime(facts: &Facts<'_>, policy: &SitePolicy) -> Lifetime {
    by_rule(facts, policy)
        .or_else(|| explicit(facts))
        .or_else(|| versioned(facts, policy))
        .or_else(|| site_default(facts, policy))
        .or_else(|| negative(facts, policy))
        .or_else(|| heuristic(facts, policy))
        .unwrap_or(Lifetime { seconds: 0, source: LifetimeSource::ValidatorOnly })
}

/// What the response says itself (RFC 9111 §4.2.1, in its order for a shared cache).
pub(crate) fn explicit(facts: &Facts<'_>) -> Option<Lifetime> {
    let directives = &facts.governing.directives;
    let source = facts.governing.source;
    if let Some(seconds) = directives.s_maxage {
        return Some(Lifetime { seconds, source: LifetimeSource::SMaxage(source) });
    }
    if let Some(seconds) = directives.max_age {
        return Some(Lifetime { seconds, source: LifetimeSource::MaxAge(source) });
    }
    // RFC 9213 §2.2: a targeted field leaves Expires no say.
    if source.is_targeted() {
        return None;
    }
    let seconds = match facts.expires {
        Expires::Absent => return None,
        // RFC 9111 §5.3: what is not a date is already over.
        Expires::Invalid => 0,
        Expires::At(time) => seconds_between(facts.generated(), time),
    };
    Some(Lifetime { seconds, source: LifetimeSource::Expires })
}

/// What a rule of the site sets, for a success or a lasting redirect. Whether the response may be stored at all, and
/// what has to be validated, is not its business.
fn by_rule(facts: &Facts<'_>, policy: &SitePolicy) -> Option<Lifetime> {
    let is_lasting = matches!(facts.exchange.status.as_u16(), 200 | 203 | 206 | 300 | 301 | 308);
    let seconds = policy.ttl.filter(|_| is_lasting)?;
    // What may be of one user, and is not to be used again without validation, stays so.
    let may_be_personal = facts.cookie || facts.authorization || facts.set_cookie;
    if may_be_personal && explicit(facts).is_none_or(|own| own.seconds == 0) {
        return None;
    }
    Some(Lifetime { seconds, source: LifetimeSource::Rule })
}

/// Statuses that may be reused without being told to (RFC 9110 §15.1).
pub(crate) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// A tenth of the time since the last change (RFC 9111 §4.2.2). `None` when that gives nothing.
fn heuristic(facts: &Facts<'_>, policy: &SitePolicy) -> Option<Lifetime> {
    // §4.2.2: such a status, or marked as explicitly cacheable.
    if !is_heuristically_cacheable(facts.exchange.status) && !facts.governing.directives.public {
        return None;
    }
    if is_service_worker(facts) {
        return None;
    }
    let unchanged = seconds_between(facts.last_modified?, facts.generated());
    let seconds = (unchanged / 10).min(policy.heuristic_max);
    (seconds > 0).then_some(Lifetime { seconds, source: LifetimeSource::Heuristic })
}

/// The site's own lifetime for versioned URLs. Only for a plain 200 about which nothing was said
/// that asks for care.
fn versioned(facts: &Facts<'_>, policy: &SitePolicy) -> Option<Lifetime> {
    let wanted = policy.versioned_ttl > 0
        && says_nothing(facts)
        && !is_service_worker(facts)
        && facts.exchange.status == StatusCode::OK
        && versions::is_versioned(facts.exchange.path, facts.exchange.query);
    wanted.then_some(Lifetime { seconds: policy.versioned_ttl, source: LifetimeSource::Versioned })
}

/// The site's lifetime for a 200 that gives none.
fn site_default(facts: &Facts<'_>, policy: &SitePolicy) -> Option<Lifetime> {
    let wanted =
        policy.default_ttl > 0 && says_nothing(facts) && facts.exchange.status == StatusCode::OK;
    wanted.then_some(Lifetime { seconds: policy.default_ttl, source: LifetimeSource::SiteDefault })
}

/// The site's lifetime for errors that give none.
fn negative(facts: &Facts<'_>, policy: &SitePolicy) -> Option<Lifetime> {
    let status = facts.exchange.status;
    let is_error = matches!(status.as_u16(), 404 | 410) || status.is_server_error();
    let wanted = policy.negative_ttl > 0 && says_nothing(facts) && is_error;
    wanted.then_some(Lifetime { seconds: policy.negative_ttl, source: LifetimeSource::Negative })
}

/// Whether the site may give a lifetime of its own: a GET without credentials, a response that sets
/// no cookie and asks for no validation.
fn says_nothing(facts: &Facts<'_>) -> bool {
    let directives = &facts.governing.directives;
    *facts.exchange.method == Method::GET
        && !facts.cookie
        && !facts.authorization
        && !facts.set_cookie
        && facts.omit.is_empty()
        && !directives.no_store
        && !facts.no_cache
        && !facts.private
        && !directives.must_revalidate
        && !directives.proxy_revalidate
}

/// Nothing is guessed about a service worker: an old one can keep a site broken, so its lifetime is
/// the origin's or the operator's to give.
fn is_service_worker(facts: &Facts<'_>) -> bool {
    assets::is_service_worker(facts.exchange.path, facts.exchange.request)
}

/// Whole seconds from one time to a later one, 0 when it is not later.
fn seconds_between(from: Time, to: Time) -> u32 {
    u32::try_from(to.millis_since(from) / 1000).unwrap_or(u32::MAX).min(1 << 31)
}
