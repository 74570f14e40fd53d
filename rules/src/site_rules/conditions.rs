//! What a rule matches.

use super::path::{BothCaptures, PathPattern, Readings};
use crate::access::spellings::EverySpelling;
use crate::cookies;
use crate::country::Country;
use crate::key::{cookie_is_named, parameter_is_named};
use crate::wildcard::matches;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use ipnet::IpNet;
use std::net::IpAddr;

/// The conditions of a rule. All that are not empty must hold; each holds if any of its items does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Paths.
    pub path: Vec<PathPattern>,
    /// Hosts in lower case, without a port, with `*` for any characters.
    pub host: Vec<String>,
    /// Methods; GET stands for HEAD too, as their responses have one key.
    pub method: Vec<Method>,
    /// Fields of the request; every one must match.
    pub header: Vec<HeaderCondition>,
    /// Names of cookies (or `prefix*`) of which one is sent.
    pub cookie: Vec<String>,
    /// Names of parameters of the query (or `prefix*`) of which one is present.
    pub query: Vec<String>,
    /// `http` or `https`: how the client reached the site.
    pub scheme: Option<&'static str>,
    /// Networks of the client.
    pub client: Vec<IpNet>,
    /// Countries of the client.
    pub country: Vec<Country>,
    /// Statuses of the response; 200 stands for 206 too.
    pub status: Vec<StatusCode>,
    /// Media types of the response, with `*` for any characters, in lower case.
    pub content_type: Vec<String>,
}

/// A field of the request and its values, with `*` for any characters, in lower case: the case of letters does not
/// count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderCondition {
    /// Its name.
    pub name: HeaderName,
    /// Its values, of which a line must have one.
    pub values: Vec<String>,
}

/// A request as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct RuleRequest<'a> {
    /// Its method.
    pub method: &'a Method,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Its host, lower case; a port is not looked at.
    pub host: &'a str,
    /// Its query as sent, without `?`.
    pub query: Option<&'a str>,
    /// The client's address. Not looked at unless [`SiteRules::look_at_client`](super::SiteRules::look_at_client).
    pub client: IpAddr,
    /// The client's country; `None`, which no country matches, if it was not looked up. Not looked at unless
    /// [`SiteRules::look_at_country`](super::SiteRules::look_at_country).
    pub country: Option<Country>,
    /// Its fields, as sent.
    pub headers: &'a HeaderMap,
}

/// A response as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct RuleResponse<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: &'a HeaderMap,
}

impl Conditions {
    /// Whether there is none but that on the path.
    pub(super) fn are_path_only(&self) -> bool {
        let Self {
            path: _,
            host,
            method,
            header,
            cookie,
            query,
            scheme,
            client,
            country,
            status: _,
            content_type: _,
        } = self;
        host.is_empty()
            && method.is_empty()
            && header.is_empty()
            && cookie.is_empty()
            && query.is_empty()
            && scheme.is_none()
            && client.is_empty()
            && country.is_empty()
    }

    /// What the stars of the pattern stand for that takes this path, the first of them; none without one.
    pub(super) fn captures(&self, path: &Readings<'_>) -> Vec<String> {
        self.path.iter().find_map(|pattern| pattern.captures(path)).unwrap_or_default()
    }

    /// The same in both readings of the path.
    pub(super) fn captures_of_both(&self, path: &Readings<'_>) -> BothCaptures {
        let mut patterns = self.path.iter();
        patterns.find_map(|pattern| pattern.captures_of_both(path)).unwrap_or_default()
    }

    /// Whether that on the path holds for any spelling of a path, and there is one.
    pub(super) fn may_take(&self, path: &EverySpelling) -> bool {
        self.path.iter().any(|pattern| pattern.may_take(path))
    }

    /// Whether that on the path is for one reading of two: then nobody knows what its stars stand for.
    pub(super) fn take_one_reading(&self, path: &Readings<'_>) -> bool {
        path.are_two() && !self.take_path(path)
    }

    /// Whether that on the path holds, or there is none.
    pub(super) fn take_path(&self, path: &Readings<'_>) -> bool {
        self.path.is_empty() || self.path.iter().any(|pattern| pattern.takes_all(path))
    }

    /// Whether these certainly hold wherever `others` do. If not, they may do so nevertheless.
    pub(super) fn hold_wherever(&self, others: &Self) -> bool {
        let Self {
            path,
            host,
            method,
            header,
            cookie,
            query,
            scheme,
            client,
            country,
            status,
            content_type,
        } = self;
        let is_pattern_of = |own: &String, other: &String| matches(own, other);
        all_within(path, &others.path, PathPattern::takes_all_of)
            && all_within(host, &others.host, is_pattern_of)
            && all_within(method, &others.method, Method::eq)
            && header.iter().all(|own| others.header.iter().any(|other| own.holds_wherever(other)))
            && all_within(cookie, &others.cookie, has_names_of)
            && all_within(query, &others.query, has_names_of)
            && (scheme.is_none() || *scheme == others.scheme)
            && all_within(client, &others.client, |own, other| own.contains(other))
            && all_within(country, &others.country, Country::eq)
            && all_within(status, &others.status, StatusCode::eq)
            && all_within(content_type, &others.content_type, is_pattern_of)
    }

    /// Whether there is one on the response.
    pub fn look_at_response(&self) -> bool {
        !self.status.is_empty() || !self.content_type.is_empty()
    }

    /// Whether two requests with one key may differ in them. Path, scheme and host are in every key. `plain_query`
    /// says whether the whole query is, in the client's order.
    pub(super) fn look_beyond_key(&self, plain_query: bool) -> bool {
        let query = !self.query.is_empty() || self.path.iter().any(PathPattern::has_query);
        !self.method.is_empty()
            || !self.header.is_empty()
            || !self.cookie.is_empty()
            || !self.client.is_empty()
            || !self.country.is_empty()
            || (query && !plain_query)
    }

    /// Whether those on the request hold, beside that on the path.
    pub(super) fn hold_for(&self, request: &RuleRequest<'_>) -> bool {
        self.scheme.is_none_or(|scheme| scheme == request.scheme)
            && (self.host.is_empty() || has_host(&self.host, request.host))
            && (self.method.is_empty() || self.method.contains(keyed_method(request.method)))
            && self.header.iter().all(|header| header.holds_for(request.headers))
            && (self.cookie.is_empty() || has_cookie(&self.cookie, request.headers))
            && (self.query.is_empty() || has_parameter(&self.query, request.query))
            && (self.client.is_empty() || is_within(&self.client, request.client))
            && (self.country.is_empty() || self.has_country(request.country))
    }

    fn has_country(&self, country: Option<Country>) -> bool {
        country.is_some_and(|country| self.country.contains(&country))
    }

    /// Whether those on the response hold.
    pub(super) fn hold_for_response(&self, response: &RuleResponse<'_>) -> bool {
        (self.status.is_empty() || self.status.contains(&whole(response.status)))
            && (self.content_type.is_empty() || has_type(&self.content_type, response.headers))
    }
}

/// Whether each item of a condition is within one of `own`; one without items takes everything.
fn all_within<T>(own: &[T], others: &[T], takes: impl Fn(&T, &T) -> bool) -> bool {
    let is_within = |other: &T| own.iter().any(|own| takes(own, other));
    own.is_empty() || !others.is_empty() && others.iter().all(is_within)
}

/// Whether all that `other` names, a name or `prefix*`, is named by `own`.
fn has_names_of(own: &String, other: &String) -> bool {
    own.strip_suffix('*').map_or(own == other, |prefix| other.starts_with(prefix))
}

fn has_host(hosts: &[String], host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    hosts.iter().any(|wanted| matches(wanted, name))
}

/// HEAD is answered from what GET stores.
fn keyed_method(method: &Method) -> &Method {
    if *method == Method::HEAD { &Method::GET } else { method }
}

/// A part is of a representation that would be sent with 200.
const fn whole(status: StatusCode) -> StatusCode {
    match status {
        StatusCode::PARTIAL_CONTENT => StatusCode::OK,
        status => status,
    }
}

impl HeaderCondition {
    /// Whether it certainly holds wherever `other` does.
    fn holds_wherever(&self, other: &Self) -> bool {
        self.name == other.name
            && all_within(&self.values, &other.values, |own, other| matches(own, other))
    }

    fn holds_for(&self, headers: &HeaderMap) -> bool {
        headers.get_all(&self.name).iter().any(|line| self.takes(line))
    }

    fn takes(&self, line: &HeaderValue) -> bool {
        if self.values.iter().any(|value| value == "*") {
            return true;
        }
        // Whatever else a client writes beside it, what is meant is met.
        let line = String::from_utf8_lossy(line.as_bytes());
        let line = line.trim().to_ascii_lowercase();
        self.values.iter().any(|value| matches(value, &line))
    }
}

fn has_cookie(names: &[String], headers: &HeaderMap) -> bool {
    let Some(line) = cookies::combined(headers) else { return false };
    line.split(|&byte| byte == b';').any(|pair| {
        let pair = pair.trim_ascii();
        let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let sent = pair[..end].trim_ascii_end();
        names.iter().any(|name| cookie_is_named(name, sent))
    })
}

fn has_parameter(names: &[String], query: Option<&str>) -> bool {
    let mut parameters = query.into_iter().flat_map(|query| query.split('&'));
    parameters.any(|parameter| names.iter().any(|name| parameter_is_named(name, parameter)))
}

fn is_within(networks: &[IpNet], client: IpAddr) -> bool {
    let client = client.to_canonical();
    networks.iter().any(|network| network.contains(&client))
}

fn has_type(types: &[String], headers: &HeaderMap) -> bool {
    let Some(sent) = headers.get(header::CONTENT_TYPE) else { return false };
    let sent = String::from_utf8_lossy(sent.as_bytes());
    let sent = sent.split(';').next().unwrap_or(&sent).trim().to_ascii_lowercase();
    types.iter().any(|wanted| matches(wanted, &sent))
}
