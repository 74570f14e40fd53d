//! Which requests are for the same resource: the key (scheme, host, path, query, and what the site
//! adds), and URLs that carry versions.

mod support;
use support::*;

/// How the second request was handled, after the first was stored.
async fn second(site: &str, first: &str, then: &str) -> (String, Origin) {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let edge = edge().origin(&origin).site(site).start();
    edge.get(first).await;
    (edge.get(then).await.handled(), origin)
}

#[tokio::test]
async fn queries_count_as_the_site_says() {
    for (site, first, then, same) in [
        ("", "/a?x=1&y=2", "/a?x=1&y=2", true),
        ("", "/a?x=1&y=2", "/a?y=2&x=1", false),
        ("", "/a", "/a?", false),
        ("", "/a?utm_source=x", "/a", false),
        ("key = { query = \"sort\" }", "/a?x=1&y=2", "/a?y=2&x=1", true),
        ("key = { query = \"sort\" }", "/a?x=1&x=2", "/a?x=2&x=1", false),
        ("key = { query = \"ignore\" }", "/a?x=1", "/a", true),
        ("key = { query = { drop = [\"sid\"] } }", "/a?sid=1&x=1", "/a?x=1&sid=2", true),
        ("key = { query = { drop = [\"sid\"] } }", "/a?x=1", "/a?x=2", false),
        ("key = { query = { keep = [\"x\"] } }", "/a?x=1&y=1", "/a?z=3&x=1", true),
        ("key = { query = { keep = [\"x\"] } }", "/a?x=1", "/a?x=2", false),
        ("key = { query = { drop = [\"tracking\"] } }", "/a?utm_source=x&gclid=1", "/a", true),
        ("key = { query = { drop = [\"tracking\"] } }", "/a?page=1", "/a?page=2", false),
    ] {
        let (handled, _) = second(site, first, then).await;
        assert_eq!(handled == "hit", same, "{site} {first} {then}");
    }
}

#[tokio::test]
async fn what_is_dropped_from_the_key_is_dropped_from_the_origins_request() {
    let site = "key = { query = { drop = [\"tracking\", \"sid\"] } }";
    let (_, origin) = second(site, "/a?utm_source=x&b=%32&sid=1&a", "/other").await;
    assert_eq!(origin.requests("*")[0].target, "/a?b=%32&a");
}

#[tokio::test]
async fn sorting_changes_the_key_only() {
    let (_, origin) = second("key = { query = \"sort\" }", "/a?y=2&x=1", "/other").await;
    assert_eq!(origin.requests("*")[0].target, "/a?y=2&x=1");
}

#[tokio::test]
async fn one_host_has_one_key_however_it_is_written() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    for host in ["EXAMPLE.com", "example.com:80", "example.com.", "Example.Com.:80"] {
        assert_eq!(edge.get_with("/a", &[("Host", host)]).await.handled(), "hit", "{host}");
    }
    assert_eq!(edge.get("http://example.com/a").await.handled(), "hit");
    for host in ["example.com:8080", "www.example.com", "example.org"] {
        let other = edge.get_with("/a", &[("Host", host)]).await;
        assert_eq!(other.handled(), "fwd=uri-miss; fwd-status=200; stored", "{host}");
    }
}

#[tokio::test]
async fn paths_are_told_apart_byte_for_byte() {
    for (first, then) in
        [("/a", "/A"), ("/a", "/a/"), ("/a", "//a"), ("/a", "/%61"), ("/a/b", "/a%2Fb")]
    {
        let (handled, _) = second("", first, then).await;
        assert_ne!(handled, "hit", "{first} {then}");
    }
}

#[tokio::test]
async fn named_fields_and_cookies_join_the_key() {
    let origin = Origin::start().await;
    let shown = answer_with(|request| {
        let country = request.header("X-Country").unwrap_or("none").to_owned();
        let cookies = request.header("Cookie").unwrap_or("none").to_owned();
        reply(format!("{country} {cookies}")).max_age(60)
    });
    origin.route("/a", shown);
    let site = "key = { headers = [\"X-Country\"], cookies = [\"plan\"] }";
    let edge = edge().origin(&origin).site(site).start();
    for (country, cookies, text) in [
        ("de", "plan=a; id=1", "de plan=a; id=1"),
        ("de", "id=2; plan=a", "de plan=a; id=1"),
        ("fr", "plan=a", "fr plan=a"),
        ("de", "plan=b", "de plan=b"),
        ("de", "id=3", "de id=3"),
        ("de", "id=4; other=5", "de id=3"),
    ] {
        let answer = edge.get_with("/a", &[("X-Country", country), ("Cookie", cookies)]).await;
        assert_eq!(answer.text(), text, "{country} {cookies}");
    }
}

#[tokio::test]
async fn every_version_is_stored_by_itself() {
    let origin = Origin::start().await;
    let named = answer_with(|request| reply(request.target.clone()).max_age(60));
    origin.default_route(named);
    let edge = edge().origin(&origin).start();
    for _ in 0..2 {
        for target in ["/app.js", "/app.3f9a1c2b.js", "/app.v2.js", "/app.js?v=2", "/app.js?v=3"] {
            assert_eq!(edge.get(target).await.text(), target);
        }
    }
    assert_eq!(origin.fetches("*"), 5);
}

#[tokio::test]
async fn versioned_names_without_freshness_are_kept_for_long_with_care() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    let none: &[(&str, &str)] = &[];
    for (target, said, asked, stored) in [
        ("/app.3f9a1c2b.js", reply("x"), none, true),
        ("/app.3f9a1c2b.css?v=3", reply("x"), none, true),
        ("/app.js?v=2", reply("x"), none, true),
        ("/app.js", reply("x"), none, false),
        ("/report.2024.html", reply("x"), none, false),
        ("/page.3f9a1c2b.html", reply("x"), none, false),
        ("/app.3f9a1c2d.js", reply("x").set_cookie("a=b"), none, false),
        ("/app.3f9a1c2e.js", reply("x").status(404), none, false),
        ("/app.3f9a1c2f.js", reply("x").header("Cache-Control", "no-cache"), none, false),
        ("/app.3f9a1c3a.js", reply("x").header("Cache-Control", "private"), none, false),
        ("/app.3f9a1c3b.js", reply("x"), &[("Cookie", "a=b")], false),
        ("/app.3f9a1c3c.js", reply("x"), &[("Authorization", "Basic x")], false),
    ] {
        origin.route(target, said);
        edge.get_with(target, asked).await;
        let selected = edge.explain(target).selected;
        assert_eq!(selected.is_some(), stored, "{target}");
        if let Some(selected) = selected {
            assert!(selected.ttl > 31_000_000, "{target}: {}", selected.ttl);
        }
    }
}

#[tokio::test]
async fn what_the_origin_says_overrides_the_lifetime_of_versions() {
    let origin = Origin::start().await;
    origin.route("/app.3f9a1c2b.js", reply("x").max_age(60));
    let edge = edge().origin(&origin).start();
    edge.get("/app.3f9a1c2b.js").await;
    assert!(edge.explain("/app.3f9a1c2b.js").selected.expect("stored").ttl <= 60);
}

#[tokio::test]
async fn a_path_alone_is_explained_in_the_scheme_that_is_stored() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let proxied = "name = \"edge\"\ntrusted_proxies = [\"127.0.0.0/8\"]";
    let edge = node(proxied).origin(&origin).site("hosts = [\"example.com\"]").start();
    let explain = || edge.node.explain("/a", &Default::default()).expect("a path");
    assert!(explain().key.starts_with("http://"), "nothing is known");
    edge.get_with("/a", &[("X-Forwarded-Proto", "https")]).await;
    let explained = explain();
    assert_eq!((explained.state, &*explained.key), ("fresh", "https://example.com/a"));
}

#[tokio::test]
async fn raw_bytes_in_a_target_are_their_percent_encoding() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    for (raw, encoded) in [
        ("/caf\u{e9}", "/caf%C3%A9"),
        ("/s?q={\"a\":1}", "/s?q=%7B%22a%22:1%7D"),
        ("/<b>|^`", "/%3Cb%3E%7C%5E%60"),
        ("/a\\..\\b", "/a%5C..%5Cb"),
        // What is encoded is never decoded.
        ("/a%2Fb%5Cc|", "/a%2Fb%5Cc%7C"),
    ] {
        assert_eq!(edge.get(raw).await.handled(), "fwd=uri-miss; fwd-status=200; stored", "{raw}");
        assert_eq!(edge.get(encoded).await.handled(), "hit", "{raw}");
        assert_eq!(origin.fetches(encoded), 1, "the origin gets the spelling of the key: {raw}");
        assert_eq!(edge.explain(raw).state, "fresh", "{raw}");
        // A client whose request line comes in pieces.
        let mut slow = edge.connect().await;
        let head = format!("GET {raw} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        for piece in head.as_bytes().chunks(5) {
            slow.send(piece).await;
        }
        assert_eq!(slow.answer("GET").await.handled(), "hit", "{raw}");
    }
    edge.purge(path("/caf\u{e9}"));
    // Purged or, once it is swept, not stored.
    assert_ne!(edge.explain("/caf%C3%A9").state, "fresh");
}

#[tokio::test]
async fn a_higher_minor_version_is_answered_as_1_1() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello"));
    let edge = edge().origin(&origin).start();
    let head = format!("GET /a HTTP/1.2\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    assert_eq!(edge.raw(head).await.line(), "200 hello");
}
