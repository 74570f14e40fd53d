//! Expected nodes, and how entries arrive at them.

use super::disk::Fate;
use super::*;
use weir_protocol::frame::SiteHosts;

#[tokio::test]
async fn a_purge_is_completed_when_every_node_expected_at_its_append_applied_it() {
    let ledger = in_memory(100);
    let alone = ledger.purge(order("/0", None), me()).await.unwrap();
    let progress = ledger.progress(&alone);
    assert!(progress.expects_nobody() && progress.completed.is_some());

    let (a, b) = (stranger(&ledger, "a").await, stranger(&ledger, "b").await);
    assert_eq!((a.welcomed.place.after, a.welcomed.place.head), (0, 1));
    let purge = ledger.purge(order("/1", None), me()).await.unwrap();
    let late = stranger(&ledger, "c").await;
    assert_eq!(late.welcomed.place.head, 2);
    ledger.applied(a.session, 2, Instant::now());
    ledger.parted(b.session);
    let expected = [("a".to_owned(), Arrival::Applied), ("b".to_owned(), Arrival::Offline)];
    assert_eq!(states(&ledger, &purge), expected);
    assert_eq!(ledger.progress(&purge).completed, None);
    assert_eq!(ledger.counts().incomplete, 1);

    let back = ledger.arrive(&hello("b", &standing(&ledger, &b, 0)), Instant::now()).await.unwrap();
    assert!(back.welcomed.place.keep);
    assert_eq!(states(&ledger, &purge)[1].1, Arrival::Pending);
    // What a session that ended says is not heard.
    ledger.applied(b.session, 2, Instant::now());
    assert_eq!(states(&ledger, &purge)[1].1, Arrival::Pending);
    ledger.applied(back.session, 2, Instant::now());
    let progress = ledger.progress(&purge);
    assert!(progress.completed.is_some() && progress.nodes[1].applied.is_some());
    assert_eq!((ledger.counts().incomplete, ledger.counts().propagation.count), (0, 2));

    assert_eq!(progress.matched(), None);
    ledger.matched(a.session, &[(2, 3), (9, 1)]);
    ledger.matched(back.session, &[(2, 4)]);
    assert_eq!(ledger.progress(&purge).matched(), Some(7));
}

#[tokio::test]
async fn whoever_waits_is_told_once_it_is_completed_and_once_it_is_counted() {
    let ledger = in_memory(100);
    let (a, b) = (stranger(&ledger, "a").await, stranger(&ledger, "b").await);
    let purge = ledger.purge(order("/", None), me()).await.unwrap();
    let (done, heard) = (ledger.clone(), purge.clone());
    let completed = tokio::spawn(async move { done.until_completed(&heard).await });
    let (told, heard) = (ledger.clone(), purge.clone());
    let counted = tokio::spawn(async move { told.until_counted(&heard).await });
    tokio::task::yield_now().await;
    ledger.applied(a.session, 1, Instant::now());
    ledger.matched(a.session, &[(1, 2)]);
    ledger.parted(b.session);
    tokio::task::yield_now().await;
    assert!(!completed.is_finished() && !counted.is_finished());
    assert_eq!(states(&ledger, &purge)[1].1, Arrival::Offline);
    assert_eq!(ledger.forget(vec!["b".into()]).await.unwrap(), ["b"]);
    completed.await.unwrap();
    counted.await.unwrap();
    assert_eq!(ledger.progress(&purge).matched(), Some(2));
    ledger.forget(vec!["a".into()]).await.unwrap();
    // It has applied it, and is told of.
    assert!(!ledger.progress(&purge).expects_nobody());
}

#[tokio::test]
async fn a_node_that_comes_back_empty_is_waited_for_until_it_says_that_it_is_there() {
    let ledger = in_memory(100);
    let node = stranger(&ledger, "a").await;
    let done = ledger.purge(order("/1", None), me()).await.unwrap();
    ledger.applied(node.session, 1, Instant::now());
    let open = ledger.purge(order("/2", None), me()).await.unwrap();
    ledger.parted(node.session);
    let empty = Hello { instance: "2".into(), ..hello("a", &Standing::default()) };
    let back = ledger.arrive(&empty, Instant::now()).await.unwrap();
    assert_eq!((back.welcomed.place.keep, back.welcomed.place.after), (false, 0));
    // What was completed stays so, though it has yet to apply it again. The other one may reach it
    // through a parent that is as far behind.
    let state = |seq: usize| ledger.after(0, 9).unwrap()[seq - 1].completed().is_some();
    assert_eq!((state(1), state(2)), (true, false));
    ledger.applied(back.session, 0, Instant::now());
    ledger.applied(back.session, 1, Instant::now());
    assert_eq!((state(1), state(2)), (true, false));
    ledger.applied(back.session, 2, Instant::now());
    assert!(done.completed().is_some() && open.completed().is_some());
    // Who joins later holds nothing back.
    stranger(&ledger, "b").await;
    assert_eq!(states(&ledger, &open).len(), 1);
    assert_eq!(ledger.counts().incomplete, 0);
}

#[tokio::test]
async fn one_living_process_a_name() {
    let ledger = in_memory(100);
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut first = ledger.arrive(&hello("a", &Standing::default()), at(0)).await.unwrap();
    ledger.heard(first.session, at(10), None);
    let second = Hello { instance: "other".into(), ..hello("a", &Standing::default()) };
    let heard = Duration::from_secs(14);
    let taken = ledger.arrive(&second, at(24)).await.unwrap_err();
    assert_eq!(taken, JoinError::NameTaken { name: "a".into(), heard });
    assert_eq!(ledger.nodes(at(24))[0].state, NodeState::Connected);
    assert_eq!(ledger.nodes(at(25))[0].state, NodeState::Silent);
    // The same process over another connection takes the place of its earlier one.
    let mut again = ledger.arrive(&hello("a", &Standing::default()), at(24)).await.unwrap();
    assert_eq!(first.why_ended(), Some(Ended::Replaced));
    // A silent one has to give way, and a parted one.
    let other = ledger.arrive(&second, at(39)).await.unwrap();
    assert_eq!(again.why_ended(), Some(Ended::Replaced));
    ledger.parted(other.session);
    assert_eq!(ledger.nodes(at(39))[0].state, NodeState::Offline);
    let mut third = ledger.arrive(&hello("a", &Standing::default()), at(39)).await.unwrap();
    assert_eq!(ledger.counts().connected, 1);
    // Ended sessions do not part the living one.
    ledger.parted(again.session);
    assert_eq!(third.why_ended(), None);
    assert_eq!(ledger.nodes(at(39))[0].session, Some(third.session));
}

#[tokio::test]
async fn a_forgotten_node_comes_back_empty_and_is_not_waited_for() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let mut node = stranger(&ledger, "a").await;
    let purge = ledger.purge(order("/1", None), me()).await.unwrap();
    assert!(ledger.forget(vec!["b".into()]).await.unwrap().is_empty());
    assert_eq!(ledger.forget(vec!["a".into()]).await.unwrap(), ["a"]);
    assert_eq!(node.why_ended(), Some(Ended::Forgotten));
    assert!(ledger.progress(&purge).completed.is_some());
    let back = standing(&ledger, &node, 0);
    drop(ledger);
    let ledger = on(&disk.rebooted());
    assert!(ledger.nodes(Instant::now()).is_empty());
    let back = ledger.arrive(&hello("a", &back), Instant::now()).await.unwrap();
    assert!(!back.welcomed.place.keep);
    assert_ne!(back.welcomed.place.member, node.welcomed.place.member);
    assert!(ledger.progress(&ledger.find(&purge.id).unwrap()).expects_nobody());
    ledger.leave(back.session).await.unwrap();
    assert!(disk.contents().nodes.is_empty());
}

#[tokio::test]
async fn silent_nodes_are_forgotten_after_a_time_that_begins_with_the_start() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let a = stranger(&ledger, "a").await;
    stranger(&ledger, "b").await;
    let soon = Instant::now() + Duration::from_secs(3000);
    ledger.heard(a.session, soon, Some(Arc::new(Stats { requests: 7, ..Stats::default() })));
    let later = Instant::now() + Duration::from_secs(3601);
    assert_eq!(ledger.forget_silent(soon).await.unwrap(), Vec::<String>::new());
    assert_eq!(ledger.forget_silent(later).await.unwrap(), ["b"]);
    let view = ledger.nodes(soon);
    assert_eq!((view.len(), view[0].stats.as_deref().unwrap().requests), (1, 7));
    drop(ledger);
    let ledger = on(&disk.rebooted());
    let soon = Instant::now() + Duration::from_secs(3500);
    assert_eq!(ledger.forget_silent(soon).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn no_more_nodes_than_allowed() {
    let ledger = Ledger::open(Box::<Memory>::default(), Bounds { nodes: 1, ..bounds(9) }).unwrap();
    let a = stranger(&ledger, "a").await;
    let b = ledger.arrive(&hello("b", &Standing::default()), Instant::now()).await;
    assert_eq!(b.unwrap_err(), JoinError::TooMany(1));
    ledger.leave(a.session).await.unwrap();
    stranger(&ledger, "b").await;
}

fn sites(id: &str) -> Option<Vec<SiteHosts>> {
    Some(vec![SiteHosts { id: id.into(), hosts: vec!["*".into()] }])
}

/// The first sites of each list, and whether a node does not report.
fn reported(ledger: &Ledger) -> (Vec<String>, bool) {
    let reported = ledger.reported_sites();
    (reported.lists.iter().map(|list| list[0].id.clone()).collect(), reported.silent)
}

#[tokio::test]
async fn sites_of_expected_nodes_are_known_while_these_are_away_and_after_a_crash() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let of = |name: &str, id: Option<&str>| Hello {
        sites: id.and_then(sites),
        ..hello(name, &Standing::default())
    };
    let known = |ids: &[&str], silent| (ids.iter().map(|id| (*id).to_owned()).collect(), silent);
    assert_eq!(reported(&ledger), known(&[], false));
    for hello in [of("a", Some("shop")), of("b", Some("shop")), of("c", Some("blog"))] {
        let joined = ledger.arrive(&hello, Instant::now()).await.unwrap();
        ledger.parted(joined.session);
    }
    assert_eq!(reported(&ledger), known(&["shop", "blog"], false));
    let old = ledger.arrive(&of("old", None), Instant::now()).await.unwrap();
    assert_eq!(reported(&ledger), known(&["shop", "blog"], true));
    drop(ledger);
    let disk = disk.rebooted();
    let ledger = on(&disk);
    assert_eq!(reported(&ledger), known(&["shop", "blog"], true));
    // It was upgraded; another one has other sites now, and one is gone.
    ledger.parted(old.session);
    ledger.arrive(&of("old", Some("blog")), Instant::now()).await.unwrap();
    ledger.arrive(&of("a", Some("docs")), Instant::now()).await.unwrap();
    ledger.forget(vec!["b".into()]).await.unwrap();
    assert_eq!(reported(&ledger), known(&["docs", "blog"], false));
    drop(ledger);
    let disk = disk.rebooted();
    let ledger = on(&disk);
    assert_eq!(reported(&ledger), known(&["docs", "blog"], false));
    // A name that was forgotten brings nothing back.
    for name in ["a", "c", "old"] {
        ledger.forget(vec![name.into()]).await.unwrap();
    }
    ledger.arrive(&of("a", None), Instant::now()).await.unwrap();
    assert_eq!(reported(&ledger), known(&[], true));
    drop(ledger);
    assert_eq!(reported(&on(&disk.rebooted())), known(&[], true));
}

#[tokio::test]
async fn sites_that_the_journal_did_not_take_are_told_again() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let hello = Hello { sites: sites("shop"), ..hello("a", &Standing::default()) };
    disk.doom(Fate::TakenUnsaid);
    assert!(ledger.arrive(&hello, Instant::now()).await.is_err());
    assert_eq!(reported(&ledger), (vec![], false));
    ledger.purge(order("/", None), me()).await.unwrap();
    let contents = disk.contents();
    assert!(contents.nodes.is_empty() && contents.sites.is_empty(), "{contents:?}");
}

#[tokio::test]
async fn who_joined_is_expected_after_a_crash_and_one_whose_record_failed_is_not_let_in() {
    let disk = Disk::default();
    let ledger = on(&disk);
    stranger(&ledger, "a").await;
    disk.doom(Fate::Refused);
    let failed = ledger.arrive(&hello("b", &Standing::default()), Instant::now()).await;
    assert!(matches!(failed, Err(JoinError::Journal(_))));
    assert_eq!(ledger.nodes(Instant::now()).len(), 1);
    let purge = ledger.purge(order("/", None), me()).await.unwrap();
    // As it is at this moment: the ledger has no chance to save anything more.
    let crashed = disk.rebooted();
    let ledger = on(&crashed);
    let purge = ledger.find(&purge.id).unwrap();
    assert_eq!(states(&ledger, &purge), [("a".to_owned(), Arrival::Offline)]);
}

#[tokio::test]
async fn a_node_that_reconnects_unchanged_costs_no_commit() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let first = stranger(&ledger, "a").await;
    let before = disk.batches();
    let again = hello("a", &standing(&ledger, &first, 0));
    assert!(ledger.arrive(&again, Instant::now()).await.unwrap().welcomed.place.keep);
    assert_eq!(disk.batches(), before);
    let moved = Hello { region: "south".into(), ..again };
    ledger.arrive(&moved, Instant::now()).await.unwrap();
    assert_eq!(
        (disk.batches(), ledger.nodes(Instant::now())[0].region.as_str()),
        (before + 1, "south")
    );
}

#[tokio::test]
async fn a_node_whose_store_outlived_it_goes_on_after_its_checked_mark() {
    let ledger = in_memory(100);
    let node = stranger(&ledger, "a").await;
    for path in ["/1", "/2", "/3"] {
        ledger.purge(order(path, None), me()).await.unwrap();
    }
    // It had acknowledged 2 while control was away; its store was checked up to 1.
    let standing = Standing { checked: Some(1), ..standing(&ledger, &node, 2) };
    let again = ledger.arrive(&hello("a", &standing), Instant::now()).await.unwrap();
    let place = &again.welcomed.place;
    let listed = ledger.after(0, 3).unwrap();
    assert_eq!((place.keep, place.after, place.mark), (true, 1, listed[0].entry.mark));
    let done = |at: usize| ledger.progress(&listed[at]).completed.is_some();
    assert_eq!((done(1), done(2)), (true, false));
    ledger.applied(again.session, 3, Instant::now());
    assert!(done(2));
}

#[tokio::test]
async fn who_may_keep_nothing_gets_a_new_membership() {
    let ledger = in_memory(2);
    let node = stranger(&ledger, "a").await;
    for path in ["/1", "/2", "/3"] {
        ledger.purge(order(path, None), me()).await.unwrap();
    }
    // What it has yet to apply is forgotten.
    let behind = Standing {
        log: Some(node.welcomed.place.log.clone()),
        member: Some(node.welcomed.place.member.clone()),
        ..Standing::default()
    };
    let again = ledger.arrive(&hello("a", &behind), Instant::now()).await.unwrap();
    let place = again.welcomed.place;
    assert_eq!((place.keep, place.after), (false, 1));
    assert_ne!(place.member, node.welcomed.place.member);
    assert_eq!(ledger.nodes(Instant::now()).len(), 1);
}

#[tokio::test]
async fn history_keeps_its_figures_over_a_restart() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let (a, b) = (stranger(&ledger, "a").await, stranger(&ledger, "b").await);
    let done = ledger.purge(order("/1", None), me()).await.unwrap();
    let open = ledger.purge(order("/2", None), me()).await.unwrap();
    ledger.applied(a.session, 2, Instant::now());
    ledger.matched(a.session, &[(1, 5)]);
    ledger.applied(b.session, 1, Instant::now());
    let before = ledger.progress(&done);
    let kept = standing(&ledger, &b, 2);
    drop(ledger);
    let ledger = on(&disk.rebooted());
    let (done, open) = (ledger.find(&done.id).unwrap(), ledger.find(&open.id).unwrap());
    let after = ledger.progress(&done);
    let micros = |time: Option<Duration>| time.map(|time| time.as_micros());
    assert_eq!(micros(after.completed), micros(before.completed));
    assert_eq!(micros(after.nodes[0].applied), micros(before.nodes[0].applied));
    assert_eq!((after.nodes[0].matched, after.nodes[1].matched), (Some(5), None));
    assert_eq!(ledger.progress(&open).completed, None);
    // It applied the second one while control was away: when is not known.
    ledger.arrive(&hello("b", &kept), Instant::now()).await.unwrap();
    let progress = ledger.progress(&open);
    assert!(progress.completed.is_some() && progress.nodes[0].applied.is_some());
    assert_eq!((progress.nodes[1].state, progress.nodes[1].applied), (Arrival::Applied, None));
}
