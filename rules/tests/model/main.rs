//! Every order of events in a small world (design of the invariants I1 to I6): control with its
//! log, a parent, edges, an origin that changes and is purged, and all that can go wrong between
//! them. The world is a model; what is decided in it about logs, tiers and stamps is decided by the
//! real rules ([`weir_rules::log`], [`weir_rules::tier`]).
//!
//! Each scene ([`scenes`]) is explored to its end: about 2.5 million states in all, and half a million with
//! relays ([`relays`]). `WEIR_MODEL=deep`
//! explores more of each, in minutes and gigabytes. That the model would notice is shown by [`faults`]: each rule is broken
//! in turn, and the model must find out. The build with the planted fault (`tests/fault.sh`) must fail
//! in `the_rules_hold`.

mod control;
mod explore;
mod faults;
mod lease;
mod node;
mod relays;
mod scene;
mod scenes;
mod tiers;
mod world;

use scene::Scene;
use stateright::{Checker, HasDiscoveries, Model};
use std::fmt::{Debug, Write as _};
use std::hash::Hash;

/// Explores a scene, up to the first violation: what it is and how to come to it.
fn explore<M>(name: &str, scene: M) -> (usize, Option<String>)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + Hash + PartialEq + Send + Sync,
{
    let checker =
        scene.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let states = checker.unique_state_count();
    let found = checker.discoveries().into_iter().next().map(|(property, path)| {
        let mut text = format!("{name}: it is not so that {property}:\n");
        for action in path.into_actions() {
            let _ = writeln!(text, "  {action:?}");
        }
        text
    });
    (states, found)
}

#[test]
fn the_rules_hold() {
    let deep = std::env::var("WEIR_MODEL").is_ok_and(|depth| depth == "deep");
    let mut total = 0;
    for scene in scenes::ALL {
        let began = std::time::Instant::now();
        let (states, found) = explore(scene.name, if deep { scenes::deeper(scene) } else { scene });
        println!("{}: {states} states in {:?}", scene.name, began.elapsed());
        if let Some(found) = found {
            panic!("{found}");
        }
        total += states;
    }
    println!("{total} states in all");
}

#[test]
fn every_broken_rule_is_found_out() {
    for (what, scene, faults) in faults::FAULTS {
        let (states, found) = explore(scene.name, Scene { faults, ..scene });
        println!("{what}: {} after {states} states", if found.is_some() { "found" } else { "not" });
        assert!(found.is_some(), "{what}: not found in {} ({states} states)", scene.name);
    }
}

#[test]
fn the_rules_of_relays_hold() {
    for scene in relays::ALL {
        let began = std::time::Instant::now();
        let (states, found) = explore(scene.name, scene);
        println!("{}: {states} states in {:?}", scene.name, began.elapsed());
        if let Some(found) = found {
            panic!("{found}");
        }
    }
}

#[test]
fn every_broken_rule_of_relays_is_found_out() {
    for (what, scene, faults) in relays::FAULTS {
        let (states, found) = explore(scene.name, relays::Scene { faults, ..scene });
        println!("{what}: {} after {states} states", if found.is_some() { "found" } else { "not" });
        assert!(found.is_some(), "{what}: not found in {} ({states} states)", scene.name);
    }
}

#[test]
fn either_of_two_rules_at_one_door_is_enough() {
    for (what, scene, faults) in faults::GUARDED_TWICE {
        if let (_, Some(found)) = explore(scene.name, Scene { faults, ..scene }) {
            panic!("{what}: {found}");
        }
    }
}
