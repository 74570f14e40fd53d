//! Rewrites by rules of a site: what the key has, what the origin is asked for, and what purges and unsafe requests
//! remove.

mod program;
mod support;

use program::{TextFile, run};
use support::*;

const MISS: &str = "fwd=uri-miss; fwd-status=200; stored";

/// Before the key: for all of these paths there is one stored response.
const LANGUAGES: &str = "[[site.rule]]\nname = \"language\"\nmatch = { path = [\"/en/*\", \"/de/*\"] }\n\
                         rewrite = { to = \"/v2/{1}{query}\" }\n";

/// An origin that shows what it was asked for.
async fn showing() -> Origin {
    let origin = Origin::start().await;
    let shown =
        answer_with(|request| reply(format!("{} {}", request.method, request.target)).max_age(60));
    origin.default_route(shown);
    origin
}

#[tokio::test]
async fn a_rewrite_before_the_key_has_one_response_for_many_paths() {
    let origin = showing().await;
    let edge = edge().origin(&origin).site(LANGUAGES).start();
    let first = edge.get("/en/a?b=c").await;
    assert_eq!((first.line(), first.handled()), ("200 GET /v2/a?b=c".into(), MISS.into()));
    for path in ["/de/a?b=c", "/v2/a?b=c", "/%65n/a?b=c"] {
        let answer = edge.get(path).await;
        assert_eq!((answer.line(), answer.handled()), (first.line(), "hit".into()), "{path}");
    }
    assert_eq!(edge.get("/fr/a").await.line(), "200 GET /fr/a");
    let head = edge.ask("HEAD", "/de/a?b=c", &[]).await;
    assert_eq!(head.handled(), "hit");
    let range = edge.get_with("/de/a?b=c", &[("Range", "bytes=0-2")]).await;
    assert_eq!(range.line(), "206 GET");
}

/// The key, and with it `Vary`, purges and tags, has what the client asked for.
#[tokio::test]
async fn a_rewrite_towards_the_origin_leaves_the_key_alone() {
    let origin = showing().await;
    let rules = "[[site.rule]]\nname = \"app\"\nmatch = { path = [\"/app/*\"] }\n\
                 rewrite = { to = \"/index.php?page={1}{query}\", key = false }\n";
    let edge = edge().origin(&origin).site(rules).start();
    assert_eq!(edge.get("/app/a/b?c=d").await.line(), "200 GET /index.php?page=a/b&c=d");
    assert_eq!(edge.get("/app/a/b?c=d").await.handled(), "hit");
    // One value of the query, whatever the path has in it.
    assert_eq!(edge.get("/app/a&admin=1").await.line(), "200 GET /index.php?page=a%26admin%3D1");
    let explained = edge.explain("/app/a");
    assert_eq!(explained.key, "http://example.com/app/a");
    let rewrite = explained.rewrite.expect("a rule rewrites it");
    assert_eq!((&*rewrite.to, rewrite.key), ("/index.php?page=a", false));
    edge.purge(path("/app/a/b"));
    assert_eq!(edge.get("/app/a/b?c=d").await.handled(), MISS);
    assert_eq!(
        edge.send("POST", "/app/a/b?c=d", &[], "").await.line(),
        "200 POST /index.php?page=a/b&c=d"
    );
    assert_eq!(edge.get("/app/a/b?c=d").await.handled(), MISS);
}

/// The first node rewrites before the key, the node that asks the origin towards it; nobody does so twice.
#[tokio::test]
async fn each_rewrite_is_made_once_on_the_way_over_a_parent() {
    let origin = showing().await;
    let log = Log::new("one");
    let rules = "[[site.rule]]\nname = \"again\"\nmatch = { path = [\"/a*\"] }\nrewrite = { to = \"/a/x{path}\" }\n\
                 [[site.rule]]\nname = \"app\"\nmatch = { path = [\"/b*\"] }\nrewrite = { to = \"/b/y{path}\", key = false }\n";
    let parent = parent_of("parent", &origin, "").site(rules).start();
    let edge = edge_of("edge-1", &origin, &[&parent], "").site(rules).start();
    let (at_edge, at_parent) = (log.lead(&edge).await, log.lead(&parent).await);
    for (asked, target, key) in [("/a", "/a/x/a", "/a/x/a"), ("/b", "/b/y/b", "/b")] {
        let first = edge.get(asked).await;
        assert_eq!(first.line(), format!("200 GET {target}"));
        assert_eq!(handled(&first), [format!("parent; {MISS}"), format!("edge-1; {MISS}")]);
        assert_eq!(edge.get(asked).await.handled_by("edge-1"), "hit");
        let explained = edge.explain(asked).key;
        assert!(
            explained.lines().next().expect("a line").ends_with(&format!("com{key}")),
            "{explained}"
        );
        // A purge of what clients ask for takes what both tiers have stored.
        let seq = log.purge(path(asked));
        log.feed(&at_parent, seq).await;
        log.feed(&at_edge, seq).await;
        let again = edge.get(asked).await;
        assert_eq!(handled(&again), [format!("parent; {MISS}"), format!("edge-1; {MISS}")]);
        // So does an unsafe request.
        assert_eq!(edge.send("POST", asked, &[], "").await.line(), format!("200 POST {target}"));
        let again = edge.get(asked).await;
        assert_eq!(handled(&again), [format!("parent; {MISS}"), format!("edge-1; {MISS}")]);
    }
}

#[tokio::test]
async fn purges_take_what_is_stored_under_another_path() {
    let origin = showing().await;
    let edge = edge().origin(&origin).site(LANGUAGES).start();
    for (target, asked, is_taken) in [
        (path("/en/a"), "/de/a", true),
        (path("/en/a?b"), "/de/a?b", true),
        (path("/en/a?b"), "/de/a?c", false),
        (path("/v2/a"), "/en/a", true),
        (path("/fr/a"), "/en/a", false),
        (Target::parse_url("http://example.com/en/a").expect("a URL"), "/en/a", true),
        (Target::parse_url("http://other.example/en/a").expect("a URL"), "/en/a", false),
        // These name what is stored.
        (Target::parse_prefix("/en").expect("a prefix"), "/en/a", false),
        (Target::parse_prefix("/v2").expect("a prefix"), "/en/a", true),
        (path("/en/*"), "/en/a", false),
        (path("/v2/*"), "/en/a", true),
    ] {
        edge.get(asked).await;
        let shown = format!("{target:?}");
        edge.purge(target);
        assert_eq!(edge.get(asked).await.handled() != "hit", is_taken, "{shown} {asked}");
    }
}

/// A rule that does not match an unsafe request may match the GET whose response it makes outdated.
#[tokio::test]
async fn an_unsafe_request_removes_its_url_as_given_and_as_rewritten() {
    let origin = showing().await;
    let rules = "[[site.rule]]\nname = \"read\"\nmatch = { path = [\"/old/*\"], method = [\"GET\"] }\nrewrite = { to = \"/new/{1}\" }\n";
    let edge = edge().origin(&origin).site(rules).start();
    assert_eq!(edge.get("/old/a").await.line(), "200 GET /new/a");
    assert_eq!(edge.send("POST", "/old/a", &[], "").await.line(), "200 POST /old/a");
    assert_eq!(edge.get("/old/a").await.handled(), MISS);
    let moved = answer_with(|_| reply("made").header("Location", "/old/a"));
    origin.route("/make", moved);
    edge.send("POST", "/make", &[], "").await;
    assert_eq!(edge.get("/old/a").await.handled(), MISS);
}

/// No spelling of a path gets a target that the rule does not write.
#[tokio::test]
async fn a_path_with_a_second_reading_is_refused() {
    let origin = showing().await;
    for key in ["", ", key = false"] {
        let rules = format!(
            "[[site.rule]]\nname = \"in\"\nrewrite = {{ to = \"/public{{path}}\"{key} }}\n"
        );
        let edge = edge().origin(&origin).site(&rules).start();
        for path in ["/../secret", "/a/%2e%2E/../secret", "/..%2fsecret", "/..;/secret", "/a/./b"] {
            let answer = edge.get(path).await;
            assert_eq!(
                (answer.status, answer.handled()),
                (400, "detail=ambiguous-path".into()),
                "{path}"
            );
        }
        let explained = edge.explain("/..%2fsecret");
        assert_eq!(explained.state, "refused", "{}", explained.sentence);
        assert_eq!(edge.get("//a").await.line(), "200 GET /public//a");
    }
    let rules = "[[site.rule]]\nname = \"root\"\nmatch = { path = [\"/x/*\"] }\nrewrite = { to = \"/{1}\" }\n";
    let edge = edge().origin(&origin).site(rules).start();
    assert_eq!(edge.get("/x//evil.example").await.line(), "200 GET /evil.example");
}

/// A response that was stored for a rewritten request under other rules is not the one of whoever asks for its target.
#[tokio::test]
async fn rules_on_the_clients_path_are_in_the_key_where_that_is_not() {
    let (origin, other) = (showing().await, Origin::start().await);
    other.default_route(reply("other").max_age(60));
    let rules = format!(
        "[[site.origin]]\nname = \"other\"\nurls = [{:?}]\n\
         [[site.rule]]\nname = \"old\"\nmatch = {{ path = [\"/old/*\"] }}\nrewrite = {{ to = \"/new/{{1}}\" }}\norigin = \"other\"\n",
        other.url()
    );
    let edge = edge().origin(&origin).site(&rules).start();
    assert_eq!(edge.get("/old/a").await.line(), "200 other");
    assert_eq!(edge.get("/new/a").await.line(), "200 GET /new/a");
    assert_eq!(edge.get("/old/a").await.handled(), "hit");
}

#[tokio::test]
async fn a_reload_that_changes_a_rewrite_empties_the_site() {
    let origin = showing().await;
    let start = |rules: &str| edge().origin(&origin).site(rules);
    let edge = start(LANGUAGES).start();
    edge.get("/en/a").await;
    edge.node.reload(start(&LANGUAGES.replace("v2", "v3")).config()).expect("a configuration");
    assert_eq!(edge.get("/en/a").await.line(), "200 GET /v3/a");
    let at_origin = LANGUAGES.replace("}{query}\"", "}{query}\", key = false");
    edge.node.reload(start(&at_origin).config()).expect("a configuration");
    let answer = edge.get("/en/a").await;
    assert_eq!((answer.line(), answer.handled()), ("200 GET /v2/a".into(), MISS.into()));
}

/// Access is judged by what the client asked for, and a redirect comes before a rewrite.
#[tokio::test]
async fn all_else_sees_the_clients_path() {
    let origin = showing().await;
    let rules = "[[site.rule]]\nname = \"in\"\nmatch = { path = [\"/open/*\"] }\nrewrite = { to = \"/closed/{1}\" }\n\
                 [[site.rule]]\nname = \"closed\"\nmatch = { path = [\"/closed/*\"] }\ndeny = [\"0.0.0.0/0\"]\n\
                 [[site.rule]]\nname = \"moved\"\nmatch = { path = [\"/open/moved\"] }\nredirect = { to = \"/there\" }\n";
    let edge = edge().origin(&origin).site(rules).start();
    assert_eq!(edge.get("/closed/a").await.status, 403);
    assert_eq!(edge.get("/open/a").await.line(), "200 GET /closed/a");
    assert_eq!(edge.get("/closed/a").await.status, 403);
    assert_eq!(edge.get("/open/moved").await.status, 301);
}

#[test]
fn check_shows_what_a_request_is_rewritten_to() {
    let rules = format!(
        "[[site]]\norigins = [\"http://a\"]\n{LANGUAGES}[[site.rule]]\nname = \"app\"\nmatch = {{ path = [\"/app/*\"] }}\n\
         rewrite = {{ to = \"/index.php?p={{1}}\", key = false }}\n"
    );
    let config = TextFile::new("rewrite.toml", &rules);
    for (path, shown) in [
        (
            "/en/a?b",
            &["rewrite    language", "rewritten  /v2/a?b\n", "key        http://h/v2/a?b\n"][..],
        ),
        (
            "/app/a",
            &[
                "rewrite    app",
                "rewritten  /index.php?p=a (at the origin)",
                "key        http://h/app/a | rule=app\n",
            ],
        ),
        ("/en/x/../a", &["answer   400"]),
    ] {
        let ran = run(&["check", config.path(), "--request", &format!("GET http://h{path}")], &[]);
        assert_eq!(ran.status, Some(0), "{}", ran.err);
        for part in shown {
            assert!(ran.out.contains(part), "{path}: {} does not say {part:?}", ran.out);
        }
    }
}
