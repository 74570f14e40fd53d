//! `[[site.rule]]`: what requests and responses a rule matches, and what it sets for them.

mod cors;
mod keying;
mod rewrite;

use super::access::access;
use super::cookies::name as cookie_name;
use super::error_page::error_page;
use super::geo;
use super::host::{HOST_FORM, site_host};
use super::maintenance::maintenance;
use super::site::parameter;
use crate::network::{NETWORK_FORM, Network};
use crate::section::Section;
use http::header::HOST;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use std::collections::HashSet;
use strum::{IntoStaticStr, VariantArray};
use weir_rules::access::Access;
use weir_rules::country::{COUNTRY_FORM, Country};
use weir_rules::key::KeyRules;
use weir_rules::site_rules::{
    Conditions, HeaderCondition, HeaderEdits, Ignored, MOST_RULES, NAME_FORM, PATH_FORM,
    PathPattern, Phase, Redirect, Rule, Setting, Settings, SiteRules, StaleSettings, TAG_FORM,
    TARGET_FORM, Template, check_name, check_request_field, check_response_field,
};

const MOST_ITEMS: usize = 256;
const MOST_TAGS: usize = 32;
const LONGEST_VALUE: usize = 1024;
const YEAR: u32 = 31_536_000;

/// What is said of a word in `ignore` that is none.
const UNKNOWN_IGNORED: &str = "not something that can be ignored";

/// The rules of a site whose keys are made so.
///
/// `has_signing_keys` says whether URLs can be signed; `pools` are the names of the site's origins.
pub(super) fn rules(
    s: &mut Section<'_>,
    key: &KeyRules,
    has_signing_keys: bool,
    pools: &[&str],
) -> SiteRules {
    let mut names = HashSet::new();
    let sections = s.sections("rule", MOST_RULES);
    let rules: Vec<Rule> =
        sections.into_iter().map(|s| rule(s, key, has_signing_keys, pools, &mut names)).collect();
    rewrite::judge(s, &rules);
    let of_rules = rules.iter().filter_map(|rule| rule.settings.key.as_ref());
    let plain_query = of_rules.chain([key]).all(keying::is_plain);
    SiteRules::new(rules, plain_query)
}

fn rule(
    mut s: Section<'_>,
    key: &KeyRules,
    has_signing_keys: bool,
    pools: &[&str],
    names: &mut HashSet<String>,
) -> Rule {
    let named = |name: &str| check_name(name).map(|()| name.to_owned());
    let name = s.text("name", NAME_FORM, named);
    if !s.has("name") {
        s.mistake("name", format!("missing; accepted: {NAME_FORM}"));
    }
    if let Some(name) = &name
        && !names.insert(name.clone())
    {
        s.mistake(
            "name",
            format!("another rule of the site has the name {name:?}; give each its own"),
        );
    }
    let conditions = conditions(s.section("match"));
    let is_final = s.boolean("final", false);
    let mut settings = settings(&mut s);
    settings.rewrite = rewrite::rewrite(&mut s, &conditions, key);
    settings.key = keying::key(&mut s, key);
    settings.cookies = keying::cookies(&mut s, key);
    settings.origin = origin(&mut s, pools);
    settings.access = access(&mut s, name.as_deref().unwrap_or_default(), has_signing_keys);
    judge(&s, &conditions, is_final, &settings);
    s.finish(&[]);
    Rule { name: name.unwrap_or_default(), conditions, is_final, settings }
}

/// What is wrong with a rule as a whole.
fn judge(s: &Section<'_>, conditions: &Conditions, is_final: bool, settings: &Settings) {
    let set: Vec<Setting> =
        Setting::VARIANTS.iter().copied().filter(|setting| settings.has(*setting)).collect();
    if conditions.look_at_response() {
        let is_early = |s: &&Setting| !matches!(s.phase(), Phase::Storing | Phase::Sending);
        let early = set.iter().filter(is_early);
        for setting in early {
            let why = "counts before there is a response, and match has status or content_type";
            s.mistake(setting.word(), format!("{why}; accepted: a rule of its own without these"));
        }
    }
    let stars = conditions.path.iter().map(PathPattern::stars).min().unwrap_or(0);
    let redirect = settings.redirect.iter().map(|redirect| ("redirect", redirect.to.captures()));
    let rewrite = settings.rewrite.iter().map(|rewrite| ("rewrite", rewrite.to.captures()));
    let tags = settings.tags.iter().flatten().map(|tag| ("tags", tag.captures()));
    for (name, captures) in
        redirect.chain(rewrite).chain(tags).filter(|(_, captures)| *captures > stars)
    {
        let why = format!("has {{{captures}}}, and a path of match has {stars} stars");
        s.mistake(name, format!("{why}; accepted: as many stars in each path"));
    }
    if set.is_empty() && !is_final {
        s.mistake("final", "the rule sets nothing; accepted: a setting, or final = true");
    }
}

fn settings(s: &mut Section<'_>) -> Settings {
    Settings {
        redirect: redirect(s),
        maintenance: maintenance(s),
        cors: cors::cors(s),
        rewrite: None,
        key: None,
        cookies: None,
        max_object: keying::max_object(s),
        request_headers: edits(s, "request_headers", check_request_field),
        origin: None,
        bypass: boolean(s, "bypass"),
        tags: s.list("tags", MOST_TAGS, TAG_FORM, Template::parse_tag),
        ignore: s.words("ignore", Ignored::VARIANTS.len(), UNKNOWN_IGNORED),
        ttl: seconds(s, "ttl"),
        default_ttl: seconds(s, "default_ttl"),
        negative_ttl: seconds(s, "negative_ttl"),
        heuristic_max: seconds(s, "heuristic_max"),
        stale: stale(s),
        access: Access::default(),
        browser_ttl: seconds(s, "browser_ttl"),
        response_headers: edits(s, "response_headers", |name, _| check_response_field(name)),
        error_page: error_page(s),
    }
}

/// The name of a pool.
fn origin(s: &mut Section<'_>, pools: &[&str]) -> Option<String> {
    let accepted = format!("the name of a pool of the site's origins: {}", pools.join(", "));
    s.text("origin", &accepted, |name| match pools.contains(&name) {
        true => Ok(name.to_owned()),
        false => Err("no pool of the site has this name".into()),
    })
}

/// A time in seconds, if it is set.
fn seconds(s: &mut Section<'_>, name: &'static str) -> Option<u32> {
    let seconds = s.seconds(name, 0, YEAR);
    s.has(name).then_some(seconds)
}

fn stale(s: &mut Section<'_>) -> Option<StaleSettings> {
    let written = s.has("stale");
    let mut s = s.section("stale");
    let stale = StaleSettings {
        while_revalidate: s.seconds("while_revalidate", 0, YEAR),
        if_error: s.seconds("if_error", 0, YEAR),
    };
    s.finish(&[]);
    written.then_some(stale)
}

fn boolean(s: &mut Section<'_>, name: &'static str) -> Option<bool> {
    let value = s.boolean(name, false);
    s.has(name).then_some(value)
}

fn redirect(s: &mut Section<'_>) -> Option<Redirect> {
    let written = s.has("redirect");
    let mut s = s.section("redirect");
    let to = s.text("to", TARGET_FORM, Template::parse);
    if written && !s.has("to") {
        s.mistake("to", format!("missing; accepted: {TARGET_FORM}"));
    }
    let status = s.count("status", 301u16, 301..=308);
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        s.mistake("status", "not a redirect; accepted: 301, 302, 303, 307, 308");
    }
    s.finish(&[]);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::MOVED_PERMANENTLY);
    to.map(|to| Redirect { status, to })
}

/// Edits of headers, whose names `judge` judges; it is told whether they are only removed.
fn edits(
    s: &mut Section<'_>,
    key: &'static str,
    judge: impl Fn(&HeaderName, bool) -> Result<(), String>,
) -> Option<HeaderEdits> {
    let written = s.has(key);
    let mut s = s.section(key);
    let name = |text: &str, removed| {
        let name =
            HeaderName::from_bytes(text.as_bytes()).map_err(|_| "not the name of a header")?;
        judge(&name, removed).map(|()| name)
    };
    let accepted = "the name of a header";
    let mut edits = HeaderEdits {
        remove: s.list("remove", MOST_ITEMS, accepted, |text| name(text, true)).unwrap_or_default(),
        set: lines(s.section("set"), |text| name(text, false)),
        add: lines(s.section("add"), |text| name(text, false)),
        country: Vec::new(),
    };
    edits.country = geo::countries(&s, key, &mut edits.set, &edits.add);
    if written && edits.is_empty() {
        s.mistake("set", "nothing is edited; accepted: set, add or remove");
    }
    s.finish(&[]);
    written.then_some(edits)
}

/// A table of headers, each with a value or a list of values.
fn lines(
    s: Section<'_>,
    judge: impl Fn(&str) -> Result<HeaderName, String>,
) -> Vec<(HeaderName, HeaderValue)> {
    let accepted = "a value, or a list of values, of printable ASCII";
    let mut lines: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (name, values) in s.free_texts(MOST_ITEMS, accepted, header_value) {
        match judge(&name) {
            Ok(header) if lines.iter().any(|(known, _)| *known == header) => {
                s.mistake(
                    &name,
                    "written twice, in other letters; accepted: one list of its values",
                );
            }
            Ok(name) => lines.extend(values.into_iter().map(|value| (name.clone(), value))),
            Err(why) => s.mistake(&name, why),
        }
    }
    lines
}

fn header_value(text: &str) -> Result<HeaderValue, String> {
    geo::check_value(text)?;
    let fits =
        text.len() <= LONGEST_VALUE && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    let value = HeaderValue::from_str(text).ok().filter(|_| fits && text.trim() == text);
    value.ok_or_else(|| "not a value of a header".into())
}

/// A scheme, in a word.
#[derive(Clone, Copy, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
enum SchemeWord {
    Http,
    Https,
}

fn conditions(mut s: Section<'_>) -> Conditions {
    let parameter_form = "a parameter's name as in the URL, perhaps with a * at its end";
    let cookie_form = "the name of a cookie (RFC 6265 §4.1.1), or its beginning and *";
    let type_form = "a media type such as text/html, with * for any characters";
    let method_form = "a method such as \"GET\", which stands for HEAD too";
    let networks = list(&mut s, "client", NETWORK_FORM, |text| text.parse::<Network>());
    let conditions = Conditions {
        path: list(&mut s, "path", PATH_FORM, PathPattern::parse),
        host: list(&mut s, "host", HOST_FORM, site_host),
        method: list(&mut s, "method", method_form, method),
        header: headers(s.section("header")),
        cookie: list(&mut s, "cookie", cookie_form, cookie_name),
        query: list(&mut s, "query", parameter_form, parameter),
        scheme: scheme(&mut s),
        client: networks.into_iter().map(Network::net).collect(),
        country: list(&mut s, "country", COUNTRY_FORM, Country::parse),
        status: statuses(&mut s),
        content_type: list(&mut s, "content_type", type_form, media_type),
    };
    s.finish(&[]);
    conditions
}

/// A list of which one item must match: an empty one would match nothing.
fn list<T>(
    s: &mut Section<'_>,
    name: &'static str,
    accepted: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let items = s.list(name, MOST_ITEMS, accepted, parse).unwrap_or_default();
    if s.has_empty_list(name) {
        s.mistake(name, "empty, so that nothing matches; leave the key out to match all");
    }
    items
}

fn scheme(s: &mut Section<'_>) -> Option<&'static str> {
    let scheme = s.word_or::<SchemeWord>("scheme", "nothing for both");
    scheme.map(Into::into)
}

fn statuses(s: &mut Section<'_>) -> Vec<StatusCode> {
    let accepted = "a status from 200 to 599; 200 stands for 206 and 304";
    if s.has_empty_list("status") {
        s.mistake("status", "empty, so that nothing matches; leave the key out to match all");
    }
    let numbers = s.numbers("status", MOST_ITEMS, accepted, 200..=599).unwrap_or_default();
    if numbers.iter().any(|number| matches!(number, 206 | 304)) {
        s.mistake("status", format!("has 206 or 304; accepted: {accepted}"));
    }
    numbers.into_iter().filter_map(|number| StatusCode::from_u16(number).ok()).collect()
}

fn method(text: &str) -> Result<Method, String> {
    match text {
        "HEAD" => Err("GET stands for it: both are answered from one stored response".into()),
        "PURGE" => Err("control answers it before rules are looked at".into()),
        "CONNECT" | "TRACE" => {
            Err("each node answers it with 405 before rules are looked at".into())
        }
        _ if text.bytes().any(|byte| !byte.is_ascii_uppercase() && byte != b'-') => {
            Err("methods are written in upper case".into())
        }
        _ => Method::from_bytes(text.as_bytes()).map_err(|_| "not a method".into()),
    }
}

fn media_type(text: &str) -> Result<String, String> {
    match text {
        "" => Err("empty".into()),
        _ if text.len() > LONGEST_VALUE => Err("too long".into()),
        _ if text.contains(';') => Err("has parameters; they are not compared".into()),
        _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err("not a media type".into()),
        _ => Ok(text.to_ascii_lowercase()),
    }
}

/// A table of fields, each with a value or a list of values.
fn headers(s: Section<'_>) -> Vec<HeaderCondition> {
    let accepted =
        "a value, or a list of values, with * for any characters (\"*\": the header is there)";
    let mut headers = Vec::new();
    for (name, values) in s.free_texts(MOST_ITEMS, accepted, value) {
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(header) if header == HOST => s.mistake(
                &name,
                "a host is written in many ways, and not always in this header; accepted: match.host",
            ),
            Ok(name) => headers.push(HeaderCondition { name, values }),
            Err(_) => s.mistake(&name, "not the name of a header"),
        }
    }
    headers
}

fn value(text: &str) -> Result<String, String> {
    match text {
        "" => Err("empty".into()),
        _ if text.len() > LONGEST_VALUE => Err("too long".into()),
        _ if !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') => {
            Err("has characters that are not compared".into())
        }
        _ => Ok(text.to_ascii_lowercase()),
    }
}
