//! Requests for a file that is stored in slices, or may be: a body that memory cannot hold, of which only the
//! slices are fetched that clients ask for.

use super::visit::Visit;
use super::{ON_DISK, Spine};
use crate::access_log::RequestRecord;
use crate::body::{ResponseBody, SliceBytes, SlicedBody};
use crate::disk::SLICE;
use crate::error::UpstreamError;
use crate::failure::{Abort, Failure};
use crate::fill::{Gaps, OpenedSlice, SliceReader, Unopened};
use crate::lookup::{Lookup, Stale};
use crate::respond::{self, Asked};
use crate::store::Stored;
use crate::tier::NodeFields;
use http::{Method, Response};
use std::rc::Rc;
use std::sync::Arc;
use weir_rules::outcome::Handling;
use weir_rules::range::{self, Span};
use weir_rules::slices;

/// The slice to ask for in place of the range that a request asks for; `None` if that is asked for as it came.
pub(super) fn asked_first(spine: &Spine, visit: &Visit, found: &Lookup) -> Option<Span> {
    let state = &spine.state;
    let disk = state.disk.as_ref()?;
    let may_begin = match found {
        Lookup::UriMiss | Lookup::VaryMiss(_) => true,
        Lookup::Stale { stored, stale: Stale { validates, .. } } => {
            *validates && stored.body.kept_below().is_some()
        }
        Lookup::Fresh { .. } | Lookup::Partial(_) => false,
    };
    let ranged = visit.facts.ranged && visit.method == Method::GET;
    if !(may_begin && ranged)
        || state.decisions.is_not_in_slices(visit.digest, state.now())
        || !disk.works_for(visit.url)
        // The whole is on its way to the disk.
        || state.inflight.of(visit.place()).iter().any(|fill| fill.is_kept_below())
    {
        return None;
    }
    slices::asked_first(&range::requested(&visit.headers), SLICE)
}

/// Answers from a stored file of which slices may be missing: those are fetched. `None` if the request is to be
/// asked for as it came.
pub(super) async fn answer(
    spine: &Rc<Spine>,
    visit: &Visit,
    stored: &Arc<Stored>,
    record: &mut RequestRecord,
) -> Option<Result<Response<ResponseBody>, Failure>> {
    let wish = visit.wish();
    let body = match respond::asked_of(stored, &spine.heads, &wish) {
        Asked::Parts => return None,
        Asked::Nothing => ResponseBody::Empty,
        Asked::Bytes(span) => {
            let reader = SliceReader { least: visit.least(), is_node: visit.sender.is_node() };
            let context = visit.fill_context(spine, Method::GET);
            let gaps = Arc::new(Gaps::of(context, visit.url, stored, reader)?);
            let is_held = stored.body.covers(span);
            if !is_held && visit.facts.directives.only_if_cached {
                return Some(Err(Failure::NotCached));
            }
            let first = match gaps.open(span.start, span.end).await {
                Ok(first) => first,
                Err(Unopened::NoSlice) => return None,
                Err(Unopened::Failed(error)) => {
                    spine.metrics.upstream_error(visit.site.slot, &error);
                    return Some(Err(Failure::Upstream(error)));
                }
            };
            if is_held && record.outcome.handling == Handling::Partial {
                record.outcome.handling = Handling::Hit;
            }
            if let OpenedSlice::Arriving { head, joined, .. } = &first {
                let outcome = &mut record.outcome;
                outcome.fwd_status = outcome.fwd_status.or(Some(head.status));
                outcome.stored = head.is_stored();
                outcome.collapsed |= *joined && outcome.handling == Handling::Partial;
                record.source = Some(Arc::clone(&head.source));
            }
            let open = move |at, end| {
                let gaps = Arc::clone(&gaps);
                Box::pin(async move { gaps.open(at, end).await.map(bytes_of).map_err(abort_of) })
                    as _
            };
            let body = SlicedBody::new(bytes_of(first), span.start, span.end, Box::new(open));
            ResponseBody::Sliced(Box::new(body))
        }
    };
    if matches!(body, ResponseBody::Empty) && record.outcome.handling == Handling::Partial {
        record.outcome.handling = Handling::Hit;
    }
    let (now, outcome) = (spine.state.now(), &mut record.outcome);
    let make = |heads: &_| respond::in_slices(stored, heads, &wish, body);
    let mut response = spine.hit_with(stored, now, outcome, make);
    if outcome.handling == Handling::Hit {
        outcome.detail = outcome.detail.or(Some(ON_DISK));
    }
    // A slice that this does not cover is not sent to a node.
    let told = NodeFields::of_stored(stored);
    let vouched = visit.vouch(&spine.state, &mut response, stored.filled_at, told);
    Some(vouched.map(|()| response))
}

fn bytes_of(opened: OpenedSlice) -> SliceBytes {
    match opened {
        OpenedSlice::Here(bytes) => SliceBytes::Here(bytes),
        OpenedSlice::Arriving { reader, until, .. } => SliceBytes::Arriving(reader, until),
    }
}

fn abort_of(unopened: Unopened) -> Abort {
    match unopened {
        Unopened::NoSlice => {
            Abort::Upstream(UpstreamError::BadHead("the file has changed meanwhile".to_owned()))
        }
        Unopened::Failed(error) => Abort::Upstream(error),
    }
}
