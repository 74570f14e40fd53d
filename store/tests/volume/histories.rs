//! Long random histories of a volume: everything that is found is held against what was handed in,
//! over kills and losses of power. `WEIR_HISTORIES` makes a run longer, `WEIR_SEED` repeats one.

use super::world::{Plant, World};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn histories(default: u64) -> impl Iterator<Item = u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    match number("WEIR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WEIR_HISTORIES").unwrap_or(default),
    }
}

/// Runs a history with crashes; how many crashes there were.
fn run(world: &mut World, steps: u64, loses_power: bool) -> u64 {
    let mut crashes = 0;
    for step in 0..steps {
        world.step();
        if world.random.chance(1) && step % 7 == 0 {
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
    for seed in histories(60) {
        named(seed, || {
            let mut world = World::new(seed);
            (0..1500).for_each(|_| world.step());
            world.check_all();
            found += world.found;
        });
    }
    assert!(found > 1000, "hardly anything was found: {found}");
}

#[test]
fn after_a_kill_nothing_comes_back_that_was_removed_for_good() {
    let (mut crashes, mut recovered) = (0, 0);
    for seed in histories(60) {
        named(seed, || {
            let mut world = World::new(seed);
            crashes += run(&mut world, 3000, false);
            recovered += world.recovered;
            assert_eq!(world.emptied, 0, "a kill damages nothing");
        });
    }
    assert!(crashes > 100 && recovered > crashes, "{crashes} crashes, {recovered} recovered");
}

#[test]
fn after_a_loss_of_power_nothing_comes_back_that_was_removed_for_good() {
    let (mut crashes, mut recovered) = (0, 0);
    for seed in histories(300) {
        named(seed, || {
            let mut world = World::new(seed);
            crashes += run(&mut world, 3000, true);
            recovered += world.recovered;
            assert_eq!(world.emptied, 0, "a loss of power damages nothing");
        });
    }
    println!("{crashes} losses of power, {recovered} records recovered");
    assert!(crashes >= 1000 && recovered > crashes, "{crashes} crashes, {recovered} recovered");
}

#[test]
fn an_orderly_end_keeps_everything_even_without_power() {
    for seed in histories(40) {
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
fn is_caught(prepare: impl Fn(&mut World)) -> bool {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let caught = (0..200).any(|seed| {
        let history = || {
            let mut world = World::new(seed);
            prepare(&mut world);
            run(&mut world, 2000, true);
            assert_eq!(world.emptied, 0, "a loss of power damages nothing");
        };
        catch_unwind(AssertUnwindSafe(history)).is_err()
    });
    std::panic::set_hook(hook);
    caught
}

#[test]
fn each_sync_that_is_omitted_is_caught() {
    for omitted in ["journal", "journal.new", "witness", "/"] {
        let is_needed = is_caught(|world| world.omit(omitted));
        // After its change of name a journal is written through the file that was opened as new.
        assert_eq!(is_needed, omitted != "journal", "{omitted}");
    }
    assert!(!is_caught(|_| {}));
}

#[test]
fn what_a_node_gets_wrong_is_caught() {
    for plant in [Plant::MarkBeforeRemoval, Plant::MarkAboveStamps] {
        assert!(is_caught(|world| world.plant = Some(plant)), "{plant:?}");
    }
}
