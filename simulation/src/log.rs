//! Lines of access logs: weir's JSON, and the common and combined formats of web servers (Apache httpd, nginx,
//! Varnish, weir), with or without the host in front.

use crate::{Line, Request, date, hash_of};
use serde::Deserialize;
use std::borrow::Cow;
use std::net::IpAddr;

/// Statuses of answers that caches store, and 304, which says that one is right.
const STORED: [u16; 10] = [200, 203, 206, 300, 301, 304, 308, 404, 405, 410];

/// A request as it was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Logged<'a> {
    at: Option<u64>,
    client: Cow<'a, str>,
    method: Cow<'a, str>,
    host: Cow<'a, str>,
    target: Cow<'a, str>,
    status: u16,
    bytes: u64,
    /// It is known that no cache answers it.
    passes: bool,
}

/// Reads a line. `is_skipped` judges the path and query of a request: those that it picks count as passed.
pub fn read(line: &str, is_skipped: impl Fn(&str) -> bool) -> Line {
    let line = line.trim();
    if line.is_empty() {
        return Line::Nothing;
    }
    if line.starts_with('{') {
        return match serde_json::from_str::<JsonLine<'_>>(line) {
            Ok(json) => json.line(is_skipped),
            Err(_) => Line::Unknown,
        };
    }
    match common(line) {
        Some(logged) => logged.line(is_skipped),
        // weir's combined log has such a line for lines that were dropped.
        None if line.ends_with("lines dropped\"") => Line::Nothing,
        None => Line::Unknown,
    }
}

impl Logged<'_> {
    fn line(self, is_skipped: impl Fn(&str) -> bool) -> Line {
        // Varnish logs the whole URL.
        let target = self.target.strip_prefix("http://").or(self.target.strip_prefix("https://"));
        let (host, target) = match target {
            Some(rest) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                rest.split_at(end)
            }
            None => (&*self.host, &*self.target),
        };
        let is_read = self.method == "GET" || self.method == "HEAD";
        if !is_read || self.passes || !STORED.contains(&self.status) || is_skipped(target) {
            return Line::Passed;
        }
        let host = host.to_ascii_lowercase();
        Line::Request(Request {
            url: hash_of(&[host.as_bytes(), target.as_bytes()]),
            client: hash_of(&[self.client.as_bytes()]),
            at: self.at,
            bytes: self.bytes,
        })
    }
}

/// A line of weir's JSON log.
#[derive(Deserialize)]
struct JsonLine<'a> {
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    peer: Option<Cow<'a, str>>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    host: Option<Cow<'a, str>>,
    #[serde(borrow)]
    target: Option<Cow<'a, str>>,
    status: Option<u16>,
    bytes: Option<u64>,
    #[serde(borrow)]
    traffic: Option<Cow<'a, str>>,
    #[serde(borrow)]
    cache: Option<Cow<'a, str>>,
    dropped_lines: Option<u64>,
    #[serde(borrow)]
    request_line: Option<Cow<'a, str>>,
}

impl JsonLine<'_> {
    fn line(self, is_skipped: impl Fn(&str) -> bool) -> Line {
        let is_nothing = self.traffic.is_some() || self.dropped_lines.is_some();
        if is_nothing {
            return Line::Nothing;
        }
        if self.request_line.is_some() {
            // It was refused.
            return Line::Passed;
        }
        let (Some(method), Some(target), Some(status)) = (self.method, self.target, self.status)
        else {
            return Line::Unknown;
        };
        let passes = self.cache.is_some_and(|cache| cache == "bypass" || cache == "method");
        let logged = Logged {
            at: self.time.and_then(|time| date::of_rfc3339(&time)),
            client: self.peer.unwrap_or_default(),
            method,
            host: self.host.unwrap_or_default(),
            target,
            status,
            bytes: self.bytes.unwrap_or(0),
            passes,
        };
        logged.line(is_skipped)
    }
}

/// `[host] client identity user [date] "request" status bytes`, and whatever follows.
fn common(line: &str) -> Option<Logged<'_>> {
    let (before, rest) = line.split_once('[')?;
    let (date, rest) = rest.split_once(']')?;
    let rest = rest.trim_start().strip_prefix('"')?;
    let end = unescaped_quote(rest)?;
    let (request, rest) = (&rest[..end], &rest[end + 1..]);
    let mut words = before.split_ascii_whitespace();
    let (first, second) = (words.next()?, words.next());
    // A client may have a name, a host is never an address's identity.
    let has_host = second.is_some_and(|second| second.parse::<IpAddr>().is_ok());
    let (host, client) = match second {
        Some(second) if has_host => (without_port(first), second),
        _ => ("", first),
    };
    let mut parts = request.split(' ');
    let (method, target) = (parts.next()?, parts.next()?);
    let mut numbers = rest.split_ascii_whitespace();
    let status = numbers.next()?.parse().ok()?;
    let bytes = match numbers.next()? {
        "-" => 0,
        bytes => bytes.parse().ok()?,
    };
    let at = date::of_common_log(date);
    let [client, method, host, target] = [client, method, host, target].map(Cow::Borrowed);
    Some(Logged { at, client, method, host, target, status, bytes, passes: false })
}

/// Where the text in quotes ends: servers write a quote in it as `\"` or `\x22`.
fn unescaped_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn no(_: &str) -> bool {
        false
    }

    fn request(host: &str, target: &str, client: &str, bytes: u64) -> Line {
        Line::Request(Request {
            url: hash_of(&[host.as_bytes(), target.as_bytes()]),
            client: hash_of(&[client.as_bytes()]),
            at: Some(1_795_293_810),
            bytes,
        })
    }

    const DATE: &str = "[21/Nov/2026:20:43:30 +0000]";

    #[test]
    fn lines_of_known_servers_are_read() {
        let a = "10.0.0.1";
        let json = r#"{"time":"2026-11-21T20:43:30.007Z","peer":"10.0.0.1","method":"GET","host":"Shop.example","target":"/a?b=\"1","protocol":"HTTP/1.1","status":200,"bytes":12,"cache":"uri-miss","stored":true}"#;
        for (line, expected) in [
            (json.to_owned(), request("shop.example", "/a?b=\"1", a, 12)),
            // The common format, and nginx's combined.
            (format!("{a} - - {DATE} \"GET /a HTTP/1.1\" 200 12"), request("", "/a", a, 12)),
            (
                format!("{a} - bob {DATE} \"GET /a HTTP/2.0\" 304 0 \"https://x/\" \"curl [8]\""),
                request("", "/a", a, 0),
            ),
            // Apache httpd's vhost_combined.
            (
                format!("shop.example:443 {a} - - {DATE} \"HEAD /a HTTP/1.1\" 200 - \"-\" \"-\""),
                request("shop.example", "/a", a, 0),
            ),
            // varnishncsa.
            (
                format!("{a} - - {DATE} \"GET http://shop.example/a HTTP/1.1\" 200 7 \"-\" \"x\""),
                request("shop.example", "/a", a, 7),
            ),
            // An escaped quote, of httpd and of nginx.
            (format!("{a} - - {DATE} \"GET /\\\"q HTTP/1.1\" 200 7"), request("", "/\\\"q", a, 7)),
            (format!("{a} - - {DATE} \"GET /\\x22 HTTP/1.1\" 200 7"), request("", "/\\x22", a, 7)),
        ] {
            assert_eq!(read(&line, no), expected, "{line}");
        }
    }

    #[test]
    fn what_no_cache_answers_is_passed() {
        let line = |request: &str, status: u16| format!("::1 - - {DATE} \"{request}\" {status} 5");
        for passed in [
            line("POST /a HTTP/1.1", 200),
            line("GET /a HTTP/1.1", 302),
            line("GET /a HTTP/1.1", 503),
            line("GET /a HTTP/1.1", 429),
            r#"{"method":"GET","target":"/a","status":200,"cache":"bypass"}"#.to_owned(),
            r#"{"request_line":"GET /\u0000","status":400,"bytes":0}"#.to_owned(),
        ] {
            assert_eq!(read(&passed, no), Line::Passed, "{passed}");
        }
        let skipped = |target: &str| target.starts_with("/admin/");
        assert_eq!(read(&line("GET /admin/a HTTP/1.1", 200), skipped), Line::Passed);
        assert!(matches!(read(&line("GET /a HTTP/1.1", 200), skipped), Line::Request(_)));
    }

    #[test]
    fn what_weir_did_itself_and_what_is_missing_is_nothing() {
        for nothing in [
            "",
            r#"{"time":"x","method":"GET","target":"/a","status":200,"traffic":"warm-up"}"#,
            r#"{"time":"2026-11-21T20:43:30.007Z","dropped_lines":12}"#,
            r#"- - - [21/Nov/2026:20:43:30 +0000] "-" 0 0 "-" "12 lines dropped""#,
        ] {
            assert_eq!(read(nothing, no), Line::Nothing, "{nothing}");
        }
    }

    #[test]
    fn other_lines_are_unknown() {
        for unknown in [
            "hello",
            "{}",
            "{\"method\":1}",
            "# a comment",
            "10.0.0.1 - - [x \"GET / HTTP/1.1\" 200 1",
            "10.0.0.1 - - [x] \"GET /\\\" 200 1",
            "10.0.0.1 - - [x] \"GET / HTTP/1.1\" OK 1",
        ] {
            assert_eq!(read(unknown, no), Line::Unknown, "{unknown}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_something(line in ".{0,200}", json in any::<bool>()) {
            let line = if json { format!("{{{line}") } else { line };
            read(&line, no);
        }
    }
}
