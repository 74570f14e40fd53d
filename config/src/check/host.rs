//! Host names of sites, and URLs of origins.

use crate::{Origin, Protocol};
use http::Uri;
use http::uri::PathAndQuery;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// What [`site_host`] takes, for messages.
pub(super) const HOST_FORM: &str =
    "a host name or address without a port, \"*.example.com\" for its subdomains, \"*\" for all";

/// What [`origin`] takes, for messages.
pub(super) const ORIGIN_FORM: &str =
    "scheme, host and perhaps a port, such as http://10.0.0.5:3000 or https://example.com";

/// What [`site_origin`] takes, for messages.
pub(super) const SITE_ORIGIN_FORM: &str = "scheme, host and perhaps a port and a path, such as http://10.0.0.5:3000 or https://example.com/app, \
     or unix: and the path of a socket, such as unix:/run/app.sock";

/// Longest path of a Unix socket, bytes (unix(7)).
const LONGEST_SOCKET: usize = 107;

/// Reads one of a site's hosts, in lower case.
pub(super) fn site_host(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    if text == "*" {
        return Ok(text);
    }
    if text.contains("://") || text.contains('/') {
        return Err("a URL or path where only the host is meant".into());
    }
    match text.strip_prefix("*.") {
        Some(parent) => dns_name(parent)?,
        None => host(&text)?,
    }
    Ok(text)
}

/// Reads the URL of a server whose paths are the client's own.
pub(super) fn origin(text: &str) -> Result<Origin, String> {
    let origin = read_origin(text)?;
    match origin.prefix.as_str() {
        "" => Ok(origin),
        _ => Err("a path: it is asked for the client's own path".into()),
    }
}

/// Reads an origin of a site, which may have a path or listen on a Unix socket.
pub(super) fn site_origin(text: &str) -> Result<Origin, String> {
    let Some(socket) = text.strip_prefix("unix:") else { return read_origin(text) };
    if !socket.starts_with('/') {
        return Err("the path of the socket is not absolute".into());
    }
    if socket.len() > LONGEST_SOCKET {
        return Err(format!("the path of the socket is longer than {LONGEST_SOCKET} bytes"));
    }
    if socket.contains('\0') {
        return Err("the path of the socket contains a NUL".into());
    }
    let local = "localhost".to_owned();
    Ok(Origin {
        tls: false,
        host: local.clone(),
        port: 80,
        authority: local,
        socket: Some(PathBuf::from(socket)),
        prefix: String::new(),
        weight: 1,
        protocol: Protocol::H1,
        visitors_host: false,
    })
}

fn read_origin(text: &str) -> Result<Origin, String> {
    let (scheme, rest) = text.split_once("://").ok_or("no scheme")?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        other => return Err(format!("the scheme {other:?} is neither http nor https")),
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    if authority.contains('@') {
        return Err("user names and passwords in the URL are not sent to an origin".into());
    }
    let prefix = match after {
        _ if after.contains('#') => return Err("a fragment means nothing to an origin".into()),
        _ if after.contains('?') => return Err("the query comes from each client's request".into()),
        _ => prefix(after)?,
    };
    let uri: Uri = format!("http://{authority}/").parse().map_err(|_| "not a host and port")?;
    let name = uri.host().ok_or("no host")?.to_ascii_lowercase();
    host(&name)?;
    if authority.ends_with(':') {
        return Err("the port is missing after the colon".into());
    }
    let port = match uri.port_u16() {
        Some(0) => return Err("port 0 cannot be connected to".into()),
        Some(port) => port,
        None if authority.len() > name.len() => return Err("the port is not 1 to 65535".into()),
        None if tls => 443,
        None => 80,
    };
    let host = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    let authority = authority.to_ascii_lowercase();
    Ok(Origin {
        tls,
        host,
        port,
        authority,
        socket: None,
        prefix,
        weight: 1,
        protocol: Protocol::H1,
        visitors_host: false,
    })
}

/// What is put before each path: a path less the slash at its end.
fn prefix(path: &str) -> Result<String, String> {
    let prefix = path.strip_suffix('/').unwrap_or(path);
    let plain = |segment: &str| !matches!(segment, "" | "." | "..");
    if !prefix.split('/').skip(1).all(plain) {
        return Err("a path with an empty segment, or one of dots".into());
    }
    let is_path = |path: &str| path.parse::<PathAndQuery>().is_ok_and(|read| read.as_str() == path);
    match prefix {
        "" => Ok(String::new()),
        _ if prefix.contains('\\') || !prefix.is_ascii() || !is_path(prefix) => {
            Err("a path with characters that must be escaped".into())
        }
        _ => Ok(prefix.to_owned()),
    }
}

/// A name, an IPv4 address, or an IPv6 address in brackets; lower case.
pub(super) fn host(text: &str) -> Result<(), String> {
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address = address.parse::<Ipv6Addr>().map_err(|_| "not an IPv6 address")?;
        // The key's host is the text of the Host field, so there is one way to write it.
        return if format!("[{address}]") == text {
            Ok(())
        } else {
            Err(format!("write it in its shortest form, [{address}]"))
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err("an IPv6 address needs brackets".into());
    }
    if text.contains(':') {
        return Err("with a port; every port is meant".into());
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    if !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()) {
        // As in the WHATWG URL standard: what ends in a number is an address or nothing.
        return text.parse::<Ipv4Addr>().map(drop).map_err(|_| "not an IPv4 address".into());
    }
    dns_name(text)
}

/// A DNS name as a Host field has it; underscores are allowed because people use them.
fn dns_name(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("empty".into());
    }
    if !text.is_ascii() {
        return Err("not ASCII; write it as browsers send it, xn--…".into());
    }
    if text.ends_with('.') {
        return Err("with a dot at its end; leave it out".into());
    }
    if text.contains('*') {
        return Err("a * that is not the whole first label".into());
    }
    if text.len() > 253 || text.split('.').any(|label| label.len() > 63) {
        return Err("too long for a host name".into());
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.split('.').all(label) { Ok(()) } else { Err("not a host name".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_lower_cased_and_judged() {
        for (text, host) in [
            ("*", "*"),
            ("Example.COM", "example.com"),
            ("*.Example.com", "*.example.com"),
            ("localhost", "localhost"),
            ("my_host", "my_host"),
            ("192.0.2.1", "192.0.2.1"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(site_host(text).as_deref(), Ok(host));
        }
        for (text, reason) in [
            ("", "empty"),
            ("a:80", "with a port"),
            ("http://a", "a URL"),
            ("a/b", "a URL or path"),
            ("a.*.b", "first label"),
            ("*a.b", "first label"),
            ("*.", "empty"),
            ("a.", "dot at its end"),
            ("a..b", "not a host name"),
            ("-a", "not a host name"),
            ("ä.de", "xn--"),
            ("::1", "brackets"),
            ("[0:0::1]", "[::1]"),
            ("1.2.3.256", "not an IPv4 address"),
            ("a b", "not a host name"),
        ] {
            let error = site_host(text).expect_err("must be refused");
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        let of = |text| origin(text).expect("a valid origin");
        let plain = of("http://Example.com");
        assert_eq!((plain.tls, plain.port), (false, 80));
        assert_eq!((plain.host.as_str(), plain.authority.as_str()), ("example.com", "example.com"));
        let tls = of("https://example.com/");
        assert_eq!((tls.tls, tls.port), (true, 443));
        let six = of("http://[::1]:3000");
        assert_eq!(
            (six.host.as_str(), six.port, six.authority.as_str()),
            ("::1", 3000, "[::1]:3000")
        );
    }

    #[test]
    fn what_an_origin_cannot_have_is_refused_with_the_reason() {
        for (text, reason) in [
            ("example.com", "no scheme"),
            ("ftp://a", "\"ftp\" is neither"),
            ("http://", "not a host"),
            ("http://user:pw@a", "user names"),
            ("http://a/b", "a path"),
            ("http://a/?q", "the query"),
            ("http://a#f", "a fragment"),
            ("http://a:0", "port 0"),
            ("http://a:70000", ""),
            ("http://a:", "port is missing"),
            ("http://a b", "not a host"),
            ("http://a\\b", "must be escaped"),
        ] {
            let error = origin(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn an_origin_of_a_site_may_have_a_path_or_listen_on_a_socket() {
        let of = |text| site_origin(text).expect("a valid origin");
        for (text, prefix) in [
            ("http://a", ""),
            ("http://a/", ""),
            ("http://a/b/", "/b"),
            ("https://a/b%20c/d", "/b%20c/d"),
        ] {
            assert_eq!(of(text).prefix, prefix, "{text}");
        }
        let socket = of("unix:/run/app.sock");
        assert_eq!(socket.socket.as_deref(), Some(std::path::Path::new("/run/app.sock")));
        assert_eq!(
            (socket.host.as_str(), socket.to_string()),
            ("localhost", "unix:/run/app.sock".into())
        );
        let long = format!("unix:/{}", "a".repeat(107));
        for (text, reason) in [
            ("unix:", "not absolute"),
            ("unix:run/app.sock", "not absolute"),
            (long.as_str(), "longer than 107"),
            ("http://a/b/../c", "of dots"),
            ("http://a//b", "empty segment"),
            ("http://a/b c", "must be escaped"),
            ("http://a/\u{e4}", "must be escaped"),
        ] {
            let error = site_origin(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
