//! `key`, `cookies` and `max_object` of a rule, as the site and `[memory]` have them.

use crate::check::{cookies, site};
use crate::section::Section;
use weir_rules::key::{KeyRules, QueryKeep};
use weir_rules::site_rules::RuleCookies;

/// `key`, in place of the site's, whose cookies stay in it.
pub(super) fn key(s: &mut Section<'_>, of_site: &KeyRules) -> Option<KeyRules> {
    let written = s.has("key");
    let (key, has_cookies) = site::key(s.section("key"));
    if has_cookies {
        s.mistake("key", "has cookies; accepted: cookies.key of the rule");
    }
    written.then(|| KeyRules { cookies: of_site.cookies.clone(), ..key })
}

/// `cookies`, in place of the site's.
pub(super) fn cookies(s: &mut Section<'_>, of_site: &KeyRules) -> Option<RuleCookies> {
    let written = s.has("cookies");
    let mut key = KeyRules { cookies: Vec::new(), ..of_site.clone() };
    let rules = cookies::cookies(s.section("cookies"), &mut key, false).unwrap_or_default();
    written.then_some(RuleCookies { rules, key })
}

/// `max_object`.
pub(super) fn max_object(s: &mut Section<'_>) -> Option<u64> {
    s.optional_size("max_object", 0..=1 << 40)
}

/// Whether keys made so have the whole query, in the client's order.
pub(super) fn is_plain(key: &KeyRules) -> bool {
    key.query.keep == QueryKeep::All && !key.query.sort
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::Config;

    fn config(text: &str) -> Result<Config, String> {
        let site =
            "[[site]]\norigins = [\"http://a\"]\nkey.headers = [\"X-S\"]\ncookies.key = [\"s\"]\n";
        let rule = format!("{site}[[site.rule]]\nname = \"a\"\n{text}\n");
        Config::from_toml(&rule).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn a_rule_has_keys_and_cookies_like_a_site() {
        let text = "max_object = \"1MiB\"\nkey = { query = \"ignore\" }\ncookies = { key = [\"r\"], ignore = [\"analytics\"] }";
        let read = config(text).unwrap();
        let settings = &read.sites[0].rules.rules()[0].settings;
        assert_eq!(settings.max_object, Some(1 << 20));
        let key = settings.key.as_ref().unwrap();
        assert_eq!((key.cookies.join(" "), key.headers.len()), ("s".to_owned(), 0));
        let cookies = settings.cookies.as_ref().unwrap();
        assert_eq!((cookies.key.cookies.join(" "), cookies.key.headers.len()), ("r".to_owned(), 1));
        assert!(cookies.rules.ignore.has(b"_ga"));
        for (rule, parts) in [
            ("key = { cookies = [\"a\"] }", &["rule[0].key", "cookies.key of the rule"][..]),
            ("key = { headers = [\"Host\"] }", &["rule[0].key.headers[0]"]),
            (
                "cookies = { ignore = [\"a\"], bypass = [\"a\"] }",
                &["rule[0].cookies.ignore", "no effect"],
            ),
            ("max_object = \"many\"", &["rule[0].max_object"]),
            (
                "match = { status = [200] }\nkey = {}",
                &["rule[0].key", "before there is a response"],
            ),
            (
                "match = { status = [200] }\ncookies = {}",
                &["rule[0].cookies", "before there is a response"],
            ),
        ] {
            let told = config(rule).unwrap_err();
            for part in parts {
                assert!(told.contains(part), "{rule}: {told} does not say {part:?}");
            }
        }
    }
}
