//! The first bytes of an answer's body: an answer whose body breaks off before them is a failure with
//! a status of its own, because nothing was sent to the client.

use super::SourceAnswer;
use crate::error::UpstreamError;
use crate::failure::Abort;
use crate::place::PlaceReaders;
use crate::source::{Piece, SourceBody};
use http::StatusCode;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;

/// How long the head of an answer waits for the first bytes of its body. Most come with it. A body
/// that begins later, such as a stream of events, must not hold its head up.
const LONGEST: Duration = Duration::from_millis(100);

/// An answer whose body has begun, or does not begin soon.
///
/// # Errors
/// The body breaks off before its first byte.
pub(super) async fn begun(mut answer: Box<SourceAnswer>) -> Result<Box<SourceAnswer>, Abort> {
    let length = answer.body.exact_length();
    if length == Some(0) || answer.response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(answer);
    }
    // Most bodies begin with their head: only the others need a timer.
    let at_once = poll_fn(|context| Poll::Ready(answer.body.poll_next(context))).await;
    let first = match at_once {
        Poll::Ready(first) => first,
        Poll::Pending => match Box::pin(timeout(LONGEST, answer.body.next())).await {
            Err(_) => return Ok(answer),
            Ok(first) => first,
        },
    };
    answer.body =
        Box::new(BegunBody { first: Some(first.transpose()?), length, body: answer.body });
    Ok(answer)
}

/// A body whose first piece was read.
struct BegunBody {
    /// That piece, or that there is none; `None` once it was taken.
    first: Option<Option<Piece>>,
    /// The length of all of it.
    length: Option<u64>,
    /// The rest.
    body: Box<dyn SourceBody>,
}

impl SourceBody for BegunBody {
    fn exact_length(&self) -> Option<u64> {
        self.length
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Piece, Abort>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(first.map(Ok)),
            None => self.body.poll_next(context),
        }
    }

    fn reject(&self, error: &UpstreamError) {
        self.body.reject(error);
    }

    fn is_here(&self) -> bool {
        let all = |piece: &Piece| match piece {
            Piece::Data(data) => self.length == Some(data.len() as u64),
            Piece::Trailers(_) => false,
        };
        self.first.as_ref().is_some_and(|first| first.as_ref().is_none_or(all))
    }

    fn place(&self) -> Option<Arc<PlaceReaders>> {
        self.body.place()
    }
}
