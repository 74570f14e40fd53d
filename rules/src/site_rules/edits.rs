//! Edits of the fields of a request as it comes, and of a response as it is sent.

use super::Settings;
use crate::cache_control::ResponseDirectives;
use crate::cache_control::parse::elements;
use crate::country::Country;
use crate::fields::is_poisonous;
use http::header::{AGE, CACHE_CONTROL, EXPIRES};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Edits of fields. In one rule, `remove` comes first, then `set`, with `country`, then `add`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Fields that go.
    pub remove: Vec<HeaderName>,
    /// Fields that get this value, in place of all of their name. One that gets several lines has them one after the
    /// other.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Fields that are set to the client's country; of requests only.
    pub country: Vec<HeaderName>,
    /// Lines that are added.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl HeaderEdits {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        let Self { remove, set, country, add } = self;
        remove.is_empty() && set.is_empty() && country.is_empty() && add.is_empty()
    }

    /// Edits these fields, for a client in this country, if that is known.
    pub fn apply(&self, fields: &mut HeaderMap, country: Option<Country>) {
        for name in &self.remove {
            fields.remove(name);
        }
        let mut before = None;
        for (name, value) in &self.set {
            match before.replace(name) == Some(name) {
                true => drop(fields.append(name, value.clone())),
                false => drop(fields.insert(name, value.clone())),
            }
        }
        for name in &self.country {
            fields.insert(name, country.unwrap_or(Country::UNKNOWN).value());
        }
        for (name, value) in &self.add {
            fields.append(name, value.clone());
        }
    }
}

/// Whether rules may edit this field of a request; whether they may only remove it, if `removed`.
///
/// # Errors
/// Why they may not.
pub fn check_request_field(name: &HeaderName, removed: bool) -> Result<(), String> {
    match name.as_str() {
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer"
        | "transfer-encoding" | "upgrade" | "content-length" | "content-encoding"
        | "content-range" | "expect" | "max-forwards" => {
            Err("belongs to the connection and its framing".into())
        }
        "host" => Err("is the key's; host_header says what the origin gets".into()),
        "range"
        | "if-range"
        | "if-match"
        | "if-none-match"
        | "if-modified-since"
        | "if-unmodified-since"
        | "accept-encoding"
        | "cache-control"
        | "pragma" => Err("says which response the client takes".into()),
        "cookie" | "authorization" if !removed => {
            Err("says who the client is; accepted: to remove it".into())
        }
        "via" | "cdn-loop" | "traceparent" | "tracestate" => Err("weir sets it itself".into()),
        name if name.starts_with("weir-") => Err("is a field between nodes".into()),
        _ if is_poisonous(name) => Err("weir sets it itself, or removes it".into()),
        _ => Ok(()),
    }
}

/// Whether rules may edit this field of a response.
///
/// # Errors
/// Why they may not.
pub fn check_response_field(name: &HeaderName) -> Result<(), String> {
    match name.as_str() {
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer"
        | "transfer-encoding" | "upgrade" | "content-length" => {
            Err("belongs to the connection and its framing".into())
        }
        "content-encoding" | "content-range" | "etag" | "last-modified" | "accept-ranges"
        | "vary" => Err("says which representation is sent; the origin sets it".into()),
        "age" | "date" | "cache-status" | "via" | "expires" => Err("weir sets it itself".into()),
        "set-cookie" => Err("is for one client, and rules are for all".into()),
        "www-authenticate" | "proxy-authenticate" | "proxy-authorization" => {
            Err("is the answer of whoever asks for credentials".into())
        }
        name if name.starts_with("weir-") => Err("is a field between nodes".into()),
        _ => Ok(()),
    }
}

/// Tells clients to keep a response for `browser_ttl` seconds from now: `max-age` is that much more than its Age, in
/// place of `max-age`, `s-maxage` and Expires. What must not be stored, or not be used without validation, stays as it
/// is, and so does what is no success and no lasting redirect.
fn tell_browsers(status: StatusCode, fields: &mut HeaderMap, browser_ttl: u32) {
    let has_ttl = matches!(status.as_u16(), 200 | 203 | 206 | 300 | 301 | 304 | 308);
    let directives = ResponseDirectives::from_headers(fields);
    if !has_ttl || directives.no_store || directives.no_cache.is_whole() {
        return;
    }
    let age = fields.get(AGE).and_then(|age| age.to_str().ok()?.parse::<u32>().ok()).unwrap_or(0);
    let mut told = Vec::new();
    for line in fields.get_all(CACHE_CONTROL) {
        for element in elements(line.as_bytes()).map(<[u8]>::trim_ascii) {
            let name = element.split(|byte| *byte == b'=').next().unwrap_or(element).trim_ascii();
            let replaced =
                [&b"max-age"[..], b"s-maxage"].iter().any(|n| name.eq_ignore_ascii_case(n));
            if !element.is_empty() && !replaced {
                told.extend_from_slice(element);
                told.extend_from_slice(b", ");
            }
        }
    }
    told.extend_from_slice(format!("max-age={}", age.saturating_add(browser_ttl)).as_bytes());
    // It is made of a valid value and digits.
    if let Ok(told) = HeaderValue::from_bytes(&told) {
        fields.insert(CACHE_CONTROL, told);
        fields.remove(EXPIRES);
    }
}

impl Settings {
    /// Applies the edits of this rule to the fields of a response.
    pub(super) fn edit(&self, status: StatusCode, fields: &mut HeaderMap) {
        if let Some(seconds) = self.browser_ttl {
            tell_browsers(status, fields, seconds);
        }
        if let Some(edits) = &self.response_headers {
            edits.apply(fields, None);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_str(value).unwrap());
        }
        fields
    }

    #[test]
    fn browsers_are_told_their_own_lifetime_from_now_on() {
        for (status, cache_control, age, expected) in [
            (200, "public, max-age=60, s-maxage=600", "30", "public, max-age=40"),
            (200, "private, MAX-AGE=\"5\", immutable", "0", "private, immutable, max-age=10"),
            (200, "", "0", "max-age=10"),
            (304, "max-age=1, must-revalidate", "2", "must-revalidate, max-age=12"),
            (200, "no-cache=\"a, b\", max-age=1", "0", "no-cache=\"a, b\", max-age=10"),
            (200, "no-store", "0", "no-store"),
            (200, "no-cache, max-age=1", "0", "no-cache, max-age=1"),
            (404, "max-age=1", "0", "max-age=1"),
            (302, "max-age=1", "0", "max-age=1"),
        ] {
            let mut sent =
                fields(&[("cache-control", cache_control), ("age", age), ("expires", "0")]);
            let status = StatusCode::from_u16(status).unwrap();
            tell_browsers(status, &mut sent, 10);
            assert_eq!(sent["cache-control"], expected, "{status} {cache_control}");
            let is_told = cache_control != expected;
            assert_eq!(sent.contains_key("expires"), !is_told, "{status} {cache_control}");
        }
    }

    #[test]
    fn fields_are_removed_then_set_then_added() {
        let value = HeaderValue::from_static;
        let edits = HeaderEdits {
            remove: vec!["server".parse().unwrap(), "x-a".parse().unwrap()],
            set: vec![
                ("x-b".parse().unwrap(), value("1")),
                ("x-c".parse().unwrap(), value("4")),
                ("x-c".parse().unwrap(), value("5")),
            ],
            country: vec!["x-country".parse().unwrap()],
            add: vec![("x-b".parse().unwrap(), value("2")), ("x-a".parse().unwrap(), value("3"))],
        };
        for (country, told) in [(Country::parse("DE").ok(), "DE"), (None, "ZZ")] {
            let mut sent = fields(&[
                ("server", "s"),
                ("x-a", "0"),
                ("x-b", "0"),
                ("x-b", "9"),
                ("x-c", "0"),
                ("x-country", "the client's own"),
            ]);
            edits.apply(&mut sent, country);
            let expected = [
                ("x-b", "1"),
                ("x-b", "2"),
                ("x-c", "4"),
                ("x-c", "5"),
                ("x-country", told),
                ("x-a", "3"),
            ];
            assert_eq!(sent, fields(&expected));
        }
    }

    #[test]
    fn framing_and_what_weir_says_itself_are_no_business_of_rules() {
        for name in [
            "content-length",
            "transfer-encoding",
            "connection",
            "age",
            "weir-seq",
            "set-cookie",
            "etag",
        ] {
            assert!(check_response_field(&name.parse().unwrap()).is_err(), "{name}");
        }
        for name in
            ["host", "range", "x-forwarded-for", "x-original-url", "weir-key", "te", "cookie"]
        {
            assert!(check_request_field(&name.parse().unwrap(), false).is_err(), "{name}");
        }
        for (name, removed) in [("cookie", true), ("authorization", true), ("x-device", false)] {
            assert!(check_request_field(&name.parse().unwrap(), removed).is_ok(), "{name}");
        }
        for name in ["x-frame-options", "cache-control", "location", "content-type", "server"] {
            assert!(check_response_field(&name.parse().unwrap()).is_ok(), "{name}");
        }
    }
}
