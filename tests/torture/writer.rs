//! One who changes what the origin has and purges it.

use crate::change::Change;
use crate::door::Door;
use crate::program::{Answer, call, until};
use crate::random::Random;
use crate::support::Target;
use crate::world::World;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

/// Purges that are not completed and are asked about after each one.
const ASKED: usize = 3;

/// A writer, with what it waits for.
pub(crate) struct Writer {
    world: Arc<World>,
    control: SocketAddr,
    doors: Vec<Arc<Door>>,
    random: Random,
    /// Not completed yet, by id.
    open: Vec<(String, Arc<Change>)>,
    /// Completed without a node that had left, by its number: it obeys as soon as it is let in
    /// again, for then it trusts nothing from before. Until then nobody expects it.
    missed: Vec<(usize, u64, Arc<Change>)>,
    purged: u64,
}

impl Writer {
    pub(crate) fn new(
        world: Arc<World>,
        control: SocketAddr,
        doors: &[Arc<Door>],
        random: Random,
    ) -> Self {
        let (doors, open, missed) = (doors.to_vec(), Vec::new(), Vec::new());
        Self { world, control, doors, random, open, missed, purged: 0 }
    }

    /// Purges once for each order, until no more come; returns, once every purge is completed and
    /// every node there again, how many there were. `left` is 0 as soon as nothing matters any
    /// more.
    pub(crate) fn run(mut self, orders: &Mutex<Receiver<()>>, left: &AtomicU64) -> u64 {
        let next = || orders.lock().unwrap_or_else(PoisonError::into_inner).recv();
        while next().is_ok() {
            if left.load(Ordering::Relaxed) == 0 {
                continue;
            }
            self.purge();
            for _ in 0..ASKED.min(self.open.len()) {
                let one = self.random.below(self.open.len() as u64) as usize;
                let (id, change) = self.open.swap_remove(one);
                self.ask(id, change);
            }
        }
        let left = || {
            for (id, change) in std::mem::take(&mut self.open) {
                self.ask(id, change);
            }
            if self.open.is_empty() && !self.missed.is_empty() {
                self.purge();
            }
            (self.open.len(), self.missed.len())
        };
        until("every purge is completed, and a last one by every node", left, |left| {
            *left == (0, 0)
        });
        self.purged
    }

    /// Changes something and purges it, as often as it takes to be answered.
    fn purge(&mut self) {
        let change = self.world.change(&mut self.random);
        let reference = format!("{:016x}", self.random.next());
        let wait = self.random.of(&[0, 20, 20, 100, 500]);
        let body = body(&change, &reference, wait).to_string();
        // Control may be killed, and comes again.
        let answered = || told(call(self.control, "POST /v1/purges", &body));
        let told = until("the purge is answered", answered, Option::is_some).expect("just seen");
        assert_eq!(told["reference"], json!(reference), "{told}");
        self.purged += 1;
        let id = told["id"].as_str().expect("an id").to_owned();
        self.heard(id, change, &told);
    }

    /// Asks how far a purge has come.
    fn ask(&mut self, id: String, change: Arc<Change>) {
        match told(call(self.control, &format!("GET /v1/purges/{id}"), "")) {
            Some(told) => self.heard(id, change, &told),
            None => self.open.push((id, change)),
        }
    }

    /// Notes who obeys it. Each node that is named as `applied` had applied it before the answer
    /// was sent.
    fn heard(&mut self, id: String, change: Arc<Change>, told: &Value) {
        let completed = told["status"] == "completed";
        let seq = told["seq"].as_u64().expect("a seq");
        let nodes = told["nodes"].as_array().expect("a list");
        for door in &self.doors {
            let state = nodes.iter().find(|node| node["name"] == *door.name);
            match state.map(|node| &node["state"]) {
                Some(state) if state == "applied" => {
                    self.world.obeyed(&change, door.node);
                    let world = &self.world;
                    self.missed.retain(|(node, missed, change)| {
                        let obeyed = *node == door.node && *missed < seq;
                        if obeyed {
                            world.obeyed(change, *node);
                        }
                        !obeyed
                    });
                }
                // Nobody waits for a node that validates, once its lease is over.
                Some(state) if completed => {
                    assert_eq!(state, "lease_over", "on {} in {told}", door.name);
                    self.missed.push((door.node, seq, Arc::clone(&change)));
                }
                None if completed => self.missed.push((door.node, seq, Arc::clone(&change))),
                Some(_) | None => {}
            }
        }
        if !completed {
            self.open.push((id, change));
        }
    }
}

/// What control tells; nothing where it is just starting or ending, or was cut off in the middle.
fn told(answer: std::io::Result<Answer>) -> Option<Value> {
    let answer = answer.ok()?;
    let told = serde_json::from_str(&answer.body);
    match (answer.status, told) {
        (200 | 202, Ok(told)) => Some(told),
        (200 | 202 | 503, _) => None,
        (status, _) => panic!("{status}: {}", answer.body),
    }
}

/// The body of a purge.
fn body(change: &Change, reference: &str, wait: u64) -> Value {
    let mut body = json!({
        "reference": reference,
        "wait_ms": wait,
        "soft": change.soft,
        "versions": change.versions,
        "site": change.site,
    });
    let (field, value) = match &change.target {
        Target::Path(path) | Target::Pattern(path) => ("paths", json!([path])),
        Target::Prefix(prefix) => ("prefixes", json!([prefix])),
        Target::Url(url) => ("urls", json!([url])),
        Target::Tag(tag) | Target::AnyCaseTag(tag) => ("tags", json!([tag])),
        Target::Host(host) => ("hosts", json!([host])),
        Target::All => ("all", json!(true)),
    };
    body[field] = value;
    body
}
