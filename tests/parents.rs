//! Parents and origins that die under load: what clients notice of it, and whose keys move. Each
//! node is a process of the real program.

mod program;
mod support;

use program::{Spec, Topology, Weir, until};
use rustix::process::Signal;
use std::net::SocketAddr;
use support::{Answer, Client, Load, Origin, reply, stale, stale_with};

const HELLO: &str = "200 hello";
const PARENTS: [&str; 2] = ["parent-1", "parent-2"];

/// Control and two parents; with the tables of an edge that asks them.
fn with_parents(name: &str, origin: &Origin) -> (Topology, String) {
    let mut topology = Topology::start(name);
    for parent in PARENTS {
        topology.add(parent, &Spec::parent(&origin.url()));
    }
    let urls = PARENTS.map(|parent| format!("http://{}", topology.node(parent).listen));
    (topology, format!("[parents]\nscope = \"global\"\nurls = {urls:?}"))
}

async fn get(topology: &Topology, node: &str, target: &str) -> Answer {
    let mut client = Client::connect(topology.node(node).listen).await;
    client.request("GET", target, &[], "").await;
    client.answer("GET").await
}

/// Who had it from the origin, or had it stored: the name in the first member of Cache-Status; and
/// the rest of that member.
fn by(answer: &Answer) -> (String, String) {
    let first = answer.values("cache-status").first().map(ToString::to_string);
    let first = first.expect("a Cache-Status");
    let (name, rest) = first.split_once("; ").unwrap_or((&first, ""));
    (name.to_owned(), rest.to_owned())
}

/// Four clients of each edge. Each may see one answer break off.
fn load_on(edges: &[SocketAddr]) -> Load {
    let clients: Vec<_> = edges.iter().flat_map(|edge| [*edge; 4]).collect();
    Load::on(clients, 1, |answer| assert_eq!(answer.line(), HELLO, "{answer:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parent_killed_under_load_is_missed_by_nobody_and_the_keys_of_the_other_stay() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(600));
    let (mut topology, parents) = with_parents("parent-killed", &origin);
    for edge in ["edge-1", "edge-2"] {
        topology.add(edge, &Spec::edge(&origin.url()).tables(&parents));
    }
    let (mut of_first, mut of_second) = (Vec::new(), Vec::new());
    for number in 0..60 {
        let target = format!("/key/{number}");
        match by(&get(&topology, "edge-1", &target).await).0.as_str() {
            "parent-1" => of_first.push(target),
            "parent-2" => of_second.push(target),
            other => panic!("{other} answered for {target}"),
        }
    }
    assert!(of_first.len() > 10 && of_second.len() > 10, "{of_first:?} {of_second:?}");
    let mut load = load_on(&["edge-1", "edge-2"].map(|edge| topology.node(edge).listen));
    load.more(200).await;
    topology.kill_node("parent-1");
    load.more(200).await;
    for target in &of_second {
        let answer = get(&topology, "edge-2", target).await;
        assert_eq!(answer.line(), HELLO);
        let (name, rest) = by(&answer);
        assert!(name == "parent-2" && rest.starts_with("hit"), "{target} moved: {answer:?}");
        assert_eq!(origin.fetches(target), 1, "{target}");
    }
    for target in &of_first {
        let answer = get(&topology, "edge-2", target).await;
        assert_eq!((answer.line().as_str(), by(&answer).0.as_str()), (HELLO, "parent-2"));
        assert_eq!(origin.fetches(target), 2, "{target}");
    }
    load.more(100).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parent_that_hangs_is_found_out_before_any_client_waits_for_it() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(600));
    let (mut topology, parents) = with_parents("parent-hangs", &origin);
    let health = "health = { interval = \"20ms\", timeout = \"2s\", unhealthy = 2 }";
    topology.add("edge", &Spec::edge(&origin.url()).tables(&parents).tables(health));
    let first = format!("http://{}", topology.node("parent-1").listen);
    let gauge = format!("weir_upstream_member_healthy{{pool=\"parents\",member=\"{first}\"}}");
    let is_healthy = |edge: &Weir| {
        let text = edge.json("GET /metrics", "").body;
        let found = text.lines().find_map(|line| line.strip_prefix(&gauge));
        found.expect("the parent's gauge").trim() == "1"
    };
    assert!(is_healthy(topology.node("edge")));
    topology.node("parent-1").signal(Signal::STOP);
    until("the parent is out", || is_healthy(topology.node("edge")), |healthy| !healthy);
    for number in 0..40 {
        let answer = get(&topology, "edge", &format!("/key/{number}")).await;
        assert_eq!((answer.line().as_str(), by(&answer).0.as_str()), (HELLO, "parent-2"));
    }
    topology.node("parent-1").signal(Signal::CONT);
    until("the parent is back", || is_healthy(topology.node("edge")), |healthy| *healthy);
    let mut asked = 0..1000;
    let next = |number| format!("/later/{number}");
    loop {
        let number = asked.next().expect("one of a thousand keys is the first parent's");
        if by(&get(&topology, "edge", &next(number)).await).0 == "parent-1" {
            break;
        }
    }
    assert_eq!(origin.fetches("*") as u64, 40 + asked.start, "no probe reaches the origin");
    let metrics = topology.node("parent-2").json("GET /metrics", "").body;
    let value = |name: &str| {
        let of = |line: &str| line.strip_prefix(name)?.rsplit(' ').next()?.parse::<u64>().ok();
        metrics.lines().filter_map(of).sum::<u64>()
    };
    assert!(value("weir_probes_total ") > 0, "{metrics}");
    let requests = origin.fetches("*") as u64;
    assert!(value("weir_requests_total{") <= requests, "probes are no requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_all_parents_killed_the_origin_is_asked_where_that_is_allowed_and_else_stale_is_served()
 {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(600));
    origin.route("/stale", stale("hello").etag("\"v1\""));
    let must = stale_with("hello", "max-age=10, must-revalidate");
    origin.route("/must", must.etag("\"v1\""));
    let (mut topology, parents) = with_parents("parents-killed", &origin);
    topology.add("open", &Spec::edge(&origin.url()).tables(&parents));
    let strict = Spec::edge(&origin.url()).tables(&parents).tables("origin_fallback = false");
    topology.add("strict", &strict);
    for target in ["/fresh", "/stale", "/must"] {
        assert_eq!(get(&topology, "strict", target).await.line(), HELLO);
    }
    let mut load = load_on(&[topology.node("open").listen]);
    load.more(100).await;
    for parent in PARENTS {
        topology.kill_node(parent);
    }
    load.more(100).await;
    load.end().await;
    for parent in PARENTS {
        let lines = topology.node("open").lines_until("parent ejected: its requests failed");
        let lines = lines.join("\n");
        assert!(!lines.contains("origin"), "{parent}: {lines}");
    }
    let answer = get(&topology, "open", "/new").await;
    assert_eq!((answer.line().as_str(), by(&answer).0.as_str()), (HELLO, "open"));
    let fetched = origin.fetches("*");
    let fresh = get(&topology, "strict", "/fresh").await;
    assert_eq!((fresh.line().as_str(), fresh.handled_by("strict").as_str()), (HELLO, "hit"));
    let stale = get(&topology, "strict", "/stale").await;
    assert_eq!(stale.line(), HELLO);
    assert!(stale.handled_by("strict").contains("detail=no-parent"), "{stale:?}");
    for target in ["/must", "/new"] {
        let refused = get(&topology, "strict", target).await;
        assert_eq!(refused.status, 504, "{target}: {refused:?}");
    }
    assert_eq!(origin.fetches("*"), fetched, "the origin is not asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_origins_killed_under_load_is_missed_by_nobody_and_takes_its_share_again() {
    let mut origins = Vec::new();
    for _ in 0..3 {
        let origin = Origin::start().await;
        origin.default_route(reply("hello").max_age(600));
        origins.push(origin);
    }
    let [first, second, third] = &origins[..] else { panic!("three") };
    let mut topology = Topology::start("origin-killed");
    let pool = |spec: Spec| {
        let spec = spec.origin(&second.url()).origin(&third.url());
        spec.site("health = { eject = \"20ms\" }")
    };
    topology.add("parent", &pool(Spec::parent(&first.url())));
    let parents = format!("[parents]\nurls = [\"http://{}\"]", topology.node("parent").listen);
    topology.add("edge", &pool(Spec::edge(&first.url()).tables(&parents)));
    let asked = || [first, second, third].map(|origin| origin.fetches("*"));
    let mut load = load_on(&[topology.node("edge").listen; 2]);
    load.more(100).await;
    second.stop().await;
    load.more(300).await;
    let away = second.fetches("*");
    second.restart().await;
    while second.fetches("*") == away {
        load.more(20).await;
    }
    let before = asked();
    load.more(300).await;
    let after = asked();
    load.end().await;
    let shares: Vec<usize> = before.iter().zip(&after).map(|(b, a)| a - b).collect();
    let all: usize = shares.iter().sum();
    assert!(shares.iter().all(|share| share * 4 > all), "each takes a third again: {shares:?}");
}
