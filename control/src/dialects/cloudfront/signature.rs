//! Who signed a request: a token's name is the access key, its secret the secret key.

use super::sigv4;
use crate::auth::{Caller, bearer, host as host_of};
use crate::dialects::admit::Shown;
use crate::errors::ApiError;
use http::header::AUTHORIZATION;
use http::request::Parts;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use weir_config::Config;

/// The service that clients of CloudFront sign for.
const SIGNED_SERVICE: &str = "cloudfront";

/// A signature that is yet to be judged.
pub(crate) struct Claim {
    signature: sigv4::Signature,
    host: String,
}

/// Reads the head of a request as clients of CloudFront send it: signed with a token's secret,
/// the token's name being the access key. A bearer is taken, too.
///
/// # Errors
/// As [`Caller::by_secret`].
pub(super) fn shown(request: &Parts, peer: IpAddr, config: &Config) -> Result<Shown, ApiError> {
    let signed = request.headers.get(AUTHORIZATION);
    let signed = signed.is_some_and(|field| sigv4::is_signature(field.as_bytes()));
    if config.tokens.is_empty() || !signed {
        return Caller::by_secret(request, peer, config, |request| {
            if request.headers.contains_key(AUTHORIZATION) {
                return bearer(request);
            }
            let how = "sign with a token's name as access key and its secret as secret key";
            Err(ApiError::unauthenticated(how))
        })
        .map(Shown::Caller);
    }
    // A clock before 1970 is far off everyone's: nothing is let in by it.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let signature = sigv4::Signature::claimed(&request.headers, SIGNED_SERVICE, now)
        .map_err(ApiError::signature)?;
    let host = host_of(request)
        .ok_or_else(|| ApiError::signature("the request does not have exactly one Host"))?;
    Ok(Shown::Claim(Claim { signature, host }))
}

impl Claim {
    /// The caller, if the request was signed with the secret of the token that it names.
    ///
    /// # Errors
    /// 401; the same for a token that is not known and for a wrong signature.
    pub(crate) fn proven(
        &self,
        request: &Parts,
        body: &[u8],
        config: &Config,
    ) -> Result<Caller, ApiError> {
        let named = &self.signature.access_key;
        let token = config.tokens.iter().find(|token| token.name == *named);
        // As much work for a name that is not known: the time taken does not tell.
        let secret = token.map_or("", |token| &token.secret);
        match (self.signature.is_by(secret, request, &self.host, body), token) {
            (true, Some(token)) => Ok(Caller::Bearer(token.clone())),
            _ => Err(ApiError::signature(
                "the access key is not the name of a token, or its secret did not sign this",
            )),
        }
    }
}
