//! What the cookies of a request are for.

use super::shape::ExplainedCookies;
use http::header::COOKIE;
use http::{HeaderMap, Method};
use weir_config::Site;
use weir_rules::assets::may_be_anonymous;
use weir_rules::cookies::{CookieUse, uses};
use weir_rules::site_rules::RuleSet;

/// Explains the cookies of a GET with these headers, and takes those away that are ignored. `None` if it has
/// no Cookie field.
pub(super) fn explain(
    site: &Site,
    matching: RuleSet,
    path: &str,
    headers: &mut HeaderMap,
) -> Option<ExplainedCookies> {
    headers.contains_key(COOKIE).then(|| {
        let applied = site.rules.applied(matching);
        let key = site.rules.key(applied, &site.key);
        let rules = site.rules.cookies(applied, site.cookies.as_ref());
        let of_path = rules.is_some_and(|(_, of_path)| of_path);
        let rules = rules.map(|(rules, _)| rules);
        let for_everyone =
            site.anonymous_assets && !of_path && may_be_anonymous(&Method::GET, path, headers);
        let mut explained = ExplainedCookies { for_everyone, ..ExplainedCookies::default() };
        for (name, cookie_use) in uses(rules, &key, headers) {
            let names = match cookie_use {
                CookieUse::Bypass => &mut explained.bypass,
                CookieUse::Key => &mut explained.key,
                CookieUse::Ignored => &mut explained.ignored,
                CookieUse::Other => &mut explained.other,
            };
            names.push(name);
        }
        if let Some(rules) = rules {
            rules.judge(&key, headers).remaining.put(headers);
        }
        explained
    })
}

impl ExplainedCookies {
    /// What is met by a request that skips the store, in one sentence; `None` if this one does not.
    pub(super) fn skipped(&self) -> Option<String> {
        let name = self.bypass.first().filter(|_| !self.for_everyone)?;
        Some(format!(
            "The cookie {name} makes requests skip the store (cookies.bypass): they go to the origin."
        ))
    }
}
