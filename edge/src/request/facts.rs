//! What the head of a request says.

use crate::coding::Codings;
use crate::respond::Wish;
use crate::server::Intake;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header};
use http_body::Body;
use weir_config::Site;
use weir_rules::cache_control::RequestDirectives;
use weir_rules::coding::AcceptedCodings;
use weir_rules::cookies::Judged;
use weir_rules::country::Country;

/// What the head of a request says, found in one pass over its headers.
#[derive(Clone, Debug)]
pub(crate) struct RequestFacts {
    /// The scheme by which the client reached the site.
    pub(super) scheme: Scheme,
    /// If-None-Match or If-Modified-Since is present.
    pub(super) conditional: bool,
    /// If-Match or If-Unmodified-Since is present.
    pub(super) precondition: bool,
    /// Range is present.
    pub(super) ranged: bool,
    /// Cache-Control or Pragma is present.
    pub(super) cache_control: bool,
    /// The directives in them.
    pub(super) directives: RequestDirectives,
    /// The request has a body, even an empty one of unknown length.
    pub(super) body: bool,
    /// Bytes of body that Content-Length announces.
    pub(super) announced: u64,
    /// Upgrade asks for a protocol that is passed on (never h2c).
    pub(super) upgrade: bool,
    /// Max-Forwards for the upstream.
    pub(super) max_forwards: Option<u32>,
    /// The version in which the request was received.
    pub(super) received: Version,
    /// It has a cookie that makes requests skip the store.
    pub(super) bypass_cookie: bool,
    /// It skips the store because of a cookie, here or at the node that sends it.
    pub(super) skips_store: bool,
    /// The codings that it accepts: only of a client's request, at a site that compresses.
    pub(super) codings: Option<AcceptedCodings>,
    /// Authorization is present. Looked for at a site that compresses.
    pub(super) authorized: bool,
    /// The client's country. Looked up for a client's request, at a site whose rules look at it.
    pub(super) country: Option<Country>,
}

impl RequestFacts {
    /// Reads a request. X-Forwarded-Proto counts only if its sender is `trusted`.
    pub(super) fn of<B: Body>(request: &Request<B>, intake: &Intake<'_>, trusted: bool) -> Self {
        static LISTED: [HeaderName; 9] = [
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
            header::IF_MATCH,
            header::IF_UNMODIFIED_SINCE,
            header::RANGE,
            header::CACHE_CONTROL,
            header::PRAGMA,
            header::UPGRADE,
            header::TRANSFER_ENCODING,
        ];
        let mut facts = Self {
            scheme: Scheme::of(intake, trusted, request.headers()),
            conditional: false,
            precondition: false,
            ranged: false,
            cache_control: false,
            directives: RequestDirectives::default(),
            // HTTP/2 need not announce a body in the headers.
            body: !request.body().is_end_stream(),
            announced: 0,
            upgrade: false,
            max_forwards: intake.max_forwards,
            received: request.version(),
            bypass_cookie: false,
            skips_store: false,
            codings: None,
            authorized: false,
            country: None,
        };
        for (name, value) in request.headers() {
            match LISTED.iter().position(|listed| listed == name) {
                None if *name == header::CONTENT_LENGTH => facts.body |= value != "0",
                None => {}
                Some(0 | 1) => facts.conditional = true,
                Some(2 | 3) => facts.precondition = true,
                Some(4) => facts.ranged = true,
                Some(5 | 6) => facts.cache_control = true,
                Some(7) => facts.upgrade = may_upgrade(request, value),
                Some(_) => facts.body = true,
            }
        }
        if facts.cache_control {
            facts.directives = RequestDirectives::from_headers(request.headers());
        }
        if facts.body {
            facts.announced = announced(request.headers());
        }
        facts
    }

    /// Takes over what the cookies mean. A request for a static asset that is fetched for everyone does not
    /// skip the store.
    pub(super) fn judged(&mut self, cookies: &Judged, is_for_everyone: impl FnOnce() -> bool) {
        self.bypass_cookie = cookies.bypass;
        self.skips_store |= cookies.bypass && !is_for_everyone();
    }

    /// The client's cache directives, if the site honours them.
    pub(super) fn honoured(&self, site: &Site) -> Option<&RequestDirectives> {
        (site.client_cache_control && self.cache_control).then_some(&self.directives)
    }

    /// What decides the form of the response.
    pub(super) fn wish<'a>(
        &self,
        method: &'a Method,
        headers: &'a HeaderMap,
        site: &'a Site,
    ) -> Wish<'a> {
        let codings = match (&self.codings, &site.compress) {
            (Some(accepted), Some(rules)) => {
                Some(Codings { accepted: *accepted, rules, authorized: self.authorized })
            }
            _ => None,
        };
        Wish { method, headers, conditional: self.conditional, ranged: self.ranged, codings }
    }

    /// Reads what bears on compression.
    pub(super) fn read_codings(&mut self, headers: &HeaderMap) {
        self.codings = Some(AcceptedCodings::of(headers));
        self.authorized = headers.contains_key(header::AUTHORIZATION);
    }
}

fn announced(headers: &HeaderMap) -> u64 {
    let length = headers.get(header::CONTENT_LENGTH);
    length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0)
}

/// Whether an Upgrade is passed on: it is meant for this hop (RFC 9110 §7.8), came in HTTP/1.1, and
/// is not h2c, which would carry requests past the cache (RFC 9113 dropped it).
fn may_upgrade<B>(request: &Request<B>, protocol: &HeaderValue) -> bool {
    let named = request.headers().get_all(header::CONNECTION).iter().any(|value| {
        let options = value.to_str().unwrap_or_default().split(',');
        options.into_iter().any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
    });
    let protocols = protocol.to_str().unwrap_or("h2c");
    let clear = protocols.split(',').any(|name| name.trim().eq_ignore_ascii_case("h2c"));
    named && !clear && request.version() == http::Version::HTTP_11
}

/// The scheme by which a client reached a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS, here or at a trusted proxy.
    Https,
}

impl Scheme {
    /// The scheme of the connection or, from a trusted proxy, the one in X-Forwarded-Proto.
    fn of(intake: &Intake<'_>, trusted: bool, headers: &HeaderMap) -> Self {
        let forwarded = trusted.then(|| headers.get("x-forwarded-proto")).flatten();
        match forwarded.map(HeaderValue::as_bytes).unwrap_or(intake.scheme.as_bytes()) {
            b"https" => Self::Https,
            _ => Self::Http,
        }
    }

    /// `http` or `https`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}
