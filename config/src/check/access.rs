//! The access settings of `[[site.rule]]`, and `[[site.signing_key]]`.

use super::contents::contents;
use super::cookies::COOKIE_FORM;
use super::host::{HOST_FORM, site_host};
use super::secret::{Found, IfAbsent, form as form_of_secret, secret};
use super::{ID_FORM, MOST_NETWORKS, file_path, id};
use crate::file::{Kind, Value};
use crate::network::{NETWORK_FORM, Network};
use crate::section::Section;
use crate::{Secret, SigningKey};
use http::HeaderName;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use weir_rules::access::htpasswd::{LARGEST_FILE, LINE_FORM, Users};
use weir_rules::access::rate::{By, Count, Rate};
use weir_rules::access::referer::Referers;
use weir_rules::access::{Access, BasicAuth};

const MOST_KEYS: usize = 16;
const MOST_REFERERS: usize = 1000;
const MOST_REQUESTS: u32 = 1_000_000;
const HOUR: Duration = Duration::from_secs(3600);

/// The keys of a site's signed URLs.
pub(super) fn signing_keys(s: &mut Section<'_>) -> Vec<SigningKey> {
    let mut keys: Vec<SigningKey> = Vec::new();
    for mut s in s.sections("signing_key", MOST_KEYS) {
        let id = s.text("id", ID_FORM, id);
        if !s.has("id") {
            s.mistake("id", format!("missing; accepted: {ID_FORM}"));
        }
        let found = secret(&mut s, "secret", "secret_file", IfAbsent::Refused);
        if !s.has("secret") && !s.has("secret_file") {
            let form = form_of_secret();
            s.hidden_mistake("secret", format!("missing, and secret_file too; accepted: {form}"));
        }
        if let Some(id) = id {
            if keys.iter().any(|key| key.id == id) {
                s.mistake("id", "another key of the site has this id");
            }
            let secret = match found {
                Found::Secret(secret) => secret,
                // A mistake, which is noted.
                Found::Absent(_) | Found::Nothing => Secret::new(String::new()),
            };
            keys.push(SigningKey { id, secret });
        }
        s.finish(&[]);
    }
    keys
}

/// The access settings of the rule of this name, at a site that has signing keys or has none.
pub(super) fn access(s: &mut Section<'_>, rule: &str, has_keys: bool) -> Access {
    let access = Access {
        allow: networks(s, "allow"),
        deny: networks(s, "deny"),
        referer: referer(s),
        signed: s.boolean("signed", false),
        rate: rate(s),
        basic_auth: basic_auth(s, rule),
    };
    if access.signed && !has_keys {
        s.mistake("signed", "the site has no key; accepted: with [[site.signing_key]]");
    }
    let denies_all = access.deny.as_ref().is_some_and(|networks| {
        let is_all = |all: Network| networks.contains(&all.net());
        Network::all().into_iter().all(is_all)
    });
    if denies_all && access.allow.is_some() {
        let why = "denies everyone, whatever is in allow";
        s.mistake("deny", format!("{why}; accepted: allow alone, which refuses everyone else"));
    }
    access
}

/// Networks, or the word `all`.
fn networks(s: &mut Section<'_>, name: &'static str) -> Option<Vec<ipnet::IpNet>> {
    let accepted = format!("{NETWORK_FORM}, or all");
    let networks = s.list(name, MOST_NETWORKS, &accepted, |text| match text {
        "all" => Ok(Network::all().to_vec()),
        text => text.parse::<Network>().map(|network| vec![network]),
    })?;
    if networks.is_empty() && s.has_empty_list(name) {
        s.mistake(name, format!("no network at all; accepted: a list, each {accepted}"));
    }
    Some(networks.into_iter().flatten().map(Network::net).collect())
}

/// `referer` is a list of hosts, or a table of `hosts` and `missing`.
fn referer(s: &mut Section<'_>) -> Option<Referers> {
    let host = |text: &str| match text {
        "*" => Err("every page: leave referer out".to_owned()),
        text => site_host(text),
    };
    if matches!(s.value("referer"), Some(Value { kind: Kind::Table(_), .. })) {
        let mut s = s.section("referer");
        let referers = Referers {
            hosts: s.list("hosts", MOST_REFERERS, HOST_FORM, host).unwrap_or_default(),
            missing: s.boolean("missing", true),
        };
        s.finish(&[]);
        return Some(referers);
    }
    let hosts = s.list("referer", MOST_REFERERS, HOST_FORM, host)?;
    Some(Referers { hosts, missing: true })
}

fn rate(s: &mut Section<'_>) -> Option<Rate> {
    let mut s = s.section("rate");
    let written = s.is_written();
    let requests = s.count("requests", 1, 1..=MOST_REQUESTS);
    if written && !s.has("requests") {
        s.mistake(
            "requests",
            format!("missing; accepted: a whole number from 1 to {MOST_REQUESTS}"),
        );
    }
    let per = s.duration("per", Duration::from_secs(1), Duration::from_secs(1)..=HOUR);
    let per = u32::try_from(per.as_millis()).unwrap_or(u32::MAX);
    let burst = s.count("burst", requests, 1..=MOST_REQUESTS);
    let many = |number: u32| number.saturating_mul(10).min(MOST_REQUESTS);
    let client = Count {
        requests: s.count("client_requests", many(requests), 1..=MOST_REQUESTS),
        per,
        burst: s.count("client_burst", many(burst), 1..=MOST_REQUESTS),
    };
    let by = by(&mut s);
    if by.is_none() {
        for key in ["client_requests", "client_burst"].into_iter().filter(|key| s.has(key)) {
            let why = "without header or cookie, requests and burst are those of each client";
            s.mistake(key, format!("{why}; accepted: with header or cookie"));
        }
    }
    s.finish(&[]);
    written.then_some(Rate { count: Count { requests, per, burst }, client, by })
}

fn by(s: &mut Section<'_>) -> Option<By> {
    let header = s.text("header", "the name of a request header", |text| {
        HeaderName::from_bytes(text.as_bytes()).map_err(|_| "not a field name".into())
    });
    let cookie = s.text("cookie", COOKIE_FORM, super::cookies::name);
    match (header, cookie) {
        (Some(_), Some(_)) => {
            s.mistake("cookie", "header is set too; accepted: one of them");
            None
        }
        (Some(header), None) => Some(By::Header(header)),
        (None, Some(cookie)) => Some(By::Cookie(cookie)),
        (None, None) => None,
    }
}

/// `basic_auth` is the path of a file of users, or a table.
fn basic_auth(s: &mut Section<'_>, rule: &str) -> Option<BasicAuth> {
    let form = "the path of a file of users, or a table of file, realm and forward";
    if matches!(s.value("basic_auth"), Some(Value { kind: Kind::Table(_), .. })) {
        let mut s = s.section("basic_auth");
        let realm = s.text(
            "realm",
            "1 to 64 visible ASCII characters and spaces, without \" and \\",
            realm,
        );
        let path = s.text("file", "the path of a file of users", file_path);
        if !s.has("file") {
            s.mistake("file", "missing; accepted: the path of a file of users");
        }
        let forward = s.boolean("forward", false);
        let users = path.map(|path| users(&s, "file", &path)).unwrap_or_default();
        s.finish(&[]);
        return Some(BasicAuth { realm: realm.unwrap_or_else(|| rule.into()), users, forward });
    }
    let path = s.text("basic_auth", form, file_path)?;
    let users = users(s, "basic_auth", &path);
    Some(BasicAuth { realm: rule.into(), users, forward: false })
}

fn realm(text: &str) -> Result<Box<str>, String> {
    let fits = |b: u8| (b' '..=b'~').contains(&b) && !matches!(b, b'"' | b'\\');
    match text {
        "" => Err("empty".into()),
        _ if text.len() > 64 => Err("too long".into()),
        _ if !text.bytes().all(fits) => Err("has other characters".into()),
        _ => Ok(text.into()),
    }
}

/// The users in a file. What is wrong is noted, and nobody is let in.
fn users(s: &Section<'_>, key: &str, path: &Path) -> Arc<Users> {
    let users = contents(path, LARGEST_FILE).and_then(|text| {
        let text = String::from_utf8(text).map_err(|_| "not UTF-8")?;
        let accepted = |wrong: Vec<String>| format!("{}; accepted: {LINE_FORM}", shown(&wrong));
        Users::parse(&text).map_err(accepted)
    });
    match users {
        Ok(users) => Arc::new(users),
        Err(reason) => {
            s.mistake(key, reason);
            Arc::default()
        }
    }
}

/// The first of what is wrong: a file of another form has it in each line.
fn shown(wrong: &[String]) -> String {
    const MOST: usize = 5;
    let more = wrong.len().saturating_sub(MOST);
    let first = wrong[..wrong.len() - more].join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}
