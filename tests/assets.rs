//! Static assets, which are fetched for everyone by an anonymous request.

mod support;
use support::*;
use weir_origin_sim::Recorded;

/// A file as stock nginx sends it: ETag and Last-Modified, no freshness.
fn file(body: &str, content_type: &str) -> Reply {
    reply(body.to_owned())
        .etag("\"v\"")
        .conditional(true)
        .last_modified_secs_ago(864_000)
        .content_type(content_type)
}

fn style() -> Reply {
    file("body{}", "text/css")
}

/// The headers of the requests that the origin got for a target, by this name.
fn got(origin: &Origin, target: &str, name: &str) -> Vec<Option<String>> {
    let requests = origin.requests(target);
    requests.iter().map(|request| request.header(name).map(str::to_owned)).collect()
}

#[tokio::test]
async fn visitors_with_different_cookies_share_a_file() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    for (target, file) in [
        ("/style.css?ver=6.1", style()),
        ("/app.js", file("let a", "text/javascript; charset=utf-8")),
        ("/logo.png", file("png", "image/png")),
        ("/font.woff2", reply("font").max_age(60).content_type("font/woff2")),
        ("/app.3f9a1c7b.js", reply("let a").content_type("text/javascript")),
    ] {
        origin.route(target.split('?').next().expect("a path"), file);
        for visitor in 0..5 {
            let cookie = format!("_ga={visitor}");
            let answer = edge.get_with(target, &[("Cookie", &cookie)]).await;
            let expected =
                if visitor == 0 { "fwd=uri-miss; fwd-status=200; stored" } else { "hit" };
            assert_eq!(
                (answer.head.status, answer.handled().as_str()),
                (200, expected),
                "{target}"
            );
        }
        assert_eq!(edge.get(target).await.handled(), "hit", "{target}");
        let path = target.split('?').next().expect("a path");
        assert_eq!(got(&origin, path, "Cookie"), [None], "{target}");
    }
}

#[tokio::test]
async fn the_shared_fetch_has_nothing_that_names_a_user() {
    let origin = Origin::start().await;
    origin.route("/a.css", style());
    let edge = edge()
        .origin(&origin)
        .site("key = { cookies = [\"theme\"], headers = [\"X-Region\"] }")
        .start();
    let named = ["X-Forwarded-User", "Remote-User", "Cf-Access-Jwt-Assertion", "Ssl-Client-Cert"];
    let mut fields: Vec<_> = named.iter().map(|name| (*name, "ada")).collect();
    fields.extend([
        ("Cookie", "a=1; theme=dark; b=2"),
        ("X-Region", "eu"),
        ("Accept-Language", "de"),
    ]);
    assert_eq!(edge.get_with("/a.css", &fields).await.head.status, 200);
    for name in named {
        assert_eq!(got(&origin, "/a.css", name), [None], "{name}");
    }
    let kept = ["Cookie", "X-Region", "Accept-Language"].map(|name| got(&origin, "/a.css", name));
    assert_eq!(kept.concat(), ["theme=dark", "eu", "de"].map(|value| Some(value.to_owned())));
}

#[tokio::test]
async fn a_file_for_users_keeps_working_for_them() {
    let origin = Origin::start().await;
    let script = |request: &Recorded| match request.header("Cookie") {
        Some(_) => file("let user", "text/javascript"),
        None => reply("log in").status(403),
    };
    origin.route("/user.js", answer_with(script));
    let edge = edge().origin(&origin).start();
    let session = ("Cookie", "session=1");
    let first = edge.get_with("/user.js", &[session]).await;
    assert_eq!(first.line(), "200 let user");
    assert!(first.handled().contains("detail=not-for-everyone"), "{}", first.handled());
    // Asked without cookies once; then each request goes on by itself, with its own condition.
    let second = edge.get_with("/user.js", &[session, ("If-None-Match", "\"v\"")]).await;
    assert_eq!(second.head.status, 304);
    let cookie = Some("session=1".to_owned());
    assert_eq!(got(&origin, "/user.js", "Cookie"), [None, cookie.clone(), cookie]);
    assert_eq!(got(&origin, "/user.js", "If-None-Match")[2].as_deref(), Some("\"v\""));
    assert_eq!(edge.get("/user.js").await.line(), "403 log in");
    let why = edge.explain("/user.js").not_stored.expect("remembered");
    assert!(["not-for-everyone", "status"].contains(&&*why.word), "{}", why.word);
}

#[tokio::test]
async fn what_is_not_for_everyone_is_neither_stored_nor_sent() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    let cookie = |body: &'static str, anonymous: fn() -> Reply| {
        answer_with(move |request: &Recorded| match request.header("Cookie") {
            Some(_) => reply(body).header("Cache-Control", "no-store"),
            None => anonymous(),
        })
    };
    let html = || reply("account").max_age(60).content_type("text/html");
    origin.route("/account/x.css", cookie("own", html));
    origin.route("/cookie.css", cookie("own", || style().max_age(60).set_cookie("visit=2")));
    origin.route("/login.js", cookie("own", || reply("").status(302).header("Location", "/login")));
    origin.route("/gone.png", cookie("own", || reply("").status(404).max_age(60)));
    origin.route(
        "/etag.js",
        cookie("own", || reply("a").etag("\"v\"").content_type("text/javascript")),
    );
    for target in ["/account/x.css", "/cookie.css", "/login.js", "/gone.png", "/etag.js"] {
        let answer = edge.get_with(target, &[("Cookie", "session=1")]).await;
        assert_eq!(
            (answer.line().as_str(), answer.field("set-cookie")),
            ("200 own", None),
            "{target}"
        );
        assert_eq!(origin.fetches(target), 2, "{target}");
    }
}

#[tokio::test]
async fn a_bad_moment_of_the_origin_is_not_repeated() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    for (target, status) in [("/a.css", 503), ("/b.css", 429), ("/c.css", 500)] {
        let busy = reply("busy").status(status).set_cookie("visit=1");
        origin.route(target, busy.times(1).then(style()));
        let answer = edge.get_with(target, &[("Cookie", "session=1")]).await;
        assert_eq!((answer.head.status, answer.field("set-cookie")), (status, None), "{target}");
        assert_eq!(origin.fetches(target), 1, "{target}");
        // Nor remembered.
        let answer = edge.get_with(target, &[("Cookie", "session=1")]).await;
        assert_eq!(answer.handled(), "fwd=uri-miss; fwd-status=200; stored", "{target}");
        assert_eq!(got(&origin, target, "Cookie"), [None, None], "{target}");
    }
}

#[tokio::test]
async fn a_file_that_varies_by_cookie_is_stored_for_those_without() {
    let origin = Origin::start().await;
    let theme = |request: &Recorded| {
        file(request.header("Cookie").unwrap_or("plain"), "text/css").vary("Cookie")
    };
    origin.route("/theme.css", answer_with(theme));
    let edge = edge().origin(&origin).start();
    for user in ["ann", "bob", "ann"] {
        assert_eq!(
            edge.get_with("/theme.css", &[("Cookie", user)]).await.line(),
            format!("200 {user}")
        );
    }
    assert_eq!(edge.get("/theme.css").await.line(), "200 plain");
    assert_eq!(edge.get("/theme.css").await.handled(), "hit");
}

#[tokio::test]
async fn a_stale_file_is_validated_without_cookies() {
    let origin = Origin::start().await;
    let stale = || style().header("Cache-Control", "max-age=5").header("Age", "6");
    origin.route("/a.css", stale());
    origin.route("/b.css", stale().header("Cache-Control", "stale-while-revalidate=60"));
    let edge = edge().origin(&origin).start();
    for target in ["/a.css", "/b.css"] {
        for visitor in ["_ga=1", "_ga=2"] {
            assert_eq!(edge.get_with(target, &[("Cookie", visitor)]).await.line(), "200 body{}");
        }
        origin.until_requests(target, 2).await;
        assert_eq!(got(&origin, target, "Cookie"), [None, None], "{target}");
        assert_eq!(got(&origin, target, "If-None-Match")[1].as_deref(), Some("\"v\""), "{target}");
    }
}

#[tokio::test]
async fn a_request_that_is_not_anonymous_is_passed_through_tiers_once() {
    let world = Tiers::start("").await;
    let script = |request: &Recorded| match request.header("Cookie") {
        Some(_) => reply("let user").header("Cache-Control", "private"),
        None => reply("log in").status(403),
    };
    world.origin.route("/user.js", answer_with(script));
    world.origin.route("/a.css", style());
    for edge in [0, 1] {
        let edge = &world.edges[edge].0;
        let visitor = [("Cookie", "session=1")];
        assert_eq!(edge.get_with("/user.js", &visitor).await.line(), "200 let user");
        assert_eq!(edge.get_with("/a.css", &visitor).await.line(), "200 body{}");
    }
    let cookie = Some("session=1".to_owned());
    assert_eq!(got(&world.origin, "/user.js", "Cookie"), [None, cookie.clone(), None, cookie]);
    assert_eq!(got(&world.origin, "/a.css", "Cookie"), [None]);
    assert!(got(&world.origin, "/user.js", "Weir-Personal").iter().all(Option::is_none));
}

#[tokio::test]
async fn a_client_cannot_ask_past_the_rule() {
    let origin = Origin::start().await;
    origin.route("/a.css", style());
    let edge = edge().origin(&origin).start();
    edge.get_with("/a.css", &[("Cookie", "a=1"), ("Weir-Personal", "1")]).await;
    assert_eq!(got(&origin, "/a.css", "Cookie"), [None]);
}

#[tokio::test]
async fn a_site_may_have_its_files_fetched_with_cookies() {
    let origin = Origin::start().await;
    origin.route("/a.css", style());
    let edge = edge().origin(&origin).site("anonymous_assets = false").start();
    let answer = edge.get_with("/a.css", &[("Cookie", "a=1")]).await;
    assert!(answer.handled().contains("cookie-without-freshness"), "{}", answer.handled());
    assert_eq!(got(&origin, "/a.css", "Cookie"), [Some("a=1".to_owned())]);
}

#[tokio::test]
async fn pages_and_requests_with_authorization_are_fetched_as_they_are() {
    let origin = Origin::start().await;
    origin.route("/page", reply("page").max_age(60));
    origin.route("/a.css", style());
    let edge = edge().origin(&origin).start();
    edge.get_with("/page", &[("Cookie", "a=1"), ("X-Forwarded-User", "ada")]).await;
    assert_eq!(got(&origin, "/page", "X-Forwarded-User"), [Some("ada".to_owned())]);
    let authorized = [("Cookie", "a=1"), ("Authorization", "Basic YTpi")];
    assert_eq!(edge.get_with("/a.css", &authorized).await.head.status, 200);
    assert_eq!(got(&origin, "/a.css", "Cookie"), [Some("a=1".to_owned())]);
}

/// An anonymous client waits for the same file as one with a cookie, whose request gets nothing that
/// is for everyone: each is answered with their own.
#[tokio::test]
async fn who_waits_for_an_anonymous_request_that_is_withheld_asks_again() {
    let origin = Origin::start().await;
    let script = |request: &Recorded| match request.header("Cookie") {
        Some(user) => reply(user.to_owned()).header("Cache-Control", "private"),
        None => held("everyone").header("Cache-Control", "no-store"),
    };
    origin.route("/a.js", answer_with(script));
    let edge = edge().origin(&origin).start();
    let with = edge.get_many_with("/a.js", &[("Cookie", "ann")], 2);
    edge.until_waiting("/a.js", 2).await;
    let without = edge.get_many("/a.js", 2);
    edge.until_waiting("/a.js", 4).await;
    origin.release("/a.js");
    with.all("200 ann").await;
    without.all("200 everyone").await;
}
