//! Invalidation by unsafe requests (RFC 9111 §4.4).

use super::Spine;
use super::visit::Visit;
use crate::store::{Digest, release_in};
use http::{HeaderMap, HeaderValue, header};
use weir_rules::key::{KeyParts, write_key};
use weir_rules::reference;

/// A successful unsafe request invalidates its target, and the URLs on the same host that Location
/// and Content-Location name.
pub(super) fn invalidate(spine: &Spine, visit: &Visit, response: &HeaderMap) {
    forget(spine, visit.digest);
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let Some(digest) = response.get(name).and_then(|value| same_host(spine, visit, value))
        else {
            continue;
        };
        forget(spine, digest);
    }
}

/// Removes a resource from the store and revokes the fills that run for it. They are revoked
/// before, so that a fill that ends meanwhile stores nothing; and after, because a fill may have
/// begun in between to validate the response that was still stored.
fn forget(spine: &Spine, digest: Digest) {
    spine.state.inflight.revoke(digest);
    spine.state.store.retain(digest, |_| false);
    spine.state.inflight.revoke(digest);
    spine.state.decisions.forget(digest);
}

/// The resource that a URI reference names, if it is on the host of the request.
fn same_host(spine: &Spine, visit: &Visit, reference: &HeaderValue) -> Option<Digest> {
    let base = format!("{}://{}{}", visit.facts.scheme.as_str(), visit.host(), visit.target);
    let url = reference::resolve(&base, reference.to_str().ok()?)?;
    let rest = url.strip_prefix(visit.facts.scheme.as_str())?.strip_prefix("://")?;
    let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if !host.eq_ignore_ascii_case(visit.host()) {
        return None;
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let parts = KeyParts {
        scheme: visit.facts.scheme.as_str(),
        host: visit.host(),
        path: if path.is_empty() { "/" } else { path },
        query,
        release: release_in(&visit.key),
    };
    let mut key = Vec::new();
    write_key(&mut key, &parts, &visit.site.config.key, &visit.headers);
    Some(spine.state.digest(&key))
}
