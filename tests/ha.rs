//! Several processes of control over one log in etcd: real processes of both programs.

mod program;

use program::{Answer, Etcd, Line, Shared, Weir, call, until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use weir_origin_sim::{Origin, reply};

/// Nothing listens there.
const NO_ORIGIN: &str = "http://127.0.0.1:9";

/// How long it may take until purges are answered again after the writer was lost.
const HEALED: Duration = Duration::from_secs(3);

/// Of a machine that runs other tests beside this one.
const LOADED: Duration = Duration::from_secs(15);

fn states(purge: &Value) -> Vec<(&str, &str)> {
    let nodes = purge["nodes"].as_array().expect("a list");
    nodes
        .iter()
        .filter_map(|node| Some((node["name"].as_str()?, node["state"].as_str()?)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_at_any_control_reaches_nodes_that_are_connected_to_any() {
    if !Etcd::is_installed() {
        return;
    }
    let etcd = Etcd::start("any", 1);
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    let shared = Shared::start("any", &etcd, 3);
    let nodes = [0, 1, 2].map(|at| shared.node(&format!("n{at}"), &origin.url(), &[at]));
    for at in [0, 1, 2] {
        for node in &nodes {
            node.until_ready();
            assert_eq!(node.get("/a").body, "hello");
        }
        let before = origin.fetches("/a");
        let answer = shared.purge(at, &json!({"paths": ["/a"], "wait_ms": 10_000}));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let purge = answer.json();
        assert_eq!(states(&purge), [("n0", "applied"), ("n1", "applied"), ("n2", "applied")]);
        assert_eq!(purge["seq"], at + 1);
        assert_eq!(origin.fetches("/a"), before);
    }
    // What a purge matched is counted after it is answered.
    let are_counted = |listed: &Vec<Value>| listed.iter().all(|purge| purge["matched"].is_u64());
    let listed = until("all are counted", || shared.listed(0), are_counted);
    assert_eq!(listed.len(), 3);
    assert_eq!((&listed, &listed), (&shared.listed(1), &shared.listed(2)));
}

#[test]
fn a_writer_that_is_killed_is_replaced_and_nothing_is_lost() {
    if !Etcd::is_installed() {
        return;
    }
    let etcd = Etcd::start("killed", 1);
    let mut shared = Shared::start("killed", &etcd, 3);
    let _nodes = ["one", "two"].map(|name| shared.node(name, NO_ORIGIN, &[0, 1, 2]));
    let order = json!({"paths": ["/a"], "reference": "first", "wait_ms": 10_000});
    let first = shared.purge(shared.writer(), &order);
    assert_eq!(first.status, 200, "{}", first.body);
    for round in 0..2 {
        let (writer, standby) = (shared.writer(), shared.standby());
        shared.kill(writer);
        let began = Instant::now();
        let order = json!({"paths": ["/b"], "reference": format!("b{round}"), "wait_ms": 0});
        let (purge, refused) = shared.purge_until_taken(standby, &order);
        let took = began.elapsed();
        println!(
            "answered {} ms after the writer was killed, refused {refused} times",
            took.as_millis()
        );
        assert!(took < LOADED, "{took:?}");
        shared.until_completed(standby, &purge["id"]);
        shared.start_again(writer);
    }
    // The same order is the same purge, at another writer too.
    let again = shared.purge(shared.standby(), &order).json();
    assert_eq!(again["id"], first.json()["id"]);
    let other = json!({"paths": ["/other"], "reference": "first"});
    assert_eq!(shared.purge(shared.standby(), &other).status, 409);
    assert_eq!(shared.listed(shared.writer()).len(), 3);
}

/// Edges that follow control through their parent lose it with the writer, and join again.
#[tokio::test(flavor = "multi_thread")]
async fn edges_behind_a_relay_miss_no_purge_while_the_writer_changes() {
    if !Etcd::is_installed() {
        return;
    }
    let etcd = Etcd::start("relayed", 1);
    let origin = Origin::start().await;
    let mut shared = Shared::start("relayed", &etcd, 3);
    let parent = shared.parent("parent", &origin.url(), &[0, 1, 2]);
    let through = format!("via = \"parents\"\n[parents]\nurls = [\"http://{}\"]\n", parent.listen);
    // Each tries another process first.
    let edges = [[1, 2, 0], [2, 0, 1]]
        .map(|order| shared.node_with(&format!("e{}", order[0]), &origin.url(), &order, &through));
    for round in 0..3 {
        for edge in &edges {
            let is_behind = |told: &Answer| told.body.contains("\nweir_control_through_relay 1\n");
            until("the edge follows its parent", || edge.json("GET /metrics", ""), is_behind);
        }
        let body = format!("version {round}");
        origin.route("/a", reply(body.clone()).max_age(600));
        let standby = shared.standby();
        let killed = (round > 0).then(|| shared.writer());
        if let Some(writer) = killed {
            shared.kill(writer);
        }
        let order = json!({"paths": ["/a"], "reference": body, "wait_ms": 0});
        let (purge, _) = shared.purge_until_taken(standby, &order);
        let purge = shared.until_completed(standby, &purge["id"]);
        assert_eq!(states(&purge).len(), 3, "{purge}");
        for edge in &edges {
            assert_eq!(edge.get("/a").body, body, "{purge}");
        }
        if let Some(writer) = killed {
            shared.start_again(writer);
        }
    }
}

/// The writer's last transaction is in etcd, and the writer never learns of it.
#[test]
fn a_writer_that_is_killed_between_etcds_commit_and_its_answer_lost_and_doubled_nothing() {
    if !Etcd::is_installed() {
        return;
    }
    let etcd = Etcd::start("unanswered", 1);
    let lines = [0, 1].map(|_| Line::to(etcd.at(0)));
    let endpoints = lines.each_ref().map(|line| format!("[\"http://{}\"]", line.at()));
    let mut shared = Shared::start_at("unanswered", &endpoints, "");
    let (writer, standby) = (shared.writer(), shared.standby());
    let _node = shared.node("one", NO_ORIGIN, &[standby, writer]);
    let first = json!({"paths": ["/a"], "reference": "first", "wait_ms": 10_000});
    assert_eq!(shared.purge(writer, &first).status, 200);
    let batches = etcd.batches();
    lines[writer].hold_answers();
    let order = json!({"paths": ["/b"], "reference": "unanswered", "wait_ms": 0});
    let (at, body) = (shared.at(writer), order.to_string());
    let unanswered = std::thread::spawn(move || call(at, "POST /v1/purges", &body));
    until("etcd has committed it", || etcd.batches(), |now| *now > batches);
    shared.kill(writer);
    assert!(unanswered.join().expect("it ends").is_err(), "nobody was told of it");
    lines[writer].cut();
    // Its caller asks again, elsewhere: it is the same purge, and there once.
    let (purge, _) = shared.purge_until_taken(standby, &order);
    assert_eq!(purge["seq"], 2, "{purge}");
    assert_eq!(states(&shared.until_completed(standby, &purge["id"])), [("one", "applied")]);
    let references = |listed: &[Value]| {
        listed.iter().map(|purge| purge["reference"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(references(&shared.listed(standby)), ["first", "unanswered"]);
    lines[writer].let_go();
    lines[writer].mend();
    shared.start_again(writer);
    assert_eq!(shared.listed(writer), shared.listed(standby));
}

#[test]
fn a_writer_that_was_paused_appends_and_answers_nothing() {
    if !Etcd::is_installed() {
        return;
    }
    let etcd = Etcd::start("paused", 1);
    let shared = Shared::start("paused", &etcd, 2);
    let (writer, standby) = (shared.writer(), shared.standby());
    let _node = shared.node("one", NO_ORIGIN, &[standby, writer]);
    shared.weir(writer).signal(Signal::STOP);
    let (purge, _) = shared.purge_until_taken(standby, &json!({"paths": ["/a"], "wait_ms": 0}));
    assert!(shared.is_writer(standby));
    shared.until_completed(standby, &purge["id"]);
    // What it is asked while it is paused waits in its queue, and is the first that it sees.
    let at = shared.at(writer);
    let order = json!({"paths": ["/late"], "wait_ms": 10_000}).to_string();
    let late = std::thread::spawn(move || call(at, "POST /v1/purges", &order));
    let listed = std::thread::spawn(move || call(at, "GET /v1/purges?limit=1000", ""));
    shared.weir(writer).signal(Signal::CONT);
    let late = late.join().expect("it ends").expect("an answer");
    let listed = listed.join().expect("it ends").expect("an answer");
    let standby_lists = shared.listed(standby);
    match late.status {
        // It found out in time, and passed it on.
        200 | 202 => assert_eq!(late.json()["seq"], 2),
        503 => {}
        status => panic!("{status}: {}", late.body),
    }
    if listed.status == 200 {
        let seen = listed.json()["purges"].as_array().expect("a list").len();
        assert!(seen >= 1, "it lists what the other one appended: {}", listed.body);
    }
    assert_eq!(standby_lists[0]["id"], purge["id"]);
    until(
        "the paused one follows",
        || shared.listed(writer) == shared.listed(standby),
        |same| *same,
    );
}

#[test]
fn a_writer_that_is_cut_off_from_etcd_lets_its_nodes_go() {
    if !Etcd::is_installed() {
        return;
    }
    let etcd = Etcd::start("cut", 1);
    let lines = [0, 1].map(|_| Line::to(etcd.at(0)));
    let endpoints = lines.each_ref().map(|line| format!("[\"http://{}\"]", line.at()));
    let shared = Shared::start_at("cut", &endpoints, "");
    let (writer, other) = (shared.writer(), shared.standby());
    let _node = shared.node("one", NO_ORIGIN, &[writer, other]);
    lines[writer].hold();
    // It says nothing about the log any more, before another process may.
    let refused = |answer: &Answer| answer.status == 503 && answer.body.contains("etcd");
    until("it refuses", || shared.call(writer, "GET /v1/purges", ""), refused);
    let (purge, _) = shared.purge_until_taken(other, &json!({"paths": ["/a"], "wait_ms": 0}));
    assert_eq!(states(&shared.until_completed(other, &purge["id"])), [("one", "applied")]);
    lines[writer].let_go();
    until("it follows", || shared.listed(writer) == shared.listed(other), |same| *same);
}

#[test]
fn without_a_quorum_calls_are_refused_with_the_reason_and_served_again_with_one() {
    if !Etcd::is_installed() {
        return;
    }
    let mut etcd = Etcd::start("quorum", 3);
    let shared = Shared::start("quorum", &etcd, 2);
    let _node = shared.node("one", NO_ORIGIN, &[0, 1]);
    let first = shared.purge(0, &json!({"paths": ["/a"], "wait_ms": 10_000}));
    assert_eq!(first.status, 200, "{}", first.body);
    etcd.kill(1);
    etcd.kill(2);
    let began = Instant::now();
    let refused = shared.purge(shared.writer(), &json!({"paths": ["/b"], "wait_ms": 10_000}));
    let took = began.elapsed();
    println!("refused after {} ms: {}", took.as_millis(), refused.body);
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(took < LOADED, "{took:?}");
    // Once nobody can be the writer, at once.
    for at in [0, 1] {
        let ask = || call(shared.at(at), "GET /v1/purges", "").ok();
        until("it refuses", ask, |answer| {
            answer
                .as_ref()
                .is_some_and(|answer| answer.status == 503 && answer.body.contains("etcd at"))
        });
        let began = Instant::now();
        assert_eq!(shared.purge(at, &json!({"paths": ["/b"]})).status, 503);
        assert!(began.elapsed() < LOADED / 3, "{:?}", began.elapsed());
    }
    etcd.start_member(1);
    etcd.start_member(2);
    let (purge, _) = shared.purge_until_taken(0, &json!({"paths": ["/c"], "wait_ms": 0}));
    shared.until_completed(1, &purge["id"]);
}

#[test]
fn a_leader_of_etcd_that_is_killed_is_survived() {
    if !Etcd::is_installed() {
        return;
    }
    let mut etcd = Etcd::start("leader", 3);
    let shared = Shared::start("leader", &etcd, 2);
    let _node = shared.node("one", NO_ORIGIN, &[0, 1]);
    let leader = etcd.leader();
    etcd.kill(leader);
    let began = Instant::now();
    let (purge, refused) = shared.purge_until_taken(0, &json!({"paths": ["/a"], "wait_ms": 0}));
    let took = began.elapsed();
    println!(
        "answered {} ms after etcd's leader was killed, refused {refused} times",
        took.as_millis()
    );
    assert!(took < LOADED + LOADED, "{took:?}");
    shared.until_completed(1, &purge["id"]);
}

#[test]
fn an_etcd_without_room_refuses_purges_with_the_reason() {
    if !Etcd::is_installed() {
        return;
    }
    let etcd = Etcd::start_with("full", 1, &["--quota-backend-bytes", "1000000"]);
    let shared = Shared::start("full", &etcd, 1);
    let order = |number: u32| {
        let paths: Vec<_> = (0..2000).map(|path| format!("/{number}/{path}")).collect();
        shared.purge(0, &json!({"paths": paths, "wait_ms": 0}))
    };
    let refused = (0..100).map(order).find(|answer| answer.status == 503);
    let refused = refused.expect("it is full").json();
    let message = refused["error"]["message"].as_str().expect("a message");
    assert!(message.contains("database space exceeded"), "{message}");
    assert_eq!(refused["error"]["code"], "journal", "nothing was appended");
    assert_eq!(call(shared.at(0), "GET /healthz", "").expect("an answer").status, 200);
}

#[test]
fn an_etcd_that_was_restored_begins_a_new_life_of_the_log() {
    if !Etcd::is_installed() {
        return;
    }
    for (name, token) in [("restored", "another"), ("rolled", "rolled-1")] {
        let mut etcd = Etcd::start(name, 1);
        let shared = Shared::start(name, &etcd, 1);
        let node = shared.node("one", NO_ORIGIN, &[0]);
        let order = |path: &str| json!({"paths": [path], "wait_ms": 10_000});
        let before = shared.purge(0, &order("/a")).json();
        let snapshot = format!("{}/snapshot-{name}", std::env::temp_dir().display());
        etcd.save(&snapshot);
        assert_eq!(shared.purge(0, &order("/b")).status, 200);
        etcd.restore(&snapshot, token);
        std::fs::remove_file(&snapshot).expect("it was saved");
        node.until_line("everything stored before is discarded");
        let (after, _) = shared.purge_until_taken(0, &order("/c"));
        let life = |purge: &Value| {
            purge["id"].as_str().expect("an id").split('-').next().map(str::to_owned)
        };
        assert_ne!(life(&before), life(&after));
        assert_eq!(after["seq"], 2);
    }
}

#[test]
fn a_control_that_stops_makes_way_at_once() {
    if !Etcd::is_installed() {
        return;
    }
    let etcd = Etcd::start("stops", 1);
    let shared = Shared::start("stops", &etcd, 2);
    let (writer, standby) = (shared.writer(), shared.standby());
    shared.weir(writer).signal(Signal::TERM);
    let began = Instant::now();
    until("the other one is the writer", || shared.is_writer(standby), |is_writer| *is_writer);
    println!("the writer after {} ms", began.elapsed().as_millis());
    assert!(began.elapsed() < HEALED, "{:?}", began.elapsed());
}

#[test]
fn a_call_that_was_passed_on_is_judged_by_its_caller_and_its_token() {
    if !Etcd::is_installed() {
        return;
    }
    let etcd = Etcd::start("caller", 1);
    let shared = Shared::start("caller", &etcd, 2);
    let standby: &Weir = shared.weir(shared.standby());
    let bearer = "Bearer wrongwrongwrongwrong";
    let fields =
        [("Host", "control"), ("Authorization", bearer), ("Weir-Passed-On", "x 192.0.2.1:1")];
    assert_eq!(standby.call("GET /v1/nodes", &fields, "").status, 401);
    assert_eq!(standby.call("GET /v1/nothing", &[("Host", "control")], "").status, 404);
    assert_eq!(standby.call("GET /", &[("Host", "control")], "").status, 200, "the page");
}

/// What is done to the processes of control and of etcd, one after the other, while purges are `counted`. Each ends
/// when the others go on without what was hit, and all of it is back.
fn attack(etcd: &mut Etcd, shared: &mut Shared, counted: &AtomicUsize) {
    let go_on = || {
        let before = counted.load(Ordering::Relaxed);
        until("purges go on", || counted.load(Ordering::Relaxed), |now| *now >= before + 10);
    };
    for _ in 0..2 {
        let writer = shared.writer();
        shared.kill(writer);
        shared.writer();
        shared.start_again(writer);
        go_on();

        let writer = shared.writer();
        let others = [(writer + 1) % 3, (writer + 2) % 3];
        shared.weir(writer).signal(Signal::STOP);
        let is_replaced = || others.iter().any(|other| shared.is_writer(*other));
        until("another one is the writer", is_replaced, |is_replaced| *is_replaced);
        shared.weir(writer).signal(Signal::CONT);
        go_on();

        let leader = etcd.leader();
        etcd.kill(leader);
        etcd.leader();
        etcd.start_member(leader);
        etcd.until_healthy();
        go_on();

        // The writer and etcd's leader at once.
        let (writer, leader) = (shared.writer(), etcd.leader());
        shared.kill(writer);
        etcd.kill(leader);
        shared.writer();
        etcd.start_member(leader);
        shared.start_again(writer);
        etcd.until_healthy();
        go_on();

        let standby = shared.standby();
        shared.kill(standby);
        shared.start_again(standby);
        go_on();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_attack_nothing_purged_returns_and_no_purge_is_lost_or_doubled() {
    if !Etcd::is_installed() {
        return;
    }
    let mut etcd = Etcd::start("attack", 3);
    let mut shared = Shared::start("attack", &etcd, 3);
    let origin = Origin::start().await;
    origin.route("/a", reply("0").max_age(600));
    let controls = [0, 1, 2].map(|number| shared.at(number));
    let urls = [[0, 1, 2], [1, 2, 0], [2, 0, 1]];
    let nodes = urls.map(|urls| shared.node(&format!("n{}", urls[0]), &origin.url(), &urls));
    let counted = AtomicUsize::new(0);
    let (versions, reads) = std::thread::scope(|scope| {
        let counted = &counted;
        let (etcd, shared) = (&mut etcd, &mut shared);
        let attacking = scope.spawn(move || attack(etcd, shared, counted));
        let (mut version, mut reads) = (0, 0);
        while !attacking.is_finished() {
            version += 1;
            origin.route("/a", reply(version.to_string()).max_age(600));
            let order = json!({
                "paths": ["/a"], "reference": format!("v{version}"), "wait_ms": 1000,
            });
            let order = order.to_string();
            let purge = || call(controls[version % 3], "POST /v1/purges", &order);
            let completed = |answer: &std::io::Result<Answer>| {
                answer.as_ref().is_ok_and(|answer| answer.status == 200)
            };
            drop(until("the purge is completed", purge, completed));
            for node in &nodes {
                for _ in 0..3 {
                    assert_eq!(node.get("/a").body, version.to_string());
                    reads += 1;
                }
            }
            counted.fetch_add(1, Ordering::Relaxed);
        }
        attacking.join().expect("the attack ends");
        (version, reads)
    });
    let listed = shared.listed(shared.writer());
    let references: Vec<_> = listed.iter().map(|purge| purge["reference"].clone()).collect();
    let expected: Vec<_> =
        (1..=versions.min(1000)).map(|version| json!(format!("v{version}"))).collect();
    assert_eq!(references, expected);
    assert!(listed.iter().all(|purge| purge["status"] == "completed"), "{listed:#?}");
    println!("{versions} purges, {reads} reads");
}
