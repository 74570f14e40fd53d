//! What `weir check` warns about: a configuration that runs, and perhaps not as it is meant.

use crate::machine::FileSystem;
use crate::nearest::{did_you_mean, nearest};
use crate::units::format_size;
use crate::{Config, Disk, Origin, OriginPool, PROGRAM_BYTES, Site};
use std::path::Path;
use weir_rules::cookies::LISTS;
use weir_rules::site_rules::{Idle, Rule};
use weir_rules::wildcard::matches;

/// The warnings, each a sentence that names the key.
pub fn warnings(config: &Config) -> Vec<String> {
    let of_site = |site| {
        let known =
            [differing(site), any_host(site), almost_a_list(site), redirects_itself(config, site)];
        let known = known.into_iter().flatten().chain(insecure(site)).chain(idle_rules(site));
        known.chain(unknown_countries(config, site)).chain(unmatched(config, site))
    };
    config.sites.iter().flat_map(of_site).collect()
}

/// Whether the memory that a node may take is more than the process gets: `limit` is what its cgroup or the
/// machine allows.
pub fn memory_warning(config: &Config, limit: u64) -> Option<String> {
    let memory = &config.memory;
    let beside = memory.beside(Some(limit));
    let disk = config.disk.as_ref().map_or(0, Disk::memory);
    let parts = [memory.size, beside, disk, PROGRAM_BYTES];
    (parts.into_iter().fold(0, u64::saturating_add) > limit).then(|| {
        let [size, beside, disk_size, program] = parts.map(format_size);
        let (of_disk, or_disk) = match disk {
            0 => (String::new(), ""),
            _ => (format!(", {disk_size} for disk.queue and disk.window"), " or disk.queue"),
        };
        format!(
            "memory.size = {size}, memory.connections = {beside}{of_disk} and {program} for the program are \
             more than the {} that this process may have; lower memory.size or memory.connections{or_disk}",
            format_size(limit)
        )
    })
}

/// Whether the files that a node may write are larger than the file systems that they are on; `of` says what is
/// known of the one that a path is on.
pub fn file_system_warnings(
    config: &Config,
    of: impl Fn(&Path) -> Option<FileSystem>,
) -> Vec<String> {
    let disk = config.disk.iter().flat_map(|disk| &disk.directories);
    let disk = disk.map(|directory| ("disk", directory.path.as_path(), directory.size));
    let spool = config.spool.path.iter().map(|path| ("spool", path.as_path(), config.spool.size));
    let mut found: Vec<(FileSystem, u64, Vec<String>)> = Vec::new();
    for (table, path, size) in disk.chain(spool) {
        let Some(file_system) = of(path) else { continue };
        let named = format!("{table}: {} in {}", format_size(size), path.display());
        match found.iter_mut().find(|(known, ..)| known.device == file_system.device) {
            Some((_, sum, names)) => {
                *sum = sum.saturating_add(size);
                names.push(named);
            }
            None => found.push((file_system, size, vec![named])),
        }
    }
    let too_large = found.into_iter().filter(|(file_system, sum, _)| *sum > file_system.size);
    let warning = |(file_system, _, names): (FileSystem, u64, Vec<String>)| {
        let (names, size) = (names.join(", "), format_size(file_system.size));
        format!("{names}: more than the {size} of the file system there; lower the size")
    };
    too_large.map(warning).collect()
}

/// Rules of which nothing comes.
fn idle_rules(site: &Site) -> impl Iterator<Item = String> + '_ {
    site.rules.idle().map(|(rule, why)| {
        let why = match why {
            Idle::NeverRead(other) => {
                format!("it never applies: rule {other:?} above it is final wherever it matches")
            }
            Idle::Overridden(other) => {
                format!("rule {other:?} below it overrides all that it sets wherever it matches")
            }
        };
        format!("site {:?}, rule {:?}: {why}", site.id, rule.name)
    })
}

/// Rules that no request to the site can match.
fn unmatched<'a>(config: &'a Config, site: &'a Site) -> impl Iterator<Item = String> + 'a {
    // Both are names, `*.` and a name, or `*`.
    let meet = |one: &str, other: &str| matches(one, other) || matches(other, one);
    let is_elsewhere = move |rule: &Rule| {
        let hosts = &rule.conditions.host;
        !hosts.is_empty() && !hosts.iter().any(|host| site.hosts.iter().any(|of| meet(host, of)))
    };
    let has_https = knows_https(config);
    let why = move |rule: &Rule| match rule.conditions.scheme {
        _ if is_elsewhere(rule) => Some("none of match.host is one of the site's hosts"),
        Some("https") if !has_https => {
            Some("without [tls] and node.trusted_proxies no request is one by https")
        }
        _ => None,
    };
    site.rules.rules().iter().filter_map(move |rule| {
        Some(format!("site {:?}, rule {:?}: it never matches: {}", site.id, rule.name, why(rule)?))
    })
}

/// Whether a request can be one by https.
fn knows_https(config: &Config) -> bool {
    config.tls.is_some() || !config.node.trusted_proxies.is_empty()
}

/// Without a database every country is unknown.
fn unknown_countries<'a>(config: &'a Config, site: &'a Site) -> impl Iterator<Item = String> + 'a {
    let rules = site.rules.rules().iter().filter(|rule| rule.looks_at_country());
    rules.filter(|_| config.geo.is_none()).map(|rule| {
        format!(
            "site {:?}, rule {:?}: without [geo] the country of every client is unknown (ZZ); set geo.database",
            site.id, rule.name
        )
    })
}

/// Behind a proxy that ends TLS, every request is one by http unless the proxy is trusted.
fn redirects_itself(config: &Config, site: &Site) -> Option<String> {
    let redirects =
        |rule: &&Rule| rule.conditions.scheme == Some("http") && rule.settings.redirect.is_some();
    let rule = site.rules.rules().iter().find(redirects)?;
    (!knows_https(config)).then(|| {
        format!(
            "site {:?}, rule {:?}: without [tls] and node.trusted_proxies every request is one by http, so that \
             the redirect leads back to itself; set one of them",
            site.id, rule.name
        )
    })
}

/// Members of one pool that are asked with different Hosts may answer with different sites.
fn differing(site: &Site) -> Option<String> {
    let differing = |pool: &OriginPool| {
        let asked = |visitors: bool| {
            let origin = pool.origins.iter().find(|origin| origin.visitors_host == visitors);
            origin.map(shown)
        };
        Some((asked(true)?, asked(false)?))
    };
    let (visitors, own) = site.pools.iter().find_map(differing)?;
    Some(format!(
        "site {:?}: host_header = \"auto\" sends the client's Host to {visitors} and its own to \
         {own}; set host_header to \"client\" or \"origin\"",
        site.id
    ))
}

/// What a client writes into Host, an origin may write into links.
fn any_host(site: &Site) -> Option<String> {
    let any = site.hosts.iter().any(|host| host == "*");
    let mut origins = site.pools.iter().flat_map(|pool| &pool.origins);
    let origin = origins.find(|origin| origin.visitors_host)?;
    any.then(|| {
        format!(
            "site {:?}: hosts = [\"*\"], and {} receives the client's Host, whatever it is; \
             name the site's hosts, or set host_header = \"origin\"",
            site.id,
            shown(origin)
        )
    })
}

/// As warnings have named origins ever since: by host and port.
fn shown(origin: &Origin) -> String {
    match &origin.socket {
        Some(_) => origin.to_string(),
        None => origin.authority.clone(),
    }
}

/// TLS that keeps nobody out.
fn insecure(site: &Site) -> impl Iterator<Item = String> + '_ {
    let pools = site.pools.iter().filter(|pool| pool.tls.insecure);
    pools.map(|pool| {
        format!(
            "site {:?}, origin {:?}: insecure = true takes any certificate, so that whoever is between this node \
             and the origin can read and change everything; set ca to the authority of the origin's certificate",
            site.id, pool.name
        )
    })
}

/// A misspelled list is taken for the name of a cookie.
fn almost_a_list(site: &Site) -> Option<String> {
    let names: Vec<String> = site.cookies.iter().flat_map(|rules| rules.ignore.names()).collect();
    let meant = |name: &String| {
        let meant = nearest(name, LISTS)?;
        // A cookie may well have a name that begins so.
        (name.len().abs_diff(meant.len()) <= 2).then_some(meant)
    };
    let (name, meant) = names.iter().find_map(|name| Some((name, meant(name)?)))?;
    Some(format!(
        "site {:?}: cookies.ignore has {name:?}, which is no list of cookies but the name of one; {}",
        site.id,
        did_you_mean(meant)
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn warned(site: &str) -> Vec<String> {
        warnings(&Config::from_toml(&format!("[[site]]\n{site}")).unwrap())
    }

    #[test]
    fn a_pool_whose_members_get_different_hosts_is_warned_about() {
        let pool =
            "hosts = [\"a.example\"]\norigins = [\"http://10.0.0.5\", \"https://b.example\"]";
        let warnings = warned(pool);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("10.0.0.5") && warnings[0].contains("b.example"));
        for word in ["client", "origin"] {
            assert!(warned(&format!("{pool}\nhost_header = {word:?}")).is_empty());
        }
    }

    #[test]
    fn rules_of_which_nothing_comes_are_warned_about() {
        let warned = |rules: &str, tables: &str| {
            let site = "[[site]]\nhosts = [\"a.example\"]\norigins = [\"https://b.example\"]";
            warnings(&Config::from_toml(&format!("{tables}\n{site}\n{rules}")).unwrap())
        };
        let rule = |text: &str| format!("[[site.rule]]\n{text}\n");
        let all = rule("name = \"all\"\nttl = \"1s\"");
        let css = rule("name = \"css\"\nmatch = { path = [\"*.css\"] }\nttl = \"2s\"");
        let last = rule("name = \"last\"\nfinal = true");
        assert!(warned(&(all.clone() + &css), "").is_empty());
        let told = warned(&(css.clone() + &all), "");
        assert!(
            told.len() == 1 && told[0].contains("rule \"css\": rule \"all\" below"),
            "{told:?}"
        );
        let told = warned(&(last + &css), "");
        assert!(told.len() == 1 && told[0].contains("rule \"last\" above it is final"), "{told:?}");
        let secure = "name = \"s\"\nmatch = { scheme = \"http\" }\n\
                      redirect = { to = \"https://{host}{path}{query}\" }";
        let told = warned(&rule(secure), "");
        assert!(told.len() == 1 && told[0].contains("leads back to itself"), "{told:?}");
        let trusted = "[node]\ntrusted_proxies = [\"10.0.0.0/8\"]";
        assert!(warned(&rule(secure), trusted).is_empty());
        let by_https = rule("name = \"s\"\nmatch = { scheme = \"https\" }\nttl = \"1s\"");
        let told = warned(&by_https, "");
        assert!(told.len() == 1 && told[0].contains("rule \"s\": it never matches"), "{told:?}");
        assert!(warned(&by_https, trusted).is_empty());
    }

    #[test]
    fn a_rule_for_hosts_that_the_site_does_not_have_is_warned_about() {
        let warned = |hosts: &str, of_rule: &str| {
            let rule = format!(
                "[[site.rule]]\nname = \"r\"\nmatch = {{ host = [{of_rule}] }}\nttl = \"1s\""
            );
            warned(&format!("hosts = [{hosts}]\norigins = [\"https://b.example\"]\n{rule}"))
        };
        for (hosts, of_rule, never) in [
            ("\"a.example\"", "\"A.example\"", false),
            ("\"a.example\"", "\"b.example\"", true),
            ("\"a.example\"", "\"b.example\", \"*.example\"", false),
            ("\"*.a.example\"", "\"www.a.example\"", false),
            ("\"*.a.example\"", "\"a.example\"", true),
            ("\"*.a.example\"", "\"*.example\"", false),
            ("\"*.example\"", "\"*.a.example\"", false),
            ("\"*.a.example\"", "\"*.b.example\"", true),
            ("\"a.example\"", "\"*\"", false),
            ("\"*\"", "\"a.example\"", false),
        ] {
            let told = warned(hosts, of_rule);
            assert_eq!(told.len(), usize::from(never), "{hosts} {of_rule}: {told:?}");
            assert!(told.iter().all(|told| told.contains("rule \"r\": it never matches")));
        }
    }

    #[test]
    fn memory_that_the_process_does_not_get_is_warned_about() {
        let warned = |memory: &str, limit: u64| {
            let text = format!("[memory]\n{memory}\n[[site]]\norigins = [\"https://b.example\"]");
            memory_warning(&Config::from_toml(&text).unwrap(), limit << 20)
        };
        let warning = warned("size = \"256MiB\"\nconnections = \"449MiB\"", 768).unwrap();
        for part in ["memory.size = 256MiB", "memory.connections = 449MiB", "64MiB", "the 768MiB"] {
            assert!(warning.contains(part), "{warning}");
        }
        assert_eq!(warned("size = \"256MiB\"\nconnections = \"448MiB\"", 768), None);
        // The default gives way to the store, but not without end.
        assert_eq!(warned("size = \"640MiB\"", 768), None);
        assert!(warned("size = \"704MiB\"", 768).is_some());
    }

    fn config(text: &str) -> Config {
        let text = format!("{text}\n[[site]]\norigins = [\"https://b.example\"]");
        Config::from_toml(&text).unwrap()
    }

    #[test]
    fn memory_that_the_disk_takes_counts() {
        let memory = "[memory]\nsize = \"256MiB\"\nconnections = \"448MiB\"\n";
        let disk = "[control]\ndata = \"/d\"\n[disk]\npath = \"/c\"\nsize = \"1GiB\"\n";
        assert_eq!(memory_warning(&config(memory), 768 << 20), None);
        let warning = memory_warning(&config(&format!("{memory}{disk}")), 768 << 20).unwrap();
        assert!(warning.contains("448MiB, 68MiB for disk.queue and disk.window and"), "{warning}");
        assert!(warning.ends_with("lower memory.size or memory.connections or disk.queue"));
        assert_eq!(memory_warning(&config(&format!("{memory}{disk}")), 836 << 20), None);
    }

    #[test]
    fn files_that_a_file_system_has_no_room_for_are_warned_about() {
        let text = "[control]\ndata = \"/d\"\n[spool]\npath = \"/b/spool\"\nsize = \"4GiB\"\n\
                    [disk]\ndirectories = [{ path = \"/a\", size = \"8GiB\" }, \
                    { path = \"/b/disk\", size = \"8GiB\" }]\n";
        let warned = |gibibytes: u64| {
            file_system_warnings(&config(text), |path| {
                let device = if path.starts_with("/a") { 1 } else { 2 };
                Some(FileSystem { device, size: gibibytes << 30 })
            })
        };
        assert_eq!(warned(12), Vec::<String>::new());
        let both = "disk: 8GiB in /b/disk, spool: 4GiB in /b/spool: more than the 11GiB of the file \
                    system there; lower the size";
        assert_eq!(warned(11), [both]);
        assert_eq!(warned(7).len(), 2);
        assert_eq!(file_system_warnings(&config(text), |_| None), Vec::<String>::new());
    }

    #[test]
    fn a_misspelled_list_of_cookies_is_warned_about() {
        let site = |ignore: &str| {
            warned(&format!("origins = [\"https://b.example\"]\ncookies.ignore = [{ignore}]"))
        };
        for misspelled in ["analytic", "Analytics", "anayltics", "analytics*"] {
            let warnings = site(&format!("\"lang\", \"{misspelled}\""));
            assert!(warnings[0].contains(misspelled), "{warnings:?}");
            assert!(warnings[0].ends_with("did you mean analytics?"), "{warnings:?}");
        }
        for fine in ["analytics", "analytics_consent", "lang", "*"] {
            assert_eq!(site(&format!("{fine:?}")), Vec::<String>::new(), "{fine}");
        }
    }

    #[test]
    fn any_host_that_reaches_an_origin_is_warned_about() {
        let local = "origins = [\"http://127.0.0.1:3000\"]";
        assert!(warned(local)[0].contains("hosts = [\"*\"]"));
        assert!(warned(&format!("{local}\nhost_header = \"origin\"")).is_empty());
        assert!(warned(&format!("{local}\nhosts = [\"a.example\"]")).is_empty());
        assert!(warned("origins = [\"https://b.example\"]").is_empty());
    }
}
