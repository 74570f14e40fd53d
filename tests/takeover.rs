//! A new process takes over from a running one: no connection is refused, no purge is lost or doubled,
//! what began on the old process ends there; and whatever goes wrong before, the old one serves on.

mod program;

use program::{
    ADMIN_TOKEN, Folder, Lone, Spec, TextFile, Topology, Weir, call, try_exchange, until,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use weir_origin_sim::{Origin, reply};

/// Requests that are answered over the takeovers, each on a connection of its own.
const REQUESTS: u64 = 10_000;

/// Takeovers, one after the other.
const TAKEOVERS: u64 = 3;

/// A client that sends nothing but new connections: how many got their answer, and what went wrong.
fn load(listen: SocketAddr, stopped: &AtomicBool, answered: &AtomicU64) -> Vec<String> {
    let mut wrong = Vec::new();
    while !stopped.load(Ordering::Relaxed) {
        match try_exchange(listen, "GET /a", &[("Host", "example.com")], "") {
            Ok(answer) if answer.status == 200 && answer.body == "hello" => {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) => wrong.push(format!("{answer:?}")),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    wrong
}

/// Purges one after the other on new connections, each once: the ids by reference.
fn purges(at: SocketAddr, stopped: &AtomicBool) -> BTreeMap<String, String> {
    let mut ids = BTreeMap::new();
    while !stopped.load(Ordering::Relaxed) {
        let reference = format!("purge-{}", ids.len());
        let body =
            json!({"paths": [format!("/{reference}")], "reference": reference, "wait_ms": 0});
        let answer = call(at, "POST /v1/purges", &body.to_string()).expect("an answer");
        assert!(matches!(answer.status, 200 | 202), "{answer:?}");
        let id = answer.json()["id"].as_str().expect("an id").to_owned();
        ids.insert(reference, id);
    }
    ids
}

/// Loads `listen` with requests and `at` with purges while `act` is called so many times; each time a
/// share of the requests has been answered since. Returns the ids of the purges.
fn under_load(
    (listen, at): (SocketAddr, SocketAddr),
    mut act: impl FnMut(),
) -> BTreeMap<String, String> {
    let (stopped, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let (stopped, answered) = (&stopped, &answered);
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..2).map(|_| scope.spawn(|| load(listen, stopped, answered))).collect();
        let purger = scope.spawn(|| purges(at, stopped));
        // However long that takes on a busy machine, as long as there are answers.
        let until_answered = |count: u64| {
            let mut seen = 0;
            while seen < count {
                let now = || answered.load(Ordering::Relaxed);
                seen = until("a request is answered", now, |now| *now > seen);
            }
        };
        // What panics here must not leave the clients running.
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for takeover in 1..=TAKEOVERS {
                until_answered(REQUESTS * takeover / (TAKEOVERS + 1));
                act();
            }
            until_answered(REQUESTS);
        }));
        stopped.store(true, Ordering::Relaxed);
        let wrong: Vec<_> =
            clients.into_iter().flat_map(|client| client.join().expect("it ended")).collect();
        let ids = purger.join().expect("every purge was answered");
        if let Err(panic) = acted {
            std::panic::resume_unwind(panic);
        }
        assert!(
            wrong.is_empty(),
            "{} of {REQUESTS}: {:#?}",
            wrong.len(),
            &wrong[..wrong.len().min(9)]
        );
        println!("{} requests, {} purges", answered.load(Ordering::Relaxed), ids.len());
        ids
    })
}

/// Every purge is listed once, by the id that was answered, and completed.
fn all_applied_once(at: SocketAddr, ids: &BTreeMap<String, String>) {
    let listed = || {
        let mut listed: Vec<Value> = Vec::new();
        loop {
            let after = listed.last().map_or(0, |purge| purge["seq"].as_u64().expect("a seq"));
            let line = format!("GET /v1/purges?after={after}&limit=1000");
            let page = call(at, &line, "").expect("an answer").json();
            match page["purges"].as_array().expect("a list") {
                page if page.is_empty() => return listed,
                page => listed.extend(page.clone()),
            }
        }
    };
    let done = |listed: &Vec<Value>| listed.iter().all(|purge| purge["status"] == "completed");
    let listed = until("all purges are completed", listed, done);
    let of = |purge: &Value, key: &str| purge[key].as_str().expect("a text").to_owned();
    let kept: BTreeMap<_, _> =
        listed.iter().map(|purge| (of(purge, "reference"), of(purge, "id"))).collect();
    assert_eq!(listed.len(), kept.len(), "none is doubled");
    assert_eq!(&kept, ids);
    let logs: BTreeSet<_> = ids.values().filter_map(|id| Some(id.rsplit_once('-')?.0)).collect();
    assert_eq!(logs.len(), 1, "it is one log");
}

fn hello(origin: &Origin) {
    origin.route("/a", reply("hello").max_age(600));
}

#[tokio::test(flavor = "multi_thread")]
async fn three_takeovers_of_a_lone_node_lose_no_connection_and_no_purge() {
    let origin = Origin::start().await;
    hello(&origin);
    let mut lone = Lone::start("lone", &origin.url(), "");
    let ids = under_load((lone.weir.listen, lone.weir.admin), || {
        assert_eq!(lone.take_over().exit_status(), Some(0));
    });
    all_applied_once(lone.weir.admin, &ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_takeovers_of_a_lone_node_with_its_log_on_disk_lose_nothing_either() {
    let origin = Origin::start().await;
    hello(&origin);
    let data = Folder::new("lone-data");
    let keys = format!("data = {:?}", data.path());
    let mut lone = Lone::start("lone-disk", &origin.url(), &keys);
    let ids = under_load((lone.weir.listen, lone.weir.admin), || {
        assert_eq!(lone.take_over().exit_status(), Some(0));
    });
    all_applied_once(lone.weir.admin, &ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_takeovers_of_a_node_of_a_topology_lose_nothing() {
    let origin = Origin::start().await;
    hello(&origin);
    let mut topology = Topology::start("takeover-node");
    topology.add("one", &Spec::edge(&origin.url()));
    let listen = topology.node("one").listen;
    let ids = under_load((listen, topology.at()), || {
        let old = topology.take_over_node("one");
        assert_eq!(topology.node("one").listen, listen);
        assert_eq!(old.exit_status(), Some(0));
    });
    all_applied_once(topology.at(), &ids);
    let nodes = topology.call("GET /v1/nodes", "").json();
    assert_eq!(nodes["nodes"].as_array().map(Vec::len), Some(1), "{nodes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_takeovers_of_control_lose_no_purge() {
    let origin = Origin::start().await;
    hello(&origin);
    let mut topology = Topology::start("takeover-control");
    topology.add("one", &Spec::edge(&origin.url()));
    let listen = topology.node("one").listen;
    let ids = under_load((listen, topology.at()), || {
        assert_eq!(topology.take_over_control().exit_status(), Some(0));
        topology.until_joined("one");
    });
    all_applied_once(topology.at(), &ids);
}

/// A purge that control calls completed holds on whichever process a client reaches.
#[tokio::test(flavor = "multi_thread")]
async fn a_completed_purge_holds_on_both_processes() {
    let origin = Origin::start().await;
    let mut lone = Lone::start("both", &origin.url(), "");
    let (listen, at) = (lone.weir.listen, lone.weir.admin);
    let (stopped, origin) = (AtomicBool::new(false), &origin);
    let stopped = &stopped;
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut version = 0;
            while !stopped.load(Ordering::Relaxed) {
                version += 1;
                origin.route("/v", reply(version.to_string()).max_age(600));
                let body = json!({"paths": ["/v"], "wait_ms": 10_000}).to_string();
                let answer = call(at, "POST /v1/purges", &body).expect("an answer");
                if answer.json()["status"] == "completed" {
                    let seen = program::get(listen, "/v");
                    assert_eq!(seen.body, version.to_string(), "{seen:?}");
                }
            }
            version
        });
        for _ in 0..TAKEOVERS {
            let old = lone.take_over();
            assert_eq!(old.exit_status(), Some(0));
        }
        stopped.store(true, Ordering::Relaxed);
        assert!(writer.join().expect("no stale answer") > TAKEOVERS as i32);
    });
}

/// What began on the old process ends there; new connections reach the new one meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_began_before_ends_on_the_old_process() {
    const LONG: u64 = 1 << 20;
    let origin = Origin::start().await;
    hello(&origin);
    origin.route("/long", reply("").body_bytes(LONG).held_after(LONG / 2));
    let mut lone = Lone::start("long", &origin.url(), "");
    let listen = lone.weir.listen;
    let mut stream = TcpStream::connect(listen).expect("a connection");
    stream.set_read_timeout(Some(program::PATIENCE)).expect("it can be bounded");
    write!(stream, "GET /long HTTP/1.1\r\nHost: example.com\r\n\r\n").expect("it is sent");
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).expect("a status line");
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    let mut old = lone.take_over();
    old.until_line("another process has taken over");
    assert_eq!(program::get(listen, "/a").body, "hello", "the new one serves");
    assert!(old.runs(), "the old one waits for its download");
    // A purge waits for the old process too, and gets there.
    let body = json!({"paths": ["/a"], "wait_ms": 10_000}).to_string();
    let purged = call(lone.weir.admin, "POST /v1/purges", &body).expect("an answer").json();
    assert_eq!(purged["status"], "completed", "{purged}");
    origin.release("/long");
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).expect("it arrives whole");
    let head = rest.windows(4).position(|four| four == b"\r\n\r\n").expect("an end of the head");
    assert_eq!((rest.len() - head - 4) as u64, LONG);
    assert_eq!(old.exit_status(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigusr2_starts_the_program_anew() {
    let origin = Origin::start().await;
    hello(&origin);
    let lone = Lone::start("signal", &origin.url(), "");
    let (listen, admin) = (lone.weir.listen, lone.weir.admin);
    lone.weir.signal(rustix::process::Signal::USR2);
    let line = lone.weir.until_line("started the process that is to take over");
    let digits: String = line.split("process=").nth(1).expect("a process id").chars().collect();
    let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
    let new = rustix::process::Pid::from_raw(digits.parse().expect("a number")).expect("not 0");
    // Its child has its standard error too.
    lone.weir.until_line("took over");
    assert_eq!(lone.weir.exit_status(), Some(0));
    assert_eq!(program::get(listen, "/a").body, "hello");
    let purge = json!({"paths": ["/a"]}).to_string();
    assert_eq!(call(admin, "POST /v1/purges", &purge).expect("an answer").status, 200);
    rustix::process::kill_process(new, rustix::process::Signal::TERM).expect("it runs");
    until("it is gone", || TcpStream::connect(listen).is_err(), |gone| *gone);
    drop((lone.config, lone.state));
}

/// Whatever keeps a new process from serving, the old one goes on as if nothing had been.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_that_cannot_start_changes_nothing() {
    let origin = Origin::start().await;
    hello(&origin);
    let lone = Lone::start("fails", &origin.url(), "");
    let good = Lone::config(&origin.url(), "", &lone.state);
    let data = Folder::new("fails-data");
    let other = format!("data = {:?}", data.path());
    for (config, reason) in [
        (good.replace("workers = 2", "workers = -1"), "node.workers = -1"),
        (good.replace("\"lone\"", "\"other\""), "weir serve with node.name = \"lone\""),
        (Lone::config(&origin.url(), &other, &lone.state), "control.data"),
        (
            good.replace(
                "[[site]]",
                "[tls]\nlisten = \"127.0.0.1:0\"\ncertificates = \
            [{chain = \"/nonexistent\", key = \"/nonexistent\"}]\n[[site]]",
            ),
            "/nonexistent",
        ),
    ] {
        lone.config.write(&config);
        let new = lone.begin_to_take_over();
        let line = new.until_line(reason);
        assert_eq!(new.exit_status(), Some(1), "{line}");
        still_serves(&lone, 200);
    }
    // Nor does one that is started without the option.
    lone.config.write(&good);
    let second = Weir::begin_to_serve(&["--config", lone.config.path()]);
    second.until_line("another process uses this directory");
    assert_eq!(second.exit_status(), Some(1));
    still_serves(&lone, 200);
}

fn still_serves(lone: &Lone, status: u16) {
    assert_eq!(program::get(lone.weir.listen, "/a").body, "hello");
    let body = json!({"paths": ["/a"], "wait_ms": 10_000}).to_string();
    let purged = call(lone.weir.admin, "POST /v1/purges", &body).expect("an answer");
    assert_eq!(
        (purged.status, &purged.json()["status"]),
        (status, &json!("completed")),
        "{purged:?}"
    );
}

/// A process that says so much of the takeover, and then goes or stays silent.
struct Half {
    stream: BufReader<UnixStream>,
}

impl Half {
    fn begin(state: &Folder) -> Self {
        let path = format!("{}/takeover.sock", state.path());
        let stream = UnixStream::connect(path).expect("somebody listens");
        stream.set_read_timeout(Some(program::PATIENCE)).expect("it can be bounded");
        Self { stream: BufReader::new(stream) }
    }

    fn say(&mut self, line: &Value) -> &mut Self {
        writeln!(self.stream.get_mut(), "{line}").expect("it is sent");
        self
    }

    fn takeover(&mut self, log: &Value) -> &mut Self {
        let line = json!({"takeover": 1, "say": "takeover", "node": "lone", "log": log,
            "program": "0.0.0"});
        self.say(&line)
    }

    fn prepared(&mut self) -> &mut Self {
        self.say(&json!({"takeover": 1, "say": "begins", "instance": null}));
        self.say(&json!({"takeover": 1, "say": "prepared"}))
    }

    fn hears(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line:?}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_that_ends_half_way_changes_nothing() {
    let origin = Origin::start().await;
    hello(&origin);
    let data = Folder::new("half-data");
    for (name, keys, log) in [
        ("half-memory", String::new(), json!("memory")),
        ("half-disk", format!("data = {:?}", data.path()), json!({"directory": data.path()})),
    ] {
        let lone = Lone::start(name, &origin.url(), &keys);
        still_serves(&lone, 200);
        // Before it is prepared, and once the log is closed.
        let mut half = Half::begin(&lone.state);
        assert_eq!(half.takeover(&log).hears()["say"], "offer");
        drop(half);
        still_serves(&lone, 200);
        let mut half = Half::begin(&lone.state);
        assert_eq!(half.takeover(&log).hears()["say"], "offer");
        assert_eq!(half.prepared().hears()["say"], "log");
        drop(half);
        lone.weir.until_line("the log is open again");
        still_serves(&lone, 200);
        let listed = call(lone.weir.admin, "GET /v1/purges", "").expect("an answer").json();
        assert_eq!(listed["purges"].as_array().map(Vec::len), Some(3), "{name}: {listed}");
    }
}

/// The disk store is the old process's again, with what it holds, except what it learned meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_takeover_that_fails_the_old_process_has_its_disk_again() {
    let origin = Origin::start().await;
    hello(&origin);
    // Larger than memory takes: on disk alone.
    let large = || "0123456789abcde\n".repeat(100_000);
    let paths = ["/kept", "/purged", "/posted"];
    for path in paths {
        origin.route(path, reply(large()).max_age(600));
    }
    let (data, disk) = (Folder::new("gets-back-data"), Folder::new("gets-back-disk"));
    let keys = format!("data = {:?}", data.path());
    let tables = format!(
        "[memory]\nsize = \"32MiB\"\nmax_object = \"1MiB\"\n\
         [disk]\npath = {:?}\nsize = \"256MiB\"\nadmit = \"all\"\n",
        disk.path()
    );
    let lone = Lone::start_with("gets-back", &origin.url(), &keys, &tables);
    let get = |path: &str| {
        let answer = program::get(lone.weir.listen, path);
        assert_eq!((answer.status, answer.body == large()), (200, true), "{path}");
        answer.head.contains("; hit")
    };
    for path in paths {
        get(path);
        assert!(get(path), "{path}");
    }
    let mut half = Half::begin(&lone.state);
    let log = json!({"directory": data.path()});
    assert_eq!(half.takeover(&log).hears()["say"], "offer");
    // Meanwhile it has none.
    let purge = json!({"paths": ["/purged"], "wait_ms": 10_000}).to_string();
    let purged = call(lone.weir.admin, "POST /v1/purges", &purge).expect("an answer").json();
    assert_eq!(purged["status"], "completed", "{purged}");
    let posted = lone.weir.ask("POST /posted", &[("Host", "example.com")]);
    assert_eq!(posted.status, 200, "{posted:?}");
    drop(half);
    lone.weir.until_line("the disk store is in use again");
    assert!(get("/kept"));
    for path in ["/purged", "/posted"] {
        assert!(!get(path), "{path}");
    }
    assert_eq!(origin.requests("/kept").len(), 1);
    still_serves(&lone, 200);
    // It stores again.
    assert!(get("/purged"));
}

/// One that hangs refuses nobody, and is waited for only so long.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_process_that_hangs_is_not_waited_for_for_ever() {
    let origin = Origin::start().await;
    hello(&origin);
    let lone = Lone::start("hangs", &origin.url(), "");
    lone.weir.signal(rustix::process::Signal::STOP);
    let new = lone.begin_to_take_over();
    new.until_line("no takeover: the other process did not answer within 10 s");
    assert_eq!(new.exit_status(), Some(1));
    lone.weir.signal(rustix::process::Signal::CONT);
    still_serves(&lone, 200);
}

/// A call that arrives while the log is closed waits, and is then done once.
#[tokio::test(flavor = "multi_thread")]
async fn calls_wait_while_the_log_is_closed() {
    let origin = Origin::start().await;
    hello(&origin);
    let lone = Lone::start("waits", &origin.url(), "");
    let mut half = Half::begin(&lone.state);
    half.takeover(&json!("memory")).hears();
    half.prepared().hears();
    let admin = lone.weir.admin;
    let waiting = std::thread::spawn(move || {
        let body = json!({"paths": ["/a"], "reference": "once", "wait_ms": 0}).to_string();
        call(admin, "POST /v1/purges", &body).expect("an answer")
    });
    // It is in the queue of the socket: nobody accepts it.
    until("it waits", || waiting.is_finished(), |finished| !finished);
    drop(half);
    let answer = waiting.join().expect("an answer");
    assert!(matches!(answer.status, 200 | 202), "{answer:?}");
    let listed = call(admin, "GET /v1/purges", "").expect("an answer").json();
    assert_eq!(listed["purges"].as_array().map(Vec::len), Some(1), "{listed}");
}

/// A connection to control on which nothing was called yet, as far as control knows.
fn connected(admin: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(admin).expect("a connection");
    stream.set_read_timeout(Some(program::PATIENCE)).expect("it can be bounded");
    // The one after it in the queue is answered: it was accepted.
    assert_eq!(call(admin, "GET /v1/nodes", "").expect("an answer").status, 200);
    stream
}

/// Calls on a connection that is open.
fn call_on(mut stream: &TcpStream, token: &str, line: &str, body: &str) {
    let length = body.len();
    write!(
        stream,
        "{line} HTTP/1.1\r\nHost: control\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .expect("it is sent");
}

/// What a connection brings until it is closed.
fn all(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it ends in good order");
    text
}

/// What the old process accepted is answered by the new one, whoever calls, and then closed.
#[tokio::test(flavor = "multi_thread")]
async fn calls_on_connections_of_the_old_process_are_answered_by_the_new_one() {
    const LONG: u64 = 1 << 20;
    let origin = Origin::start().await;
    hello(&origin);
    origin.route("/long", reply("").body_bytes(LONG).held_after(LONG / 2));
    let mut lone = Lone::start("passed-on", &origin.url(), "");
    let (listen, admin) = (lone.weir.listen, lone.weir.admin);
    // Something that the old process has to finish, so that it is still there.
    let mut download = TcpStream::connect(listen).expect("a connection");
    download.set_read_timeout(Some(program::PATIENCE)).expect("it can be bounded");
    write!(download, "GET /long HTTP/1.1\r\nHost: example.com\r\n\r\n").expect("it is sent");
    assert!(download.read(&mut [0; 16]).expect("its beginning") > 0);
    let (silent, stranger, kept) = (connected(admin), connected(admin), connected(admin));
    call_on(&kept, ADMIN_TOKEN, "GET /v1/purges", "");
    let mut answer = String::new();
    while !answer.trim_end().ends_with('}') {
        let mut piece = [0; 1024];
        let read = (&kept).read(&mut piece).expect("an answer");
        assert!(read > 0, "it stays open: {answer}");
        answer.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    let mut old = lone.take_over();
    old.until_line("another process has taken over");
    assert!(old.runs());
    for (number, stream) in [silent, kept].into_iter().enumerate() {
        let body = json!({"paths": ["/a"], "reference": format!("late-{number}")}).to_string();
        call_on(&stream, ADMIN_TOKEN, "POST /v1/purges", &body);
        let answer = all(stream);
        assert!(
            answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 202"),
            "{answer}"
        );
        assert!(answer.contains("connection: close"), "{answer}");
    }
    call_on(&stranger, "nobody's", "GET /v1/purges", "");
    let answer = all(stranger);
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let listed = call(admin, "GET /v1/purges", "").expect("an answer").json();
    let references: Vec<_> = listed["purges"].as_array().expect("a list").iter().collect();
    let references: BTreeSet<_> = references.iter().map(|one| one["reference"].as_str()).collect();
    assert_eq!(references, [Some("late-0"), Some("late-1")].into(), "{listed}");
    origin.release("/long");
    assert_eq!(old.exit_status(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_versions_are_refused_by_name_and_one_takeover_runs_at_once() {
    let origin = Origin::start().await;
    hello(&origin);
    let lone = Lone::start("versions", &origin.url(), "");
    let mut newer = Half::begin(&lone.state);
    newer.say(&json!({"takeover": 2, "say": "takeover", "more": true}));
    let refused = newer.hears();
    assert_eq!(refused["say"], "refused");
    let reason = refused["reason"].as_str().expect("a reason");
    assert!(reason.contains("version 2") && reason.contains("version 1"), "{reason}");
    let mut first = Half::begin(&lone.state);
    assert_eq!(first.takeover(&json!("memory")).hears()["say"], "offer");
    let refused = Half::begin(&lone.state).takeover(&json!("memory")).hears();
    assert_eq!(refused["reason"], "another takeover is in progress");
    still_serves(&lone, 200);
}

/// Only the user of the process reaches the socket, and the lock stays held over a takeover.
#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_for_one_user_and_the_directory_for_one_node() {
    use std::os::unix::fs::PermissionsExt;
    let origin = Origin::start().await;
    hello(&origin);
    let mut lone = Lone::start("private", &origin.url(), "");
    let old = lone.take_over();
    assert_eq!(old.exit_status(), Some(0));
    let socket = format!("{}/takeover.sock", lone.state.path());
    let mode = std::fs::metadata(&socket).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let second = Weir::begin_to_serve(&["--config", lone.config.path()]);
    second.until_line("another process uses this directory");
    assert_eq!(second.exit_status(), Some(1));
}

#[test]
fn a_takeover_needs_a_place_to_meet() {
    let new = Weir::begin_to_serve(&["--origin", "http://127.0.0.1:9", "--takeover"]);
    new.until_line("--takeover: node.state is missing");
    assert_eq!(new.exit_status(), Some(1));
}

/// Without a process to take over from, the option changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_process_may_have_the_option_too() {
    let origin = Origin::start().await;
    hello(&origin);
    let state = Folder::new("first-state");
    let config = Lone::config(&origin.url(), "", &state);
    let config = TextFile::new("first.toml", &config);
    let weir = Weir::serve(&["--config", config.path(), "--takeover"]);
    still_serves(&Lone { weir, config, state }, 200);
}
