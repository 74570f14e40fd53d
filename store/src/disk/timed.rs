//! A directory whose device is watched: how long it takes to read, write and sync.

use super::{Disk, DiskFile};
use crate::latency::{Latencies, LatencyCounter};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// A directory, and where it is counted how long its device takes.
pub(crate) struct TimedDisk {
    disk: Arc<dyn Disk>,
    latencies: Arc<Latencies<LatencyCounter>>,
}

impl TimedDisk {
    pub(crate) fn new(disk: Arc<dyn Disk>, latencies: &Arc<Latencies<LatencyCounter>>) -> Self {
        Self { disk, latencies: Arc::clone(latencies) }
    }
}

impl Disk for TimedDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let (file, latencies) = (self.disk.open(name)?, Arc::clone(&self.latencies));
        Ok(Arc::new(TimedFile { file, latencies }))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.disk.exists(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.latencies.syncs.time(|| self.disk.sync_names())
    }
}

struct TimedFile {
    file: Arc<dyn DiskFile>,
    latencies: Arc<Latencies<LatencyCounter>>,
}

impl DiskFile for TimedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.latencies.reads.time(|| self.file.read_at(buffer, offset))
    }

    /// What waits for nothing is not counted.
    fn read_ready(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_ready(buffer, offset)
    }

    fn can_send(&self) -> bool {
        self.file.can_send()
    }

    fn is_cached(&self, offset: u64, length: u64) -> bool {
        self.file.is_cached(offset, length)
    }

    /// What is sent lies in the page cache.
    fn send(&self, socket: BorrowedFd<'_>, offset: u64, length: usize) -> io::Result<usize> {
        self.file.send(socket, offset, length)
    }

    fn detach(&self, offset: u64, length: u64) -> io::Result<()> {
        self.latencies.writes.time(|| self.file.detach(offset, length))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.latencies.writes.time(|| self.file.write_at(bytes, offset))
    }

    fn sync(&self) -> io::Result<()> {
        self.latencies.syncs.time(|| self.file.sync())
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)
    }
}
