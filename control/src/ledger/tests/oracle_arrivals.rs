//! Which of the nodes that an entry expects have applied it: a list for each entry, as control once
//! had it.

use super::Arrival;

/// The arrivals of one entry.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// By name.
    slots: Vec<Slot>,
    /// How many of them have not applied it.
    waiting: usize,
    /// `waiting` was 0.
    completed: bool,
}

#[derive(Debug)]
struct Slot {
    name: String,
    state: SlotState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotState {
    Waiting,
    Applied,
    /// Not applied, but the node's lease is surely over: it validates all it has stored.
    LeaseOver,
}

impl Arrivals {
    /// Of an entry that expects these nodes, who come by name.
    pub(super) fn expecting(nodes: impl Iterator<Item = String>) -> Self {
        let slots: Vec<_> = nodes.map(|name| Slot { name, state: SlotState::Waiting }).collect();
        Self { waiting: slots.len(), slots, completed: false }
    }

    /// Notes that `name` has applied it, where it was expected to.
    pub(super) fn applied(&mut self, name: &str) {
        let Ok(at) = self.find(name) else { return };
        match self.slots[at].state {
            SlotState::Applied => return,
            SlotState::Waiting => self.waiting -= 1,
            SlotState::LeaseOver => {}
        }
        self.slots[at].state = SlotState::Applied;
    }

    /// Waits for `name` no more, whose lease is surely over.
    pub(super) fn lease_over(&mut self, name: &str) {
        let Ok(at) = self.find(name) else { return };
        if self.slots[at].state == SlotState::Waiting {
            self.slots[at].state = SlotState::LeaseOver;
            self.waiting -= 1;
        }
    }

    /// Expects `name` no more, unless it has applied it.
    pub(super) fn forget(&mut self, name: &str) {
        let Ok(at) = self.find(name) else { return };
        if self.slots[at].state == SlotState::Waiting {
            self.slots.remove(at);
            self.waiting -= 1;
        }
    }

    /// Whether it is completed: nobody has yet to apply it, or had at some time.
    pub(super) fn complete(&mut self) -> bool {
        self.completed |= self.waiting == 0;
        self.completed
    }

    /// As it is told; `connected` says whether a node has a session.
    pub(super) fn states(&self, connected: impl Fn(&str) -> bool) -> Vec<(String, Arrival)> {
        let told = |slot: &Slot| {
            let state = match slot.state {
                SlotState::Applied => Arrival::Applied,
                SlotState::LeaseOver => Arrival::LeaseOver,
                SlotState::Waiting if connected(&slot.name) => Arrival::Pending,
                SlotState::Waiting => Arrival::Offline,
            };
            (slot.name.clone(), state)
        };
        self.slots.iter().map(told).collect()
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.slots.binary_search_by(|slot| slot.name.as_str().cmp(name))
    }
}
