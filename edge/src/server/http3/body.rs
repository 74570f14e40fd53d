//! The body of a request over HTTP/3, read from its stream frame by frame: no more of it is here than one read.

use super::frames::{Fault, Frame, Frames, Whole};
use super::transport::{Sending, Shown, code};
use bytes::Bytes;
use h3::error::Code;
use h3::server::RequestStream;
use http::HeaderMap;
use http_body::{Body, Frame as BodyFrame, SizeHint};
use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Bytes that are read of a stream at once.
const READ_BYTES: usize = 16 * 1024;

/// Why no more can be read of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The client has reset it, or is gone.
    Gone,
    /// It breaks the rules of a message: the stream ends with this code (RFC 9114 §4.1.2).
    Message(Code),
    /// It breaks the rules of HTTP/3: the connection ends with this code.
    Connection(Code),
}

/// What comes in on a request's stream.
pub(super) struct Incoming {
    stream: quinn::RecvStream,
    frames: Frames,
    read: VecDeque<Frame>,
    has_ended: bool,
}

impl Incoming {
    pub(super) fn new(stream: quinn::RecvStream, frames: Frames) -> Self {
        Self { stream, frames, read: VecDeque::new(), has_ended: false }
    }

    /// The next frame; `None` at the end.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame>, Broken>> {
        loop {
            if let Some(frame) = self.read.pop_front() {
                return Poll::Ready(Ok(Some(frame)));
            }
            if self.has_ended {
                return Poll::Ready(Ok(None));
            }
            let mut read = [0; READ_BYTES];
            let count = match ready!(self.stream.poll_read(cx, &mut read)) {
                Ok(count) => count,
                Err(_) => return Poll::Ready(Err(Broken::Gone)),
            };
            if count == 0 {
                self.has_ended = true;
                if !self.frames.is_between() {
                    return Poll::Ready(Err(Broken::Connection(Code::H3_FRAME_ERROR)));
                }
                continue;
            }
            self.tell_apart(&read[..count])?;
        }
    }

    /// Pieces of DATA that follow each other become one: each may be a byte.
    fn tell_apart(&mut self, mut input: &[u8]) -> Result<(), Broken> {
        let mut data = Vec::new();
        loop {
            let frame = self.frames.next(&mut input).map_err(|fault| match fault {
                Fault::Unexpected => Broken::Connection(Code::H3_FRAME_UNEXPECTED),
                Fault::TooLong => Broken::Message(Code::H3_EXCESSIVE_LOAD),
            })?;
            if let Some(Frame::Data(piece)) = frame {
                data.extend_from_slice(&piece);
                continue;
            }
            if !data.is_empty() {
                self.read.push_back(Frame::Data(Bytes::from(std::mem::take(&mut data))));
            }
            match frame {
                Some(frame) => self.read.push_back(frame),
                None => return Ok(()),
            }
        }
    }

    /// The frame with the request's fields, which comes first (RFC 9114 §4.1).
    pub(super) async fn first(&mut self) -> Result<Whole, Broken> {
        match poll_fn(|cx| self.poll_next(cx)).await? {
            Some(Frame::Whole(frame)) => Ok(frame),
            Some(Frame::Data(_)) => Err(Broken::Connection(Code::H3_FRAME_UNEXPECTED)),
            None => Err(Broken::Message(Code::H3_REQUEST_INCOMPLETE)),
        }
    }

    /// Waits until it is known what comes next, without taking it.
    async fn look_ahead(&mut self) -> Result<(), Broken> {
        if let Some(frame) = poll_fn(|cx| self.poll_next(cx)).await? {
            self.read.push_front(frame);
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.has_ended && self.read.is_empty()
    }

    /// Wants no more of it, for this reason.
    pub(super) fn stop(&mut self, why: Code) {
        // An error says that it is closed already.
        let _ = self.stream.stop(code(why));
    }
}

/// Why a stream ends, for whoever answers on it.
#[derive(Clone, Default)]
pub(super) struct Verdict(Rc<Cell<Option<Broken>>>);

impl Verdict {
    pub(super) fn get(&self) -> Option<Broken> {
        self.0.get()
    }
}

/// The body broke off; [`Verdict`] says why.
#[derive(Debug)]
pub(crate) struct BrokeOff;

impl std::fmt::Display for BrokeOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the body broke off")
    }
}

impl std::error::Error for BrokeOff {}

/// See the module.
pub(crate) struct Http3Body {
    incoming: Incoming,
    /// Decodes trailers.
    fields: RequestStream<Shown, Bytes>,
    shown: Shown,
    /// Bytes that Content-Length announces beside those that came.
    owed: Option<u64>,
    /// Once they are here; taken when they are told.
    trailers: Option<HeaderMap>,
    verdict: Verdict,
}

impl Http3Body {
    /// The body of a request that announces so many bytes.
    pub(super) fn new(
        incoming: Incoming,
        fields: RequestStream<Shown, Bytes>,
        shown: Shown,
        announced: Option<u64>,
    ) -> Self {
        let verdict = Verdict::default();
        Self { incoming, fields, shown, owed: announced, trailers: None, verdict }
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }

    /// Waits until it is known whether there is a body at all: the end of the stream may come after the fields.
    pub(super) async fn settle(&mut self) -> Result<(), Broken> {
        self.incoming.look_ahead().await?;
        match self.incoming.is_over() && self.owed.is_some_and(|owed| owed > 0) {
            true => Err(Broken::Message(Code::H3_MESSAGE_ERROR)),
            false => Ok(()),
        }
    }

    fn poll_part(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<BodyFrame<Bytes>>, Broken>> {
        let malformed = Err(Broken::Message(Code::H3_MESSAGE_ERROR));
        loop {
            match ready!(self.incoming.poll_next(cx))? {
                Some(_) if self.trailers.is_some() => {
                    return Poll::Ready(Err(Broken::Connection(Code::H3_FRAME_UNEXPECTED)));
                }
                Some(Frame::Data(bytes)) => {
                    if let Some(owed) = &mut self.owed {
                        // RFC 9114 §4.1.2
                        let Some(left) = owed.checked_sub(bytes.len() as u64) else {
                            return Poll::Ready(malformed);
                        };
                        *owed = left;
                    }
                    return Poll::Ready(Ok(Some(BodyFrame::data(bytes))));
                }
                Some(Frame::Whole(_)) | None if self.owed.is_some_and(|owed| owed > 0) => {
                    return Poll::Ready(malformed);
                }
                // They are told once nothing follows.
                Some(Frame::Whole(frame)) => match self.decoded(&frame, cx) {
                    Some(trailers) => self.trailers = Some(trailers),
                    None => return Poll::Ready(malformed),
                },
                None => {
                    let trailers = self.trailers.as_mut().map(std::mem::take);
                    let trailers = trailers.filter(|trailers| !trailers.is_empty());
                    return Poll::Ready(Ok(trailers.map(BodyFrame::trailers)));
                }
            }
        }
    }

    /// Trailers, unless they are malformed: none is a pseudo-header field (RFC 9114 §4.3).
    fn decoded(&mut self, frame: &Whole, cx: &mut Context<'_>) -> Option<HeaderMap> {
        if super::fields::has_pseudo(frame.payload()) {
            return None;
        }
        self.shown.show(frame.bytes().clone());
        self.shown.end();
        match self.fields.poll_recv_trailers(cx) {
            Poll::Ready(Ok(trailers)) => trailers,
            _ => None,
        }
    }
}

impl Body for Http3Body {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, BrokeOff>>> {
        if self.verdict.get().is_some() {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.poll_part(cx)) {
            Ok(part) => part.map(Ok),
            Err(broken) => {
                self.verdict.0.set(Some(broken));
                Some(Err(BrokeOff))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.owed.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Http3Body {
    fn drop(&mut self) {
        if !self.incoming.has_ended {
            // RFC 9114 §4.1: the answer needs no more of it.
            self.incoming.stop(Code::H3_NO_ERROR);
        }
    }
}

/// The direction in which a response goes.
pub(super) type Outgoing = RequestStream<Sending, Bytes>;
