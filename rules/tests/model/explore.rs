//! What may happen next, and what must hold meanwhile.

use crate::scene::{Kind, Scene};
use crate::world::{Broken, PARENT, Place, World, order};
use stateright::{Model, Property};

/// One thing that happens. Nodes and slots are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    PlaceOrder,
    RepeatOrder(u8),
    Append,
    Sync,
    Publish,
    CrashControl,
    Backup,
    Restore,
    Wipe,
    Compact,
    Forget(usize),
    Connect(usize),
    Cut(usize),
    Receive(usize),
    ApplyStep(usize),
    Request(usize),
    RequestAlone(usize),
    EndLookup(usize),
    ReachParent(usize, usize),
    Land(usize, usize),
    Lose(usize, usize),
    Restart(usize),
    Expire(usize),
    Sweep(usize),
    /// Of tags, or of all else.
    Overflow(usize, bool),
    Head(usize),
    Beat(usize),
    LeasePasses,
}

impl Scene {
    fn control_actions(&self, world: &World, actions: &mut Vec<Action>) {
        let (control, left) = (&world.control, &world.left);
        let ledger = &control.ledger;
        if usize::from(world.placed) < self.orders.len() {
            actions.push(Action::PlaceOrder);
        }
        if left.restores > 0 && control.backup.is_some() {
            actions.push(Action::Restore);
        }
        if left.wipes > 0 {
            actions.push(Action::Wipe);
        }
        let unanswered = |number: &u8| {
            (world.answered | world.thrown_away | control.waiting) & order(*number) == 0
        };
        let on_its_way = |number: &u8| {
            (control.published + 1..=ledger.head())
                .any(|seq| ledger.entry(seq).is_some_and(|entry| entry.order == *number))
        };
        let repeated = (0..world.placed).filter(unanswered).filter(|number| !on_its_way(number));
        actions.extend(repeated.map(Action::RepeatOrder));
        if control.waiting != 0 {
            actions.push(Action::Append);
        }
        if control.synced < ledger.head() {
            actions.push(Action::Sync);
        }
        let ready = if self.faults.answer_before_fsync { ledger.head() } else { control.synced };
        if control.published < ready {
            actions.push(Action::Publish);
        }
        if left.crashes > 0 {
            actions.push(Action::CrashControl);
        }
        if left.leases > 0 {
            actions.push(Action::LeasePasses);
        }
        if left.backups > 0 && left.restores > 0 {
            actions.push(Action::Backup);
        }
        if left.compactions > 0 && control.published > ledger.forgotten {
            actions.push(Action::Compact);
        }
        for node in self.nodes() {
            let name = self.name_of(node);
            let held = self.nodes().any(|n| self.name_of(n) == name && world.nodes[n].connected);
            if !held {
                actions.push(Action::Connect(node));
                if left.forgets > 0 && name == node && world.nodes[node].counted {
                    actions.push(Action::Forget(name));
                }
            }
        }
    }

    fn node_actions(&self, world: &World, n: usize, actions: &mut Vec<Action>) {
        let (node, left) = (&world.nodes[n], &world.left);
        if node.applying.is_some() {
            actions.push(Action::ApplyStep(n));
        } else if node.connected && node.position.at() < world.control.published {
            actions.push(Action::Receive(n));
        }
        if node.connected && left.beats > 0 {
            actions.push(Action::Beat(n));
        }
        if node.connected && left.cuts > 0 {
            actions.push(Action::Cut(n));
        }
        if left.restarts > 0 && node.position.log().is_some() {
            actions.push(Action::Restart(n));
        }
        if left.expiries > 0 && node.stored.is_some_and(|stored| !stored.stale) {
            actions.push(Action::Expire(n));
        }
        if left.sweeps > 0 && node.applying.is_none() {
            actions.push(Action::Sweep(n));
        }
        if left.overflows > 0 && node.applying.is_none() {
            actions.push(Action::Overflow(n, false));
            if self.orders.contains(&Kind::Tag) {
                actions.push(Action::Overflow(n, true));
            }
        }
        if left.heads > 0 && node.stored.is_some() {
            actions.push(Action::Head(n));
        }
        if n != PARENT {
            self.request_actions(world, n, actions);
        }
        for (slot, fill) in node.fills.iter().enumerate() {
            let Some(fill) = fill else { continue };
            match fill.place {
                // A parent that is behind may as well wait: then nothing happens now.
                Place::ToParent => actions.push(Action::ReachParent(n, slot)),
                Place::AtParent(_) => {}
                _ => actions.push(Action::Land(n, slot)),
            }
            if left.losses > 0 && n != PARENT {
                actions.push(Action::Lose(n, slot));
            }
        }
    }

    fn request_actions(&self, world: &World, n: usize, actions: &mut Vec<Action>) {
        if world.nodes[n].looking.is_some() {
            actions.push(Action::EndLookup(n));
        } else if world.left.requests > 0 {
            actions.push(Action::Request(n));
            if self.alone {
                actions.push(Action::RequestAlone(n));
            }
        }
    }

    fn perform(&self, world: &mut World, action: Action) {
        let left = &mut world.left;
        match action {
            Action::PlaceOrder => world.place_order(self),
            Action::RepeatOrder(number) => world.repeat_order(self, number),
            Action::Append => world.append(),
            Action::Sync => world.sync(),
            Action::Publish => world.publish(self),
            Action::CrashControl => {
                left.crashes -= 1;
                world.crash_control(self);
            }
            Action::Backup => {
                left.backups -= 1;
                // What a crash would leave.
                let mut copy = world.clone();
                copy.crash_control(self);
                world.control.backup = Some(copy.control.ledger);
            }
            Action::Restore => {
                left.restores -= 1;
                let ledger = world.control.backup.clone();
                world.replace_ledger(ledger, self);
            }
            Action::Wipe => {
                left.wipes -= 1;
                world.replace_ledger(None, self);
            }
            Action::Compact => {
                left.compactions -= 1;
                world.compact();
            }
            Action::Forget(name) => {
                left.forgets -= 1;
                world.forget(name, self);
            }
            Action::Connect(n) => world.connect(n, self),
            Action::Cut(n) => {
                left.cuts -= 1;
                world.cut(n);
            }
            Action::Receive(n) => world.receive(n, self),
            Action::ApplyStep(n) => world.apply_step(n, self),
            Action::Request(n) => {
                left.requests -= 1;
                if self.steps {
                    world.begin_lookup(n, self);
                } else {
                    world.request(n, self);
                }
            }
            Action::RequestAlone(n) => {
                left.requests -= 1;
                world.request_alone(n, self);
            }
            Action::EndLookup(n) => world.end_lookup(n, self),
            Action::ReachParent(n, slot) => world.reach_parent(n, slot, self),
            Action::Land(n, slot) => world.land(n, slot, self),
            Action::Lose(n, slot) => {
                left.losses -= 1;
                world.lose(n, slot);
            }
            Action::Restart(n) => {
                left.restarts -= 1;
                world.restart(n, self);
            }
            Action::Expire(n) => {
                left.expiries -= 1;
                if let Some(stored) = &mut world.nodes[n].stored {
                    stored.stale = true;
                }
            }
            Action::Sweep(n) => {
                left.sweeps -= 1;
                world.sweep(n, self);
            }
            Action::Overflow(n, tags) => {
                left.overflows -= 1;
                world.overflow(n, tags, self);
            }
            Action::Head(n) => {
                left.heads -= 1;
                world.head(n, self);
            }
            Action::Beat(n) => {
                left.beats -= 1;
                world.beat(n, self);
            }
            Action::LeasePasses => {
                left.leases -= 1;
                world.pass_lease();
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
        if world.broken.is_none() {
            self.control_actions(world, actions);
            for n in self.nodes() {
                self.node_actions(world, n, actions);
            }
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
                "no answer is older than was promised (I1, I5)",
                |_, world: &World| world.broken != Some(Broken::OldBody),
            ),
            Property::always("completed means applied (I5)", |_, world: &World| {
                world.broken != Some(Broken::CompletedEarly)
            }),
            Property::always(
                "no lease outlives what it was renewed for (I5)",
                |_, world: &World| world.broken != Some(Broken::PastLease),
            ),
            Property::always(
                "who has what control named has a lease (I5)",
                |scene: &Scene, world: &World| scene.nodes().all(|n| world.keeps_lease(n)),
            ),
            Property::always("no response gives way to an earlier one (I2)", |_, world: &World| {
                world.broken != Some(Broken::Regressed)
            }),
            Property::always("answered purges are there, once (I6)", |_, world: &World| {
                world.answered_once()
            }),
            Property::always(
                "who follows shares the log's past (I4)",
                |scene: &Scene, world: &World| scene.nodes().all(|n| world.follows(n)),
            ),
        ]
    }
}
