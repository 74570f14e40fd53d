//! HTTP/1.1 to one member from one worker: hyper's connections, of which idle ones are kept for later requests.
//! A request that finds none opens one, unless another request gives one back first. One whose answer takes its
//! time [rests](super::resting).

use super::body::UpstreamBody;
use super::endpoint::{Endpoint, MemberStream};
use super::resting::{ExchangeStream, Restful, first_read};
use super::{Connection, Failed, Held, Sent, error};
use crate::error::UpstreamError;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
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
    /// How it rests; `None` if it cannot, as it is for an upgrade.
    rest: Option<Restful>,
}

/// A request, and whether it has waited for long enough for its connection to rest.
pub(super) struct Exchange<'a> {
    /// What is sent.
    pub(super) request: Request<UpstreamBody>,
    /// Turns true while it waits.
    pub(super) waits_long: &'a AtomicBool,
    /// Whether it asks for an upgrade.
    pub(super) upgrades: bool,
    /// Whom it is for.
    pub(super) client: IpAddr,
}

/// A connection on which an answer is awaited, without hyper.
pub(super) struct Resting {
    stream: MemberStream,
    was_kept: bool,
}

/// What a connection says to a request.
type Answered = Result<Response<Incoming>, TrySendError<Request<UpstreamBody>>>;

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
            // What names one client is kept for no other.
            most: if to.is_for_one_client() { 0 } else { limits.origin_idle_connections },
            idle_for: limits.origin_idle,
            state: Mutex::default(),
        };
        Self { to: Arc::new(to), builder, pool: Arc::new(pool) }
    }

    /// Sends a request and waits for the head of its answer, or until it waits for long. A kept connection that ends
    /// before it took the request is replaced by another one.
    pub(super) async fn send(
        &self,
        exchange: Exchange<'_>,
        which: Connection,
    ) -> Result<Sent, Failed> {
        let Exchange { mut request, waits_long, upgrades, client } = exchange;
        let is_shared = !upgrades && !self.to.is_for_one_client();
        let may_rest = request.body().is_empty() && !upgrades;
        loop {
            let connection = match which {
                Connection::Any if is_shared => self.connection().await,
                Connection::Any | Connection::OpenedAfter(_) => {
                    self.open(upgrades, Some(client)).await
                }
            };
            let mut connection = connection.map_err(Failed::unsent)?;
            let was_kept = connection.is_kept;
            let may_rest = || may_rest && waits_long.load(Ordering::Relaxed);
            let answered = match until_answered(&mut connection, request, may_rest).await {
                Ok(answered) => answered,
                Err(stream) => return Ok(Sent::Rests(Resting { stream, was_kept })),
            };
            let mut refused = match answered {
                Ok(response) => {
                    let in_use = self.in_use(connection);
                    return Ok(Sent::Answered(response, Held::Connection(in_use)));
                }
                Err(refused) => refused,
            };
            match refused.take_message().filter(|_| was_kept) {
                Some(again) => request = again,
                None => return Err(failed(&refused.into_error(), was_kept)),
            }
        }
    }

    /// Waits for the head of the answer on a connection that rests. Then hyper gets what `stand_in` makes in place of
    /// the request ([`resting`](super::resting)).
    pub(super) async fn rest(
        &self,
        resting: Resting,
        stand_in: impl Fn() -> Request<UpstreamBody>,
    ) -> Result<(Response<Incoming>, InUse), Failed> {
        let Resting { mut stream, was_kept } = resting;
        let read = first_read(&mut stream).await;
        let stream = ExchangeStream::resumed(stream, read);
        // Boxed, so that what waits has no room for it.
        Box::pin(self.resume(stream, stand_in(), was_kept)).await
    }

    async fn resume(
        &self,
        stream: ExchangeStream,
        stand_in: Request<UpstreamBody>,
        was_kept: bool,
    ) -> Result<(Response<Incoming>, InUse), Failed> {
        let mut connection = begin(&self.builder, stream, false).await.map_err(Failed::sent)?;
        // It was sent, whatever hyper says of the stand-in.
        let sent = |refused: TrySendError<_>| failed(&refused.into_error(), was_kept);
        let response = connection.sender.try_send_request(stand_in).await.map_err(sent)?;
        Ok((response, self.in_use(connection)))
    }

    /// A connection whose answer is on its way.
    fn in_use(&self, mut connection: OpenConnection) -> InUse {
        connection.is_kept = true;
        let mut in_use = InUse { connection: Some(connection), pool: Arc::clone(&self.pool) };
        in_use.give_back_if_ready();
        in_use
    }

    /// A connection: a kept one, the first that another request gives back, or a new one.
    async fn connection(&self) -> Result<OpenConnection, UpstreamError> {
        if let Some(kept) = self.pool.take() {
            return Ok(kept);
        }
        let mut given = self.pool.wait();
        let mut opening = self.open(false, None);
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

    /// Opens a connection.
    fn open(&self, upgrades: bool, client: Option<IpAddr>) -> Opening {
        let (to, builder) = (Arc::clone(&self.to), self.builder.clone());
        Box::pin(async move {
            let stream = ExchangeStream::new(to.open(client).await?);
            begin(&builder, stream, upgrades).await
        })
    }
}

/// Sends a request and waits for its answer, or until its connection rests because it may: then its stream is the
/// error, and hyper is gone from it.
async fn until_answered(
    connection: &mut OpenConnection,
    request: Request<UpstreamBody>,
    may_rest: impl Fn() -> bool,
) -> Result<Answered, MemberStream> {
    let mut answered = pin!(connection.sender.try_send_request(request));
    let rest = &mut connection.rest;
    poll_fn(|cx| match answered.as_mut().poll(cx) {
        Poll::Ready(answered) => Poll::Ready(Ok(answered)),
        Poll::Pending if may_rest() => match rest.as_mut().and_then(Restful::take) {
            Some(stream) => Poll::Ready(Err(stream)),
            None => Poll::Pending,
        },
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Has hyper begin on a connection, which runs as a task of its own until it ends.
async fn begin(
    builder: &Builder,
    stream: ExchangeStream,
    upgrades: bool,
) -> Result<OpenConnection, UpstreamError> {
    let written = stream.written();
    let (sender, connection) = builder
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| UpstreamError::Connect(error::innermost(&error)))?;
    let rest = match upgrades {
        true => {
            tokio::spawn(async move {
                // Whoever still waited on it has been told.
                let _ = connection.with_upgrades().await;
            });
            None
        }
        false => Some(Restful::run(connection, written)),
    };
    Ok(OpenConnection { sender, is_kept: false, rest })
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
    use crate::upstream::Reached;
    use crate::upstream::dialer::Dialer;
    use crate::upstream::endpoint::Manner;
    use crate::upstream::lookup::Lookup;
    use crate::upstream::member::{Address, At, Role};
    use crate::upstream::trust::tls;
    use http::uri::Scheme;
    use http::{HeaderMap, Method, StatusCode};
    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use weir_config::{Config, Protocol};
    use weir_origin_sim::Origin;

    /// A client that keeps so many idle connections for so long, in front of an origin.
    async fn client(most: usize, idle_for: &str) -> (Origin, Client) {
        let origin = Origin::start().await;
        let client = client_of(&origin.url(), most, idle_for);
        (origin, client)
    }

    fn client_of(url: &str, most: usize, idle_for: &str) -> Client {
        let config = format!(
            "[limits]\norigin_idle_connections = {most}\norigin_idle = {idle_for:?}\n\
             [[site]]\norigins = [{url:?}]",
        );
        let limits = Config::from_toml(&config).unwrap().limits;
        let authority = url.strip_prefix("http://").unwrap().parse().unwrap();
        let address = Address {
            role: Role::Origin,
            scheme: Scheme::HTTP,
            authority,
            weight: 1,
            distance: 0,
            protocol: Protocol::H1,
            visitors_host: false,
            at: At::Authority,
            prefix: "".into(),
        };
        let manner = Manner {
            tls: Arc::new(tls()),
            server_name: None,
            proxy: None,
            dialer: Dialer::new(Duration::from_secs(5), Lookup::System),
        };
        let to = Endpoint::of(&address, &manner).unwrap();
        Client::new(to, &limits)
    }

    /// A connection that takes a request.
    async fn ready(client: &Client) -> OpenConnection {
        let mut opened = client.open(false, None).await.unwrap();
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

    /// A member that reads requests and writes bytes.
    struct ByteMember {
        listener: TcpListener,
        stream: Option<TcpStream>,
    }

    impl ByteMember {
        async fn start() -> (Self, Client) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            (Self { listener, stream: None }, client_of(&url, 8, "1m"))
        }

        /// The head of the next request, on the connection that is open or on a new one.
        async fn request(&mut self) -> String {
            if self.stream.is_none() {
                self.stream = Some(self.listener.accept().await.unwrap().0);
            }
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") {
                assert!(self.stream.as_mut().unwrap().read_buf(&mut read).await.unwrap() > 0);
            }
            String::from_utf8(read).unwrap()
        }

        async fn write(&mut self, bytes: &str) {
            self.stream.as_mut().unwrap().write_all(bytes.as_bytes()).await.unwrap();
        }
    }

    type Came = Result<(Response<Incoming>, InUse), Failed>;

    /// Sends a request that waits for long. When the member has it, `answers` says what it does.
    async fn waits_long(
        (member, client): (&mut ByteMember, &Client),
        method: Method,
        told: &Arc<Mutex<Vec<StatusCode>>>,
        answers: impl AsyncFnOnce(&mut ByteMember),
    ) -> Came {
        let make = || {
            let mut request = Request::new(UpstreamBody::Empty);
            *request.method_mut() = method.clone();
            let told = Arc::clone(told);
            hyper::ext::on_informational(&mut request, move |interim| {
                told.lock().unwrap().push(interim.status());
            });
            request
        };
        let mut request = make();
        *request.headers_mut() =
            HeaderMap::from_iter([(http::header::HOST, "member".parse().unwrap())]);
        let waits_long = AtomicBool::new(false);
        let client_address = std::net::Ipv4Addr::LOCALHOST.into();
        let exchange =
            Exchange { request, waits_long: &waits_long, upgrades: false, client: client_address };
        let mut sending = pin!(client.send(exchange, Connection::Any));
        let asked = tokio::select! {
            biased;
            _ = &mut sending => panic!("there is no answer yet"),
            asked = member.request() => asked,
        };
        assert_eq!(asked, format!("{method} / HTTP/1.1\r\nhost: member\r\n\r\n"));
        waits_long.store(true, Ordering::Relaxed);
        let Ok(Sent::Rests(resting)) = sending.await else { panic!("it does not rest") };
        tokio::join!(client.rest(resting, make), answers(member)).0
    }

    async fn body(response: Response<Incoming>) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec())
            .unwrap()
    }

    const BOUND: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn an_answer_on_a_connection_that_rests_is_as_ever_and_so_is_the_next() {
        let (mut member, client) = ByteMember::start().await;
        let told = Arc::default();
        let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n", "x".repeat(5_000));
        for (answer, expected) in [
            (&["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"][..], "hello"),
            (&["HTTP/1.1 200 OK\r\ncontent-le", "ngth: 5\r\n\r\nhe", "llo"], "hello"),
            (&[&large, "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"], "abc"),
        ] {
            let came = waits_long((&mut member, &client), Method::GET, &told, async |member| {
                for piece in answer {
                    member.write(piece).await;
                    tokio::task::yield_now().await;
                }
            });
            let (response, in_use) = tokio::time::timeout(BOUND, came).await.unwrap().ok().unwrap();
            assert_eq!(body(response).await, expected);
            drop(in_use);
            // The connection is kept: the member is asked on it again.
            while client.pool.lock().idle.is_empty() {
                tokio::task::yield_now().await;
            }
        }
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
        let came = waits_long((&mut member, &client), Method::HEAD, &told, async |member| {
            member.write(answer).await;
        });
        let (response, _in_use) = came.await.ok().unwrap();
        assert_eq!(response.headers()["content-length"], "5");
        assert_eq!(body(response).await, "", "the method is known");
    }

    #[tokio::test]
    async fn interim_responses_on_a_connection_that_rests_are_told() {
        let (mut member, client) = ByteMember::start().await;
        let told = Arc::default();
        let came = waits_long((&mut member, &client), Method::GET, &told, async |member| {
            member.write("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n").await;
            member.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        });
        let (response, _in_use) = came.await.ok().unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(*told.lock().unwrap(), [StatusCode::EARLY_HINTS]);
    }

    #[tokio::test]
    async fn a_member_that_closes_a_connection_that_rests_is_judged_as_ever() {
        let (mut member, client) = ByteMember::start().await;
        let told = Arc::default();
        let closes = async |member: &mut ByteMember| drop(member.stream.take());
        let came = waits_long((&mut member, &client), Method::GET, &told, closes).await;
        let failed = came.err().unwrap();
        assert_eq!(failed.reached, Reached::Member, "it was opened for the request");
        assert!(matches!(failed.error, UpstreamError::Reset(_)), "{:?}", failed.error);
        // On a kept one it is open whether the member knew of the request.
        let came = waits_long((&mut member, &client), Method::GET, &told, async |member| {
            member.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        });
        drop(came.await.ok().unwrap());
        let resets = async |member: &mut ByteMember| {
            member.stream.take().unwrap().set_zero_linger().unwrap();
        };
        let came = waits_long((&mut member, &client), Method::GET, &told, resets).await;
        let failed = came.err().unwrap();
        assert_eq!(failed.reached, Reached::ClosingConnection);
        assert!(matches!(failed.error, UpstreamError::Reset(_)), "{:?}", failed.error);
    }

    #[tokio::test]
    async fn nothing_rests_once_a_byte_of_the_answer_is_here() {
        let (mut member, client) = ByteMember::start().await;
        let mut connection = ready(&client).await;
        let mut answer = pin!(connection.sender.try_send_request(Request::default()));
        let rest = connection.rest.as_mut().unwrap();
        assert!(rest.take().is_none(), "nothing was sent");
        tokio::select! {
            biased;
            _ = &mut answer => panic!("there is no answer yet"),
            _ = member.request() => {}
        }
        member.write("HTTP/1.1 200 O").await;
        while rest.is_quiet() {
            tokio::task::yield_now().await;
        }
        assert!(rest.take().is_none());
        member.write("K\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(answer.await.ok().unwrap().status(), StatusCode::OK);
    }
}
