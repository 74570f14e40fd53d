//! Control in the model: the ledger with its durable and its volatile part, who is expected, what
//! is completed. What a node may keep is decided by the real `log::resume`.

use crate::scene::Scene;
use crate::world::{Broken, NODES, Orders, World, order};
use std::sync::Arc;
use weir_rules::invalidation::Seq;
use weir_rules::log::{LogId, Mark, Reach, Resume, Standing, Welcome, resume};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Control {
    /// Orders that wait to be appended.
    pub(crate) waiting: Orders,
    /// Durable, except for what a fault takes away.
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) backup: Option<Arc<Ledger>>,
    /// Entries up to here are durable.
    pub(crate) synced: Seq,
    /// Entries up to here are sent to nodes.
    pub(crate) published: Seq,
    /// What nodes acknowledged, by name.
    acked: [Seq; NODES],
    /// Log ids given so far.
    logs: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ledger {
    log: u8,
    /// Entries up to here are compacted away.
    pub(crate) forgotten: Seq,
    forgotten_mark: Mark,
    /// Their orders, and which of them were completed.
    gone: Orders,
    gone_completed: Orders,
    entries: Vec<Entry>,
    /// Memberships by name.
    members: [Option<u8>; NODES],
    /// Who of them survives a crash where a fault keeps the list volatile.
    members_made: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) order: u8,
    pub(crate) mark: Mark,
    /// Names, a bit each.
    expected: u8,
    completed: bool,
}

impl Ledger {
    pub(crate) fn head(&self) -> Seq {
        self.forgotten + self.entries.len() as Seq
    }

    pub(crate) fn entry(&self, seq: Seq) -> Option<&Entry> {
        self.entries.get(usize::try_from(seq.checked_sub(self.forgotten + 1)?).ok()?)
    }

    fn mark_of(&self, seq: Seq) -> Option<Mark> {
        self.entry(seq).map(|entry| entry.mark)
    }

    fn holds(&self, number: u8) -> usize {
        let gone = usize::from(self.gone & order(number) != 0);
        gone + self.entries.iter().filter(|entry| entry.order == number).count()
    }

    /// Orders called completed.
    pub(crate) fn completed(&self) -> Orders {
        let held = self.entries.iter().filter(|entry| entry.completed);
        held.fold(self.gone_completed, |set, entry| set | order(entry.order))
    }

    fn log_id(&self) -> LogId {
        LogId(self.log.to_string())
    }
}

impl Control {
    pub(crate) fn new() -> Self {
        Self {
            waiting: 0,
            ledger: Arc::default(),
            backup: None,
            synced: 0,
            published: 0,
            acked: [0; NODES],
            logs: 1,
        }
    }

    fn ledger_mut(&mut self) -> &mut Ledger {
        Arc::make_mut(&mut self.ledger)
    }
}

impl World {
    /// The origin changes, then a client orders the purge, once; it asks again until it is answered.
    pub(crate) fn place_order(&mut self, scene: &Scene) {
        let number = self.placed;
        self.placed += 1;
        self.control.waiting |= order(number);
        self.accept_at_once(scene);
    }

    fn accept_at_once(&mut self, scene: &Scene) {
        if !scene.order_steps {
            self.append();
            self.sync();
            self.publish(scene);
        }
    }

    /// The client repeats an order that it saw no answer to, under the same reference.
    pub(crate) fn repeat_order(&mut self, scene: &Scene, number: u8) {
        if self.control.ledger.holds(number) > 0 && !scene.faults.no_references {
            self.answered |= order(number);
        } else {
            self.control.waiting |= order(number);
            self.accept_at_once(scene);
        }
    }

    /// A transaction with all orders that wait. Not durable yet.
    pub(crate) fn append(&mut self) {
        let life = u64::from(self.lives) * 8;
        let waiting = std::mem::take(&mut self.control.waiting);
        let ledger = self.control.ledger_mut();
        let expected = (0..NODES).filter(|name| ledger.members[*name].is_some());
        let expected = expected.fold(0, |set, name| set | 1 << name);
        for number in (0..8).filter(|number| waiting & order(*number) != 0) {
            let mark = 1 + u64::from(number) + life;
            ledger.entries.push(Entry { order: number, mark, expected, completed: false });
        }
    }

    /// What was appended is durable.
    pub(crate) fn sync(&mut self) {
        self.control.synced = self.control.ledger.head();
    }

    /// What is durable goes to the nodes, and the clients are answered.
    pub(crate) fn publish(&mut self, scene: &Scene) {
        let control = &mut self.control;
        let to =
            if scene.faults.answer_before_fsync { control.ledger.head() } else { control.synced };
        let new = (control.published + 1..=to).filter_map(|seq| control.ledger.entry(seq));
        self.answered |= new.fold(0, |set, entry| set | order(entry.order));
        control.published = to;
        self.complete(scene);
    }

    /// Control stops at once and starts again; what was not durable is lost, and all sessions with
    /// it. (While it is away, nothing happens that could not happen without it.)
    pub(crate) fn crash_control(&mut self, scene: &Scene) {
        let control = &mut self.control;
        control.waiting = 0;
        control.acked = [0; NODES];
        let kept = (control.synced - control.ledger.forgotten) as usize;
        control.ledger_mut().entries.truncate(kept);
        if scene.faults.forgetful_members {
            control.ledger_mut().members = [None; NODES];
        }
        self.start_control();
    }

    fn start_control(&mut self) {
        let head = self.control.ledger.head();
        (self.control.synced, self.control.published) = (head, head);
        self.drop_sessions();
    }

    /// Control starts from its backup, or from nothing.
    pub(crate) fn replace_ledger(&mut self, ledger: Option<Arc<Ledger>>, scene: &Scene) {
        self.crash_control(scene);
        self.lives += 1;
        let log = self.control.logs;
        self.control.ledger = ledger.unwrap_or_else(|| {
            self.control.logs += 1;
            Arc::new(Ledger { log, ..Ledger::default() })
        });
        let ledger = &self.control.ledger;
        // What the owner threw away is nobody's promise any more.
        let held = (0..8).filter(|number| ledger.holds(*number) > 0);
        let held = held.fold(0, |set, number| set | order(number));
        self.thrown_away |= self.answered & !held;
        self.answered &= held;
        for n in 0..NODES {
            let member = ledger.members[scene.name_of(n)].map(|member| member.to_string());
            let node = &mut self.nodes[n];
            node.counted &= member.is_some() && node.position.standing().member == member;
        }
        self.start_control();
    }

    /// The oldest entry goes.
    pub(crate) fn compact(&mut self) {
        let ledger = self.control.ledger_mut();
        let entry = ledger.entries.remove(0);
        ledger.forgotten += 1;
        ledger.forgotten_mark = entry.mark;
        ledger.gone |= order(entry.order);
        if entry.completed {
            ledger.gone_completed |= order(entry.order);
        }
    }

    /// A node's name is taken off the list.
    pub(crate) fn forget(&mut self, name: usize, scene: &Scene) {
        let ledger = self.control.ledger_mut();
        ledger.members[name] = None;
        for entry in &mut ledger.entries {
            entry.expected &= !(1 << name);
        }
        for n in scene.nodes().filter(|n| scene.name_of(*n) == name) {
            self.nodes[n].counted = false;
        }
        self.complete(scene);
    }

    /// A node's hello, and what control answers.
    pub(crate) fn connect(&mut self, n: usize, scene: &Scene) {
        let name = scene.name_of(n);
        let ledger = &self.control.ledger;
        let log = ledger.log_id();
        let head = ledger.head();
        let reach = Reach {
            log: &log,
            forgotten: ledger.forgotten,
            forgotten_mark: ledger.forgotten_mark,
            head,
        };
        let standing = self.nodes[n].position.standing();
        let mut member = ledger.members[name].map(|member| member.to_string());
        let said = misread(standing, &mut member, &reach, scene, |seq| ledger.mark_of(seq));
        // Its nodes show what they were sent.
        let (after, keep) = match resume(
            &said,
            member.as_deref(),
            &reach,
            |seq| ledger.mark_of(seq),
            |_, _| true,
        ) {
            Resume::After(after) => (after, true),
            Resume::Empty(after) => (after, false),
            Resume::Restored => {
                let log = self.control.logs;
                self.control.logs += 1;
                self.control.ledger_mut().log = log;
                self.control.acked = [0; NODES];
                return self.drop_sessions();
            }
        };
        let mark = match after {
            after if after == ledger.forgotten => ledger.forgotten_mark,
            after => ledger.mark_of(after).unwrap_or_default(),
        };
        let gone = ledger.gone;
        let member = if keep { member.unwrap_or_default() } else { self.admit_member(n, scene) };
        self.nodes[n].counted = true;
        self.nodes[n].connected = true;
        self.welcome(n, &Welcome { log, member, after, mark, keep, head }, scene);
        self.begin_lease(n, after, scene);
        if !keep {
            // It acknowledges what it has no entries of: nothing from before is left.
            self.nodes[n].owed |= gone;
        }
        self.acknowledged(name, after, scene);
    }

    /// A new membership for a node's name, in place of any other.
    fn admit_member(&mut self, n: usize, scene: &Scene) -> String {
        let name = scene.name_of(n);
        let ledger = self.control.ledger_mut();
        let known = ledger.members[name].filter(|_| scene.faults.member_by_name);
        let member = known.unwrap_or(ledger.members_made);
        ledger.members_made = ledger.members_made.max(member + 1);
        ledger.members[name] = Some(member);
        for other in scene.nodes().filter(|other| scene.name_of(*other) == name) {
            self.nodes[other].counted = false;
        }
        member.to_string()
    }

    pub(crate) fn acknowledged(&mut self, name: usize, seq: Seq, scene: &Scene) {
        self.control.acked[name] = seq;
        self.complete(scene);
    }

    fn drop_sessions(&mut self) {
        for node in &mut self.nodes {
            node.connected = false;
        }
    }

    /// Calls completed what every expected node has acknowledged, and holds that against the truth.
    fn complete(&mut self, scene: &Scene) {
        let control = &self.control;
        let first = control.ledger.forgotten + 1;
        let mut done = Vec::new();
        for (seq, entry) in (first..=control.published).zip(&control.ledger.entries) {
            let waited_for = |name: usize| {
                let here =
                    scene.nodes().any(|n| scene.name_of(n) == name && self.nodes[n].connected);
                let expected = entry.expected & (1 << name) != 0;
                expected && (here || !scene.faults.complete_without_absent)
            };
            let mut names = (0..NODES).filter(|name| waited_for(*name));
            if !entry.completed && names.all(|name| control.acked[name] >= seq) {
                done.push((seq, entry.order, entry.expected));
            }
        }
        for (seq, number, expected) in done {
            let first = self.control.ledger.forgotten + 1;
            self.control.ledger_mut().entries[(seq - first) as usize].completed = true;
            let applied = |name: usize| {
                let mut nodes = scene.nodes().filter(|n| scene.name_of(*n) == name);
                nodes.any(|n| self.nodes[n].owed & order(number) != 0)
            };
            if (0..NODES).any(|name| expected & (1 << name) != 0 && !applied(name)) {
                self.breaks(Broken::CompletedEarly);
            }
        }
    }

    /// Every answered order is in the log, once (I6).
    pub(crate) fn answered_once(&self) -> bool {
        let ledger = &self.control.ledger;
        (0..8).all(|number| match ledger.holds(number) {
            0 => self.answered & order(number) == 0,
            held => held == 1,
        })
    }

    /// Whoever is connected follows this log, and its past is the log's.
    pub(crate) fn follows(&self, n: usize) -> bool {
        let (node, ledger) = (&self.nodes[n], &self.control.ledger);
        let standing = node.position.standing();
        let mark = match standing.applied {
            0 => Some(0),
            seq if seq == ledger.forgotten => Some(ledger.forgotten_mark),
            seq => ledger.mark_of(seq),
        };
        let forgotten = standing.applied < ledger.forgotten;
        !node.connected
            || (standing.log == Some(ledger.log_id()) && (forgotten || mark == Some(standing.mark)))
    }
}

/// What control makes of a node's standing where its rules are broken.
fn misread(
    standing: &Standing,
    member: &mut Option<String>,
    reach: &Reach<'_>,
    scene: &Scene,
    mark_of: impl Fn(Seq) -> Option<Mark>,
) -> Standing {
    let mut said = standing.clone();
    let faults = &scene.faults;
    if faults.resume_any_log && said.log.is_some() {
        said.log = Some(reach.log.clone());
    }
    if faults.resume_any_head {
        said.applied = said.applied.min(reach.head);
    }
    if faults.resume_any_mark || faults.resume_any_log || faults.resume_any_head {
        said.mark = mark_of(said.applied).unwrap_or(said.mark);
    }
    if faults.resume_any_member || faults.resume_any_log {
        *member = said.member.clone();
    }
    said
}
