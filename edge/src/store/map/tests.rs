//! The map, as the store uses it.

use super::*;

const SIZE: u64 = 1 << 20;

/// A value is its weight.
fn map() -> Map<u64> {
    Map::new(SIZE, |weight| *weight)
}

fn weighed(map: &Map<u64>) -> u64 {
    map.iter().map(|(_, weight)| weight).sum()
}

#[test]
fn what_is_new_is_removed_and_replaced_like_all_others() {
    let map = map();
    assert!(map.insert(1, 1_000) && map.insert(2, 2_000));
    assert_eq!((map.entries(), map.bytes()), (2, 3_000));
    assert!(map.insert(1, 5_000));
    assert_eq!((map.get(1), map.peek(2), map.holds(3)), (Some(5_000), Some(2_000), false));
    assert_eq!((map.entries(), map.bytes()), (2, 7_000));
    map.remove(1);
    map.remove(3);
    assert_eq!((map.get(1), map.entries(), map.bytes()), (None, 1, 2_000));
    assert_eq!(map.iter().collect::<Vec<_>>(), [(2, 2_000)]);
    assert_eq!(map.evicted(), 0);
}

#[test]
fn what_outgrows_the_map_is_evicted_with_what_was_there_before() {
    let map = map();
    assert!(map.insert(1, 1_000));
    assert!(!map.insert(1, SIZE + 1));
    assert_eq!((map.peek(1), map.entries(), map.bytes()), (None, 0, 0));
    // It was there, so that it is one that was evicted; one that never was is not.
    assert!(!map.insert(2, SIZE + 1));
    assert_eq!(map.evicted(), 1);
}

#[test]
fn hits_and_misses_count_and_looks_do_not() {
    let map = map();
    let frequency = |digest| map.known.frequency(digest);
    assert_eq!(map.get(1), None);
    map.insert(1, 1_000);
    map.get(1);
    assert_eq!(frequency(1), 2);
    assert!(map.known.take_requested(1) && !map.known.take_requested(1));
    assert_eq!((map.peek(1), map.holds(1)), (Some(1_000), true));
    assert_eq!((frequency(1), map.known.take_requested(1)), (2, false));
}

#[test]
fn what_is_lent_is_free_at_once_and_is_given_back() {
    let map = map();
    for digest in 0..2_000 {
        map.insert(digest, 1_000);
    }
    assert!(map.bytes() > map.size - 2_000);
    let half = map.size - SIZE / 2;
    map.take(SIZE / 2);
    assert_eq!(map.bytes(), weighed(&map));
    assert!((half - 2_000..=half).contains(&map.bytes()), "{}", map.bytes());
    // More than there is: nothing is held any more.
    map.take(SIZE);
    assert_eq!((map.bytes(), map.entries(), map.insert(1, 1_000)), (0, 0, false));
    map.give_back(SIZE + SIZE / 2);
    map.tidy();
    assert!(!map.insert(1, 1_000), "so much was taken until now");
    map.tidy();
    assert!(map.insert(1, 1_000));
}

#[test]
fn bodies_one_after_another_displace_no_more_than_one_of_them() {
    let map = map();
    for digest in 0..2_000 {
        if digest < 600 {
            map.get(digest);
            map.get(digest);
        }
        map.insert(digest, 1_000);
    }
    let popular = || (0..600).filter(|digest| map.holds(*digest)).count();
    map.take(20_000);
    let held = popular();
    assert!(held > 500, "{held}");
    for digest in (2_000..4_000).step_by(20) {
        map.give_back(20_000);
        // Nobody asked for these.
        (digest..digest + 20).for_each(|digest| {
            map.insert(digest, 1_000);
        });
        map.take(20_000);
    }
    assert_eq!(popular(), held);
}

#[test]
fn threads_that_put_remove_ask_and_take_leave_each_value_once_and_the_bound() {
    let map = map();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let map = &map;
            scope.spawn(move || {
                let mut random = thread;
                for _ in 0..20_000 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let dice = random >> 33;
                    let digest = u128::from(dice % 1_500);
                    match dice % 8 {
                        0 => map.remove(digest),
                        1 => {
                            let taken = dice % (SIZE / 8);
                            map.take(taken);
                            map.give_back(taken);
                        }
                        2..4 => {
                            map.get(digest);
                        }
                        // Some of them large.
                        4 => {
                            map.insert(digest, dice % (SIZE / 4));
                        }
                        _ => {
                            map.insert(digest, 500 + dice % 2_000);
                        }
                    }
                }
            });
        }
    });
    assert_eq!((map.bytes(), map.entries()), (weighed(&map), map.iter().count() as u64));
    assert!(map.bytes() <= SIZE, "{}", map.bytes());
    (0..1_500).for_each(|digest| map.remove(digest));
    assert_eq!((map.bytes(), map.entries(), map.iter().count()), (0, 0, 0));
}
