//! `[disk]`: where the disk store is, and its bounds.

use super::absolute_path;
use crate::section::Section;
use crate::units::format_size;
use crate::{Control, Disk, DiskAdmit, DiskDirectory, Node, Spool};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Most directories.
const MOST_DIRECTORIES: usize = 64;

/// Bytes of a directory: from 8 MiB for its journal and four segments of 4 MiB, to what can be addressed.
const SIZES: RangeInclusive<u64> = 24 * MIB..=400 << 40;

/// URLs that may be remembered.
const WINDOW: RangeInclusive<u32> = 1024..=1 << 28;

/// Bytes that may wait to be written: at least a slice of a body with its head.
const QUEUES: RangeInclusive<u64> = 2 * MIB..=64 << 30;

/// Reads the section, if it is written. The other sections say what its directories must not hold.
pub(super) fn disk(
    root: &mut Section<'_>,
    node: &Node,
    control: &Control,
    spool: &Spool,
) -> Option<Disk> {
    let mut s = root.section("disk");
    if !s.is_written() {
        return None;
    }
    let others =
        [("node.state", &node.state), ("control.data", &control.data), ("spool.path", &spool.path)];
    let others = others.into_iter().filter_map(|(key, path)| Some((key, whole(path.as_ref()?))));
    let directories = directories(&mut s, &others.collect::<Vec<_>>());
    let smallest = directories.iter().map(|directory| directory.size).min();
    let smallest = smallest.unwrap_or(*SIZES.end());
    let second = Duration::from_secs(1);
    let hour = 3600 * second;
    let disk = Disk {
        directories,
        max_object: s.size("max_object", smallest / 8, 1024..=*SIZES.end()),
        admit: s.word("admit", DiskAdmit::default()),
        window: s.count("window", 1_000_000, WINDOW),
        promote: s.boolean("promote", true),
        queue: s.size("queue", 64 * MIB, QUEUES),
        readers: s.count("readers", 4, 1..=256),
        reads: s.count("reads", 256, 1..=1_000_000),
        read_wait: s.duration("read_wait", second, second / 1000..=hour),
        commit_wait: s.duration("commit_wait", 5 * second, second / 100..=hour),
        hang: s.duration("hang", 20 * second, second / 10..=hour),
        retry: s.duration("retry", 30 * second, second / 10..=24 * hour),
    };
    if disk.max_object > smallest / 2 && s.has("max_object") {
        let most = format_size(smallest / 2);
        let message = format!("larger than half of the smallest directory; at most {most}");
        s.mistake("max_object", message);
    }
    s.finish(&[]);
    log_is_kept(root, node, control);
    Some(disk)
}

/// What is stored is shown after a restart once the same log was replayed to the same node.
fn log_is_kept(root: &Section<'_>, node: &Node, control: &Control) {
    let message = match (control.url.first(), &control.data, &node.state) {
        (None, None, _) => {
            "neither control.url nor control.data is set: the log of purges then begins anew with every start, \
             which empties the disk; accepted: with one of them"
        }
        (Some(_), _, None) => {
            "control.url is set and node.state is not: after a crash, control refuses the node without the \
             secret that is kept there; accepted: with node.state"
        }
        _ => return,
    };
    root.hidden_mistake("disk", message);
}

/// `path` and `size` of one directory, or a list of `directories`.
fn directories(s: &mut Section<'_>, others: &[(&str, PathBuf)]) -> Vec<DiskDirectory> {
    let list = s.sections("directories", MOST_DIRECTORIES);
    let mut taken = Vec::new();
    if !s.has("directories") {
        return directory(s, others, &mut taken).into_iter().collect();
    }
    for key in ["path", "size"] {
        if s.value(key).is_some() {
            s.mistake(key, "disk.directories is set too; accepted: one of them");
        }
    }
    if s.has_empty_list("directories") {
        s.mistake("directories", "empty; accepted: a list of tables, each with path and size");
    }
    let read = |mut section: Section<'_>| {
        let directory = directory(&mut section, others, &mut taken);
        section.finish(&[]);
        directory
    };
    list.into_iter().filter_map(read).collect()
}

/// One directory; `taken` are those before it.
fn directory(
    s: &mut Section<'_>,
    others: &[(&str, PathBuf)],
    taken: &mut Vec<PathBuf>,
) -> Option<DiskDirectory> {
    let accepted = "the absolute path of a directory";
    let path = s.text("path", accepted, absolute_path);
    let size = s.optional_size("size", SIZES);
    for (key, accepted) in [("path", accepted), ("size", "a size such as 8GiB")] {
        if !s.has(key) {
            s.mistake(key, format!("missing; accepted: {accepted}"));
        }
    }
    let path = path?;
    let own = whole(&path);
    if let Some((key, _)) = others.iter().find(|(_, other)| other.starts_with(&own)) {
        let message =
            format!("{key} is in it; accepted: a directory in which nothing else is kept");
        s.mistake("path", message);
    } else if taken.contains(&own) {
        s.mistake("path", "it is named twice");
    } else if taken.iter().any(|other| other.starts_with(&own) || own.starts_with(other)) {
        s.mistake("path", "one of disk.directories is in another; accepted: each for itself");
    }
    taken.push(own);
    Some(DiskDirectory { path, size: size? })
}

/// The path as it begins at the root, without looking at what is there.
fn whole(path: &Path) -> PathBuf {
    absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::{Config, Disk, DiskAdmit, DiskDirectory};
    use std::time::Duration;

    const DATA: &str = "[control]\ndata = \"/var/lib/weir\"\n";

    fn read(disk: &str) -> Result<Option<Disk>, String> {
        let site = "[[site]]\norigins = [\"http://127.0.0.1:3000\"]\n";
        let config = Config::from_toml(&format!("{disk}\n{site}"));
        config.map(|config| config.disk).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn a_directory_is_all_that_must_be_said() {
        assert_eq!(read(""), Ok(None));
        let text = format!("[disk]\npath = \"/var/cache/weir\"\nsize = \"8GiB\"\n{DATA}");
        let seconds = Duration::from_secs;
        let disk = Disk {
            directories: vec![DiskDirectory { path: "/var/cache/weir".into(), size: 8 << 30 }],
            max_object: 1 << 30,
            admit: DiskAdmit::Second,
            window: 1_000_000,
            promote: true,
            queue: 64 << 20,
            readers: 4,
            reads: 256,
            read_wait: seconds(1),
            commit_wait: seconds(5),
            hang: seconds(20),
            retry: seconds(30),
        };
        assert_eq!(read(&text), Ok(Some(disk.clone())));
        assert_eq!(disk.memory(), (64 << 20) + (4 << 20));
        let all = Disk { admit: DiskAdmit::All, ..disk };
        assert_eq!(all.memory(), (64 << 20) + (2 << 20));
        assert_eq!(Disk { promote: false, ..all }.memory(), 64 << 20);
    }

    #[test]
    fn several_directories_have_a_size_each() {
        let text = format!(
            "[disk]\ndirectories = [{{ path = \"/a\", size = \"8GiB\" }}, {{ path = \"/b/\", size = \"24MiB\" }}]\n\
             admit = \"all\"\npromote = false\n{DATA}"
        );
        let disk = read(&text).unwrap().unwrap();
        let found = disk.directories.iter().map(|one| (one.path.to_str().unwrap(), one.size));
        assert_eq!(found.collect::<Vec<_>>(), [("/a", 8 << 30), ("/b/", 24 << 20)]);
        assert_eq!((disk.max_object, disk.admit, disk.promote), (3 << 20, DiskAdmit::All, false));
        assert_eq!(disk.memory(), 128 << 20);
    }

    #[test]
    fn it_needs_a_log_that_outlives_the_process() {
        let disk = "[disk]\npath = \"/d\"\nsize = \"1GiB\"\n";
        let follows = "[control]\nurl = \"http://c\"\n";
        let state = "[node]\nstate = \"/s\"\n";
        let told = read(disk).unwrap_err();
        assert!(told.starts_with("line 1: disk: neither control.url nor control.data"), "{told}");
        assert!(told.contains("empties the disk"), "{told}");
        let told = read(&format!("{disk}{follows}")).unwrap_err();
        assert!(told.contains("disk: control.url is set and node.state is not"), "{told}");
        assert!(told.contains("refuses the node"), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(read(&format!("{disk}{follows}{state}")).unwrap().is_some());
        assert!(read(&format!("{disk}{DATA}")).unwrap().is_some());
        assert!(read(&format!("{disk}{state}")).unwrap_err().contains("disk: neither"));
    }

    #[test]
    fn mistakes_are_told() {
        for (keys, parts) in [
            ("", &["disk.path: missing", "disk.size: missing; accepted: a size such as 8GiB"][..]),
            ("path = \"/d\"", &["disk.size: missing"]),
            ("path = \"d\"\nsize = \"1GiB\"", &["disk.path = \"d\": not absolute"]),
            ("path = \"\"\nsize = \"1GiB\"", &["disk.path = \"\": empty"]),
            ("path = \"/d\"\nsize = \"23MiB\"", &["disk.size = \"23MiB\"", "from 24MiB to 400TiB"]),
            ("path = \"/d\"\nsize = \"401TiB\"", &["disk.size = \"401TiB\": out of bounds"]),
            (
                "path = \"/d\"\ndirectories = [{ path = \"/e\", size = \"1GiB\" }]",
                &["disk.path = \"/d\": disk.directories is set too; accepted: one of them"],
            ),
            (
                "size = \"1GiB\"\ndirectories = [{ path = \"/e\", size = \"1GiB\" }]",
                &["disk.size = \"1GiB\": disk.directories is set too; accepted: one of them"],
            ),
            ("directories = []", &["disk.directories = []: empty", "path and size"]),
            ("directories = [{ path = \"/a\" }]", &["disk.directories[0].size: missing"]),
            ("directories = [\"/a\"]", &["disk.directories[0] = \"/a\": not a table"]),
            (
                "directories = [{ path = \"/a\", size = \"1GiB\", sise = 1 }]",
                &["disk.directories[0].sise: unknown key; did you mean size?"],
            ),
            (
                "directories = [{ path = \"/a\", size = \"1GiB\" }, { path = \"/a/./\", size = \"1GiB\" }]",
                &["disk.directories[1].path = \"/a/./\": it is named twice"],
            ),
            (
                "directories = [{ path = \"/a/b\", size = \"1GiB\" }, { path = \"/a\", size = \"1GiB\" }]",
                &["disk.directories[1].path = \"/a\": one of disk.directories is in another"],
            ),
            (
                "directories = [{ path = \"/a\", size = \"1GiB\" }, { path = \"/a/b\", size = \"1GiB\" }]",
                &["disk.directories[1].path = \"/a/b\": one of disk.directories is in another"],
            ),
            (
                "path = \"/d\"\nsize = \"1GiB\"\nmax_object = \"513MiB\"",
                &["disk.max_object = \"513MiB\"", "at most 512MiB"],
            ),
            ("path = \"/d\"\nsize = \"1GiB\"\nmax_object = 0", &["disk.max_object = 0", "1KiB"]),
            (
                "path = \"/d\"\nsize = \"1GiB\"\nadmit = \"secnd\"",
                &["disk.admit = \"secnd\"", "\"all\", \"second\"; did you mean second?"],
            ),
            (
                "path = \"/d\"\nsize = \"1GiB\"\nwindow = 1023",
                &["disk.window = 1023", "1024 to 268435456"],
            ),
            ("path = \"/d\"\nsize = \"1GiB\"\nqueue = \"1MiB\"", &["disk.queue", "from 2MiB to"]),
            ("path = \"/d\"\nsize = \"1GiB\"\nreaders = 0", &["disk.readers = 0", "1 to 256"]),
            ("path = \"/d\"\nsize = \"1GiB\"\nreads = 0", &["disk.reads = 0", "1 to 1000000"]),
            (
                "path = \"/d\"\nsize = \"1GiB\"\nread_wait = \"0s\"",
                &["disk.read_wait", "1ms to 1h"],
            ),
            (
                "path = \"/d\"\nsize = \"1GiB\"\ncommit_wait = \"1ms\"",
                &["disk.commit_wait", "10ms to 1h"],
            ),
            (
                "path = \"/d\"\nsize = \"1GiB\"\nhang = 5",
                &["disk.hang = 5: a number without a unit"],
            ),
            ("path = \"/d\"\nsize = \"1GiB\"\nretry = \"2d\"", &["disk.retry", "100ms to 1d"]),
            ("path = \"/d\"\nsize = \"1GiB\"\npromote = 1", &["disk.promote = 1: not a yes or no"]),
        ] {
            let told = read(&format!("[disk]\n{keys}\n{DATA}")).unwrap_err();
            for part in parts {
                assert!(told.contains(part), "{keys}: {told:?} does not say {part:?}");
            }
            assert_eq!(told.lines().count(), if keys.is_empty() { 2 } else { 1 }, "{told}");
        }
        let one = "{ path = \"/PATH\", size = \"1GiB\" }, ";
        let many: String = (0..65).map(|n| one.replace("PATH", &n.to_string())).collect();
        let told = read(&format!("[disk]\ndirectories = [{many}]\n{DATA}")).unwrap_err();
        assert!(told.contains("65 tables; accepted: at most 64"), "{told}");
    }

    #[test]
    fn nothing_else_is_kept_in_its_directory() {
        for (disk, other, key) in [
            ("/var/lib/weir", "", Some("control.data")),
            ("/var/lib/", "", Some("control.data")),
            ("/var/lib/weir/disk", "", None),
            ("/s", "[node]\nstate = \"/s/\"\n", Some("node.state")),
            ("/s", "[spool]\npath = \"/s/spool\"\n", Some("spool.path")),
            ("/spool", "[spool]\npath = \"/spools\"\n", None),
        ] {
            let read = read(&format!("[disk]\npath = \"{disk}\"\nsize = \"1GiB\"\n{DATA}{other}"));
            match key {
                None => assert!(read.unwrap().is_some(), "{disk}"),
                Some(key) => {
                    let told = read.unwrap_err();
                    assert!(
                        told.contains(&format!("disk.path = \"{disk}\": {key} is in it")),
                        "{told}"
                    );
                }
            }
        }
    }
}
