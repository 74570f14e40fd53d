//! Whether a response may be stored, for how long, and, if not, which header or rule forbids it
//! (RFC 9111 §3).

pub(crate) mod facts;
mod lifetime_source;
mod reason;
mod reuse;
pub(crate) mod rules;

use crate::freshness::Freshness;
use crate::semantics::{self, Agreement};
use crate::targeted::Source;
use crate::time::Time;
use crate::vary::Vary;
use facts::Facts;
use http::{HeaderMap, HeaderName, Method, StatusCode};

pub use reuse::Reuse;

/// A site's settings that bear on storing. Seconds throughout; 0 means "not".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SitePolicy {
    /// Upper bound of every freshness lifetime; 0 = none.
    pub max_ttl: u32,
    /// Lifetime of successes and lasting redirects that may be stored, in place of their own.
    pub ttl: Option<u32>,
    /// Lifetime of a 200 without explicit or heuristic freshness and without cookies; 0 = none.
    pub default_ttl: u32,
    /// Lifetime of versioned URLs whose 200 says nothing about freshness; 0 = none.
    pub versioned_ttl: u32,
    /// Lifetime of 404, 410 and 5xx without explicit freshness; 0 = none.
    pub negative_ttl: u32,
    /// stale-while-revalidate where the response says nothing.
    pub stale_while_revalidate: u32,
    /// stale-if-error where the response says nothing.
    pub stale_if_error: u32,
    /// Upper bound of heuristic lifetimes (RFC 9111 §4.2.2).
    pub heuristic_max: u32,
    /// Whether responses to requests with Authorization are judged as if those had none (RFC 9111 §3.5).
    pub ignore_authorization: bool,
}

impl Default for SitePolicy {
    fn default() -> Self {
        Self {
            max_ttl: 31_536_000,
            ttl: None,
            default_ttl: 0,
            versioned_ttl: 31_536_000,
            negative_ttl: 0,
            stale_while_revalidate: 0,
            stale_if_error: 0,
            heuristic_max: 3600,
            ignore_authorization: false,
        }
    }
}

/// One exchange with the upstream, as the decision needs it.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// `http` or `https`, for a POST's Content-Location.
    pub scheme: &'a str,
    /// The host, lower case, without a default port, for a POST's Content-Location.
    pub host: &'a str,
    /// The absolute request path (no query), for versioned names.
    pub path: &'a str,
    /// The query, without `?`, for `v=`-like versions.
    pub query: Option<&'a str>,
    /// Fields of the request as the client sent them (Cookie and Authorization included).
    pub request: &'a HeaderMap,
    /// Status of the response.
    pub status: StatusCode,
    /// Fields of the response, hop-by-hop ones already removed.
    pub response: &'a HeaderMap,
    /// When the request was sent (RFC 9111 §4.2.3 request_time).
    pub request_time: Time,
    /// When the response head arrived (response_time).
    pub response_time: Time,
    /// The same moment by the clock that lookups read: how long a response has been stored is not
    /// measured by a clock that can be set. Both times above are for dates alone.
    pub received: Time,
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storability {
    /// Store it on these terms.
    Store(Terms),
    /// Do not, for this reason.
    Skip(Reason),
}

/// On which terms a response is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// When it is fresh and what may happen after.
    pub freshness: Freshness,
    /// Which request fields select it.
    pub vary: Vary,
    /// Where the lifetime came from, for `explain`.
    pub lifetime_source: LifetimeSource,
    /// Fields that a qualified `private=` keeps out of the store (§5.2.2.7) and those a qualified
    /// `no-cache=` forbids to send without validation (§5.2.2.4).
    pub omit: Vec<HeaderName>,
    /// `no-transform` was said.
    pub no_transform: bool,
    /// Which requests that waited for it may be answered with it.
    pub reuse: Reuse,
}

/// Where a freshness lifetime came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifetimeSource {
    /// `s-maxage` of this field.
    SMaxage(Source),
    /// `max-age` of this field.
    MaxAge(Source),
    /// `Expires` minus `Date`.
    Expires,
    /// A tenth of the time since Last-Modified, capped (§4.2.2).
    Heuristic,
    /// `ttl` of a rule of the site.
    Rule,
    /// The site's `versioned_ttl`.
    Versioned,
    /// The site's `default_ttl`.
    SiteDefault,
    /// The site's `negative_ttl`.
    Negative,
    /// None: stored only because it can be validated.
    ValidatorOnly,
}

/// Why a response is not stored. [`Reason::sentence`] names the header or the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The method's responses are not stored here.
    Method,
    /// Not a final response, or a status without explicit freshness that is not heuristically
    /// cacheable.
    Status(StatusCode),
    /// `no-store` of this field.
    NoStore(Source),
    /// `private` of this field.
    Private(Source),
    /// Request had Authorization and nothing allows storing (§3.5).
    Authorization,
    /// Set-Cookie without public, s-maxage or a targeted field.
    SetCookie,
    /// The request had Cookie and the response no explicit freshness.
    CookieWithoutFreshness,
    /// `Vary: *`.
    VaryAny,
    /// Neither freshness nor a validator.
    NothingToGoBy,
    /// must-understand with a status not understood (§5.2.2.3).
    NotUnderstood(StatusCode),
    /// A 206 that cannot be stored; the text says why.
    PartialContent(&'static str),
    /// The freshness lifetime is over on arrival, stale use is not allowed and there is no
    /// validator.
    AlreadyStale,
    /// `no-cache` of this field and no validator (§5.2.2.4).
    NoCache(Source),
    /// http-cache-semantics refuses and no listed reason overrules it.
    SecondOpinion,
    /// More cache tags, or longer ones, than are kept: a purge by one left out would miss it. The
    /// bound on their number.
    TooManyTags(usize),
}

/// Decides whether and on which terms to store a response.
///
/// Our own rules are judged first and then held against http-cache-semantics. Where the two differ
/// and the difference is not on the written list ([`semantics::Overruled`]), the more careful one
/// counts.
pub fn storability(exchange: &Exchange<'_>, policy: &SitePolicy) -> Storability {
    let mut facts = Facts::of(exchange);
    facts.authorization &= !policy.ignore_authorization;
    let own = rules::judge(&facts, policy);
    let review = semantics::review_of(&facts, &own, policy);
    match (own, review.agreement) {
        (Err(reason), _) => Storability::Skip(reason),
        (Ok(judged), Agreement::Same | Agreement::Overruled(_)) => {
            Storability::Store(judged.into_terms(facts))
        }
        (Ok(_), Agreement::Unlisted) if !review.opinion.storable => {
            Storability::Skip(Reason::SecondOpinion)
        }
        (Ok(mut judged), Agreement::Unlisted) => {
            judged.shorten(&facts, review.opinion.time_to_live);
            Storability::Store(judged.into_terms(facts))
        }
    }
}
