//! Purges whose queries are written as keys have them.

use super::{Purge, Target};
use crate::key::{QueryRules, keyed_query};
use std::ops::Deref;
use std::sync::Arc;

/// A purge whose queries are written as keys have them: what a site's rules sort or drop of a query
/// is sorted or dropped of a target too. Whoever looks for what a purge takes takes only this.
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
                    Some(site.map_or(nobody.clone(), |queries| queries.site.into()))
                }
            });
        }
        for (target, site) in purge.targets.iter().zip(of.clone()) {
            let Some((before, query)) = target.text().split_once('?') else { continue };
            let concerned: Vec<_> = match target.host() {
                Some(host) => of_host(host).into_iter().collect(),
                None => sites.clone().collect(),
            };
            let within =
                |site: &&SiteQueries<'_>| purge.site.as_ref().is_none_or(|only| only == site.site);
            for SiteQueries { rules, .. } in concerned.iter().filter(within) {
                let query = keyed_query(Some(query), rules);
                let text = query.map_or(before.to_owned(), |query| format!("{before}?{query}"));
                let Some(target) = target.rekeyed(text) else { break };
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
mod tests {
    use super::*;
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

    #[test]
    fn each_target_is_of_a_site_or_of_all() {
        let rules = QueryRules { sort: true, ..QueryRules::default() };
        let shop = SiteQueries { site: "shop", rules: &rules };
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
