//! One lease, of a node that validates once it is over: lines may be on their way for any time, in
//! both directions. Control calls purges completed without the node once the lease is surely over.

use super::explore;
use stateright::{Model, Property};
use std::collections::VecDeque;
use std::time::Duration;
use weir_rules::lease::{Spoken, is_surely_over};
use weir_rules::time::Time;

const LEASE: Duration = Duration::from_secs(8);

/// Seconds of a step of the clock, and how long a scene goes on.
const STEP: u64 = 4;
const END: u64 = 24;

/// Lines on their way in one direction.
const MOST_LINES: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The lease is renewed as of a frame's receipt.
    AsOfReceipt,
    /// The node answers, and control counts what it has sent, not what it has heard.
    CountsSent,
    /// Control takes the lease for over as soon as it has lasted so long by its own clock.
    NoLeeway,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    now: u64,
    /// The node's clock is behind by so much of each step: it runs slower, within the leeway.
    renewed: Option<u64>,
    said: Vec<u64>,
    to_control: usize,
    heard: u64,
    heard_at: u64,
    sent: u64,
    to_node: VecDeque<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Say,
    Hear,
    Beat,
    Receive,
    Pass,
}

#[derive(Clone, Copy, Debug)]
struct Leases {
    fault: Fault,
    /// Whether the node's clock is an eighth slower than control's.
    slow: bool,
}

impl Leases {
    /// The node's clock, milliseconds.
    fn clock(&self, now: u64) -> u64 {
        let millis = now * 1000;
        if self.slow { millis - millis / 9 } else { millis }
    }

    /// When the node said what control heard, by the real rule.
    fn said(&self, world: &World, heard: u64) -> Option<u64> {
        let mut spoken = Spoken::hello(Time::from_millis(0));
        for at in &world.said {
            spoken.alive(Time::from_millis(*at));
        }
        spoken.heard(heard).map(|at| at.as_millis())
    }

    fn is_over_at_node(&self, world: &World) -> bool {
        let lease = LEASE.as_millis() as u64;
        world.renewed.is_none_or(|renewed| self.clock(world.now) > renewed + lease)
    }

    fn is_over_at_control(&self, world: &World) -> bool {
        let silence = Duration::from_secs(world.now - world.heard_at);
        match self.fault {
            Fault::NoLeeway => silence > LEASE,
            _ => is_surely_over(LEASE, silence),
        }
    }
}

impl Model for Leases {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            now: 0,
            renewed: Some(0),
            said: vec![],
            to_control: 0,
            heard: 0,
            heard_at: 0,
            sent: 0,
            to_node: VecDeque::new(),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.now < END {
            actions.push(Action::Pass);
        }
        if world.to_control < MOST_LINES && world.said.len() < 2 {
            actions.push(Action::Say);
        }
        if world.to_control > 0 {
            actions.push(Action::Hear);
        }
        if world.to_node.len() < MOST_LINES && world.sent < 3 {
            actions.push(Action::Beat);
        }
        if !world.to_node.is_empty() {
            actions.push(Action::Receive);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        match action {
            Action::Pass => next.now += if self.slow { STEP / 4 } else { STEP },
            Action::Say => {
                next.said.push(self.clock(next.now));
                next.to_control += 1;
            }
            Action::Hear => {
                next.to_control -= 1;
                next.heard += 1;
                next.heard_at = next.now;
            }
            Action::Beat => {
                next.sent += 1;
                let counted = if self.fault == Fault::CountsSent { next.sent } else { next.heard };
                next.to_node.push_back(counted);
            }
            Action::Receive => {
                let counted = next.to_node.pop_front()?;
                let said = match self.fault {
                    Fault::AsOfReceipt => Some(self.clock(next.now)),
                    _ => self.said(&next, counted),
                };
                next.renewed = said.max(next.renewed);
            }
        }
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(
            "what is surely over is over (I5)",
            |model: &Leases, world: &World| {
                !model.is_over_at_control(world) || model.is_over_at_node(world)
            },
        )]
    }

    fn within_boundary(&self, world: &World) -> bool {
        // A slow clock needs finer steps, so less of everything else.
        !self.slow || (world.said.len() <= 1 && world.sent <= 1 && world.now <= 14)
    }
}

#[test]
fn a_lease_that_is_surely_over_is_over_however_late_lines_come() {
    for slow in [false, true] {
        let (states, found) = explore(Leases { fault: Fault::None, slow });
        println!("{states} states");
        assert!(found.is_none(), "{}", found.unwrap_or_default());
    }
}

#[test]
fn every_broken_rule_is_found_out() {
    for (fault, slow) in
        [(Fault::AsOfReceipt, false), (Fault::CountsSent, false), (Fault::NoLeeway, true)]
    {
        let (states, found) = explore(Leases { fault, slow });
        println!("{fault:?}: {} after {states} states", found.is_some());
        assert!(found.is_some(), "{fault:?} is not found in {states} states");
    }
}
