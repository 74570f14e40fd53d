//! The sites that control knows: those of its own configuration, and those that expected nodes
//! reported last, whether they are there or away.

use crate::errors::ApiError;
use crate::fields::shorten;
use http::uri::Authority;
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_config::{Config, host_fit};
use weir_protocol::frame::SiteHosts;

/// Sites named in a refusal.
const MOST_TOLD: usize = 20;

/// What the expected nodes reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReportedSites {
    /// Each list once, however many nodes reported it.
    pub(crate) lists: Vec<Arc<[SiteHosts]>>,
    /// A node is expected that does not report its sites.
    pub(crate) silent: bool,
}

/// The sites that control knows now.
#[derive(Clone, Debug)]
pub(crate) struct KnownSites {
    config: Arc<Config>,
    reported: Arc<ReportedSites>,
}

/// Whose a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner<'a> {
    /// One site's.
    Site(&'a str),
    /// Nodes say different sites', and control's configuration none.
    Disputed,
    /// No site's that is known.
    Nobody,
}

impl KnownSites {
    /// Those of a configuration and of nodes.
    pub(crate) fn new(config: Arc<Config>, reported: Arc<ReportedSites>) -> Self {
        Self { config, reported }
    }

    /// Whether a site is known, or may be one of a node that does not report its sites.
    ///
    /// # Errors
    /// 404, which names those that are known where `tell` says so; 400 where it can be none.
    pub(crate) fn check(&self, id: &str, tell: bool) -> Result<(), ApiError> {
        if self.ids().any(|known| known == id) {
            return Ok(());
        }
        let shown = shorten(id);
        if !self.reported.silent {
            let why = "neither control's configuration nor an expected node has it";
            let known: BTreeSet<_> = self.ids().take(MOST_TOLD).filter(|_| tell).collect();
            let known: Vec<_> = known.into_iter().collect();
            let known = match known.is_empty() {
                true => String::new(),
                false => format!("; known: {}", known.join(", ")),
            };
            let message = format!("no site {shown:?}: {why}{known}");
            return Err(ApiError::no_such_site(message).about("site"));
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if (1..=64).contains(&id.len()) && id.bytes().all(allowed) {
            return Ok(());
        }
        let accepted = "a site's id: letters, digits, '-', '_' and '.', at most 64";
        Err(ApiError::invalid("site", format!("{shown:?}; accepted: {accepted}")))
    }

    /// The only site there is, if there is no other and can be none.
    pub(crate) fn only(&self) -> Option<&str> {
        let mut ids = self.ids();
        let first = ids.next().filter(|_| !self.reported.silent)?;
        ids.all(|id| id == first).then_some(first)
    }

    /// Whether a node is expected that does not report its sites.
    pub(crate) fn is_any_silent(&self) -> bool {
        self.reported.silent
    }

    /// Whose a host is, which may have a port. Control's own configuration comes first.
    pub(crate) fn owner(&self, host: &str) -> Owner<'_> {
        let mut claims = self.claims(host).into_iter();
        match (claims.next(), claims.next()) {
            (None, _) => Owner::Nobody,
            (Some(site), None) => Owner::Site(site),
            (Some(_), Some(_)) => Owner::Disputed,
        }
    }

    /// Whether a host may be that of this site: no other has it alone.
    pub(crate) fn may_have(&self, site: &str, host: &str) -> bool {
        let claims = self.claims(host);
        claims.contains(site) || (claims.is_empty() && self.reported.silent)
    }

    /// The sites that a host belongs to: one by control's configuration, else by each node.
    fn claims(&self, host: &str) -> BTreeSet<&str> {
        let Ok(authority) = host.to_ascii_lowercase().parse::<Authority>() else {
            return BTreeSet::new();
        };
        let host = authority.host();
        if let Some(site) = self.config.site_for(host) {
            return BTreeSet::from([&*site.id]);
        }
        self.reported.lists.iter().filter_map(|list| site_of(list, host)).map(|s| &*s.id).collect()
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        let reported = self.reported.lists.iter().flat_map(|list| list.iter());
        let own = self.config.sites.iter().map(|site| site.id.as_str());
        own.chain(reported.map(|site| site.id.as_str()))
    }
}

/// The site of a node that takes a host.
fn site_of<'a>(sites: &'a [SiteHosts], host: &str) -> Option<&'a SiteHosts> {
    let fit = |site: &SiteHosts| site.hosts.iter().filter_map(|named| host_fit(named, host)).max();
    let fits = sites.iter().filter_map(|site| Some((fit(site)?, site)));
    fits.max_by_key(|(fit, _)| *fit).map(|(_, site)| site)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    const SHOP: &str =
        "[[site]]\nid = \"shop\"\nhosts = [\"shop.example\"]\norigins = [\"http://a\"]\n";
    const ALONE: &str = "[control]\ndata = \"/var/lib/weir\"\n";

    /// The sites of a configuration, and of nodes with these lists of an id and its hosts.
    pub(crate) fn known(toml: &str, lists: &[&[(&str, &[&str])]], silent: bool) -> KnownSites {
        let list = |list: &&[(&str, &[&str])]| {
            let site = |(id, hosts): &(&str, &[&str])| SiteHosts {
                id: (*id).to_owned(),
                hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            };
            list.iter().map(site).collect()
        };
        let reported = ReportedSites { lists: lists.iter().map(list).collect(), silent };
        KnownSites::new(Arc::new(Config::from_toml(toml).unwrap()), Arc::new(reported))
    }

    #[test]
    fn a_site_is_known_by_the_configuration_or_by_a_node() {
        let sites = known(SHOP, &[&[("blog", &["*"])]], false);
        assert!(sites.check("shop", true).is_ok() && sites.check("blog", true).is_ok());
        let refused = sites.check("shpo", true).unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.code()), (404, "no_such_site"));
        assert!(refused.message().ends_with("; known: blog, shop"), "{}", refused.message());
        let untold = sites.check("shpo", false).unwrap_err();
        assert!(!untold.message().contains("blog"), "{}", untold.message());
        assert_eq!(known(ALONE, &[], false).check("shop", true).unwrap_err().status(), 404);
        // An older node may have any.
        let silent = known(SHOP, &[&[("blog", &["*"])]], true);
        assert!(silent.check("other", true).is_ok());
        assert_eq!(silent.check("other/a", true).unwrap_err().status(), 400);
    }

    #[test]
    fn the_only_site_is_that_of_all_who_know_any() {
        assert_eq!(known(SHOP, &[], false).only(), Some("shop"));
        assert_eq!(known(SHOP, &[&[("shop", &["*"])]], false).only(), Some("shop"));
        assert_eq!(known(ALONE, &[&[("blog", &["*"])]], false).only(), Some("blog"));
        for sites in [
            known(SHOP, &[&[("blog", &["*"])]], false),
            known(SHOP, &[], true),
            known(ALONE, &[], false),
        ] {
            assert_eq!(sites.only(), None);
        }
    }

    #[test]
    fn a_host_is_the_site_of_its_nodes_unless_they_differ_and_the_configuration_says_which() {
        let shop: &[(&str, &[&str])] =
            &[("shop", &["shop.example", "*.shop.example"]), ("rest", &["*"])];
        let blog: &[(&str, &[&str])] = &[("blog", &["shop.example", "blog.example"])];
        let one = known(ALONE, &[shop], false);
        assert_eq!(one.owner("WWW.shop.example:8080"), Owner::Site("shop"));
        assert_eq!(one.owner("other.example"), Owner::Site("rest"));
        assert_eq!(one.owner("not a host"), Owner::Nobody);
        let two = known(ALONE, &[shop, blog], false);
        assert_eq!(two.owner("shop.example"), Owner::Disputed);
        assert_eq!(two.owner("www.shop.example"), Owner::Site("shop"));
        assert!(two.may_have("shop", "shop.example") && two.may_have("blog", "shop.example"));
        assert!(!two.may_have("blog", "www.shop.example"));
        let assigned = known(SHOP, &[shop, blog], false);
        assert_eq!(assigned.owner("shop.example"), Owner::Site("shop"));
        assert!(!assigned.may_have("blog", "shop.example"));
        let alone = known(ALONE, &[], false);
        assert_eq!(alone.owner("shop.example"), Owner::Nobody);
        assert!(!alone.may_have("shop", "shop.example"));
        assert!(known(ALONE, &[], true).may_have("shop", "shop.example"));
    }
}
