//! A response on its way out: tells the connection when it is finished or given up.

use super::connection::Connection;
use super::h2::Stream;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Counts one request as running until it is dropped.
pub(super) struct Running {
    connection: Rc<Connection>,
    /// The stream, with HTTP/2.
    stream: Option<Rc<Stream>>,
}

impl Running {
    pub(super) fn begin(connection: Rc<Connection>, http10: bool) -> Self {
        connection.begin(http10);
        let stream =
            (connection.protocol() == super::Protocol::Http2).then(|| connection.streams.begin());
        Self { connection, stream }
    }

    pub(super) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.connection.end();
    }
}

pin_project! {
    /// The handler's body, unchanged.
    pub(super) struct Sent<B> {
        #[pin]
        body: B,
        running: Running,
    }
}

impl<B> Sent<B> {
    pub(super) fn new(body: B, running: Running) -> Self {
        Self { body, running }
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
