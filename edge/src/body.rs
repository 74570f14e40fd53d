//! The bodies of responses to clients.

use crate::closing::Closing;
use crate::coding::{DecodedBody, Next};
use crate::collapsing::{Fault, Reader};
use crate::error::{StoreError, UpstreamError};
use crate::failure::Abort;
use crate::outbox::Outbox;
use crate::source::{Piece, SourceBody};
use crate::store::{BodyBelow, ReadingBelow, Stored};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The body of a response to a client.
pub(crate) enum ResponseBody {
    /// Nothing.
    Empty,
    /// A few runs of bytes in order, up to the first that could not be read: multipart parts.
    Runs(VecDeque<Result<Bytes, StoreError>>),
    /// One run of bytes, the common case.
    One(Option<Bytes>),
    /// Bytes of a stored response.
    Stored {
        /// Whose.
        stored: Arc<Stored>,
        /// The next byte.
        at: u64,
        /// One past the last.
        end: u64,
    },
    /// Bytes of a stored response whose body is below the memory store.
    Below(Box<BelowBody>),
    /// Bytes of a file that is stored in slices, some of which are fetched.
    Sliced(Box<SlicedBody>),
    /// Bytes of a running fill.
    Fill(Box<FillBody>),
    /// Bytes of an upstream's answer to this client alone.
    Pass(Box<PassBody>),
    /// Any of these, without the coding that it has.
    Decoded(Box<(ResponseBody, DecodedBody)>),
    /// Any of these, counted as it goes.
    Counted(Box<(ResponseBody, Closing)>),
}

impl ResponseBody {
    /// A body of these bytes.
    pub(crate) fn from_bytes(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::One(Some(bytes)) }
    }

    /// Its exact length, where that is known.
    fn length(&self) -> Option<u64> {
        match self {
            Self::Empty | Self::One(None) => Some(0),
            Self::One(Some(bytes)) => Some(bytes.len() as u64),
            Self::Runs(runs) => runs.iter().map(|run| Some(run.as_ref().ok()?.len() as u64)).sum(),
            Self::Stored { at, end, .. } => Some(end - at),
            Self::Below(body) => body.end.map(|end| end - body.at),
            Self::Sliced(body) => Some(body.end - body.at),
            Self::Fill(body) => body.end.map(|end| end - body.at),
            Self::Pass(body) => body.left,
            // Known at its end.
            Self::Decoded(_) => None,
            Self::Counted(counted) => counted.0.length(),
        }
    }

    /// Its length, where it needs nothing further to be sent.
    pub(crate) fn at_hand(&self) -> Option<u64> {
        match self {
            Self::Empty | Self::One(_) => self.length(),
            _ => None,
        }
    }

    /// Has what can be sent from the page cache sent through this outbox, if there is one.
    pub(crate) fn send_through(&mut self, outbox: impl FnOnce() -> Option<Rc<Outbox>>) {
        if let Self::Below(body) = self {
            body.outbox = outbox();
        }
    }

    /// This body, with its end told to `closing`.
    pub(crate) fn closing_with(self, closing: Closing) -> Self {
        Self::Counted(Box::new((self, closing)))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::One(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Runs(runs) => Poll::Ready(runs.pop_front().map(frame)),
            Self::Stored { stored, at, end } => {
                let run = stored.body.read(*at, *end).transpose();
                match &run {
                    Some(Ok(run)) => *at += run.len() as u64,
                    // Nothing follows a failed read.
                    Some(Err(_)) => *at = *end,
                    None => {}
                }
                Poll::Ready(run.map(frame))
            }
            Self::Below(body) => body.poll(context),
            Self::Sliced(body) => body.poll(context),
            Self::Fill(body) => body.poll(context),
            Self::Pass(body) => body.poll(context),
            Self::Decoded(decoded) => poll_decoded(decoded, context),
            Self::Counted(counted) => {
                let (body, closing) = &mut **counted;
                let frame = ready!(Pin::new(body).poll_frame(context));
                if let Some(Ok(frame)) = &frame {
                    closing.sent(frame.data_ref().map_or(0, |data| data.len() as u64));
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Fill(_) | Self::Pass(_) | Self::Decoded(_) => false,
            Self::Counted(counted) => counted.0.is_end_stream(),
            body => body.length() == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Nothing follows an error.
fn poll_decoded(
    (body, decoding): &mut (ResponseBody, DecodedBody),
    context: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
    loop {
        match decoding.next() {
            Ok(Next::Bytes(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Ok(Next::End) => return Poll::Ready(None),
            Ok(Next::Hungry) => match ready!(Pin::new(&mut *body).poll_frame(context)) {
                // Trailers were of the coded bytes.
                Some(Ok(frame)) => {
                    frame.into_data().into_iter().for_each(|data| decoding.feed(data))
                }
                Some(Err(abort)) => return Poll::Ready(Some(Err(abort))),
                None => decoding.end(),
            },
            Err(why) => return Poll::Ready(Some(Err(Abort::Decoding(why)))),
        }
    }
}

fn frame(run: Result<Bytes, StoreError>) -> Result<Frame<Bytes>, Abort> {
    run.map(Frame::data).map_err(Abort::Store)
}

/// Bytes of a body that is read from below the memory store.
pub(crate) struct BelowBody {
    body: Arc<dyn BodyBelow>,
    at: u64,
    /// One past the last byte; `None` is the end of the body, wherever that is.
    end: Option<u64>,
    reading: Option<ReadingBelow>,
    /// Where the kernel sends what it can.
    outbox: Option<Rc<Outbox>>,
}

impl BelowBody {
    /// The bytes from `at` up to `end`, or to the end of the body.
    pub(crate) fn new(body: Arc<dyn BodyBelow>, at: u64, end: Option<u64>) -> Self {
        Self { body, at, end, reading: None, outbox: None }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        if self.end.is_some_and(|end| self.at >= end) {
            return Poll::Ready(None);
        }
        let (body, at, end) = (&self.body, self.at, self.end);
        if self.reading.is_none()
            && let Some(outbox) = &self.outbox
            && let Some(bytes) = body.cached(at, end)
        {
            let stand_in = outbox.put(bytes);
            self.at += stand_in.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(stand_in))));
        }
        let reading = self.reading.get_or_insert_with(|| Arc::clone(body).read(at, end));
        let run = ready!(reading.as_mut().poll(context));
        self.reading = None;
        match run {
            Ok(run) if run.is_empty() => Poll::Ready(None),
            Ok(run) => {
                self.at += run.len() as u64;
                Poll::Ready(Some(frame(Ok(run))))
            }
            Err(error) => {
                // Nothing follows a failed read.
                self.end = Some(self.at);
                Poll::Ready(Some(frame(Err(error))))
            }
        }
    }
}

/// Bytes of a file that is stored in slices: from disk or, where a slice is missing, from its fetch.
pub(crate) struct SlicedBody {
    at: u64,
    /// One past the last byte.
    end: u64,
    open: OpenSlice,
    state: SliceReading,
    /// Whether the slice that is read now broke off before.
    is_again: bool,
}

/// Opens the slice with a byte at that byte, for a response that goes on up to another one.
pub(crate) type OpenSlice = Box<dyn Fn(u64, u64) -> OpeningSlice + Send>;

/// A slice that is being opened.
pub(crate) type OpeningSlice = Pin<Box<dyn Future<Output = Result<SliceBytes, Abort>> + Send>>;

/// The bytes of a slice from some byte of it on.
pub(crate) enum SliceBytes {
    /// At hand.
    Here(Bytes),
    /// On their way, up to this byte of the file.
    Arriving(Reader, u64),
}

enum SliceReading {
    Between,
    Opening(OpeningSlice),
    Arriving(Reader, u64),
}

impl SlicedBody {
    /// The bytes from `at`, where `first` begins, up to `end`.
    pub(crate) fn new(first: SliceBytes, at: u64, end: u64, open: OpenSlice) -> Self {
        let state = SliceReading::Opening(Box::pin(std::future::ready(Ok(first))));
        Self { at, end, open, state, is_again: false }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        while self.at < self.end {
            match &mut self.state {
                SliceReading::Between => {
                    self.state = SliceReading::Opening((self.open)(self.at, self.end));
                }
                SliceReading::Opening(opening) => match ready!(opening.as_mut().poll(context)) {
                    Ok(SliceBytes::Here(mut bytes)) => {
                        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
                        bytes.truncate(left);
                        self.state = SliceReading::Between;
                        return self.sent(bytes);
                    }
                    Ok(SliceBytes::Arriving(reader, until)) => {
                        self.state = SliceReading::Arriving(reader, until);
                    }
                    Err(abort) => return self.cut(abort),
                },
                SliceReading::Arriving(reader, until) => {
                    let until = self.end.min(*until);
                    let abort = match ready!(reader.poll_read(context, Some(until))) {
                        Some(Ok(bytes)) => return self.sent(bytes),
                        None if self.at >= until => {
                            self.state = SliceReading::Between;
                            self.is_again = false;
                            continue;
                        }
                        // It is on disk by now, or fetched again.
                        Some(Err(Fault::FellOut)) => {
                            self.state = SliceReading::Between;
                            continue;
                        }
                        None => Abort::Length,
                        Some(Err(Fault::Broken(abort))) => abort,
                    };
                    // The rest of this slice is fetched anew, once.
                    if std::mem::replace(&mut self.is_again, true) {
                        return self.cut(abort);
                    }
                    self.state = SliceReading::Between;
                }
            }
        }
        Poll::Ready(None)
    }

    fn sent(&mut self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        self.at += bytes.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    /// Nothing follows.
    fn cut(&mut self, abort: Abort) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        self.end = self.at;
        Poll::Ready(Some(Err(abort)))
    }
}

/// A client that follows a fill.
pub(crate) struct FillBody {
    following: FillReading,
    at: u64,
    end: Option<u64>,
    /// How to go on alone after falling out of the window.
    resume: Option<Resume>,
    trailers_sent: bool,
}

/// Asks the upstream for the rest of a representation, from a byte on.
pub(crate) type Resume = Box<dyn FnOnce(u64) -> Resuming + Send>;

/// The rest of a representation, on its way.
pub(crate) type Resuming =
    Pin<Box<dyn Future<Output = Result<Box<dyn SourceBody>, UpstreamError>> + Send>>;

enum FillReading {
    Fill(Reader),
    /// What fell out of the window is on disk.
    Below(Box<BelowBody>),
    Resuming(Resuming),
    Alone(Box<PassBody>),
    Ended,
}

impl FillBody {
    /// Follows `reader` from `at` up to `end` (or the fill's own end).
    pub(crate) fn new(reader: Reader, at: u64, end: Option<u64>, resume: Option<Resume>) -> Self {
        Self { following: FillReading::Fill(reader), at, end, resume, trailers_sent: false }
    }

    /// Goes on by a request of its own.
    ///
    /// # Errors
    /// It cannot: the response ends with `otherwise`.
    fn go_on_alone(&mut self, otherwise: Abort) -> Result<(), Abort> {
        let Some(resume) = self.resume.take() else {
            self.following = FillReading::Ended;
            return Err(otherwise);
        };
        self.following = FillReading::Resuming(resume(self.at));
        Ok(())
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        loop {
            match &mut self.following {
                FillReading::Fill(reader) => match ready!(reader.poll_read(context, self.end)) {
                    Some(Ok(bytes)) => {
                        self.at += bytes.len() as u64;
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                    Some(Err(Fault::Broken(abort))) => {
                        self.following = FillReading::Ended;
                        return Poll::Ready(Some(Err(abort)));
                    }
                    Some(Err(Fault::FellOut)) => match reader.below() {
                        Some(body) => {
                            let body = BelowBody::new(body, self.at, self.end);
                            self.following = FillReading::Below(Box::new(body));
                        }
                        None => self.go_on_alone(Abort::FellBehind)?,
                    },
                    None if self.end.is_some_and(|end| self.at < end) => {
                        self.following = FillReading::Ended;
                        return Poll::Ready(Some(Err(Abort::Length)));
                    }
                    None => {
                        let trailers = reader.trailers().filter(|_| !self.trailers_sent);
                        self.trailers_sent = true;
                        return Poll::Ready(trailers.map(|fields| Ok(Frame::trailers(fields))));
                    }
                },
                FillReading::Below(body) => match ready!(body.poll(context)) {
                    Some(Ok(frame)) => {
                        self.at += frame.data_ref().map_or(0, |data| data.len() as u64);
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    Some(Err(abort)) => self.go_on_alone(abort)?,
                    None if self.end.is_some_and(|end| self.at < end) => {
                        self.following = FillReading::Ended;
                        return Poll::Ready(Some(Err(Abort::Length)));
                    }
                    None => return Poll::Ready(None),
                },
                FillReading::Resuming(resuming) => match ready!(resuming.as_mut().poll(context)) {
                    Ok(body) => {
                        let left = self.end.map(|end| end - self.at);
                        self.following = FillReading::Alone(Box::new(PassBody::new(body, left)));
                    }
                    Err(_) => {
                        self.following = FillReading::Ended;
                        return Poll::Ready(Some(Err(Abort::FellBehind)));
                    }
                },
                FillReading::Alone(body) => {
                    let frame = ready!(body.poll(context));
                    if let Some(Ok(frame)) = &frame {
                        self.at += frame.data_ref().map_or(0, |data| data.len() as u64);
                    }
                    return Poll::Ready(frame);
                }
                FillReading::Ended => return Poll::Ready(None),
            }
        }
    }
}

/// An upstream's body that goes to one client only, byte by byte as it comes.
pub(crate) struct PassBody {
    body: Option<Box<dyn SourceBody>>,
    /// Bytes still promised by Content-Length.
    left: Option<u64>,
}

impl PassBody {
    /// Passes `body` on; `left` is what Content-Length promised.
    pub(crate) fn new(body: Box<dyn SourceBody>, left: Option<u64>) -> Self {
        Self { body: Some(body), left }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let end = match ready!(body.poll_next(context)) {
            Some(Ok(Piece::Data(data))) => {
                let length = data.len() as u64;
                match self.left.map(|left| left.checked_sub(length)) {
                    Some(None) => Some(Err(Abort::Length)),
                    left => {
                        self.left = left.flatten();
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
            }
            Some(Ok(Piece::Trailers(trailers))) => {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            Some(Err(abort)) => Some(Err(abort)),
            None if self.left.is_some_and(|left| left > 0) => Some(Err(Abort::Length)),
            None => None,
        };
        self.body = None;
        Poll::Ready(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Slice, StoredBody};
    use std::task::Waker;

    /// What a client is sent of a body, and how it ends.
    fn sent(mut body: ResponseBody) -> (Vec<u8>, Result<(), Abort>) {
        let mut context = Context::from_waker(Waker::noop());
        let mut sent = Vec::new();
        loop {
            match Pin::new(&mut body).poll_frame(&mut context) {
                Poll::Ready(Some(Ok(frame))) => sent.extend(frame.data_ref().into_iter().flatten()),
                Poll::Ready(Some(Err(abort))) => return (sent, Err(abort)),
                Poll::Ready(None) => return (sent, Ok(())),
                Poll::Pending => panic!("a stored body is at hand"),
            }
        }
    }

    #[test]
    fn a_stored_body_that_cannot_be_read_on_is_cut_and_does_not_seem_to_end() {
        let slices = vec![Slice { start: 0, bytes: Bytes::from_static(b"01234") }];
        let part = StoredBody::new(slices, Some(10));
        let stored = Arc::new(Stored { body: part, ..Stored::example() });
        let of = |end| ResponseBody::Stored { stored: Arc::clone(&stored), at: 2, end };
        assert_eq!(sent(of(5)), (b"234".to_vec(), Ok(())));
        let (read, end) = sent(of(7));
        assert_eq!(read, b"234");
        assert!(matches!(end, Err(Abort::Store(_))), "{end:?}");
    }

    #[test]
    fn parts_are_cut_at_the_first_that_cannot_be_read() {
        let runs = [Ok(Bytes::from_static(b"a")), Err(StoreError::new("gone"))];
        let body = ResponseBody::Runs(runs.into());
        assert_eq!(body.length(), None, "nobody knows what will be sent");
        let (read, end) = sent(body);
        assert_eq!((read, end), (b"a".to_vec(), Err(Abort::Store(StoreError::new("gone")))));
    }
}
