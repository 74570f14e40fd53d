//! What is never answered from the store: unsafe methods, requests with a body, upgrades,
//! preconditions that only the origin may judge, and HEAD where nothing stored can answer it.

use super::Spine;
use super::visit::Visit;
use crate::body::{PassBody, ResponseBody};
use crate::collapsing::{Fill, Interim, Purpose};
use crate::derived::{self, Form, Stamps};
use crate::failure::Failure;
use crate::fill::{CleanHead, SourceAnswer, clean_head};
use crate::respond::{self, AnswerForm};
use crate::source::Source;
use crate::store::{Digest, release_in};
use crate::tier::NodeFields;
use crate::upstream::{Ask, ClientBody, InterimSink, UpstreamBody};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body;
use hyper::body::Incoming;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::copy_bidirectional;
use tokio::sync::mpsc;
use weir_rules::invalidation::{Seq, Validity};
use weir_rules::key::{KeyParts, write_key};
use weir_rules::outcome::Outcome;
use weir_rules::reference;
use weir_rules::storability::{Exchange, Storability, Terms, storability};
use weir_rules::time::Time;
use weir_rules::validation::{self, HeadEffect};

/// Interim responses that may wait for the client's connection; more are dropped.
const INTERIMS: usize = 8;

/// Passes a request through and its answer back.
pub(super) async fn pass(
    spine: &Rc<Spine>,
    visit: &Visit,
    body: Option<Incoming>,
    outcome: &mut Outcome,
    source: &mut Option<Arc<Source>>,
) -> Result<Response<ResponseBody>, Failure> {
    let request_time = spine.state.now();
    let stamp = spine.state.purges.stamp();
    let body = match body {
        Some(body) if !body.is_end_stream() => {
            UpstreamBody::Client(ClientBody::of(visit.connection.upload(body)))
        }
        _ => UpstreamBody::Empty,
    };
    let answer = fetch(spine, visit, stamp.seq(), body).await.map_err(|error| {
        spine.metrics.upstream_error(&error);
        Failure::Upstream(error)
    })?;
    *source = answer.source.clone().map(Arc::new);
    let status = answer.response.status();
    outcome.fwd_status = Some(status);
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return switch(visit, answer);
    }
    let response_time = spine.state.now();
    let SourceAnswer { response, body, filled_at, stamp: received, .. } = answer;
    let (parts, ()) = response.into_parts();
    let (length, from) = (body.exact_length(), source.clone());
    let head = clean_head(&spine.state, status, parts.headers, length, from, response_time);
    if validation::invalidates(&visit.method, status) {
        invalidate(spine, visit, &head.fields);
    }
    if visit.method == Method::HEAD
        && let Some(filled_at) = filled_at
    {
        update_by_head(spine, visit, status, &head, filled_at, (request_time, response_time));
    }
    if visit.method == Method::POST
        && let Some(filled_at) = filled_at
        && let Some(stored) =
            store_post(visit, status, &head, stamp.seq(), request_time, response_time)
    {
        outcome.stored = true;
        let (fill, terms) = stored;
        spine.state.inflight.start_alone(visit.digest, &fill);
        let task = visit.fill_task(spine, Method::POST, Arc::clone(&fill), None, stamp);
        let filled = Arc::new(task.head(status, head, Ok(terms), Stamps::fetched(filled_at)));
        let Some(reader) = fill.join() else { return Err(Failure::Internal("post-fill")) };
        let mut response = respond::from_fill(&filled, reader, &visit.wish(), None);
        visit.vouch(&spine.state, &mut response, filled_at, NodeFields::of_head(&filled))?;
        tokio::spawn(async move {
            task.deliver(filled, &[], body).await;
            drop(received);
        });
        return Ok(response);
    }
    let left = match visit.method {
        Method::HEAD => Some(0),
        _ => head.length,
    };
    let body = match left {
        Some(0) => ResponseBody::Empty,
        left => ResponseBody::Pass(Box::new(PassBody::new(body, left))),
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
    // Without one of its own: a node that is asked is a parent, and asks origins.
    if let Some(filled_at) = filled_at {
        visit.vouch(&spine.state, &mut response, filled_at, told)?;
    }
    if let Some(age) = head.age {
        response.headers_mut().insert(header::AGE, age);
    }
    Ok(response)
}

fn bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Asks the upstream and passes interim responses on while its answer is awaited.
async fn fetch(
    spine: &Spine,
    visit: &Visit,
    begun: Seq,
    body: UpstreamBody,
) -> Result<SourceAnswer, crate::error::UpstreamError> {
    let (sender, mut interims) = mpsc::channel::<Interim>(INTERIMS);
    let interim: InterimSink = Arc::new(move |status, fields: &HeaderMap| {
        let mut fields = fields.clone();
        weir_rules::fields::remove_hop_by_hop(&mut fields);
        // A full queue drops it: interim responses are a courtesy.
        let _ = sender.try_send(Interim { status, fields });
    });
    let upgrade =
        visit.facts.upgrade.then(|| visit.headers.get(header::UPGRADE).cloned()).flatten();
    let ask = Ask {
        method: visit.method.clone(),
        target: visit.target.clone(),
        headers: visit.fields_for_pass(&spine.state),
        client_host: visit.client_host(),
        interim: Some(interim),
        upgrade,
        whom: visit.whom(),
        trace: visit.trace.clone(),
    };
    let context = visit.fetch_context(&spine.state, spine.worker, begun);
    let mut answer = std::pin::pin!(spine.sources.fetch(&context, &ask, &body));
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

/// 101: from now on bytes go both ways untouched (RFC 9110 §7.8).
fn switch(visit: &Visit, answer: SourceAnswer) -> Result<Response<ResponseBody>, Failure> {
    if !visit.facts.upgrade {
        return Err(Failure::Upstream(crate::error::UpstreamError::BadHead(
            "101 Switching Protocols to a request without Upgrade".into(),
        )));
    }
    let (status, mut headers) = (answer.response.status(), answer.response.headers().clone());
    let protocol = headers.get(header::UPGRADE).cloned();
    weir_rules::fields::remove_hop_by_hop(&mut headers);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        headers.insert(header::UPGRADE, protocol);
    }
    let client = visit.connection.upgrade();
    let origin = answer.upgraded;
    tokio::task::spawn_local(async move {
        let (Some(mut client), Some(origin)) = (client.await, origin) else { return };
        let Ok(origin) = origin.await else { return };
        let mut origin = hyper_util::rt::TokioIo::new(origin);
        // Either side may end it at any time; there is nobody left to tell.
        let _ = copy_bidirectional(&mut client, &mut origin).await;
    });
    Ok(respond::answer(status, headers, AnswerForm::Whole, ResponseBody::Empty))
}

/// RFC 9111 §4.4: a successful unsafe request invalidates its target, and what Location and
/// Content-Location name on the same host.
fn invalidate(spine: &Spine, visit: &Visit, response: &HeaderMap) {
    forget(spine, visit.digest);
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let Some(digest) = response.get(name).and_then(|value| same_host(spine, visit, value))
        else {
            continue;
        };
        forget(spine, digest);
    }
}

/// Takes a resource away, and what runs for it now out of everybody's reach. Marked before, so
/// that a fill stores nothing behind this; and after, for a fill that began in between and
/// validates what was still there.
fn forget(spine: &Spine, digest: Digest) {
    spine.state.inflight.revoke(digest);
    spine.state.store.retain(digest, |_| false);
    spine.state.inflight.revoke(digest);
    spine.state.decisions.forget(digest);
}

/// The resource that a URI reference names, where it is on the host that was asked.
fn same_host(spine: &Spine, visit: &Visit, reference: &HeaderValue) -> Option<Digest> {
    let base = format!("{}://{}{}", visit.scheme.as_str(), visit.host, visit.target);
    let url = reference::resolve(&base, reference.to_str().ok()?)?;
    let rest = url.strip_prefix(visit.scheme.as_str())?.strip_prefix("://")?;
    let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if !host.eq_ignore_ascii_case(&visit.host) {
        return None;
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let parts = KeyParts {
        scheme: visit.scheme.as_str(),
        host: &visit.host,
        path: if path.is_empty() { "/" } else { path },
        query,
        release: release_in(&visit.key),
    };
    let mut key = Vec::new();
    write_key(&mut key, &parts, &visit.site.config.key, &visit.headers);
    Some(spine.state.digest(&key))
}

/// RFC 9111 §4.3.5: what a HEAD says about a stored GET.
fn update_by_head(
    spine: &Spine,
    visit: &Visit,
    status: StatusCode,
    head: &CleanHead,
    filled_at: Seq,
    (request_time, response_time): (Time, Time),
) {
    let state = &spine.state;
    let Some(resource) = state.store.get(visit.digest, &visit.key) else { return };
    let Some(stored) = crate::store::select(&resource, &visit.headers) else { return };
    // What was hard-purged may be on its way out: put back, it could outlive the purge.
    if matches!(state.purges.validity(stored), Validity::Hard(_)) {
        return;
    }
    // What a parent has had for longer says nothing about it.
    if filled_at < stored.filled_at {
        return;
    }
    let fields = stored.fields.to_map();
    let mut update = head.fields.clone();
    respond::announce_length(&mut update, head.announced.clone());
    let length = stored.body.complete_length();
    match validation::head_effect(status, &update, stored.status, &fields, length) {
        HeadEffect::Keep => {}
        HeadEffect::Invalidate => state.store.remove(visit.digest, stored),
        HeadEffect::Freshen => {
            let fields = validation::freshened(&fields, &head.fields);
            let judged = head.judged(&fields);
            let exchange =
                exchange(visit, &Method::GET, stored.status, &judged, request_time, response_time);
            if let Storability::Store(terms) = storability(&exchange, &visit.site.config.policy) {
                let form = Form { fields: &fields, body: stored.body.clone(), terms: &terms };
                derived::replace(&state.store, visit.digest, stored, form);
            }
        }
    }
}

fn exchange<'a>(
    visit: &'a Visit,
    method: &'a Method,
    status: StatusCode,
    fields: &'a HeaderMap,
    request_time: Time,
    response_time: Time,
) -> Exchange<'a> {
    Exchange {
        method,
        scheme: visit.scheme.as_str(),
        host: &visit.host,
        path: visit.target.path(),
        query: visit.target.query(),
        request: &visit.headers,
        status,
        response: fields,
        request_time,
        response_time,
    }
}

/// A POST's response that says it is the representation of its own URL, with explicit freshness,
/// is stored for later GETs (RFC 9110 §9.3.3).
fn store_post(
    visit: &Visit,
    status: StatusCode,
    head: &CleanHead,
    begun: Seq,
    request_time: Time,
    response_time: Time,
) -> Option<(Arc<Fill>, Terms)> {
    // Nothing that is asked of every POST: only one that names its own URL.
    if !head.fields.contains_key(header::CONTENT_LOCATION) || head.too_many_tags.is_some() {
        return None;
    }
    let judged = head.judged(&head.fields);
    let exchange = exchange(visit, &Method::POST, status, &judged, request_time, response_time);
    let Storability::Store(terms) = storability(&exchange, &visit.site.config.policy) else {
        return None;
    };
    let purpose = Purpose { begun, alone: true, ..Purpose::default() };
    let fill = Fill::new(purpose, visit.live.limits().fill_window);
    Some((fill, terms))
}
