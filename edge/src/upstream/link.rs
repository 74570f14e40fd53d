//! HTTP/2 to one member from one worker: a few kept connections that many requests share. Pings
//! find out within seconds that nobody is there any more. What is asked for (`:authority`) and who
//! is connected to are two things here, which hyper-util's pooled client would take for one.

use super::body::UpstreamBody;
use super::endpoint::{Endpoint, MemberStream};
use super::error;
use super::h2_io::{Spare, gathering};
use super::member::Member;
use super::{Connection, Failed, Held, Reached, Sent};
use crate::error::UpstreamError;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use weir_config::Limits;

/// Requests that share one connection; a further connection takes what comes beyond.
const STREAMS: usize = 64;

/// Times that a request is sent on connections to one member which take it and then say that they
/// did not process it.
const TRIES: usize = 3;

/// Bytes of a body that may arrive before they are taken.
const STREAM_WINDOW: u32 = 512 * 1024;

/// Bytes that may arrive on a connection before they are taken: as many as all of its streams
/// together, so that slow readers never use it up and hold up the others (invariant I7).
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;

/// From one ping to the next, and what its answer may take.
const PING: Duration = Duration::from_secs(5);

/// The connections of one worker to one member.
pub(super) struct Link {
    to: Endpoint,
    header_bytes: u32,
    spare: Spare,
    connections: Mutex<Vec<SharedConnection>>,
    /// One at a time opens a connection; the others find it.
    opening: Semaphore,
    /// The last try to open one that failed.
    vain: Mutex<Option<Vain>>,
}

/// A try to open a connection that failed.
#[derive(Clone, Debug)]
struct Vain {
    begun: Instant,
    error: UpstreamError,
}

/// A connection.
#[derive(Clone)]
struct SharedConnection {
    sender: http2::SendRequest<UpstreamBody>,
    opened: Instant,
    streams: Arc<AtomicUsize>,
    /// It has brought an answer.
    kept: Arc<AtomicBool>,
    /// The member has announced its end (GOAWAY).
    leaving: Arc<AtomicBool>,
}

/// A running stream; counts while it lives.
#[derive(Debug)]
pub(super) struct Stream(Arc<AtomicUsize>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Link {
    /// Connections to a member, none of them open.
    pub(super) fn new(to: Endpoint, limits: &Limits) -> Self {
        Self {
            to,
            header_bytes: header_list_bytes(limits),
            spare: Spare::default(),
            connections: Mutex::default(),
            opening: Semaphore::new(1),
            vain: Mutex::default(),
        }
    }

    /// The trust of `base`, for members that are spoken to in HTTP/2 alone.
    pub(super) fn tls(mut base: rustls::ClientConfig) -> Arc<rustls::ClientConfig> {
        base.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(base)
    }

    /// Sends a request and waits for the head of its answer. If a connection ends before it took the
    /// request, or the member says that it did not process the request, it is sent again, whatever
    /// its method (RFC 9113 §8.7), as far as its body can be repeated.
    pub(super) async fn send(
        &self,
        request: Request<UpstreamBody>,
        connection: Connection,
    ) -> Result<Sent, Failed> {
        let (head, body) = request.into_parts();
        let mut body = Some(body);
        let mut tries = TRIES;
        loop {
            // Boxed where one must be opened: most requests find one.
            let (mut shared, stream) = match self.open(connection) {
                Some(open) => open,
                None => Box::pin(self.connection(connection)).await?,
            };
            // The body is replaced below before the next try.
            let sent = body.take().unwrap_or_default();
            let spare = sent.clone();
            let request = Request::from_parts(head.clone(), sent);
            let mut refused = match self.ask(&mut shared, request).await {
                Ok(response) => return Ok(Sent::Answered(response, Held::Stream(stream))),
                Err(refused) => refused,
            };
            tries -= 1;
            if let Some(request) = refused.take_message() {
                if tries == 0 {
                    return Err(unsent(refused));
                }
                body = Some(request.into_body());
                continue;
            }
            let failed = failed(&shared, &refused.into_error());
            if failed.reached != Reached::Unprocessed {
                return Err(failed);
            }
            match spare.again() {
                Some(again) if tries > 0 => body = Some(again),
                _ => return Err(failed),
            }
        }
    }

    async fn ask(
        &self,
        shared: &mut SharedConnection,
        request: Request<UpstreamBody>,
    ) -> Result<Response<Incoming>, hyper::client::conn::TrySendError<Request<UpstreamBody>>> {
        let response = shared.sender.try_send_request(request).await;
        match &response {
            Ok(_) => shared.kept.store(true, Ordering::Relaxed),
            // The member takes no further request on it.
            Err(refused) if error::is_going_away(refused.error()) => {
                shared.leaving.store(true, Ordering::Relaxed);
            }
            Err(_) => {}
        }
        response
    }

    /// A connection with room for a stream, which may have to be opened.
    async fn connection(&self, which: Connection) -> Result<(SharedConnection, Stream), Failed> {
        // The turn is waited for apart: in a crowd each connection takes its time, and a member
        // that opens one after the other in time has failed nobody.
        let since = Instant::now();
        let _turn = self.opening.acquire().await;
        if let Some(open) = self.open(which) {
            return Ok(open);
        }
        // What was tried in vain meanwhile is not tried again by each in turn.
        let vain = self.vain().clone().filter(|vain| vain.begun >= since);
        let connected = match vain {
            Some(vain) => Err(vain.error),
            None => self.connect().await,
        };
        let shared = connected.map_err(Failed::unsent)?;
        let stream = shared.begin();
        self.lock().push(shared.clone());
        Ok((shared, stream))
    }

    /// Opens a connection, and notes when that was in vain.
    async fn connect(&self) -> Result<SharedConnection, UpstreamError> {
        let begun = Instant::now();
        let connecting = async {
            let stream = self.to.open(None).await?;
            if !stream.speaks_h2() {
                let why = "it does not speak HTTP/2 over TLS (ALPN)";
                return Err(UpstreamError::Connect(why.into()));
            }
            let shaken = shake_hands(stream, Arc::clone(&self.spare), self.header_bytes);
            shaken.await.map_err(UpstreamError::Connect)
        };
        let error = match timeout(self.to.dialer.bound(), connecting).await {
            Ok(Ok(shared)) => return Ok(shared),
            Ok(Err(error)) => error,
            Err(_) => UpstreamError::ConnectTimeout,
        };
        *self.vain() = Some(Vain { begun, error: error.clone() });
        Err(error)
    }

    fn vain(&self) -> MutexGuard<'_, Option<Vain>> {
        self.vain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first open connection with room. Those after it are let go once nobody uses them.
    fn open(&self, which: Connection) -> Option<(SharedConnection, Stream)> {
        let mut connections = self.lock();
        connections.retain(SharedConnection::is_open);
        let fits = |shared: &SharedConnection| match which {
            Connection::Any => true,
            Connection::OpenedAfter(moment) => shared.opened > moment,
        };
        let at = connections.iter().position(|one| fits(one) && one.streams() < STREAMS)?;
        let found = (connections[at].clone(), connections[at].begin());
        let mut index = 0;
        connections.retain(|shared| {
            index += 1;
            index <= at + 1 || shared.streams() > 0
        });
        Some(found)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SharedConnection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What h2 bounds: it counts 32 bytes beside each header, and refuses what exceeds it as malformed.
/// Twice the limit, so that [`head::check`](super::head) finds heads that exceed it by less.
fn header_list_bytes(limits: &Limits) -> u32 {
    let bytes = 2 * (limits.origin_header_bytes + 32 * limits.origin_header_fields);
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The URI of a request over HTTP/2: the host asked for is `:authority`.
pub(super) fn uri(
    member: &Member,
    target: &PathAndQuery,
    host: &HeaderValue,
) -> Result<Uri, Failed> {
    let asked = Authority::try_from(host.as_bytes());
    Uri::builder()
        .scheme(member.address.scheme.clone())
        .authority(asked.unwrap_or_else(|_| member.address.authority.clone()))
        .path_and_query(target.clone())
        .build()
        .map_err(|error| Failed::sent(UpstreamError::BadHead(error.to_string())))
}

/// What was made for HTTP/1.1, as HTTP/2 has it.
pub(super) fn adapt(headers: &mut HeaderMap) {
    // What it names is for the hop in HTTP/1.1; `TE: trailers` has its place in HTTP/2 too
    // (RFC 9113 §8.2.2), and hyper would remove it along with Connection.
    headers.remove(header::CONNECTION);
}

fn unsent(refused: hyper::client::conn::TrySendError<Request<UpstreamBody>>) -> Failed {
    match error::exchange_error(&refused.into_error()) {
        UpstreamError::BadHead(why) => Failed::unsent(UpstreamError::Connect(why)),
        error => Failed::unsent(error),
    }
}

fn failed(shared: &SharedConnection, error: &hyper::Error) -> Failed {
    let unprocessed = error::is_unprocessed(error);
    match error::exchange_error(error) {
        error if unprocessed => Failed::unprocessed(error),
        error @ UpstreamError::Reset(_)
            if shared.kept.load(Ordering::Relaxed) && shared.sender.is_closed() =>
        {
            Failed::closing(error)
        }
        error => Failed::sent(error),
    }
}

impl SharedConnection {
    fn is_open(&self) -> bool {
        !self.sender.is_closed() && !self.leaving.load(Ordering::Relaxed)
    }

    fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    fn begin(&self) -> Stream {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Stream(Arc::clone(&self.streams))
    }
}

/// Begins HTTP/2. The connection runs as a task of its own until it ends, or until nobody asks on
/// it any more and its last stream has ended.
async fn shake_hands(
    stream: MemberStream,
    spare: Spare,
    header_bytes: u32,
) -> Result<SharedConnection, String> {
    let is_tls = stream.is_tls();
    let (stream, tasks) = gathering(stream, is_tls, spare);
    let handshake = http2::Builder::new(tasks)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(header_bytes)
        .handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        // Whoever still waited on it has been told.
        let _ = connection.await;
    });
    Ok(SharedConnection {
        sender,
        opened: Instant::now(),
        streams: Arc::default(),
        kept: Arc::default(),
        leaving: Arc::default(),
    })
}
