//! A response to HEAD updates the stored response to GET (RFC 9111 §4.3.5).

use super::Spine;
use super::pass::{Passed, restore_length};
use super::visit::Visit;
use crate::store::{Stored, select};
use http::{HeaderMap, Method};
use std::sync::Arc;
use weir_rules::invalidation::Validity;
use weir_rules::storability::{Storability, storability};
use weir_rules::validation::{self, HeadEffect};

/// Freshens or invalidates the stored response that the request selects.
pub(super) fn update(spine: &Spine, visit: &Visit, passed: &Passed) {
    let state = &spine.state;
    let Some(filled_at) = passed.filled_at else { return };
    let Some(resource) = state.store.get(visit.digest, &visit.key) else { return };
    let Some(stored) = select(&resource, &visit.headers) else { return };
    // The sweeper may be removing a hard-purged response: put back, it could outlive the purge.
    if matches!(state.purges.validity(stored), Validity::Hard(_)) {
        return;
    }
    // A parent's response that is older than the stored one says nothing about it.
    if filled_at < stored.filled_at {
        return;
    }
    let fields = stored.fields.to_map();
    let mut update = passed.head.fields.clone();
    restore_length(&mut update, passed.head.announced.clone());
    let length = stored.body.complete_length();
    match validation::head_effect(passed.status, &update, stored.status, &fields, length) {
        HeadEffect::Keep => {}
        HeadEffect::Invalidate => state.store.remove(visit.digest, stored),
        HeadEffect::Freshen => {
            if let Some(freshened) = freshened(visit, passed, stored, &fields) {
                state.store.update(visit.digest, stored, Arc::new(freshened));
            }
        }
    }
}

/// The stored response with the fields of the HEAD response; `None` if it may not be stored so.
fn freshened(
    visit: &Visit,
    passed: &Passed,
    stored: &Stored,
    fields: &HeaderMap,
) -> Option<Stored> {
    let fields = validation::freshened(fields, &passed.head.fields);
    let judged = passed.head.judged(&fields);
    let exchange = passed.exchange(visit, &Method::GET, stored.status, &judged);
    match storability(&exchange, &visit.site.config.policy) {
        // HEAD never raises the stamp (invariant I2).
        Storability::Store(terms) => stored.with_fields(&fields, &terms),
        Storability::Skip(_) => None,
    }
}
