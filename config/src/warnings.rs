//! What `weir check` warns about: a configuration that runs, and perhaps not as it is meant.

use crate::units::format_size;
use crate::{Config, PROGRAM_BYTES, Site};

/// The warnings, each a sentence that names the key.
pub fn warnings(config: &Config) -> Vec<String> {
    config.sites.iter().flat_map(|site| [differing(site), any_host(site)]).flatten().collect()
}

/// Whether the memory that a node may take is more than the process gets: `limit` is what its cgroup or the
/// machine allows.
pub fn memory_warning(config: &Config, limit: u64) -> Option<String> {
    let memory = &config.memory;
    let beside = memory.beside(Some(limit));
    let most = memory.size.saturating_add(beside).saturating_add(PROGRAM_BYTES);
    (most > limit).then(|| {
        let [size, beside, program, limit] =
            [memory.size, beside, PROGRAM_BYTES, limit].map(format_size);
        format!(
            "memory.size = {size}, memory.connections = {beside} and {program} for the program are more \
             than the {limit} that this process may have; lower memory.size or memory.connections"
        )
    })
}

/// Members of one pool that are asked with different Hosts may answer with different sites.
fn differing(site: &Site) -> Option<String> {
    let asked = |visitors: bool| {
        let origin = site.origins.iter().find(|origin| origin.visitors_host == visitors);
        origin.map(|origin| origin.authority.as_str())
    };
    let (visitors, own) = (asked(true)?, asked(false)?);
    Some(format!(
        "site {:?}: host_header = \"auto\" sends the client's Host to {visitors} and its own to \
         {own}; set host_header to \"client\" or \"origin\"",
        site.id
    ))
}

/// What a client writes into Host, an origin may write into links.
fn any_host(site: &Site) -> Option<String> {
    let any = site.hosts.iter().any(|host| host == "*");
    let origin = site.origins.iter().find(|origin| origin.visitors_host)?;
    any.then(|| {
        format!(
            "site {:?}: hosts = [\"*\"], and {} receives the client's Host, whatever it is; \
             name the site's hosts, or set host_header = \"origin\"",
            site.id, origin.authority
        )
    })
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

    #[test]
    fn any_host_that_reaches_an_origin_is_warned_about() {
        let local = "origins = [\"http://127.0.0.1:3000\"]";
        assert!(warned(local)[0].contains("hosts = [\"*\"]"));
        assert!(warned(&format!("{local}\nhost_header = \"origin\"")).is_empty());
        assert!(warned(&format!("{local}\nhosts = [\"a.example\"]")).is_empty());
        assert!(warned("origins = [\"https://b.example\"]").is_empty());
    }
}
