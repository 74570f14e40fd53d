//! `[[site.origin]]` and `site.origins`: the pools of a site's origins, and how they are reached.

use super::health::health;
use super::pool::{self, origins, retries, timeouts};
use super::s3::s3;
use super::tls::{ca, present_file};
use super::{host, site::MOST_POOLS};
use crate::section::Section;
use crate::{
    Balance, Certificate, Health, HostHeader, Origin, OriginPool, OriginTls, Protocol,
    ProxyProtocol, Retries, Timeouts,
};
use std::collections::HashSet;
use std::time::Duration;
use weir_rules::origin_host::takes_visitors_host;
use weir_rules::site_rules::{NAME_FORM, check_name};

/// What a pool has unless it says otherwise: what the site says.
#[derive(Clone)]
struct Defaults {
    balance: Balance,
    host_header: HostHeader,
    health: Health,
    timeouts: Timeouts,
    retries: Retries,
    resolve: Duration,
}

/// The pools of a site with these hosts: that of its `origins` first, if it has any, then those under
/// `[[site.origin]]`.
pub(super) fn pools(s: &mut Section<'_>, hosts: &[String]) -> Vec<OriginPool> {
    let defaults = Defaults {
        balance: s.word("balance", Balance::RoundRobin),
        host_header: s.word("host_header", HostHeader::Auto),
        health: health(s.section("health")),
        timeouts: timeouts(s.section("timeouts"), pool::ORIGIN_TIMEOUTS),
        retries: retries(s, pool::RETRIES),
        resolve: resolve(s, Duration::from_secs(10)),
    };
    let named = if s.is_text("origin") {
        // Asked for, so that it is told once.
        s.value("origin");
        s.mistake(
            "origin",
            "not a table; did you mean origins? A pool with a name is [[site.origin]]",
        );
        Vec::new()
    } else {
        s.sections("origin", MOST_POOLS)
    };
    let mut pools = Vec::with_capacity(named.len() + 1);
    let has_own = s.has("origins") || named.is_empty();
    let own = origins(s, "origins");
    if has_own {
        let Defaults { balance, host_header, health, timeouts, retries, resolve } =
            defaults.clone();
        pools.push(OriginPool {
            name: OriginPool::DEFAULT.to_owned(),
            origins: own,
            balance,
            health,
            host_header,
            timeouts,
            retries,
            tls: OriginTls::default(),
            proxy_protocol: None,
            resolve,
            s3: None,
        });
    }
    let mut names: HashSet<String> = pools.iter().map(|pool| pool.name.clone()).collect();
    pools.extend(named.into_iter().map(|s| named_pool(s, &defaults, &mut names)));
    for pool in &mut pools {
        asked_with(pool);
        if let Some(probe) = &mut pool.health.probe {
            probe.visitors_host = hosts.iter().find(|host| !host.starts_with('*')).cloned();
        }
    }
    pools
}

/// One table under `[[site.origin]]`.
fn named_pool(mut s: Section<'_>, defaults: &Defaults, names: &mut HashSet<String>) -> OriginPool {
    let name = s.text("name", NAME_FORM, |name| check_name(name).map(|()| name.to_owned()));
    if !s.has("name") {
        s.mistake("name", format!("missing; accepted: {NAME_FORM}"));
    }
    if let Some(name) = &name
        && !names.insert(name.clone())
    {
        let why = match name == OriginPool::DEFAULT {
            true => "the pool of the site's origins has this name".to_owned(),
            false => format!("another pool of the site has the name {name:?}"),
        };
        s.mistake("name", format!("{why}; give each its own"));
    }
    let origins = origins(&mut s, "urls");
    let https = origins.iter().any(|origin| origin.tls);
    let written = s.has("health");
    let own_health = health(s.section("health"));
    let pool = OriginPool {
        name: name.unwrap_or_default(),
        balance: s.word("balance", defaults.balance),
        host_header: s.word("host_header", defaults.host_header),
        health: if written { own_health } else { defaults.health.clone() },
        timeouts: timeouts(s.section("timeouts"), defaults.timeouts),
        retries: retries(&mut s, defaults.retries),
        tls: tls(&mut s, https),
        proxy_protocol: proxy_protocol(&mut s, &origins),
        resolve: resolve(&mut s, defaults.resolve),
        s3: s3(&mut s),
        origins,
    };
    if pool.s3.is_some() && s.has("host_header") && pool.host_header != HostHeader::Origin {
        let why = "the signature of s3 is for the origin's own Host";
        s.mistake("host_header", format!("{why}; accepted: \"origin\", or none"));
    }
    s.finish(&[]);
    pool
}

/// Gives each origin of a pool the Host that it is asked with.
fn asked_with(pool: &mut OriginPool) {
    // Set in every container of a cluster.
    let kubernetes = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    if pool.s3.is_some() {
        pool.host_header = HostHeader::Origin;
    }
    for origin in &mut pool.origins {
        origin.visitors_host = match pool.host_header {
            HostHeader::Auto => takes_visitors_host(origin.tls, &origin.host, kubernetes),
            HostHeader::Origin => false,
            HostHeader::Client => true,
        };
    }
}

/// How long the addresses of a name are believed at most.
fn resolve(s: &mut Section<'_>, default: Duration) -> Duration {
    s.duration("resolve", default, Duration::from_secs(1)..=Duration::from_secs(3600))
}

/// What is said of TLS; it is of use only where an origin is https.
fn tls(s: &mut Section<'_>, https: bool) -> OriginTls {
    let pem = "the path of a PEM file";
    let name_form = "a host name or an address";
    let tls = OriginTls {
        ca: ca(s, "none of the urls", https),
        certificate: s
            .text("certificate", pem, present_file)
            .zip(s.text("key", pem, present_file))
            .map(|(chain, key)| Certificate { chain, key }),
        server_name: s.text("server_name", name_form, |text| {
            let name = text.to_ascii_lowercase();
            host::host(&name).map(|()| name.trim_matches(['[', ']']).to_owned())
        }),
        insecure: s.boolean("insecure", false),
    };
    for (name, other) in [("certificate", "key"), ("key", "certificate")] {
        // What is written and unreadable is told already.
        if s.has(name) && !s.has(other) {
            s.mistake(name, format!("without {other}; accepted: both"));
        }
    }
    for name in ["certificate", "server_name", "insecure"] {
        if s.has(name) && !https {
            s.mistake(name, "none of the urls is https; accepted: only where one is");
        }
    }
    if tls.insecure && tls.ca.is_some() {
        s.mistake(
            "insecure",
            "ca is set too, and nothing is held against it; accepted: one of them",
        );
    }
    tls
}

fn proxy_protocol(s: &mut Section<'_>, origins: &[Origin]) -> Option<ProxyProtocol> {
    let version = s.word_or::<ProxyProtocol>("proxy_protocol", "nothing for none");
    if version.is_some() && origins.iter().any(|origin| origin.protocol == Protocol::H2) {
        let why = "a connection of HTTP/2 is for many clients, and the PROXY protocol names one";
        s.mistake("proxy_protocol", format!("{why}; accepted: with protocol = \"h1\""));
    }
    version
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::{Balance, Config, OriginPool};
    use std::time::Duration;

    fn pools(site: &str) -> Vec<OriginPool> {
        Config::from_toml(&format!("[[site]]\n{site}\n")).unwrap().sites.remove(0).pools
    }

    fn told(site: &str) -> String {
        Config::from_toml(&format!("[[site]]\n{site}\n")).unwrap_err().to_string()
    }

    #[test]
    fn origins_are_the_first_pool_and_pools_have_what_the_site_says() {
        let site = "origins = [\"http://a\"]\nbalance = \"ip_hash\"\nretries = 2\nresolve = \"3s\"\n\
                    timeouts = { connect = \"2s\", idle = \"9s\" }\nhealth = { path = \"/up\" }\n\
                    [[site.origin]]\nname = \"api\"\nurls = [\"https://b:8443/v1/\", \"unix:/run/b.sock\"]\n\
                    timeouts = { connect = \"1s\" }\n\
                    [[site.origin]]\nname = \"big\"\nurls = [\"http://c\"]\nbalance = \"round_robin\"\n\
                    health = { failures = 9 }";
        let pools = pools(site);
        let names: Vec<_> = pools.iter().map(|pool| pool.name.as_str()).collect();
        assert_eq!(names, ["default", "api", "big"]);
        let (api, big) = (&pools[1], &pools[2]);
        assert_eq!((api.balance, api.retries.most), (Balance::IpHash, 2));
        assert_eq!(api.resolve, Duration::from_secs(3));
        let waits = (api.timeouts.connect, api.timeouts.idle);
        assert_eq!(waits, (Duration::from_secs(1), Duration::from_secs(9)));
        assert_eq!(api.health, pools[0].health);
        assert_eq!((big.balance, big.health.ejection.failures), (Balance::RoundRobin, 9));
        assert!(big.health.probe.is_none(), "what is written of health stands alone");
        let shown: Vec<_> = api.origins.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["https://b:8443/v1", "unix:/run/b.sock"]);
        assert_eq!(api.origins[0].prefix, "/v1");
        assert!(api.origins[1].visitors_host);
    }

    #[test]
    fn without_origins_the_first_pool_is_the_default() {
        let pools = pools("[[site.origin]]\nname = \"only\"\nurls = [\"http://a\"]");
        assert_eq!((pools.len(), pools[0].name.as_str()), (1, "only"));
    }

    #[test]
    fn mistakes_of_pools_are_told() {
        let pool = |keys: &str| format!("[[site.origin]]\nname = \"a\"\n{keys}");
        let https = |keys: &str| pool(&format!("urls = [\"https://b\"]\n{keys}"));
        for (site, parts) in [
            (pool(""), &["site[0].origin[0].urls: missing", "unix:/run/app.sock"][..]),
            (pool("urls = []"), &["site[0].origin[0].urls = []: empty"]),
            (pool("urls = [\"unix:run/a\"]"), &["urls[0] = \"unix:run/a\"", "not absolute"]),
            (pool("urls = [\"http://a/../b\"]"), &["urls[0]", "segment"]),
            (pool("urls = [\"http://a//b\"]"), &["urls[0]", "segment"]),
            (pool("urls = [\"http://a/b?c\"]"), &["urls[0]", "the query"]),
            (pool("urls = [\"http://a\", \"http://a/\"]"), &["urls", "named twice"]),
            ("origins = [\"http://a\"]\n[[site.origin]]\nurls = [\"http://b\"]".into(), &[
                "site[0].origin[0].name: missing",
                "1 to 32",
            ]),
            (
                "origins = [\"http://a\"]\n[[site.origin]]\nname = \"default\"\nurls = [\"http://b\"]".into(),
                &["site[0].origin[0].name = \"default\"", "the site's origins"],
            ),
            (
                format!("{}\n{}", https(""), https("")),
                &["site[0].origin[1].name = \"a\"", "another pool"],
            ),
            (https("ca = \"/nowhere\""), &["site[0].origin[0].ca = \"/nowhere\"", "cannot be read"]),
            (https("certificate = \"/etc/hostname\""), &["certificate", "without key"]),
            (https("key = \"/etc/hostname\""), &["key", "without certificate"]),
            (https("server_name = \"a/b\""), &["server_name = \"a/b\"", "not a host name"]),
            (
                https("insecure = true\nca = \"/etc/hostname\""),
                &["insecure = true", "ca is set too"],
            ),
            (
                pool("urls = [\"http://b\"]\ninsecure = true"),
                &["insecure = true", "none of the urls is https"],
            ),
            (https("proxy_protocol = \"v3\""), &["proxy_protocol = \"v3\"", "\"v1\""]),
            (
                pool("urls = [{ url = \"http://b\", protocol = \"h2\" }]\nproxy_protocol = \"v1\""),
                &["proxy_protocol", "protocol = \"h1\""],
            ),
            (https("resolve = \"0s\""), &["resolve = \"0s\"", "1s to 1h"]),
            (https("uls = 1"), &["did you mean urls?"]),
            (
                "origin = \"http://a\"".into(),
                &["site[0].origin = \"http://a\": not a table; did you mean origins?", "[[site.origin]]"],
            ),
        ] {
            let told = told(&site);
            for part in parts {
                assert!(told.contains(part), "{site}: {told}");
            }
        }
    }

    #[test]
    fn a_rule_names_a_pool_of_its_site() {
        let site = |origin: &str| {
            format!(
                "origins = [\"http://a\"]\n[[site.origin]]\nname = \"api\"\nurls = [\"http://b\"]\n\
                 [[site.rule]]\nname = \"r\"\nmatch = {{ path = [\"/api/*\"] }}\norigin = {origin:?}"
            )
        };
        for name in ["api", "default"] {
            assert_eq!(pools(&site(name)).len(), 2);
        }
        let told = told(&site("apis"));
        for part in ["site[0].rule[0].origin = \"apis\"", "no pool", "default, api"] {
            assert!(told.contains(part), "{told}");
        }
    }
}
