//! How clients of Cloudflare show a token: as a bearer, or as the key of an account with its
//! address.

use crate::auth::{Caller, bearer};
use crate::dialects::admit::Shown;
use crate::errors::ApiError;
use http::HeaderName;
use http::header::AUTHORIZATION;
use http::request::Parts;
use std::net::IpAddr;
use weir_config::Config;

/// The key of an account. Here it is the secret of a token.
const KEY: HeaderName = HeaderName::from_static("x-auth-key");

/// Whose key it is. A secret has no owner here, so any address will do.
const EMAIL: HeaderName = HeaderName::from_static("x-auth-email");

/// The key of a service, which is sent alone.
const SERVICE_KEY: HeaderName = HeaderName::from_static("x-auth-user-service-key");

/// A token, as a bearer or as a key. `Authorization` counts if both are there.
pub(super) fn shown(request: &Parts, peer: IpAddr, config: &Config) -> Result<Shown, ApiError> {
    let caller = Caller::by_secret(request, peer, config, |request| {
        let has = |name| request.headers.contains_key(name);
        if has(AUTHORIZATION) {
            bearer(request)
        } else if has(KEY) || has(EMAIL) {
            key(request)
        } else if has(SERVICE_KEY) {
            let accepted = "Authorization: Bearer SECRET, or X-Auth-Key with X-Auth-Email";
            let message = format!("keys of services are not accepted; accepted: {accepted}");
            Err(ApiError::unauthenticated(message))
        } else {
            bearer(request)
        }
    })?;
    Ok(Shown::Caller(caller))
}

fn key(request: &Parts) -> Result<&[u8], ApiError> {
    let one = |name| {
        let mut values = request.headers.get_all(name).iter();
        let value = values.next().filter(|_| values.next().is_none())?;
        Some(value.as_bytes().trim_ascii()).filter(|value| !value.is_empty())
    };
    match (one(KEY), one(EMAIL)) {
        (Some(key), Some(_)) => Ok(key),
        (None, _) => Err(ApiError::unauthenticated("send a token: X-Auth-Key: SECRET")),
        (_, None) => Err(ApiError::unauthenticated(
            "X-Auth-Key comes without X-Auth-Email; accepted: both, with any address",
        )),
    }
}
