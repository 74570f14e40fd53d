//! What happens to the processes and to the lines between them.

use crate::door::Door;
use crate::program::{Folder, Topology};
use crate::random::Random;
use crate::shape::{Between, Shape};
use crate::tally::Tally;
use rustix::process::Signal;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many of the last events are told when something is wrong.
const TOLD: usize = 40;

/// The last that happened, and when.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<VecDeque<(Instant, String)>>>);

impl Events {
    fn note(&self, event: String) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() == TOLD {
            events.pop_front();
        }
        events.push_back((Instant::now(), event));
    }
}

impl fmt::Display for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what happened last:\n")?;
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, event) in events.iter() {
            writeln!(f, "{event} {:?} ago", at.elapsed())?;
        }
        Ok(())
    }
}

/// Who disturbs.
pub(crate) struct Chaos {
    topology: Topology,
    doors: Vec<Arc<Door>>,
    nodes: Vec<Patient>,
    lines: Vec<(Between, Option<Ill>)>,
    /// Kept until the nodes have ended.
    _disks: Vec<Folder>,
    control_is_down: bool,
    random: Random,
    events: Events,
    tally: Tally,
}

/// A node, and what was done to it.
struct Patient {
    name: String,
    ill: Option<Ill>,
}

/// What is wrong with a node, or with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ill {
    Dead,
    Asleep,
    CutOff,
    HeldBack,
}

impl Chaos {
    pub(crate) fn new(shape: Shape, random: Random) -> (Self, Events) {
        let Shape { topology, doors, between, disks } = shape;
        let names = topology.names().into_iter();
        let nodes = names.map(|name| Patient { name, ill: None }).collect();
        let lines = between.into_iter().map(|between| (between, None)).collect();
        let (events, tally, control_is_down) = (Events::default(), Tally::default(), false);
        let told = events.clone();
        let chaos = Self {
            topology,
            doors,
            nodes,
            lines,
            _disks: disks,
            control_is_down,
            random,
            events,
            tally,
        };
        (chaos, told)
    }

    /// Disturbs until nothing is left to be read; then makes everything whole again, and returns
    /// when every node has caught up. Tells how often it did what.
    pub(crate) fn run(mut self, left: &AtomicU64) -> (Topology, Tally) {
        while left.load(Ordering::Relaxed) > 0 {
            self.disturb();
            std::thread::sleep(Duration::from_millis(5 + self.random.below(100)));
        }
        self.heal();
        (self.topology, self.tally)
    }

    fn note(&mut self, what: &str, whom: &str) {
        self.events.note(format!("{what} {whom}"));
        self.tally.count(format!("{what}s"));
    }

    fn disturb(&mut self) {
        match self.random.below(if self.lines.is_empty() { 4 } else { 6 }) {
            0 => self.disturb_control(),
            1..4 => self.disturb_node(),
            _ => self.disturb_line(),
        }
    }

    fn disturb_control(&mut self) {
        if self.control_is_down {
            self.start_control();
        } else if self.random.once_in(3) {
            self.note("kill", "control");
            self.topology.kill_control();
            self.control_is_down = true;
        }
    }

    fn start_control(&mut self) {
        self.note("start", "control");
        self.topology.start_control();
        self.control_is_down = false;
    }

    fn disturb_node(&mut self) {
        let one = self.random.below(self.nodes.len() as u64) as usize;
        if self.nodes[one].ill.is_some() {
            return self.cure_node(one);
        }
        // So many that reading goes on.
        let ill = self.nodes.iter().filter(|node| node.ill.is_some()).count();
        if ill * 2 >= self.nodes.len() {
            return;
        }
        let name = self.nodes[one].name.clone();
        let (what, ill) = match self.random.below(12) {
            0..3 => {
                self.close(&name);
                self.topology.kill_node(&name);
                ("kill", Some(Ill::Dead))
            }
            3..6 => {
                self.topology.node(&name).signal(Signal::STOP);
                ("pause", Some(Ill::Asleep))
            }
            6..8 => {
                self.topology.line(&name).cut();
                ("cut", Some(Ill::CutOff))
            }
            8..10 => {
                self.topology.line(&name).hold();
                ("hold", Some(Ill::HeldBack))
            }
            10 => {
                self.topology.node(&name).signal(Signal::HUP);
                ("reload", None)
            }
            _ => {
                self.close(&name);
                assert_eq!(self.topology.drain_node(&name), Some(0), "{name} drains");
                ("drain", Some(Ill::Dead))
            }
        };
        self.nodes[one].ill = ill;
        self.note(what, &name);
    }

    fn cure_node(&mut self, one: usize) {
        let Some(ill) = self.nodes[one].ill.take() else { return };
        let name = self.nodes[one].name.clone();
        let what = match ill {
            Ill::Dead => {
                self.topology.run_node(&name);
                self.has_moved(&name);
                "start"
            }
            Ill::Asleep => {
                self.topology.node(&name).signal(Signal::CONT);
                "wake"
            }
            Ill::CutOff => {
                self.topology.line(&name).mend();
                "mend"
            }
            Ill::HeldBack => {
                self.topology.line(&name).let_go();
                "let go"
            }
        };
        self.note(what, &name);
    }

    fn close(&self, name: &str) {
        self.doors.iter().filter(|door| door.name == name).for_each(|door| door.close());
    }

    /// A node that was restarted listens elsewhere.
    fn has_moved(&self, name: &str) {
        let at = self.topology.node(name).listen;
        self.doors.iter().filter(|door| door.name == name).for_each(|door| door.open(at));
        let lines = self.lines.iter().map(|(between, _)| between);
        lines.filter(|between| between.to == name).for_each(|between| between.line.lead_to(at));
    }

    fn disturb_line(&mut self) {
        let one = self.random.below(self.lines.len() as u64) as usize;
        if self.lines[one].1.is_some() {
            return self.mend_line(one);
        }
        let (what, ill) = self.random.of(&[("cut", Ill::CutOff), ("hold", Ill::HeldBack)]);
        let (between, state) = &mut self.lines[one];
        match ill {
            Ill::HeldBack => between.line.hold(),
            _ => between.line.cut(),
        }
        *state = Some(ill);
        let whom = between.to_string();
        self.note(what, &whom);
    }

    fn mend_line(&mut self, one: usize) {
        let (between, state) = &mut self.lines[one];
        let what = match state.take() {
            Some(Ill::HeldBack) => {
                between.line.let_go();
                "let go"
            }
            Some(_) => {
                between.line.mend();
                "mend"
            }
            None => return,
        };
        let whom = between.to_string();
        self.note(what, &whom);
    }

    /// Everything as it was.
    fn heal(&mut self) {
        if self.control_is_down {
            self.start_control();
        }
        for one in 0..self.nodes.len() {
            self.cure_node(one);
        }
        for one in 0..self.lines.len() {
            self.mend_line(one);
        }
        for name in self.topology.names() {
            self.topology.until_joined(&name);
        }
    }
}
