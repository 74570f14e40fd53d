//! Two processes of control over one log, explored exhaustively: which of them is the writer, what it appends, and
//! what it lets a node believe, while requests come late, answers are lost, and processes pause between any two
//! steps. The real [`Term`] decides what a writer may say.
//!
//! One store (the log, and the writer's lease), one node that every purge is for. Time goes in steps.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;
use weir_rules::term::Term;
use weir_rules::time::Time;

/// One step of time, and how many of them are explored.
const STEP: u64 = 1000;
const STEPS: u8 = 4;

/// The lease of the writer, and that of the node, in steps.
const WRITERS_LEASE: u8 = 1;
const NODES_LEASE: u8 = 2;

/// Purges that are ordered.
const ORDERS: u8 = 1;

/// Most terms: each process is the writer once, or one of them twice.
const TERMS: u8 = 2;

/// What is left out on purpose.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    /// Appends do not compare the writer's term.
    no_fence: bool,
    /// A writer renews the node's lease whether its term is sure or not.
    renews_always: bool,
    /// A new writer counts the node's silence from the beginning, not from its own.
    counts_from_before: bool,
}

/// An append on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Append {
    of: u8,
    term: u8,
    follows: u8,
    order: u8,
}

/// A process that believes that it is the writer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Writer {
    term: u8,
    sure: Term,
    /// The log as it knows it.
    log: Vec<u8>,
    waits: Option<Append>,
    /// When it heard the node, or began.
    heard: u8,
    acked: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    now: u8,
    /// The store: the term of the writer and when its lease ends, the terms so far, and the log.
    lease: Option<(u8, u8)>,
    terms: u8,
    log: Vec<u8>,
    writers: [Option<Writer>; 2],
    /// On their way: appends, and kept leases with when they were asked for.
    appends: Vec<Append>,
    kept: Vec<(u8, u8, u8)>,
    /// To the node: heads, with when it had said what was heard, and of which process.
    heartbeats: Vec<(u8, u8, u8)>,
    /// The node: what it has applied, until when its lease goes, and where it is connected.
    applied: u8,
    leased: u8,
    connected: Option<u8>,
    /// Orders that were answered as appended, one bit each; how many were placed.
    answered: u8,
    placed: u8,
}

/// What changes a world into the next one.
type Change<'a> = dyn Fn(&mut World) + 'a;

impl World {
    fn new() -> Self {
        Self {
            now: 0,
            lease: None,
            terms: 0,
            log: Vec::new(),
            writers: [None, None],
            appends: Vec::new(),
            kept: Vec::new(),
            heartbeats: Vec::new(),
            applied: 0,
            leased: 0,
            connected: None,
            answered: 0,
            placed: 0,
        }
    }

    fn time(&self) -> Time {
        at(self.now)
    }

    fn is_sure(&self, of: u8) -> bool {
        self.writers[usize::from(of)]
            .as_ref()
            .is_some_and(|writer| writer.sure.is_sure(self.time()))
    }

    /// All that may come next; in words what is broken.
    fn next(&self, faults: Faults) -> Result<Vec<World>, String> {
        let mut next = Vec::new();
        let mut may = |change: &Change<'_>| {
            let mut world = self.clone();
            change(&mut world);
            next.push(world);
        };
        if self.now < STEPS {
            may(&|world| world.now += 1);
        }
        if self.lease.is_some_and(|(_, ends)| ends <= self.now) {
            may(&|world| world.lease = None);
        }
        for (at, append) in self.appends.iter().enumerate() {
            may(&|world| {
                world.appends.remove(at);
                world.deliver(*append, faults);
            });
        }
        for (place, (of, term, asked)) in self.kept.iter().enumerate() {
            may(&|world| {
                world.kept.remove(place);
                if let Some(writer) = world.writer(*of).filter(|writer| writer.term == *term) {
                    writer.sure.confirm(at(*asked), lease());
                }
            });
        }
        for (at, (of, head, said)) in self.heartbeats.iter().enumerate() {
            may(&|world| {
                world.heartbeats.remove(at);
                if world.connected == Some(*of) && world.applied >= *head {
                    world.leased = world.leased.max(said + NODES_LEASE);
                }
            });
        }
        for of in [0, 1] {
            self.steps_of(of, faults, &mut may)?;
        }
        Ok(next)
    }

    fn steps_of(
        &self,
        of: u8,
        faults: Faults,
        may: &mut dyn FnMut(&Change<'_>),
    ) -> Result<(), String> {
        let Some(writer) = &self.writers[usize::from(of)] else {
            // Which one is the first makes no difference.
            if self.lease.is_none() && self.terms < TERMS && (of == 0 || self.terms > 0) {
                may(&|world| world.elect(of, faults));
            }
            return Ok(());
        };
        may(&|world| world.writers[usize::from(of)] = None);
        if self.lease.is_some_and(|(term, _)| term == writer.term) && self.kept.is_empty() {
            may(&|world| {
                world.lease = Some((writer.term, world.now + WRITERS_LEASE));
                world.kept.push((of, writer.term, world.now));
            });
        }
        if writer.waits.is_none() && self.placed < ORDERS {
            may(&|world| world.append(of));
        }
        if let Some(append) = writer.waits {
            // Its answer was lost: the very same again.
            if !self.appends.contains(&append) {
                may(&|world| world.appends.push(append));
            }
        }
        if self.connected != Some(of) && self.is_sure(of) {
            may(&|world| {
                world.connected = Some(of);
                world.heartbeats.clear();
            });
        }
        if self.connected == Some(of) {
            if (self.applied as usize) < writer.log.len() {
                may(&|world| world.applied += 1);
            }
            if writer.acked < self.applied || writer.heard < self.now {
                may(&|world| {
                    let (applied, now) = (world.applied, world.now);
                    if let Some(writer) = world.writer(of) {
                        writer.acked = applied.min(writer.log.len() as u8);
                        writer.heard = now;
                    }
                });
            }
            let said = (of, writer.log.len() as u8, writer.heard);
            if (self.is_sure(of) || faults.renews_always) && self.heartbeats.is_empty() {
                may(&|world| world.heartbeats.push(said));
            }
        }
        self.judge(writer)
    }

    /// What the writer would call completed now is applied, or the node validates.
    fn judge(&self, writer: &Writer) -> Result<(), String> {
        let silent = self.now > writer.heard + NODES_LEASE;
        let head = writer.log.len() as u8;
        let completed = if silent { head } else { writer.acked };
        if completed > self.applied && self.leased > self.now {
            return Err(format!(
                "{completed} is completed, and the node serves as of {}",
                self.applied
            ));
        }
        Ok(())
    }

    fn elect(&mut self, of: u8, faults: Faults) {
        self.terms += 1;
        self.lease = Some((self.terms, self.now + WRITERS_LEASE));
        self.writers[usize::from(of)] = Some(Writer {
            term: self.terms,
            sure: Term::begin(self.time(), lease()),
            log: self.log.clone(),
            waits: None,
            heard: if faults.counts_from_before { 0 } else { self.now },
            acked: 0,
        });
    }

    fn append(&mut self, of: u8) {
        let order = self.placed;
        self.placed += 1;
        let Some(writer) = self.writer(of) else { return };
        let append = Append { of, term: writer.term, follows: writer.log.len() as u8, order };
        writer.waits = Some(append);
        self.appends.push(append);
    }

    /// The store does what an append asks for, if what it compares is so; the answer may be lost.
    fn deliver(&mut self, append: Append, faults: Faults) {
        let is_writer = self.lease.is_some_and(|(term, _)| term == append.term);
        if (is_writer || faults.no_fence) && self.log.len() == usize::from(append.follows) {
            self.log.push(append.order);
        }
        // The head says which one was done.
        let done = self.log.get(usize::from(append.follows)) == Some(&append.order);
        if let Some(writer) = self.writer(append.of).filter(|writer| writer.waits == Some(append)) {
            writer.waits = None;
            if done {
                writer.log.push(append.order);
                self.answered |= 1 << append.order;
            }
        }
    }

    fn writer(&mut self, of: u8) -> Option<&mut Writer> {
        self.writers[usize::from(of)].as_mut()
    }

    fn check(&self) -> Result<(), String> {
        if self.is_sure(0) && self.is_sure(1) {
            return Err("two writers are sure".to_owned());
        }
        for order in 0..ORDERS {
            let times = self.log.iter().filter(|there| **there == order).count();
            if times > 1 || self.answered & 1 << order != 0 && times == 0 {
                return Err(format!("order {order} was answered, and is there {times} times"));
            }
        }
        // Who is sure knows the whole log, but for what it waits for.
        for of in [0, 1].into_iter().filter(|of| self.is_sure(*of)) {
            let writer = self.writers[usize::from(of)].as_ref();
            let unknown = writer.is_some_and(|writer| {
                let new = self.log.get(writer.log.len()..).unwrap_or_default();
                new.iter().any(|order| writer.waits.is_none_or(|waits| waits.order != *order))
            });
            if unknown {
                return Err("a writer that is sure does not know an entry".to_owned());
            }
        }
        Ok(())
    }
}

fn at(step: u8) -> Time {
    Time::from_millis(u64::from(step) * STEP)
}

fn lease() -> Duration {
    Duration::from_millis(u64::from(WRITERS_LEASE) * STEP)
}

/// Explores everything; how many worlds there are, or what is broken in one.
fn explore(faults: Faults) -> Result<usize, String> {
    let mut known = HashSet::from([World::new()]);
    let mut open = VecDeque::from([World::new()]);
    while let Some(world) = open.pop_front() {
        for next in world.next(faults).map_err(|why| format!("{why}: {world:?}"))? {
            next.check().map_err(|why| format!("{why}: {next:?}"))?;
            if known.insert(next.clone()) {
                open.push_back(next);
            }
        }
    }
    Ok(known.len())
}

#[test]
fn two_processes_are_one_control() {
    let worlds = explore(Faults::default()).unwrap_or_else(|why| panic!("{why}"));
    println!("{worlds} worlds");
    assert!(worlds > 100_000, "{worlds}");
}

#[test]
fn what_is_left_out_is_noticed() {
    for (faults, words) in [
        (Faults { no_fence: true, ..Faults::default() }, "does not know an entry"),
        (Faults { renews_always: true, ..Faults::default() }, "is completed"),
        (Faults { counts_from_before: true, ..Faults::default() }, "is completed"),
    ] {
        let broken = explore(faults).expect_err("it is noticed");
        assert!(broken.contains(words), "{faults:?}: {broken}");
    }
}
