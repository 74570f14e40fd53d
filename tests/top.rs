//! `weir top` on a terminal, as an operator sees it, and what it prints where there is none.

mod program;
#[path = "top/terminal.rs"]
mod terminal;

use program::{Spec, Topology, until};
use rustix::process::Signal;
use serde_json::{Value, json};
use terminal::Terminal;
use weir_origin_sim::{Origin, reply};

/// Nothing listens there.
const NOBODY: &str = "http://127.0.0.1:9";

/// The terminal of old.
const SIZE: (u16, u16) = (80, 24);

async fn origin() -> Origin {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(600));
    origin.route("/mine", reply("each").header("Cache-Control", "private"));
    origin
}

/// `weir top` of a topology, on a terminal.
fn top(topology: &Topology, arguments: &[&str]) -> Terminal {
    let [control, token] = &topology.operator();
    let variables = [(control.0, control.1.as_str()), (token.0, token.1.as_str())];
    Terminal::run(&[&["top"], arguments].concat(), &variables, SIZE)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topology_is_watched_live() {
    let origin = origin().await;
    let mut topology = Topology::start("top-live");
    topology.add("one", &Spec::edge(&origin.url()));
    let mut top = top(&topology, &["--every", "500ms"]);
    top.until_shows(&["1 of 1 nodes connected, seq 0", "edge \u{d7}1", "one", "nothing is stored"]);
    assert!(top.is_taken());
    // What comes is seen: a node, its requests, what it stores.
    topology.add("two", &Spec::edge(&origin.url()));
    for _ in 0..4 {
        assert_eq!(topology.node("two").get("/a").status, 200);
    }
    top.until_shows(&["2 of 2 nodes connected", "two", "75.0 %", "http://example.com/a"]);
    // What is missed, and why.
    assert_eq!(topology.node("one").get("/mine").status, 200);
    top.press("3");
    top.until_shows(&["3 misses", "private 1", "http://example.com/mine"]);
    top.until_gone("http://example.com/a");
    // A purge that a node is not there for.
    topology.kill_node("one");
    topology.until_state("one", "offline");
    topology.purge(&json!({"paths": ["/a"], "wait_ms": 0}));
    top.press("4");
    top.until_shows(&["1 of 2 nodes connected, seq 1", "1/2", "pending: one (offline)", "/a"]);
    topology.start_node("one");
    top.until_shows(&["2 of 2 nodes connected", "2/2", "completed"]);
    // Another size, and every key there is.
    top.resize((40, 10));
    top.until_gone("1 nodes 2 of 2");
    top.press("1");
    top.until_shows(&["1 nodes 2 of 2 connected", "REQ/S", "two"]);
    top.press("?");
    top.until_shows(&["select nodes"]);
    top.press("?");
    top.until_gone("select nodes");
    // Totals of other ranges.
    top.resize(SIZE);
    top.until_shows(&["r 10 min  5 req", "60.0 % hits"]);
    top.press("r");
    top.until_shows(&["r 1 h  5 req"]);
    top.press("R");
    top.press("R");
    top.until_shows(&["r 30 d  5 req"]);
    top.press("p");
    top.until_shows(&["PAUSED"]);
    top.press("q");
    assert_eq!(top.exit_status(), Some(0));
    assert!(!top.is_taken());
}

#[test]
fn control_that_is_away_is_said_until_it_is_back() {
    let mut topology = Topology::start("top-away");
    let mut top = top(&topology, &["--every", "500ms"]);
    top.until_shows(&["0 of 0 nodes connected", "none has joined yet"]);
    // Every call has its answer before control goes.
    for (key, shown) in [
        ("2", "nothing is stored on any edge"),
        ("3", "all recent fetches were stored"),
        ("4", "there are no purges"),
        ("1", "none has joined yet"),
    ] {
        top.press(key);
        top.until_shows(&[shown]);
    }
    topology.kill_control();
    top.until_shows(&["figures are ", " s old", ": cannot reach control at http://127.0.0.1"]);
    topology.start_control();
    top.until_gone("cannot reach control");
    top.until_shows(&["0 of 0 nodes"]);
    // Ctrl-C is a key as long as the terminal is taken.
    top.press("\u{3}");
    assert_eq!(top.exit_status(), Some(0));
    assert!(!top.is_taken());
}

#[test]
fn a_key_that_comes_with_a_change_of_size_is_taken() {
    let mut top = Terminal::run(&["top"], &[("WEIR_CONTROL", NOBODY)], SIZE);
    top.until_shows(&["no figures yet"]);
    for size in [(60, 20), SIZE].repeat(20) {
        top.resize(size);
        top.press("?");
        top.until_shows(&["q, Esc, Ctrl-C"]);
        top.resize((size.0 - 10, size.1));
        top.press("?");
        top.until_gone("q, Esc, Ctrl-C");
    }
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let variables = [("WEIR_CONTROL", NOBODY)];
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut top = Terminal::run(&["top"], &variables, SIZE);
        top.until_shows(&["no figures yet: cannot reach control", "asking control"]);
        assert!(top.is_taken());
        top.signal(signal);
        assert_eq!(top.exit_status(), Some(0), "{signal:?}");
        assert!(!top.is_taken());
    }
}

#[test]
fn who_is_not_let_in_is_told_so_on_a_terminal_that_is_given_back() {
    let topology = Topology::start("top-refused");
    let control = format!("http://{}", topology.at());
    let variables = [("WEIR_CONTROL", control.as_str()), ("WEIR_TOKEN", "a-token-of-nobody")];
    let mut top = Terminal::run(&["top"], &variables, SIZE);
    assert_eq!(top.exit_status(), Some(1));
    top.until_shows(&["weir: 401: "]);
    assert!(!top.is_taken());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_it_prints_what_there_is() {
    let origin = origin().await;
    let mut topology = Topology::start("top-once");
    topology.add("one", &Spec::edge(&origin.url()));
    for path in ["/a", "/a", "/mine"] {
        assert_eq!(topology.node("one").get(path).status, 200);
    }
    topology.purge(&json!({"tags": ["news"], "wait_ms": 10_000}));
    let json = || -> Value {
        let ran = topology.run(&["top", "--json"]);
        assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""));
        serde_json::from_str(&ran.out).expect("JSON")
    };
    let told = until("all is told", json, |told| told["stats"]["requests"] == 3);
    assert_eq!(told["popular"]["objects"][0]["url"], "http://example.com/a");
    assert_eq!(told["uncached"]["urls"][0]["reason"], "private");
    assert_eq!(told["purges"]["purges"][0]["tags"], json!(["news"]));
    assert!(told["traffic"]["points"].is_array() && told["at"].is_string(), "{told}");
    // The history tells of a second once it is over.
    let totals = "totals   10 min  3 req  33.3 % hits";
    until("the totals are told", || topology.run(&["top"]).out, |out| out.contains(totals));
    for arguments in [&["top"][..], &["top", "--once"]] {
        let ran = topology.run(arguments);
        assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""));
        for part in [
            "nodes    1 of 1 nodes connected, seq 1\n",
            totals,
            "  one",
            "http://example.com/a",
            "private",
            "tag news",
            "TLS: certificates, by expiry\nno certificates: [tls] is not configured\n",
        ] {
            assert!(ran.out.contains(part), "{part}\n{}", ran.out);
        }
        assert!(!ran.out.contains('\u{1b}'), "{}", ran.out);
    }
    let ran = program::run(&["top", "--once"], &[("WEIR_CONTROL", NOBODY)]);
    assert_eq!((ran.status, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.contains("cannot reach control at"), "{}", ran.err);
    let ran = topology.run(&["top", "--range", "24h"]);
    assert!(ran.out.contains("totals   24 h  3 req  33.3 % hits"), "{}", ran.out);
    let ran = program::run(&["top", "--range", "2h"], &[]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.err.contains("not one of 10m, 1h, 24h, 7d, 30d"), "{}", ran.err);
    for wrong in ["100ms", "2m", "2"] {
        assert_eq!(program::run(&["top", "--every", wrong], &[]).status, Some(2), "{wrong}");
    }
}
