//! A simulated topology under everything that can go wrong with it, from seeds: control with its
//! ledger, two parents, four edges, clients, and an origin that changes and is purged in every way.
//! The real [`weir_rules::invalidation::Index`], [`weir_rules::log`] and [`weir_rules::tier`]
//! decide; a judge that knows when everything happened holds each answer against what was promised.
//!
//! `WEIR_SIM_SEEDS` says how many runs, `WEIR_SEED` which one to run alone: it then tells all that
//! happened. The build with the planted fault (`RUSTC_WORKSPACE_WRAPPER=$PWD/tests/faulty-rustc`) must
//! fail in `no_answer_is_older_than_promised`.

mod control;
mod judge;
mod node;
mod origin;
mod random;
mod tiers;
mod world;

use world::{Faults, World};

const NONE: Faults = Faults::NONE;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect(variable))
}

/// Runs a seed; if it fails, once more, to tell how it came to that.
fn run(seed: u64, faults: Faults) -> Result<u64, String> {
    World::new(seed, faults, false).run().map_err(|_| {
        let told = World::new(seed, faults, true).run().expect_err("the same seed does the same");
        format!("WEIR_SEED={seed}\n{told}\nWEIR_SEED={seed}")
    })
}

#[test]
fn no_answer_is_older_than_promised() {
    if let Some(seed) = number("WEIR_SEED") {
        match World::new(seed, NONE, true).run() {
            Ok(answers) => println!("seed {seed}: {answers} answers, nothing wrong"),
            Err(told) => panic!("{told}"),
        }
        return;
    }
    let seeds = number("WEIR_SIM_SEEDS").unwrap_or(2000);
    let mut answers = 0;
    for seed in 0..seeds {
        answers += run(seed, NONE).unwrap_or_else(|told| panic!("{told}"));
    }
    println!("{seeds} seeds, {answers} answers");
}

/// Rules broken by themselves. Those that take a rarer accident are broken in the exhaustive model.
const FAULTS: [(&str, Faults); 11] = [
    ("old tags forgotten at a validation", Faults { new_tags_only: true, ..NONE }),
    ("a fetch stamped at its end", Faults { stamp_at_end: true, ..NONE }),
    ("a parent's seq believed however high", Faults { stamp_uncut: true, ..NONE }),
    ("claimed before the index is raised", Faults { claim_ahead: true, ..NONE }),
    ("joined unchecked", Faults { join_unchecked: true, ..NONE }),
    ("published before the index is raised", Faults { publish_first: true, ..NONE }),
    ("forgotten while fills are running", Faults { walk_ignores_fills: true, ..NONE }),
    ("a floor ignored", Faults { floor_ignored: true, ..NONE }),
    ("visible before the replay", Faults { visible_at_once: true, ..NONE }),
    ("only the checked mark kept", Faults { only_checked_mark: true, ..NONE }),
    ("what was hard-purged is validated", Faults { validate_purged: true, ..NONE }),
];

#[test]
fn every_broken_rule_is_found_out() {
    for (what, faults) in FAULTS {
        let found = (0..5000).find(|seed| World::new(*seed, faults, false).run().is_err());
        println!("{what}: found by seed {found:?}");
        assert!(found.is_some(), "{what}: not found by any seed");
    }
}
