//! Purges whose paths and queries are written as keys have them.

use super::{Purge, Target};
use crate::key::{QueryRules, keyed_query};
use crate::site_rules::SiteRules;
use std::ops::Deref;
use std::sync::Arc;

/// A purge whose paths and queries are written as keys have them: what a site's rules sort or drop of a query
/// is sorted or dropped of a target too, and a path or URL that rules rewrite before the key is there as given and
/// as rewritten. Whoever looks for what a purge takes takes only this.
///
/// It also knows whose each target is, so that what one site names fills no other site's part of an
/// index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedPurge {
    purge: Purge,
    /// Of each target the site; `None` for those of all sites.
    sites: Vec<Option<Arc<str>>>,
}

/// Whose a target is that concerns no site of this node. No site has this id.
const NOBODY: &str = "";

/// How a site makes the paths and queries of its keys.
#[derive(Clone, Copy, Debug)]
pub struct SiteUrls<'a> {
    /// The site's id.
    pub site: &'a str,
    /// What it does to queries.
    pub query: &'a QueryRules,
    /// Its rules.
    pub rules: &'a SiteRules,
}

impl SiteUrls<'_> {
    /// What a path or a URL is in keys, beside what it is as given.
    fn of(&self, target: &Target) -> Vec<Target> {
        let Some(start) = target.path_start() else { return Vec::new() };
        let (before, given) = target.text().split_at(start);
        let (path, query) = split(given);
        let mut paths = vec![given.to_owned()];
        paths.extend(self.rules.keyed_targets(path, query));
        let keyed = paths.iter().flat_map(|path| {
            let (path, query) = split(path);
            self.rules.queries(self.query).map(move |rules| {
                let query = keyed_query(query, rules);
                query.map_or(path.to_owned(), |query| format!("{path}?{query}"))
            })
        });
        keyed.filter_map(|path| target.rekeyed(format!("{before}{path}"))).collect()
    }
}

/// A path, and its query if it has one.
fn split(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

impl KeyedPurge {
    /// Adds to `purge` its targets as each site that it concerns writes them. `sites` are all sites;
    /// `of_host` is the site of a host, which may have a port.
    pub fn new<'a>(
        mut purge: Purge,
        sites: impl Iterator<Item = SiteUrls<'a>> + Clone,
        of_host: impl Fn(&str) -> Option<SiteUrls<'a>>,
    ) -> Self {
        let known = |site: &&Arc<str>| sites.clone().any(|known| known.site == &***site);
        let nobody = Arc::<str>::from(NOBODY);
        let named = purge.site.as_deref().map(Arc::<str>::from);
        let named = named.map(|site| Some(&site).filter(known).unwrap_or(&nobody).clone());
        let (mut added, mut of) = (Vec::new(), Vec::with_capacity(purge.targets.len()));
        for target in &purge.targets {
            of.push(match is_of_its_host(target) {
                false => named.clone(),
                true => {
                    let site = of_host(target.host().unwrap_or_default());
                    Some(site.map_or(nobody.clone(), |urls| urls.site.into()))
                }
            });
        }
        for (target, site) in purge.targets.iter().zip(of.clone()) {
            let concerned: Vec<_> = match target.host() {
                Some(host) => of_host(host).into_iter().collect(),
                None => sites.clone().collect(),
            };
            let within =
                |site: &&SiteUrls<'_>| purge.site.as_ref().is_none_or(|only| only == site.site);
            for target in concerned.iter().filter(within).flat_map(|urls| urls.of(target)) {
                if !purge.targets.contains(&target) && !added.contains(&target) {
                    added.push(target);
                    of.push(site.clone());
                }
            }
        }
        purge.targets.append(&mut added);
        Self { purge, sites: of }
    }

    /// A purge of a store whose keys have queries as they were sent. It is not known which site has
    /// which host: targets that name one are of all sites.
    pub fn as_sent(purge: Purge) -> Self {
        let named = purge.site.as_deref().map(Arc::<str>::from);
        let of = |target| named.clone().filter(|_| !is_of_its_host(target));
        let sites = purge.targets.iter().map(of).collect();
        Self { purge, sites }
    }

    /// Whose its targets are; those that stand together are named once.
    pub(super) fn sites(&self) -> impl Iterator<Item = Option<&str>> {
        let mut last = None;
        let sites = self.sites.iter().map(Option::as_deref);
        sites.filter(move |site| last.replace(*site) != Some(*site))
    }

    /// Its targets, and whose each is; `None` stands for all sites.
    pub(super) fn owned(&self) -> impl Iterator<Item = (&Target, Option<&Arc<str>>)> {
        self.purge.targets.iter().zip(self.sites.iter().map(Option::as_ref))
    }
}

/// Whether a target is not narrowed by the site that a purge names: it concerns that of its host.
fn is_of_its_host(target: &Target) -> bool {
    matches!(target, Target::Url(_) | Target::Host(_))
}

impl Deref for KeyedPurge {
    type Target = Purge;

    fn deref(&self) -> &Purge {
        &self.purge
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::site_rules::{Conditions, PathPattern, Rewrite, Rule, Settings, Template};
    use std::slice::from_ref;

    #[test]
    fn queries_are_written_as_each_site_has_them() {
        let sorts = QueryRules { sort: true, ..QueryRules::default() };
        let plain = QueryRules { sort: false, ..QueryRules::default() };
        let rules = SiteRules::default();
        let shop = SiteUrls { site: "shop", query: &sorts, rules: &rules };
        let blog = SiteUrls { site: "blog", query: &plain, rules: &rules };
        let of_host = |host: &str| (host == "shop.example").then_some(shop);
        let keyed = |targets: &[Target], site: Option<&str>| {
            let (targets, site) = (targets.to_vec(), site.map(str::to_owned));
            let purge = Purge { seq: 1, targets, site, soft: false, versions: false };
            KeyedPurge::new(purge, [shop, blog].into_iter(), of_host).targets.clone()
        };
        let path = |text: &str| Target::Path(text.to_owned());
        let url = |text: &str| Target::Url(text.to_owned());
        let (sent, sorted) = (path("/a?b&a"), path("/a?a&b"));
        assert_eq!(keyed(from_ref(&sent), None), [sent.clone(), sorted.clone()]);
        assert_eq!(keyed(from_ref(&sent), Some("shop")), [sent.clone(), sorted]);
        assert_eq!(keyed(from_ref(&sent), Some("blog")), [sent]);
        let (shops, others) = (url("http://shop.example/?b&a"), url("http://other.example/?b&a"));
        let both = keyed(&[shops.clone(), others.clone()], None);
        assert_eq!(both, [shops, others, url("http://shop.example/?a&b")]);
        let none = [path("/a"), Target::Pattern("/a?b&a*".to_owned()), Target::All];
        assert_eq!(keyed(&none, None), none);
    }

    #[test]
    fn a_path_that_is_rewritten_is_there_as_given_and_as_rewritten() {
        let rewrite =
            Rewrite { to: Template::parse_rewrite("/new/{1}{query}").unwrap(), key: true };
        let conditions = Conditions {
            path: vec![PathPattern::parse("/old/*").unwrap()],
            ..Conditions::default()
        };
        let settings = Settings { rewrite: Some(rewrite), ..Settings::default() };
        let rule = Rule { name: "r".into(), conditions, is_final: false, settings };
        let (query, none) =
            (QueryRules { sort: true, ..QueryRules::default() }, SiteRules::default());
        let rules = SiteRules::new(vec![rule], false);
        let shop = SiteUrls { site: "shop", query: &query, rules: &rules };
        let blog = SiteUrls { site: "blog", query: &query, rules: &none };
        let of_host = |host: &str| Some(if host.starts_with("shop") { shop } else { blog });
        let keyed = |target: Target, site: Option<&str>| {
            let site = site.map(str::to_owned);
            let purge = Purge { seq: 1, targets: vec![target], site, soft: false, versions: false };
            let keyed = KeyedPurge::new(purge, [shop, blog].into_iter(), of_host);
            keyed.targets.iter().map(|target| target.text().to_owned()).collect::<Vec<_>>()
        };
        let path = |text: &str| Target::Path(text.to_owned());
        let url = |text: &str| Target::Url(text.to_owned());
        assert_eq!(keyed(path("/old/a"), None), ["/old/a", "/new/a"]);
        let both = ["/old/a?b&a", "/old/a?a&b", "/new/a?a&b"];
        assert_eq!(keyed(path("/old/a?b&a"), Some("shop")), both);
        assert_eq!(keyed(path("/old/a"), Some("blog")), ["/old/a"]);
        let shops = "http://shop.example:8080/old/a";
        assert_eq!(keyed(url(shops), None), [shops, "http://shop.example:8080/new/a"]);
        assert_eq!(keyed(url("http://blog.example/old/a"), None), ["http://blog.example/old/a"]);
        for other in [Target::Pattern("/old/*".into()), Target::Prefix("/old".into())] {
            assert_eq!(keyed(other.clone(), None), [other.text()]);
        }
    }

    #[test]
    fn each_target_is_of_a_site_or_of_all() {
        let query = QueryRules { sort: true, ..QueryRules::default() };
        let rules = SiteRules::default();
        let shop = SiteUrls { site: "shop", query: &query, rules: &rules };
        let of_host = |host: &str| (host == "shop.example").then_some(shop);
        let of = |site: Option<&str>| {
            let urls = ["http://shop.example/?b&a", "http://other.example/"];
            let urls = urls.map(|url| Target::Url(url.to_owned()));
            let targets = [Target::All].into_iter().chain(urls).collect();
            let site = site.map(str::to_owned);
            let purge = Purge { seq: 1, targets, site, soft: false, versions: false };
            let keyed = KeyedPurge::new(purge.clone(), [shop].into_iter(), of_host);
            let sites = |purge: &KeyedPurge| -> Vec<_> {
                purge.owned().map(|(_, site)| site.map(|site| site.to_string())).collect()
            };
            (sites(&keyed), sites(&KeyedPurge::as_sent(purge)))
        };
        let some = |site: &str| Some(site.to_owned());
        // The last one is the first URL, as the site writes it.
        let (shop, nobody) = (some("shop"), some(NOBODY));
        let urls = [shop.clone(), nobody.clone(), shop.clone()];
        let whole = |first: &Option<String>, rest: &[Option<String>]| {
            [std::slice::from_ref(first), rest].concat()
        };
        assert_eq!(of(None), (whole(&None, &urls), vec![None, None, None]));
        assert_eq!(of(Some("shop")), (whole(&shop, &urls), vec![shop.clone(), None, None]));
        let gone = of(Some("gone"));
        assert_eq!(gone.0[..3], [nobody.clone(), shop, nobody]);
    }
}
