//! The disk store of a node, below its memory store (ARCHITECTURE.md, "The disk store").
//!
//! A request that memory cannot answer looks here before anything is fetched ([`find`]): what is found is a
//! stored response like any other, so that freshness, Vary, ranges, conditions and validation are those
//! of memory. A body of at most a slice comes with it; a longer one is read while it is sent ([`body`]).
//! What is stored in memory is offered to the disk in the same step ([`keep`]).
//!
//! Nothing that an earlier process stored is shown before the log was replayed (invariant I4), and no
//! purge is acknowledged before what it took cannot come back ([`durable`]).

mod body;
mod durable;
mod find;
mod keep;
mod look;
mod opening;
mod record;
mod risk;
mod sites;
mod sweep;
#[cfg(test)]
mod tests;

pub(crate) use body::{DiskBody, DiskBodyWriter};
pub(crate) use durable::Removal;
pub(crate) use look::SeenOnDisk;
pub(crate) use opening::{OpenDisk, open};
pub use record::fuzz;
pub(crate) use sweep::DiskSweeper;

use crate::purge::Purges;
use crate::store::UrlHash;
use arc_swap::ArcSwap;
use risk::RiskNote;
use sites::SiteLives;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use weir_config::Site;
use weir_protocol::stats::DiskStats;
use weir_store::{Admission, Counts, Status, Store};

/// The disk store of a node.
pub(crate) struct DiskStore {
    store: Arc<Store>,
    purges: Arc<Purges>,
    admission: Admission,
    /// Which hits bring a response into memory; `None`: none.
    promotion: Option<Admission>,
    max_object: u64,
    lives: ArcSwap<SiteLives>,
    /// Whether what an earlier process stored may be shown.
    is_shown: AtomicBool,
    /// Whether the clock was set back while no process ran: ages from before mean nothing.
    clock_was_set_back: bool,
    /// The latest time of day that an earlier process saw, in seconds since 1970.
    seen: u64,
    /// Own number up to which everything stored was held against the log.
    checked: AtomicU64,
    risk: RiskNote,
    /// Whether another process may have noted something.
    has_notes: AtomicBool,
    counters: DiskCounters,
    size: u64,
}

/// What is counted beside the store's own counts.
#[derive(Debug, Default)]
struct DiskCounters {
    hits: AtomicU64,
    promoted: AtomicU64,
    unread: AtomicU64,
    at_risk: AtomicU64,
}

/// What a disk store does, as metrics and reports to control show it.
#[derive(Clone, Debug, Default)]
pub(crate) struct DiskCounts {
    /// Requests that a response on disk answered, or would have answered but for its age.
    pub(crate) hits: u64,
    /// Responses that came into memory by hits.
    pub(crate) promoted: u64,
    /// Reads that failed or took too long: misses.
    pub(crate) unread: u64,
    /// Unsafe requests that were answered although what they removed may come back.
    pub(crate) at_risk: u64,
    /// Responses that can be found.
    pub(crate) responses: u64,
    /// Bytes of all directories.
    pub(crate) size: u64,
    /// Bytes in use.
    pub(crate) used: u64,
    /// What the store counts.
    pub(crate) store: Counts,
    /// The directories, and what they do.
    pub(crate) directories: Vec<(String, Status)>,
}

impl DiskCounts {
    /// What control is told.
    pub(crate) fn told(&self) -> DiskStats {
        let set_aside = self.directories.iter().filter(|(_, status)| !status.is_working());
        DiskStats {
            stored: self.responses,
            stored_bytes: self.used,
            capacity_bytes: self.size,
            hits: self.hits,
            directories: self.directories.len() as u64,
            set_aside: set_aside.count() as u64,
        }
    }
}

impl DiskStore {
    /// Whether what an earlier process stored may be shown.
    fn is_shown(&self) -> bool {
        self.is_shown.load(Ordering::Acquire)
    }

    /// The log was replayed: what an earlier process stored is shown from now on.
    pub(crate) fn show(&self) {
        if !self.is_shown.swap(true, Ordering::AcqRel) {
            let (responses, _) = self.store.held();
            if responses == 0 {
                return;
            }
            tracing::info!(responses, "what was stored on disk before is shown");
        }
    }

    /// Whether the directory of a URL stores responses: it is not set aside.
    pub(crate) fn works_for(&self, url: UrlHash) -> bool {
        self.store.works_for(url)
    }

    /// Largest body that is stored.
    pub(crate) fn max_object(&self) -> u64 {
        self.max_object
    }

    /// The sites of the configuration are these from now on: what was stored under other rules of a
    /// site, or other hosts, is not found any more. Not even once they are as before: what was purged
    /// meanwhile was keyed by the rules of then.
    pub(crate) fn follow_sites(&self, sites: &[Site]) {
        let known = self.lives.load();
        match SiteLives::of(sites, &known.rules()) {
            Ok(lives) => self.lives.store(Arc::new(lives)),
            Err(error) => {
                tracing::error!(%error, "no random numbers: nothing is stored on disk any more");
                self.lives.store(Arc::default());
            }
        }
    }

    /// What it does.
    pub(crate) fn counts(&self) -> DiskCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let DiskCounters { hits, promoted, unread, at_risk } = &self.counters;
        DiskCounts {
            hits: of(hits),
            promoted: of(promoted),
            unread: of(unread),
            at_risk: of(at_risk),
            responses: self.store.held().0 as u64,
            size: self.size,
            used: self.store.bytes(),
            store: self.store.counts(),
            directories: self.store.statuses(),
        }
    }
}
