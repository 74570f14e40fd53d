//! Control and nodes that crash, are wiped, restored from a backup, or cut off from each other: no
//! purge that was answered is lost, none is doubled, and what nobody vouches for is not shown.
//!
//! `WEIR_SEED` is what the moments are drawn from, `WEIR_CRASHES` how many there are (8 unless
//! said otherwise); a failure names its seed.

mod program;
#[path = "race/random.rs"]
mod random;

use program::{Spec, Topology, call, until};
use random::{Random, number, seed};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use weir_origin_sim::{Origin, reply};

/// Nothing listens there.
const NO_ORIGIN: &str = "http://127.0.0.1:9";

/// Who purge at once.
const WRITERS: u64 = 4;

/// Purges by reference, with the id that was answered.
type Answered = BTreeMap<String, String>;

#[test]
fn no_answered_purge_is_lost_and_none_is_doubled_by_crashes() {
    let crashes = number("WEIR_CRASHES").unwrap_or(8);
    let seed = seed();
    println!("WEIR_SEED={seed} WEIR_CRASHES={crashes}");
    let mut random = Random::new(seed);
    let mut topology = Topology::start("crash");
    for name in ["one", "two"] {
        topology.add(name, &Spec::edge(NO_ORIGIN));
    }
    let (at, stopped, count) = (topology.at(), AtomicBool::new(false), AtomicU64::new(0));
    let (stopped, count) = (&stopped, &count);
    let answered: Answered = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || write(at, seed ^ writer, stopped, count)))
            .collect();
        // What panics here must not leave the writers waiting.
        let crashed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..crashes {
                crash(&mut topology, &mut random, count);
            }
        }));
        stopped.store(true, Ordering::Relaxed);
        let answered = writers.into_iter().flat_map(|writer| writer.join().expect("it ended"));
        let answered = answered.collect();
        if let Err(panic) = crashed {
            std::panic::resume_unwind(panic);
        }
        answered
    });
    let listed = topology.listed();
    let seqs: Vec<u64> = listed.iter().map(|purge| purge["seq"].as_u64().expect("a seq")).collect();
    assert_eq!(seqs, (1..=listed.len() as u64).collect::<Vec<_>>(), "WEIR_SEED={seed}");
    let kept: Answered =
        listed.iter().map(|purge| (text(purge, "reference"), text(purge, "id"))).collect();
    assert_eq!(kept.len(), listed.len(), "no reference names two purges, WEIR_SEED={seed}");
    // Each was asked for until it was answered, so nothing else can be there either.
    assert_eq!(kept, answered, "WEIR_SEED={seed}");
    let logs: BTreeSet<&str> =
        kept.values().filter_map(|id| Some(id.rsplit_once('-')?.0)).collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    let running = || {
        let listed = topology.listed().into_iter();
        listed.filter(|purge| purge["status"] != "completed").collect::<Vec<_>>()
    };
    until("every node has caught up", running, Vec::is_empty);
    for name in topology.names() {
        let metrics = topology.node(&name).json("GET /metrics", "").body;
        let applied = format!("\nweir_purge_applied_seq {}\n", listed.len());
        assert!(metrics.contains(&applied), "{name}: {metrics}");
    }
    let nodes = topology.call("GET /v1/nodes", "").json();
    assert_eq!(nodes["nodes"].as_array().map(Vec::len), Some(2), "they are the same: {nodes}");
}

/// Ends somebody at a random moment, and starts it again.
fn crash(topology: &mut Topology, random: &mut Random, count: &AtomicU64) {
    let due = count.load(Ordering::Relaxed) + 1 + random.below(20);
    until("purges are answered", || count.load(Ordering::Relaxed), |count| *count >= due);
    std::thread::sleep(Duration::from_micros(random.below(3_000)));
    match random.below(4) {
        0 => {
            let name = random.of(&["one", "two"]);
            topology.kill_node(name);
            topology.start_node(name);
        }
        _ => {
            topology.kill_control();
            topology.start_control();
        }
    }
}

/// Purges, each as often as it takes to be answered.
fn write(at: SocketAddr, seed: u64, stopped: &AtomicBool, count: &AtomicU64) -> Answered {
    let mut random = Random::new(seed);
    let mut answered = Answered::new();
    while !stopped.load(Ordering::Relaxed) {
        let reference = format!("{:016x}", random.next());
        let body =
            json!({"paths": [format!("/{reference}")], "reference": reference, "wait_ms": 0});
        let id = purged(at, &body);
        if random.once_in(4) {
            assert_eq!(purged(at, &body), id, "asked again, it is the same");
        }
        answered.insert(reference, id);
        count.fetch_add(1, Ordering::Relaxed);
    }
    answered
}

/// The id under which a purge was taken, once control is there to say it.
fn purged(at: SocketAddr, body: &Value) -> String {
    let id = || {
        let answer = call(at, "POST /v1/purges", &body.to_string())?;
        // Control is just starting or ending, or was cut off in the middle of its answer.
        let told = serde_json::from_str::<Value>(&answer.body);
        match (answer.status, told) {
            (200 | 202, Ok(told)) => {
                assert_eq!(told["reference"], body["reference"]);
                Ok(text(&told, "id"))
            }
            (200 | 202 | 503, _) => Err(std::io::Error::other(answer.body)),
            (status, _) => panic!("{status}: {}", answer.body),
        }
    };
    until("the purge is answered", id, Result::is_ok).expect("just seen")
}

/// Two nodes that have `/a` stored.
async fn stored(name: &str) -> (Origin, Topology) {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(600));
    let mut topology = Topology::start(name);
    for name in ["one", "two"] {
        topology.add(name, &Spec::edge(&origin.url()));
    }
    ask_both(&topology);
    assert_eq!(origin.fetches("/a"), 2);
    (origin, topology)
}

fn ask_both(topology: &Topology) {
    for name in ["one", "two"] {
        assert_eq!(topology.node(name).get("/a").body, "hello");
    }
}

fn log_id(topology: &Topology) -> String {
    text(&topology.call("GET /v1/purges", "").json(), "log_id")
}

fn until_both_joined(topology: &Topology) {
    ["one", "two"].iter().for_each(|name| topology.until_joined(name));
}

/// Nodes stay with what they have when control comes back as it was, and not when it is another.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_stored_before_control_was_wiped_is_trusted() {
    let (origin, mut topology) = stored("wiped").await;
    let first = log_id(&topology);
    topology.kill_control();
    topology.start_control();
    until_both_joined(&topology);
    ask_both(&topology);
    assert_eq!((log_id(&topology), origin.fetches("/a")), (first.clone(), 2));
    topology.kill_control();
    empty(topology.data());
    topology.start_control();
    until_both_joined(&topology);
    ask_both(&topology);
    assert_eq!(origin.fetches("/a"), 4);
    assert_ne!(log_id(&topology), first);
    ask_both(&topology);
    assert_eq!(origin.fetches("/a"), 4, "what was fetched since is");
}

/// The backup's log goes on from seq 1, in one case up to the seqs that nodes have applied.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_stored_before_control_was_restored_from_a_backup_is_trusted() {
    for since in [0, 3] {
        let (origin, mut topology) = stored(&format!("restored-{since}")).await;
        let purge = |topology: &Topology, body: Value| topology.purge(&body).json();
        let done = purge(&topology, json!({"paths": ["/x"], "wait_ms": 10_000}));
        assert_eq!(done["status"], "completed", "{done}");
        topology.kill_control();
        let backup = program::Folder::new(&format!("backup-{since}"));
        copy(topology.data(), backup.path());
        topology.start_control();
        until_both_joined(&topology);
        let before = log_id(&topology);
        for _ in 0..2 {
            let done = purge(&topology, json!({"paths": ["/a"], "wait_ms": 10_000}));
            assert_eq!(done["status"], "completed", "{done}");
        }
        ask_both(&topology);
        assert_eq!(origin.fetches("/a"), 4);
        topology.kill_control();
        ["one", "two"].iter().for_each(|name| topology.line(name).cut());
        empty(topology.data());
        copy(backup.path(), topology.data());
        topology.start_control();
        for number in 0..since {
            purge(&topology, json!({"paths": [format!("/{number}")], "wait_ms": 0}));
        }
        ["one", "two"].iter().for_each(|name| topology.line(name).mend());
        until("it is noticed", || log_id(&topology), |log| *log != before);
        until_both_joined(&topology);
        let fetches = || {
            ask_both(&topology);
            origin.fetches("/a")
        };
        until("both fetched again", fetches, |fetches| *fetches == 6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_cut_off_applies_what_it_missed_before_it_is_called_done() {
    let (origin, topology) = stored("cut").await;
    topology.line("two").cut();
    topology.until_state("two", "offline");
    origin.route("/a", reply("new").max_age(600));
    let purge = topology.purge(&json!({"paths": ["/a"], "wait_ms": 100}));
    assert_eq!(purge.status, 202, "{}", purge.body);
    let id = &purge.json()["id"];
    let applied = |told: &Value| state_of(told, "one") == "applied";
    let purge = until("one applied it", || topology.told(id), applied);
    assert_eq!(state_of(&purge, "two"), "offline", "{purge}");
    assert_eq!(topology.node("one").get("/a").body, "new");
    topology.line("two").mend();
    topology.until_completed(&purge["id"]);
    assert_eq!(topology.node("two").get("/a").body, "new");
    // The same while nothing arrives and nobody knows why.
    topology.line("two").hold();
    let purge = topology.purge(&json!({"paths": ["/a"], "wait_ms": 100})).json();
    assert_eq!(purge["status"], "in_progress", "{purge}");
    assert_eq!(state_of(&purge, "two"), "pending", "{purge}");
    topology.line("two").let_go();
    let done = topology.until_completed(&purge["id"]);
    assert_eq!(state_of(&done, "two"), "applied", "{done}");
}

fn state_of<'a>(purge: &'a Value, name: &str) -> &'a str {
    let nodes = purge["nodes"].as_array().expect("a list");
    let node = nodes.iter().find(|node| node["name"] == name).expect("a node of this name");
    node["state"].as_str().expect("a state")
}

fn text(of: &Value, field: &str) -> String {
    of[field].as_str().unwrap_or_else(|| panic!("no {field} in {of}")).to_owned()
}

fn empty(folder: &str) {
    for entry in fs::read_dir(folder).expect("it is there") {
        fs::remove_file(entry.expect("an entry").path()).expect("it can be removed");
    }
}

fn copy(from: &str, to: &str) {
    for entry in fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("an entry");
        // A process that was killed leaves its socket behind, which no backup holds.
        if !entry.file_type().expect("a type").is_file() {
            continue;
        }
        let to = std::path::Path::new(to).join(entry.file_name());
        fs::copy(entry.path(), to).expect("it can be copied");
    }
}
