//! Who may call control. With tokens configured every call shows one, in the way of the API it
//! speaks; with none, only programs of this machine are answered ([`local`]).

mod local;
mod sigv4;

use super::errors::ApiError;
use http::header::{AUTHORIZATION, HeaderName};
use http::request::Parts;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use subtle::ConstantTimeEq;
use weir_edge::config::{Config, Scope, Token};

/// Where clients of Fastly show their token.
const FASTLY_KEY: HeaderName = HeaderName::from_static("fastly-key");

/// Where clients of Cloudflare show the key of an account, which is no token.
const ACCOUNT_KEYS: [HeaderName; 3] = [
    HeaderName::from_static("x-auth-key"),
    HeaderName::from_static("x-auth-email"),
    HeaderName::from_static("x-auth-user-service-key"),
];

/// The service that clients of CloudFront sign for.
const SIGNED_SERVICE: &str = "cloudfront";

/// A caller who was let in.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// A program on this machine, while no token is configured: may do everything.
    Local,
    /// The bearer of a token.
    Bearer(Token),
}

impl Caller {
    /// Judges a request of `peer` that shows its token as `Authorization: Bearer`.
    ///
    /// # Errors
    /// 401 without a known token where there are tokens, 403 from elsewhere where there are none.
    pub(crate) fn of(request: &Parts, peer: IpAddr, config: &Config) -> Result<Self, ApiError> {
        Self::by_secret(request, peer, config, bearer)
    }

    /// As [`Caller::of`], for clients of Cloudflare.
    pub(crate) fn of_cloudflare(
        request: &Parts,
        peer: IpAddr,
        config: &Config,
    ) -> Result<Self, ApiError> {
        Self::by_secret(request, peer, config, |request| {
            let mut account_keys = ACCOUNT_KEYS.into_iter();
            let account_key = account_keys.find(|name| request.headers.contains_key(name));
            match account_key {
                Some(name) if !request.headers.contains_key(AUTHORIZATION) => {
                    let accepted = "show a token (api_token): Authorization: Bearer SECRET";
                    let message = format!("keys of accounts ({name}) are not taken; {accepted}");
                    Err(ApiError::unauthenticated(message))
                }
                _ => bearer(request),
            }
        })
    }

    /// As [`Caller::of`], for clients of Fastly: `Fastly-Key`, or a bearer.
    pub(crate) fn of_fastly(
        request: &Parts,
        peer: IpAddr,
        config: &Config,
    ) -> Result<Self, ApiError> {
        Self::by_secret(request, peer, config, |request| {
            let mut keys = request.headers.get_all(FASTLY_KEY).iter();
            match (keys.next(), keys.next()) {
                (Some(key), None) => Ok(key.as_bytes().trim_ascii()),
                (None, _) if request.headers.contains_key(AUTHORIZATION) => bearer(request),
                _ => Err(ApiError::unauthenticated("send a token: Fastly-Key: SECRET")),
            }
        })
    }

    fn by_secret(
        request: &Parts,
        peer: IpAddr,
        config: &Config,
        shown: impl FnOnce(&Parts) -> Result<&[u8], ApiError>,
    ) -> Result<Self, ApiError> {
        if config.tokens.is_empty() {
            return local::judge(request, peer).map(|()| Self::Local);
        }
        let secret = shown(request)?;
        // Every secret is compared, each in constant time: neither how much of a secret is right
        // nor which token it is shows in the time taken.
        let mut found = None;
        for token in &config.tokens {
            if bool::from(token.secret.as_bytes().ct_eq(secret)) {
                found = Some(token);
            }
        }
        let token = found.ok_or_else(|| ApiError::unauthenticated("the token is not known"))?;
        Ok(Self::Bearer(token.clone()))
    }

    /// Whether a call that purges could come from a page in a browser of this machine.
    ///
    /// # Errors
    /// 403 where there are no tokens and the request shows nothing that no page can send.
    pub(crate) fn is_no_page(&self, request: &Parts) -> Result<(), ApiError> {
        match self {
            Self::Local => local::judge_purge(request),
            // No page knows the secret.
            Self::Bearer(_) => Ok(()),
        }
    }

    /// # Errors
    /// 403 when the token has not this scope.
    pub(crate) fn needs(&self, scope: Scope) -> Result<(), ApiError> {
        match self {
            Self::Bearer(token) if !token.scopes.contains(&scope) => {
                let word: &str = scope.into();
                let name = &token.name;
                Err(ApiError::forbidden(format!("the token {name:?} has not the scope {word:?}")))
            }
            _ => Ok(()),
        }
    }

    /// Whether it may act on this site. `None` stands for all sites.
    pub(crate) fn may_touch(&self, site: Option<&str>) -> bool {
        match self {
            Self::Bearer(Token { sites, .. }) if !sites.is_empty() => {
                site.is_some_and(|site| sites.iter().any(|allowed| allowed == site))
            }
            _ => true,
        }
    }

    /// The sites that it is confined to; none where it may act on all.
    pub(crate) fn sites(&self) -> &[String] {
        match self {
            Self::Local => &[],
            Self::Bearer(token) => &token.sites,
        }
    }

    /// # Errors
    /// 403 when it may not act on `site`; `what` says what was to be touched there.
    pub(crate) fn needs_site(&self, site: Option<&str>, what: &str) -> Result<(), ApiError> {
        if self.may_touch(site) {
            return Ok(());
        }
        let Self::Bearer(token) = self else { return Ok(()) };
        let sites = token.sites.join(", ");
        let name = &token.name;
        Err(ApiError::forbidden(format!("the token {name:?} is for the sites {sites}, not {what}")))
    }

    /// How the log names it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Local => "loopback",
            Self::Bearer(token) => &token.name,
        }
    }
}

/// What the head of a request that may be signed tells of its caller.
pub(crate) enum Shown {
    /// Its caller, whatever the body.
    Caller(Caller),
    /// A claim that is judged with the body.
    Claim(Claim),
}

/// A signature that is yet to be judged.
pub(crate) struct Claim {
    signature: sigv4::Signature,
    host: String,
}

impl Shown {
    /// Reads the head of a request as clients of CloudFront send it: signed with a token's secret,
    /// the token's name being the access key. A bearer is taken, too.
    ///
    /// # Errors
    /// As [`Caller::of`].
    pub(crate) fn of_cloudfront(
        request: &Parts,
        peer: IpAddr,
        config: &Config,
    ) -> Result<Self, ApiError> {
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
            .map(Self::Caller);
        }
        // A clock before 1970 is far off everyone's: nothing is let in by it.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let signature = sigv4::Signature::claimed(&request.headers, SIGNED_SERVICE, now)
            .map_err(ApiError::signature)?;
        let host = local::host(request)
            .ok_or_else(|| ApiError::signature("the request has not exactly one Host"))?;
        Ok(Self::Claim(Claim { signature, host }))
    }
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

/// The secret in `Authorization: Bearer` (RFC 6750 §2.1).
fn bearer(request: &Parts) -> Result<&[u8], ApiError> {
    let mut fields = request.headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return Err(ApiError::unauthenticated("send a token: Authorization: Bearer SECRET"));
    };
    match field.as_bytes().split_at_checked(7) {
        Some((scheme, secret)) if scheme.eq_ignore_ascii_case(b"bearer ") => {
            Ok(secret.trim_ascii())
        }
        _ => Err(ApiError::unauthenticated("only Authorization: Bearer SECRET is taken")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;

    const SECRET: &str = "0123456789abcdef";

    fn without_tokens() -> Config {
        Config::for_origin("http://127.0.0.1:1").unwrap()
    }

    fn with_token() -> Config {
        Config::from_toml(&format!(
            "[[site]]\nid = \"shop\"\norigins = [\"http://a\"]\n\
             [[token]]\nname = \"other\"\nsecret = \"fedcba9876543210\"\nscopes = [\"admin\"]\n\
             [[token]]\nname = \"ci\"\nsecret = \"{SECRET}\"\nscopes = [\"purge\"]\n\
             sites = [\"shop\"]\n"
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

    fn status(fields: &[(&str, &str)], peer: &str, config: &Config) -> u16 {
        match Caller::of(&request(fields), peer.parse().unwrap(), config) {
            Ok(_) => 200,
            Err(error) => error.into_response().status().as_u16(),
        }
    }

    #[test]
    fn without_tokens_only_programs_on_this_machine_are_let_in() {
        let config = without_tokens();
        for (fields, peer, expected) in [
            (&[("host", "127.0.0.1:9090")][..], "127.0.0.1", 200),
            (&[("host", "localhost")], "127.0.0.1", 200),
            (&[("host", "[::1]:9090")], "::1", 200),
            (&[("host", "localhost")], "::ffff:127.0.0.1", 200),
            (&[("host", "localhost")], "192.0.2.1", 403),
            (&[("host", "localhost")], "::ffff:192.0.2.1", 403),
            (&[("host", "rebound.example:9090")], "127.0.0.1", 403),
            (&[("host", "localhost.example")], "127.0.0.1", 403),
            (&[("host", "localhost@example")], "127.0.0.1", 403),
            (&[("host", "127.0.0.1"), ("host", "example")], "127.0.0.1", 403),
            (&[("host", "")], "127.0.0.1", 403),
            (&[], "127.0.0.1", 403),
            (&[("host", "localhost"), ("x-forwarded-for", "1.2.3.4")], "127.0.0.1", 403),
            (&[("host", "localhost"), ("forwarded", "for=1.2.3.4")], "127.0.0.1", 403),
        ] {
            assert_eq!(status(fields, peer, &config), expected, "{fields:?} {peer}");
        }
    }

    #[test]
    fn pages_in_a_browser_are_kept_out() {
        let config = without_tokens();
        for (field, value, expected) in [
            ("origin", "http://localhost:9090", 200),
            ("origin", "http://localhost:8080", 403),
            ("origin", "https://example.com", 403),
            ("origin", "null", 403),
            ("sec-fetch-site", "same-origin", 200),
            ("sec-fetch-site", "none", 200),
            ("sec-fetch-site", "cross-site", 403),
            ("sec-fetch-site", "same-site", 403),
        ] {
            let fields = [("host", "localhost:9090"), (field, value)];
            assert_eq!(status(&fields, "127.0.0.1", &config), expected, "{field}: {value}");
        }
    }

    #[test]
    fn with_tokens_every_caller_shows_one_from_wherever_it_calls() {
        let config = with_token();
        let bearer = format!("Bearer {SECRET}");
        let lower = format!("bearer {SECRET}");
        let long = format!("Bearer {SECRET}0");
        for (fields, expected) in [
            (&[("authorization", bearer.as_str())][..], 200),
            (&[("authorization", &lower)], 200),
            (&[("authorization", &long)], 401),
            (&[("authorization", "Bearer ")], 401),
            (&[("authorization", "Bearer")], 401),
            (&[("authorization", "Basic Y2k6eA==")], 401),
            (&[("authorization", &bearer), ("authorization", &bearer)], 401),
            (&[("host", "localhost")], 401),
        ] {
            assert_eq!(status(fields, "192.0.2.1", &config), expected, "{fields:?}");
            assert_eq!(status(fields, "127.0.0.1", &config), expected, "{fields:?}");
        }
    }

    #[test]
    fn each_client_shows_its_token_in_its_own_way() {
        type Of = fn(&Parts, IpAddr, &Config) -> Result<Caller, ApiError>;
        let bearer = format!("Bearer {SECRET}");
        let (bearer, fastly, cloudflare) = (
            ("authorization", bearer.as_str()),
            Caller::of_fastly as Of,
            Caller::of_cloudflare as Of,
        );
        let key = ("fastly-key", SECRET);
        for (of, fields, expected) in [
            (fastly, &[key][..], "ok"),
            (fastly, &[bearer], "ok"),
            (fastly, &[("fastly-key", "fedcba9876543211")], "not known"),
            (fastly, &[key, key], "Fastly-Key: SECRET"),
            (fastly, &[], "Fastly-Key: SECRET"),
            (cloudflare, &[bearer], "ok"),
            (cloudflare, &[bearer, ("x-auth-email", "a@b.example")], "ok"),
            (cloudflare, &[key], "Bearer SECRET"),
            (cloudflare, &[("x-auth-key", SECRET)], "keys of accounts (x-auth-key)"),
            (cloudflare, &[], "Bearer SECRET"),
            (Caller::of as Of, &[key], "Bearer SECRET"),
        ] {
            match of(&request(fields), [192, 0, 2, 1].into(), &with_token()) {
                Ok(caller) => assert_eq!((caller.name(), expected), ("ci", "ok"), "{fields:?}"),
                Err(error) => {
                    let error = format!("{error:?}");
                    assert!(error.contains(expected), "{fields:?}: {error}");
                }
            }
        }
    }

    #[test]
    fn a_token_reaches_as_far_as_its_scopes_and_sites() {
        let bearer = format!("Bearer {SECRET}");
        let request = request(&[("authorization", bearer.as_str())]);
        let caller = Caller::of(&request, [192, 0, 2, 1].into(), &with_token()).unwrap();
        assert_eq!(caller.name(), "ci");
        assert!(caller.needs(Scope::Purge).is_ok());
        let refused = caller.needs(Scope::Admin).unwrap_err();
        assert_eq!(refused, ApiError::forbidden("the token \"ci\" has not the scope \"admin\""));
        assert!(caller.may_touch(Some("shop")));
        assert!(!caller.may_touch(Some("blog")) && !caller.may_touch(None));
        assert!(caller.needs_site(None, "all sites").is_err());
        assert!(Caller::Local.may_touch(None) && Caller::Local.needs(Scope::Admin).is_ok());
    }
}
