//! `weir control import`: the log of one process of control, moved to etcd, where several share it.

mod program;

use program::{Control, Etcd, Folder, Line, Ran, Shared, TextFile, Weir, run, spawn, until};
use serde_json::{Value, json};
use std::time::Duration;
use weir_origin_sim::{Origin, reply};

/// The configuration of control that shares its log, at these endpoints.
fn config(name: &str, endpoints: &str, prefix: &str) -> TextFile {
    let text = format!(
        "[control]\nlog = \"etcd\"\n[control.etcd]\nendpoints = {endpoints}\nprefix = \"{prefix}\"\n\
         [[token]]\nname = \"me\"\nsecret = \"aaaaaaaaaaaaaaaa\"\nscopes = [\"purge\"]\n"
    );
    TextFile::new(&format!("{name}-import.toml"), &text)
}

fn import(config: &TextFile, data: &str) -> Ran {
    run(&["control", "import", "--config", config.path(), "--json", data], &[])
}

/// A node that tries `control` first, and `then` after it.
fn node(name: &str, origin: &str, control: &str, then: &str) -> Weir {
    let text = format!(
        "[node]\nname = \"{name}\"\nworkers = 1\n[control]\nurl = [\"{control}\", \"{then}\"]\n\
         lease = \"2s\"\ntoken = \"nnnnnnnnnnnnnnnn\"\n[[site]]\nid = \"site\"\norigins = [{origin:?}]\n"
    );
    let config = TextFile::new(&format!("{name}.toml"), &text);
    let node = Weir::serve(&["--config", config.path()]);
    node.until_ready();
    node
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}{}", ran.out, ran.err))
}

fn ids(listed: &[Value]) -> Vec<Value> {
    listed.iter().map(|purge| purge["id"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn purges_nodes_and_what_they_have_stored_move_with_the_log() {
    if !Etcd::is_installed() {
        return;
    }
    let origin = Origin::start().await;
    origin.route("/kept", reply("kept").max_age(600));
    origin.route("/gone", reply("old").max_age(600));
    let etcd = Etcd::start("import", 1);
    let mut control = Control::with("import", "");
    // Where the new control will be reached: nobody listens there before.
    let later = Line::to(etcd.at(0));
    later.cut();
    let node = node("import-one", &origin.url(), &control.url(), &format!("http://{}", later.at()));
    let away = self::node("import-two", &origin.url(), &control.url(), "http://127.0.0.1:9");
    assert_eq!((&*node.get("/kept").body, &*node.get("/gone").body), ("kept", "old"));
    for number in 0..300 {
        let order = json!({"paths": [format!("/{number}")], "reference": format!("r{number}"), "wait_ms": 0});
        assert!([200, 202].contains(&control.call("POST /v1/purges", &order.to_string()).status));
    }
    let order = json!({"paths": ["/gone"], "reference": "gone", "wait_ms": 10_000}).to_string();
    assert_eq!(control.call("POST /v1/purges", &order).status, 200);
    away.kill();
    let all_completed =
        |listed: &Vec<Value>| listed.iter().all(|purge| purge["status"] == "completed");
    let before = until("all are completed", || control.listed(), all_completed);
    // While control runs, nothing is imported.
    let config = config("import", &etcd.endpoints(), "/weir/");
    let refused = import(&config, control.data());
    assert_eq!(refused.status, Some(1));
    assert!(refused.err.contains("another control uses this directory"), "{}", refused.err);
    control.kill();

    let imported = import(&config, control.data());
    assert_eq!(imported.status, Some(0), "{}", imported.err);
    let told = json_of(&imported);
    assert_eq!(
        (&told["head"], &told["nodes"], &told["already"]),
        (&json!(301), &json!(2), &json!(false))
    );
    let shared = Shared::start("import", &etcd, 2);
    later.lead_to(shared.at(shared.standby()));
    later.mend();
    shared.until_state("import-one", "connected");
    // Nothing was discarded, and nothing that was purged is back.
    origin.route("/gone", reply("new").max_age(600));
    let fetches = origin.fetches("/kept");
    assert_eq!((&*node.get("/kept").body, &*node.get("/gone").body), ("kept", "new"));
    assert_eq!(origin.fetches("/kept"), fetches, "it is a hit");
    let after = shared.listed(0);
    assert_eq!(after.len(), 301);
    assert_eq!(ids(&after), ids(&before));
    // The same order is the same purge; the node that is away is waited for.
    let again = shared.call(0, "POST /v1/purges", &order);
    assert_eq!(again.json()["id"], after[300]["id"], "{}", again.body);
    let next = shared.purge(1, &json!({"paths": ["/kept"], "wait_ms": 0})).json();
    assert_eq!((&next["seq"], &next["nodes_total"]), (&json!(302), &json!(2)));

    // A second run does nothing, although control has gone on since.
    let refused = import(&config, control.data());
    assert!(refused.err.contains("is the writer of the log below /weir/"), "{}", refused.err);
    drop(shared);
    let again = import(&config, control.data());
    assert_eq!(json_of(&again)["already"], true);
    let shared = Shared::start("import", &etcd, 1);
    assert_eq!(shared.listed(0).len(), 302);
    // The old control does not go on with what was moved.
    let old = ["control", "--listen", "127.0.0.1:0", "--config", control.config().path()];
    let ran = run(&old, &[]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.err.contains("its log was moved to etcd"), "{}", ran.err);
}

#[test]
fn an_import_that_is_killed_at_any_time_is_run_again() {
    if !Etcd::is_installed() {
        return;
    }
    let etcd = Etcd::start("broken", 1);
    let mut control = Control::with("broken", "");
    let paths = |number: usize| -> Vec<String> {
        (0..1500)
            .map(|path| format!("/{number}/{path}/which-is-not-short-since-it-has-many-letters"))
            .collect()
    };
    for number in 0..60 {
        let order = json!({"paths": paths(number), "wait_ms": 0}).to_string();
        assert_eq!(control.call("POST /v1/purges", &order).status, 200);
    }
    let before = control.listed();
    control.kill();
    let config = config("broken", &etcd.endpoints(), "/weir/");
    let mut killed = 0;
    for after in (0..).map(|round| 15 * round * round) {
        // The one before holds its lease for a while.
        until("nobody is the writer", || etcd.has_writer(), |has| !has);
        let arguments = ["control", "import", "--config", config.path(), control.data()];
        let mut importing = spawn(&arguments);
        until("it is the writer, or has ended", || etcd.has_writer(), |has| *has);
        std::thread::sleep(Duration::from_millis(after));
        if let Some(status) = importing.try_wait().expect("it can be asked") {
            assert!(status.success(), "after {killed} that were killed");
            break;
        }
        importing.kill().expect("it can be killed");
        importing.wait().expect("it can be waited for");
        killed += 1;
    }
    println!("killed {killed} times");
    assert!(killed > 0);
    let again = import(&config, control.data());
    assert_eq!(
        (again.status, &json_of(&again)["already"]),
        (Some(0), &json!(true)),
        "{}",
        again.err
    );
    let shared = Shared::start("broken", &etcd, 1);
    assert_eq!(ids(&shared.listed(0)), ids(&before));
}

#[test]
fn an_import_that_has_not_ended_is_no_log() {
    if !Etcd::is_installed() {
        return;
    }
    let etcd = Etcd::start("begun", 1);
    let mut control = Control::with("begun", "");
    assert_eq!(control.call("POST /v1/purges", "{\"paths\":[\"/a\"]}").status, 200);
    control.kill();
    let line = Line::to(etcd.at(0));
    let config_by_line = config("begun", &format!("[\"http://{}\"]", line.at()), "/weir/");
    etcd.ctl(&[
        "put",
        "/weir/import",
        "{\"log\":\"another\",\"seq\":1,\"mark\":1,\"ended\":false}",
    ]);
    let refused = import(&config_by_line, control.data());
    assert_eq!(refused.status, Some(1));
    assert!(refused.err.contains("imported of another log, another"), "{}", refused.err);
    let shared = Shared::begin("begun", &[etcd.endpoints()], "", "");
    let ready = || shared.call(0, "GET /readyz", "").body;
    let told = until("control says so", ready, |told| told.contains("has not ended"));
    println!("{told}");
    drop(shared);
    etcd.ctl(&["del", "--prefix", "/weir/"]);
    line.cut();
    let refused = import(&config_by_line, control.data());
    assert!(refused.err.contains("etcd at http://"), "{}", refused.err);
    line.mend();
    let imported = import(&config_by_line, control.data());
    assert_eq!(imported.status, Some(0), "{}", imported.err);
}

#[test]
fn what_would_mix_two_logs_is_refused() {
    if !Etcd::is_installed() {
        return;
    }
    let etcd = Etcd::start("mixed", 1);
    let mut control = Control::with("mixed", "");
    let purge = |control: &Control, path: &str| {
        let answer = control.call("POST /v1/purges", &json!({"paths": [path]}).to_string());
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    purge(&control, "/a");
    let refused = |ran: Ran, part: &str| {
        assert_eq!(ran.status, Some(1), "{}", ran.out);
        assert!(ran.err.contains(part), "{}", ran.err);
    };
    control.kill();
    let copy = Folder::new("mixed-copy");
    let file = |directory: &str| format!("{directory}/control.redb");
    std::fs::copy(file(control.data()), file(copy.path())).expect("it can be copied");
    let shared = Shared::start("mixed", &etcd, 1);
    let here = config("mixed", &etcd.endpoints(), "/weir/");
    refused(import(&here, control.data()), "is the writer of the log below /weir/");
    drop(shared);
    // That process had begun a log.
    refused(import(&here, control.data()), "there is a log below /weir/ in etcd already");
    let there = config("mixed", &etcd.endpoints(), "/there/");
    let empty = Folder::new("mixed-empty");
    refused(import(&there, empty.path()), "there is no such file");
    // Nothing of this was done to the old control.
    control.start_again();
    purge(&control, "/b");
    control.kill();
    let told = import(&there, control.data());
    assert_eq!((told.status, &json_of(&told)["head"]), (Some(0), &json!(2)), "{}", told.err);
    refused(import(&there, copy.path()), "it was imported when its last entry was 2, and is 1 now");
    refused(
        import(&config("mixed", &etcd.endpoints(), "/else/"), control.data()),
        "its log was moved to etcd",
    );
    // A copy may be older than what nodes have applied: the log begins a new life.
    let else_where = config("mixed", &etcd.endpoints(), "/copy/");
    let ran = run(&["control", "import", "--config", else_where.path(), copy.path()], &[]);
    assert!(ran.out.contains("gets a new id"), "{}{}", ran.out, ran.err);
    let shared = Shared::begin("mixed", &[etcd.endpoints()], "", "prefix = \"/copy/\"");
    let listed = shared.listed(shared.writer());
    assert_eq!(listed.len(), 1);
    let next = shared.purge(0, &json!({"paths": ["/c"]})).json();
    let life =
        |purge: &Value| purge["id"].as_str().and_then(|id| id.split('-').next().map(str::to_owned));
    assert_ne!(life(&next), life(&listed[0]));
}
