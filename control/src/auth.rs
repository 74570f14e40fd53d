//! Who may call control. With tokens configured every call shows one, in the way of the API it
//! speaks; with none, only programs of this machine are answered ([`local`]).

mod local;

pub(crate) use local::host;

use crate::errors::ApiError;
use crate::ledger::Referrer;
use http::header::AUTHORIZATION;
use http::request::Parts;
use std::net::IpAddr;
use subtle::ConstantTimeEq;
use weir_config::{Config, Scope, Token};

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

    /// Judges a request of `peer` that shows its token in the way that `shown` reads.
    ///
    /// # Errors
    /// As [`Caller::of`], and those of `shown`.
    pub(crate) fn by_secret(
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
                Err(ApiError::forbidden(format!(
                    "the token {name:?} does not have the scope \
                     {word:?}"
                )))
            }
            Self::Local | Self::Bearer(_) => Ok(()),
        }
    }

    /// Whether it may act on this site. `None` stands for all sites.
    pub(crate) fn may_touch(&self, site: Option<&str>) -> bool {
        match self {
            Self::Bearer(Token { sites, .. }) if !sites.is_empty() => {
                site.is_some_and(|site| sites.iter().any(|allowed| allowed == site))
            }
            Self::Local | Self::Bearer(_) => true,
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

    /// Whether it may act on all sites; so must who does what concerns all of them.
    ///
    /// # Errors
    /// 403 that says what that is.
    pub(crate) fn needs_all_sites(&self, what: &str) -> Result<(), ApiError> {
        self.needs_site(None, &format!("{what}, which concerns all sites"))
    }

    /// Whose its references are: its own and, where a call names a site beside its body, its own
    /// there.
    pub(crate) fn referrer(&self, site: Option<&str>) -> Referrer {
        Referrer { token: self.name().to_owned(), site: site.map(str::to_owned) }
    }

    /// How the log names it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Local => "loopback",
            Self::Bearer(token) => &token.name,
        }
    }
}

/// The secret in `Authorization: Bearer` (RFC 6750 §2.1).
///
/// # Errors
/// 401 for another scheme, no such field, or several.
pub(crate) fn bearer(request: &Parts) -> Result<&[u8], ApiError> {
    let mut fields = request.headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return Err(ApiError::unauthenticated("send a token: Authorization: Bearer SECRET"));
    };
    match field.as_bytes().split_at_checked(7) {
        Some((scheme, secret)) if scheme.eq_ignore_ascii_case(b"bearer ") => {
            Ok(secret.trim_ascii())
        }
        _ => Err(ApiError::unauthenticated("accepted: Authorization: Bearer SECRET")),
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
            (&[("fastly-key", SECRET)], 401),
        ] {
            assert_eq!(status(fields, "192.0.2.1", &config), expected, "{fields:?}");
            assert_eq!(status(fields, "127.0.0.1", &config), expected, "{fields:?}");
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
        assert_eq!(
            refused,
            ApiError::forbidden(
                "the token \"ci\" does not have the scope \
             \"admin\""
            )
        );
        assert!(caller.may_touch(Some("shop")));
        assert!(!caller.may_touch(Some("blog")) && !caller.may_touch(None));
        assert!(caller.needs_site(None, "all sites").is_err());
        let refused = caller.needs_all_sites("a reload").unwrap_err();
        let told = "the token \"ci\" is for the sites shop, not a reload, which concerns all sites";
        assert_eq!(refused, ApiError::forbidden(told));
        assert!(Caller::Local.needs_all_sites("a reload").is_ok());
        assert!(Caller::Local.may_touch(None) && Caller::Local.needs(Scope::Admin).is_ok());
    }
}
