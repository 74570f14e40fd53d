//! Which requests are answered with a response that another request fetched (RFC 9111 §4).

mod support;
use std::time::{Duration, Instant};
use support::*;
use weir_origin_sim::Recorded;

/// What needs validation before each use, and with which header a user is told apart.
const VALIDATED: [(&str, &str, &str); 11] = [
    ("Cookie", "Cache-Control", "max-age=0"),
    ("Cookie", "Cache-Control", "max-age=0, must-revalidate"),
    ("Cookie", "Cache-Control", "no-cache, max-age=0"),
    ("Cookie", "Cache-Control", "no-cache, max-age=60"),
    ("Cookie", "Cache-Control", "s-maxage=0"),
    ("Cookie", "Expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Authorization", "Cache-Control", "max-age=0, must-revalidate"),
    ("Authorization", "Cache-Control", "no-cache, must-revalidate"),
    ("Authorization", "Cache-Control", "public, no-cache"),
    ("Authorization", "Cache-Control", "s-maxage=0"),
    ("X-User", "Cache-Control", "no-cache"),
];

/// The user whom a request is from.
fn user(request: &Recorded, by: &str) -> String {
    request.header(by).unwrap_or("nobody").to_owned()
}

/// A page of each user, with an ETag of its own, held until it is released.
fn pages(
    by: &'static str,
    name: &'static str,
    value: &'static str,
) -> impl Into<weir_origin_sim::Route> {
    answer_with(move |request| {
        let user = user(request, by);
        held(user.clone()).etag(format!("\"{user}\"")).conditional(true).header(name, value)
    })
}

/// Every user of `crowds`, each on the node named, gets the page of that user.
async fn each_has_its_own(crowds: Vec<(&str, Crowd)>, context: &str) {
    for (user, crowd) in crowds {
        for answer in crowd.answers().await {
            assert_eq!(answer.line(), format!("200 {user}"), "{context}");
            let collapsed = handled(&answer).iter().any(|node| node.contains("collapsed"));
            assert!(!collapsed, "{context}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn users_whose_requests_overlap_get_each_their_own() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    for (number, (by, name, value)) in VALIDATED.into_iter().enumerate() {
        let target = format!("/{number}");
        origin.route(&target, pages(by, name, value));
        let mut crowds = Vec::new();
        for (waiting, user) in ["ann", "bob", "cid"].into_iter().enumerate() {
            crowds.push((user, edge.get_many_with(&target, &[(by, user)], 2)));
            edge.until_waiting(&target, 2 * (waiting + 1)).await;
        }
        origin.release(&target);
        each_has_its_own(crowds, &format!("{by}, {name}: {value}")).await;
        assert_eq!(origin.fetches(&target), 6, "{by}, {name}: {value}");
    }
}

#[tokio::test]
async fn and_so_do_they_through_edges_and_a_parent() {
    let tiers = Tiers::start("").await;
    let (origin, parent) = (&tiers.origin, &tiers.parent.0);
    let [(one, _), (two, _)] = &tiers.edges;
    for (number, (by, name, value)) in VALIDATED.into_iter().enumerate() {
        let target = format!("/{number}");
        origin.route(&target, pages(by, name, value));
        let first = one.get_many_with(&target, &[(by, "ann")], 1);
        parent.until_waiting(&target, 1).await;
        let second = one.get_many_with(&target, &[(by, "bob")], 1);
        one.until_waiting(&target, 2).await;
        // Waits at the parent.
        let third = two.get_many_with(&target, &[(by, "cid")], 1);
        parent.until_waiting(&target, 2).await;
        origin.release(&target);
        let crowds = vec![("ann", first), ("bob", second), ("cid", third)];
        each_has_its_own(crowds, &format!("{by}, {name}: {value}")).await;
        assert_eq!(origin.fetches(&target), 3, "{by}, {name}: {value}");
    }
}

#[tokio::test]
async fn what_is_stored_under_no_cache_is_validated_by_each_request_at_once() {
    let origin = Origin::start().await;
    let page = |request: &Recorded| {
        let user = user(request, "Cookie");
        let page = reply(user.clone()).etag(format!("\"{user}\"")).conditional(true);
        let page = page.header("Cache-Control", "no-cache, max-age=60");
        if user == "ann" { page } else { page.held() }
    };
    origin.route("/a", answer_with(page));
    let edge = edge().origin(&origin).start();
    edge.get_with("/a", &[("Cookie", "ann")]).await;
    let others =
        ["bob", "cid"].map(|user| (user, edge.get_many_with("/a", &[("Cookie", user)], 1)));
    // Both are at the origin: neither waits for the other.
    origin.until_requests("/a", 3).await;
    let asked = origin.requests("/a");
    assert!(asked[1..].iter().all(|request| request.header("If-None-Match") == Some("\"ann\"")));
    origin.release("/a");
    each_has_its_own(others.into(), "no-cache").await;
}

/// Requests that validate one response at the same time: the origin says to each that it is
/// current, each is answered with it, and it stays stored.
#[tokio::test]
async fn many_validate_one_response_at_once() {
    let origin = Origin::start().await;
    let page = || reply("same").etag("\"v\"").conditional(true).header("Cache-Control", "no-cache");
    origin.route("/a", page().then(page().held()));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    let crowd = edge.get_many("/a", 10);
    origin.until_requests("/a", 11).await;
    origin.release("/a");
    for answer in crowd.all("200 same").await {
        assert!(answer.handled().contains("fwd=stale; fwd-status=304"), "{answer:?}");
    }
    let explained = edge.explain("/a");
    assert_eq!(explained.state, "stale");
    assert_eq!(origin.fetches("/a"), 11);
}

#[tokio::test]
async fn a_validation_whose_304_says_no_cache_answers_who_asked_alone() {
    let origin = Origin::start().await;
    let validated = |request: &Recorded| match request.header("If-None-Match") {
        None => stale("old").etag("\"v\""),
        Some(_) if user(request, "Cookie") == "ann" => {
            held("").status(304).etag("\"v\"").header("Cache-Control", "no-cache, max-age=60")
        }
        Some(_) => reply(user(request, "Cookie")).header("Cache-Control", "no-cache"),
    };
    origin.route("/a", answer_with(validated));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    let ann = edge.get_many_with("/a", &[("Cookie", "ann")], 1);
    edge.until_waiting("/a", 1).await;
    let bob = edge.get_many_with("/a", &[("Cookie", "bob")], 1);
    edge.until_waiting("/a", 2).await;
    origin.release("/a");
    ann.all("200 old").await;
    bob.all("200 bob").await;
}

#[tokio::test]
async fn a_range_of_what_another_fetches_whole_is_not_anothers_bytes() {
    let origin = Origin::start().await;
    origin.route("/a", pages("Cookie", "Cache-Control", "no-cache, max-age=60"));
    let edge = edge().origin(&origin).start();
    let ann = edge.get_many_with("/a", &[("Cookie", "ann")], 1);
    edge.until_waiting("/a", 1).await;
    let bob = edge.get_many_with("/a", &[("Cookie", "bob"), ("Range", "bytes=0-")], 1);
    edge.until_waiting("/a", 2).await;
    origin.release("/a");
    ann.all("200 ann").await;
    for answer in bob.answers().await {
        assert_eq!(answer.text(), "bob");
    }
}

#[tokio::test]
async fn what_one_users_refresh_brings_is_not_for_those_who_joined_it() {
    let origin = Origin::start().await;
    let page = |request: &Recorded| match user(request, "Cookie").as_str() {
        "nobody" => reply("all").max_age(10_000).header("Age", "9500").etag("\"v\""),
        user => held(user.to_owned())
            .header("Cache-Control", "no-cache, max-age=60")
            .etag(format!("\"{user}\"")),
    };
    origin.route("/a", answer_with(page));
    let edge = edge().origin(&origin).site("client_cache_control = true").start();
    for _ in 0..4 {
        edge.get("/a").await;
    }
    edge.get_with("/a", &[("Cookie", "ann")]).await;
    origin.until_requests("/a", 2).await;
    let bob = [("Cookie", "bob"), ("Cache-Control", "no-cache")];
    let bob = edge.get_many_with("/a", &bob, 1);
    edge.until_waiting("/a", 1).await;
    origin.release("/a");
    bob.all("200 bob").await;
}

#[tokio::test]
async fn an_origin_slower_than_the_lifetime_is_asked_once_by_those_who_wait() {
    let slow = |body: &str| reply(body.to_owned()).max_age(1).delay(Duration::from_millis(1200));
    let tagged = |body: &str| slow(body).etag(format!("\"{body}\""));
    let origin = Origin::start().await;
    origin.route("/tagged", tagged("first").then(tagged("second")).then(tagged("third")));
    origin.route("/plain", slow("first").then(slow("second")).then(slow("third")));
    let edge = edge().origin(&origin).start();
    for target in ["/tagged", "/plain"] {
        // Stale for those who come later, who share the next response among them.
        for (body, fetches) in [("200 first", 1), ("200 second", 2)] {
            edge.get_many(target, 10).all(body).await;
            assert_eq!(origin.fetches(target), fetches, "{target}");
        }
        assert_eq!(edge.get(target).await.line(), "200 third", "{target}");
    }
}

#[tokio::test]
async fn a_lifetime_of_0_lets_nobody_else_have_it_stale() {
    let origin = Origin::start().await;
    let page = reply("ann").header("Cache-Control", "max-age=0").etag("\"ann\"");
    origin.route(
        "/a",
        page.then(reply("down").status(503).times(1)).then(reply("").reset_before_head()),
    );
    let edge = edge()
        .origin(&origin)
        .site("stale = { while_revalidate = \"1h\", if_error = \"1h\", when_unreachable = \"1h\" }")
        .start();
    edge.get_with("/a", &[("Cookie", "ann")]).await;
    assert_eq!(edge.get_with("/a", &[("Cookie", "bob")]).await.line(), "503 down");
    assert_eq!(edge.get_with("/a", &[("Cookie", "cid")]).await.status, 502);
}

#[tokio::test]
async fn a_body_that_takes_longer_than_its_lifetime_is_not_joined_by_those_who_come_after_it() {
    const SIZE: u64 = 100_000;
    let page = |body: Reply| body.max_age(1).etag("\"v\"");
    let origin = Origin::start().await;
    let first = page(reply("").body_bytes(SIZE)).held_after(SIZE / 2);
    origin.route("/a", first.then(page(reply("later"))));
    let edge = edge().origin(&origin).start();
    let mut starter = edge.connect().await;
    starter.request("GET", "/a", &[], "").await;
    starter.head().await;
    let arrived = Instant::now();
    let is_over = |elapsed: &Duration| *elapsed > Duration::from_secs(1);
    until("the lifetime to be over", || arrived.elapsed(), is_over).await;
    assert_eq!(edge.get("/a").await.line(), "200 later");
    origin.release("/a");
}
