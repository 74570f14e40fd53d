//! Which rules of its site a request matches: found once, at the first node that a client reaches; and what they say
//! before the key is written.

use super::facts::RequestFacts;
use super::sender::Sender;
use crate::body::ResponseBody;
use crate::clock::wall;
use crate::failure::Failure;
use crate::respond;
use crate::server::Intake;
use crate::state::Site;
use crate::tier;
use http::{HeaderMap, Method, Response, StatusCode, header};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use weir_config::Config;
use weir_rules::site_rules::{MatchedRules, Readings, RedirectedRequest, RuleRequest, RuleSet};

/// Detail of a preflight that a rule answers.
pub(super) const PREFLIGHT: &str = "rule-preflight";

/// Detail of a redirect by a rule.
pub(super) const REDIRECT: &str = "rule-redirect";

/// Detail of the answer during maintenance.
pub(super) const MAINTENANCE: &str = "rule-maintenance";

/// Detail of a request that a rule takes past the store.
pub(super) const BYPASS: &str = "rule-bypass";

/// The rules that a request matches. A node that asks has found them: they are not looked for again.
///
/// # Errors
/// A node that asks names a rule that is not here.
pub(super) fn matching(
    config: &Config,
    site: &Site,
    (method, headers): (&Method, &HeaderMap),
    intake: &Intake<'_>,
    facts: &RequestFacts,
    sender: &Sender,
    peer: IpAddr,
) -> Result<RuleSet, Failure> {
    let rules = &site.config.rules;
    if sender.is_node() {
        return tier::rules(site, headers);
    }
    if rules.is_empty() {
        return Ok(RuleSet::default());
    }
    let client = match rules.look_at_client() {
        true => sender.address(config, peer, headers),
        false => peer,
    };
    let request = RuleRequest {
        method,
        scheme: facts.scheme.as_str(),
        host: &intake.host,
        query: intake.query,
        client,
        country: facts.country,
        headers,
    };
    Ok(rules.matching(&request, &Readings::of(intake.path, intake.query)))
}

/// What the end of a request needs of these rules, if anything: whether the response is edited here, and their names
/// for the log. Nodes get responses as they are: the first node edits them.
pub(super) fn for_the_end(
    site: &Site,
    set: RuleSet,
    sender: &Sender,
    headers: &HeaderMap,
    is_logged: bool,
) -> Option<Box<MatchedRules>> {
    let rules = &site.config.rules;
    let edits = !sender.is_node() && rules.has_edits(set);
    let origin = || {
        let is_asked = edits && rules.has_cors(set);
        is_asked.then(|| headers.get(header::ORIGIN).cloned()).flatten()
    };
    (is_logged || edits)
        .then(|| Box::new(MatchedRules { rules: Arc::clone(rules), set, edits, origin: origin() }))
}

/// Edits the headers of a request as rules say, from the first node on.
pub(super) fn edit(
    site: &Site,
    matching: RuleSet,
    headers: &mut Cow<'_, HeaderMap>,
    facts: &RequestFacts,
    sender: &Sender,
) {
    let rules = &site.config.rules;
    if matching.is_empty() || sender.is_node() {
        return;
    }
    if let Cow::Owned(edited) =
        rules.edited_request(rules.applied(matching), headers, facts.country)
    {
        *headers = Cow::Owned(edited);
    }
}

/// The answer to a CORS-preflight request, if a rule gives it. Who may read what is said as for every response, when it
/// is sent.
pub(super) fn preflight(
    site: &Site,
    matching: RuleSet,
    (method, headers): (&Method, &HeaderMap),
    sender: &Sender,
) -> Option<Response<ResponseBody>> {
    if sender.is_node() {
        return None;
    }
    let rules = &site.config.rules;
    let fields = rules.preflight(rules.applied(matching), method, headers)?;
    let mut response = respond::empty(StatusCode::NO_CONTENT, wall());
    response.headers_mut().extend(fields);
    Some(response)
}

/// The answer during maintenance, if a rule says that it is. Nodes and this node's own requests get none, as with
/// redirects.
pub(super) fn maintenance(
    site: &Site,
    matching: RuleSet,
    method: &Method,
    sender: &Sender,
) -> Option<Response<ResponseBody>> {
    if sender.is_node() || sender.warms.is_some() {
        return None;
    }
    let rules = &site.config.rules;
    let (_, page) = rules.maintenance(rules.applied(matching))?;
    let body = match *method {
        Method::HEAD => ResponseBody::Empty,
        _ => ResponseBody::from_bytes(page.page.content.clone()),
    };
    Some(respond::own(StatusCode::SERVICE_UNAVAILABLE, page.fields(), body, wall()))
}

/// The redirect that answers a request, if a rule says so. Nodes and this node's own requests get none: the first node
/// has looked at them already, and what is to be warmed is the store.
pub(super) fn redirect(
    site: &Site,
    matching: RuleSet,
    intake: &Intake<'_>,
    sender: &Sender,
) -> Option<Response<ResponseBody>> {
    if sender.is_node() || sender.warms.is_some() {
        return None;
    }
    let rules = &site.config.rules;
    let request = RedirectedRequest {
        host: &intake.host,
        path: intake.path,
        query: intake.query,
        captures: &[],
    };
    let (status, to) = rules.redirect(rules.applied(matching), &request)?;
    let mut response = respond::empty(status, wall());
    response.headers_mut().insert(header::LOCATION, to);
    Some(response)
}
