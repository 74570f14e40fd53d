//! What must be durable before something is said: a checkpoint before a purge is acknowledged
//! (invariant I4), a removal before an unsafe request is answered.

use super::DiskStore;
use super::risk::RiskNote;
use crate::clock::wall;
use crate::store::UrlHash;
use std::sync::atomic::Ordering;
use weir_rules::log::Position;
use weir_store::{Checkpoint, Store, StoreMoment, StoreRemoved};

/// What unsafe requests removed, on its way to be durable.
#[derive(Debug, Default)]
pub(crate) struct Removal {
    urls: Vec<UrlHash>,
    moments: Vec<StoreMoment>,
    is_at_risk: bool,
}

impl Removal {
    /// This one and another.
    pub(crate) fn and(&mut self, other: Self) {
        self.urls.extend(other.urls);
        self.moments.extend(other.moments);
        self.is_at_risk |= other.is_at_risk;
    }
}

impl DiskStore {
    /// Removes all responses of a URL. Not found from now on; not after a crash either, once
    /// [`DiskStore::settle`] returned.
    pub(crate) fn forget(&self, url: UrlHash) -> Removal {
        let StoreRemoved { moment, is_at_risk, .. } = self.told(url, || self.store.remove_url(url));
        Removal { urls: vec![url], moments: moment.into_iter().collect(), is_at_risk }
    }

    /// Waits until what was removed cannot come back. Where the disk does not take the removal, it is
    /// noted in `node.state`. Where that fails too, the answer goes out, and is counted.
    pub(crate) async fn settle(&self, removal: Removal) {
        let durable = self.store.commit(&removal.moments).await;
        if (removal.is_at_risk || durable.is_err()) && !self.risk.note(removal.urls).await {
            self.counters.at_risk.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Another process of the node has ended, which had the disk before: what it noted is removed.
    pub(crate) fn other_ended(&self) {
        self.has_notes.store(true, Ordering::Release);
    }

    /// Removes what is noted, if anything may be.
    pub(super) async fn remove_noted(&self) {
        if !self.has_notes.swap(false, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = remove_noted(&self.store, &self.risk).await {
            tracing::warn!(%error, "what was removed cannot be removed from the disk");
        }
    }

    /// Makes the node's place in the log durable, and with it all removals before. What fails is set
    /// aside: it holds nothing that is found, and is emptied before it is used again.
    pub(crate) async fn keep(&self) {
        let checked = self.checked.load(Ordering::Acquire);
        let moments = {
            // Held until it is appended, so that of two the later one lies behind.
            let position = self.purges.position();
            self.store.checkpoint(&self.checkpoint(&position))
        };
        // Whoever observes the store tells of it.
        let _set_aside = self.store.commit(&moments).await;
        self.durably_checked.send_if_modified(|durable| {
            std::mem::replace(durable, checked.max(*durable)) < checked
        });
    }

    /// While the log is replayed, the place is the one from before the restart: what was acknowledged
    /// under it stays acknowledged.
    pub(super) fn checkpoint(&self, position: &Position) -> Checkpoint {
        let (standing, base) = (position.standing(), position.base());
        let checked = self.checked.load(Ordering::Acquire);
        Checkpoint {
            log: standing.log.as_ref().map(|log| log.0.clone()),
            member: standing.member.clone(),
            base,
            applied: standing.applied,
            mark: standing.mark,
            checked: checked.saturating_sub(base).min(standing.applied),
            sites: self.lives.load().rules(),
            // Not less than before: a clock that was set back stays so over further restarts.
            wall: wall().as_secs().max(self.seen),
        }
    }
}

/// Removes from a store what is noted, durably. What a directory holds that is set aside stays noted.
pub(super) async fn remove_noted(store: &Store, risk: &RiskNote) -> std::io::Result<()> {
    let noted = risk.read()?;
    if noted.is_empty() {
        return Ok(());
    }
    if noted.all {
        // It is emptied by a thread of the store; until then nothing of it is found. The note stays, so
        // that it is emptied at the next start should it not come to that.
        store.statuses().iter().for_each(|(name, _)| store.clear(name));
        return Ok(());
    }
    let removed: Vec<_> = noted.urls.iter().map(|url| store.remove_url(*url)).collect();
    let moments: Vec<_> = removed.iter().filter_map(|removed| removed.moment).collect();
    let durable = store.commit(&moments).await;
    if durable.is_ok() && !removed.iter().any(|removed| removed.is_at_risk) {
        risk.clear(&noted)?;
    }
    Ok(())
}
