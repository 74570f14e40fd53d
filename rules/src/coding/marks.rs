//! Entity tags of forms: `"abc"` is the original's, `"abc-br"` that of the form in brotli.
//!
//! Only strong tags are marked: a weak one says that the content is the same, which it is in every form, and
//! never that the bytes are. What a client names is mapped back before it is compared with the original or sent
//! to an upstream.

use super::Coding;
use crate::validation::entity_tag::{EntityTag, members};
use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Marks the form without any coding, of an original that has one.
pub const DECODED: &str = "identity";

/// The conditions that name tags.
static CONDITIONS: [HeaderName; 2] = [IF_MATCH, IF_NONE_MATCH];

/// The tag of a form of a response with this tag: marked if it is strong, the same if it is weak; `None` if it
/// is no entity tag.
pub fn marked(tag: &HeaderValue, mark: &str) -> Option<HeaderValue> {
    let parsed = EntityTag::parse(tag.as_bytes())?;
    if parsed.weak {
        return Some(tag.clone());
    }
    let content = parsed.opaque.strip_suffix(b"\"")?;
    let mut marked = Vec::with_capacity(content.len() + mark.len() + 2);
    marked.extend_from_slice(content);
    marked.push(b'-');
    marked.extend_from_slice(mark.as_bytes());
    marked.push(b'"');
    HeaderValue::from_bytes(&marked).ok()
}

/// A tag without its mark; `None` if it has none. The mark of a weak tag is removed, too: a cache on the way
/// may have weakened it.
pub fn unmarked(tag: &[u8]) -> Option<Vec<u8>> {
    let parsed = EntityTag::parse(tag)?;
    let content = parsed.opaque.strip_suffix(b"\"")?;
    let marks = Coding::ALL.into_iter().map(Coding::name).chain([DECODED]);
    let plain = marks.into_iter().find_map(|mark| {
        let rest = content.strip_suffix(mark.as_bytes())?.strip_suffix(b"-")?;
        // A quote, and what was marked.
        (!rest.is_empty()).then_some(rest)
    })?;
    let weak: &[u8] = if parsed.weak { b"W/" } else { b"" };
    Some([weak, plain, b"\""].concat())
}

/// The fields of a request as an upstream may see them: every tag in If-Match and If-None-Match without its mark.
/// Nothing for a field without marked tags.
pub fn unmarked_conditions(request: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let fields = CONDITIONS.iter();
    fields.filter_map(|name| Some((name.clone(), mapped(request, name, false)?))).collect()
}

/// The conditions of a request as they are compared with an original: each marked tag of If-None-Match, and
/// beside it what it was made of. `None` if no tag is marked.
///
/// Both, because an origin may itself have made a tag that looks marked.
pub fn compared_conditions(request: &HeaderMap) -> Option<HeaderMap> {
    let both = mapped(request, &IF_NONE_MATCH, true)?;
    let mut compared = request.clone();
    compared.insert(IF_NONE_MATCH, both);
    Some(compared)
}

fn mapped(request: &HeaderMap, name: &HeaderName, keep: bool) -> Option<HeaderValue> {
    let lines = request.get_all(name).iter();
    let mut out = Vec::new();
    let mut any = false;
    for member in lines.flat_map(|line| members(line.as_bytes())) {
        let plain = unmarked(member);
        any |= plain.is_some();
        for tag in [(keep || plain.is_none()).then_some(member), plain.as_deref()] {
            let Some(tag) = tag else { continue };
            if !out.is_empty() {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(tag);
        }
    }
    any.then(|| HeaderValue::from_bytes(&out).ok()).flatten()
}

/// Whether If-Range names a form other than the original: then a range of the original is no answer.
pub fn if_range_is_marked(request: &HeaderMap) -> bool {
    request.get_all(IF_RANGE).iter().any(|tag| unmarked(tag.as_bytes()).is_some())
}

/// Whether If-Range is a date, which all forms of a response share.
pub fn if_range_is_date(request: &HeaderMap) -> bool {
    let is_tag = |tag: &HeaderValue| {
        let tag = tag.as_bytes().trim_ascii();
        tag.starts_with(b"\"") || tag.starts_with(b"W/")
    };
    request.get(IF_RANGE).is_some_and(|tag| !is_tag(tag))
}

/// The ETag of a 304: that of the copy which the client has, as it named it, so that it knows which of its
/// copies is current. `etag` is the original's, `chosen` the coding that a 200 would have. `None` if the
/// original's is right.
pub fn named(
    request: &HeaderMap,
    etag: &HeaderValue,
    chosen: Option<Coding>,
) -> Option<HeaderValue> {
    let is_named = |tag: &HeaderValue| {
        let lines = request.get_all(IF_NONE_MATCH).iter();
        let mut named = lines.flat_map(|line| members(line.as_bytes()));
        let opaque = |tag| EntityTag::parse(tag).map(|tag| tag.opaque);
        named.any(|named| opaque(named).is_some() && opaque(named) == opaque(tag.as_bytes()))
    };
    let chosen = chosen.and_then(|coding| marked(etag, coding.name()));
    if let Some(chosen) = chosen.filter(|tag| is_named(tag)) {
        return Some(chosen);
    }
    if is_named(etag) {
        return None;
    }
    let marks = Coding::ALL.into_iter().map(Coding::name).chain([DECODED]);
    marks.into_iter().filter_map(|mark| marked(etag, mark)).find(|tag| is_named(tag))
}

/// Gives the ETag of these fields a mark.
pub(super) fn mark(fields: &mut HeaderMap, mark: &str) {
    let Some(etag) = fields.get(ETAG) else { return };
    match marked(etag, mark) {
        Some(marked) => fields.insert(ETAG, marked),
        // What is no tag cannot be told from that of another form.
        None => fields.remove(ETAG),
    };
}
