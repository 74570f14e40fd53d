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
        let mut other = stranger(&ledger, "b").await;
        for n in 0..appended {
            ledger.purge(order(&format!("/new/{n}"), None), me()).await.unwrap();
        }
        let hello = hello("a", &standing);
        let error = ledger.arrive(&hello, Instant::now()).await.unwrap_err();
        assert_eq!(error, JoinError::Restored);
        assert!(ledger.id() != before.0 && key(&ledger) != before.1);
        assert_eq!(other.why_ended(), Some(Ended::Restored));
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

/// Whoever has the token of nodes can say anything: it costs nobody else what they have stored.
#[tokio::test]
async fn a_node_that_makes_up_what_it_applied_begins_empty_and_no_other_does() {
    let ledger = in_memory(10);
    let (liar, mut other) = (stranger(&ledger, "liar").await, stranger(&ledger, "other").await);
    for path in ["/1", "/2", "/3"] {
        ledger.purge(order(path, None), me()).await.unwrap();
    }
    let id = ledger.id();
    let place = standing(&ledger, &other, 3);
    let (known, mark) =
        (standing(&ledger, &liar, 3), |seq: Seq| ledger.after(seq - 1, 1).unwrap()[0].entry.mark);
    for (applied, mark) in [
        (4, 0),
        (4, mark(3)),
        (4, mark(3) + 1),
        (Seq::MAX, mark(3)),
        (3, mark(2)),
        (3, mark(3) ^ 1),
        (2, mark(3)),
        (0, mark(1)),
    ] {
        let lie = Standing { applied, mark, ..known.clone() };
        let welcome = ledger.arrive(&hello("liar", &lie), Instant::now()).await.unwrap().welcomed;
        assert!(!welcome.place.keep, "{lie:?}");
        // As a stranger, too.
        let member = Some("m".to_owned());
        let lie = Standing { member, ..lie };
        let welcome = ledger.arrive(&hello("new", &lie), Instant::now()).await.unwrap().welcomed;
        assert!(!welcome.place.keep, "{lie:?}");
    }
    assert_eq!((ledger.id(), other.why_ended()), (id, None));
    let again = ledger.arrive(&hello("other", &place), Instant::now()).await.unwrap().welcomed;
    assert_eq!((again.place.keep, again.place.after), (true, 3));
}

#[tokio::test]
async fn a_token_makes_so_many_claims_a_minute_and_then_its_nodes_are_refused() {
    let ledger = Ledger::open(Box::<Memory>::default(), Bounds { join_rate: 3, ..bounds(9) });
    let ledger = ledger.unwrap();
    let node = stranger(&ledger, "a").await;
    let lie = Standing { applied: 1, mark: 1, ..standing(&ledger, &node, 0) };
    let claim = || async { ledger.arrive(&hello("a", &lie), Instant::now()).await };
    // Its name was the first.
    assert!(claim().await.is_ok() && claim().await.is_ok());
    let refused = claim().await.unwrap_err();
    assert!(matches!(refused, JoinError::TooFast { per_minute: 3, .. }), "{refused}");
    let honest = Standing { applied: 0, mark: 0, ..lie.clone() };
    assert!(ledger.arrive(&hello("a", &honest), Instant::now()).await.is_ok());
}

#[tokio::test]
async fn a_journal_of_a_version_whose_marks_anybody_can_make_up_begins_a_new_life() {
    let (mut backup, standing, old) = backed_up().await;
    let life = backup.life.as_mut().unwrap();
    life.mark_key.clear();
    let log = life.log.clone();
    let disk = Disk::holding(backup);
    let ledger = on(&disk);
    assert_ne!(ledger.id(), log);
    assert_eq!(ledger.find(&old.id).unwrap().seq(), 1);
    let place = ledger.arrive(&hello("a", &standing), Instant::now()).await.unwrap().welcomed.place;
    assert!(!place.keep);
    let id = ledger.id();
    drop(ledger);
    assert_eq!(on(&disk.rebooted()).id(), id, "once");
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
