//! Releases, with real processes: a site shows one state of all its resources at a time, on every
//! node at once, and those before stay stored.

mod program;

use program::{Ran, Spec, TextFile, Topology, Weir, until};
use serde_json::json;
use weir_origin_sim::{Origin, held, reply};

const RULES: &str =
    "[site.release]\ninitial = \"v1\"\npath = \"/r/{release}\"\nfield = \"X-Release\"\n";

/// An origin with three releases, and something that is of none.
async fn origin() -> Origin {
    let origin = Origin::start().await;
    for release in ["v1", "v2", "v3"] {
        let page = reply(format!("page of {release}")).max_age(60);
        origin.route(&format!("/r/{release}/page"), page);
    }
    origin.route("/page", reply("page of none").max_age(60));
    origin
}

/// A parent, and two edges that ask it.
fn topology(name: &str, origin: &Origin) -> Topology {
    let mut topology = Topology::start(name);
    topology.add("parent", &Spec::parent(&origin.url()).site(RULES));
    for name in ["one", "two"] {
        let parent = topology.node("parent").listen;
        let parents = format!("[parents]\nurls = [\"http://{parent}\"]\n");
        topology.add(name, &Spec::edge(&origin.url()).tables(&parents).site(RULES));
    }
    topology
}

fn shows(topology: &Topology, release: &str) {
    for name in ["one", "two"] {
        let answer = topology.node(name).get("/page");
        assert_eq!(answer.body, format!("page of {release}"), "{name}: {}", answer.head);
    }
}

fn switched(ran: &Ran) {
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("status  completed"), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_holds_everywhere_at_once_and_switching_back_finds_what_was_stored() {
    let origin = origin().await;
    let topology = topology("releases", &origin);
    shows(&topology, "v1");
    for name in ["v2", "v3", "v1", "v2"] {
        switched(&topology.run(&["release", "site", name]));
        shows(&topology, name);
        assert_eq!(topology.run(&["release", "site"]).out, format!("release  {name}\n"));
    }
    switched(&topology.run(&["release", "site", "--none"]));
    shows(&topology, "none");
    for path in ["/r/v1/page", "/r/v2/page", "/r/v3/page", "/page"] {
        assert_eq!(origin.fetches(path), 1, "{path}");
    }
    for (path, told) in [("/r/v2/page", Some("v2")), ("/page", None)] {
        let requests = origin.requests(path);
        assert_eq!(requests[0].header("X-Release"), told);
        assert!(requests[0].header("weir-release").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_choose_a_release() {
    let origin = origin().await;
    let topology = topology("releases-client", &origin);
    let fields = [("Host", "example.com"), ("X-Release", "v2"), ("weir-release", "v2")];
    for node in ["one", "parent"] {
        let answer = topology.node(node).ask("GET /page", &fields);
        assert_eq!(answer.body, "page of v1");
        let up = topology.node(node).ask("GET /../v2/page", &fields);
        assert_ne!(up.body, "page of v2", "{}", up.head);
    }
    assert_eq!((origin.fetches("/r/v1/page"), origin.fetches("/r/v2/page")), (1, 0));
    assert_eq!(origin.requests("/r/v1/page")[0].header_values("X-Release"), ["v1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_takes_what_is_stored_of_all_releases() {
    let origin = origin().await;
    let topology = topology("releases-purge", &origin);
    shows(&topology, "v1");
    switched(&topology.run(&["release", "site", "v2"]));
    shows(&topology, "v2");
    let purge = topology.purge(&json!({"paths": ["/page"], "wait_ms": 10_000}));
    assert_eq!(purge.status, 200, "{}", purge.body);
    shows(&topology, "v2");
    switched(&topology.run(&["release", "site", "v1"]));
    shows(&topology, "v1");
    assert_eq!((origin.fetches("/r/v1/page"), origin.fetches("/r/v2/page")), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_keeps_the_release_it_began_under() {
    let origin = origin().await;
    origin.route("/r/v1/slow", held("slow v1").max_age(60));
    origin.route("/r/v2/slow", reply("slow v2").max_age(60));
    let topology = topology("releases-slow", &origin);
    let listen = topology.node("one").listen;
    let waiting = tokio::task::spawn_blocking(move || program::get(listen, "/slow"));
    origin.until_requests("/r/v1/slow", 1).await;
    switched(&topology.run(&["release", "site", "v2"]));
    assert_eq!(topology.node("one").get("/slow").body, "slow v2");
    origin.release("/r/v1/slow");
    assert_eq!(waiting.await.expect("an answer").body, "slow v1");
    assert_eq!(topology.node("one").get("/slow").body, "slow v2");
    switched(&topology.run(&["release", "site", "v1"]));
    assert_eq!(topology.node("one").get("/slow").body, "slow v1");
    assert_eq!((origin.fetches("/r/v1/slow"), origin.fetches("/r/v2/slow")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_answers_an_edge_by_the_edges_release_whatever_it_shows_itself() {
    let origin = origin().await;
    let topology = topology("releases-behind", &origin);
    shows(&topology, "v1");
    topology.line("parent").hold();
    let ran = topology.run(&["release", "site", "v2"]);
    assert_eq!(ran.status, Some(3), "{}{}", ran.out, ran.err);
    let page = |name: &str| topology.node(name).get("/page").body;
    let pages = || ["one", "two"].map(page);
    until("the edges show it", pages, |pages| pages.iter().all(|page| page == "page of v2"));
    // The parent still shows the one before.
    assert_eq!(topology.node("parent").get("/page").body, "page of v1");
    topology.line("parent").let_go();
    until("the parent shows it", || page("parent"), |page| page == "page of v2");
    shows(&topology, "v2");
}

#[test]
fn only_a_site_with_releases_has_one() {
    let site = "[[site]]\nid = \"plain\"\norigins = [\"http://127.0.0.1:9\"]\n";
    let config = TextFile::new("releases-plain.toml", site);
    let weir = Weir::serve(&["--config", config.path()]);
    let ran = weir.run(&["release", "plain", "v1"]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.err.contains("the site \"plain\" has no releases"), "{}", ran.err);
    let ran = weir.run(&["release", "plian", "v1"]);
    assert_eq!(ran.status, Some(2), "{}", ran.err);
    assert!(ran.err.contains("no site \"plian\""), "{}", ran.err);
}
