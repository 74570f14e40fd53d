//! The origin from outside: control endpoints, scripts, and the program itself.

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use support::{Client, get, request};
use weir_origin_sim::{Origin, Script, demo_site, reply};

async fn ask(addr: SocketAddr, method: &str, target: &str, body: &str) -> (u16, Value) {
    let answer = request(addr, method, target, "", body).await;
    (answer.status(), serde_json::from_slice(&answer.body).expect("JSON"))
}

#[tokio::test]
async fn counters_and_requests_are_readable_over_http() {
    let builder = Origin::builder().control(true).route("/a", reply("hello"));
    let origin = builder.start().await;
    let addr = origin.addr();
    for target in ["/a", "/a?x", "/b"] {
        get(addr, target).await;
    }

    let (_, all) = ask(addr, "GET", "/__sim/counters", "").await;
    assert_eq!(all["targets"]["/a?x"]["requests"], 1);
    assert_eq!(all["total"]["statuses"], serde_json::json!({"200": 2, "404": 1}));
    // The fourth connection is the one that asks; asking is not counted otherwise.
    assert_eq!(all["connections"]["accepted"], 4);
    let (_, some) = ask(addr, "GET", "/__sim/counters?path=/a", "").await;
    assert_eq!((&some["total"]["requests"], &some["total"]["bytes"]), (&2.into(), &10.into()));
    let (_, requests) = ask(addr, "GET", "/__sim/requests?path=/a?x", "").await;
    assert_eq!(requests.as_array().map(Vec::len), Some(1));
    assert_eq!(requests[0]["headers"][0], serde_json::json!(["Host", "o"]));
    assert_eq!(ask(addr, "POST", "/__sim/reset", "").await.0, 200);
    assert_eq!(ask(addr, "GET", "/__sim/counters", "").await.1["total"]["requests"], 0);
}

#[tokio::test]
async fn routes_are_set_and_released_over_http() {
    let origin = Origin::builder().control(true).start().await;
    let addr = origin.addr();
    let held = r#"{"body": "hello", "held": true}"#;
    assert_eq!(ask(addr, "PUT", "/__sim/route?path=/a?x=1", held).await.0, 200);
    let mut client = Client::connect(addr).await;
    client.get("/a?x=1").await;
    origin.until_requests("/a", 1).await;
    assert!(client.is_silent());
    assert_eq!(ask(addr, "POST", "/__sim/release?path=/a?x=1", "").await.0, 200);
    assert_eq!(client.answer().await.text(), "hello");
}

#[tokio::test]
async fn control_mistakes_are_explained() {
    let origin = Origin::builder().control(true).start().await;
    for (method, target, body, status, part) in [
        ("GET", "/__sim/", "", 404, "counters"),
        ("GET", "/__sim/reset", "", 405, "POST"),
        ("GET", "/__sim/requests", "", 400, "path=NAME"),
        ("GET", "/__sim/requests?name=/a", "", 400, "name=/a"),
        ("POST", "/__sim/release?path=/a", "", 404, "/a"),
        ("PUT", "/__sim/route?path=/a", "{", 400, "EOF"),
        ("PUT", "/__sim/route?path=/a", r#"{"statuss": 1}"#, 400, "statuss"),
        ("PUT", "/__sim/route?path=/a", r#"{"delay": "5"}"#, 400, "20ms"),
    ] {
        let (answered, told) = ask(origin.addr(), method, target, body).await;
        assert_eq!(answered, status, "{method} {target} {body}");
        assert!(told["error"].as_str().expect("an error").contains(part), "{told}");
    }
    let without_control = Origin::start().await;
    get(without_control.addr(), "/__sim/counters").await;
    assert_eq!(without_control.fetches("/__sim/counters"), 1, "a target like any other");
}

#[tokio::test]
async fn a_script_does_what_the_builder_does() {
    let script = Script::from_json(
        br#"{"routes": {
            "/a": {"body": "hello", "status": 203, "max_age": 60, "etag": "\"v1\"",
                   "headers": [["X-A", "1"], ["X-A", "2"]], "delay": "1ms"},
            "/b": [{"status": 503, "times": 2}, {"body_bytes": 5, "chunked": true}],
            "/c": {"body": "hello", "truncate_after": 2},
            "/d": {"echo": true, "fail_first": [1, 500]}},
          "default": {"body": "default", "trailers": [["T", "v"]]}}"#,
    );
    let origin = Origin::builder().script(script.expect("a script")).start().await;
    let addr = origin.addr();
    let a = get(addr, "/a").await;
    assert_eq!((a.status(), a.text(), a.headers("x-a")), (203, "hello", vec!["1", "2"]));
    assert_eq!((a.header("Cache-Control"), a.header("ETag")), (Some("max-age=60"), Some("\"v1\"")));
    assert_eq!(get(addr, "/b").await.status(), 503);
    assert_eq!(get(addr, "/b").await.status(), 503);
    assert_eq!(get(addr, "/b").await.body.len(), 5);
    let mut c = Client::connect(addr).await;
    c.get("/c").await;
    c.head().await;
    assert_eq!(c.read_to_end().await.expect("an orderly end"), b"he");
    assert_eq!((get(addr, "/d").await.status(), get(addr, "/d").await.status()), (500, 200));
    assert_eq!(get(addr, "/else").await.trailers, "T: v\r\n");
}

#[test]
fn script_mistakes_name_route_and_key() {
    for (json, parts) in [
        (r#"{"route": {}}"#, ["route", "routes"]),
        (r#"{"routes": {"/a": {"statuss": 200}}}"#, ["/a", "statuss"]),
        (r#"{"routes": {"/a": [{}, {"delay": "soon"}]}}"#, ["/a", "soon"]),
        (r#"{"default": {"status": "x"}}"#, ["default", "u16"]),
    ] {
        let error = Script::from_json(json.as_bytes()).expect_err(json).to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[tokio::test]
async fn the_demo_site_holds_together() {
    let origin = demo_site::add_to(Origin::builder()).start().await;
    let addr = origin.addr();
    let index = get(addr, "/").await;
    for link in index.text().split(['"']).filter(|part| part.starts_with('/')) {
        assert_eq!(get(addr, link).await.status(), 200, "{link}");
    }
    let article = get(addr, "/articles/2?page=1").await;
    assert_eq!(article.header("Surrogate-Key"), Some("article-2 articles"));
    assert!(article.text().contains("<h1>Article 2</h1>"), "{}", article.text());
    let marked = get(addr, "/articles/%3Cb%3E<b>\"x").await;
    assert_eq!(marked.header("Surrogate-Key"), Some("article-3Cb3Ebx articles"));
    let image = get(addr, "/img/2.svg").await;
    assert_eq!(image.header("Content-Type"), Some("image/svg+xml"));
    assert_eq!(image.header("Surrogate-Key"), Some("images"));
    assert_eq!(get(addr, "/basket").await.header("Set-Cookie"), Some("basket=new; Path=/"));
    assert_eq!(get(addr, "/app.3f9a1c.js").await.header("Cache-Control"), None);
    assert_eq!(get(addr, "/api/time").await.header("Cache-Control"), Some("max-age=5"));
    assert_eq!(get(addr, "/missing").await.status(), 404);
}

/// The program, killed when dropped.
struct Program(Child);

impl Program {
    /// Starts it on a port chosen by the system; where it says that it listens.
    fn start(arguments: &[&str]) -> (Program, SocketAddr) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir-origin-sim"));
        let command = command.args(["--listen", "127.0.0.1:0"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let addr = line.trim().rsplit("http://").next().expect("a URL").parse();
        (Program(child), addr.expect("an address"))
    }

    fn run(arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir-origin-sim"));
        command.args(arguments).output().expect("it runs")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_program_serves_a_folder_a_script_or_the_demo_site() {
    let (_demo, addr) = Program::start(&[]);
    assert!(get(addr, "/").await.text().contains("A site behind weir"));
    assert_eq!(ask(addr, "GET", "/__sim/counters", "").await.1["total"]["requests"], 1);

    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let (_files, addr) = Program::start(&["--root", root, "--max-age", "5", "--delay", "1ms"]);
    let file = get(addr, "/control.rs").await;
    assert_eq!((file.status(), file.header("Cache-Control")), (200, Some("max-age=5")));
}

#[test]
fn the_program_explains_itself_and_its_mistakes() {
    let help = String::from_utf8(Program::run(&["--help"]).stdout).expect("text");
    for word in ["--root", "--script", "/__sim/counters", "truncate_after", "held", "Example"] {
        assert!(help.contains(word), "{word} in {help}");
    }
    for (arguments, part) in [
        (["--root", "/does/not/exist"], "/does/not/exist: not a directory"),
        (["--script", "/does/not/exist"], "--script /does/not/exist: "),
        (["--delay", "soon"], "20ms"),
        (["--listen", "nowhere"], "nowhere"),
    ] {
        let output = Program::run(&arguments);
        let told = String::from_utf8(output.stderr).expect("text");
        assert!(!output.status.success() && told.contains(part), "{told}");
    }
}
