//! Asking whether what is stored is current, and answering clients that ask (RFC 9111 §4.3).

mod support;
use support::*;

const CHANGED: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
const LATER: &str = "Tue, 02 Jan 2024 00:00:00 GMT";

#[tokio::test]
async fn what_the_origin_calls_current_is_sent_again() {
    for (name, value, condition) in
        [("ETag", "\"v1\"", "If-None-Match"), ("Last-Modified", CHANGED, "If-Modified-Since")]
    {
        let origin = Origin::start().await;
        origin.route("/a", stale("hello").header(name, value).conditional(true));
        let edge = edge().origin(&origin).start();
        assert_eq!(edge.get("/a").await.handled(), "fwd=uri-miss; fwd-status=200; stored");
        let again = edge.get("/a").await;
        assert_eq!(again.line(), "200 hello");
        assert_eq!(again.handled(), "fwd=stale; fwd-status=304; stored");
        assert_eq!(origin.requests("/a")[1].header(condition), Some(value));
        assert_eq!(origin.counts("/a").bytes, 5, "the body was sent once");
    }
}

#[tokio::test]
async fn a_304_updates_the_stored_fields_and_lifetime() {
    let origin = Origin::start().await;
    let update = reply("").status(304).etag("\"v1\"").max_age(60).header("X-Said", "second");
    let first = stale("hello").etag("\"v1\"").header("X-Said", "first").header("X-Kept", "1");
    origin.route("/a", sequence([first, update]));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    for handled in ["fwd=stale; fwd-status=304; stored", "hit"] {
        let answer = edge.get("/a").await;
        assert_eq!((answer.line().as_str(), answer.handled().as_str()), ("200 hello", handled));
        assert_eq!(answer.values("x-said"), ["second"]);
        assert_eq!(answer.values("x-kept"), ["1"]);
        assert_eq!(answer.number("content-length"), Some(5));
    }
    assert_eq!(origin.fetches("/a"), 2);
}

#[tokio::test]
async fn a_changed_response_replaces_the_stored_one() {
    let origin = Origin::start().await;
    origin.route(
        "/a",
        sequence([stale("one").etag("\"v1\""), reply("two").etag("\"v2\"").max_age(60)]),
    );
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    assert_eq!(edge.get("/a").await.line(), "200 two");
    assert_eq!(edge.get("/a").await.line(), "200 two");
    assert_eq!(origin.fetches("/a"), 2);
}

#[tokio::test]
async fn a_304_about_another_response_is_not_taken_for_ours() {
    let origin = Origin::start().await;
    let other = reply("").status(304).etag("\"other\"");
    origin.route("/a", sequence([stale("one").etag("\"v1\""), other, reply("two").max_age(60)]));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    assert_eq!(edge.get("/a").await.line(), "200 two");
    let asked = origin.requests("/a");
    assert_eq!(asked[1].header("If-None-Match"), Some("\"v1\""));
    assert_eq!(asked[2].header("If-None-Match"), None);
    assert_eq!(edge.get("/a").await.line(), "200 two");
}

#[tokio::test]
async fn a_304_nobody_asked_for_is_an_error_and_not_stored() {
    let origin = Origin::start().await;
    let not_modified = reply("").status(304).etag("\"v1\"").max_age(60);
    origin.route("/a", sequence([not_modified, reply("well").max_age(60)]));
    let edge = edge().origin(&origin).start();
    let answer = edge.get("/a").await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.handled(), "fwd=uri-miss; detail=origin-bad-head");
    assert_eq!(edge.get("/a").await.line(), "200 well");
}

#[tokio::test]
async fn no_cache_is_stored_and_validated_each_time() {
    let origin = Origin::start().await;
    let page = reply("hello").etag("\"v1\"").header("Cache-Control", "no-cache").conditional(true);
    origin.route("/a", page);
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    for _ in 0..2 {
        let answer = edge.get("/a").await;
        assert_eq!(answer.line(), "200 hello");
        assert!(answer.handled().starts_with("fwd=stale; fwd-status=304"), "{answer:?}");
    }
    assert_eq!(origin.counts("/a").statuses[&304], 2);
}

#[tokio::test]
async fn clients_that_have_it_get_a_304_from_the_store() {
    let origin = Origin::start().await;
    let page = reply("hello").max_age(60).etag("\"v1\"").header("Last-Modified", CHANGED);
    origin.route("/a", page);
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    for (name, value, status) in [
        ("If-None-Match", "\"v1\"", 304),
        ("If-None-Match", "W/\"v1\"", 304),
        ("If-None-Match", "\"x\", \"v1\"", 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", "\"x\"", 200),
        ("If-Modified-Since", CHANGED, 304),
        ("If-Modified-Since", LATER, 304),
        ("If-Modified-Since", "Sun, 31 Dec 2023 00:00:00 GMT", 200),
        ("If-Modified-Since", "nonsense", 200),
    ] {
        let answer = edge.get_with("/a", &[(name, value)]).await;
        assert_eq!(answer.status, status, "{name}: {value}");
        assert_eq!(answer.handled(), "hit");
        assert_eq!(answer.field("etag"), Some("\"v1\""));
    }
    // RFC 9110 §13.2.2: the entity tag decides where both are there.
    let both = [("If-None-Match", "\"x\""), ("If-Modified-Since", LATER)];
    assert_eq!(edge.get_with("/a", &both).await.status, 200);
    assert_eq!(origin.fetches("/a"), 1);
}

#[tokio::test]
async fn a_client_that_has_it_still_fills_the_store_for_others() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60).etag("\"v1\"").conditional(true));
    let edge = edge().origin(&origin).start();
    assert_eq!(edge.get_with("/a", &[("If-None-Match", "\"v1\"")]).await.status, 304);
    assert_eq!(origin.requests("/a")[0].header("If-None-Match"), None);
    let other = edge.get("/a").await;
    assert_eq!((other.line().as_str(), other.handled().as_str()), ("200 hello", "hit"));
}

#[tokio::test]
async fn only_the_origin_judges_if_match() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60).etag("\"v1\""));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    let answer = edge.get_with("/a", &[("If-Match", "\"v0\"")]).await;
    assert_eq!(answer.handled(), "fwd=request; fwd-status=200");
    assert_eq!(origin.requests("/a")[1].header("If-Match"), Some("\"v0\""));
}

#[tokio::test]
async fn head_is_answered_from_a_stored_get() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    let head = edge.ask("HEAD", "/a", &[]).await;
    assert_eq!((head.status, head.handled().as_str()), (200, "hit"));
    assert_eq!(head.number("content-length"), Some(5));
    assert_eq!(origin.fetches("/a"), 1);
}

#[tokio::test]
async fn head_of_a_cold_url_stores_the_response_to_get() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    let asked = [("If-None-Match", "\"v\""), ("Range", "bytes=0-1")];
    let head = edge.ask("HEAD", "/a", &asked).await;
    assert_eq!(head.line(), "200 ");
    assert_eq!(head.handled(), "fwd=uri-miss; fwd-status=200; stored");
    assert_eq!(head.number("content-length"), Some(5));
    edge.until_waiting("/a", 0).await;
    assert_eq!(edge.ask("HEAD", "/a", &[]).await.handled(), "hit");
    let get = edge.get("/a").await;
    assert_eq!((get.line().as_str(), get.handled().as_str()), ("200 hello", "hit"));
    assert_eq!(origin.fetches("/a"), 1);
    let asked = &origin.requests("/a")[0];
    assert_eq!((asked.method.as_str(), asked.header("Range")), ("GET", None));
}

#[tokio::test]
async fn head_passes_if_the_response_would_hardly_be_stored() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    origin.default_route(reply("hello").max_age(60));
    origin.route("/no-store", reply("hello").header("Cache-Control", "no-store"));
    edge.get("/no-store").await;
    for (target, fields) in [
        ("/no-store", &[][..]),
        ("/cookie", &[("Cookie", "session=1")][..]),
        ("/authorization", &[("Authorization", "Basic YTpi")][..]),
    ] {
        let head = edge.ask("HEAD", target, fields).await;
        assert_eq!(head.handled(), "fwd=uri-miss; fwd-status=200", "{target}");
        assert_eq!(head.number("content-length"), Some(5), "{target}");
        let asked = origin.requests(target);
        assert_eq!(asked.last().expect("a request").method, "HEAD", "{target}");
    }
}

#[tokio::test]
async fn head_of_a_body_that_is_too_large_to_store_ends_its_transfer() {
    let origin = Origin::start().await;
    origin.route("/a", reply("").body_bytes(1 << 20).held_after(70_000).max_age(60));
    let edge = edge().origin(&origin).tables("[memory]\nmax_object = \"64KiB\"").start();
    let head = edge.ask("HEAD", "/a", &[]).await;
    assert_eq!(head.handled(), "fwd=uri-miss; fwd-status=200");
    assert_eq!(head.number("content-length"), Some(1 << 20));
    until("the transfer ends", || origin.counts("/a").aborted, |aborted| *aborted == 1).await;
    assert_eq!(edge.explain("/a").not_stored.expect("remembered").word, "too-large");
}

#[tokio::test]
async fn head_freshens_or_invalidates_what_is_stored() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    let first = || stale("hello").etag("\"v1\"");
    let same = reply("hello").etag("\"v1\"").max_age(60);
    let other = reply("other").etag("\"v2\"").max_age(60);
    origin.route("/same", sequence([first(), same]));
    origin.route("/other", sequence([first(), other]));
    for target in ["/same", "/other"] {
        edge.get(target).await;
        edge.ask("HEAD", target, &[]).await;
    }
    assert_eq!(edge.get("/same").await.handled(), "hit");
    let other = edge.get("/other").await;
    assert_eq!(other.line(), "200 other");
    assert_eq!(other.handled(), "fwd=uri-miss; fwd-status=200; stored");
}

#[tokio::test]
async fn a_304_that_is_silent_about_surrogate_control_leaves_it_in_force() {
    let origin = Origin::start().await;
    let page = reply("hello").etag("\"v1\"").header("Cache-Control", "no-store");
    let first = page.clone().header("Surrogate-Control", "max-age=0");
    let silent = reply("").status(304).etag("\"v1\"").header("Cache-Control", "no-store");
    origin.route("/a", sequence([first, silent]));
    let edge = edge().origin(&origin).start();
    for handled in ["fwd=uri-miss; fwd-status=200; stored", "fwd=stale; fwd-status=304; stored"] {
        let answer = edge.get("/a").await;
        assert_eq!((answer.line().as_str(), answer.handled().as_str()), ("200 hello", handled));
        assert_eq!(answer.values("surrogate-control").len(), 0);
    }
    let validated = edge.get("/a").await;
    assert_eq!(validated.handled(), "fwd=stale; fwd-status=304; stored");
    assert_eq!(validated.values("surrogate-control").len(), 0);
}
