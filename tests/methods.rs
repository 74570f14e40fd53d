//! What methods other than GET and HEAD do (RFC 9110 §9, RFC 9111 §4.4).

mod support;
use support::*;

async fn is_stored(edge: &Edge, target: &str) -> bool {
    edge.explain(target).state == "fresh"
}

#[tokio::test]
async fn unsafe_methods_pass_and_invalidate_their_target() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    for (method, status, invalidates) in [
        ("POST", 200, true),
        ("PUT", 204, true),
        ("DELETE", 200, true),
        ("PATCH", 303, true),
        ("QUUX", 200, true),
        ("POST", 404, false),
        ("POST", 500, false),
        ("OPTIONS", 200, false),
    ] {
        let target = format!("/{method}-{status}");
        origin.route(&target, reply("page").max_age(60).then(reply("").status(status)));
        edge.get(&target).await;
        let answer = edge.ask(method, &target, &[]).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.handled(), format!("fwd=method; fwd-status={status}"));
        assert_eq!(origin.requests(&target)[1].method, method);
        assert_eq!(!is_stored(&edge, &target).await, invalidates, "{method} {status}");
    }
}

#[tokio::test]
async fn location_and_content_location_of_the_same_host_are_invalidated_too() {
    let origin = Origin::start().await;
    origin.route("/page*", reply("page").max_age(60));
    let edge = edge().origin(&origin).start();
    for (field, value, invalidates) in [
        ("Location", "/page1".to_owned(), true),
        ("Content-Location", "/page2?x=1".to_owned(), true),
        ("Location", format!("http://{HOST}/page3"), true),
        ("Location", "page4".to_owned(), true),
        ("Location", "http://other.example/page5".to_owned(), false),
    ] {
        let at = value.rfind("page").expect("a page");
        let target = format!("/{}", &value[at..]);
        edge.get(&target).await;
        origin.route("/form", reply("").status(201).header(field, value.clone()));
        edge.send("POST", "/form", &[], "body").await;
        assert_eq!(!is_stored(&edge, &target).await, invalidates, "{field}: {value}");
    }
}

#[tokio::test]
async fn every_key_of_a_url_is_invalidated() {
    let origin = Origin::start().await;
    origin.route("/a*", reply("page").max_age(60));
    let key = "key = { cookies = [\"currency\"], headers = [\"X-Region\"] }";
    let edge = node("name = \"edge\"\ntrusted_proxies = [\"127.0.0.1/32\"]")
        .origin(&origin)
        .site(key)
        .start();
    let requests: [(&str, &[(&str, &str)]); 6] = [
        ("/at?b=c", &[]),
        ("/at?b=c", &[("Cookie", "currency=EUR")]),
        ("/at?b=c", &[("Cookie", "currency=USD"), ("X-Region", "eu")]),
        ("/at?b=c", &[("X-Forwarded-Proto", "https")]),
        ("/a%74?b=c", &[("Cookie", "currency=EUR")]),
        ("/a%74?%62=c", &[]),
    ];
    let others: [(&str, &[(&str, &str)]); 3] = [
        ("/at", &[]),
        ("/at?b=d", &[("Cookie", "currency=EUR")]),
        ("/at?b=c", &[("Host", "example.com:8080"), ("Cookie", "currency=EUR")]),
    ];
    for changed in requests {
        for (target, fields) in requests.iter().chain(&others) {
            edge.get_with(target, fields).await;
            assert_eq!(edge.get_with(target, fields).await.handled(), "hit", "{target} {fields:?}");
        }
        edge.send("POST", changed.0, changed.1, "change").await;
        for (target, fields) in requests {
            let answer = edge.get_with(target, fields).await;
            let expected = "fwd=uri-miss; fwd-status=200; stored";
            assert_eq!(answer.handled(), expected, "{target} {fields:?} after {changed:?}");
        }
        for (target, fields) in others {
            assert_eq!(edge.get_with(target, fields).await.handled(), "hit", "{target} {fields:?}");
        }
    }
}

#[tokio::test]
async fn a_location_is_understood_however_it_is_written() {
    let origin = Origin::start().await;
    origin.route("/page*", reply("page").max_age(60));
    let key = "key = { cookies = [\"currency\"] }";
    let edge = edge().origin(&origin).site(key).start();
    for (location, invalidates) in [
        ("/page", true),
        ("/%70age", true),
        ("/x/../page", true),
        ("//example.com/page", true),
        ("HTTP://example.com/page#part", true),
        ("http://EXAMPLE.com:80/page", true),
        ("http://example.com./page", true),
        ("https://example.com:443/page", true),
        ("http://example.com:8080/page", false),
        ("http://www.example.com/page", false),
        ("ftp://example.com/page", false),
        ("/page?a", false),
        ("mailto:a@example.com", false),
    ] {
        let fields: [&[(&str, &str)]; 2] = [&[], &[("Cookie", "currency=EUR")]];
        for fields in fields {
            edge.get_with("/page", fields).await;
        }
        origin.route("/form", reply("").status(201).header("Location", location));
        edge.send("POST", "/form", &[("Cookie", "currency=USD")], "body").await;
        for fields in fields {
            let is_hit = edge.get_with("/page", fields).await.handled() == "hit";
            assert_eq!(!is_hit, invalidates, "{location}");
        }
    }
}

#[tokio::test]
async fn a_fill_for_another_key_of_the_url_is_not_stored_either() {
    let origin = Origin::start().await;
    let page = |request: &weir_origin_sim::Recorded| match request.method.as_str() {
        "GET" => held("old").max_age(60),
        _ => reply(""),
    };
    origin.route("/a", answer_with(page));
    let edge = edge().origin(&origin).site("key = { cookies = [\"currency\"] }").start();
    let early = edge.get_many_with("/a", &[("Cookie", "currency=EUR")], 1);
    origin.until_requests("/a", 1).await;
    edge.send("POST", "/a", &[("Cookie", "currency=USD")], "change").await;
    origin.release("/a");
    early.all("200 old").await;
    origin.route("/a", reply("new").max_age(60));
    let answer = edge.get_with("/a", &[("Cookie", "currency=EUR")]).await;
    assert_eq!(answer.line(), "200 new");
}

#[tokio::test]
async fn edge_and_parent_both_forget_a_url_that_is_changed_through_them() {
    let world = Tiers::start("").await;
    world
        .origin
        .route("/a", reply("old").max_age(60).then(reply("")).then(reply("new").max_age(60)));
    world.get(0, "/a").await;
    assert_eq!(world.edges[0].0.send("POST", "/a", &[], "change").await.status, 200);
    assert_eq!(world.get(0, "/a").await.line(), "200 new");
    assert_eq!(world.get(1, "/a").await.line(), "200 new");
    assert_eq!(world.origin.fetches("/a"), 3);
}

#[tokio::test]
async fn a_fill_that_runs_during_an_unsafe_method_is_not_stored() {
    let origin = Origin::start().await;
    let get = held("old").max_age(60).then(reply("")).then(reply("new").max_age(60));
    origin.route("/a", get);
    let edge = edge().origin(&origin).start();
    let early = edge.get_many("/a", 3);
    edge.until_waiting("/a", 3).await;
    origin.until_requests("/a", 1).await;
    assert_eq!(edge.send("POST", "/a", &[], "change").await.status, 200);
    // Who asks from now on must see the change.
    assert_eq!(edge.get("/a").await.line(), "200 new");
    origin.release("/a");
    early.all("200 old").await;
    assert_eq!(edge.get("/a").await.line(), "200 new");
    assert_eq!(edge.get("/a").await.handled(), "hit");
}

#[tokio::test]
async fn a_client_that_leaves_takes_back_nothing() {
    let origin = Origin::start().await;
    origin.route("/a", reply("old").max_age(60).then(held("")).then(reply("new").max_age(60)));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    let mut client = edge.connect().await;
    client.request("POST", "/a", &[], "change").await;
    origin.until_requests("/a", 2).await;
    drop(client);
    let gone = || edge.node.metrics().lines().any(|line| line == "weir_connections_open 0");
    until("the client to be gone", gone, |gone| *gone).await;
    assert!(is_stored(&edge, "/a").await, "the origin has not answered");
    origin.release("/a");
    until("no old page", || edge.explain("/a").state, |state| *state == "not-stored").await;
    assert_eq!(edge.get("/a").await.line(), "200 new");
}

#[tokio::test]
async fn the_parent_of_a_url_that_is_named_forgets_it_too() {
    let origin = Origin::start().await;
    let log = Log::new("one");
    let [one, two] = ["one", "two"].map(|name| parent_of(name, &origin, "").start());
    let edge = edge_of("edge", &origin, &[&one, &two], "").start();
    let _leashes = (log.lead(&edge).await, log.lead(&one).await, log.lead(&two).await);
    for n in 0..12 {
        let page = format!("/page{n}");
        origin.route(&page, reply("old").max_age(60).then(reply("new").max_age(60)));
        assert_eq!(edge.get(&page).await.line(), "200 old");
        origin.route("/form", reply("").status(303).header("Location", page.clone()));
        assert_eq!(edge.send("POST", "/form", &[], "change").await.status, 303);
        assert_eq!(edge.get(&page).await.line(), "200 new", "{page}");
    }
}

#[tokio::test]
async fn only_a_node_may_tell_a_parent_to_forget_a_url() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    let log = Log::new("one");
    let parent = parent_of("parent", &origin, "").start();
    let _leash = log.lead(&parent).await;
    parent.get("/a").await;
    let fields = [("Max-Forwards", "0"), ("Weir-Invalidate", "1")];
    assert_eq!(parent.ask("OPTIONS", "/a", &fields).await.status, 204);
    assert!(is_stored(&parent, "/a").await);
}

#[tokio::test]
async fn a_post_that_returns_its_own_page_is_stored_for_later_gets() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    let page = || reply("page");
    for (target, answered, stored) in [
        ("/own", page().max_age(60).header("Content-Location", "/own"), true),
        ("/other", page().max_age(60).header("Content-Location", "/elsewhere"), false),
        ("/none", page().max_age(60), false),
        ("/silent", page().header("Content-Location", "/silent"), false),
    ] {
        origin.route(target, answered);
        assert_eq!(edge.send("POST", target, &[], "body").await.line(), "200 page");
        assert_eq!(is_stored(&edge, target).await, stored, "{target}");
    }
    assert_eq!(edge.get("/own").await.handled(), "hit");
}

#[tokio::test]
async fn posts_are_never_answered_from_the_store() {
    let origin = Origin::start().await;
    origin.route("/a", reply("page").max_age(60).header("Content-Location", "/a"));
    let edge = edge().origin(&origin).start();
    for _ in 0..2 {
        edge.send("POST", "/a", &[], "body").await;
    }
    assert_eq!(origin.fetches("/a"), 2);
}

#[tokio::test]
async fn options_goes_as_far_as_max_forwards_lets_it() {
    let origin = Origin::start().await;
    origin.route("/a", reply("theirs"));
    let edge = edge().origin(&origin).start();
    let own = edge.ask("OPTIONS", "/a", &[("Max-Forwards", "0")]).await;
    assert_eq!(own.status, 204);
    assert!(own.field("allow").is_some_and(|allow| allow.contains("GET")), "{own:?}");
    assert_eq!(edge.ask("OPTIONS", "*", &[]).await.status, 204);
    assert_eq!(origin.fetches("/a"), 0);
    assert_eq!(edge.ask("OPTIONS", "/a", &[("Max-Forwards", "2")]).await.text(), "theirs");
    assert_eq!(origin.requests("/a")[0].header("Max-Forwards"), Some("1"));
}

#[tokio::test]
async fn connect_and_trace_are_refused() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    for method in ["TRACE", "CONNECT"] {
        let target = if method == "CONNECT" { "example.com:80" } else { "/a" };
        let fields = if method == "CONNECT" { vec![("Host", "example.com:80")] } else { vec![] };
        let answer = edge.ask(method, target, &fields).await;
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.field("allow").is_some());
    }
    assert_eq!(origin.fetches("*"), 0);
}

#[tokio::test]
async fn a_get_with_a_body_bypasses_the_store() {
    let origin = Origin::start().await;
    let by_body = answer_with(|request| reply(request.body.clone()).max_age(60));
    origin.route("/a", by_body);
    let edge = edge().origin(&origin).start();
    let odd = edge.send("GET", "/a", &[], "poison").await;
    assert_eq!(odd.line(), "200 poison");
    assert_eq!(odd.handled(), "fwd=bypass; fwd-status=200");
    assert_eq!(edge.get("/a").await.line(), "200 ");
    assert_eq!(edge.send("GET", "/a", &[], "again").await.line(), "200 again");
    assert_eq!(edge.get("/a").await.handled(), "hit");
}

#[tokio::test]
async fn an_answer_without_content_has_no_length_whoever_asks() {
    let origin = Origin::start().await;
    origin.route("/stored", reply("").status(204).max_age(60));
    origin.route("/passed", reply("").status(204).header("Cache-Control", "no-store"));
    let edge = edge().origin(&origin).start();
    for target in ["/stored", "/passed"] {
        for method in ["GET", "HEAD", "GET", "HEAD"] {
            let answer = edge.ask(method, target, &[]).await;
            assert_eq!(answer.status, 204);
            assert_eq!(answer.field("content-length"), None, "{method} {target}");
        }
    }
    assert_eq!(edge.ask("HEAD", "/stored", &[]).await.handled(), "hit");
}

#[tokio::test]
async fn a_post_whose_response_is_too_large_does_not_say_that_it_was_stored() {
    let origin = Origin::start().await;
    let page = |bytes| reply(vec![b'x'; bytes]).max_age(60);
    origin.route("/large", page(70_000).header("Content-Location", "/large"));
    origin.route("/small", page(70).header("Content-Location", "/small"));
    let edge = edge().origin(&origin).tables("[memory]\nmax_object = \"64KiB\"").start();
    for (target, stored) in [("/large", ""), ("/small", "; stored")] {
        let answer = edge.send("POST", target, &[], "x").await;
        assert_eq!(answer.handled(), format!("fwd=method; fwd-status=200{stored}"));
    }
}
