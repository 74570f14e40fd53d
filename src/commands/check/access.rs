//! What a client must satisfy before anything else, and how a request is refused, as far as it tells by itself.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use weir_rules::access::signed::{SignatureError, tokens};
use weir_rules::access::{Access, Refusal};
use weir_rules::site_rules::{Rule, Setting};

/// A row for each of these rules: its access settings.
pub(super) fn demands<'a>(rules: &'a [&Rule]) -> impl Iterator<Item = (&'static str, String)> + 'a {
    rules.iter().map(|rule| {
        let words: Vec<&str> = rule.settings.of_access().map(Setting::word).collect();
        ("access", format!("{}: {}", rule.name, words.join(", ")))
    })
}

/// Why these rules refuse a request, as nodes judge it. Rates, and whether passwords and signatures hold, are not
/// looked at; without a client, only what refuses or admits no client at all refuses it.
pub(super) fn refusal(
    rules: &[&Rule],
    host: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    client: Option<IpAddr>,
) -> Option<Refusal> {
    let demands = || rules.iter().map(|rule| &rule.settings.access);
    if let Some(refusal) = demands().find_map(|access| of_client(access, client)) {
        return Some(refusal);
    }
    let is_linked = |access: &Access| {
        access.referer.as_ref().is_some_and(|referers| !referers.accepts(host, headers))
    };
    if demands().any(is_linked) {
        return Some(Refusal::Referer);
    }
    let is_signed = tokens(query, headers).is_none_or(|tokens| !tokens.is_empty());
    if !is_signed && demands().any(|access| access.signed) {
        return Some(Refusal::Signature(SignatureError::Missing));
    }
    let realm = demands().find_map(|access| access.basic_auth.as_ref())?.realm.clone();
    let refusal = Refusal::Credentials { realm, shown: false };
    (!headers.contains_key(AUTHORIZATION)).then_some(refusal)
}

/// How a client is refused; without one, what refuses all of them.
fn of_client(access: &Access, client: Option<IpAddr>) -> Option<Refusal> {
    if client.is_some() {
        return access.judge_client(client).err();
    }
    let everyone = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let denied = access.deny.as_deref().unwrap_or_default();
    let is_denied = |of: &IpAddr| {
        denied.iter().any(|network| network.prefix_len() == 0 && network.contains(of))
    };
    everyone.iter().all(is_denied).then_some(Refusal::Denied)
}
