//! A request being answered: the handler's future, then the response on its way out. Tells the
//! connection when it is over, whichever way it ends.

use super::connection::Connection;
use super::h2::Stream;
use http::header::{CONNECTION, HeaderValue};
use http::{Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Counts one request as running until it is dropped.
pub(super) struct InFlight {
    connection: Rc<Connection>,
    /// The stream, with HTTP/2 and HTTP/3.
    stream: Option<Rc<Stream>>,
    http10: bool,
}

impl InFlight {
    pub(super) fn begin(connection: Rc<Connection>, http10: bool) -> Self {
        connection.begin(http10);
        let stream =
            (connection.protocol() == super::Protocol::Http2).then(|| connection.streams.begin());
        Self { connection, stream, http10 }
    }

    /// The same for a request whose stream began before its head was here.
    #[cfg(feature = "http3")]
    pub(super) fn on(connection: Rc<Connection>, stream: Rc<Stream>) -> Self {
        connection.begin(false);
        Self { connection, stream: Some(stream), http10: false }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.stream.is_some() {
            self.connection.memory.borrow_mut().end_stream();
        }
        self.connection.end();
    }
}

pin_project! {
    /// The handler's future. Written out, and not an `async fn`, so that the request moves once
    /// less.
    pub(super) struct Answer<F> {
        #[pin]
        future: F,
        running: Option<InFlight>,
    }
}

impl<F> Answer<F> {
    pub(super) fn new(future: F, running: InFlight) -> Self {
        Self { future, running: Some(running) }
    }
}

impl<B: Body, F: Future<Output = Response<B>>> Future for Answer<F> {
    type Output = Result<Response<Sent<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.future.poll(cx));
        let running = this.running.take().expect("a future is not polled after its end");
        let connection = &running.connection;
        if connection.closing() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        // A client of HTTP/1.0 takes a body of unknown length up to the connection's end. hyper
        // announces keep-alive to it unless the response is of that version, too.
        if running.http10 && response.body().size_hint().exact().is_none() {
            *response.version_mut() = Version::HTTP_10;
        }
        connection.answered(response.status() == StatusCode::SWITCHING_PROTOCOLS);
        Poll::Ready(Ok(response.map(|body| Sent { body, running })))
    }
}

pin_project! {
    /// The handler's body, unchanged.
    pub(super) struct Sent<B> {
        #[pin]
        body: B,
        running: InFlight,
    }
}

impl<B: Body> Body for Sent<B> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = this.body.poll_frame(cx);
        if let Some(stream) = &this.running.stream {
            let now = this.running.connection.worker.now();
            stream.sending_since.set(frame.is_ready().then_some(now));
        }
        frame
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
