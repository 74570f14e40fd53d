//! What goes wrong with the file, in words that name it.

use crate::journal::JournalError;
use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};
use std::io;
use std::path::Path;

/// Why the database was not read or written.
#[derive(Debug)]
pub(super) enum Fault {
    /// redb's own.
    Redb(redb::Error),
    /// What is in it is none of ours, or damaged.
    Content(String),
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        Self::Redb(error.into())
    }
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Self {
        Self::Redb(error.into())
    }
}

impl From<TransactionError> for Fault {
    fn from(error: TransactionError) -> Self {
        Self::Redb(error.into())
    }
}

impl From<CommitError> for Fault {
    fn from(error: CommitError) -> Self {
        Self::Redb(error.into())
    }
}

/// Names the file of a fault.
pub(super) fn at(path: &Path) -> impl Fn(Fault) -> JournalError {
    move |fault| match fault {
        Fault::Redb(error) => of_redb(path, error),
        Fault::Content(message) => JournalError::new(format!("{}: {message}", path.display())),
    }
}

pub(super) fn of_database(path: &Path, error: DatabaseError) -> JournalError {
    of_redb(path, error.into())
}

fn of_redb(path: &Path, error: redb::Error) -> JournalError {
    let file = path.display();
    match error {
        // As such redb reports what is no database.
        redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            JournalError::new(format!("{file}: not a journal of control, or damaged: {error}"))
        }
        redb::Error::Io(error) => of_io(path, &error),
        redb::Error::Corrupted(what) => JournalError::new(format!(
            "{file}: damaged: {what}; restore a backup of it, or move it away to start with an \
             empty log"
        )),
        redb::Error::DatabaseAlreadyOpen => {
            JournalError::new(format!("{file}: another process has it open"))
        }
        error => JournalError::new(format!("{file}: {error}")),
    }
}

pub(super) fn of_io(path: &Path, error: &io::Error) -> JournalError {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let full = matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge);
    JournalError { full, ..JournalError::new(format!("{}: {error}", path.display())) }
}
