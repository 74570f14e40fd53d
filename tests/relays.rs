//! Edges that follow control through their parents, each a process of the real program.

mod program;
mod support;

use program::{Certificates, Folder, Line, Spec, Topology, Weir, until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::*;

const PARENTS: [&str; 2] = ["parent-1", "parent-2"];
const EDGES: [&str; 3] = ["edge-1", "edge-2", "edge-3"];

/// Control, two parents, and edges that follow control through them, with this lease. The lines lead from
/// edges to parents, which listen elsewhere when they start again.
fn relayed(name: &str, origin: &Origin, lease: &str) -> (Topology, [Line; 2]) {
    relayed_with(name, origin, lease, ["", ""])
}

/// The same, with further tables of the parents.
fn relayed_with(
    name: &str,
    origin: &Origin,
    lease: &str,
    tables: [&str; 2],
) -> (Topology, [Line; 2]) {
    let lease = format!("lease = {lease:?}\n");
    let mut topology = Topology::with(name, &lease);
    for (parent, tables) in PARENTS.into_iter().zip(tables) {
        topology.add(parent, &Spec::parent(&origin.url()).tables(&lease).tables(tables));
    }
    let lines = PARENTS.map(|parent| Line::to(topology.node(parent).listen));
    let urls = lines.each_ref().map(|line| format!("http://{}", line.at()));
    let tables = format!("via = \"parents\"\n{lease}[parents]\nurls = {urls:?}\n");
    let spec = Spec::edge(&origin.url()).tables(&tables);
    for edge in EDGES {
        topology.add(edge, &spec);
        until_relayed(&topology, edge);
    }
    (topology, lines)
}

/// The parent through which control sees a node; null for none.
fn via(topology: &Topology, node: &str) -> Value {
    topology.call(&format!("GET /v1/nodes/{node}"), "").json()["via"].clone()
}

/// Waits until a node follows control through a parent, as both of them say; which.
fn until_relayed(topology: &Topology, node: &str) -> String {
    let through = |metrics: &String| metrics.contains("\nweir_control_through_relay 1\n");
    until("the edge to follow a parent", || metrics(topology.node(node)), through);
    let via = until("control to say so", || via(topology, node), Value::is_string);
    via.as_str().expect("a name").to_owned()
}

fn metrics(node: &Weir) -> String {
    node.json("GET /metrics", "").body
}

/// The edges that follow control through this parent.
fn behind(topology: &Topology, parent: &str) -> Vec<&'static str> {
    EDGES.into_iter().filter(|edge| via(topology, edge) == parent).collect()
}

/// Whether these nodes have applied a purge, as control says.
fn have_applied(purge: &Value, names: &[&str]) -> bool {
    let nodes = purge["nodes"].as_array().expect("a list");
    names
        .iter()
        .all(|name| nodes.iter().any(|node| node["name"] == *name && node["state"] == "applied"))
}

/// Changes a page, purges it, and holds that no edge that control calls up to date has the old one.
fn change(topology: &Topology, origin: &Origin, path: &str, body: &str) {
    change_at(topology, origin, path, body, &EDGES);
}

fn change_at(topology: &Topology, origin: &Origin, path: &str, body: &str, edges: &[&str]) {
    origin.route(path, reply(body.to_owned()).max_age(600));
    let purge = topology.purge(&json!({"paths": [path], "wait_ms": 0})).json();
    let told = || topology.told(&purge["id"]);
    until("the edges have applied it", told, |purge| have_applied(purge, edges));
    for edge in edges {
        assert_eq!(topology.node(edge).get(path).body, body, "{edge}");
    }
}

/// The parent's certificate is a private authority's: an edge that does not know that authority says
/// nothing to the parent, and follows control directly.
#[tokio::test(flavor = "multi_thread")]
async fn edges_follow_parents_over_tls() {
    let origin = Origin::start().await;
    let (own, other) = (Certificates::new("relayed-tls"), Certificates::new("relayed-other"));
    let (chain, key) = (own.chain("server"), own.key("server"));
    let tls = format!(
        "[tls]\nlisten = \"127.0.0.1:0\"\n[[tls.certificates]]\nchain = {chain:?}\nkey = {key:?}\n"
    );
    let mut topology = Topology::start("relayed-tls");
    topology.add("parent-1", &Spec::parent(&origin.url()).tables(&tls));
    let at = topology.node("parent-1").listen_tls.expect("it listens for TLS");
    let trusts = |authority: &Certificates| {
        let ca = authority.ca();
        let parents = format!("[parents]\nurls = [\"https://{at}\"]\nca = {ca:?}\n");
        Spec::edge(&origin.url()).tables(&format!("via = \"parents\"\n{parents}"))
    };
    topology.add("edge-1", &trusts(&own));
    assert_eq!(until_relayed(&topology, "edge-1"), "parent-1");
    topology.add("edge-2", &trusts(&other));
    let told = topology.node("edge-2").until_line("not attached to a relay");
    assert!(told.contains("certificate"), "{told}");
    for n in 0..3 {
        change_at(&topology, &origin, "/a", &format!("version {n}"), &["edge-1", "edge-2"]);
    }
    assert_eq!(via(&topology, "edge-1"), "parent-1");
    assert_eq!(via(&topology, "edge-2"), Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn purges_reach_edges_through_their_parents_and_wait_for_each() {
    let origin = Origin::start().await;
    let (topology, _lines) = relayed("relayed", &origin, "15s");
    for n in 0..5 {
        change(&topology, &origin, "/a", &format!("version {n}"));
    }
    let purge = topology.purge(&json!({"paths": ["/a"], "wait_ms": 10_000}));
    assert_eq!(purge.status, 200, "{}", purge.body);
    let counted = |told: &Value| {
        let nodes = told["nodes"].as_array().expect("a list");
        nodes.iter().filter(|node| node["tier"] == "edge").all(|node| node["matched"] == 1)
    };
    until("what it matched at the edges", || topology.told(&purge.json()["id"]), counted);
    // One that sleeps is waited for, and holds up no other.
    let sleeper = topology.node(EDGES[0]);
    sleeper.signal(Signal::STOP);
    let purge = topology.purge(&json!({"paths": ["/b"], "wait_ms": 0})).json();
    let told = || topology.told(&purge["id"]);
    let told = until("the others have it", told, |purge| have_applied(purge, &EDGES[1..]));
    assert!(!have_applied(&told, &EDGES[..1]), "{told}");
    assert_eq!(told["status"], "in_progress", "{told}");
    sleeper.signal(Signal::CONT);
    topology.until_completed(&purge["id"]);
    // What only the edge itself can do goes through its parent too.
    let purged = topology.node(EDGES[1]).ask("PURGE /a", &[("Host", "localhost")]);
    assert_eq!(purged.status, 200, "{}", purged.body);
    assert_eq!(topology.node(EDGES[1]).get("/a").body, "version 4");
    let explained = topology.call("GET /v1/explain?url=/a", "").json();
    let explained = explained["nodes"].as_array().expect("a list");
    assert!(explained.iter().all(|node| !node["explanation"].is_null()), "{explained:?}");
    let listed = topology.run(&["nodes"]).out;
    assert!(listed.contains("VIA") && listed.contains("  parent-"), "{listed}");
    let edges: u64 = PARENTS.iter().map(|parent| relayed_by(topology.node(parent))).sum();
    assert_eq!(edges, EDGES.len() as u64);
}

/// How many edges a parent passes the log on to.
fn relayed_by(parent: &Weir) -> u64 {
    metric(&metrics(parent), "weir_relay_edges ")
}

/// Relays die and return under purges: no edge ever answers with what it has acknowledged to be purged, none
/// loses its lease, and all purges reach all edges.
#[tokio::test(flavor = "multi_thread")]
async fn relays_are_killed_under_purges_and_no_edge_misses_one() {
    let origin = Origin::start().await;
    let (mut topology, lines) = relayed("relays-die", &origin, "6s");
    let mut n = 0;
    let mut purge_some = |topology: &Topology| {
        for _ in 0..5 {
            n += 1;
            change(topology, &origin, &format!("/{}", n % 3), &format!("version {n}"));
            for edge in EDGES {
                assert!(metrics(topology.node(edge)).contains("\nweir_control_partitioned 0\n"));
            }
        }
    };
    for round in 0..4 {
        let parent = PARENTS[round % 2];
        topology.kill_node(parent);
        purge_some(&topology);
        for edge in EDGES {
            assert_ne!(until_relayed(&topology, edge), parent);
        }
        purge_some(&topology);
        topology.start_node(parent);
        lines[round % 2].lead_to(topology.node(parent).listen);
        purge_some(&topology);
    }
    let purge = topology.purge(&json!({"all": true, "wait_ms": 10_000}));
    assert_eq!(purge.status, 200, "{}", purge.body);
}

/// A relay starts again with what it kept before several purges: its place in the log, and what it had on
/// disk. No edge answers with what was purged since, whichever way it follows control; what is called
/// completed has been applied; and edges keep what was not purged, and their lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_restored_from_a_backup_and_no_edge_serves_what_was_purged_since() {
    let origin = Origin::start().await;
    let disks = PARENTS.map(|parent| Folder::new(&format!("relay-restored-{parent}-disk")));
    let tables = disks.each_ref().map(|disk| {
        let path = disk.path();
        format!("[disk]\npath = {path:?}\nsize = \"256MiB\"\nadmit = \"all\"\n")
    });
    let tables = tables.each_ref().map(String::as_str);
    let (mut topology, lines) = relayed_with("relay-restored", &origin, "6s", tables);
    origin.route("/kept", reply("kept").max_age(3600));
    // All edges follow the one relay.
    topology.kill_node(PARENTS[1]);
    let all_behind = |topology: &Topology| {
        for edge in EDGES {
            let via = || via(topology, edge);
            until("the edge to follow the relay", via, |via| *via == PARENTS[0]);
        }
    };
    all_behind(&topology);
    // Now, as the other one could have been asked before, and the relay would not have it.
    for edge in EDGES {
        assert_eq!(topology.node(edge).get("/kept").body, "kept");
    }
    let fetched = origin.fetches("/kept");
    change(&topology, &origin, "/a", "version 1");
    let on_disk = |metrics: &String| metric(metrics, "weir_disk_responses ") >= 2;
    until("the page on the relay's disk", || metrics(topology.node(PARENTS[0])), on_disk);

    let readers = Readers::start(EDGES.map(|edge| topology.node(edge).listen));
    let mut version = 1;
    let mut purge_some = |topology: &Topology| {
        for _ in 0..3 {
            version += 1;
            change(topology, &origin, "/a", &format!("version {version}"));
            readers.expect(version);
            for edge in EDGES {
                assert!(metrics(topology.node(edge)).contains("\nweir_control_partitioned 0\n"));
            }
        }
    };
    let state = topology.state_of(PARENTS[0]).path().to_owned();
    let (kept_state, kept_disk) = (Folder::new("relay-kept-state"), Folder::new("relay-kept-disk"));
    let start = |topology: &mut Topology| {
        topology.start_node(PARENTS[0]);
        lines[0].lead_to(topology.node(PARENTS[0]).listen);
        all_behind(topology);
    };
    topology.kill_node(PARENTS[0]);
    copy(&state, kept_state.path());
    copy(disks[0].path(), kept_disk.path());
    start(&mut topology);
    purge_some(&topology);
    for _ in 0..2 {
        topology.kill_node(PARENTS[0]);
        // Some purges while the edges follow control directly.
        purge_some(&topology);
        for (from, to) in [(kept_state.path(), &*state), (kept_disk.path(), disks[0].path())] {
            std::fs::remove_dir_all(to).expect("it is there");
            copy(from, to);
        }
        start(&mut topology);
        purge_some(&topology);
    }
    topology.start_node(PARENTS[1]);
    lines[1].lead_to(topology.node(PARENTS[1]).listen);
    for n in 0..3 {
        let body = format!("version {}", 100 + n);
        origin.route("/a", reply(body.clone()).max_age(600));
        let purge = topology.purge(&json!({"paths": ["/a"], "wait_ms": 10_000}));
        assert_eq!((purge.status, &purge.json()["status"]), (200, &json!("completed")));
        for edge in EDGES {
            assert_eq!(topology.node(edge).get("/a").body, body, "{edge}");
        }
    }
    assert!(readers.stop() > 0);
    assert_eq!(origin.fetches("/kept"), fetched, "edges keep what was not purged");
    for edge in EDGES {
        assert_eq!(topology.node(edge).get("/kept").body, "kept");
    }
    assert_eq!(origin.fetches("/kept"), fetched, "edges keep what was not purged");
}

/// A copy of a directory, with what is below it.
fn copy(from: &str, to: &str) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("an entry");
        let kind = entry.file_type().expect("a type");
        let to = format!("{to}/{}", entry.file_name().to_string_lossy());
        let from = entry.path();
        if kind.is_dir() {
            copy(&from.to_string_lossy(), &to);
        } else if kind.is_file() {
            // A process that was killed leaves its socket behind, which no backup holds.
            std::fs::copy(from, to).expect("it can be copied");
        }
    }
}

/// A metric without labels.
fn metric(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.expect("the metric").parse().expect("a number")
}

/// Clients that read a page of edges, all the time: each answer is at least of the version that all edges
/// were known to have when it was asked for.
struct Readers {
    least: Arc<AtomicU64>,
    stops: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Readers {
    fn start(edges: [SocketAddr; 3]) -> Self {
        let (least, stops) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let read = |edge: SocketAddr| {
            let (least, stops) = (least.clone(), stops.clone());
            std::thread::spawn(move || {
                let mut count = 0;
                while !stops.load(Ordering::Relaxed) {
                    let least = least.load(Ordering::SeqCst);
                    let answer = program::get(edge, "/a");
                    assert_eq!(answer.status, 200, "{}", answer.body);
                    let version = answer.body.strip_prefix("version ").map(str::parse::<u64>);
                    let version = version.expect("a version").expect("a number");
                    assert!(version >= least, "version {version} after {least}");
                    count += 1;
                }
                count
            })
        };
        let threads = edges.into_iter().map(read).collect();
        Self { least, stops, threads }
    }

    /// All edges have this version.
    fn expect(&self, version: u64) {
        self.least.store(version, Ordering::SeqCst);
    }

    /// How often they have read.
    fn stop(self) -> u64 {
        self.stops.store(true, Ordering::Relaxed);
        let read = |thread: JoinHandle<u64>| thread.join().expect("no reader failed");
        self.threads.into_iter().map(read).min().expect("an edge")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_leave_a_relay_that_sleeps_before_their_lease_is_over() {
    let origin = Origin::start().await;
    let (topology, _lines) = relayed("relay-sleeps", &origin, "6s");
    let relay = until_relayed(&topology, EDGES[0]);
    let moving = behind(&topology, &relay);
    topology.node(&relay).signal(Signal::STOP);
    let slept = Instant::now();
    let purge = topology.purge(&json!({"paths": ["/a"], "wait_ms": 0})).json();
    let told = || {
        for edge in EDGES {
            assert!(metrics(topology.node(edge)).contains("\nweir_control_partitioned 0\n"));
        }
        topology.told(&purge["id"])
    };
    until("the edges have applied it", told, |purge| have_applied(purge, &EDGES));
    assert!(slept.elapsed() < Duration::from_secs(6), "{:?}", slept.elapsed());
    for edge in moving {
        let other = |via: &Value| via.is_string() && *via != *relay;
        until("another relay", || via(&topology, edge), other);
    }
    topology.node(&relay).signal(Signal::CONT);
    topology.until_completed(&purge["id"]);
}

/// Edges prefer parents of their own region. When that dies they go to the other, and come back when it
/// has been well for a while: none of them misses a purge meanwhile, or answers with what was purged.
#[tokio::test(flavor = "multi_thread")]
async fn edges_go_back_to_their_nearest_relay_when_it_is_well_again() {
    let origin = Origin::start().await;
    let lease = "lease = \"2s\"\n";
    let mut topology = Topology::with("relays-back", lease);
    let parent = Spec::parent(&origin.url()).tables(lease);
    topology.add(PARENTS[0], &parent.clone().region("near"));
    topology.add(PARENTS[1], &parent.region("far"));
    let lines = PARENTS.map(|parent| Line::to(topology.node(parent).listen));
    let urls = [0, 1].map(|n| {
        let region = ["near", "far"][n];
        format!("{{ url = \"http://{}\", region = \"{region}\" }}", lines[n].at())
    });
    let urls = urls.join(", ");
    let tables = format!("via = \"parents\"\n{lease}[parents]\nurls = [{urls}]\n");
    let edge = Spec::edge(&origin.url()).region("near").tables(&tables);
    EDGES.iter().for_each(|name| topology.add(name, &edge));
    let until_all_behind = |topology: &Topology, parent: &str| {
        // With time for a lease that ends on a busy machine, and begins the wait anew.
        let end = Instant::now() + Duration::from_secs(240);
        while behind(topology, parent).len() < EDGES.len() {
            assert!(Instant::now() < end, "{:?} are behind {parent}", behind(topology, parent));
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    until_all_behind(&topology, PARENTS[0]);
    change(&topology, &origin, "/a", "version 1");
    let readers = Readers::start(EDGES.map(|edge| topology.node(edge).listen));
    readers.expect(1);
    topology.kill_node(PARENTS[0]);
    until_all_behind(&topology, PARENTS[1]);
    let mut version = 1;
    let mut purge_one = |topology: &Topology| {
        version += 1;
        change(topology, &origin, "/a", &format!("version {version}"));
        readers.expect(version);
    };
    purge_one(&topology);
    topology.start_node(PARENTS[0]);
    lines[0].lead_to(topology.node(PARENTS[0]).listen);
    let began = Instant::now();
    let end = began + Duration::from_secs(240);
    // Four leases, at least.
    let mut first = None;
    while behind(&topology, PARENTS[0]).len() < EDGES.len() {
        assert!(Instant::now() < end, "{:?} are back", behind(&topology, PARENTS[0]));
        if first.is_none() && !behind(&topology, PARENTS[0]).is_empty() {
            first = Some(began.elapsed());
        }
        purge_one(&topology);
    }
    assert!(first.is_none_or(|first| first > Duration::from_secs(7)), "{first:?}");
    purge_one(&topology);
    assert!(readers.stop() > 0);
    let purge = topology.purge(&json!({"all": true, "wait_ms": 10_000}));
    assert_eq!(purge.status, 200, "{}", purge.body);
}

/// A relay that cannot reach control renews no lease, and lets its edges go.
#[tokio::test(flavor = "multi_thread")]
async fn edges_leave_a_relay_that_is_cut_off_from_control() {
    let origin = Origin::start().await;
    let (topology, _lines) = relayed("relay-cut", &origin, "6s");
    let relay = until_relayed(&topology, EDGES[0]);
    topology.line(&relay).cut();
    for n in 0..3 {
        change(&topology, &origin, "/a", &format!("version {n}"));
    }
    let other = |via: &Value| via.is_string() && *via != *relay;
    until("another relay", || via(&topology, EDGES[0]), other);
    topology.line(&relay).mend();
    let purge = topology.purge(&json!({"all": true, "wait_ms": 10_000}));
    assert_eq!(purge.status, 200, "{}", purge.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn control_restarts_and_edges_come_back_to_relays() {
    let origin = Origin::start().await;
    let (mut topology, _lines) = relayed("relays-control", &origin, "6s");
    change(&topology, &origin, "/a", "one");
    topology.kill_control();
    topology.start_control();
    for edge in EDGES {
        topology.until_joined(edge);
    }
    change(&topology, &origin, "/a", "two");
    for edge in EDGES {
        until_relayed(&topology, edge);
    }
    change(&topology, &origin, "/a", "three");
}
