//! The memory store, as fills and walks use it.

use super::*;
use std::collections::BTreeSet;

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
    // The map counts requests once it is half full.
    store.tidy();
    for _ in 0..10 {
        assert!(store.get(HELD, &key).is_some());
    }
    store.tidy();
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

#[test]
fn what_is_larger_than_the_store_is_not_stored() {
    let store = store();
    let key: Box<[u8]> = Stored::example().key().into();
    let refused = store.insert_over(DIGEST, &key, |_| Some(with_body(2 << 20)));
    assert_eq!((refused, store.evicted()), (Insertion::NotAdmitted, 0));
}
