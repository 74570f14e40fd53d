//! How many requests a client may make, and by what they are counted.

use crate::cookies;
use crate::key::cookie_is_named;
use http::{HeaderMap, HeaderName};

/// A rate, as a rule sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Of each value or, without one, of each client prefix.
    pub count: Count,
    /// Of each client prefix whatever values it sends: they are the client's choice.
    pub client: Count,
    /// What requests are counted by beside the client prefix.
    pub by: Option<By>,
}

/// So many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Requests, at least 1, …
    pub requests: u32,
    /// … in so many milliseconds.
    pub per: u32,
    /// Requests at once, at least 1.
    pub burst: u32,
}

/// What requests are counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The value of a header.
    Header(HeaderName),
    /// The value of the cookie of this name.
    Cookie(String),
}

impl Rate {
    /// The value that a request is counted by: all lines of the header, or all cookies of the name. `None` if the
    /// request has none, or an empty one.
    pub fn value(&self, request: &HeaderMap) -> Option<Vec<u8>> {
        let values: Vec<Vec<u8>> = match self.by.as_ref()? {
            By::Header(name) => request
                .get_all(name)
                .iter()
                .map(|line| line.as_bytes().trim_ascii().to_vec())
                .collect(),
            By::Cookie(name) => named_cookies(name, request),
        };
        let value = values.join(&b'\n');
        (!value.is_empty()).then_some(value)
    }
}

fn named_cookies(name: &str, request: &HeaderMap) -> Vec<Vec<u8>> {
    let Some(line) = cookies::combined(request) else { return Vec::new() };
    let pairs = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let values = pairs.filter_map(|pair| {
        let end = memchr::memchr(b'=', pair)?;
        let is_it = cookie_is_named(name, pair[..end].trim_ascii_end());
        is_it.then(|| pair[end + 1..].trim_ascii_start().to_vec())
    });
    values.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http::header;

    fn value(by: By, fields: &[(HeaderName, &str)]) -> Option<String> {
        let count = Count { requests: 1, per: 1000, burst: 1 };
        let fields = fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
        let value = Rate { count, client: count, by: Some(by) }.value(&fields.collect())?;
        Some(String::from_utf8(value).unwrap())
    }

    #[test]
    fn a_value_is_all_that_the_request_has_of_it() {
        let name = HeaderName::from_static("x-api-key");
        let header = || By::Header(name.clone());
        assert_eq!(value(header(), &[(name.clone(), " a ")]).as_deref(), Some("a"));
        let two = [(name.clone(), "a"), (name.clone(), "b")];
        assert_eq!(value(header(), &two).as_deref(), Some("a\nb"));
        assert_eq!(value(header(), &[(name.clone(), "")]), None);
        assert_eq!(value(header(), &[]), None);
        let cookie = || By::Cookie("session".to_owned());
        let line = [(header::COOKIE, "a=b; session=c; sessions=d; session=e; session")];
        assert_eq!(value(cookie(), &line).as_deref(), Some("c\ne"));
        assert_eq!(value(cookie(), &[(header::COOKIE, "session=; a")]), None);
    }
}
