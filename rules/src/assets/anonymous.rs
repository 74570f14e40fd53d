//! The anonymous request for a static asset, and which answers to it are for everyone.

use super::fits;
use crate::cookies::{self, Cookie, cookies};
use crate::fields::{POISONOUS, is_hop_by_hop};
use crate::key::{KeyRules, cookie_is_named};
use crate::storability::{LifetimeSource, Terms};
use crate::tier;
use crate::versions;
use http::header::{CONTENT_TYPE, COOKIE, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Headers that say what a client can read and where it comes from, not who its user is; and those
/// that a fill removes or sets itself, whoever asks. An anonymous request keeps them.
const KEPT: [&str; 31] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "cdn-loop",
    "content-length",
    "device-memory",
    "downlink",
    "dpr",
    "ect",
    "expect",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "pragma",
    "range",
    "referer",
    "rtt",
    "save-data",
    "service-worker",
    "traceparent",
    "tracestate",
    "user-agent",
    "via",
    "viewport-width",
    "width",
];

/// Families of headers that an anonymous request keeps: fetch metadata and client hints.
const KEPT_PREFIXES: [&str; 2] = ["sec-fetch-", "sec-ch-"];

/// Headers that browsers send to everyone alike. An anonymous request has none of them, and a
/// request that has nothing else to lose counts as anonymous.
const IDLE: [&str; 7] = [
    "baggage",
    "dnt",
    "priority",
    "purpose",
    "sec-gpc",
    "sec-purpose",
    "upgrade-insecure-requests",
];

/// The request for a static asset without what could name its user: only the listed headers, and
/// the headers and cookies of the site's cache key. `None` if nothing would be missing and it has no
/// cookie: such a request is anonymous as it is.
pub fn anonymous(request: &HeaderMap, key: &KeyRules) -> Option<HeaderMap> {
    let mut kept = HeaderMap::with_capacity(request.keys_len());
    let mut missing = false;
    for (name, value) in request {
        if *name == COOKIE {
            continue;
        }
        if is_kept(name) || key.headers.contains(name) {
            kept.append(name.clone(), value.clone());
        } else {
            missing |= !IDLE.contains(&name.as_str()) && !is_hop_by_hop(name);
        }
    }
    if let Some(line) = cookies::combined(request) {
        missing |= cookies(&line).next().is_some();
        if let Some(keyed) = keyed_cookies(&line, key) {
            kept.insert(COOKIE, keyed);
        }
    }
    missing.then_some(kept)
}

fn is_kept(name: &HeaderName) -> bool {
    let name = name.as_str();
    KEPT.contains(&name)
        || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || POISONOUS.contains(&name)
        || tier::FIELDS.contains(&name)
}

/// The cookies of a line that are part of the key.
fn keyed_cookies(line: &[u8], key: &KeyRules) -> Option<HeaderValue> {
    let is_keyed =
        |cookie: &Cookie<'_>| key.cookies.iter().any(|name| cookie_is_named(name, cookie.name));
    let kept: Vec<_> = cookies(line).filter(is_keyed).map(|cookie| cookie.pair).collect();
    // Parts of a valid value are valid.
    let line = (!kept.is_empty()).then(|| HeaderValue::from_bytes(&kept.join(&b"; "[..])));
    line.and_then(Result::ok)
}

/// Whether the response to an anonymous request for the asset at `path` is one for everyone: a 200,
/// or a part of one, that may be stored on these `terms`, sets no cookie, has a type that fits the
/// extension, and is not stored for the sake of an ETag alone.
pub fn is_for_everyone(
    path: &str,
    query: Option<&str>,
    status: StatusCode,
    response: &HeaderMap,
    terms: Option<&Terms>,
) -> bool {
    let Some(terms) = terms else { return false };
    let dated = terms.lifetime_source != LifetimeSource::ValidatorOnly
        || response.contains_key(LAST_MODIFIED)
        || versions::is_versioned(path, query);
    let content_type = response.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT)
        && !response.contains_key(SET_COOKIE)
        && dated
        && fits(path, content_type)
}
