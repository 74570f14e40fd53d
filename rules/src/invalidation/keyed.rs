//! Purges whose queries are written as keys have them.

use super::Purge;
use crate::key::{QueryRules, keyed_query};
use std::ops::Deref;

/// A purge whose queries are written as keys have them: what a site's rules sort or drop of a query
/// is sorted or dropped of a target too. Whoever looks for what a purge takes takes only this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedPurge(Purge);

/// How a site makes the queries of its keys.
#[derive(Clone, Copy, Debug)]
pub struct SiteQueries<'a> {
    /// The site's id.
    pub site: &'a str,
    /// Its rules.
    pub rules: &'a QueryRules,
}

impl KeyedPurge {
    /// Adds to `purge` its targets as each site that it concerns writes them. `sites` are all sites;
    /// `of_host` is the site of a host, which may have a port.
    pub fn new<'a>(
        mut purge: Purge,
        sites: impl Iterator<Item = SiteQueries<'a>> + Clone,
        of_host: impl Fn(&str) -> Option<SiteQueries<'a>>,
    ) -> Self {
        let mut added = Vec::new();
        for target in &purge.targets {
            let Some((before, query)) = target.text().split_once('?') else { continue };
            let of: Vec<_> = match target.host() {
                Some(host) => of_host(host).into_iter().collect(),
                None => sites.clone().collect(),
            };
            let concerned =
                |site: &&SiteQueries<'_>| purge.site.as_ref().is_none_or(|only| only == site.site);
            for SiteQueries { rules, .. } in of.iter().filter(concerned) {
                let query = keyed_query(Some(query), rules);
                let text = query.map_or(before.to_owned(), |query| format!("{before}?{query}"));
                let Some(target) = target.rekeyed(text) else { break };
                if !purge.targets.contains(&target) && !added.contains(&target) {
                    added.push(target);
                }
            }
        }
        purge.targets.append(&mut added);
        Self(purge)
    }

    /// A purge of a store whose keys have queries as they were sent.
    pub fn as_sent(purge: Purge) -> Self {
        Self(purge)
    }
}

impl Deref for KeyedPurge {
    type Target = Purge;

    fn deref(&self) -> &Purge {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidation::Target;
    use std::slice::from_ref;

    #[test]
    fn queries_are_written_as_each_site_has_them() {
        let sorts = QueryRules { sort: true, ..QueryRules::default() };
        let plain = QueryRules { sort: false, ..QueryRules::default() };
        let shop = SiteQueries { site: "shop", rules: &sorts };
        let blog = SiteQueries { site: "blog", rules: &plain };
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
}
