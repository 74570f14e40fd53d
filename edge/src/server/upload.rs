//! A request body on its way in: bounded, and with the reason at hand when it breaks off.

use super::connection::{Connection, Protocol};
use crate::error::ClientError;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::time::Sleep;

/// See the module. After an error there is nothing more; the request upstream must be aborted.
pub(crate) struct Upload {
    body: Incoming,
    connection: Rc<Connection>,
    left: u64,
    /// HTTP/2 only: the sweeper sees connections, not single streams that stall.
    stall: Option<Pin<Box<Sleep>>>,
}

impl Upload {
    pub(super) fn new(body: Incoming, connection: Rc<Connection>) -> Self {
        let left = connection.worker.limits().body_bytes;
        Self { body, connection, left, stall: None }
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
        if self.connection.protocol() != Protocol::Http2 {
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
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.stall = None;
                Poll::Ready(Some(this.counted(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(this.broken()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if this.stalled(cx) => Poll::Ready(Some(Err(ClientError::closing(
                StatusCode::REQUEST_TIMEOUT,
                "client-too-slow",
                "The request body came too slowly.",
            )))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
