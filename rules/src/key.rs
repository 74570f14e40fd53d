//! The cache key: what names a resource here (RFC 9111 §2), and what the origin is asked for it.
//!
//! INVARIANT: a parameter that does not count is in neither the key nor the origin's request, and
//! one that counts is in both; otherwise what is stored for all could depend on what one sent.

mod cookie;
mod query;
mod tracking;

pub(crate) use cookie::is_named as cookie_is_named;
pub(crate) use query::decoded;
pub(crate) use query::names as parameter_is_named;
pub use query::{keyed_query, origin_query};
pub use tracking::TRACKING;

use http::{HeaderMap, HeaderName};

/// How a site makes keys. The default keeps everything as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRules {
    /// What is done to the query.
    pub query: QueryRules,
    /// Request fields that are part of the key; lower case, sorted.
    pub headers: Vec<HeaderName>,
    /// Cookies that are part of the key (names, or `prefix*`); sorted.
    pub cookies: Vec<String>,
}

/// What is done to a query before it is keyed and sent to the origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryRules {
    /// Parameters are put in byte order of their decoded names (stable for equal names) in the key
    /// only.
    pub sort: bool,
    /// Which parameters count.
    pub keep: QueryKeep,
}

/// Which parameters of a query count. What does not count is dropped from key and origin request
/// alike, so that it cannot change what is stored. Names are compared after percent-decoding, with
/// their case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum QueryKeep {
    /// All of them.
    #[default]
    All,
    /// All but these (names, or `prefix*`).
    Except(Vec<String>),
    /// Only these (names, or `prefix*`).
    Only(Vec<String>),
    /// None: the query is ignored.
    Nothing,
}

/// Scheme, host and target of one request as the key needs them. None holds a line feed: a request
/// target cannot, and the configuration refuses such a release.
#[derive(Clone, Copy, Debug)]
pub struct KeyParts<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host, lower case, without a default port.
    pub host: &'a str,
    /// Absolute path as sent.
    pub path: &'a str,
    /// Query without `?`, as sent; `Some("")` for a bare `?`.
    pub query: Option<&'a str>,
    /// The site's release, if it has one.
    pub release: Option<&'a str>,
}

/// Writes the canonical key into `out` (cleared first). Two requests have equal bytes exactly when
/// they name the same resource. The layout is
/// `scheme://host/path?query` then `\n`-prefixed extras (`release=…`, `field: value`,
/// `cookie name=value`), so that it is readable in `explain` and unambiguous.
///
/// With default rules nothing is allocated but what `out` lacks.
pub fn write_key(out: &mut Vec<u8>, parts: &KeyParts<'_>, rules: &KeyRules, request: &HeaderMap) {
    let query_length = parts.query.map_or(0, |query| query.len() + 1);
    out.clear();
    out.reserve(parts.scheme.len() + 3 + parts.host.len() + parts.path.len() + query_length);
    out.extend_from_slice(parts.scheme.as_bytes());
    out.extend_from_slice(b"://");
    out.extend_from_slice(parts.host.as_bytes());
    out.extend_from_slice(parts.path.as_bytes());
    query::append(out, parts.query, &rules.query);
    if let Some(release) = parts.release {
        out.extend_from_slice(b"\nrelease=");
        out.extend_from_slice(release.as_bytes());
    }
    for name in &rules.headers {
        if request.contains_key(name) {
            out.push(b'\n');
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            crate::vary::append_value(out, name, request);
        }
    }
    for name in &rules.cookies {
        cookie::append(out, name, request);
    }
}

#[cfg(test)]
mod tests;
