//! HTTP/1.1 to one member from one worker: hyper's connections, of which idle ones are kept for later requests.
//! A request that finds none opens one, unless another request gives one back first.

use super::body::UpstreamBody;
use super::endpoint::Endpoint;
use super::{Connection, Failed, error};
use crate::error::UpstreamError;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use weir_config::Limits;

/// Bytes of a head besides its headers, with room for spaces around their values: the parser must
/// not refuse a head that is within the limits, which [`head::check`](super::head) judges exactly.
const HEAD_ROOM: usize = 16 * 1024;

/// The least time between two looks for connections that have been idle for too long.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The HTTP/1.1 client of one worker for one member.
pub(super) struct Client {
    to: Arc<Endpoint>,
    builder: Builder,
    pool: Arc<ConnectionPool>,
}

/// A connection. What it was sent before was answered, if it is one that was kept.
struct OpenConnection {
    sender: SendRequest<UpstreamBody>,
    is_kept: bool,
}

/// The connections to a member that are idle.
struct ConnectionPool {
    /// How many are kept, and for how long.
    most: usize,
    idle_for: Duration,
    state: Mutex<PoolState>,
}

/// The lock is held for a few moves.
#[derive(Default)]
struct PoolState {
    /// The one that was used last at the end.
    idle: Vec<(OpenConnection, Instant)>,
    /// Requests that have found none.
    waiting: VecDeque<oneshot::Sender<OpenConnection>>,
    /// Whether a task looks for those that have been idle for too long.
    is_watched: bool,
}

/// A connection whose answer is on its way. Dropping this gives it back once it is ready for the next request.
pub(super) struct InUse {
    connection: Option<OpenConnection>,
    pool: Arc<ConnectionPool>,
}

type Opening = Pin<Box<dyn Future<Output = Result<OpenConnection, UpstreamError>> + Send>>;

impl Client {
    /// A client for the member at `to`.
    pub(super) fn new(to: Endpoint, limits: &Limits) -> Self {
        let mut builder = Builder::new();
        builder
            .max_buf_size(limits.origin_header_bytes + HEAD_ROOM)
            .max_headers(limits.origin_header_fields)
            // RFC 9112 §5.1: a proxy removes the space before the colon of a response's header.
            .allow_spaces_after_header_name_in_responses(true)
            // RFC 9112 §5.2: it replaces an obsolete line folding by spaces.
            .allow_obsolete_multiline_headers_in_responses(true);
        let pool = ConnectionPool {
            most: limits.origin_idle_connections,
            idle_for: limits.origin_idle,
            state: Mutex::default(),
        };
        Self { to: Arc::new(to), builder, pool: Arc::new(pool) }
    }

    /// Sends a request and waits for the head of its answer. A kept connection that ends before it took the
    /// request is replaced by another one.
    pub(super) async fn send(
        &self,
        mut request: Request<UpstreamBody>,
        which: Connection,
    ) -> Result<(Response<Incoming>, InUse), Failed> {
        loop {
            let connection = match which {
                Connection::Any => self.connection().await,
                Connection::OpenedAfter(_) => self.open().await,
            };
            let mut connection = connection.map_err(Failed::unsent)?;
            let was_kept = connection.is_kept;
            let mut refused = match connection.sender.try_send_request(request).await {
                Ok(response) => {
                    connection.is_kept = true;
                    let pool = Arc::clone(&self.pool);
                    let mut in_use = InUse { connection: Some(connection), pool };
                    in_use.give_back_if_ready();
                    return Ok((response, in_use));
                }
                Err(refused) => refused,
            };
            match refused.take_message().filter(|_| was_kept) {
                Some(again) => request = again,
                None => return Err(failed(&refused.into_error(), was_kept)),
            }
        }
    }

    /// A connection: a kept one, the first that another request gives back, or a new one.
    async fn connection(&self) -> Result<OpenConnection, UpstreamError> {
        if let Some(kept) = self.pool.take() {
            return Ok(kept);
        }
        let mut given = self.pool.wait();
        let mut opening = self.open();
        tokio::select! {
            biased;
            Ok(kept) = &mut given => {
                // What was begun is of use to the next request.
                let pool = Arc::clone(&self.pool);
                tokio::spawn(async move {
                    if let Ok(opened) = opening.await {
                        pool.keep(opened);
                    }
                });
                Ok(kept)
            }
            opened = &mut opening => {
                given.close();
                if let Ok(kept) = given.try_recv() {
                    self.pool.keep(kept);
                }
                opened
            }
        }
    }

    /// Opens a connection, which runs as a task of its own until it ends.
    fn open(&self) -> Opening {
        let (to, builder) = (Arc::clone(&self.to), self.builder.clone());
        Box::pin(async move {
            let stream = TokioIo::new(to.open().await?);
            let handshake = builder.handshake(stream).await;
            let (sender, connection) =
                handshake.map_err(|error| UpstreamError::Connect(error::innermost(&error)))?;
            tokio::spawn(async move {
                // Whoever still waited on it has been told.
                let _ = connection.with_upgrades().await;
            });
            Ok(OpenConnection { sender, is_kept: false })
        })
    }
}

fn failed(error: &hyper::Error, was_kept: bool) -> Failed {
    match error::exchange_error(error) {
        error @ UpstreamError::Reset(_) if was_kept => Failed::closing(error),
        error => Failed::sent(error),
    }
}

impl ConnectionPool {
    /// An idle connection, the one that was used last.
    fn take(&self) -> Option<OpenConnection> {
        let mut state = self.lock();
        while let Some((connection, since)) = state.idle.pop() {
            if since.elapsed() >= self.idle_for {
                // So have been those before it.
                state.idle.clear();
            } else if connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// Waits for a connection that is given back.
    fn wait(&self) -> oneshot::Receiver<OpenConnection> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        state.waiting.retain(|waiting| !waiting.is_closed());
        state.waiting.push_back(sender);
        receiver
    }

    /// Keeps a connection for the next request.
    fn keep(self: &Arc<Self>, mut connection: OpenConnection) {
        let mut state = self.lock();
        while let Some(waiting) = state.waiting.pop_front() {
            match waiting.send(connection) {
                Ok(()) => return,
                Err(back) => connection = back,
            }
        }
        if state.idle.len() >= self.most {
            return;
        }
        state.idle.push((connection, Instant::now()));
        if !std::mem::replace(&mut state.is_watched, true) {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// Closes what has been idle for too long; whether anything is left.
    fn expire(&self) -> bool {
        let mut state = self.lock();
        let in_time = |since: &Instant| since.elapsed() < self.idle_for;
        state.idle.retain(|(connection, since)| in_time(since) && connection.sender.is_ready());
        state.is_watched = !state.idle.is_empty();
        state.is_watched
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections that have been idle for too long, as long as there are any.
async fn watch(pool: Weak<ConnectionPool>) {
    loop {
        let Some(every) = pool.upgrade().map(|pool| pool.idle_for.max(LOOK_EVERY)) else { return };
        tokio::time::sleep(every).await;
        if !pool.upgrade().is_some_and(|pool| pool.expire()) {
            return;
        }
    }
}

impl InUse {
    fn give_back_if_ready(&mut self) {
        if let Some(ready) = self.connection.take_if(|connection| connection.sender.is_ready()) {
            self.pool.keep(ready);
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        // A worker that has ended keeps nothing.
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        self.give_back_if_ready();
        let Some(mut connection) = self.connection.take() else { return };
        if connection.sender.is_closed() {
            return;
        }
        // The end of the message has still to be read, or the request's to be sent.
        let pool = Arc::clone(&self.pool);
        tokio::spawn(async move {
            if connection.sender.ready().await.is_ok() {
                pool.keep(connection);
            }
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::upstream::dialer::Dialer;
    use crate::upstream::endpoint::tls;
    use crate::upstream::member::{Address, Role};
    use http::uri::Scheme;
    use weir_config::{Config, Protocol};
    use weir_origin_sim::Origin;

    /// A client that keeps so many idle connections for so long, in front of an origin.
    async fn client(most: usize, idle_for: &str) -> (Origin, Client) {
        let origin = Origin::start().await;
        let config = format!(
            "[limits]\norigin_idle_connections = {most}\norigin_idle = {idle_for:?}\n\
             [[site]]\norigins = [{:?}]",
            origin.url()
        );
        let limits = Config::from_toml(&config).unwrap().limits;
        let authority = origin.url().strip_prefix("http://").unwrap().parse().unwrap();
        let address = Address {
            role: Role::Origin,
            scheme: Scheme::HTTP,
            authority,
            weight: 1,
            distance: 0,
            protocol: Protocol::H1,
            visitors_host: false,
        };
        let dialer = Dialer::new(Duration::from_secs(5));
        let to = Endpoint::of(&address, &Arc::new(tls()), &dialer).unwrap();
        (origin, Client::new(to, &limits))
    }

    /// A connection that takes a request.
    async fn ready(client: &Client) -> OpenConnection {
        let mut opened = client.open().await.unwrap();
        opened.sender.ready().await.unwrap();
        opened
    }

    #[tokio::test]
    async fn a_request_that_waits_is_given_the_connection_of_another() {
        let (_origin, client) = client(8, "1m").await;
        let (gone, waiting) = (client.pool.wait(), client.pool.wait());
        drop(gone);
        client.pool.keep(ready(&client).await);
        assert!(client.pool.take().is_none(), "it went to the one that waited");
        client.pool.keep(waiting.await.unwrap());
        assert!(client.pool.take().is_some());
    }

    #[tokio::test]
    async fn no_more_are_kept_than_are_allowed_and_the_latest_is_used_first() {
        let (_origin, client) = client(1, "1m").await;
        client.pool.keep(ready(&client).await);
        client.pool.keep(ready(&client).await);
        assert!(client.pool.take().is_some() && client.pool.take().is_none());
    }

    #[tokio::test]
    async fn what_is_idle_for_too_long_is_closed() {
        let (origin, client) = client(8, "200ms").await;
        client.pool.keep(ready(&client).await);
        client.pool.keep(ready(&client).await);
        let end = Instant::now() + Duration::from_secs(20);
        while origin.connections().accepted < 2 || origin.connections().open > 0 {
            assert!(Instant::now() < end, "{:?}", origin.connections());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(client.pool.take().is_none() && !client.pool.lock().is_watched);
    }
}
