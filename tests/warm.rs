//! Warming, with real processes: what was fetched ahead is a hit for the first who asks, and each
//! node asks the origin once.

mod program;

use program::{Ran, Spec, TextFile, Topology, Weir, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use weir_origin_sim::{Origin, reply};

/// An edge in front of `origin` that asks this parent.
fn edge_below(origin: &Origin, parent: &Weir) -> Spec {
    let parents = format!("[parents]\nurls = [\"http://{}\"]\n", parent.listen);
    Spec::edge(&origin.url()).tables(&parents)
}

/// What `weir warm --json` tells.
fn told(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{} {}", ran.out, ran.err))
}

/// What a node would do with a request for this URL.
fn state(topology: &Topology, node: &str, url: &str) -> Value {
    let answer = topology.call(&format!("GET /v1/explain?node={node}&url={url}"), "");
    answer.json()["nodes"][0]["explanation"]["state"].clone()
}

fn warmed(topology: &Topology, purge: &Value) -> Value {
    let warmed = || topology.told(&purge["id"])["warmed"].clone();
    until("what was popular is fetched", warmed, |warmed| {
        warmed.is_object()
            && warmed["asked"].as_u64()
                == Some(["done", "failed"].iter().filter_map(|n| warmed[*n].as_u64()).sum())
    })
}

fn counts(asked: u64, done: u64, failed: u64) -> Value {
    json!({"asked": asked, "done": done, "failed": failed})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_edge_has_it_before_anybody_asks_and_what_failed_is_told() {
    let origin = Origin::start().await;
    origin.route("/a", reply("a").max_age(60));
    origin.route("/b", reply("b").max_age(60));
    origin.route("/gone", reply("").status(404));
    origin.route("/own", reply("mine").header("Cache-Control", "no-store"));
    let mut topology = Topology::start("warm-edges");
    for name in ["one", "two"] {
        topology.add(name, &Spec::edge(&origin.url()));
    }
    let urls = ["a", "b", "gone", "own"].map(|path| match path {
        "b" => "https://example.com/b".to_owned(),
        path => format!("http://example.com/{path}"),
    });
    let mut command = vec!["warm", "--json"];
    command.extend(urls.iter().map(String::as_str));
    let ran = topology.run(&command);
    assert_eq!(ran.status, Some(1), "{}", ran.err);
    let all = told(&ran);
    assert_eq!([&all["asked"], &all["done"], &all["failed"]], [8, 4, 4], "{all}");
    assert_eq!(all["cache"], json!({"stored": 4}));
    let failures = all["failures"].as_array().expect("a list");
    for (url, why) in [(&urls[2], "answered with 404"), (&urls[3], "not stored: no-store")] {
        for node in ["one", "two"] {
            let is_it = |line: &&Value| line["url"] == **url && line["node"] == node;
            let line = failures.iter().find(is_it).expect("it failed there");
            assert_eq!(line["error"], why);
        }
    }
    // What warms is no traffic.
    for node in ["one", "two"] {
        let stats = || {
            let stats = topology.call("GET /v1/stats", "").json();
            let of_node = stats["by_node"].as_array().into_iter().flatten();
            of_node.filter(|of| of["name"] == node).map(|of| of["warm_ups"].clone()).next()
        };
        until("the warm-up is counted", stats, |warm_ups| *warm_ups == Some(json!(4)));
        let metrics = topology.node(node).json("GET /metrics", "").body;
        let counted = metrics.lines().filter(|line| line.starts_with("weir_requests_total{"));
        assert!(counted.into_iter().all(|line| line.ends_with(" 0")), "{metrics}");
    }
    for node in ["one", "two"] {
        assert!(topology.node(node).get("/a").head.contains("; hit"));
        // The scheme is that of the URL, though the node was asked in the clear.
        assert_eq!(state(&topology, node, "https://example.com/b"), "fresh");
        assert_eq!(state(&topology, node, "http://example.com/b"), "not-stored");
    }
    assert_eq!((origin.fetches("/a"), origin.fetches("/b")), (2, 2));
    for request in origin.requests("/b") {
        assert_eq!(request.header("X-Forwarded-Proto"), Some("https"));
        assert!(request.header("weir-warm").is_none(), "{request:?}");
    }
    let again = topology.run(&["warm", "http://example.com/a"]);
    assert_eq!(again.status, Some(0), "{}", again.err);
    assert_eq!(again.out, "warm    1 URL\ndone    2 (2 hit)\nfailed  0\n");
    assert_eq!(origin.fetches("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn parents_can_be_warmed_alone() {
    let origin = Origin::start().await;
    origin.route("/a", reply("a").max_age(60));
    let mut topology = Topology::start("warm-parents");
    topology.add("parent", &Spec::parent(&origin.url()));
    for name in ["one", "two"] {
        let edge = edge_below(&origin, topology.node("parent"));
        topology.add(name, &edge);
    }
    let url = "https://example.com/a";
    let ran = topology.run(&["warm", "--tier", "parent", "--json", url]);
    let all = told(&ran);
    assert_eq!((ran.status, &all["asked"], &all["done"]), (Some(0), &json!(1), &json!(1)), "{all}");
    assert_eq!(state(&topology, "parent", url), "fresh");
    for node in ["one", "two"] {
        assert_eq!(state(&topology, node, url), "not-stored");
    }
    let ran = topology.run(&["warm", "--json", url]);
    assert_eq!(told(&ran)["done"], 2, "{}", ran.out);
    assert_eq!(origin.fetches("/a"), 1);

    topology.add("alone", &Spec::edge(&origin.url()).region("elsewhere"));
    let ran = topology.run(&["warm", "--tier", "parent", "--json", url]);
    let all = told(&ran);
    assert_eq!((ran.status, &all["done"], &all["failed"]), (Some(1), &json!(1), &json!(1)));
    let failure =
        json!({"node": "alone", "url": url, "error": "this node has no parents", "ms": 0.0});
    assert_eq!(all["failures"], json!([failure]));
}

#[tokio::test(flavor = "multi_thread")]
async fn sitemaps_and_files_name_urls_and_the_rate_is_kept() {
    let origin = Origin::start().await;
    let page = |n: u32| format!("<url><loc>http://example.com/page/{n}</loc></url>");
    let pages: String = (0..20).map(page).collect();
    let index = "<sitemapindex><sitemap><loc>/pages.xml</loc></sitemap></sitemapindex>";
    origin.route("/index.xml", reply(index));
    origin.route("/pages.xml", reply(format!("<urlset>{pages}</urlset>")));
    origin.route("/page/*", reply("page").max_age(60));
    let list = TextFile::new("warm-list", "# more\nhttp://example.com/page/20\n");
    let weir = Weir::in_front_of(&origin.url());
    weir.until_ready();
    let sitemap = format!("{}/index.xml", origin.url());
    let begun = Instant::now();
    let rate = ["--rate", "40/s", "--json"];
    let ran =
        weir.run(&[&["warm", "--sitemap", &sitemap, "--file", list.path()], &rate[..]].concat());
    assert_eq!(ran.status, Some(0), "{}", ran.err);
    assert_eq!(told(&ran)["cache"], json!({"stored": 21}));
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(origin.fetches("/page/*"), 21);
    assert!(weir.get("/page/20").head.contains("; hit"));

    let ran = weir.run(&["warm", "--sitemap", &format!("{}/none.xml", origin.url())]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.err.contains("/none.xml: answered with 404"), "{}", ran.err);
    let call = weir.json("POST /v1/warm", r#"{"urls": ["http://example.com/page/1"], "rate": 0}"#);
    assert_eq!((call.status, &call.json()["error"]["field"]), (400, &json!("rate")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_node_there_is_nobody_to_warm() {
    let topology = Topology::start("warm-nobody");
    let ran = topology.run(&["warm", "http://example.com/"]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.err.contains("no edge is connected"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_purge_took_is_fetched_where_it_was_popular() {
    let origin = Origin::start().await;
    origin.route("/p/*", reply("p").max_age(60));
    let mut topology = Topology::start("warm-purge");
    for name in ["one", "two"] {
        topology.add(name, &Spec::edge(&origin.url()));
    }
    for _ in 0..4 {
        topology.node("one").get("/p/popular");
    }
    for name in ["one", "two"] {
        topology.node(name).get("/p/once");
    }
    let fetches = |path: &str| origin.fetches(path);
    assert_eq!((fetches("/p/popular"), fetches("/p/once")), (1, 2));
    let body = json!({"prefixes": ["/p"], "warm": true, "reference": "again", "wait_ms": 10_000});
    let purge = topology.purge(&body).json();
    assert_eq!(purge["status"], "completed", "{purge}");
    assert_eq!(warmed(&topology, &purge), counts(1, 1, 0));
    assert_eq!((fetches("/p/popular"), fetches("/p/once")), (2, 2));
    assert!(topology.node("one").get("/p/popular").head.contains("; hit"));
    // One purge by its reference, fetched once.
    assert_eq!(topology.purge(&body).json()["id"], purge["id"]);
    let plain = json!({"prefixes": ["/p"], "wait_ms": 10_000});
    assert_eq!(topology.purge(&plain).json()["warmed"], Value::Null);
    let empty = topology.purge(&json!({"paths": ["/none"], "warm": true})).json();
    assert_eq!(warmed(&topology, &empty), counts(0, 0, 0));
    assert_eq!((fetches("/p/popular"), fetches("/p/once")), (2, 2));
}

/// What is stored under a rewritten path is fetched again only where a request for that path would be stored there.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_again_is_not_rewritten_again() {
    let origin = Origin::start().await;
    origin.default_route(reply("p").max_age(60));
    let rules = "[[site.rule]]\nname = \"in\"\nmatch = { path = [\"/p/*\"] }\nrewrite = { to = \"/p/in/{1}\" }\n\
                 [[site.rule]]\nname = \"to\"\nmatch = { path = [\"/old/*\"] }\nrewrite = { to = \"/new/{1}\" }\n";
    let mut topology = Topology::start("warm-rewritten");
    topology.add("one", &Spec::edge(&origin.url()).site(rules));
    for path in ["/p/a", "/old/a"] {
        for _ in 0..3 {
            topology.node("one").get(path);
        }
    }
    let purge = topology.purge(&json!({"paths": ["/p/a", "/old/a"], "warm": true})).json();
    assert_eq!(warmed(&topology, &purge), counts(1, 1, 0));
    let fetches = ["/new/a", "/p/in/a", "/p/in/in/a"].map(|path| origin.fetches(path));
    assert_eq!(fetches, [2, 1, 0]);
    assert!(topology.node("one").get("/old/a").head.contains("; hit"));
    // A warm-up names URLs as clients do.
    let ran = topology.run(&["warm", "--json", "http://example.com/p/a"]);
    assert_eq!(told(&ran)["done"], 1, "{}", ran.out);
    assert!(topology.node("one").get("/p/a").head.contains("; hit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn below_a_parent_what_was_popular_is_fetched_from_the_origin_once() {
    let origin = Origin::start().await;
    origin.route("/a", reply("a").max_age(60));
    let mut topology = Topology::start("warm-purge-parent");
    topology.add("parent", &Spec::parent(&origin.url()));
    for name in ["one", "two", "three"] {
        let edge = edge_below(&origin, topology.node("parent"));
        topology.add(name, &edge);
        for _ in 0..3 {
            assert_eq!(topology.node(name).get("/a").body, "a");
        }
    }
    assert_eq!(origin.fetches("/a"), 1);
    let purge = topology.purge(&json!({"paths": ["/a"], "warm": true})).json();
    assert_eq!(warmed(&topology, &purge), counts(3, 3, 0));
    for name in ["one", "two", "three"] {
        assert!(topology.node(name).get("/a").head.contains(&format!("{name}; hit")));
    }
    assert_eq!(origin.fetches("/a"), 2);
}

/// Visitors get 503 meanwhile; what the operator fetches ahead, health and purges go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_site_in_maintenance_can_be_warmed_before_it_opens() {
    let origin = Origin::start().await;
    origin.route("/a", reply("a").max_age(60));
    let mut topology = Topology::start("warm-maintenance");
    let edge = || Spec::edge(&origin.url());
    let down = "[[site.rule]]\nname = \"down\"\nmaintenance = true\n";
    topology.add("one", &edge().site(down));
    let visit = || topology.node("one").ask("GET /a", &[("Host", "example.com")]);
    assert_eq!(visit().status, 503);
    assert_eq!(topology.node("one").get("/healthz").status, 503, "a visitor's path");
    assert_eq!(topology.call("GET /healthz", "").status, 200);
    let ran = topology.run(&["warm", "http://example.com/a"]);
    assert_eq!(ran.status, Some(0), "{} {}", ran.out, ran.err);
    let purge = topology.run(&["purge", "/other"]);
    assert_eq!(purge.status, Some(0), "{} {}", purge.out, purge.err);
    assert_eq!((visit().status, origin.fetches("/a")), (503, 1));
    topology.reconfigure("one", &edge());
    topology.node("one").signal(rustix::process::Signal::HUP);
    until("it opens", visit, |answer| answer.status == 200);
    assert_eq!(origin.fetches("/a"), 1, "it was stored");
}

/// Rules of access, rates and redirects are for clients. What is fetched ahead is for those that they let through.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_ahead_is_neither_refused_nor_redirected() {
    let origin = Origin::start().await;
    origin.default_route(reply("page").max_age(60));
    let mut topology = Topology::start("warm-access");
    let rule = |name: &str, setting: &str| {
        format!("[[site.rule]]\nname = {name:?}\nmatch = {{ path = [\"/{name}/*\"] }}\n{setting}\n")
    };
    let rules = rule("office", "allow = [\"192.0.2.0/24\"]")
        + &rule("moved", "redirect = { to = \"/elsewhere\" }")
        + &rule("calm", "rate = { requests = 1, per = \"1h\", burst = 1 }");
    topology.add("one", &Spec::edge(&origin.url()).site(&rules));
    let urls = ["/office/a", "/moved/a", "/calm/a", "/calm/b", "/calm/c"];
    let urls = urls.map(|path| format!("http://example.com{path}"));
    let mut command = vec!["warm"];
    command.extend(urls.iter().map(String::as_str));
    let ran = topology.run(&command);
    assert_eq!(ran.status, Some(0), "{} {}", ran.out, ran.err);
    for url in &urls {
        assert_eq!(state(&topology, "one", url), "fresh", "{url}");
    }
    let visit = |path: &str| {
        topology.node("one").ask(&format!("GET {path}"), &[("Host", "example.com")]).status
    };
    let visits = ["/office/a", "/moved/a", "/calm/a", "/calm/a"].map(visit);
    assert_eq!(visits, [403, 301, 200, 429], "clients are judged, and nothing was counted before");
    assert_eq!(origin.fetches("*"), 5);
}
