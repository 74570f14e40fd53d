//! What is asked of the history, and how it is added up.

use super::super::counters::{Counters, ORIGIN};
use super::super::numbers;
use super::answer::{Answer, Group, Names, Point};
use super::level::{SeriesId, Step};
use super::series::Series;
use super::{Kept, LEVELS};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use weir_rules::tier::Tier;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// Seconds since 1970 of the first step.
    pub(crate) from: u64,
    /// Seconds since 1970 before which the last step begins.
    pub(crate) to: u64,
    /// Seconds of a step.
    pub(crate) step: u64,
    /// The sites that the caller may see; all where none is named.
    pub(crate) sites: &'a [String],
    /// Of this site only.
    pub(crate) site: Option<&'a str>,
    /// Of this node only.
    pub(crate) node: Option<&'a str>,
    /// Of this tier only.
    pub(crate) tier: Option<Tier>,
    /// Totals of each of these, too.
    pub(crate) by: Option<By>,
}

/// What totals are told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Node,
    Tier,
    Site,
}

/// What of a series' counts belongs to a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    All,
    /// It is told that nodes were heard, and no count.
    Heard,
    /// Requests to origins only, whichever tier sends them.
    Origin,
}

impl Part {
    fn of(self, counters: &Counters) -> Counters {
        match self {
            Self::All => *counters,
            Self::Heard => Counters::default(),
            Self::Origin => {
                let mut origin = Counters::default();
                origin.0[ORIGIN] = counters.0[ORIGIN];
                origin
            }
        }
    }
}

impl Question<'_> {
    fn sees(&self, site: &str) -> bool {
        let may = self.sites.is_empty() || self.sites.iter().any(|known| known == site);
        may && self.site.is_none_or(|asked| asked == site)
    }

    /// What of a series is part of points and totals: without a node or a tier that of edges, which clients ask.
    fn part(&self, series: &Series) -> Option<Part> {
        let sees = self.sees(&series.site);
        let is_meant = match (self.node, self.tier) {
            (None, None) => series.tier == Tier::Edge,
            (node, tier) => {
                node.is_none_or(|node| series.node.as_deref() == Some(node))
                    && tier.is_none_or(|tier| series.tier == tier)
            }
        };
        match is_meant {
            true if sees => Some(Part::All),
            true if series.site.is_empty() => Some(Part::Heard),
            false if sees && self.node.is_none() && self.tier.is_none() => Some(Part::Origin),
            _ => None,
        }
    }

    /// The group that a series belongs to, and what of it.
    fn group(&self, series: &Series) -> Option<(Names, Part)> {
        let part = match self.by? {
            By::Site => self.part(series)?,
            // Each for itself, also where points and totals are those of edges.
            By::Node | By::Tier => {
                let tier = self.tier.or(Some(series.tier));
                Question { tier, ..*self }.part(series)?
            }
        };
        let mut group = Names::default();
        match self.by? {
            By::Site if part == Part::Heard => return None,
            By::Site => group.site = Some(series.site.clone()),
            By::Tier => group.tier = Some(series.tier),
            By::Node => {
                (group.node, group.tier) = (Some(series.node.clone()?), Some(series.tier));
            }
        }
        Some((group, part))
    }
}

/// Where a series is counted to: to points and totals, and to a group, by its place.
type Place = (Option<Part>, Option<(usize, Part)>);

/// What an answer needs of the history.
pub(super) struct Gathered {
    parts: HashMap<SeriesId, Place>,
    groups: Vec<Group>,
    /// Seconds of a step.
    step: u64,
    steps: Vec<Step>,
    begins: Option<u64>,
    complete: u64,
}

impl Gathered {
    pub(super) fn of(kept: &Kept, question: &Question<'_>) -> Self {
        let mut groups: BTreeMap<Names, usize> = BTreeMap::new();
        let mut parts = HashMap::new();
        for (id, series) in kept.table.all() {
            let group = question.group(series).map(|(group, part)| {
                let next = groups.len();
                (*groups.entry(group).or_insert(next), part)
            });
            let part = question.part(series);
            if part.is_some() || group.is_some() {
                parts.insert(id, (part, group));
            }
        }
        // They are counted by number, and told by name.
        let mut places = vec![0; groups.len()];
        for (place, number) in groups.values().enumerate() {
            places[*number] = place;
        }
        for (_, group) in parts.values_mut() {
            let group: &mut Option<(usize, Part)> = group;
            if let Some((number, _)) = group {
                *number = places[*number];
            }
        }
        let groups = groups.into_keys().map(Group::of).collect();
        let at = LEVELS.iter().rposition(|(step, _)| *step <= question.step).unwrap_or_default();
        let level = &kept.levels[at];
        let range = question.from..question.to;
        let within = |step: &&Step| range.contains(&(step.number * level.step));
        Self {
            parts,
            groups,
            step: level.step,
            steps: level.steps().filter(within).cloned().collect(),
            begins: level.steps().next().map(|step| step.number * level.step),
            complete: kept.complete,
        }
    }

    pub(super) fn answer(mut self, question: &Question<'_>) -> Answer {
        let mut points: BTreeMap<u64, Counters> = BTreeMap::new();
        let mut total = Counters::default();
        for step in std::mem::take(&mut self.steps) {
            let begin = step.number * self.step / question.step * question.step;
            let counted = self.count(&step.rows);
            if let Some(counted) = counted.0 {
                let point = points.entry(begin).or_default();
                *point = point.plus(&counted);
            }
            total = total.plus(&counted.0.unwrap_or_default()).plus(&counted.1);
            if let Some(point) = points.get_mut(&begin) {
                *point = point.plus(&counted.1);
            }
        }
        let points = points.into_iter().map(|(begin, counters)| {
            let end = (begin + question.step).min(self.complete);
            Point { begin, seconds: end.saturating_sub(begin).max(1), counters }
        });
        Answer {
            from: question.from,
            to: question.to,
            step: question.step,
            begins: self.begins,
            points: points.collect(),
            total,
            groups: question.by.map(|_| self.groups),
        }
    }

    /// What the rows of a step are together, if anybody was heard, and what was asked of origins besides; counts
    /// them to their groups.
    fn count(&mut self, rows: &Arc<[u8]>) -> (Option<Counters>, Counters) {
        let (mut rest, mut sum, mut origin) = (&**rows, None, Counters::default());
        while let Some(series) = numbers::read(&mut rest) {
            let Some(counters) = Counters::read(&mut rest) else { break };
            let Some((part, group)) = self.parts.get(&series) else { continue };
            match part {
                Some(Part::Origin) => origin = origin.plus(&Part::Origin.of(&counters)),
                Some(part) => {
                    let known: Counters = sum.unwrap_or_default();
                    sum = Some(known.plus(&part.of(&counters)));
                }
                None => {}
            }
            if let Some((at, part)) = group {
                let group = &mut self.groups[*at];
                group.counters = group.counters.plus(&part.of(&counters));
                group.was_heard = true;
            }
        }
        (sum, origin)
    }
}
