//! Error pages: a file or a stored URL of the site in place of the body of an error (`error_page` of a rule).

mod support;
use support::*;

const PAGE: &str = "<h1>Not here</h1>";

/// A rule for every request with these pages.
fn pages(pages: &str) -> String {
    format!("[[site.rule]]\nname = \"pages\"\nerror_page = {pages}\n")
}

fn file_page(status: &str, file: &ScratchFile) -> String {
    format!("{{ status = {status}, file = {:?} }}", file.path())
}

fn missing() -> Reply {
    reply("gone").status(404).content_type("text/plain")
}

/// With all that describes a body and can be stored or validated.
fn described() -> Reply {
    let described =
        missing().etag("\"a\"").header("Retry-After", "9").header("Accept-Ranges", "bytes");
    let described = described.header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT");
    described.header("Content-Language", "en").header("Cache-Control", "no-store")
}

#[tokio::test]
async fn a_file_stands_in_place_of_the_body_of_an_error() {
    let origin = Origin::start().await;
    origin.route("/missing", described());
    origin.route("/busy", reply("busy").status(503));
    origin.route("/chunked", reply("no").status(404).chunked());
    origin.default_route(reply("hello").max_age(60));
    let file = ScratchFile::new("404.html", PAGE);
    let edge = edge().origin(&origin).site(&pages(&file_page("[404]", &file))).start();
    for target in ["/missing", "/missing", "/chunked"] {
        let answer = edge.get(target).await;
        assert_eq!(answer.line(), format!("404 {PAGE}"));
        assert_eq!(answer.values("content-type"), ["text/html; charset=utf-8"]);
        assert_eq!(answer.number("content-length"), Some(PAGE.len() as u64));
        for name in ["etag", "last-modified", "accept-ranges", "content-language"] {
            assert_eq!(answer.field(name), None, "{name}");
        }
        assert!(answer.handled().contains("fwd-status=404"), "{answer:?}");
        let head = edge.ask("HEAD", target, &[]).await;
        assert_eq!((head.status, head.body.len()), (404, 0));
        for name in ["content-type", "content-length", "etag", "retry-after"] {
            assert_eq!(head.field(name), answer.field(name), "{target}: {name}");
        }
    }
    assert_eq!(edge.get("/missing").await.field("retry-after"), Some("9"), "it is not the body's");
    // A condition is about the client's copy, a range about what is not there.
    for fields in [[("If-None-Match", "\"a\"")], [("Range", "bytes=0-1")]] {
        assert_eq!(edge.get_with("/missing", &fields).await.line(), format!("404 {PAGE}"));
    }
    assert_eq!(edge.get("/busy").await.line(), "503 busy", "another status");
    assert_eq!(edge.get("/a").await.line(), "200 hello");
    let mut client = edge.connect().await;
    for _ in 0..2 {
        client.request("GET", "/missing", &[], "").await;
        assert_eq!(
            client.answer("GET").await.line(),
            format!("404 {PAGE}"),
            "the connection goes on"
        );
    }
}

/// What weir says itself: here that the origin cannot be reached. To unsafe requests, too.
#[tokio::test]
async fn errors_of_weirs_own_have_pages() {
    let origin = Origin::start().await;
    origin.default_route(missing());
    let file = ScratchFile::new("error.html", PAGE);
    let rules = pages(&file_page("[\"4xx\", \"5xx\"]", &file));
    let edge = edge().origin(&origin).site(&rules).start();
    let post = edge.send("POST", "/a", &[], "x").await;
    assert_eq!(post.line(), "404 gone", "the origin's answer to an unsafe request is its own");
    let _port = out_of_reach(&origin).await;
    for method in ["GET", "POST"] {
        let answer = edge.send(method, "/b", &[], if method == "POST" { "x" } else { "" }).await;
        assert_eq!(answer.line(), format!("502 {PAGE}"), "{method}");
        assert_eq!(answer.values("cache-control"), ["no-store"]);
        assert!(answer.handled().contains("detail=origin-connect"), "{answer:?}");
    }
    let head = edge.ask("HEAD", "/b", &[]).await;
    assert_eq!((head.status, head.number("content-length")), (502, Some(PAGE.len() as u64)));
    let cached = [("Cache-Control", "only-if-cached")];
    assert_eq!(edge.get_with("/c", &cached).await.line(), format!("504 {PAGE}"));
}

#[tokio::test]
async fn a_page_at_a_url_is_fetched_once_for_all_and_without_what_names_a_client() {
    let origin = Origin::start().await;
    origin.default_route(missing());
    origin.route(
        "/errors/404.html",
        answer_with(|request| {
            for name in ["cookie", "authorization", "if-none-match", "range"] {
                assert_eq!(request.header(name), None, "{name}");
            }
            let page = reply(PAGE).max_age(600).content_type("text/html").etag("\"page\"");
            page.set_cookie("visitor=1").header("Cache-Control", "public").header("Age", "5")
        }),
    );
    let rules = pages("{ status = [404], path = \"/errors/404.html\" }");
    let edge = edge().origin(&origin).site(&rules).start();
    for (target, fields) in [
        ("/a", &[][..]),
        ("/a", &[("Cookie", "id=1")]),
        ("/b", &[("Authorization", "Basic eA==")]),
        ("/c", &[("If-None-Match", "\"page\"")]),
        ("/d", &[("Range", "bytes=0-1")]),
    ] {
        let answer = edge.get_with(target, fields).await;
        assert_eq!(answer.line(), format!("404 {PAGE}"), "{target}");
        assert_eq!(answer.values("content-type"), ["text/html"]);
        for name in ["etag", "set-cookie", "age", "cache-control"] {
            assert_eq!(answer.field(name), None, "{target}: {name}");
        }
        let head = edge.ask("HEAD", target, fields).await;
        assert_eq!(head.field("content-length"), answer.field("content-length"), "{target}");
    }
    assert_eq!(origin.fetches("/errors/404.html"), 1);
    assert_eq!(edge.get("/errors/404.html").await.handled(), "hit");
    edge.purge(path("/errors/404.html"));
    edge.get("/a").await;
    assert_eq!(origin.fetches("/errors/404.html"), 2, "purged like any other");
}

/// The store has the error as the origin sent it: only what is sent is replaced.
#[tokio::test]
async fn a_page_is_never_stored_under_the_url_of_the_error() {
    let origin = Origin::start().await;
    origin.route("/missing", missing().max_age(60));
    let file = ScratchFile::new("404.html", PAGE);
    let start = |site: &str| support::edge().origin(&origin).site(site);
    let edge = start(&pages(&file_page("[404]", &file))).start();
    for handled in ["fwd=uri-miss; fwd-status=404; stored", "hit"] {
        let answer = edge.get("/missing").await;
        assert_eq!((answer.line(), answer.handled()), (format!("404 {PAGE}"), handled.to_owned()));
    }
    assert_eq!(edge.explain("/missing").selected.expect("stored").bytes, 4);
    file.write("<h1>Changed</h1>");
    assert_eq!(
        edge.get("/missing").await.line(),
        format!("404 {PAGE}"),
        "read with the configuration"
    );
    edge.node.reload(start(&pages(&file_page("[404]", &file))).config()).expect("a configuration");
    assert_eq!(edge.get("/missing").await.line(), "404 <h1>Changed</h1>");
    edge.node.reload(start("").config()).expect("a configuration");
    let answer = edge.get("/missing").await;
    assert_eq!((answer.line(), answer.handled()), ("404 gone".into(), "hit".into()));
}

#[tokio::test]
async fn a_page_that_fails_leaves_the_error_as_it_is() {
    let origin = Origin::start().await;
    origin.default_route(missing());
    origin.route("/errors/5xx.html", reply("broken").status(500));
    origin.route("/failing", reply("failed").status(500));
    let rules = pages(
        "[{ status = [\"5xx\"], path = \"/errors/5xx.html\" }, { status = [404], path = \"/none\" }]",
    );
    let edge = edge().origin(&origin).site(&rules).start();
    let answer = edge.get("/failing").await;
    assert_eq!(answer.line(), "500 failed");
    assert!(answer.field("content-length").is_some());
    assert_eq!(origin.fetches("/errors/5xx.html"), 1);
    // A page has no page.
    assert_eq!(edge.get("/missing").await.line(), "404 gone");
    assert_eq!((origin.fetches("/missing"), origin.fetches("/none")), (1, 1));
    assert_eq!(edge.get("/none").await.line(), "404 gone");
    assert_eq!(origin.fetches("/none"), 3);
    assert!(edge.node.metrics().contains("weir_error_pages_failed_total 3"));
    let _port = out_of_reach(&origin).await;
    let answer = edge.get("/a").await;
    assert!(answer.text().starts_with("502 Bad Gateway"), "{answer:?}");
}

/// A refusal stays one: who is refused sees the page, nothing else of the site, and no cache stores it.
#[tokio::test]
async fn refusals_have_pages_and_stay_refusals() {
    let origin = Origin::start().await;
    origin.default_route(reply("secret").max_age(60));
    origin.route("/errors/refused.html", reply(PAGE).max_age(60).content_type("text/html"));
    let users = ScratchFile::new(
        "users",
        "anna:$2y$04$Gz0wBDR0Kg/jvUm7wzMCouvkIempriLaRGWsWZsfZEWG04SfuBWdW\n",
    );
    let rules = format!(
        "{}[[site.rule]]\nname = \"hidden\"\nmatch = {{ path = [\"/hidden/*\", \"/errors/*\"] }}\ndeny = [\"all\"]\n\
         [[site.rule]]\nname = \"staff\"\nmatch = {{ path = [\"/staff/*\"] }}\nbasic_auth = {:?}\n\
         [[site.rule]]\nname = \"calm\"\nmatch = {{ path = [\"/calm\"] }}\nrate = {{ requests = 1, per = \"1h\" }}\n\
         [[site.rule]]\nname = \"sent\"\nresponse_headers = {{ set = {{ Cache-Control = \"max-age=60\" }} }}\n",
        pages("{ status = [401, 403, 429], path = \"/errors/refused.html\" }"),
        users.path()
    );
    let edge = edge().origin(&origin).site(&rules).start();
    edge.get("/calm").await;
    let wrong = [("Authorization", "Basic YW5uYTp3cm9uZw==")];
    for (target, fields, status, kept) in [
        ("/hidden/a", &[][..], 403, None),
        ("/hidden/%61", &[], 403, None),
        ("/staff/a", &[], 401, Some("www-authenticate")),
        ("/staff/a", &wrong, 401, Some("www-authenticate")),
        ("/calm", &[], 429, Some("retry-after")),
    ] {
        let answer = edge.get_with(target, fields).await;
        assert_eq!(answer.line(), format!("{status} {PAGE}"), "{target} {fields:?}");
        assert!(
            answer.field("cache-control").is_some_and(|line| line.contains("no-store")),
            "{answer:?}"
        );
        assert!(kept.is_none_or(|name| answer.field(name).is_some()), "{answer:?}");
    }
    assert_eq!(origin.fetches("/errors/refused.html"), 1, "nobody is refused a page for an error");
    assert_eq!(edge.get("/errors/refused.html").await.status, 403);
    assert_eq!(origin.fetches("/hidden/a") + origin.fetches("/staff/a"), 0);
}

#[tokio::test]
async fn the_first_node_alone_has_pages() {
    let origin = Origin::start().await;
    origin.default_route(missing().max_age(60));
    origin.route("/page", reply(PAGE).max_age(60).content_type("text/html"));
    let log = Log::new("one");
    let parents = ScratchFile::new("parent.html", "the parent's");
    let parent =
        parent_of("parent", &origin, "").site(&pages(&file_page("[404]", &parents))).start();
    let rules = pages("{ status = [404], path = \"/page\" }");
    let edge = edge_of("edge-1", &origin, &[&parent], "").site(&rules).start();
    let (_one, _two) = (log.lead(&edge).await, log.lead(&parent).await);
    let answer = edge.get("/a").await;
    assert_eq!(answer.line(), format!("404 {PAGE}"));
    assert_eq!(handled(&answer).len(), 2, "those of the error: {answer:?}");
    assert_eq!(parent.get("/a").await.line(), "404 the parent's", "clients reach it, too");
    assert_eq!(handled(&parent.get("/page").await), ["parent; hit"], "the page went through it");
    edge.node.reload(edge_of("edge-1", &origin, &[&parent], "").config()).expect("a configuration");
    assert_eq!(edge.get("/a").await.line(), "404 gone", "the edge has what the origin sent");
}

/// A page at a URL is compressed like any other page; a file, and the error itself, are not.
#[tokio::test]
async fn a_page_has_the_coding_that_its_fields_say() {
    let origin = Origin::start().await;
    let long = "<p>A page that is worth the work</p>\n".repeat(100);
    let text = |body: &str| reply(body.to_owned()).max_age(600).content_type("text/html");
    origin.default_route(text(&"<p>not here</p>".repeat(200)).status(404).vary("Accept-Encoding"));
    origin.route("/page", text(&long).etag("\"v1\""));
    let rules = format!("compress = true\n{}", pages("{ status = [404], path = \"/page\" }"));
    let edge = edge().origin(&origin).site(&rules).start();
    let br = [("Accept-Encoding", "br")];
    let is_coded = |answer: &Answer| answer.field("content-encoding").is_some();
    let answer = edge.until_answered("a coding", "/a", &br, is_coded).await;
    assert_eq!(answer.status, 404);
    let mut decoded = Vec::new();
    brotli::BrotliDecompress(&mut &answer.body[..], &mut decoded).expect("br");
    assert_eq!(String::from_utf8_lossy(&decoded), long);
    assert_eq!(answer.number("content-length"), Some(answer.body.len() as u64));
    let head = edge.ask("HEAD", "/a", &br).await;
    let plain = edge.get("/a").await;
    assert_eq!((plain.text(), plain.field("content-encoding")), (long, None));
    for name in ["content-length", "content-encoding", "vary", "content-type"] {
        assert_eq!(head.values(name), answer.values(name), "HEAD: {name}");
    }
    for answer in [&answer, &plain] {
        let vary = answer.values("vary").join(", ").to_ascii_lowercase();
        assert_eq!(vary.matches("accept-encoding").count(), 1, "{answer:?}");
        assert_eq!(answer.field("etag"), None);
    }
    let file = ScratchFile::new("404.html", PAGE);
    let rules = format!("compress = true\n{}", pages(&file_page("[404]", &file)));
    edge.node
        .reload(support::edge().origin(&origin).site(&rules).config())
        .expect("a configuration");
    let answer = edge.get_with("/a", &br).await;
    assert_eq!((answer.line(), answer.field("content-encoding")), (format!("404 {PAGE}"), None));
}

#[tokio::test]
async fn explain_names_the_rules_with_pages() {
    let origin = Origin::start().await;
    let file = ScratchFile::new("404.html", PAGE);
    let rules = format!(
        "{}[[site.rule]]\nname = \"shop\"\nmatch = {{ path = [\"/shop/*\"] }}\nerror_page = {}\n",
        pages(&file_page("[404]", &file)),
        file_page("[503]", &file)
    );
    let edge = edge().origin(&origin).site(&rules).start();
    let rules = edge.explain("/shop/a").rules;
    let told: Vec<_> = rules.iter().map(|rule| format!("{} {}", rule.setting, rule.rule)).collect();
    assert_eq!(told, ["error_page pages", "error_page shop"]);
}
