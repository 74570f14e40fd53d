//! One name, the processes of the node that has it, and a thief who has the token of all nodes.

use super::explore;
use stateright::{Model, Property};
use weir_rules::identity::{Admission, Claim, Holder, Process, SecretDigest, admit};

/// The node's processes, one after another; two of them may run at once. The last one is the thief's.
const PROCESSES: usize = 4;
const THIEF: usize = PROCESSES - 1;

/// Purges that are ordered.
const ORDERS: u8 = 1;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Life {
    #[default]
    Unborn,
    Running,
    Dead,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Proc {
    life: Life,
    /// The secret that it shows.
    secret: Option<u8>,
    /// It takes over from this one, which may still serve.
    takes_over: Option<usize>,
    connected: bool,
    /// It was let in, and answers from what it stores: from the entry after this on it is promised
    /// that no purge is completed before it has applied it.
    serves_since: Option<u8>,
    applied: u8,
}

/// What control has on record; all of it durable, except where a fault says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Record {
    secret: Option<SecretDigest>,
    /// Process, and how much of the log it acknowledged.
    processes: Vec<(usize, u8)>,
    predecessors: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    processes: [Proc; PROCESSES],
    /// The node's secret on its disk, and how many it ever made.
    disk: Option<u8>,
    secrets: u8,
    record: Option<Record>,
    orders: u8,
    /// Of each order: whether the name was expected when it was appended, and whether it is completed.
    entries: Vec<(bool, bool)>,
    crashes: u8,
    cuts: u8,
    forgets: u8,
    /// The thief had the name at some time: it may be refused to the node then.
    stolen: bool,
    broken: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    /// The node is started; it makes its secret if it has none.
    Start(usize),
    /// Another process of the node is started beside the one that serves.
    TakeOver(usize),
    /// The process is killed, together with what of its disk is not durable.
    Kill(usize),
    Join(usize),
    /// The thief shows no secret, one of its own, or says that it takes over, under its own instance
    /// or the one of a process of the node.
    Steal {
        secret: Option<u8>,
        takes_over: bool,
        instance: usize,
    },
    Cut(usize),
    Apply(usize),
    Leave(usize),
    /// A process says that the other one has ended.
    Ended(usize, usize),
    Order,
    CrashControl,
    Forget,
}

/// The rules that are broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fault {
    #[default]
    None,
    /// Whoever has the token may have any name.
    NoSecrets,
    /// Who names the instance of a process is taken for it.
    InstanceIsProof,
    /// Control keeps the names durably, not their secrets.
    SecretsNotDurable,
    /// The node shows its secret before it is durable on its own disk.
    ShownBeforeDurable,
    /// A process that takes over counts instead of the earlier one.
    TakesTheirPlace,
    /// A node that is started anew is let in while another of its processes is there.
    IgnoresTheLiving,
    /// What one process has applied counts for all.
    AnyProcessCounts,
    /// Control forgets at a crash that there were two processes.
    OneProcessDurable,
    /// Control does not remember whom a process took over from.
    ForgetsPredecessors,
    /// What anybody says of an end is believed.
    EndedUnproven,
}

#[derive(Clone, Copy, Debug)]
struct Names {
    fault: Fault,
}

fn digest(secret: u8) -> SecretDigest {
    SecretDigest(secret.to_string())
}

const INSTANCES: [&str; PROCESSES] = ["0", "1", "2", "thief"];

/// The thief's own secret.
const STOLEN: u8 = 200;

impl World {
    fn new() -> Self {
        Self {
            processes: Default::default(),
            disk: None,
            secrets: 0,
            record: None,
            orders: 0,
            entries: Vec::new(),
            crashes: 1,
            cuts: 1,
            forgets: 1,
            stolen: false,
            broken: None,
        }
    }

    fn head(&self) -> u8 {
        self.entries.len() as u8
    }

    /// `as_process` asks to be let in as the process `instance`.
    fn join(&mut self, by: usize, instance: usize, fault: Fault) {
        let asking = &self.processes[by];
        let shown = asking.secret.map(digest);
        let holder_secret = self.record.as_ref().and_then(|record| match fault {
            Fault::NoSecrets => None,
            Fault::InstanceIsProof
                if record.processes.iter().any(|(known, _)| *known == instance) =>
            {
                None
            }
            _ => record.secret.clone(),
        });
        let live =
            |process: usize| self.processes[process].connected && fault != Fault::IgnoresTheLiving;
        let told: Vec<_> = self
            .record
            .iter()
            .flat_map(|record| &record.processes)
            .map(|(known, _)| Process { instance: INSTANCES[*known], is_live: live(*known) })
            .collect();
        let claim = Claim {
            secret: shown.as_ref(),
            instance: INSTANCES[instance],
            takes_over: asking.takes_over.is_some(),
            entitled: false,
        };
        let predecessors = match (&self.record, fault) {
            (None, _) | (_, Fault::ForgetsPredecessors) => Vec::new(),
            (Some(record), _) => record.predecessors.clone(),
        };
        let holder = self.record.as_ref().map(|_| Holder {
            secret: holder_secret.as_ref(),
            processes: &told,
            predecessors: &predecessors,
        });
        let admission = match admit(&claim, holder.as_ref()) {
            Ok(Admission::Beside) if fault == Fault::TakesTheirPlace => Admission::Instead,
            Ok(admission) => admission,
            Err(weir_rules::identity::Denial::NotProven) if by != THIEF && !self.stolen => {
                self.broken = Some("a node is locked out of its own name");
                return;
            }
            Err(_) => {
                // A refused process answers nothing from what it stores.
                self.processes[by].serves_since = None;
                return;
            }
        };
        let head = self.head();
        let takes_over = asking.takes_over;
        let record = self.record.get_or_insert_with(Record::default);
        if matches!(admission, Admission::New | Admission::Instead) {
            record.predecessors.clear();
        }
        record.predecessors.extend(takes_over.map(|other| INSTANCES[other].to_owned()));
        record.predecessors.dedup();
        match admission {
            Admission::New | Admission::Instead => record.processes = vec![(instance, 0)],
            Admission::Again(at) => record.processes[at].1 = self.processes[by].applied,
            Admission::Beside => record.processes.push((instance, 0)),
        }
        record.secret = shown.or(record.secret.take());
        self.stolen |= by == THIEF;
        let process = &mut self.processes[by];
        process.connected = true;
        process.serves_since.get_or_insert(head);
        self.complete(fault);
    }

    fn acknowledge(&mut self, instance: usize, seq: u8, fault: Fault) {
        for (known, applied) in self.record.iter_mut().flat_map(|record| &mut record.processes) {
            if *known == instance {
                *applied = seq.max(*applied);
            }
        }
        self.complete(fault);
    }

    fn retire(&mut self, instance: usize, fault: Fault) {
        if let Some(record) = &mut self.record {
            record.processes.retain(|(known, _)| *known != instance);
            if record.processes.is_empty() {
                self.record = None;
                for entry in &mut self.entries {
                    entry.0 = false;
                }
            }
        }
        self.complete(fault);
    }

    /// Completes what all expected processes have acknowledged, and holds that against the truth.
    fn complete(&mut self, fault: Fault) {
        let acknowledged = self.record.as_ref().and_then(|record| {
            let applied = record.processes.iter().map(|(_, applied)| *applied);
            if fault == Fault::AnyProcessCounts { applied.max() } else { applied.min() }
        });
        for (seq, entry) in (1..).zip(&mut self.entries) {
            let waits = entry.0 && acknowledged.is_some_and(|applied| applied < seq);
            if entry.1 || waits {
                continue;
            }
            entry.1 = true;
            let lacks = self.processes[..THIEF].iter().any(|process| {
                process.life == Life::Running
                    && process.serves_since.is_some_and(|since| since < seq)
                    && process.applied < seq
            });
            if lacks {
                self.broken = Some("completed, and a process that serves has not applied it");
            }
        }
    }

    fn crash_control(&mut self, fault: Fault) {
        for process in &mut self.processes {
            process.connected = false;
        }
        if let Some(record) = &mut self.record {
            if fault == Fault::SecretsNotDurable {
                record.secret = None;
            }
            if fault == Fault::OneProcessDurable {
                let newest = record.processes.pop();
                record.processes = newest.into_iter().collect();
            }
        }
    }

    fn perform(&mut self, action: Action, fault: Fault) {
        match action {
            Action::Start(n) | Action::TakeOver(n) => {
                let secret = *self.disk.get_or_insert_with(|| {
                    self.secrets += 1;
                    self.secrets
                });
                let other = (0..THIEF).find(|n| self.processes[*n].life == Life::Running);
                let takes_over = other.filter(|_| matches!(action, Action::TakeOver(_)));
                self.processes[n] = Proc {
                    life: Life::Running,
                    secret: Some(secret),
                    takes_over,
                    ..Proc::default()
                };
            }
            Action::Kill(n) => {
                self.processes[n] = Proc { life: Life::Dead, ..Proc::default() };
                if fault == Fault::ShownBeforeDurable {
                    self.disk = None;
                }
            }
            Action::Join(n) => self.join(n, n, fault),
            Action::Steal { secret, takes_over, instance } => {
                let thief = &mut self.processes[THIEF];
                (thief.life, thief.secret, thief.takes_over) =
                    (Life::Running, secret, takes_over.then_some(0));
                self.join(THIEF, instance, fault);
                let head = self.head();
                // It acknowledges whatever there is.
                if self.processes[THIEF].connected {
                    self.acknowledge(instance, head, fault);
                }
            }
            Action::Cut(n) => {
                self.cuts -= 1;
                self.processes[n].connected = false;
            }
            Action::Apply(n) => {
                self.processes[n].applied += 1;
                self.acknowledge(n, self.processes[n].applied, fault);
            }
            Action::Leave(n) => {
                self.processes[n] = Proc { life: Life::Dead, ..Proc::default() };
                self.retire(n, fault);
            }
            Action::Ended(_, other) => self.retire(other, fault),
            Action::Order => {
                self.orders += 1;
                self.entries.push((self.record.is_some(), false));
                self.complete(fault);
            }
            Action::CrashControl => {
                self.crashes -= 1;
                self.crash_control(fault);
            }
            Action::Forget => {
                self.forgets -= 1;
                self.record = None;
                // Whoever runs is told, and is nobody's promise any more.
                for process in &mut self.processes {
                    process.connected = false;
                    process.serves_since = None;
                }
                for entry in &mut self.entries {
                    entry.0 = false;
                }
                self.stolen = true;
                self.complete(fault);
            }
        }
    }
}

impl Model for Names {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.broken.is_some() {
            return;
        }
        let running = |n: &usize| world.processes[*n].life == Life::Running;
        let own: Vec<_> = (0..THIEF).filter(running).collect();
        let next = (0..THIEF).find(|n| world.processes[*n].life == Life::Unborn);
        if let Some(next) = next {
            // The lock of the directory keeps a second one out that does not take over.
            match own.len() {
                0 => actions.push(Action::Start(next)),
                1 => actions.push(Action::TakeOver(next)),
                _ => {}
            }
            if self.fault == Fault::IgnoresTheLiving && own.len() == 1 {
                actions.push(Action::Start(next));
            }
        }
        for n in own {
            let process = &world.processes[n];
            actions.push(Action::Kill(n));
            if process.connected {
                actions.push(Action::Leave(n));
                if process.applied < world.head() {
                    actions.push(Action::Apply(n));
                }
                if world.cuts > 0 {
                    actions.push(Action::Cut(n));
                }
                let others = world.record.iter().flat_map(|record| &record.processes);
                for (other, _) in others.filter(|(other, _)| *other != n) {
                    let is_dead = world.processes[*other].life == Life::Dead;
                    if is_dead || self.fault == Fault::EndedUnproven {
                        actions.push(Action::Ended(n, *other));
                    }
                }
            } else {
                actions.push(Action::Join(n));
            }
        }
        if !world.stolen {
            for secret in [None, Some(STOLEN)] {
                for takes_over in [false, true] {
                    for instance in [0, THIEF] {
                        // Of nobody who is there: a second connection of one instance replaces it.
                        actions.push(Action::Steal { secret, takes_over, instance });
                    }
                }
            }
        }
        if world.orders < ORDERS {
            actions.push(Action::Order);
        }
        if world.crashes > 0 {
            actions.push(Action::CrashControl);
        }
        if world.forgets > 0 && world.record.is_some() {
            actions.push(Action::Forget);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        next.perform(action, self.fault);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("completed means applied (I5)", |_, world: &World| {
                world.broken != Some("completed, and a process that serves has not applied it")
            }),
            Property::always("a node keeps its name", |_, world: &World| {
                world.broken != Some("a node is locked out of its own name")
            }),
        ]
    }
}

#[test]
fn nobody_acknowledges_for_another_and_no_node_is_locked_out() {
    let (states, found) = explore(Names { fault: Fault::None });
    println!("{states} states");
    assert!(found.is_none(), "{}", found.unwrap_or_default());
}

#[test]
fn every_broken_rule_is_found_out() {
    for fault in [
        Fault::NoSecrets,
        Fault::InstanceIsProof,
        Fault::SecretsNotDurable,
        Fault::ShownBeforeDurable,
        Fault::TakesTheirPlace,
        Fault::IgnoresTheLiving,
        Fault::AnyProcessCounts,
        Fault::OneProcessDurable,
        Fault::ForgetsPredecessors,
        Fault::EndedUnproven,
    ] {
        let (states, found) = explore(Names { fault });
        println!("{fault:?}: {} after {states} states", found.is_some());
        assert!(found.is_some(), "{fault:?} is not found in {states} states");
    }
}
