//! Cross-origin requests as the Fetch standard has them (<https://fetch.spec.whatwg.org/#http-cors-protocol>): which
//! origins may read responses, and the answers to CORS-preflight requests.

use super::{RuleSet, Setting, SiteRules};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method};

/// What an origin may be, for messages.
pub const ORIGIN_FORM: &str = "an origin as browsers send it, such as https://app.example.com or http://localhost:3000, with *. before \
                               the host for all its subdomains; or \"*\" alone for every origin";

/// What a rule says of cross-origin requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Who may read responses.
    pub origins: Origins,
    /// Methods that may be used beside GET, HEAD and POST, as the field has them; empty if there are none.
    pub methods: Option<HeaderValue>,
    /// Fields that a request may have beside those that need no leave.
    pub headers: Option<HeaderValue>,
    /// Fields of the response that may be read beside those that need no leave.
    pub expose: Option<HeaderValue>,
    /// Whether responses to requests with credentials may be read.
    pub credentials: bool,
    /// How long browsers may keep the answer to a preflight, in seconds; `None` leaves that to them.
    pub max_age: Option<u32>,
}

/// Which origins may read responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// All of them.
    Any,
    /// Those that one of these takes.
    Of(Vec<OriginPattern>),
}

/// An origin, or that of each subdomain of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    /// Scheme and `://`.
    scheme: String,
    /// Host and port; of subdomains what follows the `*`.
    authority: String,
    subdomains: bool,
}

impl OriginPattern {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "null" {
            return Err("any sandboxed page and any file has this origin".into());
        }
        let (scheme, authority) = text.split_once("://").ok_or("has no scheme")?;
        let is_scheme = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
        if scheme.is_empty() || !scheme.bytes().all(is_scheme) {
            return Err("browsers send the scheme in lower case".into());
        }
        if authority.contains(['/', '?', '#', '@']) {
            return Err("has more than scheme, host and port; an origin has no path, and no slash at its end".into());
        }
        let subdomains = authority.starts_with("*.");
        let authority = if subdomains { &authority[1..] } else { authority };
        let may_stand =
            |b: u8| b.is_ascii_graphic() && b != b'*' && b != b',' && !b.is_ascii_uppercase();
        match authority.trim_start_matches('.') {
            "" => Err("has no host".into()),
            _ if authority.contains('*') => Err("has a * that is not before the host".into()),
            _ if !authority.bytes().all(may_stand) => {
                Err("browsers send the host in lower case, in its xn-- form".into())
            }
            _ if matches!(
                (scheme, authority.rsplit_once(':')),
                ("http", Some((_, "80"))) | ("https", Some((_, "443")))
            ) =>
            {
                Err("browsers leave out the port of the scheme".into())
            }
            _ => Ok(Self {
                scheme: format!("{scheme}://"),
                authority: authority.to_owned(),
                subdomains,
            }),
        }
    }

    /// Whether it takes the origin that a request names.
    fn takes(&self, origin: &[u8]) -> bool {
        let Some(authority) = origin.strip_prefix(self.scheme.as_bytes()) else { return false };
        match self.subdomains {
            false => authority == self.authority.as_bytes(),
            true => {
                let name = authority.strip_suffix(self.authority.as_bytes());
                let may_stand = |b: &u8| b.is_ascii_alphanumeric() || b"-._".contains(b);
                name.is_some_and(|name| !name.is_empty() && name.iter().all(may_stand))
            }
        }
    }
}

impl Cors {
    /// The value of Access-Control-Allow-Origin for a request from this origin, if it may read responses.
    fn allowed(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        match &self.origins {
            Origins::Any => Some(HeaderValue::from_static("*")),
            Origins::Of(patterns) => {
                let origin = origin?;
                let takes = |pattern: &OriginPattern| pattern.takes(origin.as_bytes());
                patterns.iter().any(takes).then(|| origin.clone())
            }
        }
    }

    /// Says who may read a response. What the origin server says of it is replaced.
    fn share(&self, origin: Option<&HeaderValue>, fields: &mut HeaderMap) {
        let allowed = self.allowed(origin);
        for name in [
            ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            ACCESS_CONTROL_EXPOSE_HEADERS,
        ] {
            fields.remove(name);
        }
        if self.origins != Origins::Any {
            vary_by_origin(fields);
        }
        let Some(allowed) = allowed else { return };
        fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            fields.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(expose) = &self.expose {
            fields.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    /// The fields of the answer to a preflight, beside those of [`share`](Self::share), which come when it is sent.
    fn preflight(&self, origin: Option<&HeaderValue>) -> HeaderMap {
        let mut fields = HeaderMap::new();
        if self.allowed(origin).is_none() {
            return fields;
        }
        if let Some(methods) = &self.methods {
            fields.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
        }
        if let Some(headers) = &self.headers {
            fields.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
        }
        if let Some(seconds) = self.max_age {
            fields.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(seconds));
        }
        fields
    }
}

/// Adds Origin to Vary, unless that has it.
fn vary_by_origin(fields: &mut HeaderMap) {
    let lines = fields.get_all(VARY).iter().filter_map(|line| line.to_str().ok());
    let mut names = lines.flat_map(|line| line.split(',')).map(str::trim);
    if !names.any(|name| name == "*" || name.eq_ignore_ascii_case("origin")) {
        fields.append(VARY, HeaderValue::from_static("Origin"));
    }
}

impl SiteRules {
    /// The fields of the answer to a CORS-preflight request, if rules that apply to it answer those.
    pub fn preflight(
        &self,
        applied: RuleSet,
        method: &Method,
        request: &HeaderMap,
    ) -> Option<HeaderMap> {
        let is_preflight = *method == Method::OPTIONS
            && request.contains_key(ORIGIN)
            && request.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight {
            return None;
        }
        let cors = self.cors(applied)?;
        Some(cors.preflight(request.get(ORIGIN)))
    }

    /// What is said of cross-origin requests.
    fn cors(&self, applied: RuleSet) -> Option<&Cors> {
        self.decider(applied, Setting::Cors)?.settings.cors.as_ref()
    }

    /// Whether any of these rules speaks of cross-origin requests.
    pub fn has_cors(&self, matching: RuleSet) -> bool {
        !matching.and(self.setters_of(Setting::Cors)).is_empty()
    }

    /// Says in a response who may read it, by the rules that apply to it. `origin` is the request's.
    pub(super) fn share(
        &self,
        applied: RuleSet,
        origin: Option<&HeaderValue>,
        fields: &mut HeaderMap,
    ) {
        if let Some(cors) = self.cors(applied) {
            cors.share(origin, fields);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        let origins = match origins {
            ["*"] => Origins::Any,
            origins => {
                Origins::Of(origins.iter().map(|o| OriginPattern::parse(o).unwrap()).collect())
            }
        };
        Cors {
            origins,
            methods: Some(HeaderValue::from_static("PUT")),
            headers: None,
            expose: Some(HeaderValue::from_static("X-A")),
            credentials: false,
            max_age: Some(5),
        }
    }

    #[test]
    fn an_origin_is_compared_as_a_whole() {
        for (pattern, origin, takes) in [
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "http://a.example", false),
            ("https://a.example", "https://a.example:8443", false),
            ("https://a.example", "https://a.example.evil.example", false),
            ("https://a.example", "https://xa.example", false),
            ("https://a.example", "null", false),
            ("http://localhost:3000", "http://localhost:3000", true),
            ("https://*.a.example", "https://b.a.example", true),
            ("https://*.a.example", "https://c.b.a.example", true),
            ("https://*.a.example", "https://a.example", false),
            ("https://*.a.example", "https://.a.example", false),
            ("https://*.a.example", "https://evil.example/.a.example", false),
            ("https://*.a.example", "https://u@b.a.example", false),
            ("https://*.a.example", "https://evila.example", false),
            ("https://*.a.example:8443", "https://b.a.example:8443", true),
        ] {
            let pattern = OriginPattern::parse(pattern).unwrap();
            assert_eq!(pattern.takes(origin.as_bytes()), takes, "{pattern:?} {origin}");
        }
        for (text, part) in [
            ("a.example", "no scheme"),
            ("null", "sandboxed"),
            ("https://a.example/", "no slash"),
            ("HTTPS://a.example", "lower case"),
            ("https://A.example", "lower case"),
            ("https://", "no host"),
            ("https://*.", "no host"),
            ("https://a.*.example", "before the host"),
            ("https://a.example:443", "port of the scheme"),
        ] {
            let told = OriginPattern::parse(text).unwrap_err();
            assert!(told.contains(part), "{text}: {told}");
        }
    }

    #[test]
    fn a_response_says_who_may_read_it_and_what_its_server_said_is_replaced() {
        let said = || {
            let mut fields = HeaderMap::new();
            fields.insert(
                ACCESS_CONTROL_ALLOW_ORIGIN,
                HeaderValue::from_static("https://evil.example"),
            );
            fields.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            fields.insert(VARY, HeaderValue::from_static("Accept"));
            fields
        };
        let shared = |cors: &Cors, origin: Option<&'static str>| {
            let mut fields = said();
            cors.share(origin.map(HeaderValue::from_static).as_ref(), &mut fields);
            let text =
                |name| fields.get(name).map(|v: &HeaderValue| v.to_str().unwrap().to_owned());
            assert_eq!(
                text(ACCESS_CONTROL_ALLOW_CREDENTIALS).is_some(),
                cors.credentials && text(ACCESS_CONTROL_ALLOW_ORIGIN).is_some()
            );
            let vary: Vec<_> =
                fields.get_all(VARY).iter().map(|v| v.to_str().unwrap().to_owned()).collect();
            (
                text(ACCESS_CONTROL_ALLOW_ORIGIN),
                text(ACCESS_CONTROL_EXPOSE_HEADERS),
                vary.join(", "),
            )
        };
        let some = |text: &str| Some(text.to_owned());
        for origin in [None, Some("https://a.example")] {
            assert_eq!(shared(&cors(&["*"]), origin), (some("*"), some("X-A"), "Accept".into()));
        }
        let own = Cors { credentials: true, ..cors(&["https://a.example"]) };
        let told = (some("https://a.example"), some("X-A"), "Accept, Origin".into());
        assert_eq!(shared(&own, Some("https://a.example")), told);
        for origin in [None, Some("https://b.example")] {
            assert_eq!(shared(&own, origin), (None, None, "Accept, Origin".into()));
        }
        let mut fields = HeaderMap::from_iter([(VARY, HeaderValue::from_static("a, ORIGIN"))]);
        vary_by_origin(&mut fields);
        assert_eq!(fields.get_all(VARY).iter().count(), 1);
    }

    #[test]
    fn a_preflight_is_answered_with_what_the_rule_allows() {
        let own = cors(&["https://a.example"]);
        let origin = |text| HeaderValue::from_static(text);
        let answered = own.preflight(Some(&origin("https://a.example")));
        assert_eq!(
            (&answered[ACCESS_CONTROL_ALLOW_METHODS], &answered[ACCESS_CONTROL_MAX_AGE]),
            (&origin("PUT"), &origin("5"))
        );
        assert!(own.preflight(Some(&origin("https://b.example"))).is_empty());
    }
}
