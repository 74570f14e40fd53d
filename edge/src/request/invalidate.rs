//! Invalidation by unsafe requests (RFC 9111 §4.4): of URLs, with every key that a URL has.
//!
//! Both schemes of a URL are one. The RFC asks for the target URI; a site that is reached by http
//! and by https answers both from the same resource.

use super::Spine;
use super::visit::Visit;
use crate::disk::Removal;
use crate::fill::{Claimed, CleanHead, with_claim};
use crate::forward::{self, Outgoing};
use crate::host::Authority;
use crate::server::Intake;
use crate::source::Source;
use crate::state::Live;
use crate::store::KeyText;
use crate::upstream::{Ask, For, UpstreamBody, digest};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, header};
use std::time::Duration;
use tokio::time::timeout;
use weir_rules::invalidation::url_name;
use weir_rules::key::keyed_query;
use weir_rules::target::spelled;
use weir_rules::{reference, tier};

/// How long the response to an unsafe request waits for the parent of a URL that it names.
const TOLD: Duration = Duration::from_secs(1);

/// A successful unsafe request invalidates its target, and the URLs on the same host and port that
/// Location and Content-Location name, each as given and as rules rewrite it. The parent that passed the request on has done the same for
/// what it stores; a URL that has another parent is invalidated there by a request of this node.
pub(super) async fn invalidate(spine: &Spine, visit: &Visit, answer: &CleanHead) {
    let KeyText { host, path, query } = KeyText::of(&visit.key);
    let target = url_name(host, path, query);
    let mut removal = spine.state.forget(&target);
    let mut named: Vec<SameHostUrl> = Vec::new();
    let asked = match &visit.client_target {
        Some(asked) => PathAndQuery::try_from(&**asked).ok(),
        None => Some(visit.target.clone()),
    };
    let fields = [header::LOCATION, header::CONTENT_LOCATION].into_iter();
    let fields = fields.filter_map(|name| answer.fields.get(name));
    let referred = fields.filter_map(|value| referred(visit, value));
    for url in asked.into_iter().chain(referred).flat_map(|target| stored_as(visit, target)) {
        if url.name != target && !named.contains(&url) {
            named.push(url);
        }
    }
    for url in &named {
        removal.and(spine.state.forget(&url.name));
    }
    settle(spine, removal).await;
    for url in named {
        tell_parent(spine, visit, url, &answer.source).await;
    }
}

/// A node asks for the invalidation of a URL. It is to be told once what this returns is settled.
pub(super) fn as_told(spine: &Spine, live: &Live, intake: &Intake<'_>) -> Removal {
    let Some(site) = live.sites.of(&intake.host) else { return Removal::default() };
    let mut removal = Removal::default();
    for rules in site.config.rules.queries(&site.config.key.query) {
        let query = keyed_query(intake.query, rules);
        removal.and(spine.state.forget(&url_name(&intake.host, intake.path, query.as_deref())));
    }
    removal
}

/// Waits until what was removed from the disk cannot come back after a crash.
pub(super) async fn settle(spine: &Spine, removal: Removal) {
    if let Some(disk) = &spine.state.disk {
        disk.settle(removal).await;
    }
}

/// Has the parent of a URL invalidate it, unless that parent sent the answer. A parent that does not
/// answer in time may keep what it has stored until that is stale.
async fn tell_parent(spine: &Spine, visit: &Visit, url: SameHostUrl, answered: &Source) {
    let live = spine.state.live.load_full();
    let Some(parents) = live.parents.upstream() else { return };
    let (Some(asking), standing) = (spine.state.purges.asking(), spine.state.purges.standing())
    else {
        return;
    };
    let mut headers = Outgoing::default();
    headers.set(header::MAX_FORWARDS, HeaderValue::from(0));
    headers.set(HeaderName::from_static(tier::INVALIDATE), HeaderValue::from_static("1"));
    forward::name_host(&mut headers, visit.host());
    let hash = digest(url.name.as_bytes());
    let ask = Ask {
        method: Method::OPTIONS,
        target: url.target,
        headers,
        client_host: visit.client_host.clone(),
        asker: None,
        upgrade: None,
        chosen_by: For { hash, ..visit.chosen_by },
        // What the client did has happened: its share must not keep it from being told.
        counts_for: None,
        site: visit.site.slot,
        trace: visit.trace.clone(),
    };
    let key = standing.tier_key.as_deref();
    let Some(ask) = with_claim(&ask, asking.claim(), key, &Claimed::default()) else { return };
    let pool = parents.pool();
    let parent = parents.candidates(&pool, &ask, &UpstreamBody::Empty).next();
    let Some(parent) = parent.filter(|parent| !parent.member.is(answered)) else { return };
    let told = parents.fetch_from(&parent, spine.worker, &ask, &UpstreamBody::Empty);
    // What failed is in the log.
    let _ = timeout(TOLD, told).await;
}

/// A URL on the host and port of a request.
#[derive(PartialEq, Eq)]
struct SameHostUrl {
    /// Its [`url_name`].
    name: String,
    /// Its path and query.
    target: PathAndQuery,
}

/// The URLs under which the answer to a request for this target may be stored: as given, and as each rewrite makes it,
/// with the query as each rule keys it. What a node asks for has been rewritten.
fn stored_as(visit: &Visit, target: PathAndQuery) -> Vec<SameHostUrl> {
    let rewritten = match visit.sender.is_node() {
        true => Vec::new(),
        false => visit.site.config.rules.keyed_targets(target.path(), target.query()),
    };
    let rewritten = rewritten.into_iter().filter_map(|text| PathAndQuery::try_from(text).ok());
    let config = &visit.site.config;
    let targets = [target].into_iter().chain(rewritten);
    let urls = targets.flat_map(|target| {
        config.rules.queries(&config.key.query).map(move |rules| {
            let query = keyed_query(target.query(), rules);
            let name = url_name(visit.host(), target.path(), query.as_deref());
            SameHostUrl { name, target: target.clone() }
        })
    });
    urls.collect()
}

/// Path and query of the URL that a reference in an answer names, if it is on the host and port of the request.
fn referred(visit: &Visit, reference: &HeaderValue) -> Option<PathAndQuery> {
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
    let target = spelled(target.as_bytes()).unwrap_or_else(|| target.to_owned());
    let target = match target.starts_with('/') {
        true => PathAndQuery::try_from(target),
        false => PathAndQuery::try_from(format!("/{target}")),
    };
    target.ok()
}
