//! What one client, or an origin, tries at the cost of others: each of these worked once.

mod support;
use support::*;

#[tokio::test]
async fn the_if_range_of_one_client_does_not_speak_for_another() {
    let origin = Origin::start().await;
    origin.route("/a", held("0123456789").ranges(true).etag("\"new\"").max_age(60));
    let edge = edge().origin(&origin).start();
    let range = ("Range", "bytes=0-3");
    let plain = edge.get_many_with("/a", &[range], 1);
    edge.until_waiting("/a", 1).await;
    let conditional = edge.get_many_with("/a", &[range, ("If-Range", "\"old\"")], 1);
    edge.until_waiting("/a", 2).await;
    origin.release("/a");
    plain.all("206 0123").await;
    // Its copy is of the old version: a part of the new one would spoil it.
    conditional.all("200 0123456789").await;
}

#[tokio::test]
async fn who_joins_a_running_fill_of_a_range_gets_the_range() {
    let origin = Origin::start().await;
    let large = reply("").body_bytes(100_000).ranges(true).etag("\"v\"").max_age(60);
    origin.route("/a", large.held_after(10));
    let edge = edge().origin(&origin).start();
    let fields = [("Range", "bytes=1000-1999")];
    let mut first = edge.connect().await;
    first.request("GET", "/a", &fields, "").await;
    let head = first.head().await;
    let late = edge.get_many_with("/a", &fields, 3);
    edge.until_waiting("/a", 4).await;
    origin.release("/a");
    let mut all = late.answers().await;
    all.push(first.rest("GET", head).await);
    for answer in all {
        assert_eq!((answer.status, answer.whole, answer.body.len()), (206, true, 1000));
        assert_eq!(pattern::first_difference(0, 1000, &answer.body), None);
    }
    assert_eq!(origin.fetches("/a"), 1);
}

#[tokio::test]
async fn a_range_of_nothing_does_not_stop_requests_from_being_collapsed() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").ranges(true).max_age(60));
    let edge = edge().origin(&origin).start();
    for range in ["bytes=999-", "bytes=0-0,2-2"] {
        edge.get_with("/a", &[("Range", range)]).await;
    }
    edge.purge(path("/a"));
    edge.get_with("/a", &[("Range", "bytes=999-")]).await;
    let before = origin.fetches("/a");
    origin.route("/a", held("hello").ranges(true).max_age(60));
    let crowd = edge.get_many("/a", 10);
    edge.until_waiting("/a", 10).await;
    origin.release("/a");
    crowd.all("200 hello").await;
    assert_eq!(origin.fetches("/a") - before, 1);
}

#[tokio::test]
async fn a_key_that_is_no_text_is_purged_like_any_other() {
    let origin = Origin::start().await;
    origin.route("/a", reply("old").max_age(60).then(reply("new").max_age(60)));
    let edge =
        edge().origin(&origin).site("key.headers = [\"X-Lang\"]\nkey.cookies = [\"c\"]").start();
    for request in [
        &b"GET /a HTTP/1.1\r\nHost: example.com\r\nX-Lang: \xff\r\n\r\n"[..],
        b"GET /a HTTP/1.1\r\nHost: example.com\r\nCookie: c=\xe9\r\n\r\n",
    ] {
        origin.route("/a", reply("old").max_age(60).then(reply("new").max_age(60)));
        assert_eq!(edge.raw(request).await.line(), "200 old");
        assert_eq!(edge.raw(request).await.handled(), "hit");
        edge.purge(path("/a"));
        assert_eq!(edge.raw(request).await.line(), "200 new");
    }
}

#[tokio::test]
async fn a_host_that_moves_to_another_site_leaves_what_was_stored_for_it_behind() {
    let (one, other) = (Origin::start().await, Origin::start().await);
    one.default_route(reply("one").max_age(60));
    other.default_route(reply("other").max_age(60));
    let sites = |hosts: &str, others: &str| {
        let url = other.url();
        edge()
            .tables(&format!("[[site]]\nid = \"other\"\nhosts = {others}\norigins = [\"{url}\"]"))
            .origin(&one)
            .site(&format!("hosts = {hosts}"))
    };
    let edge = sites("[\"a.example\", \"stays.example\"]", "[\"b.example\"]").start();
    let host = |host: &'static str| [("Host", host)];
    for name in ["a.example", "stays.example"] {
        assert_eq!(edge.get_with("/", &host(name)).await.line(), "200 one");
    }
    let moved = sites("[\"stays.example\"]", "[\"a.example\", \"b.example\"]").config();
    assert_eq!(edge.node.reload(moved).expect("a configuration"), Vec::<&str>::new());
    assert_eq!(edge.get_with("/", &host("a.example")).await.line(), "200 other");
    assert_eq!(edge.get_with("/", &host("stays.example")).await.handled(), "hit");
}

#[tokio::test]
async fn a_page_in_a_browser_cannot_purge() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    // Nobody answers purges here: 503 is what one that is let in gets.
    assert_eq!(edge.ask("PURGE", "/a", &[]).await.status, 503);
    for field in
        [("Origin", "http://evil.example"), ("Origin", "null"), ("Sec-Fetch-Site", "same-origin")]
    {
        assert_eq!(edge.ask("PURGE", "/a", &[field]).await.status, 403, "{field:?}");
    }
}

#[tokio::test]
async fn two_lengths_of_what_does_not_follow_are_none() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").two_lengths(3, 4).close());
    let edge = edge().origin(&origin).start();
    // With a cookie it passes as HEAD.
    let answer = edge.ask("HEAD", "/a", &[("Cookie", "a=1")]).await;
    assert_eq!((answer.status, answer.field("content-length")), (200, None));
    // Without, it is fetched with GET, whose body has no certain end.
    assert_eq!(edge.ask("HEAD", "/a", &[]).await.status, 502);
}

#[tokio::test]
async fn fields_that_poison_do_not_pass_with_underscores() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    edge.get_with("/a", &[("X_Forwarded_Host", "evil"), ("X-Original_URL", "/evil")]).await;
    let asked = &origin.requests("/a")[0];
    let passed = asked.headers.iter().filter(|(name, _)| name.contains('_'));
    assert_eq!(passed.count(), 0, "{:?}", asked.headers);
}
