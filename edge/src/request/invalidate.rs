//! Invalidation by unsafe requests (RFC 9111 §4.4): of URLs, with every key that a URL has.
//!
//! Both schemes of a URL are one. The RFC asks for the target URI; a site that is reached by http
//! and by https answers both from the same resource.

use super::Spine;
use super::visit::Visit;
use crate::host::Authority;
use crate::store::KeyText;
use http::{HeaderMap, HeaderValue, header};
use weir_rules::invalidation::url_name;
use weir_rules::key::keyed_query;
use weir_rules::reference;

/// A successful unsafe request invalidates its target, and the URLs on the same host and port that
/// Location and Content-Location name.
pub(super) fn invalidate(spine: &Spine, visit: &Visit, response: &HeaderMap) {
    let KeyText { host, path, query } = KeyText::of(&visit.key);
    forget(spine, &url_name(host, path, query));
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        if let Some(url) = response.get(name).and_then(|value| on_same_host(visit, value)) {
            forget(spine, &url);
        }
    }
}

/// Removes a URL from the store and revokes the fills that run for it. They are revoked before, so
/// that a fill that ends meanwhile stores nothing; and after, because a fill may have begun in
/// between to validate the response that was still stored.
fn forget(spine: &Spine, name: &str) {
    let state = &spine.state;
    let url = state.store.url_named(name);
    state.inflight.revoke(url);
    // Read after that: a fill that is revoked from now on removes its response itself.
    let mut digests = state.store.keys_of(url);
    for scheme in ["http://", "https://"] {
        digests.push(state.digest([scheme, name].concat().as_bytes()));
    }
    for digest in digests {
        state.store.retain(digest, |_| false);
        state.decisions.forget(digest);
    }
    state.inflight.revoke(url);
}

/// The name of the URL that a reference names, if it is on the host and port of the request.
fn on_same_host(visit: &Visit, reference: &HeaderValue) -> Option<String> {
    let base = format!("{}://{}{}", visit.facts.scheme.as_str(), visit.host(), visit.target);
    let url = reference::resolve(&base, reference.to_str().ok()?)?;
    let (scheme, rest) = url.split_once("://")?;
    let default_port = match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => 80,
        _ if scheme.eq_ignore_ascii_case("https") => 443,
        _ => return None,
    };
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = Authority::parse(authority.as_bytes())?.canonical(default_port);
    if host != visit.host() {
        return None;
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let path = if path.is_empty() { "/" } else { path };
    let query = keyed_query(query, &visit.site.config.key.query);
    Some(url_name(&host, path, query.as_deref()))
}
