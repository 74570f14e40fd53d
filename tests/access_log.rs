//! The access log: what it tells of the tiers along the way, and that nobody waits for it.

mod program;
mod support;

use program::{PATIENCE, TextFile, Weir};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use support::*;

/// `[log]` of a node that writes there.
fn logs(file: &TextFile) -> String {
    format!("[log]\naccess = \"json\"\npath = {:?}\n", file.path())
}

/// The lines about `/a` in a file, once there are so many; an edge's probes of a parent have lines too.
async fn lines(file: &TextFile, count: usize) -> Vec<Value> {
    let read = || {
        let text = std::fs::read_to_string(file.path()).expect("it is there");
        // The last line may be on its way.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let lines = whole.map(|line| serde_json::from_str::<Value>(line).expect(line));
        lines.filter(|line| line["target"] == "/a").collect::<Vec<_>>()
    };
    until("the lines", read, |lines| lines.len() >= count).await
}

#[tokio::test]
async fn a_line_tells_who_answered_and_what_was_said_along_the_way() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60).header("Cache-Status", "shield; hit"));
    let files = ["edge", "parent"].map(|name| TextFile::new(&format!("access-{name}.log"), ""));
    let [at_edge, at_parent] = &files;
    let parent = node("name = \"parent\"\ntier = \"parent\"").origin(&origin);
    let parent = parent.tables(&logs(at_parent)).start();
    let url = format!("http://{}", parent.node.listen());
    let parents = format!("[parents]\nurls = [{url:?}]\n{}", logs(at_edge));
    let edge = edge().origin(&origin).tables(&parents).start();
    let log = Log::new("one");
    let _leashes = (log.lead(&edge).await, log.lead(&parent).await);
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for _ in 0..2 {
        edge.get_with("/a", &[("Traceparent", traceparent)]).await;
    }

    let [miss, hit] = &lines(at_edge, 2).await[..] else { panic!("two lines") };
    assert_eq!(miss["tiers"][0], "shield; hit");
    let said = miss["tiers"][1].as_str().expect("the parent's word");
    assert!(said.starts_with("parent; fwd=uri-miss; fwd-status=200; ttl="), "{said}");
    assert_eq!((&miss["upstream"], &miss["upstream_tier"]), (&json!(url), &json!("parent")));
    assert_eq!((&miss["cache"], &miss["site"]), (&json!("uri-miss"), &json!("site")));
    let time = |name: &str| miss[name].as_f64().unwrap_or_else(|| panic!("{name} in {miss}"));
    assert!(time("upstream_ms") <= time("first_byte_ms"), "{miss}");
    assert!(time("first_byte_ms") <= time("total_ms"), "{miss}");
    assert_eq!(hit["cache"], "hit");
    for absent in ["upstream", "upstream_tier", "upstream_ms", "tiers"] {
        assert_eq!(hit.get(absent), None, "nobody was asked: {hit}");
    }

    let at_parent = &lines(at_parent, 1).await[0];
    assert_eq!(at_parent["upstream"], json!(origin.url()));
    assert_eq!(at_parent["upstream_tier"], "origin");
    assert_eq!(at_parent["tiers"], json!(["shield; hit"]));
    // The edge's span is the parent's caller, the parent's the origin's.
    let told = origin.requests("/a")[0].header("traceparent").expect("one").to_owned();
    for line in [miss, at_parent] {
        assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    }
    let span = at_parent["span_id"].as_str().expect("a span");
    assert_eq!(told.split('-').nth(2), Some(span));
    assert_ne!(miss["span_id"], at_parent["span_id"]);
}

#[test]
fn a_log_that_nobody_reads_delays_nobody_and_says_what_is_missing() {
    let config = TextFile::new("blocked.toml", "[log]\naccess = \"json\"\nqueue = 100\n");
    let arguments = ["--config", config.path(), "--origin", "http://127.0.0.1:9"];
    let (weir, output) = Weir::serve_with_output(&arguments);
    // Refused before lookup, so that nothing but the node answers. Far more than the pipe takes.
    const REQUESTS: usize = 3000;
    let request = "GET /a HTTP/1.1\r\nHost: a.example\r\nUser-Agent: ".to_owned()
        + &"x".repeat(200)
        + "\r\nCache-Control: only-if-cached\r\n\r\n";
    let mut client = TcpStream::connect(weir.listen).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("an option");
    let mut answers = BufReader::new(client.try_clone().expect("the same connection"));
    for _ in 0..REQUESTS {
        client.write_all(request.as_bytes()).expect("it reads");
        assert!(next_answer(&mut answers).starts_with("HTTP/1.1 504"));
    }
    let name = "weir_access_log_dropped_lines_total ";
    let dropped = || {
        let text = weir.json("GET /metrics", "").body;
        let count = text.lines().find_map(|line| line.strip_prefix(name)?.parse::<usize>().ok());
        count.expect("it is counted")
    };
    let counted = dropped();
    assert!(counted > 0, "the pipe took everything");

    // Read again, it tells how many are missing; written and missing are all there were.
    let mut lines = BufReader::new(output).lines().map(|line| line.expect("text"));
    let (mut written, mut missing) = (0, 0);
    while written + missing < REQUESTS {
        let line: Value = serde_json::from_str(&lines.next().expect("more lines")).expect("JSON");
        match line["dropped_lines"].as_u64() {
            Some(lines) => missing += lines as usize,
            None => written += 1,
        }
    }
    assert_eq!((written + missing, missing), (REQUESTS, dropped()));
}

#[test]
fn a_node_ends_though_nobody_reads_its_log() {
    let config = TextFile::new("stuck.toml", "[log]\naccess = \"json\"\nqueue = 1000\n");
    let arguments = ["--config", config.path(), "--origin", "http://127.0.0.1:9"];
    let (weir, output) = Weir::serve_with_output(&arguments);
    let request = "GET /a HTTP/1.1\r\nHost: a.example\r\nCache-Control: only-if-cached\r\n\r\n";
    let mut client = TcpStream::connect(weir.listen).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("an option");
    let mut answers = BufReader::new(client.try_clone().expect("the same connection"));
    for _ in 0..1500 {
        client.write_all(request.as_bytes()).expect("it reads");
        next_answer(&mut answers);
    }
    drop((client, answers));
    weir.signal(rustix::process::Signal::TERM);
    assert_eq!(weir.exit_status(), Some(0));
    drop(output);
}

/// The head of the next answer of a connection; its body is read too.
fn next_answer(answers: &mut BufReader<TcpStream>) -> String {
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let at = head.len();
        assert!(answers.read_line(&mut head).expect("an answer") > 0, "it closed after {head:?}");
        if let Some(value) = head[at..].to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    answers.read_exact(&mut body).expect("the body");
    head
}

#[tokio::test]
async fn a_refused_request_stands_in_the_log_with_its_request_line() {
    for (form, expected) in [
        ("json", "\"request_line\":\"GET /a\\u0001\\u202eb HTTP/1.1\",\"status\":400,"),
        ("combined", " \"GET /a\\x01\\xE2\\x80\\xAEb HTTP/1.1\" 400 "),
    ] {
        let origin = Origin::start().await;
        let file = TextFile::new(&format!("access-refused-{form}.log"), "");
        let log = format!("[log]\naccess = \"{form}\"\npath = {:?}\n", file.path());
        let edge = edge().origin(&origin).tables(&log).start();
        let mut stream = TcpStream::connect(edge.node.listen()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
        let request = "\r\nGET /a\u{1}\u{202e}b HTTP/1.1\r\nHost: a.example\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let read = || std::fs::read_to_string(file.path()).expect("it is there");
        let line = until("a line", read, |text| text.ends_with('\n')).await;
        assert!(line.contains(expected), "{line}");
        for of_the_stand_in in ["\"host\":\"refused\"", "GET / HTTP"] {
            assert!(!line.contains(of_the_stand_in), "{line}");
        }
    }
}

#[tokio::test]
async fn a_line_names_the_rules_that_applied() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello"));
    let file = TextFile::new("access-rules.log", "");
    let rules = "[[site.rule]]\nname = \"all\"\ndefault_ttl = \"60s\"\n\
                 [[site.rule]]\nname = \"errors\"\nmatch = { status = [404] }\nbrowser_ttl = \"1s\"\n\
                 [[site.rule]]\nname = \"cart\"\nmatch = { cookie = [\"cart\"] }\nbypass = true\n";
    let edge = edge().origin(&origin).site(rules).tables(&logs(&file)).start();
    edge.get("/a").await;
    edge.get("/a").await;
    edge.get_with("/a", &[("Cookie", "cart")]).await;
    let lines = lines(&file, 3).await;
    let told: Vec<_> = lines.iter().map(|line| (&line["cache"], &line["rules"])).collect();
    let (all, both) = (json!(["all"]), json!(["all", "cart"]));
    let words = ["uri-miss", "hit", "bypass"].map(|word| json!(word));
    assert_eq!(told, [(&words[0], &all), (&words[1], &all), (&words[2], &both)]);
}
