//! What must be durable before something is said: a checkpoint before a purge is acknowledged
//! (invariant I4), a removal before an unsafe request is answered.

use super::DiskStore;
use crate::clock::wall;
use crate::store::UrlHash;
use std::sync::atomic::Ordering;
use std::time::Duration;
use weir_rules::log::Position;
use weir_store::{Checkpoint, StoreMoment, StoreRemoved};

/// What unsafe requests removed, on its way to be durable.
#[derive(Debug, Default)]
pub(crate) struct Removal {
    moments: Vec<StoreMoment>,
    is_at_risk: bool,
}

impl Removal {
    fn add(&mut self, removed: StoreRemoved) {
        self.moments.extend(removed.moment);
        self.is_at_risk |= removed.is_at_risk;
    }

    /// This one and another.
    pub(crate) fn and(&mut self, other: Self) {
        self.moments.extend(other.moments);
        self.is_at_risk |= other.is_at_risk;
    }
}

impl DiskStore {
    /// Removes all responses of a URL. Not found from now on; not after a crash either, once
    /// [`DiskStore::settle`] returned.
    pub(crate) fn forget(&self, url: UrlHash) -> Removal {
        let mut removal = Removal::default();
        removal.add(self.store.remove_url(url));
        removal
    }

    /// Waits until what was removed cannot come back. Where that cannot be made sure of by the disk
    /// itself, it is noted in `node.state` that its directories are to be emptied at the next start.
    /// Where that fails too, the answer goes out, and is counted.
    pub(crate) async fn settle(&self, removal: Removal) {
        let durable = self.store.commit(&removal.moments).await;
        if removal.is_at_risk || durable.is_err() {
            let names = self.store.statuses();
            let failed = names.into_iter().filter(|(_, status)| !status.is_working());
            let failed: Vec<_> = failed.map(|(name, _)| name).collect();
            if !self.risk.note(failed).await {
                self.counters.at_risk.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Makes the node's place in the log durable, and with it all removals before. What fails is set
    /// aside: it holds nothing that is found, and is emptied before it is used again.
    pub(crate) async fn keep(&self, place: &Place) {
        let moments = self.store.checkpoint(&self.checkpoint(place));
        // Whoever observes the store tells of it.
        let _set_aside = self.store.commit(&moments).await;
    }

    /// The end: what waits is written, within this time.
    pub(crate) async fn close(&self, place: &Place, wait: Duration) {
        self.keep(place).await;
        let store = std::sync::Arc::clone(&self.store);
        let closed = tokio::task::spawn_blocking(move || store.close(wait)).await;
        for name in closed.unwrap_or_default() {
            tracing::warn!(directory = name, "the disk store could not be closed in time");
        }
    }

    fn checkpoint(&self, place: &Place) -> Checkpoint {
        let checked = self.checked.load(Ordering::Acquire);
        let checked = checked.saturating_sub(place.base).min(place.applied);
        Checkpoint {
            log: place.log.clone(),
            member: place.member.clone(),
            base: place.base,
            applied: place.applied,
            mark: place.mark,
            checked,
            sites: self.lives.load().rules(),
            wall: wall().as_secs(),
        }
    }
}

/// The node's place in the log, as a checkpoint has it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    log: Option<String>,
    member: Option<String>,
    base: u64,
    applied: u64,
    mark: u64,
}

impl From<&Position> for Place {
    /// While the log is replayed, the place is the one from before the restart: what was acknowledged
    /// under it stays acknowledged.
    fn from(position: &Position) -> Self {
        let standing = position.standing();
        Self {
            log: standing.log.as_ref().map(|log| log.0.clone()),
            member: standing.member.clone(),
            base: position.base(),
            applied: standing.applied,
            mark: standing.mark,
        }
    }
}
