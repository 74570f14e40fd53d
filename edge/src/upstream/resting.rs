//! A connection to a member while the answer on it takes its time.
//!
//! hyper has some 20 KiB for each connection: a buffer for reading, one for writing, and a queue of requests. An
//! exchange that waits for its answer needs none of them once its request is out, and a slow member has thousands
//! of such exchanges. So one that has waited for a while *rests*: hyper's connection is taken apart, and its stream
//! alone waits for the first bytes of the answer. When they are here, hyper begins anew on the stream. It gets a
//! stand-in for the request, so that it expects an answer; what it writes of it goes nowhere, for the member has the
//! request. Then it reads the answer as ever, the bytes that were read already first.
//!
//! A connection may rest as long as all that hyper wrote was taken, and nothing was read since: then hyper holds no
//! byte of the exchange. The request must have no body. An end of the connection, or an error, is one of the things
//! that may be read first, so that hyper says of it what it would have said.

use super::body::UpstreamBody;
use super::endpoint::MemberStream;
use hyper::client::conn::http1::Connection;
use hyper_util::rt::TokioIo;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;

/// The most that is read before hyper is there again.
const FIRST_BYTES: usize = 2 * 1024;

type HyperConnection = Connection<TokioIo<ExchangeStream>, UpstreamBody>;

/// A connection that runs as a task of its own, and may be taken out of it.
pub(super) struct Restful {
    running: Arc<Running>,
    task: JoinHandle<()>,
    written: Arc<AtomicBool>,
}

/// hyper's connection, until it has ended or rests.
struct Running(Mutex<Option<HyperConnection>>);

impl Running {
    fn lock(&self) -> MutexGuard<'_, Option<HyperConnection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Restful {
    /// Runs a connection until it has ended. `written` is that of its [stream](ExchangeStream::written).
    pub(super) fn run(connection: HyperConnection, written: Arc<AtomicBool>) -> Self {
        let running = Arc::new(Running(Mutex::new(Some(connection))));
        let runs = Arc::clone(&running);
        let task = tokio::spawn(poll_fn(move |cx| {
            let mut running = runs.lock();
            let ended = match &mut *running {
                Some(connection) => Pin::new(connection).poll(cx).is_ready(),
                None => true,
            };
            if ended {
                // Whoever still waited on it has been told.
                *running = None;
                return Poll::Ready(());
            }
            Poll::Pending
        }));
        Self { running, task, written }
    }

    /// Whether a request was sent, and nothing came since.
    pub(super) fn is_quiet(&self) -> bool {
        self.written.load(Ordering::Relaxed)
    }

    /// Takes the connection apart, if it may rest; whoever waits for an answer on it must have the stream wait.
    pub(super) fn take(&mut self) -> Option<MemberStream> {
        if !self.is_quiet() {
            return None;
        }
        let connection = self.running.lock().take()?;
        self.task.abort();
        Some(connection.into_parts().io.into_inner().stream)
    }
}

/// The stream of an HTTP/1.1 connection, as hyper has it.
pub(super) struct ExchangeStream {
    stream: MemberStream,
    /// All that hyper wrote was taken, and nothing was read since.
    written: Arc<AtomicBool>,
    /// It has rested, and hyper has not yet read on from there.
    resumed: Option<Box<Resumed>>,
}

/// What was read first of an answer; nothing is the end of the connection.
pub(super) type FirstRead = io::Result<Vec<u8>>;

/// How hyper begins anew.
struct Resumed {
    /// What it reads first, as soon as it has written the stand-in.
    read: Option<FirstRead>,
    stand_in: StandIn,
    waiting: Option<Waker>,
}

/// How far a stand-in is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StandIn {
    Awaited,
    Begun,
    Written,
}

/// The first bytes of an answer, its end or the error.
pub(super) async fn first_read(stream: &mut MemberStream) -> FirstRead {
    poll_fn(|cx| {
        let mut bytes = [0; FIRST_BYTES];
        let mut into = ReadBuf::new(&mut bytes);
        let read = std::task::ready!(Pin::new(&mut *stream).poll_read(cx, &mut into));
        Poll::Ready(read.map(|()| into.filled().to_vec()))
    })
    .await
}

impl ExchangeStream {
    /// The stream of a new connection.
    pub(super) fn new(stream: MemberStream) -> Self {
        Self { stream, written: Arc::default(), resumed: None }
    }

    /// A stream that has rested until this was read.
    pub(super) fn resumed(stream: MemberStream, read: FirstRead) -> Self {
        let resumed = Resumed { read: Some(read), stand_in: StandIn::Awaited, waiting: None };
        Self { resumed: Some(Box::new(resumed)), ..Self::new(stream) }
    }

    /// Whether all that hyper wrote was taken, and nothing was read since.
    pub(super) fn written(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.written)
    }

    #[inline]
    fn note(&self, written: bool) {
        self.written.store(written, Ordering::Relaxed);
    }

    /// Takes what hyper writes of a stand-in, which goes nowhere; `None` if this is none of it.
    #[inline]
    fn takes(&mut self, bytes: usize) -> Option<usize> {
        let resumed = self.resumed.as_mut().filter(|one| one.stand_in != StandIn::Written)?;
        resumed.stand_in = StandIn::Begun;
        Some(bytes)
    }
}

impl Resumed {
    /// What was read first, once the stand-in is written.
    fn poll_read(&mut self, cx: &Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.stand_in != StandIn::Written {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut bytes = match self.read.take() {
            Some(Ok(bytes)) => bytes,
            Some(Err(error)) => return Poll::Ready(Err(error)),
            None => Vec::new(),
        };
        let rest = bytes.split_off(bytes.len().min(into.remaining()));
        into.put_slice(&bytes);
        self.read = (!rest.is_empty()).then_some(Ok(rest));
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ExchangeStream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = match &mut this.resumed {
            None => Pin::new(&mut this.stream).poll_read(cx, into),
            Some(resumed) => {
                let read = resumed.poll_read(cx, into);
                if resumed.read.is_none() {
                    this.resumed = None;
                }
                read
            }
        };
        if read.is_ready() {
            this.note(false);
        }
        read
    }
}

impl AsyncWrite for ExchangeStream {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(taken) = this.takes(bytes.len()) {
            return Poll::Ready(Ok(taken));
        }
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.note(written.is_ready());
        written
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(taken) = this.takes(slices.iter().map(|slice| slice.len()).sum()) {
            return Poll::Ready(Ok(taken));
        }
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.note(written.is_ready());
        written
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(resumed) = &mut this.resumed
            && resumed.stand_in == StandIn::Begun
        {
            resumed.stand_in = StandIn::Written;
            if let Some(waiting) = resumed.waiting.take() {
                waiting.wake();
            }
        }
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        if flushed.is_pending() {
            this.note(false);
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
