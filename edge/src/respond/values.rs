//! Field values that hits need again and again, made once: Age and Cache-Status of a plain hit
//! take few values within a second, whatever the number of requests.

use http::HeaderValue;
use std::cell::RefCell;
use std::sync::Arc;
use weir_rules::outcome::{Handling, Outcome};

/// Power of two; a value shares its place with those that are congruent.
const PLACES: usize = 512;

/// One worker's ready-made field values.
pub(crate) struct Values {
    node: Arc<str>,
    ages: RefCell<Vec<Option<(u32, HeaderValue)>>>,
    hits: RefCell<Vec<Option<(u32, HeaderValue)>>>,
}

impl Values {
    /// None made yet.
    pub(crate) fn new(node: Arc<str>) -> Self {
        Self {
            node,
            ages: RefCell::new(vec![None; PLACES]),
            hits: RefCell::new(vec![None; PLACES]),
        }
    }

    /// `Age: seconds`.
    pub(crate) fn age(&self, seconds: u32) -> HeaderValue {
        cached(&self.ages, seconds, || HeaderValue::from(seconds))
    }

    /// This node's member of Cache-Status.
    pub(crate) fn cache_status(&self, outcome: &Outcome) -> HeaderValue {
        let plain = outcome.handling == Handling::Hit && outcome.detail.is_none();
        match outcome.ttl.map(u32::try_from) {
            Some(Ok(ttl)) if plain => cached(&self.hits, ttl, || self.written(outcome)),
            _ => self.written(outcome),
        }
    }

    fn written(&self, outcome: &Outcome) -> HeaderValue {
        let mut out = Vec::with_capacity(96);
        outcome.write_cache_status(&self.node, &mut out);
        // Tokens and quoted strings of ASCII are always a valid field value.
        HeaderValue::from_bytes(&out).unwrap_or_else(|_| HeaderValue::from_static("weir"))
    }
}

fn cached(
    places: &RefCell<Vec<Option<(u32, HeaderValue)>>>,
    key: u32,
    make: impl FnOnce() -> HeaderValue,
) -> HeaderValue {
    let mut places = places.borrow_mut();
    let place = &mut places[key as usize % PLACES];
    match place {
        Some((held, value)) if *held == key => value.clone(),
        _ => {
            let value = make();
            *place = Some((key, value.clone()));
            value
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_that_share_a_place_are_not_confused() {
        let values = Values::new(Arc::from("edge-1"));
        let shared = PLACES as u32;
        for seconds in [3, 3 + shared, 3, 3 + 2 * shared] {
            assert_eq!(values.age(seconds), seconds.to_string());
            let outcome = Outcome {
                handling: Handling::Hit,
                ttl: Some(i64::from(seconds)),
                ..Outcome::default()
            };
            let expected = format!("edge-1; hit; ttl={seconds}");
            assert_eq!(values.cache_status(&outcome), expected.as_str());
        }
    }
}
