//! `[[site]]`: a website, its hosts, origins and rules.

use super::host::{HOST_FORM, site_host};
use super::release::release;
use super::{ID_FORM, health, id, pool};
use crate::file::{Kind, Value};
use crate::section::Section;
use crate::{Balance, HostHeader, Origin, Site};
use http::HeaderName;
use std::collections::HashSet;
use strum::{IntoStaticStr, VariantArray};
use weir_rules::key::{KeyRules, QueryKeep, QueryRules, TRACKING};
use weir_rules::origin_host::takes_visitors_host;
use weir_rules::storability::SitePolicy;

const MOST_SITES: usize = 10_000;
const MOST_HOSTS: usize = 10_000;
const MOST_KEY_PARTS: usize = 64;
const MOST_PARAMETERS: usize = 1000;
const YEAR: u32 = 31_536_000;

/// Reads all sites; there must be one where it is `needed`, and no host may belong to two.
/// `longest_ttl` is the default of `max_ttl`.
pub(super) fn sites(root: &mut Section<'_>, needed: bool, longest_ttl: u32) -> Vec<Site> {
    if needed && !root.has("site") {
        let accepted = "at least one [[site]] with its origins, or --origin URL";
        root.mistake("site", format!("missing; accepted: {accepted}"));
    }
    let (mut ids, mut hosts) = (HashSet::new(), HashSet::new());
    let sections = root.sections("site", MOST_SITES);
    sections.into_iter().map(|s| site(s, longest_ttl, &mut ids, &mut hosts)).collect()
}

fn site(
    mut s: Section<'_>,
    longest_ttl: u32,
    ids: &mut HashSet<String>,
    taken: &mut HashSet<String>,
) -> Site {
    let id = s.text("id", ID_FORM, id).unwrap_or_else(|| "default".into());
    if !ids.insert(id.clone()) {
        s.mistake("id", format!("another site has the id {id:?}; give each its own"));
    }
    let (policy, stale_when_unreachable) = policy(&mut s, longest_ttl);
    let hosts = hosts(&mut s, taken);
    let host_header = s.word("host_header", HostHeader::Auto);
    let mut health = health::health(s.section("health"));
    if let Some(probe) = &mut health.probe {
        probe.visitors_host = hosts.iter().find(|host| !host.starts_with('*')).cloned();
    }
    let site = Site {
        id,
        origins: asked_with(pool::origins(&mut s), host_header),
        hosts,
        balance: s.word("balance", Balance::RoundRobin),
        health,
        host_header,
        timeouts: pool::timeouts(s.section("timeouts"), pool::ORIGIN_TIMEOUTS),
        retries: pool::retries(&mut s),
        key: key(s.section("key")),
        policy,
        stale_when_unreachable,
        client_cache_control: s.boolean("client_cache_control", false),
        anonymous_assets: s.boolean("anonymous_assets", true),
        release: release(&mut s),
    };
    s.finish(&["compress"]);
    site
}

/// The origins, each with the Host that it is asked with.
fn asked_with(mut origins: Vec<Origin>, host_header: HostHeader) -> Vec<Origin> {
    // Set in every container of a cluster.
    let kubernetes = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    for origin in &mut origins {
        origin.visitors_host = match host_header {
            HostHeader::Auto => takes_visitors_host(origin.tls, &origin.host, kubernetes),
            HostHeader::Origin => false,
            HostHeader::Client => true,
        };
    }
    origins
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

/// What bears on storing, and how long a stale response stands in for an unreachable origin.
fn policy(s: &mut Section<'_>, longest_ttl: u32) -> (SitePolicy, u32) {
    let mut stale = s.section("stale");
    let stale_while_revalidate = stale.seconds("while_revalidate", 0, YEAR);
    let stale_if_error = stale.seconds("if_error", 0, YEAR);
    let when_unreachable = stale.seconds("when_unreachable", 86_400, YEAR);
    stale.finish(&[]);
    let policy = SitePolicy {
        max_ttl: s.seconds("max_ttl", longest_ttl, YEAR),
        default_ttl: s.seconds("default_ttl", 0, YEAR),
        versioned_ttl: s.seconds("versioned_ttl", YEAR, YEAR),
        negative_ttl: s.seconds("negative_ttl", 0, YEAR),
        stale_while_revalidate,
        stale_if_error,
        heuristic_max: s.seconds("heuristic_max", 3600, YEAR),
    };
    (policy, when_unreachable)
}

fn key(mut s: Section<'_>) -> KeyRules {
    let field = "the name of a request field";
    let cookie = "the name of a cookie (RFC 6265 §4.1.1), or its beginning and *";
    let mut rules = KeyRules {
        query: query(&mut s),
        headers: s.list("headers", MOST_KEY_PARTS, field, key_field).unwrap_or_default(),
        cookies: s.list("cookies", MOST_KEY_PARTS, cookie, cookie_name).unwrap_or_default(),
    };
    rules.headers.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    rules.headers.dedup();
    rules.cookies.sort();
    rules.cookies.dedup();
    s.finish(&[]);
    rules
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

fn parameter(text: &str) -> Result<String, String> {
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
        "cookie" => Err("whole cookies differ for each client; name some under cookies".into()),
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

fn cookie_name(text: &str) -> Result<String, String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if text.is_empty() || text.len() > 256 || !text.bytes().all(token) {
        return Err("not a cookie name".into());
    }
    Ok(text.to_owned())
}
