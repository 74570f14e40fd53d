//! The log as it is published: what of it is durable, and who is there.
//!
//! Invariants: `entries` are consecutive and end with `head`; all of them are durable. Only the
//! writer appends, and adds or removes nodes; sessions tell what their nodes have applied.

use super::arrivals::Arrivals;
use super::counts::{Bounds, Counts, Propagation};
use super::errors::Forgotten;
use super::listed::{Accepted, Listed, Reference};
use super::nodes::{ExpectedNode, SessionId, is_expected_at};
use super::sites::SiteList;
use crate::journal::{ArrivalsRecord, Base, Contents, JournalError, Life, NodeRecord, SitesRecord};
use crate::sites::ReportedSites;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use weir_rules::invalidation::Seq;
use weir_rules::log::{Mark, Reach, Release};

#[derive(Debug)]
pub(super) struct PublishedLog {
    pub(super) life: Life,
    pub(super) bounds: Bounds,
    pub(super) head: Seq,
    /// What stands for the entries before the listed ones.
    pub(super) base: Base,
    entries: VecDeque<Arc<Listed>>,
    bytes: usize,
    /// Those of them that switch a release.
    releases: VecDeque<Arc<Listed>>,
    /// Those of them that some node has yet to apply.
    pub(super) incomplete: BTreeMap<Seq, Arc<Listed>>,
    /// Of listed entries only, so bounded with them.
    references: HashMap<Reference, Arc<Listed>>,
    pub(super) nodes: BTreeMap<Arc<str>, ExpectedNode>,
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
        let mut arrivals: HashMap<Seq, ArrivalsRecord> = arrivals.into_iter().collect();
        let nodes = nodes.into_iter().map(|record| {
            let name: Arc<str> = record.name.as_str().into();
            (name, ExpectedNode::new(record, now.at))
        });
        let mut state = Self {
            life,
            bounds,
            head: base.seq,
            base,
            entries: VecDeque::new(),
            bytes: 0,
            releases: VecDeque::new(),
            incomplete: BTreeMap::new(),
            references: HashMap::new(),
            nodes: nodes.collect(),
            reported: Arc::default(),
            sessions: HashMap::new(),
            last_session: 0,
            propagation: Propagation::default(),
            unsaved: Unsaved::default(),
        };
        for SitesRecord { nodes, sites } in sites {
            let sites: SiteList = sites.into();
            for name in nodes {
                if let Some(node) = state.nodes.get_mut(name.as_str()) {
                    node.sites = Some(sites.clone());
                }
            }
        }
        state.gather_sites();
        for record in entries {
            let seq = record.entry.seq;
            if seq != state.head + 1 {
                let message = format!("its entry {seq} follows its entry {}", state.head);
                return Err(JournalError::new(message));
            }
            let expected = state.nodes.iter().filter(|(_, node)| node.is_expected_at(seq));
            let expected = expected
                .map(|(name, node)| (name.clone(), node.record.tier, node.record.applied >= seq));
            let created = std::time::Duration::from_millis(record.created_ms);
            let age = now.wall.duration_since(std::time::SystemTime::UNIX_EPOCH + created);
            let known = arrivals.remove(&seq).unwrap_or_default();
            let arrived = Arrivals::restored(known, expected, age.unwrap_or_default());
            state.append(Arc::new(Listed::restored(record, now, arrived)), now.at);
        }
        Ok(state)
    }

    /// Lists `listed`, which the journal holds.
    pub(super) fn append(&mut self, listed: Arc<Listed>, now: Instant) {
        self.head = listed.seq();
        self.bytes += listed.bytes();
        if let Some(reference) = listed.reference() {
            self.references.insert(reference, listed.clone());
        }
        if listed.release().is_some() {
            self.releases.push_back(listed.clone());
        }
        if listed.purge().is_some() {
            let over = self.nodes.iter().filter(|(_, node)| node.is_lease_over(now));
            for (name, _) in over {
                listed.arrivals().lease_over(name);
            }
        }
        if !listed.arrivals().complete(listed.elapsed(now)) {
            self.incomplete.insert(listed.seq(), listed.clone());
        }
        self.entries.push_back(listed);
        self.forget();
    }

    /// Forgets the oldest entries while there are more than the bounds allow. The journal is told
    /// with the next batch, never before: what it holds is at least what is listed here.
    pub(super) fn forget(&mut self) {
        let Bounds { retention, bytes, .. } = self.bounds;
        while self.entries.len() > 1
            && (self.entries.len() > retention || self.bytes > bytes)
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.bytes();
            self.base.seq = oldest.seq();
            self.base.mark = oldest.entry.mark;
            self.unsaved.base = true;
            self.unsaved.arrivals.remove(&oldest.seq());
            self.incomplete.remove(&oldest.seq());
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
        let records = self.nodes.values().map(|node| node.record.clone());
        records.map(|record| (record.name.clone(), record)).collect()
    }

    /// All of it, as a journal would hold it.
    pub(super) fn contents(&self) -> Contents {
        Contents {
            life: Some(self.life.clone()),
            copied: false,
            base: self.base.clone(),
            entries: self.entries.iter().map(|listed| listed.record()).collect(),
            arrivals: self.entries.iter().map(|l| (l.seq(), l.arrivals_record())).collect(),
            nodes: self.node_records().into_values().collect(),
            sites: super::sites::records(&self.sites_by_node()),
        }
    }

    /// What is counted, except what the writer counts.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            listed: self.entries.len(),
            bytes: self.bytes,
            forgotten: self.base.seq,
            incomplete: self.incomplete.len(),
            waiting: 0,
            nodes: self.nodes.len(),
            connected: self.nodes.values().filter(|node| !node.sessions.is_empty()).count(),
            commits: 0,
            failures: 0,
            propagation: self.propagation.clone(),
        }
    }
}

/// Arrivals of an entry that `nodes` are to apply.
pub(super) fn expecting<'a>(nodes: impl Iterator<Item = &'a NodeRecord>, seq: Seq) -> Arrivals {
    let expected = nodes.filter(|record| is_expected_at(record, seq));
    Arrivals::expecting(expected.map(|record| (record.name.as_str().into(), record.tier)))
}

/// One a site, in the order in which sites got their first.
fn put(releases: &mut Vec<Release>, release: &Release) {
    match releases.iter_mut().find(|known| known.site == release.site) {
        Some(known) => *known = release.clone(),
        None => releases.push(release.clone()),
    }
}
