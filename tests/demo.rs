//! `weir demo`: what it prints to be tried is tried, and does what it says.

mod program;

use program::{PATIENCE, Weir, get, until, within_patience};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Demos have ports of their own, which one test has at a time.
fn alone() -> MutexGuard<'static, ()> {
    static DEMOS: Mutex<()> = Mutex::new(());
    DEMOS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn each_thing_to_try_does_what_it_says() {
    let _alone = alone();
    let (demo, printed) = Weir::demo(&["--traffic", "100/s"]);
    let tries = tries(&printed);
    assert_eq!(tries.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5], "{printed:#?}");
    let tried = |number| tries[&number].iter().map(|line| typed(line)).collect::<Vec<_>>();

    let [miss, hit] = &tried(1)[..] else { panic!("{tries:?}") };
    assert!(miss.contains("edge-eu-west; fwd=uri-miss; fwd-status=200"), "{miss}");
    assert!(
        miss.contains("cache-status: parent-") && miss.matches("stored").count() == 2,
        "{miss}"
    );
    assert!(hit.contains("edge-eu-west; hit"), "{hit}");

    let [explained] = &tried(2)[..] else { panic!("{tries:?}") };
    assert_eq!(lines_with(explained, "node ").len(), 5, "{explained}");
    // At the edge that was asked and at the parent that it asked.
    assert_eq!(lines_with(explained, "state       fresh").len(), 2, "{explained}");

    let [purged, gone, elsewhere] = &tried(3)[..] else { panic!("{tries:?}") };
    assert_eq!(lines_with(purged, "applied in").len(), 5, "{purged}");
    assert_eq!(lines_with(purged, "status  completed").len(), 1, "{purged}");
    assert_eq!(gone.matches("fwd=uri-miss").count(), 2, "{gone}");

    assert!(elsewhere.contains("edge-us-east; fwd=uri-miss"), "{elsewhere}");
    assert!(lines_with(elsewhere, "parent-")[0].contains("; hit"), "{elsewhere}");

    let [address] = &tries[&4][..] else { panic!("{tries:?}") };
    let page = typed(&format!("curl -sf -D - {address}"));
    assert!(
        page.contains("content-type: text/html") && page.contains("<title>weir</title>"),
        "{page}"
    );

    let [top] = &tried(5)[..] else { panic!("{tries:?}") };
    assert!(top.contains("5 of 5 nodes connected"), "{top}");

    let nodes = || {
        let nodes = demo.json("GET /v1/nodes", "").json();
        nodes["nodes"].as_array().expect("a list").clone()
    };
    until("visitors met hits at every node", nodes, |nodes| {
        nodes.iter().filter(|node| node["stats"]["hits"].as_u64() > Some(0)).count() == 5
    });
    let ends = Instant::now();
    demo.signal(Signal::TERM);
    assert_eq!(demo.exit_status(), Some(0));
    assert!(ends.elapsed() < PATIENCE / 2, "it took {:?} to end", ends.elapsed());
}

#[test]
fn where_ports_are_taken_the_system_chooses_others() {
    let _alone = alone();
    let (first, _) = Weir::demo(&["--traffic", "off"]);
    let (second, printed) = Weir::demo(&["--traffic", "off"]);
    let taken = printed.iter().filter(|line| line.ends_with(" is taken)")).count();
    assert_eq!(taken, 7, "{printed:#?}");
    assert!(printed.iter().any(|line| line.starts_with("traffic ") && line.ends_with(" off")));
    for demo in [first, second] {
        assert_eq!(get(demo.listen, "/").status, 200);
        let nodes: Value = demo.json("GET /v1/nodes", "").json();
        assert_eq!(nodes["nodes"].as_array().map(Vec::len), Some(5), "{nodes}");
        demo.signal(Signal::INT);
        assert_eq!(demo.exit_status(), Some(0));
    }
}

/// The commands that are printed to be tried, by the number of what they belong to.
fn tries(printed: &[String]) -> BTreeMap<usize, Vec<String>> {
    let mut tries: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for line in printed {
        let number = line.split_once(". ").and_then(|(number, _)| number.parse().ok());
        match (number, line.strip_prefix("   "), tries.last_entry()) {
            (Some(number), _, _) => drop(tries.insert(number, Vec::new())),
            (None, Some(command), Some(mut last)) => last.get_mut().push(command.to_owned()),
            _ => {}
        }
    }
    tries
}

/// What a command prints that is copied into a shell as it stands.
fn typed(command: &str) -> String {
    let mut sh = Command::new("sh");
    sh.args(["-c", command]).stdin(Stdio::null()).env_remove("WEIR_TOKEN");
    let output = within_patience(move || sh.output()).expect("sh runs");
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn lines_with<'a>(text: &'a str, part: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.contains(part)).collect()
}
