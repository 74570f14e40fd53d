//! Which of the nodes that an entry expects have applied it, and when.

use super::progress::{Arrival, NodeProgress, Progress};
use crate::journal::{ArrivalRecord, ArrivalsRecord, LeaseOverRecord};
use std::sync::Arc;
use std::time::Duration;
use weir_rules::tier::Tier;

/// The arrivals of one entry.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// By name.
    slots: Vec<Slot>,
    /// How many of them have not applied it.
    waiting: usize,
    /// From acceptance until `waiting` was 0.
    completed: Option<Duration>,
}

#[derive(Debug)]
struct Slot {
    name: Arc<str>,
    tier: Tier,
    state: SlotState,
    matched: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotState {
    Waiting,
    /// The time is not known where it was applied while control was away.
    Applied(Option<Duration>),
    /// Not applied, but the node's lease is surely over: it validates all it has stored.
    LeaseOver,
}

impl Arrivals {
    /// Of an entry that expects these nodes, who come by name.
    pub(super) fn expecting(nodes: impl Iterator<Item = (Arc<str>, Tier)>) -> Self {
        let slots: Vec<_> = nodes
            .map(|(name, tier)| Slot { name, tier, state: SlotState::Waiting, matched: None })
            .collect();
        Self { waiting: slots.len(), slots, completed: None }
    }

    /// As the journal has them, of an entry that still expects `nodes`, each of which has applied
    /// it or not. `age` is the entry's.
    pub(super) fn restored(
        record: ArrivalsRecord,
        nodes: impl Iterator<Item = (Arc<str>, Tier, bool)>,
        age: Duration,
    ) -> Self {
        let known = record.nodes.into_iter().map(|known| Slot {
            name: known.name.into(),
            tier: known.tier,
            state: SlotState::Applied(known.applied_us.map(Duration::from_micros)),
            matched: known.matched,
        });
        let over = record.lease_over.into_iter().map(|over| Slot {
            name: over.name.into(),
            tier: over.tier,
            state: SlotState::LeaseOver,
            matched: None,
        });
        let slots = known.chain(over).collect();
        let mut arrivals = Self { slots, waiting: 0, completed: None };
        arrivals.slots.sort_by(|a, b| a.name.cmp(&b.name));
        for (name, tier, applied) in nodes {
            let at = match arrivals.find(&name) {
                Err(at) => at,
                Ok(at) => {
                    if applied && arrivals.slots[at].state == SlotState::LeaseOver {
                        arrivals.slots[at].state = SlotState::Applied(None);
                    }
                    continue;
                }
            };
            let state = if applied { SlotState::Applied(None) } else { SlotState::Waiting };
            arrivals.waiting += usize::from(!applied);
            arrivals.slots.insert(at, Slot { name, tier, state, matched: None });
        }
        if arrivals.waiting == 0 {
            arrivals.completed = Some(record.completed_us.map_or(age, Duration::from_micros));
        }
        arrivals
    }

    /// As the journal keeps them.
    pub(super) fn record(&self) -> ArrivalsRecord {
        let applied = self.slots.iter().filter_map(|slot| match slot.state {
            SlotState::Waiting | SlotState::LeaseOver => None,
            SlotState::Applied(took) => Some(ArrivalRecord {
                name: slot.name.to_string(),
                tier: slot.tier,
                applied_us: took.map(micros),
                matched: slot.matched,
            }),
        });
        let over = self.slots.iter().filter(|slot| slot.state == SlotState::LeaseOver);
        let over =
            over.map(|slot| LeaseOverRecord { name: slot.name.to_string(), tier: slot.tier });
        ArrivalsRecord {
            completed_us: self.completed.map(micros),
            nodes: applied.collect(),
            lease_over: over.collect(),
        }
    }

    /// Notes that `name` has applied it; `false` where that was known, or was not expected.
    pub(super) fn applied(&mut self, name: &str, took: Option<Duration>) -> bool {
        let Ok(at) = self.find(name) else { return false };
        match self.slots[at].state {
            SlotState::Applied(_) => return false,
            SlotState::Waiting => self.waiting -= 1,
            SlotState::LeaseOver => {}
        }
        self.slots[at].state = SlotState::Applied(took);
        true
    }

    /// Waits for `name` no more, whose lease is surely over; `false` where nothing changed.
    pub(super) fn lease_over(&mut self, name: &str) -> bool {
        let Ok(at) = self.find(name) else { return false };
        if self.slots[at].state != SlotState::Waiting {
            return false;
        }
        self.slots[at].state = SlotState::LeaseOver;
        self.waiting -= 1;
        true
    }

    /// Notes how many stored responses it took on `name`; `false` where that was known, or was not
    /// expected.
    pub(super) fn matched(&mut self, name: &str, count: u64) -> bool {
        let Ok(at) = self.find(name) else { return false };
        let known = self.slots[at].matched.replace(count);
        known != Some(count)
    }

    /// Expects `name` no more, unless it has applied it; `false` where nothing changed.
    pub(super) fn forget(&mut self, name: &str) -> bool {
        let Ok(at) = self.find(name) else { return false };
        if self.slots[at].state != SlotState::Waiting {
            return false;
        }
        self.slots.remove(at);
        self.waiting -= 1;
        true
    }

    /// Completes it where nobody has yet to apply it; whether it is completed.
    pub(super) fn complete(&mut self, took: Duration) -> bool {
        if self.waiting == 0 && self.completed.is_none() {
            self.completed = Some(took);
        }
        self.completed.is_some()
    }

    /// As it is told; `connected` says whether a node has a session.
    pub(super) fn progress(&self, connected: impl Fn(&str) -> bool) -> Progress {
        let told = |slot: &Slot| {
            let (state, applied) = match slot.state {
                SlotState::Applied(took) => (Arrival::Applied, took),
                SlotState::LeaseOver => (Arrival::LeaseOver, None),
                SlotState::Waiting if connected(&slot.name) => (Arrival::Pending, None),
                SlotState::Waiting => (Arrival::Offline, None),
            };
            let name = slot.name.to_string();
            NodeProgress { name, tier: slot.tier, state, applied, matched: slot.matched }
        };
        Progress { nodes: self.slots.iter().map(told).collect(), completed: self.completed }
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.slots.binary_search_by(|slot| (*slot.name).cmp(name))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
