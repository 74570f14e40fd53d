//! What a caller may purge and see, by the sites of its token.

use crate::auth::Caller;
use crate::errors::ApiError;
use crate::fields::shorten;
use crate::sites::{KnownSites, Owner};
use weir_rules::invalidation::{Purge, Target};
use weir_rules::log::{Change, Release};

/// Whether the caller may purge all that the order touches. A target that names a host concerns
/// that host's site, whatever `site` says.
///
/// # Errors
/// 403 that names the first site it may not touch; 404 for a site that is not known.
pub(crate) fn may_purge(
    caller: &Caller,
    targets: &[Target],
    site: Option<&str>,
    sites: &KnownSites,
) -> Result<(), ApiError> {
    is_within(caller, targets, site, sites)?;
    match site {
        Some(site) => may_name(caller, site, sites),
        None => Ok(()),
    }
}

/// Whether the caller may act on a site, which must be known. Of others it does not learn whether
/// they are.
///
/// # Errors
/// 403 where it may not, 404 where the site is not known.
pub(crate) fn may_name(caller: &Caller, site: &str, sites: &KnownSites) -> Result<(), ApiError> {
    caller.needs_site(Some(site), &format!("the site {:?}", shorten(site)))?;
    sites.check(site, caller.may_touch(None))
}

fn is_within(
    caller: &Caller,
    targets: &[Target],
    site: Option<&str>,
    sites: &KnownSites,
) -> Result<(), ApiError> {
    for target in targets {
        match target {
            // Not confined to `site`, so their own site is what counts.
            Target::Url(_) | Target::Host(_) => {
                may_touch_host(caller, target.host().unwrap_or_default(), sites)?;
            }
            Target::Path(_)
            | Target::Pattern(_)
            | Target::Prefix(_)
            | Target::Tag(_)
            | Target::AnyCaseTag(_)
            | Target::All => {
                let what = match site {
                    Some(site) => format!("the site {:?}", shorten(site)),
                    None => "all sites (name one in site)".to_owned(),
                };
                caller.needs_site(site, &what)?;
            }
        }
    }
    Ok(())
}

/// Whether the caller may touch the site of a host, which may have a port.
///
/// # Errors
/// 403 that names the host.
pub(crate) fn may_touch_host(
    caller: &Caller,
    host: &str,
    sites: &KnownSites,
) -> Result<(), ApiError> {
    if caller.may_touch(None) {
        return Ok(());
    }
    let (site, host) = (sites.owner(host), shorten(host));
    match site {
        Owner::Site(site) => caller.needs_site(Some(site), &format!("the host {host}")),
        Owner::Disputed if caller.sites().iter().any(|own| sites.may_have(own, &host)) => {
            let what = format!(
                "the host {host}, which nodes give to different sites; control's own configuration \
                 can say whose it is"
            );
            caller.needs_site(None, &what)
        }
        Owner::Disputed | Owner::Nobody => caller.needs_site(None, &format!("the host {host}")),
    }
}

/// Whether the caller may see an entry in the history.
pub(crate) fn may_see(caller: &Caller, change: &Change, sites: &KnownSites) -> bool {
    caller.may_touch(None)
        || match change {
            Change::Purge(Purge { targets, site, .. }) => {
                is_within(caller, targets, site.as_deref(), sites).is_ok()
            }
            Change::Release(Release { site, .. }) => caller.may_touch(Some(site)),
        }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ledger::Order;
    use crate::purge_request::PurgeRequest;
    use crate::sites::tests::known;
    use weir_config::{Scope, Token};

    fn sites() -> KnownSites {
        let config = "[[site]]\nid = \"shop\"\nhosts = [\"shop.example\"]\norigins = [\"http://a\"]\n\
                      [[site]]\nid = \"blog\"\norigins = [\"http://b\"]\n";
        known(config, &[], false)
    }

    #[test]
    fn a_token_for_one_site_purges_nothing_else() {
        let caller = Caller::Bearer(Token {
            name: "ci".into(),
            secret: "0123456789abcdef".into(),
            scopes: vec![Scope::Purge],
            sites: vec!["shop".into()],
            nodes: vec![],
        });
        for (body, allowed) in [
            (r#"{"paths": ["/a"], "site": "shop"}"#, true),
            (r#"{"paths": ["/a"], "site": "blog"}"#, false),
            (r#"{"paths": ["/a"]}"#, false),
            (r#"{"all": true}"#, false),
            (r#"{"all": true, "site": "shop"}"#, true),
            (r#"{"hosts": ["shop.example"]}"#, true),
            (r#"{"hosts": ["shop.example:8080"]}"#, true),
            (r#"{"urls": ["http://other.example/{a b}"]}"#, false),
            (r#"{"prefixes": ["shop.example/a"]}"#, false),
            (r#"{"hosts": ["other.example"]}"#, false),
            (r#"{"hosts": ["other.example"], "site": "shop"}"#, false),
            (r#"{"urls": ["http://shop.example/a"]}"#, true),
            (r#"{"urls": ["http://other.example/a"], "site": "shop"}"#, false),
        ] {
            let order = PurgeRequest::parse(body.as_bytes()).unwrap().order;
            let may = |caller| may_purge(caller, &order.targets, order.site.as_deref(), &sites());
            assert_eq!(may(&caller).is_ok(), allowed, "{body}");
            assert!(may(&Caller::Local).is_ok());
            let Order { targets, site, soft, versions, .. } = order;
            let purge = Change::Purge(Purge { seq: 1, targets, site, soft, versions });
            assert_eq!(may_see(&caller, &purge, &sites()), allowed, "{body}");
        }
    }

    #[test]
    fn a_token_for_one_site_purges_the_hosts_that_nodes_give_it_and_learns_of_no_other_site() {
        let caller = |sites: &[&str]| {
            Caller::Bearer(Token {
                name: "ci".into(),
                secret: "0123456789abcdef".into(),
                scopes: vec![Scope::Purge],
                sites: sites.iter().map(|site| (*site).to_owned()).collect(),
                nodes: vec![],
            })
        };
        let alone = "[control]\ndata = \"/var/lib/weir\"\n";
        let shop: &[(&str, &[&str])] = &[("shop", &["shop.example", "both.example"])];
        let blog: &[(&str, &[&str])] = &[("blog", &["*"])];
        let sites = known(alone, &[shop, blog], false);
        let status = |caller: &Caller, body: &str| {
            let order = PurgeRequest::parse(body.as_bytes()).unwrap().order;
            may_purge(caller, &order.targets, order.site.as_deref(), &sites)
                .map_or_else(|error| error.status().as_u16(), |()| 200)
        };
        for (body, shop, all) in [
            (r#"{"urls": ["http://shop.example/a"]}"#, 403, 200),
            (r#"{"hosts": ["blog.example"]}"#, 403, 200),
            (r#"{"all": true, "site": "shop"}"#, 200, 200),
            (r#"{"all": true, "site": "blog"}"#, 403, 200),
            (r#"{"all": true, "site": "nosuchsite"}"#, 403, 404),
        ] {
            let own = caller(&["shop"]);
            assert_eq!((status(&own, body), status(&caller(&[]), body)), (shop, all), "{body}");
        }
        // Nodes of the blog take any host; only control's own configuration says otherwise.
        let assigned = known(
            "[[site]]\nid = \"shop\"\nhosts = [\"shop.example\"]\norigins = [\"http://a\"]\n",
            &[shop, blog],
            false,
        );
        assert!(may_touch_host(&caller(&["shop"]), "shop.example", &assigned).is_ok());
        let disputed = may_touch_host(&caller(&["shop"]), "both.example", &assigned).unwrap_err();
        assert!(disputed.message().contains("different sites"), "{}", disputed.message());
        let alike = known(alone, &[shop], false);
        assert!(may_touch_host(&caller(&["shop"]), "both.example:8080", &alike).is_ok());
    }
}
