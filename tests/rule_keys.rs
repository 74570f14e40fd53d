//! Keys, cookies and the largest body by rules of a site, in place of what the site has for all.

mod support;
use support::*;

const MISS: &str = "fwd=uri-miss; fwd-status=200; stored";
const BYPASS: &str = "fwd=bypass; fwd-status=200; detail=bypass-cookie";

/// An origin that shows what it was asked for, and with which cookies.
async fn showing() -> Origin {
    let origin = Origin::start().await;
    let shown = answer_with(|request| {
        let cookies = request.header("Cookie").unwrap_or("-");
        let is_css = request.target.ends_with(".css");
        let content_type = if is_css { "text/css" } else { "text/html" };
        reply(format!("{} {cookies}", request.target)).max_age(60).content_type(content_type)
    });
    origin.default_route(shown);
    origin
}

const COOKIES: &str = "cookies = { ignore = [\"old\"] }\n\
                       [[site.rule]]\nname = \"shop\"\nmatch = { path = [\"/shop/*\"] }\n\
                       cookies = { ignore = [\"analytics\"], key = [\"currency\"], bypass = [\"sid\"] }\n";

/// The table of a rule is in the place of the site's, as a whole.
#[tokio::test]
async fn a_rule_says_what_its_paths_do_with_cookies() {
    let origin = showing().await;
    let edge = edge().origin(&origin).site(COOKIES).start();
    for (path, cookies, line, handled) in [
        ("/shop/a", "_ga=1; currency=eur", "200 /shop/a currency=eur", MISS),
        ("/shop/a", "_ga=2; currency=eur", "200 /shop/a currency=eur", "hit"),
        ("/shop/a", "currency=usd", "200 /shop/a currency=usd", MISS),
        ("/shop/a", "currency=eur; sid=1", "200 /shop/a currency=eur; sid=1", BYPASS),
        ("/shop/a", "old=1; currency=chf", "200 /shop/a old=1; currency=chf", MISS),
        // Elsewhere the site's count.
        ("/other", "old=1; _ga=1; sid=1", "200 /other _ga=1; sid=1", MISS),
        // A rule on the path means its static files, too.
        ("/shop/a.css", "sid=1", "200 /shop/a.css sid=1", BYPASS),
        ("/other.css", "sid=1", "200 /other.css -", MISS),
    ] {
        let answer = edge.get_with(path, &[("Cookie", cookies)]).await;
        assert_eq!(
            (answer.line(), answer.handled()),
            (line.into(), handled.into()),
            "{path} {cookies}"
        );
    }
    let headers = http::HeaderMap::from_iter([(
        http::header::COOKIE,
        "_ga=1; sid=2".parse().expect("a value"),
    )]);
    let explained = edge.node.explain("http://example.com/shop/a", &headers).expect("a URL");
    let cookies = explained.cookies.expect("there are some");
    assert_eq!(
        (cookies.ignored, cookies.bypass, explained.state),
        (vec!["_ga".into()], vec!["sid".into()], "bypass")
    );
    assert!(explained.rules.iter().any(|rule| rule.setting == "cookies" && rule.rule == "shop"));
}

/// A rule that takes cookies away does not hide from the store who is logged in.
#[tokio::test]
async fn cookies_are_judged_before_headers_are_edited() {
    let origin = showing().await;
    let rules = "cookies = { bypass = [\"sid\"] }\n[[site.rule]]\nname = \"none\"\nrequest_headers = { remove = [\"Cookie\"] }\n";
    let edge = edge().origin(&origin).site(rules).start();
    let answer = edge.get_with("/a", &[("Cookie", "sid=1")]).await;
    assert_eq!((answer.line(), answer.handled()), ("200 /a -".into(), BYPASS.into()));
    assert_eq!(edge.get_with("/a", &[("Cookie", "b=1")]).await.handled(), MISS);
}

const KEYS: &str = "[[site.rule]]\nname = \"search\"\nmatch = { path = [\"/search\"] }\nkey = { query = { keep = [\"q\"] }, headers = [\"X-Lang\"] }\n\
                    [[site.rule]]\nname = \"pages\"\nmatch = { path = [\"/pages/*\"] }\nkey = { query = \"ignore\" }\n\
                    [[site.rule]]\nname = \"near\"\nmatch = { path = [\"/pages/*\"], client = [\"127.0.0.2\"] }\nkey = { query = \"sort\" }\n";

/// Edge and parent have one key, by the rules that the edge found, and purges and unsafe requests know all keys.
#[tokio::test]
async fn a_rule_says_how_keys_of_its_paths_are_made() {
    let origin = showing().await;
    let log = Log::new("one");
    let parent = parent_of("parent", &origin, "").site(KEYS).start();
    let edge = edge_of("edge-1", &origin, &[&parent], "").site(KEYS).start();
    let (at_edge, at_parent) = (log.lead(&edge).await, log.lead(&parent).await);
    let first = edge.get("/search?utm=1&q=a").await;
    assert_eq!(first.line(), "200 /search?q=a -");
    assert_eq!(handled(&first), [format!("parent; {MISS}"), format!("edge-1; {MISS}")]);
    assert_eq!(edge.get("/search?q=a&utm=2").await.handled_by("edge-1"), "hit");
    let other = edge.get_with("/search?q=a", &[("X-Lang", "de")]).await;
    assert_eq!(handled(&other), [format!("parent; {MISS}"), format!("edge-1; {MISS}")]);
    assert_eq!(edge.get("/pages/a?x=1").await.line(), "200 /pages/a -");
    assert_eq!(edge.get("/pages/a?x=2").await.handled_by("edge-1"), "hit");
    assert_eq!(edge.get("/other?x=1").await.line(), "200 /other?x=1 -");
    assert_eq!(edge.get("/other?x=2").await.line(), "200 /other?x=2 -");
    for key in [edge.explain("/pages/a?x=1").key, parent.explain("/pages/a?x=1").key] {
        assert_eq!(key, "http://example.com/pages/a");
    }
    // The address is not in the key, so that the rule is.
    let mut near = edge.connect_from(2).await;
    near.request("GET", "/pages/a?y&x", &[], "").await;
    let answer = near.answer("GET").await;
    assert_eq!(answer.line(), "200 /pages/a?y&x -");
    assert_eq!(handled(&answer), [format!("parent; {MISS}"), format!("edge-1; {MISS}")]);

    for purged in ["/search?q=a&utm=9", "/pages/a?x=9"] {
        let seq = log.purge(path(purged));
        log.feed(&at_parent, seq).await;
        log.feed(&at_edge, seq).await;
        let again = edge.get(purged).await;
        assert_eq!(
            handled(&again),
            [format!("parent; {MISS}"), format!("edge-1; {MISS}")],
            "{purged}"
        );
        edge.send("POST", purged, &[], "").await;
        let again = edge.get(purged).await;
        assert_eq!(
            handled(&again),
            [format!("parent; {MISS}"), format!("edge-1; {MISS}")],
            "{purged}"
        );
    }
    let made = answer_with(|_| reply("made").header("Content-Location", "/pages/a?x=7"));
    origin.route("/make", made);
    edge.send("POST", "/make", &[], "").await;
    assert!(edge.get("/pages/a").await.handled_by("edge-1").starts_with("fwd=uri-miss"));
}

#[tokio::test]
async fn a_reload_that_changes_keys_or_cookies_of_a_rule_empties_the_site() {
    let origin = showing().await;
    let start = |rules: &str| edge().origin(&origin).site(rules);
    let edge = start(KEYS).start();
    edge.get("/pages/a").await;
    for rules in [KEYS.replace("\"ignore\"", "\"sort\""), COOKIES.to_owned()] {
        edge.node.reload(start(&rules).config()).expect("a configuration");
        assert_eq!(edge.get("/pages/a").await.handled(), MISS);
    }
}

/// Whatever bears on what is asked of the origin, or on what is stored of its answer.
#[tokio::test]
async fn a_reload_that_changes_what_shapes_the_store_empties_the_site() {
    let origin = showing().await;
    let pool = "[[site.origin]]\nname = \"other\"\nurls = [\"http://127.0.0.1:9\"]\n";
    let start = |setting: &str| {
        let rule = match setting {
            "" => String::new(),
            _ => format!(
                "[[site.rule]]\nname = \"all\"\nmatch = {{ path = [\"/pages/*\"] }}\n{setting}\n"
            ),
        };
        edge().origin(&origin).site(&format!("{rule}{pool}"))
    };
    for (setting, empties) in [
        ("ignore = [\"no-store\"]", true),
        ("tags = [\"a-{1}\"]", true),
        ("request_headers = { set = { X-A = \"b\" } }", true),
        ("bypass = false", true),
        ("origin = \"other\"", true),
        ("rewrite = { to = \"/b\" }", true),
        ("ttl = \"5m\"", false),
        ("browser_ttl = \"5m\"", false),
        ("response_headers = { remove = [\"Server\"] }", false),
        ("deny = [\"192.0.2.1\"]", false),
        ("redirect = { to = \"/b\" }", false),
    ] {
        let edge = start("").start();
        edge.get("/pages/a").await;
        edge.get("/pages/a/b").await;
        assert_eq!(edge.explain("/pages/a").state, "fresh", "{setting}");
        edge.node.reload(start(setting).config()).expect("a configuration");
        // Back to the rules that it was stored under: what is gone stays gone.
        edge.node.reload(start("").config()).expect("a configuration");
        let handled = edge.get("/pages/a").await.handled();
        assert_eq!(handled, if empties { MISS } else { "hit" }, "{setting}");
    }
}

#[tokio::test]
async fn a_body_that_is_larger_than_a_rule_allows_is_not_stored() {
    let origin = Origin::start().await;
    origin.default_route(reply("0123456789").max_age(60).etag("\"a\"").ranges(true));
    origin.route("/film", reply("0123456789").max_age(60).header("Content-Type", "video/mp4"));
    origin.route("/small/chunked", reply("0123456789").max_age(60).chunked());
    let rules = "[[site.rule]]\nname = \"small\"\nmatch = { path = [\"/small/*\"] }\nmax_object = 9\n\
                 [[site.rule]]\nname = \"just\"\nmatch = { path = [\"/small/just\"] }\nmax_object = 10\n\
                 [[site.rule]]\nname = \"films\"\nmatch = { content_type = [\"video/*\"] }\nmax_object = 9\n";
    let edge = edge().origin(&origin).site(rules).start();
    for (path, stored) in [
        ("/a", true),
        ("/small/a", false),
        ("/small/just", true),
        ("/small/chunked", false),
        ("/film", false),
    ] {
        assert_eq!(edge.get(path).await.text(), "0123456789", "{path}");
        assert_eq!(edge.get(path).await.handled() == "hit", stored, "{path}");
    }
    let part = edge.get_with("/small/b", &[("Range", "bytes=0-4")]).await;
    assert_eq!(part.line(), "206 01234");
    assert!(!part.handled().contains("stored"), "a part of what is too large: {part:?}");
    let why = edge.explain("/small/a").not_stored.expect("it was not");
    assert_eq!(why.word, "too-large");
    assert!(why.sentence.contains("9 bytes"), "{}", why.sentence);
}

/// At both tiers; what says who asks still selects.
#[tokio::test]
async fn what_vary_names_can_be_ignored() {
    let origin = Origin::start().await;
    let agent = answer_with(|request| {
        let agent = request.header("User-Agent").unwrap_or("-");
        reply(agent.to_owned()).max_age(60).vary("User-Agent, X-Device")
    });
    origin.default_route(agent);
    let cookie = answer_with(|request| {
        let cookie = request.header("Cookie").unwrap_or("-");
        reply(cookie.to_owned()).max_age(60).vary("User-Agent, Cookie")
    });
    origin.route("/v/own", cookie);
    origin.route("/v/any", reply("any").max_age(60).vary("User-Agent, *"));
    let log = Log::new("one");
    let rules =
        "[[site.rule]]\nname = \"vary\"\nmatch = { path = [\"/v/*\"] }\nignore = [\"vary\"]\n";
    let parent = parent_of("parent", &origin, "").site(rules).start();
    let edge = edge_of("edge-1", &origin, &[&parent], "").site(rules).start();
    let (_one, _two) = (log.lead(&edge).await, log.lead(&parent).await);
    for (path, name, values, lines) in [
        ("/v/a", "User-Agent", ["one", "two"], ["200 one", "200 one"]),
        ("/a", "User-Agent", ["one", "two"], ["200 one", "200 two"]),
        ("/v/own", "Cookie", ["a=1", "a=2"], ["200 a=1", "200 a=2"]),
    ] {
        for (value, line) in values.into_iter().zip(lines) {
            assert_eq!(edge.get_with(path, &[(name, value)]).await.line(), line, "{path}");
        }
    }
    assert_eq!(origin.fetches("/v/a"), 1);
    let hit = edge.get("/v/a").await;
    assert_eq!(
        (hit.handled_by("edge-1"), hit.values("vary")),
        ("hit".into(), vec!["User-Agent, X-Device"])
    );
    edge.get("/v/any").await;
    assert!(!edge.get("/v/any").await.handled_by("edge-1").contains("hit"));
}

/// One response for all, at both tiers, unless it says itself that it is for one.
#[tokio::test]
async fn that_a_request_had_credentials_can_be_ignored() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    origin.route("/all/private", reply("own").header("Cache-Control", "private, max-age=60"));
    origin.route("/all/cookie", reply("own").max_age(60).set_cookie("id=1"));
    let selected = answer_with(|request| {
        let shown = request.header("Authorization").unwrap_or("-");
        reply(shown.to_owned()).max_age(60).vary("Authorization")
    });
    origin.route("/all/selected", selected);
    let log = Log::new("one");
    let rules = "[[site.rule]]\nname = \"all\"\nmatch = { path = [\"/all/*\"] }\nignore = [\"authorization\", \"private\", \"vary\"]\n";
    let parent = parent_of("parent", &origin, "").site(rules).start();
    let edge = edge_of("edge-1", &origin, &[&parent], "").site(rules).start();
    let (_one, _two) = (log.lead(&edge).await, log.lead(&parent).await);
    let (anna, ben) = ([("Authorization", "Basic YQ==")], [("Authorization", "Basic Yg==")]);
    let first = edge.get_with("/all/a", &anna).await;
    assert_eq!(handled(&first), [format!("parent; {MISS}"), format!("edge-1; {MISS}")]);
    assert_eq!(edge.get_with("/all/a", &ben).await.handled_by("edge-1"), "hit");
    assert_eq!(edge.get("/all/a").await.handled_by("edge-1"), "hit");
    assert_eq!(edge.get_with("/all/selected", &anna).await.line(), "200 Basic YQ==");
    assert_eq!(edge.get_with("/all/selected", &ben).await.line(), "200 Basic Yg==");
    for path in ["/a", "/all/private", "/all/cookie"] {
        for fields in [&anna, &ben] {
            let answer = edge.get_with(path, fields).await;
            let members = answer.values("cache-status");
            assert!(
                members.iter().all(|m| !m.contains("stored") && !m.contains("hit")),
                "{path}: {answer:?}"
            );
        }
    }
}
