//! A request body on its way in: bounded, and with the reason at hand when it breaks off.

use super::connection::{Connection, Protocol};
use super::received::Received;
use crate::error::ClientError;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::time::Sleep;

/// See the module. After an error there is nothing more; the request upstream must be aborted.
pub(crate) struct Upload {
    body: Received,
    connection: Rc<Connection>,
    left: u64,
    /// HTTP/2 and HTTP/3: bytes that Content-Length announces beside those that came.
    owed: Option<u64>,
    /// The frame with the last of them, until the end of the stream is here: a request is complete
    /// upstream as soon as its last byte is.
    last: Option<Frame<Bytes>>,
    /// Trailers that came after it.
    trailers: Option<Frame<Bytes>>,
    /// HTTP/2 and HTTP/3: the sweeper sees connections, not single streams that stall.
    stall: Option<Pin<Box<Sleep>>>,
}

impl Upload {
    pub(super) fn new(body: Received, connection: Rc<Connection>) -> Self {
        let left = connection.worker.limits().body_bytes;
        let framed_apart = connection.protocol() != Protocol::Http1;
        let owed = body.size_hint().exact().filter(|_| framed_apart);
        Self { body, connection, left, owed, last: None, trailers: None, stall: None }
    }

    /// Whether the frame brings the last byte that was announced, and the stream goes on.
    fn is_last(&mut self, frame: &Frame<Bytes>) -> bool {
        let (Some(owed), Some(data)) = (&mut self.owed, frame.data_ref()) else { return false };
        *owed = owed.saturating_sub(data.len() as u64);
        *owed == 0 && !self.body.is_end_stream()
    }

    fn counted(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, ClientError> {
        // The guard did this for HTTP/1.
        let most = self.connection.worker.limits().header_fields;
        if frame.trailers_ref().is_some_and(|trailers| trailers.len() > most) {
            return Err(super::head::too_many_fields());
        }
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(frame)
            }
            None => Err(super::head::body_too_large()),
        }
    }

    fn stalled(&mut self, cx: &mut Context<'_>) -> bool {
        if self.connection.protocol() == Protocol::Http1 {
            return false;
        }
        let bound = self.connection.worker.limits().slow_client;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(bound)));
        stall.as_mut().poll(cx).is_ready()
    }

    /// What the guard knows is more exact than what hyper says.
    fn broken(&self) -> ClientError {
        self.connection.defect().unwrap_or_else(|| {
            ClientError::closing(
                StatusCode::BAD_REQUEST,
                "body-broke-off",
                "The request body ended before it was complete.",
            )
        })
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = ClientError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientError>>> {
        let this = &mut *self;
        if let Some(trailers) = this.trailers.take() {
            return Poll::Ready(Some(Ok(trailers)));
        }
        loop {
            return match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.stall = None;
                    let frame = this.counted(frame)?;
                    if this.last.is_some() {
                        this.trailers = Some(frame);
                        Poll::Ready(this.last.take().map(Ok))
                    } else if this.is_last(&frame) {
                        this.last = Some(frame);
                        continue;
                    } else {
                        Poll::Ready(Some(Ok(frame)))
                    }
                }
                Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(this.broken()))),
                Poll::Ready(None) => Poll::Ready(this.last.take().map(Ok)),
                Poll::Pending if this.stalled(cx) => Poll::Ready(Some(Err(ClientError::closing(
                    StatusCode::REQUEST_TIMEOUT,
                    "client-too-slow",
                    "The request body came too slowly.",
                )))),
                Poll::Pending => Poll::Pending,
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.last.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
