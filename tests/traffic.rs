//! What control tells of traffic: rates, their course, what is popular, what is not stored.

mod program;

use program::{Spec, TextFile, Topology, Weir, until};
use serde_json::{Value, json};
use weir_origin_sim::{Origin, reply};

/// Nothing listens there.
const NO_ORIGIN: &str = "http://127.0.0.1:9";

/// The members of a list that have this `name`.
fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let list = list.as_array().expect("a list");
    list.iter().find(|member| member["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

fn stats(topology: &Topology) -> Value {
    topology.call("GET /v1/stats", "").json()
}

fn popular(topology: &Topology, query: &str) -> Value {
    topology.call(&format!("GET /v1/popular{query}"), "").json()
}

#[tokio::test(flavor = "multi_thread")]
async fn known_requests_are_counted_exactly_and_by_result() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(600));
    origin.route("/no", reply("each").header("Cache-Control", "no-store"));
    let mut topology = Topology::start("traffic-counted");
    for name in ["one", "two"] {
        topology.add(name, &Spec::edge(&origin.url()));
    }
    // Before the first word of both there is nothing to tell apart.
    let both = |stats: &Value| {
        let rate = |name| &named(&stats["by_node"], name)["requests_per_second"];
        ["one", "two"].into_iter().all(|name| rate(name).is_number())
    };
    until("both tell", || stats(&topology), both);
    for _ in 0..8 {
        assert_eq!(topology.node("one").get("/a").status, 200);
    }
    assert_eq!(topology.node("two").get("/a").status, 200);
    assert_eq!(topology.node("two").get("/no").status, 200);
    let stats = until(
        "all is told",
        || stats(&topology),
        |stats| stats["requests"] == 10 && stats["stored"] == 2,
    );
    assert_eq!((&stats["hits"], &stats["stored"]), (&json!(7), &json!(2)));
    assert_eq!((&stats["window_seconds"], &stats["sites"]), (&json!(10), &json!(0)));
    let (one, two) = (named(&stats["by_node"], "one"), named(&stats["by_node"], "two"));
    assert_eq!((&one["hit_ratio"], &two["hit_ratio"]), (&json!(0.875), &json!(0.0)));
    let rate = |of: &Value, what: &str| of[what].as_f64().unwrap_or_else(|| panic!("no {what}"));
    for node in [one, two] {
        assert!(rate(node, "requests_per_second") > 0.0 && rate(node, "bytes_per_second") > 0.0);
        assert!(rate(node, "p50_ms") > 0.0 && rate(node, "p50_ms") <= rate(node, "p99_ms"));
        assert_eq!((&node["state"], &node["tier"]), (&json!("connected"), &json!("edge")));
        assert!(node["capacity_bytes"].as_u64() > node["stored_bytes"].as_u64(), "{node}");
    }
    let results = |node: &Value| -> Vec<String> {
        node["results"].as_object().expect("an object").keys().cloned().collect()
    };
    assert_eq!(
        (results(one), results(two)),
        (vec!["hit".to_owned(), "uri-miss".to_owned()], vec!["uri-miss".to_owned()],)
    );
    // What the nodes do together is the sum of what each does.
    let (all, edges) = (&stats["traffic"], &stats["tiers"][0]);
    assert_eq!(
        (&edges["tier"], &edges["nodes"], &stats["tiers"][1]),
        (&json!("edge"), &json!(2), &Value::Null,)
    );
    for what in ["requests_per_second", "upstream_per_second", "hits_per_second"] {
        let sum = rate(one, what) + rate(two, what);
        assert!((rate(all, what) - sum).abs() < 0.01, "{what}: {all} {sum}");
        assert_eq!(all[what], edges[what]);
    }
    assert_eq!(rate(all, "errors_per_second"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_has_no_rates_and_one_that_is_back_counts_anew() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(600));
    let mut topology = Topology::start("traffic-away");
    topology.add("one", &Spec::edge(&origin.url()));
    for _ in 0..5 {
        assert_eq!(topology.node("one").get("/a").status, 200);
    }
    until("all is told", || stats(&topology), |stats| stats["requests"] == 5);
    until("its rates", || stats(&topology), |stats| stats["by_node"][0]["hit_ratio"] == 0.8);
    topology.kill_node("one");
    topology.until_state("one", "offline");
    let away = stats(&topology);
    let node = &away["by_node"][0];
    assert_eq!((&node["requests_per_second"], &node["results"]), (&Value::Null, &Value::Null));
    assert_eq!((&node["state"], &node["evictions"]), (&json!("offline"), &json!(0)));
    assert_eq!(away["traffic"]["requests_per_second"], 0.0);
    assert_eq!((&away["tiers"][0]["nodes"], &away["tiers"][0]["stored"]), (&json!(1), &json!(0)));
    topology.start_node("one");
    assert_eq!(topology.node("one").get("/a").status, 200);
    let back = until("it reports again", || stats(&topology), |stats| stats["requests"] == 1);
    let (node, rate) = (&back["by_node"][0], "requests_per_second");
    assert!(node[rate].as_f64().is_some_and(|rate| rate > 0.0), "{node}");
    assert!(node["uptime_seconds"].as_u64().is_some_and(|uptime| uptime < 60), "{node}");
    // The course of it: only what was told.
    let points = || {
        let points = topology.call("GET /v1/traffic?node=one", "").json();
        assert_eq!(points["step_seconds"], 2);
        points["points"].as_array().expect("a list").clone()
    };
    until("points", points, |points| {
        points.iter().any(|point| point["requests_per_second"].as_f64() > Some(0.0))
    });
    let edges = topology.call("GET /v1/traffic", "").json();
    assert!(edges["points"][0]["at"].is_string(), "{edges}");
    let parents = topology.call("GET /v1/traffic?tier=parent", "").json();
    assert_eq!(parents["points"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn popular_is_what_all_edges_answered_most() {
    let origin = Origin::start().await;
    for path in ["/a", "/b"] {
        let tagged = reply("hello").max_age(600).header("Surrogate-Key", "news");
        origin.route(path, tagged);
    }
    let mut topology = Topology::start("traffic-popular");
    for name in ["one", "two"] {
        topology.add(name, &Spec::edge(&origin.url()));
    }
    // One fetch of each on each, then hits.
    for (name, path, hits) in [("one", "/a", 3), ("two", "/a", 1), ("two", "/b", 2)] {
        for _ in 0..=hits {
            assert_eq!(topology.node(name).get(path).status, 200);
        }
    }
    let told = popular(&topology, "");
    let shown = |told: &Value| -> Vec<(String, u64)> {
        let objects = told["objects"].as_array().expect("a list");
        let shown = objects.iter().map(|object| {
            let url = object["url"].as_str().expect("a URL");
            (url.to_owned(), object["hits"].as_u64().expect("a count"))
        });
        shown.collect()
    };
    let (a, b) = ("http://example.com/a".to_owned(), "http://example.com/b".to_owned());
    assert_eq!(shown(&told), [(a.clone(), 4), (b.clone(), 2)]);
    let first = &told["objects"][0];
    assert_eq!((&first["nodes"], &first["site"]), (&json!(["one", "two"]), &json!("site")));
    assert_eq!(
        (&first["bytes"], &first["status"], &first["tags"]),
        (&json!(5), &json!(200), &json!(["news"]),)
    );
    let ttl = first["ttl_seconds"].as_i64().expect("a number");
    assert!((1..=600).contains(&ttl) && first["variants"] == 1, "{first}");
    assert_eq!(shown(&popular(&topology, "?limit=1")), [(a.clone(), 4)]);
    assert_eq!(shown(&popular(&topology, "?node=one")), [(a, 3)]);
    // What is purged is not told any more, once nodes look again; a node that is gone is named.
    topology.purge(&json!({"paths": ["/a"], "wait_ms": 10_000}));
    let left = [(b.clone(), 2)];
    until("the purged is gone", || shown(&popular(&topology, "")), |shown| *shown == left);
    topology.kill_node("one");
    topology.until_state("one", "offline");
    let told = popular(&topology, "");
    assert!(named(&told["nodes"], "one")["error"].is_string(), "{told}");
    assert_eq!((&named(&told["nodes"], "two")["error"], shown(&told).len()), (&Value::Null, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_searched_by_url_and_tag_and_sorted_at_every_edge() {
    let origin = Origin::start().await;
    let at = |path: &str, length: usize, max_age: u64, tag: &str| {
        let tagged = reply("x".repeat(length)).max_age(max_age).header("Surrogate-Key", tag);
        origin.route(path, tagged);
    };
    at("/blog/1", 30, 900, "news");
    at("/blog/2", 10, 300, "sport");
    at("/shop/1", 20, 600, "news");
    let mut topology = Topology::start("traffic-search");
    for name in ["one", "two"] {
        topology.add(name, &Spec::edge(&origin.url()));
    }
    for (name, path, hits) in [("one", "/blog/1", 1), ("one", "/blog/2", 3), ("two", "/shop/1", 2)]
    {
        for _ in 0..=hits {
            assert_eq!(topology.node(name).get(path).status, 200);
        }
    }
    let urls = |query: &str| -> Vec<String> {
        let told = popular(&topology, query);
        let objects = told["objects"].as_array().expect("a list").iter();
        let path = |url: &str| url.trim_start_matches("http://example.com").to_owned();
        objects.map(|object| path(object["url"].as_str().expect("a URL"))).collect()
    };
    let order = |query: &str, paths: [&str; 3]| assert_eq!(urls(query), paths, "{query}");
    order("", ["/blog/2", "/shop/1", "/blog/1"]);
    order("?sort=size", ["/blog/1", "/shop/1", "/blog/2"]);
    order("?sort=expiry", ["/blog/2", "/shop/1", "/blog/1"]);
    order("?sort=url", ["/blog/1", "/blog/2", "/shop/1"]);
    assert_eq!(urls("?search=BLOG"), ["/blog/2", "/blog/1"]);
    assert_eq!(urls("?search=news&sort=url"), ["/blog/1", "/shop/1"]);
    assert_eq!(urls("?search=news+blog"), ["/blog/1"]);
    assert_eq!(urls("?search=nothing"), [""; 0]);
    assert_eq!(urls("?search=blog&sort=size&limit=1"), ["/blog/1"]);
    let refused = |query: &str| topology.call(&format!("GET /v1/popular{query}"), "");
    for (query, part) in [
        ("?sort=largest", "accepted: hits, size, expiry, newest, url"),
        (&format!("?search={}", "a".repeat(201)), "accepted: at most 200 bytes"),
    ] {
        let answer = refused(query);
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains(part), "{}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uncached_says_why() {
    let origin = Origin::start().await;
    origin.route("/mine", reply("each").header("Cache-Control", "private"));
    origin.route("/now", reply("each").header("Cache-Control", "no-store"));
    origin.route("/a", reply("hello").max_age(600));
    let mut topology = Topology::start("traffic-uncached");
    topology.add("one", &Spec::edge(&origin.url()));
    topology.add("parent", &Spec::parent(&origin.url()));
    for path in ["/mine", "/now", "/now", "/a", "/mine"] {
        assert_eq!(topology.node("one").get(path).status, 200);
    }
    let told = topology.call("GET /v1/uncached", "").json();
    let counted = |told: &Value| -> Vec<(String, u64)> {
        let reasons = told["reasons"].as_array().expect("a list").iter();
        let told = reasons.map(|reason| {
            let word = reason["reason"].as_str().expect("a word");
            (word.to_owned(), reason["count"].as_u64().expect("a count"))
        });
        told.collect()
    };
    assert_eq!(counted(&told), [("no-store".to_owned(), 2), ("private".to_owned(), 2)]);
    assert_eq!(told["reasons"][0]["sentence"], "Cache-Control says no-store.");
    let remedy = told["reasons"][0]["remedy"].as_str().expect("what to do");
    assert!(remedy.contains("CDN-Cache-Control"), "{remedy}");
    let urls = told["urls"].as_array().expect("a list");
    assert_eq!(urls.len(), 2, "what is stored is not among them: {told}");
    let mine = urls.iter().find(|url| url["url"] == "http://example.com/mine").expect("/mine");
    assert_eq!(
        (&mine["reason"], &mine["status"], &mine["nodes"]),
        (&json!("private"), &json!(200), &json!(["one"]),)
    );
    assert!(mine["seconds_ago"].as_u64().is_some_and(|ago| ago < 60), "{mine}");
    let nodes = told["nodes"].as_array().expect("a list");
    assert_eq!((nodes.len(), &nodes[0]["name"]), (1, &json!("one")), "edges alone");
    let parent = topology.call("GET /v1/uncached?node=parent", "").json();
    assert_eq!((&parent["reasons"], &parent["urls"]), (&json!([]), &json!([])));
    let one = topology.call("GET /v1/uncached?limit=1", "").json();
    assert_eq!((one["urls"].as_array().map(Vec::len), counted(&one).len()), (Some(1), 2));
    // The same words as explain.
    let line = "GET /v1/explain?url=http://example.com/mine&node=one";
    let explained = topology.call(line, "").json();
    let not_stored = &explained["nodes"][0]["explanation"]["not_stored"];
    assert_eq!(
        (&not_stored["word"], not_stored["remedy"].as_str()),
        (&json!("private"), Some(remedy))
    );
    let found = topology.call("GET /v1/uncached?search=MINE", "").json();
    assert_eq!(found["urls"].as_array().map(Vec::len), Some(1), "{found}");
    assert_eq!((&found["urls"][0]["url"], counted(&found).len()), (&mine["url"], 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_one_site_sees_nothing_of_another() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(600));
    origin.route("/no", reply("each").header("Cache-Control", "no-store"));
    origin.route("/mine", reply("each").header("Cache-Control", "private"));
    let url = origin.url();
    let config = TextFile::new(
        "traffic-sites.toml",
        &format!(
            "[[site]]\nid = \"shop\"\nhosts = [\"shop.example\"]\norigins = [\"{url}\"]\n\
             [[site]]\nid = \"blog\"\norigins = [\"{url}\"]\n\
             [[token]]\nname = \"all\"\nsecret = \"aaaaaaaaaaaaaaaa\"\nscopes = [\"read\"]\n\
             [[token]]\nname = \"shop\"\nsecret = \"bbbbbbbbbbbbbbbb\"\nscopes = [\"read\"]\n\
             sites = [\"shop\"]\n"
        ),
    );
    let weir = Weir::serve(&["--config", config.path()]);
    for (host, path) in [
        ("shop.example", "/a"),
        ("shop.example", "/no"),
        ("blog.example", "/a"),
        ("blog.example", "/mine"),
    ] {
        assert_eq!(weir.ask(&format!("GET {path}"), &[("Host", host)]).status, 200);
    }
    let call = |line: &str, secret: &str| {
        let bearer = format!("Bearer {secret}");
        weir.call(line, &[("Host", "control"), ("Authorization", &bearer)], "").json()
    };
    let (all, shop) = ("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb");
    let of = |told: &Value, list: &str, what: &str| -> Vec<String> {
        let list = told[list].as_array().expect("a list").iter();
        let mut shown: Vec<_> =
            list.map(|member| member[what].as_str().expect("a text").to_owned()).collect();
        shown.sort();
        shown
    };
    let popular = |secret| of(&call("GET /v1/popular", secret), "objects", "url");
    assert_eq!(popular(all), ["http://blog.example/a", "http://shop.example/a"]);
    assert_eq!(popular(shop), ["http://shop.example/a"]);
    let uncached = |secret, list, what| of(&call("GET /v1/uncached", secret), list, what);
    assert_eq!(
        uncached(all, "urls", "url"),
        ["http://blog.example/mine", "http://shop.example/no"]
    );
    assert_eq!(uncached(shop, "urls", "url"), ["http://shop.example/no"]);
    assert_eq!(uncached(all, "reasons", "reason"), ["no-store", "private"]);
    assert_eq!(uncached(shop, "reasons", "reason"), ["no-store"]);
    let sites = |secret| call("GET /v1/stats", secret)["site_ids"].clone();
    assert_eq!((sites(all), sites(shop)), (json!(["shop", "blog"]), json!(["shop"])));
    let bearer = format!("Bearer {all}");
    let fields = [("Host", "control"), ("Authorization", bearer.as_str())];
    let metrics = weir.call("GET /metrics", &fields, "").body;
    for line in [
        "weir_not_stored_total{reason=\"no-store\"} 1",
        "weir_not_stored_total{reason=\"private\"} 1",
        "weir_not_stored_total{reason=\"set-cookie\"} 0",
    ] {
        assert!(metrics.lines().any(|exposed| exposed == line), "{line}\n{metrics}");
    }
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    let weir = Weir::in_front_of(NO_ORIGIN);
    for (line, status, field) in [
        ("GET /v1/popular?limit=0", 400, json!("limit")),
        ("GET /v1/popular?limit=101", 400, json!("limit")),
        ("GET /v1/popular?nod=a", 400, json!("nod")),
        ("GET /v1/popular?node=nobody", 404, Value::Null),
        ("GET /v1/uncached?limit=x", 400, json!("limit")),
        ("GET /v1/uncached?node=nobody", 404, Value::Null),
        ("GET /v1/traffic?tier=origin", 400, json!("tier")),
        ("GET /v1/traffic?tier=edge&node=weir", 400, json!("tier")),
        ("GET /v1/traffic?node=nobody", 404, Value::Null),
        ("GET /v1/traffic?site=nosuchsite", 404, json!("site")),
        ("GET /v1/traffic?from=yesterday", 400, json!("from")),
        ("GET /v1/traffic?from=4000000000", 400, json!("from")),
        ("GET /v1/traffic?to=2026-02-29T00:00:00Z", 400, json!("to")),
        ("GET /v1/traffic?step=90", 400, json!("step")),
        ("GET /v1/traffic?from=-86400&step=1", 400, json!("step")),
        ("GET /v1/traffic?by=region", 400, json!("by")),
        ("GET /v1/traffic?format=xml", 400, json!("format")),
        ("GET /v1/origins?node=nobody", 404, Value::Null),
        ("GET /v1/origins?limit=1", 400, json!("limit")),
    ] {
        let answer = weir.json(line, "");
        assert_eq!(answer.status, status, "{line}: {}", answer.body);
        assert_eq!(answer.json()["error"]["field"], field, "{line}");
    }
}

/// What control tells of the last two hours.
fn over_time(topology: &Topology, query: &str) -> Value {
    topology.call(&format!("GET /v1/traffic?from=-7200&step=3600{query}"), "").json()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nodes_count_is_kept_over_restarts_of_nodes_and_of_control() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(600));
    let mut topology = Topology::start("traffic-history");
    topology.add("one", &Spec::edge(&origin.url()));
    for _ in 0..5 {
        assert_eq!(topology.node("one").get("/a").status, 200);
    }
    assert_eq!(topology.node("one").get("/gone").status, 404);
    let until_requests = |topology: &Topology, requests: u64| {
        let asked = || over_time(topology, "&by=site");
        until("all is counted", asked, |told| told["totals"]["requests"] == requests)
    };
    let told = until_requests(&topology, 6);
    let totals = &told["totals"];
    let counted = |name: &str| totals[name].as_u64().unwrap_or_else(|| panic!("no {name}: {told}"));
    assert_eq!((counted("hits"), counted("origin_requests")), (4, 2));
    assert_eq!(counted("bytes_saved"), 20, "four times hello");
    assert!(counted("bytes") >= 25);
    assert_eq!(totals["status"], json!({"1xx": 0, "2xx": 5, "3xx": 0, "4xx": 1, "5xx": 0}));
    assert!(totals["p50_ms"].is_number(), "{told}");
    let groups = told["groups"].as_array().expect("a list");
    let of_site = groups.iter().find(|group| group["site"] == "site").expect("the site");
    assert_eq!(of_site["requests"], 6, "{told}");
    // Control crashes: the node tells again what was not written.
    topology.kill_control();
    topology.start_control();
    topology.until_joined("one");
    until_requests(&topology, 6);
    // The node crashes, and counts from nothing.
    topology.kill_node("one");
    topology.start_node("one");
    assert_eq!(topology.node("one").get("/a").status, 200);
    until_requests(&topology, 7);
    // Control stops in good order, and the node is gone when it is back.
    topology.weir().signal(rustix::process::Signal::TERM);
    topology.weir().rest_of_log();
    topology.kill_node("one");
    topology.kill_control();
    topology.start_control();
    let told = until_requests(&topology, 7);
    assert_eq!(told["points"].as_array().map(|points| points.is_empty()), Some(false));
    let forgotten = topology.call("DELETE /v1/nodes/one", "");
    assert_eq!(forgotten.status, 200, "{}", forgotten.body);
    assert_eq!(over_time(&topology, "&node=one")["totals"]["requests"], 7);
    let csv = topology.call("GET /v1/traffic?from=-7200&step=3600&by=node&format=csv", "");
    assert!(csv.head.contains("content-type: text/csv"), "{}", csv.head);
    let lines: Vec<_> = csv.body.lines().collect();
    assert!(lines[0].starts_with("node,tier,requests,hits,"), "{}", csv.body);
    assert!(lines[1].starts_with("one,edge,7,4,"), "{}", csv.body);
    // A file that is damaged is set aside, and that is said.
    topology.kill_control();
    let file = std::path::Path::new(topology.data()).join("history");
    let mut bytes = std::fs::read(&file).expect("the history");
    *bytes.last_mut().expect("bytes") ^= 1;
    std::fs::write(&file, &bytes).expect("written");
    topology.start_control();
    assert_eq!(over_time(&topology, "")["totals"]["requests"], 0);
    let aside = std::fs::read(file.with_extension("set-aside")).expect("it is kept");
    assert_eq!(aside, bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn origins_are_told_with_their_state_and_what_probes_found() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(600));
    let mut topology = Topology::start("traffic-origins");
    let one = Spec::edge(&origin.url()).site(&format!(
        "[[site.origin]]\nname = \"other\"\nurls = [{{ url = {NO_ORIGIN:?}, weight = 7 }}]\n\
         health = {{ path = \"/alive\", interval = \"1s\", timeout = \"1s\", unhealthy = 1 }}\n"
    ));
    topology.add("one", &one);
    assert_eq!(topology.node("one").get("/a").status, 200);
    let asked = || topology.call("GET /v1/origins", "").json();
    let told = until("the probe failed", asked, |told| {
        told["origins"].as_array().is_some_and(|all| all.iter().any(|one| one["state"] == "out"))
    });
    let of = |pool: &str| {
        let all = told["origins"].as_array().expect("a list").iter();
        all.clone().find(|one| one["pool"] == pool).unwrap_or_else(|| panic!("no {pool}: {told}"))
    };
    let (main, other) = (of("site"), of("site/other"));
    assert_eq!(
        (&main["state"], &main["requests"], &main["errors"]),
        (&json!("healthy"), &json!(1), &json!(0))
    );
    assert!(main["first_byte_ms"].as_f64() > Some(0.0), "{told}");
    assert_eq!((&main["probe"], &main["site"]), (&Value::Null, &json!("site")));
    assert_eq!((&other["weight"], &other["url"]), (&json!(7), &json!(NO_ORIGIN)));
    assert_eq!(other["first_byte_ms"], Value::Null);
    let probe = &other["probe"];
    assert!(probe["bad"].as_u64() >= Some(1) && probe["error"].is_string(), "{told}");
    assert_eq!(other["nodes"], json!([{"name": "one", "state": "out"}]));
}
