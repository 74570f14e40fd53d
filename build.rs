//! Tells the program what `weir --version` shows: the commit, the cargo features and the target.

use std::env;
use std::path::Path;
use std::process::Command;

/// Longest WEIR_COMMIT that is accepted, bytes.
const LONGEST_COMMIT: usize = 64;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=WEIR_COMMIT");
    // Where git is asked, all that is built of this package is built again after each commit: with tests, that takes
    // minutes.
    let is_debug = env::var("PROFILE").is_ok_and(|profile| profile == "debug");
    let commit = match env::var("WEIR_COMMIT") {
        Ok(commit) if !commit.is_empty() => Some(given(&commit)),
        _ if is_debug => None,
        _ => of_git(),
    };
    let commit = commit.unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=WEIR_COMMIT={commit}");
    println!("cargo::rustc-env=WEIR_FEATURES={}", features());
    println!("cargo::rustc-env=WEIR_TARGET={}", target());
}

/// The commit that whoever builds names, where git cannot tell it.
fn given(commit: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.+~".contains(c);
    assert!(
        commit.len() <= LONGEST_COMMIT && commit.chars().all(fits),
        "WEIR_COMMIT = {commit:?}: not a commit; accepted: at most {LONGEST_COMMIT} letters, digits and -_.+~"
    );
    commit.to_owned()
}

/// The commit that is checked out, if this directory is the top of a git repository, and git is here.
fn of_git() -> Option<String> {
    let here = env::var("CARGO_MANIFEST_DIR").ok()?;
    let top = git(&here, &["rev-parse", "--show-toplevel"])?;
    // The sources may lie in a repository of somebody else's.
    if Path::new(&top).canonicalize().ok()? != Path::new(&here).canonicalize().ok()? {
        return None;
    }
    // Each commit and each checkout adds a line there.
    let log = git(&here, &["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&here).join(&log).exists() {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&here, &["rev-parse", "--short=12", "HEAD"])
}

/// What git prints; `None` if it fails, or is not installed.
fn git(directory: &str, arguments: &[&str]) -> Option<String> {
    let ran = Command::new("git").arg("-C").arg(directory).args(arguments).output().ok()?;
    let printed = String::from_utf8(ran.stdout).ok()?;
    let printed = printed.trim();
    (ran.status.success() && !printed.is_empty()).then(|| printed.to_owned())
}

/// The cargo features of the program.
fn features() -> String {
    let enabled = env::vars().filter_map(|(name, _)| {
        let feature = name.strip_prefix("CARGO_FEATURE_")?;
        Some(feature.to_lowercase().replace('_', "-"))
    });
    let mut enabled: Vec<_> = enabled.filter(|feature| feature != "default").collect();
    enabled.sort();
    if enabled.is_empty() { "none".to_owned() } else { enabled.join(" ") }
}

/// The target, and whether the program contains its C library.
fn target() -> String {
    let target = env::var("TARGET").unwrap_or_default();
    let of_target = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    match of_target.split(',').any(|feature| feature == "crt-static") {
        true => format!("{target}, static"),
        false => target,
    }
}
