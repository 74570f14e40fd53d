//! QUIC as h3 takes it, over quinn. Of a request's stream h3 gets to see the frames with fields alone, each when it
//! is here as a whole: everything else is read beside it, so that nothing piles up in it. A stream that is given up
//! before its end is reset: its client must not take what it has for the whole.

use super::frames::{Fault, Frame, Frames, Place, integer};
use bytes::{Buf, Bytes, BytesMut};
use h3::error::Code;
use h3::proto::varint::VarInt;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Longest payload of a frame on a client's control stream: SETTINGS has a few numbers.
const CONTROL_BYTES: usize = 1024;

/// Bytes of a control stream that are read at once.
const READ_BYTES: usize = 2048;

type Waiting<T> = Pin<Box<dyn Future<Output = Result<T, quinn::ConnectionError>>>>;

/// A code of HTTP/3 as quinn takes it.
pub(super) fn code(code: Code) -> quinn::VarInt {
    quinn::VarInt::from_u64(code.value()).unwrap_or(quinn::VarInt::MAX)
}

/// A connection.
pub(super) struct Transport {
    connection: quinn::Connection,
    bidirectional: Option<Waiting<(quinn::SendStream, quinn::RecvStream)>>,
    unidirectional: Option<Waiting<quinn::RecvStream>>,
    opening: Option<Waiting<quinn::SendStream>>,
}

impl Transport {
    pub(super) fn new(connection: quinn::Connection) -> Self {
        Self { connection, bidirectional: None, unidirectional: None, opening: None }
    }
}

fn of_connection(error: quinn::ConnectionError) -> ConnectionErrorIncoming {
    match error {
        quinn::ConnectionError::ApplicationClosed(closed) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: closed.error_code.into() }
        }
        quinn::ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        other => ConnectionErrorIncoming::Undefined(Arc::new(other)),
    }
}

fn of_stream(error: quinn::ConnectionError) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming { connection_error: of_connection(error) }
}

/// The number of a stream.
fn number(id: quinn::StreamId) -> StreamId {
    // Both have the same form (RFC 9000 §2.1).
    VarInt::try_from(u64::from(id)).unwrap_or(VarInt::from_u32(0)).into()
}

impl quic::Connection<Bytes> for Transport {
    type RecvStream = ControlStream;
    type OpenStreams = Opener;

    fn poll_accept_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ControlStream, ConnectionErrorIncoming>> {
        let connection = &self.connection;
        let waiting = self.unidirectional.get_or_insert_with(|| {
            let connection = connection.clone();
            Box::pin(async move { connection.accept_uni().await })
        });
        let accepted = ready!(waiting.as_mut().poll(cx));
        self.unidirectional = None;
        Poll::Ready(accepted.map(ControlStream::new).map_err(of_connection))
    }

    fn poll_accept_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Exchange, ConnectionErrorIncoming>> {
        let connection = &self.connection;
        let waiting = self.bidirectional.get_or_insert_with(|| {
            let connection = connection.clone();
            Box::pin(async move { connection.accept_bi().await })
        });
        let accepted = ready!(waiting.as_mut().poll(cx));
        self.bidirectional = None;
        let exchange = accepted.map(|(send, receive)| Exchange::new(send, receive));
        Poll::Ready(exchange.map_err(of_connection))
    }

    fn opener(&self) -> Opener {
        Opener(Self::new(self.connection.clone()))
    }
}

impl quic::OpenStreams<Bytes> for Transport {
    type BidiStream = Exchange;
    type SendStream = Sending;

    /// A server opens no requests.
    fn poll_open_bidi(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<Result<Exchange, StreamErrorIncoming>> {
        let why = ConnectionErrorIncoming::InternalError("a server asks nothing".into());
        Poll::Ready(Err(StreamErrorIncoming::ConnectionErrorIncoming { connection_error: why }))
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Sending, StreamErrorIncoming>> {
        let connection = &self.connection;
        let waiting = self.opening.get_or_insert_with(|| {
            let connection = connection.clone();
            Box::pin(async move { connection.open_uni().await })
        });
        let opened = ready!(waiting.as_mut().poll(cx));
        self.opening = None;
        Poll::Ready(opened.map(Sending::new).map_err(of_stream))
    }

    fn close(&mut self, why: Code, reason: &[u8]) {
        self.connection.close(code(why), reason);
    }
}

/// What h3 opens streams by: the connection.
pub(super) struct Opener(Transport);

impl quic::OpenStreams<Bytes> for Opener {
    type BidiStream = Exchange;
    type SendStream = Sending;

    fn poll_open_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Exchange, StreamErrorIncoming>> {
        self.0.poll_open_bidi(cx)
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Sending, StreamErrorIncoming>> {
        self.0.poll_open_send(cx)
    }

    fn close(&mut self, why: Code, reason: &[u8]) {
        self.0.close(why, reason);
    }
}

/// A direction in which weir sends. Dropped before its end, it is reset.
pub(super) struct Sending {
    stream: quinn::SendStream,
    writing: Option<WriteBuf<Bytes>>,
    is_over: bool,
    has_begun: bool,
    /// Whether it is ended and not reset when it is dropped.
    is_whole: Rc<Cell<bool>>,
}

impl Sending {
    fn new(stream: quinn::SendStream) -> Self {
        Self { stream, writing: None, is_over: false, has_begun: false, is_whole: Rc::default() }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        // quinn ends a stream that is dropped.
        let is_complete = self.is_over || (self.is_whole.get() && self.has_begun);
        if !is_complete {
            // An error says that it is closed already.
            let _ = self.stream.reset(code(Code::H3_REQUEST_CANCELLED));
        }
    }
}

impl quic::SendStream<Bytes> for Sending {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        while let Some(writing) = &mut self.writing {
            if !writing.has_remaining() {
                self.writing = None;
                break;
            }
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, writing.chunk()));
            match written {
                Ok(written) => {
                    self.has_begun = true;
                    writing.advance(written);
                }
                Err(quinn::WriteError::Stopped(code)) => {
                    let error_code = code.into_inner();
                    return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code }));
                }
                Err(quinn::WriteError::ConnectionLost(error)) => {
                    return Poll::Ready(Err(of_stream(error)));
                }
                Err(error) => {
                    return Poll::Ready(Err(StreamErrorIncoming::Unknown(Box::new(error))));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.writing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.is_over = true;
        let finished = self.stream.finish();
        Poll::Ready(finished.map_err(|error| StreamErrorIncoming::Unknown(Box::new(error))))
    }

    fn reset(&mut self, reset_code: u64) {
        self.is_over = true;
        let code = quinn::VarInt::from_u64(reset_code).unwrap_or(quinn::VarInt::MAX);
        // An error says that it is closed already.
        let _ = self.stream.reset(code);
    }

    fn send_id(&self) -> StreamId {
        number(self.stream.id())
    }
}

/// The frames that h3 is to see of a request's stream.
#[derive(Clone)]
pub(super) struct Shown {
    id: StreamId,
    shown: Rc<RefCell<(VecDeque<Bytes>, bool)>>,
}

impl Shown {
    /// Shows a whole frame.
    pub(super) fn show(&self, frame: Bytes) {
        self.shown.borrow_mut().0.push_back(frame);
    }

    /// Nothing follows.
    pub(super) fn end(&self) {
        self.shown.borrow_mut().1 = true;
    }
}

impl quic::RecvStream for Shown {
    type Buf = Bytes;

    /// Whoever has h3 read has shown it what it needs before.
    fn poll_data(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        let (frames, has_ended) = &mut *self.shown.borrow_mut();
        match frames.pop_front() {
            Some(frame) => Poll::Ready(Ok(Some(frame))),
            None if *has_ended => Poll::Ready(Ok(None)),
            None => Poll::Pending,
        }
    }

    /// Whoever reads the stream does that.
    fn stop_sending(&mut self, _: u64) {}

    fn recv_id(&self) -> StreamId {
        self.id
    }
}

/// A request's stream.
pub(super) struct Exchange {
    sending: Sending,
    shown: Shown,
    /// Until whoever reads it takes it.
    received: Option<quinn::RecvStream>,
}

impl Exchange {
    fn new(send: quinn::SendStream, receive: quinn::RecvStream) -> Self {
        let shown = Shown { id: number(receive.id()), shown: Rc::default() };
        Self { sending: Sending::new(send), shown, received: Some(receive) }
    }

    /// Whether what was sent, if anything was, is the whole answer when h3 drops the stream: set while h3 answers by
    /// itself.
    pub(super) fn is_whole(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.sending.is_whole)
    }

    /// What comes in, to be read beside h3, and what h3 is to see of it.
    pub(super) fn take(&mut self) -> Option<(quinn::RecvStream, Shown)> {
        Some((self.received.take()?, self.shown.clone()))
    }

    /// Resolves with a code once the client wants no answer any more, and without one when it has all of it, or the
    /// connection is lost.
    pub(super) fn stopped(&self) -> impl Future<Output = Option<quinn::VarInt>> + 'static {
        let stopped = self.sending.stream.stopped();
        async move { stopped.await.unwrap_or_default() }
    }
}

impl quic::SendStream<Bytes> for Exchange {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.sending.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.sending.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.sending.poll_finish(cx)
    }

    fn reset(&mut self, reset_code: u64) {
        self.sending.reset(reset_code);
    }

    fn send_id(&self) -> StreamId {
        self.sending.send_id()
    }
}

impl quic::RecvStream for Exchange {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.shown.poll_data(cx)
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.shown.stop_sending(error_code);
    }

    fn recv_id(&self) -> StreamId {
        self.shown.recv_id()
    }
}

impl quic::BidiStream<Bytes> for Exchange {
    type SendStream = Sending;
    type RecvStream = Shown;

    fn split(self) -> (Sending, Shown) {
        (self.sending, self.shown)
    }
}

/// A stream that the client opened for itself (RFC 9114 §6.2). Of its control stream h3 gets the frames that it
/// knows, and none that is long.
pub(super) struct ControlStream {
    stream: quinn::RecvStream,
    /// Bytes of the stream's type, as far as they are here.
    kind: Vec<u8>,
    /// Once the type is known: the frames of a control stream.
    known: Option<Option<Frames>>,
}

impl ControlStream {
    fn new(stream: quinn::RecvStream) -> Self {
        Self { stream, kind: Vec::new(), known: None }
    }

    /// Reads the type byte by byte: nothing behind it.
    fn poll_kind(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, quinn::ReadError>> {
        loop {
            if let Some((kind, _)) = integer(&self.kind) {
                let is_control = kind == 0;
                self.known = Some(is_control.then(|| Frames::new(Place::Control, CONTROL_BYTES)));
                return Poll::Ready(Ok(Some(Bytes::from(std::mem::take(&mut self.kind)))));
            }
            let mut byte = [0];
            match ready!(self.stream.poll_read(cx, &mut byte))? {
                0 => return Poll::Ready(Ok(None)),
                _ => self.kind.push(byte[0]),
            }
        }
    }
}

impl quic::RecvStream for ControlStream {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        if self.known.is_none() {
            return self.poll_kind(cx).map_err(of_reading);
        }
        let mut read = [0; READ_BYTES];
        loop {
            let count = ready!(self.stream.poll_read(cx, &mut read)).map_err(of_reading)?;
            if count == 0 {
                return Poll::Ready(Ok(None));
            }
            let mut input = &read[..count];
            let Some(Some(frames)) = &mut self.known else {
                return Poll::Ready(Ok(Some(Bytes::copy_from_slice(input))));
            };
            let mut shown = BytesMut::new();
            loop {
                match frames.next(&mut input) {
                    Ok(Some(Frame::Whole(frame))) => shown.extend_from_slice(frame.bytes()),
                    Ok(Some(Frame::Data(_))) => {}
                    Ok(None) => break,
                    Err(fault) => return Poll::Ready(Err(of_fault(fault))),
                }
            }
            if !shown.is_empty() {
                return Poll::Ready(Ok(Some(shown.freeze())));
            }
        }
    }

    fn stop_sending(&mut self, error_code: u64) {
        let code = quinn::VarInt::from_u64(error_code).unwrap_or(quinn::VarInt::MAX);
        // An error says that it is closed already.
        let _ = self.stream.stop(code);
    }

    fn recv_id(&self) -> StreamId {
        number(self.stream.id())
    }
}

/// An error of a control stream ends the connection (RFC 9114 §6.2.1).
fn of_fault(fault: Fault) -> StreamErrorIncoming {
    let why = match fault {
        Fault::Unexpected => "a frame that does not belong on a control stream",
        Fault::TooLong => "a frame that is too long for a control stream",
    };
    StreamErrorIncoming::Unknown(why.into())
}

fn of_reading(error: quinn::ReadError) -> StreamErrorIncoming {
    match error {
        quinn::ReadError::Reset(code) => {
            StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }
        }
        quinn::ReadError::ConnectionLost(error) => of_stream(error),
        other => StreamErrorIncoming::Unknown(Box::new(other)),
    }
}
