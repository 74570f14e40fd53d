//! Compression: what is compressed, what never is, and which form a client gets (`compress` of a site).

mod support;
use std::io::{Read, Write};
use support::*;

const ON: &str = "compress = true";

/// A page that compresses well, and differs from others by its title.
fn page(title: &str) -> String {
    let lines = (0..200).map(|n| format!("<p>Line {n} of {title}: the quick brown fox</p>\n"));
    format!("<h1>{title}</h1>{}", lines.collect::<String>())
}

fn html(title: &str) -> Reply {
    of_type("text/html", title, "\"v1\"")
}

fn of_type(content_type: &str, title: &str, etag: &str) -> Reply {
    reply(page(title)).max_age(600).etag(etag).content_type(content_type)
}

/// A page as an origin sends it that compresses itself.
fn coded(body: &[u8], content_type: &str) -> Reply {
    let coded = reply(gzipped(body)).max_age(600).etag("\"v1\"");
    coded.content_type(content_type).header("Content-Encoding", "gzip")
}

fn accepting(codings: &str) -> [(&'static str, &str); 1] {
    [("Accept-Encoding", codings)]
}

/// What a body is without its coding.
fn decoded(answer: &Answer) -> String {
    let mut out = Vec::new();
    match answer.field("content-encoding") {
        None => out.extend_from_slice(&answer.body),
        Some("gzip") => {
            flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut out).expect("gzip");
        }
        Some("br") => {
            brotli::Decompressor::new(&answer.body[..], 4096).read_to_end(&mut out).expect("br");
        }
        Some("zstd") => out = zstd::decode_all(&answer.body[..]).expect("zstd"),
        Some(other) => panic!("{other}"),
    }
    String::from_utf8(out).expect("text")
}

fn gzipped(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

/// Asks until the answer has this coding.
async fn until_coded(edge: &Edge, target: &str, codings: &str, coding: &str) -> Answer {
    let is_coded = |answer: &Answer| answer.field("content-encoding") == Some(coding);
    edge.until_answered(coding, target, &accepting(codings), is_coded).await
}

fn varies(answer: &Answer) -> bool {
    let named = |line: &&str| line.to_ascii_lowercase().contains("accept-encoding");
    answer.values("vary").iter().filter(|line| named(line)).count() == 1
}

#[tokio::test]
async fn a_stored_page_is_compressed_once_and_each_client_gets_the_form_that_it_reads() {
    let origin = Origin::start().await;
    origin.route("/a", html("a").header("Content-MD5", "x").header("Repr-Digest", "x"));
    let edge = edge().origin(&origin).site(ON).start();
    let browser = "gzip, deflate, br, zstd";
    let first = edge.get_with("/a", &accepting(browser)).await;
    assert_eq!((first.text(), first.field("content-encoding")), (page("a"), None));
    assert_eq!(first.field("etag"), Some("\"v1\""));
    assert!(varies(&first), "{first:?}");
    for (codings, coding, tag) in [
        (browser, "br", "\"v1-br\""),
        ("gzip, zstd", "zstd", "\"v1-zstd\""),
        ("gzip", "gzip", "\"v1-gzip\""),
        ("br;q=0.1, gzip", "gzip", "\"v1-gzip\""),
    ] {
        let answer = until_coded(&edge, "/a", codings, coding).await;
        assert_eq!(decoded(&answer), page("a"), "{coding}");
        assert_eq!(answer.field("etag"), Some(tag));
        assert_eq!(answer.number("content-length"), Some(answer.body.len() as u64));
        assert!(answer.body.len() < page("a").len() / 5, "{coding}: {}", answer.body.len());
        assert_eq!(answer.handled(), "hit");
        assert_eq!(answer.field("content-type"), Some("text/html"));
        assert_eq!((answer.field("content-md5"), answer.field("repr-digest")), (None, None));
        assert!(varies(&answer), "{answer:?}");
        let head = edge.ask("HEAD", "/a", &accepting(codings)).await;
        for name in ["content-encoding", "content-length", "etag", "vary", "content-type"] {
            assert_eq!(head.field(name), answer.field(name), "HEAD: {name}");
        }
    }
    for codings in [&[][..], &accepting("identity"), &accepting("br;q=0"), &accepting("deflate")] {
        let plain = edge.get_with("/a", codings).await;
        assert_eq!((plain.text(), plain.field("content-encoding")), (page("a"), None));
        assert_eq!(plain.field("etag"), Some("\"v1\""));
        assert!(varies(&plain) && plain.field("content-md5").is_some(), "{plain:?}");
    }
    assert_eq!(origin.fetches("/a"), 1, "all forms are of one fetch");
    let explained = edge.explain("/a").selected.expect("stored");
    let codings: Vec<_> = explained.codings.iter().map(|form| form.coding).collect();
    assert_eq!((codings, explained.not_compressed), (vec!["gzip", "br", "zstd"], None));
    let metrics = edge.node.metrics();
    for line in [
        "weir_compressions_total{coding=\"br\"} 1",
        "weir_compressions_total{coding=\"gzip\"} 1",
        "weir_compressions_total{coding=\"zstd\"} 1",
        "weir_compression_queue 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[tokio::test]
async fn a_site_without_compress_changes_nothing() {
    let origin = Origin::start().await;
    origin.route("/a", html("a"));
    let edge = edge().origin(&origin).start();
    for _ in 0..5 {
        let answer = edge.get_with("/a", &accepting("br, gzip")).await;
        assert_eq!((answer.text(), answer.values("vary")), (page("a"), vec![]));
        assert_eq!(answer.field("etag"), Some("\"v1\""));
    }
    let explained = edge.explain("/a").selected.expect("stored");
    assert!(explained.codings.is_empty() && explained.not_compressed.is_none());
}

#[tokio::test]
async fn what_must_not_be_compressed_never_is() {
    let origin = Origin::start().await;
    let cases = [
        ("/no-transform", html("x").header("Cache-Control", "no-transform"), "no-transform"),
        (
            "/set-cookie",
            html("x").header("Cache-Control", "public").set_cookie("a=b"),
            "Set-Cookie",
        ),
        ("/vary-cookie", html("x").vary("Cookie"), "one user"),
        ("/image", of_type("image/png", "x", "\"v1\""), "Content-Type"),
        ("/untyped", reply(page("x")).max_age(600), "Content-Type"),
        ("/tiny", reply("tiny").max_age(600).content_type("text/html"), "shorter"),
        ("/large", reply(page("x").repeat(9)).max_age(600).content_type("text/html"), "longer"),
        ("/error", html("x").status(500), "status"),
    ];
    for (path, reply, _) in &cases {
        origin.route(path, reply.clone());
    }
    origin.route("/coded", coded(page("x").as_bytes(), "text/html"));
    let edge = edge().origin(&origin).site("compress = { max = \"64KiB\" }").start();
    origin.route("/good", html("good"));
    for (path, _, why) in &cases {
        for _ in 0..3 {
            let answer = edge.get_with(path, &accepting("br, gzip")).await;
            assert_eq!(answer.field("content-encoding"), None, "{path}");
        }
        let explained = edge.explain(path).selected.expect(path);
        let told = explained.not_compressed.expect(path);
        assert!(told.contains(why), "{path}: {told}");
    }
    for _ in 0..3 {
        let coded = edge.get_with("/coded", &accepting("br, gzip")).await;
        assert_eq!(coded.field("content-encoding"), Some("gzip"));
        assert_eq!(decoded(&coded), page("x"));
    }
    // All that was asked for before is done once this is.
    until_coded(&edge, "/good", "br", "br").await;
    for (path, _, _) in &cases {
        let answer = edge.get_with(path, &accepting("br, gzip")).await;
        assert_eq!(answer.field("content-encoding"), None, "{path}");
    }
}

#[tokio::test]
async fn what_answered_authorization_or_has_a_cookie_in_its_key_stays_as_it_is() {
    let origin = Origin::start().await;
    origin.route("/mine", html("mine").header("Cache-Control", "public"));
    origin.route("/all", html("all").header("Cache-Control", "public"));
    origin.route("/shop", html("shop"));
    let edge = edge().origin(&origin).site("compress = true\nkey.cookies = [\"currency\"]").start();
    let with = |name: &'static str, value: &'static str| [("Accept-Encoding", "br"), (name, value)];
    let authorized = with("Authorization", "Bearer x");
    edge.get_with("/mine", &authorized).await;
    edge.get_with("/shop", &with("Cookie", "currency=eur")).await;
    until_coded(&edge, "/all", "br", "br").await;
    // A form that is there is not for requests with credentials.
    let mine = edge.get_with("/all", &authorized).await;
    assert_eq!((mine.handled().as_str(), mine.field("content-encoding")), ("hit", None));
    let mine = edge.get_with("/mine", &accepting("br")).await;
    assert_eq!((mine.handled().as_str(), mine.field("content-encoding")), ("hit", None));
    let shop = edge.get_with("/shop", &with("Cookie", "currency=eur")).await;
    assert_eq!((shop.handled().as_str(), shop.field("content-encoding")), ("hit", None));
    // Without that cookie there is none in the key.
    until_coded(&edge, "/shop", "br", "br").await;
    until_coded(&edge, "/all", "gzip", "gzip").await;
    for (path, fields) in
        [("/mine", accepting("br").to_vec()), ("/shop", with("Cookie", "currency=eur").to_vec())]
    {
        let answer = edge.get_with(path, &fields).await;
        assert_eq!(
            (answer.handled().as_str(), answer.field("content-encoding")),
            ("hit", None),
            "{path}"
        );
    }
}

#[tokio::test]
async fn if_none_match_takes_every_form_and_no_marked_tag_reaches_the_origin() {
    let origin = Origin::start().await;
    origin.route("/a", html("a").conditional(true));
    origin.route("/pass", html("p").header("Cache-Control", "no-store").conditional(true));
    let edge = edge().origin(&origin).site(ON).start();
    until_coded(&edge, "/a", "br", "br").await;
    for (tag, codings, told) in [
        ("\"v1\"", "br", "\"v1\""),
        ("\"v1-br\"", "br", "\"v1-br\""),
        ("\"v1-gzip\"", "br", "\"v1-gzip\""),
        ("W/\"v1-zstd\"", "gzip", "\"v1-zstd\""),
        ("\"x\", \"v1-br\", \"v1\"", "br", "\"v1-br\""),
    ] {
        let fields = [("If-None-Match", tag), ("Accept-Encoding", codings)];
        let answer = edge.get_with("/a", &fields).await;
        assert_eq!((answer.status, answer.field("etag")), (304, Some(told)), "{tag}");
        assert!(varies(&answer), "{answer:?}");
    }
    for tag in ["\"v2\"", "\"v2-br\"", "\"v1-deflate\""] {
        let fields = [("If-None-Match", tag), ("Accept-Encoding", "br")];
        assert_eq!(edge.get_with("/a", &fields).await.status, 200, "{tag}");
    }
    // Passed on: as the origin knows it, and answered as the client does.
    edge.get("/pass").await;
    for _ in 0..2 {
        let answer = edge.get_with("/pass", &[("If-None-Match", "\"v1-br\"")]).await;
        assert_eq!((answer.status, answer.field("etag")), (304, Some("\"v1-br\"")), "{answer:?}");
    }
    let fields = [("If-Match", "\"v1-br\""), ("If-None-Match", "\"v1-zstd\"")];
    edge.ask("PUT", "/a", &fields).await;
    edge.get_with("/a", &fields).await;
    edge.get_with("/b", &[("Range", "bytes=0-9"), ("If-Range", "\"v1-br\"")]).await;
    for path in ["/a", "/b", "/pass"] {
        for request in origin.requests(path) {
            for (name, value) in &request.headers {
                let marked =
                    ["-br\"", "-gzip\"", "-zstd\""].iter().any(|mark| value.contains(mark));
                assert!(!marked, "{path}: {name}: {value}");
            }
        }
    }
    let put =
        origin.requests("/a").into_iter().find(|request| request.method == "PUT").expect("a PUT");
    assert_eq!(put.header("If-Match"), Some("\"v1\""));
    assert_eq!(put.header("If-None-Match"), Some("\"v1\""));
}

#[tokio::test]
async fn a_range_is_of_the_original_unless_if_range_names_a_form() {
    let origin = Origin::start().await;
    origin.route("/a", html("a"));
    let edge = edge().origin(&origin).site(ON).start();
    let whole = until_coded(&edge, "/a", "br", "br").await;
    let ask = |condition: Option<&'static str>, codings: &'static str| {
        let mut fields = vec![("Range", "bytes=3-7"), ("Accept-Encoding", codings)];
        fields.extend(condition.map(|tag| ("If-Range", tag)));
        let edge = &edge;
        async move { edge.get_with("/a", &fields).await }
    };
    for condition in [None, Some("\"v1\"")] {
        let part = ask(condition, "br").await;
        assert_eq!(part.line(), format!("206 {}", &page("a")[3..8]));
        assert_eq!((part.field("etag"), part.field("content-encoding")), (Some("\"v1\""), None));
        assert!(varies(&part), "{part:?}");
    }
    let part = ask(Some("\"v1-br\""), "br").await;
    assert_eq!((part.status, &part.body[..]), (206, &whole.body[3..8]));
    assert_eq!(
        (part.field("etag"), part.field("content-encoding")),
        (Some("\"v1-br\""), Some("br"))
    );
    assert_eq!(part.field("content-range"), Some(&*format!("bytes 3-7/{}", whole.body.len())));
    // No such form, and other bytes: the whole.
    for condition in ["\"v1-gzip\"", "\"v2-br\"", "W/\"v1\""] {
        let answer = ask(Some(condition), "br").await;
        assert_eq!((answer.status, decoded(&answer)), (200, page("a")), "{condition}");
    }
    assert_eq!(origin.fetches("/a"), 1);
}

#[tokio::test]
async fn a_date_in_if_range_does_not_mix_two_forms() {
    let origin = Origin::start().await;
    let dated = reply(page("a")).max_age(600).content_type("text/html").last_modified_secs_ago(900);
    origin.route("/a", dated);
    let edge = edge().origin(&origin).site(ON).start();
    let coded = until_coded(&edge, "/a", "br", "br").await;
    assert_eq!((coded.field("etag"), coded.field("accept-ranges")), (None, None));
    let date = coded.field("last-modified").expect("a date").to_owned();
    let fields = [("Range", "bytes=3-7"), ("If-Range", &*date), ("Accept-Encoding", "br")];
    assert_eq!(decoded(&edge.get_with("/a", &fields).await), page("a"));
    let plain = edge.get_with("/a", &[("Range", "bytes=3-7"), ("If-Range", &*date)]).await;
    assert_eq!(
        plain.line(),
        format!("206 {}", &page("a")[3..8]),
        "who takes no coding has no form"
    );
    let current =
        edge.get_with("/a", &[("If-Modified-Since", &*date), ("Accept-Encoding", "br")]).await;
    assert!(current.status == 304 && varies(&current), "{current:?}");
}

#[tokio::test]
async fn a_weak_tag_stays_as_it_is() {
    let origin = Origin::start().await;
    origin.route("/a", of_type("text/html", "a", "W/\"v1\""));
    let edge = edge().origin(&origin).site(ON).start();
    let coded = until_coded(&edge, "/a", "gzip", "gzip").await;
    assert_eq!((coded.field("etag"), coded.field("accept-ranges")), (Some("W/\"v1\""), None));
    let fields = [("If-None-Match", "W/\"v1\""), ("Accept-Encoding", "gzip")];
    assert_eq!(edge.get_with("/a", &fields).await.status, 304);
}

#[tokio::test]
async fn a_form_goes_with_what_it_was_made_of() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).site(ON).start();
    let mut number = 0;
    let mut next = async |edge: &Edge| {
        number += 1;
        let title = format!("page {number}");
        origin.route("/a", of_type("text/html", &title, &format!("\"v{number}\"")));
        let answer = edge.get_with("/a", &accepting("br")).await;
        assert_eq!(decoded(&answer), page(&title), "the old one came back");
        let coded = until_coded(edge, "/a", "br", "br").await;
        assert_eq!(
            (decoded(&coded), coded.field("etag")),
            (page(&title), Some(&*format!("\"v{number}-br\"")))
        );
    };
    next(&edge).await;
    edge.purge(path("/a"));
    next(&edge).await;
    edge.purge(Target::All);
    next(&edge).await;
    assert_eq!(edge.ask("POST", "/a", &[]).await.status, 200);
    next(&edge).await;
    // Soft-purged, it is stale, and so is its form: the next request validates the original.
    edge.soft_purge(path("/a"));
    next(&edge).await;
}

#[tokio::test]
async fn a_validated_response_keeps_its_forms_under_its_new_fields() {
    let origin = Origin::start().await;
    let fresh = html("a").conditional(true);
    origin.route("/a", fresh.header("X-Round", "1"));
    let edge = edge().origin(&origin).site(ON).start();
    until_coded(&edge, "/a", "br", "br").await;
    edge.soft_purge(path("/a"));
    origin.route("/a", html("a").conditional(true).header("X-Round", "2"));
    let validated = edge.get_with("/a", &accepting("br")).await;
    assert_eq!(validated.handled(), "fwd=stale; fwd-status=304; stored");
    assert_eq!(
        (validated.field("content-encoding"), validated.field("x-round")),
        (Some("br"), Some("2"))
    );
    assert_eq!(decoded(&validated), page("a"));
    assert!(
        edge.node.metrics().contains("weir_compressions_total{coding=\"br\"} 1"),
        "not made anew"
    );
}

#[tokio::test]
async fn only_the_first_node_compresses() {
    let origin = Origin::start().await;
    origin.route("/a", html("a").conditional(true));
    let log = Log::new("one");
    let parent = parent_of("parent", &origin, "").site(ON).start();
    let edge = edge_of("edge-1", &origin, &[&parent], "").site(ON).start();
    let _leashes = (log.lead(&parent).await, log.lead(&edge).await);
    let coded = until_coded(&edge, "/a", "br", "br").await;
    assert_eq!((decoded(&coded), coded.field("etag")), (page("a"), Some("\"v1-br\"")));
    let fields = [("If-None-Match", "\"v1-br\""), ("Accept-Encoding", "br")];
    assert_eq!(edge.get_with("/a", &fields).await.status, 304);
    assert!(!parent.node.metrics().contains("weir_compressions_total{coding=\"br\"} 1"));
    // It is the first node for who comes to it.
    let direct = until_coded(&parent, "/a", "br", "br").await;
    assert_eq!(direct.field("etag"), Some("\"v1-br\""));
    // Still an edge gets the original.
    let other = edge_of("edge-2", &origin, &[&parent], "").start();
    let _leash = log.lead(&other).await;
    let plain = other.get_with("/a", &accepting("br")).await;
    assert_eq!((plain.text(), plain.field("etag")), (page("a"), Some("\"v1\"")));
}

#[tokio::test]
async fn a_client_that_takes_no_coding_gets_what_the_origin_compressed_decompressed() {
    let origin = Origin::start().await;
    origin.route("/a", coded(page("a").as_bytes(), "text/html"));
    origin.route("/archive", coded(page("a").as_bytes(), "application/gzip"));
    let edge = edge().origin(&origin).site(ON).start();
    for round in ["miss", "hit"] {
        let plain = edge.get("/a").await;
        assert_eq!((plain.text(), plain.field("content-encoding")), (page("a"), None), "{round}");
        assert_eq!(
            (plain.field("etag"), plain.field("content-length")),
            (Some("\"v1-identity\""), None)
        );
        assert!(varies(&plain) && plain.whole, "{plain:?}");
    }
    let gzip = edge.get_with("/a", &accepting("gzip")).await;
    assert_eq!(
        (gzip.field("content-encoding"), gzip.field("etag")),
        (Some("gzip"), Some("\"v1\""))
    );
    let head = edge.ask("HEAD", "/a", &[]).await;
    assert_eq!(
        (head.field("content-encoding"), head.field("etag")),
        (None, Some("\"v1-identity\""))
    );
    let current = edge.get_with("/a", &[("If-None-Match", "\"v1-identity\"")]).await;
    assert_eq!((current.status, current.field("etag")), (304, Some("\"v1-identity\"")));
    // A range of bytes that are made anew each time would be one of bytes that nobody vouches for.
    assert_eq!(
        edge.get_with("/a", &[("Range", "bytes=0-3")]).await.line(),
        format!("200 {}", page("a"))
    );
    assert_eq!(edge.get("/archive").await.field("content-encoding"), Some("gzip"));
}

#[tokio::test]
async fn decompression_is_bounded() {
    let origin = Origin::start().await;
    let coded = |bytes: usize| coded(&vec![b'a'; bytes], "text/plain");
    origin.route("/good", coded(1 << 20));
    origin.route("/bomb", coded(16 << 20));
    let edge = edge().origin(&origin).site(ON).start();
    for _ in 0..2 {
        let good = edge.get("/good").await;
        assert!(good.whole && good.body.len() == 1 << 20, "{}", good.body.len());
        let mut client = edge.connect().await;
        client.request("GET", "/bomb", &[], "").await;
        // Cut off, before the head or after it.
        if let Some(head) = client.next_head().await {
            let bomb = client.rest("GET", head).await;
            assert!(!bomb.whole && bomb.body.len() < 3 << 20, "{}", bomb.body.len());
        }
    }
}

#[tokio::test]
async fn the_table_says_what_is_compressed_and_how() {
    let origin = Origin::start().await;
    origin.route("/a", html("a"));
    origin.route("/b", of_type("application/x-notes", "b", "\"v1\""));
    let site = "compress = { types = [\"application/x-notes\"], min = \"4KiB\", order = [\"gzip\"], levels = { gzip = 9 } }";
    let edge = edge().origin(&origin).site(site).start();
    edge.get_with("/a", &accepting("br, gzip")).await;
    let coded = until_coded(&edge, "/b", "br, gzip", "gzip").await;
    assert_eq!(decoded(&coded), page("b"));
    assert_eq!(edge.get_with("/a", &accepting("br, gzip")).await.field("content-encoding"), None);
}

#[tokio::test]
async fn a_reload_of_compress_is_for_what_is_stored_already() {
    let origin = Origin::start().await;
    origin.route("/a", html("a"));
    let builder = || edge().origin(&origin);
    let edge = builder().start();
    let reload = |site: &str| {
        edge.node.reload(builder().site(site).config()).expect("a valid configuration");
    };
    let codings = "br, gzip";
    assert!(!varies(&edge.get_with("/a", &accepting(codings)).await));
    reload(ON);
    until_coded(&edge, "/a", codings, "br").await;
    // The same again keeps what was made.
    reload(ON);
    let kept = edge.get_with("/a", &accepting(codings)).await;
    assert_eq!(kept.field("content-encoding"), Some("br"));
    reload("compress = { order = [\"gzip\"] }");
    assert_eq!(decoded(&until_coded(&edge, "/a", codings, "gzip").await), page("a"));
    reload("");
    let plain = edge.get_with("/a", &accepting(codings)).await;
    assert_eq!((plain.text(), plain.field("etag")), (page("a"), Some("\"v1\"")));
    assert!(!varies(&plain), "{plain:?}");
    assert_eq!(origin.fetches("/a"), 1);
}
