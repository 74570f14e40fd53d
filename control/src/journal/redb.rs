//! The journal on redb: `control.redb` in the `control.data` directory.
//!
//! A lock on a file beside it keeps a second control out for as long as this one lives, also while
//! the database is reopened after a fault. The database remembers which file it was written
//! in: found in another one, it is a copy.

mod fault;
mod identity;
mod room;
mod rows;
mod tables;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;

use super::{Batch, Contents, Journal, JournalError};
use fault::{at, of_database, of_io};
use identity::Identity;
use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

/// The database in the directory.
pub(crate) const FILE: &str = "control.redb";

/// The lock beside it.
const LOCK: &str = "control.lock";

/// What a new database is called until it is one.
const NEW: &str = "control.redb.new";

/// What redb may keep in memory; the ledger has everything itself.
const CACHE: usize = 8 << 20;

/// Makes a database of an open file.
type Attach = Box<dyn Fn(File) -> Result<Database, DatabaseError> + Send>;

/// A journal that this process alone has open.
pub(crate) struct Redb {
    path: PathBuf,
    attach: Attach,
    /// The file that was opened.
    identity: Identity,
    /// `None` after a fault, until it is reopened: redb accepts nothing after one.
    database: Option<Database>,
    /// The contents come from another file.
    copied: bool,
    /// Held while this lives.
    _lock: File,
}

impl Redb {
    /// Opens the journal in `directory`; both are made where they do not exist.
    ///
    /// # Errors
    /// It cannot be opened: another control has it open, it is damaged, or it is none of ours.
    pub(crate) fn open(directory: &Path) -> Result<Self, JournalError> {
        Self::open_with(directory, Box::new(attach))
    }

    fn open_with(directory: &Path, attach: Attach) -> Result<Self, JournalError> {
        std::fs::create_dir_all(directory).map_err(|error| of_io(directory, &error))?;
        let lock = lock(directory)?;
        let path = directory.join(FILE);
        if !path.try_exists().map_err(|error| of_io(&path, &error))? {
            create(directory, &path, &attach)?;
        }
        let (mut database, identity) = open(&path, &attach)?;
        let written_in = tables::check(&database).map_err(at(&path))?;
        tables::upgrade(&database).map_err(at(&path))?;
        // Here no reader waits, and no purge.
        room::give_back(&mut database).map_err(at(&path))?;
        let copied = !written_in.is(&identity);
        Ok(Self { path, attach, identity, database: Some(database), copied, _lock: lock })
    }

    /// Opens the journal in `directory` to move its log elsewhere; and tells where that is, if it was done or begun
    /// before.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    pub(crate) fn open_to_move(directory: &Path) -> Result<(Self, Option<String>), JournalError> {
        let path = directory.join(FILE);
        if !path.try_exists().map_err(|error| of_io(&path, &error))? {
            return Err(JournalError::new(format!("{}: there is no such file", path.display())));
        }
        let lock = lock(directory)?;
        let attach: Attach = Box::new(attach);
        let (database, identity) = open(&path, &attach)?;
        let moved = tables::moved(&database).map_err(at(&path))?;
        let written_in = match &moved {
            None => tables::check(&database),
            Some(_) => tables::identity(&database),
        };
        let copied = !written_in.map_err(at(&path))?.is(&identity);
        let journal =
            Self { path, attach, identity, database: Some(database), copied, _lock: lock };
        Ok((journal, moved))
    }

    /// Says that its log is at `place` from now on: no control opens it any more.
    ///
    /// # Errors
    /// That cannot be written.
    pub(crate) fn leave(&mut self, place: &str) -> Result<(), JournalError> {
        let database = self.database.take().ok_or_else(|| JournalError::new("it is not open"))?;
        let left = tables::leave(&database, place).map_err(at(&self.path));
        self.database = Some(database);
        left
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The database; reopened after a fault.
    fn database(&mut self) -> Result<Database, JournalError> {
        if let Some(database) = self.database.take() {
            return Ok(database);
        }
        let (database, identity) = open(&self.path, &self.attach)?;
        if !self.identity.is(&identity) {
            let message = format!(
                "{}: another file has taken its place while control ran; restart control",
                self.path.display()
            );
            return Err(JournalError::new(message));
        }
        tables::check(&database).map_err(at(&self.path))?;
        Ok(database)
    }
}

impl Journal for Redb {
    fn load(&mut self) -> Result<Contents, JournalError> {
        let database = self.database()?;
        let contents = tables::load(&database).map_err(at(&self.path))?;
        self.database = Some(database);
        Ok(Contents { copied: self.copied, ..contents })
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), JournalError> {
        let database = self.database()?;
        // A life that begins does so in this file.
        let identity = batch.life.is_some().then_some(&self.identity);
        tables::commit(&database, batch, identity).map_err(at(&self.path))?;
        self.copied &= batch.life.is_none();
        self.database = Some(database);
        Ok(())
    }

    fn tidy(&mut self) -> Result<(), JournalError> {
        let mut database = self.database()?;
        room::give_back(&mut database).map_err(at(&self.path))?;
        self.database = Some(database);
        Ok(())
    }
}

impl fmt::Debug for Redb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redb").field("path", &self.path).finish_non_exhaustive()
    }
}

fn attach(file: File) -> Result<Database, DatabaseError> {
    // Checked whole: what was altered while nobody looked is refused, not trusted.
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    builder.create_with_backend(FileBackend::new(file)?)
}

fn lock(directory: &Path) -> Result<File, JournalError> {
    let path = directory.join(LOCK);
    let options = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let lock = options.map_err(|error| of_io(&path, &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(JournalError::new(format!(
            "{}: another control uses this directory; each needs one of its own (control.data)",
            directory.display()
        ))),
        Err(TryLockError::Error(error)) => Err(of_io(&path, &error)),
    }
}

/// Makes an empty journal under another name first, so that a crash leaves none or a whole one.
fn create(directory: &Path, path: &Path, attach: &Attach) -> Result<(), JournalError> {
    let new = directory.join(NEW);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).open(&new);
    let file = file.map_err(|error| of_io(&new, &error))?;
    let identity = Identity::of(&file).map_err(|error| of_io(&new, &error))?;
    let database = attach(file).map_err(|error| of_database(&new, error))?;
    tables::create(&database, &identity).map_err(at(&new))?;
    drop(database);
    std::fs::rename(&new, path).map_err(|error| of_io(path, &error))?;
    let entry = File::open(directory).and_then(|directory| directory.sync_all());
    entry.map_err(|error| of_io(directory, &error))
}

fn open(path: &Path, attach: &Attach) -> Result<(Database, Identity), JournalError> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(|error| of_io(path, &error))?;
    let length = file.metadata().map_err(|error| of_io(path, &error))?.len();
    if length == 0 {
        // redb would begin a new one in it.
        let message = format!("{}: it is empty, so it is not a journal of control", path.display());
        return Err(JournalError::new(message));
    }
    let identity = Identity::of(&file).map_err(|error| of_io(path, &error))?;
    let database = attach(file).map_err(|error| of_database(path, error))?;
    Ok((database, identity))
}
