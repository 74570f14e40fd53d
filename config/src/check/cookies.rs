//! `cookies` of a site: what is ignored, what is part of the key, and what makes requests skip the store.

use crate::section::Section;
use weir_rules::cookies::{ANALYTICS, CookieNames, CookieRules, LISTS};
use weir_rules::key::KeyRules;

/// Names in one list.
const MOST_NAMES: usize = 1000;

/// Cookies in the key of a site.
pub(super) const MOST_KEYED: usize = 64;

/// What a list of cookies takes.
pub(super) const COOKIE_FORM: &str =
    "the name of a cookie (RFC 6265 §4.1.1), or its beginning and *";

const IGNORE_FORM: &str =
    "the name of a cookie (RFC 6265 §4.1.1), its beginning and *, or \"analytics\"";

/// Reads the table. Cookies of the key are put into `key`; `keyed_already` says that `key.cookies` is written.
/// `None` without cookies that are ignored or skip the store: then nothing needs to look at cookies.
pub(super) fn cookies(
    mut s: Section<'_>,
    key: &mut KeyRules,
    keyed_already: bool,
) -> Option<CookieRules> {
    let ignore = s.list("ignore", MOST_NAMES, IGNORE_FORM, name).unwrap_or_default();
    let bypass = s.list("bypass", MOST_NAMES, COOKIE_FORM, no_list).unwrap_or_default();
    if let Some(keyed) = s.list("key", MOST_KEYED, COOKIE_FORM, no_list) {
        match keyed_already {
            true => s.mistake("key", "key.cookies is set too; accepted: one of them"),
            false => key.cookies = sorted(keyed),
        }
    }
    let rules = CookieRules {
        bypass: CookieNames::in_any_spelling(&bypass),
        ignore: CookieNames::new(ignore.iter().flat_map(|name| expanded(name))),
    };
    each_has_one_use(&s, &rules.bypass, key, &ignore, keyed_already);
    s.finish(&[]);
    (!rules.ignore.is_empty() || !rules.bypass.is_empty()).then_some(rules)
}

/// The cookies that an entry of `ignore` stands for.
fn expanded(name: &str) -> Vec<&str> {
    match name {
        "analytics" => ANALYTICS.to_vec(),
        name => vec![name],
    }
}

/// A name that another list takes before it comes to this one would do nothing.
fn each_has_one_use(
    s: &Section<'_>,
    bypass: &CookieNames,
    key: &KeyRules,
    ignore: &[String],
    keyed_already: bool,
) {
    let keyed = CookieNames::in_any_spelling(&key.cookies);
    let is_taken = |by: &CookieNames, name: &str| expanded(name).iter().all(|name| by.covers(name));
    for name in &key.cookies {
        if is_taken(bypass, name) {
            s.mistake(if keyed_already { "bypass" } else { "key" }, taken(name, "bypass"));
        }
    }
    for name in ignore {
        if is_taken(bypass, name) {
            s.mistake("ignore", taken(name, "bypass"));
        } else if is_taken(&keyed, name) {
            s.mistake("ignore", taken(name, "key"));
        }
    }
}

fn taken(name: &str, by: &str) -> String {
    format!("{name:?} has no effect, because {by} names it too; accepted: each cookie in one list")
}

/// The names in the order of keys.
pub(super) fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

/// The name of a cookie, or its beginning.
pub(super) fn name(text: &str) -> Result<String, String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let stem = text.strip_suffix('*').unwrap_or(text);
    match text {
        "" => Err("empty".into()),
        _ if text.len() > 256 => Err("too long".into()),
        _ if stem.contains('*') => Err("a * before its end".into()),
        _ if !text.bytes().all(token) => Err("not a cookie name".into()),
        _ => Ok(text.to_owned()),
    }
}

/// The same where no list has a place.
pub(super) fn no_list(text: &str) -> Result<String, String> {
    match LISTS.contains(&text) {
        true => Err("a list of cookies that only ignore takes".into()),
        false => name(text),
    }
}
