//! Nodes that do not do as they should, over a stream of which the test has the other end.

#![allow(clippy::unwrap_used)]

use super::announce::GATHER;
use super::*;
use crate::Process;
use crate::auth::Caller;
use crate::ledger::Order;
use crate::process::Alone;
use serde_json::Value;
use tokio::io::{AsyncReadExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{oneshot, watch};
use weir_config::Config;
use weir_protocol::question::Question;
use weir_protocol::stats::Stats;
use weir_rules::invalidation::Target;
use weir_rules::log::{Change, Standing};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    control: Arc<Control>,
    stop: watch::Sender<bool>,
}

/// A node's end of a connection.
struct ScriptedNode {
    lines: Lines<ReadHalf<DuplexStream>>,
    writing: WriteHalf<DuplexStream>,
}

impl World {
    fn new() -> Self {
        let site = "[[site]]\norigins = [\"http://127.0.0.1:9\"]\n";
        let config = Config::from_toml(&format!("[control]\nlease = \"1s\"\n{site}")).unwrap();
        let (stop, stopping) = watch::channel(false);
        let process = Process::new(Alone, config, stopping);
        Self { control: Control::open(Arc::new(process)).unwrap(), stop }
    }

    /// A connection with a buffer of so many bytes.
    fn connect(&self, buffer: usize) -> ScriptedNode {
        let (node, control) = tokio::io::duplex(buffer);
        tokio::spawn(self.control.clone().attend(control));
        let (reading, writing) = tokio::io::split(node);
        ScriptedNode { lines: Lines::new(reading), writing }
    }

    async fn purge(&self, path: &str) -> Seq {
        let order = Order {
            targets: vec![Target::Path(path.to_owned())],
            site: None,
            soft: false,
            versions: false,
            warm: false,
            reference: None,
        };
        self.control.purge(order, Caller::Local.referrer(None)).await.unwrap().seq()
    }

    fn states(&self) -> Vec<(String, &'static str)> {
        let nodes = self.control.ledger.nodes(Instant::now());
        nodes.into_iter().map(|node| (node.name, node.state.as_str())).collect()
    }
}

impl ScriptedNode {
    async fn say(&mut self, frame: &FromNode) {
        let mut out = Vec::new();
        write_line(&mut out, frame).unwrap();
        self.writing.write_all(&out).await.unwrap();
    }

    /// What control says next except heartbeats; `None` once it closed.
    async fn hear(&mut self) -> Option<FromControl> {
        loop {
            match timeout(PATIENCE, self.lines.next()).await.expect("control says something") {
                Ok(Some(FromControl::Heartbeat { .. })) => {}
                Ok(frame) => return frame,
                Err(_) => return None,
            }
        }
    }

    async fn join(&mut self, name: &str) {
        self.say(&FromNode::Hello(hello(name))).await;
        let welcome = self.hear().await;
        assert!(matches!(welcome, Some(FromControl::Welcome(_))), "{welcome:?}");
    }
}

fn hello(name: &str) -> Hello {
    Hello {
        name: name.to_owned(),
        tier: Tier::Edge,
        region: "eu".to_owned(),
        listen: "127.0.0.1:8080".to_owned(),
        instance: "1".to_owned(),
        version: "0".to_owned(),
        standing: Standing::default(),
        sites: None,
        secret: None,
        takes_over: None,
        validates_after_ms: None,
        ephemeral: false,
    }
}

#[tokio::test]
async fn entries_come_in_order_and_acknowledgements_complete_them() {
    let world = World::new();
    let mut node = world.connect(1 << 20);
    node.join("one").await;
    for path in ["/a", "/b"] {
        let seq = world.purge(path).await;
        let Some(FromControl::Entry(entry)) = node.hear().await else { panic!("no entry") };
        assert_eq!(entry.seq, seq);
        assert!(matches!(entry.change, Change::Purge(_)));
    }
    let id = format!("{}-2", world.control.ledger.id());
    let listed = world.control.ledger.find(&id).unwrap();
    assert_eq!(world.control.ledger.progress(&listed).completed, None);
    node.say(&FromNode::Applied { seq: 2 }).await;
    node.say(&FromNode::Matched { counts: vec![(1, 0), (2, 5)] }).await;
    timeout(PATIENCE, world.control.until_done(&listed, true, PATIENCE)).await.unwrap();
    let progress = world.control.ledger.progress(&listed);
    assert_eq!((progress.completed.is_some(), progress.matched()), (true, Some(5)));
}

/// Thousands of nodes have room for it while they wait.
#[tokio::test]
async fn a_session_takes_little_memory() {
    const MOST: usize = 1024;
    let world = World::new();
    let (_node, transport) = tokio::io::duplex(1);
    let direct = attend(world.control.clone(), Entrance::InProcess, transport);
    assert!(size_of_val(&direct) <= MOST, "{} bytes", size_of_val(&direct));
    let node = ("e".into(), Tier::Edge, String::new());
    let session = Session::new(world.control.clone(), Caller::Local, node, SessionId::of(9), false);
    let ((_edge, lines), (out, _relay)) = (mpsc::channel(1), mpsc::channel(1));
    let ended = oneshot::channel().1;
    let opening = Opening { welcome: Vec::new(), after: None, ended, relayed: None };
    let talk = Talk::new(session, wire::Through::new(1, lines, out), opening);
    let through = behind::attend(talk, "p".into(), Vec::new());
    assert!(size_of_val(&through) <= MOST, "{} bytes behind a relay", size_of_val(&through));
}

#[tokio::test]
async fn purges_one_after_another_wait_for_nothing() {
    const PURGES: usize = 200;
    let world = World::new();
    let mut node = world.connect(1 << 20);
    node.join("one").await;
    let mut soon = 0;
    for number in 0..PURGES {
        let begun = Instant::now();
        let seq = world.purge(&format!("/{number}")).await;
        let Some(FromControl::Entry(entry)) = node.hear().await else { panic!("no entry") };
        assert_eq!(entry.seq, seq);
        soon += usize::from(begun.elapsed() < GATHER / 2);
    }
    // Whatever else the machine does. What is said anyway takes along what there is, a few times.
    assert!(soon > PURGES / 4, "{soon} of {PURGES} came soon");
}

#[tokio::test]
async fn entries_of_purges_that_come_at_once_go_together() {
    const PURGES: usize = 1024;
    let world = Arc::new(World::new());
    let (node, control) = tokio::io::duplex(1 << 20);
    tokio::spawn(world.control.clone().attend(control));
    let (mut reading, mut writing) = tokio::io::split(node);
    let mut out = Vec::new();
    write_line(&mut out, &FromNode::Hello(hello("one"))).unwrap();
    writing.write_all(&out).await.unwrap();
    let purging: Vec<_> = (0..PURGES)
        .map(|number| {
            let world = world.clone();
            tokio::spawn(async move { world.purge(&format!("/{number}")).await })
        })
        .collect();
    let received = async {
        let (mut entries, mut reads) = (0, 0);
        while entries < PURGES {
            let mut chunk = Vec::with_capacity(1 << 20);
            reading.read_buf(&mut chunk).await.unwrap();
            let came = String::from_utf8(chunk).unwrap().matches("\"frame\":\"entry\"").count();
            entries += came;
            reads += usize::from(came > 0);
        }
        reads
    };
    let reads = timeout(PATIENCE, received).await.unwrap();
    for purge in purging {
        purge.await.unwrap();
    }
    assert!(reads < PURGES / 4, "{reads} times");
}

#[test]
fn heartbeats_are_as_frequent_as_their_number_allows() {
    let (lease, second) = (Duration::from_secs(30), Duration::from_secs(1));
    for nodes in [0, 1, BEATS] {
        assert_eq!(beat(lease, nodes), second, "{nodes}");
    }
    assert_eq!(beat(lease, BEATS + 1), 2 * second);
    assert_eq!(beat(lease, 5 * BEATS), 5 * second);
    assert_eq!(beat(lease, 100 * BEATS), 6 * second, "five a lease at the least");
    assert_eq!(beat(lease, usize::MAX), 6 * second);
    assert_eq!(beat(Duration::from_millis(500), 1), Duration::from_millis(100));
}

#[tokio::test]
async fn heartbeats_come_amid_a_backlog_and_name_the_head_of_their_moment() {
    const BACKLOG: Seq = 1000;
    let world = World::new();
    for number in 0..BACKLOG {
        world.purge(&format!("/{number}")).await;
    }
    let mut node = world.connect(1000);
    node.say(&FromNode::Hello(hello("one"))).await;
    let (mut entries, mut amid) = (0, Vec::new());
    while entries < BACKLOG {
        match timeout(PATIENCE, node.lines.next()).await.expect("control says something").unwrap() {
            Some(FromControl::Welcome(welcomed)) => assert_eq!(welcomed.place.head, BACKLOG),
            Some(FromControl::Entry(_)) => entries += 1,
            Some(FromControl::Heartbeat { head, .. }) => amid.push((entries, head)),
            other => panic!("{other:?}"),
        }
        if entries == 100 {
            // A slow node: a heartbeat is due before it takes more, and the log goes on.
            assert_eq!(world.purge("/late").await, BACKLOG + 1);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    assert!(amid.iter().any(|(after, _)| *after < BACKLOG - 256), "{amid:?}");
    assert!(amid.iter().all(|(_, head)| *head == Some(BACKLOG + 1)), "{amid:?}");
}

#[tokio::test]
async fn who_says_no_hello_or_a_wrong_one_is_refused() {
    let world = World::new();
    for (frame, why) in [
        (FromNode::Leave, "not a hello"),
        (FromNode::Hello(hello("")), "name \"\""),
        (FromNode::Hello(hello("a\"b")), "accepted: a token"),
        (FromNode::Hello(Hello { region: "e u".to_owned(), ..hello("a") }), "region \"e u\""),
        (FromNode::Hello(Hello { version: "x".repeat(257), ..hello("a") }), "at most 256 bytes"),
    ] {
        let mut node = world.connect(1 << 20);
        node.say(&frame).await;
        let Some(FromControl::Refused { reason, .. }) = node.hear().await else { panic!("let in") };
        assert!(reason.contains(why), "{reason}");
        assert_eq!(node.hear().await, None);
    }
    assert_eq!(world.states(), []);
}

#[tokio::test]
async fn a_node_that_says_nothing_for_the_lease_is_dropped_and_stays_expected() {
    let world = World::new();
    let (mut silent, mut alive) = (world.connect(1 << 20), world.connect(1 << 20));
    silent.join("silent").await;
    alive.join("alive").await;
    let beats = async {
        loop {
            alive.say(&FromNode::Alive(Stats::default())).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        closed = silent.hear() => assert_eq!(closed, None),
        () = beats => {}
    }
    let states = world.states();
    assert_eq!(states[0], ("alive".to_owned(), "connected"));
    assert_eq!(states[1].0, "silent");
    assert_ne!(states[1].1, "connected");
}

#[tokio::test]
async fn a_node_that_takes_nothing_for_the_lease_is_dropped() {
    let world = World::new();
    let mut node = world.connect(1000);
    node.join("one").await;
    for n in 0..100 {
        world.purge(&format!("/{n}")).await;
    }
    // It goes on to talk, so only what it does not take can end it.
    let dropped = async {
        loop {
            let mut out = Vec::new();
            write_line(&mut out, &FromNode::Alive(Stats::default())).unwrap();
            if node.writing.write_all(&out).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, dropped).await.expect("it is dropped");
    assert_ne!(world.states()[0].1, "connected");
}

#[tokio::test]
async fn a_node_that_acknowledges_what_was_never_sent_is_dropped() {
    let world = World::new();
    let mut node = world.connect(1 << 20);
    node.join("one").await;
    node.say(&FromNode::Applied { seq: 7 }).await;
    assert_eq!(node.hear().await, None);
}

#[tokio::test]
async fn purges_by_method_are_entries_and_get_their_answer() {
    let world = World::new();
    let mut node = world.connect(1 << 20);
    node.join("one").await;
    let purge = |call, url: &str| FromNode::Purge {
        call,
        url: url.to_owned(),
        site: "default".to_owned(),
        soft: false,
    };
    node.say(&purge(1, "no url")).await;
    let refused = node.hear().await;
    assert!(matches!(refused, Some(FromControl::Purged { call: 1, status: 400, .. })));
    node.say(&purge(2, "http://h/a")).await;
    let Some(FromControl::Entry(entry)) = node.hear().await else { panic!("no entry") };
    node.say(&FromNode::Applied { seq: entry.seq }).await;
    node.say(&FromNode::Matched { counts: vec![(entry.seq, 1)] }).await;
    let Some(FromControl::Purged { call: 2, status: 200, body }) = node.hear().await else {
        panic!("no answer")
    };
    assert_eq!((&body["seq"], &body["status"]), (&1.into(), &"completed".into()));
}

#[tokio::test]
async fn questions_reach_the_node_and_its_answer_comes_back() {
    let world = World::new();
    let mut node = world.connect(1 << 20);
    node.join("one").await;
    let session = world.control.ledger.nodes(Instant::now())[0].session.unwrap();
    let asked =
        world.control.sessions.ask(session, Question::PurgedUrls { seq: 1, most: 2 }, PATIENCE);
    let answered = async {
        let Some(FromControl::Ask { ask, .. }) = node.hear().await else { panic!("no question") };
        node.say(&FromNode::Answer { ask, result: Ok(Value::from(3)) }).await;
    };
    let (answer, ()) = tokio::join!(asked, answered);
    assert_eq!(answer, Ok(Value::from(3)));
    node.say(&FromNode::Leave).await;
    assert_eq!(node.hear().await, None);
    assert_eq!(world.states(), []);
    let gone =
        world.control.sessions.ask(session, Question::PurgedUrls { seq: 1, most: 2 }, PATIENCE);
    assert_eq!(gone.await, Err("it is not connected to control".to_owned()));
}

#[tokio::test]
async fn control_that_stops_lets_every_node_go() {
    let world = World::new();
    let mut node = world.connect(1 << 20);
    node.join("one").await;
    world.stop.send(true).unwrap();
    assert_eq!(node.hear().await, None);
}

mod relays;
