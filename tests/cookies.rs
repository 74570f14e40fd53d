//! Cookies: what one visitor is given, or gives, is not shown to others unasked.

mod support;
use support::*;

#[tokio::test]
async fn set_cookie_is_stored_only_where_the_origin_speaks_to_caches() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    for (number, (name, value, stored)) in [
        ("Cache-Control", "max-age=60", false),
        ("Cache-Control", "public, max-age=60", true),
        ("Cache-Control", "s-maxage=60", true),
        ("CDN-Cache-Control", "max-age=60", true),
        ("Surrogate-Control", "max-age=60", true),
        ("Expires", "Fri, 01 Jan 2100 00:00:00 GMT", false),
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("/{number}");
        origin.route(&target, reply("x").set_cookie("id=1").set_cookie("b=2").header(name, value));
        let first = edge.get(&target).await;
        assert_eq!(first.values("set-cookie"), ["id=1", "b=2"], "who asked gets it");
        let second = edge.get(&target).await;
        assert_eq!(second.handled() == "hit", stored, "{name}: {value}");
    }
}

#[tokio::test]
async fn a_qualified_private_keeps_the_cookie_out_of_the_store() {
    let origin = Origin::start().await;
    let page = reply("x")
        .set_cookie("id=1")
        .header("Cache-Control", "s-maxage=60, private=\"set-cookie\"");
    origin.route("/a", page);
    let edge = edge().origin(&origin).start();
    assert_eq!(edge.get("/a").await.field("set-cookie"), Some("id=1"));
    let hit = edge.get("/a").await;
    assert_eq!((hit.handled().as_str(), hit.field("set-cookie")), ("hit", None));
}

#[tokio::test]
async fn a_crowd_does_not_share_one_visitors_cookie() {
    let origin = Origin::start().await;
    let counted = answer_with(|request| {
        held("hello").max_age(60).set_cookie(format!("id={}", request.connection))
    });
    origin.route("/a", counted);
    let edge = edge().origin(&origin).start();
    let crowd = edge.get_many("/a", 8);
    edge.until_waiting("/a", 8).await;
    origin.release("/a");
    let answers = crowd.all("200 hello").await;
    assert!(answers.iter().all(|answer| answer.field("set-cookie").is_some()));
    assert_eq!(origin.fetches("/a"), 8);
}

#[tokio::test]
async fn requests_with_cookies_are_stored_only_with_explicit_freshness() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    let heuristic = || reply("x").header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT");
    for (target, said, cookie, stored) in [
        ("/explicit", reply("x").max_age(60), true, true),
        ("/heuristic", heuristic(), true, false),
        ("/without", heuristic(), false, true),
    ] {
        origin.route(target, said);
        let fields: &[(&str, &str)] = if cookie { &[("Cookie", "id=1")] } else { &[] };
        edge.get_with(target, fields).await;
        assert_eq!(origin.requests(target)[0].header("Cookie"), cookie.then_some("id=1"));
        assert_eq!(edge.get(target).await.handled() == "hit", stored, "{target}");
    }
}

#[tokio::test]
async fn a_request_with_cookies_is_answered_from_the_store() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    assert_eq!(edge.get_with("/a", &[("Cookie", "id=1")]).await.handled(), "hit");
}

/// The Cookie lines of each request that the origin got for a target.
fn cookie_lines(origin: &Origin, target: &str) -> Vec<Vec<String>> {
    let lines = |request: &weir_origin_sim::Recorded| {
        let cookies =
            request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cookie"));
        cookies.map(|(_, value)| value.clone()).collect()
    };
    origin.requests(target).iter().map(lines).collect()
}

#[tokio::test]
async fn two_lines_are_one_for_the_origin_whoever_sent_them() {
    // What is stored for one of these requests is given to the other: the origin gets the same.
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60).header("Vary", "Cookie"));
    origin.route("/socket", reply("").upgrade_echo());
    let edge = edge().origin(&origin).start();
    let two = [("Cookie", "a=1"), ("Cookie", "b=2")];
    edge.get_with("/a", &two).await;
    assert_eq!(edge.get_with("/a", &[("Cookie", "a=1; b=2")]).await.handled(), "hit");
    let mut client = edge.connect().await;
    let upgrade = [("Connection", "upgrade"), ("Upgrade", "websocket")];
    client.request("GET", "/socket", &[two, upgrade].concat(), "").await;
    assert_eq!(client.head().await.status, 101);
    for target in ["/a", "/socket"] {
        assert_eq!(cookie_lines(&origin, target), [["a=1; b=2"]], "{target}");
    }
}
