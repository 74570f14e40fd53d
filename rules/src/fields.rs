//! Which fields travel: hop-by-hop (RFC 9110 §7.6.1), what is removed or set for the upstream,
//! and what never leaves the last hop.

mod poisonous;

pub use poisonous::POISONOUS;

use http::header::{
    CONNECTION, HeaderMap, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use std::collections::HashSet;

/// Bytes of a tag; a purge by a longer one is refused.
const MAX_TAG_LENGTH: usize = 1024;

/// Surrogate-Control: directives of an origin to the caches before it, removed at the last hop.
pub static SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");

/// Cache tags, separated by spaces.
pub const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

/// The headers that hold tags.
static TAGGING: [HeaderName; 3] = [SURROGATE_KEY, CACHE_TAG, CACHE_GROUPS];

/// What is meant for caches only.
static FOR_CACHES: [HeaderName; 3] =
    [SURROGATE_KEY, CACHE_TAG, HeaderName::from_static("surrogate-control")];

/// Always for one hop only, named in Connection or not. HTTP2-Settings goes with them: weir never
/// upgrades to h2c, and an upstream that does would take the connection out of its sight.
static HOP_BY_HOP: [HeaderName; 11] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authentication-info"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Fields that Connection cannot name away: without them the message would mean something else to
/// the next hop than it meant here (framing, who asks, what is stored and for whom).
const END_TO_END: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "age",
    "authorization",
    "cache-control",
    "cache-groups",
    "cache-status",
    "cache-tag",
    "cdn-cache-control",
    "cdn-loop",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-security-policy",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "strict-transport-security",
    "surrogate-control",
    "surrogate-key",
    "vary",
    "via",
    "www-authenticate",
];

/// Removes Connection, everything it names, and the fields that are always hop-by-hop
/// (Keep-Alive, Proxy-Connection, Proxy-Authenticate, Proxy-Authorization,
/// Proxy-Authentication-Info, TE, Trailer, Transfer-Encoding, Upgrade). Connection cannot name
/// end-to-end framing or caching fields away (RFC 9110 §7.6.1): such names (Host, Content-Length,
/// Content-Type, Cache-Control, Authorization, Cookie, …) are kept.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let is_for_one_hop = for_one_hop(headers);
    remove_where(headers, is_for_one_hop);
}

/// Which headers of a message are for one hop only ([`remove_hop_by_hop`]).
pub fn for_one_hop(headers: &HeaderMap) -> impl Fn(&HeaderName) -> bool + use<> {
    let named = named_by_connection(headers);
    move |name| is_hop_by_hop(name) || named.contains(name)
}

/// Removes the headers whose name is `unwanted`. Most messages have none or one of them, so that a look at each of
/// their names costs less than looking up each name that is not wanted.
pub fn remove_where(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    let found: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Whether a header is for one hop only, whether or not Connection names it.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name)
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut named = Vec::new();
    for line in headers.get_all(CONNECTION) {
        for option in line.as_bytes().split(|&b| b == b',') {
            let option = option.trim_ascii();
            // By far the most common, and no fields.
            if option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close") {
                continue;
            }
            let Ok(name) = HeaderName::from_bytes(option) else { continue };
            if END_TO_END.binary_search(&name.as_str()).is_err() {
                named.push(name);
            }
        }
    }
    named
}

/// Removes [`POISONOUS`] fields, also where they are written with underscores: CGI and what came
/// of it (WSGI, Rack, PHP) make one variable of `X-Forwarded-Host` and `X_Forwarded_Host`.
pub fn remove_poisonous(request: &mut HeaderMap) {
    remove_where(request, is_poisonous);
}

/// Whether a header is one of [`POISONOUS`], or one of them in disguise.
pub fn is_poisonous(name: &HeaderName) -> bool {
    let name = name.as_str();
    // Nearly all names end here.
    if !matches!(name.as_bytes().first(), Some(b'x' | b'f' | b'c' | b't' | b'p')) {
        return false;
    }
    match name.contains('_') {
        true => POISONOUS.contains(&&*name.replace('_', "-")),
        false => POISONOUS.contains(&name),
    }
}

/// Cache tags of a response: `Surrogate-Key` (space separated), `Cache-Tag` (comma separated) and
/// `Cache-Groups` (RFC 9875 structured list of strings), without repeats. A tag that is not UTF-8
/// cannot be named in a purge and is left out; an invalid `Cache-Groups` is ignored whole
/// (RFC 9651 §4.2).
///
/// # Errors
/// More than `most` tags, or one of more than 1024 bytes: a purge by a tag that was left out would
/// miss the response, so it must not be stored.
pub fn tags(response: &HeaderMap, most: usize) -> Result<Vec<String>, TooManyTags> {
    // Most responses have none: a look at each of their names costs less than looking these up.
    if !response.keys().any(|name| TAGGING.contains(name)) {
        return Ok(Vec::new());
    }
    let mut tags = Tags { most, ordered: Vec::new(), seen: HashSet::new() };
    for line in response.get_all(SURROGATE_KEY) {
        for tag in line.as_bytes().split(|b| b.is_ascii_whitespace()) {
            tags.add(tag)?;
        }
    }
    for line in response.get_all(CACHE_TAG) {
        for tag in line.as_bytes().split(|&b| b == b',') {
            tags.add(tag)?;
        }
    }
    for group in cache_groups(response) {
        tags.add(group.as_bytes())?;
    }
    Ok(tags.ordered)
}

/// A response has more tags, or a longer one, than can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyTags;

/// Removes what is meant for caches only (`Surrogate-Key`, `Cache-Tag`, `Surrogate-Control`) from a
/// response that leaves the last hop.
pub fn remove_at_last_hop(response: &mut HeaderMap) {
    remove_where(response, |name| FOR_CACHES.contains(name));
}

/// Tags in the order in which they were found.
struct Tags {
    most: usize,
    ordered: Vec<String>,
    seen: HashSet<String>,
}

impl Tags {
    fn add(&mut self, tag: &[u8]) -> Result<(), TooManyTags> {
        let tag = tag.trim_ascii();
        let Ok(tag) = std::str::from_utf8(tag) else { return Ok(()) };
        if tag.is_empty() || self.seen.contains(tag) {
            return Ok(());
        }
        if tag.len() > MAX_TAG_LENGTH || self.ordered.len() == self.most {
            return Err(TooManyTags);
        }
        self.seen.insert(tag.to_owned());
        self.ordered.push(tag.to_owned());
        Ok(())
    }
}

/// RFC 9875 §2: a List of Strings, any of its members of another type making it invalid.
fn cache_groups(response: &HeaderMap) -> Vec<String> {
    let mut joined = Vec::new();
    for line in response.get_all(CACHE_GROUPS) {
        if !joined.is_empty() {
            joined.push(b',');
        }
        joined.extend_from_slice(line.as_bytes());
    }
    if joined.is_empty() {
        return Vec::new();
    }
    let Ok(list) = sfv::Parser::new(&joined).parse::<sfv::List>() else { return Vec::new() };
    let string = |entry: &sfv::ListEntry| match entry {
        sfv::ListEntry::Item(item) => {
            item.bare_item.as_string().map(|group| group.as_str().to_owned())
        }
        sfv::ListEntry::InnerList(_) => None,
    };
    list.iter().map(string).collect::<Option<Vec<_>>>().unwrap_or_default()
}

#[cfg(test)]
mod tests;
