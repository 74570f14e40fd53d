//! The order of eviction, against a model of what is held.

use super::*;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

/// How many of 1,000 bytes are new, where there is room for 100 of them, and how many are not.
const NEW: Digest = WINDOW as Digest;
const MAIN: Digest = 100 - NEW;

/// Requests, as a test makes them up.
#[derive(Default)]
struct Made {
    frequency: HashMap<Digest, u32>,
    requested: RefCell<HashSet<Digest>>,
}

impl Requests for Made {
    fn take_requested(&self, digest: Digest) -> bool {
        self.requested.borrow_mut().remove(&digest)
    }

    fn frequency(&self, digest: Digest) -> u32 {
        self.frequency.get(&digest).copied().unwrap_or(0)
    }
}

impl Made {
    fn request(&mut self, digest: Digest) {
        *self.frequency.entry(digest).or_default() += 1;
        self.requested.borrow_mut().insert(digest);
    }
}

/// Queues with room for so many bytes, and the places of what is held.
struct World {
    queues: Queues,
    room: u64,
    made: Made,
    places: HashMap<Digest, Place>,
}

impl World {
    fn new(room: u64) -> Self {
        let (queues, made, places) = (Queues::default(), Made::default(), HashMap::new());
        Self { queues, room, made, places }
    }

    /// Puts a key of so many bytes; what is gone for it.
    fn put(&mut self, digest: Digest, bytes: u64) -> Vec<Digest> {
        let mut gone = Vec::new();
        match self.places.get(&digest) {
            Some(place) => self.queues.weigh(*place, bytes),
            None => {
                let place = self.queues.enter(digest, bytes, self.room, &self.made, &mut gone);
                if let Some(place) = place {
                    self.places.insert(digest, place);
                }
            }
        }
        self.queues.settle(self.room, &self.made, &mut gone);
        gone.iter().for_each(|digest| {
            self.places.remove(digest);
        });
        gone
    }

    fn remove(&mut self, digest: Digest) {
        if let Some(place) = self.places.remove(&digest) {
            self.queues.remove(place);
        }
    }

    fn holds(&self, digest: Digest) -> bool {
        self.places.contains_key(&digest)
    }

    /// Keys and bytes of a queue, in their order.
    fn listed(&mut self, is_new: bool) -> Vec<(Digest, u64)> {
        let queue = if is_new { &self.queues.window } else { &self.queues.main };
        let (mut place, mut before, last) = (queue.first, NONE, queue.last);
        let mut listed = Vec::new();
        while place != NONE {
            let node = *self.queues.nodes.at(place);
            assert_eq!((node.before, node.is_new), (before, is_new));
            assert_eq!(self.places.get(&node.digest), Some(&place));
            listed.push((node.digest, node.bytes));
            (before, place) = (place, node.after);
        }
        assert_eq!(before, last);
        listed
    }
}

#[test]
fn whatever_is_put_and_removed_is_in_one_queue_and_within_the_bound() {
    for seed in 0..8_u64 {
        let mut world = World::new(100_000);
        let mut random = seed;
        for step in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let dice = random >> 33;
            let digest = u128::from(dice % 61 * (dice % 7));
            match dice % 11 {
                0 => world.remove(digest),
                1 => world.room = 20_000 + dice % 80_000,
                // Now and then one that hardly fits.
                2 => drop(world.put(digest, dice % 90_000)),
                3..6 => world.made.request(digest),
                _ => drop(world.put(digest, 1 + dice % 3_000)),
            }
            let mut gone = Vec::new();
            world.queues.settle(world.room, &world.made, &mut gone);
            gone.iter().for_each(|digest| {
                world.places.remove(digest);
            });
            if step % 16 > 0 {
                continue;
            }
            let (new, main) = (world.listed(true), world.listed(false));
            let bytes = |listed: &[(Digest, u64)]| listed.iter().map(|(_, bytes)| bytes).sum();
            let (of_window, of_main): (u64, u64) = (bytes(&new), bytes(&main));
            assert_eq!((world.queues.window.bytes, world.queues.main.bytes), (of_window, of_main));
            assert!(of_window + of_main <= world.room, "{of_window} and {of_main}, seed {seed}");
            assert!(of_window <= window_of(world.room), "{of_window}, seed {seed}");
            assert_eq!(new.len() + main.len(), world.places.len());
            assert_eq!(world.queues.len(), world.places.len());
        }
    }
}

#[test]
fn what_is_new_stays_for_a_while_whatever_is_requested() {
    let mut world = World::new(100_000);
    for digest in 0..100 {
        world.made.frequency.insert(digest, 15);
        assert!(world.put(digest, 1_000).is_empty());
    }
    for digest in 100..200 {
        world.put(digest, 1_000);
        assert!(world.holds(digest));
    }
    let new: Vec<_> = world.listed(true).into_iter().map(|(digest, _)| digest).collect();
    assert_eq!(new, (200 - NEW..200).collect::<Vec<_>>());
    assert!((0..MAIN).all(|digest| world.holds(digest)), "they are requested more often");
}

#[test]
fn what_is_requested_is_passed_over_once() {
    let mut world = World::new(100_000);
    (0..NEW).for_each(|digest| drop(world.put(digest, 1_000)));
    world.made.request(0);
    world.put(100, 1_000);
    let new: Vec<_> = world.listed(true).into_iter().map(|(digest, _)| digest).collect();
    // 1 left the window, for the main part: there is room.
    assert_eq!(new, (2..NEW).chain([100, 0]).collect::<Vec<_>>());
    assert_eq!(world.listed(false), [(1, 1_000)]);
}

#[test]
fn what_leaves_the_window_stays_if_it_was_requested_more_often_than_all_that_it_displaces() {
    for (frequency, stays) in [(4, false), (5, true)] {
        let mut world = World::new(100_000);
        for digest in 0..100 {
            world.made.frequency.insert(digest, 2);
            world.put(digest, 1_000);
        }
        // Two of 1,000 bytes make way for it, and were requested four times together.
        world.made.frequency.insert(500, frequency);
        world.put(500, 2_000);
        let gone: Vec<_> = (600..602 + NEW).flat_map(|digest| world.put(digest, 1_000)).collect();
        assert_eq!(world.holds(500), stays);
        assert_eq!(gone.contains(&0) && gone.contains(&1), stays, "{gone:?}");
        assert!((2..MAIN).all(|digest| world.holds(digest)));
    }
}

#[test]
fn what_is_large_displaces_nothing_that_is_new() {
    let mut world = World::new(100_000);
    (0..100).for_each(|digest| drop(world.put(digest, 1_000)));
    let new = world.listed(true);
    // Nobody asked for what is held, either.
    assert!(world.put(500, 20_000).is_empty());
    assert!(!world.holds(500));
    world.made.request(501);
    assert_eq!(world.put(501, 20_000), (0..20).rev().collect::<Vec<_>>());
    assert!(world.holds(501));
    assert_eq!(world.listed(true), new);
}

#[test]
fn a_place_is_used_again() {
    let mut world = World::new(1 << 30);
    for digest in 0..10_000 {
        world.put(digest, 1_000);
        world.remove(digest);
    }
    assert_eq!((world.queues.nodes.chunks.len(), world.queues.len()), (1, 0));
}
