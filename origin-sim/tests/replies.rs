//! What a scripted route answers when it behaves.

mod support;

use std::time::{Duration, Instant};
use support::{Client, get, get_with, request};
use weir_origin_sim::{Origin, answer_with, pattern, reply, sequence};

#[tokio::test]
async fn a_reply_has_the_scripted_head_in_its_order_and_spelling() {
    let origin = Origin::start().await;
    let scripted = reply("hello").status(203).reason("Roughly").header("x-ODD", "1").max_age(60);
    origin.route("/a", scripted.vary("Accept").set_cookie("s=1").etag("\"v1\"").no_date());

    let answer = get(origin.addr(), "/a").await;

    assert_eq!(
        answer.head,
        "HTTP/1.1 203 Roughly\r\nx-ODD: 1\r\nCache-Control: max-age=60\r\nVary: Accept\r\n\
         Set-Cookie: s=1\r\nETag: \"v1\"\r\nContent-Length: 5\r\n\r\n"
    );
    assert_eq!(answer.text(), "hello");
}

#[tokio::test]
async fn a_date_is_written_unless_the_script_has_one() {
    let origin = Origin::start().await;
    origin.route("/now", reply("").last_modified_secs_ago(3600));
    origin.route("/own", reply("").header("Date", "never"));

    let now = get(origin.addr(), "/now").await;
    let date = httpdate::parse_http_date(now.header("Date").expect("Date")).expect("a date");
    let modified = now.header("Last-Modified").expect("Last-Modified");
    let modified = httpdate::parse_http_date(modified).expect("a date");
    let apart = date.duration_since(modified).expect("modified before");
    assert!((3599..=3601).contains(&apart.as_secs()), "{apart:?}");
    assert_eq!(get(origin.addr(), "/own").await.headers("Date"), ["never"]);
}

#[tokio::test]
async fn the_most_precise_route_answers() {
    let origin = Origin::start().await;
    for name in ["/a", "/a?x=1", "/img/*", "/img/icons/*", "/img/one"] {
        origin.route(name, reply(name.to_owned()));
    }
    for (target, route) in [
        ("/a", "/a"),
        ("/a?y=2", "/a"),
        ("/a?x=1", "/a?x=1"),
        ("/img/two", "/img/*"),
        ("/img/icons/three?q", "/img/icons/*"),
        ("/img/one?q", "/img/one"),
    ] {
        assert_eq!(get(origin.addr(), target).await.text(), route, "{target}");
    }
    assert_eq!(get(origin.addr(), "/elsewhere").await.status(), 404);
    origin.default_route(reply("anything"));
    assert_eq!(get(origin.addr(), "/elsewhere").await.text(), "anything");
    origin.remove_route("/a");
    assert_eq!(get(origin.addr(), "/a").await.text(), "anything");
}

#[tokio::test]
async fn replies_follow_each_other_and_the_last_repeats() {
    let origin = Origin::start().await;
    origin.route("/list", sequence([reply("1"), reply("2").times(2), reply("3")]));
    origin.route("/then", reply("1").then(reply("2")).then(reply("3")));
    origin.route("/fails", reply("well").fail_first(2, 503));
    let mut told = Vec::new();
    for target in ["/list", "/then", "/fails"] {
        for _ in 0..5 {
            let answer = get(origin.addr(), target).await;
            told.push(format!("{} {}", answer.status(), answer.text().trim_end()));
        }
    }
    let failure = "503 scripted failure 503";
    assert_eq!(told[..5], ["200 1", "200 2", "200 2", "200 3", "200 3"]);
    assert_eq!(told[5..10], ["200 1", "200 2", "200 3", "200 3", "200 3"]);
    assert_eq!(told[10..], [failure, failure, "200 well", "200 well", "200 well"]);
}

#[tokio::test]
async fn a_handler_answers_by_what_it_was_asked() {
    let origin = Origin::start().await;
    origin.route(
        "/lang",
        answer_with(|request| match request.header("accept-language") {
            Some("de") => reply("hallo"),
            _ => reply("hello"),
        }),
    );
    assert_eq!(get_with(origin.addr(), "/lang", "Accept-Language: de\r\n").await.text(), "hallo");
    assert_eq!(get(origin.addr(), "/lang").await.text(), "hello");
}

#[tokio::test]
async fn an_echo_tells_the_request_back() {
    let origin = Origin::start().await;
    origin.route("/e", reply("").echo());
    let answer =
        request(origin.addr(), "POST", "/e?q=%2f", "X-odd: a\r\nx-odd: b\r\n", "abc").await;
    let told: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    assert_eq!(told["method"], "POST");
    assert_eq!(told["target"], "/e?q=%2f");
    assert_eq!(told["body"], "abc");
    assert_eq!(told["headers"][2], serde_json::json!(["X-odd", "a"]));
    assert_eq!(told["headers"][3], serde_json::json!(["x-odd", "b"]));
}

#[tokio::test]
async fn a_generated_body_is_what_the_pattern_says() {
    let origin = Origin::start().await;
    origin.route("/big", reply("").body_pattern(7, 300_001).ranges(true));
    let whole = get(origin.addr(), "/big").await;
    assert_eq!(whole.body.len(), 300_001);
    assert_eq!(pattern::first_difference(7, 0, &whole.body), None);
    let part = get_with(origin.addr(), "/big", "Range: bytes=150000-250000\r\n").await;
    assert_eq!(part.status(), 206);
    assert_eq!(part.header("Content-Range"), Some("bytes 150000-250000/300001"));
    assert_eq!(part.body.len(), 100_001);
    assert_eq!(pattern::first_difference(7, 150_000, &part.body), None);
}

#[tokio::test]
async fn framing_is_by_length_by_chunks_or_by_the_end() {
    let origin = Origin::start().await;
    let body = reply("hello world");
    origin.route("/length", body.clone());
    origin.route("/chunked", body.clone().chunked().pace(4, Duration::ZERO));
    origin.route("/close", body.clone().until_close());
    origin.route("/trailers", body.trailers(&[("X-Sum", "11")]));
    let addr = origin.addr();

    assert_eq!(get(addr, "/length").await.header("Content-Length"), Some("11"));
    let mut raw = Client::connect(addr).await;
    raw.send("GET /chunked HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    let head = raw.head().await;
    assert!(head.contains("Transfer-Encoding: chunked\r\n") && !head.contains("Content-Length"));
    let chunks = raw.read_to_end().await.expect("an orderly end");
    assert_eq!(chunks, b"4\r\nhell\r\n4\r\no wo\r\n3\r\nrld\r\n0\r\n\r\n");
    let closed = get(addr, "/close").await;
    assert_eq!((closed.header("Content-Length"), closed.text()), (None, "hello world"));
    assert_eq!(closed.header("Connection"), Some("close"));
    let trailed = get(addr, "/trailers").await;
    assert_eq!(trailed.header("Trailer"), Some("X-Sum"));
    assert_eq!((trailed.text(), trailed.trailers.as_str()), ("hello world", "X-Sum: 11\r\n"));
}

#[tokio::test]
async fn http_1_0_gets_no_chunks_and_no_connection_to_keep() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").chunked());
    let mut client = Client::connect(origin.addr()).await;
    client.send("GET /a HTTP/1.0\r\n\r\n").await;
    let head = client.head().await;
    assert!(!head.contains("Transfer-Encoding") && head.contains("Connection: close"), "{head}");
    assert_eq!(client.read_to_end().await.expect("an orderly end"), b"hello");
}

#[tokio::test]
async fn head_204_and_304_have_no_body() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").chunked().then(reply("hello")));
    origin.route("/204", reply("ignored").status(204));
    origin.route("/304", reply("ignored").status(304));
    let mut client = Client::connect(origin.addr()).await;
    for (method, target, line) in [
        ("HEAD", "/a", "Transfer-Encoding: chunked"),
        ("HEAD", "/a", "Content-Length: 5"),
        ("GET", "/204", "204 No Content"),
        ("GET", "/304", "304 Not Modified"),
    ] {
        // All on one connection: a stray body byte would spoil the next head.
        client.send(&format!("{method} {target} HTTP/1.1\r\n\r\n")).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 ") && head.contains(line), "{head}");
        assert!(method == "HEAD" || !head.contains("Content-Length"), "{head}");
    }
}

#[tokio::test]
async fn validators_are_compared_only_when_the_script_says_so() {
    let origin = Origin::start().await;
    let validated = reply("hello").etag("W/\"v1\"").last_modified_secs_ago(60).content_type("t/p");
    origin.route("/plain", validated.clone());
    origin.route("/a", validated.conditional(true).max_age(5));
    let (addr, old) = (origin.addr(), "Thu, 01 Jan 1998 00:00:00 GMT");
    let status = async |target, fields: String| get_with(addr, target, &fields).await.status();

    let tag = |tags: &str| format!("If-None-Match: {tags}\r\n");
    assert_eq!(status("/plain", tag("W/\"v1\"")).await, 200);
    for (tags, expected) in
        [("\"v1\"", 304), ("W/\"v1\"", 304), ("\"v0\", \"v1\"", 304), ("*", 304), ("\"v0\"", 200)]
    {
        assert_eq!(status("/a", tag(tags)).await, expected, "{tags}");
    }
    let since = |date: &str| format!("If-Modified-Since: {date}\r\n");
    let now = httpdate::fmt_http_date(std::time::SystemTime::now());
    assert_eq!(status("/a", since(&now)).await, 304);
    assert_eq!(status("/a", since(old)).await, 200);
    // RFC 9110 §13.1.3: If-None-Match overrules If-Modified-Since.
    assert_eq!(status("/a", since(&now) + &tag("\"v0\"")).await, 200);
    let unchanged = get_with(addr, "/a", &tag("\"v1\"")).await;
    assert_eq!(unchanged.header("Cache-Control"), Some("max-age=5"));
    assert_eq!(
        (unchanged.header("Content-Type"), unchanged.header("ETag")),
        (None, Some("W/\"v1\""))
    );
}

#[tokio::test]
async fn ranges_are_answered_under_their_condition() {
    let origin = Origin::start().await;
    let date = "Thu, 01 Jan 1998 00:00:00 GMT";
    origin
        .route("/r", reply("0123456789").etag("\"v1\"").header("Last-Modified", date).ranges(true));
    origin.route("/none", reply("0123456789"));
    let addr = origin.addr();
    let asked = async |condition: &str| {
        let fields = format!("Range: bytes=2-4\r\n{condition}");
        let answer = get_with(addr, "/r", &fields).await;
        format!("{} {}", answer.status(), answer.text())
    };
    assert_eq!(asked("").await, "206 234");
    assert_eq!(asked("If-Range: \"v1\"\r\n").await, "206 234");
    assert_eq!(asked(&format!("If-Range: {date}\r\n")).await, "206 234");
    assert_eq!(asked("If-Range: \"v2\"\r\n").await, "200 0123456789");
    assert_eq!(asked("If-Range: W/\"v1\"\r\n").await, "200 0123456789");
    assert_eq!(asked("If-Range: Thu, 01 Jan 1998 00:00:01 GMT\r\n").await, "200 0123456789");
    let beyond = get_with(addr, "/r", "Range: bytes=10-\r\n").await;
    assert_eq!((beyond.status(), beyond.header("Content-Range")), (416, Some("bytes */10")));
    assert_eq!(get_with(addr, "/none", "Range: bytes=2-4\r\n").await.text(), "0123456789");
}

#[tokio::test]
async fn delays_and_pace_take_their_time() {
    let origin = Origin::start().await;
    let wait = Duration::from_millis(40);
    origin.route("/head", reply("a").delay(wait));
    origin.route("/body", reply("a").delay_body(wait));
    origin.route("/pace", reply("abcde").pace(2, wait));
    let addr = origin.addr();

    let start = Instant::now();
    get(addr, "/head").await;
    assert!(start.elapsed() >= wait);
    let mut client = Client::connect(addr).await;
    client.get("/body").await;
    client.head().await;
    assert!(client.is_silent(), "the body waits for its time");
    assert_eq!(client.take(1).await, b"a");
    let start = Instant::now();
    assert_eq!(get(addr, "/pace").await.text(), "abcde");
    assert!(start.elapsed() >= 2 * wait, "three pieces, two waits");
}

#[tokio::test]
async fn an_upgrade_echoes_bytes() {
    let origin = Origin::start().await;
    origin.route("/ws", reply("").upgrade_echo());
    let mut client = Client::connect(origin.addr()).await;
    // The first bytes of the new protocol come with the request.
    client.send("GET /ws HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly ").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n"), "{head}");
    client.send("late").await;
    assert_eq!(client.take(10).await, b"early late");
    assert_eq!(get(origin.addr(), "/ws").await.status(), 426);
}
