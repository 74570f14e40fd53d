#![allow(clippy::unwrap_used)]

use super::*;
use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    simulate: Simulate,
}

fn simulate(args: &[&str]) -> Result<Simulate, String> {
    let args = std::iter::once("simulate").chain(args.iter().copied());
    Cli::try_parse_from(args).map(|cli| cli.simulate).map_err(|error| error.to_string())
}

#[test]
fn sizes_are_all_of_memory_for_each_disk() {
    let given = simulate(&["--log", "-", "--memory", "2GiB,1GiB", "--disk", "8GiB,0"]).unwrap();
    let sizes: Vec<_> = given.sizes().iter().map(|size| (size.memory, size.disk)).collect();
    let gib = 1 << 30;
    let expected = [(gib, None), (2 * gib, None), (gib, Some(8 * gib)), (2 * gib, Some(8 * gib))];
    assert_eq!(sizes, expected);
}

#[test]
fn what_is_wrong_is_named() {
    for (args, why) in [
        (&["--memory", "1GiB"][..], "--log"),
        (&["--log", "a", "--trace", "b"], "cannot be used with"),
        (&["--log", "a", "--memory", "1KiB"], "less than 1MiB"),
        (&["--log", "a", "--disk", "1MiB"], "less than 24MiB"),
        (&["--log", "a", "--sample", "0"], "not above 0, up to 1"),
        (&["--log", "a", "--edges", "0"], "--edges"),
        (&["--log", "a", "--ttl", "x"], "--ttl"),
    ] {
        let said = simulate(args).err().unwrap();
        assert!(said.contains(why), "{args:?}: {said}");
    }
}

#[test]
fn paths_are_skipped_as_purges_take_them() {
    let given = simulate(&["--log", "-", "--skip", "/admin/*", "--skip", "/a?b=1"]).unwrap();
    for (target, skipped) in [
        ("/admin/x", true),
        ("/admin/x?y", true),
        ("/admin", false),
        ("/a?b=1", true),
        ("/a", false),
        ("/a?b=2", false),
    ] {
        assert_eq!(given.skips(target), skipped, "{target}");
    }
}
