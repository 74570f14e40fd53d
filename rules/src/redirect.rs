//! Location, Content-Location and Refresh of an origin's response, rewritten where they name the
//! origin: a visitor that followed them would leave the CDN.

use crate::invalidation::url_name;
use crate::reference::resolve;
use http::header::{CONTENT_LOCATION, Entry, HeaderName, LOCATION, REFRESH};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::borrow::Cow;
use std::net::Ipv6Addr;

/// The address of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginAddress<'a> {
    /// Whether it is asked over TLS.
    pub https: bool,
    /// Its name or address, in lower case and without brackets.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// What is put before each path that it is asked for: empty, or a path that does not end with a slash.
    pub prefix: &'a str,
}

/// The request that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visited<'a> {
    /// The method.
    pub method: &'a Method,
    /// The visitor's scheme, `http` or `https`.
    pub scheme: &'a str,
    /// The visitor's host in lower case, with its port unless that is the scheme's default.
    pub authority: &'a str,
    /// Path and query as the origin was asked for them.
    pub target: &'a str,
}

/// Rewrites the references in a response that name one of `origins`, by its own address or by the
/// visitor's host with its port, or as a path below its prefix.
pub fn rewrite(
    fields: &mut HeaderMap,
    status: StatusCode,
    origins: &[OriginAddress<'_>],
    visited: &Visited<'_>,
) {
    let repeats = repeats(visited.method, status);
    replace(fields, &LOCATION, |text| reference(text, origins, visited, repeats));
    // Nobody follows it.
    replace(fields, &CONTENT_LOCATION, |text| reference(text, origins, visited, false));
    replace(fields, &REFRESH, |text| refresh(text, origins, visited));
}

/// Whether a response has a reference that [`rewrite`] looks at.
pub fn has_references(fields: &HeaderMap) -> bool {
    [&LOCATION, &CONTENT_LOCATION, &REFRESH].iter().any(|name| fields.contains_key(*name))
}

/// Whether a client that follows Location sends the same method again (RFC 9110 §15.4).
fn repeats(method: &Method, status: StatusCode) -> bool {
    match status {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        _ => status.is_redirection() && matches!(*method, Method::GET | Method::HEAD),
    }
}

fn replace(fields: &mut HeaderMap, name: &HeaderName, new: impl Fn(&str) -> Option<String>) {
    let Entry::Occupied(mut values) = fields.entry(name) else { return };
    for value in values.iter_mut() {
        // A byte a character, whatever the encoding: only ASCII matters here.
        let text: String = value.as_bytes().iter().map(|&byte| char::from(byte)).collect();
        let bytes = |new: String| new.chars().map(|c| u8::try_from(c).ok()).collect();
        let bytes: Option<Vec<u8>> = new(&text).and_then(bytes);
        if let Some(new) = bytes.and_then(|bytes| HeaderValue::from_bytes(&bytes).ok()) {
            *value = new;
        }
    }
}

/// The absolute-path reference in the place of one that names an origin; `None` leaves it as it is.
/// If it `repeats` the request, it never becomes the requested URL: an origin's redirect from http
/// to https would loop.
fn reference(
    text: &str,
    origins: &[OriginAddress<'_>],
    visited: &Visited<'_>,
    repeats: bool,
) -> Option<String> {
    let own = format!("{}://{}", visited.scheme, visited.authority);
    let rest = match Named::parse(text) {
        Some(named) => {
            let visitor = Named::parse(&own)?;
            let mut named_by = origins.iter().filter(|origin| named.is(origin, &visitor.host));
            let first = named_by.clone().next()?;
            // What is not below the prefix, no visitor can ask for; by their own host they can.
            let below = named_by.find_map(|origin| below(named.rest, origin.prefix));
            let is_visitors = named.host == visitor.host || first.prefix.is_empty();
            below.or(is_visitors.then_some(named.rest))?
        }
        None if text.starts_with('/') => {
            let mut prefixes = origins.iter().map(|origin| origin.prefix);
            prefixes.find_map(|prefix| below(text, prefix).filter(|_| !prefix.is_empty()))?
        }
        None => return None,
    };
    let path = match rest.as_bytes() {
        [] | [b'?' | b'#', ..] => Cow::Owned(format!("/{rest}")),
        _ => Cow::Borrowed(rest),
    };
    let target = path.split('#').next().unwrap_or_default();
    if repeats && is_same(target, visited.target) {
        return None;
    }
    match path.as_bytes() {
        // A client would take what follows for a host. Browsers remove a tab, and read \ as /.
        [b'/', b'/' | b'\\' | b'\t', ..] | [b'\\' | b'\t', ..] => Some(format!("{own}{path}")),
        _ => Some(path.into_owned()),
    }
}

/// What follows the prefix of an origin, if the path is below it.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix)?;
    (prefix.is_empty() || rest.is_empty() || rest.starts_with(['/', '?', '#'])).then_some(rest)
}

/// The same for the URL in Refresh: seconds, `;` or `,`, perhaps `url=`, perhaps quotes (the
/// shared declarative refresh steps of the HTML standard).
fn refresh(text: &str, origins: &[OriginAddress<'_>], visited: &Visited<'_>) -> Option<String> {
    let after = text[text.find([';', ','])? + 1..].trim_start();
    let named = after.get(..3).filter(|word| word.eq_ignore_ascii_case("url"));
    let named = named.and_then(|word| after[word.len()..].trim_start().strip_prefix('='));
    let url = named.map_or(after, str::trim_start);
    let start = text.len() - url.len();
    let (start, url) = match url.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let inner = &url[1..];
            (start + 1, &inner[..inner.find(quote).unwrap_or(inner.len())])
        }
        _ => (start, url.trim_end()),
    };
    let new = reference(url, origins, visited, true)?;
    Some(format!("{}{new}{}", &text[..start], &text[start + url.len()..]))
}

/// Whether two targets are one resource, however they are spelled (RFC 3986 §6.2.2).
fn is_same(a: &str, b: &str) -> bool {
    let name = |target: &str| {
        let whole = resolve("http://h/", target)?;
        let target = whole.strip_prefix("http://h")?;
        Some(match target.split_once('?') {
            Some((path, query)) => url_name("", path, Some(query)),
            None => url_name("", target, None),
        })
    };
    a == b || (name(a).is_some() && name(a) == name(b))
}

/// A reference with an authority (RFC 3986 §4.2), read.
struct Named<'a> {
    /// `None` of a network-path reference, which has the scheme of its base.
    https: Option<bool>,
    host: String,
    port: Option<u16>,
    /// What follows the authority.
    rest: &'a str,
}

impl<'a> Named<'a> {
    /// `None` if it has no authority, another scheme, or user information.
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("//")?;
        let https = match scheme {
            "" => None,
            _ if scheme.eq_ignore_ascii_case("http:") => Some(false),
            _ if scheme.eq_ignore_ascii_case("https:") => Some(true),
            _ => return None,
        };
        let (authority, rest) =
            rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(address) => {
                let (address, port) = address.split_once(']')?;
                (address.parse::<Ipv6Addr>().ok()?.to_string(), port)
            }
            None => {
                let end = authority.find(':').unwrap_or(authority.len());
                let host = &authority[..end];
                (host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase(), &authority[end..])
            }
        };
        let port = match port {
            "" | ":" => None,
            _ => Some(port.strip_prefix(':')?.parse().ok()?),
        };
        Some(Self { https, host, port, rest })
    }

    /// Whether it names this origin, by its own host or by the visitor's.
    fn is(&self, origin: &OriginAddress<'_>, visitor: &str) -> bool {
        let default = if origin.https { 443 } else { 80 };
        self.https.is_none_or(|https| https == origin.https)
            && self.port.unwrap_or(default) == origin.port
            && (self.host == origin.host || self.host == visitor)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
