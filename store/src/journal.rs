//! The journal at work: changes are appended in memory, and made durable by groups.
//!
//! It holds which segments are live, what in them is not, and the checkpoint. Because all of it is
//! in one order, a checkpoint is durable only together with all removals before it, and a removal
//! that is forgotten was of a segment whose end is durable.

mod recovered;
mod writing;

pub(crate) use recovered::{Manifest, Recovered, Unusable, recover};

use crate::checkpoint::Checkpoint;
use crate::disk::Disk;
use crate::format::journal::{Change, Header};
use crate::response::Seq;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use writing::Writing;

/// A moment of the journal: changes up to it were appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl From<u64> for Moment {
    fn from(moment: u64) -> Self {
        Self(moment)
    }
}

impl From<Moment> for u64 {
    fn from(moment: Moment) -> Self {
        moment.0
    }
}

/// Changes that were appended and are not in the file yet.
#[derive(Default)]
struct Appended {
    bytes: Vec<u8>,
    moment: u64,
    /// The last checkpoint appended.
    checkpoint: Option<Checkpoint>,
}

/// The journal of a volume.
pub(crate) struct Journal {
    appended: Mutex<Appended>,
    writing: Mutex<Writing>,
    durable: AtomicU64,
    /// The node's own number of the last seq that a durable checkpoint says was applied.
    applied: AtomicU64,
    /// Bytes of the file.
    bytes: AtomicU64,
}

impl Journal {
    /// Puts a journal with a snapshot in the place of the one on the disk.
    ///
    /// # Errors
    /// The disk failed.
    pub(crate) fn begin(
        disk: Arc<dyn Disk>,
        header: Header,
        manifest: &Manifest,
    ) -> io::Result<Self> {
        let writing = Writing::begin(disk, header, manifest)?;
        let (checkpoint, bytes) = (manifest.checkpoint.clone(), writing.bytes());
        let applied = checkpoint.as_ref().map_or(0, Checkpoint::applied_own);
        Ok(Self {
            appended: Mutex::new(Appended { checkpoint, ..Appended::default() }),
            writing: Mutex::new(writing),
            durable: AtomicU64::new(0),
            applied: AtomicU64::new(applied),
            bytes: AtomicU64::new(bytes),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Appended> {
        self.appended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a change: durable once [`Journal::commit`] returned.
    pub(crate) fn append(&self, change: &Change) -> Moment {
        let mut appended = self.lock();
        change.encode(&mut appended.bytes);
        appended.moment += 1;
        Moment(appended.moment)
    }

    /// Appends a checkpoint.
    pub(crate) fn checkpoint(&self, checkpoint: &Checkpoint) -> Moment {
        let mut appended = self.lock();
        let Checkpoint { applied, mark, checked, wall, .. } = *checkpoint;
        let is_progress = appended.checkpoint.as_ref().is_some_and(|before| {
            Checkpoint { applied, mark, checked, wall, ..before.clone() } == *checkpoint
        });
        let change = match is_progress {
            true => Change::Progress { applied, mark, checked, wall },
            false => Change::Checkpoint(Box::new(checkpoint.clone())),
        };
        change.encode(&mut appended.bytes);
        appended.checkpoint = Some(checkpoint.clone());
        appended.moment += 1;
        Moment(appended.moment)
    }

    /// The last checkpoint appended.
    pub(crate) fn last_checkpoint(&self) -> Option<Checkpoint> {
        self.lock().checkpoint.clone()
    }

    /// Bytes that wait to be committed.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().bytes.len()
    }

    /// The moment up to which everything is durable.
    pub(crate) fn durable(&self) -> Moment {
        Moment(self.durable.load(Ordering::Acquire))
    }

    /// The node's own number of the last seq that a durable checkpoint says was applied.
    pub(crate) fn applied(&self) -> Seq {
        self.applied.load(Ordering::Acquire)
    }

    /// Makes everything that was appended up to `moment` durable, with whatever else was appended.
    /// Whoever comes while another commit runs shares the next one.
    ///
    /// # Errors
    /// The disk failed, now or before: nothing is known of what it holds, and nothing that is
    /// appended from now on becomes durable.
    pub(crate) fn commit(&self, moment: Moment) -> io::Result<()> {
        if self.durable() >= moment {
            return Ok(());
        }
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.durable() >= moment {
            return Ok(());
        }
        let (bytes, reached) = {
            let mut appended = self.lock();
            (std::mem::take(&mut appended.bytes), appended.moment)
        };
        writing.write(&bytes)?;
        self.bytes.store(writing.bytes(), Ordering::Relaxed);
        self.applied.store(writing.applied(), Ordering::Release);
        self.durable.store(reached, Ordering::Release);
        Ok(())
    }

    /// Makes everything durable that was appended so far.
    ///
    /// # Errors
    /// As [`Journal::commit`].
    pub(crate) fn commit_all(&self) -> io::Result<()> {
        let moment = Moment(self.lock().moment);
        self.commit(moment)
    }

    /// Bytes of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
