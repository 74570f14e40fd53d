//! The world of the simulation and its clock: what happens, when, in an order that a seed
//! determines.

use crate::control::{Control, Line};
use crate::judge::Judge;
use crate::node::{Entering, Node, Request};
use crate::origin::{Body, Key, Moment, Origin};
use crate::random::Random;
use crate::relay::{Up, Via};
use crate::tiers::{Answer, Ask};
use std::collections::BTreeMap;
use weir_rules::invalidation::Seq;
use weir_rules::relay::Link;

/// Two parents, one a region, and two edges in each region.
pub(crate) const NODES: usize = 6;
pub(crate) const PARENTS: usize = 2;

/// How long a run goes on.
const LENGTH: u64 = 2000;

/// The rules that are broken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub(crate) stamp_at_end: bool,
    pub(crate) stamp_uncut: bool,
    pub(crate) claim_ahead: bool,
    pub(crate) join_unchecked: bool,
    pub(crate) publish_first: bool,
    pub(crate) walk_ignores_fills: bool,
    pub(crate) floor_ignored: bool,
    /// Any floor is taken for one of tags, over nothing that has none.
    pub(crate) floor_for_tags: bool,
    pub(crate) visible_at_once: bool,
    pub(crate) only_checked_mark: bool,
    pub(crate) new_tags_only: bool,
    pub(crate) validate_purged: bool,
    pub(crate) moved_edges_counted: bool,
    pub(crate) links_renumbered: bool,
    pub(crate) link_begins_late: bool,
    pub(crate) received_counts: bool,
}

impl Faults {
    pub(crate) const NONE: Self = Self {
        stamp_at_end: false,
        stamp_uncut: false,
        claim_ahead: false,
        join_unchecked: false,
        publish_first: false,
        walk_ignores_fills: false,
        floor_ignored: false,
        floor_for_tags: false,
        visible_at_once: false,
        only_checked_mark: false,
        new_tags_only: false,
        validate_purged: false,
        moved_edges_counted: false,
        links_renumbered: false,
        link_begins_late: false,
        received_counts: false,
    };

    /// Whether it takes a relay to break the rule.
    pub(crate) fn is_of_relays(&self) -> bool {
        let Self { moved_edges_counted, links_renumbered, .. } = self;
        *moved_edges_counted || *links_renumbered || self.link_begins_late || self.received_counts
    }
}

/// What happens. `process` and `session` tell whether it still matters.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Order,
    Release,
    Synced { run: u64 },
    CrashControl,
    Backup,
    Restore { wiped: bool },
    Compact,
    Forget { node: usize },
    Connect { node: usize, process: u64 },
    Line { node: usize, session: u64, line: Line },
    Acknowledged { node: usize, session: u64, seq: Seq },
    Enter { node: usize, process: u64, entering: Entering },
    Attach { node: usize },
    Shown { parent: usize, edge: usize, session: u64, after: Seq },
    Up { relay: usize, session: u64, what: Up },
    Attached { node: usize, shown: u64, session: u64, via: Via },
    GiveUp { node: usize, session: u64 },
    AppliedBehind { via: Via, seq: Seq },
    Say { parent: usize, process: u64 },
    Unlink { parent: usize, process: u64, link: Link },
    Cut { node: usize, until: u64 },
    Restart { node: usize },
    Walk { node: usize },
    Walked { node: usize, process: u64, mark: Seq, keys: Vec<Key> },
    Client { node: usize },
    Look { node: usize, process: u64, request: Request },
    Asked { parent: usize, ask: Ask },
    Answered { ask: Ask, answer: Answer },
    TimedOut { ask: Ask },
    Fetched { node: usize, process: u64, fill: u64, body: Body },
    Passed { parent: usize, process: u64, ask: Ask, body: Body, own: Seq },
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    pub(crate) now: u64,
    /// Events so far: the judge's clock.
    pub(crate) step: Moment,
    queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
    pub(crate) origin: Origin,
    pub(crate) control: Control,
    pub(crate) nodes: [Node; NODES],
    pub(crate) judge: Judge,
    /// One message in so many between nodes is lost.
    pub(crate) loss: u64,
    /// Whether edges follow parents.
    pub(crate) relays: bool,
    broken: Option<String>,
    trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults, relays: bool, traced: bool) -> Self {
        let mut random = Random::new(seed);
        let loss = 5 + random.below(60);
        let mut world = Self {
            faults,
            now: 0,
            step: 0,
            queue: BTreeMap::new(),
            queued: 0,
            origin: Origin::default(),
            control: Control::new(),
            nodes: std::array::from_fn(|_| Node::new(random.once_in(3))),
            judge: Judge::default(),
            loss,
            relays,
            broken: None,
            trace: traced.then(Vec::new),
            random,
        };
        world.plan();
        world
    }

    /// Writes down what will be tried, and when; each seed has a liking for other things.
    fn plan(&mut self) {
        for node in 0..NODES {
            self.after(30, Event::Connect { node, process: 0 });
        }
        for _ in 0..350 {
            let node = PARENTS + self.random.below((NODES - PARENTS) as u64) as usize;
            self.sometime(Event::Client { node });
        }
        for _ in 0..10 + self.random.below(30) {
            self.sometime(Event::Order);
        }
        for _ in 0..self.random.below(6) {
            self.sometime(Event::Release);
        }
        for _ in 0..self.random.below(3) {
            self.sometime(Event::CrashControl);
        }
        for _ in 0..self.random.below(6) {
            self.sometime(Event::Compact);
        }
        let has_backup = self.random.once_in(2);
        if has_backup {
            self.sometime(Event::Backup);
            self.sometime(Event::Restore { wiped: false });
        }
        // A log that is wiped, and then restored to an earlier life, would have that life's id again: control
        // gives a copy of its journal another one, which is not played here.
        if self.random.once_in(4) && !(self.relays && has_backup) {
            self.sometime(Event::Restore { wiped: true });
        }
        for _ in 0..self.random.below(12) {
            let node = self.random.below(NODES as u64) as usize;
            let until = self.random.below(LENGTH);
            let event = match self.random.below(5) {
                0 => Event::Restart { node },
                1 => Event::Forget { node },
                2 => Event::Cut { node, until },
                _ => Event::Walk { node },
            };
            self.sometime(event);
        }
        if self.relays {
            for _ in 0..10 + self.random.below(40) {
                let node = PARENTS + self.random.below((NODES - PARENTS) as u64) as usize;
                self.sometime(Event::Attach { node });
            }
        }
    }

    fn sometime(&mut self, event: Event) {
        let at = self.random.below(LENGTH);
        self.at(at, event);
    }

    pub(crate) fn at(&mut self, at: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((at, self.queued), event);
    }

    /// After a while, mostly about as long as `usual`.
    pub(crate) fn after(&mut self, usual: u64, event: Event) {
        let at = self.now + self.random.delay(usual);
        self.at(at, event);
    }

    pub(crate) fn broken(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// Lets everything happen; how many answers were judged, or what went wrong, with its history.
    pub(crate) fn run(mut self) -> Result<u64, String> {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            self.step += 1;
            if let Some(trace) = &mut self.trace {
                trace.push(format!("{:>6} at {at}: {event:?}", self.step));
            }
            self.happen(event);
            if let Some(broken) = self.broken {
                let trace = self.trace.unwrap_or_default().join("\n");
                return Err(format!("{trace}\nin step {}: {broken}", self.step));
            }
        }
        Ok(self.judge.answers)
    }

    /// Whether control is still being tried: what only repeats itself ends some time.
    pub(crate) fn goes_on(&self) -> bool {
        self.now < 2 * LENGTH
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Order => self.order(),
            Event::Release => self.release(),
            Event::Synced { run } => self.synced(run),
            Event::CrashControl => self.crash_control(),
            Event::Backup => self.backup(),
            Event::Restore { wiped } => self.restore(wiped),
            Event::Compact => self.compact(),
            Event::Forget { node } => self.forget(node),
            Event::Connect { node, process } => self.connect(node, process),
            Event::Line { node, session, line } => self.line_came(node, session, line),
            Event::Acknowledged { node, session, seq } => self.acknowledged(node, session, seq),
            Event::Enter { node, process, entering } => self.enter(node, process, entering),
            Event::Attach { node } => self.attach(node),
            Event::Shown { parent, edge, session, after } => {
                self.shown(parent, edge, session, after);
            }
            Event::Up { relay, session, what } => self.up_came(relay, session, what),
            Event::Attached { node, shown, session, via } => {
                self.attached(node, shown, session, via);
            }
            Event::GiveUp { node, session } => self.give_up(node, session),
            Event::AppliedBehind { via, seq } => self.applied_behind(via, seq),
            Event::Say { parent, process } => self.say(parent, process),
            Event::Unlink { parent, process, link } => self.unlink_came(parent, process, link),
            Event::Cut { node, until } => self.cut(node, until),
            Event::Restart { node } => self.restart(node),
            Event::Walk { node } => self.walk(node),
            Event::Walked { node, process, mark, keys } => {
                self.walked(node, process, mark, &keys);
            }
            Event::Client { node } => self.client(node),
            Event::Look { node, process, request } => self.look(node, process, request),
            Event::Asked { parent, ask } => self.asked(parent, ask),
            Event::Answered { ask, answer } => self.answered(&ask, answer),
            Event::TimedOut { ask } => self.timed_out(&ask),
            Event::Fetched { node, process, fill, body } => {
                self.fetched(node, process, fill, body);
            }
            Event::Passed { parent, process, ask, body, own } => {
                self.passed(parent, process, ask, body, own);
            }
        }
    }
}
