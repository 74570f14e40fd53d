//! What counts are told apart by: node, tier and site.

use super::level::SeriesId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use weir_rules::tier::Tier;

/// Whose counts they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    /// `None`: of all nodes of the tier together.
    pub(super) node: Option<Arc<str>>,
    pub(super) tier: Tier,
    /// Empty: of no site, and of sites that their node does not count by themselves. Each node that was heard has
    /// one of these, be it without a count.
    pub(super) site: Arc<str>,
}

/// All series that something was counted of.
#[derive(Debug, Default)]
pub(super) struct Table {
    by_id: BTreeMap<SeriesId, Series>,
    ids: BTreeMap<Series, SeriesId>,
    /// Ids are not used again.
    next: SeriesId,
}

impl Table {
    /// The id of a series; a new one where there are fewer than `most`.
    pub(super) fn id(&mut self, series: &Series, most: usize) -> Option<SeriesId> {
        if let Some(id) = self.ids.get(series) {
            return Some(*id);
        }
        if self.by_id.len() >= most {
            return None;
        }
        self.put(self.next, series.clone());
        Some(self.next - 1)
    }

    /// The series in which the nodes of this one's tier are counted together. It takes its place also where there
    /// is none: there are two for each site at most.
    pub(super) fn whole(&mut self, id: SeriesId) -> SeriesId {
        let Some(series) = self.by_id.get(&id) else { return id };
        let whole = Series { node: None, ..series.clone() };
        self.id(&whole, usize::MAX).unwrap_or(id)
    }

    /// Puts a series back that was written down.
    pub(super) fn put(&mut self, id: SeriesId, series: Series) {
        self.next = self.next.max(id + 1);
        self.ids.insert(series.clone(), id);
        self.by_id.insert(id, series);
    }

    /// Forgets series without any of these ids.
    pub(super) fn retain(&mut self, used: &BTreeSet<SeriesId>) {
        self.by_id.retain(|id, _| used.contains(id));
        self.ids.retain(|_, id| used.contains(id));
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = (SeriesId, &Series)> {
        self.by_id.iter().map(|(id, series)| (*id, series))
    }

    pub(super) fn has(&self, id: SeriesId) -> bool {
        self.by_id.contains_key(&id)
    }
}
