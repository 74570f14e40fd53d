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
use weir_config::{Config, Scope, Site};
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
    fn of(site: &Site) -> Self {
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

/// The zones of this name, a host in lower case: the site of the host; else the sites with a host
/// below it, as a zone of Cloudflare has all of a domain; else the site that takes every host.
fn named(config: &Config, name: &str) -> Vec<Zone> {
    let has = |site: &Site| {
        site.hosts.iter().any(|host| match host.strip_prefix('*') {
            Some(suffix) => {
                !suffix.is_empty() && name.len() > suffix.len() && name.ends_with(suffix)
            }
            None => host == name,
        })
    };
    let below = |site: &Site| {
        site.hosts.iter().any(|host| {
            let rest = host.trim_start_matches("*.").strip_suffix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    };
    let zone = |site: &Site| Zone { id: site.id.clone(), name: name.to_owned() };
    let of_host = config.site_for(name);
    if let Some(site) = of_host.filter(|site| has(site)) {
        return vec![zone(site)];
    }
    let below: Vec<_> = config.sites.iter().filter(|site| below(site)).map(zone).collect();
    if below.is_empty() { of_host.map(zone).into_iter().collect() } else { below }
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
    let mut zones = match &name {
        _ if !active => vec![],
        Some(name) => named(&call.config, name),
        None => call.config.sites.iter().map(Zone::of).collect(),
    };
    zones.retain(|zone| call.caller.may_touch(Some(&zone.id)));
    let shown = zones.iter().skip(usize_of((page - 1).saturating_mul(per_page)));
    let shown: Vec<_> = shown.take(usize_of(per_page)).map(Zone::told).collect();
    let total = zones.len() as u64;
    let mut body = done(messages(&call.config, name.as_deref(), &zones), json!(shown));
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
fn messages(config: &Config, name: Option<&str>, zones: &[Zone]) -> Value {
    let message = match name {
        _ if !zones.is_empty() => return json!([]),
        _ if config.sites.is_empty() => {
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
    let id = site(&call.config, "zone", &zone)?;
    call.caller.needs_site(Some(&id), &id)?;
    let zone = match call.config.sites.iter().find(|site| site.id == id) {
        Some(site) => Zone::of(site),
        // Control that was told of no sites.
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

    fn config(more: &str) -> Config {
        let site = |id: &str, hosts: &str| {
            format!("[[site]]\nid = {id:?}\n{hosts}origins = [\"http://a\"]\n")
        };
        let shop = site("shop", "hosts = [\"*.shop.example\", \"shop.example\"]\n");
        let blog = site("blog", "hosts = [\"www.blog.example\", \"old.example\"]\n");
        let docs = site("docs", "hosts = [\"*.docs.example\"]\n");
        Config::from_toml(&format!("{shop}{blog}{docs}{more}")).unwrap()
    }

    fn ids(config: &Config, name: &str) -> Vec<String> {
        let zones = named(config, name);
        assert!(zones.iter().all(|zone| zone.name == name), "{zones:?}");
        zones.into_iter().map(|zone| zone.id).collect()
    }

    #[test]
    fn a_zone_is_named_by_a_host_of_the_site() {
        let config = config("[[site]]\nid = \"rest\"\norigins = [\"http://b\"]\n");
        let names: Vec<_> = config.sites.iter().map(|site| Zone::of(site).name).collect();
        assert_eq!(names, ["shop.example", "www.blog.example", "docs.example", "rest"]);
    }

    #[test]
    fn a_name_finds_the_site_of_the_host_or_those_below_it() {
        let narrow = config("");
        let wide = config("[[site]]\nid = \"rest\"\norigins = [\"http://b\"]\n");
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
