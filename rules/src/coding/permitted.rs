//! What may be compressed at all.

use super::{Coding, CodingRules};
use crate::cache_control::{Qualified, ResponseDirectives};
use crate::fields::SURROGATE_CONTROL;
use crate::vary::Vary;
use http::header::{
    AUTHORIZATION, CDN_CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, SET_COOKIE,
};
use http::{HeaderMap, HeaderName, StatusCode};

/// Media types that `compress = true` compresses: text, and what is text under another name. Formats that are
/// compressed in themselves (images, video, fonts in woff and woff2, archives) are not among them.
pub const DEFAULT_TYPES: [&str; 20] = [
    "text/*",
    "application/atom+xml",
    "application/geo+json",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/rss+xml",
    "application/vnd.api+json",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/xhtml+xml",
    "application/xml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
    "image/vnd.microsoft.icon",
    "image/x-icon",
];

/// A stream of events (Server-Sent Events) waits for its reader, and is never complete.
const EVENTS: &[u8] = b"text/event-stream";

/// A list of media types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhichTypes(Vec<Box<str>>);

impl WhichTypes {
    /// Types such as `text/html` and `text/*`, in lower case.
    pub fn new<'a>(types: impl IntoIterator<Item = &'a str>) -> Self {
        Self(types.into_iter().map(|one| one.to_ascii_lowercase().into()).collect())
    }

    /// Whether a Content-Type is one of them, whatever its parameters.
    pub fn take(&self, content_type: &[u8]) -> bool {
        let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
        let found = content_type[..end].trim_ascii();
        if found.eq_ignore_ascii_case(EVENTS) {
            return false;
        }
        self.0.iter().any(|one| match one.strip_suffix('*') {
            Some(begin) => {
                let begins = found.get(..begin.len());
                begins.is_some_and(|begins| begins.eq_ignore_ascii_case(begin.as_bytes()))
            }
            None => found.eq_ignore_ascii_case(one.as_bytes()),
        })
    }
}

/// Why a response is sent as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncoded {
    /// Its status is not 200, 203, 404 or 410.
    Status,
    /// Its Content-Type is not among `types`.
    Type,
    /// It is shorter than `min`.
    TooShort,
    /// It is longer than `max`, or than what the memory store takes.
    TooLong,
    /// The origin compressed it.
    Encoded,
    /// The origin forbids it (RFC 9111 §5.2.2.6).
    NoTransform,
    /// It sets a cookie.
    SetCookie,
    /// It is, or may be, for one user.
    Personal,
    /// A cookie is part of its key.
    CookieInKey,
    /// It answered a request with Authorization.
    Authorization,
}

impl Uncoded {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Status,
        Self::Type,
        Self::TooShort,
        Self::TooLong,
        Self::Encoded,
        Self::NoTransform,
        Self::SetCookie,
        Self::Personal,
        Self::CookieInKey,
        Self::Authorization,
    ];

    /// A stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Type => "type",
            Self::TooShort => "too-short",
            Self::TooLong => "too-long",
            Self::Encoded => "encoded",
            Self::NoTransform => "no-transform",
            Self::SetCookie => "set-cookie",
            Self::Personal => "personal",
            Self::CookieInKey => "cookie-in-key",
            Self::Authorization => "authorization",
        }
    }

    /// A sentence for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Status => "its status is not 200, 203, 404 or 410",
            Self::Type => "its Content-Type is not among compress.types",
            Self::TooShort => "it is shorter than compress.min",
            Self::TooLong => "it is longer than compress.max, or not stored in memory",
            Self::Encoded => "the origin compressed it",
            Self::NoTransform => "the origin forbids it (no-transform)",
            Self::SetCookie => "it has Set-Cookie",
            Self::Personal => "it may be for one user (private, no-store, Vary: Cookie)",
            Self::CookieInKey => "a cookie is part of its key",
            Self::Authorization => "it answered a request with Authorization",
        }
    }
}

/// A response that may be compressed.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub fields: &'a HeaderMap,
    /// Its length, if it is known.
    pub length: Option<u64>,
    /// Its cache key in its readable form.
    pub key: &'a [u8],
    /// Whether the request that it answered had Authorization.
    pub authorized: bool,
}

impl CodingRules {
    /// Whether a response is compressed, or why not.
    ///
    /// # Errors
    /// It is not.
    pub fn permit(&self, candidate: &Candidate<'_>) -> Result<(), Uncoded> {
        let Candidate { status, fields, length, key, authorized } = *candidate;
        if !matches!(status.as_u16(), 200 | 203 | 404 | 410) {
            return Err(Uncoded::Status);
        }
        let content_type = fields.get(CONTENT_TYPE).map(|value| value.as_bytes());
        if !content_type.is_some_and(|found| self.types.take(found)) {
            return Err(Uncoded::Type);
        }
        if is_coded(fields) {
            return Err(Uncoded::Encoded);
        }
        if length.is_some_and(|length| length < self.min) {
            return Err(Uncoded::TooShort);
        }
        if length.is_some_and(|length| length > self.max) {
            return Err(Uncoded::TooLong);
        }
        if fields.contains_key(SET_COOKIE) {
            return Err(Uncoded::SetCookie);
        }
        let directives = ResponseDirectives::from_headers(fields);
        if directives.no_transform || is_forbidden_here(fields) {
            return Err(Uncoded::NoTransform);
        }
        let personal = |name: &HeaderName| *name == COOKIE || *name == AUTHORIZATION;
        let varies = match Vary::from_headers(fields) {
            Vary::Nothing => false,
            Vary::Any => true,
            Vary::Fields(names) => names.iter().any(personal),
        };
        if varies || directives.private != Qualified::Absent || directives.no_store {
            return Err(Uncoded::Personal);
        }
        if has_cookie(key) {
            return Err(Uncoded::CookieInKey);
        }
        if authorized {
            return Err(Uncoded::Authorization);
        }
        Ok(())
    }
}

impl CodingRules {
    /// The coding that an origin gave a response, if it may be taken off for a client that cannot read it: one that
    /// weir reads, on content of a type that is compressed. An archive under a Content-Encoding of its own stays as it
    /// is.
    pub fn decodable(&self, candidate: &Candidate<'_>) -> Option<Coding> {
        let Candidate { status, fields, .. } = *candidate;
        let mut lines = fields.get_all(CONTENT_ENCODING).iter();
        let (Some(coding), None) = (lines.next(), lines.next()) else { return None };
        let coding = Coding::read(coding.as_bytes())?;
        let is_text =
            fields.get(CONTENT_TYPE).is_some_and(|found| self.types.take(found.as_bytes()));
        let is_whole = matches!(status.as_u16(), 200 | 203 | 404 | 410);
        let is_forbidden =
            ResponseDirectives::from_headers(fields).no_transform || is_forbidden_here(fields);
        (is_text && is_whole && !is_forbidden).then_some(coding)
    }
}

/// Whether a field for caches like this one has `no-transform` (RFC 9213).
fn is_forbidden_here(fields: &HeaderMap) -> bool {
    let lines = [&CDN_CACHE_CONTROL, &SURROGATE_CONTROL];
    lines.into_iter().flat_map(|name| fields.get_all(name)).any(|line| {
        let mut members = line.as_bytes().split(|&b| matches!(b, b',' | b';'));
        members.any(|member| member.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
    })
}

/// Whether a response has a content coding (RFC 9110 §8.4); `identity` is none.
fn is_coded(fields: &HeaderMap) -> bool {
    fields.get_all(CONTENT_ENCODING).iter().any(|line| {
        let mut names = line.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii);
        names.any(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"))
    })
}

/// Whether a cookie is part of a key ([`crate::key::write_key`]).
fn has_cookie(key: &[u8]) -> bool {
    memchr::memmem::find(key, b"\ncookie ").is_some()
}
