//! Maintenance: a rule that answers with 503, before the store and the origin.

mod support;
use support::*;

const PAGE: &str = "<h1>Back soon</h1>";

const ALL: &str = "[[site.rule]]\nname = \"down\"\nmaintenance = true\n";

#[tokio::test]
async fn every_request_is_answered_with_503_and_reaches_neither_store_nor_origin() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let start = |rules: &str| support::edge().origin(&origin).site(rules);
    let edge = start("").start();
    edge.get("/stored").await;
    let file = ScratchFile::new("down.html", PAGE);
    let with_page = format!(
        "[[site.rule]]\nname = \"down\"\nmaintenance = {{ file = {:?}, retry_after = \"2h\" }}\n",
        file.path()
    );
    for (rules, retry_after, content_type, body) in [
        (
            ALL.to_owned(),
            600,
            "text/plain; charset=utf-8",
            "503 Service Unavailable\nThis site is down for maintenance.\n",
        ),
        (with_page, 7200, "text/html; charset=utf-8", PAGE),
    ] {
        edge.node.reload(start(&rules).config()).expect("a configuration");
        for (method, target, sent) in [
            ("GET", "/stored", ""),
            ("GET", "/other?a", ""),
            ("POST", "/stored", "x"),
            ("HEAD", "/stored", ""),
        ] {
            let answer = edge.send(method, target, &[], sent).await;
            let expected = if method == "HEAD" { "" } else { body };
            assert_eq!(answer.line(), format!("503 {expected}"), "{method} {target}");
            assert_eq!(answer.number("retry-after"), Some(retry_after));
            assert_eq!(answer.number("content-length"), Some(body.len() as u64), "{method}");
            assert_eq!(answer.values("content-type"), [content_type]);
            assert_eq!(answer.values("cache-control"), ["no-store"]);
            assert_eq!(answer.handled(), "detail=rule-maintenance");
        }
    }
    assert_eq!((origin.fetches("/stored"), origin.fetches("/other")), (1, 0));
    assert!(edge.node.metrics().contains("weir_shed_requests_total 0"), "no limit was reached");
    let explained = edge.explain("/stored");
    assert_eq!(explained.state, "maintenance");
    assert!(explained.sentence.contains("rule down answers"), "{}", explained.sentence);
    // A purge takes what is stored meanwhile.
    edge.purge(path("/stored"));
    edge.node.reload(start("").config()).expect("a configuration");
    assert!(edge.get("/stored").await.handled().starts_with("fwd=uri-miss"));
}

/// Both ways to let operators through: a final rule above, and a later rule that switches it off.
#[tokio::test]
async fn operators_can_be_let_through() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let operators = "[[site.rule]]\nname = \"operators\"\nmatch = { client = [\"127.0.0.2\"] }\n";
    for rules in [
        format!("{operators}final = true\n{ALL}"),
        format!("{ALL}{operators}maintenance = false\n"),
    ] {
        let edge = edge().origin(&origin).site(&rules).start();
        assert_eq!(edge.get_from(2, "/a").await.line(), "200 hello");
        assert_eq!(edge.get_from(2, "/a").await.handled(), "hit");
        assert_eq!(edge.get_from(1, "/a").await.status, 503);
        let explained = edge.explain("/a");
        assert_eq!(explained.key, "http://example.com/a", "who is let through shares with all");
    }
}

/// Access comes first, redirects after; pages of errors are not for it, and are not fetched meanwhile.
#[tokio::test]
async fn it_stands_between_access_and_all_else() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let users = "anna:$2y$04$Gz0wBDR0Kg/jvUm7wzMCouvkIempriLaRGWsWZsfZEWG04SfuBWdW\n";
    let (users, page) =
        (ScratchFile::new("users", users), ScratchFile::new("error.html", "a page"));
    let rules = format!(
        "[[site.rule]]\nname = \"pages\"\n\
         error_page = [{{ status = [\"4xx\"], path = \"/errors/all\" }}, {{ status = [\"5xx\"], file = {:?} }}]\n\
         [[site.rule]]\nname = \"hidden\"\nmatch = {{ path = [\"/hidden\"] }}\ndeny = [\"all\"]\n\
         [[site.rule]]\nname = \"staff\"\nmatch = {{ path = [\"/staff\"] }}\nbasic_auth = {:?}\n\
         [[site.rule]]\nname = \"old\"\nmatch = {{ path = [\"/old\"] }}\nredirect = {{ to = \"/new\" }}\n{ALL}",
        page.path(),
        users.path()
    );
    let edge = edge().origin(&origin).site(&rules).start();
    let refused = edge.get("/hidden").await;
    assert!(refused.line().starts_with("403 403 Forbidden"), "{refused:?}");
    let anna = [("Authorization", "Basic YW5uYTpzZWNyZXQ=")];
    for (target, fields) in [("/old", &[][..]), ("/a", &[]), ("/staff", &anna), ("/staff", &anna)] {
        let answer = edge.get_with(target, fields).await;
        assert!(answer.line().contains("down for maintenance"), "{answer:?}");
    }
    assert_eq!(origin.requests("*").len(), 0);
}

/// The first node answers; what it asks its parent for on its own is not for visitors.
#[tokio::test]
async fn a_parent_answers_its_own_clients_so_and_not_its_edges() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let log = Log::new("one");
    let parent = parent_of("parent", &origin, "").site(ALL).start();
    let edge = edge_of("edge-1", &origin, &[&parent], "").start();
    let (_one, _two) = (log.lead(&edge).await, log.lead(&parent).await);
    assert_eq!(edge.get("/a").await.line(), "200 hello");
    assert_eq!(parent.get("/a").await.status, 503);
}
