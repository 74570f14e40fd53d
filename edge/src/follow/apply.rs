//! What the log says becomes what the node does. All of it happens here, by one task, in order:
//! raise the index, publish the applied seq, then let it be acknowledged (invariant I1).

use crate::exposition::Purged;
use crate::state::{Live, NodeState, Site};
use crate::sweep::Sweeper;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_protocol::frame::Welcomed;
use weir_rules::invalidation::{KeyedPurge, Purge, Seq, SiteUrls};
use weir_rules::log::{Change, Entry, Gap, Position, Standing, Welcome};

/// Seqs above this are no seqs: programs that read numbers as most of JSON's readers do would
/// confuse them.
const HIGHEST: Seq = 1 << 53;

/// Who changes the node as the log says.
pub(crate) struct Applier {
    state: Arc<NodeState>,
    sweeper: Sweeper,
}

impl Applier {
    /// Begins at `place`.
    pub(crate) fn new(state: Arc<NodeState>, sweeper: Sweeper, place: Position) -> Self {
        state.purges.begin(place);
        Self { state, sweeper }
    }

    /// What to tell control.
    pub(super) fn standing(&self) -> Standing {
        self.state.purges.position().standing().clone()
    }

    /// Takes control's welcome; returns the seq up to which everything holds.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn welcome(&self, welcomed: &Welcomed) -> Result<Seq, String> {
        let (place, purges) = (&welcomed.place, &self.state.purges);
        let mut position = purges.position();
        let Welcome { log, after, head, keep, .. } = place;
        if *head > HIGHEST || after > head {
            return Err(format!("a welcome after {after} of a log that ends at {head}"));
        }
        if *keep && (position.log() != Some(log) || *after != position.at()) {
            return Err(format!("a welcome to keep what belongs to {log} after {after}"));
        }
        let floor = position.welcomed(place);
        self.state.releases.replace(&welcomed.releases);
        purges.follow(&position, floor, &welcomed.tier_key);
        if let Some(floor) = floor {
            self.sweeper.refresh();
            if let Some(disk) = &self.state.disk {
                disk.begin_at(floor);
            }
        }
        self.show_disk(&position);
        Ok(position.at())
    }

    /// What was stored on disk before the restart is shown once everything that was completed without
    /// this process is applied (invariant I4).
    fn show_disk(&self, position: &Position) {
        if let Some(disk) = &self.state.disk
            && position.caught_up(self.state.purges.applied())
        {
            disk.show();
        }
    }

    /// Waits until there is room for what the next entry purges, for at most `most`. Nobody is told that
    /// it is applied before.
    pub(super) async fn make_room(&self, entry: &Entry, most: Duration) {
        let purges = &self.state.purges;
        if let Change::Purge(purge) = &entry.change
            && purges.is_crowded()
        {
            let purge = keyed(&self.state.live.load(), purge.clone());
            purges.until_room(&purge, most).await;
        }
    }

    /// Takes the next entry; returns the seq up to which everything holds.
    ///
    /// # Errors
    /// Entries are missing before it.
    pub(super) fn take(&self, entry: Entry) -> Result<Seq, String> {
        let mut position = self.state.purges.position();
        let Entry { seq, mark, change } = entry;
        let gap = |gap: Gap| format!("entry {} came where {} was due", gap.came, gap.due);
        if let Some(own) = position.take(seq, mark).map_err(gap)? {
            match change {
                Change::Purge(purge) => self.purge(Purge { seq: own, ..purge }),
                Change::Release(release) => {
                    self.state.releases.switch(&release);
                    self.state.purges.publish(own);
                }
            }
        }
        self.show_disk(&position);
        Ok(position.at())
    }

    /// Applies a purge under a number of the node's own.
    pub(crate) fn purge(&self, purge: Purge) {
        let purge = keyed(&self.state.live.load(), purge);
        self.state.popular.begin(&purge, Instant::now());
        self.state.purges.apply(&purge);
        self.sweeper.sweep(&purge);
    }

    /// How the sweep and the index bear what is purged.
    pub(crate) fn purged(&self) -> Purged {
        let (waiting, uncounted) = self.sweeper.counts();
        Purged { waiting, uncounted, held: self.state.purges.held() }
    }
}

/// A purge as the sites of this node key it.
fn keyed(live: &Live, purge: Purge) -> KeyedPurge {
    let sites = live.sites.all().iter().map(|site| urls(site));
    KeyedPurge::new(purge, sites, |host| live.sites.of(host).map(|site| urls(site)))
}

fn urls(site: &Site) -> SiteUrls<'_> {
    let config = &site.config;
    SiteUrls { site: &site.id, query: &config.key.query, rules: &config.rules }
}
