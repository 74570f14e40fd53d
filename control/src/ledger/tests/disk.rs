//! A journal that keeps what was taken over a crash, and fails as told.

use crate::journal::{Batch, Contents, Journal, JournalError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// How the next batch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is not taken, and the journal says so.
    Refused,
    /// It is taken, but the journal says it was not.
    TakenUnsaid,
    /// The process dies before it is taken.
    CrashBefore,
    /// The process dies after it was taken.
    CrashAfter,
}

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    contents: Contents,
    fate: Option<Fate>,
    crashed: bool,
    batches: usize,
}

impl Disk {
    pub(super) fn doom(&self, fate: Fate) {
        self.platter().fate = Some(fate);
    }

    /// Whether the process is dead.
    pub(super) fn crashed(&self) -> bool {
        self.platter().crashed
    }

    /// What a process that is started now finds. Whatever the dead one still has to say is lost.
    pub(super) fn rebooted(&self) -> Self {
        Self::holding(self.contents())
    }

    pub(super) fn holding(contents: Contents) -> Self {
        Self(Arc::new(Mutex::new(Platter { contents, ..Platter::default() })))
    }

    pub(super) fn contents(&self) -> Contents {
        self.platter().contents.clone()
    }

    /// How many batches were taken.
    pub(super) fn batches(&self) -> usize {
        self.platter().batches
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }
}

impl Journal for Disk {
    fn load(&mut self) -> Result<Contents, JournalError> {
        Ok(self.contents())
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), JournalError> {
        let mut platter = self.platter();
        if platter.crashed {
            return Err(JournalError::new("dead"));
        }
        let fate = platter.fate.take();
        if matches!(fate, None | Some(Fate::TakenUnsaid | Fate::CrashAfter)) {
            platter.contents = taken(platter.contents.clone(), batch);
            platter.batches += 1;
        }
        platter.crashed = matches!(fate, Some(Fate::CrashBefore | Fate::CrashAfter));
        fate.map_or(Ok(()), |fate| Err(JournalError::new(format!("{fate:?}"))))
    }
}

/// What a journal holds after a batch: the rule that each must follow.
pub(crate) fn taken(mut contents: Contents, batch: &Batch) -> Contents {
    if let Some(life) = &batch.life {
        contents.life = Some(life.clone());
        contents.copied = false;
    }
    contents.entries.retain(|record| record.entry.seq <= batch.follows);
    contents.entries.extend(batch.entries.iter().cloned());
    let mut arrivals: BTreeMap<_, _> = contents.arrivals.into_iter().collect();
    arrivals.extend(batch.arrivals.iter().cloned());
    if let Some(base) = &batch.base {
        contents.entries.retain(|record| record.entry.seq > base.seq);
        arrivals.retain(|seq, _| *seq > base.seq);
        contents.base = base.clone();
    }
    contents.arrivals = arrivals.into_iter().collect();
    if let Some(nodes) = &batch.nodes {
        contents.nodes = nodes.clone();
    }
    if let Some(sites) = &batch.sites {
        contents.sites = sites.clone();
    }
    contents
}
