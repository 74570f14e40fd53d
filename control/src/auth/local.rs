//! Who is let in while no token is configured: programs of this machine, and no page in one of its
//! browsers.

use crate::errors::ApiError;
use http::Method;
use http::header::{
    AUTHORIZATION, CONTENT_TYPE, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
};
use http::request::Parts;
use http::uri::Authority;
use std::net::IpAddr;

/// Fields that a proxy adds: then the peer is not the caller.
const FORWARDING: [HeaderName; 3] = [
    FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
];

/// What browsers say about the page that a request comes from.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Fields of clients that a browser sends for no page of another origin before it has asked.
const OF_CLIENTS: [HeaderName; 3] = [
    HeaderName::from_static("fastly-key"),
    HeaderName::from_static("fastly-soft-purge"),
    HeaderName::from_static("surrogate-key"),
];

/// Schemes of Authorization that a browser uses for no page unasked.
const CLIENT_SCHEMES: [&str; 2] = ["bearer", "aws4-hmac-sha256"];

/// Bodies that a page can send to any origin, unasked (the Fetch standard's safelist).
const OF_PAGES: [&str; 3] =
    ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];

/// The conditions without tokens. Each closes one way in: other machines, proxies on this one,
/// DNS names that a page's owner points here, and pages that send requests across origins.
pub(super) fn judge(request: &Parts, peer: IpAddr) -> Result<(), ApiError> {
    if !peer.to_canonical().is_loopback() {
        return refuse(&format!("this came from {peer}"));
    }
    if let Some(field) = FORWARDING.iter().find(|name| request.headers.contains_key(*name)) {
        return refuse(&format!("this came through a proxy ({field})"));
    }
    let Some(host) = host(request) else {
        return refuse("this does not have exactly one Host");
    };
    if !is_loopback_host(&host) {
        return refuse(&format!("this is for the host {host:?}"));
    }
    let own_origin = format!("http://{host}");
    for origin in request.headers.get_all(ORIGIN) {
        if origin.as_bytes() != own_origin.as_bytes() {
            return refuse(&format!("this comes from a page of {origin:?}"));
        }
    }
    match request.headers.get(FETCH_SITE).map(|site| site.as_bytes()) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => refuse("this comes from a page of another site"),
    }
}

/// A purge, moreover, shows something that a page of another origin could not send without the
/// browser asking first, which is never granted. Browsers that say where a page is from are caught
/// by that; this stops those that do not, and calls without a body, which has no media type.
pub(super) fn judge_purge(request: &Parts) -> Result<(), ApiError> {
    let method = &request.method;
    let shown = ![Method::GET, Method::HEAD, Method::POST].contains(method)
        || OF_CLIENTS.iter().any(|name| request.headers.contains_key(name))
        || request.headers.get_all(AUTHORIZATION).iter().any(is_of_clients)
        || media_type(&request.headers).is_some_and(|media| !OF_PAGES.contains(&&*media));
    if shown {
        return Ok(());
    }
    refuse(
        "a page in a browser could send this; add Content-Type: application/json, or the header \
         in which your client sends its token",
    )
}

/// Names and passwords are sent by browsers on their own, these never.
fn is_of_clients(authorization: &HeaderValue) -> bool {
    let mut words = authorization.as_bytes().splitn(2, |byte| *byte == b' ');
    let (Some(scheme), Some(_)) = (words.next(), words.next()) else { return false };
    CLIENT_SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known.as_bytes()))
}

/// The one media type of a body, in lower case, without parameters. What is no media type counts as
/// none: browsers take it for none, too.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let mut fields = headers.get_all(CONTENT_TYPE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let essence = field.to_str().ok()?.split(';').next()?.trim().to_ascii_lowercase();
    let (kind, rest) = essence.split_once('/')?;
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b))
    };
    (is_token(kind) && is_token(rest)).then_some(essence)
}

fn refuse(why: &str) -> Result<(), ApiError> {
    Err(ApiError::forbidden(format!(
        "no token is configured, so only programs on this machine \
         are accepted; {why}"
    )))
}

/// The one host a request names, of HTTP/1's Host or HTTP/2's `:authority`.
pub(crate) fn host(request: &Parts) -> Option<String> {
    let mut fields = request.headers.get_all(HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (Some(field), None) => Some(field.to_str().ok()?),
        (None, _) => None,
        (Some(_), Some(_)) => return None,
    };
    field.or_else(|| request.uri.authority().map(Authority::as_str)).map(str::to_owned)
}

fn is_loopback_host(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let loopback = address.is_ok_and(|address| address.to_canonical().is_loopback());
    // User information would be part of the authority but not of the host.
    (loopback || name.eq_ignore_ascii_case("localhost")) && !host.contains('@')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_shows_what_no_page_can_send() {
        for (method, fields, allowed) in [
            ("POST", &[("content-type", "application/json")][..], true),
            ("POST", &[("content-type", "Application/XML; charset=utf-8")], true),
            ("POST", &[("fastly-key", "x")], true),
            ("POST", &[("authorization", "Bearer x")], true),
            ("POST", &[("authorization", "AWS4-HMAC-SHA256 Credential=x")], true),
            ("PURGE", &[], true),
            ("POST", &[], false),
            ("POST", &[("content-type", "text/plain")], false),
            ("POST", &[("content-type", "Text/Plain;charset=application/json")], false),
            ("POST", &[("content-type", "multipart/form-data; boundary=x")], false),
            ("POST", &[("content-type", "json")], false),
            ("POST", &[("content-type", "text/plain,application/json")], false),
            ("POST", &[("content-type", "text/plain"), ("content-type", "a/b")], false),
            ("POST", &[("authorization", "Basic dTpw")], false),
            ("POST", &[("accept", "application/json")], false),
            ("GET", &[], false),
        ] {
            let mut request = http::Request::builder().method(method).uri("/service/a/purge_all");
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let request = request.body(()).unwrap().into_parts().0;
            assert_eq!(judge_purge(&request).is_ok(), allowed, "{method} {fields:?}");
        }
    }
}
