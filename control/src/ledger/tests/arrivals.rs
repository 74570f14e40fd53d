//! What is kept of how entries arrived, and for how many of them.

use super::*;
use crate::journal::{ArrivalRecord, ArrivalsRecord, Contents, SumRecord};

/// A ledger that keeps so many arrivals.
fn keeping(disk: &Disk, arrivals: usize) -> Arc<Ledger> {
    Ledger::open(Box::new(disk.clone()), Bounds { arrivals, ..bounds(100) }).unwrap()
}

/// What is told of each entry: the times, the counts, and the sum.
fn told(ledger: &Ledger) -> Vec<(usize, Option<u64>, bool)> {
    let told = |listed: &Arc<Listed>| {
        let progress = ledger.progress(listed);
        let times = progress.nodes.iter().filter(|node| node.applied.is_some()).count();
        (times, progress.matched(), progress.sum.is_some())
    };
    ledger.after(0, 100).unwrap().iter().map(told).collect()
}

#[tokio::test]
async fn entries_stay_whatever_the_number_of_nodes_and_arrivals_of_the_last_ones() {
    let disk = Disk::default();
    let ledger = keeping(&disk, 6);
    let (a, b) = (stranger(&ledger, "a").await, stranger(&ledger, "b").await);
    for n in 1..=5 {
        ledger.purge(order(&format!("/{n}"), None), me()).await.unwrap();
        for node in [&a, &b] {
            ledger.applied(node.session, n, Instant::now());
            ledger.matched(node.session, &[(n, n)]);
        }
    }
    let first = (0, Some(2), true);
    let expected = [first, (0, Some(4), true), (2, Some(6), false), (2, Some(8), false)];
    assert_eq!(told(&ledger)[..4], expected);
    // What comes late of one whose arrivals are summed up is not counted twice.
    ledger.matched(a.session, &[(1, 9)]);
    assert_eq!(told(&ledger)[0], first);
    drop(ledger);
    assert_eq!(disk.contents().arrivals[0].1.sum, Some(SumRecord { nodes: 2, matched: Some(2) }));
    let ledger = keeping(&disk.rebooted(), 6);
    assert_eq!(told(&ledger)[..4], expected);
    assert!(ledger.after(0, 9).unwrap().iter().all(|listed| listed.completed().is_some()));
    // Nobody is expected any more: what was applied, was.
    ledger.forget(vec!["a".into(), "b".into()]).await.unwrap();
    assert!(!ledger.progress(&ledger.after(0, 1).unwrap()[0]).expects_nobody());
}

#[tokio::test]
async fn what_an_older_version_wrote_is_taken_over() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let (a, b) = (stranger(&ledger, "a").await, stranger(&ledger, "b").await);
    for n in 1..=3 {
        ledger.purge(order(&format!("/{n}"), None), me()).await.unwrap();
    }
    ledger.applied(a.session, 3, Instant::now());
    ledger.applied(b.session, 2, Instant::now());
    drop(ledger);
    let mut held: Contents = disk.contents();
    for node in &mut held.nodes {
        (node.counted, node.excused) = (0, 0);
    }
    // It came back empty, and has yet to apply again what it had.
    let b = held.nodes.iter_mut().find(|node| node.name == "b").unwrap();
    b.applied = 0;
    b.processes[0].applied = 0;
    let arrival = |name: &str| ArrivalRecord {
        name: name.into(),
        tier: Tier::Edge,
        applied_us: Some(5),
        matched: Some(1),
    };
    let record = |names: &[&str]| ArrivalsRecord {
        completed_us: (names.len() > 1).then_some(7),
        nodes: names.iter().map(|name| arrival(name)).collect(),
        ..ArrivalsRecord::default()
    };
    held.arrivals =
        vec![(1, record(&["a", "b", "gone"])), (2, record(&["a", "b"])), (3, record(&["a"]))];
    let disk = Disk::holding(held);
    let ledger = keeping(&disk, 5);
    let listed = ledger.after(0, 9).unwrap();
    let completed: Vec<_> = listed.iter().map(|listed| listed.completed()).collect();
    let took = Some(Duration::from_micros(7));
    assert_eq!(completed, [took, took, None]);
    assert_eq!(told(&ledger), [(0, Some(3), true), (0, Some(2), true), (1, None, false)]);
    let offline = ("b".to_owned(), Arrival::Offline);
    assert_eq!(states(&ledger, &listed[2]), [("a".to_owned(), Arrival::Applied), offline]);
    drop(ledger);
    // The lists of those that are summed up are not kept.
    assert!(disk.contents().arrivals[0].1.nodes.is_empty());
}

#[tokio::test]
async fn a_column_is_used_again_and_tells_nothing_of_who_had_it() {
    let ledger = in_memory(100);
    for n in 1..=50 {
        let node = stranger(&ledger, &format!("n{n}")).await;
        let purge = ledger.purge(order("/", None), me()).await.unwrap();
        ledger.applied(node.session, n, Instant::now());
        ledger.matched(node.session, &[(n, n)]);
        ledger.leave(node.session).await.unwrap();
        let progress = ledger.progress(&purge);
        assert_eq!((progress.nodes.len(), progress.matched()), (1, Some(n)));
    }
    let kept = |ledger: &Ledger| {
        let state = ledger.shared.state();
        (state.departed.len(), state.columns.count())
    };
    assert_eq!(kept(&ledger).0, 50);
    ledger.reconfigure(bounds(1));
    stranger(&ledger, "last").await;
    ledger.forget(vec!["last".into()]).await.unwrap();
    // Of those that are gone, who applied nothing that is listed is not kept in mind.
    assert_eq!(kept(&ledger), (1, 51));
}
