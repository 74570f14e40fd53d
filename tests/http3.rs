//! Clients that speak HTTP/3 (RFC 9114): what they get is what others get.

mod program;
mod quic;
mod support;
use program::{Lone, TextFile};
use quic::*;
use support::*;

use bytes::Bytes;

#[tokio::test]
async fn misses_and_hits_share_the_store_with_other_protocols() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("store"));
    origin.route("/a", reply("hello").max_age(60));
    let edge = certificate.edge(&origin).start();
    let client = certificate.client(&edge).await;
    for handled in ["fwd=uri-miss; fwd-status=200; stored", "hit"] {
        let answer = client.get("/a").await;
        assert_eq!((answer.line(), answer.head.handled()), ("200 hello".into(), handled.into()));
        assert_eq!(answer.head.field("content-length"), Some("5"));
        assert!(answer.head.field("date").is_some());
    }
    let by_tcp = certificate.by_tcp(&edge, "/a").await;
    assert!(by_tcp.headers()["cache-status"].to_str().expect("text").starts_with("edge; hit"));
    let asked = &origin.requests("/a")[0];
    assert_eq!(origin.fetches("/a"), 1);
    assert_eq!(asked.header("X-Forwarded-Proto"), Some("https"));
    assert_eq!(asked.header("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(asked.header("Via"), Some("3.0 edge"));
    edge.purge(Target::parse_url(&format!("https://{HOST}/a")).expect("a URL"));
    assert_eq!(client.get("/a").await.head.handled(), "fwd=uri-miss; fwd-status=200; stored");
}

#[tokio::test]
async fn clients_over_tls_are_told_of_it_and_no_others() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("alternative"));
    origin.route("/a", reply("hello").max_age(60).header("Alt-Svc", "h3=\":9999\""));
    origin.route("/b", reply("hello").max_age(60));
    let edge = certificate.edge(&origin).start();
    certificate.client(&edge).await.get("/a").await;
    for _ in 0..2 {
        let answer = certificate.by_tcp(&edge, "/a").await;
        let told: Vec<_> = answer.headers().get_all("alt-svc").iter().collect();
        assert_eq!(told, ["h3=\":443\"; ma=3600"]);
    }
    let answer = certificate.client(&edge).await.get("/a").await;
    assert_eq!(answer.head.field("alt-svc"), None, "what the origin offers is not here");
    assert_eq!(edge.get("/b").await.field("alt-svc"), None, "in the clear");
    let trusting = node("name = \"edge\"\ntrusted_proxies = [\"127.0.0.1\"]");
    let behind = trusting.origin(&origin).tables(&certificate.tls("127.0.0.1:0")).start();
    let answer = certificate.by_tcp(&behind, "/b").await;
    assert_eq!(answer.headers().get("alt-svc"), None, "its clients do not come here");
}

#[tokio::test]
async fn methods_ranges_and_conditions_are_as_with_others() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("methods"));
    origin.route("/a", reply("0123456789").ranges(true).etag("\"v\"").max_age(60));
    origin.route("/echo", answer_with(|request| reply(request.body.clone())));
    let edge = certificate.edge(&origin).start();
    let client = certificate.client(&edge).await;
    assert_eq!(client.get("/a").await.line(), "200 0123456789");
    let part = client.send("GET", "/a", &[("range", "bytes=2-4")], "").await;
    assert_eq!(
        (part.line(), part.head.field("content-range")),
        ("206 234".into(), Some("bytes 2-4/10"))
    );
    let same = client.send("GET", "/a", &[("if-none-match", "\"v\"")], "").await;
    assert_eq!((same.line(), same.head.field("etag")), ("304 ".into(), Some("\"v\"")));
    let head = client.send("HEAD", "/a", &[], "").await;
    assert_eq!((head.line(), head.head.field("content-length")), ("200 ".into(), Some("10")));
    assert_eq!(head.head.handled(), "hit");
    let posted = client.send("POST", "/echo", &[], "form").await;
    assert_eq!(
        (posted.line(), posted.head.handled()),
        ("200 form".into(), "fwd=method; fwd-status=200".into())
    );
    let announced = client.send("PUT", "/echo", &[("content-length", "4")], "form").await;
    assert_eq!(announced.line(), "200 form");
    let asked = origin.requests("/echo");
    assert_eq!(asked[1].header("content-length"), Some("4"));
    assert_eq!(client.send("CONNECT", "/", &[], "").await.head.status, 405);
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("trailers"));
    origin.route("/a", reply("hello").trailers(&[("checksum", "7")]));
    let edge = certificate.edge(&origin).start();
    let client = certificate.client(&edge).await;
    let mut stream = client.begin("POST", "/a", &[("trailer", "sum")]).await.expect("a stream");
    stream.send_data(Bytes::from_static(b"form")).await.expect("a body");
    stream
        .send_trailers(http::HeaderMap::from_iter([(
            http::HeaderName::from_static("sum"),
            http::HeaderValue::from_static("4"),
        )]))
        .await
        .expect("trailers");
    stream.finish().await.expect("an end");
    let answer = rest(stream).await.expect("an answer");
    assert_eq!(answer.line(), "200 hello");
    assert_eq!(answer.trailers.expect("some")["checksum"], "7");
    assert_eq!(origin.requests("/a")[0].body, b"form");
}

#[tokio::test]
async fn large_bodies_pass_whole_hit_and_miss() {
    const SIZE: u64 = 8 << 20;
    let (origin, certificate) = (Origin::start().await, Certificate::new("large"));
    origin.route("/a", reply("").body_bytes(SIZE).max_age(60));
    let edge = certificate.edge(&origin).start();
    let client = certificate.client(&edge).await;
    for _ in 0..2 {
        let answer = client.get("/a").await;
        assert_eq!(answer.body.len() as u64, SIZE);
        assert_eq!(pattern::first_difference(0, 0, &answer.body), None);
    }
    assert_eq!(origin.fetches("/a"), 1);
}

#[tokio::test]
async fn many_streams_of_one_connection_collapse() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("streams"));
    origin.route("/a", held("hello").max_age(60));
    let edge = certificate.edge(&origin).start();
    let client = certificate.client(&edge).await;
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let client = client.clone();
        crowd.spawn(async move { client.get("/a").await.line() });
    }
    let waiting = || edge.node.waiting(&format!("https://{HOST}/a"));
    until("50 to wait", waiting, |count| *count == 50).await;
    origin.release("/a");
    assert_eq!(crowd.join_all().await, vec!["200 hello"; 50]);
    assert_eq!(origin.fetches("/a"), 1);
}

#[tokio::test]
async fn one_stream_that_is_given_up_ends_no_other() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("given-up"));
    origin.route("/a", held("hello").max_age(60));
    let edge = certificate.edge(&origin).start();
    let client = certificate.client(&edge).await;
    let mut starter = client.begin("GET", "/a", &[]).await.expect("a stream");
    starter.finish().await.expect("an end");
    let mut other = client.begin("GET", "/a", &[]).await.expect("a stream");
    other.finish().await.expect("an end");
    let waiting = || edge.node.waiting(&format!("https://{HOST}/a"));
    until("both to wait", waiting, |count| *count == 2).await;
    starter.stop_sending(h3::error::Code::H3_REQUEST_CANCELLED);
    until("one to wait", waiting, |count| *count == 1).await;
    origin.release("/a");
    assert_eq!(rest(other).await.expect("an answer").line(), "200 hello");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_of_its_stream() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("cut"));
    origin.route("/a", reply("hello").max_age(60).truncate_after(3));
    origin.route("/chunked", reply("hello").chunked().max_age(60).truncate_after(3));
    origin.route("/b", reply("well").max_age(60));
    let edge = certificate.edge(&origin).start();
    let client = certificate.client(&edge).await;
    for target in ["/a", "/chunked"] {
        assert!(client.try_send("GET", target, &[], "").await.is_err(), "a cut body looks whole");
    }
    assert_eq!(client.get("/b").await.line(), "200 well");
}

#[tokio::test]
async fn the_access_log_names_the_protocol() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("log"));
    origin.route("/a", reply("hello").max_age(60));
    let file = TextFile::new("http3.log", "");
    let log = format!("[log]\naccess = \"json\"\npath = {:?}\n", file.path());
    let edge = certificate.edge(&origin).tables(&log).start();
    certificate.client(&edge).await.get("/a").await;
    let read = || std::fs::read_to_string(file.path()).expect("it is there");
    let text = until("a line", read, |text| text.ends_with('\n')).await;
    let line: serde_json::Value =
        serde_json::from_str(text.lines().next().expect("one")).expect("JSON");
    assert_eq!(line["protocol"], "HTTP/3.0");
}

#[tokio::test]
async fn nothing_is_asked_before_the_handshake_is_over() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("early"));
    origin.route("/a", reply("hello").max_age(60));
    let edge = certificate.edge(&origin).start();
    let to = edge.node.listen_tls().expect("a TLS listener");
    let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a socket");
    let config = certificate.quic(Default::default());
    let connecting = || endpoint.connect_with(config.clone(), to, HOST).expect("a client");
    let client = Http3::new(connecting().await.expect("a connection")).await;
    client.get("/a").await;
    // It has a ticket by now, which allows no early data.
    assert!(connecting().into_0rtt().is_err());
}

#[tokio::test]
async fn a_drain_lets_requests_finish_and_takes_no_more() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("drain"));
    origin.route("/a", held("hello").max_age(60));
    let edge = certificate.edge(&origin).start();
    let to = edge.node.listen_tls().expect("a TLS listener");
    let (busy, idle) = (certificate.client(&edge).await, certificate.client(&edge).await);
    let mut stream = busy.begin("GET", "/a", &[]).await.expect("a stream");
    stream.finish().await.expect("an end");
    let waiting = || edge.node.waiting(&format!("https://{HOST}/a"));
    until("the request to wait", waiting, |count| *count == 1).await;
    let node = std::sync::Arc::clone(&edge.node);
    let drained = tokio::spawn(async move { node.drain().await });
    assert_eq!(close_code(&idle.connection).await, 0x100, "H3_NO_ERROR");
    let refused = certificate.connection_from(1, to, Default::default()).await;
    assert!(matches!(refused, Err(quinn::ConnectionError::ConnectionClosed(_))), "{refused:?}");
    origin.release("/a");
    assert_eq!(rest(stream).await.expect("an answer").line(), "200 hello");
    assert_eq!(close_code(&busy.connection).await, 0x100);
    tokio::time::timeout(PATIENCE, drained).await.expect("in time").expect("it drains");
}

#[tokio::test]
async fn a_drain_that_takes_too_long_ends_what_is_left() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("bound"));
    origin.route("/a", held("hello").max_age(60));
    let edge = node("name = \"edge\"\ndrain = \"100ms\"")
        .origin(&origin)
        .tables(&certificate.tls("127.0.0.1:0"))
        .start();
    let client = certificate.client(&edge).await;
    let mut stream = client.begin("GET", "/a", &[]).await.expect("a stream");
    stream.finish().await.expect("an end");
    let waiting = || edge.node.waiting(&format!("https://{HOST}/a"));
    until("the request to wait", waiting, |count| *count == 1).await;
    tokio::time::timeout(PATIENCE, edge.node.drain()).await.expect("in time");
    assert_eq!(close_code(&client.connection).await, 0x100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_takes_over_listens_once_the_old_one_is_done() {
    let (origin, certificate) = (Origin::start().await, Certificate::new("takeover"));
    origin.route("/held", held("held"));
    origin.route("/a", reply("hello").max_age(60));
    let tables = certificate.tls("127.0.0.1:0");
    let mut lone = Lone::start_with("http3", &origin.url(), "", &tables);
    let to = lone.weir.listen_tls.expect("an address");
    let connect = || certificate.connection_from(1, to, Default::default());
    let (_endpoint, connection) = connect().await.expect("a connection");
    let client = Http3::new(connection).await;
    let mut stream = client.begin("GET", "/held", &[]).await.expect("a stream");
    stream.finish().await.expect("an end");
    until("the origin to hold it", || origin.fetches("/held"), |count| *count == 1).await;
    let _old = lone.take_over();
    // Whoever comes is refused, and so goes by TCP, where nothing is said of HTTP/3 meanwhile.
    while let Ok((_endpoint, connection)) = connect().await {
        assert_eq!(close_code(&connection).await, 0x100, "it came before the old one knew");
    }
    let answer = certificate.by_tcp_at(to, "/a").await;
    assert_eq!(answer.headers().get("alt-svc"), None);
    origin.release("/held");
    assert_eq!(rest(stream).await.expect("an answer").line(), "200 held");
    assert_eq!(close_code(&client.connection).await, 0x100);
    let told = async {
        loop {
            let answer = certificate.by_tcp_at(to, "/a").await;
            if let Some(told) = answer.headers().get("alt-svc") {
                return told.clone();
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await.expect("in time");
    assert_eq!(told, "h3=\":443\"; ma=3600");
    let (_endpoint, connection) = connect().await.expect("a connection to the new process");
    assert_eq!(Http3::new(connection).await.get("/a").await.line(), "200 hello");
}

/// Chromium takes certificates of authorities that it does not know over QUIC only where it is told to use QUIC.
#[tokio::test]
async fn a_browser_speaks_it() {
    let Some(chromium) = find("chromium") else { return println!("chromium is not here: skipped") };
    let (origin, certificate) = (Origin::start().await, Certificate::new("browser"));
    let page = "<title></title><script src=/x.js></script><script>\
                const [page] = performance.getEntriesByType('navigation');\
                const [script] = performance.getEntriesByType('resource');\
                document.title = [page.nextHopProtocol, script.nextHopProtocol, window.x].join(' ');\
                </script>";
    origin.route("/page", reply(page).header("Content-Type", "text/html").max_age(60));
    origin.route(
        "/x.js",
        reply("window.x = 7").header("Content-Type", "text/javascript").max_age(60),
    );
    let edge = certificate.edge(&origin).start();
    let port = edge.node.listen_tls().expect("a TLS listener").port();
    let profile = certificate.folder().join("profile");
    let mut command = tokio::process::Command::new(chromium);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server", "--enable-quic"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--host-resolver-rules=MAP {HOST} 127.0.0.1"))
        .arg(format!("--origin-to-force-quic-on={HOST}:{port}"))
        .arg(format!("--ignore-certificate-errors-spki-list={}", certificate.fingerprint()))
        .args(["--dump-dom", &format!("https://{HOST}:{port}/page")])
        .env("HOME", certificate.folder())
        .kill_on_drop(true);
    let shown = tokio::time::timeout(PATIENCE * 3, command.output()).await.expect("in time");
    let shown = shown.expect("it runs");
    let (page, log) =
        (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    assert!(page.contains("<title>h3 h3 7</title>"), "{page}\n{log}");
}

/// A program on the path.
fn find(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
