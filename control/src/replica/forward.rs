//! Calls, and the connections of nodes, on their way from a process that is not the writer to the writer.
//!
//! The writer gets a call as it came, with the address of its caller and the writer's own pass, which stands in
//! etcd: who can read it there can write the log as well. A call is sent once. If there is no answer, the caller is
//! told that it may have been done.

use crate::call::LARGEST_BODY;
use crate::errors::ApiError;
use crate::etcd::WriterKey;
use crate::listener::Peer;
use crate::replica::Standing;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderName, HeaderValue, StatusCode, Version};
use http_body::{Frame, SizeHint};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, watch};
use weir_rules::fields::remove_hop_by_hop;

/// Calls that are passed on at once, and connections of nodes beside them.
const MOST_CALLS: usize = 256;

/// By what the writer knows a call that another process of control passes on: `PASS ADDRESS`.
const PASSED_ON: HeaderName = HeaderName::from_static("weir-passed-on");

/// The answer of a process that is not the writer, to another one that took it for that.
const NOT_THE_WRITER: HeaderName = HeaderName::from_static("weir-not-the-writer");

/// See the module.
pub(super) struct Forward {
    client: reqwest::Client,
    turns: Arc<Semaphore>,
    count: AtomicU64,
}

/// Turns to the end when the process that calls were passed on to is not known to be the writer any more.
type Over = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Forward {
    pub(super) fn new(client: reqwest::Client) -> Self {
        Self { client, turns: Arc::new(Semaphore::new(MOST_CALLS)), count: AtomicU64::new(0) }
    }

    /// What was passed on.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Passes a call on to the writer while `standing` says that it is that. Returns the call if it was not done,
    /// and may be elsewhere.
    pub(super) async fn call(
        &self,
        request: Request,
        writer: &WriterKey,
        standing: watch::Receiver<Standing>,
    ) -> Result<Response, Box<Request>> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let follows = request.headers().contains_key(UPGRADE);
        // A node's connection lasts, and is bounded where it is accepted.
        let turn = if follows { None } else { Some(self.turns.clone().try_acquire_owned()) };
        let turn = match turn.transpose() {
            Ok(turn) => turn,
            Err(_) => return Ok(ApiError::busy().into_response()),
        };
        let (head, body) = request.into_parts();
        let body = match axum::body::to_bytes(body, LARGEST_BODY).await {
            Ok(body) => body,
            Err(_) => {
                let message = format!("the body is over {LARGEST_BODY} bytes, or broke off");
                return Ok(ApiError::too_large(message).into_response());
            }
        };
        let again = |head| Err(Box::new(Request::from_parts(head, Body::from(body.clone()))));
        let mut over = ended(standing, writer.clone());
        let sent = self.sent(&head, body.clone(), writer);
        let answer = tokio::select! {
            answer = sent => answer,
            () = over.as_mut() => Err(Unanswered::Unknown("the writer changed".to_owned())),
        };
        match answer {
            Ok(answer) if answer.headers().contains_key(NOT_THE_WRITER) => again(head),
            Ok(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                Ok(joined(Request::from_parts(head, Body::empty()), answer, over))
            }
            Ok(answer) => Ok(whole(answer, over, turn)),
            Err(Unanswered::NotSent) => again(head),
            Err(Unanswered::Unknown(reason)) => Ok(ApiError::unknown(reason).into_response()),
        }
    }

    async fn sent(
        &self,
        head: &http::request::Parts,
        body: Bytes,
        writer: &WriterKey,
    ) -> Result<reqwest::Response, Unanswered> {
        let unknown = |error: String| Unanswered::Unknown(error);
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut headers = head.headers.clone();
        let upgrade = headers.get(UPGRADE).cloned();
        remove_hop_by_hop(&mut headers);
        if let Some(upgrade) = upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, upgrade);
        }
        if let Some(authority) = head.uri.authority()
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            headers.entry(http::header::HOST).or_insert(host);
        }
        let peer = head.extensions.get::<Peer>().map(|Peer(peer)| peer);
        let peer = peer.ok_or_else(|| unknown("its caller is not known".to_owned()))?;
        let pass = HeaderValue::from_str(&format!("{} {peer}", writer.pass));
        let mut pass = pass.map_err(|error| unknown(error.to_string()))?;
        pass.set_sensitive(true);
        headers.insert(PASSED_ON, pass);
        let url = format!("{}{target}", writer.url);
        let request = self.client.request(head.method.clone(), url).headers(headers).body(body);
        // An import is the writer, too, and has no URL.
        request.send().await.map_err(|error| match error.is_connect() || error.is_builder() {
            true => Unanswered::NotSent,
            false => unknown(format!("the writer, {}, did not answer: {error}", writer.url)),
        })
    }
}

/// Why there is no answer.
enum Unanswered {
    NotSent,
    Unknown(String),
}

/// Until `writer` is not known to be the writer any more.
fn ended(mut standing: watch::Receiver<Standing>, writer: WriterKey) -> Over {
    let other = move |now: &Standing| !matches!(now, Standing::Standby(known) if *known == writer);
    Box::pin(async move { drop(standing.wait_for(other).await) })
}

/// An answer with its body, which breaks off when the writer changes.
fn whole(
    answer: reqwest::Response,
    over: Over,
    turn: Option<tokio::sync::OwnedSemaphorePermit>,
) -> Response {
    let (mut head, body) = http::Response::<reqwest::Body>::from(answer).into_parts();
    remove_hop_by_hop(&mut head.headers);
    head.version = Version::HTTP_11;
    Response::from_parts(head, Body::new(Passed { body, over, _turn: turn }))
}

/// Joins the connection of a node with one to the writer.
fn joined(mut request: Request, answer: reqwest::Response, over: Over) -> Response {
    let upgraded = hyper::upgrade::on(&mut request);
    let protocol = answer.headers().get(UPGRADE).cloned();
    tokio::spawn(async move {
        let (Ok(node), Ok(mut writer)) = (upgraded.await, answer.upgrade().await) else { return };
        let mut node = TokioIo::new(node);
        tokio::select! {
            ended = tokio::io::copy_bidirectional(&mut node, &mut writer) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "the connection of a node that was passed on ended");
                }
            }
            () = over => tracing::debug!("the connection of a node ends: the writer changed"),
        }
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        response.headers_mut().insert(UPGRADE, protocol);
    }
    response
}

/// The body of an answer that is passed back.
struct Passed {
    body: reqwest::Body,
    over: Over,
    _turn: Option<tokio::sync::OwnedSemaphorePermit>,
}

impl http_body::Body for Passed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)));
        }
        match self.over.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err(io::Error::other("the writer changed")))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The caller of a call that another process passed on, by the pass that this process put into etcd. Nobody else's
/// word is taken; either way the field goes no further.
pub(super) fn take_pass(request: &mut Request, pass: &str) -> Option<SocketAddr> {
    let shown = request.headers_mut().remove(PASSED_ON)?;
    let (shown, caller) = shown.to_str().ok()?.split_once(' ')?;
    let is_own = bool::from(shown.as_bytes().ct_eq(pass.as_bytes()));
    caller.parse().ok().filter(|_| is_own)
}

/// See [`NOT_THE_WRITER`].
pub(super) fn not_the_writer() -> Response {
    let mut response = ApiError::unavailable("this process is not the writer").into_response();
    response.headers_mut().insert(NOT_THE_WRITER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn caller(field: Option<&str>) -> (Option<SocketAddr>, bool) {
        let mut request = Request::new(Body::empty());
        if let Some(field) = field {
            request.headers_mut().insert(PASSED_ON, field.parse().unwrap());
        }
        let caller = take_pass(&mut request, "secret");
        (caller, request.headers().contains_key(PASSED_ON))
    }

    #[test]
    fn only_who_shows_the_pass_is_believed_who_calls() {
        let address = "192.0.2.7:5000".parse().unwrap();
        assert_eq!(caller(Some("secret 192.0.2.7:5000")), (Some(address), false));
        for field in ["secreT 192.0.2.7:5000", " 192.0.2.7:5000", "secret", "secret x", ""] {
            assert_eq!(caller(Some(field)), (None, false), "{field:?}");
        }
        assert_eq!(caller(None), (None, false));
    }
}
