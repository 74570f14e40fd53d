//! Nodes that validate what they have stored once their lease is over: nobody waits for them then.

use super::*;

const SURELY_OVER: Duration = Duration::from_millis(1000 + 15_000 + 1875 + 1);

fn validating(name: &str, ephemeral: bool) -> Hello {
    Hello { validates_after_ms: Some(15_000), ephemeral, ..hello(name, &Standing::default()) }
}

#[tokio::test]
async fn a_purge_is_completed_without_a_node_whose_lease_is_surely_over_and_says_so() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let start = Instant::now();
    let gone = ledger.arrive(&validating("gone", false), start).await.unwrap();
    let serving = ledger.arrive(&hello("serves", &Standing::default()), start).await.unwrap();
    let purge = ledger.purge(order("/1", None), me()).await.unwrap();
    ledger.applied(serving.session, 1, start);
    ledger.parted(gone.session);
    ledger.note_leases(start + SURELY_OVER - Duration::from_millis(2));
    assert!(ledger.progress(&purge).completed.is_none());
    ledger.note_leases(start + SURELY_OVER);
    let told = [("gone".to_owned(), Arrival::LeaseOver), ("serves".to_owned(), Arrival::Applied)];
    assert_eq!(states(&ledger, &purge), told);
    assert!(ledger.progress(&purge).completed.is_some());
    // The node is still expected: it comes back to what it missed.
    assert_eq!(ledger.nodes(start).len(), 2);
    // What was called completed stays so, whoever restarts.
    ledger.purge(order("/2", None), me()).await.unwrap();
    drop(ledger);
    let ledger = on(&disk.rebooted());
    let purge = ledger.find(&purge.id).unwrap();
    assert_eq!(states(&ledger, &purge), told);
    assert!(ledger.progress(&purge).completed.is_some());
    let back = standing(&ledger, &gone, 0);
    let back = Hello { standing: back, ..validating("gone", false) };
    let back = ledger.arrive(&back, Instant::now()).await.unwrap();
    assert!(back.welcomed.place.keep);
    ledger.applied(back.session, 1, Instant::now());
    assert_eq!(states(&ledger, &purge)[0].1, Arrival::Applied);
}

#[tokio::test]
async fn a_release_waits_for_every_node_and_so_does_a_purge_for_one_that_serves_on() {
    let ledger = in_memory(100);
    let start = Instant::now();
    ledger.arrive(&validating("a", false), start).await.unwrap();
    let release = Release { site: "blog".into(), name: Some("v2".into()) };
    let release = ledger.release(release).await.unwrap();
    ledger.note_leases(start + 100 * LEASE);
    assert!(ledger.progress(&release).completed.is_none());
    ledger.arrive(&hello("serves", &Standing::default()), start).await.unwrap();
    let purge = ledger.purge(order("/", None), me()).await.unwrap();
    ledger.note_leases(start + 100 * LEASE);
    assert_eq!(states(&ledger, &purge)[1].1, Arrival::Pending);
    assert!(ledger.progress(&purge).completed.is_none());
}

#[tokio::test]
async fn a_node_is_waited_for_while_one_of_its_processes_serves_on() {
    let ledger = in_memory(100);
    let start = Instant::now();
    ledger.arrive(&hello("a", &Standing::default()), start).await.unwrap();
    let next =
        Hello { instance: "2".into(), takes_over: Some("a-1".into()), ..validating("a", true) };
    ledger.arrive(&next, start).await.unwrap();
    let purge = ledger.purge(order("/", None), me()).await.unwrap();
    ledger.note_leases(start + 100 * LEASE);
    assert!(ledger.progress(&purge).completed.is_none());
    assert!(ledger.forget_ephemeral(start + 100 * LEASE).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_ephemeral_node_is_forgotten_once_its_lease_is_surely_over() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let start = Instant::now();
    ledger.arrive(&validating("pod", true), start).await.unwrap();
    ledger.arrive(&validating("stays", false), start).await.unwrap();
    let purge = ledger.purge(order("/", None), me()).await.unwrap();
    let just_before = start + SURELY_OVER - Duration::from_millis(2);
    assert!(ledger.forget_ephemeral(just_before).await.unwrap().is_empty());
    ledger.note_leases(start + SURELY_OVER);
    assert_eq!(ledger.forget_ephemeral(start + SURELY_OVER).await.unwrap(), ["pod"]);
    assert_eq!(ledger.nodes(start).len(), 1);
    // It is told of all the same: the purge was completed without it.
    assert_eq!(states(&ledger, &purge)[0], ("pod".to_owned(), Arrival::LeaseOver));
    assert_eq!(disk.contents().nodes.len(), 1);
    // One that lives joins anew.
    let back = ledger.arrive(&validating("pod", true), Instant::now()).await.unwrap();
    assert!(!back.welcomed.place.keep);
}

#[tokio::test]
async fn a_sign_of_life_makes_the_next_purge_wait_again() {
    let ledger = in_memory(100);
    let now = Instant::now();
    let start = now.checked_sub(SURELY_OVER).unwrap();
    let node = ledger.arrive(&validating("a", false), start).await.unwrap();
    let without = ledger.purge(order("/1", None), me()).await.unwrap();
    assert_eq!(states(&ledger, &without)[0].1, Arrival::LeaseOver);
    ledger.heard(node.session, now, None);
    let with = ledger.purge(order("/2", None), me()).await.unwrap();
    assert_eq!(states(&ledger, &with)[0].1, Arrival::Pending);
    assert!(ledger.progress(&with).completed.is_none());
}
