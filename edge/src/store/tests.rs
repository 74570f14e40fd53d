//! The memory store, as fills and walks use it.

use super::*;
use crate::byte_budget::{ByteBudget, Portion};
use crate::state::NodeState;
use std::collections::BTreeSet;
use weir_config::Config;

const DIGEST: Digest = 7;

fn store() -> Store {
    of(1 << 20, 1 << 10, None)
}

fn of(size: u64, max_object: u64, below: Option<Arc<dyn Below>>) -> Store {
    let memory = Memory { size, max_object, connections: None };
    Store::new(&memory, 4, &DigestSecret::from([0; 16]), below)
}

fn filled_at(filled_at: u64) -> Arc<Stored> {
    Arc::new(Stored { filled_at, ..Stored::example() })
}

fn held(store: &Store) -> Vec<u64> {
    let held = store.get(DIGEST, Stored::example().key());
    variants(&held).iter().map(|stored| stored.filled_at).collect()
}

#[test]
fn what_is_stored_while_a_response_is_made_is_seen_by_its_maker() {
    let store = store();
    let key: Box<[u8]> = Stored::example().key().into();
    let mut seen = Vec::new();
    let stored = store.insert_over(DIGEST, &key, |held| {
        seen.push(held.iter().map(|stored| stored.filled_at).collect::<Vec<_>>());
        // No lock is held: another fill of the same resource ends meanwhile.
        if seen.len() < 3 {
            let other = filled_at(seen.len() as u64);
            assert!(store.insert_over(DIGEST, &key, |_| Some(Arc::clone(&other))).is_stored());
        }
        Some(filled_at(9))
    });
    assert!(stored.is_stored());
    assert_eq!(seen, [vec![], vec![1], vec![2]]);
    assert_eq!(held(&store), [9]);
}

#[test]
fn a_lower_stamp_never_replaces_a_higher_one_that_came_while_it_was_made() {
    let store = store();
    let key: Box<[u8]> = Stored::example().key().into();
    let stored = store.insert_over(DIGEST, &key, |held| {
        if held.is_empty() {
            assert!(store.insert_over(DIGEST, &key, |_| Some(filled_at(2))).is_stored());
        }
        Some(filled_at(1))
    });
    assert_eq!(stored, Insertion::Refused);
    assert_eq!(held(&store), [2]);
}

#[test]
fn a_visitor_sees_every_resource_until_it_breaks_and_may_change_the_store() {
    let store = store();
    let key: Box<[u8]> = Stored::example().key().into();
    for digest in 0..10 {
        assert!(store.insert_over(digest, &key, |_| Some(filled_at(1))).is_stored());
    }
    let mut seen = BTreeSet::new();
    let all = store.visit(|digest, resource| {
        seen.insert(digest);
        store.remove(digest, &resource.variants()[0]);
        ControlFlow::Continue(())
    });
    assert!(all.is_continue());
    assert_eq!(seen, (0..10).collect());
    assert!((0..10).all(|digest| store.get(digest, &key).is_none()));

    assert!(store.insert_over(DIGEST, &key, |_| Some(filled_at(1))).is_stored());
    assert!(store.visit(|_, _| ControlFlow::Break(())).is_break());
}

/// A response with a body of so many bytes.
fn with_body(length: usize) -> Arc<Stored> {
    let slice = Slice { start: 0, bytes: vec![0; length].into() };
    Arc::new(Stored {
        body: StoredBody::new(vec![slice], Some(length as u64)),
        ..Stored::example()
    })
}

#[test]
fn what_is_not_admitted_is_not_stored_and_evicts_nothing() {
    const HELD: Digest = 1;
    let store = of(1 << 20, 1 << 20, None);
    let key: Box<[u8]> = Stored::example().key().into();
    assert!(store.insert_over(HELD, &key, |_| Some(with_body(600_000))).is_stored());
    for _ in 0..10 {
        assert!(store.get(HELD, &key).is_some());
    }
    let refused = store.insert_over(DIGEST, &key, |_| Some(with_body(600_000)));
    assert_eq!(refused, Insertion::NotAdmitted);
    assert!(store.get(DIGEST, &key).is_none() && store.get(HELD, &key).is_some());
    assert_eq!((store.objects(), store.evicted()), (1, 0));
    // Requested more often than what is held, it takes its place.
    for _ in 0..20 {
        assert!(store.get(DIGEST, &key).is_none());
    }
    assert!(store.insert_over(DIGEST, &key, |_| Some(with_body(600_000))).is_stored());
    assert!(store.get(HELD, &key).is_none());
    assert_eq!((store.objects(), store.evicted()), (1, 1));
}

/// What lies below, and keeps everything or nothing.
struct ToldBelow(fn() -> Kept);

impl Below for ToldBelow {
    fn replaced(&self, _: UrlHash, _: &Arc<Stored>) -> Kept {
        (self.0)()
    }

    fn removed(&self, _: UrlHash, _: &Stored) {}
}

#[test]
fn what_neither_memory_nor_what_lies_below_has_room_for_is_said_to_have_none() {
    let key: Box<[u8]> = Stored::example().key().into();
    let all: [(fn() -> Kept, Insertion); 5] = [
        (|| Kept::No, Insertion::NotAdmitted),
        (|| Kept::Refused, Insertion::NoRoomBelow),
        (|| Kept::Yes, Insertion::Stored),
        (|| Kept::Begun(Box::new(|| true)), Insertion::Stored),
        (|| Kept::Begun(Box::new(|| false)), Insertion::NoRoomBelow),
    ];
    for (kept, told) in all {
        let store = of(1 << 20, 1 << 20, Some(Arc::new(ToldBelow(kept))));
        assert_eq!(store.insert_over(DIGEST, &key, |_| Some(with_body(2 << 20))), told);
        // Memory alone is enough.
        assert!(store.insert_over(DIGEST, &key, |_| Some(with_body(1 << 10))).is_stored());
    }
}

#[test]
fn a_request_that_looks_twice_and_stores_counts_once() {
    const HELD: Digest = 1;
    let store = of(1 << 20, 1 << 20, None);
    let key: Box<[u8]> = Stored::example().key().into();
    assert!(store.insert_over(HELD, &key, |_| Some(with_body(600_000))).is_stored());
    for _ in 0..2 {
        assert!(store.get(HELD, &key).is_some());
    }
    let fetched = || {
        assert!(store.get(DIGEST, &key).is_none());
        assert!(store.get_again(DIGEST, &key).is_none());
        store.insert_over(DIGEST, &key, |_| Some(with_body(600_000)))
    };
    assert_eq!([fetched(), fetched()], [Insertion::NotAdmitted; 2]);
    assert!(fetched().is_stored());
}

/// From 0 to 130,000 bytes, most of them few.
fn length_of(name: u32) -> usize {
    [0, 300, 700, 1_100, 1_700, 2_700, 5_300, 11_000, 23_000, 130_000][name as usize % 10]
}

#[test]
fn a_trace_finds_as_much_as_its_policy_says() {
    const SIZE: u64 = 4 << 20;
    let store = of(SIZE, SIZE, None);
    let policy = MemoryPolicy::new(SIZE);
    let key: Box<[u8]> = Stored::example().key().into();
    let head = Stored::example().head.len();
    let (mut found, mut said) = (0u32, 0u32);
    for name in zipf(30_000, 10_000) {
        let digest = DigestSecret::from([0; 16]).digest(&name.to_le_bytes());
        match store.get(digest, &key) {
            Some(_) => found += 1,
            None => {
                assert!(store.get_again(digest, &key).is_none());
                let stored = with_body(length_of(name));
                let _ = store.insert_over(digest, &key, |_| Some(Arc::clone(&stored)));
            }
        }
        match policy.get(digest) {
            Some(_) => said += 1,
            None => {
                policy.put(digest, Usage::of(head, length_of(name) as u64), 0);
            }
        }
    }
    // Within half a hundredth: with misses that count three times, more are missing.
    assert!(found.abs_diff(said) < 150, "{found} against {said} of 30,000");
}

/// What the resources held weigh together.
fn weighed(store: &Store) -> u64 {
    let mut sum = 0;
    let _ = store.visit(|_, resource| {
        sum += resource.weight();
        ControlFlow::Continue(())
    });
    sum
}

#[test]
fn what_bodies_do_not_take_is_the_stores_and_what_they_take_is_free_at_once() {
    const SIZE: u64 = 1 << 20;
    let store = of(SIZE, SIZE, None);
    let key: Box<[u8]> = Stored::example().key().into();
    let fill = |digests: std::ops::Range<u128>| {
        for digest in digests {
            let _ = store.insert_over(digest, &key, |_| Some(with_body(1_000)));
        }
    };
    assert_eq!((store.objects(), store.bytes(), store.evicted()), (0, 0, 0));
    fill(0..2_000);
    let full = store.bytes();
    assert!(full > SIZE - (8 << 10) && full == weighed(&store), "{full}");

    let budget = Arc::new(ByteBudget::lent(store.lender(), SIZE / 2));
    let mut body = Portion::of(&budget, None);
    for taken in [1, 10 << 10, SIZE / 4, SIZE / 2] {
        body.take(taken - body.bytes()).expect("within the budget");
        assert!(weighed(&store) + taken <= SIZE, "{} beside {taken}", weighed(&store));
        assert!(weighed(&store) + taken + (10 << 10) > SIZE, "too much was evicted for {taken}");
        assert_eq!(store.bytes(), weighed(&store));
    }
    assert!(body.take(1).is_err());
    let before = store.objects();
    fill(10_000..12_000);
    assert!(weighed(&store) <= SIZE / 2);
    assert_eq!(store.objects(), before);

    drop(body);
    // Once more: so much was taken until now.
    store.tidy();
    store.tidy();
    for digest in 20_000..22_000 {
        store.get(digest, &key);
        store.get(digest, &key);
    }
    fill(20_000..22_000);
    assert!(store.bytes() > SIZE - (8 << 10), "{}", store.bytes());
    assert_eq!(store.bytes(), weighed(&store));
}

#[test]
fn stored_responses_and_bodies_in_flight_never_pass_the_bound_together() {
    const SIZE: u64 = 1 << 20;
    for seed in 0..4 {
        let store = of(SIZE, SIZE, None);
        let key: Box<[u8]> = Stored::example().key().into();
        let budget = Arc::new(ByteBudget::lent(store.lender(), SIZE / 2));
        let mut bodies: Vec<Portion> = Vec::new();
        let mut random = u64::from(seed);
        for name in zipf(2_000, 400 + seed) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (digest, dice) = (u128::from(name), random >> 40);
            match dice % 4 {
                // Some of them so large that hardly anything else is held.
                0 => {
                    let length = length_of(name) << (dice % 3);
                    let _ = store.insert_over(digest, &key, |_| Some(with_body(length)));
                }
                1 => {
                    let mut body = Portion::of(&budget, None);
                    if body.take(dice * 7 % (SIZE / 4)).is_ok() {
                        bodies.push(body);
                    }
                }
                2 if bodies.len() > dice as usize % 5 => {
                    bodies.swap_remove(dice as usize % bodies.len());
                }
                _ => {
                    store.get(digest, &key);
                }
            }
            let (held, taken) = (weighed(&store), budget.used());
            assert!(held + taken <= SIZE, "{held} beside {taken}, seed {seed}");
        }
        bodies.clear();
        assert_eq!(store.bytes(), weighed(&store));
    }
}

#[test]
fn bodies_in_flight_of_a_node_take_from_its_store() {
    const SIZE: u64 = 2 << 20;
    let mut config = Config::for_origin("http://127.0.0.1:1").expect("a configuration");
    config.memory.size = SIZE;
    let state = NodeState::new(config).expect("a node");
    let key: Box<[u8]> = Stored::example().key().into();
    for digest in 0..4_000 {
        let _ = state.store.insert_over(digest, &key, |_| Some(with_body(1_000)));
    }
    assert!(weighed(&state.store) > SIZE - (64 << 10));
    let mut body = Portion::of(&state.filling, None);
    body.take(SIZE / 2).expect("half of so small a store");
    assert!(weighed(&state.store) <= SIZE / 2);
}

#[test]
fn bodies_of_many_threads_get_what_others_store_into() {
    const SIZE: u64 = 1 << 20;
    let store = of(SIZE, SIZE, None);
    let budget = Arc::new(ByteBudget::lent(store.lender(), SIZE / 2));
    std::thread::scope(|scope| {
        for thread in 0..4u128 {
            let (store, budget) = (&store, &budget);
            scope.spawn(move || {
                let key: Box<[u8]> = Stored::example().key().into();
                for round in 0..500 {
                    let mut body = Portion::of(budget, None);
                    // A quarter of the budget each: there is always room.
                    body.take((SIZE / 8) >> (round % 5)).expect("a quarter of the budget");
                    let digest = (thread << 64) | round;
                    let _ = store.insert_over(digest, &key, |_| Some(with_body(5_000)));
                }
            });
        }
    });
    assert_eq!(budget.used(), 0);
    assert_eq!(store.bytes(), weighed(&store));
    assert!(store.bytes() <= SIZE);
}

/// So many requests for some of so many names, the n-th of which is asked for in proportion to 1/n.
fn zipf(requests: usize, names: u32) -> impl Iterator<Item = u32> {
    let mut sums = Vec::new();
    let mut sum = 0.0;
    for name in 1..=names {
        sum += 1.0 / f64::from(name);
        sums.push(sum);
    }
    let mut random = 42u64;
    (0..requests).map(move |_| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = (random >> 11) as f64 / (1u64 << 53) as f64 * sum;
        sums.partition_point(|sum| *sum < at) as u32
    })
}

#[test]
fn what_is_larger_than_the_store_is_not_stored() {
    let store = store();
    let key: Box<[u8]> = Stored::example().key().into();
    let refused = store.insert_over(DIGEST, &key, |_| Some(with_body(2 << 20)));
    assert_eq!((refused, store.evicted()), (Insertion::NotAdmitted, 0));
}
