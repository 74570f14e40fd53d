//! Which file a database is in. Whoever copies it, or brings it back from a backup, makes another
//! file.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

/// A file of its file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    inode: u64,
    /// When it was made, nanoseconds since 1970, where the file system tells: an inode is used
    /// again.
    born: Option<u64>,
}

impl Identity {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let born = metadata.created().ok();
        let since = born.and_then(|born| born.duration_since(SystemTime::UNIX_EPOCH).ok());
        let born = since.and_then(|since| u64::try_from(since.as_nanos()).ok());
        Ok(Self { inode: metadata.ino(), born })
    }

    /// Whether they are one file, as far as both know.
    pub(super) fn is(&self, other: &Self) -> bool {
        let births = self.born.zip(other.born);
        self.inode == other.inode && births.is_none_or(|(one, other)| one == other)
    }
}
