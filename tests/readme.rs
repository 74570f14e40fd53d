//! The README and the guides in docs/, followed as a newcomer would: commands print what is shown.

mod program;

use program::{TextFile, Weir, run, within_patience};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use weir_origin_sim::{Origin, demo_site};

const README: &str = include_str!("../README.md");
const REFERENCE: &str = include_str!("../deploy/node.toml");

/// Where the node of README and guides listens.
const LISTEN: &str = "127.0.0.1:8080";

/// The README's chapter for the demo; where the demo's edge and control listen.
const FIRST_STEPS: &str = "## See it work";
const DEMO_EDGE: &str = "127.0.0.1:7801";
const DEMO_CONTROL: &str = "127.0.0.1:7800";

#[test]
fn the_first_steps_show_what_happens() {
    let (demo, _) = Weir::demo(&["--traffic", "off"]);
    let (edge, control) = (demo.listen.to_string(), demo.admin.to_string());
    let steps: Vec<_> = consoles(first_steps()).collect();
    assert!(steps.len() >= 6, "the README shows {} first steps", steps.len());
    for (command, shown) in steps {
        let typed = command.replace(DEMO_EDGE, &edge).replace(DEMO_CONTROL, &control);
        let (_, printed) = sh(&typed, &demo);
        let printed = printed.replace(&edge, DEMO_EDGE).replace(&control, DEMO_CONTROL);
        assert_eq!(comparable(&either(&printed)), comparable(&either(&shown)), "$ {command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_prints_what_is_shown() {
    let origin = demo_site::add_to(Origin::builder()).start().await;
    let weir = Weir::in_front_of(&origin.url());
    let mut steps = 0;
    for (page, text) in pages() {
        for (command, shown) in consoles(&text.replace(first_steps(), "")) {
            let typed = command.replace(LISTEN, &weir.listen.to_string());
            let (_, printed) = sh(&typed, &weir);
            let printed = printed.replace(&weir.listen.to_string(), LISTEN);
            let at = page.display();
            assert_eq!(comparable(&printed), comparable(&shown), "{at}: $ {command}");
            steps += 1;
        }
    }
    assert!(steps >= 3, "the guides show {steps} commands");
}

#[test]
fn every_command_that_is_shown_is_known() {
    let weir = shop();
    let commands = commands("weir ");
    assert!(commands.len() >= 20, "{commands:?}");
    for command in commands {
        // Arguments are read, and judged one by one, up to --help; nothing is done.
        let (line, _) = command.split_once("  #").unwrap_or((&command, ""));
        let (status, printed) = sh(&format!("{line} --help"), &weir);
        assert_eq!(status, Some(0), "{command}: {printed}");
    }
}

#[test]
fn every_release_that_is_shown_can_be_switched_to() {
    let shop = "[[site]]\nid = \"shop\"\norigins = [\"http://127.0.0.1:9\"]\n\
                [site.release]\nfield = \"X-Release\"\n";
    let config = TextFile::new("readme-release.toml", shop);
    let weir = Weir::serve(&["--config", config.path()]);
    let switches = commands("weir release ");
    assert!(switches.len() >= 5, "{switches:?}");
    for switch in switches {
        let (status, printed) = sh(&switch, &weir);
        assert_eq!(status, Some(0), "{switch}: {printed}");
    }
}

#[test]
fn every_purge_that_is_shown_is_done() {
    let weir = shop();
    let purges = commands("weir purge ");
    assert!(purges.len() >= 10, "{purges:?}");
    for purge in purges {
        let (status, printed) = sh(&purge, &weir);
        assert_eq!(status, Some(0), "{purge}: {printed}");
    }
}

#[test]
fn every_call_for_a_purge_that_is_shown_is_answered() {
    let weir = shop();
    let jobs = blocks("yaml").into_iter().flat_map(|block| scripts(&block));
    let calls: Vec<_> = blocks("sh")
        .into_iter()
        .chain(jobs)
        .filter(|script| script.contains("/v1/purges"))
        .collect();
    assert!(calls.len() >= 4, "{calls:#?}");
    for call in calls {
        let typed = call.replace("http://127.0.0.1:9090", &weir.control());
        let (status, printed) = sh(&typed, &weir);
        assert_eq!(status, Some(0), "{call}: {printed}");
        assert!(printed.contains("\"status\":\"completed\""), "{call}: {printed}");
        assert!(!printed.contains("::warning::"), "{call}: {printed}");
    }
}

#[test]
fn every_key_that_is_shown_is_known() {
    let shown = blocks("toml");
    assert!(shown.len() >= 10, "{}", shown.len());
    for (n, block) in shown.iter().enumerate() {
        let config = TextFile::new(&format!("readme-{n}.toml"), block);
        let ran = run(&["check", config.path()], &[]);
        for mistake in ["not TOML", "unknown key", "not one of", "no such key"] {
            assert!(!ran.err.contains(mistake), "{block}\n{}", ran.err);
        }
    }
}

#[test]
fn the_methods_of_balance_are_listed_once_and_in_full() {
    let site = "[[site]]\norigins = [\"http://a\"]\nbalance = \"none\"\n";
    let config = TextFile::new("readme-balance.toml", site);
    let refused = run(&["check", config.path()], &[]).err;
    let (_, accepted) = refused.split_once("accepted: ").expect("what is accepted");
    let accepted: BTreeSet<_> = accepted.split('"').skip(1).step_by(2).collect();
    assert!(accepted.len() >= 5, "{refused}");
    let (above, _) = REFERENCE.split_once("\n#balance = ").expect("the key");
    let comment = above.rsplit("\n#").take_while(|line| line.starts_with(' '));
    let listed = comment.collect::<Vec<_>>().join("");
    assert_eq!(listed.split('"').skip(1).step_by(2).collect::<BTreeSet<_>>(), accepted);
    for (page, text) in pages() {
        let named =
            accepted.iter().filter(|method| text.contains(&format!("\"{method}\""))).count();
        assert!(named <= 1, "{} lists them too", page.display());
    }
}

#[test]
fn every_guide_is_named_by_the_readme() {
    for (page, _) in pages().into_iter().skip(1) {
        let page = page.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("a page of the project");
        assert!(README.contains(&format!("]({})", page.display())), "{}", page.display());
    }
}

#[test]
fn every_file_that_contributors_are_sent_to_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("CONTRIBUTING.md")).expect("it is there");
    // Between backticks, code blocks aside: `edge/src/config.rs`, `docs/`.
    let prose = text.split("```").step_by(2).collect::<String>();
    let quoted = prose.split('`').skip(1).step_by(2);
    let named: Vec<_> = quoted
        .filter(|word| word.contains('/') && !word.starts_with('/') && !word.contains(' '))
        .collect();
    assert!(named.len() >= 30, "{named:?}");
    for name in named {
        assert!(root.join(name).exists(), "{name}");
    }
}

#[test]
fn every_promise_of_security_has_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("SECURITY.md")).expect("it is there");
    let (_, promises) = text.split_once("\n## What each boundary promises\n").expect("promises");
    let (promises, _) = promises.split_once("\n## ").expect("a chapter after them");
    let rows = promises.lines().filter(|line| line.starts_with("| "));
    let rows: Vec<_> = rows.filter(|line| *line != "| promise | tests |").collect();
    assert!(rows.len() >= 20, "{rows:?}");
    for row in rows {
        let tests = row.split(" | ").nth(1).unwrap_or_default();
        let tests: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test: {row}");
        for test in tests {
            let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("{row}: {test}"));
            let code = std::fs::read_to_string(root.join(file));
            let code = code.unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(tests_of(&code).contains(name), "{test} is no test");
        }
    }
}

/// The names of a file's tests.
fn tests_of(code: &str) -> BTreeSet<&str> {
    let functions = code.split("#[test]\n").skip(1).chain(code.split("#[tokio::test").skip(1));
    functions
        .filter_map(|rest| {
            let (_, name) = rest.split_once("fn ")?;
            name.split('(').next()
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut links = 0;
    for (page, text) in pages() {
        let folder = page.parent().expect("a folder");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { page.clone() } else { folder.join(file) };
            assert!(file.exists(), "{}: {target}", page.display());
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&file).expect("a page");
                assert!(headings(&text).contains(heading), "{}: {target}", page.display());
            }
            links += 1;
        }
    }
    assert!(links >= 20, "{links}");
}

/// A node with one site, `shop`.
fn shop() -> Weir {
    let shop = "[[site]]\nid = \"shop\"\norigins = [\"http://127.0.0.1:9\"]\n";
    let config = TextFile::new("readme-shop.toml", shop);
    Weir::serve(&["--config", config.path()])
}

/// The README, then the guides and what stands beside the README, each with its path.
fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [root.join("docs"), root.join("docs/recipes")];
    let folders = folders.map(|folder| std::fs::read_dir(folder).expect("a folder with guides"));
    let guides = folders.into_iter().flatten().map(|entry| entry.expect("an entry").path());
    let mut guides: Vec<_> =
        guides.filter(|path| path.extension().is_some_and(|kind| kind == "md")).collect();
    guides.sort();
    assert!(guides.len() >= 12, "{guides:?}");
    let beside = ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];
    let beside = beside.map(|name| root.join(name));
    let paths = [root.join("README.md")].into_iter().chain(guides).chain(beside);
    paths
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("it can be read");
            (path, text)
        })
        .collect()
}

/// The headings of a page, as links name them.
fn headings(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            words.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
        })
        .collect()
}

/// The chapter of the README with the first steps.
fn first_steps() -> &'static str {
    let (_, rest) = README.split_once(FIRST_STEPS).expect("a chapter of first steps");
    rest.split_once("\n## ").map_or(rest, |(chapter, _)| chapter)
}

/// The lines of shell blocks that begin so.
fn commands(begin: &str) -> Vec<String> {
    let blocks = blocks("sh");
    let lines = blocks.iter().flat_map(|block| block.lines());
    lines.filter(|line| line.starts_with(begin)).map(str::to_owned).collect()
}

/// The contents of all code blocks in this language.
fn blocks(language: &str) -> Vec<String> {
    pages().iter().flat_map(|(_, text)| blocks_of(text, language)).collect()
}

fn blocks_of(text: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let blocks = text.split(opening.as_str()).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// The scripts in a CI job's YAML: what is indented below a `|`.
fn scripts(yaml: &str) -> Vec<String> {
    let lines: Vec<_> = yaml.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut scripts = Vec::new();
    for (at, opening) in lines.iter().enumerate().filter(|(_, line)| line.ends_with('|')) {
        let below = lines[at + 1..].iter().take_while(|line| indent(line) > indent(opening));
        scripts.push(below.fold(String::new(), |script, line| script + line + "\n"));
    }
    scripts
}

/// The commands of a text's console blocks, each with what is shown below it.
fn consoles(text: &str) -> impl Iterator<Item = (String, String)> {
    blocks_of(text, "console").into_iter().flat_map(|block| steps(&block))
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
        .env("WEIR_TOKEN", "")
        .envs([("GITHUB_SHA", "3f9a1c"), ("CI_COMMIT_SHA", "3f9a1d")])
        .stdin(Stdio::null());
    let output = within_patience(move || sh.output()).expect("sh runs");
    let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
    printed.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.code(), printed)
}

/// With either parent for the other: which one a page belongs to depends on their ports.
fn either(text: &str) -> String {
    text.replace("parent-us", "parent-eu").replace("stored responses", "stored response")
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
