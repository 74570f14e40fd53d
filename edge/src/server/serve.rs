//! Serving one connection from its first byte to its last.

use super::connection::{Connection, Order, Protocol};
use super::h2::StreamTasks;
use super::h2_io::GatheringIo;
use super::in_hand::InHand;
use super::received::received;
use super::sent::{Answer, InFlight, Sent};
use super::wire::Io;
use super::worker::{Beginning, Listed};
use super::{Handler, NoMemory, upgrade};
use crate::gather::{Gather, Gathered};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioTimer;
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use weir_config::Limits;

/// Bytes that hyper reads ahead, and that it lets a response run ahead, on an HTTP/1 connection.
const HTTP1_BUFFER: usize = 64 * 1024;
/// Fields that hyper takes in a head when nothing is said.
const HYPER_FIELDS: usize = 100;
/// Response bytes an HTTP/2 stream may hold while its client is not ready for them.
const H2_SEND_BUFFER: usize = 64 * 1024;
/// What a client may send ahead on one stream, and on all streams of a connection.
const H2_STREAM_WINDOW: u32 = 256 * 1024;
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Streams a client may open and reset at once before the connection ends (CVE-2023-44487).
const H2_PENDING_RESETS: usize = 20;
/// Streams we reset for a client's errors before the connection ends.
const H2_LOCAL_RESETS: usize = 256;
/// A dead HTTP/2 peer is found by pings, sent this often and answered within as long.
const H2_PING: Duration = Duration::from_secs(20);

/// Serves `connection` until it ends. `protocol` is known after TLS, and found out otherwise.
pub(super) async fn serve<H: Handler>(
    handler: Rc<H>,
    connection: Rc<Connection>,
    beginning: Beginning,
    protocol: Option<Protocol>,
) {
    let _listed = listed(&connection, beginning).await;
    let protocol = match protocol {
        Some(protocol) => Some(protocol),
        None => preface(&connection).await,
    };
    match protocol {
        Some(Protocol::Http1) => serve_http1(handler, &connection).await,
        // Boxed, as the other protocol below: only the one that is spoken takes memory.
        Some(Protocol::Http2) => Box::pin(serve_http2(handler, &connection)).await,
        // That is another socket's.
        #[cfg(feature = "http3")]
        Some(Protocol::Http3) => {}
        None => {}
    }
    connection.task.borrow_mut().take();
}

/// Lists a connection, which is served by this task from now on, until the returned value is dropped.
pub(super) async fn listed(connection: &Rc<Connection>, beginning: Beginning) -> Listed {
    let listed = connection.worker.enlist(connection);
    drop(beginning);
    poll_fn(|cx| {
        *connection.task.borrow_mut() = Some(cx.waker().clone());
        Poll::Ready(())
    })
    .await;
    if connection.worker.draining() {
        connection.order(Order::Finish);
    }
    listed
}

/// Reads until it is certain whether the client speaks HTTP/2 with prior knowledge
/// (RFC 9113 §3.3). `None` when it left, or has to. One that is to finish still has a moment to send
/// its first request: the client could not know.
async fn preface(connection: &Connection) -> Option<Protocol> {
    poll_fn(|cx| {
        if connection.ordered() == Order::Abort {
            return Poll::Ready(None);
        }
        let worker = &connection.worker;
        let scratch = &mut worker.scratch.borrow_mut();
        connection.wire.borrow_mut().poll_preface(cx, scratch, worker.now())
    })
    .await
}

/// Serves request after request. A connection that has been idle for a while rests in between: hyper's state
/// and buffers, which are most of what it takes, are there again with the next byte. One whose request has waited
/// for its answer for a while rests, too: with the answer hyper begins anew, reads a [stand-in](super::stand_in) for
/// the request, and sends the answer.
async fn serve_http1<H: Handler>(handler: Rc<H>, connection: &Rc<Connection>) {
    let mut answer = None;
    loop {
        match Box::pin(speak_http1(Rc::clone(&handler), connection, answer.take())).await {
            Spoken::Ended => return,
            Spoken::Idle => {
                if !next_request(connection).await {
                    return;
                }
            }
            Spoken::Awaited(awaited) => {
                answer = until_answered(connection, awaited).await;
                if answer.is_none() {
                    return;
                }
                connection.resume();
            }
        }
    }
}

/// An answer on the way to hyper.
type Ready<B> = Result<Response<Sent<B>>, Infallible>;

/// Why hyper is done with a connection.
enum Spoken<B> {
    /// The connection ends.
    Ended,
    /// It is idle, and rests.
    Idle,
    /// It rests while a request waits for its answer.
    Awaited(Pin<Box<dyn Future<Output = Ready<B>>>>),
}

/// Waits for an answer on a connection that rests; `None` when it has to end.
async fn until_answered<B>(
    connection: &Connection,
    mut awaited: Pin<Box<dyn Future<Output = Ready<B>>>>,
) -> Option<Ready<B>> {
    poll_fn(|cx| match connection.ordered() {
        Order::Abort => Poll::Ready(None),
        // The answer says that the connection ends with it.
        Order::None | Order::Finish => awaited.as_mut().poll(cx).map(Some),
    })
    .await
}

/// Waits for the first byte of a request on a connection that rests; `false` when there will be none.
async fn next_request(connection: &Connection) -> bool {
    poll_fn(|cx| {
        match connection.ordered() {
            Order::None => {}
            Order::Finish if connection.may_be_asked() => {}
            Order::Finish | Order::Abort => return Poll::Ready(false),
        }
        let worker = &connection.worker;
        let scratch = &mut worker.scratch.borrow_mut();
        connection.wire.borrow_mut().poll_next(cx, scratch, worker.now())
    })
    .await
}

/// Has hyper read and answer requests. The first one it reads gets `answer`, if there is one.
async fn speak_http1<H: Handler>(
    handler: Rc<H>,
    connection: &Rc<Connection>,
    answer: Option<Ready<H::Body>>,
) -> Spoken<H::Body> {
    let in_hand = InHand::new(answer);
    let service = {
        let (connection, in_hand) = (Rc::clone(connection), Rc::clone(&in_hand));
        hyper::service::service_fn(move |request: Request<Incoming>| {
            in_hand.answer_with(|| {
                let http10 = request.version() == Version::HTTP_10;
                let running = InFlight::begin(Rc::clone(&connection), http10);
                let request = request.map(received);
                Answer::new(Rc::clone(&handler).handle(Rc::clone(&connection), request), running)
            })
        })
    };
    let mut http = http1_builder(&connection.worker.limits())
        .serve_connection(Io(Rc::clone(connection)), service);
    let driven = drive(
        connection,
        &mut http,
        || in_hand.is_awaited(),
        |http| {
            Pin::new(&mut **http).graceful_shutdown();
        },
    );
    let result = match driven.await {
        Driven::Ended(result) => result,
        Driven::Rests => {
            let unread = http.into_parts().read_buf;
            connection.wire.borrow_mut().put_back(&unread);
            return in_hand.take().map_or(Spoken::Idle, Spoken::Awaited);
        }
        Driven::Aborted => return Spoken::Ended,
    };
    // hyper's buffers are of no use to the other protocol.
    drop(http);
    match result {
        Ok(()) if connection.grant_upgrade() => upgrade::until_dropped(connection).await,
        Err(error) if error.is_user() => connection.cut_short(),
        _ => {}
    }
    Spoken::Ended
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // With half-closing hyper does not read while a request is being answered, and so finds its
    // buffer free when it does: one allocation of 8 KiB a request less. A client that is gone is
    // noticed by the sweeper, or when the answer is written.
    builder.half_close(true);
    // The guard bounds heads, so that these only have to let them through.
    builder
        .max_buf_size(HTTP1_BUFFER.max(limits.header_bytes + super::wire::STAND_IN.len()))
        .header_read_timeout(None);
    // Measured: asking for any number makes hyper initialise that many places for each request.
    if limits.header_fields > HYPER_FIELDS {
        builder.max_headers(limits.header_fields);
    }
    builder
}

async fn serve_http2<H: Handler>(handler: Rc<H>, connection: &Rc<Connection>) {
    connection.protocol.set(Protocol::Http2);
    if !connection.memory.borrow_mut().begin_http2() {
        return;
    }
    connection.wire.borrow_mut().pass_untouched();
    let service = {
        let connection = Rc::clone(connection);
        hyper::service::service_fn(move |mut request: Request<Incoming>| {
            if !connection.memory.borrow_mut().begin_stream() {
                request.extensions_mut().insert(NoMemory);
            }
            let running = InFlight::begin(Rc::clone(&connection), false);
            let request = request.map(received);
            Answer::new(Rc::clone(&handler).handle(Rc::clone(&connection), request), running)
        })
    };
    let gather = Rc::new(RefCell::new(Gather::new(Rc::clone(connection))));
    let io = GatheringIo::new(Rc::clone(&gather), Rc::clone(connection));
    let http = pin!(http2_builder(connection).serve_connection(io, service));
    drive(
        connection,
        Gathered::new(http, gather),
        || false,
        |http| {
            if let Some(http) = http.connection() {
                http.as_mut().graceful_shutdown();
            }
        },
    )
    .await;
    connection.streams.abort_all();
}

fn http2_builder(connection: &Rc<Connection>) -> http2::Builder<StreamTasks> {
    let limits = connection.worker.limits();
    let mut builder = http2::Builder::new(StreamTasks(Rc::clone(connection)));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(H2_SEND_BUFFER)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(H2_PENDING_RESETS)
        .max_local_error_reset_streams(H2_LOCAL_RESETS)
        .keep_alive_interval(H2_PING)
        .keep_alive_timeout(H2_PING);
    builder
}

/// How it ended that hyper was polled.
enum Driven<T> {
    /// By itself.
    Ended(T),
    /// The connection is to rest.
    Rests,
    /// The order was to end now.
    Aborted,
}

/// Polls hyper and follows orders. `is_awaited` says whether a request waits for its answer.
async fn drive<C: Future + Unpin>(
    connection: &Connection,
    mut http: C,
    is_awaited: impl Fn() -> bool,
    finish: impl Fn(&mut C),
) -> Driven<C::Output> {
    let mut finishing = false;
    poll_fn(|cx| {
        match connection.ordered() {
            Order::None => {}
            Order::Finish if finishing => {}
            // hyper would close it unread.
            Order::Finish if connection.may_be_asked() => {}
            Order::Finish => {
                finishing = true;
                finish(&mut http);
            }
            Order::Abort => return Poll::Ready(Driven::Aborted),
        }
        match Pin::new(&mut http).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Driven::Ended(ended)),
            Poll::Pending if connection.begin_rest(&is_awaited) => Poll::Ready(Driven::Rests),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
