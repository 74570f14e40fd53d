//! How the node and control are connected, for those who ask.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use weir_rules::invalidation::Seq;
use weir_rules::log::LogId;

/// The connection to control, as its task last told.
#[derive(Debug, Default)]
pub(crate) struct Link {
    connected: AtomicBool,
    caught_up: AtomicBool,
    head: AtomicU64,
    connections: AtomicU64,
    /// Why control refuses the node, since it last did and until it lets it in.
    refusal: Mutex<Option<String>>,
    /// The relay through which the node follows control.
    via: Mutex<Option<String>>,
}

impl Link {
    /// Control has let the node in; its log ends at `head`.
    pub(crate) fn joined(&self, head: Seq) {
        self.head.store(head, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
        *self.refusal_mut() = None;
        self.connected.store(true, Ordering::Release);
    }

    /// Control refuses the node.
    pub(crate) fn refused(&self, reason: &str) {
        *self.refusal_mut() = Some(reason.to_owned());
    }

    /// Why control refuses the node; `None` unless it does.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.refusal_mut().clone()
    }

    fn refusal_mut(&self) -> MutexGuard<'_, Option<String>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node follows control through this relay, or over a connection of its own.
    pub(crate) fn goes_through(&self, relay: Option<String>) {
        *self.via.lock().unwrap_or_else(PoisonError::into_inner) = relay;
    }

    /// The relay through which the node follows control.
    pub(crate) fn via(&self) -> Option<String> {
        self.via.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The connection is gone.
    pub(crate) fn parted(&self) {
        self.connected.store(false, Ordering::Release);
    }

    /// The log goes at least up to `head`.
    pub(crate) fn extend(&self, head: Seq) {
        self.head.fetch_max(head, Ordering::Relaxed);
    }

    /// The node has what the log had when it first connected.
    pub(crate) fn caught_up(&self) {
        self.caught_up.store(true, Ordering::Release);
    }

    /// Whether it ever had.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }

    /// Whether control has let the node in, and is still there.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    /// The last seq of the log that the node knows of, in the log's numbers.
    pub(crate) fn head(&self) -> Seq {
        self.head.load(Ordering::Relaxed)
    }

    /// How often control let the node in again.
    pub(crate) fn reconnects(&self) -> u64 {
        self.connections.load(Ordering::Relaxed).saturating_sub(1)
    }
}

/// Where a node stands with the log that it follows. Seqs are the log's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowStatus {
    /// The log; `None` before the first.
    pub log: Option<LogId>,
    /// The last seq applied.
    pub applied: Seq,
    /// The last seq of the log, as far as the node knows.
    pub head: Seq,
    /// Whether control is connected.
    pub connected: bool,
    /// Whether the lease is over.
    pub partitioned: bool,
    /// How often control let the node in again.
    pub reconnects: u64,
    /// Why control refuses the node; `None` unless it does.
    pub refusal: Option<String>,
    /// The relay through which it follows control; `None` over a connection of its own.
    pub via: Option<String>,
}
