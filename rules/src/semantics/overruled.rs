//! The written list of what we decide otherwise than http-cache-semantics, and why.

use super::{Opinion, left};
use crate::cache_control::Qualified;
use crate::storability::facts::Facts;
use crate::storability::rules::Judged;
use crate::storability::{LifetimeSource, Reason, SitePolicy};
use http::StatusCode;

/// One kind of case in which our own rules overrule the library's opinion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overruled {
    /// Stored: a final status that the library does not know, with explicit freshness, `public` or
    /// the site's `negative_ttl`; or a 206. It knows 14 statuses.
    Status,
    /// Stored: `no-store, must-understand` with a status that is understood here.
    MustUnderstand,
    /// Stored: `private` for named fields, which are left out. The library takes it for `private`.
    QualifiedPrivate,
    /// Fresh: `no-cache` for named fields, which are left out. The library takes it for `no-cache`.
    QualifiedNoCache,
    /// Fresh: `proxy-revalidate` speaks of stale responses only. The library never lets such a
    /// response be fresh.
    ProxyRevalidate,
    /// Fresh: Set-Cookie with `s-maxage` or a targeted field, which speak to shared caches. The
    /// library asks for `public`.
    SharedSetCookie,
    /// Another lifetime: the site's own for what says nothing about freshness.
    SiteLifetime,
    /// Another lifetime: that of a rule of the site, whatever the response says.
    RuleLifetime,
    /// Shorter: `immutable` is no lifetime. The library makes it a day.
    Immutable,
    /// Shorter: heuristic lifetimes are bounded by the site and rounded down.
    HeuristicBound,
    /// Shorter: the site's `max_ttl`.
    MaxTtl,
    /// Not stored: Set-Cookie that nothing declares to be meant for everyone. The library stores
    /// it as stale.
    SetCookie,
    /// Not stored: the request had Cookie and the response has no explicit freshness.
    Cookie,
    /// Not stored: `Vary: *`. The library stores what no request selects.
    VaryAny,
    /// Not stored: neither fresh, nor allowed stale, nor open to validation.
    Useless,
    /// Not stored: the library is asked about a GET, the request was none.
    Method,
}

impl Overruled {
    /// Every kind, for lists.
    pub const ALL: [Self; 16] = [
        Self::Status,
        Self::MustUnderstand,
        Self::QualifiedPrivate,
        Self::QualifiedNoCache,
        Self::ProxyRevalidate,
        Self::SharedSetCookie,
        Self::SiteLifetime,
        Self::RuleLifetime,
        Self::Immutable,
        Self::HeuristicBound,
        Self::MaxTtl,
        Self::SetCookie,
        Self::Cookie,
        Self::VaryAny,
        Self::Useless,
        Self::Method,
    ];

    /// The section that orders or allows it.
    pub fn section(self) -> &'static str {
        match self {
            Self::Status => "RFC 9111 §3, §3.3",
            Self::MustUnderstand => "RFC 9111 §5.2.2.3",
            Self::QualifiedPrivate => "RFC 9111 §5.2.2.7",
            Self::QualifiedNoCache => "RFC 9111 §5.2.2.4",
            Self::ProxyRevalidate => "RFC 9111 §5.2.2.8",
            Self::SharedSetCookie | Self::SetCookie | Self::Cookie => "RFC 9111 §7.3",
            Self::SiteLifetime | Self::HeuristicBound => "RFC 9111 §4.2.2",
            Self::Immutable => "RFC 8246 §2",
            Self::MaxTtl | Self::RuleLifetime => "RFC 9111 §4.2",
            Self::VaryAny => "RFC 9111 §4.1",
            Self::Useless => "RFC 9111 §4",
            Self::Method => "RFC 9110 §9.2.3",
        }
    }
}

/// The statuses that the library stores at all.
const KNOWN_STATUSES: [u16; 14] =
    [200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501];

/// The listed case that explains a difference, if one does.
pub(super) fn find(
    facts: &Facts<'_>,
    own: &Result<Judged, Reason>,
    opinion: Opinion,
    policy: &SitePolicy,
) -> Option<Overruled> {
    match own {
        Err(reason) => refused(reason),
        Ok(_) if !opinion.storable => allowed(facts),
        Ok(judged) if left(facts, judged) > opinion.time_to_live => prolonged(facts, judged),
        Ok(judged) => shortened(facts, judged, policy),
    }
}

/// The library stores, we do not.
fn refused(reason: &Reason) -> Option<Overruled> {
    match reason {
        Reason::Method => Some(Overruled::Method),
        Reason::SetCookie => Some(Overruled::SetCookie),
        Reason::CookieWithoutFreshness => Some(Overruled::Cookie),
        Reason::VaryAny => Some(Overruled::VaryAny),
        Reason::NothingToGoBy | Reason::AlreadyStale | Reason::NoCache(_) => {
            Some(Overruled::Useless)
        }
        Reason::Status(_)
        | Reason::NoStore(_)
        | Reason::Private(_)
        | Reason::Authorization
        | Reason::NotUnderstood(_)
        | Reason::PartialContent(_)
        | Reason::SecondOpinion
        | Reason::TooManyTags(_) => None,
    }
}

/// We store, the library does not.
fn allowed(facts: &Facts<'_>) -> Option<Overruled> {
    let directives = &facts.governing.directives;
    if !knows(facts.exchange.status) {
        Some(Overruled::Status)
    } else if directives.no_store && directives.must_understand {
        Some(Overruled::MustUnderstand)
    } else if matches!(directives.private, Qualified::Fields(_)) {
        Some(Overruled::QualifiedPrivate)
    } else {
        None
    }
}

/// Both store, ours is fresh for longer.
fn prolonged(facts: &Facts<'_>, judged: &Judged) -> Option<Overruled> {
    let directives = &facts.governing.directives;
    if matches!(directives.no_cache, Qualified::Fields(_)) {
        Some(Overruled::QualifiedNoCache)
    } else if directives.proxy_revalidate {
        Some(Overruled::ProxyRevalidate)
    } else if facts.set_cookie && !directives.public && !directives.immutable {
        Some(Overruled::SharedSetCookie)
    } else {
        of_site(judged)
    }
}

/// Both store, ours is fresh for less.
fn shortened(facts: &Facts<'_>, judged: &Judged, policy: &SitePolicy) -> Option<Overruled> {
    let directives = &facts.governing.directives;
    let source = judged.lifetime.source;
    if directives.immutable && !directives.gives_lifetime() {
        Some(Overruled::Immutable)
    } else if policy.max_ttl > 0 && judged.lifetime.seconds > policy.max_ttl {
        Some(Overruled::MaxTtl)
    } else if let Some(overruled) = of_site(judged) {
        Some(overruled)
    } else if matches!(source, LifetimeSource::Heuristic | LifetimeSource::ValidatorOnly)
        && facts.last_modified.is_some()
    {
        Some(Overruled::HeuristicBound)
    } else {
        None
    }
}

fn of_site(judged: &Judged) -> Option<Overruled> {
    match judged.lifetime.source {
        LifetimeSource::Rule => Some(Overruled::RuleLifetime),
        LifetimeSource::Versioned | LifetimeSource::SiteDefault | LifetimeSource::Negative => {
            Some(Overruled::SiteLifetime)
        }
        _ => None,
    }
}

fn knows(status: StatusCode) -> bool {
    KNOWN_STATUSES.contains(&status.as_u16())
}
