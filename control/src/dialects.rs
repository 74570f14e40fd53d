//! The purge APIs of others, so that their clients work by changing the base URL: each call is
//! translated into an order of weir's own and the answer into theirs. What is refused is an
//! [`ApiError`] everywhere; [`in_their_form`] puts it in the form of the API that was spoken.

mod admit;
mod cloudflare;
mod cloudfront;
mod fastly;
mod openapi;
mod order;

pub(super) use openapi::operation;

use super::errors::ApiError;
use super::rest::Call;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};

/// An API that is spoken beside weir's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Cloudflare,
    Fastly,
    CloudFront,
}

impl Dialect {
    /// The one that a path belongs to.
    fn of(path: &str) -> Option<Self> {
        [
            ("/client/v4/", Self::Cloudflare),
            ("/service/", Self::Fastly),
            ("/purge/", Self::Fastly),
            ("/2020-05-31/", Self::CloudFront),
        ]
        .into_iter()
        .find_map(|(prefix, dialect)| path.starts_with(prefix).then_some(dialect))
    }

    /// A refusal in its form.
    fn refusal(self, error: &ApiError) -> Response {
        match self {
            Self::Cloudflare => cloudflare::refusal(error),
            Self::Fastly => fastly::refusal(error),
            Self::CloudFront => cloudfront::refusal(error),
        }
    }
}

/// All calls of all dialects.
pub(super) fn calls() -> Vec<Call> {
    [cloudflare::calls(), fastly::calls(), cloudfront::calls()].into_iter().flatten().collect()
}

/// Gives refusals on a dialect's paths that dialect's form, whoever refused, keeping what their
/// fields say (`Allow`, `Retry-After`).
pub(super) async fn in_their_form(request: Request, next: Next) -> Response {
    let dialect = Dialect::of(request.uri().path());
    let response = next.run(request).await;
    let refused = response.extensions().get::<ApiError>();
    let (Some(dialect), Some(error)) = (dialect, refused) else { return response };
    let mut formed = dialect.refusal(error).into_response();
    for (name, value) in response.headers() {
        // How to show a token is said by each API's own documentation.
        if ![CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE].contains(name) {
            formed.headers_mut().append(name, value.clone());
        }
    }
    formed
}
