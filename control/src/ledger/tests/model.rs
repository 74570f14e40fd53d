//! Random histories of control and its nodes, held against what was answered: crashes at any
//! batch, failing disks, nodes that come and go, backups brought back.

use super::disk::Fate;
use super::*;
use crate::journal::Contents;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use weir_rules::log::{Mark, Position};

const NODES: usize = 3;
const RETENTION: usize = 8;

#[derive(Clone, Debug)]
enum Op {
    /// Orders at once: a path each, and perhaps a reference.
    Purge(Vec<(u8, Option<u8>)>),
    Join(usize),
    /// A node joins while a purge is ordered.
    JoinAmid(usize),
    /// A connected node applies what comes next, at most so much.
    Apply(usize, usize),
    Part(usize),
    Leave(usize),
    Forget(usize),
    /// A node's process restarts, with its store checked up to so many entries before what it
    /// applied, or without anything.
    Restart(usize, Option<Seq>),
    Doom(Fate),
    /// Control restarts, after a crash or an orderly end.
    Reopen(bool),
    Backup,
    /// The backup is put where the journal was.
    Restore,
}

fn op() -> impl Strategy<Value = Op> {
    let purge = (0..3_u8, prop::option::of(0..3_u8));
    let node = 0..NODES;
    let fate = prop_oneof![
        Just(Fate::Refused),
        Just(Fate::TakenUnsaid),
        Just(Fate::CrashBefore),
        Just(Fate::CrashAfter)
    ];
    prop_oneof![
        6 => prop::collection::vec(purge, 1..4).prop_map(Op::Purge),
        4 => node.clone().prop_map(Op::Join),
        2 => node.clone().prop_map(Op::JoinAmid),
        5 => (node.clone(), 1..6_usize).prop_map(|(node, most)| Op::Apply(node, most)),
        1 => node.clone().prop_map(Op::Part),
        1 => node.clone().prop_map(Op::Leave),
        1 => node.clone().prop_map(Op::Forget),
        2 => (node, prop::option::of(0..3_u64)).prop_map(|(node, back)| Op::Restart(node, back)),
        2 => fate.prop_map(Op::Doom),
        1 => any::<bool>().prop_map(Op::Reopen),
        1 => Just(Op::Backup),
        1 => Just(Op::Restore),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_answered_is_lost_or_doubled_and_no_node_keeps_what_it_must_not(
        ops in prop::collection::vec(op(), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for op in ops {
                world.act(op).await;
                world.check();
            }
            world.settle().await;
        });
    }
}

/// A node, as it is by the rules.
#[derive(Debug, Default)]
struct Follower {
    position: Position,
    /// What it applied since it was empty, in the log's numbers.
    applied: Vec<(Seq, Mark)>,
    process: usize,
    session: Option<Joined>,
}

impl Follower {
    /// Its next process, with a store that was checked up to `back` entries ago.
    fn restarted(&self, process: usize, back: Seq) -> Self {
        let checked = Some(self.position.at().saturating_sub(back));
        let standing = Standing { checked, ..self.position.standing().clone() };
        let position = Position::restored(standing, self.position.base());
        Self { position, applied: self.applied.clone(), process, session: None }
    }
}

/// What was answered, which must hold.
#[derive(Clone, Debug, Default)]
struct Promises {
    purges: BTreeMap<Seq, (String, Mark, Order)>,
    /// The members that entries expect; not known of those that no answer was given to.
    expected: HashMap<Mark, BTreeSet<(usize, usize)>>,
    /// The expected nodes, and the how manieth membership of any it is.
    members: BTreeMap<usize, usize>,
}

#[derive(Debug)]
struct World {
    disk: Disk,
    ledger: Arc<Ledger>,
    followers: Vec<Follower>,
    promises: Promises,
    backup: Option<(Contents, Promises)>,
    applied: HashSet<(Mark, usize)>,
    memberships: usize,
    /// The journal failed: after a restart what was refused may be there.
    unsure: bool,
}

fn open(disk: &Disk) -> Arc<Ledger> {
    Ledger::open(Box::new(disk.clone()), bounds(RETENTION)).unwrap()
}

fn name(node: usize) -> String {
    format!("n{node}")
}

impl World {
    fn new() -> Self {
        let disk = Disk::default();
        Self {
            ledger: open(&disk),
            disk,
            followers: (0..NODES).map(|_| Follower::default()).collect(),
            promises: Promises::default(),
            backup: None,
            applied: HashSet::new(),
            memberships: 0,
            unsure: false,
        }
    }

    async fn act(&mut self, op: Op) {
        match op {
            Op::Purge(orders) => self.purge(&orders).await,
            Op::Join(node) => self.join(node, false).await,
            Op::JoinAmid(node) => self.join(node, true).await,
            Op::Apply(node, most) => self.apply(node, most),
            Op::Part(node) => self.part(node),
            Op::Leave(node) => {
                let Some(joined) = self.followers[node].session.take() else { return };
                let left = self.ledger.leave(joined.session).await;
                self.removed(node, left.is_ok());
                if left.is_err() {
                    self.ledger.parted(joined.session);
                }
            }
            Op::Forget(node) => {
                let forgotten = self.ledger.forget(vec![name(node)]).await;
                if let Ok(names) = &forgotten {
                    assert_eq!(!names.is_empty(), self.promises.members.contains_key(&node));
                }
                self.removed(node, forgotten.is_ok());
            }
            Op::Restart(node, back) => {
                self.part(node);
                let follower = &mut self.followers[node];
                let process = follower.process + 1;
                *follower = match back {
                    None => Follower { process, ..Follower::default() },
                    Some(back) => follower.restarted(process, back),
                };
            }
            Op::Doom(fate) => self.disk.doom(fate),
            Op::Reopen(orderly) => self.reopen(orderly),
            Op::Backup => self.backup = Some((self.disk.contents(), self.promises.clone())),
            Op::Restore => {
                if let Some((contents, promises)) = self.backup.clone() {
                    self.disk = Disk::holding(contents);
                    self.promises = promises;
                    // Among what it holds may be what was refused.
                    self.unsure = true;
                    self.opened();
                }
            }
        }
        self.drop_ended();
        if self.disk.crashed() {
            self.reopen(false);
        }
    }

    async fn purge(&mut self, orders: &[(u8, Option<u8>)]) {
        let head = self.ledger.head();
        let orders = orders.iter().map(|(path, reference)| {
            let reference = reference.map(|n| format!("r{n}"));
            order(&format!("/{path}"), reference.as_deref())
        });
        let asked = orders.map(|order| {
            let ledger = self.ledger.clone();
            let answer = {
                let order = order.clone();
                async move { ledger.purge(order, me()).await }
            };
            (order, tokio::spawn(answer))
        });
        let mut failed = false;
        for (order, answer) in asked.collect::<Vec<_>>() {
            match answer.await.unwrap() {
                Ok(listed) => self.answered(order, &listed),
                Err(Refusal::ReferenceReused(id)) => {
                    let first = self.ledger.find(&id);
                    // It may have been forgotten meanwhile.
                    assert!(first.is_none_or(
                        |first| first.reference == order.reference && !first.is_of(&order)
                    ));
                }
                Err(Refusal::Full) => panic!("so many do not wait"),
                Err(Refusal::Journal(_)) => failed = true,
            }
        }
        self.unsure |= failed;
        let answered = self.promises.purges.range(head + 1..).count() as Seq;
        assert_eq!(self.ledger.head(), head + answered, "what was refused is not in the log");
    }

    fn answered(&mut self, order: Order, listed: &Listed) {
        assert!(listed.is_of(&order) && listed.reference == order.reference);
        let promise = (listed.id.clone(), listed.entry.mark, order);
        let known = self.promises.purges.insert(listed.seq(), promise.clone());
        match known {
            Some(known) => assert_eq!(known, promise),
            None => {
                let members = self.promises.members.iter().map(|(node, nth)| (*node, *nth));
                self.promises.expected.insert(listed.entry.mark, members.collect());
            }
        }
    }

    async fn join(&mut self, node: usize, amid: bool) {
        let follower = &self.followers[node];
        let instance = format!("{node}-{}", follower.process);
        let hello = Hello { instance, ..hello(&name(node), follower.position.standing()) };
        let ledger = self.ledger.clone();
        let order = order("/amid", None);
        let (joined, purged) = tokio::join!(ledger.arrive(&hello, Instant::now()), async {
            match amid {
                true => Some(ledger.purge(order.clone(), me()).await),
                false => None,
            }
        });
        // Who joined before the append is expected by it.
        let welcomed_at = joined.as_ref().ok().map(|joined| joined.welcomed.place.head);
        if let Some(Ok(listed)) = &purged {
            self.answered(order, listed);
            if welcomed_at.is_some_and(|head| head < listed.seq())
                && !self.promises.members.contains_key(&node)
            {
                let expected = self.promises.expected.get_mut(&listed.entry.mark).unwrap();
                expected.insert((node, self.memberships));
            }
        }
        self.unsure |= matches!(purged, Some(Err(_)));
        match joined {
            Ok(joined) => self.welcomed(node, joined),
            Err(JoinError::Restored) => {}
            Err(JoinError::Journal(_)) => self.unsure = true,
            Err(error) => panic!("{error}"),
        }
    }

    fn welcomed(&mut self, node: usize, joined: Joined) {
        let place = &joined.welcomed.place;
        let member = self.promises.members.contains_key(&node);
        let follower = &mut self.followers[node];
        if place.keep {
            assert!(member, "{node} was forgotten, yet keeps what it has");
            assert_eq!(place.after, follower.position.at());
            let known = follower.applied.iter().find(|(seq, _)| *seq == place.after);
            assert!(known.is_none_or(|(_, mark)| *mark == place.mark));
            let base = self.ledger.counts().forgotten;
            for (seq, mark) in follower.applied.iter().filter(|(seq, _)| *seq > base) {
                let listed = self.ledger.after(seq - 1, 1).unwrap();
                assert_eq!(listed[0].entry.mark, *mark, "{node} keeps what another log purged");
            }
        } else {
            follower.applied.clear();
            // Who has nothing has nothing that these would take.
            let before = self.promises.purges.range(..=place.after);
            self.applied.extend(before.map(|(_, (_, mark, _))| (*mark, node)));
        }
        if !member {
            self.promises.members.insert(node, self.memberships);
            self.memberships += 1;
        }
        follower.position.welcomed(place);
        follower.session = Some(joined);
    }

    fn apply(&mut self, node: usize, most: usize) {
        let follower = &mut self.followers[node];
        let Some(joined) = &follower.session else { return };
        let Ok(entries) = self.ledger.after(follower.position.at(), most) else {
            return self.part(node);
        };
        for listed in entries {
            let (seq, mark) = (listed.seq(), listed.entry.mark);
            assert!(follower.position.take(seq, mark).unwrap().is_some());
            if !follower.applied.contains(&(seq, mark)) {
                follower.applied.push((seq, mark));
            }
            self.applied.insert((mark, node));
            self.ledger.applied(joined.session, seq, Instant::now());
        }
    }

    fn part(&mut self, node: usize) {
        if let Some(joined) = self.followers[node].session.take() {
            self.ledger.parted(joined.session);
        }
    }

    fn removed(&mut self, node: usize, done: bool) {
        self.unsure |= !done;
        if done {
            self.promises.members.remove(&node);
        }
    }

    fn drop_ended(&mut self) {
        for follower in &mut self.followers {
            if follower.session.as_mut().is_some_and(|joined| joined.why_ended().is_some()) {
                follower.session = None;
            }
        }
    }

    fn reopen(&mut self, orderly: bool) {
        if orderly {
            // Whoever holds it besides is done by now.
            let held = std::mem::replace(&mut self.ledger, in_memory(1));
            drop(Arc::into_inner(held).expect("nobody else holds it"));
        }
        self.disk = self.disk.rebooted();
        self.opened();
    }

    /// Opens what the disk holds, and takes over what was refused but is there: nobody was told
    /// that it is not going to happen.
    fn opened(&mut self) {
        self.ledger = open(&self.disk);
        for follower in &mut self.followers {
            follower.session = None;
        }
        if !std::mem::take(&mut self.unsure) {
            return;
        }
        for listed in self.ledger.list(0, usize::MAX, |_| true) {
            let Some(purge) = listed.purge() else { continue };
            let order = Order {
                targets: purge.targets.clone(),
                reference: listed.reference.clone(),
                ..order("/", None)
            };
            let promise = (listed.id.clone(), listed.entry.mark, order);
            self.promises.purges.entry(listed.seq()).or_insert(promise);
        }
        let there: BTreeSet<_> =
            self.ledger.nodes(Instant::now()).into_iter().map(|node| node.name).collect();
        self.promises.members.retain(|node, _| there.contains(&name(*node)));
        for node in (0..NODES).filter(|node| there.contains(&name(*node))) {
            if let std::collections::btree_map::Entry::Vacant(member) =
                self.promises.members.entry(node)
            {
                member.insert(self.memberships);
                self.memberships += 1;
            }
        }
    }

    fn check(&self) {
        let ledger = &self.ledger;
        let base = ledger.counts().forgotten;
        let listed = ledger.after(base, usize::MAX).unwrap();
        assert!(listed.len() <= RETENTION);
        assert!(listed.iter().map(|listed| listed.seq()).eq(base + 1..=ledger.head()));
        let held = listed.iter().map(|listed| (listed.id.as_str(), listed.entry.mark));
        let promised = self.promises.purges.range(base + 1..);
        let promised = promised.map(|(_, (id, mark, _))| (id.as_str(), *mark));
        assert!(held.eq(promised), "what was answered is there, and nothing else");
        let mut references = HashSet::new();
        for reference in listed.iter().filter_map(|listed| listed.reference.as_ref()) {
            assert!(references.insert(reference), "{reference} is there twice");
        }
        let nodes = ledger.nodes(Instant::now()).into_iter().map(|node| node.name);
        assert!(nodes.eq(self.promises.members.keys().map(|node| name(*node))));
        for purge in &listed {
            self.check_progress(purge);
        }
    }

    /// What is called completed was applied by all who are expected, and they are all told of.
    fn check_progress(&self, purge: &Listed) {
        let mark = purge.entry.mark;
        let Some(expected) = self.promises.expected.get(&mark) else { return };
        let progress = self.ledger.progress(purge);
        let members = &self.promises.members;
        let still = expected.iter().filter(|(node, nth)| members.get(node) == Some(nth));
        for (node, _) in still {
            let told = progress.nodes.iter().find(|told| *told.name == *name(*node));
            let told = told.unwrap_or_else(|| panic!("{purge:?} does not expect {node}"));
            let applied = self.applied.contains(&(mark, *node));
            assert!(applied || told.state != Arrival::Applied, "{node} did not apply {purge:?}");
            assert!(applied || progress.completed.is_none(), "{purge:?} lacks {node}");
        }
        for told in &progress.nodes {
            assert!(expected.iter().any(|(node, _)| *told.name == *name(*node)), "{purge:?}");
        }
    }

    /// When all come and apply all, everything is completed.
    async fn settle(&mut self) {
        for _ in 0..8 {
            for node in 0..NODES {
                if self.followers[node].session.is_none() {
                    self.act(Op::Join(node)).await;
                }
                self.act(Op::Apply(node, usize::MAX)).await;
                self.check();
            }
        }
        assert!(self.followers.iter().all(|follower| follower.session.is_some()));
        for purge in self.ledger.after(self.ledger.counts().forgotten, usize::MAX).unwrap() {
            assert!(self.ledger.progress(&purge).completed.is_some(), "{purge:?}");
        }
    }
}
