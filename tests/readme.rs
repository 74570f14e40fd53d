//! The README, followed as a newcomer would: what it shows is what happens.

mod program;

use program::{TextFile, Weir, run, within_patience};
use std::path::Path;
use std::process::{Command, Stdio};
use weir_origin_sim::{Origin, demo_site};

const README: &str = include_str!("../README.md");

/// Where the README's node listens.
const LISTEN: &str = "127.0.0.1:8080";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_prints_what_is_shown() {
    let origin = demo_site::add_to(Origin::builder()).start().await;
    let weir = Weir::in_front_of(&origin.url());
    let steps: Vec<_> = blocks("console").iter().flat_map(|block| steps(block)).collect();
    assert!(steps.len() >= 8, "the README shows {} commands", steps.len());
    for (command, shown) in steps {
        let typed = command.replace(LISTEN, &weir.listen.to_string());
        let (_, printed) = sh(&typed, &weir);
        let printed = printed.replace(&weir.listen.to_string(), LISTEN);
        assert_eq!(comparable(&printed), comparable(&shown), "$ {command}");
    }
}

#[test]
fn every_purge_that_is_shown_is_done() {
    let shop = "[[site]]\nid = \"shop\"\norigins = [\"http://127.0.0.1:9\"]\n";
    let config = TextFile::new("readme-shop.toml", shop);
    let weir = Weir::serve(&["--config", config.path()]);
    let shown = blocks("sh");
    let lines = shown.iter().flat_map(|block| block.lines());
    let purges: Vec<_> = lines.filter(|line| line.starts_with("weir purge ")).collect();
    assert!(purges.len() >= 10, "{purges:?}");
    for purge in purges {
        let (status, printed) = sh(purge, &weir);
        assert_eq!(status, Some(0), "{purge}: {printed}");
    }
}

#[test]
fn every_key_that_is_shown_is_known() {
    let shown = blocks("toml");
    assert!(shown.len() >= 3);
    for (n, block) in shown.iter().enumerate() {
        let config = TextFile::new(&format!("readme-{n}.toml"), block);
        let ran = run(&["check", config.path()], &[]);
        for mistake in ["not TOML", "unknown key", "not one of", "no such key"] {
            assert!(!ran.err.contains(mistake), "{block}\n{}", ran.err);
        }
    }
}

#[test]
fn every_file_that_is_linked_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let targets = README.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files: Vec<_> = targets.filter(|target| !target.starts_with('#')).collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        assert!(root.join(file).exists(), "{file}");
    }
}

/// The contents of the README's code blocks in this language.
fn blocks(language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let blocks = README.split(opening.as_str()).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// Commands, each with what is shown below it.
fn steps(block: &str) -> Vec<(String, String)> {
    let mut steps: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push((command.to_owned(), String::new())),
            (None, Some((_, shown))) => shown.extend([line, "\n"]),
            (None, None) => panic!("{line:?} is shown before any command"),
        }
    }
    steps
}

/// Runs a command as it stands there, with `weir` being the program under test.
fn sh(command: &str, weir: &Weir) -> (Option<i32>, String) {
    let folder = Path::new(env!("CARGO_BIN_EXE_weir")).parent().expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut sh = Command::new("sh");
    sh.args(["-c", command])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PATH", format!("{}:{path}", folder.display()))
        .env("WEIR_CONTROL", weir.control())
        .env_remove("WEIR_TOKEN")
        .stdin(Stdio::null());
    let output = within_patience(move || sh.output()).expect("sh runs");
    let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
    printed.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.code(), printed)
}

/// Without what differs from run to run: numbers, ids of purges, line ends of HTTP.
fn comparable(text: &str) -> Vec<String> {
    text.lines().map(|line| words(line.trim_end())).collect()
}

fn words(line: &str) -> String {
    if line.starts_with("purge   ") {
        return "purge   ID".to_owned();
    }
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        out.push_str(&rest[..at]);
        out.push('0');
        let number = |text: &'_ str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        rest = &rest[at..];
        rest = &rest[number(rest)..];
        if let Some(fraction) = rest.strip_prefix('.').filter(|fraction| number(fraction) > 0) {
            rest = &fraction[number(fraction)..];
        }
    }
    out + rest
}
