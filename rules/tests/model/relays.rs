//! Relays in the model: control, relays, and edges that follow it through them or directly. Relays
//! and edges die, lag and start again from a backup; edges move at any time; control is restored.
//!
//! Nothing is stored here, and no client asks: a node *holds* a purge if nothing that it could
//! answer with is from before it. What is concluded about links, and who may keep what, is
//! concluded by the real rules ([`weir_rules::relay`], [`weir_rules::log`]).

mod control;
mod node;
mod scenes;
mod world;

pub(crate) use scenes::{ALL, FAULTS};

use stateright::{Model, Property};
use world::{Broken, Up, World, relay_entries};

/// How often each thing may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    purges: u8,
    /// Tickets that edges show.
    attaches: u8,
    /// Edges that go to control though nothing is wrong.
    moves: u8,
    /// Relays that lose control.
    cuts: u8,
    /// Nodes that die and start again with what they made durable.
    restarts: u8,
    /// Copies of what a node made durable, and starts from them.
    backups: u8,
    restores: u8,
    /// The same of control.
    control_backups: u8,
    control_restores: u8,
}

/// The rules that are broken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// A relay acknowledges for its edges what it has applied itself.
    relay_acknowledges_first: bool,
    /// Control keeps a relay's attachments when its connection ends.
    attachments_outlive_relay: bool,
    /// A relay keeps its links when its connection to control ends.
    links_outlive_connection: bool,
    /// What a relay says of an edge counts, wherever that edge is attached now.
    counted_at_relay_before: bool,
    /// A relay counts an edge as one of all only when control has attached it.
    link_begins_late: bool,
    /// An edge shows with its ticket what it has received.
    received_counts: bool,
    /// What a node has after a start from a backup may be seen at once.
    visible_at_once: bool,
}

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// Nodes are numbers: first the relays, then the edges.
    pub(crate) relays: usize,
    pub(crate) edges: usize,
    pub(crate) budget: Budget,
    /// Edges die, and start from backups, too.
    pub(crate) edges_die: bool,
    pub(crate) faults: Faults,
}

impl Scene {
    fn relays(&self) -> std::ops::Range<usize> {
        0..self.relays
    }

    fn edges(&self) -> std::ops::Range<usize> {
        self.relays..self.relays + self.edges
    }

    fn nodes(&self) -> std::ops::Range<usize> {
        0..self.relays + self.edges
    }
}

/// One thing that happens. Nodes are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Purge,
    /// A node says hello to control.
    Connect(usize),
    /// The next entry reaches a node.
    Receive(usize),
    /// What an edge has received is durable, and whom it follows hears so.
    Acknowledge(usize),
    /// An edge shows a relay its ticket.
    Show(usize, usize),
    /// An edge hears that it is attached.
    Attached(usize),
    /// A relay sees that an edge is gone.
    Unlink(usize, u64),
    /// A relay says what its edges have applied.
    Say(usize),
    /// Control hears the next thing that a relay says.
    HearUp(usize),
    Cut(usize),
    Restart(usize),
    Backup(usize),
    Restore(usize),
    BackUpControl,
    RestoreControl,
}

impl Scene {
    fn node_actions(&self, world: &World, n: usize, actions: &mut Vec<Action>) {
        let (node, left) = (&world.nodes[n], &world.left);
        if !world.is_connected(n) || (left.moves > 0 && self.edges().contains(&n)) {
            actions.push(Action::Connect(n));
        }
        if world.next_entry(n).is_some() {
            actions.push(Action::Receive(n));
        }
        if left.restarts > 0 && (self.edges_die || self.relays().contains(&n)) {
            actions.push(Action::Restart(n));
        }
        if self.edges_die || self.relays().contains(&n) {
            if left.backups > 0 && left.restores > 0 {
                actions.push(Action::Backup(n));
            }
            if left.restores > 0 && node.saved.is_some() {
                actions.push(Action::Restore(n));
            }
        }
    }

    fn edge_actions(&self, world: &World, n: usize, actions: &mut Vec<Action>) {
        let node = &world.nodes[n];
        if world.is_connected(n) && node.acked != Some(node.position.at()) {
            actions.push(Action::Acknowledge(n));
        }
        let is_direct = world.is_connected(n) && node.via.is_none();
        if is_direct && node.acked.is_some() && node.shown.is_none() && world.left.attaches > 0 {
            actions.extend(self.relays().map(|relay| Action::Show(n, relay)));
        }
        if world.may_hear_attached(n) {
            actions.push(Action::Attached(n));
        }
    }

    fn relay_actions(&self, world: &World, r: usize, actions: &mut Vec<Action>) {
        let relay = &world.relays[r];
        let gone = relay.links.keys().filter(|link| !world.is_wanted(r, **link));
        actions.extend(gone.map(|link| Action::Unlink(r, *link)));
        if world.is_connected(r) {
            if relay.behind.is_news() {
                actions.push(Action::Say(r));
            }
            if !relay.up.is_empty() {
                actions.push(Action::HearUp(r));
            }
            if world.left.cuts > 0 {
                actions.push(Action::Cut(r));
            }
        }
    }

    fn perform(&self, world: &mut World, action: Action) {
        let left = &mut world.left;
        match action {
            Action::Purge => {
                left.purges -= 1;
                world.purge(self);
            }
            Action::Connect(n) => {
                let moves = u8::from(world.is_connected(n));
                world.left.moves -= moves;
                world.connect(n, self);
            }
            Action::Receive(n) => world.receive(n, self),
            Action::Acknowledge(n) => world.acknowledge(n, self),
            Action::Show(n, relay) => {
                left.attaches -= 1;
                world.show(n, relay, self);
            }
            Action::Attached(n) => world.attached(n),
            Action::Unlink(relay, link) => {
                world.relays[relay].drop_link(link);
                world.relays[relay].up.push_back(Up::Unlink(link));
            }
            Action::Say(relay) => world.say(relay),
            Action::HearUp(relay) => world.hear_up(relay, self),
            Action::Cut(relay) => {
                left.cuts -= 1;
                world.part(relay, self);
                world.relay_ends(relay, self);
            }
            Action::Restart(n) => {
                left.restarts -= 1;
                let kept = world.nodes[n].kept.clone();
                world.start(n, kept, self);
            }
            Action::Backup(n) => {
                left.backups -= 1;
                let node = &mut world.nodes[n];
                node.saved = Some(node.kept.clone());
            }
            Action::Restore(n) => {
                left.restores -= 1;
                if let Some(saved) = world.nodes[n].saved.clone() {
                    world.start(n, saved, self);
                }
            }
            Action::BackUpControl => {
                left.control_backups -= 1;
                world.backup = Some(world.log.clone());
            }
            Action::RestoreControl => {
                left.control_restores -= 1;
                world.restore_control(self);
            }
        }
    }
}

impl Model for Scene {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.broken.is_some() {
            return;
        }
        if world.left.purges > 0 {
            actions.push(Action::Purge);
        }
        if world.left.control_backups > 0 && world.left.control_restores > 0 {
            actions.push(Action::BackUpControl);
        }
        if world.left.control_restores > 0 && world.backup.is_some() {
            actions.push(Action::RestoreControl);
        }
        for n in self.nodes() {
            self.node_actions(world, n, actions);
        }
        for n in self.edges() {
            self.edge_actions(world, n, actions);
        }
        for relay in self.relays() {
            self.relay_actions(world, relay, actions);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        self.perform(&mut next, action);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "completed means applied by all that are expected (I5)",
                |_, world: &World| world.broken != Some(Broken::CompletedEarly),
            ),
            Property::always(
                "who may answer from its store holds what was acknowledged or completed (I1, I5)",
                |scene: &Scene, world: &World| {
                    scene.nodes().all(|n| world.holds_its_promises(n, scene))
                },
            ),
            Property::always(
                "who follows shares the log's past, also through a relay (I4)",
                |scene: &Scene, world: &World| scene.nodes().all(|n| world.follows(n)),
            ),
            Property::always(
                "a relay passes on the log, as control has it",
                |scene: &Scene, world: &World| {
                    scene
                        .relays()
                        .all(|relay| !world.is_connected(relay) || relay_entries(world, relay))
                },
            ),
        ]
    }
}
