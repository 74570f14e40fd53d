//! The way to a site's origins: choose one, connect, send, and give back its head and body, or
//! say whose fault it was. Bodies are bounded by time between bytes, not by size.

mod body;
mod error;
mod trouble;

pub(crate) use body::{ClientBody, UpstreamBody};
pub(crate) use error::body_error;
use trouble::Trouble;

use crate::config::{self, HostHeader, Limits};
use crate::error::UpstreamError;
use crate::metrics::{Event, WorkerMetrics};
use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

type HttpClient = Client<HttpsConnector<HttpConnector>, UpstreamBody>;

/// The origins of one site.
pub(crate) struct Upstream {
    origins: Vec<Origin>,
    host_header: HostHeader,
    timeouts: config::Timeouts,
    retries: u32,
    next: AtomicUsize,
    queue: usize,
    /// One a worker: a connection lives on the runtime of the worker that opened it.
    clients: Vec<HttpClient>,
    /// One a worker.
    metrics: Vec<Arc<WorkerMetrics>>,
    trouble: Arc<Trouble>,
}

struct Origin {
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    connections: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// What the upstream is asked.
pub(crate) struct Ask {
    /// The method.
    pub(crate) method: Method,
    /// Path and query, byte for byte as they go out.
    pub(crate) target: PathAndQuery,
    /// Fields, less Host and hop-by-hop ones.
    pub(crate) headers: HeaderMap,
    /// The client's host with its port, for `host_header = "client"`.
    pub(crate) client_host: Option<HeaderValue>,
    /// Interim responses are handed to this.
    pub(crate) interim: Option<InterimSink>,
    /// The protocol to switch to, for an upgrade.
    pub(crate) upgrade: Option<HeaderValue>,
}

/// Takes interim responses as they arrive.
pub(crate) type InterimSink = Arc<dyn Fn(http::StatusCode, &HeaderMap) + Send + Sync>;

/// An answer on its way: the head is here, the body follows.
pub(crate) struct Fetched {
    /// The head.
    pub(crate) response: Response<()>,
    /// The body.
    pub(crate) body: FetchedBody,
    /// The connection itself, after a 101.
    pub(crate) upgraded: OnUpgrade,
}

/// The body of an upstream's answer. Holds the connection's place until it ends.
pub(crate) struct FetchedBody {
    incoming: Incoming,
    idle: Duration,
    /// Runs while the next frame is awaited.
    alarm: Option<Pin<Box<Sleep>>>,
    metrics: Arc<WorkerMetrics>,
    asked: Asked,
    _place: OwnedSemaphorePermit,
}

/// Whom an answer is from, for the log.
struct Asked {
    trouble: Arc<Trouble>,
    origin: Authority,
    target: PathAndQuery,
}

/// A piece of a body.
pub(crate) enum Piece {
    /// Bytes.
    Data(Bytes),
    /// Trailer fields, after the last byte.
    Trailers(HeaderMap),
}

impl FetchedBody {
    /// Its length by the framing of the message, where that says.
    pub(crate) fn exact_length(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// The next piece; `None` at the end that the framing promised.
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece, UpstreamError>>> {
        let piece = self.poll_piece(context);
        if let Poll::Ready(Some(Err(error))) = &piece {
            self.tell(error);
        }
        piece
    }

    /// Has the node's log tell what is wrong with this answer.
    pub(crate) fn tell(&self, error: &UpstreamError) {
        self.asked.trouble.tell(&self.asked.origin, &self.asked.target, error);
    }

    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece, UpstreamError>>> {
        loop {
            match Pin::new(&mut self.incoming).poll_frame(context) {
                Poll::Pending => return self.poll_alarm(context),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(body_error(&error)))),
                Poll::Ready(Some(Ok(frame))) => {
                    self.alarm = None;
                    match frame.into_data() {
                        Ok(data) => {
                            self.metrics.upstream_bytes(data.len() as u64);
                            return Poll::Ready(Some(Ok(Piece::Data(data))));
                        }
                        Err(frame) => {
                            if let Ok(trailers) = frame.into_trailers() {
                                return Poll::Ready(Some(Ok(Piece::Trailers(trailers))));
                            }
                        }
                    }
                }
            }
        }
    }

    /// The next piece.
    pub(crate) async fn next(&mut self) -> Option<Result<Piece, UpstreamError>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_alarm(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece, UpstreamError>>> {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(self.idle)));
        alarm.as_mut().poll(context).map(|()| Some(Err(UpstreamError::IdleTimeout)))
    }
}

impl Upstream {
    /// The origins of a site, with a client for each worker that counts into `metrics`.
    pub(crate) fn new(
        site: &config::Site,
        limits: &Limits,
        metrics: &[Arc<WorkerMetrics>],
    ) -> Result<Self, String> {
        let origins = site
            .origins
            .iter()
            .map(|origin| Origin::new(origin, limits))
            .collect::<Result<_, _>>()?;
        let clients = metrics.iter().map(|_| client(&site.timeouts, limits)).collect();
        Ok(Self {
            origins,
            host_header: site.host_header,
            timeouts: site.timeouts,
            retries: site.retries,
            next: AtomicUsize::new(0),
            queue: limits.origin_queue,
            clients,
            metrics: metrics.to_vec(),
            trouble: Trouble::new(&site.id),
        })
    }

    /// Asks an origin, the next one in turn. Where no connection can be had, nothing was sent, so
    /// further origins (or the same again) are tried up to `retries` times, whatever the method.
    pub(crate) async fn fetch(
        &self,
        worker: usize,
        ask: Ask,
        body: UpstreamBody,
    ) -> Result<Fetched, UpstreamError> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut body = Some(body);
        let mut attempt = 0;
        loop {
            let origin = &self.origins[(first + attempt) % self.origins.len()];
            // A body can be sent once: while it is unread a clone of nothing is nothing.
            let sent = match &body {
                Some(UpstreamBody::Empty) => UpstreamBody::Empty,
                _ => body.take().unwrap_or_default(),
            };
            let replayable = body.is_some();
            match self.fetch_from(origin, worker, &ask, sent).await {
                Err(UpstreamError::Connect(_) | UpstreamError::ConnectTimeout)
                    if replayable && attempt < self.retries as usize =>
                {
                    attempt += 1;
                }
                Err(error) => {
                    self.trouble.tell(&origin.authority, &ask.target, &error);
                    return Err(error);
                }
                fetched => return fetched,
            }
        }
    }

    async fn fetch_from(
        &self,
        origin: &Origin,
        worker: usize,
        ask: &Ask,
        body: UpstreamBody,
    ) -> Result<Fetched, UpstreamError> {
        let place = self.place(origin).await?;
        let progress = body.progress();
        let request = origin.request(ask, body, self.host_header)?;
        let client = &self.clients[worker];
        let metrics = Arc::clone(&self.metrics[worker]);
        metrics.count(Event::UpstreamRequest);
        let mut response = pin!(client.request(request));
        let mut deadline = Instant::now() + self.timeouts.first_byte;
        let mut response = loop {
            tokio::select! {
                biased;
                response = &mut response => break response.map_err(|error| error::request_error(&error))?,
                () = sleep_until(deadline) => {
                    // While the client's body still moves, the origin owes no answer yet.
                    let moved = progress.as_ref().map(|progress| progress.last() + self.timeouts.first_byte);
                    match moved {
                        Some(later) if later > deadline => deadline = later,
                        _ => return Err(UpstreamError::FirstByteTimeout),
                    }
                }
            }
        };
        let upgraded = hyper::upgrade::on(&mut response);
        let (head, incoming) = response.into_parts();
        let asked = Asked {
            trouble: Arc::clone(&self.trouble),
            origin: origin.authority.clone(),
            target: ask.target.clone(),
        };
        let body = FetchedBody {
            incoming,
            idle: self.timeouts.idle,
            alarm: None,
            metrics,
            asked,
            _place: place,
        };
        Ok(Fetched { response: Response::from_parts(head, ()), body, upgraded })
    }

    /// Waits for one of the origin's places, in a queue of bounded length.
    async fn place(&self, origin: &Origin) -> Result<OwnedSemaphorePermit, UpstreamError> {
        if let Ok(place) = Arc::clone(&origin.connections).try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = Waiting::enter(&origin.waiting, self.queue).ok_or(UpstreamError::Busy)?;
        let place =
            timeout(self.timeouts.first_byte, Arc::clone(&origin.connections).acquire_owned());
        place.await.map_err(|_| UpstreamError::Busy)?.map_err(|_| UpstreamError::Busy)
    }
}

/// Counts one more in a queue while it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(queue: &'a AtomicUsize, bound: usize) -> Option<Self> {
        if queue.fetch_add(1, Ordering::Relaxed) >= bound {
            queue.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(queue))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Origin {
    fn new(origin: &config::Origin, limits: &Limits) -> Result<Self, String> {
        let authority = |text: &str| {
            text.parse::<Authority>().map_err(|error| format!("origin {text}: {error}"))
        };
        Ok(Self {
            scheme: if origin.tls { Scheme::HTTPS } else { Scheme::HTTP },
            authority: authority(&origin.authority)?,
            host: HeaderValue::from_str(&origin.authority)
                .map_err(|error| format!("origin {}: {error}", origin.authority))?,
            connections: Arc::new(Semaphore::new(limits.origin_connections)),
            waiting: AtomicUsize::new(0),
        })
    }

    fn request(
        &self,
        ask: &Ask,
        body: UpstreamBody,
        host_header: HostHeader,
    ) -> Result<Request<UpstreamBody>, UpstreamError> {
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(ask.target.clone())
            .build()
            .map_err(|error| UpstreamError::BadHead(error.to_string()))?;
        let mut request = Request::new(body);
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        let mut headers = ask.headers.clone();
        let host = match (host_header, &ask.client_host) {
            (HostHeader::Client, Some(host)) => host.clone(),
            _ => self.host.clone(),
        };
        headers.insert(header::HOST, host);
        if let Some(protocol) = &ask.upgrade {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, protocol.clone());
        }
        *request.headers_mut() = headers;
        if let Some(sink) = ask.interim.clone() {
            hyper::ext::on_informational(&mut request, move |interim| {
                sink(interim.status(), interim.headers());
            });
        }
        Ok(request)
    }
}

fn client(timeouts: &config::Timeouts, limits: &Limits) -> HttpClient {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(timeouts.connect));
    http.set_keepalive(Some(Duration::from_secs(60)));
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls())
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(limits.origin_idle)
        .pool_max_idle_per_host(limits.origin_idle_connections)
        .http1_max_buf_size(limits.origin_header_bytes.max(8192))
        .http1_max_headers(limits.header_fields.max(256))
        .set_host(false)
        .build(connector)
}

fn tls() -> rustls::ClientConfig {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring offers the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
