//! A site with several origins: who is asked, who is left out, and what is tried again.

mod support;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::*;
use weir_edge::node::Node;

/// So many origins, each of which answers with its number.
async fn origins(count: usize) -> Vec<Origin> {
    let mut origins = Vec::new();
    for n in 0..count {
        let origin = Origin::start().await;
        origin.default_route(reply(n.to_string()));
        origins.push(origin);
    }
    origins
}

fn in_front_of(origins: &[Origin], site: &str) -> EdgeBuilder {
    origins.iter().fold(edge(), EdgeBuilder::origin).site(site)
}

/// How many requests each origin has had.
fn asked(origins: &[Origin]) -> Vec<usize> {
    let all = |origin: &Origin| {
        let counts = origin.counts("*");
        usize::try_from(counts.requests).expect("a count")
    };
    origins.iter().map(all).collect()
}

/// GETs of so many URLs, one after the other: who answered each.
async fn answers(edge: &Edge, count: usize) -> String {
    let mut answers = String::new();
    for n in 0..count {
        let answer = edge.get(&format!("/{n}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answers.push_str(&answer.text());
    }
    answers
}

/// A metric of the member at `origin`.
fn metric(edge: &Edge, name: &str, origin: &Origin) -> u64 {
    let line = format!("{name}{{pool=\"site\",member=\"{}\"}} ", origin.url());
    let metrics = edge.node.metrics();
    let value = metrics.lines().find_map(|found| found.strip_prefix(&line));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {line}: {metrics}"))
}

/// A metric without labels.
fn count(edge: &Edge, name: &str) -> u64 {
    let metrics = edge.node.metrics();
    let value = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}: {metrics}"))
}

async fn until_healthy(edge: &Edge, origin: &Origin, healthy: u64) {
    let is = || metric(edge, "weir_upstream_member_healthy", origin);
    until(&format!("healthy to be {healthy}"), is, |is| *is == healthy).await;
}

#[tokio::test]
async fn each_in_turn() {
    let origins = origins(3).await;
    let edge = in_front_of(&origins, "").start();
    assert_eq!(answers(&edge, 6).await, "012012");
}

#[tokio::test]
async fn each_as_often_as_its_weight_says() {
    let origins = origins(2).await;
    let toml = format!(
        "[[site]]\nid = \"weighed\"\nbalance = \"weighted_round_robin\"\norigins = [\
         {{ url = \"{}\", weight = 3 }}, {{ url = \"{}\", weight = 1 }}]",
        origins[0].url(),
        origins[1].url()
    );
    let other = Origin::start().await;
    let edge = edge().tables(&toml).origin(&other).site("hosts = [\"other.example\"]").start();
    assert_eq!(answers(&edge, 8).await, "00100010");
}

#[tokio::test]
async fn the_one_with_the_fewest_requests() {
    let origins = origins(2).await;
    origins[0].route("/slow", held("0"));
    origins[1].route("/slow", held("1"));
    let edge = in_front_of(&origins, "balance = \"least_connections\"").start();
    let slow = edge.get_many("/slow", 1);
    until("the slow request", || asked(&origins), |asked| asked.iter().sum::<usize>() == 1).await;
    let busy = usize::from(origins[1].fetches("/slow") == 1);
    let idle = (1 - busy).to_string();
    assert_eq!(answers(&edge, 5).await, idle.repeat(5));
    origins[busy].release("/slow");
    slow.answers().await;
}

#[tokio::test]
async fn a_client_stays_with_its_origin() {
    let origins = origins(4).await;
    let edge = in_front_of(&origins, "balance = \"ip_hash\"")
        .tables("trusted_proxies = [\"127.0.0.0/8\"]")
        .start();
    let mut seen = std::collections::HashSet::new();
    for client in 0..20 {
        let address = Ipv4Addr::new(192, 0, 2, client).to_string();
        let fields = [("X-Forwarded-For", address.as_str())];
        let first = edge.get_with(&format!("/{client}/first"), &fields).await.text();
        let second = edge.get_with(&format!("/{client}/second"), &fields).await.text();
        assert_eq!(first, second);
        seen.insert(first);
    }
    assert!(seen.len() > 2, "clients are spread: {seen:?}");
}

#[tokio::test]
async fn a_url_stays_with_its_origin_also_on_another_node() {
    let origins = origins(4).await;
    let balance = "balance = \"consistent_hash\"";
    let one = in_front_of(&origins, balance).start();
    let other = in_front_of(&origins, balance).start();
    let first = answers(&one, 40).await;
    assert_eq!(first, answers(&one, 40).await);
    assert_eq!(first, answers(&other, 40).await);
    assert!((0..4).all(|n| first.contains(&n.to_string())), "{first}");
}

#[tokio::test]
async fn an_origin_killed_under_load_is_missed_by_nobody_and_comes_back() {
    let origins = origins(3).await;
    let edge = in_front_of(&origins, "health = { eject = \"20ms\" }").start();
    let mut load = Load::on([edge.node.listen(); CLIENTS], 0, |_| {});
    load.more(100).await;
    origins[1].stop().await;
    until_healthy(&edge, &origins[1], 0).await;
    load.more(300).await;
    origins[1].restart().await;
    until_healthy(&edge, &origins[1], 1).await;
    let before = asked(&origins);
    load.more(300).await;
    load.end().await;
    let after = asked(&origins);
    let shares: Vec<usize> = before.iter().zip(&after).map(|(b, a)| a - b).collect();
    let all: usize = shares.iter().sum();
    assert!(shares.iter().all(|share| share * 4 > all), "each takes a third again: {shares:?}");
    assert!(count(&edge, "weir_upstream_retries_total") > 0);
    assert!(metric(&edge, "weir_upstream_member_ejections_total", &origins[1]) > 0);
    assert!(metric(&edge, "weir_upstream_member_errors_total", &origins[1]) > 0);
}

/// Clients that ask at the same time.
const CLIENTS: usize = 8;

/// [`CLIENTS`] that ask one after the other, each for `requests` URLs. Counts the answers, and ends
/// with how long each took.
fn clients(
    edge: &Arc<Edge>,
    requests: usize,
    served: &Arc<AtomicUsize>,
) -> tokio::task::JoinSet<Vec<Duration>> {
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let (edge, served) = (Arc::clone(edge), Arc::clone(served));
        clients.spawn(async move {
            let mut connection = edge.connect().await;
            let mut times = Vec::new();
            for n in 0..requests {
                let begun = Instant::now();
                connection.request("GET", &format!("/{client}/{n}"), &[], "").await;
                assert_eq!(connection.answer("GET").await.status, 200);
                times.push(begun.elapsed());
                served.fetch_add(1, Ordering::Relaxed);
            }
            times
        });
    }
    clients
}

/// The slow origin answers nothing until told to. In turns all clients soon wait for it; going by
/// connections no more than their even share does, and the others are served all the while: fewer
/// than one request of a hundred is slow, so the 99th percentile is that of the quick origins.
#[tokio::test]
async fn least_connections_beats_round_robin_with_one_slow_origin() {
    const ORIGINS: usize = 3;
    /// Of each client; those who do not wait are served all of theirs.
    const REQUESTS: usize = 100;
    /// Clients for each origin, the most that wait for the slow one.
    const SHARE: usize = CLIENTS.div_ceil(ORIGINS);
    /// So many are served by the clients that do not wait.
    const SERVED: usize = (CLIENTS - SHARE) * REQUESTS;
    for (balance, all_wait) in [("round_robin", true), ("least_connections", false)] {
        let origins = origins(ORIGINS).await;
        origins[0].default_route(held("0"));
        let edge = Arc::new(in_front_of(&origins, &format!("balance = {balance:?}")).start());
        let served = Arc::new(AtomicUsize::new(0));
        let clients = clients(&edge, REQUESTS, &served);
        let (waiting, served) = (|| asked(&origins)[0], || served.load(Ordering::Relaxed));
        if all_wait {
            until("all to wait", waiting, |waiting| *waiting == CLIENTS).await;
            assert!(served() <= CLIENTS * ORIGINS, "each waits once it asked each origin");
        } else {
            until("the others to be served", served, |served| *served >= SERVED).await;
            assert!((1..=SHARE).contains(&waiting()), "{} of {SERVED} are slow", waiting());
        }
        origins[0].default_route(reply("0"));
        origins[0].release("*");
        clients.join_all().await;
    }
}

/// The same by the clock: `cargo test --release --test pools -- --ignored --nocapture p99`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement; it wants a quiet machine"]
async fn p99_with_one_slow_origin() {
    let slow = Duration::from_secs(1);
    let mut p99 = Vec::new();
    for (balance, requests) in [("round_robin", 12), ("least_connections", 500)] {
        let origins = origins(3).await;
        origins[0].default_route(reply("0").delay(slow));
        let edge = Arc::new(in_front_of(&origins, &format!("balance = {balance:?}")).start());
        let served = Arc::new(AtomicUsize::new(0));
        let mut times = clients(&edge, requests, &served).join_all().await.concat();
        times.sort_unstable();
        let (count, to_slow) = (times.len(), asked(&origins)[0]);
        p99.push(times[count * 99 / 100]);
        println!(
            "{balance}: p99 {:?}, {to_slow} of {count} to the slow origin",
            p99[p99.len() - 1]
        );
    }
    assert!(p99[1] < p99[0] / 2, "round robin {:?}, least connections {:?}", p99[0], p99[1]);
}

#[tokio::test]
async fn probes_take_an_origin_out_and_bring_it_back() {
    let origins = origins(2).await;
    for origin in &origins {
        origin.route("/healthz", reply("well"));
    }
    let health = "health = { path = \"/healthz\", interval = \"10ms\", unhealthy = 2, \
                  healthy = 3, status = 200, host = \"probe.example\" }";
    let edge = in_front_of(&origins, health).start();
    origins[1].until_requests("/healthz", 2).await;
    let probe = &origins[1].requests("/healthz")[0];
    assert_eq!(probe.header("host"), Some("probe.example"));
    origins[1].route("/healthz", reply("ill").status(503));
    until_healthy(&edge, &origins[1], 0).await;
    assert_eq!(answers(&edge, 4).await, "0000");
    origins[1].route("/healthz", reply("well"));
    until_healthy(&edge, &origins[1], 1).await;
    let both = answers(&edge, 4).await;
    assert!(both == "0101" || both == "1010", "{both}");
    let redirected = reply("").status(302).header("Location", "/other");
    origins[1].route("/healthz", redirected);
    until_healthy(&edge, &origins[1], 0).await;
    assert_eq!(origins[1].fetches("/other"), 0, "a probe follows no redirect");
    let without = in_front_of(&origins, "").config();
    edge.node.reload(without).expect("a configuration");
    until_healthy(&edge, &origins[1], 1).await;
}

#[tokio::test]
async fn with_nobody_in_health_all_are_tried() {
    let origins = origins(2).await;
    for origin in &origins {
        origin.route("/healthz", reply("ill").status(500));
    }
    let health = "health = { path = \"/healthz\", interval = \"10ms\" }";
    let edge = in_front_of(&origins, health).start();
    until_healthy(&edge, &origins[0], 0).await;
    until_healthy(&edge, &origins[1], 0).await;
    let both = answers(&edge, 4).await;
    assert!(both.contains('0') && both.contains('1'), "{both}");
}

#[tokio::test]
async fn a_gateways_error_is_asked_of_another_and_passed_on_where_there_is_none() {
    let origins = origins(2).await;
    origins[0].default_route(reply("busy").status(503));
    let edge = in_front_of(&origins, "health = { failures = 0, error_percent = 0 }").start();
    assert_eq!(answers(&edge, 4).await, "1111");
    let post = async || edge.send("POST", "/", &[], "x").await.line();
    let posts = [post().await, post().await];
    assert!(posts.contains(&"503 busy".to_owned()), "a POST is not repeated: {posts:?}");
    origins[1].default_route(reply("busy too").status(503));
    let answer = edge.get("/busy").await;
    assert!(answer.status == 503 && answer.text().starts_with("busy"), "{answer:?}");
}

#[tokio::test]
async fn a_retry_budget_stops_a_storm() {
    const REQUESTS: usize = 100;
    const PERCENT: usize = 20;
    const RETRIES: usize = REQUESTS * PERCENT / 100;
    let origins = origins(3).await;
    for origin in &origins {
        origin.default_route(reply("").reset_before_head());
    }
    let site = format!(
        "retries = {{ most = 2, percent = {PERCENT}, per_second = 0 }}\n\
         health = {{ failures = 0, error_percent = 0 }}"
    );
    let edge = in_front_of(&origins, &site).start();
    for n in 0..REQUESTS {
        assert_eq!(edge.get(&format!("/{n}")).await.status, 502);
    }
    let all = asked(&origins).iter().sum::<usize>();
    assert_eq!(all, REQUESTS + RETRIES, "a fifth more, not three times as many");
    assert_eq!(count(&edge, "weir_upstream_retries_total"), RETRIES as u64);
    let without = (REQUESTS - RETRIES) as u64;
    assert!(count(&edge, "weir_upstream_retry_budget_exhausted_total") >= without);
}

#[tokio::test]
async fn what_was_sent_is_repeated_only_where_that_is_safe() {
    let origins = origins(2).await;
    for origin in &origins {
        origin.default_route(reply("").reset_before_head());
    }
    let edge = in_front_of(&origins, "health = { failures = 0, error_percent = 0 }").start();
    for method in ["POST", "PUT", "DELETE"] {
        for origin in &origins {
            origin.reset_counters();
        }
        let answer = edge.send(method, "/", &[], "x").await;
        assert_eq!((answer.status, asked(&origins).iter().sum()), (502, 1usize), "{method}");
    }
    for method in ["GET", "HEAD", "OPTIONS"] {
        for origin in &origins {
            origin.reset_counters();
        }
        let answer = edge.ask(method, &format!("/{method}"), &[]).await;
        assert_eq!((answer.status, asked(&origins)), (502, vec![1, 1]), "{method}");
    }
}

#[tokio::test]
async fn a_post_finds_another_origin_while_nothing_was_sent() {
    let origins = origins(2).await;
    let _unreachable = out_of_reach(&origins[0]).await;
    let edge = in_front_of(&origins, "health = { failures = 0, error_percent = 0 }").start();
    for _ in 0..4 {
        assert_eq!(edge.send("POST", "/", &[], "hello").await.line(), "200 1");
    }
    let posted = origins[1].requests("*");
    assert!(posted.iter().all(|request| request.body == *b"hello"), "{posted:?}");
}

#[tokio::test]
async fn a_kept_connection_closed_in_place_of_an_answer_costs_a_get_nothing() {
    let origin = Origin::start().await;
    origin.route("/first", reply("first"));
    origin.route("/again", reply("again"));
    origin.route("/get", reply("").reset_before_head().times(1).then(reply("well")));
    origin.route("/post", reply("").reset_before_head().times(1).then(reply("twice")));
    let edge = edge().origin(&origin).start();
    // One connection is one worker, and so one kept connection to the origin.
    let mut client = edge.connect().await;
    let mut ask = async |method: &str, target: &str, body: &str| {
        client.request(method, target, &[], body).await;
        client.answer(method).await.line()
    };
    assert_eq!(ask("GET", "/first", "").await, "200 first");
    assert_eq!(ask("GET", "/get", "").await, "200 well");
    assert_eq!(origin.fetches("/get"), 2);
    assert_eq!(ask("GET", "/again", "").await, "200 again");
    assert!(ask("POST", "/post", "x").await.starts_with("502"));
    assert_eq!(origin.fetches("/post"), 1, "nobody knows whether it was acted upon");
    // The first, and the new one of the second try, which was kept.
    assert_eq!(origin.connections().accepted, 2, "the POST went on a kept connection");
}

#[tokio::test]
async fn the_second_try_of_a_get_is_on_a_new_connection_and_costs_nothing() {
    let origin = Origin::start().await;
    for name in ["/one", "/two"] {
        origin.route(name, held(name));
    }
    origin.route("/get", reply("").reset_before_head().times(1).then(reply("well")));
    origin.route("/lost", reply("").reset_before_head());
    // No retry is allowed, and the first failure would eject the origin.
    let site = "retries = { most = 0 }\nhealth = { failures = 1 }";
    let edge = edge().origin(&origin).workers(1).site(site).start();
    // Two kept connections.
    tokio::join!(edge.get("/one"), edge.get("/two"), async {
        until("two requests", || origin.connections().open, |open| *open == 2).await;
        origin.release("/one");
        origin.release("/two");
    });
    assert_eq!(edge.get("/get").await.line(), "200 well");
    assert_eq!(origin.connections().accepted, 3, "the other kept connection was not tried");
    assert_eq!(count(&edge, "weir_upstream_retries_total"), 0);
    assert_eq!(metric(&edge, "weir_upstream_member_errors_total", &origin), 0);
    // A new connection that ends without an answer is a failure.
    let answer = edge.get("/lost").await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.handled(), "fwd=uri-miss; detail=origin-reset");
    assert_eq!(metric(&edge, "weir_upstream_member_errors_total", &origin), 1);
}

#[tokio::test]
async fn the_whole_exchange_can_be_bounded() {
    let origins = origins(2).await;
    for origin in &origins {
        origin.route("/head", reply("late").held());
        origin.route("/body", reply("0123456789").held_after(5));
    }
    let edge = in_front_of(&origins, "timeouts = { total = \"1s\" }").start();
    let answer = edge.get("/head").await;
    assert_eq!(
        (answer.status, answer.handled().as_str()),
        (504, "fwd=uri-miss; detail=origin-total-timeout")
    );
    assert_eq!(edge.get("/body").await.line(), "200 01234...");
}

#[tokio::test]
async fn an_origin_that_a_reload_takes_away_finishes_its_work() {
    let origins = origins(2).await;
    origins[0].route("/a", held("a from the old one"));
    let edge = in_front_of(&origins[..1], "").start();
    let running = edge.get_many("/a", 1);
    origins[0].until_requests("/a", 1).await;
    edge.node.reload(in_front_of(&origins[1..], "").config()).expect("a configuration");
    assert_eq!(answers(&edge, 3).await, "111");
    origins[0].release("/a");
    running.all("200 a from the old one").await;
    assert_eq!(asked(&origins)[0], 1);
}

#[tokio::test]
async fn a_reload_keeps_what_is_known_of_origins_that_stay() {
    let origins = origins(2).await;
    origins[1].default_route(reply("").status(503));
    let health = "health = { failures = 1, eject = \"10m\", eject_max = \"10m\" }";
    let edge = in_front_of(&origins, health).start();
    answers(&edge, 2).await;
    until_healthy(&edge, &origins[1], 0).await;
    let requests = asked(&origins)[1];
    let mut more = origins;
    more.push(Origin::start().await);
    more[2].default_route(reply("2"));
    edge.node.reload(in_front_of(&more, health).config()).expect("a configuration");
    let after = answers(&edge, 4).await;
    assert!(after == "0202" || after == "2020", "{after}");
    assert_eq!(asked(&more)[1], requests, "it is still ejected");
}

/// A node by another name than the one in front of it, which it would take itself for.
fn named(name: &str, edge: EdgeBuilder) -> Node {
    let mut config = edge.config();
    config.node.name = name.to_owned();
    Node::start(config).expect("the node starts")
}

#[tokio::test]
async fn an_origin_can_be_asked_over_http_2() {
    // A node is an origin that speaks HTTP/2.
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    origin.route("/echo", reply("").echo());
    const LARGE: usize = 3_000_000;
    const SEED: u64 = 7;
    origin.route("/large", reply("").body_pattern(SEED, LARGE as u64));
    let parent = named("parent", edge().origin(&origin));
    let toml = format!(
        "[[site]]\nid = \"h2\"\nhost_header = \"client\"\norigins = [{{ url = \"http://{}\", \
         protocol = \"h2\" }}]",
        parent.listen()
    );
    let none = Origin::start().await;
    let child = edge().tables(&toml).origin(&none).site("hosts = [\"none.example\"]").start();
    let answer = child.get("/a").await;
    assert_eq!(answer.line(), "200 hello");
    assert_eq!(child.explain("/a").state, "fresh");
    let known = parent.explain(&format!("http://{HOST}/a"), &Default::default()).expect("a URL");
    assert_eq!(known.state, "fresh", "asked for by the client's own host");
    let echo = child.send("POST", "/echo", &[], "a body").await.text();
    assert!(echo.contains("\"body\":\"a body\"") && echo.contains(HOST), "{echo}");
    let large = child.get("/large").await;
    assert_eq!(large.body.len(), LARGE);
    assert_eq!(pattern::first_difference(SEED, 0, &large.body), None);
    assert_eq!(child.get_many("/missing", 30).answers().await.len(), 30);
}

#[tokio::test]
async fn over_http_2_a_node_that_drained_is_told_from_one_that_is_gone() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello"));
    let parents = ["one", "other"].map(|name| named(name, edge().origin(&origin)));
    let listed: Vec<String> = parents
        .iter()
        .map(|parent| format!("{{ url = \"http://{}\", protocol = \"h2\" }}", parent.listen()))
        .collect();
    let toml = format!("[[site]]\nid = \"h2\"\norigins = [{}]", listed.join(", "));
    let none = Origin::start().await;
    let child = edge().tables(&toml).origin(&none).site("hosts = [\"none.example\"]").start();
    for n in 0..4 {
        assert_eq!(child.get(&format!("/{n}")).await.line(), "200 hello");
    }
    let [one, other] = parents;
    one.drain().await;
    drop(one);
    for n in 4..20 {
        assert_eq!(child.get(&format!("/{n}")).await.line(), "200 hello");
    }
    drop(other);
    assert_eq!(child.get("/20").await.status, 502);
}
