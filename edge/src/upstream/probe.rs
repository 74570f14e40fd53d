//! Active probes: one thread a node, begun when a site first wants them, asks members from time to
//! time whether they are well, each time on a connection of its own, opened as those of requests are.

use super::Upstream;
use super::endpoint::Endpoint;
use super::member::Member;
use super::orders::Orders;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use weir_config::Protocol;

/// Probes under way at once.
const AT_ONCE: usize = 64;

/// How the members of a pool are probed.
pub(super) struct Probing(Arc<weir_config::Probe>);

/// A member, and how it is probed.
#[derive(Clone)]
pub(crate) struct Target {
    upstream: Arc<Upstream>,
    member: Arc<Member>,
    probe: Arc<weir_config::Probe>,
}

impl Probing {
    /// As the configuration says.
    pub(super) fn new(probe: weir_config::Probe) -> Self {
        Self(Arc::new(probe))
    }

    /// A member of a pool, probed in this way.
    pub(super) fn target(&self, upstream: &Arc<Upstream>, member: &Arc<Member>) -> Target {
        let (upstream, member) = (Arc::clone(upstream), Arc::clone(member));
        Target { upstream, member, probe: Arc::clone(&self.0) }
    }
}

/// Probes the members of a node. Dropping it ends the thread.
#[derive(Default)]
pub(crate) struct Prober(Orders<Target>);

impl Prober {
    /// Probes these from now on, each at once and then in its interval, and no others. Who is no
    /// longer probed is not out by its probes any more.
    pub(crate) fn follow(&self, targets: Vec<Target>) -> io::Result<()> {
        let stay: HashSet<_> = targets.iter().map(Target::identity).collect();
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        let begin = move |tasks: &mut JoinSet<()>, target| {
            tasks.spawn(run(target, Arc::clone(&at_once)));
        };
        let forget = |before: Vec<Target>| {
            for gone in before.iter().filter(|target| !stay.contains(&target.identity())) {
                gone.member.forget_probes();
            }
        };
        self.0.give(targets, "weir-probes", forget, begin)
    }
}

impl Target {
    /// The same for a member before and after a reload.
    fn identity(&self) -> *const () {
        Arc::as_ptr(&self.member.standing).cast()
    }
}

/// Probes one member until it is aborted.
async fn run(target: Target, at_once: Arc<Semaphore>) {
    let mut interval = tokio::time::interval(target.probe.interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let _permit = at_once.acquire().await;
        let found = ask(&target).await;
        target.member.probed(found, &target.probe, Instant::now());
    }
}

/// Asks once; the error says what is wrong.
async fn ask(target: &Target) -> Result<(), String> {
    let answered = timeout(target.probe.timeout, exchange(target)).await;
    let response = answered.unwrap_or_else(|_| Err("it did not answer in time".into()))?;
    let status = response.status();
    let good = match target.probe.status {
        Some(wanted) => status.as_u16() == wanted,
        None => status.is_success() || status.is_redirection(),
    };
    if good { Ok(()) } else { Err(format!("it answered {status}")) }
}

/// Sends a probe on a connection of its own, which ends with it.
async fn exchange(target: &Target) -> Result<Response<Incoming>, String> {
    let Target { upstream, member, .. } = target;
    let is_h2 = member.address.protocol == Protocol::H2;
    let manner = if is_h2 { &upstream.h2 } else { &upstream.manner };
    let endpoint = Endpoint::of(&member.address, manner)?;
    let request = request(target, is_h2)?;
    let role = member.address.role.word();
    let stream = endpoint.open(None).await.map_err(|error| error.of(role).to_string())?;
    let wrong = |error: hyper::Error| super::error::innermost(&error);
    // The connection ends when this is dropped.
    let mut running = JoinSet::new();
    if is_h2 {
        if !stream.speaks_h2() {
            return Err("it does not speak HTTP/2 over TLS (ALPN)".into());
        }
        let shaken = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(wrong)?;
        running.spawn(connection);
        return sender.send_request(request).await.map_err(wrong);
    }
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(wrong)?;
    running.spawn(connection);
    sender.send_request(request).await.map_err(wrong)
}

fn request(target: &Target, is_h2: bool) -> Result<Request<Empty<Bytes>>, String> {
    let Target { upstream, member, probe } = target;
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_static("weir"));
    let (method, path) = match &probe.path {
        Some(path) => (Method::GET, path.as_str()),
        None => {
            // Whoever is asked with this answers, and asks nobody in turn (RFC 9110 §7.6.2).
            headers.insert(header::MAX_FORWARDS, HeaderValue::from_static("0"));
            (Method::OPTIONS, "/")
        }
    };
    let visitors = probe.visitors_host.as_ref().filter(|_| member.address.visitors_host);
    let host = match probe.host.as_ref().or(visitors) {
        Some(host) => HeaderValue::from_str(host).map_err(|error| error.to_string())?,
        None => member.host.clone(),
    };
    let path = PathAndQuery::try_from(path).map_err(|error| error.to_string())?;
    let path = match &upstream.bucket {
        None => member.address.target(&path),
        Some(bucket) => {
            let prefix = &member.address.prefix;
            let signed = bucket.sign(&method, prefix, &path, &host, &mut headers);
            signed.map_err(|error| error.to_string())?
        }
    };
    let mut request = Request::new(Empty::new());
    if is_h2 {
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() =
            super::link::uri(member, &path, &host).map_err(|failed| failed.error.to_string())?;
    } else {
        *request.uri_mut() = Uri::from(path);
        headers.insert(header::HOST, host);
    }
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    Ok(request)
}
