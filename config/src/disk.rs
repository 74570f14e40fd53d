//! `[disk]`: the disk store, below the one in memory.

use std::path::PathBuf;
use std::time::Duration;
use strum::{IntoStaticStr, VariantArray};

/// The disk store. A change of any of its keys takes effect on restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Where it keeps its files, 1 to 64 directories. Each holds a part of the URLs.
    pub directories: Vec<DiskDirectory>,
    /// Largest body stored on disk, bytes; at most half of the smallest directory.
    pub max_object: u64,
    /// Which responses are written.
    pub admit: DiskAdmit,
    /// URLs that [`DiskAdmit::Second`] remembers, and as many that [`Disk::promote`] does, 1024 to 2^28.
    pub window: u32,
    /// Whether a response that is found on disk a second time within [`Disk::window`] is stored in
    /// memory again.
    pub promote: bool,
    /// Bytes of memory that may wait to be written, each directory.
    pub queue: u64,
    /// Threads that read what is not in the page cache, each directory.
    pub readers: usize,
    /// Reads that may wait for one of them, each directory; a further one is a miss.
    pub reads: usize,
    /// How long a read may take. Then it is a miss.
    pub read_wait: Duration,
    /// How long it may take until something is durable. Then the directory is set aside.
    pub commit_wait: Duration,
    /// How long a device may take for anything. Then the directory is set aside.
    pub hang: Duration,
    /// How long a directory that was set aside is left alone.
    pub retry: Duration,
}

impl Disk {
    /// Bytes of memory that it takes at most, the index left out: 40 for each response on disk.
    pub fn memory(&self) -> u64 {
        // Which URLs were fetched, and which were found on disk.
        let filters = u64::from(self.admit == DiskAdmit::Second) + u64::from(self.promote);
        let remembered = filters * 2 * u64::from(self.window).next_power_of_two();
        self.queue.saturating_mul(self.directories.len() as u64).saturating_add(remembered)
    }
}

/// A directory of the disk store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskDirectory {
    /// Its path, absolute.
    pub path: PathBuf,
    /// Bytes that all files in it may take together, 24 MiB to 400 TiB.
    pub size: u64,
}

/// Which responses are written to disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum DiskAdmit {
    /// All that may be stored.
    All,
    /// Those fetched a second time within [`Disk::window`], and those that memory cannot hold.
    #[default]
    Second,
}
