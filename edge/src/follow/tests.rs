#![allow(clippy::unwrap_used)]

use super::checkpoint::Checkpoint;
use super::follower::{Follower, Following, Identity};
use super::{Applier, InProcess};
use crate::request::PurgeAsk;
use crate::state::NodeState;
use crate::sweep::Sweeper;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;
use weir_config::Config;
use weir_protocol::frame::{FromControl, FromNode, Welcomed};
use weir_protocol::lines::{Lines, write_line};
use weir_protocol::question::Question;
use weir_protocol::secret::{BYTES, NodeSecret};
use weir_rules::invalidation::{IndexKind, Purge, Seq, Subject, Target, Validity};
use weir_rules::log::{Change, Entry, LogId, Release, Standing, Welcome};
use weir_rules::tier::Tier;
use weir_rules::time::Time;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

const LEASE: Duration = Duration::from_secs(15);

fn identity() -> Identity {
    Identity { secret: NodeSecret::new(&[7; BYTES]), takes_over: None }
}

/// A node without its listeners, and control as the test plays it.
struct Scene {
    state: Arc<NodeState>,
    following: Arc<Following>,
    follower: Option<Follower>,
    dialled: mpsc::UnboundedReceiver<DuplexStream>,
}

/// Control's end of one connection.
struct Connection {
    lines: Lines<ReadHalf<DuplexStream>>,
    write: WriteHalf<DuplexStream>,
}

/// A node that has not been told anything.
pub(super) fn node(checkpoint: &Checkpoint) -> (Arc<NodeState>, Arc<Following>) {
    node_with("", checkpoint)
}

/// The same with these tables.
fn node_with(tables: &str, checkpoint: &Checkpoint) -> (Arc<NodeState>, Arc<Following>) {
    let config = format!(
        "[control]\nurl = \"http://127.0.0.1:1\"\n{tables}\n[[site]]\norigins = [\"http://127.0.0.1:1\"]"
    );
    let state = Arc::new(NodeState::new(Config::from_toml(&config).unwrap()).unwrap());
    let sweeper = Sweeper::start(&state).unwrap();
    let applier = Applier::new(Arc::clone(&state), sweeper, checkpoint.position());
    let listen = ([127, 0, 0, 1], 8080).into();
    let following = Arc::new(
        Following::new(Arc::clone(&state), applier, listen, Arc::default(), identity()).unwrap(),
    );
    (state, following)
}

impl Scene {
    fn start() -> Self {
        Self::start_with("")
    }

    fn start_with(tables: &str) -> Self {
        let (state, following) = node_with(tables, &Checkpoint::default());
        let (accepted, dialled) = mpsc::unbounded_channel();
        let dial = InProcess::new(move |stream| {
            // A scene that is over takes no more connections.
            let _ = accepted.send(stream);
        });
        let here = Handle::current();
        let follower = Follower::start(Arc::clone(&following), dial, &here, here.clone());
        Self { state, following, follower: Some(follower), dialled }
    }

    /// The next connection that the node makes.
    async fn accept(&mut self) -> Connection {
        let stream = tokio::time::timeout(PATIENCE, self.dialled.recv()).await;
        let (read, write) = tokio::io::split(stream.expect("a connection").unwrap());
        Connection { lines: Lines::new(read), write }
    }

    /// A node let in by an empty log `a`.
    async fn joined() -> (Self, Connection) {
        Self::joined_with("").await
    }

    async fn joined_with(tables: &str) -> (Self, Connection) {
        let mut scene = Self::start_with(tables);
        let mut control = scene.accept().await;
        assert_eq!(control.hello().await, Standing::default());
        control.welcome("a", 0, 0, false).await;
        control.until_applied(0).await;
        (scene, control)
    }

    fn is_hard(&self, tag: &str, filled_at: Seq) -> bool {
        is_hard(&self.state, tag, filled_at)
    }
}

pub(super) fn is_hard(state: &NodeState, tag: &str, filled_at: Seq) -> bool {
    let subject = Subject {
        site: "default",
        host: "example.com",
        path: "/",
        query: None,
        tags: &[tag],
        filled_at,
    };
    matches!(state.purges.judge(&subject), Validity::Hard(_))
}

impl Connection {
    async fn say(&mut self, line: FromControl) {
        let mut out = Vec::new();
        write_line(&mut out, &line).unwrap();
        self.write.write_all(&out).await.unwrap();
    }

    async fn hear(&mut self) -> FromNode {
        let line = tokio::time::timeout(PATIENCE, self.lines.next()).await;
        line.expect("a line in time").unwrap().expect("a line")
    }

    /// That the node ends the connection; what it said before is not looked at.
    async fn until_end(&mut self) {
        let ended = async { while let Ok(Some(_)) = self.lines.next::<FromNode>().await {} };
        tokio::time::timeout(PATIENCE, ended).await.expect("an end in time");
    }

    async fn hello(&mut self) -> Standing {
        match self.hear().await {
            FromNode::Hello(hello) => {
                assert_eq!((hello.name.as_str(), hello.region.as_str()), ("weir", "default"));
                assert_eq!(hello.listen, "127.0.0.1:8080");
                hello.standing
            }
            other => panic!("{other:?}"),
        }
    }

    async fn welcome(&mut self, log: &str, after: Seq, head: Seq, keep: bool) {
        self.say(FromControl::Welcome(welcomed(log, after, head, keep))).await;
    }

    /// The next line that is not about the number of matches.
    async fn heard(&mut self) -> FromNode {
        loop {
            match self.hear().await {
                FromNode::Matched { .. } => {}
                line => return line,
            }
        }
    }

    /// Acknowledgements may be left out where a later one says the same.
    async fn until_applied(&mut self, seq: Seq) {
        loop {
            match self.heard().await {
                FromNode::Applied { seq: applied } if applied == seq => return,
                FromNode::Applied { seq: applied } => assert!(applied < seq, "{applied}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

pub(super) fn welcomed(log: &str, after: Seq, head: Seq, keep: bool) -> Welcomed {
    Welcomed {
        place: Welcome {
            log: LogId(log.to_owned()),
            member: "m".to_owned(),
            after,
            mark: mark(log, after),
            keep,
            head,
        },
        releases: Vec::new(),
        tier_key: "key".to_owned(),
        lease_ms: 15_000,
    }
}

/// The node's own number of a seq of the first log that it follows.
fn own(seq: Seq) -> Seq {
    seq + 1
}

fn mark(log: &str, seq: Seq) -> u64 {
    if seq == 0 { 0 } else { seq * 1000 + log.len() as u64 }
}

/// Entry `seq` of a log: a purge of a tag.
pub(super) fn entry(log: &str, seq: Seq, tag: &str) -> Entry {
    let purge = Purge {
        seq,
        targets: vec![Target::Tag(tag.to_owned())],
        site: None,
        soft: false,
        versions: false,
    };
    Entry { seq, mark: mark(log, seq), change: Change::Purge(purge) }
}

fn purge(seq: Seq, tag: &str) -> FromControl {
    FromControl::Entry(entry("a", seq, tag))
}

#[tokio::test]
async fn an_entry_holds_before_it_is_published_and_is_published_before_it_is_acknowledged() {
    const ENTRIES: Seq = 500;
    let (scene, mut control) = Scene::joined().await;
    let (state, stopped) = (Arc::clone(&scene.state), Arc::new(AtomicBool::new(false)));
    let stop = Arc::clone(&stopped);
    // Looks at every moment: what is published as applied must hold.
    let watcher = std::thread::spawn(move || {
        let mut looks = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            let applied = state.purges.applied();
            let holds = applied == 1 || is_hard(&state, &format!("t{}", applied - 1), applied - 1);
            assert!(holds, "{applied} is published and does not hold");
            looks += 1;
        }
        looks
    });
    for seq in 1..=ENTRIES {
        control.say(purge(seq, &format!("t{seq}"))).await;
        control.until_applied(seq).await;
        assert_eq!(scene.state.purges.applied(), own(seq));
    }
    stopped.store(true, Ordering::Relaxed);
    assert!(watcher.join().expect("what is published holds") > 0);
    assert_eq!(scene.following.followed().head, ENTRIES);
}

#[tokio::test]
async fn a_node_that_comes_back_goes_on_where_it_was() {
    let (mut scene, mut control) = Scene::joined().await;
    for seq in 1..=3 {
        control.say(purge(seq, "x")).await;
    }
    control.until_applied(3).await;
    drop(control);
    let mut control = scene.accept().await;
    let standing = control.hello().await;
    assert_eq!((standing.applied, standing.mark), (3, mark("a", 3)));
    assert_eq!(standing.checked, None);
    assert_eq!(standing.log, Some(LogId("a".to_owned())));
    assert_eq!(standing.member.as_deref(), Some("m"));
    control.welcome("a", 3, 4, true).await;
    control.until_applied(3).await;
    // Said again after all: it is taken as what it is.
    control.say(purge(3, "x")).await;
    control.say(purge(4, "y")).await;
    control.until_applied(4).await;
    assert!(!scene.is_hard("other", own(0)), "what was fetched before is still good");
    assert!(scene.is_hard("y", own(3)) && scene.is_hard("x", own(2)));
    assert!(!scene.is_hard("x", own(3)));
    let followed = scene.following.followed();
    assert_eq!((followed.applied, followed.head, followed.reconnects), (4, 4, 1));
    assert!(followed.connected && !followed.partitioned);
}

#[tokio::test]
async fn under_another_log_nothing_from_before_is_trusted_though_its_seqs_are_lower() {
    let (mut scene, mut control) = Scene::joined().await;
    for seq in 1..=5 {
        control.say(purge(seq, "x")).await;
    }
    control.until_applied(5).await;
    let purges = &scene.state.purges;
    // A fetch under way, which the new log's entries must not be compared with.
    let under_way = purges.stamp();
    assert!(!is_hard(&scene.state, "other", under_way.seq()));
    let stored_before = purges.applied();
    drop(control);

    let mut control = scene.accept().await;
    control.hello().await;
    control.welcome("new", 1, 2, false).await;
    control.until_applied(1).await;
    let purges = &scene.state.purges;
    assert!(scene.is_hard("other", under_way.seq()) && scene.is_hard("other", stored_before));
    let stamp = purges.stamp().seq();
    assert!(stamp > under_way.seq(), "own numbers only grow");
    assert!(!scene.is_hard("other", stamp) && !scene.is_hard("x", stamp));
    assert_eq!(purges.asking(), None, "what was completed without the node is still missing");
    let followed = purges.standing();
    assert_eq!((followed.floor, followed.own(1), purges.reach("")), (stamp, stamp, stamp));
    assert_eq!(followed.of_log(stored_before), None);
    assert_eq!(followed.tier_key.as_deref(), Some("key"));

    control.say(FromControl::Entry(entry("new", 2, "x"))).await;
    control.until_applied(2).await;
    assert!(scene.is_hard("x", stamp) && !scene.is_hard("other", stamp));
    let purges = &scene.state.purges;
    assert!(purges.until_applied(followed.own(2), Duration::ZERO).await);
    let asking = purges.asking().expect("all is applied");
    let claim = asking.claim();
    assert_eq!((claim.log.0.as_str(), claim.applied), ("new", 2));
}

#[tokio::test]
async fn a_log_that_was_forgotten_beyond_the_node_leaves_it_nothing() {
    let (mut scene, mut control) = Scene::joined().await;
    control.say(purge(1, "x")).await;
    control.until_applied(1).await;
    drop(control);
    let mut control = scene.accept().await;
    control.hello().await;
    control.welcome("a", 7, 7, false).await;
    control.until_applied(7).await;
    assert!(scene.is_hard("other", own(1)) && scene.is_hard("other", own(6)));
    let applied = scene.state.purges.applied();
    assert!(!scene.is_hard("other", applied));
    assert_eq!(scene.state.purges.standing().of_log(applied), Some(7));
}

#[tokio::test]
async fn waiting_for_an_entry_ends_when_it_is_applied_or_takes_too_long() {
    let (scene, mut control) = Scene::joined().await;
    assert!(!scene.state.purges.until_applied(own(1), Duration::from_millis(1)).await);
    let state = Arc::clone(&scene.state);
    let waits = tokio::spawn(async move { state.purges.until_applied(own(1), PATIENCE).await });
    control.say(purge(1, "x")).await;
    assert!(waits.await.unwrap());
}

#[tokio::test]
async fn what_is_out_of_place_ends_the_connection_and_changes_nothing() {
    let (mut scene, mut control) = Scene::joined().await;
    control.say(purge(1, "x")).await;
    control.until_applied(1).await;
    control.say(purge(3, "y")).await;
    control.until_end().await;
    for nonsense in ["{\"frame\":\"entry\"}\n", "not JSON\n", "{\"frame\":\"surprise\"}\n"] {
        let mut control = scene.accept().await;
        assert_eq!(control.hello().await.applied, 1, "{nonsense}");
        control.welcome("a", 1, 1, true).await;
        control.write.write_all(nonsense.as_bytes()).await.unwrap();
        control.until_end().await;
    }
    // Welcomes that cannot be: to keep another log's, or from elsewhere, or beyond the log.
    for (log, after, head, keep) in
        [("b", 1, 1, true), ("a", 0, 1, true), ("b", 2, 1, false), ("b", 0, u64::MAX, false)]
    {
        let mut control = scene.accept().await;
        control.hello().await;
        control.welcome(log, after, head, keep).await;
        control.until_end().await;
    }
    let before = own(0);
    assert!(!scene.is_hard("y", before) && scene.is_hard("x", before));
    assert!(!scene.is_hard("other", before));
    assert_eq!(scene.following.followed().applied, 1);
}

#[tokio::test]
async fn a_refused_node_asks_again() {
    let mut scene = Scene::start();
    for _ in 0..3 {
        let mut control = scene.accept().await;
        control.hello().await;
        control
            .say(FromControl::Refused { reason: "the name is taken".to_owned(), temporary: false })
            .await;
        control.until_end().await;
    }
    assert!(!scene.following.followed().connected);
    assert!(!scene.following.link().is_caught_up());
    assert_eq!(scene.following.link().refusal().as_deref(), Some("the name is taken"));
    let mut control = scene.accept().await;
    control.hello().await;
    control.welcome("a", 0, 1, false).await;
    control.until_applied(0).await;
    assert!(!scene.following.link().is_caught_up(), "an entry is missing yet");
    control.say(purge(1, "x")).await;
    control.until_applied(1).await;
    assert!(scene.following.link().is_caught_up());
    assert_eq!(scene.following.link().refusal(), None);
}

#[tokio::test]
async fn a_node_that_is_not_let_in_validates_everything_until_it_is() {
    let mut scene = Scene::start();
    let validates = |scene: &Scene| scene.state.lease.validates(scene.state.now());
    let mut control = scene.accept().await;
    assert!(validates(&scene), "it was never let in");
    control.hello().await;
    control.welcome("a", 0, 0, false).await;
    control.until_applied(0).await;
    assert!(!validates(&scene));
    // A connection that is lost, and a refusal that is control's own fault, change nothing.
    for refusal in [None, Some(FromControl::Refused { reason: "disk".into(), temporary: true })] {
        if let Some(refusal) = refusal {
            control.say(refusal).await;
        }
        drop(control);
        control = scene.accept().await;
        control.hello().await;
        assert!(!validates(&scene) && scene.following.link().refusal().is_none());
    }
    control.say(FromControl::Refused { reason: "no".to_owned(), temporary: false }).await;
    control.until_end().await;
    let mut control = scene.accept().await;
    assert!(validates(&scene) && scene.following.link().refusal().is_some());
    control.hello().await;
    control.welcome("a", 0, 0, true).await;
    control.until_applied(0).await;
    assert!(!validates(&scene));
}

#[tokio::test]
async fn a_lease_counts_from_what_control_has_heard_however_late_the_heartbeat_comes() {
    let (scene, mut control) = Scene::joined().await;
    let lease = LEASE.as_millis() as u64;
    let beat =
        |heard| FromControl::Heartbeat { head: Some(0), heard: Some(heard), retention: None };
    control.say(beat(0)).await;
    assert!(matches!(control.heard().await, FromNode::Alive(_)));
    let said = scene.state.now();
    // Long on their way: control had heard nothing after the first answer.
    tokio::time::sleep(Duration::from_millis(50)).await;
    for _ in 0..3 {
        control.say(beat(1)).await;
        assert!(matches!(control.heard().await, FromNode::Alive(_)));
    }
    assert!(scene.state.lease.is_lost(said.plus_millis(lease + 1)));
    control.say(beat(4)).await;
    assert!(matches!(control.heard().await, FromNode::Alive(_)));
    assert!(!scene.state.lease.is_lost(said.plus_millis(lease + 1)));
    control.say(beat(9)).await;
    control.until_end().await;
}

#[tokio::test]
async fn a_process_says_that_another_has_ended_on_each_connection() {
    let (mut scene, mut control) = Scene::joined().await;
    let ended = FromNode::Ended { instance: "other".into() };
    scene.following.other_ended("other".into());
    assert_eq!(control.heard().await, ended);
    drop(control);
    let mut control = scene.accept().await;
    control.hello().await;
    control.welcome("a", 0, 0, true).await;
    while control.heard().await != ended {}
}

#[tokio::test(start_paused = true)]
async fn silence_for_the_lease_is_the_end_of_a_connection() {
    let (mut scene, mut control) = Scene::joined().await;
    let begun = Instant::now();
    for beat in 1..=10 {
        tokio::time::sleep(LEASE / 5).await;
        control.say(FromControl::Heartbeat { head: Some(0), heard: None, retention: None }).await;
        let alive = control.heard().await;
        assert!(matches!(alive, FromNode::Alive(_)), "beat {beat}: {alive:?}");
    }
    assert_eq!(begun.elapsed(), 2 * LEASE);
    assert!(scene.dialled.try_recv().is_err(), "heartbeats keep it");
    let silent = Instant::now();
    control.until_end().await;
    assert_eq!(silent.elapsed(), LEASE);
    let mut control = scene.accept().await;
    control.hello().await;
}

#[tokio::test(start_paused = true)]
async fn tries_come_ever_less_often_down_to_a_third_of_the_lease() {
    let mut scene = Scene::start();
    let mut last = Instant::now();
    let mut pauses = Vec::new();
    for _ in 0..20 {
        drop(scene.accept().await);
        pauses.push(last.elapsed());
        last = Instant::now();
    }
    let (least, most) = (Duration::from_millis(50), LEASE / 3 + Duration::from_millis(1));
    assert!(pauses[1..].iter().all(|pause| *pause >= least && *pause <= most), "{pauses:?}");
    assert!(pauses[10..].iter().all(|pause| *pause >= LEASE / 6), "{pauses:?}");
    let mut late = pauses[10..].to_vec();
    late.dedup();
    assert!(late.len() > 1, "no two nodes try in step: {pauses:?}");
    // Once it was let in, the next try is soon.
    let mut control = scene.accept().await;
    control.hello().await;
    control.welcome("a", 0, 0, false).await;
    control.until_applied(0).await;
    let lost = Instant::now();
    drop(control);
    scene.accept().await;
    assert!(lost.elapsed() <= Duration::from_millis(51), "{:?}", lost.elapsed());
}

#[tokio::test]
async fn a_refusal_is_no_sign_that_nothing_is_missed() {
    let mut scene = Scene::start();
    let later = scene.state.now().plus_millis(LEASE.as_millis() as u64 + 1);
    let mut control = scene.accept().await;
    control.hello().await;
    let long_ago = Time::from_millis(1_000_000);
    scene.state.lease.renew(long_ago);
    control.say(FromControl::Refused { reason: "no".to_owned(), temporary: false }).await;
    control.until_end().await;
    assert!(scene.state.lease.is_lost(later) && scene.state.lease.is_lost(scene.state.now()));
    let mut control = scene.accept().await;
    control.hello().await;
    control.welcome("a", 0, 0, false).await;
    control.until_applied(0).await;
    assert!(!scene.state.lease.is_lost(scene.state.now()));
}

#[tokio::test]
async fn the_lease_is_renewed_once_all_up_to_the_head_that_was_named_is_applied() {
    let (mut scene, control) = Scene::joined().await;
    assert!(!is_lost(&scene));
    drop(control);
    let mut control = scene.accept().await;
    control.hello().await;
    scene.state.lease.renew(LONG_AGO);
    control.welcome("a", 0, 2, true).await;
    control.until_applied(0).await;
    assert!(is_lost(&scene), "its backlog is still to come");
    assert!(scene.following.followed().partitioned && scene.following.followed().connected);
    control.say(purge(1, "x")).await;
    control.until_applied(1).await;
    // Signs of life, and no more: an answer is a question's, and the heartbeat names no head.
    let what = Question::PurgedUrls { seq: 1, most: 5 };
    control.say(FromControl::Ask { ask: 1, what: Ok(what) }).await;
    assert!(matches!(control.heard().await, FromNode::Answer { .. }));
    control.say(FromControl::Purged { call: 7, status: 200, body: json!({}) }).await;
    control.say(FromControl::Heartbeat { head: None, heard: None, retention: None }).await;
    assert!(matches!(control.heard().await, FromNode::Alive(_)));
    assert!(is_lost(&scene), "an entry is missing yet");
    control.say(purge(2, "y")).await;
    control.until_applied(2).await;
    assert!(!is_lost(&scene));
    // An entry that no frame named proves nothing.
    scene.state.lease.renew(LONG_AGO);
    control.say(purge(3, "z")).await;
    control.until_applied(3).await;
    assert!(is_lost(&scene));
    control.say(FromControl::Heartbeat { head: Some(3), heard: None, retention: None }).await;
    assert!(matches!(control.heard().await, FromNode::Alive(_)));
    assert!(!is_lost(&scene));
}

#[tokio::test]
async fn a_stream_that_never_ends_renews_the_lease_as_of_when_its_head_was_named() {
    let (scene, mut control) = Scene::joined().await;
    for seq in 1..=20 {
        scene.state.lease.renew(LONG_AGO);
        let told = scene.state.now();
        // There is always an entry that is named and not there yet.
        control.say(FromControl::Heartbeat { head: Some(seq), heard: None, retention: None }).await;
        assert!(matches!(control.heard().await, FromNode::Alive(_)));
        assert!(is_lost(&scene), "{seq}");
        let received = scene.state.now();
        control
            .say(FromControl::Heartbeat { head: Some(seq + 1), heard: None, retention: None })
            .await;
        assert!(matches!(control.heard().await, FromNode::Alive(_)));
        control.say(purge(seq, "x")).await;
        control.until_applied(seq).await;
        let lease = LEASE.as_millis() as u64;
        assert!(!scene.state.lease.is_lost(told.plus_millis(lease)), "{seq}");
        assert!(scene.state.lease.is_lost(received.plus_millis(lease + 1)), "{seq}: later");
    }
}

/// So long ago that any lease is over.
const LONG_AGO: Time = Time::from_millis(1_000_000);

fn is_lost(scene: &Scene) -> bool {
    scene.state.lease.is_lost(scene.state.now())
}

#[tokio::test]
async fn releases_change_in_the_order_of_the_log() {
    let mut scene = Scene::start();
    let mut control = scene.accept().await;
    control.hello().await;
    let release = |site: &str, name: Option<&str>| Release {
        site: site.to_owned(),
        name: name.map(str::to_owned),
    };
    let mut place = welcomed("a", 4, 4, false);
    place.releases = vec![release("shop", Some("one")), release("blog", Some("x"))];
    control.say(FromControl::Welcome(place)).await;
    control.until_applied(4).await;
    let shown = |site: &str| {
        let switched = scene.state.releases.switched(site).expect("it was switched");
        switched.as_deref().map(str::to_owned)
    };
    assert_eq!(scene.state.releases.switched("docs"), None);
    assert_eq!((shown("shop"), shown("blog")), (Some("one".into()), Some("x".into())));
    for (seq, name) in [(5, Some("two")), (6, None), (7, Some("three"))] {
        let change = Change::Release(release("shop", name));
        control.say(FromControl::Entry(Entry { seq, mark: 1, change })).await;
        control.until_applied(seq).await;
        assert_eq!(shown("shop").as_deref(), name);
    }
    assert_eq!(shown("blog").as_deref(), Some("x"));
    assert_eq!(scene.state.purges.standing().of_log(scene.state.purges.applied()), Some(7));
}

#[tokio::test]
async fn matches_are_told_in_the_logs_numbers_and_again_after_a_connection_was_lost() {
    let (mut scene, mut control) = Scene::joined().await;
    control.say(purge(1, "x")).await;
    let told = async |control: &mut Connection| loop {
        if let FromNode::Matched { counts } = control.hear().await {
            return counts;
        }
    };
    assert_eq!(told(&mut control).await, [(1, 0)]);
    drop(control);
    let mut control = scene.accept().await;
    control.hello().await;
    control.welcome("a", 1, 1, true).await;
    assert_eq!(told(&mut control).await, [(1, 0)]);
    drop(control);
    let mut control = scene.accept().await;
    control.hello().await;
    control.welcome("new", 0, 1, false).await;
    control.say(FromControl::Entry(entry("new", 1, "y"))).await;
    // The count of the other log's first entry is not told as that of this one's.
    assert_eq!(told(&mut control).await, [(1, 0)]);
    assert_eq!(scene.state.matched.of(scene.state.purges.applied()), Some(0));
}

/// Entries of 400 paths each, `entries` of them, as fast as the node takes them.
async fn flood(control: &mut Connection, entries: Seq) {
    for seq in 1..=entries {
        let path = |number| Target::Path(format!("/{seq}/{number}"));
        let targets = (0..400).map(path).collect();
        let purge = Purge { seq, targets, site: None, soft: false, versions: false };
        let (mark, change) = (mark("a", seq), Change::Purge(purge));
        control.say(FromControl::Entry(Entry { seq, mark, change })).await;
    }
    control.until_applied(entries).await;
}

#[tokio::test]
async fn an_entry_waits_until_others_are_judged_and_forgotten() {
    let (scene, mut control) = Scene::joined_with("[limits]\npurge_targets = 1000").await;
    let floor = scene.state.purges.held().floor;
    flood(&mut control, 20).await;
    let held = scene.state.purges.held();
    assert!(held.targets <= 1000 && held.fullness <= 1.0, "{held:?}");
    assert_eq!((held.floor, held.floors.iter().sum::<u64>()), (floor, 0), "{held:?}");
}

#[tokio::test]
async fn an_entry_does_not_wait_for_ever() {
    let lease = "lease = \"8s\"\n[limits]\npurge_targets = 1000";
    let (scene, mut control) = Scene::joined_with(lease).await;
    // There is a store below memory that is never judged.
    scene.state.purges.checked_below(0);
    let floor = scene.state.purges.held().floor;
    flood(&mut control, 20).await;
    let held = scene.state.purges.held();
    assert!(held.targets <= 1000 && held.floor > floor, "{held:?}");
    let floors = held.floors[IndexKind::Path as usize];
    assert!(floors > 0 && floors == held.floors.iter().sum::<u64>(), "{held:?}");
}

#[tokio::test]
async fn control_asks_and_the_node_answers() {
    let (_scene, mut control) = Scene::joined().await;
    let question = |url: &str| Question::Explain { url: url.to_owned(), headers: Vec::new() };
    let bad_field =
        Question::Explain { url: "/".to_owned(), headers: vec![("a b".to_owned(), String::new())] };
    let warm = |tier| Question::Warm { urls: vec!["http://example.com/a".into()], rate: 1, tier };
    let asked = [
        (question("http://example.com/a"), Ok("not-stored")),
        (question("ftp://example.com/a"), Err("scheme")),
        (bad_field, Err("is not a header name")),
        (Question::PurgedUrls { seq: 1, most: 5 }, Err("not counted yet")),
        (warm(Tier::Parent), Err("no parents")),
    ];
    for (number, (what, expected)) in asked.into_iter().enumerate() {
        let number = number as u64;
        control.say(FromControl::Ask { ask: number, what: Ok(what) }).await;
        match (control.heard().await, expected) {
            (FromNode::Answer { ask, result: Ok(value) }, Ok(state)) => {
                assert_eq!((ask, value["state"].as_str()), (number, Some(state)));
            }
            (FromNode::Answer { ask, result: Err(reason) }, Err(part)) => {
                assert_eq!(ask, number);
                assert!(reason.contains(part), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn purges_by_method_go_to_control_and_wait_for_its_answer() {
    let ask = || PurgeAsk { url: "http://a/b".into(), site: "default".into(), soft: true };
    let (mut scene, mut control) = Scene::joined().await;
    let calls = Arc::clone(scene.following.calls());
    let first = tokio::spawn(Arc::clone(&calls).purge(ask()));
    let FromNode::Purge { call, url, site, soft } = control.heard().await else { panic!() };
    assert_eq!((url.as_str(), site.as_str(), soft), ("http://a/b", "default", true));
    control.say(FromControl::Purged { call: call + 7, status: 500, body: json!(null) }).await;
    control.say(FromControl::Purged { call, status: 202, body: json!({"seq": 1}) }).await;
    assert_eq!(first.await.unwrap(), (202, "{\"seq\":1}".to_owned()));

    let lost = tokio::spawn(Arc::clone(&calls).purge(ask()));
    assert!(matches!(control.heard().await, FromNode::Purge { .. }));
    drop(control);
    let (status, body) = lost.await.unwrap();
    assert!(status == 503 && body.contains("may have been taken"), "{status} {body}");

    let mut control = scene.accept().await;
    control.hello().await;
    let (status, body) = Arc::clone(&calls).purge(ask()).await;
    assert!(status == 503 && body.contains("no connection to control"), "{status} {body}");
    control.welcome("a", 0, 0, true).await;
    control.until_applied(0).await;
    let next = tokio::spawn(calls.purge(ask()));
    let FromNode::Purge { call, .. } = control.heard().await else { panic!() };
    control.say(FromControl::Purged { call, status: 200, body: json!({}) }).await;
    assert_eq!(next.await.unwrap().0, 200);
}

#[tokio::test]
async fn a_node_that_leaves_says_so_last() {
    let (mut scene, mut control) = Scene::joined().await;
    control.say(purge(1, "x")).await;
    control.until_applied(1).await;
    scene.follower.take().unwrap().leave().await;
    control.until_applied(1).await;
    assert_eq!(control.heard().await, FromNode::Leave);
    assert_eq!(control.lines.next::<FromNode>().await.unwrap(), None);
}

#[tokio::test]
async fn a_node_that_leaves_before_control_let_it_in_says_so_once_it_did() {
    let mut scene = Scene::start();
    let mut control = scene.accept().await;
    control.hello().await;
    tokio::join!(scene.follower.take().unwrap().leave(), async {
        // The node has seen by then that it is to leave.
        tokio::task::yield_now().await;
        control.welcome("a", 0, 0, false).await;
        control.until_applied(0).await;
        assert_eq!(control.heard().await, FromNode::Leave);
    });
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_while_control_is_away_does_not_wait_for_it() {
    let mut scene = Scene::start();
    drop(scene.accept().await);
    let begun = Instant::now();
    scene.follower.take().unwrap().leave().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}
