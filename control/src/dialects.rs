//! The purge APIs of others, so that their clients work by changing the base URL: each call is
//! translated into an order of weir's own and the answer into theirs. What is refused is an
//! [`ApiError`] everywhere; [`in_their_form`] puts it in the form of the API that was spoken.
//!
//! A dialect is a module with its [`Dialect`], listed in [`DIALECTS`].

mod admit;
mod cloudflare;
mod cloudfront;
mod fastly;
mod operation;
mod order;

use crate::call::Call;
use crate::errors::ApiError;
use admit::Shown;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use std::net::IpAddr;
use weir_config::Config;

/// An API that is spoken beside weir's own.
struct Dialect {
    /// How its paths begin.
    prefixes: &'static [&'static str],
    calls: fn() -> Vec<Call>,
    /// Reads what the head of a request shows of its caller.
    shown: fn(&Parts, IpAddr, &Config) -> Result<Shown, ApiError>,
    /// A refusal in its form.
    refusal: fn(&ApiError) -> Response,
}

/// All of them.
const DIALECTS: [&Dialect; 3] = [&cloudflare::DIALECT, &fastly::DIALECT, &cloudfront::DIALECT];

impl Dialect {
    /// The one that a path belongs to.
    fn of(path: &str) -> Option<&'static Self> {
        let begins = |prefix: &&str| path.starts_with(*prefix);
        DIALECTS.into_iter().find(|dialect| dialect.prefixes.iter().any(begins))
    }
}

/// All calls of all dialects.
pub(crate) fn calls() -> Vec<Call> {
    DIALECTS.into_iter().flat_map(|dialect| (dialect.calls)()).collect()
}

/// Gives refusals on a dialect's paths that dialect's form, whoever refused, keeping what their
/// fields say (`Allow`, `Retry-After`).
pub(crate) async fn in_their_form(request: Request, next: Next) -> Response {
    let dialect = Dialect::of(request.uri().path());
    let response = next.run(request).await;
    let refused = response.extensions().get::<ApiError>();
    let (Some(dialect), Some(error)) = (dialect, refused) else { return response };
    let mut formed = (dialect.refusal)(error).into_response();
    for (name, value) in response.headers() {
        // How to show a token is said by each API's own documentation.
        if ![CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE].contains(name) {
            formed.headers_mut().append(name, value.clone());
        }
    }
    formed
}
