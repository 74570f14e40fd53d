//! `cookies` of a site: what is ignored, what is part of the key, and what makes requests skip the store.

mod support;
use support::*;
use weir_origin_sim::Recorded;

const IGNORED: &str = "cookies = { ignore = [\"analytics\", \"lang*\"] }";
const BYPASS: &str = "cookies = { bypass = [\"wordpress_logged_in_*\"] }";
const SESSION: (&str, &str) = ("Cookie", "_ga=1; wordpress_logged_in_5f3a=ann");
const SKIPPED: &str = "fwd=bypass; fwd-status=200; detail=bypass-cookie";
const STORED: &str = "fwd=uri-miss; fwd-status=200; stored";

/// The Cookie of each request that the origin got for a target.
fn cookies(origin: &Origin, target: &str) -> Vec<Option<String>> {
    let requests = origin.requests(target);
    requests.iter().map(|request| request.header("Cookie").map(str::to_owned)).collect()
}

fn is_logged_in(request: &Recorded) -> bool {
    request.header("Cookie").is_some_and(|cookie| cookie.contains("logged"))
}

/// A page for everyone, and one for who is logged in.
async fn site(own: Reply, everyones: Reply) -> Origin {
    let origin = Origin::start().await;
    let page = move |request: &Recorded| match is_logged_in(request) {
        true => own.clone(),
        false => everyones.clone(),
    };
    origin.default_route(answer_with(page));
    origin
}

#[tokio::test]
async fn visitors_whom_analytics_follows_share_a_page() {
    let origin = Origin::start().await;
    let vary = ("Vary", "Accept-Encoding, Cookie");
    origin.route("/explicit", reply("page").max_age(60).header(vary.0, vary.1));
    origin.route("/heuristic", reply("page").last_modified_secs_ago(864_000));
    let edge = edge().origin(&origin).site(IGNORED).start();
    for target in ["/explicit", "/heuristic"] {
        for visitor in 0..100 {
            let cookie = format!("_ga=GA1.1.{visitor}; language=de; _ga_X{visitor}=1");
            let answer = edge.get_with(target, &[("Cookie", &cookie)]).await;
            let expected = if visitor == 0 { STORED } else { "hit" };
            assert_eq!((&*answer.text(), &*answer.handled()), ("page", expected), "{target}");
        }
        assert_eq!(edge.get(target).await.handled(), "hit", "{target}");
        assert_eq!(cookies(&origin, target), [None], "{target}");
    }
}

#[tokio::test]
async fn vary_selects_by_the_cookies_that_remain() {
    let origin = Origin::start().await;
    let shown = |request: &Recorded| {
        let cookie = request.header("Cookie").unwrap_or("none").to_owned();
        reply(cookie).max_age(60).header("Vary", "Cookie")
    };
    origin.route("/a", answer_with(shown));
    let edge = edge().origin(&origin).site(IGNORED).start();
    for (sent, text, hit) in [
        ("_ga=1; theme=dark", "theme=dark", false),
        ("theme=dark; _gid=2", "theme=dark", true),
        ("theme=light; _ga=1", "theme=light", false),
        ("_ga=1", "none", false),
        ("lang=de", "none", true),
        ("theme=dark; theme=light", "theme=dark; theme=light", false),
    ] {
        let answer = edge.get_with("/a", &[("Cookie", sent)]).await;
        assert_eq!((&*answer.text(), answer.handled() == "hit"), (text, hit), "{sent}");
    }
}

#[tokio::test]
async fn the_origin_gets_no_ignored_cookie_whatever_asks_for_it() {
    let origin = Origin::start().await;
    origin.route("/stale", stale("old").etag("\"v\"").conditional(true));
    origin.route("/post", reply("done"));
    origin.route("/private", reply("own").header("Cache-Control", "private"));
    origin.route("/head", reply("page"));
    origin.route("/socket", reply("").upgrade_echo());
    let edge = edge().origin(&origin).site(IGNORED).start();
    let sent = [("Cookie", "_ga=1; a=1"), ("Cookie", "_gid=2; b=2")];
    for target in ["/stale", "/stale", "/private", "/private"] {
        edge.get_with(target, &sent).await;
    }
    edge.ask("POST", "/post", &sent).await;
    edge.ask("HEAD", "/head", &sent).await;
    let mut client = edge.connect().await;
    let upgrade = [("Connection", "upgrade"), ("Upgrade", "websocket")];
    client.request("GET", "/socket", &[sent, upgrade].concat(), "").await;
    assert_eq!(client.head().await.status, 101);
    for target in ["/stale", "/private", "/post", "/head", "/socket"] {
        let got = cookies(&origin, target);
        assert!(
            !got.is_empty() && got.iter().all(|got| got.as_deref() == Some("a=1; b=2")),
            "{got:?}"
        );
    }
    assert!(origin.requests("/stale")[1].header("If-None-Match").is_some(), "it was validated");
}

#[tokio::test]
async fn all_cookies_but_those_of_the_key_may_be_ignored() {
    let origin = Origin::start().await;
    let shown = |request: &Recorded| {
        reply(request.header("Cookie").unwrap_or("none").to_owned()).max_age(60)
    };
    origin.route("/a", answer_with(shown));
    let rules = "cookies = { ignore = [\"*\"], key = [\"currency\"] }";
    let edge = edge().origin(&origin).site(rules).start();
    for (sent, text, hit) in [
        ("consent=1; currency=EUR; _ga=1", "currency=EUR", false),
        ("currency=EUR; sid=2", "currency=EUR", true),
        ("currency=USD", "currency=USD", false),
        ("consent=2; Currency=USD", "none", false),
        ("a=1", "none", true),
    ] {
        let answer = edge.get_with("/a", &[("Cookie", sent)]).await;
        assert_eq!((&*answer.text(), answer.handled() == "hit"), (text, hit), "{sent}");
    }
    // A purge of the path takes the pages of all currencies.
    edge.purge(path("/a"));
    for cookie in ["currency=EUR", "currency=USD", "a=1"] {
        let handled = edge.get_with("/a", &[("Cookie", cookie)]).await.handled();
        assert_eq!(handled, STORED, "{cookie}");
    }
}

#[tokio::test]
async fn who_skips_the_store_neither_reads_nor_fills_it() {
    let origin = site(reply("hello ann").max_age(60), reply("page").max_age(60)).await;
    let edge = edge().origin(&origin).site(BYPASS).start();
    for _ in 0..2 {
        let own = edge.get_with("/a", &[SESSION]).await;
        assert_eq!((&*own.text(), &*own.handled()), ("hello ann", SKIPPED));
    }
    assert_eq!(edge.get("/a").await.handled(), STORED, "nothing of it was stored");
    assert_eq!(edge.get_with("/a", &[SESSION]).await.text(), "hello ann");
    let public = edge.get_with("/a", &[("Cookie", "_ga=1")]).await;
    assert_eq!((&*public.text(), &*public.handled()), ("page", "hit"));
    // Every spelling that the origin may read as the cookie.
    for cookie in
        ["wordpress.logged_in_1=ann", "a=1,wordpress_logged_in_1=ann", "a;wordpress_logged_in_"]
    {
        let own = edge.get_with("/a", &[("Cookie", cookie)]).await;
        assert_eq!((&*own.text(), &*own.handled()), ("hello ann", SKIPPED), "{cookie}");
    }
    let metrics = edge.node.metrics();
    assert!(metrics.contains("weir_cookie_bypasses_total 6"), "{metrics}");
}

#[tokio::test]
async fn who_skips_the_store_joins_no_fill_and_is_joined_by_none() {
    let origin = Origin::start().await;
    let page = |request: &Recorded| match is_logged_in(request) {
        true => reply("hello ann").max_age(60),
        false => held("page").max_age(60),
    };
    origin.route("/a", answer_with(page));
    let edge = edge().origin(&origin).site(BYPASS).start();
    let crowd = edge.get_many("/a", 3);
    edge.until_waiting("/a", 3).await;
    assert_eq!(edge.get_with("/a", &[SESSION]).await.text(), "hello ann");
    origin.release("/a");
    crowd.all("200 page").await;
    assert_eq!(origin.fetches("/a"), 2);
}

#[tokio::test]
async fn what_who_skips_the_store_is_answered_says_nothing_about_the_url() {
    let gone = reply("gone").status(404);
    let origin = site(gone, reply("page").max_age(60)).await;
    let edge = edge().origin(&origin).site(BYPASS).start();
    edge.get("/a").await;
    assert_eq!(edge.get_with("/a", &[SESSION]).await.status, 404);
    assert_eq!(edge.ask("HEAD", "/a", &[SESSION]).await.head.status, 404);
    assert_eq!(edge.get("/a").await.handled(), "hit", "nothing is withdrawn");
    // No hit-for-miss: those who come later wait for one fetch.
    let origin = Origin::start().await;
    let page = |request: &Recorded| match is_logged_in(request) {
        true => reply("own").header("Cache-Control", "no-store"),
        false => held("page").max_age(60),
    };
    origin.route("/b", answer_with(page));
    let edge = support::edge().origin(&origin).site(BYPASS).start();
    edge.get_with("/b", &[SESSION]).await;
    let crowd = edge.get_many("/b", 4);
    edge.until_waiting("/b", 4).await;
    origin.release("/b");
    crowd.all("200 page").await;
    assert_eq!(origin.fetches("/b"), 2);
}

#[tokio::test]
async fn a_head_of_who_skips_the_store_changes_nothing_that_is_stored() {
    let own = reply("hello ann").max_age(600).etag("\"own\"");
    let origin = site(own, reply("page").max_age(60).etag("\"page\"")).await;
    let edge = edge().origin(&origin).site(BYPASS).start();
    edge.get("/a").await;
    let head = edge.ask("HEAD", "/a", &[SESSION]).await;
    assert_eq!(head.field("etag"), Some("\"own\""));
    let hit = edge.get("/a").await;
    assert_eq!((hit.handled().as_str(), hit.field("etag")), ("hit", Some("\"page\"")));
}

#[tokio::test]
async fn what_who_skips_the_store_changes_is_removed_from_it() {
    let origin = site(reply("done"), reply("page").max_age(60)).await;
    let edge = edge().origin(&origin).site(BYPASS).start();
    edge.get("/a").await;
    edge.ask("POST", "/a", &[SESSION]).await;
    assert_eq!(edge.get("/a").await.handled(), STORED);
    // Its answer is not stored, even if it could be for others.
    let located = reply("own").max_age(60).header("Content-Location", "/c");
    origin.route("/c", located);
    edge.ask("POST", "/c", &[SESSION]).await;
    assert_eq!(edge.explain("/c").selected.map(|stored| stored.bytes), None);
}

#[tokio::test]
async fn a_stale_page_does_not_stand_in_for_who_skips_the_store() {
    let origin = site(reply("hello ann"), stale("page").etag("\"v\"")).await;
    let edge = edge().origin(&origin).site(BYPASS).start();
    edge.get("/a").await;
    let _refusing = out_of_reach(&origin).await;
    assert_eq!(edge.get("/a").await.line(), "200 page");
    assert_eq!(edge.get_with("/a", &[SESSION]).await.status, 502);
}

#[tokio::test]
async fn static_files_are_for_everyone_whatever_skips_the_store() {
    let origin = Origin::start().await;
    let style = || reply("body{}").max_age(60).content_type("text/css");
    origin.route("/style.css", style());
    let own = |request: &Recorded| match is_logged_in(request) {
        true => reply("own").max_age(60).content_type("text/css"),
        false => reply("").status(302).header("Location", "/login"),
    };
    origin.route("/members.css", answer_with(own));
    let edge = edge().origin(&origin).site(BYPASS).start();
    assert_eq!(edge.get_with("/style.css", &[SESSION]).await.handled(), STORED);
    assert_eq!(edge.get("/style.css").await.handled(), "hit");
    assert_eq!(edge.get_with("/style.css", &[SESSION]).await.handled(), "hit");
    assert_eq!(cookies(&origin, "/style.css"), [None]);
    for _ in 0..2 {
        let members = edge.get_with("/members.css", &[SESSION]).await;
        assert_eq!(members.line(), "200 own");
        assert_eq!(edge.get("/members.css").await.status, 302);
    }
    // Where static files have no rules of their own, they have those of pages.
    let all = format!("{BYPASS}\nanonymous_assets = false");
    let edge = support::edge().origin(&origin).site(&all).start();
    edge.get("/style.css").await;
    assert_eq!(edge.get_with("/style.css", &[SESSION]).await.handled(), SKIPPED);
}

/// A parent with `parents`' rules and two edges with `edges`' own, and an origin.
struct World {
    origin: Origin,
    parent: Edge,
    edges: [Edge; 2],
    _leashes: Vec<Leash>,
}

impl World {
    async fn of(origin: Origin, parents: &str, edges: &str) -> Self {
        let log = Log::new("one");
        let parent = parent_of("parent", &origin, "").site(parents).start();
        let edge = |name| edge_of(name, &origin, &[&parent], "").site(edges).start();
        let edges = [edge("edge-1"), edge("edge-2")];
        let mut leashes = vec![log.lead(&parent).await];
        for edge in &edges {
            leashes.push(log.lead(edge).await);
        }
        Self { origin, parent, edges, _leashes: leashes }
    }
}

#[tokio::test]
async fn a_parent_comes_to_the_same_key_and_the_same_decision() {
    let rules = "cookies = { ignore = [\"analytics\"], key = [\"currency\"], \
                 bypass = [\"wordpress_logged_in_*\"] }";
    let origin = site(reply("hello ann").max_age(60), reply("page").max_age(60)).await;
    let world = World::of(origin, rules, rules).await;
    let [one, two] = &world.edges;
    let (euro, dollar) = ([("Cookie", "_ga=1; currency=EUR")], [("Cookie", "currency=USD; _ga=2")]);
    one.get_with("/a", &euro).await;
    let second = two.get_with("/a", &[("Cookie", "currency=EUR; _ga=3")]).await;
    assert_eq!(handled(&second), ["parent; hit".to_owned(), format!("edge-2; {STORED}")]);
    let other = two.get_with("/a", &dollar).await;
    assert_eq!(handled(&other)[0], format!("parent; {STORED}"));
    assert_eq!(
        cookies(&world.origin, "/a"),
        [Some("currency=EUR".to_owned()), Some("currency=USD".to_owned())]
    );
    for edge in [one, two] {
        let own = edge.get_with("/a", &[SESSION]).await;
        assert_eq!(own.text(), "hello ann");
        let members = handled(&own);
        assert!(members.iter().all(|member| member.ends_with(SKIPPED)), "{members:?}");
    }
    assert_eq!(one.get_with("/a", &euro).await.text(), "page");
}

#[tokio::test]
async fn a_parent_is_told_who_skips_the_store_and_believes_only_nodes() {
    let origin = site(reply("hello ann").max_age(60), reply("page").max_age(60)).await;
    let world = World::of(origin, "", BYPASS).await;
    let [one, two] = &world.edges;
    let own = one.get_with("/a", &[SESSION]).await;
    assert_eq!(handled(&own), [format!("parent; {SKIPPED}"), format!("edge-1; {SKIPPED}")]);
    let public = two.get("/a").await;
    assert_eq!((&*public.text(), &*handled(&public)[0]), ("page", &*format!("parent; {STORED}")));
    // A static file that is not for everyone is not the parent's to store either.
    let members = |request: &Recorded| match is_logged_in(request) {
        true => reply("own").max_age(60).content_type("text/css"),
        false => reply("").status(302).header("Location", "/login"),
    };
    world.origin.route("/members.css", answer_with(members));
    assert_eq!(one.get_with("/members.css", &[SESSION]).await.line(), "200 own");
    assert_eq!(two.get("/members.css").await.status, 302);
    // From anybody else, the field means nothing and goes nowhere.
    let stranger = world.parent.get_with("/a", &[("weir-bypass", "1")]).await;
    assert_eq!(stranger.handled_by("parent"), "hit");
    world.parent.get_with("/b", &[("weir-bypass", "1")]).await;
    let sent = world.origin.requests("*");
    assert!(sent.iter().all(|request| request.header("weir-bypass").is_none()));
}

#[tokio::test]
async fn a_reload_that_changes_them_removes_what_the_site_has_stored() {
    let origin = Origin::start().await;
    origin.default_route(reply("page").max_age(60));
    let edge = edge().origin(&origin).site(IGNORED).start();
    edge.get("/a").await;
    let with = |site: &str| support::edge().origin(&origin).site(site).config();
    edge.node.reload(with(IGNORED)).expect("a configuration");
    assert_eq!(edge.get("/a").await.handled(), "hit", "nothing has changed");
    for site in [BYPASS, "cookies = { bypass = [\"sid\"] }", "cookies = { key = [\"a\"] }", ""] {
        edge.node.reload(with(site)).expect("a configuration");
        assert_eq!(edge.get("/a").await.handled(), STORED, "{site}");
    }
}

#[tokio::test]
async fn an_explanation_says_what_each_cookie_is_for() {
    let origin = site(reply("hello ann"), reply("page").max_age(60)).await;
    let rules = "cookies = { ignore = [\"analytics\"], key = [\"currency\"], \
                 bypass = [\"wordpress_logged_in_*\"] }";
    let edge = edge().origin(&origin).site(rules).start();
    let explained = |target: &str, cookie: &'static str| {
        let url = format!("http://{HOST}{target}");
        let value = http::HeaderValue::from_static(cookie);
        let headers = http::HeaderMap::from_iter([(http::header::COOKIE, value)]);
        edge.node.explain(&url, &headers).expect("a URL")
    };
    edge.get_with("/a", &[("Cookie", "currency=EUR; _ga=1")]).await;
    let public = explained("/a", "_ga=2; currency=EUR; theme=dark");
    assert_eq!(
        (public.state, &*public.key),
        ("fresh", "http://example.com/a\ncookie currency=EUR")
    );
    let cookies = public.cookies.expect("cookies");
    assert_eq!(
        (cookies.ignored, cookies.key),
        (vec!["_ga".to_owned()], vec!["currency".to_owned()])
    );
    assert_eq!((cookies.other, cookies.bypass), (vec!["theme".to_owned()], vec![]));
    let own = explained("/a", "wordpress_logged_in_1=ann");
    assert_eq!(own.state, "bypass");
    assert!(own.sentence.contains("The cookie wordpress_logged_in_1 makes"), "{}", own.sentence);
    let file = explained("/a.css", "wordpress_logged_in_1=ann");
    assert_eq!(file.state, "not-stored");
    assert!(file.cookies.expect("cookies").for_everyone);
    assert_eq!(edge.explain("/a").cookies, None);
}
