//! Entries that disk stores of nodes need at their next start.

use super::*;

/// Purges so many paths, named by this text.
async fn purged(ledger: &Ledger, count: usize, name: &str) {
    for nth in 0..count {
        ledger.purge(order(&format!("/{name}/{nth}"), None), me()).await.unwrap();
    }
}

/// The process of `node` that begins after the one that stood here, with what it has on disk.
fn restarted(node: &str, standing: &Standing, checked: Seq, instance: &str) -> Hello {
    let standing = Standing { checked: Some(checked), ..standing.clone() };
    Hello { instance: instance.into(), ..hello(node, &standing) }
}

#[tokio::test]
async fn entries_that_a_disk_needs_stay_beyond_retention_until_it_was_checked() {
    let ledger = in_memory(10);
    let joined = stranger(&ledger, "a").await;
    assert!(ledger.checked(joined.session, 0));
    purged(&ledger, 30, "a").await;
    assert_eq!((ledger.counts().listed, ledger.counts().outrun), (30, 0));
    // Without a connection too.
    let place = standing(&ledger, &joined, 30);
    ledger.parted(joined.session);
    purged(&ledger, 10, "b").await;
    assert_eq!(ledger.counts().listed, 40);
    let again = restarted("a", &place, 0, "a-2");
    let back = ledger.arrive(&again, Instant::now()).await.unwrap();
    assert_eq!((back.welcomed.place.keep, back.welcomed.place.after), (true, 0));
    // Until it says that it has checked more of them, they are kept for it.
    purged(&ledger, 1, "c").await;
    assert_eq!(ledger.counts().listed, 41);
    for (checked, listed) in [(5, 36), (30, 11), (41, 10)] {
        assert!(ledger.checked(back.session, checked));
        assert_eq!(ledger.counts().listed, listed, "{checked}");
    }
    assert!(!ledger.checked(back.session, 42), "it was never sent");
    // What it said before it was forgotten holds nothing.
    ledger.forget(vec!["a".into()]).await.unwrap();
    purged(&ledger, 20, "d").await;
    assert_eq!(ledger.counts().listed, 10);
}

#[tokio::test]
async fn the_lowest_of_all_disks_counts_and_a_node_without_one_holds_nothing() {
    let ledger = in_memory(10);
    let [a, b, _] = [stranger(&ledger, "a").await, stranger(&ledger, "b").await, {
        stranger(&ledger, "without").await
    }];
    purged(&ledger, 10, "a").await;
    assert!(ledger.checked(a.session, 7) && ledger.checked(b.session, 3));
    purged(&ledger, 20, "b").await;
    assert_eq!(ledger.counts().listed, 27);
    assert!(ledger.checked(b.session, 25));
    assert_eq!(ledger.counts().listed, 23);
    assert!(ledger.checked(a.session, 30));
    assert_eq!(ledger.counts().listed, 10);
}

#[tokio::test]
async fn beyond_the_bound_in_bytes_a_disk_is_outrun_and_its_node_begins_empty() {
    let ledger = in_memory(10);
    let [late, other] = [stranger(&ledger, "late").await, stranger(&ledger, "other").await];
    assert!(ledger.checked(late.session, 0) && ledger.checked(other.session, 0));
    purged(&ledger, 40, "a").await;
    let place = standing(&ledger, &late, 40);
    assert!(ledger.checked(other.session, 40));
    let bytes = ledger.counts().bytes / 2;
    ledger.reconfigure(Bounds { bytes, ..bounds(10) });
    let counts = ledger.counts();
    assert_eq!(counts.outrun, 1, "{counts:?}");
    assert!(counts.listed < 40);
    // It cannot be helped, and nothing more is kept for it.
    ledger.reconfigure(bounds(10));
    purged(&ledger, 1, "b").await;
    assert_eq!((ledger.counts().listed, ledger.counts().outrun), (10, 1));
    ledger.parted(late.session);
    let back = ledger.arrive(&restarted("late", &place, 0, "2"), Instant::now()).await.unwrap();
    assert!(!back.welcomed.place.keep);
    // Its disk is empty: there is nothing to keep for it until it says so.
    assert_eq!(ledger.counts().outrun, 0);
    assert!(ledger.checked(back.session, back.welcomed.place.after));
    assert_eq!(ledger.counts().outrun, 0);
}

#[tokio::test]
async fn what_was_checked_is_known_after_a_restart_of_control() {
    let disk = Disk::default();
    let ledger = Ledger::open(Box::new(disk.clone()), bounds(5)).unwrap();
    let joined = stranger(&ledger, "a").await;
    assert!(ledger.checked(joined.session, 0));
    purged(&ledger, 20, "a").await;
    ledger.close();
    let ledger = Ledger::open(Box::new(disk.rebooted()), bounds(5)).unwrap();
    purged(&ledger, 5, "b").await;
    assert_eq!(ledger.counts().listed, 25);
}
