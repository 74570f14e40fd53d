//! Targeted cache control (RFC 9213) and `Surrogate-Control`: which field governs this cache.

use crate::cache_control::parse::{self, Argument, Directive, MAX_DELTA};
use crate::cache_control::{DeltaSeconds, Qualified, ResponseDirectives, pragma_no_cache};
use crate::fields::SURROGATE_CONTROL;
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CDN_CACHE_CONTROL};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

/// The field that governs a response here, first of the target list that is present and valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `CDN-Cache-Control` (RFC 9213 §3.1), a valid non-empty structured dictionary.
    CdnCacheControl,
    /// `Surrogate-Control` (Edge Architecture Specification 1.0), used when nothing else targets us.
    SurrogateControl,
    /// `Cache-Control` and `Expires`.
    CacheControl,
}

/// The directives that govern a response and where they came from. When the source is a targeted
/// field, `Cache-Control` and `Expires` have no say (RFC 9213 §2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Governing {
    /// Where the directives came from.
    pub source: Source,
    /// What they say.
    pub directives: ResponseDirectives,
}

/// Chooses the governing field of a response.
pub fn governing(headers: &HeaderMap) -> Governing {
    // RFC 9213 §2.2: the first of the target list that is present and valid.
    if let Some(directives) = cdn_cache_control(headers) {
        return Governing { source: Source::CdnCacheControl, directives };
    }
    if let Some(directives) = surrogate_control(headers) {
        return Governing { source: Source::SurrogateControl, directives };
    }
    let mut directives = ResponseDirectives::from_headers(headers);
    // RFC 9111 §5.4 leaves Pragma in responses undefined. Whoever writes `no-cache` there, and no
    // Cache-Control, does not want reuse that was not asked for.
    if !headers.contains_key(CACHE_CONTROL) && pragma_no_cache(headers) {
        directives.no_cache = Qualified::Whole;
    }
    Governing { source: Source::CacheControl, directives }
}

impl Source {
    /// The field's name as people write it.
    pub fn field(self) -> &'static str {
        match self {
            Self::CdnCacheControl => "CDN-Cache-Control",
            Self::SurrogateControl => "Surrogate-Control",
            Self::CacheControl => "Cache-Control",
        }
    }

    /// Whether the field is meant for caches like this one only.
    pub fn is_targeted(self) -> bool {
        self != Self::CacheControl
    }
}

/// `CDN-Cache-Control` as a dictionary (RFC 9213 §2.1). `None` when it is absent, empty or wrong
/// anywhere: then it MUST be ignored as a whole, and so it is when a value has a type that its
/// directive cannot have.
fn cdn_cache_control(headers: &HeaderMap) -> Option<ResponseDirectives> {
    let mut members = Dictionary::new();
    for line in headers.get_all(CDN_CACHE_CONTROL) {
        members = Parser::new(line.as_bytes()).parse_dictionary_with_visitor(members).ok()?;
    }
    if members.is_empty() {
        return None;
    }
    let mut directives = ResponseDirectives::default();
    for (name, member) in &members {
        add_member(&mut directives, name.as_str(), member)?;
    }
    Some(directives)
}

/// Adds one member; `None` when its value has the wrong type. Parameters are ignored
/// (RFC 9213 §2.1), a key that comes twice has its last value (RFC 9651 §3.2).
fn add_member(directives: &mut ResponseDirectives, name: &str, member: &ListEntry) -> Option<()> {
    match name {
        "max-age" => directives.max_age = Some(seconds(member)?),
        "s-maxage" => directives.s_maxage = Some(seconds(member)?),
        "stale-while-revalidate" => directives.stale_while_revalidate = Some(seconds(member)?),
        "stale-if-error" => directives.stale_if_error = Some(seconds(member)?),
        "no-cache" => directives.no_cache = qualified(member),
        "private" => directives.private = qualified(member),
        "no-store" => directives.no_store = restricts(member),
        "must-revalidate" => directives.must_revalidate = restricts(member),
        "proxy-revalidate" => directives.proxy_revalidate = restricts(member),
        "no-transform" => directives.no_transform = restricts(member),
        "public" => directives.public = permits(member),
        "must-understand" => directives.must_understand = permits(member),
        "immutable" => directives.immutable = permits(member),
        _ => {}
    }
    Some(())
}

/// An Integer as seconds: negative ones are 0 (RFC 9111 §4.2.1), large ones 2^31.
fn seconds(member: &ListEntry) -> Option<DeltaSeconds> {
    let ListEntry::Item(item) = member else { return None };
    let number = i64::from(item.bare_item.as_integer()?);
    Some(DeltaSeconds::try_from(number.max(0)).unwrap_or(MAX_DELTA).min(MAX_DELTA))
}

fn qualified(member: &ListEntry) -> Qualified {
    let ListEntry::Item(item) = member else { return Qualified::Whole };
    match &item.bare_item {
        BareItem::Boolean(false) => Qualified::Absent,
        BareItem::String(names) => Qualified::from_names(names.as_str().as_bytes()),
        BareItem::Token(name) => Qualified::from_names(name.as_str().as_bytes()),
        _ => Qualified::Whole,
    }
}

/// A restriction holds unless it is denied.
fn restricts(member: &ListEntry) -> bool {
    !matches!(member, ListEntry::Item(item) if item.bare_item == BareItem::Boolean(false))
}

/// A permission holds only when it is said plainly.
fn permits(member: &ListEntry) -> bool {
    matches!(member, ListEntry::Item(item) if item.bare_item == BareItem::Boolean(true))
}

/// `Surrogate-Control`: `max-age=N`, or `max-age=N+M` where M is how long after that it may still be
/// used while it is validated; `no-store`, `no-store-remote`. `content=` speaks of processing, not
/// of caching, and a directive with `;name` is for the surrogate of that name. `None` when nothing
/// is left that speaks of caching.
fn surrogate_control(headers: &HeaderMap) -> Option<ResponseDirectives> {
    let mut plain = Vec::new();
    for line in headers.get_all(&SURROGATE_CONTROL) {
        for element in parse::elements(line.as_bytes()).filter(|element| !element.contains(&b';')) {
            if let Some(directive) = parse::directive(element) {
                surrogate_directive(&directive, &mut plain);
            }
        }
    }
    let directives = ResponseDirectives::from_lines(plain.iter().map(Vec::as_slice));
    (directives != ResponseDirectives::default()).then_some(directives)
}

/// Rewrites one directive into those of `Cache-Control` that mean the same.
fn surrogate_directive(directive: &Directive<'_>, plain: &mut Vec<Vec<u8>>) {
    let name = directive.name.to_ascii_lowercase();
    match (name.as_slice(), &directive.argument) {
        (b"content", _) => {}
        (b"no-store-remote", _) => plain.push(b"no-store".to_vec()),
        (b"max-age", Argument::Value(value)) => {
            let mut ages = value.splitn(2, |byte| *byte == b'+');
            let lifetime = ages.next().unwrap_or_default();
            plain.push([b"max-age=", lifetime].concat());
            if let Some(extension) = ages.next() {
                plain.push([b"stale-while-revalidate=", extension].concat());
            }
        }
        (_, Argument::Value(value)) => {
            plain.push([&name, b"=\"".as_slice(), value, b"\""].concat())
        }
        (_, Argument::Absent) => plain.push(name),
        (_, Argument::Malformed) => plain.push([name, b"=".to_vec()].concat()),
    }
}

#[cfg(test)]
#[path = "targeted/tests.rs"]
mod tests;
