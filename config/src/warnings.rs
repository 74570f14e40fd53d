//! What `weir check` warns about: a configuration that runs, and perhaps not as it is meant.

use crate::machine::FileSystem;
use crate::units::format_size;
use crate::{Config, Disk, PROGRAM_BYTES, Site};
use std::path::Path;

/// The warnings, each a sentence that names the key.
pub fn warnings(config: &Config) -> Vec<String> {
    config.sites.iter().flat_map(|site| [differing(site), any_host(site)]).flatten().collect()
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
    fn any_host_that_reaches_an_origin_is_warned_about() {
        let local = "origins = [\"http://127.0.0.1:3000\"]";
        assert!(warned(local)[0].contains("hosts = [\"*\"]"));
        assert!(warned(&format!("{local}\nhost_header = \"origin\"")).is_empty());
        assert!(warned(&format!("{local}\nhosts = [\"a.example\"]")).is_empty());
        assert!(warned("origins = [\"https://b.example\"]").is_empty());
    }
}
