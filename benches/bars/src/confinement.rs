//! A cgroup that bounds the memory of a server, as the engine of containers makes one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where hierarchies are mounted, in the order in which they are tried.
const UNIFIED: &str = "/sys/fs/cgroup";
const MEMORY: &str = "/sys/fs/cgroup/memory";

/// A cgroup of its own, removed when this is dropped; nothing may run in it then.
pub(crate) struct Confinement {
    folder: PathBuf,
    /// The file that counts how often the kernel killed for lack of memory.
    counts: &'static str,
}

impl Confinement {
    /// One that allows so many bytes.
    ///
    /// # Errors
    /// Why none can be made: without privileges, or where no hierarchy has a controller of memory.
    pub(crate) fn of(bytes: u64) -> Result<Self, String> {
        let unified = Self::unified(bytes);
        unified.or_else(|why| Self::memory(bytes).map_err(|other| format!("{why}; {other}")))
    }

    /// Version 2. At the root: below another cgroup that has processes, none can have a controller.
    fn unified(bytes: u64) -> Result<Self, String> {
        let root = Path::new(UNIFIED);
        let made = Self::make(root, "memory.events")?;
        made.set("memory.max", bytes)?;
        made.set("memory.swap.max", 0)?;
        Ok(made)
    }

    /// Version 1, below the cgroup that this process is in.
    fn memory(bytes: u64) -> Result<Self, String> {
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let own = own.lines().find_map(|line| line.split_once(":memory:"));
        let (_, own) = own.ok_or("no controller of memory in /proc/self/cgroup")?;
        let folder = Path::new(MEMORY).join(own.trim_start_matches('/'));
        let made = Self::make(&folder, "memory.oom_control")?;
        made.set("memory.limit_in_bytes", bytes)?;
        Ok(made)
    }

    fn make(parent: &Path, counts: &'static str) -> Result<Self, String> {
        let folder = parent.join(format!("weir-bars-{}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let made = Self { folder, counts };
        // In a hierarchy without the controller the folder has no such file.
        made.kills().map(|_| made)
    }

    fn set(&self, file: &str, value: u64) -> Result<(), String> {
        let file = self.folder.join(file);
        fs::write(&file, value.to_string()).map_err(|error| format!("{}: {error}", file.display()))
    }

    /// The folder, for [`started_in`](crate::program::started_in).
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// How often the kernel killed a process in it for lack of memory.
    pub(crate) fn kills(&self) -> Result<u64, String> {
        let file = self.folder.join(self.counts);
        let text = fs::read_to_string(&file);
        let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        let count = count.and_then(|count| count.trim().parse().ok());
        count.ok_or_else(|| format!("{}: no oom_kill", file.display()))
    }
}

impl Drop for Confinement {
    fn drop(&mut self) {
        // Busy as long as the last process that was killed in it is not gone.
        for _ in 0..100 {
            match fs::remove_dir(&self.folder) {
                Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {}
                Ok(()) | Err(_) => return,
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
