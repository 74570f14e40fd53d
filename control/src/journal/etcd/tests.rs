//! The journal over an etcd that loses requests and answers, and that ends leases.

use super::*;
use crate::etcd::Election;
use crate::etcd::fake::{Fake, Fault};
use crate::journal::{ArrivalsRecord, Base, EntryRecord, ProcessRecord};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use weir_rules::invalidation::{Purge, Target};
use weir_rules::log::{Change, Entry, LogId};
use weir_rules::tier::Tier;

/// Long enough for two attempts.
const SHORT: Duration = Duration::from_millis(80);

fn entry(seq: Seq, mark: u64) -> EntryRecord {
    let targets = vec![Target::Path(format!("/{mark}"))];
    let purge = Purge { seq, targets, site: None, soft: false, versions: false };
    EntryRecord {
        entry: Entry { seq, mark, change: Change::Purge(purge) },
        log: LogId("l".into()),
        reference: None,
        referrer: None,
        created_ms: 1,
        warm: false,
    }
}

fn node(name: &str, applied: Seq) -> NodeRecord {
    NodeRecord {
        name: name.into(),
        tier: Tier::Edge,
        region: "eu".into(),
        listen: "127.0.0.1:1".into(),
        version: "1".into(),
        member: "m".into(),
        joined_at: 0,
        joined_ms: 1,
        applied,
        heard_ms: 1,
        secret: None,
        ephemeral: false,
        predecessors: vec![],
        processes: vec![ProcessRecord {
            instance: "i".into(),
            member: "m".into(),
            applied,
            validates_after_ms: None,
            before: None,
            checked: None,
        }],
        counted: applied,
        excused: 0,
        away: false,
    }
}

fn life(log: &str) -> Life {
    Life { log: LogId(log.into()), tier_key: "k".into(), mark_key: "m".into() }
}

/// Entries that follow `follows`, with these marks.
fn batch(follows: Seq, marks: &[u64]) -> Batch {
    let entries = marks.iter().zip(follows + 1..).map(|(mark, seq)| entry(seq, *mark)).collect();
    Batch { follows, entries, ..Batch::default() }
}

fn marks(contents: &Contents) -> Vec<u64> {
    contents.entries.iter().map(|record| record.entry.mark).collect()
}

/// A process that is the writer now: its journal, and what it read.
fn writer(fake: &Fake, election: &Arc<Election>) -> (EtcdJournal, Contents) {
    let tenure = fake.runtime.block_on(election.stand()).unwrap().expect("nobody is the writer");
    let mut journal = EtcdJournal::new(tenure, fake.runtime.handle().clone());
    let contents = journal.load().unwrap();
    (journal, contents)
}

/// A batch that fails, since each attempt fares like this.
fn fail(fake: &Fake, journal: &mut EtcdJournal, fault: Fault, batch: &Batch) -> JournalError {
    journal.patience = SHORT;
    fake.fault(&[fault; 20]);
    let error = journal.commit(batch).unwrap_err();
    fake.fault(&[]);
    journal.patience = PATIENCE;
    error
}

/// What a new writer reads.
fn next(fake: &Fake) -> Contents {
    fake.end_leases();
    writer(fake, &fake.election("next")).1
}

#[test]
fn the_next_writer_reads_all_that_was_taken() {
    let fake = Fake::start();
    let (mut journal, contents) = writer(&fake, &fake.election("a"));
    assert_eq!(contents, Contents::default());
    let nodes: Vec<_> = (0..200).map(|number| node(&format!("n{number:03}"), 0)).collect();
    let first = Batch { life: Some(life("l")), nodes: Some(nodes.clone()), ..batch(0, &[1, 2, 3]) };
    journal.commit(&first).unwrap();
    let base = Base { seq: 3, mark: 3, releases: vec![] };
    let fewer = nodes[1..].to_vec();
    let second =
        Batch { base: Some(base.clone()), nodes: Some(fewer.clone()), ..batch(3, &[4, 5]) };
    journal.commit(&second).unwrap();
    let mut contents = next(&fake);
    contents.nodes.sort_by(|one, other| one.name.cmp(&other.name));
    let expected = Contents {
        life: Some(life("l")),
        base,
        entries: second.entries,
        nodes: fewer,
        ..Contents::default()
    };
    assert_eq!(contents, expected);
    let entries = fake.keys().iter().filter(|(key, _)| key.contains("/entries/")).count();
    assert_eq!(entries, 1, "what is before the base is removed");
}

/// Thousands of purges a second arrive at nodes: a key for each would cost more than the purges.
#[test]
fn arrivals_of_new_entries_share_a_key_and_what_is_told_last_of_an_entry_holds() {
    let fake = Fake::start();
    let (mut journal, _) = writer(&fake, &fake.election("a"));
    let arrived = |us| ArrivalsRecord { completed_us: Some(us), ..ArrivalsRecord::default() };
    let told = |seqs: std::ops::RangeInclusive<Seq>, us| -> Vec<_> {
        seqs.map(|seq| (seq, arrived(us))).collect()
    };
    let marks: Vec<_> = (1..=3000).collect();
    let first = Batch { arrivals: told(1..=2000, 1), ..batch(0, &marks) };
    journal.commit(&first).unwrap();
    let keys = |fake: &Fake| {
        let keys = fake.keys().into_iter().map(|(key, _)| key);
        keys.filter(|key| key.contains("/arrivals/")).collect::<Vec<_>>()
    };
    assert_eq!(keys(&fake).len(), 1);
    // Another process goes on where this one was.
    fake.end_leases();
    let (mut journal, contents) = writer(&fake, &fake.election("b"));
    assert_eq!(contents.arrivals, told(1..=2000, 1));
    let again = Batch { follows: 3000, arrivals: told(1999..=2002, 2), ..Batch::default() };
    journal.commit(&again).unwrap();
    // Nobody is told of this one, and part of it may be there.
    let unknown = Batch { follows: 3000, arrivals: told(2003..=2010, 3), ..Batch::default() };
    assert!(fail(&fake, &mut journal, Fault::Unanswered, &unknown).unknown);
    let repeated = Batch { follows: 3000, arrivals: told(2003..=2005, 4), ..Batch::default() };
    journal.commit(&repeated).unwrap();
    let base = Base { seq: 1998, mark: 1998, releases: vec![] };
    let forgetting = Batch { follows: 3000, base: Some(base), ..Batch::default() };
    journal.commit(&forgetting).unwrap();
    let expected = [
        told(1999..=2002, 2),
        told(2003..=2005, 4),
        // It was there after all.
        told(2006..=2010, 3),
    ];
    assert_eq!(next(&fake).arrivals, expected.concat());
    fake.end_leases();
    let (mut journal, _) = writer(&fake, &fake.election("c"));
    let base = Base { seq: 2010, mark: 2010, releases: vec![] };
    journal.commit(&Batch { follows: 3000, base: Some(base), ..Batch::default() }).unwrap();
    assert_eq!(keys(&fake), [""; 0], "what is before the base is removed");
}

#[test]
fn a_batch_that_etcd_does_not_take_at_once_is_taken_in_parts() {
    let fake = Fake::start();
    let (mut journal, _) = writer(&fake, &fake.election("a"));
    let long = |seq| EntryRecord { reference: Some("r".repeat(100_000)), ..entry(seq, seq) };
    let large: Vec<_> = (1..=40).map(long).collect();
    let all = Batch { entries: large.clone(), nodes: Some(vec![node("n", 0)]), ..Batch::default() };
    journal.commit(&all).unwrap();
    let contents = next(&fake);
    assert_eq!((contents.entries, contents.nodes.len()), (large, 1));
}

#[test]
fn an_answer_that_is_lost_is_asked_for_by_the_same_transaction() {
    for fault in [Fault::Lost, Fault::Unanswered] {
        let fake = Fake::start();
        let (mut journal, _) = writer(&fake, &fake.election("a"));
        fake.fault(&[fault]);
        journal.commit(&batch(0, &[7])).unwrap();
        journal.commit(&batch(1, &[8])).unwrap();
        assert_eq!(marks(&next(&fake)), [7, 8], "{fault:?}");
    }
}

#[test]
fn what_is_left_of_a_batch_that_failed_goes_with_the_next_one() {
    for fault in [Fault::Lost, Fault::Unanswered, Fault::Held] {
        let fake = Fake::start();
        let (mut journal, _) = writer(&fake, &fake.election("a"));
        let error = fail(&fake, &mut journal, fault, &batch(0, &[7]));
        assert!(error.unknown, "{fault:?}: {error}");
        journal.commit(&batch(0, &[8])).unwrap();
        // What was on its way all the time comes too late.
        fake.deliver();
        journal.commit(&batch(1, &[9])).unwrap();
        assert_eq!(marks(&next(&fake)), [8, 9], "{fault:?}");
    }
}

#[test]
fn what_is_refused_is_known_not_to_be_there() {
    let fake = Fake::start();
    let (mut journal, _) = writer(&fake, &fake.election("a"));
    fake.fault(&[Fault::Full]);
    let error = journal.commit(&batch(0, &[7])).unwrap_err();
    assert!(error.full && !error.unknown, "{error}");
    journal.commit(&batch(0, &[8])).unwrap();
    assert_eq!(marks(&next(&fake)), [8]);
}

/// The fence: without the comparison of the writer's key, the first writer's batch is taken after the second one
/// has read the log.
#[test]
fn a_writer_of_the_past_appends_nothing_however_late_it_comes() {
    let fake = Fake::start();
    let (mut first, _) = writer(&fake, &fake.election("first"));
    assert!(fail(&fake, &mut first, Fault::Held, &batch(0, &[7])).unknown);
    fake.end_leases();
    let (mut second, contents) = writer(&fake, &fake.election("second"));
    assert!(contents.entries.is_empty());
    fake.deliver();
    second.commit(&batch(0, &[8])).unwrap();
    let error = first.commit(&batch(0, &[9])).unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    assert!(first.tenure.is_over() && !second.tenure.is_over());
    assert_eq!(marks(&next(&fake)), [8]);
}

#[test]
fn a_batch_of_who_is_deposed_between_two_attempts_may_be_there() {
    let fake = Fake::start();
    let (mut first, _) = writer(&fake, &fake.election("first"));
    assert!(fail(&fake, &mut first, Fault::Unanswered, &batch(0, &[7])).unknown);
    assert_eq!(
        marks(&next(&fake)),
        [7],
        "the next writer has it: the caller was told that it may be there"
    );
}

#[test]
fn an_etcd_that_was_restored_is_noticed() {
    let fake = Fake::start();
    let election = fake.election("a");
    let (mut journal, _) = writer(&fake, &election);
    journal.commit(&Batch { life: Some(life("l")), ..batch(0, &[1]) }).unwrap();
    let snapshot = fake.snapshot();
    journal.commit(&batch(1, &[2])).unwrap();
    fake.restore(snapshot);
    assert!(journal.commit(&batch(2, &[3])).is_err(), "its lease is not there any more");
    let (mut again, contents) = writer(&fake, &election);
    assert!(contents.copied, "it knows what is gone");
    again.commit(&Batch { life: Some(life("n")), ..batch(1, &[4]) }).unwrap();
    // The new life is what there is; nothing of it is gone.
    fake.end_leases();
    assert!(!writer(&fake, &election).1.copied);
    // Another cluster, with a copy of what this one holds.
    fake.move_cluster();
    assert!(next(&fake).copied);
}

/// What one step does.
#[derive(Clone, Debug)]
enum Step {
    /// The writer of this number appends so many entries, while these faults happen.
    Append(usize, usize, Vec<Fault>),
    /// What was held comes.
    Deliver,
    /// All leases end, and this process becomes the writer.
    Elect(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fault = prop_oneof![Just(Fault::Lost), Just(Fault::Unanswered), Just(Fault::Held)];
    let append = (0..2_usize, 1..3_usize, prop::collection::vec(fault, 0..4))
        .prop_map(|(of, count, faults)| Step::Append(of, count, faults));
    let step =
        prop_oneof![6 => append, 2 => Just(Step::Deliver), 2 => (0..2_usize).prop_map(Step::Elect)];
    prop::collection::vec(step, 1..12)
}

/// Two processes append by turns, while requests and answers are lost and come late. What a process was told is
/// appended is there for ever, once, after all that was told before it; what it was told is not is not there.
/// What is unknown is there once, or not.
#[test]
fn histories_of_appends_are_of_one_log() {
    let mut runner = TestRunner::new(Config { cases: 60, ..Config::default() });
    runner
        .run(&steps(), |steps| {
            let fake = Fake::start();
            let elections = ["a", "b"].map(|name| fake.election(name));
            let mut journals: [Option<(EtcdJournal, Vec<u64>)>; 2] = [None, None];
            let (mut told, mut refused, mut mark) = (Vec::new(), Vec::new(), 0);
            for step in [Step::Elect(0)].into_iter().chain(steps) {
                match step {
                    Step::Deliver => fake.deliver(),
                    Step::Elect(at) => {
                        fake.end_leases();
                        let (mut journal, contents) = writer(&fake, &elections[at]);
                        journal.patience = SHORT;
                        prop_assert!(!contents.copied);
                        journals[at] = Some((journal, marks(&contents)));
                    }
                    Step::Append(at, count, faults) => {
                        let Some((journal, log)) = &mut journals[at] else { continue };
                        let new: Vec<u64> = (mark + 1..).take(count).collect();
                        mark += count as u64;
                        fake.fault(&faults);
                        let taken = journal.commit(&batch(log.len() as Seq, &new));
                        fake.fault(&[]);
                        match taken {
                            Ok(()) => {
                                log.extend(&new);
                                told.extend(new);
                            }
                            Err(error) if !error.unknown => refused.extend(new),
                            Err(_) => {}
                        }
                    }
                }
            }
            fake.deliver();
            let there = marks(&next(&fake));
            prop_assert!(there.is_sorted_by(|one, other| one < other), "{there:?}");
            let lost: Vec<_> = told.iter().filter(|mark| !there.contains(mark)).collect();
            prop_assert!(lost.is_empty(), "told, and gone: {lost:?} of {there:?}");
            let back: Vec<_> = refused.iter().filter(|mark| there.contains(mark)).collect();
            prop_assert!(back.is_empty(), "refused, and there: {back:?} of {there:?}");
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_import_that_broke_off_is_no_log_and_is_begun_again() {
    let fake = Fake::start();
    let nodes: Vec<_> = (0..200).map(|number| node(&format!("n{number:03}"), 5)).collect();
    let imported = Contents {
        life: Some(life("l")),
        base: Base { seq: 5, mark: 5, releases: vec![] },
        entries: (6..=400).map(|seq| entry(seq, seq)).collect(),
        arrivals: (6..=400).map(|seq| (seq, ArrivalsRecord::default())).collect(),
        nodes,
        ..Contents::default()
    };
    let import = |name: &str, contents: &Contents, left: Result<(), JournalError>| {
        fake.end_leases();
        let election = fake.election(name);
        fake.runtime.block_on(async {
            let tenure = election.stand().await.unwrap().expect("nobody is the writer");
            let mut journal = EtcdJournal::new(tenure, fake.runtime.handle().clone());
            let found = journal.found(contents).await?;
            if found != Found::Imported {
                journal.import(contents, |_| left).await?;
            }
            Ok::<_, JournalError>(found)
        })
    };
    // Answers that are lost, and requests, do it no harm.
    fake.fault(&[Fault::Unanswered, Fault::Lost, Fault::Lost, Fault::Unanswered]);
    let broken = import("a", &imported, Err(JournalError::new("the disk is gone")));
    assert!(broken.unwrap_err().to_string().contains("the disk is gone"));
    fake.end_leases();
    let tenure = fake.runtime.block_on(fake.election("b").stand()).unwrap().unwrap();
    let opened = EtcdJournal::new(tenure, fake.runtime.handle().clone()).load();
    let told = opened.unwrap_err().to_string();
    assert!(told.contains("the import of the log l has not ended"), "{told}");
    // One of another log does not go on with it.
    let other = Contents { life: Some(life("other")), ..imported.clone() };
    let told = import("c", &other, Ok(())).unwrap_err().to_string();
    assert!(told.contains("imported of another log, l"), "{told}");
    assert_eq!(import("d", &imported, Ok(())), Ok(Found::Begun));
    assert_eq!(import("e", &imported, Err(JournalError::new("not called"))), Ok(Found::Imported));
    let mut contents = next(&fake);
    contents.nodes.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(contents, imported);
    // The log goes on, and is still known as imported; one that is shorter is not the one that was imported.
    fake.end_leases();
    let (mut journal, _) = writer(&fake, &fake.election("f"));
    journal.commit(&batch(400, &[401])).unwrap();
    drop(journal);
    assert_eq!(import("g", &imported, Ok(())), Ok(Found::Imported));
    let shorter = Contents { entries: imported.entries[..9].to_vec(), ..imported.clone() };
    let told = import("h", &shorter, Ok(())).unwrap_err().to_string();
    assert!(told.contains("its last entry was 400, and is 14 now"), "{told}");
}

#[test]
fn a_copy_that_is_imported_is_one_for_the_writer_that_opens_it() {
    let fake = Fake::start();
    let copy = Contents {
        life: Some(life("l")),
        copied: true,
        entries: vec![entry(1, 7)],
        ..Contents::default()
    };
    let election = fake.election("a");
    fake.runtime.block_on(async {
        let tenure = election.stand().await.unwrap().unwrap();
        let mut journal = EtcdJournal::new(tenure, fake.runtime.handle().clone());
        assert_eq!(journal.found(&copy).await, Ok(Found::Nothing));
        journal.import(&copy, |_| Ok(())).await.unwrap();
    });
    assert_eq!(next(&fake), copy);
}
