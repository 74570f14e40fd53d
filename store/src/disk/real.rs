//! A directory of the system.

use super::{Disk, DiskFile, page_cache};
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, sendfile};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The file whose lock says that a process uses the directory.
const LOCK: &str = "lock";

/// A directory of the system. No other process can use it as a store meanwhile.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    directory: File,
    /// Locked until this is dropped.
    _lock: File,
    /// Whether the file system can tell what is ready.
    ready: Arc<AtomicBool>,
    is_writable: bool,
}

impl Directory {
    /// Opens and locks a directory that a store wrote, and changes nothing in it.
    ///
    /// # Errors
    /// There is no store in it, it cannot be read, or another process uses it.
    pub fn open_read_only(path: &Path) -> io::Result<Self> {
        let lock = File::open(path.join(LOCK))?;
        Self::locked(path, lock, false)
    }

    /// Opens and locks a directory; makes it, for this user alone, if it is not there.
    ///
    /// # Errors
    /// It cannot be made, opened or written, or another process uses it.
    pub fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let lock = file_options().open(path.join(LOCK))?;
        Self::locked(path, lock, true)
    }

    fn locked(path: &Path, lock: File, is_writable: bool) -> io::Result<Self> {
        let directory = File::open(path)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            Errno::WOULDBLOCK => {
                io::Error::new(io::ErrorKind::WouldBlock, "another process uses the directory")
            }
            error => error.into(),
        })?;
        let ready = Arc::new(AtomicBool::new(true));
        Ok(Self { path: path.to_owned(), directory, _lock: lock, ready, is_writable })
    }
}

impl Directory {
    fn writable(&self) -> io::Result<()> {
        let refused =
            || io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "opened for reading only");
        if self.is_writable { Ok(()) } else { Err(refused()) }
    }
}

fn file_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

impl Disk for Directory {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path.join(name);
        let file = if self.is_writable { file_options().open(path)? } else { File::open(path)? };
        Ok(Arc::new(SystemFile { file, ready: Arc::clone(&self.ready) }))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.path.join(name).try_exists()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.writable()?;
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.writable()?;
        match std::fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn sync_names(&self) -> io::Result<()> {
        self.directory.sync_all()
    }
}

struct SystemFile {
    file: File,
    ready: Arc<AtomicBool>,
}

/// Where the page cache can be asked, and ranges can be given up. Pages must be those that
/// [`crate::Geometry`] is made for: a page that is given up in part is changed in place.
fn can_send(file: &File) -> bool {
    const PAGE: usize = 4096;
    let tries = || {
        let end = file.metadata().ok()?.len().next_multiple_of(PAGE as u64);
        // There is nothing behind the end.
        give_up(file, end, PAGE as u64).ok()?;
        page_cache::cached_pages(file, 0, PAGE as u64).ok()
    };
    rustix::param::page_size() == PAGE && tries().is_some()
}

fn give_up(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(fallocate(file, mode, offset, length)?)
}

impl DiskFile for SystemFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.file.read_at(&mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(some) => read += some,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn read_ready(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if !self.ready.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let buffers = &mut [IoSliceMut::new(buffer)];
        preadv2(&self.file, buffers, offset, ReadWriteFlags::NOWAIT).map_err(|error| match error {
            Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL => {
                self.ready.store(false, Ordering::Relaxed);
                io::ErrorKind::Unsupported.into()
            }
            error => error.into(),
        })
    }

    fn can_send(&self) -> bool {
        can_send(&self.file)
    }

    fn is_cached(&self, offset: u64, length: u64) -> bool {
        page_cache::is_cached(&self.file, offset, length)
    }

    fn send(&self, socket: BorrowedFd<'_>, mut offset: u64, length: usize) -> io::Result<usize> {
        Ok(sendfile(socket, self.file.as_fd(), Some(&mut offset), length)?)
    }

    fn detach(&self, offset: u64, length: u64) -> io::Result<()> {
        give_up(&self.file, offset, length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("weir-store-{name}-{}", std::process::id()));
        let _gone = std::fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn a_directory_has_one_user() {
        let path = directory("lock");
        let first = Directory::open(&path).unwrap();
        for (path, mode) in [(path.clone(), 0o700), (path.join(LOCK), 0o600)] {
            let found = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode, "{path:?}");
        }
        let second = Directory::open(&path).unwrap_err();
        assert_eq!(second.to_string(), "another process uses the directory");
        drop(first);
        Directory::open(&path).unwrap();
        std::fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn what_is_written_is_read_with_and_without_waiting() {
        let path = directory("read");
        let disk = Directory::open(&path).unwrap();
        let file = disk.open("a").unwrap();
        file.write_at(b"0123456789", 5).unwrap();
        file.sync().unwrap();
        let mut buffer = [0; 20];
        assert_eq!(file.read_at(&mut buffer, 6).unwrap(), 9);
        assert_eq!(&buffer[..9], b"123456789");
        match file.read_ready(&mut buffer, 5) {
            Ok(read) => assert_eq!(&buffer[..read], &b"0123456789"[..read]),
            Err(error) => assert!(
                matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Unsupported),
                "{error}"
            ),
        }
        disk.rename("a", "b").unwrap();
        disk.sync_names().unwrap();
        assert!(!disk.exists("a").unwrap() && disk.exists("b").unwrap());
        disk.remove("b").unwrap();
        disk.remove("b").unwrap();
        std::fs::remove_dir_all(&path).unwrap();
    }
}
