//! The time during which another process has the disk: one that takes over. If it does not come to serve,
//! this process gets the disk back. What memory learned meanwhile was said to nobody, so it is noted here:
//! an older response on disk must not answer in place of what memory had after it.

use super::DiskStore;
use super::opening::tell;
use crate::store::UrlHash;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use weir_store::Checkpoint;

/// URLs that are noted, at most. Beyond that all directories are emptied.
const MOST: usize = 100_000;

/// Whose the disk is.
#[derive(Default)]
pub(super) struct Lent {
    /// Grows with each change: odd while another process may have it.
    turns: AtomicU64,
    urls: Mutex<LentUrls>,
}

/// The URLs of which memory learned something while another process had the disk.
#[derive(Default)]
struct LentUrls {
    urls: BTreeSet<UrlHash>,
    is_full: bool,
}

impl LentUrls {
    fn note(&mut self, url: UrlHash) {
        match self.urls.len() < MOST {
            true => drop(self.urls.insert(url)),
            false => self.is_full |= !self.urls.contains(&url),
        }
    }
}

impl Lent {
    fn turn(&self) -> u64 {
        self.turns.load(Ordering::Acquire)
    }

    /// Whether another process may have it.
    pub(super) fn is_away(&self) -> bool {
        self.turn() % 2 == 1
    }

    fn give(&self) {
        if !self.is_away() {
            self.turns.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl DiskStore {
    /// Tells the store something about a URL. What the store may not have heard is noted.
    pub(super) fn told<T>(&self, url: UrlHash, tell: impl FnOnce() -> T) -> T {
        let before = self.lent.turn();
        let told = tell();
        if self.lent.turn() != before || before % 2 == 1 {
            let mut noted = self.lent.urls.lock().unwrap_or_else(PoisonError::into_inner);
            match self.lent.is_away() {
                true => noted.note(url),
                // It came back in between.
                false => {
                    self.store.remove_url(url);
                }
            }
        }
        told
    }

    /// Closes the store, with everything that waits written, within this time: for another process to open
    /// it, or for good.
    pub(crate) async fn close(&self, wait: Duration) {
        self.lent.give();
        self.keep().await;
        let store = Arc::clone(&self.store);
        let closed = tokio::task::spawn_blocking(move || store.close(wait)).await;
        for name in closed.unwrap_or_default() {
            tracing::warn!(directory = name, "the disk store could not be closed in time");
        }
    }

    /// Opens the store again, after a process that was to take over has ended. A directory in which that
    /// process has taken the node's place, with a membership of its own, is emptied, as at a start: what it
    /// stored was held against the log by it alone.
    pub(crate) async fn reopen(&self) {
        if !self.lent.is_away() {
            return;
        }
        let (store, is_ours) = (Arc::clone(&self.store), self.is_ours());
        let opened = tokio::task::spawn_blocking(move || store.reopen(is_ours)).await;
        match opened.map_err(|error| error.to_string()) {
            Ok(Ok(began)) => tell(&began),
            Ok(Err(error)) => return cannot_be_opened(&error.to_string()),
            Err(error) => return cannot_be_opened(&error),
        }
        self.take_back();
        // Those that unsafe requests removed are in the note, too.
        self.other_ended();
        self.keep().await;
        tracing::info!("the disk store is in use again");
    }

    /// Whether a directory's checkpoint is of this process.
    fn is_ours(&self) -> impl Fn(&Checkpoint) -> bool + Send + use<> {
        let position = self.purges.position();
        let (log, base) = (position.log().map(|log| log.0.clone()), position.base());
        let member = position.standing().member.clone();
        move |kept| (&kept.log, kept.base, &kept.member) == (&log, base, &member)
    }

    /// It is this process's again, without what is noted.
    fn take_back(&self) {
        let mut noted = self.lent.urls.lock().unwrap_or_else(PoisonError::into_inner);
        let LentUrls { urls, is_full } = std::mem::take(&mut *noted);
        if is_full {
            self.store.statuses().iter().for_each(|(name, _)| self.store.clear(name));
        }
        for url in urls {
            self.store.remove_url(url);
        }
        self.lent.turns.fetch_add(1, Ordering::AcqRel);
    }
}

fn cannot_be_opened(error: &str) {
    tracing::error!(error, "the disk store cannot be opened again; the node goes on without it");
}
