//! The disk store of a node: what it keeps over restarts, what it must never show again, and what is too
//! large for memory.

mod program;
mod support;
use program::{Answer, Folder, Spec, Topology, Weir, until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use support::{Origin, reply};

const MIB: usize = 1 << 20;

/// A node whose disk store is in this folder, with these further keys of `[disk]`.
fn stored_in(folder: &Folder, origin: &str, keys: &str) -> Spec {
    let path = folder.path();
    Spec::edge(origin).tables(&format!(
        "[memory]\nsize = \"32MiB\"\nmax_object = \"1MiB\"\n\
         [disk]\npath = {path:?}\nsize = \"256MiB\"\nadmit = \"all\"\n{keys}"
    ))
}

/// One node with a disk store, behind control.
struct Stored {
    topology: Topology,
    folder: Folder,
    origin: Origin,
}

impl Stored {
    async fn start(name: &str) -> Self {
        Self::with(name, "").await
    }

    /// With these further keys of `[control]` at control.
    async fn with(name: &str, control: &str) -> Self {
        let origin = Origin::start().await;
        origin.default_route(reply("page").etag("\"v1\"").conditional(true).max_age(600));
        let (mut topology, folder) = (Topology::with(name, control), Folder::new(name));
        topology.add("edge", &stored_in(&folder, &origin.url(), ""));
        Self { topology, folder, origin }
    }

    fn edge(&self) -> &Weir {
        self.topology.node("edge")
    }

    fn get(&self, path: &str) -> (u16, String, String) {
        let answer = self.edge().get(path);
        (answer.status, handled(&answer.head), answer.body)
    }

    /// A request with this further field.
    fn ask(&self, line: &str, field: (&str, &str)) -> Answer {
        self.edge().ask(line, &[("Host", "example.com"), field])
    }

    fn is_hit(&self, path: &str) -> bool {
        self.get(path).1.contains("; hit")
    }

    fn metric(&self, name: &str) -> u64 {
        metric(&self.edge().json("GET /metrics", ""), name)
    }

    fn control_metric(&self, name: &str) -> u64 {
        metric(&self.topology.call("GET /metrics", ""), name)
    }

    /// Waits until the disk holds at least so many responses.
    fn until_on_disk(&self, responses: u64) {
        let held = || self.metric("weir_disk_responses");
        until("the responses to be on disk", held, |held| *held >= responses);
    }

    fn restart(&mut self) {
        assert_eq!(self.topology.drain_node("edge"), Some(0));
        self.topology.start_node("edge");
    }

    /// What the node explains of a path.
    fn explain(&self, path: &str) -> Value {
        let line = format!("GET /v1/explain?url=http://example.com{path}");
        self.edge().json(&line, "").json()["nodes"][0]["explanation"].clone()
    }

    fn purge(&self, body: &Value) {
        let id = self.topology.purge(body).json()["id"].clone();
        self.topology.until_completed(&id);
    }
}

/// Where the selected response is, and where all others are.
fn places(explained: &Value) -> (&str, Vec<&str>) {
    let of = |stored: &Value| match stored["stored_in"].as_str() {
        Some("memory") => "memory",
        Some("disk") => "disk",
        _ => "nowhere",
    };
    let others = explained["variants"].as_array().expect("a list");
    (of(&explained["selected"]), others.iter().map(of).collect())
}

fn handled(head: &str) -> String {
    let field = head.lines().find(|line| line.starts_with("cache-status: "));
    field.expect("a Cache-Status").to_owned()
}

fn metric(metrics: &Answer, name: &str) -> u64 {
    let text = &metrics.body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_there_after_a_restart() {
    let mut stored = Stored::start("restart").await;
    stored.origin.route("/lang", reply("en").header("Vary", "Accept-Language").max_age(600));
    for path in ["/a", "/b?x=1", "/lang"] {
        assert!(!stored.is_hit(path));
    }
    stored.until_on_disk(3);
    stored.restart();
    for path in ["/a", "/b?x=1", "/lang"] {
        let (status, handled, body) = stored.get(path);
        assert_eq!((status, &*body), (200, if path == "/lang" { "en" } else { "page" }));
        assert!(handled.contains("; hit") && handled.contains("detail=disk"), "{path}: {handled}");
        assert!(stored.edge().get(path).head.contains("\nage: "));
    }
    for what in ["write", "sync"] {
        assert!(stored.metric(&format!("weir_disk_{what}_seconds_count")) > 0, "{what}");
    }
    // Found twice, it is in memory.
    let again = stored.get("/a").1;
    assert!(again.contains("; hit") && !again.contains("detail"), "{again}");
    // A variant that nobody stored is no hit.
    let other = stored.ask("GET /lang", ("accept-language", "de"));
    assert!(!handled(&other.head).contains("; hit"), "{}", other.head);
    for path in ["/a", "/b?x=1"] {
        assert_eq!(stored.origin.requests(path).len(), 1, "{path}");
    }
    // HEAD, conditions and ranges are answered from there, too.
    let head = stored.ask("HEAD /b?x=1", ("accept", "*/*"));
    assert!(handled(&head.head).contains("; hit"), "{}", head.head);
    let unchanged = stored.ask("GET /b?x=1", ("if-none-match", "\"v1\""));
    assert_eq!(unchanged.status, 304);
    let part = stored.ask("GET /b?x=1", ("range", "bytes=1-2"));
    assert_eq!((part.status, &*part.body), (206, "ag"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_purged_while_the_node_was_down_is_not_shown_when_it_returns() {
    let mut stored = Stored::start("purged").await;
    for path in ["/a", "/b", "/c"] {
        stored.get(path);
    }
    stored.until_on_disk(3);
    stored.purge(&json!({"paths": ["/c"]}));
    assert_eq!(stored.topology.drain_node("edge"), Some(0));
    let purge = stored.topology.purge(&json!({"paths": ["/a"], "wait_ms": 0}));
    stored.topology.start_node("edge");
    stored.topology.until_completed(&purge.json()["id"]);
    assert!(!stored.is_hit("/a"));
    assert!(stored.is_hit("/b"));
    assert!(!stored.is_hit("/c"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_purged_before_a_crash_does_not_come_back() {
    let mut stored = Stored::start("crashed").await;
    for round in 0..3 {
        let path = format!("/{round}");
        stored.get(&path);
        stored.until_on_disk(1);
        stored.purge(&json!({"paths": [path]}));
        stored.topology.kill_node("edge");
        stored.topology.start_node("edge");
        assert!(!stored.is_hit(&path), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_unsafe_request_removed_does_not_come_back_after_a_crash() {
    let mut stored = Stored::start("unsafe").await;
    for round in 0..3 {
        let path = format!("/{round}");
        stored.get(&path);
        stored.until_on_disk(1);
        let posted = stored.ask(&format!("POST {path}"), ("content-length", "0"));
        assert_eq!(posted.status, 200);
        stored.topology.kill_node("edge");
        stored.topology.start_node("edge");
        assert!(!stored.is_hit(&path), "{path}");
    }
    assert_eq!(stored.metric("weir_disk_unsafe_at_risk_total"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_control_nothing_from_before_is_shown_until_it_is_back() {
    let mut stored = Stored::start("alone").await;
    stored.get("/a");
    stored.until_on_disk(1);
    assert_eq!(stored.topology.drain_node("edge"), Some(0));
    stored.topology.kill_control();
    stored.topology.run_node("edge");
    let explained = stored.explain("/a");
    assert_eq!(
        (&explained["state"], &explained["hidden_on_disk"]),
        (&json!("not-stored"), &json!(true))
    );
    let sentence = explained["sentence"].as_str().expect("words");
    assert!(sentence.contains("hidden until the log was replayed"), "{sentence}");
    assert!(!stored.is_hit("/a"), "a purge may have come that nobody told of");
    stored.topology.start_control();
    stored.topology.until_joined("edge");
    let hits = || stored.metric("weir_disk_responses");
    until("the node to be ready", hits, |held| *held > 0);
    assert!(stored.is_hit("/a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_rules_of_a_site_find_nothing_that_was_stored_before() {
    let mut stored = Stored::start("rules").await;
    stored.get("/a?x=1");
    stored.until_on_disk(1);
    let (folder, url) = (&stored.folder, stored.origin.url());
    let plain = stored_in(folder, &url, "");
    let other = stored_in(folder, &url, "").site("key = { query = \"sort\" }");
    for spec in [&other, &plain] {
        stored.topology.reconfigure("edge", spec);
        assert_eq!(stored.topology.drain_node("edge"), Some(0));
        stored.topology.start_node("edge");
        // The second time the rules are those under which it was stored first.
        let (_, handled, _) = stored.get("/a?x=1");
        assert!(!handled.contains("; hit"), "{handled}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_memory_cannot_hold_is_stored_on_disk_and_served_whole_and_by_range() {
    let mut stored = Stored::start("large").await;
    let body: String = (0..5 * MIB / 8 + 3).map(|n| format!("{n:07}\n")).collect();
    stored.origin.route("/large", reply(body.clone()).etag("\"l\"").max_age(600));
    let is_explained = |stored: &Stored| {
        let explained = stored.explain("/large");
        assert_eq!(places(&explained), ("disk", vec![]), "its head may be in memory: {explained}");
        assert_eq!(explained["selected"]["bytes"], body.len(), "{explained}");
        assert_eq!(explained["selected"]["complete_length"], Value::Null, "{explained}");
    };
    let (status, handled, got) = stored.get("/large");
    assert_eq!(status, 200);
    assert!(handled.contains("; stored"), "{handled}");
    assert!(got == body);
    for _ in 0..2 {
        let (_, handled, got) = stored.get("/large");
        assert!(handled.contains("; hit"), "{handled}");
        assert!(got == body);
        let range = format!("bytes={}-{}", 2 * MIB - 5, 3 * MIB + 4);
        let read = stored.metric("weir_disk_read_bytes_total");
        let part = stored.ask("GET /large", ("range", &range));
        assert_eq!(part.status, 206);
        assert!(part.body == body[2 * MIB - 5..3 * MIB + 5]);
        is_explained(&stored);
        // The slices around it, and the head.
        let read = stored.metric("weir_disk_read_bytes_total") - read;
        assert!(read < 4 * MIB as u64, "{read}");
        stored.restart();
    }
    assert_eq!(stored.origin.requests("/large").len(), 1);
    stored.purge(&json!({"paths": ["/large"]}));
    assert!(!stored.get("/large").1.contains("; hit"));
}

/// Bytes that the kernel sent from the page cache, which takes Linux 6.5.
const SENT: &str = "weir_disk_sent_bytes_total";

/// The status lines and fields of some answers on one connection, and their bodies, of so many bytes each.
fn answers(weir: &Weir, requests: &str, lengths: &[usize]) -> Vec<(String, String)> {
    let stream = TcpStream::connect(weir.listen).expect("a connection");
    (&stream).write_all(requests.as_bytes()).expect("a request is taken");
    let mut reader = BufReader::new(stream);
    let answer = |length: &usize| {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).expect("a line") > 0, "cut off after {head}");
        }
        let mut body = vec![0; *length];
        reader.read_exact(&mut body).expect("a body");
        (head, String::from_utf8(body).expect("what the origin sent"))
    };
    lengths.iter().map(answer).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_on_disk_is_sent_by_the_kernel_once_it_was_checked() {
    let origin = Origin::start().await;
    let (mut topology, folder) = (Topology::start("kernel"), Folder::new("kernel"));
    topology.add("edge", &stored_in(&folder, &origin.url(), "promote = false"));
    let mut stored = Stored { topology, folder, origin };
    let text = |bytes: usize| (0..bytes / 8).map(|n| format!("{n:07}\n")).collect::<String>();
    let (one, many) = (text(MIB / 2), text(5 * MIB / 2));
    stored.origin.route("/one", reply(one.clone()).etag("\"o\"").max_age(600));
    stored.origin.route("/many", reply(many.clone()).etag("\"m\"").max_age(600));
    for path in ["/one", "/many"] {
        stored.get(path);
    }
    stored.until_on_disk(2);
    stored.restart();
    // What is read the first time is checked.
    assert!(stored.get("/one").2 == one && stored.get("/many").2 == many);
    assert_eq!(stored.metric(SENT), 0);
    let reads = stored.metric("weir_disk_reads_total");
    let (_, handled, body) = stored.get("/one");
    assert!(handled.contains("; hit") && handled.contains("detail=disk"), "{handled}");
    assert!(body == one);
    assert_eq!(stored.metric(SENT), one.len() as u64);
    assert!(stored.get("/many").2 == many);
    assert_eq!(stored.metric(SENT), (one.len() + many.len()) as u64);
    assert_eq!(stored.metric("weir_disk_reads_total") - reads, 1 + 1 + 3);
    // Several on one connection, in their order, with what has no body and what has a part of one.
    let ask =
        |line: &str, more: &str| format!("{line} HTTP/1.1\r\nHost: example.com\r\n{more}\r\n");
    let range = format!("Range: bytes={}-{}\r\n", MIB - 5, MIB + 4);
    let requests = [
        ask("GET /one", ""),
        ask("HEAD /one", ""),
        ask("GET /many", &range),
        ask("GET /many", ""),
        ask("GET /one", "If-None-Match: \"o\"\r\n"),
        ask("GET /one", "Range: bytes=7-9\r\n"),
        ask("GET /one", ""),
    ];
    let lengths = [one.len(), 0, 10, many.len(), 0, 3, one.len()];
    let got = answers(stored.edge(), &requests.concat(), &lengths);
    let expected = [&one, "", &many[MIB - 5..MIB + 5], &many, "", &one[7..10], &one];
    for ((request, (head, body)), expected) in requests.iter().zip(&got).zip(expected) {
        assert!(head.contains("; hit"), "{request}{head}");
        assert!(body == expected, "{request}{head}");
    }
    // Over HTTP/2 it passes through the node, and is the same.
    let sent = stored.metric(SENT);
    let trust = weir_edge::trust(None).expect("the roots of browsers");
    let http2 = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(trust);
    let http2 = http2.http2_prior_knowledge().resolve("example.com", stored.edge().listen);
    let client = http2.build().expect("a client");
    let port = stored.edge().listen.port();
    let answer = client.get(format!("http://example.com:{port}/many")).send().await;
    assert!(answer.expect("an answer").text().await.expect("a body") == many);
    assert_eq!(stored.metric(SENT), sent);
    stored.purge(&json!({"paths": ["/one"]}));
    assert!(!stored.is_hit("/one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_never_gets_a_byte_of_what_was_written_over_its_body() {
    let origin = Origin::start().await;
    let (mut topology, folder) = (Topology::start("lent"), Folder::new("lent"));
    let path = folder.path();
    topology.add(
        "edge",
        &Spec::edge(&origin.url()).tables(&format!(
            "[memory]\nsize = \"32MiB\"\nmax_object = \"1MiB\"\n\
             [disk]\npath = {path:?}\nsize = \"24MiB\"\nadmit = \"all\"\npromote = false"
        )),
    );
    let mut stored = Stored { topology, folder, origin };
    let text =
        |seed: usize| (0..MIB / 10).map(|n| format!("{:07}\n", n + seed)).collect::<String>();
    let body = text(0);
    stored.origin.route("/slow", reply(body.clone()).max_age(600));
    stored.get("/slow");
    stored.until_on_disk(1);
    stored.restart();
    assert!(stored.get("/slow").2 == body);
    let mut slow = TcpStream::connect(stored.edge().listen).expect("a connection");
    slow.write_all(b"GET /slow HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
        .expect("a request is taken");
    let sent = || stored.metric(SENT);
    until("the kernel to have sent some of it", sent, |sent| *sent > 0);
    // Four times what the disk holds.
    for number in 0..120 {
        let path = format!("/other/{number}");
        stored.origin.route(&path, reply(text(number + 1)).max_age(600));
        stored.get(&path);
    }
    let written = || stored.metric("weir_disk_written_bytes_total");
    until("the disk to be written over", written, |written| *written > 60 * MIB as u64);
    let mut got = Vec::new();
    // It may be cut.
    let _cut = slow.read_to_end(&mut got);
    let head = got.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
    assert!(body.as_bytes().starts_with(&got[head..]), "a wrong byte of {}", got.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_response_on_disk_is_validated_and_stays() {
    let mut stored = Stored::start("stale").await;
    let large: String = "0123456789abcde\n".repeat(3 * MIB / 16);
    for (path, body) in [("/small", "small"), ("/large", &*large)] {
        let page = reply(body.to_owned())
            .etag("\"s\"")
            .conditional(true)
            .header("Cache-Control", "max-age=1");
        stored.origin.route(path, page);
        stored.get(path);
    }
    stored.until_on_disk(2);
    stored.restart();
    for (path, body) in [("/small", "small"), ("/large", &*large)] {
        // It is stale by now, or soon.
        let handled = || stored.get(path).1;
        let fetched = until("it to be validated", handled, |handled| handled.contains("fwd="));
        assert!(fetched.contains("fwd-status=304"), "{path}: {fetched}");
        assert!(stored.get(path).2 == body);
        let bodies = stored.origin.requests(path);
        let whole = bodies.iter().filter(|request| request.header("if-none-match").is_none());
        assert_eq!(whole.count(), 1, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_another_process_uses_is_set_aside_and_the_node_serves() {
    let stored = Stored::start("locked").await;
    let mut other = Topology::start("locked-other");
    other.add("edge", &stored_in(&stored.folder, &stored.origin.url(), ""));
    let node = other.node("edge");
    assert_eq!(node.get("/a").status, 200);
    assert!(handled(&node.get("/a").head).contains("; hit"), "memory stores it");
    // What memory cannot hold is stored nowhere, and that is said.
    stored.origin.route("/large", reply("0123456789abcde\n".repeat(MIB / 8)).max_age(600));
    let large = handled(&node.get("/large").head);
    assert!(!large.contains("; stored"), "{large}");
    let told = node.json("GET /v1/explain?url=http://example.com/large", "").json();
    let why = &told["nodes"][0]["explanation"]["not_stored"];
    assert_eq!(why["word"], "no-room", "{told}");
    let sentence = why["sentence"].as_str().expect("words");
    assert!(sentence.contains("The disk store could not take it"), "{sentence}");
    let missed = node.json("GET /metrics", "").body;
    assert!(missed.contains("\nweir_not_stored_total{reason=\"no-room\"} 1\n"), "{missed}");
    // Control knows, and whoever watches is warned.
    let disk = || other.call("GET /v1/stats", "").json()["by_node"][0]["disk"].clone();
    let told = until("the directory to be told", disk, |disk| disk["set_aside"] == 1);
    assert_eq!((&told["directories"], &told["stored"]), (&json!(1), &json!(0)), "{told}");
    let top = other.run(&["top", "--once"]);
    assert!(top.out.contains("1/1 out"), "{}", top.out);
    let metrics = node.json("GET /metrics", "").body;
    let up = format!("weir_disk_directory_up{{directory={:?}}} 0\n", stored.folder.path());
    assert!(metrics.contains(&up), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_takes_over_has_what_the_other_one_stored() {
    let mut stored = Stored::start("takeover").await;
    for path in ["/a", "/b"] {
        stored.get(path);
    }
    stored.until_on_disk(2);
    let old = stored.topology.take_over_node("edge");
    assert_eq!(old.exit_status(), Some(0));
    assert!(stored.is_hit("/a"));
    stored.purge(&json!({"paths": ["/b"]}));
    assert!(!stored.is_hit("/b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn purges_do_not_wait_for_a_node_that_returns_with_what_it_has_stored() {
    let mut stored = Stored::start("away").await;
    stored.get("/a");
    stored.until_on_disk(1);
    assert_eq!(stored.topology.drain_node("edge"), Some(0));
    stored.purge(&json!({"paths": ["/b"]}));
    stored.topology.start_node("edge");
    assert!(stored.is_hit("/a"));
}

/// Purges paths that nobody asks for.
fn purge_others(stored: &Stored, count: usize) {
    for nth in 0..count {
        let purge =
            stored.topology.purge(&json!({"paths": [format!("/none/{nth}")], "wait_ms": 0}));
        assert!(purge.status < 300, "{}", purge.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_under_a_stream_of_purges_beyond_retention_keeps_what_is_stored() {
    let mut stored = Stored::with("beyond", "retention = 20").await;
    for path in ["/a", "/b", "/c"] {
        stored.get(path);
    }
    stored.until_on_disk(3);
    // So that they outlive a crash.
    stored.restart();
    for (path, is_crash) in [("/b", true), ("/c", false)] {
        // More than it keeps by itself, while the node runs, while it is down, and when it is back.
        purge_others(&stored, 50);
        match is_crash {
            true => stored.topology.kill_node("edge"),
            false => assert_eq!(stored.topology.drain_node("edge"), Some(0)),
        }
        purge_others(&stored, 50);
        stored.topology.purge(&json!({"paths": [path], "wait_ms": 0}));
        purge_others(&stored, 50);
        stored.topology.run_node("edge");
        purge_others(&stored, 50);
        stored.topology.until_joined("edge");
        let hidden = || stored.explain("/a")["hidden_on_disk"].clone();
        until("the log to be replayed", hidden, |hidden| *hidden != json!(true));
        assert!(stored.is_hit("/a"));
        assert!(!stored.is_hit(path));
    }
    // What is checked is not kept any longer.
    let listed = || stored.control_metric("weir_control_log_listed");
    until("the log to be short again", listed, |listed| *listed <= 20);
    assert_eq!(stored.control_metric("weir_control_disks_outrun"), 0);
    let unchecked = || stored.metric("weir_disk_unchecked_entries");
    until("the disk to be checked", unchecked, |unchecked| *unchecked == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_needs_more_of_the_log_than_its_bytes_begins_empty_and_says_so() {
    let keys = "retention = 20\nretention_bytes = \"64KiB\"";
    let mut stored = Stored::with("outrun", keys).await;
    for path in ["/a", "/b"] {
        stored.get(path);
    }
    stored.until_on_disk(2);
    assert_eq!(stored.topology.drain_node("edge"), Some(0));
    purge_others(&stored, 400);
    stored.topology.weir().until_line("the log is larger than control.retention_bytes");
    assert_eq!(stored.control_metric("weir_control_disks_outrun"), 1);
    stored.topology.run_node("edge");
    stored.edge().until_line("everything stored before is discarded");
    stored.topology.until_joined("edge");
    let held = || stored.metric("weir_disk_responses");
    until("the room to be freed", held, |held| *held == 0);
    assert!(!stored.is_hit("/a"));
    // It has nothing to lose any more, and begins anew.
    let outrun = || stored.control_metric("weir_control_disks_outrun");
    until("the node to be counted no more", outrun, |outrun| *outrun == 0);
    assert!(stored.is_hit("/a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_come_while_a_large_body_is_written_share_its_fetch() {
    let stored = Stored::start("shared").await;
    // More than the window of the fetch and what the system keeps for a connection.
    let body: String = (0..2 * MIB).map(|n| format!("{n:07}\n")).collect();
    let most = body.len() - MIB;
    let page = || reply(body.clone()).etag("\"l\"").max_age(600).held_after(most as u64);
    stored.origin.route("/known", page());
    // It turns out to be too large for memory while it arrives.
    stored.origin.route("/unknown", page().chunked());
    for path in ["/known", "/unknown"] {
        // One that takes its time holds up neither the origin nor the others, and falls out of the window.
        let slow = SlowClient::get(stored.edge(), path);
        let mut first = SlowClient::get(stored.edge(), path);
        let begun = first.read(most);
        // One that comes when the beginning is out of the window, too.
        let mut late = SlowClient::get(stored.edge(), path);
        let begun_late = late.read(MIB);
        stored.origin.release(path);
        assert!((begun + &first.rest()).ends_with(&body), "{path}");
        assert!((begun_late + &late.rest()).ends_with(&body), "{path}");
        assert!(stored.is_hit(path));
        assert!(slow.rest().ends_with(&body), "{path}");
        assert_eq!(stored.origin.requests(path).len(), 1, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_the_whole_is_stored_as_the_whole() {
    let stored = Stored::start("whole-part").await;
    let body: String = (0..MIB / 4).map(|n| format!("{n:07}\n")).collect();
    stored.origin.route("/video", reply(body.clone()).etag("\"v\"").ranges(true).max_age(600));
    // As players ask: it is fetched slice by slice, as it is read.
    let first = stored.ask("GET /video", ("range", "bytes=0-"));
    assert_eq!(first.status, 206);
    assert!(first.body == body);
    for (range, from) in [("bytes=0-", 0), ("bytes=1000000-", 1_000_000)] {
        let part = stored.ask("GET /video", ("range", range));
        assert!(handled(&part.head).contains("; hit"), "{}", part.head);
        assert_eq!(part.status, 206);
        assert!(part.body == body[from..], "{range}");
    }
    let (status, handled, whole) = stored.get("/video");
    assert!(status == 200 && handled.contains("; hit") && whole == body, "{handled}");
    assert_eq!(stored.origin.requests("/video").len(), 2, "one for each slice");
}

/// A client that reads nothing at first.
struct SlowClient(std::net::TcpStream);

impl SlowClient {
    fn get(weir: &Weir, path: &str) -> Self {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(weir.listen).expect("it connects");
        // Little waits in the system for it.
        rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 64 << 10).expect("a size");
        let request = format!("GET {path} HTTP/1.0\r\nHost: example.com\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it can be asked");
        Self(stream)
    }

    /// The next bytes.
    fn read(&mut self, bytes: usize) -> String {
        let mut read = vec![0; bytes];
        std::io::Read::read_exact(&mut self.0, &mut read).expect("so many bytes");
        String::from_utf8(read).expect("text")
    }

    fn rest(mut self) -> String {
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.0, &mut rest).expect("an answer");
        rest
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_what_is_in_memory_and_what_is_on_disk() {
    let mut stored = Stored::start("explain").await;
    stored.origin.route("/lang", reply("en").header("Vary", "Accept-Language").max_age(600));
    stored.get("/a");
    stored.ask("GET /lang", ("accept-language", "de"));
    stored.ask("GET /lang", ("accept-language", "en"));
    stored.until_on_disk(3);
    let both = stored.explain("/a");
    assert_eq!(places(&both), ("memory", vec!["disk"]), "{both}");
    assert_eq!(
        (&both["selected"]["hits"], &both["variants"][0]["hits"]),
        (&json!(0), &Value::Null)
    );
    assert_eq!(both["selected"]["etag"], both["variants"][0]["etag"]);
    stored.restart();
    let alone = stored.explain("/a");
    assert_eq!((places(&alone), &alone["state"]), (("disk", vec![]), &json!("fresh")), "{alone}");
    let sentence = alone["sentence"].as_str().expect("words");
    assert!(sentence.starts_with("Stored on disk and fresh for "), "{sentence}");
    assert!(sentence.ends_with("the next request is a hit."), "{sentence}");
    assert_eq!(alone["selected"]["bytes"], "page".len());
    // Without a host it is found as well, where any host is served.
    let of_any = stored.edge().json("GET /v1/explain?url=/a", "").json();
    let of_any = &of_any["nodes"][0]["explanation"];
    assert_eq!((places(of_any).0, &of_any["key"]), ("disk", &alone["key"]), "{of_any}");
    let line = "GET /v1/explain?url=http://example.com/lang&header=accept-language:%20de";
    let of_lang = stored.edge().json(line, "").json()["nodes"][0]["explanation"].clone();
    assert_eq!(places(&of_lang), ("disk", vec!["disk"]), "{of_lang}");
    assert_eq!(of_lang["selected"]["selecting"], json!([["accept-language", "de"]]));
    let words = stored.topology.run(&["explain", "http://example.com/a"]).out;
    assert!(words.contains("stored      200, 4 bytes on disk\n"), "{words}");
    // That was no use of it: the first request finds it there, and the second brings it into memory.
    assert_eq!(stored.metric("weir_disk_hits_total"), 0);
    for place in [("disk", vec![]), ("memory", vec!["disk"])] {
        assert!(stored.is_hit("/a"));
        let explained = stored.explain("/a");
        assert_eq!(places(&explained), place, "{explained}");
    }
    // Control is told, too.
    let disk = || stored.topology.call("GET /v1/stats", "").json()["tiers"][0]["disk"].clone();
    let told = until("the hits to be told", disk, |disk| disk["hits"] == 2);
    assert_eq!(
        (&told["stored"], &told["capacity_bytes"]),
        (&json!(3), &json!(256 * MIB)),
        "{told}"
    );
    assert_eq!((&told["directories"], &told["set_aside"]), (&json!(1), &json!(0)), "{told}");
    // A purge takes both.
    stored.purge(&json!({"paths": ["/a"]}));
    assert_eq!(stored.explain("/a")["selected"]["stored_in"].as_str(), None);
    assert!(!stored.is_hit("/a"));
}
