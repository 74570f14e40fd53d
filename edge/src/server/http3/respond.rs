//! One request and its response on a stream.

use super::super::connection::Connection;
use super::super::h2::Stream;
use super::super::sent::{Answer, InFlight, Sent};
use super::super::{Handler, NoMemory, Received};
use super::body::{Broken, Http3Body, Incoming, Outgoing};
use super::fields;
use super::frames::{Frames, Place};
use super::transport::{Shown, Transport, code};
use bytes::{Buf, Bytes};
use h3::error::{Code, StreamError};
use h3::server::RequestResolver;
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, Request, Response};
use http_body::Body;
use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::SystemTime;
use tokio::sync::Semaphore;

/// The longest piece of a body that is sent as one frame: the sweeper sees progress between pieces.
const PIECE_BYTES: usize = 16 * 1024;

/// Bytes that an encoded field section may have beyond `limits.header_bytes`: up to there the client is told that its
/// fields are too large. One within the limit is shorter when it is encoded.
const FIELDS_SPARE: usize = 4096;

/// What resolves with a code once a client wants no answer any more, and without one when it has all of it.
type Stopped = Pin<Box<dyn Future<Output = Option<quinn::VarInt>>>>;

/// A stream, and what it is on.
pub(super) struct Exchanging {
    pub(super) connection: Rc<Connection>,
    pub(super) quic: quinn::Connection,
    pub(super) stream: Rc<Stream>,
    pub(super) incoming: quinn::RecvStream,
    pub(super) shown: Shown,
    /// See [`Exchange::is_whole`](super::transport::Exchange::is_whole).
    pub(super) is_whole: Rc<Cell<bool>>,
    pub(super) stopped: Stopped,
    pub(super) given_up: Rc<Cell<u32>>,
    /// One permit for each head that is read.
    pub(super) heads: Rc<Semaphore>,
}

/// What a stream is charged for until its request runs.
struct Charged(Option<Rc<Connection>>);

impl Charged {
    /// Charges a stream; whether there is room.
    fn begin(connection: &Rc<Connection>) -> (Self, bool) {
        let fits = connection.memory.borrow_mut().begin_http3_stream();
        (Self(Some(Rc::clone(connection))), fits)
    }

    /// The request runs, and is charged for instead.
    fn run(mut self, stream: Rc<Stream>) -> Option<InFlight> {
        self.0.take().map(|connection| InFlight::on(connection, stream))
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.memory.borrow_mut().end_stream();
        }
    }
}

/// Reads a request, has it answered, and sends the response.
pub(super) async fn answer<H: Handler>(
    handler: Rc<H>,
    exchanging: Exchanging,
    resolver: RequestResolver<Transport, Bytes>,
) {
    let Exchanging { connection, quic, stream, .. } = &exchanging;
    let (connection, quic, stream) = (Rc::clone(connection), quic.clone(), Rc::clone(stream));
    let Exchanging { incoming, shown, is_whole, mut stopped, given_up, heads, .. } = exchanging;
    let (charged, fits) = Charged::begin(&connection);
    let limits = connection.worker.limits();
    let frames = Frames::new(Place::Request, limits.header_bytes + FIELDS_SPARE);
    let mut incoming = Incoming::new(incoming, frames);
    let mut resolver = Some(resolver);
    let reading = async {
        let _permit = heads.acquire().await;
        read(&mut incoming, &shown, &is_whole, &mut resolver).await
    };
    let read = match tokio::time::timeout(limits.header_timeout, reading).await {
        Ok(read) => read,
        Err(_) => Err(Broken::Message(Code::H3_REQUEST_INCOMPLETE)),
    };
    is_whole.set(false);
    let (request, stream_of_both) = match read {
        Ok(read) => read,
        Err(broken) => {
            give_up(resolver.take(), broken);
            given_up.set(given_up.get() + 1);
            connection.wake();
            return end(&quic, &mut incoming, broken);
        }
    };
    let (outgoing, fields) = stream_of_both.split();
    let mut outgoing = Some(outgoing);
    let announced = match announced(&request) {
        Ok(announced) => announced,
        Err(broken) => {
            refuse(&mut outgoing, broken);
            given_up.set(given_up.get() + 1);
            return end(&quic, &mut incoming, broken);
        }
    };
    let mut body = Http3Body::new(incoming, fields, shown, announced);
    if !anticipates_content(request.method()) || announced == Some(0) {
        let settled = match tokio::time::timeout(limits.header_timeout, body.settle()).await {
            Ok(settled) => settled,
            Err(_) => Err(Broken::Message(Code::H3_REQUEST_INCOMPLETE)),
        };
        if let Err(broken) = settled {
            refuse(&mut outgoing, broken);
            given_up.set(given_up.get() + 1);
            return end_of(&quic, broken);
        }
    }
    let verdict = body.verdict();
    let is_head = request.method() == Method::HEAD;
    let mut request = request.map(|()| Received::from(body));
    if !fits {
        request.extensions_mut().insert(NoMemory);
    }
    let Some(running) = charged.run(Rc::clone(&stream)) else { return };
    let handled = Rc::clone(&handler).handle(Rc::clone(&connection), request);
    let Some(response) = unless_stopped(Answer::new(handled, running), &mut stopped).await else {
        // Dropping what answers is what hyper does when a stream is reset.
        given_up.set(given_up.get() + 1);
        return connection.wake();
    };
    let Some(mut outgoing) = outgoing.take() else { return };
    let (head, body) = response.into_parts();
    // Until its client has all of it, it counts as running.
    let mut body = pin!(body);
    let sent = match verdict.get() {
        Some(broken @ Broken::Connection(_)) => return end_of(&quic, broken),
        Some(Broken::Message(why)) => Err(why),
        _ => {
            let to = (&mut outgoing, &mut stopped);
            send(to, &connection, &stream, head, body.as_mut(), is_head).await
        }
    };
    if let Err(why) = sent {
        outgoing.stop_stream(why);
        given_up.set(given_up.get() + 1);
        connection.wake();
    } else {
        given_up.set(given_up.get().saturating_sub(1));
        stream.sending_since.set(Some(connection.worker.now()));
        // What it was charged for is held until the client has it.
        stopped.await;
    }
    if let Some(broken) = verdict.get() {
        end_of(&quic, broken);
    }
}

type Both = h3::server::RequestStream<super::transport::Exchange, Bytes>;

/// Reads the request's fields.
async fn read(
    incoming: &mut Incoming,
    shown: &Shown,
    is_whole: &Cell<bool>,
    resolver: &mut Option<RequestResolver<Transport, Bytes>>,
) -> Result<(Request<()>, Both), Broken> {
    let first = incoming.first().await?;
    fields::check(first.payload()).map_err(|_| Broken::Message(Code::H3_MESSAGE_ERROR))?;
    shown.show(first.bytes().clone());
    drop(first);
    let resolver = resolver.take().ok_or(Broken::Gone)?;
    // What h3 finds wrong with a request it answers, or resets the stream for, itself.
    is_whole.set(true);
    let resolved = resolver.resolve_request().await;
    is_whole.set(false);
    let (request, both) = resolved.map_err(|error| match error {
        StreamError::ConnectionError(_) => Broken::Connection(Code::QPACK_DECOMPRESSION_FAILED),
        _ => Broken::Message(Code::H3_MESSAGE_ERROR),
    })?;
    let is_whole = request.method() == Method::CONNECT
        || (request.uri().scheme().is_some() && request.uri().path_and_query().is_some());
    if !is_whole || !is_of_http3(request.headers()) {
        let mut both = both;
        both.stop_stream(Code::H3_MESSAGE_ERROR);
        return Err(Broken::Message(Code::H3_MESSAGE_ERROR));
    }
    Ok((request, both))
}

/// Ends the stream of a request that h3 has not seen.
fn give_up(resolver: Option<RequestResolver<Transport, Bytes>>, broken: Broken) {
    let Some(mut resolver) = resolver else { return };
    if let Broken::Message(why) = broken {
        h3::quic::SendStream::reset(&mut resolver.frame_stream, why.value());
    }
    // h3 forgets a stream when its request is dropped, and so is given one: without fields.
    let nothing = h3::proto::frame::Frame::Headers(Bytes::from_static(&[0, 0]));
    drop(resolver.accept_with_frame(Ok(Some(nothing))));
}

/// Whether no field is of a connection (RFC 9114 §4.2).
fn is_of_http3(headers: &HeaderMap) -> bool {
    const OTHERS: [HeaderName; 3] = [
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("http2-settings"),
    ];
    let is_there = |name: &HeaderName| headers.contains_key(name);
    ![CONNECTION, TRANSFER_ENCODING, UPGRADE].iter().chain(&OTHERS).any(is_there)
        && headers.get_all(TE).iter().all(|value| value.as_bytes() == b"trailers")
}

/// Bytes that the request announces; one Content-Length that says nothing valid is the spine's to judge.
fn announced(request: &Request<()>) -> Result<Option<u64>, Broken> {
    let mut lengths = request.headers().get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(None),
        (Some(length), None) => {
            let digits = length.as_bytes();
            let length =
                digits.iter().all(u8::is_ascii_digit).then(|| length.to_str().ok()?.parse().ok());
            length.flatten().map(Some).ok_or(Broken::Message(Code::H3_MESSAGE_ERROR))
        }
        _ => Err(Broken::Message(Code::H3_MESSAGE_ERROR)),
    }
}

/// Whether a request with this method may have its body on its way, though nothing says so yet. With others it is waited
/// for what comes: a request without a body may be answered from the store.
fn anticipates_content(method: &Method) -> bool {
    !matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE | Method::TRACE
    ) && method.as_str() != "PURGE"
}

/// The answer, unless the client gives up first.
async fn unless_stopped<B, F>(answer: Answer<F>, stopped: &mut Stopped) -> Option<Response<Sent<B>>>
where
    B: Body,
    F: Future<Output = Response<B>>,
{
    let mut answer = pin!(answer);
    poll_fn(|cx| {
        if let Poll::Ready(answered) = answer.as_mut().poll(cx) {
            let Ok(response): Result<_, Infallible> = answered;
            return Poll::Ready(Some(response));
        }
        stopped.as_mut().poll(cx).map(|_| None)
    })
    .await
}

/// Sends a response. An error is what the stream is to be reset with.
async fn send<B: Body>(
    (outgoing, stopped): (&mut Outgoing, &mut Stopped),
    connection: &Connection,
    stream: &Stream,
    mut head: http::response::Parts,
    mut body: Pin<&mut Sent<B>>,
    is_head: bool,
) -> Result<(), Code> {
    complete(&mut head.headers, &*body);
    let begin = || stream.sending_since.set(Some(connection.worker.now()));
    let gone = |_| Code::H3_REQUEST_CANCELLED;
    begin();
    outgoing.send_response(Response::from_parts(head, ())).await.map_err(gone)?;
    loop {
        let next = poll_fn(|cx| {
            if let Poll::Ready(frame) = body.as_mut().poll_frame(cx) {
                return Poll::Ready(Ok(frame));
            }
            // Nothing is fetched on for a client that wants no more.
            stopped.as_mut().poll(cx).map(|_| Err(Code::H3_REQUEST_CANCELLED))
        });
        let Some(frame) = (if is_head { None } else { next.await? }) else { break };
        let frame = frame.map_err(|_| Code::H3_INTERNAL_ERROR)?;
        match frame.into_data() {
            Ok(mut data) => {
                while data.has_remaining() {
                    let piece = data.copy_to_bytes(data.remaining().min(PIECE_BYTES));
                    begin();
                    outgoing.send_data(piece).await.map_err(gone)?;
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    begin();
                    outgoing.send_trailers(trailers).await.map_err(gone)?;
                }
            }
        }
    }
    outgoing.finish().await.map_err(gone)
}

/// The head as hyper makes it for HTTP/2: without fields of a connection, with Date, and with the length where it is
/// known.
fn complete(headers: &mut HeaderMap, body: &impl Body) {
    const OTHERS: [HeaderName; 2] =
        [HeaderName::from_static("keep-alive"), HeaderName::from_static("proxy-connection")];
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE].iter().chain(&OTHERS) {
        headers.remove(name);
    }
    if !headers.contains_key(DATE)
        && let Ok(now) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()))
    {
        headers.insert(DATE, now);
    }
    if !body.is_end_stream()
        && !headers.contains_key(CONTENT_LENGTH)
        && let Some(length) = body.size_hint().exact()
    {
        headers.insert(CONTENT_LENGTH, length.into());
    }
}

fn refuse(outgoing: &mut Option<Outgoing>, broken: Broken) {
    if let (Some(outgoing), Broken::Message(why)) = (outgoing, broken) {
        outgoing.stop_stream(why);
    }
}

/// Ends a stream that is not to be read on, or the connection.
fn end(quic: &quinn::Connection, incoming: &mut Incoming, broken: Broken) {
    if let Broken::Message(why) = broken {
        incoming.stop(why);
    }
    end_of(quic, broken);
}

/// Ends the connection if the client broke its rules.
fn end_of(quic: &quinn::Connection, broken: Broken) {
    if let Broken::Connection(why) = broken {
        quic.close(code(why), b"");
    }
}
