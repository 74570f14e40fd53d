//! The counters of who is behind, held against a list for each entry of who has yet to apply it,
//! over random histories.

use super::oracle_arrivals::Arrivals;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const NODES: usize = 4;

#[derive(Clone, Debug)]
enum Op {
    Purge,
    Release,
    /// The node's newest process connects again, and goes on where it stood.
    Again(usize),
    /// A new process of the node has nothing stored.
    Empty(usize),
    /// A further process takes over from the newest.
    Beside(usize),
    /// One of its processes applies so many entries more.
    Apply(usize, usize, Seq),
    Hear(usize),
    /// The connection of one of its processes ends.
    Part(usize, usize),
    /// One of its processes drains.
    Leave(usize, usize),
    Forget(usize),
    /// So many seconds pass.
    Pass(u64),
    /// Control restarts.
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let (node, process) = (0..NODES, 0..3_usize);
    let of = (node.clone(), process);
    prop_oneof![
        6 => Just(Op::Purge),
        1 => Just(Op::Release),
        3 => node.clone().prop_map(Op::Again),
        3 => node.clone().prop_map(Op::Empty),
        2 => node.clone().prop_map(Op::Beside),
        9 => (of.clone(), 0..5_u64).prop_map(|((node, nth), more)| Op::Apply(node, nth, more)),
        1 => node.clone().prop_map(Op::Hear),
        2 => of.clone().prop_map(|(node, nth)| Op::Part(node, nth)),
        1 => of.prop_map(|(node, nth)| Op::Leave(node, nth)),
        1 => node.prop_map(Op::Forget),
        2 => (1..30_u64).prop_map(Op::Pass),
        1 => Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn counters_say_of_each_entry_what_a_list_for_each_says(
        ops in prop::collection::vec(op(), 1..80)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for op in ops {
                world.act(op.clone()).await;
                world.check(&op);
            }
        });
    }
}

/// A process, as it knows itself.
#[derive(Debug)]
struct Process {
    instance: String,
    session: Option<Joined>,
    standing: Standing,
}

/// A node, as each entry's list was once kept.
#[derive(Debug)]
struct Listing {
    joined_at: Seq,
    /// What each process applied.
    processes: BTreeMap<String, Seq>,
    applied: Seq,
    heard: Instant,
    lease_over: bool,
}

struct World {
    disk: Disk,
    ledger: Arc<Ledger>,
    now: Instant,
    instances: usize,
    processes: [Vec<Process>; NODES],
    nodes: BTreeMap<String, Listing>,
    entries: BTreeMap<Seq, (bool, Arrivals)>,
}

fn name(node: usize) -> String {
    format!("n{node}")
}

/// Every other node validates what it has once its lease is over.
fn validates(node: usize) -> Option<u64> {
    node.is_multiple_of(2).then_some(15_000)
}

impl World {
    fn new() -> Self {
        let disk = Disk::default();
        Self {
            ledger: on(&disk),
            disk,
            now: Instant::now(),
            instances: 0,
            processes: Default::default(),
            nodes: BTreeMap::new(),
            entries: BTreeMap::new(),
        }
    }

    async fn act(&mut self, op: Op) {
        match op {
            Op::Purge => {
                self.note_leases();
                let listed = self.ledger.purge(order("/", None), me()).await.unwrap();
                self.appended(listed.seq(), true);
            }
            Op::Release => {
                let release = Release { site: "shop".into(), name: None };
                let listed = self.ledger.release(release).await.unwrap();
                self.appended(listed.seq(), false);
            }
            Op::Again(node) => {
                if let Some(process) = self.processes[node].last() {
                    let (instance, standing) = (process.instance.clone(), process.standing.clone());
                    self.join(node, instance, None, standing).await;
                }
            }
            Op::Empty(node) => {
                self.processes[node].iter_mut().for_each(|process| {
                    if let Some(joined) = process.session.take() {
                        self.ledger.parted(joined.session);
                    }
                });
                let instance = self.instance();
                self.join(node, instance, None, Standing::default()).await;
            }
            Op::Beside(node) => {
                let of = self.processes[node].last().map(|process| process.instance.clone());
                if of.is_some() {
                    let instance = self.instance();
                    self.join(node, instance, of, Standing::default()).await;
                }
            }
            Op::Apply(node, nth, more) => self.apply(node, nth, more),
            Op::Hear(node) => {
                let newest = self.processes[node].last().and_then(|newest| newest.session.as_ref());
                if let Some(joined) = newest {
                    self.ledger.heard(joined.session, self.now, None);
                    self.hear(&name(node));
                }
            }
            Op::Part(node, nth) => {
                let process = self.processes[node].get_mut(nth);
                if let Some(joined) = process.and_then(|process| process.session.take()) {
                    self.ledger.parted(joined.session);
                }
            }
            Op::Leave(node, nth) => {
                let process = self.processes[node].get_mut(nth);
                let Some(joined) = process.and_then(|process| process.session.take()) else {
                    return;
                };
                let gone = self.processes[node].remove(nth);
                self.ledger.leave(joined.session).await.unwrap();
                if self.processes[node].is_empty() {
                    self.forgotten(&name(node));
                } else {
                    let listing = self.nodes.get_mut(&name(node)).unwrap();
                    listing.processes.remove(&gone.instance);
                    self.settle(&name(node));
                }
            }
            Op::Forget(node) => {
                self.ledger.forget(vec![name(node)]).await.unwrap();
                self.processes[node].clear();
                self.forgotten(&name(node));
            }
            Op::Pass(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.note_leases();
            }
            Op::Reopen => {
                let held = std::mem::replace(&mut self.ledger, in_memory(1));
                drop(Arc::into_inner(held).expect("nobody else holds it"));
                self.disk = self.disk.rebooted();
                self.ledger = on(&self.disk);
                let started = Instant::now();
                self.processes.iter_mut().flatten().for_each(|process| process.session = None);
                for node in self.nodes.values_mut() {
                    (node.heard, node.lease_over) = (started, false);
                }
            }
        }
    }

    fn instance(&mut self) -> String {
        self.instances += 1;
        format!("i{}", self.instances)
    }

    async fn join(
        &mut self,
        node: usize,
        instance: String,
        takes_over: Option<String>,
        standing: Standing,
    ) {
        let hello = Hello {
            instance: instance.clone(),
            takes_over,
            validates_after_ms: validates(node),
            ..hello(&name(node), &standing)
        };
        let head = self.ledger.head();
        let Ok(joined) = self.ledger.arrive(&hello, self.now).await else { return };
        let place = joined.welcomed.place.clone();
        let left: Vec<_> = {
            let state = self.ledger.shared.state();
            let record = &state.nodes.get(&*name(node)).unwrap().record;
            record.processes.iter().map(|process| process.instance.clone()).collect()
        };
        self.processes[node]
            .retain(|process| process.instance != instance && left.contains(&process.instance));
        let held = Standing {
            log: Some(place.log),
            member: Some(place.member),
            applied: place.after,
            mark: place.mark,
            checked: None,
        };
        self.processes[node].push(Process {
            instance: instance.clone(),
            session: Some(joined),
            standing: held,
        });
        self.processes[node]
            .sort_by_key(|process| left.iter().position(|one| *one == process.instance));
        let listing = self.nodes.entry(name(node)).or_insert_with(|| Listing {
            joined_at: head,
            processes: BTreeMap::new(),
            applied: 0,
            heard: self.now,
            lease_over: false,
        });
        listing.processes.retain(|known, _| left.contains(known));
        let applied = listing.processes.entry(instance.clone()).or_default();
        if place.keep {
            *applied = (*applied).max(standing.applied);
            self.settle(&name(node));
        }
        let listing = self.nodes.get_mut(&name(node)).unwrap();
        listing.processes.insert(instance, place.after);
        listing.applied = listing.processes.values().copied().min().unwrap();
        self.hear(&name(node));
    }

    fn apply(&mut self, node: usize, nth: usize, more: Seq) {
        let head = self.ledger.head();
        let Some(process) = self.processes[node].get_mut(nth) else { return };
        let Some(joined) = &process.session else { return };
        let seq = (process.standing.applied + more).min(head);
        if let Some(at) = seq.checked_sub(1).filter(|_| seq > process.standing.applied) {
            process.standing.mark = self.ledger.after(at, 1).unwrap()[0].entry.mark;
            process.standing.applied = seq;
        }
        assert!(self.ledger.applied(joined.session, seq, self.now));
        let instance = process.instance.clone();
        self.hear(&name(node));
        let listing = self.nodes.get_mut(&name(node)).unwrap();
        let applied = listing.processes.get_mut(&instance).unwrap();
        *applied = (*applied).max(seq);
        self.settle(&name(node));
    }

    fn appended(&mut self, seq: Seq, is_purge: bool) {
        let expected = self.nodes.iter().filter(|(_, node)| node.joined_at < seq);
        let mut arrivals = Arrivals::expecting(expected.map(|(name, _)| name.clone()));
        for (name, _) in self.nodes.iter().filter(|(_, node)| is_purge && node.lease_over) {
            arrivals.lease_over(name);
        }
        arrivals.complete();
        self.entries.insert(seq, (is_purge, arrivals));
    }

    fn hear(&mut self, name: &str) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.heard = node.heard.max(self.now);
            node.lease_over = false;
        }
    }

    fn settle(&mut self, name: &str) {
        let node = self.nodes.get_mut(name).unwrap();
        // What came before it was for another node of its name, and is not told of it. (The lists were
        // kept by name, and told it of this one.)
        let before = node.applied.max(node.joined_at);
        node.applied = node.processes.values().copied().min().unwrap();
        if node.applied > before {
            for (_, (_, arrivals)) in self.entries.range_mut(before + 1..=node.applied) {
                arrivals.applied(name);
                arrivals.complete();
            }
        }
    }

    fn note_leases(&mut self) {
        self.ledger.note_leases(self.now);
        for (at, node) in &mut self.nodes {
            let lease = validates(at[1..].parse().unwrap()).map(Duration::from_millis);
            let silence = self.now.saturating_duration_since(node.heard);
            let is_over = |lease| weir_rules::lease::is_surely_over(lease, silence);
            if node.lease_over || !lease.is_some_and(is_over) {
                continue;
            }
            node.lease_over = true;
            for (is_purge, arrivals) in self.entries.values_mut() {
                if *is_purge && !arrivals.complete() {
                    arrivals.lease_over(at);
                    arrivals.complete();
                }
            }
        }
    }

    fn forgotten(&mut self, name: &str) {
        self.nodes.remove(name);
        for (_, arrivals) in self.entries.values_mut() {
            if !arrivals.complete() {
                arrivals.forget(name);
                arrivals.complete();
            }
        }
    }

    fn check(&mut self, op: &Op) {
        let connected = |name: &str| {
            let node: usize = name[1..].parse().unwrap();
            self.processes[node].iter().any(|process| process.session.is_some())
        };
        let listed = self.ledger.after(0, usize::MAX).unwrap();
        assert_eq!(listed.len(), self.entries.len());
        let mut incomplete = 0;
        for listed in listed {
            let (_, arrivals) = self.entries.get_mut(&listed.seq()).unwrap();
            let told = states(&self.ledger, &listed);
            assert_eq!(told, arrivals.states(connected), "{} after {op:?}", listed.seq());
            let completed = arrivals.complete();
            assert_eq!(listed.completed().is_some(), completed, "{} after {op:?}", listed.seq());
            incomplete += usize::from(!completed);
        }
        assert_eq!(self.ledger.counts().incomplete, incomplete);
    }
}
