//! The log as it is published: what of it is durable, and who is there.
//!
//! Invariants: `entries` are consecutive and end with `head`; all of them are durable. Only the
//! writer appends, and adds or removes nodes; sessions tell what their nodes have applied.

use super::behind::Behind;
use super::columns::Columns;
use super::counts::{Bounds, Counts, Propagation};
use super::errors::Forgotten;
use super::leases::Leases;
use super::listed::{Accepted, Listed, Reference};
use super::nodes::{DepartedNode, ExpectedNode, SessionId};
use super::recent::Recent;
use super::sites::SiteList;
use crate::journal::{Base, Contents, JournalError, Life, NodeRecord, SitesRecord};
use crate::sites::ReportedSites;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;
use weir_rules::invalidation::Seq;
use weir_rules::log::{Mark, Reach, Release};

/// How many of the latest entries are kept as they are sent.
const WRITTEN: usize = 256;

#[derive(Debug)]
pub(super) struct PublishedLog {
    pub(super) life: Life,
    pub(super) bounds: Bounds,
    pub(super) head: Seq,
    /// What stands for the entries before the listed ones.
    pub(super) base: Base,
    pub(super) entries: VecDeque<Arc<Listed>>,
    bytes: usize,
    /// Those of them that switch a release.
    releases: VecDeque<Arc<Listed>>,
    /// Purges among them that some node has yet to apply.
    pub(super) open_purges: BTreeMap<Seq, Arc<Listed>>,
    /// Likewise, those that switch a release.
    pub(super) open_releases: BTreeMap<Seq, Arc<Listed>>,
    /// Some of them were completed.
    pub(super) completes: Arc<Notify>,
    /// How the last of them arrived at each node.
    pub(super) recent: Recent,
    /// The columns of `recent`.
    pub(super) columns: Columns,
    /// Of listed entries only, so bounded with them.
    references: HashMap<Reference, Arc<Listed>>,
    // Boxed: half of a tree's room is empty.
    pub(super) nodes: BTreeMap<Arc<str>, Box<ExpectedNode>>,
    /// Nodes that were expected, and applied listed entries; the latest last.
    pub(super) departed: VecDeque<DepartedNode>,
    /// How far the expected nodes have applied everything.
    pub(super) applied: Behind,
    /// Up to where no purge waits for them: that far they have applied everything, or their lease
    /// was over. Without those whose lease is over: nothing waits for them.
    pub(super) settled: Behind,
    /// Up to where what they have on disk was held against the log: without those that have no disk.
    pub(super) checked: Behind,
    /// When it is to be looked whether a lease is over.
    pub(super) leases: Leases,
    /// What they reported of their sites.
    pub(super) reported: Arc<ReportedSites>,
    pub(super) sessions: HashMap<SessionId, Arc<str>>,
    pub(super) last_session: u64,
    pub(super) propagation: Propagation,
    pub(super) unsaved: Unsaved,
}

/// What the journal has yet to be told. None of it was promised to anybody: after a crash nodes
/// tell again what they have applied.
#[derive(Debug, Default)]
pub(super) struct Unsaved {
    /// Entries were forgotten.
    pub(super) base: bool,
    /// Entries whose arrivals changed.
    pub(super) arrivals: BTreeSet<Seq>,
    /// What nodes have applied, or when they were heard.
    pub(super) nodes: bool,
}

impl PublishedLog {
    /// The state that a journal holds.
    ///
    /// # Errors
    /// What it holds cannot have been written by a ledger.
    pub(super) fn restored(
        contents: Contents,
        life: Life,
        bounds: Bounds,
    ) -> Result<Self, JournalError> {
        let now = Accepted::now();
        let Contents { base, entries, arrivals, nodes, sites, .. } = contents;
        let mut state = Self {
            life,
            bounds,
            head: base.seq,
            base,
            entries: VecDeque::new(),
            bytes: 0,
            releases: VecDeque::new(),
            open_purges: BTreeMap::new(),
            open_releases: BTreeMap::new(),
            completes: Arc::default(),
            recent: Recent::default(),
            columns: Columns::default(),
            references: HashMap::new(),
            nodes: BTreeMap::new(),
            departed: VecDeque::new(),
            applied: Behind::default(),
            settled: Behind::default(),
            checked: Behind::default(),
            leases: Leases::default(),
            reported: Arc::default(),
            sessions: HashMap::new(),
            last_session: 0,
            propagation: Propagation::default(),
            unsaved: Unsaved::default(),
        };
        for record in entries {
            let seq = record.entry.seq;
            if seq != state.head + 1 {
                let message = format!("its entry {seq} follows its entry {}", state.head);
                return Err(JournalError::new(message));
            }
            state.list(Arc::new(Listed::restored(record, now)));
        }
        for record in nodes {
            let name: Arc<str> = record.name.as_str().into();
            let node = ExpectedNode::new(record, state.columns.take(), now.at);
            state.nodes.insert(name.clone(), Box::new(node));
            state.hold(&name);
        }
        state.recall(arrivals.into_iter().collect(), now.at);
        for SitesRecord { nodes, sites } in sites {
            let sites: SiteList = sites.into();
            for name in nodes {
                if let Some(node) = state.nodes.get_mut(name.as_str()) {
                    node.sites = Some(sites.clone());
                }
            }
        }
        state.gather_sites();
        state.forget();
        Ok(state)
    }

    /// Lists `listed`, which the journal holds, for the nodes that are expected now.
    pub(super) fn append(&mut self, listed: Arc<Listed>, now: Instant) {
        self.note_leases(now);
        let seq = listed.seq();
        self.list(listed.clone());
        self.recent.push(seq, self.columns.count());
        listed.keep_lines(true);
        if let Some(at) = self.entries.len().checked_sub(WRITTEN + 1) {
            self.entries[at].keep_lines(false);
        }
        let open =
            if listed.purge().is_some() { &mut self.open_purges } else { &mut self.open_releases };
        open.insert(seq, listed);
        // It is not for those whose lease is over, which is kept with the nodes.
        self.unsaved.nodes = true;
        self.complete(now);
        self.forget();
    }

    fn list(&mut self, listed: Arc<Listed>) {
        self.head = listed.seq();
        self.bytes += listed.bytes();
        if let Some(reference) = listed.reference() {
            self.references.insert(reference, listed.clone());
        }
        if listed.release().is_some() {
            self.releases.push_back(listed.clone());
        }
        self.entries.push_back(listed);
    }

    /// Forgets the oldest entries while there are more than the bounds allow: beyond `retention` those
    /// that no disk store needs at its node's next start, beyond `bytes` any. The journal is told
    /// with the next batch, never before: what it holds is at least what is listed here.
    pub(super) fn forget(&mut self) {
        let Bounds { retention, bytes, .. } = self.bounds;
        while self.entries.len() > 1 {
            // A disk that was checked up to an earlier entry is lost already.
            let is_needed = self.checked.is_any_at(self.base.seq);
            let is_over = self.bytes > bytes;
            if !is_over && (is_needed || self.entries.len() <= retention) {
                break;
            }
            if is_needed {
                self.tell_outrun();
            }
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.base.seq = oldest.seq();
            self.base.mark = oldest.entry.mark;
            self.unsaved.base = true;
            self.unsaved.arrivals.remove(&oldest.seq());
            self.open_purges.remove(&oldest.seq());
            self.open_releases.remove(&oldest.seq());
            if self.recent.has(oldest.seq()) {
                self.recent.pop();
            }
            if let Some(release) = oldest.release() {
                self.releases.pop_front();
                put(&mut self.base.releases, release);
            }
            if let Some(reference) = oldest.reference()
                && self.references.get(&reference).is_some_and(|of| of.seq() == oldest.seq())
            {
                self.references.remove(&reference);
            }
        }
        while self.recent.is_over(self.bounds.arrivals) {
            self.sum_up(self.recent.first());
            self.recent.pop();
        }
    }

    /// Tells of the nodes whose disk store needs the oldest entry, which is forgotten.
    fn tell_outrun(&self) {
        for (node, _) in self.nodes.iter().filter(|(_, node)| node.held == Some(self.base.seq)) {
            tracing::warn!(
                %node,
                checked = self.base.seq,
                "the log is larger than control.retention_bytes, and no longer reaches back to what this \
                 node has checked its disk for; should it start again before it has, its disk is emptied"
            );
        }
    }

    pub(super) fn entry(&self, seq: Seq) -> Option<&Arc<Listed>> {
        let at = seq.checked_sub(self.base.seq + 1)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    pub(super) fn mark_of(&self, seq: Seq) -> Option<Mark> {
        self.entry(seq).map(|listed| listed.entry.mark)
    }

    /// The mark of the last entry up to `seq`, which is listed or the last forgotten one.
    pub(super) fn mark_at(&self, seq: Seq) -> Mark {
        self.mark_of(seq).unwrap_or(self.base.mark)
    }

    pub(super) fn reach(&self) -> Reach<'_> {
        Reach {
            log: &self.life.log,
            forgotten: self.base.seq,
            forgotten_mark: self.base.mark,
            head: self.head,
        }
    }

    pub(super) fn referenced(&self, reference: &Reference) -> Option<&Arc<Listed>> {
        self.references.get(reference)
    }

    pub(super) fn after(&self, seq: Seq) -> Result<impl Iterator<Item = &Arc<Listed>>, Forgotten> {
        let Some(passed) = seq.checked_sub(self.base.seq) else {
            return Err(Forgotten { up_to: self.base.seq });
        };
        let passed = usize::try_from(passed).unwrap_or(usize::MAX).min(self.entries.len());
        Ok(self.entries.range(passed..))
    }

    /// Listed entries after `seq`, whatever was forgotten.
    pub(super) fn listed_after(&self, seq: Seq) -> impl Iterator<Item = &Arc<Listed>> {
        let passed = seq.saturating_sub(self.base.seq);
        let passed = usize::try_from(passed).unwrap_or(usize::MAX).min(self.entries.len());
        self.entries.range(passed..)
    }

    /// The releases in force after `seq`, or after the last forgotten entry.
    pub(super) fn releases_at(&self, seq: Seq) -> Vec<Release> {
        let mut releases = self.base.releases.clone();
        let later = self.releases.iter().take_while(|listed| listed.seq() <= seq);
        for release in later.filter_map(|listed| listed.release()) {
            put(&mut releases, release);
        }
        releases
    }

    /// What the journal is to know of the nodes.
    pub(super) fn node_records(&self) -> BTreeMap<String, NodeRecord> {
        let record = |node: &ExpectedNode| NodeRecord {
            excused: node.excused(self.head),
            ..node.record.clone()
        };
        let records = self.nodes.values().map(|node| record(node));
        records.map(|record| (record.name.clone(), record)).collect()
    }

    /// All of it, as a journal would hold it.
    pub(super) fn contents(&self) -> Contents {
        Contents {
            life: Some(self.life.clone()),
            copied: false,
            base: self.base.clone(),
            entries: self.entries.iter().map(|listed| listed.record()).collect(),
            arrivals: self.entries.iter().map(|l| (l.seq(), self.arrivals_record(l))).collect(),
            nodes: self.node_records().into_values().collect(),
            sites: super::sites::records(&self.sites_by_node()),
        }
    }

    /// What is counted, except what the writer counts.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            listed: self.entries.len(),
            bytes: self.bytes + self.recent.bytes(),
            forgotten: self.base.seq,
            incomplete: self.open_purges.len() + self.open_releases.len(),
            waiting: 0,
            nodes: self.nodes.len(),
            connected: self.nodes.values().filter(|node| !node.sessions.is_empty()).count(),
            outrun: self.checked.below(self.base.seq),
            commits: 0,
            failures: 0,
            propagation: self.propagation.clone(),
        }
    }
}

/// One a site, in the order in which sites got their first.
fn put(releases: &mut Vec<Release>, release: &Release) {
    match releases.iter_mut().find(|known| known.site == release.site) {
        Some(known) => *known = release.clone(),
        None => releases.push(release.clone()),
    }
}
