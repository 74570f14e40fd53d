//! Several processes of control over one log in etcd, under random attacks, with everything checked: each read against
//! what was purged before it, and all that callers of control saw against one log.
//!
//! `WEIR_READS` says how many reads are checked before a test ends (20,000 by default), `WEIR_SEED` repeats the attacks of
//! a run, which prints its seed.

mod history;
mod program;

use history::{End, History, Look, Purge};
use program::{Etcd, Folder, Line, NODE_TOKEN, Shared, TextFile, Weir, call, until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use weir_origin_sim::{Origin, reply};

/// Keys that are purged and read.
const KEYS: usize = 4;

/// The lease of nodes: short, so that those that are cut off are waited for no longer.
const LEASE: Duration = Duration::from_secs(2);

/// How long it may take until purges are answered again after the writer was lost, on a machine that runs other tests
/// beside this one; alone it is 3 s.
const LOADED: Duration = Duration::from_secs(6);

/// Attacks before a test may end.
const LEAST_ATTACKS: usize = 8;

/// Whoever reads the log for a check reads so many purges at once.
const PAGE: usize = 1000;

/// Numbers that nobody foresees, and that a seed repeats.
struct Dice(u64);

impl Dice {
    fn seeded() -> Self {
        let given = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok());
        let random = || std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64);
        let seed = given.unwrap_or_else(random);
        println!("WEIR_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound
    }
}

/// A node, with a line to each process of control.
struct Node {
    weir: Mutex<Option<Weir>>,
    config: TextFile,
    lines: Vec<Line>,
    port: AtomicU16,
    _state: Folder,
}

impl Node {
    fn start(name: &str, shared: &Shared, controls: usize, tables: &str, origin: &str) -> Self {
        let lines: Vec<_> = (0..controls).map(|number| Line::to(shared.at(number))).collect();
        let urls: Vec<_> = lines.iter().map(|line| format!("\"http://{}\"", line.at())).collect();
        let (urls, state, lease) =
            (urls.join(", "), Folder::new(&format!("{name}-state")), LEASE.as_secs());
        let tier = if name.contains("parent") { "parent" } else { "edge" };
        let config = format!(
            "[node]\nname = \"{name}\"\ntier = \"{tier}\"\nworkers = 1\nstate = {:?}\n\
             [control]\nurl = [{urls}]\nlease = \"{lease}s\"\non_partition = \"validate\"\ntoken = \"{NODE_TOKEN}\"\n\
             {tables}\n[[site]]\nid = \"site\"\norigins = [{origin:?}]\n",
            state.path()
        );
        let config = TextFile::new(&format!("{name}.toml"), &config);
        let node =
            Self { weir: Mutex::new(None), config, lines, port: AtomicU16::new(0), _state: state };
        node.run();
        shared.until_state(name, "connected");
        node
    }

    fn run(&self) {
        let weir = Weir::serve(&["--config", self.config.path()]);
        self.port.store(weir.listen.port(), SeqCst);
        *self.weir() = Some(weir);
    }

    fn at(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port.load(SeqCst)).into()
    }

    fn kill(&self) {
        self.weir().take().expect("it runs").kill();
    }

    fn signal(&self, signal: Signal) {
        self.weir().as_ref().expect("it runs").signal(signal);
    }

    fn weir(&self) -> MutexGuard<'_, Option<Weir>> {
        self.weir.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What goes on while it is attacked.
struct Scene<'a> {
    controls: Vec<SocketAddr>,
    began: Instant,
    history: Mutex<History>,
    /// The version of each key whose purge was completed last.
    completed: [AtomicU64; KEYS],
    /// Purges that were taken.
    taken: AtomicU64,
    reads: AtomicU64,
    failed_reads: AtomicU64,
    wrong: Mutex<Vec<String>>,
    ended: AtomicBool,
    origin: &'a Origin,
}

impl<'a> Scene<'a> {
    fn new(controls: Vec<SocketAddr>, origin: &'a Origin) -> Self {
        Self {
            controls,
            began: Instant::now(),
            history: Mutex::default(),
            completed: Default::default(),
            taken: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            failed_reads: AtomicU64::new(0),
            wrong: Mutex::default(),
            ended: AtomicBool::new(false),
            origin,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn goes_on(&self) -> bool {
        !self.ended.load(SeqCst)
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accuse(&self, why: String) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(why);
    }

    /// One call to purge, as the history has it; the status of its answer.
    fn purge(&self, control: usize, path: &str, reference: &str, wait_ms: u32) -> Option<u16> {
        let order =
            json!({"paths": [path], "reference": reference, "wait_ms": wait_ms}).to_string();
        let called = self.now();
        let answer = call(self.controls[control], "POST /v1/purges", &order);
        let ended = self.now();
        let end = match &answer {
            Ok(answer) if matches!(answer.status, 200 | 202) => {
                self.taken.fetch_add(1, SeqCst);
                End::Taken(answer.json()["seq"].as_u64().expect("a seq"))
            }
            // What says that nothing was appended is held to it.
            Ok(answer) if ["journal", "unavailable", "busy"].contains(&&*code(&answer.body)) => {
                End::Refused
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => End::Refused,
            _ => End::Unknown,
        };
        self.history().purges.push(Purge { reference: reference.to_owned(), called, ended, end });
        answer.ok().map(|answer| answer.status)
    }

    /// Changes a key again and again, and purges it until that is completed.
    fn change(&self, key: usize, mut dice: Dice) {
        let path = format!("/k{key}");
        let mut version = 0;
        while self.goes_on() {
            version += 1;
            self.origin.route(&path, reply(version.to_string()).max_age(600));
            let reference = format!("k{key}-{version}");
            let begun = Instant::now();
            loop {
                let control = dice.below(self.controls.len());
                if self.purge(control, &path, &reference, 1000) == Some(200) {
                    break;
                }
                if begun.elapsed() > Duration::from_secs(60) {
                    return self.accuse(format!("{reference} is not completed after 60 s"));
                }
                if !self.goes_on() {
                    return;
                }
            }
            self.completed[key].store(version, SeqCst);
        }
    }

    /// Purges other paths, `per_second` of them, and repeats none that failed; the longest time without an answer.
    fn storm(&self, name: &str, per_second: u32, control: usize) -> Duration {
        let (mut longest, mut last) = (Duration::ZERO, Instant::now());
        let began = Instant::now();
        let mut number = 0;
        while self.goes_on() {
            number += 1;
            let due = Duration::from_secs(1) * number / per_second;
            std::thread::sleep(due.saturating_sub(began.elapsed()).min(Duration::from_millis(20)));
            let path = format!("/other/{number}");
            let status = self.purge(control, &path, &format!("{name}-{number}"), 0);
            if matches!(status, Some(200 | 202)) {
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
        }
        longest
    }

    /// Looks at the log's head.
    fn look(&self, mut dice: Dice) {
        while self.goes_on() {
            let called = self.now();
            let answer = call(self.controls[dice.below(self.controls.len())], "GET /v1/stats", "");
            if let Some(answer) = answer.ok().filter(|answer| answer.status == 200) {
                let head = answer.json()["log"]["head"].as_u64().expect("a head");
                self.history().looks.push(Look { called, ended: self.now(), head });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Reads at a node, and holds each answer against what was completed before it was asked.
    fn read(&self, node: &Node, mut dice: Dice) {
        let mut connection = None;
        while self.goes_on() {
            let key = dice.below(KEYS);
            let at_least = self.completed[key].load(SeqCst);
            match got(&mut connection, node.at(), key) {
                Ok((200, body)) => {
                    let version: u64 = body.parse().expect("a version");
                    if version < at_least {
                        self.accuse(format!(
                            "k{key}: {version} was read after {at_least} was completed"
                        ));
                    }
                    self.reads.fetch_add(1, SeqCst);
                }
                Ok(_) => drop(self.failed_reads.fetch_add(1, SeqCst)),
                Err(_) => {
                    connection = None;
                    self.failed_reads.fetch_add(1, SeqCst);
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }

    /// Until so many more purges are taken.
    fn until_purged(&self, more: u64) {
        let end = self.taken.load(SeqCst) + more;
        let mut seen = end - more;
        // However long that takes on a busy machine, as long as there are some.
        while seen < end {
            seen = until("purges go on", || self.taken.load(SeqCst), |taken| *taken > seen);
        }
    }
}

fn code(body: &str) -> String {
    let error = serde_json::from_str::<Value>(body).unwrap_or_default();
    error["error"]["code"].as_str().unwrap_or_default().to_owned()
}

/// A GET on a connection that is kept.
fn got(
    connection: &mut Option<BufReader<TcpStream>>,
    at: SocketAddr,
    key: usize,
) -> std::io::Result<(u16, String)> {
    let stream = match connection.take() {
        Some(stream) => connection.insert(stream),
        None => {
            let stream = TcpStream::connect_timeout(&at, Duration::from_secs(1))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.set_nodelay(true)?;
            connection.insert(BufReader::new(stream))
        }
    };
    stream
        .get_mut()
        .write_all(format!("GET /k{key} HTTP/1.1\r\nHost: example.com\r\n\r\n").as_bytes())?;
    let broken = || std::io::Error::other("no answer");
    let (mut line, mut status, mut length) = (String::new(), 0, 0);
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(broken());
        }
        if status == 0 {
            status =
                line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
        } else if line == "\r\n" {
            break;
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(|_| broken())?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// All that can be hit.
struct Targets<'a> {
    etcd: &'a mut Etcd,
    shared: &'a mut Shared,
    /// From each process of control to each member of etcd.
    to_etcd: &'a [Vec<Line>],
    nodes: &'a [Node],
}

impl Targets<'_> {
    /// One attack, to the end at which all is back; its name.
    fn hit(&mut self, dice: &mut Dice) -> &'static str {
        let writer = self.shared.writer();
        let node = &self.nodes[dice.below(self.nodes.len())];
        let short = Duration::from_millis(200 + dice.below(3000) as u64);
        match dice.below(11) {
            0 => {
                self.shared.kill(writer);
                std::thread::sleep(short);
                self.shared.start_again(writer);
                "the writer is killed"
            }
            1 => {
                self.shared.weir(writer).signal(Signal::STOP);
                std::thread::sleep(short);
                self.shared.weir(writer).signal(Signal::CONT);
                "the writer is paused"
            }
            2 => {
                let leader = self.etcd.leader();
                self.etcd.kill(leader);
                std::thread::sleep(short);
                self.etcd.start_member(leader);
                "etcd's leader is killed"
            }
            3 => {
                let leader = self.etcd.leader();
                self.etcd.kill(leader);
                self.shared.kill(writer);
                self.etcd.start_member(leader);
                self.shared.start_again(writer);
                "the writer and etcd's leader are killed"
            }
            4 => {
                let leader = self.etcd.leader();
                self.etcd.signal(leader, Signal::STOP);
                std::thread::sleep(short);
                self.etcd.signal(leader, Signal::CONT);
                "etcd's leader is paused"
            }
            5 => {
                self.to_etcd[writer].iter().for_each(Line::hold);
                std::thread::sleep(short);
                self.to_etcd[writer].iter().for_each(Line::let_go);
                "nothing passes between the writer and etcd"
            }
            6 => {
                self.to_etcd[writer].iter().for_each(Line::cut);
                std::thread::sleep(short);
                self.to_etcd[writer].iter().for_each(Line::mend);
                "the writer is cut off from etcd"
            }
            7 => {
                for _ in 0..15 {
                    self.to_etcd.iter().flatten().for_each(Line::hold);
                    std::thread::sleep(Duration::from_millis(120));
                    self.to_etcd.iter().flatten().for_each(Line::let_go);
                    std::thread::sleep(Duration::from_millis(40));
                }
                "etcd is slow"
            }
            8 => {
                node.kill();
                std::thread::sleep(short);
                node.run();
                "a node is killed"
            }
            9 => {
                node.signal(Signal::STOP);
                std::thread::sleep(short);
                node.signal(Signal::CONT);
                "a node is paused"
            }
            _ => {
                node.lines.iter().for_each(Line::cut);
                std::thread::sleep(short);
                node.lines.iter().for_each(Line::mend);
                "a node is cut off from control"
            }
        }
    }
}

fn wanted_reads() -> u64 {
    std::env::var("WEIR_READS").ok().and_then(|reads| reads.parse().ok()).unwrap_or(20_000)
}

/// The references of all entries, from the first on, once all of them are completed.
fn log(shared: &Shared) -> Vec<String> {
    let page = |after: u64| {
        let line = format!("GET /v1/purges?limit={PAGE}&after={after}");
        let list = || call(shared.at(shared.writer()), &line, "").ok().map(|answer| answer.json());
        let complete = |page: &Option<Value>| {
            let purges = page.as_ref().and_then(|page| page["purges"].as_array());
            purges.is_some_and(|purges| purges.iter().all(|purge| purge["status"] == "completed"))
        };
        until("all purges are completed", list, complete).expect("just seen")["purges"].clone()
    };
    let (mut references, mut after) = (Vec::new(), 0);
    loop {
        let page = page(after);
        let purges = page.as_array().expect("a list");
        for purge in purges {
            after = purge["seq"].as_u64().expect("a seq");
            assert_eq!(after, references.len() as u64 + 1, "a gap");
            references.push(purge["reference"].as_str().expect("a reference").to_owned());
        }
        if purges.len() < PAGE {
            return references;
        }
    }
}

/// Attacks `edges`, and whatever is behind them, until enough was read.
fn attack(
    etcd: &mut Etcd,
    shared: &mut Shared,
    to_etcd: &[Vec<Line>],
    nodes: &[Node],
    edges: usize,
    origin: &Origin,
) {
    let mut dice = Dice::seeded();
    let scene = Scene::new((0..3).map(|number| shared.at(number)).collect(), origin);
    for key in 0..KEYS {
        origin.route(&format!("/k{key}"), reply("0").max_age(600));
    }
    let log_id = |shared: &Shared| {
        let stats = || {
            call(shared.at(shared.writer()), "GET /v1/stats", "")
                .ok()
                .filter(|answer| answer.status == 200)
        };
        until("control tells of itself", stats, Option::is_some).expect("just seen").json()["log"]["id"].clone()
    };
    let before = log_id(shared);
    let mut hits = Vec::new();
    std::thread::scope(|scope| {
        let scene = &scene;
        for key in 0..KEYS {
            let dice = Dice(key as u64 + 1);
            scope.spawn(move || scene.change(key, dice));
        }
        scope.spawn(|| scene.look(Dice(91)));
        scope.spawn(|| scene.storm("storm", 50, 0));
        for (node, number) in nodes[..edges].iter().zip(200..) {
            scope.spawn(move || scene.read(node, Dice(number)));
        }
        // Whoever fails here ends the others, too.
        let _end = Ended(&scene.ended);
        let mut targets = Targets { etcd, shared, to_etcd, nodes };
        while hits.len() < LEAST_ATTACKS || scene.reads.load(SeqCst) < wanted_reads() {
            hits.push(targets.hit(&mut dice));
            scene.until_purged(5);
            assert!(
                scene.wrong.lock().is_ok_and(|wrong| wrong.is_empty()),
                "{:?}: {:#?}",
                hits,
                scene.wrong
            );
        }
        // The keys are purged once more with all of it there.
        scene.until_purged(KEYS as u64 * 3);
    });
    let wrong = scene.wrong.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(wrong.is_empty(), "{hits:?}: {wrong:#?}");
    let references = log(shared);
    let history = scene.history();
    let unknown = history.purges.iter().filter(|purge| purge.end == End::Unknown).count();
    let refused = history.purges.iter().filter(|purge| purge.end == End::Refused).count();
    println!(
        "{} attacks, {} reads checked, {} failed; {} entries by {} calls, {refused} refused, {unknown} unknown; {} looks",
        hits.len(),
        scene.reads.load(SeqCst),
        scene.failed_reads.load(SeqCst),
        references.len(),
        history.purges.len(),
        history.looks.len()
    );
    assert_eq!(history.check(&references), Ok(()), "{hits:?}");
    assert_eq!(before, log_id(shared), "the log has begun a new life: {hits:?}");
}

struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Three processes of control, each with lines of its own to three members of etcd.
fn controls(name: &str, etcd: &Etcd) -> (Shared, Vec<Vec<Line>>) {
    let to_etcd: Vec<Vec<_>> =
        (0..3).map(|_| (0..3).map(|member| Line::to(etcd.at(member))).collect()).collect();
    let endpoints: Vec<_> = to_etcd
        .iter()
        .map(|lines| {
            let urls: Vec<_> =
                lines.iter().map(|line| format!("\"http://{}\"", line.at())).collect();
            format!("[{}]", urls.join(", "))
        })
        .collect();
    (Shared::start_at(name, &endpoints, "retention = 1000000"), to_etcd)
}

#[tokio::test(flavor = "multi_thread")]
async fn three_edges_behind_two_parents_serve_nothing_purged_and_callers_see_one_log() {
    if !Etcd::is_installed() {
        return;
    }
    let mut etcd = Etcd::start("volume-tiers", 3);
    let (mut shared, to_etcd) = controls("volume-tiers", &etcd);
    let origin = Origin::start().await;
    let start = |name: String, tables: &str| {
        Node::start(&format!("volume-{name}"), &shared, 3, tables, &origin.url())
    };
    let parents: Vec<_> = (0..2).map(|number| start(format!("parent-{number}"), "")).collect();
    // A parent has its place while it starts again elsewhere.
    let ways: Vec<_> = parents.iter().map(|parent| Line::to(parent.at())).collect();
    let urls: Vec<_> = ways.iter().map(|way| format!("\"http://{}\"", way.at())).collect();
    let tables = format!("[parents]\nurls = [{}]", urls.join(", "));
    let mut nodes: Vec<_> = (0..3).map(|number| start(format!("edge-{number}"), &tables)).collect();
    nodes.extend(parents);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(SeqCst) {
                ways.iter().zip(&nodes[3..]).for_each(|(way, parent)| way.lead_to(parent.at()));
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let _end = Ended(&ended);
        attack(&mut etcd, &mut shared, &to_etcd, &nodes, 3, &origin);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_edges_serve_nothing_purged_and_callers_see_one_log() {
    if !Etcd::is_installed() {
        return;
    }
    let mut etcd = Etcd::start("volume-edges", 3);
    let (mut shared, to_etcd) = controls("volume-edges", &etcd);
    let origin = Origin::start().await;
    let nodes: Vec<_> = (0..8)
        .map(|number| Node::start(&format!("volume-e{number}"), &shared, 3, "", &origin.url()))
        .collect();
    attack(&mut etcd, &mut shared, &to_etcd, &nodes, 8, &origin);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_killed_under_a_hundred_purges_a_second_is_soon_replaced() {
    if !Etcd::is_installed() {
        return;
    }
    let etcd = Etcd::start("storm", 3);
    let mut shared = Shared::start_at(
        "storm",
        &[etcd.endpoints(), etcd.endpoints(), etcd.endpoints()],
        "retention = 1000000",
    );
    let origin = Origin::start().await;
    let _nodes =
        ["one", "two"].map(|name| shared.node(&format!("storm-{name}"), &origin.url(), &[0, 1, 2]));
    for round in ["first", "second"] {
        let (writer, standby) = (shared.writer(), shared.standby());
        let scene = Scene::new((0..3).map(|number| shared.at(number)).collect(), &origin);
        let longest = std::thread::scope(|scope| {
            let storming = scope.spawn(|| scene.storm(round, 100, standby));
            let _end = Ended(&scene.ended);
            scene.until_purged(100);
            shared.kill(writer);
            scene.until_purged(200);
            drop(_end);
            storming.join().expect("it ends")
        });
        println!(
            "without an answer for {} ms at most, as the writer was killed",
            longest.as_millis()
        );
        assert!(longest < LOADED, "{longest:?}");
        shared.start_again(writer);
        shared.writer();
    }
}
