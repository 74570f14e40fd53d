//! A response to HEAD updates the stored response to GET (RFC 9111 §4.3.5).

use super::Spine;
use super::pass::Passed;
use super::visit::Visit;
use crate::derived::{self, Form};
use crate::respond;
use crate::store::select;
use http::Method;
use weir_rules::invalidation::Validity;
use weir_rules::site_rules::RuleResponse;
use weir_rules::storability::{Storability, storability};
use weir_rules::validation::{self, HeadEffect};

/// Freshens or invalidates the stored response that the request selects.
pub(super) fn update(spine: &Spine, visit: &Visit, passed: &Passed) {
    let state = &spine.state;
    // What the store has is for others.
    if visit.facts.skips_store {
        return;
    }
    let Some(filled_at) = passed.filled_at else { return };
    let Some(resource) = state.store.get_again(visit.digest, &visit.key) else { return };
    let Some(selected) = select(resource.variants(), &visit.headers) else { return };
    let stored = selected.best;
    // The sweeper may be removing a hard-purged response: put back, it could outlive the purge.
    if matches!(state.purges.validity(stored), Validity::Hard(_)) {
        return;
    }
    // A parent's response that is older than the stored one says nothing about it.
    if filled_at < stored.filled_at {
        return;
    }
    let fields = stored.fields().to_map();
    let mut update = passed.head.fields.clone();
    respond::announce_length(&mut update, passed.head.announced.clone());
    let length = stored.body.complete_length();
    match validation::head_effect(passed.status, &update, stored.status, &fields, length) {
        HeadEffect::Keep => {}
        HeadEffect::Invalidate => state.store.remove(visit.digest, stored),
        HeadEffect::Freshen => {
            let fields = validation::freshened(&fields, &passed.head.fields);
            let mut judged = passed.head.judged(&fields);
            visit.site.ignore(visit.rules, &visit.headers, &mut judged);
            let exchange = passed.exchange(visit, &Method::GET, stored.status, &judged);
            let response = RuleResponse { status: stored.status, headers: &judged };
            let policy = visit.site.policy(visit.rules, &response);
            if let Storability::Store(terms) = storability(&exchange, &policy) {
                let form = Form { fields: &fields, body: stored.body.clone(), terms: &terms };
                derived::replace(&state.store, visit.digest, stored, form);
            }
        }
    }
}
