//! What is never answered from the store: unsafe methods, requests with a body, upgrades,
//! preconditions that only the origin may judge, and HEAD if nothing stored can answer it.

use super::visit::Visit;
use super::{Spine, head_update, invalidate, post, upgrade};
use crate::access_log::RequestRecord;
use crate::ahead::AheadBody;
use crate::body::{PassBody, ResponseBody};
use crate::clock::wall;
use crate::collapsing::Interim;
use crate::error::UpstreamError;
use crate::failure::Failure;
use crate::fill::{CleanHead, SourceAnswer, ahead_rules, clean_head};
use crate::purge::Stamp;
use crate::respond::{self, AnswerForm};
use crate::source::{Source, SourceBody};
use crate::tier::NodeFields;
use crate::upstream::{Ask, Asking, ClientBody, UpstreamBody};
use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::mpsc;
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
/// Unsafe requests are waited for by a task of their own: a client that leaves does not take back what
/// the origin has done, and its URL is invalidated all the same.
pub(super) async fn pass(
    spine: &Rc<Spine>,
    visit: Rc<Visit>,
    body: Incoming,
    record: &mut RequestRecord,
) -> Result<Response<ResponseBody>, Failure> {
    let body = upload(spine, &visit, body).await?;
    let exchanged = if visit.method.is_safe() {
        exchange(spine, &visit, body).await
    } else {
        let (spine, visit) = (Rc::clone(spine), Rc::clone(&visit));
        let exchange = async move { exchange(&spine, &visit, body).await };
        let exchange = tokio::task::spawn_local(exchange);
        exchange.await.map_err(|_| Failure::Internal("pass"))?
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

/// The client's body as the upstream gets it.
///
/// # Errors
/// Content-Length announces no byte, and there are some. This is known only at the end of an HTTP/2
/// stream, so that end is waited for: the upstream must not take the request for a complete one.
async fn upload(spine: &Spine, visit: &Visit, body: Incoming) -> Result<UpstreamBody, Failure> {
    if body.is_end_stream() {
        return Ok(UpstreamBody::Empty);
    }
    let mut upload = visit.connection.upload(body);
    if upload.size_hint().exact() == Some(0) {
        return match upload.frame().await {
            Some(Err(error)) => Err(failed(spine, visit, UpstreamError::Client(error))),
            // No body, perhaps with trailers, which have no place beside Content-Length.
            _ => Ok(UpstreamBody::Empty),
        };
    }
    let keep = visit.live.limits().retry_body_bytes;
    let length = upload.size_hint().exact();
    let memory = spine.state.memory.upload(visit.counts_for(), length, keep as u64);
    let memory = memory.map_err(Failure::NoMemory)?;
    Ok(UpstreamBody::Client(ClientBody::of(upload, keep, memory)))
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
    let request_time = response_time.minus_millis(Source::delay(answer.source.as_ref()));
    let SourceAnswer { response, body, source, filled_at, stamp: judged_to, .. } = *answer;
    let (parts, ()) = response.into_parts();
    let (line, length) = ((parts.version, status), body.exact_length());
    let source = source.map(Arc::new);
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
            record.source = answer.source.clone().map(Arc::new);
            record.outcome.fwd_status = Some(answer.response.status());
            return upgrade::switch(&spine.state, visit, *answer);
        }
        Exchanged::Answered(answered) => *answered,
    };
    record.source = passed.head.source.clone();
    record.outcome.fwd_status = Some(passed.status);
    if visit.method == Method::HEAD {
        head_update::update(spine, visit, &passed);
    }
    if let Some(terms) = post::storable(visit, &passed) {
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
            let (limits, counts_for) = (visit.live.limits(), visit.counts_for());
            let rules = ahead_rules(limits, &visit.headers, &head.fields, counts_for);
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

/// Passes interim responses on to the client's connection.
struct InterimSender(mpsc::Sender<Interim>);

impl Asking for InterimSender {
    /// When the client leaves, so does the request.
    fn is_waiting(&self) -> bool {
        true
    }

    fn interim(&self, status: StatusCode, fields: &HeaderMap) {
        // A full queue drops it: interim responses are optional.
        let _ = self.0.try_send(Interim::of(status, fields));
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
    let (sender, mut interims) = mpsc::channel::<Interim>(INTERIMS);
    let upgrade =
        visit.facts.upgrade.then(|| visit.headers.get(header::UPGRADE).cloned()).flatten();
    let ask = Ask {
        method: visit.method.clone(),
        target: visit.target.clone(),
        headers: visit.fields_for_pass(&spine.state),
        client_host: visit.client_host(),
        asker: Some(Arc::new(InterimSender(sender))),
        upgrade,
        chosen_by: visit.chosen_by(),
        counts_for: visit.counts_for(),
        site: visit.site.slot,
        trace: visit.trace.clone(),
    };
    let context = visit.fetch_context(&spine.state, spine.worker, begun);
    // Boxed: it is the largest part of what waits, and a request does not always come here.
    let mut answer = Box::pin(spine.sources.fetch(&context, &ask, &body));
    loop {
        tokio::select! {
            biased;
            Some(interim) = interims.recv() => {
                visit.connection.interim(interim.status, &interim.fields);
            }
            answer = &mut answer => {
                while let Ok(interim) = interims.try_recv() {
                    visit.connection.interim(interim.status, &interim.fields);
                }
                return answer;
            }
        }
    }
}
