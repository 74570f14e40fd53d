//! Cross-origin requests (the Fetch standard's CORS protocol), by rules of a site.

mod program;
mod support;

use program::{TextFile, run};
use support::*;

const RULES: &str = "[[site.rule]]\nname = \"fonts\"\nmatch = { path = [\"/fonts/*\"] }\ncors = { origins = [\"*\"] }\n\
                     [[site.rule]]\nname = \"api\"\nmatch = { path = [\"/api/*\"] }\n\
                     cors = { origins = [\"https://app.example.com\", \"https://*.team.example.com\"], methods = [\"PUT\"], \
                     headers = [\"Authorization\", \"X-A\"], expose = [\"X-Total\"], credentials = true, max_age = \"10m\" }\n";

const APP: (&str, &str) = ("Origin", "https://app.example.com");
const OTHER: (&str, &str) = ("Origin", "https://other.example.com");
const PUT: (&str, &str) = ("Access-Control-Request-Method", "PUT");

/// Who may read a response, whether with credentials, and by what it varies.
fn told(answer: &Answer) -> (Option<&str>, Option<&str>, Vec<&str>) {
    let allowed = answer.field("access-control-allow-origin");
    (allowed, answer.field("access-control-allow-credentials"), answer.values("vary"))
}

#[tokio::test]
async fn a_preflight_is_answered_by_the_first_node() {
    let origin = Origin::start().await;
    origin.default_route(reply("origin"));
    let edge = edge().origin(&origin).site(RULES).start();
    let answer = edge.ask("OPTIONS", "/api/a", &[APP, PUT]).await;
    assert_eq!((answer.status, answer.handled()), (204, "detail=rule-preflight".into()));
    assert_eq!(told(&answer), (Some("https://app.example.com"), Some("true"), vec!["Origin"]));
    assert_eq!(answer.field("access-control-allow-methods"), Some("PUT"));
    assert_eq!(answer.field("access-control-allow-headers"), Some("Authorization, X-A"));
    assert_eq!(answer.field("access-control-max-age"), Some("600"));
    let refused = edge.ask("OPTIONS", "/api/a", &[OTHER, PUT]).await;
    assert_eq!((refused.status, told(&refused)), (204, (None, None, vec!["Origin"])));
    assert_eq!(refused.field("access-control-allow-methods"), None);
    let fonts = edge.ask("OPTIONS", "/fonts/a", &[OTHER, PUT]).await;
    assert_eq!((fonts.status, told(&fonts)), (204, (Some("*"), None, vec![])));
    assert_eq!(origin.requests("*").len(), 0);
    // What is no preflight, or matches no such rule, is the origin server's.
    for (path, fields) in [("/api/a", &[APP][..]), ("/api/a", &[PUT]), ("/other", &[APP, PUT])] {
        assert_eq!(
            edge.ask("OPTIONS", path, fields).await.line(),
            "200 origin",
            "{path} {fields:?}"
        );
    }
}

/// From the store too, in whatever form, for each origin by itself; and none of it is stored.
#[tokio::test]
async fn each_answer_says_who_may_read_it() {
    let origin = Origin::start().await;
    let says =
        reply("hello").max_age(60).header("Access-Control-Allow-Origin", "https://evil.example");
    origin.default_route(says.header("ETag", "\"a\"").header("X-Total", "3"));
    origin.route("/api/error", reply("no").status(500));
    let log = Log::new("one");
    let parent = parent_of("parent", &origin, "").site(RULES).start();
    let edge = edge_of("edge-1", &origin, &[&parent], "").site(RULES).start();
    let (_one, _two) = (log.lead(&edge).await, log.lead(&parent).await);
    let app = (Some("https://app.example.com"), Some("true"), vec!["Origin"]);
    let nobody = (None, None, vec!["Origin"]);
    for (fields, status, expected) in [
        (&[APP][..], 200, &app),
        (&[], 200, &nobody),
        (&[OTHER], 200, &nobody),
        (&[APP, ("If-None-Match", "\"a\"")], 304, &app),
        (&[APP, ("Range", "bytes=0-1")], 206, &app),
    ] {
        let answer = edge.get_with("/api/a", fields).await;
        assert_eq!((answer.status, &told(&answer)), (status, expected), "{fields:?}");
        let exposed = answer.field("access-control-expose-headers");
        assert_eq!(exposed, expected.0.map(|_| "X-Total"), "{fields:?}");
    }
    let team = edge.get_with("/api/a", &[("Origin", "https://b.team.example.com")]).await;
    assert_eq!(team.handled_by("edge-1"), "hit", "one stored response for all origins");
    assert_eq!(told(&team).0, Some("https://b.team.example.com"));
    assert_eq!(origin.fetches("/api/a"), 1);
    // Scripts can read what went wrong.
    assert_eq!(told(&edge.get_with("/api/error", &[APP]).await), app);
    assert_eq!(told(&edge.get("/fonts/a").await), (Some("*"), None, vec![]));
    assert_eq!(told(&edge.get("/other").await), (Some("https://evil.example"), None, vec![]));
}

/// Access comes first: who is refused is not told who may read what.
#[tokio::test]
async fn access_is_judged_before_a_preflight_is_answered() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello"));
    let rules = format!(
        "{RULES}[[site.rule]]\nname = \"closed\"\nmatch = {{ path = [\"/api/*\"] }}\ndeny = [\"127.0.0.0/8\"]\n"
    );
    let edge = edge().origin(&origin).site(&rules).start();
    let answer = edge.ask("OPTIONS", "/api/a", &[APP, PUT]).await;
    assert_eq!((answer.status, told(&answer)), (403, (None, None, vec![])));
    assert_eq!(edge.ask("OPTIONS", "/fonts/a", &[APP, PUT]).await.status, 204);
}

#[test]
fn check_shows_the_answer_to_a_preflight() {
    let text = format!("[[site]]\norigins = [\"http://a\"]\n{RULES}");
    let config = TextFile::new("cors.toml", &text);
    let ask = [
        "check",
        config.path(),
        "--request",
        "OPTIONS http://h/api/a",
        "-H",
        "Origin: https://app.example.com",
    ];
    let ran = run(&[&ask[..], &["-H", "Access-Control-Request-Method: PUT"]].concat(), &[]);
    assert_eq!(ran.status, Some(0), "{}", ran.err);
    assert!(ran.out.contains("cors    api\n") && ran.out.contains("answer  204\n"), "{}", ran.out);
    let ran = run(&ask, &[]);
    assert!(!ran.out.contains("answer"), "{}", ran.out);
}
