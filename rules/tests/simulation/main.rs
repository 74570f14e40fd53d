//! A simulated topology under everything that can go wrong with it, from seeds: control with its
//! ledger, two parents that may be relays, four edges, clients, and an origin that changes and is purged in every way.
//! The real [`weir_rules::invalidation::Index`], [`weir_rules::log`] and [`weir_rules::tier`]
//! decide; a judge that knows when everything happened holds each answer against what was promised.
//!
//! `WEIR_SIM_SEEDS` says how many runs, `WEIR_SEED` which one to run alone: it then tells all that
//! happened; `WEIR_SIM_FAULT`, which broken rules are tried, by a part of what they are called. The build with the planted fault (`RUSTC_WORKSPACE_WRAPPER=$PWD/tests/faulty-rustc`) must
//! fail in `no_answer_is_older_than_promised`.

mod control;
mod judge;
mod node;
mod origin;
mod random;
mod relay;
mod tiers;
mod world;

use world::{Faults, World};

const NONE: Faults = Faults::NONE;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect(variable))
}

/// Runs a seed; if it fails, once more, to tell how it came to that.
fn run(seed: u64, faults: Faults, relays: bool) -> Result<u64, String> {
    World::new(seed, faults, relays, false).run().map_err(|_| {
        let told =
            World::new(seed, faults, relays, true).run().expect_err("the same seed does the same");
        format!("WEIR_SEED={seed}\n{told}\nWEIR_SEED={seed}")
    })
}

/// Runs as many seeds as are asked for, or the one.
fn run_all(usual: u64, relays: bool) {
    if let Some(seed) = number("WEIR_SEED") {
        match World::new(seed, NONE, relays, true).run() {
            Ok(answers) => println!("seed {seed}: {answers} answers, nothing wrong"),
            Err(told) => panic!("{told}"),
        }
        return;
    }
    let seeds = number("WEIR_SIM_SEEDS").unwrap_or(usual);
    let mut answers = 0;
    for seed in 0..seeds {
        answers += run(seed, NONE, relays).unwrap_or_else(|told| panic!("{told}"));
    }
    println!("{seeds} seeds, {answers} answers");
}

#[test]
fn no_answer_is_older_than_promised() {
    run_all(2000, false);
}

#[test]
fn with_relays_no_answer_is_older_than_promised() {
    run_all(1000, true);
}

/// Rules broken by themselves. Those that take a rarer accident are broken in the exhaustive model.
const FAULTS: [(&str, Faults); 16] = [
    ("old tags forgotten at a validation", Faults { new_tags_only: true, ..NONE }),
    ("a fetch stamped at its end", Faults { stamp_at_end: true, ..NONE }),
    ("a parent's seq believed however high", Faults { stamp_uncut: true, ..NONE }),
    ("claimed before the index is raised", Faults { claim_ahead: true, ..NONE }),
    ("joined unchecked", Faults { join_unchecked: true, ..NONE }),
    ("published before the index is raised", Faults { publish_first: true, ..NONE }),
    ("forgotten while fills are running", Faults { walk_ignores_fills: true, ..NONE }),
    ("a floor ignored", Faults { floor_ignored: true, ..NONE }),
    ("a floor of the wrong kind", Faults { floor_for_tags: true, ..NONE }),
    ("visible before the replay", Faults { visible_at_once: true, ..NONE }),
    ("only the checked mark kept", Faults { only_checked_mark: true, ..NONE }),
    ("what was hard-purged is validated", Faults { validate_purged: true, ..NONE }),
    (
        "all of a relay's edges, also those that moved away",
        Faults { moved_edges_counted: true, ..NONE },
    ),
    ("a relay numbers its links anew", Faults { links_renumbered: true, ..NONE }),
    ("a link is one of all only once it is attached", Faults { link_begins_late: true, ..NONE }),
    ("an edge is attached with what it has received", Faults { received_counts: true, ..NONE }),
];

#[test]
fn every_broken_rule_is_found_out() {
    let named = std::env::var("WEIR_SIM_FAULT").unwrap_or_default();
    for (what, faults) in FAULTS.iter().filter(|(what, _)| what.contains(&named)) {
        let found = (0..5000)
            .find(|seed| World::new(*seed, *faults, faults.is_of_relays(), false).run().is_err());
        println!("{what}: found by seed {found:?}");
        assert!(found.is_some(), "{what}: not found by any seed");
    }
}
