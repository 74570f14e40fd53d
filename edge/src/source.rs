//! Where an answer is from: the upstream's name, as the access log and Cache-Status show it, and
//! the body as it comes.

use crate::error::UpstreamError;
use crate::failure::Abort;
use crate::place::PlaceReaders;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The upstream that sent an answer, and what the answer says of the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its URL.
    pub(crate) member: Arc<str>,
    /// The name of its pool, of an origin in a pool with a name.
    pub(crate) pool: Option<Arc<str>>,
    /// Whether it is a parent, or an origin.
    pub(crate) is_parent: bool,
    /// From the request to the head of the answer.
    pub(crate) waited: Duration,
    /// Its members of Cache-Status: those of the caches behind it first, its own last.
    pub(crate) cache_status: Box<[HeaderValue]>,
}

impl Source {
    /// Of an answer of this member with these fields, as long as nothing else is known: an origin.
    pub(crate) fn of(member: &Arc<str>, waited: Duration, fields: &HeaderMap) -> Self {
        Self {
            member: Arc::clone(member),
            pool: None,
            is_parent: false,
            waited,
            cache_status: fields.get_all(header::CACHE_STATUS).iter().cloned().collect(),
        }
    }
}

impl Source {
    /// From the request to the head of the answer, in milliseconds (RFC 9111 §4.2.3: response_delay).
    /// What the request waited for its turn here is not among it.
    pub(crate) fn delay(&self) -> u64 {
        u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A piece of a body.
pub(crate) enum Piece {
    /// Bytes.
    Data(Bytes),
    /// Trailer fields, after the last byte.
    Trailers(HeaderMap),
}

/// The body of an answer, as it comes from an upstream or from a store. A failure to read on is an
/// error, never an end.
pub(crate) trait SourceBody: Send {
    /// Its length, if that is known before it ends.
    fn exact_length(&self) -> Option<u64>;

    /// The next piece; `None` at its end. Nothing is read after an error.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Piece, Abort>>>;

    /// The answer is of no use, for this reason.
    fn reject(&self, error: &UpstreamError);

    /// Whether nothing more is to be waited for: all of it is here, or is read whatever its client does.
    fn is_here(&self) -> bool {
        false
    }

    /// The clients for whose sake the places of its member are held, if it holds one.
    fn place(&self) -> Option<Arc<PlaceReaders>> {
        None
    }
}

impl dyn SourceBody {
    /// The next piece.
    pub(crate) async fn next(&mut self) -> Option<Result<Piece, Abort>> {
        poll_fn(|context| self.poll_next(context)).await
    }
}
