//! Simulated, in this process and in its own time: more edges behind relays than run on one machine, over long lines
//! that lose packets. What relays and control conclude, and the lines that they write, are the real
//! code's ([`weir_rules::relay`], [`weir_protocol`]); how long lines and work take is assumed, as the
//! constants say.

use super::of_hundred;
use crate::check::Checks;
use crate::dice::Dice;
use crate::{Error, scaled};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use weir_protocol::frame::{FromControl, FromNode};
use weir_protocol::lines::write_line;
use weir_protocol::stats::Stats;
use weir_protocol::unread::Unread;
use weir_rules::invalidation::{Purge, Seq, Target};
use weir_rules::log::{Change, Entry};
use weir_rules::relay::{AppliedBehind, Attached, Behind, Link};

/// At full size.
const EDGES: u64 = 100_000;
const RELAYS: u64 = 300;
const PURGES: u64 = 200;
/// A second.
const RATE: u64 = 10;
/// From control to a relay and back, each way, from the least to the most: microseconds.
const FAR: (u64, u64) = (10_000, 300_000);
/// From a relay to an edge and back, each way, where edges are near theirs.
const NEAR: (u64, u64) = (500, 10_000);
/// One of so many packets is lost.
const LOST: u64 = 1_000;
/// How much later than a round trip a lost packet is sent again, as TCP does at the earliest.
const AGAIN: u64 = 200_000;
/// What a relay takes for each line that it reads or writes.
const WORK: u64 = 10;
/// What an edge takes to apply a purge and make that durable.
const APPLY: u64 = 2_000;
/// How long a relay gathers acknowledgements.
const GATHER: u64 = 2_000;

/// Purges at such a fleet: with the edges near their relays, and as far from them as those from control.
pub(super) fn run(scale: f64, checks: &mut Checks) -> Result<(), Error> {
    let relays = scaled(RELAYS, scale, 3);
    let edges = scaled(EDGES, scale, 300);
    for (what, reach) in [("near", NEAR), ("far", FAR)] {
        let name = format!(
            "fleet, SIMULATED: {edges} edges behind {relays} relays, edges {what}, {RATE} purges a second"
        );
        let mut fleet = Fleet::new(relays, edges, reach)?;
        let purges = scaled(PURGES, scale, 20);
        fleet.run(purges)?;
        let all = fleet.took.len() as u64 == purges;
        let figure = format!("{} of {purges}", fleet.took.len());
        checks.check(&format!("{name}: all applied it"), all, figure, "all");
        let mut times: Vec<f64> = fleet.took.iter().map(|took| *took as f64 / 1e3).collect();
        checks.note(
            &format!("{name}: until all applied it, 1, 50, 90, 99 and 100 in 100"),
            format!("{:.0?} ms", [1, 50, 90, 99, 100].map(|part| of_hundred(&mut times, part))),
        );
        checks.note(
            &format!("{name}: no line lost anything, at the earliest"),
            format!("{} ms", fleet.least() / 1000),
        );
        let seconds = purges as f64 / RATE as f64;
        let each = |bytes: u64| format!("{:.0} KB", bytes as f64 / seconds / 1e3);
        checks.note(
            &format!("{name}: control sends and hears for it, a second"),
            format!("{} and {}", each(fleet.sent), each(fleet.heard)),
        );
    }
    let [sent, heard] = heartbeat()?;
    checks.note(
        "fleet, SIMULATED: control sends and hears beside that, for each edge a second",
        format!("{sent} and {heard} bytes"),
    );
    Ok(())
}

/// The bytes of a heartbeat to an edge behind a relay, and of its answer.
fn heartbeat() -> Result<[u64; 2], Error> {
    let heartbeat = FromControl::Heartbeat {
        head: Some(1_000_000),
        heard: Some(86_400),
        retention: Some(100_000),
    };
    let relayed = FromControl::Relayed { link: 1_000, line: Unread::of(&heartbeat)? };
    let alive = FromNode::Alive(Stats { uptime_ms: 86_400_000, ..Stats::default() });
    let answer = FromNode::Relayed { link: 1_000, line: Unread::of(&alive)? };
    Ok([length(&relayed)?, length(&answer)?])
}

/// The bytes of a line.
fn length(line: &impl serde::Serialize) -> Result<u64, Error> {
    let mut out = Vec::new();
    write_line(&mut out, line)?;
    Ok(out.len() as u64)
}

/// One direction of a connection.
#[derive(Clone, Copy)]
struct Line {
    delay: u64,
    /// When the last of what was sent arrives: nothing overtakes it.
    last: u64,
}

impl Line {
    fn of(dice: &mut Dice, (least, most): (u64, u64)) -> Self {
        Self { delay: least + dice.below(most - least + 1), last: 0 }
    }

    /// When what is sent now arrives.
    fn arrival(&mut self, now: u64, dice: &mut Dice) -> u64 {
        let (mut at, mut pause) = (now + self.delay, 2 * self.delay + AGAIN);
        while dice.below(LOST) == 0 {
            at += pause;
            pause *= 2;
        }
        self.last = self.last.max(at);
        self.last
    }
}

struct Edge {
    down: Line,
    up: Line,
    /// What control knows that it has applied.
    known: Seq,
}

struct Relay {
    down: Line,
    up: Line,
    /// Its edges, the first and the one after the last; the number of its link is one more than the
    /// edge's number.
    edges: std::ops::Range<usize>,
    /// Until when it is at work.
    busy: u64,
    behind: Behind,
    due: Option<u64>,
    attached: Attached<usize>,
}

enum What {
    /// Control appends a purge.
    Append(Seq),
    /// An entry comes to a relay.
    Entry(usize, Seq),
    /// An edge's acknowledgement comes to its relay.
    Applied(usize, usize, Seq),
    /// A relay has gathered for long enough.
    Due(usize),
    /// What a relay says comes to control.
    Said(usize, Box<AppliedBehind>),
}

/// Something that is to happen; ordered by when, and then by which was planned first.
struct Event(u64, u64, What);

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

struct Fleet {
    dice: Dice,
    now: u64,
    events: BinaryHeap<Reverse<Event>>,
    planned: u64,
    relays: Vec<Relay>,
    edges: Vec<Edge>,
    /// By seq: when it was appended, and how many edges have applied it.
    purges: Vec<(u64, usize)>,
    /// From the append until control knew that all edges had applied it.
    took: Vec<u64>,
    /// Bytes of control, to relays and from them.
    sent: u64,
    heard: u64,
}

impl Fleet {
    fn new(relays: u64, edges: u64, reach: (u64, u64)) -> Result<Self, Error> {
        let mut dice = Dice::of(1);
        let (relays, edges) = (usize::try_from(relays)?, usize::try_from(edges)?);
        let edge = |dice: &mut Dice| {
            let line = Line::of(dice, reach);
            Edge { down: line, up: line, known: 0 }
        };
        let all: Vec<Edge> = (0..edges).map(|_| edge(&mut dice)).collect();
        let relay = |number: usize| {
            let line = Line::of(&mut dice, FAR);
            let edges = number * edges / relays..(number + 1) * edges / relays;
            let (mut behind, mut attached) = (Behind::default(), Attached::default());
            for edge in edges.clone() {
                behind.begin(link(edge), 0);
                attached.begin(link(edge), edge);
            }
            Relay { down: line, up: line, edges, busy: 0, behind, due: None, attached }
        };
        let relays = (0..relays).map(relay).collect();
        let (events, purges, took) = (BinaryHeap::new(), Vec::new(), Vec::new());
        let (now, planned, sent, heard) = (0, 0, 0, 0);
        Ok(Self { dice, now, events, planned, relays, edges: all, purges, took, sent, heard })
    }

    /// The time that the longest way takes if nothing is lost, and nothing waits for anything else.
    fn least(&self) -> u64 {
        let way = |relay: &Relay| {
            let edges = self.edges[relay.edges.clone()].iter();
            2 * relay.down.delay + 2 * edges.map(|edge| edge.down.delay).max().unwrap_or_default()
        };
        self.relays.iter().map(way).max().unwrap_or_default() + APPLY
    }

    fn run(&mut self, purges: u64) -> Result<(), Error> {
        for seq in 1..=purges {
            self.plan((seq - 1) * 1_000_000 / RATE, What::Append(seq));
        }
        self.purges = vec![(0, 0); usize::try_from(purges)? + 1];
        while let Some(Reverse(Event(at, _, what))) = self.events.pop() {
            self.now = at;
            match what {
                What::Append(seq) => self.append(seq)?,
                What::Entry(relay, seq) => self.pass(relay, seq),
                What::Applied(relay, edge, seq) => self.applied(relay, edge, seq)?,
                What::Due(relay) if self.relays[relay].due == Some(at) => self.say(relay)?,
                What::Due(_) => {}
                What::Said(relay, said) => self.acknowledged(relay, &said),
            }
        }
        Ok(())
    }

    fn plan(&mut self, at: u64, what: What) {
        self.planned += 1;
        self.events.push(Reverse(Event(at, self.planned, what)));
    }

    fn append(&mut self, seq: Seq) -> Result<(), Error> {
        let targets = vec![Target::Path(format!("/articles/{seq}"))];
        let purge = Purge { seq, targets, site: None, soft: false, versions: false };
        let entry = Entry { seq, mark: u64::MAX, change: Change::Purge(purge) };
        self.sent += length(&FromControl::Entry(entry))? * self.relays.len() as u64;
        self.purges[seq as usize].0 = self.now;
        for relay in 0..self.relays.len() {
            let at = self.relays[relay].down.arrival(self.now, &mut self.dice);
            self.plan(at, What::Entry(relay, seq));
        }
        Ok(())
    }

    /// A relay applies an entry and passes it on.
    fn pass(&mut self, relay: usize, seq: Seq) {
        let mut at = self.relays[relay].busy.max(self.now) + APPLY;
        for edge in self.relays[relay].edges.clone() {
            at += WORK;
            let end = &mut self.edges[edge];
            let there = end.down.arrival(at, &mut self.dice);
            let back = end.up.arrival(there + APPLY, &mut self.dice);
            self.plan(back, What::Applied(relay, edge, seq));
        }
        self.relays[relay].busy = at;
    }

    fn applied(&mut self, relay: usize, edge: usize, seq: Seq) -> Result<(), Error> {
        let end = &mut self.relays[relay];
        end.busy = end.busy.max(self.now) + WORK;
        end.behind.applied(link(edge), seq);
        let is_even = end.behind.is_even();
        if end.due.is_none() {
            let due = self.now + GATHER;
            end.due = Some(due);
            self.plan(due, What::Due(relay));
        }
        if is_even { self.say(relay) } else { Ok(()) }
    }

    fn say(&mut self, relay: usize) -> Result<(), Error> {
        let end = &mut self.relays[relay];
        end.due = None;
        let Some(said) = end.behind.say() else { return Ok(()) };
        let at = end.up.arrival(self.now, &mut self.dice);
        self.heard += length(&FromNode::AppliedBehind(said.clone()))?;
        self.plan(at, What::Said(relay, Box::new(said)));
        Ok(())
    }

    /// Control hears what a relay says.
    fn acknowledged(&mut self, relay: usize, said: &AppliedBehind) {
        let all = self.edges.len();
        for (edge, seq) in self.relays[relay].attached.acknowledged(said) {
            let end = &mut self.edges[*edge];
            for seq in end.known + 1..=seq {
                let (at, applied) = &mut self.purges[seq as usize];
                *applied += 1;
                if *applied == all {
                    self.took.push(self.now - *at);
                }
            }
            end.known = end.known.max(seq);
        }
    }
}

/// The number of an edge's link.
fn link(edge: usize) -> Link {
    edge as Link + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purge_is_completed_after_the_longest_way_at_the_earliest() {
        let mut fleet = Fleet::new(4, 200, NEAR).expect("a fleet");
        fleet.run(30).expect("it runs");
        assert_eq!(fleet.took.len(), 30);
        let least = fleet.least();
        assert!(fleet.took.iter().all(|took| *took >= least), "{:?} {least}", fleet.took);
        assert!(fleet.edges.iter().all(|edge| edge.known == 30));
        assert!(fleet.sent > 0 && fleet.heard > 0);
    }

    #[test]
    fn what_was_sent_later_arrives_later() {
        let mut dice = Dice::of(3);
        let mut line = Line { delay: 1_000, last: 0 };
        let arrivals: Vec<u64> = (0..20_000).map(|now| line.arrival(now * 10, &mut dice)).collect();
        assert!(arrivals.is_sorted());
        let late = arrivals.iter().zip(0_u64..).filter(|(at, now)| **at > now * 10 + 1_000);
        assert!(late.count() > 20, "some are lost");
    }
}
