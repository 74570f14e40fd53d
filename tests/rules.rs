//! Rules of a site: which requests they match, what they set, and what of them is in the key.

#[path = "access/spellings.rs"]
#[allow(dead_code, reason = "paths alone are spelled here")]
mod spellings;
mod support;
use spellings::Spellings;
use support::*;

const MISS: &str = "fwd=uri-miss; fwd-status=200; stored";

#[tokio::test]
async fn a_rule_gives_its_paths_a_lifetime() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello"));
    let edge = edge()
        .origin(&origin)
        .site("[[site.rule]]\nname = \"static\"\nmatch = { path = [\"/static/*\", \"*.css\"] }\ndefault_ttl = \"60s\"")
        .start();
    for (path, stored) in [
        ("/static/a", true),
        ("/%73tatic/a", true),
        ("/a.css?v=b", true),
        ("/a", false),
        // Neither may get by a spelling what its own path would not.
        ("/static/../a", false),
        ("/static/..%2fa", false),
        ("/a?b.css", false),
        ("/a;b.css", false),
    ] {
        edge.get(path).await;
        assert_eq!(edge.get(path).await.handled() == "hit", stored, "{path}");
    }
}

/// Of two rules that match, the later one counts for what both set; `final` leaves out what is below.
#[tokio::test]
async fn rules_are_read_from_top_to_bottom() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello"));
    let rules = "[[site.rule]]\nname = \"all\"\ndefault_ttl = \"100s\"\n\
                 [[site.rule]]\nname = \"short\"\nmatch = { path = [\"/short/*\"] }\ndefault_ttl = \"50s\"\n\
                 [[site.rule]]\nname = \"last\"\nmatch = { path = [\"/last/*\"] }\nfinal = true\n\
                 [[site.rule]]\nname = \"none\"\nmatch = { path = [\"/last/*\", \"/none/*\"] }\ndefault_ttl = \"0s\"\n";
    let edge = edge().origin(&origin).site(rules).start();
    for (path, ttl) in
        [("/a", Some(100)), ("/short/a", Some(50)), ("/last/a", Some(100)), ("/none/a", None)]
    {
        assert_eq!(edge.get(path).await.ttl(), ttl, "{path}");
    }
}

#[tokio::test]
async fn a_rule_that_looks_at_the_response_sets_its_terms() {
    let origin = Origin::start().await;
    origin.default_route(reply("none").status(404));
    origin.route("/image", reply("png").header("Content-Type", "image/png"));
    let rules = "[[site.rule]]\nname = \"missing\"\nmatch = { status = [404] }\nnegative_ttl = \"10s\"\n\
                 [[site.rule]]\nname = \"images\"\nmatch = { content_type = [\"image/*\"] }\ndefault_ttl = \"60s\"\n";
    let edge = edge().origin(&origin).site(rules).start();
    assert_eq!(edge.get("/missing").await.ttl(), Some(10));
    assert_eq!(edge.get("/image").await.ttl(), Some(60));
}

const DEVICE: &str = "[[site.rule]]\nname = \"mobile\"\nmatch = { header = { X-Device = \"mobile*\" } }\ndefault_ttl = \"60s\"\n";

#[tokio::test]
async fn whether_a_rule_matched_is_in_the_key_where_it_looks_at_what_is_not() {
    let origin = Origin::start().await;
    let shown = answer_with(|request| {
        reply(request.header("X-Device").unwrap_or("none").to_owned()).max_age(60)
    });
    origin.default_route(shown);
    let edge = edge().origin(&origin).site(DEVICE).start();
    let mobile = [("X-Device", "Mobile-5")];
    assert_eq!(edge.get_with("/a", &mobile).await.line(), "200 Mobile-5");
    assert_eq!(edge.get("/a").await.line(), "200 none");
    assert_eq!(edge.get_with("/a", &mobile).await.line(), "200 Mobile-5");
    assert_eq!(edge.get("/a").await.handled(), "hit");
    // Whatever the key has, a purge of the path takes it.
    edge.purge(path("/a"));
    assert_eq!(edge.get_with("/a", &mobile).await.handled(), MISS);
    let explained = edge.node.explain("http://example.com/a", &header("x-device", "mobile"));
    let explained = explained.expect("a URL");
    assert_eq!((explained.key.lines().last(), explained.state), (Some("rule=mobile"), "fresh"));
    // An unsafe request, too.
    edge.send("POST", "/a", &[], "").await;
    assert_eq!(edge.get_with("/a", &mobile).await.handled(), MISS);
}

fn header(name: &'static str, value: &'static str) -> http::HeaderMap {
    http::HeaderMap::from_iter([(
        http::HeaderName::from_static(name),
        http::HeaderValue::from_static(value),
    )])
}

/// The first node decides which rules match; the parent has the same key and the same terms, and takes nobody
/// else's word for it.
#[tokio::test]
async fn a_parent_goes_by_the_rules_that_the_first_node_found() {
    let origin = Origin::start().await;
    origin.default_route(answer_with(|request| {
        assert_eq!(request.header("weir-rules"), None, "origins learn nothing of it");
        reply(request.header("X-Device").unwrap_or("none").to_owned())
    }));
    let log = Log::new("one");
    let rules = "[[site.rule]]\nname = \"near\"\nmatch = { client = [\"127.0.0.1\"] }\ndefault_ttl = \"60s\"\n";
    let parent = parent_of("parent", &origin, "").site(rules).start();
    let edge = edge_of("edge-1", &origin, &[&parent], "").site(rules).start();
    let (_one, _two) = (log.lead(&edge).await, log.lead(&parent).await);
    let near = edge.get_from(1, "/a").await;
    assert_eq!(handled(&near), [format!("parent; {MISS}"), format!("edge-1; {MISS}")]);
    // To the parent all that the edge sends comes from one address: the rule would match.
    let far = edge.get_from(2, "/a").await;
    assert_eq!(far.values("cache-status").len(), 2, "{far:?}");
    assert!(far.values("cache-status").iter().all(|member| !member.contains("stored")), "{far:?}");
    // A client's own word is not taken.
    parent.get_with("/b", &[("weir-rules", "near")]).await;
    let mut stranger = parent.connect_from(2).await;
    stranger.request("GET", "/c", &[("weir-rules", "near")], "").await;
    let answer = stranger.answer("GET").await;
    assert!(!answer.handled_by("parent").contains("stored"), "{answer:?}");
}

/// A parent without the rule cannot know what it would have to store.
#[tokio::test]
async fn a_parent_without_the_rule_is_passed_by() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello"));
    let log = Log::new("one");
    let rules = "[[site.rule]]\nname = \"all\"\ndefault_ttl = \"60s\"\n";
    let parent = parent_of("parent", &origin, "").start();
    let edge = edge_of("edge-1", &origin, &[&parent], "").site(rules).start();
    let (_one, _two) = (log.lead(&edge).await, log.lead(&parent).await);
    let answer = edge.get("/a").await;
    assert_eq!(handled(&answer), [format!("edge-1; {MISS}")]);
}

#[tokio::test]
async fn a_reload_that_changes_what_is_in_keys_empties_the_site() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let start = |rules: &str| support::edge().origin(&origin).site(rules);
    let edge = start(DEVICE).start();
    edge.get("/a").await;
    let lifetime = format!("{DEVICE}[[site.rule]]\nname = \"all\"\nnegative_ttl = \"1s\"\n");
    edge.node.reload(start(&lifetime).config()).expect("a configuration");
    assert_eq!(edge.get("/a").await.handled(), "hit", "lifetimes are for what comes");
    let other = DEVICE.replace("mobile*", "tablet*");
    edge.node.reload(start(&other).config()).expect("a configuration");
    assert_eq!(edge.get("/a").await.handled(), MISS);
}

/// `ttl` replaces what the origin says, at both tiers; Age counts from the origin on.
#[tokio::test]
async fn a_lifetime_set_by_a_rule_holds_at_both_tiers() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(1).header("Age", "30"));
    origin.route("/a/private", reply("hello").header("Cache-Control", "private"));
    let log = Log::new("one");
    let rules = "[[site.rule]]\nname = \"long\"\nmatch = { path = [\"/a/*\"] }\nttl = \"100s\"\n";
    let parent = parent_of("parent", &origin, "").site(rules).start();
    let edge = edge_of("edge-1", &origin, &[&parent], "").site(rules).start();
    let (_one, _two) = (log.lead(&edge).await, log.lead(&parent).await);
    let first = edge.get("/a/b").await;
    assert_eq!(handled(&first), [format!("parent; {MISS}"), format!("edge-1; {MISS}")]);
    let ttls: Vec<&str> =
        first.values("cache-status").iter().filter_map(|m| m.split("ttl=").nth(1)).collect();
    assert!(ttls.len() == 2 && ttls.iter().all(|ttl| ttl.starts_with("70")), "{first:?}");
    assert_eq!(edge.get("/a/b").await.handled_by("edge-1"), "hit");
    let private = edge.get("/a/private").await;
    assert!(private.values("cache-status").iter().all(|m| !m.contains("stored")), "{private:?}");
}

#[tokio::test]
async fn what_browsers_are_told_and_the_headers_of_rules_are_on_every_answer_of_the_first_node() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60).header("ETag", "\"a\"").header("X-Old", "1"));
    origin.route("/error", reply("no").status(500));
    let log = Log::new("one");
    let rules = "[[site.rule]]\nname = \"headers\"\nbrowser_ttl = \"10s\"\n\
                 response_headers = { set = { X-New = \"2\", X-List = [\"c\", \"d\"] }, add = { X-Two = [\"a\", \"b\"] }, remove = [\"X-Old\"] }\n\
                 [[site.rule]]\nname = \"errors\"\nmatch = { status = [500] }\nresponse_headers = { set = { X-New = \"3\" } }\n";
    let parent = parent_of("parent", &origin, "").site(rules).start();
    let edge = edge_of("edge-1", &origin, &[&parent], "").site(rules).start();
    let (_one, _two) = (log.lead(&edge).await, log.lead(&parent).await);
    let conditional = [("If-None-Match", "\"a\"")];
    for (fields, status) in
        [(&[][..], 200), (&[], 200), (&conditional, 304), (&[("Range", "bytes=0-1")], 206)]
    {
        let answer = edge.get_with("/a", fields).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.values("x-new"), ["2"], "{answer:?}");
        assert_eq!(answer.values("x-list"), ["c", "d"], "a line for each value: {answer:?}");
        assert_eq!(answer.values("x-two"), ["a", "b"], "the parent adds nothing: {answer:?}");
        assert_eq!(answer.field("x-old"), None, "{answer:?}");
        let told = format!("max-age={}", 10 + answer.number("age").unwrap_or(0));
        assert_eq!(answer.values("cache-control"), [told], "{answer:?}");
    }
    assert_eq!(edge.get("/error").await.values("x-new"), ["3"]);
    let head = edge.ask("HEAD", "/a", &[]).await;
    assert_eq!((head.handled_by("edge-1"), head.field("x-new")), ("hit".into(), Some("2")));
}

/// Past the store in both directions: nothing is read, filled, joined, updated or remembered.
#[tokio::test]
async fn a_bypass_leaves_the_store_alone() {
    let origin = Origin::start().await;
    let shown = answer_with(|request| {
        reply(request.header("Cookie").unwrap_or("none").to_owned()).max_age(60)
    });
    origin.default_route(shown);
    let rules = "[[site.rule]]\nname = \"cart\"\nmatch = { cookie = [\"cart\"] }\nbypass = true\n";
    let edge = edge().origin(&origin).site(rules).start();
    let cart = [("Cookie", "cart=1")];
    let bypassed = "fwd=bypass; fwd-status=200; detail=rule-bypass";
    for _ in 0..2 {
        let answer = edge.get_with("/a", &cart).await;
        assert_eq!((answer.line(), answer.handled()), ("200 cart=1".into(), bypassed.into()));
    }
    assert_eq!(edge.get("/a").await.handled(), MISS);
    assert_eq!(edge.get("/a").await.line(), "200 none");
    let head = edge.ask("HEAD", "/a", &cart).await;
    assert_eq!(head.handled(), bypassed);
    assert_eq!(edge.get("/a").await.handled(), "hit");
    assert_eq!(edge.get_with("/a", &cart).await.line(), "200 cart=1");
}

/// Whether there are capital letters in a path, however often it is decoded: case tells paths apart.
fn has_capitals(target: &str) -> bool {
    let path = match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => target,
    };
    let decoded = |text: &str| {
        let mut parts = text.split('%');
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
            match byte.filter(u8::is_ascii) {
                Some(byte) => out.extend([&*char::from(byte).to_string(), &part[2..]]),
                None => out.extend(["%", part]),
            }
        }
        out
    };
    let whole = decoded(&decoded(&decoded(path)));
    whole.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// What nobody is to store is stored under no spelling of its path, at no tier.
#[tokio::test]
async fn no_spelling_of_a_path_leads_into_the_store_past_a_bypass() {
    let origin = Origin::start().await;
    origin.default_route(reply("own").max_age(60));
    let log = Log::new("one");
    let rules = "hosts = [\"example.com\"]\n\
                 [[site.rule]]\nname = \"all\"\nttl = \"1h\"\n\
                 [[site.rule]]\nname = \"own\"\nmatch = { path = [\"/admin/users/*\"] }\nbypass = true\n";
    let parent = parent_of("parent", &origin, "").site(rules).start();
    let edge = edge_of("edge-1", &origin, &[&parent], "").site(rules).start();
    let (_one, _two) = (log.lead(&edge).await, log.lead(&parent).await);
    let targets = (0..2500).map(|seed| Spellings::new(seed).target());
    let targets: Vec<_> = targets.filter(|target| !has_capitals(target)).collect();
    assert!(targets.len() > 150, "{}", targets.len());
    for target in &targets {
        let answer = edge.get(target).await;
        assert_eq!(answer.line(), "200 own", "{target}");
        for member in handled(&answer) {
            assert!(
                member.contains("; fwd=bypass") && !member.contains("stored"),
                "{target}: {member}"
            );
        }
    }
    // Where nothing is kept from the store, a path with two readings is stored.
    edge.get("/other//a").await;
    assert_eq!(edge.get("/other//a").await.handled_by("edge-1"), "hit");
}

#[tokio::test]
async fn a_redirect_is_answered_at_once() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let rules = "hosts = [\"example.com\", \"www.example.com\"]\n\
                 [[site.rule]]\nname = \"apex\"\nmatch = { host = [\"www.example.com\"] }\nredirect = { to = \"http://example.com{path}{query}\", status = 308 }\n\
                 [[site.rule]]\nname = \"old\"\nmatch = { path = [\"/old/*\"] }\nredirect = { to = \"/{1}\" }\n\
                 [[site.rule]]\nname = \"headers\"\nmatch = { status = [301] }\nresponse_headers = { set = { X-A = \"b\" } }\n";
    let edge = edge().origin(&origin).site(rules).start();
    for (host, target, status, to) in [
        ("WWW.example.com.", "/a?b=c", 308, "http://example.com/a?b=c"),
        ("example.com", "/old/a/b?c", 301, "/a/b"),
        ("example.com", "/old//evil.example", 301, "/evil.example"),
    ] {
        let answer = edge.get_with(target, &[("Host", host)]).await;
        assert_eq!((answer.status, answer.field("location")), (status, Some(to)), "{target}");
        assert_eq!(answer.handled(), "detail=rule-redirect", "{target}");
        assert_eq!(answer.field("x-a").is_some(), status == 301, "{target}");
    }
    assert_eq!(edge.get("/a").await.line(), "200 hello");
    assert_eq!(origin.fetches("/old/a/b"), 0);
}

/// A parent redirects its own clients, and not what an edge asks: the edge has looked at its rules already.
#[tokio::test]
async fn a_parent_redirects_its_own_clients_alone() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let rules = "[[site.rule]]\nname = \"moved\"\nmatch = { client = [\"127.0.0.2\"] }\nredirect = { to = \"/b\" }\n";
    let log = Log::new("one");
    let parent = parent_of("parent", &origin, "").site(rules).start();
    let elsewhere = rules.replace("127.0.0.2", "127.0.0.3");
    let edge = edge_of("edge-1", &origin, &[&parent], "").site(&elsewhere).start();
    let _leashes = [log.lead(&edge).await, log.lead(&parent).await];
    assert_eq!(edge.get_from(3, "/a").await.field("location"), Some("/b"));
    assert_eq!(parent.get_from(2, "/a").await.field("location"), Some("/b"));
    let through = edge.get_from(2, "/a").await;
    assert_eq!(handled(&through), [format!("parent; {MISS}"), format!("edge-1; {MISS}")]);
    // Where the parent's rule is for everyone, the edge's requests too.
    let all =
        support::parent_of("parent", &origin, "").site(&rules.replace("127.0.0.2", "0.0.0.0/0"));
    parent.node.reload(all.config()).expect("a configuration");
    assert_eq!(parent.get("/a").await.status, 301);
    assert_eq!(edge.get("/c").await.line(), "200 hello");
}

#[tokio::test]
async fn a_rule_has_terms_of_its_own_for_what_is_old_and_for_errors() {
    let origin = Origin::start().await;
    for path in ["/lenient/a", "/a"] {
        origin.route(path, stale("old").etag("\"v1\"").then(reply("down").status(503)));
    }
    for status in [404, 410, 500, 403] {
        origin.route(&format!("/errors/{status}"), reply("no").status(status));
    }
    for path in ["/guessed/a", "/guess/a"] {
        origin.route(path, reply("page").last_modified_secs_ago(864_000));
    }
    let rules = "[[site.rule]]\nname = \"lenient\"\nmatch = { path = [\"/lenient/*\"] }\nstale = { if_error = \"1m\" }\n\
                 [[site.rule]]\nname = \"errors\"\nmatch = { path = [\"/errors/*\"] }\nnegative_ttl = \"20s\"\n\
                 [[site.rule]]\nname = \"guessed\"\nmatch = { path = [\"/guessed/*\"] }\nheuristic_max = \"30s\"\n";
    let edge = edge().origin(&origin).site(rules).start();
    for (path, line) in [("/lenient/a", "200 old"), ("/a", "503 down")] {
        edge.get(path).await;
        assert_eq!(edge.get(path).await.line(), line, "{path}");
    }
    for (path, ttl) in [
        ("/errors/404", Some(20)),
        ("/errors/410", Some(20)),
        ("/errors/500", Some(20)),
        ("/errors/403", None),
        ("/guessed/a", Some(30)),
    ] {
        assert_eq!(edge.get(path).await.ttl(), ttl, "{path}");
    }
    assert!(edge.get("/guess/a").await.ttl().is_some_and(|ttl| ttl > 30));
}

#[tokio::test]
async fn explain_names_the_rule_that_decides_each_setting() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").header("Content-Type", "text/html"));
    let rules = "[[site.rule]]\nname = \"all\"\ndefault_ttl = \"100s\"\nnegative_ttl = \"1s\"\n\
                 [[site.rule]]\nname = \"short\"\nmatch = { path = [\"/short/*\"] }\ndefault_ttl = \"50s\"\n\
                 [[site.rule]]\nname = \"pages\"\nmatch = { content_type = [\"text/html\"] }\nbrowser_ttl = \"1s\"\n";
    let edge = edge().origin(&origin).site(rules).start();
    let decided = |target: &str| {
        let rules = edge.explain(target).rules;
        rules
            .iter()
            .map(|decided| format!("{} {}", decided.setting, decided.rule))
            .collect::<Vec<_>>()
    };
    assert_eq!(decided("/short/a"), ["default_ttl short", "negative_ttl all"]);
    edge.get("/short/a").await;
    assert_eq!(decided("/short/a"), ["default_ttl short", "negative_ttl all", "browser_ttl pages"]);
}

/// What is ignored is stored at both tiers, for those without credentials; clients see what the origin says.
#[tokio::test]
async fn what_a_rule_ignores_does_not_keep_a_response_from_being_stored() {
    let origin = Origin::start().await;
    let says =
        reply("hello").header("Cache-Control", "private, no-cache").header("Set-Cookie", "id=1");
    origin.default_route(says);
    // With Authorization this would be stored for all, if `private` were ignored.
    origin.route("/a/shared", reply("hello").header("Cache-Control", "private, s-maxage=60"));
    let log = Log::new("one");
    let rules = "[[site.rule]]\nname = \"all\"\nmatch = { path = [\"/a*\"] }\nttl = \"60s\"\nignore = [\"private\", \"no-cache\", \"set-cookie\"]\n";
    let parent = parent_of("parent", &origin, "").site(rules).start();
    let edge = edge_of("edge-1", &origin, &[&parent], "").site(rules).start();
    let (_one, _two) = (log.lead(&edge).await, log.lead(&parent).await);
    let first = edge.get("/a").await;
    assert_eq!(handled(&first), [format!("parent; {MISS}"), format!("edge-1; {MISS}")]);
    for answer in [first, edge.get("/a").await] {
        assert_eq!(answer.field("set-cookie"), None, "{answer:?}");
        assert_eq!(answer.values("cache-control"), ["private, no-cache"]);
    }
    assert_eq!(edge.get("/a").await.handled_by("edge-1"), "hit");
    let credentials = [("Authorization", "Basic eA==")];
    let personal = edge.get_with("/a/shared", &credentials).await;
    assert!(personal.values("cache-status").iter().all(|m| !m.contains("stored")), "{personal:?}");
    let other = edge.get("/b").await;
    assert_eq!(other.values("set-cookie"), ["id=1"]);
    assert!(other.values("cache-status").iter().all(|m| !m.contains("stored")), "{other:?}");
}

/// The request counts as sent with the headers that rules give it: for the key, for Vary and for the origin.
#[tokio::test]
async fn a_rule_edits_the_request_before_the_key_is_written() {
    let origin = Origin::start().await;
    let shown = answer_with(|request| {
        let seen =
            ["X-Device", "Cookie"].map(|name| request.header(name).unwrap_or("-").to_owned());
        reply(seen.join(" ")).max_age(60).header("Vary", "X-Device, Cookie")
    });
    origin.default_route(shown);
    let log = Log::new("one");
    let rules = "key = { headers = [\"X-Device\"] }\n\
                 [[site.rule]]\nname = \"desktop\"\nrequest_headers = { set = { X-Device = \"desktop\", X-List = [\"a\", \"b\"] }, remove = [\"Cookie\"] }\n\
                 [[site.rule]]\nname = \"mobile\"\nmatch = { header = { User-Agent = \"*Mobile*\" } }\nrequest_headers = { set = { X-Device = \"mobile\" } }\n";
    let parent = parent_of("parent", &origin, "").site(rules).start();
    let edge = edge_of("edge-1", &origin, &[&parent], "").site(rules).start();
    let (_one, _two) = (log.lead(&edge).await, log.lead(&parent).await);
    for (agent, seen) in
        [("a", "200 desktop -"), ("b", "200 desktop -"), ("x mobile", "200 mobile -")]
    {
        let fields = [("User-Agent", agent), ("X-Device", agent), ("Cookie", agent)];
        assert_eq!(edge.get_with("/a", &fields).await.line(), seen);
    }
    assert_eq!(origin.fetches("/a"), 2);
    let lines = |asked: &weir_origin_sim::Recorded| {
        let list = asked.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-list"));
        list.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    assert!(origin.requests("/a").iter().all(|asked| lines(asked) == ["a", "b"]));
    let fields = [("User-Agent", "c"), ("Cookie", "c=1")];
    assert_eq!(edge.get_with("/a", &fields).await.handled_by("edge-1"), "hit");
    let explained = edge.node.explain("http://example.com/a", &header("user-agent", "mobile"));
    let key = explained.expect("a URL").key;
    assert!(key.contains("x-device: mobile") && key.ends_with("rule=mobile"), "{key}");
}

/// A tag that a rule adds goes the way of those that the origin sends, at every tier.
#[tokio::test]
async fn a_rule_tags_what_it_matches() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60).header("Cache-Tag", "own"));
    let log = Log::new("one");
    let rules = "[[site.rule]]\nname = \"all\"\ntags = [\"all\"]\n\
                 [[site.rule]]\nname = \"products\"\nmatch = { path = [\"/p/*/*\"] }\ntags = [\"product-{1}\", \"p\"]\n";
    let parent = parent_of("parent", &origin, "").site(rules).start();
    let edge = edge_of("edge-1", &origin, &[&parent], "").site(rules).start();
    let (at_edge, at_parent) = (log.lead(&edge).await, log.lead(&parent).await);
    let first = edge.get("/p/7,8/a").await;
    assert_eq!((first.field("surrogate-key"), first.field("cache-tag")), (None, None));
    for node in [&edge, &parent] {
        let tags = node.explain("/p/7,8/a").selected.expect("it is stored").tags;
        assert_eq!(tags, ["all", "product-7%2C8", "p", "own"]);
    }
    // A tag is never cut: what cannot have all of its own is not stored.
    let long = format!("/p/{}/a", "x".repeat(1017));
    let answer = edge.get(&long).await;
    assert!(answer.values("cache-status").iter().all(|m| !m.contains("stored")), "{answer:?}");
    assert_eq!(edge.explain(&long).not_stored.expect("it was not").word, "too-many-tags");
    assert_eq!(edge.get(&long.replacen('x', "", 1)).await.handled_by("edge-1"), MISS);
    edge.get("/other").await;
    let seq = log.purge(Target::parse_tag("product-7%2C8").expect("a tag"));
    log.feed(&at_parent, seq).await;
    log.feed(&at_edge, seq).await;
    let again = edge.get("/p/7,8/a").await;
    assert_eq!(handled(&again), [format!("parent; {MISS}"), format!("edge-1; {MISS}")]);
    assert_eq!(edge.get("/other").await.handled_by("edge-1"), "hit");
}
