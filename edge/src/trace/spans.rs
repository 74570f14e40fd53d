//! The queue of finished spans, and the count of what became of them.

use super::SpanPlace;
use super::hop::Hopped;
use crate::access_log::LoggedRequest;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// A span that has ended.
#[derive(Debug)]
pub(crate) enum Finished {
    /// A request of a client, or of another node.
    Served(SpanPlace, Box<LoggedRequest>),
    /// A request to an upstream.
    Hopped(SpanPlace, Box<Hopped>),
}

/// Takes finished spans. Never waits: what finds no place is dropped and counted.
#[derive(Clone, Debug)]
pub(crate) struct Spans {
    queue: mpsc::Sender<Finished>,
    tally: Arc<Tally>,
}

/// What became of spans since the start.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// The collector took them.
    pub(crate) exported: AtomicU64,
    /// The queue was full.
    pub(crate) crowded: AtomicU64,
    /// The collector could not be reached, or did not answer well.
    pub(crate) failed: AtomicU64,
    /// The collector would not have them.
    pub(crate) rejected: AtomicU64,
}

/// The same as it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Spans that the collector took.
    pub(crate) exported: u64,
    /// Spans for which the queue had no place.
    pub(crate) crowded: u64,
    /// Spans lost with a collector that gave no good answer.
    pub(crate) failed: u64,
    /// Spans that the collector refused.
    pub(crate) rejected: u64,
}

impl Spans {
    /// A queue of `most` spans, and its other end.
    pub(crate) fn new(most: usize) -> (Self, mpsc::Receiver<Finished>) {
        let (queue, other) = mpsc::channel(most.max(1));
        (Self { queue, tally: Arc::default() }, other)
    }

    /// Queues a span.
    pub(crate) fn take(&self, span: Finished) {
        if self.queue.try_send(span).is_err() {
            self.tally.crowded.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What became of those taken; the exporter counts there.
    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// What became of those taken.
    pub(crate) fn counts(&self) -> Counts {
        let Tally { exported, crowded, failed, rejected } = &*self.tally;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            exported: read(exported),
            crowded: read(crowded),
            failed: read(failed),
            rejected: read(rejected),
        }
    }
}
