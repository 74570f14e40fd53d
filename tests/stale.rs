//! What is past its lifetime and may be sent all the same (RFC 9111 §4.2.4, RFC 5861).

mod support;
use support::*;

#[tokio::test]
async fn stale_while_revalidate_answers_at_once_and_refreshes_once() {
    let origin = Origin::start().await;
    let old = stale_with("old", "max-age=10, stale-while-revalidate=60").etag("\"v1\"");
    origin.route("/a", old.then(held("new").etag("\"v2\"").max_age(60)));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    for _ in 0..5 {
        let answer = edge.get("/a").await;
        assert_eq!(answer.line(), "200 old");
        assert_eq!(answer.handled(), "hit; detail=stale-while-revalidate");
        assert!(answer.ttl().expect("a ttl") <= -10, "{answer:?}");
    }
    origin.until_requests("/a", 2).await;
    assert_eq!(origin.requests("/a")[1].header("If-None-Match"), Some("\"v1\""));
    origin.release("/a");
    edge.until_fresh("/a", "\"v2\"").await;
    assert_eq!(edge.get("/a").await.line(), "200 new");
    assert_eq!(origin.fetches("/a"), 2);
}

#[tokio::test]
async fn beyond_its_window_stale_while_revalidate_waits() {
    let origin = Origin::start().await;
    let old = stale_with("old", "max-age=10, stale-while-revalidate=5").etag("\"v1\"");
    origin.route("/a", old.then(reply("new").max_age(60)));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    let answer = edge.get("/a").await;
    assert_eq!(answer.line(), "200 new");
    assert_eq!(answer.handled(), "fwd=stale; fwd-status=200; stored");
}

#[tokio::test]
async fn stale_if_error_stands_in_for_an_error() {
    for status in [500, 502, 503, 504] {
        let origin = Origin::start().await;
        let old = stale_with("old", "max-age=10, stale-if-error=60").etag("\"v1\"");
        origin.route("/a", old.then(reply("down").status(status)));
        let edge = edge().origin(&origin).start();
        edge.get("/a").await;
        for _ in 0..2 {
            let answer = edge.get("/a").await;
            assert_eq!(answer.line(), "200 old");
            let told = format!("fwd=stale; fwd-status={status}; detail=stale-if-error");
            assert_eq!(answer.handled(), told);
            assert!(answer.ttl().is_some_and(|ttl| ttl <= -10), "{answer:?}");
        }
        assert_eq!(origin.fetches("/a"), 3, "each time it is asked first");
    }
}

#[tokio::test]
async fn without_stale_if_error_the_error_is_shown() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    for (target, cache_control, status) in [
        ("/none", "max-age=10", 503),
        ("/short", "max-age=10, stale-if-error=5", 503),
        ("/must", "max-age=10, stale-if-error=60, must-revalidate", 503),
        ("/other", "max-age=10, stale-if-error=60", 404),
    ] {
        let old = stale_with("old", cache_control).etag("\"v1\"");
        origin.route(target, old.then(reply("down").status(status)));
        edge.get(target).await;
        assert_eq!(edge.get(target).await.line(), format!("{status} down"), "{target}");
    }
}

#[tokio::test]
async fn an_origin_out_of_reach_leaves_what_is_stored_unless_that_is_forbidden() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    let cases = [
        ("/plain", "max-age=10", true),
        ("/must", "max-age=10, must-revalidate", false),
        ("/proxy", "max-age=10, proxy-revalidate", false),
        ("/shared", "s-maxage=10", false),
        ("/no-cache", "max-age=10, no-cache", false),
    ];
    for (target, cache_control, _) in cases {
        origin.route(target, stale_with("old", cache_control).etag("\"v1\""));
        edge.get(target).await;
    }
    let refusing = out_of_reach(&origin).await;
    for (target, _, allowed) in cases {
        let answer = edge.get(target).await;
        match allowed {
            true => assert_eq!(answer.line(), "200 old", "{target}"),
            false => assert_eq!(answer.status, 502, "{target}"),
        }
        assert_eq!(answer.handled(), "fwd=stale; detail=origin-connect");
    }
    drop(refusing);
    origin.restart().await;
    origin.route("/plain", reply("new").max_age(60));
    assert_eq!(edge.get("/plain").await.line(), "200 new");
}

#[tokio::test]
async fn a_site_can_forbid_stale_answers_while_its_origin_is_out_of_reach() {
    let origin = Origin::start().await;
    origin.route("/a", stale("old").etag("\"v1\""));
    let site = "stale = { when_unreachable = \"0s\" }";
    let edge = edge().origin(&origin).site(site).start();
    edge.get("/a").await;
    let _refusing = out_of_reach(&origin).await;
    assert_eq!(edge.get("/a").await.status, 502);
}

#[tokio::test]
async fn a_site_can_give_windows_to_responses_that_say_nothing() {
    let origin = Origin::start().await;
    origin.route("/a", stale("old").etag("\"v1\"").then(reply("down").status(503)));
    let site = "stale = { if_error = \"60s\" }";
    let edge = edge().origin(&origin).site(site).start();
    edge.get("/a").await;
    assert_eq!(edge.get("/a").await.line(), "200 old");
}

#[tokio::test]
async fn an_error_does_not_take_the_place_of_what_stands_in_for_it() {
    let origin = Origin::start().await;
    let old = stale_with("old", "max-age=10, stale-if-error=60").etag("\"v1\"");
    let down = reply("down").status(503).max_age(60);
    origin.route("/a", old.then(down));
    let edge = edge().origin(&origin).start();
    for line in ["200 old", "200 old", "200 old"] {
        assert_eq!(edge.get("/a").await.line(), line);
    }
}

#[tokio::test]
async fn soft_purged_is_stale_from_now_on() {
    let origin = Origin::start().await;
    let page = |body: &str, etag: &str| {
        let windows = "max-age=60, stale-while-revalidate=60";
        reply(body.to_owned()).header("Cache-Control", windows).etag(etag.to_owned())
    };
    origin.route("/swr", page("old", "\"v1\"").then(page("new", "\"v2\"")));
    origin.route("/strong", reply("same").max_age(60).etag("\"v1\"").conditional(true));
    let weak = |body: &str| reply(body.to_owned()).max_age(60).etag("W/\"v1\"").conditional(true);
    origin.route("/weak", weak("old").then(weak("new")));
    let edge = edge().origin(&origin).start();
    for target in ["/swr", "/strong", "/weak"] {
        edge.get(target).await;
    }
    edge.soft_purge(Target::All);
    let swr = edge.get("/swr").await;
    assert_eq!(swr.line(), "200 old");
    assert_eq!(swr.handled(), "hit; detail=stale-while-revalidate");
    edge.until_fresh("/swr", "\"v2\"").await;
    let strong = edge.get("/strong").await;
    assert_eq!(strong.handled(), "fwd=stale; fwd-status=304; stored");
    assert_eq!(edge.get("/strong").await.handled(), "hit", "validated after the purge");
    // A weak validator does not prove that nothing changed.
    assert_eq!(edge.get("/weak").await.line(), "200 new");
    assert_eq!(origin.requests("/weak")[1].header("If-None-Match"), None);
}

#[tokio::test]
async fn what_was_soft_purged_stands_in_while_the_origin_is_out_of_reach() {
    let origin = Origin::start().await;
    origin.route("/soft", reply("old").max_age(60));
    origin.route("/hard", reply("old").max_age(60));
    let edge = edge().origin(&origin).start();
    edge.get("/soft").await;
    edge.get("/hard").await;
    edge.soft_purge(path("/soft"));
    edge.purge(path("/hard"));
    let _refusing = out_of_reach(&origin).await;
    assert_eq!(edge.get("/soft").await.line(), "200 old");
    assert_eq!(edge.get("/hard").await.status, 502);
}

/// What the origin says once it has withdrawn a page, and whether that withdraws what is stored.
fn answers() -> Vec<(&'static str, Reply, bool)> {
    vec![
        ("404", reply("gone").status(404), true),
        ("410", reply("gone").status(410), true),
        ("403", reply("no").status(403), true),
        ("401", reply("no").status(401), true),
        ("451", reply("no").status(451), true),
        ("302", reply("").status(302).header("Location", "/login"), true),
        ("204", reply("").status(204), true),
        ("stored-404", reply("gone").status(404).max_age(60).header("Age", "5"), true),
        ("no-store", reply("own").header("Cache-Control", "no-store"), true),
        ("private", reply("own").header("Cache-Control", "private"), true),
        ("cookie", reply("own").max_age(60).set_cookie("a=1"), true),
        ("vary", reply("own").max_age(60).vary("*"), true),
        ("too-large", reply(vec![b'x'; 70_000]).max_age(60), true),
        ("500", reply("bad").status(500), false),
        ("503", reply("busy").status(503), false),
        ("429", reply("slow down").status(429), false),
        ("400", reply("bad").status(400), false),
        ("405", reply("bad").status(405), false),
        ("414", reply("bad").status(414), false),
    ]
}

#[tokio::test]
async fn what_the_origin_has_withdrawn_is_not_sent_while_it_is_refreshed() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).tables("[memory]\nmax_object = \"64KiB\"").start();
    for (name, answer, withdraws) in answers() {
        for etag in [Some("\"v\""), None] {
            let target = format!("/{name}-{}", etag.is_some());
            let old = stale_with("old", "max-age=1, stale-while-revalidate=3600");
            let old = etag.map_or(old.clone(), |etag| old.etag(etag));
            origin.route(&target, old.then(answer.clone()));
            assert_eq!(edge.get(&target).await.line(), "200 old", "{target}");
            assert_eq!(edge.get(&target).await.line(), "200 old", "{target}");
            if withdraws {
                let gone = || ["not-stored", "fresh"].contains(&edge.explain(&target).state);
                until("the response is withdrawn", gone, |gone| *gone).await;
                assert_ne!(edge.get(&target).await.line(), "200 old", "{target}");
            } else {
                origin.until_requests(&target, 2).await;
                assert_eq!(edge.get(&target).await.line(), "200 old", "{target}");
            }
        }
    }
}

#[tokio::test]
async fn what_the_origin_has_withdrawn_does_not_come_back_when_it_is_out_of_reach() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).site("stale = { when_unreachable = \"1d\" }").start();
    for (name, answer, withdraws) in answers() {
        if name == "too-large" {
            continue;
        }
        for authorization in [false, true] {
            let target = format!("/{name}-{authorization}");
            let old = stale_with("old", "public, max-age=1").etag("\"v\"");
            origin.route(&target, old.then(answer.clone()).then(reply("").reset_before_head()));
            let fields: &[(&str, &str)] =
                if authorization { &[("Authorization", "Basic YTpi")] } else { &[] };
            assert_eq!(edge.get(&target).await.line(), "200 old", "{target}");
            edge.get_with(&target, fields).await;
            // What credentials bring about says nothing about others.
            let own = ["403", "401", "302", "private", "cookie"].contains(&name);
            let comes_back = !withdraws || (authorization && own);
            let answer = edge.get(&target).await;
            assert_eq!(answer.line() == "200 old", comes_back, "{target}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_404_takes_every_variant_with_it() {
    let origin = Origin::start().await;
    let page = |request: &weir_origin_sim::Recorded| {
        let language = request.header("Accept-Language").unwrap_or("none").to_owned();
        stale_with(&language, "max-age=1, stale-while-revalidate=3600").vary("Accept-Language")
    };
    let edge = edge().origin(&origin).start();
    for (target, gone, left) in [
        ("/all", reply("gone").status(404), "not-stored"),
        ("/one", reply("gone").status(404).vary("Accept-Language"), "other-variant"),
    ] {
        origin.route(target, answer_with(page));
        for language in ["de", "en"] {
            edge.get_with(target, &[("Accept-Language", language)]).await;
        }
        origin.route(target, gone);
        let german = [("Accept-Language", "de")];
        assert_eq!(edge.get_with(target, &german).await.line(), "200 de");
        let headers = http::HeaderMap::from_iter([(
            http::header::ACCEPT_LANGUAGE,
            http::HeaderValue::from_static("de"),
        )]);
        let url = format!("http://{HOST}{target}");
        let asked = || edge.node.explain(&url, &headers).expect("a URL").state;
        until("the variant is withdrawn", asked, |state| *state != "stale").await;
        let english = edge.get_with(target, &[("Accept-Language", "en")]).await.line();
        assert_eq!(english == "200 en", left == "other-variant", "{target}: {english}");
    }
}

/// A 404 that was asked for before a page was published does not remove it.
#[tokio::test]
async fn what_was_stored_meanwhile_is_not_withdrawn() {
    let origin = Origin::start().await;
    let page = |request: &weir_origin_sim::Recorded| match request.header("X-Early") {
        Some(_) => held("gone").status(404).header("Cache-Control", "no-store"),
        None => reply("new").max_age(60),
    };
    origin.route("/a", answer_with(page));
    let edge = edge().origin(&origin).start();
    // A request of its own, which others do not wait for.
    let early = edge.get_many_with("/a", &[("X-Early", "1"), ("Range", "bytes=0-1")], 1);
    origin.until_requests("/a", 1).await;
    assert_eq!(edge.get("/a").await.line(), "200 new");
    origin.release("/a");
    early.all("404 gone").await;
    assert_eq!(edge.get("/a").await.handled(), "hit");
}

#[tokio::test]
async fn a_404_that_may_be_stored_is_stored() {
    let origin = Origin::start().await;
    origin.route("/a", reply("gone").status(404).max_age(60).header("Age", "5"));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    assert_eq!(edge.get("/a").await.handled(), "hit");
}

#[tokio::test]
async fn an_answer_that_turns_out_too_large_withdraws_what_it_follows() {
    let origin = Origin::start().await;
    let old = stale_with("old", "max-age=1, stale-while-revalidate=3600");
    let large = reply("x").max_age(60).body_pattern(1, 200_000).chunked().held_after(150_000);
    origin.route("/a", old.then(large));
    let edge = edge().origin(&origin).tables("[memory]\nmax_object = \"64KiB\"").start();
    assert_eq!(edge.get("/a").await.line(), "200 old");
    assert_eq!(edge.get("/a").await.line(), "200 old");
    let gone = || edge.explain("/a").state == "not-stored";
    until("the response is withdrawn", gone, |gone| *gone).await;
    origin.release("/a");
}

#[tokio::test]
async fn head_gets_the_stale_response_that_get_would_get() {
    for (what, bad, handled) in [
        ("error", reply("down").status(503), "fwd=stale; fwd-status=503; detail=stale-if-error"),
        ("reset", reply("").reset_before_head(), "fwd=stale; detail=origin-reset"),
    ] {
        let origin = Origin::start().await;
        let old = stale_with("old", "max-age=10, stale-if-error=60").etag("\"v1\"");
        origin.route("/a", old.then(bad));
        let edge = edge().origin(&origin).start();
        edge.get("/a").await;
        for method in ["GET", "HEAD"] {
            let answer = edge.ask(method, "/a", &[]).await;
            assert_eq!(
                (answer.status, answer.handled().as_str()),
                (200, handled),
                "{what} {method}"
            );
            assert_eq!(answer.number("content-length"), Some(3), "{what} {method}");
        }
    }
}
