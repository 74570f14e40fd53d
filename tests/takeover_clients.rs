//! Clients that keep their connections while a new process takes over: they are told to go once their
//! requests are answered, none of these fails, and the new process answers the next.

mod program;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, StatusCode};
use program::{Lone, PATIENCE};
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::timeout;
use weir_origin_sim::{Origin, reply};

/// Requests of each kind of client over the takeovers.
const REQUESTS: u64 = 1_500;

/// Takeovers, one after the other.
const TAKEOVERS: u64 = 3;

/// A certificate for loopback that vouches for itself, in files.
struct Certified {
    folder: program::Folder,
}

impl Certified {
    fn new(name: &str) -> Self {
        let folder = program::Folder::new(name);
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
        let made = made.expect("a certificate");
        let certified = Self { folder };
        std::fs::write(certified.file("chain.pem"), made.cert.pem()).expect("a file");
        let key = made.signing_key.serialize_pem();
        std::fs::write(certified.file("key.pem"), key).expect("a file");
        certified
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(self.folder.path()).join(name)
    }

    fn tables(&self) -> String {
        format!(
            "[tls]\nlisten = \"127.0.0.1:0\"\n[[tls.certificates]]\nchain = {:?}\nkey = {:?}\n",
            self.file("chain.pem"),
            self.file("key.pem")
        )
    }

    /// A client like a browser, which keeps connections.
    fn client(&self, protocol: &str) -> reqwest::Client {
        let chain = self.file("chain.pem");
        let mut trust = weir_edge::trust(Some(&chain)).expect("it can be read");
        trust.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(trust);
        client.timeout(PATIENCE).build().expect("a client")
    }
}

/// In the clear, likewise.
fn client(protocol: &str) -> reqwest::Client {
    let trust = weir_edge::trust(None).expect("the roots of browsers");
    let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(trust);
    let client = match protocol {
        "h2" => client.http2_prior_knowledge(),
        _ => client,
    };
    client.timeout(PATIENCE).build().expect("a client")
}

async fn origin() -> Origin {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(600));
    origin
}

fn start(name: &str, origin: &Origin, certified: &Certified) -> (Lone, SocketAddr) {
    let lone = Lone::start_with(name, &origin.url(), "", &certified.tables());
    let secure = lone.weir.listen_tls.expect("an address");
    (lone, secure)
}

/// Asks again and again, over connections that are kept; what went wrong.
async fn load(
    client: reqwest::Client,
    url: String,
    stopped: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    while !stopped.load(Ordering::Relaxed) {
        let answer = async {
            let response = client.get(&url).send().await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.text().await?))
        };
        match answer.await {
            Ok((StatusCode::OK, text)) if text == "hello" => {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            other => wrong.push(format!("{url}: {other:?}")),
        }
    }
    wrong
}

/// Until `seen` holds; how long `what` took is bounded.
async fn until(what: &str, mut seen: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE * 3;
    while !seen() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_takeovers_fail_no_request_on_a_kept_connection() {
    let (origin, certified) = (origin().await, Certified::new("kept-tls"));
    let (mut lone, secure) = start("kept", &origin, &certified);
    let (clear, stopped) = (lone.weir.listen, Arc::new(AtomicBool::new(false)));
    let (clear, secure) = (format!("http://{clear}/a"), format!("https://{secure}/a"));
    let kinds = [
        ("h1", client("http/1.1"), &clear),
        ("h2", client("h2"), &clear),
        ("h1 over TLS", certified.client("http/1.1"), &secure),
        ("h2 over TLS", certified.client("h2"), &secure),
    ];
    let mut clients = JoinSet::new();
    let answered = kinds.map(|(kind, client, url)| {
        let answered = Arc::new(AtomicU64::new(0));
        for _ in 0..2 {
            clients.spawn(load(client.clone(), url.clone(), stopped.clone(), answered.clone()));
        }
        (kind, answered)
    });
    for takeover in 1..=TAKEOVERS {
        let part = REQUESTS * takeover / (TAKEOVERS + 1);
        for (kind, answered) in &answered {
            until(kind, || answered.load(Ordering::Relaxed) > part).await;
        }
        let old = tokio::task::block_in_place(|| lone.take_over());
        let ended = tokio::task::spawn_blocking(|| old.exit_status());
        assert_eq!(ended.await.expect("it is told"), Some(0), "kept connections do not hold it");
    }
    for (kind, answered) in &answered {
        until(kind, || answered.load(Ordering::Relaxed) > REQUESTS).await;
        println!("{kind}: {}", answered.load(Ordering::Relaxed));
    }
    stopped.store(true, Ordering::Relaxed);
    let wrong: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{} failed: {:#?}", wrong.len(), &wrong[..wrong.len().min(9)]);
}

type Sender = SendRequest<Bytes>;

/// An HTTP/2 connection; the second part ends with it, and says how.
async fn http2(to: SocketAddr) -> (Sender, impl Future<Output = Result<(), h2::Error>>) {
    let stream = tokio::net::TcpStream::connect(to).await.expect("the node accepts");
    let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    (sender, async move { connection.await.expect("it ends") })
}

async fn ask(sender: &Sender, target: &str) -> h2::client::ResponseFuture {
    let request = Request::get(format!("http://example.com{target}")).body(()).expect("a request");
    let mut ready = sender.clone().ready().await.expect("it takes requests");
    ready.send_request(request, true).expect("it is sent").0
}

async fn body(response: h2::client::ResponseFuture) -> Vec<u8> {
    let response = timeout(PATIENCE, response).await.expect("in time").expect("a response");
    assert_eq!(response.status(), StatusCode::OK);
    let (mut body, mut bytes) = (response.into_body(), Vec::new());
    while let Some(chunk) = body.data().await {
        let chunk = chunk.expect("more of it");
        body.flow_control().release_capacity(chunk.len()).expect("so much was taken");
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

/// Streams that began before end on the old process; then its client is told to go.
#[tokio::test(flavor = "multi_thread")]
async fn an_http2_connection_ends_by_goaway_once_its_streams_are_answered() {
    // Within the window of the connection, which its streams share.
    const LONG: u64 = 40_000;
    let origin = origin().await;
    origin.route("/long", reply("").body_bytes(LONG).held_after(LONG / 2));
    let mut lone = Lone::start_with_one_worker("goaway", &origin.url(), "");
    let listen = lone.weir.listen;
    let (busy, busy_ends) = http2(listen).await;
    let (idle, idle_ends) = http2(listen).await;
    let long = ask(&busy, "/long").await;
    assert_eq!(body(ask(&busy, "/a").await).await, b"hello");
    assert_eq!(body(ask(&idle, "/a").await).await, b"hello");
    let mut old = tokio::task::block_in_place(|| lone.take_over());
    let ended = timeout(PATIENCE, idle_ends).await.expect("in time");
    assert!(ended.is_ok(), "an idle one ends in order: {ended:?}");
    assert!(old.runs(), "the old process waits for its stream");
    let (next, _next_ends) = http2(listen).await;
    assert_eq!(body(ask(&next, "/a").await).await, b"hello", "the new process answers");
    origin.release("/long");
    assert_eq!(body(long).await.len() as u64, LONG);
    let ended = timeout(PATIENCE, busy_ends).await.expect("in time");
    assert!(ended.is_ok(), "{ended:?}");
    let refused = busy.clone().ready().await;
    assert!(refused.is_err(), "it takes no further request");
    let ended = tokio::task::spawn_blocking(|| old.exit_status());
    assert_eq!(ended.await.expect("it is told"), Some(0));
    assert_eq!(body(ask(&next, "/a").await).await, b"hello");
}

/// What began before its first request was sent is answered too, and told to go.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_asked_nothing_yet_gets_its_first_answer() {
    let (origin, certified) = (origin().await, Certified::new("first-tls"));
    let tables = certified.tables();
    let mut lone = Lone::start_with_one_worker("first", &origin.url(), &tables);
    let secure = lone.weir.listen_tls.expect("an address");
    let (idle, idle_ends) = http2(lone.weir.listen).await;
    assert_eq!(body(ask(&idle, "/a").await).await, b"hello");
    let connect = || TcpStream::connect(lone.weir.listen).expect("the node accepts");
    let (mut clear, silent) = (connect(), TcpStream::connect(secure).expect("it accepts"));
    // The old process has accepted them.
    let open = || {
        let metrics = program::call(lone.weir.admin, "GET /metrics", "").expect("an answer");
        metrics.body.contains("\nweir_connections_open 3\n")
    };
    until("all are accepted", open).await;
    let old = tokio::task::block_in_place(|| lone.take_over());
    // From then on the old process tells everyone to go. It may be a moment after the new one serves.
    let ended = timeout(PATIENCE, idle_ends).await.expect("in time");
    assert!(ended.is_ok(), "an idle one ends in order: {ended:?}");
    let line = "GET /a HTTP/1.1\r\nHost: example.com\r\n\r\n";
    clear.write_all(line.as_bytes()).expect("it is sent");
    clear.set_read_timeout(Some(PATIENCE)).expect("it can be bounded");
    let (mut told, mut reader) = (String::new(), BufReader::new(clear));
    reader.read_to_string(&mut told).expect("an answer, and the end");
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    assert!(told.to_lowercase().contains("\r\nconnection: close\r\n"), "{told}");
    drop(silent);
    let ended = tokio::task::spawn_blocking(|| old.exit_status());
    assert_eq!(ended.await.expect("it is told"), Some(0));
}

/// A new process that gets the log and then does nothing, not even end. What it is told to do is in the
/// environment: the process that runs this test must not be the one that is killed.
#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn hangs_with_the_log() {
    let told = |name: &str| std::env::var(name).expect("the test says it");
    let (socket, log, opened) = (told("HANG_SOCKET"), told("HANG_LOG"), told("HANG_OPENED"));
    let stream = std::os::unix::net::UnixStream::connect(socket).expect("somebody listens");
    let mut reader = BufReader::new(stream);
    let hears = |reader: &mut BufReader<std::os::unix::net::UnixStream>, word: &str| {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        assert!(line.contains(word), "{line}");
    };
    let log: serde_json::Value = serde_json::from_str(&log).expect("JSON");
    let say = |reader: &mut BufReader<std::os::unix::net::UnixStream>, line: serde_json::Value| {
        writeln!(reader.get_mut(), "{line}").expect("it is sent");
    };
    say(
        &mut reader,
        serde_json::json!({"takeover": 1, "say": "takeover", "node": "lone", "log": log,
            "program": "0.0.0"}),
    );
    hears(&mut reader, "offer");
    say(&mut reader, serde_json::json!({"takeover": 1, "say": "begins", "instance": null}));
    say(&mut reader, serde_json::json!({"takeover": 1, "say": "prepared"}));
    hears(&mut reader, "\"log\"");
    // It holds the log, as a process does that opened it.
    let _lock = log["directory"].as_str().map(|directory| {
        let lock = std::fs::File::open(format!("{directory}/control.lock")).expect("it is there");
        lock.try_lock().expect("the old process let go of it");
        lock
    });
    if opened == "yes" {
        say(&mut reader, serde_json::json!({"takeover": 1, "say": "opened"}));
    }
    println!("it has the log");
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::STOP).expect("it stops");
    // The signal may come to another thread, a moment later.
    loop {
        std::thread::park();
    }
}

/// It does not outlive its test, whatever happens.
struct Hanging(Child);

impl Drop for Hanging {
    fn drop(&mut self) {
        // It may be gone, as it should.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Its bounds: 10 s for a step, twice 2 s for the other process to end.
const BACK_WITHIN: Duration = Duration::from_secs(18);

async fn hangs(name: &str, on_disk: bool, opened: bool) {
    let (origin, data) = (origin().await, program::Folder::new(&format!("{name}-data")));
    let (keys, log) = match on_disk {
        true => {
            let log = serde_json::json!({"directory": data.path()});
            (format!("data = {:?}", data.path()), log.to_string())
        }
        false => (String::new(), "\"memory\"".to_owned()),
    };
    let lone = Lone::start(name, &origin.url(), &keys);
    let purge = |reference: &str| {
        let (admin, reference) = (lone.weir.admin, reference.to_owned());
        tokio::task::spawn_blocking(move || {
            let body = serde_json::json!({"paths": ["/b"], "reference": reference, "wait_ms": 0});
            program::call(admin, "POST /v1/purges", &body.to_string())
        })
    };
    let first = purge("first").await.expect("it ends").expect("an answer");
    assert!(matches!(first.status, 200 | 202), "{first:?}");
    let mut hanging = Command::new(std::env::current_exe().expect("this test"));
    hanging.args(["--exact", "hangs_with_the_log", "--ignored", "--nocapture"]);
    let socket = format!("{}/takeover.sock", lone.state.path());
    hanging.env("HANG_SOCKET", socket).env("HANG_LOG", log);
    hanging.env("HANG_OPENED", if opened { "yes" } else { "no" });
    hanging.stdout(Stdio::piped());
    let mut hanging = Hanging(hanging.spawn().expect("this test runs"));
    let said = BufReader::new(hanging.0.stdout.take().expect("it is piped"));
    let has_it = tokio::task::spawn_blocking(|| {
        said.lines().map_while(Result::ok).any(|line| line.contains("it has the log"))
    });
    assert!(timeout(PATIENCE, has_it).await.expect("in time").expect("it is read"));
    let begun = Instant::now();
    // Clients notice nothing, and a call waits until the log is back.
    let waiting = purge("second");
    let mut served = 0;
    while !waiting.is_finished() {
        let answer = tokio::task::block_in_place(|| lone.weir.get("/a"));
        assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
        served += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(begun.elapsed() < BACK_WITHIN, "it does not get back to work");
    }
    println!("{name}: back after {:?}, {served} requests meanwhile", begun.elapsed());
    assert!(begun.elapsed() > Duration::from_secs(5), "the call waited");
    let second = waiting.await.expect("it ends").expect("an answer");
    assert!(matches!(second.status, 200 | 202), "{second:?}");
    lone.weir.until_line("the log is open again");
    let mut status = None;
    until("it is ended", || {
        status = hanging.0.try_wait().expect("it was started");
        status.is_some()
    })
    .await;
    let status = status.expect("it has ended");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}");
    let listed = program::call(lone.weir.admin, "GET /v1/purges", "").expect("an answer").json();
    assert_eq!(listed["purges"].as_array().map(Vec::len), Some(2), "each once: {listed}");
    // And a process that works takes over from it.
    let mut lone = lone;
    let old = tokio::task::block_in_place(|| lone.take_over());
    let ended = tokio::task::spawn_blocking(|| old.exit_status());
    assert_eq!(ended.await.expect("it is told"), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_hangs_with_the_log_on_disk_is_ended_and_the_old_one_goes_on() {
    hangs("hangs-disk", true, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_hangs_with_the_log_in_memory_is_ended_and_the_old_one_goes_on() {
    hangs("hangs-memory", false, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_hangs_after_it_opened_the_log_is_ended_and_the_old_one_goes_on() {
    hangs("hangs-opened", true, true).await;
}
