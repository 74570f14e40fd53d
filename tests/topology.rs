//! One control and two nodes, each a process of the real program.

mod program;

use program::{Answer, Folder, TextFile, Weir, run, until, until_seen};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use weir_origin_sim::{Origin, reply};

const NODE_TOKEN: &str = "nnnnnnnnnnnnnnnn";
const ADMIN_TOKEN: &str = "aaaaaaaaaaaaaaaa";

/// Nothing listens there.
const NO_ORIGIN: &str = "http://127.0.0.1:9";

/// Control, and what its nodes are told of it.
struct Topology {
    control: Weir,
    config: TextFile,
    _data: Folder,
}

impl Topology {
    fn start(name: &str) -> Self {
        Self::with(name, "")
    }

    /// With further keys of `[control]`.
    fn with(name: &str, keys: &str) -> Self {
        let data = Folder::new(name);
        let config = format!(
            "[control]\ndata = {:?}\n{keys}\
             [[token]]\nname = \"nodes\"\nsecret = \"{NODE_TOKEN}\"\nscopes = [\"node\"]\n\
             [[token]]\nname = \"me\"\nsecret = \"{ADMIN_TOKEN}\"\n\
             scopes = [\"purge\", \"read\", \"admin\"]\n",
            data.path()
        );
        let config = TextFile::new(&format!("{name}-control.toml"), &config);
        let control = Weir::control_at("127.0.0.1:0", &config);
        Self { control, config, _data: data }
    }

    /// A node that has joined.
    fn node(&self, name: &str, origin: &str) -> Weir {
        let node = self.node_with(name, origin, NODE_TOKEN);
        self.until_state(name, "connected");
        node
    }

    fn node_with(&self, name: &str, origin: &str, token: &str) -> Weir {
        let url = self.control.control();
        let config = format!(
            "[node]\nname = \"{name}\"\n[control]\nurl = \"{url}\"\ntoken = \"{token}\"\n\
             [[site]]\norigins = [\"{origin}\"]\n"
        );
        let config = TextFile::new(&format!("{name}-{}.toml", self.control.admin.port()), &config);
        Weir::serve(&["--config", config.path()])
    }

    fn call(&self, line: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        let fields = [
            ("Host", "control"),
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        self.control.call(line, &fields, body)
    }

    fn purge(&self, body: Value) -> Answer {
        self.call("POST /v1/purges", &body.to_string())
    }

    fn told(&self, purge: &Value) -> Value {
        let id = purge["id"].as_str().expect("an id");
        self.call(&format!("GET /v1/purges/{id}"), "").json()
    }

    fn until_completed(&self, purge: &Value) -> Value {
        let completed = |told: &Value| told["status"] == "completed";
        until_seen("the purge is completed", || self.told(purge), completed)
    }

    fn names(&self) -> Vec<String> {
        let nodes = self.call("GET /v1/nodes", "").json();
        let nodes = nodes["nodes"].as_array().expect("a list");
        nodes.iter().map(|node| node["name"].as_str().expect("a name").to_owned()).collect()
    }

    fn until_state(&self, name: &str, state: &str) {
        let line = format!("GET /v1/nodes/{name}");
        let what = format!("{name} is {state}");
        until_seen(&what, || self.call(&line, "").json(), |node| node["state"] == state);
    }
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
    let topology = Topology::start("both");
    let nodes = ["one", "two"].map(|name| topology.node(name, &origin.url()));
    for node in &nodes {
        node.until_ready();
        for _ in 0..2 {
            assert_eq!(node.get("/a").body, "hello");
        }
    }
    assert_eq!(origin.fetches("/a"), 2);
    let answer = topology.purge(json!({"paths": ["/a"], "wait_ms": 10_000}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let purge = answer.json();
    assert_eq!(states(&purge), [("one", "applied"), ("two", "applied")]);
    until("it is counted", || {
        topology.told(&purge)["nodes"]
            .as_array()
            .is_some_and(|nodes| nodes.iter().all(|node| node["matched"] == 1))
    });
    for node in &nodes {
        assert_eq!(node.get("/a").body, "hello");
    }
    assert_eq!(origin.fetches("/a"), 4);
    let none = topology.purge(json!({"paths": ["/nothing"], "wait_ms": 10_000})).json();
    until("nothing matched", || topology.told(&none)["note"] == "nothing that is stored matched");
}

#[test]
fn a_purge_waits_for_a_node_that_sleeps_and_is_completed_when_it_wakes() {
    let topology = Topology::start("sleeps");
    let (_one, two) = (topology.node("one", NO_ORIGIN), topology.node("two", NO_ORIGIN));
    two.signal(Signal::STOP);
    let answer = topology.purge(json!({"all": true, "wait_ms": 100}));
    assert_eq!(answer.status, 202, "{}", answer.body);
    let applied = |told: &Value| states(told).contains(&("one", "applied"));
    let purge = until_seen("one applied it", || topology.told(&answer.json()), applied);
    assert_eq!(purge["status"], "in_progress");
    assert_eq!(states(&purge), [("one", "applied"), ("two", "pending")]);
    two.signal(Signal::CONT);
    let purge = topology.until_completed(&purge);
    assert_eq!(states(&purge), [("one", "applied"), ("two", "applied")]);
}

#[test]
fn a_node_that_sleeps_past_the_lease_is_offline_and_catches_up_when_it_wakes() {
    let topology = Topology::with("lease", "lease = \"1s\"\n");
    let (_one, two) = (topology.node("one", NO_ORIGIN), topology.node("two", NO_ORIGIN));
    two.signal(Signal::STOP);
    topology.until_state("two", "offline");
    let purge = topology.purge(json!({"all": true, "wait_ms": 0})).json();
    assert!(states(&purge).contains(&("two", "offline")), "{purge}");
    let note = purge["note"].as_str().expect("a note");
    assert!(note.starts_with("a node is offline"), "{note}");
    two.signal(Signal::CONT);
    let purge = topology.until_completed(&purge);
    assert_eq!(states(&purge), [("one", "applied"), ("two", "applied")]);
}

#[test]
fn a_node_whose_token_is_taken_away_is_let_go() {
    let topology = Topology::with("locked", "lease = \"1s\"\n");
    let _one = topology.node("one", NO_ORIGIN);
    let config = std::fs::read_to_string(topology.config.path()).expect("it is there");
    let config = config.replace(NODE_TOKEN, "anotheranotheranother");
    topology.config.write(&config.replace("data = \"", "data = \"/elsewhere"));
    let reloaded = topology.call("POST /v1/reload", "");
    assert_eq!(reloaded.status, 200, "{}", reloaded.body);
    assert_eq!(reloaded.json()["needs_restart"], json!(["control.data"]));
    topology.until_state("one", "offline");
    topology.control.until_line("its token is not known any more");
}

#[test]
fn a_node_that_was_killed_is_the_same_when_it_starts_again() {
    let topology = Topology::start("killed");
    let (_one, two) = (topology.node("one", NO_ORIGIN), topology.node("two", NO_ORIGIN));
    two.kill();
    topology.until_state("two", "offline");
    let answer = topology.purge(json!({"tags": ["t"], "wait_ms": 0}));
    assert_eq!(answer.status, 202, "{}", answer.body);
    let purge = answer.json();
    assert!(states(&purge).contains(&("two", "offline")), "{purge}");
    let _two = topology.node("two", NO_ORIGIN);
    let purge = topology.until_completed(&purge);
    assert_eq!(states(&purge), [("one", "applied"), ("two", "applied")]);
    assert_eq!(topology.names(), ["one", "two"]);
}

#[test]
fn a_node_that_drained_is_not_expected_any_more() {
    let topology = Topology::start("drained");
    let (_one, two) = (topology.node("one", NO_ORIGIN), topology.node("two", NO_ORIGIN));
    two.signal(Signal::TERM);
    assert_eq!(two.exit_status(), Some(0));
    until_seen("two left", || topology.names(), |names| names == &["one"]);
    let answer = topology.purge(json!({"all": true, "wait_ms": 10_000}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(states(&answer.json()), [("one", "applied")]);
}

#[test]
fn a_node_that_is_deleted_holds_up_no_purge() {
    let topology = Topology::start("deleted");
    let (_one, two) = (topology.node("one", NO_ORIGIN), topology.node("two", NO_ORIGIN));
    two.kill();
    topology.until_state("two", "offline");
    let purge = topology.purge(json!({"all": true, "wait_ms": 0})).json();
    assert_eq!(purge["status"], "in_progress");
    let deleted = topology.call("DELETE /v1/nodes/two", "");
    assert_eq!(deleted.status, 200, "{}", deleted.body);
    let purge = topology.until_completed(&purge);
    assert_eq!(states(&purge), [("one", "applied")]);
    assert_eq!(topology.names(), ["one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_deleted_while_it_runs_comes_back_empty() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    let topology = Topology::start("comes-back");
    let node = topology.node("one", &origin.url());
    node.until_ready();
    assert_eq!((node.get("/a").status, node.get("/a").status), (200, 200));
    assert_eq!(origin.fetches("/a"), 1);
    assert_eq!(topology.call("DELETE /v1/nodes/one", "").status, 200);
    topology.until_state("one", "connected");
    until("nothing stored is trusted", || {
        node.get("/a");
        origin.fetches("/a") == 2
    });
}

#[test]
fn a_token_that_is_not_known_or_not_for_nodes_lets_no_node_in() {
    let topology = Topology::start("tokens");
    for (token, why) in [("wrongwrongwrongwrong", "not known"), (ADMIN_TOKEN, "\"node\"")] {
        let node = topology.node_with("one", NO_ORIGIN, token);
        node.until_line(why);
    }
    assert_eq!(topology.names(), [""; 0]);
    let purge = topology.purge(json!({"all": true}));
    assert_eq!(purge.status, 200, "{}", purge.body);
    let note = purge.json()["note"].as_str().expect("a note").to_owned();
    assert!(note.starts_with("no node is expected"), "{note}");
}

#[test]
fn a_second_node_of_a_name_is_refused_while_the_first_is_there() {
    let topology = Topology::start("names");
    let _first = topology.node("one", NO_ORIGIN);
    let second = topology.node_with("one", NO_ORIGIN, NODE_TOKEN);
    second.until_line("another node named \"one\" is connected");
    assert_eq!(topology.names(), ["one"]);
}

#[test]
fn control_that_was_killed_has_lost_nothing_that_it_answered() {
    let mut topology = Topology::start("control-killed");
    let node = topology.node("one", NO_ORIGIN);
    let body = json!({"paths": ["/a"], "reference": "deploy-1", "wait_ms": 10_000});
    let before = topology.purge(body.clone()).json();
    let listen = topology.control.admin.to_string();
    let control = std::mem::replace(&mut topology.control, Weir::in_front_of(NO_ORIGIN));
    control.kill();
    topology.control = Weir::control_at(&listen, &topology.config);
    assert_eq!(topology.names(), ["one"]);
    // How far it had come is told by the node again, where it was not written down yet.
    let after = topology.until_completed(&before);
    assert_eq!((&after["seq"], &after["paths"]), (&json!(1), &json!(["/a"])));
    assert_eq!(topology.purge(body).json()["id"], before["id"]);
    topology.until_state("one", "connected");
    let next = topology.purge(json!({"all": true, "wait_ms": 10_000})).json();
    assert_eq!((&next["seq"], &next["status"]), (&json!(2), &json!("completed")));
    drop(node);
}

#[test]
fn each_node_explains_for_itself() {
    let topology = Topology::start("explain");
    let (_one, two) = (topology.node("one", NO_ORIGIN), topology.node("two", NO_ORIGIN));
    let explained = topology.call("GET /v1/explain?url=/a", "").json();
    let names: Vec<_> = (0..2).map(|n| explained["nodes"][n]["name"].clone()).collect();
    assert_eq!(names, ["one", "two"]);
    assert_eq!(explained["nodes"][1]["explanation"]["state"], "not-stored");
    two.kill();
    topology.until_state("two", "offline");
    let control = topology.control.control();
    let variables = [("WEIR_CONTROL", control.as_str()), ("WEIR_TOKEN", ADMIN_TOKEN)];
    let both = run(&["explain", "/a"], &variables);
    assert_eq!(both.status, Some(0), "{}", both.err);
    assert!(
        both.out.contains("not connected to control\nnode   two (edge, default)"),
        "{}",
        both.out
    );
    let one = run(&["explain", "/a", "--node", "one"], &variables);
    assert!(!one.out.contains("two"), "{}", one.out);
    assert_eq!(run(&["explain", "/a", "--node", "two"], &variables).status, Some(1));
}

#[test]
fn a_node_of_a_topology_tells_of_itself_and_where_control_is() {
    let topology = Topology::start("own");
    let node = topology.node("one", NO_ORIGIN);
    node.until_ready();
    assert_eq!(node.json("GET /healthz", "").status, 200);
    assert!(node.json("GET /metrics", "").body.contains("weir_node_info{node=\"one\""));
    let explained = node.json("GET /v1/explain?url=/a", "").json();
    assert_eq!(explained["nodes"][0]["explanation"]["node"], "one");
    let purge = node.json("POST /v1/purges", r#"{"all": true}"#);
    assert_eq!(purge.status, 404);
    assert!(purge.body.contains(&topology.control.control()), "{}", purge.body);
    let by_method = node.ask("PURGE /a", &[("Host", "example.com")]);
    assert_eq!(by_method.status, 200, "{}", by_method.body);
    assert_eq!(topology.told(&by_method.json())["urls"], json!(["http://example.com/a"]));
}

#[test]
fn what_happens_is_told_as_it_happens() {
    let topology = Topology::start("events");
    let mut stream = TcpStream::connect(topology.control.admin).expect("it accepts");
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
    let node = topology.node("one", NO_ORIGIN);
    assert_eq!(next("joined")["node"], "one");
    let purge = topology.purge(json!({"paths": ["/a"]})).json();
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
