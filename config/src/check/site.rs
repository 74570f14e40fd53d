//! `[[site]]`: a website, its hosts, origins and rules.

use super::cookies::{COOKIE_FORM, MOST_KEYED};
use super::host::{HOST_FORM, site_host};
use super::release::release;
use super::{ID_FORM, access, compress, cookies, id, origins, rule};
use crate::file::{Kind, Value};
use crate::section::Section;
use crate::{Hsts, Site, SiteTls, Tls};
use http::HeaderName;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use strum::{IntoStaticStr, VariantArray};
use weir_rules::key::{KeyRules, QueryKeep, QueryRules, TRACKING};
use weir_rules::storability::SitePolicy;

const MOST_SITES: usize = 10_000;
const MOST_HOSTS: usize = 10_000;
/// The most pools of a site's origins, beside that of `origins`.
pub(super) const MOST_POOLS: usize = 64;
const MOST_KEY_HEADERS: usize = 64;
const MOST_PARAMETERS: usize = 1000;
const YEAR: u32 = 31_536_000;

/// Reads all sites; there must be one where it is `needed`, and no host may belong to two.
/// `longest_ttl` is the default of `max_ttl`, `tls` is what the node has of TLS.
pub(super) fn sites(
    root: &mut Section<'_>,
    needed: bool,
    longest_ttl: u32,
    tls: Option<&Tls>,
) -> Vec<Site> {
    if needed && !root.has("site") {
        let accepted = "at least one [[site]] with its origins, or --origin URL";
        root.mistake("site", format!("missing; accepted: {accepted}"));
    }
    let (mut ids, mut hosts) = (HashSet::new(), HashSet::new());
    let sections = root.sections("site", MOST_SITES);
    sections.into_iter().map(|s| site(s, longest_ttl, tls, &mut ids, &mut hosts)).collect()
}

fn site(
    mut s: Section<'_>,
    longest_ttl: u32,
    tls: Option<&Tls>,
    ids: &mut HashSet<String>,
    taken: &mut HashSet<String>,
) -> Site {
    let id = s.text("id", ID_FORM, id).unwrap_or_else(|| "default".into());
    if !ids.insert(id.clone()) {
        s.mistake("id", format!("another site has the id {id:?}; give each its own"));
    }
    let (policy, stale_when_unreachable) = policy(&mut s, longest_ttl);
    let hosts = hosts(&mut s, taken);
    let pools = origins::pools(&mut s, &hosts);
    let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
    let site_tls = site_tls(&mut s, &hosts, tls);
    let hsts = hsts(&mut s, tls);
    let (mut key, keyed_cookies) = key(s.section("key"));
    let cookies = cookies::cookies(s.section("cookies"), &mut key, keyed_cookies);
    let signing_keys = access::signing_keys(&mut s);
    let site = Site {
        id,
        hosts,
        rules: Arc::new(rule::rules(&mut s, &key, !signing_keys.is_empty(), &names)),
        pools,
        signing_keys,
        key,
        cookies,
        compress: compress::compress(&mut s).map(Arc::new),
        policy,
        stale_when_unreachable,
        client_cache_control: s.boolean("client_cache_control", false),
        anonymous_assets: s.boolean("anonymous_assets", true),
        release: release(&mut s),
        tls: site_tls,
        hsts,
    };
    s.finish(&[]);
    site
}

fn hosts(s: &mut Section<'_>, taken: &mut HashSet<String>) -> Vec<String> {
    let hosts =
        s.list("hosts", MOST_HOSTS, HOST_FORM, site_host).unwrap_or_else(|| vec!["*".into()]);
    if s.has("hosts") && hosts.is_empty() {
        s.mistake("hosts", format!("no host at all; accepted: {HOST_FORM}"));
    }
    for host in &hosts {
        if !taken.insert(host.clone()) {
            s.mistake("hosts", format!("{host:?} is named twice, here or by another site"));
        }
    }
    hosts
}

/// `tls`, and whether certificates can be ordered for all `hosts`.
fn site_tls(s: &mut Section<'_>, hosts: &[String], tls: Option<&Tls>) -> SiteTls {
    let word = s.word("tls", SiteTls::Files);
    if word == SiteTls::Files {
        return word;
    }
    if tls.is_none_or(|tls| tls.acme.is_none()) {
        s.mistake("tls", "without [tls.acme], which says where certificates are ordered");
    }
    let by_dns = tls.and_then(|tls| tls.acme.as_ref()).is_some_and(|acme| acme.dns_hook.is_some());
    for host in hosts {
        if let Err(reason) = orderable(host, by_dns) {
            let key = if s.has("hosts") { "hosts" } else { "tls" };
            s.mistake(key, format!("{host:?}: {reason}; accepted with tls = \"auto\": host names"));
        }
    }
    word
}

/// Whether a CA can be asked for a certificate for one of a site's hosts.
fn orderable(host: &str, by_dns: bool) -> Result<(), &'static str> {
    match host {
        "*" => Err("no certificate is for every host"),
        _ if host.starts_with('*') && !by_dns => {
            Err("a certificate for subdomains needs a proof by DNS (tls.acme.dns_hook)")
        }
        _ if host.starts_with('[') || host.parse::<IpAddr>().is_ok() => Err("an address"),
        _ if host.contains('_') => Err("no certificate may have a name with an underscore"),
        _ => Ok(()),
    }
}

/// `hsts`: what is sent in Strict-Transport-Security.
fn hsts(s: &mut Section<'_>, tls: Option<&Tls>) -> Option<Hsts> {
    let written = s.has("hsts");
    if written && tls.is_none() {
        s.mistake("hsts", "without [tls] the site is not reached by https");
    }
    let mut table = s.section("hsts");
    let hsts = Hsts {
        max_age: table.seconds("max_age", YEAR / 2, 10 * YEAR),
        subdomains: table.boolean("subdomains", false),
        preload: table.boolean("preload", false),
    };
    if hsts.preload && (!hsts.subdomains || hsts.max_age < YEAR) {
        let accepted = "accepted: with subdomains = true and max_age = \"365d\" or more";
        table.mistake("preload", format!("browsers would not take it; {accepted}"));
    }
    table.finish(&[]);
    written.then_some(hsts)
}

/// What bears on storing, and how long a stale response stands in for an unreachable origin.
fn policy(s: &mut Section<'_>, longest_ttl: u32) -> (SitePolicy, u32) {
    let mut stale = s.section("stale");
    let stale_while_revalidate = stale.seconds("while_revalidate", 0, YEAR);
    let stale_if_error = stale.seconds("if_error", 0, YEAR);
    let when_unreachable = stale.seconds("when_unreachable", 86_400, YEAR);
    stale.finish(&[]);
    let policy = SitePolicy {
        max_ttl: s.seconds("max_ttl", longest_ttl, YEAR),
        ttl: None,
        default_ttl: s.seconds("default_ttl", 0, YEAR),
        versioned_ttl: s.seconds("versioned_ttl", YEAR, YEAR),
        negative_ttl: s.seconds("negative_ttl", 0, YEAR),
        stale_while_revalidate,
        stale_if_error,
        heuristic_max: s.seconds("heuristic_max", 3600, YEAR),
        ignore_authorization: false,
    };
    (policy, when_unreachable)
}

/// The rules of keys, and whether they name cookies.
pub(super) fn key(mut s: Section<'_>) -> (KeyRules, bool) {
    let field = "the name of a request field";
    let cookies = s.list("cookies", MOST_KEYED, COOKIE_FORM, cookies::no_list);
    let has_cookies = cookies.is_some();
    let mut rules = KeyRules {
        query: query(&mut s),
        headers: s.list("headers", MOST_KEY_HEADERS, field, key_field).unwrap_or_default(),
        cookies: cookies::sorted(cookies.unwrap_or_default()),
    };
    rules.headers.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    rules.headers.dedup();
    s.finish(&[]);
    (rules, has_cookies)
}

/// What of the query counts, in a word.
#[derive(Clone, Copy, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum QueryWord {
    /// All of it.
    Keep,
    /// Nothing.
    Ignore,
    /// All of it, in any order.
    Sort,
}

/// `query` is a word, or a table of `sort` and one of `drop` and `keep`.
fn query(s: &mut Section<'_>) -> QueryRules {
    if matches!(s.value("query"), Some(Value { kind: Kind::Table(_), .. })) {
        return query_table(s.section("query"));
    }
    match s.word_or("query", "a table of sort, drop and keep") {
        None | Some(QueryWord::Keep) => QueryRules::default(),
        Some(QueryWord::Ignore) => QueryRules { sort: false, keep: QueryKeep::Nothing },
        Some(QueryWord::Sort) => QueryRules { sort: true, keep: QueryKeep::All },
    }
}

fn query_table(mut s: Section<'_>) -> QueryRules {
    let accepted = "a parameter's name as in the URL, perhaps with a * at its end, or \"tracking\"";
    let sort = s.boolean("sort", false);
    let drop = s.list("drop", MOST_PARAMETERS, accepted, parameter);
    let keep = s.list("keep", MOST_PARAMETERS, accepted, parameter);
    let keep = match (drop, keep) {
        (Some(_), Some(_)) => {
            s.mistake("keep", "drop is set too; accepted: one of them");
            QueryKeep::All
        }
        (Some(names), None) => QueryKeep::Except(with_lists(names)),
        (None, Some(names)) => QueryKeep::Only(with_lists(names)),
        (None, None) => QueryKeep::All,
    };
    s.finish(&[]);
    QueryRules { sort, keep }
}

/// `tracking` stands for a list of names.
fn with_lists(names: Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        match name.as_str() {
            "tracking" => all.extend(TRACKING.iter().map(|name| (*name).to_owned())),
            _ => all.push(name),
        }
    }
    all.sort();
    all.dedup();
    all
}

pub(super) fn parameter(text: &str) -> Result<String, String> {
    let stem = text.strip_suffix('*').unwrap_or(text);
    match text {
        "" => Err("empty".into()),
        "*" => Err("every parameter: query = \"ignore\" or \"keep\" says that".into()),
        _ if text.len() > 256 => Err("too long".into()),
        _ if stem.contains('*') => Err("a * before its end".into()),
        _ if stem.bytes().any(|b| !b.is_ascii_graphic() || b"&=#?".contains(&b)) => {
            Err("has characters that a parameter's name cannot have".into())
        }
        _ => Ok(text.to_owned()),
    }
}

/// A field to key by. Some would make every request its own key, or are keyed already.
fn key_field(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| "not a field name")?;
    match name.as_str() {
        "host" => Err("every key has the host already".into()),
        "cookie" => Err("whole cookies differ for each client; name some in cookies.key".into()),
        "connection" | "content-length" | "te" | "trailer" | "transfer-encoding" | "upgrade" => {
            Err("concerns one connection only".into())
        }
        "range"
        | "if-match"
        | "if-none-match"
        | "if-modified-since"
        | "if-unmodified-since"
        | "if-range" => Err("selects a part or a state of a response, not the response".into()),
        _ => Ok(name),
    }
}
