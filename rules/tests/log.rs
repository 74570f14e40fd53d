//! A node's place in the log, held against a model that knows when everything really happened:
//! whatever connections, logs and memories are lost, nothing that a purge took before the node
//! knew of it counts as valid once the node has caught up (invariants I2 and I4).

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use std::collections::BTreeMap;
use weir_rules::invalidation::Seq;
use weir_rules::log::{Gap, LogId, Mark, Position, Reach, Resume, Standing, Welcome, resume};

/// Something that happens to the model.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A purge of this thing is appended.
    Purge(u8),
    /// The node fetches this thing.
    Fetch(u8),
    /// The node connects.
    Connect,
    /// The connection is lost.
    Part,
    /// The next entry arrives.
    Deliver,
    /// The log forgets all but its last so many entries.
    Forget(u8),
    /// Control no longer expects the node back.
    Dismiss,
    /// Control begins a new log.
    Renew,
    /// Control is put back to where it was so many entries ago, without knowing.
    Restore(u8),
    /// The node walks over what it keeps, and notes how far it got.
    Check,
    /// The node restarts with what it kept.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3_u8).prop_map(Step::Purge),
        4 => (0..3_u8).prop_map(Step::Fetch),
        4 => Just(Step::Connect),
        1 => Just(Step::Part),
        6 => Just(Step::Deliver),
        1 => (0..4_u8).prop_map(Step::Forget),
        1 => Just(Step::Dismiss),
        1 => Just(Step::Renew),
        1 => (1..4_u8).prop_map(Step::Restore),
        2 => Just(Step::Check),
        2 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..60)
}

/// Control, and the order in which things happened.
#[derive(Debug, Default)]
struct Control {
    log: u64,
    /// All entries of this log: what each took, its mark, and when it was appended.
    entries: Vec<(u8, Mark, u64)>,
    /// How many of them it forgot.
    forgotten: usize,
    member: Option<String>,
    members: u64,
    /// Purges of other logs, or that were lost: what each took, and when.
    past: Vec<(u8, u64)>,
}

impl Control {
    fn id(&self) -> LogId {
        LogId(format!("log-{}", self.log))
    }

    fn mark(&self, seq: Seq) -> Mark {
        if seq == 0 { 0 } else { self.entries[seq as usize - 1].1 }
    }

    fn renew(&mut self) {
        self.past.extend(self.entries.drain(..).map(|(thing, _, at)| (thing, at)));
        (self.log, self.forgotten) = (self.log + 1, 0);
    }

    fn welcome(&mut self, standing: &Standing) -> Welcome {
        let id = self.id();
        let reach = Reach {
            log: &id,
            forgotten: self.forgotten as Seq,
            forgotten_mark: self.mark(self.forgotten as Seq),
            head: self.entries.len() as Seq,
        };
        let mark_of = |seq: Seq| {
            let held = seq as usize > self.forgotten && seq as usize <= self.entries.len();
            held.then(|| self.mark(seq))
        };
        let member = self.member.as_deref();
        let (after, keep) = match resume(standing, member, &reach, mark_of, |_, _| true) {
            Resume::After(seq) => (seq, true),
            Resume::Empty(seq) => (seq, false),
            Resume::Restored => {
                self.renew();
                (0, false)
            }
        };
        let member = self.member.clone().unwrap_or_else(|| {
            self.members += 1;
            format!("member-{}", self.members)
        });
        self.member = Some(member.clone());
        let (log, head) = (self.id(), self.entries.len() as Seq);
        Welcome { log, member, after, mark: self.mark(after), keep, head }
    }
}

/// A response that the node keeps.
#[derive(Clone, Copy, Debug)]
struct Kept {
    thing: u8,
    stamp: Seq,
    at: u64,
}

/// The node: its place, its index of last seqs and what it keeps.
#[derive(Debug, Default)]
struct Node {
    position: Position,
    index: BTreeMap<u8, Seq>,
    kept: Vec<Kept>,
    /// What is kept over a restart.
    checkpoint: (Standing, Seq),
    connected: bool,
}

impl Node {
    fn is_valid(&self, kept: &Kept) -> bool {
        kept.stamp >= self.position.base()
            && self.index.get(&kept.thing).is_none_or(|own| *own <= kept.stamp)
    }

    /// Notes where the node stands, with everything held against the log up to `checked`.
    fn note(&mut self, checked: Seq) {
        let mut standing = self.position.standing().clone();
        let checked = self.position.in_log(checked).unwrap_or(0).min(self.position.at());
        standing.checked = (checked < standing.applied).then_some(checked);
        self.checkpoint = (standing, self.position.base());
    }

    /// The own number up to which what is kept was held against the log, as was noted.
    fn checked(&self) -> Seq {
        let (standing, base) = &self.checkpoint;
        base + standing.checked.unwrap_or(standing.applied)
    }
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut control, mut node) = (Control::default(), Node::default());
    let mut highest = 0;
    for (at, step) in steps.into_iter().chain(finish()).enumerate() {
        let at = at as u64;
        match step {
            Step::Purge(thing) => control.entries.push((thing, 7 + at, at)),
            Step::Fetch(thing) => {
                let stamp = node.position.applied();
                // Kept only behind a note that is as late.
                node.note(node.checked());
                node.kept.push(Kept { thing, stamp, at });
            }
            Step::Connect if !node.connected => {
                let welcome = control.welcome(node.position.standing());
                let before = node.position.applied();
                match node.position.welcomed(&welcome) {
                    Some(floor) => {
                        prop_assert!(!welcome.keep);
                        prop_assert!(floor > before && floor == node.position.applied());
                        prop_assert!(node.position.standing().checked.is_none());
                    }
                    None => prop_assert!(welcome.keep && node.position.applied() == before),
                }
                prop_assert_eq!(node.position.at(), welcome.after);
                node.connected = true;
            }
            Step::Deliver if node.connected => {
                let next = node.position.at() as usize;
                let Some((thing, mark, _)) = control.entries.get(next).copied() else { continue };
                let seq = next as Seq + 1;
                let gap = node.position.clone().take(seq + 1, mark);
                prop_assert_eq!(gap, Err(Gap { due: seq, came: seq + 1 }));
                let own = node.position.take(seq, mark).unwrap().expect("it is new");
                prop_assert_eq!(own, node.position.base() + seq);
                prop_assert_eq!(node.position.take(seq, mark), Ok(None));
                let last = node.index.entry(thing).or_default();
                *last = own.max(*last);
            }
            Step::Part => node.connected = false,
            Step::Forget(left) => {
                let upto = control.entries.len().saturating_sub(usize::from(left));
                control.forgotten = control.forgotten.max(upto);
            }
            Step::Dismiss => (control.member, node.connected) = (None, false),
            Step::Renew => {
                control.renew();
                node.connected = false;
            }
            Step::Restore(lost) => {
                let left = control.entries.len().saturating_sub(usize::from(lost));
                // What no node saw and no control remembers is gone for good.
                control.entries.truncate(left.max(control.forgotten));
                node.connected = false;
            }
            Step::Check if node.position.caught_up(node.position.applied()) => {
                let (kept, valid) = (node.kept.clone(), |kept: &Kept| node.is_valid(kept));
                node.kept = kept.into_iter().filter(valid).collect();
                node.note(node.position.applied());
            }
            Step::Restart => {
                let (standing, base) = node.checkpoint.clone();
                let kept = std::mem::take(&mut node.kept);
                let position = Position::restored(standing.clone(), base);
                let checkpoint = (standing, base);
                node = Node { position, kept, checkpoint, ..Node::default() };
                let latest = node.kept.iter().map(|kept| kept.stamp).max().unwrap_or(0);
                let standing = node.position.standing();
                prop_assert!(node.position.base() + standing.applied >= latest);
                highest = highest.min(node.position.applied());
            }
            Step::Connect | Step::Deliver | Step::Check => {}
        }
        prop_assert!(node.position.applied() >= highest, "own numbers only grow");
        highest = node.position.applied();
        if node.connected
            && node.position.caught_up(node.position.applied())
            && node.position.standing().applied == control.entries.len() as Seq
        {
            let current = control.entries.iter().map(|(thing, _, at)| (*thing, *at));
            let purges: Vec<_> = current.chain(control.past.iter().copied()).collect();
            for kept in &node.kept {
                let taken = purges.iter().any(|(thing, at)| *thing == kept.thing && *at > kept.at);
                prop_assert!(!taken || !node.is_valid(kept), "{kept:?} of {node:?}, {control:?}");
            }
        }
    }
    Ok(())
}

/// In the end the node catches up, so that every run is judged.
fn finish() -> impl Iterator<Item = Step> {
    std::iter::once(Step::Connect).chain(std::iter::repeat_n(Step::Deliver, 60))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn nothing_that_was_purged_is_valid_once_the_node_has_caught_up(steps in steps()) {
        run(steps)?;
    }
}

/// A node that has taken the entries of the log `a` up to `applied`.
fn at(applied: Seq) -> Position {
    let mut position = Position::default();
    let welcome = |log: &str| Welcome {
        log: LogId(log.to_owned()),
        member: "m".to_owned(),
        after: 0,
        mark: 0,
        keep: false,
        head: applied,
    };
    assert_eq!(position.welcomed(&welcome("a")), Some(1));
    for seq in 1..=applied {
        assert_eq!(position.take(seq, seq), Ok(Some(1 + seq)));
    }
    position
}

#[test]
fn what_is_kept_stays_when_nothing_was_missed() {
    let position = at(5);
    let log = LogId("a".to_owned());
    let reach = Reach { log: &log, forgotten: 2, forgotten_mark: 2, head: 9 };
    let made = |seq, mark| mark == seq || mark == 77;
    let resumed = |standing: &Standing, member| resume(standing, member, &reach, Some, made);
    let standing = position.standing();
    assert_eq!(resumed(standing, Some("m")), Resume::After(5));
    assert_eq!(resumed(standing, Some("other")), Resume::Empty(2));
    assert_eq!(resumed(standing, None), Resume::Empty(2));
    // What was not held against the last entries needs them again, where they still are.
    let checked = |checked| Standing { checked: Some(checked), ..standing.clone() };
    assert_eq!(resumed(&checked(2), Some("m")), Resume::After(2));
    assert_eq!(resumed(&checked(1), Some("m")), Resume::Empty(2));
    // That the log is another one shows by what was applied, however little of it was checked.
    let ahead = Standing { applied: 10, mark: 10, ..checked(2) };
    assert_eq!(resumed(&ahead, Some("m")), Resume::Restored);
    assert_eq!(resumed(&Standing { mark: 77, ..checked(2) }, Some("m")), Resume::Restored);
    // It must have been made by control: who makes it up begins empty, and nobody else does.
    for lie in [Standing { mark: 78, ..ahead.clone() }, Standing { mark: 78, ..standing.clone() }] {
        assert_eq!(resumed(&lie, Some("m")), Resume::Empty(2));
    }
    let endless = Standing { applied: Seq::MAX, mark: 0, ..ahead };
    assert_eq!(resumed(&endless, Some("m")), Resume::Empty(2));
}

#[test]
fn a_restart_takes_the_unchecked_entries_again_under_the_same_numbers() {
    let standing = Standing { checked: Some(3), ..at(5).standing().clone() };
    let mut position = Position::restored(standing, 100);
    let log = LogId("a".to_owned());
    let welcome = Welcome { log, member: "m".into(), after: 3, mark: 3, keep: true, head: 5 };
    assert_eq!(position.welcomed(&welcome), None);
    assert_eq!((position.applied(), position.caught_up(position.applied())), (103, false));
    assert_eq!(position.take(3, 3), Ok(None));
    assert_eq!(position.take(5, 5), Err(Gap { due: 4, came: 5 }));
    assert_eq!(position.take(4, 4), Ok(Some(104)));
    assert!(!position.caught_up(position.applied()));
    assert_eq!((position.standing().applied, position.standing().checked), (5, Some(4)));
    assert_eq!(position.take(5, 5), Ok(Some(105)));
    assert!(position.caught_up(position.applied()));
    assert_eq!(position.take(6, 6), Ok(Some(106)));
    assert_eq!((position.standing().applied, position.standing().mark), (6, 6));
}
