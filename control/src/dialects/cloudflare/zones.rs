//! Zones, as clients look for them before they purge: the sites that the caller may purge. And
//! whether a token is known, which some ask first.

use super::{DIALECT, done};
use crate::auth::Caller;
use crate::call::SharedControl;
use crate::dialects::admit::admit;
use crate::dialects::order::site;
use crate::errors::ApiError;
use crate::extract::{Parameters, number, one, only};
use crate::fields::shorten;
use axum::Json;
use axum::extract::{Path, Request, State};
use serde_json::{Value, json};
use weir_config::{Scope, host_fit};
use weir_protocol::frame::SiteHosts;
use weir_rules::invalidation::Target;

/// The code of the message that no zone was found.
const NONE: u16 = 3;

/// Zones on one page: at most, and without per_page.
const MOST_LISTED: u64 = 1000;
const LISTED: u64 = 20;

/// The host of a site that takes every host.
const EVERY: &str = "*";

/// What of a listing is asked for.
const PARAMETERS: [&str; 9] = [
    "name",
    "status",
    "page",
    "per_page",
    // There is one account and one order here: these make no difference.
    "account.id",
    "account.name",
    "order",
    "direction",
    "match",
];

/// A site, with the name that it has as a zone.
#[derive(Debug, PartialEq, Eq)]
struct Zone {
    id: String,
    name: String,
}

impl Zone {
    /// The zone with its own name: the first host without `*.`, or the site's id if it takes every
    /// host.
    fn of(site: &SiteHosts) -> Self {
        let hosts = || site.hosts.iter().map(String::as_str).filter(|host| *host != EVERY);
        let name = hosts().find(|host| !host.starts_with("*.")).or_else(|| hosts().next());
        let name = name.unwrap_or(&site.id).trim_start_matches("*.").to_owned();
        Self { id: site.id.clone(), name }
    }

    fn told(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "status": "active",
            "paused": false,
            "type": "full",
            "development_mode": 0,
            "name_servers": [],
        })
    }
}

/// The zones of this name, a host in lower case: the sites of the host; else the sites with a host
/// below it, as a zone of Cloudflare has all of a domain; else the sites that take every host.
fn named(sites: &[SiteHosts], name: &str) -> Vec<Zone> {
    let below = |host: &str| {
        let rest = host.trim_start_matches("*.").strip_suffix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let zones = |fits: &dyn Fn(&str) -> bool| -> Vec<Zone> {
        let fit = sites.iter().filter(|site| site.hosts.iter().any(|host| fits(host)));
        fit.map(|site| Zone { id: site.id.clone(), name: name.to_owned() }).collect()
    };
    let fit = |host: &str| (host != EVERY).then(|| host_fit(host, name)).flatten();
    let best = sites.iter().flat_map(|site| &site.hosts).filter_map(|host| fit(host)).max();
    if best.is_some() {
        return zones(&|host| fit(host) == best);
    }
    let below = zones(&below);
    if below.is_empty() { zones(&|host| host == EVERY) } else { below }
}

/// `GET /client/v4/zones`.
pub(super) async fn list(
    State(control): State<SharedControl>,
    Parameters(parameters): Parameters,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let call = admit(&control, &DIALECT, request).await?;
    call.caller.needs(Scope::Purge)?;
    only(&parameters, &PARAMETERS)?;
    let page = number(&parameters, "page", 1, 1..=u64::from(u32::MAX))?;
    let per_page = number(&parameters, "per_page", LISTED, 1..=MOST_LISTED)?;
    let name = one(&parameters, "name")?.filter(|name| !name.is_empty());
    let name = name.map(|name| {
        Target::parse_host(name).map_err(|reason| ApiError::invalid("name", reason))?;
        Ok::<_, ApiError>(name.to_ascii_lowercase())
    });
    let name = name.transpose()?;
    // Every site is in use.
    let active = one(&parameters, "status")?.is_none_or(|status| status == "active");
    let sites = call.sites.listed();
    let mut zones = match &name {
        _ if !active => vec![],
        Some(name) => named(&sites, name),
        None => sites.iter().map(Zone::of).collect(),
    };
    zones.retain(|zone| call.caller.may_touch(Some(&zone.id)));
    let shown = zones.iter().skip(usize_of((page - 1).saturating_mul(per_page)));
    let shown: Vec<_> = shown.take(usize_of(per_page)).map(Zone::told).collect();
    let total = zones.len() as u64;
    let mut body = done(messages(&sites, name.as_deref(), &zones), json!(shown));
    body["result_info"] = json!({
        "page": page,
        "per_page": per_page,
        "count": shown.len(),
        "total_count": total,
        "total_pages": total.div_ceil(per_page),
    });
    Ok(Json(body))
}

/// Why there is none: their clients only say that the zone was not found.
fn messages(sites: &[SiteHosts], name: Option<&str>, zones: &[Zone]) -> Value {
    let message = match name {
        _ if !zones.is_empty() => return json!([]),
        _ if sites.is_empty() => {
            "control knows no sites; use the id of a site as the zone's id, or add [[site]] to the \
             configuration of control"
                .to_owned()
        }
        Some(name) => {
            format!("no site that this token may purge has the host {:?}", shorten(name))
        }
        None => "there is no active site that this token may purge".to_owned(),
    };
    json!([{"code": NONE, "message": message}])
}

/// `GET /client/v4/zones/{zone}`.
pub(super) async fn details(
    State(control): State<SharedControl>,
    Path(zone): Path<String>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let call = admit(&control, &DIALECT, request).await?;
    call.caller.needs(Scope::Purge)?;
    let id = site(&call, "zone", &zone)?;
    let zone = match call.sites.listed().iter().find(|site| site.id == id) {
        Some(site) => Zone::of(site),
        // A site of a node that does not report its sites.
        None => Zone { name: id.clone(), id },
    };
    Ok(Json(done(json!([]), zone.told())))
}

/// `GET /client/v4/user/tokens/verify`.
pub(super) async fn verify(
    State(control): State<SharedControl>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let call = admit(&control, &DIALECT, request).await?;
    Ok(Json(done(json!([]), known(&call.caller))))
}

fn known(caller: &Caller) -> Value {
    json!({"id": caller.name(), "status": "active"})
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sites(more: &[(&str, &str)]) -> Vec<SiteHosts> {
        [
            ("shop", "*.shop.example shop.example"),
            ("blog", "www.blog.example old.example"),
            ("docs", "*.docs.example"),
        ]
        .iter()
        .chain(more)
        .map(|(id, hosts)| SiteHosts {
            id: (*id).to_owned(),
            hosts: hosts.split(' ').map(str::to_owned).collect(),
        })
        .collect()
    }

    fn ids(sites: &[SiteHosts], name: &str) -> Vec<String> {
        let zones = named(sites, name);
        assert!(zones.iter().all(|zone| zone.name == name), "{zones:?}");
        zones.into_iter().map(|zone| zone.id).collect()
    }

    #[test]
    fn a_zone_is_named_by_a_host_of_the_site() {
        let sites = sites(&[("rest", "*")]);
        let names: Vec<_> = sites.iter().map(|site| Zone::of(site).name).collect();
        assert_eq!(names, ["shop.example", "www.blog.example", "docs.example", "rest"]);
    }

    #[test]
    fn a_name_finds_the_site_of_the_host_or_those_below_it() {
        let (narrow, wide) = (sites(&[]), sites(&[("rest", "*")]));
        for (name, expected, with_every_host) in [
            ("shop.example", &["shop"][..], &["shop"][..]),
            ("www.shop.example", &["shop"], &["shop"]),
            ("blog.example", &["blog"], &["blog"]),
            ("docs.example", &["docs"], &["docs"]),
            ("example", &["shop", "blog", "docs"], &["shop", "blog", "docs"]),
            ("log.example", &[], &["rest"]),
            ("other.test", &[], &["rest"]),
        ] {
            assert_eq!(ids(&narrow, name), expected, "{name}");
            assert_eq!(ids(&wide, name), with_every_host, "{name}");
        }
    }
}
