//! From a request in a dialect to a caller who was let in, and a body.

use super::Dialect;
use super::cloudfront::Claim;
use crate::auth::Caller;
use crate::call::SharedControl;
use crate::errors::ApiError;
use crate::extract::read;
use crate::listener::Peer;
use crate::sites::KnownSites;
use axum::body::Bytes;
use axum::extract::Request;
use http::Method;
use http::request::Parts;
use std::time::Instant;

/// What the head of a request shows of its caller.
pub(super) enum Shown {
    /// Its caller, whatever the body.
    Caller(Caller),
    /// A claim that is judged with the body.
    Claim(Claim),
}

/// A request whose caller was let in.
pub(super) struct Admitted {
    pub(super) caller: Caller,
    pub(super) sites: KnownSites,
    pub(super) request: Parts,
    pub(super) body: Bytes,
}

/// Judges who calls and reads what they send. What the head alone tells is judged first, so that
/// nobody's body is read who shows nothing.
///
/// # Errors
/// 401 and 403 for who may not call, 413 for what is too large.
pub(super) async fn admit(
    control: &SharedControl,
    dialect: &Dialect,
    request: Request,
) -> Result<Admitted, ApiError> {
    let (request, body) = request.into_parts();
    let config = control.config();
    // Set by the listener for every request.
    let Peer(peer) = *request.extensions.get::<Peer>().ok_or_else(ApiError::internal)?;
    let attempts = &control.process.attempts;
    let judge = |judged| attempts.judge(peer.ip(), &request, judged, Instant::now());
    let shown = match (dialect.shown)(&request, peer.ip(), &config) {
        Ok(Shown::Caller(caller)) => Shown::Caller(judge(Ok(caller))?),
        Ok(claim) => claim,
        Err(error) => return Err(judge(Err(error)).err().unwrap_or_else(ApiError::internal)),
    };
    if let Shown::Caller(caller) = &shown
        && request.method != Method::GET
    {
        caller.is_no_page(&request)?;
    }
    let body = read(body).await?;
    let caller = match shown {
        Shown::Caller(caller) => caller,
        Shown::Claim(claim) => judge(claim.proven(&request, &body, &config))?,
    };
    let sites = control.sites();
    Ok(Admitted { caller, sites, request, body })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dialects::{cloudflare, fastly};
    use std::net::IpAddr;
    use weir_config::Config;

    const SECRET: &str = "0123456789abcdef";

    fn with_token() -> Config {
        Config::from_toml(&format!(
            "[[site]]\norigins = [\"http://a\"]\n\
             [[token]]\nname = \"other\"\nsecret = \"fedcba9876543210\"\nscopes = [\"admin\"]\n\
             [[token]]\nname = \"ci\"\nsecret = \"{SECRET}\"\nscopes = [\"purge\"]\n"
        ))
        .unwrap()
    }

    fn request(fields: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::get("/v1/nodes");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    /// The caller, whatever the body.
    fn of(dialect: &Dialect, request: &Parts, peer: IpAddr) -> Result<Caller, ApiError> {
        match (dialect.shown)(request, peer, &with_token())? {
            Shown::Caller(caller) => Ok(caller),
            Shown::Claim(_) => panic!("a claim"),
        }
    }

    #[test]
    fn each_client_shows_its_token_in_its_own_way() {
        let bearer = format!("Bearer {SECRET}");
        let bearer = ("authorization", bearer.as_str());
        let (fastly, cloudflare) = (&fastly::DIALECT, &cloudflare::DIALECT);
        let key = ("fastly-key", SECRET);
        for (dialect, fields, expected) in [
            (fastly, &[key][..], "ok"),
            (fastly, &[bearer], "ok"),
            (fastly, &[("fastly-key", "fedcba9876543211")], "not known"),
            (fastly, &[key, key], "Fastly-Key: SECRET"),
            (fastly, &[], "Fastly-Key: SECRET"),
            (cloudflare, &[bearer], "ok"),
            (cloudflare, &[bearer, ("x-auth-email", "a@b.example")], "ok"),
            (cloudflare, &[key], "Bearer SECRET"),
            (cloudflare, &[("x-auth-key", SECRET)], "account keys (x-auth-key)"),
            (cloudflare, &[], "Bearer SECRET"),
        ] {
            match of(dialect, &request(fields), [192, 0, 2, 1].into()) {
                Ok(caller) => assert_eq!((caller.name(), expected), ("ci", "ok"), "{fields:?}"),
                Err(error) => {
                    let error = format!("{error:?}");
                    assert!(error.contains(expected), "{fields:?}: {error}");
                }
            }
        }
    }
}
