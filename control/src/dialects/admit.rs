//! From a request in a dialect to a caller who was let in, and a body.

use super::Dialect;
use crate::auth::{Caller, Shown};
use crate::errors::ApiError;
use crate::extract::read;
use crate::listener::Peer;
use crate::rest::Shared;
use axum::body::Bytes;
use axum::extract::Request;
use http::Method;
use http::request::Parts;
use std::sync::Arc;
use weir_config::Config;

/// A request whose caller was let in.
pub(super) struct Admitted {
    pub(super) caller: Caller,
    pub(super) config: Arc<Config>,
    pub(super) request: Parts,
    pub(super) body: Bytes,
}

/// Judges who calls and reads what they send. What the head alone tells is judged first, so that
/// nobody's body is read who shows nothing.
///
/// # Errors
/// 401 and 403 for who may not call, 413 for what is too large.
pub(super) async fn admit(
    control: &Shared,
    dialect: Dialect,
    request: Request,
) -> Result<Admitted, ApiError> {
    let (request, body) = request.into_parts();
    let config = control.config();
    // Set by the listener for every request.
    let Peer(peer) = *request.extensions.get::<Peer>().ok_or_else(ApiError::internal)?;
    let peer = peer.ip();
    let shown = match dialect {
        Dialect::Cloudflare => Caller::of_cloudflare(&request, peer, &config).map(Shown::Caller)?,
        Dialect::Fastly => Caller::of_fastly(&request, peer, &config).map(Shown::Caller)?,
        Dialect::CloudFront => Shown::of_cloudfront(&request, peer, &config)?,
    };
    if let Shown::Caller(caller) = &shown
        && request.method != Method::GET
    {
        caller.is_no_page(&request)?;
    }
    let body = read(body).await?;
    let caller = match shown {
        Shown::Caller(caller) => caller,
        Shown::Claim(claim) => claim.proven(&request, &body, &config)?,
    };
    Ok(Admitted { caller, config, request, body })
}
