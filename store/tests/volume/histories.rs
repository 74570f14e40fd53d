//! Long random histories of a volume: everything that is found is held against what was handed in,
//! over kills and losses of power. `WEIR_HISTORIES=10` runs ten times as many, `WEIR_SEED` repeats one.

use super::world::{Plant, World, number};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The seeds of a test's histories, of which there are so many by default.
fn histories(count: u64) -> impl Iterator<Item = u64> {
    match number("WEIR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..count * number("WEIR_HISTORIES").unwrap_or(1),
    }
}

/// Whether a test runs all its histories: only then its totals say anything.
fn is_whole() -> bool {
    number("WEIR_SEED").is_none()
}

/// Runs a history with crashes, in some often and in some seldom; how many crashes there were.
fn run(world: &mut World, steps: u64, loses_power: bool) -> u64 {
    let mut crashes = 0;
    let gap = [50, 150, 400][world.random.below(3) as usize];
    for _ in 0..steps {
        world.step();
        if world.random.below(gap) == 0 {
            crashes += 1;
            world.crash(!loses_power);
            world.check_all();
        }
    }
    crashes
}

fn named(seed: u64, history: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(history)) {
        eprintln!("WEIR_SEED={seed} repeats it");
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn without_crashes_only_the_newest_valid_response_is_found() {
    let mut found = 0;
    for seed in histories(20) {
        named(seed, || {
            let mut world = World::new(seed);
            (0..1500).for_each(|_| world.step());
            world.check_all();
            found += world.found;
        });
    }
    assert!(found > 1000 || !is_whole(), "hardly anything was found: {found}");
}

#[test]
fn after_a_kill_nothing_comes_back_that_was_removed_for_good() {
    let (mut crashes, mut recovered) = (0, 0);
    for seed in histories(20) {
        named(seed, || {
            let mut world = World::new(seed);
            crashes += run(&mut world, 1500, false);
            recovered += world.recovered;
            assert_eq!(world.emptied, 0, "a kill damages nothing");
        });
    }
    let enough = crashes > 100 && recovered > crashes;
    assert!(enough || !is_whole(), "{crashes} crashes, {recovered} recovered");
}

#[test]
fn after_a_loss_of_power_nothing_comes_back_that_was_removed_for_good() {
    let (mut crashes, mut recovered, mut extended, mut added) = (0, 0, 0, 0);
    for seed in histories(90) {
        named(seed, || {
            let mut world = World::new(seed);
            crashes += run(&mut world, 1500, true);
            recovered += world.recovered;
            extended += world.extended;
            added += world.added;
            assert_eq!(world.emptied, 0, "a loss of power damages nothing");
        });
    }
    println!(
        "{crashes} losses of power, {recovered} records recovered, {extended} bodies extended, {added} \
         slices added"
    );
    let enough = crashes >= 1000 && recovered > crashes && extended > 20 && added > 20;
    assert!(enough || !is_whole(), "{crashes} crashes, {recovered} recovered");
}

#[test]
fn an_orderly_end_keeps_everything_even_without_power() {
    for seed in histories(15) {
        named(seed, || {
            let mut world = World::new(seed);
            for _ in 0..5 {
                (0..300).for_each(|_| world.step());
                while world.volume.work(usize::MAX) {}
                let before = world.volume.held().0;
                world.restart();
                assert_eq!(world.volume.held().0, before, "something was lost");
                world.check_all();
            }
        });
    }
}

/// Whether any of many histories with losses of power shows what must not be shown, or loses what was
/// durable.
fn is_caught(histories: u64, prepare: impl Fn(&mut World)) -> bool {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let caught = (0..histories).any(|seed| {
        let history = || {
            let mut world = World::new(seed);
            prepare(&mut world);
            run(&mut world, 1500, true);
            assert_eq!(world.emptied, 0, "a loss of power damages nothing");
        };
        catch_unwind(AssertUnwindSafe(history)).is_err()
    });
    std::panic::set_hook(hook);
    caught
}

#[test]
fn each_sync_that_is_omitted_is_caught() {
    // After its change of name a journal is written through the file that was opened as new.
    for omitted in ["journal.new", "witness", "/"] {
        assert!(is_caught(200, |world| world.omit(omitted)), "{omitted}");
    }
    assert!(!is_caught(20, |_| {}));
}

#[test]
fn what_a_node_gets_wrong_is_caught() {
    for plant in [Plant::MarkBeforeRemoval, Plant::MarkAboveStamps] {
        assert!(is_caught(200, |world| world.plant = Some(plant)), "{plant:?}");
    }
}
