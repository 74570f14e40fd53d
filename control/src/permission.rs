//! What a caller may purge and see, by the sites of its token.

use crate::auth::Caller;
use crate::errors::ApiError;
use http::uri::Authority;
use weir_config::{Config, Site};
use weir_rules::invalidation::{Purge, Target};
use weir_rules::log::{Change, Release};

/// Whether the caller may purge all that the order touches. A target that names a host concerns
/// that host's site, whatever `site` says.
///
/// # Errors
/// 403 that names the first site it may not touch.
pub(crate) fn may_purge(
    caller: &Caller,
    targets: &[Target],
    site: Option<&str>,
    config: &Config,
) -> Result<(), ApiError> {
    for target in targets {
        match target {
            // Not confined to `site`, so their own site is what counts.
            Target::Url(_) | Target::Host(_) => {
                may_purge_host(caller, target.host().unwrap_or_default(), config)?;
            }
            Target::Path(_)
            | Target::Pattern(_)
            | Target::Prefix(_)
            | Target::Tag(_)
            | Target::AnyCaseTag(_)
            | Target::All => {
                caller.needs_site(site, site.unwrap_or("all sites (name one in site)"))?;
            }
        }
    }
    Ok(())
}

/// Whether the caller may touch the site of a host, which may have a port.
///
/// # Errors
/// 403 that names the host.
pub(crate) fn may_purge_host(caller: &Caller, host: &str, config: &Config) -> Result<(), ApiError> {
    let site = site_of_host(config, host);
    caller.needs_site(site.map(|site| site.id.as_str()), &format!("the host {host}"))
}

/// The site that takes a host, which may have a port.
pub(crate) fn site_of_host<'a>(config: &'a Config, host: &str) -> Option<&'a Site> {
    let authority = host.to_ascii_lowercase().parse::<Authority>().ok()?;
    config.site_for(authority.host())
}

/// Whether the caller may see an entry in the history.
pub(crate) fn may_see(caller: &Caller, change: &Change, config: &Config) -> bool {
    caller.may_touch(None)
        || match change {
            Change::Purge(Purge { targets, site, .. }) => {
                may_purge(caller, targets, site.as_deref(), config).is_ok()
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
    use weir_config::{Scope, Token};

    fn config() -> Config {
        Config::from_toml(
            "[[site]]\nid = \"shop\"\nhosts = [\"shop.example\"]\norigins = [\"http://a\"]\n\
             [[site]]\nid = \"blog\"\norigins = [\"http://b\"]\n",
        )
        .unwrap()
    }

    #[test]
    fn a_token_for_one_site_purges_nothing_else() {
        let caller = Caller::Bearer(Token {
            name: "ci".into(),
            secret: "0123456789abcdef".into(),
            scopes: vec![Scope::Purge],
            sites: vec!["shop".into()],
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
            let order = PurgeRequest::parse(body.as_bytes(), &config()).unwrap().order;
            let may = |caller| may_purge(caller, &order.targets, order.site.as_deref(), &config());
            assert_eq!(may(&caller).is_ok(), allowed, "{body}");
            assert!(may(&Caller::Local).is_ok());
            let Order { targets, site, soft, versions, .. } = order;
            let purge = Change::Purge(Purge { seq: 1, targets, site, soft, versions });
            assert_eq!(may_see(&caller, &purge, &config()), allowed, "{body}");
        }
    }
}
