//! Many clients, one fetch.

mod support;
use support::*;

#[tokio::test]
async fn a_crowd_causes_one_fetch() {
    let origin = Origin::start().await;
    origin.route("/a", held("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    let crowd = edge.get_many("/a", 100);
    edge.until_waiting("/a", 100).await;
    origin.release("/a");
    let answers = crowd.all("200 hello").await;
    let starters = answers.iter().filter(|answer| !answer.handled().contains("collapsed")).count();
    assert_eq!(starters, 1);
    assert_eq!(origin.fetches("/a"), 1);
    assert!(edge.node.metrics().contains("collapsed"), "it is counted");
}

#[tokio::test]
async fn the_one_that_started_it_may_leave() {
    const SIZE: u64 = 200_000;
    let origin = Origin::start().await;
    origin.route("/a", reply("").body_bytes(SIZE).held_after(SIZE / 2).max_age(60));
    let edge = edge().origin(&origin).start();
    let mut starter = edge.connect().await;
    starter.request("GET", "/a", &[], "").await;
    starter.head().await;
    starter.up_to(1000).await;
    let crowd = edge.get_many("/a", 20);
    edge.until_waiting("/a", 21).await;
    drop(starter);
    edge.until_waiting("/a", 20).await;
    origin.release("/a");
    for answer in crowd.answers().await {
        assert!(answer.whole && answer.body.len() as u64 == SIZE);
        assert_eq!(pattern::first_difference(0, 0, &answer.body), None);
    }
    assert_eq!(edge.get("/a").await.handled(), "hit");
    assert_eq!(origin.fetches("/a"), 1);
}

#[tokio::test]
async fn a_fill_that_everybody_left_is_stored_all_the_same() {
    let origin = Origin::start().await;
    origin.route("/a", held("hello").max_age(60).etag("\"v1\""));
    let edge = edge().origin(&origin).start();
    let mut starter = edge.connect().await;
    starter.request("GET", "/a", &[], "").await;
    origin.until_requests("/a", 1).await;
    drop(starter);
    origin.release("/a");
    edge.until_fresh("/a", "\"v1\"").await;
    assert_eq!(origin.counts("/a").aborted, 0);
}

/// What waits for its turn has cost the origin nothing: nobody is served by going on.
#[tokio::test]
async fn a_fill_that_everybody_left_before_its_turn_is_given_up() {
    let origin = Origin::start().await;
    origin.route("/held", held("held"));
    origin.default_route(reply("hello").max_age(60));
    let edge = edge()
        .origin(&origin)
        .site("timeouts = { first_byte = \"10m\" }")
        .tables("[limits]\norigin_connections = 1\n")
        .start();
    let mut first = edge.connect().await;
    first.request("GET", "/held", &[], "").await;
    origin.until_requests("/held", 1).await;
    let mut queued = edge.connect().await;
    queued.request("GET", "/a", &[], "").await;
    let stays = edge.get_many("/b", 1);
    let fills = || {
        let metrics = edge.node.metrics();
        let value = metrics.lines().find_map(|line| line.strip_prefix("weir_fills_running "));
        value.and_then(|value| value.parse::<u64>().ok())
    };
    until("both to wait", fills, |fills| *fills == Some(3)).await;
    drop(queued);
    until("one to be given up", fills, |fills| *fills == Some(2)).await;
    // Who comes now is not told of it.
    let again = edge.get_many("/a", 1);
    until("it to wait", fills, |fills| *fills == Some(3)).await;
    origin.release("/held");
    again.all("200 hello").await;
    stays.all("200 hello").await;
    assert_eq!((origin.fetches("/a"), origin.fetches("/b")), (1, 1));
}

#[tokio::test]
async fn an_origin_that_dies_midway_fails_all_visibly_and_the_next_request_tries_again() {
    const SIZE: u64 = 200_000;
    for chunked in [false, true] {
        let dying = reply("").body_bytes(SIZE).max_age(60).held_after(SIZE / 2);
        let dying = if chunked { dying.chunked() } else { dying }.truncate_after(SIZE / 2 + 1000);
        let origin = Origin::start().await;
        origin.route("/a", dying.then(reply("well").max_age(60)));
        let edge = edge().origin(&origin).start();
        let crowd = edge.get_many("/a", 20);
        edge.until_waiting("/a", 20).await;
        origin.until_requests("/a", 1).await;
        origin.release("/a");
        for answer in crowd.answers().await {
            assert!(!answer.whole, "chunked {chunked}: a cut body looks whole");
            assert_eq!(pattern::first_difference(0, 0, &answer.body), None);
        }
        assert_eq!(edge.explain("/a").state, "not-stored");
        let next = edge.get("/a").await;
        assert_eq!(next.line(), "200 well");
        assert_eq!(next.handled(), "fwd=uri-miss; fwd-status=200; stored");
        assert_eq!(origin.fetches("/a"), 2);
    }
}

#[tokio::test]
async fn an_origin_that_dies_before_its_answer_fails_all_with_502() {
    let origin = Origin::start().await;
    origin.route("/a", held("").reset_before_head().then(reply("well").max_age(60)));
    let edge = edge().origin(&origin).start();
    let crowd = edge.get_many("/a", 20);
    edge.until_waiting("/a", 20).await;
    origin.release("/a");
    for answer in crowd.answers().await {
        assert_eq!(answer.status, 502);
    }
    assert_eq!(origin.fetches("/a"), 1, "one failure is everybody's");
    assert_eq!(edge.get("/a").await.line(), "200 well");
}

#[tokio::test]
async fn what_is_not_stored_is_not_shared() {
    let origin = Origin::start().await;
    origin.route("/a", answer_with(|_| held("mine").header("Cache-Control", "private")));
    let edge = edge().origin(&origin).start();
    let crowd = edge.get_many("/a", 10);
    edge.until_waiting("/a", 10).await;
    origin.release("/a");
    crowd.all("200 mine").await;
    assert_eq!(origin.fetches("/a"), 10);
}

#[tokio::test]
async fn requests_for_what_is_not_stored_do_not_wait_for_one_another() {
    let origin = Origin::start().await;
    let page = |reply: Reply| reply.header("Cache-Control", "no-store");
    origin.route("/a", page(reply("first")).then(page(held("later"))));
    let edge = edge().origin(&origin).start();
    edge.get("/a").await;
    let crowd = edge.get_many("/a", 10);
    // All ten are at the origin at once: hit-for-miss.
    origin.until_requests("/a", 11).await;
    origin.release("/a");
    crowd.all("200 later").await;
}

#[tokio::test]
async fn what_was_uncacheable_and_is_no_longer_is_stored_again() {
    let origin = Origin::start().await;
    let never = reply("never").header("Cache-Control", "no-store");
    origin.route("/a", never.then(reply("now").max_age(60)));
    let edge = edge().origin(&origin).start();
    for (line, handled) in [
        ("200 never", "fwd=uri-miss; fwd-status=200; detail=no-store"),
        ("200 now", "fwd=uri-miss; fwd-status=200; stored"),
        ("200 now", "hit"),
    ] {
        let answer = edge.get("/a").await;
        assert_eq!((answer.line().as_str(), answer.handled().as_str()), (line, handled));
    }
}

#[tokio::test]
async fn a_crowd_with_different_selecting_fields_gets_each_its_own() {
    let origin = Origin::start().await;
    let by_language = answer_with(|request| {
        let language = request.header("Accept-Language").unwrap_or("none").to_owned();
        held(language).vary("Accept-Language").max_age(60)
    });
    origin.route("/a", by_language);
    let edge = edge().origin(&origin).start();
    let german = edge.get_many_with("/a", &[("Accept-Language", "de")], 10);
    let english = edge.get_many_with("/a", &[("Accept-Language", "en")], 10);
    edge.until_waiting("/a", 20).await;
    origin.until_requests("/a", 1).await;
    assert_eq!(origin.fetches("/a"), 1);
    origin.release("/a");
    german.all("200 de").await;
    english.all("200 en").await;
    assert_eq!(origin.fetches("/a"), 2);
}

#[tokio::test]
async fn a_fill_that_is_overtaken_before_its_head_arrives_does_not_stop_collapsing() {
    let origin = Origin::start().await;
    origin.route("/a", held("old").max_age(60).then(reply("posted")));
    let edge = edge().origin(&origin).start();
    let starter = edge.get_many("/a", 1);
    edge.until_waiting("/a", 1).await;
    origin.until_requests("/a", 1).await;
    edge.send("POST", "/a", &[], "x").await;
    origin.release("/a");
    starter.all("200 old").await;
    assert_eq!(edge.explain("/a").not_stored.expect("remembered").word, "overtaken");
    origin.route("/a", held("new").max_age(60));
    let crowd = edge.get_many("/a", 10);
    edge.until_waiting("/a", 10).await;
    origin.release("/a");
    crowd.all("200 new").await;
    assert_eq!(origin.fetches("/a"), 3);
}

#[tokio::test]
async fn a_client_that_leaves_is_no_failure_of_the_origin() {
    let origin = Origin::start().await;
    let page = reply("").body_bytes(4 << 20).held_after(2 << 20);
    origin.route("/large", page.clone().max_age(60));
    origin.route("/unknown", page.clone().chunked().max_age(60));
    origin.route("/private", page.header("Cache-Control", "private"));
    let edge = edge().origin(&origin).tables("[memory]\nmax_object = \"1MiB\"").start();
    for (target, why) in
        [("/large", "too-large"), ("/unknown", "too-large"), ("/private", "private")]
    {
        let mut client = edge.connect().await;
        client.request("GET", target, &[], "").await;
        client.head().await;
        client.up_to(1 << 20).await;
        let is_known = || edge.explain(target).not_stored.is_some();
        until("the reason is known", is_known, |known| *known).await;
        drop(client);
        until("the fetch ends", || origin.counts(target).aborted, |aborted| *aborted == 1).await;
        edge.until_waiting(target, 0).await;
        assert_eq!(edge.explain(target).not_stored.expect("remembered").word, why, "{target}");
    }
}
