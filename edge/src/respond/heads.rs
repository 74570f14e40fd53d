//! Ready-made heads of the responses that one worker sends again and again.
//!
//! Packed fields cost little memory and much time: making a map of them is a fifth of a hit's
//! instructions, copying one that is made is a twentieth. A few maps a worker are enough, since
//! what is popular is few.
//!
//! INVARIANT: a head is only ever used for the very [`Stored`] it was made from, which never
//! changes its fields. It is known by its address, and the `Weak` keeps that address from being
//! given to another; the body it does not keep.

use crate::store::Stored;
use http::{HeaderMap, HeaderValue, header};
use std::cell::RefCell;
use std::sync::{Arc, Weak};
use weir_rules::fields::SURROGATE_CONTROL;

/// Heads kept. Power of two; responses whose addresses are congruent share a place.
const PLACES: usize = 256;
/// Largest packed fields kept as a head, bytes: they are kept from being freed.
const MOST_BYTES: usize = 4096;
/// Answers from the store after which a head is worth its place.
const POPULAR: u32 = 3;

/// One worker's ready-made heads.
pub(crate) struct Heads {
    places: RefCell<Vec<Option<Head>>>,
}

struct Head {
    of: Weak<Stored>,
    fields: HeaderMap,
}

impl Heads {
    /// None made yet.
    pub(crate) fn new() -> Self {
        Self { places: RefCell::new((0..PLACES).map(|_| None).collect()) }
    }

    /// The fields of a stored response, with a place for Age and, if it is the only one, for
    /// this node's Cache-Status: an empty value that stands for none (see [`super::sign`]).
    pub(super) fn fields(&self, stored: &Arc<Stored>) -> HeaderMap {
        if !is_popular(stored) || stored.fields().len() > MOST_BYTES {
            return made(stored);
        }
        let mut places = self.places.borrow_mut();
        let place = &mut places[place_of(stored)];
        match place {
            Some(head) if std::ptr::eq(head.of.as_ptr(), Arc::as_ptr(stored)) => {
                head.fields.clone()
            }
            _ => {
                let fields = made(stored);
                *place = Some(Head { of: Arc::downgrade(stored), fields: fields.clone() });
                fields
            }
        }
    }
}

/// Whether a head is worth its place.
pub(super) fn is_popular(stored: &Stored) -> bool {
    stored.served.times() > POPULAR
}

fn made(stored: &Stored) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(stored.fields().lines() + 4);
    stored.fields().append_to(&mut fields);
    // Kept for the next validation; it speaks to caches like this one alone.
    fields.remove(&SURROGATE_CONTROL);
    fields.insert(header::AGE, HeaderValue::from_static("0"));
    fields.entry(header::CACHE_STATUS).or_insert(HeaderValue::from_static(""));
    fields
}

/// Fibonacci hashing: addresses differ in their middle bits.
fn place_of(stored: &Arc<Stored>) -> usize {
    let address = Arc::as_ptr(stored).addr() as u64;
    (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % PLACES
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{PackedHead, Served};

    fn stored(etag: &'static str) -> Arc<Stored> {
        let fields = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static(etag))]);
        Arc::new(Stored {
            head: PackedHead::pack(Stored::example().key(), &fields).unwrap(),
            served: Served::already(POPULAR + 1),
            ..Stored::example()
        })
    }

    #[test]
    fn a_ready_made_head_is_that_of_its_response() {
        let heads = Heads::new();
        // More than there are places for, so that some take turns at one.
        let all: Vec<_> = (0..2 * PLACES)
            .map(|number| stored(if number % 2 == 0 { "\"even\"" } else { "\"odd\"" }))
            .collect();
        for _ in 0..2 {
            for one in &all {
                assert_eq!(heads.fields(one), made(one));
            }
        }
    }

    #[test]
    fn a_head_does_not_keep_its_response() {
        let heads = Heads::new();
        let one = stored("\"a\"");
        heads.fields(&one);
        let gone = Arc::downgrade(&one);
        drop(one);
        assert!(gone.upgrade().is_none());
    }
}
