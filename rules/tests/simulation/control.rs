//! Control: the ledger, durable up to the last fsync, and its sessions with nodes.

use crate::origin::{SITES, any_purge};
use crate::relay::Links;
use crate::world::{Event, NODES, PARENTS, World};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use weir_rules::invalidation::Seq;
use weir_rules::log::{
    Change, Entry, LogId, Mark, Reach, Release, Resume, Standing, Welcome, resume,
};
use weir_rules::relay::Link;

/// What is on control's disk.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    log: LogId,
    forgotten: Seq,
    forgotten_mark: Mark,
    /// The releases in force at `forgotten`.
    releases: BTreeMap<String, Option<String>>,
    entries: VecDeque<Held>,
    members: BTreeMap<usize, String>,
    /// The numbers of the orders that were compacted away; nobody but the judge knows them.
    gone: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Held {
    entry: Entry,
    order: Option<usize>,
    expected: BTreeSet<usize>,
    completed: bool,
}

#[derive(Debug)]
pub(crate) struct Control {
    ledger: Ledger,
    /// Waits for the next fsync.
    waiting: Vec<(Change, Option<usize>)>,
    syncing: bool,
    /// Grows with each start: what was under way before is dropped.
    run: u64,
    backup: Option<Ledger>,
    sessions: BTreeMap<usize, Session>,
    /// The edges that are attached to each parent.
    pub(crate) links: Links,
    /// How often a log began.
    logs: u64,
}

#[derive(Debug)]
struct Session {
    id: u64,
    sent: Seq,
    acknowledged: Seq,
    /// When the last line sent arrives: lines do not overtake each other.
    last_arrival: u64,
    /// A relay passes its own entries on.
    relayed: bool,
}

/// What control sends a node.
#[derive(Clone, Debug)]
pub(crate) enum Line {
    Welcome {
        welcome: Welcome,
        releases: BTreeMap<String, Option<String>>,
        /// What the node acknowledges by taking it, for the judge.
        gone: Vec<usize>,
    },
    Entry(Entry, Option<usize>),
    /// To a relay: an edge is attached, in this session.
    Linked {
        link: Link,
        session: u64,
    },
    Closed,
}

impl Ledger {
    fn new(log: LogId) -> Self {
        Self {
            log,
            forgotten: 0,
            forgotten_mark: 0,
            releases: BTreeMap::new(),
            entries: VecDeque::new(),
            members: BTreeMap::new(),
            gone: Vec::new(),
        }
    }

    fn head(&self) -> Seq {
        self.forgotten + self.entries.len() as Seq
    }

    fn held(&self, seq: Seq) -> Option<&Held> {
        self.entries.get(usize::try_from(seq.checked_sub(self.forgotten + 1)?).ok()?)
    }

    fn mark_of(&self, seq: Seq) -> Option<Mark> {
        self.held(seq).map(|held| held.entry.mark)
    }

    fn resume(&self, node: usize, standing: &Standing) -> Resume {
        let reach = Reach {
            log: &self.log,
            forgotten: self.forgotten,
            forgotten_mark: self.forgotten_mark,
            head: self.head(),
        };
        let member = self.members.get(&node).map(String::as_str);
        // Its nodes show what they were sent.
        resume(standing, member, &reach, |seq| self.mark_of(seq), |_, _| true)
    }

    fn orders(&self) -> impl Iterator<Item = usize> + '_ {
        self.gone.iter().copied().chain(self.entries.iter().filter_map(|held| held.order))
    }

    /// Whether a node has this membership.
    pub(crate) fn knows(&self, node: usize, member: &str) -> bool {
        self.members.get(&node).is_some_and(|known| known == member)
    }

    pub(crate) fn completed(&self) -> impl Iterator<Item = usize> + '_ {
        self.entries.iter().filter(|held| held.completed).filter_map(|held| held.order)
    }
}

impl Control {
    pub(crate) fn new() -> Self {
        Self {
            ledger: Ledger::new(LogId("log 0".to_owned())),
            waiting: Vec::new(),
            syncing: false,
            run: 0,
            backup: None,
            sessions: BTreeMap::new(),
            links: Links::default(),
            logs: 1,
        }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The session of a node.
    pub(crate) fn session_of(&self, node: usize) -> Option<u64> {
        self.sessions.get(&node).map(|session| session.id)
    }

    /// A node's session goes on through a relay, as this one.
    pub(crate) fn attach(&mut self, node: usize, id: u64) {
        if let Some(session) = self.sessions.get_mut(&node) {
            session.id = id;
            session.relayed = true;
        }
    }

    fn next_log(&mut self) -> LogId {
        self.logs += 1;
        LogId(format!("log {}", self.logs))
    }
}

impl World {
    /// Somebody changes the origin, then orders the purge.
    pub(crate) fn order(&mut self) {
        let purge = any_purge(&mut self.random);
        self.origin.change(&purge, &mut self.random);
        let number = self.judge.ordered(purge.clone(), self.step);
        self.control.waiting.push((Change::Purge(purge), Some(number)));
        self.sync_soon();
    }

    /// Somebody shows another release of a site.
    pub(crate) fn release(&mut self) {
        let site = self.random.of(&SITES).to_owned();
        let name = Some(self.random.below(3).to_string());
        self.control.waiting.push((Change::Release(Release { site, name }), None));
        self.sync_soon();
    }

    fn sync_soon(&mut self) {
        if !std::mem::replace(&mut self.control.syncing, true) {
            let run = self.control.run;
            self.after(8, Event::Synced { run });
        }
    }

    /// A transaction with all that waits is durable: answered, and published.
    pub(crate) fn synced(&mut self, run: u64) {
        if run != self.control.run {
            return;
        }
        self.control.syncing = false;
        let expected: BTreeSet<usize> = self.control.ledger.members.keys().copied().collect();
        for (mut change, order) in std::mem::take(&mut self.control.waiting) {
            let seq = self.control.ledger.head() + 1;
            if let Change::Purge(purge) = &mut change {
                purge.seq = seq;
            }
            let entry = Entry { seq, mark: self.random.mark(), change };
            let expected = expected.clone();
            self.control.ledger.entries.push_back(Held {
                entry,
                order,
                expected,
                completed: false,
            });
            self.judge.answered(order);
        }
        for node in 0..NODES {
            self.send(node);
        }
        self.complete();
    }

    /// Sends a node's session what is published and was not sent.
    fn send(&mut self, node: usize) {
        while let Some(session) = self.control.sessions.get_mut(&node) {
            if session.relayed || session.sent == self.control.ledger.head() {
                return;
            }
            let Some(held) = self.control.ledger.held(session.sent + 1) else {
                // Compacted away before the session came so far.
                return self.close(node);
            };
            session.sent += 1;
            let line = Line::Entry(held.entry.clone(), held.order);
            self.line(node, line);
        }
    }

    pub(crate) fn line(&mut self, node: usize, line: Line) {
        let delay = self.random.delay(6);
        if let Some(session) = self.control.sessions.get_mut(&node) {
            session.last_arrival = (self.now + delay).max(session.last_arrival + 1);
            let (at, id) = (session.last_arrival, session.id);
            self.at(at, Event::Line { node, session: id, line });
        }
    }

    /// Ends a session at control's side; the node hears of it when all that was sent has arrived.
    pub(crate) fn close(&mut self, node: usize) {
        self.line(node, Line::Closed);
        self.control.sessions.remove(&node);
        self.end_links(node);
    }

    /// Ends a session that this still is.
    pub(crate) fn part(&mut self, node: usize, session: u64) {
        if self.control.session_of(node) == Some(session) {
            self.control.sessions.remove(&node);
        }
    }

    /// A relay's connection is over, and with it the sessions of the edges behind it.
    fn end_links(&mut self, relay: usize) {
        if relay < PARENTS {
            let links = std::mem::take(&mut self.control.links[relay]);
            for (edge, session) in links.into_edges() {
                self.part(edge, session);
            }
        }
    }

    /// Control dies and starts again, with this ledger.
    fn start(&mut self, ledger: Ledger) {
        for node in 0..NODES {
            self.close(node);
        }
        self.control.ledger = ledger;
        self.control.waiting.clear();
        self.control.syncing = false;
        self.control.run += 1;
        let held = self.control.ledger.orders().collect();
        if let Some(lost) = self.judge.lost(&held) {
            self.broken(format!("order {lost} was answered and is lost"));
        }
    }

    pub(crate) fn crash_control(&mut self) {
        let ledger = self.control.ledger.clone();
        self.start(ledger);
    }

    pub(crate) fn backup(&mut self) {
        self.control.backup = Some(self.control.ledger.clone());
    }

    pub(crate) fn restore(&mut self, wiped: bool) {
        let ledger = match (wiped, self.control.backup.clone()) {
            (true, _) => Ledger::new(self.control.next_log()),
            (false, Some(backup)) => backup,
            (false, None) => return,
        };
        self.judge.thrown_away(&ledger.orders().collect());
        for (number, node) in self.nodes.iter_mut().enumerate() {
            let member = node.position.standing().member.as_deref();
            node.counted &= member.is_some_and(|member| ledger.knows(number, member));
        }
        self.start(ledger);
    }

    pub(crate) fn compact(&mut self) {
        let ledger = &mut self.control.ledger;
        for _ in 0..1 + self.random.below(4) {
            let Some(held) = ledger.entries.pop_front() else { return };
            ledger.forgotten = held.entry.seq;
            ledger.forgotten_mark = held.entry.mark;
            ledger.gone.extend(held.order);
            if let Change::Release(release) = held.entry.change {
                ledger.releases.insert(release.site, release.name);
            }
        }
    }

    pub(crate) fn forget(&mut self, node: usize) {
        if self.control.sessions.contains_key(&node) {
            return;
        }
        self.control.ledger.members.remove(&node);
        for held in &mut self.control.ledger.entries {
            held.expected.remove(&node);
        }
        self.nodes[node].counted = false;
        self.complete();
    }

    /// A node's hello.
    pub(crate) fn hello(&mut self, node: usize, session: u64, standing: &Standing) {
        self.control.sessions.remove(&node);
        self.end_links(node);
        let (after, keep) = match self.control.ledger.resume(node, standing) {
            Resume::After(after) => (after, true),
            Resume::Empty(after) => (after, false),
            Resume::Restored => {
                self.control.ledger.log = self.control.next_log();
                for node in 0..NODES {
                    self.close(node);
                }
                self.at(self.now + 1, Event::Line { node, session, line: Line::Closed });
                return;
            }
        };
        if !keep {
            let member = self.random.mark().to_string();
            self.control.ledger.members.insert(node, member);
        }
        let ledger = &self.control.ledger;
        let mut releases = ledger.releases.clone();
        for held in ledger.entries.iter().take_while(|held| held.entry.seq <= after) {
            if let Change::Release(release) = &held.entry.change {
                releases.insert(release.site.clone(), release.name.clone());
            }
        }
        let mark = match after {
            after if after == ledger.forgotten => ledger.forgotten_mark,
            after => ledger.mark_of(after).unwrap_or_default(),
        };
        let member = ledger.members.get(&node).cloned().unwrap_or_default();
        let welcome =
            Welcome { log: ledger.log.clone(), member, after, mark, keep, head: ledger.head() };
        let gone = if keep { Vec::new() } else { ledger.gone.clone() };
        let (sent, last_arrival) = (after, self.now);
        let new = Session { id: session, sent, acknowledged: 0, last_arrival, relayed: false };
        self.control.sessions.insert(node, new);
        self.line(node, Line::Welcome { welcome, releases, gone });
        self.send(node);
    }

    pub(crate) fn acknowledged(&mut self, node: usize, session: u64, seq: Seq) {
        let Some(known) = self.control.sessions.get_mut(&node) else { return };
        if known.id == session {
            known.acknowledged = known.acknowledged.max(seq);
            self.complete();
        }
    }

    /// Calls completed what every expected node has acknowledged.
    fn complete(&mut self) {
        let sessions = &self.control.sessions;
        let mut early = None;
        for held in self.control.ledger.entries.iter_mut().filter(|held| !held.completed) {
            let done = |node: &usize| {
                sessions.get(node).is_some_and(|session| session.acknowledged >= held.entry.seq)
            };
            if held.expected.iter().all(done) {
                held.completed = true;
                let missing = |node: &&usize| {
                    held.order.is_some_and(|order| !self.nodes[**node].owed.contains(&order))
                };
                early = early.or(held.expected.iter().find(missing).copied());
            }
        }
        if let Some(node) = early {
            self.broken(format!("completed, and node {node} had not applied it"));
        }
    }
}
