//! Who may join under a name.

use super::*;
use weir_protocol::secret::{BYTES, NodeSecret};

/// A process of the node `a` that shows the secret made of this byte.
fn process(secret: Option<u8>, instance: &str, standing: &Standing) -> Hello {
    Hello {
        secret: secret.map(|byte| NodeSecret::new(&[byte; BYTES])),
        instance: instance.into(),
        ..hello("a", standing)
    }
}

fn new(secret: Option<u8>, instance: &str) -> Hello {
    process(secret, instance, &Standing::default())
}

fn successor(instance: &str, of: &str) -> Hello {
    Hello { takes_over: Some(of.into()), ..new(Some(1), instance) }
}

async fn is_completed(ledger: &Ledger, purge: &Listed) -> bool {
    ledger.progress(purge).completed.is_some()
}

#[tokio::test]
async fn a_name_is_for_who_has_its_secret_also_after_control_restarts() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let now = Instant::now();
    let first = ledger.arrive(&new(Some(1), "1"), now).await.unwrap();
    ledger.parted(first.session);
    let purge = ledger.purge(order("/", None), me()).await.unwrap();
    let not_proven = JoinError::NotProven("a".into());
    for other in [new(Some(2), "2"), new(None, "2"), new(Some(2), "1"), new(None, "1")] {
        assert_eq!(ledger.arrive(&other, now).await.unwrap_err(), not_proven);
        let takes_over = Hello { takes_over: Some("1".into()), ..other };
        assert_eq!(ledger.arrive(&takes_over, now).await.unwrap_err(), not_proven);
    }
    assert!(not_proven.to_string().contains("weir nodes forget a"));
    assert!(!is_completed(&ledger, &purge).await);
    drop(ledger);
    let ledger = on(&disk.rebooted());
    assert_eq!(ledger.arrive(&new(Some(2), "2"), now).await.unwrap_err(), not_proven);
    let again = ledger.arrive(&new(Some(1), "3"), now).await.unwrap();
    ledger.applied(again.session, 1, now);
    assert!(is_completed(&ledger, &ledger.find(&purge.id).unwrap()).await);
    // The secret itself is nowhere.
    let kept = format!("{:?}", disk.contents());
    assert!(!kept.contains(NodeSecret::new(&[1; BYTES]).reveal()));
    // Whoever forgets it gives the name free.
    ledger.forget(vec!["a".into()]).await.unwrap();
    ledger.arrive(&new(Some(2), "2"), now).await.unwrap();
    assert_eq!(ledger.arrive(&new(Some(1), "4"), now).await.unwrap_err(), not_proven);
}

#[tokio::test]
async fn a_name_that_was_left_is_free_and_a_token_that_is_bound_to_it_needs_no_secret() {
    let ledger = in_memory(100);
    let now = Instant::now();
    let first = ledger.arrive(&new(Some(1), "1"), now).await.unwrap();
    ledger.leave(first.session).await.unwrap();
    let second = ledger.arrive(&new(Some(2), "2"), now).await.unwrap();
    ledger.parted(second.session);
    let bound = Right { token: "a-only".into(), entitled: true };
    let third = ledger.join(&new(Some(3), "3"), &bound, now).await.unwrap();
    ledger.parted(third.session);
    // Its secret is the node's from now on.
    assert!(ledger.arrive(&new(Some(2), "2"), now).await.is_err());
    ledger.arrive(&new(Some(3), "4"), now).await.unwrap();
}

#[tokio::test]
async fn a_name_without_a_secret_is_anybodys_until_one_is_shown() {
    let ledger = in_memory(100);
    let now = Instant::now();
    let old = ledger.arrive(&new(None, "1"), now).await.unwrap();
    assert!(!ledger.nodes(now)[0].is_proven);
    ledger.parted(old.session);
    let new_version = ledger.arrive(&new(Some(1), "2"), now).await.unwrap();
    assert!(ledger.nodes(now)[0].is_proven);
    ledger.parted(new_version.session);
    assert!(ledger.arrive(&new(None, "3"), now).await.is_err());
}

#[tokio::test]
async fn a_refusal_of_the_journal_records_no_secret() {
    let disk = Disk::default();
    let ledger = on(&disk);
    disk.doom(super::disk::Fate::Refused);
    let error = ledger.arrive(&new(Some(1), "1"), Instant::now()).await.unwrap_err();
    assert!(matches!(error, JoinError::Journal(_)) && error.is_temporary());
    ledger.arrive(&new(Some(2), "2"), Instant::now()).await.unwrap();
}

#[tokio::test]
async fn a_purge_waits_for_both_processes_until_the_older_one_has_left() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let now = Instant::now();
    let mut old = ledger.arrive(&new(Some(1), "old"), now).await.unwrap();
    let next = ledger.arrive(&successor("next", "old"), now).await.unwrap();
    assert_ne!(old.welcomed.place.member, next.welcomed.place.member);
    assert_eq!((old.why_ended().is_none(), ledger.nodes(now)[0].processes), (true, 2));
    let purge = ledger.purge(order("/1", None), me()).await.unwrap();
    ledger.applied(next.session, 1, now);
    assert!(!is_completed(&ledger, &purge).await);
    ledger.applied(old.session, 1, now);
    assert!(is_completed(&ledger, &purge).await);

    // The older one is cut off, and comes again as itself; also after control restarts.
    let held = standing(&ledger, &old, 1);
    let next_held = standing(&ledger, &next, 1);
    drop(ledger);
    let disk = disk.rebooted();
    let ledger = on(&disk);
    let next = ledger.arrive(&process(Some(1), "next", &next_held), now).await.unwrap();
    let purge = ledger.purge(order("/2", None), me()).await.unwrap();
    ledger.applied(next.session, 2, now);
    assert!(!is_completed(&ledger, &purge).await, "the older one is away");
    let mut old = ledger.arrive(&process(Some(1), "old", &held), now).await.unwrap();
    assert!(old.welcomed.place.keep && next.welcomed.place.keep);
    assert_eq!(ledger.nodes(now)[0].session, Some(next.session), "the newer speaks for the node");
    assert!(!ledger.heard(old.session, now, None) && ledger.heard(next.session, now, None));
    ledger.leave(old.session).await.unwrap();
    assert_eq!(old.why_ended(), Some(Ended::Forgotten));
    assert!(is_completed(&ledger, &purge).await);
    assert_eq!(ledger.nodes(now)[0].processes, 1);
    assert_eq!(disk.contents().nodes[0].processes.len(), 1);
    ledger.leave(next.session).await.unwrap();
    assert!(ledger.nodes(now).is_empty());
}

#[tokio::test]
async fn a_process_that_ended_without_a_word_is_waited_for_until_another_of_its_node_says_so() {
    let ledger = in_memory(100);
    let now = Instant::now();
    let old = ledger.arrive(&new(Some(1), "old"), now).await.unwrap();
    let next = ledger.arrive(&successor("next", "old"), now).await.unwrap();
    let other = ledger.arrive(&hello("b", &Standing::default()), now).await.unwrap();
    let purge = ledger.purge(order("/", None), me()).await.unwrap();
    ledger.applied(other.session, 1, now);
    ledger.applied(next.session, 1, now);
    ledger.parted(old.session);
    // Nobody says it of another node.
    ledger.ended(other.session, "old".into()).await.unwrap();
    ledger.ended(next.session, "unknown".into()).await.unwrap();
    assert!(!is_completed(&ledger, &purge).await);
    ledger.ended(next.session, "old".into()).await.unwrap();
    assert!(is_completed(&ledger, &purge).await);
    // The last process of a node is not ended by a word of its own.
    ledger.ended(next.session, "next".into()).await.unwrap();
    assert_eq!(ledger.nodes(now).len(), 2);
}

#[tokio::test]
async fn a_node_that_is_started_anew_has_none_of_its_earlier_processes() {
    let ledger = in_memory(100);
    let now = Instant::now();
    let old = ledger.arrive(&new(Some(1), "old"), now).await.unwrap();
    let next = ledger.arrive(&successor("next", "old"), now).await.unwrap();
    let purge = ledger.purge(order("/", None), me()).await.unwrap();
    assert!(matches!(
        ledger.arrive(&new(Some(1), "anew"), now).await.unwrap_err(),
        JoinError::NameTaken { .. }
    ));
    ledger.parted(old.session);
    ledger.parted(next.session);
    let anew = ledger.arrive(&new(Some(1), "anew"), now).await.unwrap();
    assert_eq!(ledger.nodes(now)[0].processes, 1);
    ledger.applied(anew.session, 1, now);
    assert!(is_completed(&ledger, &purge).await);
}

#[tokio::test]
async fn processes_of_a_node_are_bounded() {
    let ledger = in_memory(100);
    let now = Instant::now();
    ledger.arrive(&new(Some(1), "0"), now).await.unwrap();
    for nth in 1..weir_rules::identity::MOST_PROCESSES {
        ledger.arrive(&successor(&nth.to_string(), "0"), now).await.unwrap();
    }
    let error = ledger.arrive(&successor("more", "0"), now).await.unwrap_err();
    assert_eq!(error, JoinError::TooManyProcesses("a".into()));
}

#[tokio::test]
async fn new_names_are_limited_for_each_token_and_known_ones_are_not() {
    let bounds = Bounds { join_rate: 3, ..bounds(100) };
    let ledger = Ledger::open(Box::<Memory>::default(), bounds).unwrap();
    let named = |name: &str| hello(name, &Standing::default());
    for name in ["a", "b", "c", "a"] {
        ledger.arrive(&named(name), Instant::now()).await.unwrap();
    }
    let error = ledger.arrive(&named("d"), Instant::now()).await.unwrap_err();
    assert_eq!(error, JoinError::TooFast { token: "nodes".into(), per_minute: 3 });
    assert!(error.to_string().contains("control.join_rate") && !error.is_temporary());
    let other = Right { token: "other".into(), entitled: false };
    ledger.join(&named("d"), &other, Instant::now()).await.unwrap();
}

/// What a process shows that goes on with what the one before it stored.
fn after(ledger: &Ledger, before: &Joined, member: &str, instance: &str) -> Hello {
    let standing = standing(ledger, before, 0);
    process(Some(1), instance, &Standing { member: Some(member.into()), ..standing })
}

#[tokio::test]
async fn each_process_has_a_membership_of_its_own_once_it_acknowledged() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let now = Instant::now();
    let first = ledger.arrive(&new(Some(1), "1"), now).await.unwrap();
    let one = first.welcomed.place.member.clone();
    ledger.applied(first.session, 0, now);
    ledger.parted(first.session);
    let second = ledger.arrive(&after(&ledger, &first, &one, "2"), now).await.unwrap();
    let two = second.welcomed.place.member.clone();
    assert!(second.welcomed.place.keep && one != two);
    ledger.parted(second.session);
    // It ended before its own was durable on its disk: the one before is still good, also to a control
    // that was started anew. A reconnection of one process changes nothing.
    drop(ledger);
    let ledger = on(&disk.rebooted());
    let third = ledger.arrive(&after(&ledger, &first, &one, "3"), now).await.unwrap();
    let three = third.welcomed.place.member.clone();
    assert!(third.welcomed.place.keep && three != two);
    ledger.parted(third.session);
    let again = ledger.arrive(&after(&ledger, &third, &three, "3"), now).await.unwrap();
    assert_eq!((again.welcomed.place.keep, &again.welcomed.place.member), (true, &three));
    ledger.applied(again.session, 0, now);
    ledger.parted(again.session);
    // From then on a copy of the disk from before is of another.
    for old in [&one, &two] {
        let copy = ledger.arrive(&after(&ledger, &third, old, "4"), now).await.unwrap();
        assert!(!copy.welcomed.place.keep, "{old}");
        ledger.parted(copy.session);
    }
}

#[tokio::test]
async fn no_purge_waits_for_a_node_that_is_away_until_it_is_back() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let now = Instant::now();
    let node = ledger.arrive(&new(Some(1), "1"), now).await.unwrap();
    let member = node.welcomed.place.member.clone();
    let before = ledger.purge(order("/0", None), me()).await.unwrap();
    assert!(!is_completed(&ledger, &before).await);
    assert!(ledger.away(node.session, now));
    assert!(is_completed(&ledger, &before).await);
    let meanwhile = ledger.purge(order("/1", None), me()).await.unwrap();
    assert!(is_completed(&ledger, &meanwhile).await);
    // Control restarts: it is away still.
    drop(ledger);
    let ledger = on(&disk.rebooted());
    let later = ledger.purge(order("/2", None), me()).await.unwrap();
    assert!(is_completed(&ledger, &later).await);
    let back = ledger.arrive(&after(&ledger, &node, &member, "2"), now).await.unwrap();
    // All of it is to be applied before anything is shown.
    let place = &back.welcomed.place;
    assert_eq!((place.keep, place.after, place.head), (true, 0, 3));
    let next = ledger.purge(order("/3", None), me()).await.unwrap();
    assert!(!is_completed(&ledger, &next).await);
    ledger.applied(back.session, 4, now);
    assert!(is_completed(&ledger, &next).await);
    // One of two processes leaves.
    ledger.arrive(&successor("3", "2"), now).await.unwrap();
    assert!(!ledger.away(back.session, now));
}
