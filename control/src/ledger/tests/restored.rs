//! A log that was restored from a backup, or copied.

use super::*;
use crate::journal::Contents;

/// A log whose backup was taken at 2, and a node that applied 4.
async fn backed_up() -> (Contents, Standing, Arc<Listed>) {
    let disk = Disk::default();
    let ledger = on(&disk);
    let node = stranger(&ledger, "a").await;
    for path in ["/1", "/2"] {
        ledger.purge(order(path, None), me()).await.unwrap();
    }
    let backup = disk.contents();
    for path in ["/3", "/4"] {
        ledger.purge(order(path, None), me()).await.unwrap();
    }
    let old = ledger.after(0, 1).unwrap()[0].clone();
    (backup, standing(&ledger, &node, 4), old)
}

#[tokio::test]
async fn a_backup_is_noticed_by_a_node_that_applied_more() {
    let (backup, standing, old) = backed_up().await;
    // By the head, then by the mark.
    for appended in [0, 2, 3] {
        let disk = Disk::holding(backup.clone());
        let ledger = on(&disk);
        let key = |ledger: &Ledger| ledger.shared.state().life.tier_key.clone();
        let before = (ledger.id(), key(&ledger));
        let other = stranger(&ledger, "b").await;
        for n in 0..appended {
            ledger.purge(order(&format!("/new/{n}"), None), me()).await.unwrap();
        }
        let hello = hello("a", &standing);
        let error = ledger.arrive(&hello, Instant::now()).await.unwrap_err();
        assert_eq!(error, JoinError::Restored);
        assert!(ledger.id() != before.0 && key(&ledger) != before.1);
        assert_eq!(*other.ended.borrow(), Some(Ended::Restored));
        let welcome = ledger.arrive(&hello, Instant::now()).await.unwrap().welcomed.place;
        assert_eq!((welcome.keep, welcome.after, welcome.head), (false, 0, 2 + appended));
        // What was answered before the backup keeps its id; what is new has one of the new life.
        assert_eq!(ledger.find(&old.id).unwrap().entry, old.entry);
        let next = ledger.purge(order("/next", None), me()).await.unwrap();
        assert_eq!(next.id, format!("{}-{}", ledger.id(), 3 + appended));
        let new_life = ledger.id();
        drop(ledger);
        assert_eq!(on(&disk.rebooted()).id(), new_life);
    }
}

#[tokio::test]
async fn a_copy_has_a_new_id_and_a_wiped_one_too() {
    let (backup, standing, old) = backed_up().await;
    let log = backup.life.as_ref().unwrap().log.clone();
    let disk = Disk::holding(Contents { copied: true, ..backup });
    let ledger = on(&disk);
    assert_ne!(ledger.id(), log);
    assert_eq!((ledger.head(), ledger.find(&old.id).unwrap().seq()), (2, 1));
    // Its nodes are expected, and have yet to apply everything.
    let first = ledger.find(&old.id).unwrap();
    assert_eq!(states(&ledger, &first), [("a".to_owned(), Arrival::Offline)]);
    let place = ledger.arrive(&hello("a", &standing), Instant::now()).await.unwrap().welcomed.place;
    assert_eq!((place.keep, place.log), (false, ledger.id()));
    assert_ne!(on(&Disk::default()).id(), on(&Disk::default()).id());
}

#[tokio::test]
async fn a_new_life_that_the_journal_refuses_is_none() {
    let (backup, standing, _) = backed_up().await;
    let disk = Disk::holding(backup);
    let ledger = on(&disk);
    let id = ledger.id();
    disk.doom(disk::Fate::Refused);
    let error = ledger.arrive(&hello("a", &standing), Instant::now()).await.unwrap_err();
    assert!(matches!(error, JoinError::Journal(_)));
    assert_eq!(ledger.id(), id);
    let error = ledger.arrive(&hello("a", &standing), Instant::now()).await.unwrap_err();
    assert_eq!(error, JoinError::Restored);
    assert_ne!(ledger.id(), id);
}

#[tokio::test]
async fn contents_with_a_gap_are_refused() {
    let (mut backup, _, _) = backed_up().await;
    backup.entries.remove(0);
    let error = Ledger::open(Box::new(Disk::holding(backup)), bounds(9)).unwrap_err();
    assert_eq!(error.to_string(), "its entry 2 follows its entry 0");
}
