//! How rules have the keys of requests made, and what they do with cookies.

use super::{RuleResponse, RuleSet, Setting, SiteRules};
use crate::cookies::CookieRules;
use crate::key::{KeyRules, QueryRules};
use std::borrow::Cow;

/// What a rule does with cookies, in place of the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCookies {
    /// Those that are ignored, and those that make a request skip the store.
    pub rules: CookieRules,
    /// The keys of the site, with the cookies that this rule has in them.
    pub key: KeyRules,
}

impl SiteRules {
    /// How the key of a request is made that these rules apply to.
    pub fn key<'a>(&'a self, applied: RuleSet, site: &'a KeyRules) -> Cow<'a, KeyRules> {
        if applied.is_empty() {
            return Cow::Borrowed(site);
        }
        let key = self.decider(applied, Setting::Key).and_then(|rule| rule.settings.key.as_ref());
        let cookies = self.cookie_setting(applied).map(|(cookies, _)| &cookies.key);
        let key = match (key, cookies) {
            (None, None) => Cow::Borrowed(site),
            (Some(key), None) | (None, Some(key)) => Cow::Borrowed(key),
            (Some(key), Some(cookies)) => {
                Cow::Owned(KeyRules { cookies: cookies.cookies.clone(), ..key.clone() })
            }
        };
        self.with_countries(applied, key)
    }

    /// Fields that tell the origin the client's country are part of the key: it may answer each country otherwise.
    fn with_countries<'a>(
        &self,
        applied: RuleSet,
        mut key: Cow<'a, KeyRules>,
    ) -> Cow<'a, KeyRules> {
        if !self.looks_at_country {
            return key;
        }
        for rule in self.those(applied.and(self.setters_of(Setting::RequestHeaders))) {
            for name in rule.settings.request_headers.iter().flat_map(|edits| &edits.country) {
                let place = key.headers.binary_search_by(|known| known.as_str().cmp(name.as_str()));
                if let Err(at) = place {
                    key.to_mut().headers.insert(at, name.clone());
                }
            }
        }
        key
    }

    /// What is done with the cookies of a request that these rules apply to, and whether a rule on its path says so.
    pub fn cookies<'a>(
        &'a self,
        applied: RuleSet,
        site: Option<&'a CookieRules>,
    ) -> Option<(&'a CookieRules, bool)> {
        match self.cookie_setting(applied) {
            Some((cookies, of_path)) => Some((&cookies.rules, of_path)),
            None => site.map(|rules| (rules, false)),
        }
    }

    fn cookie_setting(&self, applied: RuleSet) -> Option<(&RuleCookies, bool)> {
        let rule = self.decider(applied, Setting::Cookies)?;
        Some((rule.settings.cookies.as_ref()?, !rule.conditions.path.is_empty()))
    }

    /// Each way in which queries are keyed: that of the site, and those of rules.
    pub fn queries<'a>(&'a self, site: &'a QueryRules) -> impl Iterator<Item = &'a QueryRules> {
        let own = self.rules.iter().filter_map(|rule| Some(&rule.settings.key.as_ref()?.query));
        std::iter::once(site).chain(own.filter(move |own| *own != site))
    }

    /// The largest body that is stored of a response to a request that matches these rules, if one of them sets a
    /// bound.
    pub fn max_object(&self, matching: RuleSet, response: &RuleResponse<'_>) -> Option<u64> {
        if matching.and(self.setters_of(Setting::MaxObject)).is_empty() {
            return None;
        }
        let applied = self.applied_to(matching, response);
        self.decider(applied, Setting::MaxObject)?.settings.max_object
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cookies::CookieNames;
    use crate::key::QueryKeep;
    use crate::site_rules::{Conditions, HeaderEdits, PathPattern, Rule, Settings};
    use http::HeaderName;

    fn rule(name: &str, path: &[&str], settings: Settings) -> Rule {
        let path = path.iter().map(|path| PathPattern::parse(path).unwrap()).collect();
        let conditions = Conditions { path, ..Conditions::default() };
        Rule { name: name.into(), conditions, is_final: false, settings }
    }

    #[test]
    fn a_field_that_tells_the_country_is_in_the_key_of_what_it_is_told_for() {
        let edits =
            HeaderEdits { country: vec!["x-country".parse().unwrap()], ..HeaderEdits::default() };
        let telling = Settings { request_headers: Some(edits), ..Settings::default() };
        let table = SiteRules::new(vec![rule("tells", &["/told"], telling)], false);
        let names = |names: &[&'static str]| {
            let names = names.iter().map(|name| HeaderName::from_static(name)).collect();
            KeyRules { headers: names, ..KeyRules::default() }
        };
        let mut told = RuleSet::default();
        told.add(0);
        for (site, key) in [
            (names(&[]), names(&["x-country"])),
            (names(&["x-country"]), names(&["x-country"])),
            (names(&["accept", "x-device"]), names(&["accept", "x-country", "x-device"])),
        ] {
            assert_eq!(*table.key(told, &site), key);
            assert_eq!(*table.key(RuleSet::default(), &site), site);
        }
    }

    #[test]
    fn a_later_rule_overrides_the_site_and_what_is_above() {
        let nothing = QueryRules { sort: false, keep: QueryKeep::Nothing };
        let site = KeyRules { cookies: vec!["site".into()], ..KeyRules::default() };
        let key = KeyRules { query: nothing.clone(), ..site.clone() };
        let rules =
            CookieRules { bypass: CookieNames::in_any_spelling(["sid"]), ..CookieRules::default() };
        let own = KeyRules { cookies: vec!["own".into()], ..KeyRules::default() };
        let cookies = RuleCookies { rules, key: own.clone() };
        let of_key = Settings { key: Some(key.clone()), ..Settings::default() };
        let of_cookies = Settings { cookies: Some(cookies.clone()), ..Settings::default() };
        let table = SiteRules::new(
            vec![rule("key", &["/k*"], of_key), rule("cookies", &["*c"], of_cookies)],
            false,
        );
        let applied = |path: &str| {
            let mut set = RuleSet::default();
            if path.starts_with("/k") {
                set.add(0);
            }
            if path.ends_with('c') {
                set.add(1);
            }
            set
        };
        assert_eq!(*table.key(applied("/a"), &site), site);
        assert_eq!(*table.key(applied("/k"), &site), key);
        assert_eq!(*table.key(applied("/c"), &site), own);
        let both = KeyRules { cookies: own.cookies.clone(), ..key };
        assert_eq!(*table.key(applied("/kc"), &site), both);
        let none = CookieRules::default();
        assert_eq!(table.cookies(applied("/k"), Some(&none)), Some((&none, false)));
        assert_eq!(table.cookies(applied("/c"), Some(&none)), Some((&cookies.rules, true)));
        assert_eq!(table.cookies(applied("/k"), None), None);
        assert_eq!(table.queries(&site.query).collect::<Vec<_>>(), [&site.query, &nothing]);
    }
}
