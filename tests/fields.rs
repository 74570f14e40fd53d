//! Which fields travel, which are set, and what the node says of itself.

mod support;
use support::*;

#[tokio::test]
async fn the_target_reaches_the_origin_byte_for_byte() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    for target in [
        "/a/../b/%2e%2e?x=%27",
        "//double//slash/",
        "/?",
        "/%7Euser/%7euser",
        "/a;b=c/d,e?f=g&f=h&&=",
        "/caf%C3%A9?q=a+b%20c",
        "/[x]?[y]",
    ] {
        edge.get(target).await;
        edge.ask("POST", target, &[]).await;
        let asked: Vec<_> = origin.requests("*").into_iter().map(|r| r.target).collect();
        assert_eq!(asked, [target, target]);
        origin.reset_counters();
    }
}

#[tokio::test]
async fn what_concerns_one_connection_goes_no_further() {
    let origin = Origin::start().await;
    let answer = reply("hello")
        .max_age(60)
        .header("Connection", "X-Hop, keep-alive")
        .header("X-Hop", "1")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Authenticate", "Basic")
        .header("X-Kept", "1");
    origin.route("/a", answer);
    let edge = edge().origin(&origin).start();
    let fields = [
        ("Connection", "X-Mine, Cookie"),
        ("X-Mine", "1"),
        ("Keep-Alive", "1"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic x"),
        ("TE", "gzip"),
        ("X-Other", "1"),
        ("Cookie", "a=b"),
    ];
    for handled in ["fwd=uri-miss; fwd-status=200; stored", "hit"] {
        let answer = edge.get_with("/a", &fields).await;
        assert_eq!(answer.handled(), handled);
        for name in ["x-hop", "keep-alive", "proxy-authenticate"] {
            assert_eq!(answer.field(name), None, "{name}");
        }
        assert_eq!(answer.field("x-kept"), Some("1"));
    }
    let asked = &origin.requests("/a")[0];
    for name in ["X-Mine", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE"] {
        assert_eq!(asked.header(name), None, "{name}");
    }
    // Connection cannot name away what others rely on.
    assert_eq!((asked.header("X-Other"), asked.header("Cookie")), (Some("1"), Some("a=b")));
}

#[tokio::test]
async fn via_and_cdn_loop_are_continued() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60).header("Via", "1.1 inner"));
    let edge = edge().origin(&origin).start();
    let fields = [("Via", "1.0 outer"), ("CDN-Loop", "other; v=1")];
    let answer = edge.get_with("/a", &fields).await;
    assert_eq!(answer.values("via"), ["1.1 inner", "1.1 edge"]);
    let asked = &origin.requests("/a")[0];
    assert_eq!(asked.header_values("Via").join(", "), "1.0 outer, 1.1 edge");
    assert_eq!(asked.header_values("CDN-Loop").join(", "), "other; v=1, edge");
}

#[tokio::test]
async fn a_loop_ends_with_508() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    let looped = edge.get_with("/a", &[("CDN-Loop", "other, edge; x=y")]).await;
    assert_eq!((looped.status, looped.handled().as_str()), (508, "detail=loop"));
    assert_eq!(edge.get_with("/a", &[("CDN-Loop", "edge2")]).await.status, 200);
    assert_eq!(origin.fetches("*"), 1);
}

#[tokio::test]
async fn the_origin_learns_who_asked_from_the_node_alone() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello"));
    let spoofed = [
        ("X-Forwarded-For", "10.0.0.1"),
        ("X-Forwarded-Host", "evil"),
        ("X-Forwarded-Proto", "https"),
    ];
    let strict = edge().origin(&origin).start();
    let trusting = "trusted_proxies = [\"127.0.0.0/8\"]";
    let trusting = edge().origin(&origin).tables(trusting).start();
    for (edge, chain, scheme) in
        [(strict, "127.0.0.1", "http"), (trusting, "10.0.0.1, 127.0.0.1", "https")]
    {
        origin.reset_counters();
        edge.get_with("/a", &spoofed).await;
        let asked = &origin.requests("/a")[0];
        assert_eq!(asked.header_values("X-Forwarded-For"), [chain]);
        assert_eq!(asked.header_values("X-Forwarded-Host"), [HOST]);
        assert_eq!(asked.header_values("X-Forwarded-Proto"), [scheme]);
    }
}

#[tokio::test]
async fn the_origin_is_asked_by_its_own_host_or_by_the_clients() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello"));
    let own = edge().origin(&origin).site("host_header = \"origin\"").start();
    let clients = edge().origin(&origin).site("host_header = \"client\"").start();
    own.get_with("/own", &[("Host", "shop.example")]).await;
    clients.get_with("/client", &[("Host", "shop.example")]).await;
    assert_eq!(origin.requests("/own")[0].header_values("Host"), [origin.addr().to_string()]);
    assert_eq!(origin.requests("/client")[0].header_values("Host"), ["shop.example"]);
}

#[tokio::test]
async fn fields_that_have_poisoned_caches_do_not_reach_the_origin() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello"));
    let edge = edge().origin(&origin).start();
    let set_by_the_node = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
    let poison: Vec<(&str, &str)> =
        weir_rules::fields::POISONOUS.iter().map(|name| (*name, "poison")).collect();
    for method in ["GET", "POST"] {
        edge.ask(method, "/a", &poison).await;
    }
    for asked in origin.requests("/a") {
        assert!(!asked.headers.iter().any(|(_, value)| value.contains("poison")), "{asked:?}");
        for name in set_by_the_node {
            assert_eq!(asked.header_values(name).len(), 1, "{name}");
        }
    }
}

#[tokio::test]
async fn what_is_meant_for_caches_stays_here() {
    let origin = Origin::start().await;
    let answer = reply("hello")
        .max_age(60)
        .header("Surrogate-Key", "one two")
        .header("Cache-Tag", "three,four")
        .header("Surrogate-Control", "max-age=60")
        .header("Weir-Filled-At", "9");
    origin.route("/a", answer);
    let edge = edge().origin(&origin).start();
    for _ in 0..2 {
        let answer = edge.get_with("/a", &[("Weir-Seq", "9")]).await;
        for name in ["surrogate-key", "cache-tag", "surrogate-control", "weir-filled-at"] {
            assert_eq!(answer.field(name), None, "{name}");
        }
    }
    assert_eq!(origin.requests("/a")[0].header("Weir-Seq"), None);
    let tags = edge.explain("/a").selected.expect("stored").tags;
    assert_eq!(tags, ["one", "two", "three", "four"]);
}

#[tokio::test]
async fn what_came_undated_is_dated_and_dates_are_kept() {
    const DATE: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
    let origin = Origin::start().await;
    origin.route(
        "/dated",
        reply("x").header("Cache-Control", "s-maxage=999999999").header("Date", DATE),
    );
    origin.route("/undated", reply("x").no_date().max_age(60));
    let edge = edge().origin(&origin).site("max_ttl = \"0s\"").start();
    for handled in ["fwd=uri-miss; fwd-status=200; stored", "hit"] {
        let dated = edge.get("/dated").await;
        assert_eq!((dated.values("date"), dated.handled().as_str()), (vec![DATE], handled));
        assert_eq!(edge.get("/undated").await.values("date").len(), 1);
    }
    let age = edge.get("/dated").await.number("age").expect("Age");
    assert!(age > 10_000_000, "a Date long ago is an age: {age}");
}

#[tokio::test]
async fn cache_status_says_how_each_request_was_handled() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(1_000_000).vary("X-Kind"));
    origin.route("/none", reply("hello").header("Cache-Control", "no-store"));
    let edge = edge().origin(&origin).start();
    let status = |answer: &Answer| answer.values("cache-status").join(" | ");
    let within = |text: &str| {
        // A second may pass between fetch and answer.
        [1_000_000, 999_999, 999_998, 999_997].map(|ttl| text.replace("TTL", &ttl.to_string()))
    };
    for (fields, told) in [
        (&[][..], "edge; fwd=uri-miss; fwd-status=200; ttl=TTL; stored"),
        (&[][..], "edge; hit; ttl=TTL"),
        (&[("X-Kind", "1")][..], "edge; fwd=vary-miss; fwd-status=200; ttl=TTL; stored"),
        (&[("If-Match", "*")][..], "edge; fwd=request; fwd-status=200"),
    ] {
        let answer = edge.get_with("/a", fields).await;
        assert!(within(told).contains(&status(&answer)), "{told}: {}", status(&answer));
    }
    for (method, target, told) in [
        ("GET", "/none", "edge; fwd=uri-miss; fwd-status=200; detail=no-store"),
        ("HEAD", "/none", "edge; fwd=uri-miss; fwd-status=200"),
        ("POST", "/none", "edge; fwd=method; fwd-status=200"),
        ("TRACE", "/none", "edge; detail=trace"),
    ] {
        assert_eq!(status(&edge.ask(method, target, &[]).await), told);
    }
}

#[tokio::test]
async fn the_cache_status_of_caches_before_is_kept_first() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60).header("Cache-Status", "inner; hit"));
    let edge = edge().origin(&origin).start();
    for own in ["edge; fwd=uri-miss", "edge; hit"] {
        let answer = edge.get("/a").await;
        let members = answer.values("cache-status");
        assert_eq!((members.len(), members[0]), (2, "inner; hit"));
        assert!(members[1].starts_with(own), "{members:?}");
    }
}
