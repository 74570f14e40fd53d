//! A node's name is for the node that has its secret (invariant I5): crashes, thieves, nodes that
//! cannot join, and what control lets in.

mod program;
mod support;
use program::{Control, NODE_TOKEN, Spec, TextFile, Topology, Weir, until};
use serde_json::{Value, json};
use support::{Origin, reply};

/// An origin whose pages may be stored.
async fn origin() -> Origin {
    let origin = Origin::start().await;
    origin.default_route(reply("old").etag("\"v1\"").conditional(true).max_age(600));
    origin
}

/// The configuration of a process that shows this token and says that it is this node.
fn claiming(name: &str, token: &str, control: &Control, origin: &str, more: &str) -> TextFile {
    let text = format!(
        "[node]\nname = {name:?}\nworkers = 1\n{more}\n[control]\nurl = {:?}\ntoken = {token:?}\n\
         lease = \"1s\"\n[[site]]\norigins = [{origin:?}]\n",
        control.url()
    );
    TextFile::new("claiming.toml", &text)
}

fn serve(config: &TextFile) -> Weir {
    Weir::serve(&["--config", config.path()])
}

/// Waits until a process says that control refuses it; returns what it says.
fn until_refused(weir: &Weir) -> String {
    let ready = || weir.json("GET /readyz", "");
    let refused = until("it is refused", ready, |answer| {
        answer.status == 503 && answer.body.contains("control refuses this node")
    });
    refused.body
}

fn handled(weir: &Weir, target: &str) -> String {
    let answer = weir.get(target);
    let field = answer.head.lines().find(|line| line.starts_with("cache-status: "));
    field.expect("a Cache-Status").to_owned()
}

fn purge(control: &Control) -> Value {
    control.purge(&json!({"all": true, "wait_ms": 0})).json()["id"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_token_of_all_nodes_nobody_acknowledges_for_a_node_that_is_away() {
    let origin = origin().await;
    let mut topology = Topology::start("thief");
    topology.add("edge", &Spec::edge(&origin.url()));
    topology.kill_node("edge");
    let purge = purge(&topology);
    let thief = serve(&claiming("edge", NODE_TOKEN, &topology, &origin.url(), ""));
    let why = until_refused(&thief);
    assert!(why.contains("weir nodes forget edge"), "{why}");
    assert_eq!(topology.told(&purge)["status"], "in_progress");
    // What is refused serves nothing that no purge reaches.
    for _ in 0..3 {
        let handled = handled(&thief, "/a");
        assert!(handled.contains("fwd=") && !handled.contains("hit"), "{handled}");
    }
    // The node itself needs no help.
    topology.start_node("edge");
    topology.until_completed(&purge);
    let metrics = topology.call("GET /metrics", "").body;
    let refused = "weir_control_joins_refused_total{reason=\"not_proven\"} ";
    assert!(metrics.contains(refused), "{metrics}");
    assert!(metrics.contains("\nweir_control_nodes_unproven 0\n"), "{metrics}");
    // Only whoever forgets the node gives its name away.
    topology.kill_node("edge");
    let told = topology.run(&["nodes", "forget", "edge"]);
    assert_eq!((told.status, told.out.as_str()), (Some(0), "edge is no longer expected\n"));
    thief.until_ready();
    topology.run_node("edge");
    until_refused(topology.node("edge"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_that_crashes_has_its_name_again_without_help() {
    let origin = origin().await;
    let mut topology = Topology::start("crashes");
    topology.add("edge", &Spec::edge(&origin.url()));
    topology.add("parent", &Spec::parent(&origin.url()));
    for name in topology.names() {
        topology.kill_node(&name);
        let purge = purge(&topology);
        topology.start_node(&name);
        topology.until_completed(&purge);
    }
    // Control with its list, too.
    topology.kill_control();
    topology.start_control();
    for name in topology.names() {
        topology.until_joined(&name);
        topology.kill_node(&name);
        topology.start_node(&name);
    }
    // A second process on the directory of a node that runs does not start.
    let state = topology.state_of("edge").path();
    let more = format!("state = {state:?}");
    let second = claiming("edge", NODE_TOKEN, &topology, &origin.url(), &more);
    let ran = program::run(
        &["serve", "--config", second.path(), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
        &[],
    );
    assert_ne!(ran.status, Some(0));
    assert!(ran.err.contains("node.state") && ran.err.contains(state), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_directory_says_so_and_has_its_name_again_after_a_drain_only() {
    let origin = origin().await;
    let control = Control::with("stateless", "");
    let config = claiming("edge", NODE_TOKEN, &control, &origin.url(), "");
    let node = Weir::begin_to_serve(&["--config", config.path()]);
    node.until_line("node.state is not set");
    let node = node.serving();
    node.until_ready();
    node.signal(rustix::process::Signal::TERM);
    assert_eq!(node.exit_status(), Some(0));
    let node = serve(&config);
    node.until_ready();
    node.kill();
    let node = serve(&config);
    until_refused(&node);
    assert_eq!(control.run(&["nodes", "forget", "--state", "offline"]).status, Some(0));
    node.until_ready();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_bound_to_a_name_has_it_without_a_secret_and_no_other_token_has() {
    let origin = origin().await;
    let control = Control::with(
        "bound",
        "[[token]]\nname = \"edge-1\"\nsecret = \"1111111111111111\"\nscopes = [\"node\"]\n\
         nodes = [\"edge-1\"]\n",
    );
    let config = claiming("edge-1", "1111111111111111", &control, &origin.url(), "");
    for _ in 0..2 {
        let node = serve(&config);
        node.until_ready();
        node.kill();
    }
    let other = serve(&claiming("edge-1", NODE_TOKEN, &control, &origin.url(), ""));
    assert!(until_refused(&other).contains("for another token"));
    let elsewhere = claiming("edge-2", "1111111111111111", &control, &origin.url(), "");
    assert!(until_refused(&serve(&elsewhere)).contains("is for the nodes edge-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn new_names_and_nodes_are_bounded_and_forgotten_together() {
    let origin = origin().await;
    let control = Control::with("many", "nodes = 2\njoin_rate = 3\n");
    let node = |name: &str| serve(&claiming(name, NODE_TOKEN, &control, &origin.url(), ""));
    let [one, two] = ["edge-1", "edge-2"].map(&node);
    one.until_ready();
    two.until_ready();
    let three = node("edge-3");
    assert!(until_refused(&three).contains("control.nodes"));
    one.kill();
    two.kill();
    let forget = ["nodes", "forget", "--state", "offline", "--matching", "edge-*"];
    until(
        "both are forgotten",
        || control.run(&forget).out,
        |_| control.call("GET /v1/nodes", "").json()["nodes"].as_array().is_some_and(Vec::is_empty),
    );
    three.until_ready();
    let four = node("edge-4");
    assert!(until_refused(&four).contains("control.join_rate"));
    let metrics = control.call("GET /metrics", "").body;
    assert!(metrics.contains("\nweir_control_nodes_limit 2\n"), "{metrics}");
}

/// The node was let in, and then is not: its token is taken away.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_refused_in_mid_life_validates_at_once_and_is_not_ready() {
    let origin = origin().await;
    let control = Control::with("refused", "");
    let config = claiming("edge", NODE_TOKEN, &control, &origin.url(), "");
    let node = serve(&config);
    node.until_ready();
    handled(&node, "/a");
    assert!(handled(&node, "/a").contains("hit"));
    let text = std::fs::read_to_string(control.config().path()).expect("a file");
    control.config().write(&text.replace(NODE_TOKEN, "another-secret-000"));
    assert_eq!(control.run(&["reload"]).status, Some(0));
    until_refused(&node);
    assert!(handled(&node, "/a").contains("fwd-status=304"));
    control.config().write(&text);
    assert_eq!(control.run(&["reload"]).status, Some(0));
    node.until_ready();
    assert!(handled(&node, "/a").contains("hit"), "what it has is still its own");
}

/// Control is not there when the node starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_control_never_let_in_serves_nothing_unvalidated() {
    let origin = origin().await;
    let mut control = Control::with("absent", "");
    let config = claiming("edge", NODE_TOKEN, &control, &origin.url(), "");
    control.kill();
    let node = serve(&config);
    node.until_ready();
    handled(&node, "/a");
    assert!(handled(&node, "/a").contains("fwd-status=304"), "ready after the lease, and careful");
    control.start_again();
    control.until_state("edge", "connected");
    until("it is a hit", || handled(&node, "/a"), |handled| handled.contains("hit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_waits_for_no_node_that_validates_once_its_lease_is_surely_over() {
    let origin = origin().await;
    let mut topology = Topology::with("lapsed", "lease = \"1s\"");
    let validating =
        Spec::edge(&origin.url()).tables("lease = \"1s\"\non_partition = \"validate\"");
    topology.add("stays", &validating);
    topology.add("pod", &validating.clone().node("ephemeral = true"));
    topology.kill_node("stays");
    topology.kill_node("pod");
    let id = purge(&topology);
    let told = topology.until_completed(&id);
    let states: Vec<_> =
        told["nodes"].as_array().expect("nodes").iter().map(|node| &node["state"]).collect();
    assert_eq!(states, ["lease_over", "lease_over"], "{told}");
    assert!(told["note"].as_str().expect("a note").contains("validates"), "{told}");
    // One is still expected, under its name; the other is forgotten.
    let nodes = || topology.call("GET /v1/nodes", "").json()["nodes"].clone();
    let nodes = until("the pod is forgotten", nodes, |nodes| {
        nodes.as_array().is_some_and(|nodes| nodes.len() == 1)
    });
    assert_eq!(nodes[0]["name"], "stays");
    topology.start_node("stays");
    topology.start_node("pod");
    let id = purge(&topology);
    let told = topology.until_completed(&id);
    assert!(told["nodes"].as_array().expect("nodes").iter().all(|node| node["state"] == "applied"));
}
