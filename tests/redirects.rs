//! Which Host an origin is asked with, and where its redirects lead.

mod support;
use support::*;

const VISITOR: [(&str, &str); 1] = [("Host", "shop.example:8080")];

#[tokio::test]
async fn an_origin_that_is_an_address_receives_the_visitors_host() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello"));
    let edge = edge().origin(&origin).start();
    edge.get_with("/a", &VISITOR).await;
    assert_eq!(origin.requests("/a")[0].header_values("Host"), ["shop.example:8080"]);
    let url = "http://shop.example:8080/a";
    let explained = edge.node.explain(url, &Default::default()).expect("a URL").origins;
    assert_eq!((&*explained[0].url, &*explained[0].host), (&*origin.url(), "shop.example:8080"));
    let own = support::edge().origin(&origin).site("host_header = \"origin\"").start();
    let explained = own.node.explain(url, &Default::default()).expect("a URL").origins;
    assert_eq!(explained[0].host, origin.addr().to_string());
}

#[tokio::test]
async fn redirects_to_the_origins_own_address_stay_with_the_visitor() {
    let origin = Origin::start().await;
    let port = origin.addr().port();
    let edge = edge().origin(&origin).start();
    for status in [201, 300, 301, 302, 303, 307, 308] {
        let to = |target: &str, location: String| {
            origin.route(target, reply("").status(status).header("Location", location));
        };
        to("/own", format!("http://{}/own/", origin.addr()));
        to("/mixed", format!("http://shop.example:{port}/mixed/?q=1#part"));
        to("/other", "http://other.example/".into());
        to("/host", format!("http://{}//evil.example/", origin.addr()));
        for (target, expected) in [
            ("/own", "/own/"),
            ("/mixed", "/mixed/?q=1#part"),
            ("/other", "http://other.example/"),
            ("/host", "http://shop.example:8080//evil.example/"),
        ] {
            for method in ["GET", "HEAD", "POST"] {
                let answer = edge.ask(method, target, &VISITOR).await;
                let location = answer.head.field("location");
                assert_eq!(location, Some(expected), "{status} {method} {target}");
            }
        }
    }
}

#[tokio::test]
async fn a_redirect_to_the_requested_url_is_left_alone() {
    let origin = Origin::start().await;
    let own = format!("http://{}/a", origin.addr());
    origin.route("/a", reply("").status(301).header("Location", own.clone()));
    let edge = edge().origin(&origin).start();
    assert_eq!(edge.get("/a").await.head.field("location"), Some(&*own));
}

#[tokio::test]
async fn what_is_stored_has_been_rewritten_once_at_the_node_that_asked() {
    let origin = Origin::start().await;
    let at = |path: &str| format!("http://{}{path}", origin.addr());
    let moved = reply("").status(301).max_age(60).header("Location", at("/guide/"));
    origin.route("/guide", moved);
    let named = reply("page").max_age(60).header("Content-Location", at("/page.en"));
    origin.route("/page", named.header("Refresh", format!("9; url={}", at("/next"))));
    let parent = parent_of("parent", &origin, "").start();
    let edge = edge_of("edge", &origin, &[&parent], "").start();
    for handled in ["miss", "hit"] {
        let answer = edge.get("/guide").await;
        assert_eq!(answer.head.field("location"), Some("/guide/"), "{handled}");
        let answer = edge.get("/page").await;
        assert_eq!(answer.head.field("content-location"), Some("/page.en"), "{handled}");
        assert_eq!(answer.head.field("refresh"), Some("9; url=/next"), "{handled}");
    }
    assert_eq!((origin.fetches("/guide"), origin.fetches("/page")), (1, 1));
}

/// RFC 9111 §4.4: Location names a URL that the request changed. Here by the origin's own address.
#[tokio::test]
async fn a_location_at_the_origins_address_invalidates_the_url_that_visitors_know() {
    let origin = Origin::start().await;
    origin.route("/list", reply("list").max_age(60));
    let location = format!("http://{}/list", origin.addr());
    origin.route("/new", reply("").status(201).header("Location", location));
    let edge = edge().origin(&origin).start();
    edge.get("/list").await;
    assert_eq!(edge.get("/list").await.handled(), "hit");
    edge.send("POST", "/new", &[], "x").await;
    edge.get("/list").await;
    assert_eq!(origin.fetches("/list"), 2);
}

#[tokio::test]
async fn every_member_of_a_pool_may_be_named() {
    let (one, other) = (Origin::start().await, Origin::start().await);
    for (origin, named) in [(&one, &other), (&other, &one)] {
        let location = format!("http://{}/b", named.addr());
        origin.route("/a", reply("").status(302).header("Location", location));
    }
    let edge = edge().origin(&one).origin(&other).start();
    for _ in 0..2 {
        assert_eq!(edge.get("/a").await.head.field("location"), Some("/b"));
    }
}

#[tokio::test]
async fn a_change_of_host_header_purges_the_site() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    let next = support::edge().origin(&origin).site("host_header = \"origin\"").config();
    edge.node.reload(next).expect("a configuration");
    edge.get("/a").await;
    assert_eq!(origin.fetches("/a"), 2);
}

#[tokio::test]
async fn probes_ask_for_the_sites_first_name() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello"));
    let site = "hosts = [\"*.example.com\", \"www.example.com\"]\nhealth = { path = \"/healthz\" }";
    let _edge = edge().origin(&origin).site(site).start();
    origin.until_requests("/healthz", 1).await;
    assert_eq!(origin.requests("/healthz")[0].header("host"), Some("www.example.com"));
}
