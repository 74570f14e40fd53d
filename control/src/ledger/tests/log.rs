//! Orders and entries.

use super::disk::Fate;
use super::*;

#[tokio::test]
async fn seqs_start_at_one_without_gaps_and_ids_name_them() {
    let ledger = in_memory(100);
    let mut heads = ledger.heads();
    let orders = (0..50).map(|n| {
        let ledger = ledger.clone();
        tokio::spawn(
            async move { ledger.purge(order(&format!("/{n}"), None), me()).await.unwrap() },
        )
    });
    let mut seqs = Vec::new();
    for order in orders.collect::<Vec<_>>() {
        let listed = order.await.unwrap();
        assert_eq!(listed.id, format!("{}-{}", ledger.id(), listed.seq()));
        assert_eq!(ledger.find(&listed.id).unwrap().seq(), listed.seq());
        seqs.push(listed.seq());
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=50).collect::<Vec<_>>());
    assert_eq!((ledger.head(), *heads.borrow_and_update()), (50, 50));
    let marks: std::collections::HashSet<_> =
        ledger.after(0, 100).unwrap().iter().map(|listed| listed.entry.mark).collect();
    assert_eq!(marks.len(), 50);
}

#[tokio::test]
async fn the_same_reference_is_one_purge_or_a_refusal() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let (first, again) = tokio::join!(
        ledger.purge(order("/a", Some("deploy")), me()),
        ledger.purge(order("/a", Some("deploy")), me())
    );
    let first = first.unwrap();
    assert_eq!((first.seq(), again.unwrap().seq(), ledger.head()), (1, 1, 1));
    let reused = Refusal::ReferenceReused(first.id.clone());
    for other in [
        order("/b", Some("deploy")),
        Order { soft: true, ..order("/a", Some("deploy")) },
        Order { warm: true, ..order("/a", Some("deploy")) },
    ] {
        assert_eq!(ledger.purge(other, me()).await.unwrap_err(), reused);
    }
    drop(ledger);
    let ledger = on(&disk.rebooted());
    assert_eq!(ledger.purge(order("/a", Some("deploy")), me()).await.unwrap().id, first.id);
    assert_eq!(ledger.purge(order("/b", Some("deploy")), me()).await.unwrap_err(), reused);
    // Other tokens, and the same token in a call for a site, have references of their own.
    let referrer = |token: &str, site: Option<&str>| Referrer {
        token: token.into(),
        site: site.map(str::to_owned),
    };
    let mut seqs = Vec::new();
    for referrer in [referrer("other", None), referrer("me", Some("a")), referrer("me", Some("b"))]
    {
        let listed = ledger.purge(order("/b", Some("deploy")), referrer.clone()).await.unwrap();
        let again = ledger.purge(order("/b", Some("deploy")), referrer).await.unwrap();
        assert_eq!(listed.id, again.id);
        seqs.push(listed.seq());
    }
    assert_eq!(seqs, [2, 3, 4]);
}

#[tokio::test]
async fn retention_bounds_entries_and_references_and_keeps_releases() {
    let disk = Disk::default();
    let ledger = Ledger::open(Box::new(disk.clone()), bounds(2)).unwrap();
    let release = |site: &str, name: &str| Release { site: site.into(), name: Some(name.into()) };
    ledger.release(release("shop", "1")).await.unwrap();
    let first = ledger.purge(order("/a", Some("r")), me()).await.unwrap();
    ledger.release(release("blog", "x")).await.unwrap();
    ledger.release(release("shop", "2")).await.unwrap();
    assert!(ledger.find(&first.id).is_none());
    assert_eq!(ledger.after(1, 9).unwrap_err(), Forgotten { up_to: 2 });
    assert_eq!(ledger.after(2, 1).unwrap()[0].seq(), 3);
    assert_eq!(ledger.shared.state().releases_at(3), [release("shop", "1"), release("blog", "x")]);
    assert_eq!(ledger.releases(), [release("shop", "2"), release("blog", "x")]);
    // Forgotten with its entry: the reference is free again.
    assert_eq!(ledger.purge(order("/z", Some("r")), me()).await.unwrap().seq(), 5);
    ledger.reconfigure(bounds(1));
    assert_eq!((ledger.counts().listed, ledger.counts().forgotten), (1, 4));
    drop(ledger);
    assert_eq!(disk.contents().entries.len(), 1);
    let ledger = on(&disk.rebooted());
    assert_eq!(ledger.releases(), [release("shop", "2"), release("blog", "x")]);
    assert_eq!((ledger.head(), ledger.counts().listed), (5, 1));
}

#[tokio::test]
async fn large_orders_are_forgotten_early() {
    let ledger =
        Ledger::open(Box::<Memory>::default(), Bounds { bytes: 1 << 20, ..bounds(1000) }).unwrap();
    let large = "/".repeat(300_000);
    for _ in 0..8 {
        ledger.purge(order(&large, None), me()).await.unwrap();
    }
    assert_eq!(ledger.counts().listed, 3);
    assert!(ledger.counts().bytes <= 1 << 20);
}

#[tokio::test]
async fn purges_are_found_by_id_and_listed_after_a_seq() {
    let ledger = in_memory(3);
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(ledger.purge(order(&format!("/{n}"), None), me()).await.unwrap().id.clone());
    }
    let release = ledger.release(Release { site: "shop".into(), name: None }).await.unwrap();
    assert_eq!(ledger.find(&ids[4]).unwrap().seq(), 5);
    let id = ledger.id();
    for wrong in
        ["", "-", "-5", "x-5", &format!("{id}-05"), &format!("{id}-7"), &release.id, &ids[1]]
    {
        assert!(ledger.find(wrong).is_none(), "{wrong}");
    }
    let seqs = |after, limit| -> Vec<Seq> {
        ledger.list(after, limit, |_| true).iter().map(|listed| listed.seq()).collect()
    };
    assert_eq!((seqs(0, 10), seqs(4, 1), seqs(9, 10)), (vec![4, 5], vec![5], vec![]));
    assert_eq!(ledger.list(0, 10, |listed| listed.seq() > 4).len(), 1);
}

#[tokio::test]
async fn an_order_whose_commit_fails_leaves_nothing_and_later_ones_work() {
    for fate in [Fate::Refused, Fate::TakenUnsaid] {
        let disk = Disk::default();
        let ledger = on(&disk);
        ledger.purge(order("/a", None), me()).await.unwrap();
        disk.doom(fate);
        let refusal = ledger.purge(order("/b", Some("r")), me()).await.unwrap_err();
        assert_eq!(refusal, Refusal::Journal(JournalError::new(format!("{fate:?}"))));
        assert_eq!((ledger.head(), ledger.counts().failures), (1, 1));
        // Neither does its reference hold, nor its seq.
        let next = ledger.purge(order("/c", Some("r")), me()).await.unwrap();
        assert_eq!(next.seq(), 2);
        drop(ledger);
        let ledger = on(&disk.rebooted());
        assert_eq!(ledger.after(0, 9).unwrap().len(), 2);
        assert_eq!(ledger.find(&next.id).unwrap().entry, next.entry);
    }
}

#[tokio::test]
async fn orders_beyond_the_bound_are_refused_at_once() {
    let ledger =
        Ledger::open(Box::<Memory>::default(), Bounds { waiting: 2, ..bounds(10) }).unwrap();
    // Nothing is taken while the state is locked.
    let state = ledger.shared.state();
    let (reply, _answer) = oneshot::channel();
    let job = || Appended::Purge(order("/", None), me(), Accepted::now());
    ledger.shared.queue.order(Job::Append(job(), reply), 2).unwrap();
    let (reply, _answer) = oneshot::channel();
    ledger.shared.queue.order(Job::Append(job(), reply), 2).unwrap();
    let (reply, _answer) = oneshot::channel();
    let refused = ledger.shared.queue.order(Job::Append(job(), reply), 2);
    assert_eq!(refused.unwrap_err(), Refusal::Full);
    assert_eq!(ledger.shared.queue.orders(), 2);
    drop(state);
    // Answered ones make room.
    while ledger.counts().waiting > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ledger.purge(order("/", None), me()).await.unwrap().seq(), 3);
}

#[tokio::test]
async fn whatever_waits_when_the_ledger_ends_is_answered() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let orders: Vec<_> = (0..20)
        .map(|n| {
            let (reply, answer) = oneshot::channel();
            let what = Appended::Purge(order(&format!("/{n}"), None), me(), Accepted::now());
            ledger.shared.queue.order(Job::Append(what, reply), 100).unwrap();
            answer
        })
        .collect();
    drop(ledger);
    for answer in orders {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(disk.contents().entries.len(), 20);
}
