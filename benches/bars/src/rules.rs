//! What the rules of a site cost a hit, in the node's instructions.

use crate::check::Checks;
use crate::counted::Counted;
use crate::memory::script;
use crate::origin::OriginSim;
use crate::program::{Folder, Programs};
use crate::{Error, scaled};
use std::fmt::Write;

/// Hits that are counted, and the least that make what the node does beside them count for little.
const HITS: (u64, u64) = (3_000, 500);
/// Of the instructions of a hit without rules, the most with 50 that do not match. What is aimed at is a part of the
/// processor's time, of which the system takes about half.
const MOST: f64 = 1.1;

const TARGET: &str = "/1k/articles/2026/11/a-page-of-some-length.html";

/// The instructions of a hit at a site without rules, with 50 that do not match, and with 50 of all kinds, two of
/// which match.
pub(crate) async fn run(programs: &Programs, scale: f64, checks: &mut Checks) -> Result<(), Error> {
    let hits = scaled(HITS.0, scale, HITS.1);
    println!("rules: {hits} hits of 1 KB, counted by valgrind");
    let origin = OriginSim::scripted(programs, &script()).await?;
    let mut counted = Vec::new();
    for rules in [String::new(), of_other_paths(), of_all_kinds()] {
        let config = format!(
            "[node]\nworkers = 1\n[log]\nlevel = \"error\"\n[[site]]\norigins = [\"http://{}\"]\n{rules}",
            origin.at
        );
        let folder = Folder::new("rules")?;
        let config = folder.file("node.toml", &config)?;
        let mut node = Counted::start(programs, &config, folder.path()).await?;
        counted.push(node.of_a_hit(TARGET, ("accept", "*/*"), hits).await?);
    }
    let [none, others, all] = counted[..] else { return Err("three sites".into()) };
    checks.note("rules: instructions of a hit without rules", none);
    let of_none = |counted: u64| counted as f64 / none as f64;
    let (name, part) = ("rules: with 50 rules of other paths", of_none(others));
    let figure = format!("{others}, {part:.3} times as many");
    checks.check(name, part <= MOST, figure, format!("at most {MOST} times"));
    checks.note(
        "rules: with 50 of all kinds, two of which match and edit headers",
        format!("{all}, {:.3} times as many", of_none(all)),
    );
    Ok(())
}

/// 50 rules, none of which is of the page.
fn of_other_paths() -> String {
    let folders = (0..25).map(|n| (format!("/section-{n}/*"), "ttl = \"1h\""));
    let types = (0..10).map(|n| (format!("*.type-{n}"), "browser_ttl = \"1h\""));
    let pages = (0..10).map(|n| (format!("/page-{n}"), "redirect = { to = \"/\" }"));
    let both = (0..5).map(|n| (format!("/1k/*.part-{n}"), "bypass = true"));
    table(
        folders
            .chain(types)
            .chain(pages)
            .chain(both)
            .map(|(path, sets)| format!("match = {{ path = [\"{path}\"] }}\n{sets}")),
    )
}

/// 50 rules, of which the last two match.
fn of_all_kinds() -> String {
    let folders = (0..15).map(|n| format!("path = [\"/section-{n}/*\"]"));
    let types = (0..10).map(|n| format!("path = [\"*.type-{n}\", \"/1k/*.part-{n}\"]"));
    let pages = (0..10).map(|n| format!("path = [\"/page-{n}\"]"));
    let methods =
        (0..5).map(|n| format!("path = [\"/1k/*\"], method = [\"POST\"], query = [\"a{n}\"]"));
    let devices = (0..5).map(|n| format!("header = {{ X-Device-{n} = \"mobile*\" }}"));
    let cookies = (0..3).map(|n| format!("cookie = [\"session-{n}\"]"));
    let others = folders.chain(types).chain(pages).chain(methods).chain(devices).chain(cookies);
    let others = others.map(|conditions| format!("match = {{ {conditions} }}\nttl = \"1h\""));
    let matching = [
        "match = { path = [\"/1k/*\"] }\nttl = \"1h\"",
        "response_headers = { set = { X-Content-Type-Options = \"nosniff\" } }",
    ];
    table(others.chain(matching.map(str::to_owned)))
}

fn table(rules: impl Iterator<Item = String>) -> String {
    rules.enumerate().fold(String::new(), |mut table, (n, rule)| {
        // Writing to a String cannot fail.
        let _ = write!(table, "[[site.rule]]\nname = \"r{n}\"\n{rule}\n");
        table
    })
}
