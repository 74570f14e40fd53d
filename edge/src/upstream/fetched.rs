//! An answer on its way: the head is here, the body follows, bounded by the time between bytes
//! and, where that is set, by the time of the whole exchange; not by size.

use super::Held;
use super::error::body_error;
use super::health::Attempt;
use super::member::{Member, Slot};
use super::trouble::Trouble;
use crate::error::UpstreamError;
use crate::failure::Abort;
use crate::metrics::WorkerMetrics;
use crate::place::PlaceReaders;
use crate::source::{Piece, Source, SourceBody};
use crate::trace::Hop;
use http::Response;
use http::uri::PathAndQuery;
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// An answer on its way: the head is here, the body follows.
pub(crate) struct Fetched {
    /// The head.
    pub(crate) response: Response<()>,
    /// The body.
    pub(crate) body: FetchedBody,
    /// The connection itself, after a 101.
    pub(crate) upgraded: OnUpgrade,
    /// Whom it is from.
    pub(crate) source: Source,
}

/// The body of an upstream's answer. Holds its place at the member until it ends.
pub(crate) struct FetchedBody {
    pub(super) incoming: Incoming,
    pub(super) idle: Duration,
    /// When the whole exchange has to have ended.
    pub(super) end: Option<Instant>,
    /// Runs while the next frame is awaited.
    pub(super) alarm: Option<Pin<Box<Sleep>>>,
    pub(super) metrics: Arc<WorkerMetrics>,
    pub(super) answered_by: AnsweredBy,
    /// Its span, where the trace is exported.
    pub(super) hop: Option<Hop>,
    pub(super) _place: Slot,
    /// Its connection, or its place on one that it shares.
    pub(super) _connection: Held,
}

/// The member that sent an answer, and what it was asked for.
pub(super) struct AnsweredBy {
    pub(super) trouble: Arc<Trouble>,
    pub(super) member: Arc<Member>,
    pub(super) attempt: Attempt,
    pub(super) target: PathAndQuery,
}

impl SourceBody for FetchedBody {
    /// Its length by the framing of the message.
    fn exact_length(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// The next piece; `None` at the end that the framing promised.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Piece, Abort>>> {
        let piece = self.poll_piece(context);
        if let Poll::Ready(Some(Err(error))) = &piece {
            self.reject(error);
            if let Some(hop) = &mut self.hop {
                hop.failed(error);
            }
        }
        piece.map_err(Abort::Upstream)
    }

    fn place(&self) -> Option<Arc<PlaceReaders>> {
        Some(Arc::clone(&self.answered_by.member.readers))
    }

    /// Counts the error against the member and reports it in the node's log.
    fn reject(&self, error: &UpstreamError) {
        let AnsweredBy { trouble, member, attempt, target } = &self.answered_by;
        member.failed(*attempt, error);
        trouble.tell(&member.address, target, error);
    }
}

impl FetchedBody {
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece, UpstreamError>>> {
        loop {
            match Pin::new(&mut self.incoming).poll_frame(context) {
                Poll::Pending => return self.poll_alarm(context),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(body_error(&error)))),
                Poll::Ready(Some(Ok(frame))) => {
                    self.alarm = None;
                    match frame.into_data() {
                        Ok(data) => {
                            let bytes = data.len() as u64;
                            self.metrics.upstream_bytes(bytes);
                            if let Some(hop) = &mut self.hop {
                                hop.received(bytes);
                            }
                            return Poll::Ready(Some(Ok(Piece::Data(data))));
                        }
                        Err(frame) => {
                            if let Ok(trailers) = frame.into_trailers() {
                                return Poll::Ready(Some(Ok(Piece::Trailers(trailers))));
                            }
                        }
                    }
                }
            }
        }
    }

    fn poll_alarm(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece, UpstreamError>>> {
        let (idle, end) = (self.idle, self.end);
        let alarm = self.alarm.get_or_insert_with(|| {
            let idle = Instant::now() + idle;
            Box::pin(sleep_until(end.map_or(idle, |end| end.min(idle))))
        });
        alarm.as_mut().poll(context).map(|()| {
            let ended = end.is_some_and(|end| Instant::now() >= end);
            Some(Err(if ended { UpstreamError::TotalTimeout } else { UpstreamError::IdleTimeout }))
        })
    }
}
