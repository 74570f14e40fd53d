//! One URL, several responses: selecting fields (RFC 9111 §4.1).

mod support;
use support::*;

fn by(field: &'static str) -> weir_origin_sim::Route {
    answer_with(move |request| {
        let value = request.header(field).unwrap_or("none").to_owned();
        reply(value).vary(field).max_age(60)
    })
}

#[tokio::test]
async fn each_value_has_a_response_of_its_own() {
    let origin = Origin::start().await;
    origin.route("/a", by("Accept-Language"));
    let edge = edge().origin(&origin).start();
    for (language, handled) in [
        ("de", "fwd=uri-miss; fwd-status=200; stored"),
        ("en", "fwd=vary-miss; fwd-status=200; stored"),
        ("de", "hit"),
        ("en", "hit"),
    ] {
        let answer = edge.get_with("/a", &[("Accept-Language", language)]).await;
        assert_eq!(answer.line(), format!("200 {language}"));
        assert_eq!(answer.handled(), handled, "{language}");
    }
    assert_eq!(edge.get("/a").await.line(), "200 none", "an absent field is a value, too");
    assert_eq!(origin.fetches("/a"), 3);
}

#[tokio::test]
async fn values_that_mean_the_same_select_the_same() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    for (field, one, same, other) in [
        ("Accept-Encoding", "gzip, deflate, br", "br;q=1.0,gzip", "identity"),
        ("Accept-Language", "en, de", "en,de", "de, en;q=0.1"),
        ("X-Mood", "a,b", "a, b", "b, a"),
    ] {
        let target = format!("/{field}");
        origin.route(&target, by(field));
        edge.get_with(&target, &[(field, one)]).await;
        assert_eq!(edge.get_with(&target, &[(field, same)]).await.handled(), "hit", "{field}");
        let other = edge.get_with(&target, &[(field, other)]).await;
        assert_eq!(other.handled(), "fwd=vary-miss; fwd-status=200; stored", "{field}");
    }
}

#[tokio::test]
async fn the_origin_is_asked_with_the_encodings_that_the_variant_stands_for() {
    let origin = Origin::start().await;
    origin.route("/a", by("Accept-Encoding"));
    let edge = edge().origin(&origin).start();
    edge.get_with("/a", &[("Accept-Encoding", "zstd;q=0, br;q=0.5, x-odd, gzip")]).await;
    let asked = origin.requests("/a")[0].header("Accept-Encoding").map(str::to_owned);
    // What is sent must select the very variant that it is stored as.
    let sent = asked.expect("some encodings");
    assert!(!sent.contains("x-odd"), "{sent}");
    assert_eq!(edge.get_with("/a", &[("Accept-Encoding", &sent)]).await.handled(), "hit");
}

#[tokio::test]
async fn vary_any_is_stored_for_nobody() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").vary("*").max_age(60));
    let edge = edge().origin(&origin).start();
    for _ in 0..2 {
        let handled = edge.get("/a").await.handled();
        assert_eq!(handled, "fwd=uri-miss; fwd-status=200; detail=vary-any");
    }
    assert_eq!(origin.fetches("/a"), 2);
}

#[tokio::test]
async fn several_fields_select_together() {
    let origin = Origin::start().await;
    let both = answer_with(|request| {
        let of = |name| request.header(name).unwrap_or("none").to_owned();
        reply(of("X-One") + "," + &of("X-Two")).vary("X-One, X-Two").max_age(60)
    });
    origin.route("/a", both);
    let edge = edge().origin(&origin).start();
    for (one, two) in [("1", "1"), ("1", "2"), ("2", "1"), ("1", "1")] {
        let answer = edge.get_with("/a", &[("X-One", one), ("X-Two", two)]).await;
        assert_eq!(answer.text(), format!("{one},{two}"));
    }
    assert_eq!(origin.fetches("/a"), 3);
}

#[tokio::test]
async fn the_number_of_variants_is_bounded() {
    let origin = Origin::start().await;
    origin.route("/a", by("X-Any"));
    let edge = edge().origin(&origin).tables("[limits]\nvariants = 4").start();
    for value in 0..20 {
        edge.get_with("/a", &[("X-Any", &value.to_string())]).await;
    }
    assert_eq!(edge.explain("/a").variants.len(), 4);
    assert_eq!(edge.get_with("/a", &[("X-Any", "19")]).await.handled(), "hit");
}

/// A response to cross-origin requests of `allowed`, as several frameworks give it: other requests
/// get one without Vary.
fn cors(allowed: &'static [&'static str]) -> weir_origin_sim::Route {
    answer_with(|request| match request.header("Origin") {
        Some(origin) if allowed.contains(&origin) => {
            reply(origin.to_owned()).vary("Origin").max_age(60)
        }
        _ => reply("refused").max_age(60),
    })
}

#[tokio::test]
async fn a_response_without_vary_hides_no_other() {
    let origin = Origin::start().await;
    origin.route("/a", cors(&["https://one", "https://two"]));
    let edge = edge().origin(&origin).start();
    for (from, expected, handled) in [
        ("https://one", "https://one", "fwd=uri-miss; fwd-status=200; stored"),
        ("https://two", "https://two", "fwd=vary-miss; fwd-status=200; stored"),
        ("https://evil", "refused", "fwd=vary-miss; fwd-status=200; stored"),
        ("https://one", "https://one", "hit"),
        ("https://two", "https://two", "hit"),
        ("https://evil", "refused", "hit"),
    ] {
        let answer = edge.get_with("/a", &[("Origin", from)]).await;
        assert_eq!((answer.text().as_str(), answer.handled().as_str()), (expected, handled));
    }
    assert_eq!(edge.get("/a").await.text(), "refused");
    assert_eq!(origin.fetches("/a"), 3);
}

#[tokio::test]
async fn a_stale_response_with_vary_is_validated_before_a_fresh_one_without_is_used() {
    let origin = Origin::start().await;
    let page = |request: &weir_origin_sim::Recorded| match request.header("X-Kind") {
        Some("1") => stale_with("one", "max-age=1").vary("X-Kind").etag("\"1\""),
        _ => reply("plain").max_age(60),
    };
    origin.route("/a", answer_with(page));
    let edge = edge().origin(&origin).start();
    let one = [("X-Kind", "1")];
    edge.get_with("/a", &one).await;
    edge.get("/a").await;
    assert_eq!(edge.get("/a").await.handled(), "hit");
    let answer = edge.get_with("/a", &one).await;
    assert_eq!((answer.line().as_str(), origin.fetches("/a")), ("200 one", 3));
    // The origin makes no difference any more: its answer takes the place of the stored one.
    origin.route("/a", reply("plain").max_age(60));
    assert_eq!(edge.get_with("/a", &one).await.line(), "200 plain");
    let answer = edge.get_with("/a", &one).await;
    assert_eq!((answer.line().as_str(), answer.handled().as_str()), ("200 plain", "hit"));
}

#[tokio::test]
async fn a_request_with_a_stored_variant_takes_no_answer_without_vary_from_another_request() {
    let origin = Origin::start().await;
    let page = |request: &weir_origin_sim::Recorded| match request.header("X-Kind") {
        Some("1") => stale_with("one", "max-age=1").vary("X-Kind").etag("\"1\""),
        _ => stale_with("plain", "max-age=1").etag("\"0\""),
    };
    origin.route("/a", answer_with(page));
    let edge = edge().origin(&origin).start();
    edge.get_with("/a", &[("X-Kind", "1")]).await;
    edge.get("/a").await;
    let newer = |request: &weir_origin_sim::Recorded| match request.header("X-Kind") {
        Some("1") => reply("one again").vary("X-Kind").max_age(60),
        _ => held("plain again").max_age(60),
    };
    origin.route("/a", answer_with(newer));
    let first = edge.get_many("/a", 1);
    origin.until_requests("/a", 3).await;
    let second = edge.get_many_with("/a", &[("X-Kind", "1")], 1);
    edge.until_waiting("/a", 2).await;
    origin.release("/a");
    first.all("200 plain again").await;
    second.all("200 one again").await;
}
