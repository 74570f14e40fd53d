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
