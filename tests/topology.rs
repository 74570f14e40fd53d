//! One control and two nodes, each a process of the real program.

mod program;

use program::{ADMIN_TOKEN, Control, NODE_TOKEN, TextFile, Weir, run, until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use weir_origin_sim::{Origin, reply};

/// Nothing listens there.
const NO_ORIGIN: &str = "http://127.0.0.1:9";

/// A node that has joined.
fn node(control: &Control, name: &str, origin: &str) -> Weir {
    let state = format!("state = {:?}", format!("{}/{name}", control.data()));
    let node = node_of(control, name, origin, NODE_TOKEN, &state);
    control.until_state(name, "connected");
    node
}

/// A node that shows this token, and keeps nothing over a restart.
fn node_with(control: &Control, name: &str, origin: &str, token: &str) -> Weir {
    node_of(control, name, origin, token, "")
}

/// The same, with further keys of `[node]`.
fn node_of(control: &Control, name: &str, origin: &str, token: &str, keys: &str) -> Weir {
    let url = control.url();
    let config = format!(
        "[node]\nname = \"{name}\"\n{keys}\n[control]\nurl = \"{url}\"\ntoken = \"{token}\"\n\
         [[site]]\norigins = [\"{origin}\"]\n"
    );
    let config = TextFile::new(&format!("{name}-{}.toml", control.at().port()), &config);
    Weir::serve(&["--config", config.path()])
}

/// The names of the nodes that control expects.
fn names(control: &Control) -> Vec<String> {
    let nodes = control.call("GET /v1/nodes", "").json();
    let nodes = nodes["nodes"].as_array().expect("a list");
    nodes.iter().map(|node| node["name"].as_str().expect("a name").to_owned()).collect()
}

/// The states of a purge's nodes, by name.
fn states(purge: &Value) -> Vec<(&str, &str)> {
    let nodes = purge["nodes"].as_array().expect("a list");
    nodes.iter().map(|node| (text(&node["name"]), text(&node["state"]))).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_is_completed_when_both_nodes_applied_it() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    let control = Control::with("both", "");
    let nodes = ["one", "two"].map(|name| node(&control, name, &origin.url()));
    for node in &nodes {
        node.until_ready();
        for _ in 0..2 {
            assert_eq!(node.get("/a").body, "hello");
        }
    }
    assert_eq!(origin.fetches("/a"), 2);
    let answer = control.purge(&json!({"paths": ["/a"], "wait_ms": 10_000}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let purge = answer.json();
    assert_eq!(states(&purge), [("one", "applied"), ("two", "applied")]);
    let counted = |told: &Value| {
        told["nodes"].as_array().is_some_and(|nodes| nodes.iter().all(|node| node["matched"] == 1))
    };
    until("it is counted", || control.told(&purge["id"]), counted);
    for node in &nodes {
        assert_eq!(node.get("/a").body, "hello");
    }
    assert_eq!(origin.fetches("/a"), 4);
    let none = control.purge(&json!({"paths": ["/nothing"], "wait_ms": 10_000})).json();
    let note = "no stored response matched";
    until("nothing matched", || control.told(&none["id"]), |told| told["note"] == note);
}

#[test]
fn a_purge_waits_for_a_node_that_sleeps_and_is_completed_when_it_wakes() {
    let control = Control::with("sleeps", "");
    let (_one, two) = (node(&control, "one", NO_ORIGIN), node(&control, "two", NO_ORIGIN));
    two.signal(Signal::STOP);
    let answer = control.purge(&json!({"all": true, "wait_ms": 100}));
    assert_eq!(answer.status, 202, "{}", answer.body);
    let applied = |told: &Value| states(told).contains(&("one", "applied"));
    let purge = until("one applied it", || control.told(&answer.json()["id"]), applied);
    assert_eq!(purge["status"], "in_progress");
    assert_eq!(states(&purge), [("one", "applied"), ("two", "pending")]);
    two.signal(Signal::CONT);
    let purge = control.until_completed(&purge["id"]);
    assert_eq!(states(&purge), [("one", "applied"), ("two", "applied")]);
}

#[test]
fn a_node_that_sleeps_past_the_lease_is_offline_and_catches_up_when_it_wakes() {
    let control = Control::with("lease", "lease = \"1s\"\n");
    let (_one, two) = (node(&control, "one", NO_ORIGIN), node(&control, "two", NO_ORIGIN));
    two.signal(Signal::STOP);
    control.until_state("two", "offline");
    let purge = control.purge(&json!({"all": true, "wait_ms": 0})).json();
    assert!(states(&purge).contains(&("two", "offline")), "{purge}");
    let note = purge["note"].as_str().expect("a note");
    assert!(note.starts_with("a node is offline"), "{note}");
    two.signal(Signal::CONT);
    let purge = control.until_completed(&purge["id"]);
    assert_eq!(states(&purge), [("one", "applied"), ("two", "applied")]);
}

#[test]
fn a_node_whose_token_is_taken_away_is_let_go() {
    let control = Control::with("locked", "lease = \"1s\"\n");
    let _one = node(&control, "one", NO_ORIGIN);
    let config = std::fs::read_to_string(control.config().path()).expect("it is there");
    let config = config.replace(NODE_TOKEN, "anotheranotheranother");
    control.config().write(&config.replace("data = \"", "data = \"/elsewhere"));
    let reloaded = control.call("POST /v1/reload", "");
    assert_eq!(reloaded.status, 200, "{}", reloaded.body);
    assert_eq!(reloaded.json()["needs_restart"], json!(["control.data"]));
    control.until_state("one", "offline");
    control.weir().until_line("its token is no longer valid");
}

#[test]
fn a_node_that_was_killed_is_the_same_when_it_starts_again() {
    let control = Control::with("killed", "");
    let (_one, two) = (node(&control, "one", NO_ORIGIN), node(&control, "two", NO_ORIGIN));
    two.kill();
    control.until_state("two", "offline");
    let answer = control.purge(&json!({"tags": ["t"], "wait_ms": 0}));
    assert_eq!(answer.status, 202, "{}", answer.body);
    let purge = answer.json();
    assert!(states(&purge).contains(&("two", "offline")), "{purge}");
    let _two = node(&control, "two", NO_ORIGIN);
    let purge = control.until_completed(&purge["id"]);
    assert_eq!(states(&purge), [("one", "applied"), ("two", "applied")]);
    assert_eq!(names(&control), ["one", "two"]);
}

#[test]
fn a_node_that_drained_is_not_expected_any_more() {
    let control = Control::with("drained", "");
    let (_one, two) = (node(&control, "one", NO_ORIGIN), node(&control, "two", NO_ORIGIN));
    two.signal(Signal::TERM);
    assert_eq!(two.exit_status(), Some(0));
    until("two left", || names(&control), |names| *names == ["one"]);
    let answer = control.purge(&json!({"all": true, "wait_ms": 10_000}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(states(&answer.json()), [("one", "applied")]);
}

#[test]
fn a_node_that_is_deleted_holds_up_no_purge() {
    let control = Control::with("deleted", "");
    let (_one, two) = (node(&control, "one", NO_ORIGIN), node(&control, "two", NO_ORIGIN));
    two.kill();
    control.until_state("two", "offline");
    let purge = control.purge(&json!({"all": true, "wait_ms": 0})).json();
    assert_eq!(purge["status"], "in_progress");
    let deleted = control.call("DELETE /v1/nodes/two", "");
    assert_eq!(deleted.status, 200, "{}", deleted.body);
    let purge = control.until_completed(&purge["id"]);
    assert_eq!(states(&purge), [("one", "applied")]);
    assert_eq!(names(&control), ["one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_deleted_while_it_runs_comes_back_empty() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    let control = Control::with("comes-back", "");
    let node = node(&control, "one", &origin.url());
    node.until_ready();
    assert_eq!((node.get("/a").status, node.get("/a").status), (200, 200));
    assert_eq!(origin.fetches("/a"), 1);
    assert_eq!(control.call("DELETE /v1/nodes/one", "").status, 200);
    control.until_state("one", "connected");
    let fetches = || {
        node.get("/a");
        origin.fetches("/a")
    };
    until("nothing stored is trusted", fetches, |fetches| *fetches == 2);
}

#[test]
fn a_token_that_is_not_known_or_not_for_nodes_lets_no_node_in() {
    let control = Control::with("tokens", "");
    for (token, why) in [("wrongwrongwrongwrong", "not known"), (ADMIN_TOKEN, "\"node\"")] {
        let node = node_with(&control, "one", NO_ORIGIN, token);
        node.until_line(why);
    }
    assert_eq!(names(&control), [""; 0]);
    let purge = control.purge(&json!({"all": true}));
    assert_eq!(purge.status, 200, "{}", purge.body);
    let note = purge.json()["note"].as_str().expect("a note").to_owned();
    assert!(note.starts_with("no node is expected"), "{note}");
}

#[test]
fn a_second_node_of_a_name_is_refused_while_the_first_is_there() {
    let control = Control::with("names", "");
    let _first = node(&control, "one", NO_ORIGIN);
    let second = node_with(&control, "one", NO_ORIGIN, NODE_TOKEN);
    second.until_line("the name \"one\" belongs to a node with another secret");
    assert_eq!(names(&control), ["one"]);
}

#[test]
fn control_that_was_killed_has_lost_nothing_that_it_answered() {
    let mut control = Control::with("control-killed", "");
    let node = node(&control, "one", NO_ORIGIN);
    let body = json!({"paths": ["/a"], "reference": "deploy-1", "wait_ms": 10_000});
    let before = control.purge(&body).json();
    control.kill();
    control.start_again();
    assert_eq!(names(&control), ["one"]);
    // How far it had come is told by the node again, where it was not written down yet.
    let after = control.until_completed(&before["id"]);
    assert_eq!((&after["seq"], &after["paths"]), (&json!(1), &json!(["/a"])));
    assert_eq!(control.purge(&body).json()["id"], before["id"]);
    control.until_state("one", "connected");
    let next = control.purge(&json!({"all": true, "wait_ms": 10_000})).json();
    assert_eq!((&next["seq"], &next["status"]), (&json!(2), &json!("completed")));
    drop(node);
}

#[test]
fn each_node_explains_for_itself() {
    let control = Control::with("explain", "");
    let (_one, two) = (node(&control, "one", NO_ORIGIN), node(&control, "two", NO_ORIGIN));
    let explain = || control.call("GET /v1/explain?url=/a", "").json();
    let explained = until("both to explain", explain, |explained| {
        (0..2).all(|n| !explained["nodes"][n]["explanation"].is_null())
    });
    let names: Vec<_> = (0..2).map(|n| explained["nodes"][n]["name"].clone()).collect();
    assert_eq!(names, ["one", "two"]);
    assert_eq!(explained["nodes"][1]["explanation"]["state"], "not-stored");
    two.kill();
    control.until_state("two", "offline");
    let both = control.run(&["explain", "/a"]);
    assert_eq!(both.status, Some(0), "{}", both.err);
    assert!(
        both.out.contains("not connected to control\nnode   two (edge, default)"),
        "{}",
        both.out
    );
    let one = control.run(&["explain", "/a", "--node", "one"]);
    assert!(!one.out.contains("two"), "{}", one.out);
    assert_eq!(control.run(&["explain", "/a", "--node", "two"]).status, Some(1));
}

#[test]
fn a_node_of_a_topology_tells_of_itself_and_where_control_is() {
    let control = Control::with("own", "");
    let node = node(&control, "one", NO_ORIGIN);
    node.until_ready();
    assert_eq!(node.json("GET /healthz", "").status, 200);
    assert!(node.json("GET /metrics", "").body.contains("weir_node_info{node=\"one\""));
    let explained = node.json("GET /v1/explain?url=/a", "").json();
    assert_eq!(explained["nodes"][0]["explanation"]["node"], "one");
    let purge = node.json("POST /v1/purges", r#"{"all": true}"#);
    assert_eq!(purge.status, 404);
    assert!(purge.body.contains(&control.url()), "{}", purge.body);
    let by_method = node.ask("PURGE /a", &[("Host", "example.com")]);
    assert_eq!(by_method.status, 200, "{}", by_method.body);
    assert_eq!(control.told(&by_method.json()["id"])["urls"], json!(["http://example.com/a"]));
}

#[test]
fn what_happens_is_told_as_it_happens() {
    let control = Control::with("events", "");
    let mut stream = TcpStream::connect(control.at()).expect("it accepts");
    stream.set_read_timeout(Some(program::PATIENCE)).expect("a timeout");
    let request = format!(
        "GET /v1/events HTTP/1.1\r\nHost: c\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut lines = BufReader::new(stream).lines();
    let mut next = |name: &str| {
        let wanted = format!("event: {name}");
        loop {
            let line = lines.next().expect("a line").expect("text");
            if line == wanted {
                let data = lines.next().expect("a line").expect("text");
                let data = data.strip_prefix("data: ").expect("data").to_owned();
                return serde_json::from_str::<Value>(&data).expect("JSON");
            }
        }
    };
    let node = node(&control, "one", NO_ORIGIN);
    assert_eq!(next("joined")["node"], "one");
    let purge = control.purge(&json!({"paths": ["/a"]})).json();
    let accepted = next("purge");
    assert_eq!((&accepted["id"], &accepted["paths"]), (&purge["id"], &json!(["/a"])));
    assert_eq!(next("completed")["id"], purge["id"]);
    node.kill();
    assert_eq!(next("parted")["node"], "one");
}

#[test]
fn control_says_what_it_needs() {
    let config = TextFile::new("needs.toml", "[[site]]\norigins = [\"http://127.0.0.1:9\"]\n");
    let ran = run(&["control", "--config", config.path()], &[]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.err.contains("control.data: missing"), "{}", ran.err);
    config.write("[control]\ndata = \"/tmp\"\n");
    let ran = run(&["serve", "--config", config.path()], &[]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.err.contains("site: missing"), "{}", ran.err);
}
