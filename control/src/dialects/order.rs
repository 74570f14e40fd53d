//! What the dialects ask of control: a purge that is confined to the site they name, and what
//! became of earlier ones. The only place where they meet the log.

use super::admit::Admitted;
use crate::auth::Caller;
use crate::call::SharedControl;
use crate::errors::ApiError;
use crate::fields::shorten;
use crate::ledger::{Listed, Order};
use crate::permission::{may_name, may_purge, may_see};
use crate::purge_request::{DEFAULT_WAIT, MOST_TARGETS};
use crate::sites::KnownSites;
use std::sync::Arc;
use std::time::SystemTime;
use weir_config::Scope;
use weir_rules::invalidation::{Seq, Target};

/// How many purges of the log are looked through at a time.
const LOOKED_THROUGH: Seq = 1000;

/// A purge of the log.
pub(super) struct Purged {
    pub(super) id: String,
    /// Whether every expected node applied it.
    pub(super) completed: bool,
    /// No node was expected to: there was none.
    pub(super) unheard: bool,
    pub(super) created_at: SystemTime,
    pub(super) order: Order,
}

impl Purged {
    /// A purge as it stands; `None` for an entry that is none.
    fn of(control: &SharedControl, listed: &Listed) -> Option<Self> {
        let purge = listed.purge()?;
        let order = Order {
            targets: purge.targets.clone(),
            site: purge.site.clone(),
            soft: purge.soft,
            versions: purge.versions,
            warm: listed.warm,
            reference: listed.reference.clone(),
        };
        Some(Self {
            id: listed.id.clone(),
            completed: listed.completed().is_some(),
            unheard: control.ledger.progress(listed).expects_nobody(),
            created_at: listed.created_at,
            order,
        })
    }
}

/// The site that an API's zone, service or distribution (`what`) names. Where there is one site
/// only, any name means it: clients bring the id they had elsewhere.
///
/// # Errors
/// 403 for another site than the caller's, 404 when there is none.
pub(super) fn site(call: &Admitted, what: &str, id: &str) -> Result<String, ApiError> {
    let id = call.sites.only().unwrap_or(id);
    may_name(&call.caller, id, &call.sites).map_err(|error| match error.code() {
        "no_such_site" => {
            ApiError::no_such_site(format!("no {what} {:?}: {}", shorten(id), error.message()))
        }
        _ => error,
    })?;
    Ok(id.to_owned())
}

/// Refuses a target that names a host of another site than the call. While a node is expected that
/// does not report its sites, a host that nobody has may be one of its.
///
/// # Errors
/// 400 that names `field`.
pub(super) fn confined(
    target: Target,
    field: &str,
    site: &str,
    sites: &KnownSites,
) -> Result<Target, ApiError> {
    match target.host() {
        Some(host) if !sites.may_have(site, host) => {
            let host = shorten(host);
            Err(ApiError::invalid(field, format!("the host {host:?} is not of the site {site:?}")))
        }
        _ => Ok(target),
    }
}

/// Purges, and waits for the nodes as `POST /v1/purges` does when it is not told how long.
///
/// # Errors
/// 403 for what the caller may not do, 409 for a reference in use, 413 for too many targets, 429
/// for too many purges, 503 when the log cannot be written.
pub(super) async fn purge(
    control: &SharedControl,
    call: &Admitted,
    order: Order,
) -> Result<Purged, ApiError> {
    let Admitted { caller, sites, .. } = call;
    if order.targets.len() > MOST_TARGETS {
        let count = order.targets.len();
        let message = format!("{count} targets; accepted: at most {MOST_TARGETS} in one purge");
        return Err(ApiError::too_large(message));
    }
    may_purge(caller, &order.targets, order.site.as_deref(), sites)?;
    control.rates.take(caller.name())?;
    let referrer = caller.referrer(order.site.as_deref());
    let listed = control.purge(order, referrer).await?;
    tracing::info!(id = listed.id, caller = caller.name(), "purge");
    control.until_done(&listed, false, DEFAULT_WAIT).await;
    Purged::of(control, &listed).ok_or_else(ApiError::internal)
}

/// The caller must be able to order purges or to read state: who orders one waits for it.
///
/// # Errors
/// 403.
pub(super) fn may_watch(caller: &Caller) -> Result<(), ApiError> {
    caller.needs(Scope::Purge).or_else(|_| caller.needs(Scope::Read))
}

/// The purge with this id, if the caller may see it.
pub(super) fn find(control: &SharedControl, call: &Admitted, id: &str) -> Option<Purged> {
    let listed = control.ledger.find(id)?;
    let seen = may_see(&call.caller, &listed.entry.change, &call.sites);
    Purged::of(control, &listed).filter(|_| seen)
}

/// The latest purges that `wanted` lets through, latest first, at most `limit`; only ones before
/// the purge with the id `before`, if any.
///
/// # Errors
/// 400 when no purge has that id any more.
pub(super) fn latest(
    control: &SharedControl,
    call: &Admitted,
    before: Option<&str>,
    limit: usize,
    wanted: impl Fn(&Purged) -> bool,
) -> Result<Vec<Purged>, ApiError> {
    let head = control.ledger.head();
    let forgotten = head.saturating_sub(control.ledger.counts().listed as Seq);
    let mut before = match before {
        None => head.saturating_add(1),
        Some(id) => {
            let seen =
                |listed: &Arc<Listed>| may_see(&call.caller, &listed.entry.change, &call.sites);
            let listed = control.ledger.find(id).filter(seen).ok_or_else(|| {
                let id = shorten(id);
                ApiError::invalid("Marker", format!("{id:?} is not the id of a listed purge"))
            })?;
            listed.seq()
        }
    };
    let mut found = Vec::new();
    while before > forgotten + 1 && found.len() < limit {
        // The log lists forwards, so it is looked through backwards stretch by stretch.
        let after = before.saturating_sub(LOOKED_THROUGH + 1).max(forgotten);
        let most = usize::try_from(before - 1 - after).unwrap_or(usize::MAX);
        let seen = |listed: &Listed| {
            listed.seq() < before && may_see(&call.caller, &listed.entry.change, &call.sites)
        };
        let stretch = control.ledger.list(after, most, seen);
        let purges = stretch.iter().rev().filter_map(|listed| Purged::of(control, listed));
        found.extend(purges.filter(|purge| wanted(purge)).take(limit - found.len()));
        before = after + 1;
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sites::tests::known;

    const ALONE: &str = "[control]\ndata = \"/var/lib/weir\"\n";
    const SHOP: &str = "[[site]]\nid = \"shop\"\nhosts = [\"shop.example\", \"*.shop.example\"]\n\
                        origins = [\"http://a\"]\n";
    const BLOG: &str = "[[site]]\nid = \"blog\"\norigins = [\"http://b\"]\n";

    #[test]
    fn targets_with_a_host_are_of_the_site() {
        let both = known(&format!("{SHOP}{BLOG}"), &[], false);
        let older = known(ALONE, &[], true);
        let parse = |text: &str| match text.split_once(' ').unwrap() {
            ("url", url) => Target::parse_url(url).unwrap(),
            ("prefix", prefix) => Target::parse_prefix(prefix).unwrap(),
            ("host", host) => Target::parse_host(host).unwrap(),
            (_, tag) => Target::parse_tag(tag).unwrap(),
        };
        for (text, of) in [
            ("url https://shop.example/a?b", "shop"),
            ("url http://WWW.shop.example:8080?b", "shop"),
            ("url http://other.example/shop.example", "blog"),
            ("prefix shop.example/a", "shop"),
            ("prefix shop.example", "shop"),
            ("prefix other.example/a", "blog"),
            ("host img.shop.example:8080", "shop"),
            ("host [::1]:80", "blog"),
        ] {
            for id in ["shop", "blog"] {
                let taken = confined(parse(text), "f", id, &both);
                assert_eq!(taken.is_ok(), id == of, "{text} {id}");
                assert!(confined(parse(text), "f", id, &older).is_ok());
            }
        }
        for text in ["tag shop.example", "prefix /a"] {
            assert!(confined(parse(text), "f", "shop", &both).is_ok());
        }
    }
}
