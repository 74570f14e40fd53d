//! Targets as people write them, and what is wrong with those that are none.

use super::Target;
use super::percent::normalised;

/// The longest path, prefix or URL that is accepted, in bytes.
pub const MAX_TARGET_BYTES: usize = 8 * 1024;

/// The longest tag that is accepted, in bytes.
pub const MAX_TAG_BYTES: usize = 1024;

/// The longest host with port that is accepted, in bytes (RFC 1035 §2.3.4, and a port).
const MAX_HOST_BYTES: usize = 255 + 6;

const PATH: &str =
    "an absolute path such as /a (every query) or /a?x=1 (that one), with * for any characters";
const PREFIX: &str = "whole path segments such as /img or www.example.com/img";
const URL: &str = "an absolute URL such as https://www.example.com/a?x=1";
const TAG: &str = "1 to 1024 bytes of text without control characters";
const HOST: &str = "a host name such as www.example.com, with a port if it is not the default one";

/// The kinds of targets that are named by a text, in the order in which a purge lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// Paths, and patterns of them.
    Path,
    /// URLs.
    Url,
    /// Prefixes of paths.
    Prefix,
    /// Cache tags.
    Tag,
    /// Hosts.
    Host,
}

impl TargetKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Path, Self::Url, Self::Prefix, Self::Tag, Self::Host];

    /// What a list of such targets is called: `paths`, `urls`, …
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Path => "paths",
            Self::Url => "urls",
            Self::Prefix => "prefixes",
            Self::Tag => "tags",
            Self::Host => "hosts",
        }
    }

    /// What one such target is called: `path`, `url`, …
    pub const fn singular(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Url => "url",
            Self::Prefix => "prefix",
            Self::Tag => "tag",
            Self::Host => "host",
        }
    }

    /// Reads a target of this kind.
    ///
    /// # Errors
    /// What is wrong with it, and what is accepted.
    pub fn parse(self, text: &str) -> Result<Target, String> {
        match self {
            Self::Path => Target::parse_path(text),
            Self::Url => Target::parse_url(text),
            Self::Prefix => Target::parse_prefix(text),
            Self::Tag => Target::parse_tag(text),
            Self::Host => Target::parse_host(text),
        }
    }
}

impl Target {
    /// Its kind; `None` for all, which no text names.
    pub fn kind(&self) -> Option<TargetKind> {
        match self {
            Self::Path(_) | Self::Pattern(_) => Some(TargetKind::Path),
            Self::Url(_) => Some(TargetKind::Url),
            Self::Prefix(_) => Some(TargetKind::Prefix),
            Self::Tag(_) | Self::AnyCaseTag(_) => Some(TargetKind::Tag),
            Self::Host(_) => Some(TargetKind::Host),
            Self::All => None,
        }
    }

    /// The one host that it takes responses of, with its port if it names one; `None` for a target
    /// of any host.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Url(url) => Some(authority(split_scheme(url).1)),
            Self::Prefix(prefix) if prefix.starts_with('/') => None,
            Self::Prefix(prefix) => Some(authority(prefix)),
            Self::Host(host) => Some(host),
            Self::Path(_) | Self::Pattern(_) | Self::Tag(_) | Self::AnyCaseTag(_) | Self::All => {
                None
            }
        }
    }

    /// Where its path begins, if it is a path or a URL: those are written as a site's keys have them. A pattern is
    /// compared with whole keys as it stands.
    pub(super) fn path_start(&self) -> Option<usize> {
        match self {
            Self::Path(_) => Some(0),
            Self::Url(url) => {
                let rest = split_scheme(url).1;
                let path = rest.find(['/', '?']).unwrap_or(rest.len());
                Some(url.len() - rest.len() + path)
            }
            _ => None,
        }
    }

    /// The same kind of target with another text, if it is a path or a URL.
    pub(super) fn rekeyed(&self, text: String) -> Option<Self> {
        match self {
            Self::Path(_) => Some(Self::Path(text)),
            Self::Url(_) => Some(Self::Url(text)),
            Self::Pattern(_)
            | Self::Prefix(_)
            | Self::Tag(_)
            | Self::AnyCaseTag(_)
            | Self::Host(_)
            | Self::All => None,
        }
    }

    /// What it names; empty for all, which needs no name.
    pub fn text(&self) -> &str {
        match self {
            Self::Path(text)
            | Self::Pattern(text)
            | Self::Prefix(text)
            | Self::Url(text)
            | Self::Tag(text)
            | Self::AnyCaseTag(text)
            | Self::Host(text) => text,
            Self::All => "",
        }
    }

    /// An absolute path, or a pattern where it holds `*`. The error names what is wrong and what is
    /// accepted; so for the others below.
    pub fn parse_path(text: &str) -> Result<Self, String> {
        check("path", text, MAX_TARGET_BYTES, PATH)?;
        refuse("path", text, "#", "a fragment (#), which no request carries", PATH)?;
        if !text.starts_with('/') {
            return Err(wrong("path", text, "does not start with /", PATH));
        }
        Ok(if text.contains('*') {
            Self::Pattern(text.to_owned())
        } else {
            Self::Path(text.to_owned())
        })
    }

    /// A prefix on whole segments: `/img`, or `host/img` with or without scheme.
    pub fn parse_prefix(text: &str) -> Result<Self, String> {
        check("prefix", text, MAX_TARGET_BYTES, PREFIX)?;
        refuse("prefix", text, "#", "a fragment (#), which no request carries", PREFIX)?;
        refuse("prefix", text, "?", "a query (?)", PREFIX)?;
        refuse("prefix", text, "*", "a * (patterns go among the paths)", PREFIX)?;
        if text.starts_with('/') {
            return Ok(Self::Prefix(text.to_owned()));
        }
        let (scheme, rest) = split_scheme(text);
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        // `img/a` is a path that lost its slash, not a host: it would silently match nothing.
        let like_a_host = scheme.is_some() || host.contains(['.', ':']) || host == "localhost";
        if !like_a_host {
            return Err(wrong("prefix", text, "starts with neither / nor a host name", PREFIX));
        }
        let host =
            host_as_compared(scheme, host).map_err(|why| wrong("prefix", text, why, PREFIX))?;
        Ok(Self::Prefix(format!("{host}{}", if path.is_empty() { "/" } else { path })))
    }

    /// An absolute `http` or `https` URL, without user, fragment or `*`.
    pub fn parse_url(text: &str) -> Result<Self, String> {
        check("URL", text, MAX_TARGET_BYTES, URL)?;
        refuse("URL", text, "#", "a fragment (#), which no request carries", URL)?;
        refuse("URL", text, "*", "a * (patterns go among the paths)", URL)?;
        let (Some(scheme), rest) = split_scheme(text) else {
            return Err(wrong("URL", text, "starts with neither http:// nor https://", URL));
        };
        let (host, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let host =
            host_as_compared(Some(scheme), host).map_err(|why| wrong("URL", text, why, URL))?;
        let slash = if rest.starts_with('/') { "" } else { "/" };
        Ok(Self::Url(format!("{}://{host}{slash}{rest}", scheme.name())))
    }

    /// A cache tag, exactly as responses carry it.
    pub fn parse_tag(text: &str) -> Result<Self, String> {
        check("tag", text, MAX_TAG_BYTES, TAG)?;
        if text.trim() != text {
            return Err(wrong("tag", text, "has white space around it", TAG));
        }
        Ok(Self::Tag(text.to_owned()))
    }

    /// A cache tag, whatever the case of its ASCII letters.
    pub fn parse_any_case_tag(text: &str) -> Result<Self, String> {
        Self::parse_tag(text).map(|_| Self::AnyCaseTag(text.to_owned()))
    }

    /// A host name or address; without a port it takes every port.
    pub fn parse_host(text: &str) -> Result<Self, String> {
        check("host", text, MAX_HOST_BYTES, HOST)?;
        if text.contains("://") || text.contains('/') {
            return Err(wrong("host", text, "is more than a host", HOST));
        }
        host_as_compared(None, text).map(Self::Host).map_err(|why| wrong("host", text, why, HOST))
    }
}

/// Host, path and query of a URL in the spelling of the index; the scheme does not count.
pub(super) fn url_as_compared(url: &str) -> String {
    let (scheme, rest) = split_scheme(url);
    let (host, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = without_default_port(scheme, host).to_ascii_lowercase();
    let slash = if rest.starts_with('/') { "" } else { "/" };
    format!("{host}{slash}{}", normalised(rest))
}

/// What stands before the path and the query.
fn authority(text: &str) -> &str {
    &text[..text.find(['/', '?']).unwrap_or(text.len())]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum UrlScheme {
    Http,
    Https,
}

impl UrlScheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

fn split_scheme(text: &str) -> (Option<UrlScheme>, &str) {
    match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
            (Some(UrlScheme::Http), rest)
        }
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => {
            (Some(UrlScheme::Https), rest)
        }
        _ => (None, text),
    }
}

fn without_default_port(scheme: Option<UrlScheme>, host: &str) -> &str {
    let port = match scheme {
        Some(UrlScheme::Http) => ":80",
        Some(UrlScheme::Https) => ":443",
        None => return host,
    };
    host.strip_suffix(port).unwrap_or(host)
}

/// A host in lower case without its scheme's default port, or what is wrong with it.
fn host_as_compared(scheme: Option<UrlScheme>, host: &str) -> Result<String, &'static str> {
    let host = without_default_port(scheme, host);
    if host.contains('@') {
        return Err("names a user (@)");
    }
    if !host.is_ascii() {
        return Err("has a host that is not ASCII (write it in its xn-- form)");
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err() || port.starts_with('+')) {
        return Err("has a port that is not a number up to 65535");
    }
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let valid = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        }
    };
    if valid { Ok(host.to_ascii_lowercase()) } else { Err("has no valid host name") }
}

/// What every kind of target must be: present, not too long, without control characters.
fn check(kind: &str, text: &str, most: usize, accepted: &str) -> Result<(), String> {
    if text.is_empty() {
        Err(format!("{kind} is empty; accepted is {accepted}"))
    } else if text.len() > most {
        Err(format!("{kind} has {} bytes; accepted are at most {most}", text.len()))
    } else if text.chars().any(char::is_control) {
        Err(wrong(kind, text, "holds a control character", accepted))
    } else {
        Ok(())
    }
}

fn refuse(kind: &str, text: &str, what: &str, named: &str, accepted: &str) -> Result<(), String> {
    if text.contains(what) {
        return Err(wrong(kind, text, &format!("holds {named}"), accepted));
    }
    Ok(())
}

/// Long values are cut, control characters escaped: the message goes to terminals and logs.
fn wrong(kind: &str, text: &str, problem: &str, accepted: &str) -> String {
    const SHOWN: usize = 100;
    let shown: String = text.chars().take(SHOWN).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("{kind} {shown:?}{more} {problem}; accepted is {accepted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        let own = str::to_owned;
        assert_eq!(Target::parse_path("/a?x=1"), Ok(Target::Path(own("/a?x=1"))));
        assert_eq!(Target::parse_path("/a/*.jpg"), Ok(Target::Pattern(own("/a/*.jpg"))));
        assert_eq!(Target::parse_prefix("/img/"), Ok(Target::Prefix(own("/img/"))));
        for (text, expected) in [
            ("WWW.a.example/Img", "www.a.example/Img"),
            ("https://a.example:443", "a.example/"),
            ("http://localhost:8080/a", "localhost:8080/a"),
            ("[::1]:80/a", "[::1]:80/a"),
        ] {
            assert_eq!(Target::parse_prefix(text), Ok(Target::Prefix(own(expected))), "{text}");
        }
        for (text, expected) in [
            ("HTTPS://A.example:443/B?c=D", "https://a.example/B?c=D"),
            ("http://a.example?x", "http://a.example/?x"),
            ("http://a.example:443", "http://a.example:443/"),
            ("http://[::1]:8080/", "http://[::1]:8080/"),
        ] {
            assert_eq!(Target::parse_url(text), Ok(Target::Url(own(expected))), "{text}");
        }
        assert_eq!(Target::parse_tag("post 1, ü"), Ok(Target::Tag(own("post 1, ü"))));
        assert_eq!(Target::parse_host("A.Example:8080"), Ok(Target::Host(own("a.example:8080"))));
    }

    #[test]
    fn a_target_names_at_most_one_host() {
        for (kind, text, host) in [
            (TargetKind::Url, "https://shop.example/a?b", Some("shop.example")),
            (TargetKind::Url, "http://WWW.shop.example:8080?b", Some("www.shop.example:8080")),
            (TargetKind::Url, "http://a.example/http://b.example/", Some("a.example")),
            (TargetKind::Prefix, "shop.example/a", Some("shop.example")),
            (TargetKind::Prefix, "https://shop.example", Some("shop.example")),
            (TargetKind::Prefix, "/shop.example/a", None),
            (TargetKind::Host, "[::1]:80", Some("[::1]:80")),
            (TargetKind::Path, "/shop.example", None),
            (TargetKind::Path, "/shop.example/*", None),
            (TargetKind::Tag, "shop.example", None),
        ] {
            let target = kind.parse(text).expect(text);
            assert_eq!((target.kind(), target.host()), (Some(kind), host), "{text}");
        }
        assert_eq!((Target::All.kind(), Target::All.host()), (None, None));
    }

    #[test]
    fn what_is_no_target_is_named_with_what_is_accepted() {
        type Parse = fn(&str) -> Result<Target, String>;
        let long = format!("/{}", "x".repeat(MAX_TARGET_BYTES));
        let cases: &[(Parse, &str, &str)] = &[
            (Target::parse_path, "", "path is empty"),
            (Target::parse_path, "a", "\"a\" does not start with /"),
            (Target::parse_path, "*", "does not start with /"),
            (Target::parse_path, "/a#b", "fragment"),
            (Target::parse_path, "/a\u{7f}", "control"),
            (Target::parse_path, "/a\r\nb", "\\r\\n"),
            (Target::parse_path, &long, "8193 bytes"),
            (Target::parse_prefix, "img/a", "neither / nor a host"),
            (Target::parse_prefix, "/a?b", "query"),
            (Target::parse_prefix, "/a*", "patterns go among the paths"),
            (Target::parse_prefix, "a..b@c/x", "user"),
            (Target::parse_url, "/a", "http://"),
            (Target::parse_url, "ftp://a/", "http://"),
            (Target::parse_url, "http:///a", "host name"),
            (Target::parse_url, "http://u@a/", "user"),
            (Target::parse_url, "http://a:b/", "port"),
            (Target::parse_url, "http://a:70000/", "port"),
            (Target::parse_url, "http://[::g]/", "host name"),
            (Target::parse_url, "http://ä/", "xn--"),
            (Target::parse_url, "http://a/*", "patterns go among the paths"),
            (Target::parse_tag, "", "tag is empty"),
            (Target::parse_tag, " a", "white space"),
            (Target::parse_tag, "a\tb", "control"),
            (Target::parse_tag, &long[..1025], "1025 bytes"),
            (Target::parse_host, "http://a", "more than a host"),
            (Target::parse_host, "a/b", "more than a host"),
            (Target::parse_host, "a b", "host name"),
        ];
        for (parse, text, problem) in cases {
            let error = parse(text).expect_err(text);
            assert!(error.contains(problem) && error.contains("accepted"), "{error}");
            assert!(error.len() < 400, "{error}");
        }
    }
}
