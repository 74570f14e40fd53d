//! `weir simulate`, run as users run it: what it prints of logs, of weir's own among them.

mod program;
mod support;

use program::{TextFile, Weir, run};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::io::Write as _;
use support::*;

/// A log in the combined format: `requests` for the path that `path` says, of 10 clients.
fn log(name: &str, requests: u64, path: impl Fn(u64) -> (String, u64)) -> TextFile {
    let mut lines = String::new();
    for at in 0..requests {
        let (path, bytes) = path(at);
        let (second, client) = (at % 60, mixed(!at) % 10);
        writeln!(
            lines,
            "10.0.0.{client} - - [29/Nov/2026:10:{:02}:{second:02} +0000] \"GET {path} HTTP/1.1\" 200 \
             {bytes} \"-\" \"test\"",
            at / 60 % 60
        )
        .expect("a String takes all");
    }
    TextFile::new(name, &lines)
}

fn json(arguments: &[&str]) -> Value {
    let ran = run(&[&["simulate", "--json"], arguments].concat(), &[]);
    assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""), "{arguments:?}");
    serde_json::from_str(&ran.out).expect("JSON")
}

fn hit_ratio(of: &Value) -> f64 {
    of["hit_ratio"]["value"].as_f64().expect("a number")
}

/// A number whose bits all depend on all bits of this one.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^ (mixed >> 27)
}

/// Of `urls` URLs, those with small numbers most often (Zipf's law, exponent 1).
fn popular(at: u64, urls: u64) -> u64 {
    let share = mixed(at) as f64 / 2f64.powi(64);
    ((urls as f64).powf(share) as u64).min(urls) - 1
}

#[test]
fn a_log_that_fits_is_missed_once_for_each_url() {
    let log = log("fits.log", 1_000, |at| (format!("/page/{}", at % 20), 5_000));
    let all = json(&["--log", log.path(), "--memory", "64MiB"]);
    assert_eq!((&all["requests"], &all["urls"]), (&1_000.into(), &20.into()), "{all}");
    let size = &all["sizes"][0];
    assert_eq!(hit_ratio(size), 0.98, "{all}");
    assert_eq!(size["origin_requests"]["value"], 20.0);
    assert_eq!(size["origin_bytes"]["value"], 100_000.0);
    assert_eq!(size["hit_ratio"]["error"], 0.0, "nothing was left out");
    // Ten clients at four edges: each edge fetches for itself, or from its parent.
    let alone = json(&["--log", log.path(), "--memory", "64MiB", "--edges", "4"]);
    let tiers = json(&["--log", log.path(), "--memory", "64MiB", "--edges", "4", "--parents", "2"]);
    let origin =
        |of: &Value| of["sizes"][0]["origin_requests"]["value"].as_f64().expect("a number");
    assert!(origin(&alone) > 20.0, "{alone}");
    assert_eq!(origin(&tiers), 20.0, "{tiers}");
    assert_eq!(tiers["sizes"][0]["parent_requests"]["value"], origin(&alone), "{tiers}");
}

#[test]
fn a_sample_is_named_with_its_error_and_a_ttl_makes_misses() {
    let log = log("sampled.log", 3_000, |at| (format!("/{}", popular(at, 1_000)), 1_000));
    let of = |more: &[&str]| {
        json(&[&["--log", log.path(), "--memory", "64MiB", "--skip", "/0"], more].concat())
    };
    let (full, fresh) = (of(&[]), of(&["--ttl", "10s"]));
    assert!(full["passed"].as_u64() > Some(100), "those that were skipped: {full}");
    assert!(hit_ratio(&fresh["sizes"][0]) + 0.1 < hit_ratio(&full["sizes"][0]), "{fresh} {full}");
    // A bound on the URLs chooses the share; the smallest store must still be one.
    let sampled = of(&["--urls", "300"]);
    let rate = sampled["sample"].as_f64().expect("a number");
    assert!((0.2..0.5).contains(&rate), "{rate} of the URLs");
    assert!(sampled["sizes"][0]["hit_ratio"]["error"].as_f64() > Some(0.0), "{sampled}");
    let words = ["simulate", "--log", log.path(), "--memory", "64MiB", "--sample", "0.5"];
    let words = run(&words, &[]).out;
    assert!(words.contains("\n50.000 % of the URLs were simulated; ± is for 95 % confidence\n"));
    assert!(words.contains(" % ± "), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_node_has_as_many_misses_as_the_node_had() {
    let origin = Origin::start().await;
    let written = TextFile::new("own.log", "");
    let config = format!("[log]\naccess = \"json\"\npath = {:?}\n", written.path());
    let config = TextFile::new("own.toml", &config);
    let node = Weir::serve(&["--origin", &origin.url(), "--config", config.path()]);
    let pages: Vec<_> = (0..300).map(|at| format!("/page/{}", popular(at, 50))).collect();
    for page in &pages {
        origin.route(page, reply(page.clone()).max_age(600));
    }
    for page in &pages {
        assert_eq!(node.get(page).status, 200);
    }
    let lines = || std::fs::read_to_string(written.path()).expect("it is there").lines().count();
    until("all requests in the log", lines, |lines| *lines >= 300).await;
    let distinct: BTreeSet<_> = pages.iter().collect();
    let asked: usize = distinct.iter().map(|page| origin.fetches(page)).sum();
    let all = json(&["--log", written.path(), "--memory", "64MiB"]);
    assert_eq!(all["sizes"][0]["origin_requests"]["value"], asked as f64, "{all}");
    assert_eq!((&all["requests"], &all["unknown_lines"]), (&300.into(), &0.into()));
}

#[test]
fn words_and_curves_are_for_people() {
    let log = log("words.log", 1_000, |at| (format!("/{}", at % 50), 10_000));
    let curves = TextFile::new("curves.svg", "");
    let arguments = ["simulate", "--log", log.path(), "--svg", curves.path(), "--disk", "0,1GiB"];
    let ran = run(&arguments, &[]);
    assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""));
    let first = "1,000 requests for 50 URLs, 9.54 MiB; 0 other requests left out\n";
    assert!(ran.out.starts_with(first), "{}", ran.out);
    for row in ["memory  disk", "64MiB     -  95.0 %", "  4GiB  1GiB  95.0 %", "███"] {
        assert!(ran.out.contains(row), "{row}: {}", ran.out);
    }
    let svg = std::fs::read_to_string(curves.path()).expect("the file is there");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert_eq!(svg.matches("<polyline").count(), 2, "one for each disk");
    assert_eq!(svg.matches("<circle").count(), 8);
}

#[test]
fn gzipped_logs_and_traces_are_read() {
    let trace = "# seconds url bytes\n0 a 100\n1 b 200\n2 a 100\n";
    let plain = TextFile::new("plain.trace", trace);
    let packed = TextFile::new("packed.trace.gz", "");
    let file = std::fs::File::create(packed.path()).expect("a file");
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    encoder.write_all(trace.as_bytes()).expect("a file takes it");
    encoder.finish().expect("a file takes it");
    for file in [&plain, &packed] {
        let all = json(&["--trace", file.path(), "--memory", "64MiB"]);
        assert_eq!(
            (&all["requests"], &all["bytes"], &all["seconds"]),
            (&3.into(), &400.into(), &2.into())
        );
        assert_eq!(all["sizes"][0]["origin_requests"]["value"], 2.0);
    }
}

#[test]
fn what_cannot_be_simulated_is_said() {
    let nothing = TextFile::new("nothing.log", "hello\nworld\n");
    let undated = TextFile::new("undated.trace", "a 1\nb 1\n");
    let many = log("many.log", 3_000, |at| (format!("/{at}"), 10));
    for (arguments, status, why) in [
        (vec!["--log", "/nowhere.log"], 1, "cannot read /nowhere.log"),
        (vec!["--log", "/"], 1, "/ is a directory"),
        (
            vec!["--log", nothing.path()],
            1,
            "has no request that a cache may answer; 2 lines are of no known format",
        ),
        (vec!["--trace", undated.path(), "--ttl", "1m"], 1, "2 of 2 requests have none"),
        (
            vec!["--log", many.path(), "--sample", "1", "--urls", "100"],
            1,
            "more than 100 URLs to simulate",
        ),
        (vec!["--log", many.path(), "--memory", "0"], 2, "--memory"),
        (vec![], 2, "--log"),
    ] {
        let ran = run(&[&["simulate"], &arguments[..]].concat(), &[]);
        assert_eq!(ran.status, Some(status), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(why), "{arguments:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{arguments:?}");
    }
}
