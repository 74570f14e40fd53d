//! What is never answered from the store: unsafe methods, requests with a body, upgrades,
//! preconditions that only the origin may judge, and HEAD if nothing stored can answer it.

use super::visit::Visit;
use super::{RequestBody, Spine, head_update, invalidate, post, upgrade};
use crate::access_log::RequestRecord;
use crate::ahead::AheadBody;
use crate::body::{PassBody, ResponseBody};
use crate::clock::wall;
use crate::collapsing::Interim;
use crate::error::UpstreamError;
use crate::failure::Failure;
use crate::fill::{self, CleanHead, SourceAnswer, ahead_rules, clean_head};
use crate::outliving::Outliving;
use crate::purge::Stamp;
use crate::respond::{self, AnswerForm};
use crate::server::Received;
use crate::source::SourceBody;
use crate::tier::NodeFields;
use crate::upstream::{Arrival, Ask, Asking, ClientBody, UpstreamBody};
use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Either};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use weir_rules::invalidation::Seq;
use weir_rules::storability::Exchange;
use weir_rules::time::Time;
use weir_rules::validation;

/// Interim responses that may wait for the client's connection; more are dropped.
const INTERIMS: usize = 8;

/// The head of the response to a request that was passed through.
pub(super) struct Passed {
    /// Its status.
    pub(super) status: StatusCode,
    /// Its fields, as clients get them.
    pub(super) head: CleanHead,
    /// Its filled_at_seq (invariant I2); `None` if it is not known: then nothing is stored of it.
    pub(super) filled_at: Option<Seq>,
    request_time: Time,
    response_time: Time,
    received: Time,
}

impl Passed {
    /// The exchange as the rules of storing judge it, as if it were one with this method, status
    /// and response fields.
    pub(super) fn exchange<'a>(
        &self,
        visit: &'a Visit,
        method: &'a Method,
        status: StatusCode,
        response: &'a HeaderMap,
    ) -> Exchange<'a> {
        Exchange {
            method,
            scheme: visit.facts.scheme.as_str(),
            host: visit.host(),
            path: visit.target.path(),
            query: visit.target.query(),
            request: &visit.headers,
            status,
            response,
            request_time: self.request_time,
            response_time: self.response_time,
            received: self.received,
        }
    }
}

/// The answer to a request that was passed through.
struct PassedAnswer {
    passed: Passed,
    body: Box<dyn SourceBody>,
    /// The stamp of the request, and that of a parent's answer.
    stamps: (Stamp, Option<Stamp>),
}

/// The answer of the upstream, as far as it was looked at.
enum Exchanged {
    /// To another protocol.
    Switched(Box<SourceAnswer>),
    Answered(Box<PassedAnswer>),
}

/// Passes a request through, and its response back.
///
/// Unsafe requests [go on](Outliving) if their client leaves: that does not take back what the origin has done, and
/// their URL is invalidated all the same.
pub(super) async fn pass(
    spine: &Rc<Spine>,
    visit: Rc<Visit>,
    body: RequestBody,
    record: &mut RequestRecord,
) -> Result<Response<ResponseBody>, Failure> {
    let (body, arrival) = match body {
        Either::Left(body) => upload(spine, &visit, body).await?,
        Either::Right(_) => (UpstreamBody::Empty, None),
    };
    let exchanged = if visit.method.is_safe() {
        while_arriving(arrival, exchange(spine, &visit, body)).await
    } else {
        let (spine, visit) = (Rc::clone(spine), Rc::clone(&visit));
        let exchange = async move { exchange(&spine, &visit, body).await };
        Outliving::new(while_arriving(arrival, exchange)).await
    };
    respond(spine, &visit, exchanged?, record)
}

/// The same for a safe request without a body.
pub(super) async fn pass_safe(
    spine: &Rc<Spine>,
    visit: &Visit,
    record: &mut RequestRecord,
) -> Result<Response<ResponseBody>, Failure> {
    let exchanged = exchange(spine, visit, UpstreamBody::Empty).await?;
    respond(spine, visit, exchanged, record)
}

fn failed(spine: &Spine, visit: &Visit, error: UpstreamError) -> Failure {
    spine.metrics.upstream_error(visit.site.slot, &error);
    Failure::Upstream(error)
}

/// Runs an exchange while the client's body arrives. What is still to come of that when the answer is here arrives
/// by itself.
async fn while_arriving<T>(arrival: Option<Arrival>, exchange: impl Future<Output = T>) -> T {
    let Some(mut arrival) = arrival else { return exchange.await };
    let mut exchange = pin!(exchange);
    let mut is_here = false;
    let exchanged = poll_fn(|context| {
        is_here = is_here || Pin::new(&mut arrival).poll(context).is_ready();
        exchange.as_mut().poll(context)
    });
    let exchanged = exchanged.await;
    if !is_here {
        tokio::task::spawn_local(arrival);
    }
    exchanged
}

/// The client's body as the upstream gets it.
///
/// # Errors
/// Content-Length announces no byte, and there are some. This is known only at the end of a
/// stream, so that end is waited for: the upstream must not take the request for a complete one.
async fn upload(
    spine: &Spine,
    visit: &Visit,
    body: Received,
) -> Result<(UpstreamBody, Option<Arrival>), Failure> {
    if body.is_end_stream() {
        return Ok((UpstreamBody::Empty, None));
    }
    let mut upload = visit.connection.upload(body);
    if upload.size_hint().exact() == Some(0) {
        return match upload.frame().await {
            Some(Err(error)) => Err(failed(spine, visit, UpstreamError::Client(error))),
            // No body, perhaps with trailers, which have no place beside Content-Length.
            _ => Ok((UpstreamBody::Empty, None)),
        };
    }
    let keep = visit.live.limits().retry_body_bytes;
    let length = upload.size_hint().exact();
    let memory = spine.state.memory.upload(visit.counts_for(), length, keep as u64);
    let memory = memory.map_err(Failure::NoMemory)?;
    let (body, arrival) = ClientBody::of(upload, keep, memory);
    Ok((UpstreamBody::Client(body), Some(arrival)))
}

/// Sends a request, and invalidates what its answer does.
async fn exchange(spine: &Spine, visit: &Visit, body: UpstreamBody) -> Result<Exchanged, Failure> {
    let stamp = spine.state.purges.stamp();
    let answer = fetch(spine, visit, stamp.seq(), body).await;
    let answer = answer.map_err(|error| failed(spine, visit, error))?;
    let status = answer.response.status();
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Exchanged::Switched(answer));
    }
    let (response_time, received) = (wall(), spine.state.now());
    let request_time = response_time.minus_millis(answer.source.delay());
    let SourceAnswer { response, body, source, filled_at, stamp: judged_to, .. } = *answer;
    let (parts, ()) = response.into_parts();
    let (line, length) = ((parts.version, status), body.exact_length());
    let source = Arc::new(source);
    let head = clean_head(&spine.state, line, parts.headers, length, source, response_time);
    if validation::invalidates(&visit.method, status) {
        Box::pin(invalidate::invalidate(spine, visit, &head)).await;
    }
    let passed = Passed { status, head, filled_at, request_time, response_time, received };
    Ok(Exchanged::Answered(Box::new(PassedAnswer { passed, body, stamps: (stamp, judged_to) })))
}

/// The response to the client.
fn respond(
    spine: &Spine,
    visit: &Visit,
    exchanged: Exchanged,
    record: &mut RequestRecord,
) -> Result<Response<ResponseBody>, Failure> {
    let PassedAnswer { passed, body, stamps } = match exchanged {
        Exchanged::Switched(answer) => {
            record.source = Some(Arc::new(answer.source.clone()));
            record.outcome.fwd_status = Some(answer.response.status());
            return upgrade::switch(&spine.state, visit, *answer);
        }
        Exchanged::Answered(answered) => *answered,
    };
    record.source = Some(Arc::clone(&passed.head.source));
    record.outcome.fwd_status = Some(passed.status);
    let bypasses = visit.bypasses();
    if visit.method == Method::HEAD && !bypasses {
        head_update::update(spine, visit, &passed);
    }
    if !bypasses && let Some(terms) = post::storable(visit, &passed) {
        return post::store(spine, visit, passed, terms, body, stamps, &mut record.outcome);
    }
    answered(spine, visit, passed, body)
}

/// The response to the client, with the upstream's body as it arrives.
fn answered(
    spine: &Spine,
    visit: &Visit,
    passed: Passed,
    body: Box<dyn SourceBody>,
) -> Result<Response<ResponseBody>, Failure> {
    let Passed { status, head, filled_at, .. } = passed;
    let left = match visit.method {
        Method::HEAD => Some(0),
        _ => head.length,
    };
    let body = match left {
        Some(0) => ResponseBody::Empty,
        left => {
            let rules = || {
                let (limits, counts_for) = (visit.live.limits(), visit.counts_for());
                let mut rules =
                    ahead_rules(limits, &visit.headers, &head.fields, counts_for, spine.worker);
                rules.sensitive |= visit.facts.skips_store;
                rules
            };
            let body = AheadBody::of(body, &spine.state.ahead, rules);
            ResponseBody::Pass(Box::new(PassBody::new(body, left)))
        }
    };
    let form = match visit.method == Method::HEAD || bodiless(status) {
        true => AnswerForm::HeadOnly(head.announced),
        false => AnswerForm::Whole,
    };
    let mut response = respond::answer(status, head.fields, form, body);
    let told = NodeFields {
        tags: &head.tags,
        surrogate_control: head.surrogate_control,
        too_many_tags: head.too_many_tags.is_some(),
    };
    if let Some(codings) = &visit.wish().codings {
        respond::passed_on(&mut response, codings, &visit.headers, &visit.key);
    }
    // Not known only of a parent's response. Nodes do not get it: they ask parents, and a parent
    // asks origins.
    if let Some(filled_at) = filled_at {
        visit.vouch(&spine.state, &mut response, filled_at, told)?;
    }
    if let Some(age) = head.age {
        response.headers_mut().insert(header::AGE, age);
    }
    Ok(response)
}

/// Interim responses on their way to the client's connection. The lock is held for a few moves.
#[derive(Default)]
struct Interims(Mutex<WaitingInterims>);

#[derive(Default)]
struct WaitingInterims {
    interims: VecDeque<Interim>,
    client: Option<Waker>,
}

impl Interims {
    /// Those that are here; the next one wakes whoever asks.
    fn take(&self, context: &Context<'_>) -> VecDeque<Interim> {
        let mut waiting = self.lock();
        if !waiting.client.as_ref().is_some_and(|client| client.will_wake(context.waker())) {
            waiting.client = Some(context.waker().clone());
        }
        std::mem::take(&mut waiting.interims)
    }

    fn lock(&self) -> MutexGuard<'_, WaitingInterims> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking for Interims {
    /// When the client leaves, so does the request.
    fn is_waiting(&self) -> bool {
        true
    }

    fn interim(&self, status: StatusCode, fields: &HeaderMap) {
        let mut waiting = self.lock();
        // A full queue drops it: interim responses are optional.
        if waiting.interims.len() < INTERIMS {
            waiting.interims.push_back(Interim::of(status, fields));
        }
        if let Some(client) = waiting.client.take() {
            client.wake();
        }
    }
}

fn bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Sends the request upstream, and passes interim responses on until its final response arrives.
async fn fetch(
    spine: &Spine,
    visit: &Visit,
    begun: Seq,
    body: UpstreamBody,
) -> Result<Box<SourceAnswer>, UpstreamError> {
    let interims = Arc::<Interims>::default();
    let upgrade =
        visit.facts.upgrade.then(|| visit.headers.get(header::UPGRADE).cloned()).flatten();
    let ask = Ask {
        method: visit.method.clone(),
        target: visit.target.clone(),
        headers: visit.fields_for_pass(&spine.state),
        client_host: visit.client_host.clone(),
        asker: Some(Arc::clone(&interims) as Arc<_>),
        upgrade,
        chosen_by: visit.chosen_by,
        counts_for: visit.counts_for(),
        site: visit.site.slot,
        trace: visit.trace.clone(),
    };
    let context = visit.fetch_context(&spine.state, spine.worker, begun);
    // Boxed: it is the largest part of what waits, and a request does not always come here.
    let mut answer = Box::pin(fill::fetch(&context, &ask, &body));
    poll_fn(|context| {
        let answer = answer.as_mut().poll(context);
        // After that: those that came before the answer go out before it.
        for interim in interims.take(context) {
            visit.connection.interim(interim.status, &interim.fields);
        }
        answer
    })
    .await
}
