//! What this process may have: the memory of its cgroup, as engines of containers and systemd set it, or
//! that of the machine; and the sizes of file systems.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, absolute};

/// Where the kernel shows what is read here.
const ROOT: &str = "/";

/// The bytes of memory that this process may have: the smallest limit of its cgroups, or all that the
/// machine has if that is less. `None` where the system does not say.
pub fn memory_limit() -> Option<u64> {
    memory_limit_at(Path::new(ROOT))
}

fn memory_limit_at(root: &Path) -> Option<u64> {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let cgroups = read(&root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = cgroups.lines().filter_map(|line| of_cgroup(root, line));
    let machine = read(&root.join("proc/meminfo")).and_then(|text| total(&text));
    limits.chain(machine).min()
}

/// The smallest limit from a cgroup, as a line of `/proc/self/cgroup` names it, up to the root: version 2
/// (`0::/path`), or the controller of memory of version 1 (`5:memory:/path`). Within a container the path may
/// be one that is not mounted there; its root is then the container's own.
fn of_cgroup(root: &Path, line: &str) -> Option<u64> {
    let (mount, file, path) = match line.split_once("::") {
        Some(("0", path)) => ("sys/fs/cgroup", "memory.max", path),
        _ => {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').find(|controller| *controller == "memory")?;
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes", path)
        }
    };
    let mount = root.join(mount);
    let own = mount.join(path.trim_start_matches('/'));
    let folders = own.ancestors().take_while(|folder| folder.starts_with(&mount));
    let limit = |folder: &Path| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok();
    folders.filter_map(limit).min()
}

/// A file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// The device that it is on, which tells it from others.
    pub device: u64,
    /// Its bytes, those in use included.
    pub size: u64,
}

/// The file system that `path` is on, or will be once it is made. `None` where the system does not say.
pub fn file_system(path: &Path) -> Option<FileSystem> {
    let path = absolute(path).ok()?;
    let (there, found) =
        path.ancestors().find_map(|path| Some((path, fs::metadata(path).ok()?)))?;
    let figures = rustix::fs::statvfs(there).ok()?;
    let size = figures.f_blocks.checked_mul(figures.f_frsize).filter(|size| *size > 0)?;
    Some(FileSystem { device: found.dev(), size })
}

/// `MemTotal` of `/proc/meminfo`.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A folder that looks like a system, removed when dropped.
    struct System(PathBuf);

    impl System {
        fn of(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("weir-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for System {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn limit(name: &str, files: &[(&str, &str)]) -> Option<u64> {
        memory_limit_at(&System::of(name, files).0)
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       1048576 kB\nMemFree: 5 kB\n");

    #[test]
    fn the_smallest_limit_counts_that_of_the_machine_among_them() {
        let v2 = ("proc/self/cgroup", "0::/a/b\n");
        let files = [
            MEMINFO,
            v2,
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/memory.max", "805306368\n"),
        ];
        assert_eq!(limit("v2", &files), Some(768 << 20));
        assert_eq!(limit("machine", &files[..3]), Some(1 << 30));
        let within = [MEMINFO, v2, ("sys/fs/cgroup/memory.max", "1000\n")];
        assert_eq!(limit("container", &within), Some(1000));
        let v1 = [
            MEMINFO,
            ("proc/self/cgroup", "6:cpu,cpuacct:/c\n5:memory:/d\n0::/\n"),
            ("sys/fs/cgroup/memory/d/memory.limit_in_bytes", "2000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(limit("v1", &v1), Some(2000));
        assert_eq!(limit("nothing", &[("proc/self/cgroup", "x\n")]), None);
    }

    #[test]
    fn a_path_that_is_not_there_is_on_the_file_system_of_its_folder() {
        let folder = std::env::temp_dir();
        let found = file_system(&folder).unwrap();
        assert!(found.size > 1 << 20, "{found:?}");
        assert_eq!(file_system(&folder.join("weir-not-there/disk")), Some(found));
    }

    #[test]
    fn this_system_says_what_it_has() {
        let limit = memory_limit().unwrap();
        assert!(limit > 1 << 20, "{limit}");
    }
}
