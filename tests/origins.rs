//! Pools of origins with names: which requests they get, and how they are reached. tests/origins.sh does the same with
//! nginx, HAProxy, gunicorn, dnsmasq and an S3 server.

mod program;
mod support;

use program::{TextFile, Weir};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket, UnixListener};
use weir_config::Config;

/// A pool with further keys.
fn pool(name: &str, url: &str, keys: &str) -> String {
    format!("[[site.origin]]\nname = {name:?}\nurls = [{url:?}]\n{keys}\n")
}

/// A rule that sends a path to a pool.
fn rule(name: &str, matches: &str, pool: &str) -> String {
    format!("[[site.rule]]\nname = {name:?}\nmatch = {matches}\norigin = {pool:?}\n")
}

/// An origin that answers every path with this.
async fn saying(body: &'static str) -> Origin {
    let origin = Origin::start().await;
    origin.default_route(reply(body).max_age(60));
    origin
}

/// A node of a whole configuration.
fn started(toml: &str) -> Edge {
    let node =
        "[node]\nname = \"edge\"\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 2\n";
    let text = format!("{node}{toml}");
    let config = Config::from_toml(&text).unwrap_or_else(|told| panic!("{text}\n{told}"));
    Edge::start(config)
}

#[tokio::test]
async fn a_rule_sends_a_path_to_a_pool() {
    let (web, api) = (saying("web").await, saying("api").await);
    let log = TextFile::new("origins-pool.log", "");
    let site = pool("api", &api.url(), "") + &rule("to-api", "{ path = [\"/api/*\"] }", "api");
    let logged = format!("[log]\naccess = \"json\"\npath = {:?}\n", log.path());
    let edge = edge().origin(&web).tables(&logged).site(&site).start();
    for (path, body) in [("/api/a", "api"), ("/a", "web"), ("/apis", "web")] {
        assert_eq!(edge.get(path).await.text(), body, "{path}");
        assert_eq!(edge.get(path).await.handled(), "hit", "{path}");
    }
    assert_eq!(
        edge.send("POST", "/api/a", &[], "x").await.text(),
        "api",
        "not only what is stored"
    );
    assert_eq!((web.fetches("*"), api.requests("*").len()), (2, 2));

    let explained = edge.explain("/api/a");
    let origins: Vec<_> =
        explained.origins.iter().map(|o| (o.url.clone(), o.pool.clone())).collect();
    assert_eq!(origins, [(api.url(), "api".to_owned())]);
    assert!(explained.rules.iter().any(|rule| rule.setting == "origin" && rule.rule == "to-api"));
    assert!(!explained.key.contains("rule="), "the path is in the key, so the rule need not be");
    assert_eq!(edge.explain("/a").origins[0].pool, "default");

    let read = || {
        let text = std::fs::read_to_string(log.path()).expect("it is there");
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.map(|line| serde_json::from_str::<Value>(line).expect(line)).collect::<Vec<_>>()
    };
    let lines = until("the lines", read, |lines| lines.len() >= 7).await;
    let of = |target: &str| lines.iter().find(|line| line["target"] == target).expect("a line");
    assert_eq!(of("/api/a")["upstream_pool"], json!("api"));
    assert_eq!(of("/api/a")["upstream"], json!(api.url()));
    assert_eq!(of("/a").get("upstream_pool"), None);
    let metrics = edge.node.metrics();
    let counted = format!(
        "weir_upstream_member_requests_total{{pool=\"site/api\",member=\"{}\"}} 2",
        api.url()
    );
    assert!(metrics.contains(&counted), "{metrics}");
}

#[tokio::test]
async fn a_rule_that_looks_beyond_the_key_is_in_it_and_the_last_one_counts() {
    let (web, beta) = (saying("web").await, saying("beta").await);
    let site = pool("beta", &beta.url(), "")
        + &rule("testers", "{ header = { x-test = \"1\" } }", "beta")
        + &rule("not-here", "{ path = [\"/stable/*\"] }", "default");
    let edge = edge().origin(&web).site(&site).start();
    let tester = [("X-Test", "1")];
    for _ in 0..2 {
        assert_eq!(edge.get("/a").await.text(), "web");
        assert_eq!(edge.get_with("/a", &tester).await.text(), "beta");
        assert_eq!(edge.get_with("/stable/a", &tester).await.text(), "web");
    }
    assert_eq!((web.requests("*").len(), beta.requests("*").len()), (2, 1));
}

#[tokio::test]
async fn both_tiers_agree_on_the_pool() {
    let (web, beta) = (saying("web").await, saying("beta").await);
    let site =
        pool("beta", &beta.url(), "") + &rule("testers", "{ header = { x-test = \"1\" } }", "beta");
    let log = Log::new("one");
    let parent = parent_of("parent", &web, "").site(&site).start();
    let edge = edge_of("edge", &web, &[&parent], "").site(&site).start();
    let _leashes = (log.lead(&edge).await, log.lead(&parent).await);
    let tester = [("X-Test", "1")];
    for _ in 0..2 {
        assert_eq!(edge.get_with("/a", &tester).await.text(), "beta");
        assert_eq!(edge.get("/a").await.text(), "web");
    }
    assert_eq!(handled(&edge.get_with("/b", &tester).await).len(), 2, "it went over the parent");
    assert_eq!(beta.requests("*").len(), 2);
}

#[tokio::test]
async fn a_site_may_have_pools_with_names_alone_and_a_change_of_them_empties_it() {
    let (one, two) = (saying("one").await, saying("two").await);
    let site = |first: &str| format!("[[site]]\nid = \"site\"\n{}", pool("main", first, ""));
    let edge = started(&site(&one.url()));
    assert_eq!(edge.get("/a").await.text(), "one");
    let config = |first: &str| {
        let node = "[node]\nname = \"edge\"\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";
        Config::from_toml(&format!("{node}{}", site(first))).expect("valid")
    };
    edge.node.reload(config(&two.url())).expect("it reloads");
    assert_eq!(edge.get("/a").await.text(), "two", "what the other origin said is gone");
}

#[tokio::test]
async fn a_prefix_is_put_before_paths_and_taken_from_redirects() {
    let origin = Origin::start().await;
    origin.route("/shop/a", reply("prefixed").max_age(60));
    origin.route("/shop/old", reply("").status(302).header("Location", "/shop/new"));
    origin.route(
        "/shop/abs",
        reply("").status(302).header("Location", format!("{}/shop/new?x", origin.url())),
    );
    let edge = edge().origin_url(&format!("{}/shop/", origin.url())).start();
    assert_eq!(edge.get("/a?q=1").await.text(), "prefixed");
    assert_eq!(origin.requests("/shop/a")[0].target, "/shop/a?q=1");
    assert_eq!(edge.get("/old").await.field("location"), Some("/new"));
    assert_eq!(edge.get("/abs").await.field("location"), Some("/new?x"));
    assert_eq!(edge.explain("/a").origins[0].url, format!("{}/shop", origin.url()));
}

/// A path for a socket, which goes with the test.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-{}-{name}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Answers each request on a stream with what of it `says`, until the other side closes.
async fn answers(
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    says: impl Fn(&str) -> String,
) {
    let mut read = Vec::new();
    loop {
        while !read.windows(4).any(|four| four == b"\r\n\r\n") {
            if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body = says(&String::from_utf8_lossy(&read));
        read.clear();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn an_origin_may_listen_on_a_unix_socket() {
    let path = SocketPath::new("origin");
    let listener = UnixListener::bind(&path.0).expect("a socket");
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let host = |head: &str| {
                let mut lines = head.lines();
                lines.find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned()
            };
            tokio::spawn(answers(stream, host));
        }
    });
    let url = format!("unix:{}", path.0.display());
    let health = "health = { path = \"/up\", interval = \"50ms\" }";
    let edge = edge().origin_url(&url).site(health).workers(1).start();
    for n in 0..3 {
        assert_eq!(edge.get(&format!("/{n}")).await.text(), HOST, "the visitor's Host");
    }
    assert_eq!(edge.explain("/0").origins[0].url, url);
    let healthy = format!("weir_upstream_member_healthy{{pool=\"site\",member=\"{url}\"}} 1");
    until("the metric", || edge.node.metrics(), |metrics| metrics.contains(&healthy)).await;
    let probed = Arc::clone(&accepted);
    until("a probe", move || probed.load(Ordering::Relaxed), |count| *count > 1).await;
    drop(path);
    let gone = started("[[site]]\nid = \"site\"\norigins = [\"unix:/nowhere/a.sock\"]");
    assert_eq!(gone.get("/a").await.status, 502);
}

/// An S3 of two lines: what is signed, it answers, from bytes.
fn s3(origin: &Origin, keys: &str) -> (TextFile, String) {
    let credentials = "[default]\naws_access_key_id = ID\naws_secret_access_key = secret-of-s3\n";
    let file = TextFile::new("origins-credentials", credentials);
    let site = pool(
        "bucket",
        &format!("{}/bucket", origin.url()),
        &format!(
            "s3 = {{ region = \"eu-central-1\", credentials_file = {:?}{keys} }}",
            file.path()
        ),
    );
    (file, format!("[[site]]\nid = \"site\"\n{site}"))
}

#[tokio::test]
async fn requests_for_a_bucket_are_signed_and_stored() {
    let origin = Origin::start().await;
    origin.default_route(reply("0123456789").max_age(60).etag("\"a\"").ranges(true));
    let (_file, site) = s3(&origin, ", query = [\"versionId\"]");
    let edge = started(&site);
    let visitors = [
        ("Authorization", "Basic YTpi"),
        ("X-Amz-Acl", "public-read"),
        ("X-Amz-Security-Token", "visitors"),
    ];
    // The visitor's Authorization keeps an answer from being shared, ours does not.
    let answer = edge.get_with("/a%20b?acl&versionId=3&X-Amz-Date=1", &visitors).await;
    assert_eq!(answer.text(), "0123456789");
    let [asked] = &origin.requests("*")[..] else { panic!("one request") };
    assert_eq!(asked.target, "/bucket/a%20b?versionId=3");
    let [authorization] = asked.header_values("authorization")[..] else { panic!("one field") };
    let start = "AWS4-HMAC-SHA256 Credential=ID/";
    assert!(
        authorization.starts_with(start) && authorization.contains("/eu-central-1/s3/"),
        "{authorization}"
    );
    for gone in ["x-amz-acl", "x-amz-security-token"] {
        assert_eq!(asked.header(gone), None);
    }
    assert_eq!(asked.header("host"), Some(&*origin.addr().to_string()), "its own Host");

    let first = edge.get("/plain").await;
    assert_eq!(first.handled(), "fwd=uri-miss; fwd-status=200; stored");
    assert_eq!(edge.get("/plain").await.handled(), "hit");
    let range = edge.get_with("/plain", &[("Range", "bytes=2-4")]).await;
    assert_eq!((range.status, range.text()), (206, "234".into()));
    let head = edge.ask("HEAD", "/plain", &[]).await;
    assert_eq!((head.status, head.number("content-length")), (200, Some(10)));
    let cold = edge.get_with("/cold", &[("Range", "bytes=2-4")]).await;
    assert_eq!((cold.status, cold.text()), (206, "234".into()));
}

#[tokio::test]
async fn a_bucket_is_asked_for_objects_alone() {
    let origin = saying("object").await;
    let (_file, site) = s3(&origin, "");
    let edge = started(&site);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = edge.ask(method, "/a", &[]).await;
        assert_eq!((answer.status, answer.field("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    for path in ["/../other/a", "/%2e%2e/other/a", "/a/%2E./b", "/a%2f..%2fb", "/a/..%5cb"] {
        let answer = edge.get(path).await;
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
    }
    assert_eq!(edge.send("GET", "/a", &[], "a body").await.status, 400);
    let strange = origin.requests("*").into_iter().map(|asked| asked.target).collect::<Vec<_>>();
    assert!(strange.is_empty(), "{strange:?}");
    // The bucket itself is asked for by nobody in particular.
    for (path, asked) in [("/", "/bucket/"), ("//", "/bucket//"), ("/?list-type=2", "/bucket/")] {
        origin.reset_counters();
        assert_eq!(edge.get(path).await.status, 200);
        let request = &origin.requests("*")[0];
        assert_eq!(request.target, asked);
        assert_eq!((request.header("authorization"), request.header("x-amz-date")), (None, None));
    }
}

/// What a rule writes into a target is bound by what a bucket is asked for, too.
#[tokio::test]
async fn a_rewrite_asks_a_bucket_for_objects_alone() {
    let origin = saying("object").await;
    for key in [true, false] {
        let (_file, site) = s3(&origin, ", query = [\"versionId\"]");
        let to = format!("{{ to = \"/in/{{1}}?acl&versionId=3&X-Amz-Date=1\", key = {key} }}");
        let rule = format!(
            "[[site.rule]]\nname = \"in\"\nmatch = {{ path = [\"/media/*\"] }}\nrewrite = {to}\n"
        );
        let edge = started(&(site + &rule));
        assert_eq!(edge.get("/media/a&uploads").await.text(), "object");
        assert_eq!(
            origin.requests("*").last().expect("one").target,
            "/bucket/in/a%26uploads?versionId=3"
        );
        let asked = origin.requests("*").len();
        for (method, path, status) in [("POST", "/media/a", 405), ("GET", "/media/..%2fother", 400)]
        {
            assert_eq!(edge.ask(method, path, &[]).await.status, status, "{method} {path}");
        }
        assert_eq!(origin.requests("*").len(), asked);
    }
}

/// A DNS server that answers with the addresses that a test sets, for a TTL of one second.
struct DnsServer {
    at: SocketAddr,
    addresses: Arc<Mutex<Vec<Ipv4Addr>>>,
    asked: Arc<AtomicUsize>,
}

impl DnsServer {
    async fn start(addresses: &[Ipv4Addr]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let at = socket.local_addr().expect("an address");
        let server =
            Self { at, addresses: Arc::new(Mutex::new(addresses.to_vec())), asked: Arc::default() };
        let (addresses, asked) = (Arc::clone(&server.addresses), Arc::clone(&server.asked));
        tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                asked.fetch_add(1, Ordering::Relaxed);
                let known = addresses.lock().expect("no panic before").clone();
                let _ = socket.send_to(&dns_answer(&question[..length], &known), from).await;
            }
        });
        server
    }

    fn set(&self, addresses: &[Ipv4Addr]) {
        *self.addresses.lock().expect("no panic before") = addresses.to_vec();
    }
}

/// The answer to a question (RFC 1035 §4): A records with these addresses, or nothing for another type.
fn dns_answer(question: &[u8], addresses: &[Ipv4Addr]) -> Vec<u8> {
    // The name ends with an empty label; type and class follow it.
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).expect("a name") + 1;
    let is_a = question[end..end + 2] == [0, 1];
    let records = if is_a { addresses } else { &[] };
    let count = u8::try_from(records.len()).expect("few");
    let mut answer = question[..2].to_vec();
    answer.extend_from_slice(&[0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend_from_slice(&question[12..end + 4]);
    for address in records {
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        answer.extend_from_slice(&address.octets());
    }
    answer
}

/// Origins on one port of several loopback addresses.
async fn on_addresses(addresses: &[Ipv4Addr]) -> Option<Vec<Origin>> {
    for _ in 0..20 {
        let port = TcpListener::bind((addresses[0], 0)).await.ok()?.local_addr().ok()?.port();
        let mut origins = Vec::new();
        for address in addresses {
            match Origin::builder().listen((*address, port).into()).bind().await {
                Ok(origin) => origins.push(origin),
                Err(_) => break,
            }
        }
        if origins.len() == addresses.len() {
            return Some(origins);
        }
    }
    None
}

const ADDRESSES: [Ipv4Addr; 3] =
    [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3), Ipv4Addr::new(127, 0, 0, 4)];

/// A node whose origin is a name that this server knows.
fn named(dns: &DnsServer, port: u16, keys: &str) -> Edge {
    let tables = format!("resolver = [\"{}\"]", dns.at);
    node(&format!("name = \"edge\"\n{tables}"))
        .origin_url(&format!("http://app.weir.test:{port}"))
        .site(&format!("resolve = \"1s\"\n{keys}"))
        .start()
}

fn member(port: u16, address: Option<Ipv4Addr>) -> String {
    let url = format!("http://app.weir.test:{port}");
    address.map_or(url.clone(), |address| format!("{url} ({address})"))
}

/// The members that the metrics name.
fn members(edge: &Edge) -> Vec<String> {
    let metrics = edge.node.metrics();
    let start = "weir_upstream_member_healthy{pool=\"site\",member=\"";
    let mut named: Vec<String> = metrics
        .lines()
        .filter_map(|line| Some(line.strip_prefix(start)?.split('"').next()?.to_owned()))
        .collect();
    named.sort();
    named
}

#[tokio::test]
async fn each_address_of_a_name_is_a_member_and_the_name_is_looked_up_again() {
    let Some(origins) = on_addresses(&ADDRESSES).await else {
        return println!("skipped: no 127.0.0.2");
    };
    for (n, origin) in origins.iter().enumerate() {
        origin.default_route(reply(n.to_string()));
    }
    let port = origins[0].addr().port();
    let dns = DnsServer::start(&ADDRESSES[..1]).await;
    let edge = named(&dns, port, "");
    assert_eq!(edge.get("/first").await.text(), "0");
    assert_eq!(
        members(&edge),
        [member(port, None)],
        "one address is looked up for each connection"
    );
    dns.set(&ADDRESSES);
    let all = ADDRESSES.map(|address| member(port, Some(address)));
    until("all addresses", || members(&edge), |members| *members == all).await;
    let mut seen = String::new();
    for n in 0..6 {
        seen.push_str(&edge.get(&format!("/{n}")).await.text());
    }
    assert_eq!(seen, "012012", "in turn");
    dns.set(&ADDRESSES[1..]);
    until("the others", || members(&edge), |members| *members == all[1..]).await;
    // Its records are gone, and what they said stays in use.
    dns.set(&[]);
    let before = dns.asked.load(Ordering::Relaxed);
    until("it is asked", || dns.asked.load(Ordering::Relaxed), |asked| *asked > before + 4).await;
    assert_eq!(members(&edge), all[1..]);
    assert_eq!(edge.get("/last").await.status, 200);
}

#[tokio::test]
async fn an_address_that_goes_away_under_load_fails_no_request() {
    let Some(origins) = on_addresses(&ADDRESSES).await else {
        return println!("skipped: no 127.0.0.2");
    };
    for origin in &origins {
        origin.default_route(reply("ok"));
    }
    let port = origins[0].addr().port();
    let dns = DnsServer::start(&ADDRESSES).await;
    // No retry: another address of the name is none.
    let edge = named(&dns, port, "retries = 0");
    until("all addresses", || members(&edge), |members| members.len() == 3).await;
    let mut load = Load::on([edge.node.listen(); 8], 0, |_| {});
    load.more(200).await;
    // It takes no new connection, and ends idle ones; what it is working on, it answers.
    origins[0].stop().await;
    load.more(500).await;
    let unhealthy = format!(
        "weir_upstream_member_healthy{{pool=\"site\",member=\"{}\"}} 0",
        member(port, Some(ADDRESSES[0]))
    );
    until("its own health", || edge.node.metrics(), |metrics| metrics.contains(&unhealthy)).await;
    dns.set(&ADDRESSES[1..]);
    until("it is gone", || members(&edge), |members| members.len() == 2).await;
    load.more(200).await;
    load.end().await;
}

/// What a connection to a listener begins with, once it has sent a whole request, and the answer to that.
async fn first_bytes(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") || !read.windows(4).any(|four| four == b"GET ") {
        assert!(stream.read_buf(&mut read).await.expect("bytes") > 0, "closed");
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.expect("sent");
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn origins_are_told_the_client_by_the_proxy_protocol() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let at = listener.local_addr().expect("an address");
    let site = pool("told", &format!("http://{at}"), "proxy_protocol = \"v1\"");
    let edge = started(&format!("[[site]]\nid = \"site\"\n{site}"));
    // Each connection is one client's.
    for last in [7, 8, 8] {
        let mut client = edge.connect_from(last).await;
        client.request("GET", &format!("/{last}"), &[], "").await;
        let (begun, answer) = tokio::join!(first_bytes(&listener), client.answer("GET"));
        let line = format!("PROXY TCP4 127.0.0.{last} 127.0.0.1 0 {}\r\nGET /{last} ", at.port());
        assert!(begun.starts_with(&line), "{begun}");
        assert_eq!(answer.text(), "ok");
    }
}

fn proxied() -> EdgeBuilder {
    let limits = "[limits]\nheader_timeout = \"300ms\"\n";
    node("name = \"edge\"\nproxy_protocol = [\"127.0.0.0/30\"]").tables(limits)
}

const REQUEST: &str = "GET /a HTTP/1.1\r\nHost: example.com\r\n\r\n";

#[tokio::test]
async fn proxies_say_whose_connection_it_is() {
    let origin = Origin::start().await;
    origin.default_route(reply("ok"));
    let edge = proxied().origin(&origin).start();
    let v2 = |rest: &[u8]| {
        let length = u8::try_from(rest.len()).expect("short");
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0", &[length][..], rest].concat()
    };
    let v4 = [192, 0, 2, 9, 10, 0, 0, 1, 0x0f, 0xa0, 0, 80];
    for (header, client) in [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 4000 80\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4000 80\r\n".to_vec(), "2001:db8::7"),
        (v2(&v4), "192.0.2.9"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
    ] {
        origin.reset_counters();
        let answer = edge.raw([&header[..], REQUEST.as_bytes()].concat()).await;
        assert_eq!(answer.status, 200);
        let told = origin.requests("*")[0].header("x-forwarded-for").map(str::to_owned);
        assert_eq!(told.as_deref(), Some(client));
    }
    // What such a client says of others is not believed.
    let spoofed = "PROXY TCP4 192.0.2.7 10.0.0.1 4000 80\r\nGET /b HTTP/1.1\r\nHost: example.com\r\n\
                   X-Forwarded-For: 198.51.100.1\r\n\r\n";
    origin.reset_counters();
    edge.raw(spoofed).await;
    assert_eq!(origin.requests("*")[0].header("x-forwarded-for"), Some("192.0.2.7"));
}

#[tokio::test]
async fn who_may_not_say_so_is_refused_and_who_does_not_is_closed() {
    let origin = saying("ok").await;
    let edge = proxied().origin(&origin).start();
    let line = "PROXY TCP4 192.0.2.7 10.0.0.1 4000 80\r\n";
    let binary =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x0f\xa0\0\x50".to_vec();
    // From outside of the networks it is bad input.
    for header in [line.as_bytes().to_vec(), binary] {
        let mut stranger = edge.connect_from(77).await;
        stranger.send([&header[..], REQUEST.as_bytes()].concat()).await;
        assert_eq!(stranger.answer("GET").await.status, 400);
        assert!(stranger.is_closed().await);
    }
    let mut plain = edge.connect_from(77).await;
    plain.send(REQUEST).await;
    assert_eq!(plain.answer("GET").await.status, 200);
    // From inside, nothing else is taken, and it has to come in time.
    let begun = Instant::now();
    let mut silent = edge.connect_from(2).await;
    assert!(silent.is_closed().await);
    assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
    for half in ["PROXY TCP4 192", "PROXY TCP4 192.0.2.999 10.0.0.1 4000 80\r\n", "\r\n\r\n"] {
        let mut client = edge.connect_from(2).await;
        client.send(half).await;
        assert!(client.is_closed().await, "{half:?}");
    }
    // Of this machine only the node itself is let in without, and it is not this one.
    let other = edge.raw(REQUEST).await;
    assert_eq!((other.status, other.handled().contains("detail=proxy-protocol")), (400, true));
    assert_eq!(origin.requests("*").len(), 1);
}

#[tokio::test]
async fn a_node_behind_a_proxy_of_its_machine_still_warms_itself() {
    let origin = saying("warm").await;
    let config = format!(
        "[node]\nproxy_protocol = [\"127.0.0.0/8\"]\n[[site]]\norigins = [{:?}]\n",
        origin.url()
    );
    let config = TextFile::new("origins-warm.toml", &config);
    let weir = Weir::serve(&["--config", config.path()]);
    let ran = tokio::task::spawn_blocking(move || {
        let ran = weir.run(&["warm", &format!("http://{HOST}/warm")]);
        (ran, weir)
    });
    let (ran, _weir) = ran.await.expect("it ran");
    assert_eq!(
        (ran.status, ran.out.as_str()),
        (Some(0), "warm    1 URL\ndone    1 (1 stored)\nfailed  0\n"),
        "{}",
        ran.err
    );
    assert_eq!(origin.fetches("/warm"), 1);
}

/// The address of a client is the one that is named, wherever that counts.
#[tokio::test]
async fn access_looks_at_the_client_that_a_proxy_names() {
    let origin = saying("ok").await;
    let denied = "[[site.rule]]\nname = \"not-you\"\nmatch = {}\ndeny = [\"192.0.2.7\"]\n";
    let edge = proxied().origin(&origin).site(denied).start();
    for (client, status) in [("192.0.2.7", 403), ("192.0.2.8", 200)] {
        let address: IpAddr = client.parse().expect("an address");
        let answer = edge.raw(format!("PROXY TCP4 {address} 10.0.0.1 4000 80\r\n{REQUEST}")).await;
        assert_eq!(answer.status, status, "{client}");
    }
}
