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
mod lent;
mod look;
mod opening;
mod reads;
mod record;
mod risk;
mod sites;
mod sweep;
#[cfg(test)]
mod tests;

pub(crate) use body::{DiskBody, DiskBodyWriter, SLICE};
pub(crate) use durable::Removal;
pub(crate) use keep::body_on_disk;
pub(crate) use look::SeenOnDisk;
pub(crate) use opening::{OpenDisk, open};
pub use record::fuzz;
pub(crate) use sweep::DiskSweeper;

use crate::purge::Purges;
use crate::store::UrlHash;
use arc_swap::ArcSwap;
use lent::Lent;
use reads::RecentReads;
use risk::RiskNote;
use sites::SiteLives;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::watch;
use weir_config::Site;
use weir_protocol::stats::DiskStats;
use weir_rules::invalidation::Seq;
use weir_store::{Admission, Counts, Latencies, Latency, Status, Store};

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
    /// The same, once it is durable.
    durably_checked: watch::Sender<Seq>,
    /// How many entries control keeps, whatever this disk needs of them.
    retention: AtomicU64,
    lent: Lent,
    risk: RiskNote,
    /// Whether another process may have noted something.
    has_notes: AtomicBool,
    counters: DiskCounters,
    reads: RecentReads,
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
    /// Entries of the log that not everything on disk was held against yet.
    pub(crate) unchecked: u64,
    /// Responses that can be found.
    pub(crate) responses: u64,
    /// Slices of longer bodies.
    pub(crate) slices: u64,
    /// Bytes of all directories.
    pub(crate) size: u64,
    /// Bytes in use.
    pub(crate) used: u64,
    /// What the store counts.
    pub(crate) store: Counts,
    /// How long its devices take.
    pub(crate) latencies: Latencies,
    /// How long they took for the last reads.
    pub(crate) recent_reads: Latency,
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
            read_p99_micros: self
                .recent_reads
                .quantile(0.99)
                .map(|p99| u64::try_from(p99.as_micros()).unwrap_or(u64::MAX)),
        }
    }
}

impl DiskStore {
    /// Whether what is stored may be shown: the log was replayed, and no other process has the disk.
    fn is_shown(&self) -> bool {
        self.is_shown.load(Ordering::Acquire) && !self.lent.is_away()
    }

    /// Whether nothing is stored.
    pub(crate) fn is_empty(&self) -> bool {
        self.store.held().0 == 0
    }

    /// Own number up to which everything stored was held against the log, durably, as it moves.
    pub(crate) fn checked(&self) -> watch::Receiver<Seq> {
        self.durably_checked.subscribe()
    }

    /// Nothing that was stored under a lower number than `floor` is found any more: there is nothing to
    /// hold against the log up to there.
    pub(crate) fn begin_at(&self, floor: Seq) {
        self.checked.fetch_max(floor, Ordering::AcqRel);
    }

    /// Control keeps so many entries, whatever this disk needs of them.
    pub(crate) fn hear_retention(&self, entries: u64) {
        self.retention.store(entries, Ordering::Relaxed);
    }

    /// Entries of the log that not everything stored was held against.
    fn unchecked(&self) -> u64 {
        self.purges.applied().saturating_sub(self.checked.load(Ordering::Acquire))
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
        let (responses, slices) = self.store.held();
        let latencies = self.store.latencies();
        DiskCounts {
            hits: of(hits),
            promoted: of(promoted),
            unread: of(unread),
            at_risk: of(at_risk),
            unchecked: self.unchecked(),
            responses: responses as u64,
            slices: slices as u64,
            size: self.size,
            used: self.store.bytes(),
            store: self.store.counts(),
            recent_reads: self.reads.of(&latencies.reads, Instant::now()),
            latencies,
            directories: self.store.statuses(),
        }
    }
}

/// Waits for something, by a thread of its own: the caller's may be one of a runtime.
fn block_on<T: Send>(work: impl Future<Output = io::Result<T>> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
            runtime.block_on(work)
        });
        waiting.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
    })
}
