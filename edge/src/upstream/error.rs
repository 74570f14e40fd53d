//! Whose fault a failed exchange with the origin was, read off the errors of the libraries.

use crate::error::{ClientError, UpstreamError};
use std::error::Error;

/// What went wrong on a connection before the head of the answer was here.
pub(super) fn exchange_error(error: &(dyn Error + 'static)) -> UpstreamError {
    if let Some(client) = find::<ClientError>(error) {
        return UpstreamError::Client(client.clone());
    }
    match find::<hyper::Error>(error) {
        Some(error) if error.is_parse_too_large() => UpstreamError::HeadTooLarge,
        _ if is_closed(error) => UpstreamError::Reset(innermost(error)),
        _ => UpstreamError::BadHead(innermost(error)),
    }
}

/// Whether the connection or the stream ended, in whatever way, before the head of the answer was
/// complete.
fn is_closed(error: &(dyn Error + 'static)) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let ended = |error: &std::io::Error| {
        matches!(error.kind(), ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof)
    };
    let stream = find::<h2::Error>(error);
    find::<hyper::Error>(error).is_some_and(hyper::Error::is_incomplete_message)
        || find::<std::io::Error>(error).is_some_and(ended)
        || stream.is_some_and(|stream| stream.is_remote() || stream.get_io().is_some_and(ended))
}

/// Whether the member said that it did not process the request: it refused the stream, or the stream
/// came after the last one that its GOAWAY names (RFC 9113 §8.7).
pub(super) fn is_unprocessed(error: &hyper::Error) -> bool {
    let refused = |error: &h2::Error| error.reason() == Some(h2::Reason::REFUSED_STREAM);
    is_going_away(error)
        || find::<h2::Error>(error).is_some_and(|error| error.is_remote() && refused(error))
}

/// Whether the member ends the connection in good order (GOAWAY), and the request was not among
/// those that it takes. Streams that it takes are not ended by this error.
pub(super) fn is_going_away(error: &hyper::Error) -> bool {
    find::<h2::Error>(error).is_some_and(|error| error.is_go_away() && error.is_remote())
}

/// What went wrong during the body.
pub(super) fn body_error(error: &hyper::Error) -> UpstreamError {
    UpstreamError::BadBody(innermost(error))
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut layer = Some(error);
    while let Some(error) = layer {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        layer = error.source();
    }
    None
}

/// The deepest cause says most; the layers above repeat that something failed.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut layer = error;
    while let Some(deeper) = layer.source() {
        layer = deeper;
    }
    layer.to_string()
}
