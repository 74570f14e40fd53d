//! Parts of representations: answered from what is stored or arriving, stored, and combined
//! (RFC 9110 §14, RFC 9111 §3.3 and §3.4).

mod support;
use support::*;

const DIGITS: &str = "0123456789";

fn digits() -> Reply {
    reply(DIGITS).max_age(60).etag("\"v1\"").content_type("text/plain")
}

fn bytes(range: &str) -> [(&'static str, &str); 1] {
    [("Range", range)]
}

#[tokio::test]
async fn a_stored_whole_answers_any_part() {
    let origin = Origin::start().await;
    origin.route("/a", digits());
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    for (range, line, content_range) in [
        ("bytes=0-3", "206 0123", Some("bytes 0-3/10")),
        ("bytes=4-", "206 456789", Some("bytes 4-9/10")),
        ("bytes=-2", "206 89", Some("bytes 8-9/10")),
        ("bytes=8-100", "206 89", Some("bytes 8-9/10")),
        ("bytes=10-", "416 ", Some("bytes */10")),
        ("bytes=3-2", "200 0123456789", None),
        ("lines=0-1", "200 0123456789", None),
        ("nonsense", "200 0123456789", None),
    ] {
        let answer = edge.get_with("/a", &bytes(range)).await;
        assert_eq!(answer.line(), line, "{range}");
        assert_eq!(answer.field("content-range"), content_range, "{range}");
        assert_eq!(answer.handled(), "hit", "{range}");
    }
    assert_eq!(origin.fetches("/a"), 1);
}

#[tokio::test]
async fn several_parts_come_as_multipart() {
    let origin = Origin::start().await;
    origin.route("/a", digits());
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    let answer = edge.get_with("/a", &bytes("bytes=0-1,7-8")).await;
    assert_eq!(answer.status, 206);
    let kind = answer.field("content-type").expect("a type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect(kind);
    let part = |range: &str, content: &str| {
        format!(
            "--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/10\r\n\r\n\
             {content}\r\n"
        )
    };
    let expected = part("0-1", "01") + &part("7-8", "78") + &format!("--{boundary}--\r\n");
    assert_eq!(answer.text().trim_start().to_lowercase(), expected.to_lowercase());
    assert!(answer.whole);
}

#[tokio::test]
async fn if_range_decides_between_part_and_whole() {
    let origin = Origin::start().await;
    origin.route("/a", digits());
    origin.route("/weak", reply(DIGITS).max_age(60).etag("W/\"v1\""));
    let edge = edge().origin(&origin).start();
    for (target, condition, status) in [
        ("/a", "\"v1\"", 206),
        ("/a", "\"v0\"", 200),
        ("/a", "W/\"v1\"", 200),
        ("/a", "Mon, 01 Jan 2024 00:00:00 GMT", 200),
        ("/weak", "W/\"v1\"", 200),
    ] {
        edge.get(target).await;
        let fields = [("Range", "bytes=0-3"), ("If-Range", condition)];
        assert_eq!(edge.get_with(target, &fields).await.status, status, "{target} {condition}");
    }
}

#[tokio::test]
async fn a_part_of_a_running_fill_is_sent_as_soon_as_it_is_there() {
    let origin = Origin::start().await;
    origin.route("/a", digits().held_after(5));
    let edge = edge().origin(&origin).start();
    let mut starter = edge.connect().await;
    starter.request("GET", "/a", &[], "").await;
    let head = starter.head().await;
    let part = edge.get_with("/a", &bytes("bytes=1-3")).await;
    assert_eq!(part.line(), "206 123");
    assert_eq!(part.handled(), "fwd=uri-miss; fwd-status=200; stored; collapsed");
    origin.release("/a");
    assert_eq!(starter.rest("GET", head).await.text(), DIGITS);
    assert_eq!(origin.fetches("/a"), 1);
}

#[tokio::test]
async fn a_part_is_stored_as_a_part() {
    let origin = Origin::start().await;
    origin.route("/a", digits().ranges(true));
    let edge = edge().origin(&origin).start();
    let first = edge.get_with("/a", &bytes("bytes=2-6")).await;
    assert_eq!(first.line(), "206 23456");
    assert_eq!(first.field("content-range"), Some("bytes 2-6/10"));
    assert_eq!(origin.requests("/a")[0].header("Range"), Some("bytes=2-6"));
    let within = edge.get_with("/a", &bytes("bytes=3-4")).await;
    assert_eq!((within.line().as_str(), within.handled().as_str()), ("206 34", "hit"));
    assert_eq!(within.field("content-range"), Some("bytes 3-4/10"));
    assert_eq!(origin.fetches("/a"), 1);
    let explained = edge.explain("/a").selected.expect("a part");
    assert_eq!((explained.bytes, explained.complete_length), (5, Some(10)));
}

#[tokio::test]
async fn parts_are_combined_under_a_strong_validator() {
    let origin = Origin::start().await;
    origin.route("/a", digits().ranges(true));
    let edge = edge().origin(&origin).start();
    for (range, line) in [("bytes=6-9", "206 6789"), ("bytes=0-5", "206 012345")] {
        assert_eq!(edge.get_with("/a", &bytes(range)).await.line(), line);
    }
    let whole = edge.get("/a").await;
    assert_eq!((whole.line().as_str(), whole.handled().as_str()), ("200 0123456789", "hit"));
    assert_eq!(whole.number("content-length"), Some(10));
    assert_eq!(whole.field("content-range"), None);
    assert_eq!(origin.fetches("/a"), 2);
}

#[tokio::test]
async fn parts_are_never_combined_without_a_strong_validator() {
    for etag in [None, Some("W/\"v1\"")] {
        let origin = Origin::start().await;
        let version = |body: &str| {
            let reply = reply(body.to_owned()).max_age(60).ranges(true);
            etag.map_or(reply.clone(), |etag| reply.etag(etag))
        };
        origin.route("/a", sequence([version(DIGITS), version("abcdefghij")]));
        let edge = edge().origin(&origin).start();
        assert_eq!(edge.get_with("/a", &bytes("bytes=0-4")).await.line(), "206 01234");
        assert_eq!(edge.get_with("/a", &bytes("bytes=5-9")).await.line(), "206 fghij");
        let whole = edge.get("/a").await;
        assert_eq!(whole.line(), "200 abcdefghij", "{etag:?}");
        assert_eq!(edge.get("/a").await.line(), "200 abcdefghij", "{etag:?}");
        let asked = origin.requests("/a");
        assert_eq!(asked.last().expect("some").header("Range"), None, "{etag:?}");
    }
}

#[tokio::test]
async fn parts_of_two_versions_are_never_combined() {
    let origin = Origin::start().await;
    let second = reply("abcdefghij").max_age(60).etag("\"v2\"").ranges(true);
    origin.route("/a", sequence([digits().ranges(true), second]));
    let edge = edge().origin(&origin).start();
    assert_eq!(edge.get_with("/a", &bytes("bytes=0-4")).await.line(), "206 01234");
    assert_eq!(edge.get_with("/a", &bytes("bytes=5-9")).await.line(), "206 fghij");
    assert_eq!(edge.get("/a").await.line(), "200 abcdefghij");
}

#[tokio::test]
async fn a_stored_beginning_is_completed_by_its_rest() {
    let origin = Origin::start().await;
    origin.route("/a", digits().ranges(true));
    let edge = edge().origin(&origin).start();
    edge.get_with("/a", &bytes("bytes=0-3")).await;
    let whole = edge.get("/a").await;
    assert_eq!(whole.line(), "200 0123456789");
    assert!(whole.handled().starts_with("fwd=partial; fwd-status=20"), "{whole:?}");
    assert_eq!(whole.field("content-range"), None);
    let rest = &origin.requests("/a")[1];
    assert_eq!(rest.header("Range"), Some("bytes=4-"));
    assert_eq!(rest.header("If-Range"), Some("\"v1\""));
    assert_eq!(edge.get("/a").await.handled(), "hit");
}

#[tokio::test]
async fn a_beginning_of_an_older_version_is_not_completed() {
    let origin = Origin::start().await;
    let second = reply("abcdefghij").max_age(60).etag("\"v2\"").ranges(true);
    origin.route("/a", sequence([digits().ranges(true), second]));
    let edge = edge().origin(&origin).start();
    edge.get_with("/a", &bytes("bytes=0-3")).await;
    assert_eq!(edge.get("/a").await.line(), "200 abcdefghij");
    assert_eq!(edge.get("/a").await.line(), "200 abcdefghij");
}

#[tokio::test]
async fn a_whole_that_answers_a_range_is_stored_whole() {
    let origin = Origin::start().await;
    origin.route("/a", digits());
    let edge = edge().origin(&origin).start();
    assert_eq!(edge.get_with("/a", &bytes("bytes=2-3")).await.line(), "206 23");
    assert_eq!(edge.get("/a").await.line(), "200 0123456789");
    assert_eq!(origin.fetches("/a"), 1);
}

#[tokio::test]
async fn an_error_that_answers_a_range_is_not_stored() {
    let origin = Origin::start().await;
    origin.route("/a", sequence([reply("down").status(404).max_age(60), digits()]));
    let edge = edge().origin(&origin).start();
    assert_eq!(edge.get_with("/a", &bytes("bytes=0-3")).await.status, 404);
    assert_eq!(edge.get("/a").await.line(), "200 0123456789");
}

/// `count` clients that ask for one byte each, of different places.
fn one_byte_each(edge: &Edge, count: usize) -> Vec<(usize, Crowd)> {
    let one = |at: usize| (at, edge.get_many_with("/a", &bytes(&format!("bytes={at}-{at}")), 1));
    (0..count).map(one).collect()
}

#[tokio::test]
async fn an_origin_that_ignores_range_is_asked_once_for_many_ranges() {
    let origin = Origin::start().await;
    origin.route("/a", held(DIGITS).max_age(60));
    let edge = edge().origin(&origin).start();
    let crowds = one_byte_each(&edge, 10);
    edge.until_waiting("/a", 10).await;
    origin.release("/a");
    for (at, crowd) in crowds {
        crowd.all(&format!("206 {at}")).await;
    }
    assert_eq!(origin.fetches("/a"), 1);
}

#[tokio::test]
async fn an_origin_that_answers_ranges_lets_others_wait_for_its_first_head_only() {
    let origin = Origin::start().await;
    origin.route("/a", digits().ranges(true).held());
    let edge = edge().origin(&origin).start();
    let crowds = one_byte_each(&edge, 10);
    edge.until_waiting("/a", 10).await;
    origin.until_requests("/a", 1).await;
    assert_eq!(origin.fetches("/a"), 1, "nine wait for the head");
    origin.release("/a");
    // All that waited ask at once.
    for (at, crowd) in crowds {
        crowd.all(&format!("206 {at}")).await;
    }
    assert_eq!(origin.fetches("/a"), 10);
    // It is remembered.
    edge.purge(path("/a"));
    origin.route("/a", digits().ranges(true).held());
    let asked = origin.fetches("/a");
    let crowds = one_byte_each(&edge, 10);
    origin.until_requests("/a", asked + 10).await;
    origin.release("/a");
    for (at, crowd) in crowds {
        crowd.all(&format!("206 {at}")).await;
    }
}

#[tokio::test]
async fn a_whole_that_is_not_stored_answers_only_ranges_within_the_window() {
    const SIZE: u64 = 3 << 20;
    let origin = Origin::start().await;
    origin.route("/a", reply("").body_bytes(SIZE).held().max_age(60));
    let tables = "[memory]\nmax_object = \"1MiB\"\n[limits]\nfill_window = \"256KiB\"";
    let edge = edge().origin(&origin).tables(tables).start();
    let ask = |range: &str| edge.get_many_with("/a", &bytes(range), 1);
    let crowds = [ask("bytes=0-9"), ask("bytes=1000-1009"), ask("bytes=3000000-3000009")];
    edge.until_waiting("/a", 3).await;
    origin.release("/a");
    // The last is passed on by itself, and the origin ignores its Range, too.
    let part = |at| (206, at, 10);
    let expected = [part(0), part(1000), (200, 0, 3 << 20)];
    for (crowd, (status, at, length)) in crowds.into_iter().zip(expected) {
        for answer in crowd.answers().await {
            let found = (answer.status, answer.whole, answer.body.len());
            assert_eq!(found, (status, true, length), "{at}");
            assert_eq!(pattern::first_difference(0, at, &answer.body), None, "{at}");
        }
    }
    assert_eq!(origin.fetches("/a"), 2);
}
