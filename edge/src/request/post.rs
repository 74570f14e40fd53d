//! A response to POST that is stored for later GETs: one that names its own URL as
//! Content-Location and has explicit freshness (RFC 9110 §9.3.3).

use super::Spine;
use super::pass::Passed;
use super::visit::{Held, Visit};
use crate::body::ResponseBody;
use crate::collapsing::{Fill, Purpose};
use crate::derived::Stamps;
use crate::failure::Failure;
use crate::purge::Stamp;
use crate::respond;
use crate::source::SourceBody;
use crate::tier::NodeFields;
use http::{Method, Response, header};
use std::sync::Arc;
use weir_rules::outcome::Outcome;
use weir_rules::site_rules::RuleResponse;
use weir_rules::storability::{Storability, Terms, storability};

/// On what terms the response may be stored; `None` if it is not one of these.
pub(super) fn storable(visit: &Visit, passed: &Passed) -> Option<Terms> {
    if visit.method != Method::POST || passed.filled_at.is_none() || visit.facts.skips_store {
        return None;
    }
    let head = &passed.head;
    // Looked at first: few responses to POST name a URL.
    if !head.fields.contains_key(header::CONTENT_LOCATION) || head.too_many_tags.is_some() {
        return None;
    }
    let mut judged = head.judged(&head.fields);
    visit.site.ignore(visit.rules, &visit.headers, &mut judged);
    let exchange = passed.exchange(visit, &Method::POST, passed.status, &judged);
    let response = RuleResponse { status: passed.status, headers: &judged };
    let policy = visit.site.policy(visit.rules, &response);
    match storability(&exchange, &policy) {
        Storability::Store(terms) => Some(terms),
        Storability::Skip(_) => None,
    }
}

/// Answers from a fill that stores the response. `stamp` is the one of the request, `received` the
/// one of a parent's answer.
pub(super) fn store(
    spine: &Spine,
    visit: &Visit,
    passed: Passed,
    terms: Terms,
    body: Box<dyn SourceBody>,
    (stamp, received): (Stamp, Option<Stamp>),
    outcome: &mut Outcome,
) -> Result<Response<ResponseBody>, Failure> {
    const UNREADABLE: Failure = Failure::Internal("post-fill");
    let filled_at = passed.filled_at.ok_or(UNREADABLE)?;
    let purpose = Purpose { begun: stamp.seq(), alone: true, url: visit.url, ..Purpose::default() };
    let fill = Fill::new(purpose, visit.live.limits().fill_window);
    spine.state.inflight.start_alone(visit.digest, &fill);
    let task = visit.fill_task(spine, Method::POST, Arc::clone(&fill), Held::default(), stamp);
    let filled =
        Arc::new(task.head(passed.status, passed.head, Ok(terms), Stamps::fetched(filled_at)));
    outcome.stored = filled.is_stored();
    let reader = fill.join().ok_or(UNREADABLE)?;
    let wish = visit.wish();
    let answer = respond::from_fill(&filled, reader, &wish, &visit.key, None);
    let mut response = spine.formed(answer, &wish, outcome);
    visit.vouch(&spine.state, &mut response, filled_at, NodeFields::of_head(&filled))?;
    tokio::spawn(async move {
        task.deliver(filled, &[], body).await;
        drop(received);
    });
    Ok(response)
}
