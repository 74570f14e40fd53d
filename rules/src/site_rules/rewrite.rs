//! Rewrites: the path and the query that a request has in place of its own.

use super::path::{Readings, has_dots, resolved};
use super::redirect::{Part, Template};
use super::{Conditions, RuleSet, Setting, SiteRules};
use crate::invalidation::normalised;
use crate::key::{QueryRules, origin_query};
use crate::target::spelled;
use std::fmt::Write;

/// What a rewritten target may be, for messages.
pub const REWRITE_FORM: &str = "a path that begins with / or {path}, perhaps with a query, with {path} and {1} to {9} \
                                (what the stars of match.path stand for) in it, and {query} at its end";

/// Longest target as it is written, bytes.
const LONGEST: usize = 1024;

/// A rewrite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// What the request is for.
    pub to: Template,
    /// Whether the cache key has it too. If not, the key has what the client asked for, and origins alone are asked
    /// for the target.
    pub key: bool,
}

/// A path that servers may read in two ways, of which one would be rewritten to something else, or that climbs (`..`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmbiguousPath;

impl Template {
    /// Reads what a request is rewritten to.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_rewrite(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err("too long".into());
        }
        let parts = Self::parts(text)?;
        let literals = || {
            parts.iter().filter_map(|part| match part {
                Part::Literal(text) => Some(text.as_str()),
                _ => None,
            })
        };
        let queries = parts.iter().filter(|part| **part == Part::Query).count();
        match &parts[..] {
            [Part::Literal(first), ..] if first.starts_with('/') && !first.starts_with("//") => {}
            [Part::Path, ..] => {}
            _ => return Err("begins with neither / nor {path}, or with //".into()),
        }
        if parts.contains(&Part::Host) {
            return Err("has {host}; the host stays".into());
        }
        if queries > 1 || (queries == 1 && parts.last() != Some(&Part::Query)) {
            return Err("has {query} before its end".into());
        }
        if literals().any(|text| text.contains('#') || spelled(text.as_bytes()).is_some()) {
            return Err("has characters that no target has; percent-encode them".into());
        }
        if literals().map(|text| text.matches('?').count()).sum::<usize>() > 1 {
            return Err("has more than one ?".into());
        }
        let template = Self(parts);
        match has_dots(&normalised(path_of(&template.shown()))) {
            true => Err("has a segment . or ..".into()),
            false => Ok(template),
        }
    }

    /// The target of a plain path.
    fn shown(&self) -> String {
        self.rewritten("/x", &std::array::from_fn::<_, 9, _>(|_| "x".to_owned()), None)
    }

    /// Whether it has a query of its own.
    fn has_query(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Literal(text) if text.contains('?')))
    }

    /// The target for a path, what the stars stand for in it, and a query. What stands in its query is percent-encoded,
    /// so that it is one value there.
    fn rewritten(&self, path: &str, captures: &[String], query: Option<&str>) -> String {
        let mut target = String::new();
        let mut in_query = false;
        for part in &self.0 {
            let text = match part {
                Part::Literal(text) => {
                    in_query |= text.contains('?');
                    target.push_str(text);
                    continue;
                }
                Part::Query => {
                    match query {
                        Some(query) if !in_query => target.extend(["?", query]),
                        Some(query) if !query.is_empty() => target.extend(["&", query]),
                        _ => {}
                    }
                    continue;
                }
                Part::Host => continue,
                Part::Path => path,
                Part::Capture(n) => captures.get(n - 1).map_or("", String::as_str),
            };
            match in_query {
                true => push_value(&mut target, text),
                false => target.push_str(text),
            }
        }
        // Of an absolute-form target `//` would begin a host.
        match target.starts_with("//") {
            true => format!("/{}", target.trim_start_matches('/')),
            false => target,
        }
    }
}

/// Appends a part of a path as a value of a query: what separates parameters is percent-encoded.
fn push_value(target: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' | '=' | '+' | ';' | '?' | '#' => drop(write!(target, "%{:02X}", u32::from(c))),
            c => target.push(c),
        }
    }
}

fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or(target)
}

impl Rewrite {
    /// The target of a request for `path` and `query` that these conditions hold for.
    ///
    /// # Errors
    /// Origins could read the target as one that this rule would not make.
    fn target(
        &self,
        conditions: &Conditions,
        path: &str,
        query: Option<&str>,
    ) -> Result<String, AmbiguousPath> {
        let readings = Readings::of(path, None);
        if self.to.captures() > 0 && conditions.take_one_reading(&readings) {
            return Err(AmbiguousPath);
        }
        let captures = conditions.captures_of_both(&readings);
        let target = self.to.rewritten(path, &captures.as_sent, query);
        let is_plain = |path: &str| !has_dots(&normalised(path));
        if !is_plain(path_of(&target)) {
            return Err(AmbiguousPath);
        }
        let Some(other) = readings.resolved() else { return Ok(target) };
        let clear = self.to.rewritten(other, &captures.resolved, query);
        let read = |target: &str| resolved(&normalised(path_of(target)));
        match is_plain(path) && read(&target) == read(&clear) {
            true => Ok(target),
            false => Err(AmbiguousPath),
        }
    }

    /// Why the key of a site with these rules for queries cannot have the target.
    ///
    /// # Errors
    /// In words.
    pub fn check_key(&self, rules: &QueryRules) -> Result<(), String> {
        if !self.key || !self.to.has_query() {
            return Ok(());
        }
        if self.to.0.last() == Some(&Part::Query) {
            return Err("has {query} after a query of its own, so that no purge of its path finds all of them; \
                        accepted: with key = false".into());
        }
        let shown = self.to.shown();
        let query = shown.split_once('?').map(|(_, query)| query);
        match origin_query(query, rules).as_deref() == query {
            true => Ok(()),
            false => Err("has a parameter that key.query drops; accepted: one that is kept".into()),
        }
    }
}

impl SiteRules {
    /// What a request is for from then on, and its key too: path and query, of the rules that apply to it. `None` if it
    /// stays as it is.
    ///
    /// # Errors
    /// It cannot be told what it would be for.
    pub fn keyed_target(
        &self,
        applied: RuleSet,
        path: &str,
        query: Option<&str>,
    ) -> Result<Option<String>, AmbiguousPath> {
        self.rewritten(applied, true, path, query)
    }

    /// What the origins are asked for in place of what is keyed.
    ///
    /// # Errors
    /// It cannot be told what that would be.
    pub fn origin_target(
        &self,
        applied: RuleSet,
        path: &str,
        query: Option<&str>,
    ) -> Result<Option<String>, AmbiguousPath> {
        self.rewritten(applied, false, path, query)
    }

    fn rewritten(
        &self,
        applied: RuleSet,
        key: bool,
        path: &str,
        query: Option<&str>,
    ) -> Result<Option<String>, AmbiguousPath> {
        let rule = self.decider(applied, Setting::Rewrite);
        let decided = rule.and_then(|rule| Some((rule, rule.settings.rewrite.as_ref()?)));
        let Some((rule, rewrite)) = decided.filter(|(_, rewrite)| rewrite.key == key) else {
            return Ok(None);
        };
        rewrite.target(&rule.conditions, path, query).map(Some)
    }

    /// Every target under which a response to a request for `path` and `query` may be stored in place of that: that of
    /// each rewrite before the key whose paths take it, whatever else decides which of them counts. Without `query` each
    /// stands for all queries.
    pub fn keyed_targets(&self, path: &str, query: Option<&str>) -> Vec<String> {
        let rewriting = self.those(self.key_rewriting);
        let taking = rewriting.filter(|rule| rule.conditions.take_path(&Readings::of(path, None)));
        let targets = taking.filter_map(|rule| {
            rule.settings.rewrite.as_ref()?.target(&rule.conditions, path, query).ok()
        });
        targets.collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::key::QueryKeep;
    use crate::site_rules::{PathPattern, Rule, Settings};
    use proptest::prelude::*;

    fn rule(path: &[&str], to: &str) -> Rule {
        let path = path.iter().map(|path| PathPattern::parse(path).unwrap()).collect();
        let rewrite = Rewrite { to: Template::parse_rewrite(to).unwrap(), key: true };
        let settings = Settings { rewrite: Some(rewrite), ..Settings::default() };
        let conditions = Conditions { path, ..Conditions::default() };
        Rule { name: "r".into(), conditions, is_final: false, settings }
    }

    fn target(path: &[&str], to: &str, asked: &str) -> Result<String, AmbiguousPath> {
        let rule = rule(path, to);
        let (asked, query) = match asked.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (asked, None),
        };
        rule.settings.rewrite.unwrap().target(&rule.conditions, asked, query)
    }

    #[test]
    fn parts_of_the_request_stand_in_the_target() {
        for (path, to, asked, expected) in [
            (&["/old/*"][..], "/v2/{1}{query}", "/old/a/b?c=d", "/v2/a/b?c=d"),
            (&["/old/*"], "/v2/{1}{query}", "/old/a", "/v2/a"),
            (&["/old/*"], "/v2/{1}{query}", "/old/a?", "/v2/a?"),
            (&["/old/*"], "/v2/{1}", "/old/a?c=d", "/v2/a"),
            (&["/*/p/*"], "/{2}/{1}", "/en/p/7", "/7/en"),
            (&[], "/app{path}{query}", "/a?b", "/app/a?b"),
            (&["/*"], "/index.php?p={1}{query}", "/a/b?c=d", "/index.php?p=a/b&c=d"),
            (&["/*"], "/index.php?p={1}{query}", "/a", "/index.php?p=a"),
            (&["/*"], "/index.php?p={1}{query}", "/a?", "/index.php?p=a"),
            // One value, whatever a client puts into its path.
            (&["/*"], "/index.php?p={1}", "/a&admin=1;b+c", "/index.php?p=a%26admin%3D1%3Bb%2Bc"),
            (&["/*"], "/index.php?p={1}", "/a%26b", "/index.php?p=a%26b"),
            (&["/wiki/*"], "/w/{1}", "/wiki/AC%2FDC", "/w/AC%2FDC"),
            (&["/old/*"], "/{1}", "/old//evil.example", "/evil.example"),
            (&["/proxy/http://*"], "/p/{1}", "/proxy/http://a/b", "/p/a/b"),
        ] {
            assert_eq!(target(path, to, asked).as_deref(), Ok(expected), "{path:?} {to} {asked}");
        }
    }

    #[test]
    fn no_path_leads_to_what_the_rule_does_not_name() {
        for (path, to, asked) in [
            (&[][..], "/public{path}", "/../secret"),
            (&[], "/public{path}", "/a/../b"),
            (&[], "/public{path}", "/%2e%2e/secret"),
            (&[], "/public{path}", "/..%2Fsecret"),
            (&[], "/public{path}", "/..%5csecret"),
            (&[], "/public{path}", "/..;x/secret"),
            (&[], "/public{path}", "/a/./b"),
            // The first star stands for as little as possible: what is read as a climb must not be moved behind it.
            (&["/a/*/b/*"], "/x/{2}/{1}", "/a/p/b/../b/q"),
            (&["/files/*/*"], "/{1}/public/{2}", "/files/x%2Fprivate%2F/y"),
            (&["/f/*"], "/.{1}", "/f/."),
            (&["/f/*"], "/x/{1}./y", "/f/."),
        ] {
            assert_eq!(target(path, to, asked), Err(AmbiguousPath), "{path:?} {to} {asked}");
        }
    }

    #[test]
    fn what_is_no_target_is_told() {
        for (text, part) in [
            ("", "neither / nor {path}"),
            ("a", "neither / nor {path}"),
            ("//a", "with //"),
            ("{1}", "neither / nor {path}"),
            ("https://a/", "neither / nor {path}"),
            ("/{host}", "the host stays"),
            ("/a{query}b", "before its end"),
            ("/a{query}{query}", "before its end"),
            ("/a#b", "percent-encode"),
            ("/a\"b", "percent-encode"),
            ("/a b", "percent-encode"),
            ("/a?b?c", "more than one ?"),
            ("/a/../{1}", ". or .."),
            ("/a/%2e%2E/{1}", ". or .."),
            ("/a/..%2f{1}", ". or .."),
            ("/{0}", "stands for nothing"),
        ] {
            let told = Template::parse_rewrite(text).unwrap_err();
            assert!(told.contains(part), "{text:?}: {told}");
        }
    }

    #[test]
    fn a_key_that_cannot_have_the_target_is_told() {
        let check = |to: &str, key, rules: &QueryRules| {
            Rewrite { to: Template::parse_rewrite(to).unwrap(), key }.check_key(rules)
        };
        let plain = QueryRules::default();
        let none = QueryRules { sort: false, keep: QueryKeep::Nothing };
        assert!(check("/i?p={1}", true, &plain).is_ok() && check("/i{query}", true, &none).is_ok());
        assert!(check("/i?p={1}", true, &none).unwrap_err().contains("key.query drops"));
        assert!(check("/i?p={1}{query}", true, &plain).unwrap_err().contains("key = false"));
        assert!(check("/i?p={1}{query}", false, &none).is_ok());
    }

    #[test]
    fn a_purge_knows_every_target_that_a_path_may_have() {
        let mut of_cookie = rule(&["/old/*"], "/mobile/{1}{query}");
        of_cookie.conditions.cookie = vec!["m".into()];
        let mut elsewhere = rule(&["/old/*"], "/origin/{1}");
        elsewhere.settings.rewrite.as_mut().unwrap().key = false;
        let rules = SiteRules::new(vec![rule(&["/old/*"], "/v2/{1}"), of_cookie, elsewhere], true);
        assert_eq!(rules.keyed_targets("/old/a", None), ["/v2/a", "/mobile/a"]);
        assert_eq!(rules.keyed_targets("/%6fld/a", Some("b")), ["/v2/a", "/mobile/a?b"]);
        assert_eq!(rules.keyed_targets("/v2/a", None), [""; 0]);
    }

    proptest! {
        /// Whatever servers make of a target, it is below what the rule writes before its captures.
        #[test]
        fn no_spelling_leaves_the_folder_of_the_target(
            path in "/([ab.;&=]|/|%2[fFeE]|%5[cC]|\\.\\.){0,9}",
            pattern in proptest::sample::select(vec!["/*", "/*/*", "/a*", "/a/*/b*"]),
            to in proptest::sample::select(vec!["/in/{1}", "/in/{2}/{1}", "/in{path}", "/in/x{1}", "/in/.{1}"]),
        ) {
            let rule = rule(&[pattern], to);
            let readings = Readings::of(&path, None);
            prop_assume!(rule.conditions.take_path(&readings));
            let rewrite = rule.settings.rewrite.unwrap();
            if let Ok(target) = rewrite.target(&rule.conditions, &path, None) {
                prop_assert!(resolved(&normalised(&target)).starts_with("/in/"), "{path} to {target}");
                prop_assert!(!target.starts_with("//") && target.parse::<http::uri::PathAndQuery>().is_ok());
            }
        }
    }
}
