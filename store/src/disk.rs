//! A directory on a disk, as the store uses it. Behind a trait, so that tests can lose power, flip
//! bits, fail and hang ([`simulated`]).

mod page_cache;
mod real;
pub mod simulated;
mod timed;

pub use real::Directory;
pub(crate) use timed::TimedDisk;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// The name of the file of all segments.
pub(crate) const SEGMENTS: &str = "segments";
/// The name of the journal.
pub(crate) const JOURNAL: &str = "journal";
/// The name of a journal that is to take the place of the one in use.
pub(crate) const NEW_JOURNAL: &str = "journal.new";
/// The name of the witness.
pub(crate) const WITNESS: &str = "witness";

/// A directory.
pub trait Disk: Send + Sync {
    /// Opens a file for reading and writing; makes it if there is none.
    ///
    /// # Errors
    /// As the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Whether there is such a file.
    ///
    /// # Errors
    /// As the system says.
    fn exists(&self, name: &str) -> io::Result<bool>;

    /// Gives a file another name, in place of the file that has it. Durable after
    /// [`Disk::sync_names`].
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names of all files durable.
    ///
    /// # Errors
    /// As the system says; nothing is known of the names then.
    fn sync_names(&self) -> io::Result<()>;
}

/// A file.
pub trait DiskFile: Send + Sync {
    /// Reads into the whole buffer, except at the end of the file; returns the bytes read.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The same for what can be read without waiting for the device: perhaps fewer bytes.
    ///
    /// # Errors
    /// `WouldBlock` if nothing can be, `Unsupported` where that cannot be told.
    fn read_ready(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all bytes.
    ///
    /// # Errors
    /// As the system says; any part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Whether [`DiskFile::send`], [`DiskFile::is_cached`] and [`DiskFile::detach`] can be used. Tries it, and may
    /// wait for the device.
    fn can_send(&self) -> bool;

    /// Whether all of a range lies in the page cache.
    fn is_cached(&self, offset: u64, length: u64) -> bool;

    /// Has the kernel send bytes of a range to a socket, without a copy: it queues the pages of the page
    /// cache. Returns how many, perhaps fewer; 0 at the end of the file. Waits for the device where the
    /// range is not in the page cache.
    ///
    /// # Errors
    /// As the system says; `WouldBlock` if the socket takes nothing now.
    fn send(&self, socket: BorrowedFd<'_>, offset: u64, length: usize) -> io::Result<usize>;

    /// Gives up what a range holds, which reads as zeros then. What sockets have queued of it stays as it
    /// was, whatever is written to the range afterwards.
    ///
    /// # Errors
    /// As the system says.
    fn detach(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Makes all writes so far durable.
    ///
    /// # Errors
    /// As the system says; nothing is known of the writes then, and a later success says nothing
    /// about them.
    fn sync(&self) -> io::Result<()>;

    /// Its length.
    ///
    /// # Errors
    /// As the system says.
    fn length(&self) -> io::Result<u64>;

    /// Cuts it off, or extends it by zeros.
    ///
    /// # Errors
    /// As the system says.
    fn set_length(&self, length: u64) -> io::Result<()>;
}

/// The whole of a file.
pub(crate) fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.length()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
