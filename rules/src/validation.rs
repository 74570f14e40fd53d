//! Validators, conditional requests and the 304 (RFC 9110 §8.8, §13; RFC 9111 §4.3).

pub(crate) mod entity_tag;
mod head;

pub use head::{HeadEffect, head_effect};

use crate::fields;
use crate::freshness::date;
use crate::time::Time;
use entity_tag::EntityTag;
use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED, SET_COOKIE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

/// What a request's preconditions, evaluated against a stored response, ask for
/// (RFC 9110 §13.2.2, the part a cache answers: RFC 9111 §4.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// None, or they hold: send the response.
    Send,
    /// The client's copy is current: 304.
    NotModified,
    /// If-Match or If-Unmodified-Since is present: only the origin may judge (RFC 9111 §4.3.2).
    Forward,
}

/// Evaluates If-None-Match, else If-Modified-Since, of a GET or HEAD against stored fields.
/// `stored_status` other than 200 and 206 ignores preconditions. Without Last-Modified, the
/// stored Date stands in (RFC 9111 §4.3.2); whoever stores a response without a Date adds the time
/// it arrived (RFC 9110 §6.6.1), so that this is the response time where the origin gave none.
pub fn evaluate(
    request: &HeaderMap,
    stored_status: StatusCode,
    stored: &HeaderMap,
) -> Precondition {
    // RFC 9111 §4.3.2: these are for the origin server.
    if request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE) {
        return Precondition::Forward;
    }
    if !matches!(stored_status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        return Precondition::Send;
    }
    // RFC 9110 §13.2.2: If-Modified-Since counts only where there is no If-None-Match.
    let current = if request.contains_key(IF_NONE_MATCH) {
        names_stored(request, stored)
    } else {
        unmodified_since(request, stored).unwrap_or(false)
    };
    if current { Precondition::NotModified } else { Precondition::Send }
}

/// Whether If-None-Match is `*` or lists the stored ETag (RFC 9110 §13.1.2).
fn names_stored(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let mut lines = request.get_all(IF_NONE_MATCH).iter().map(HeaderValue::as_bytes);
    let first = lines.next().unwrap_or_default().trim_ascii();
    if first == b"*" && lines.next().is_none() {
        return true;
    }
    let Some(etag) = stored.get(ETAG) else { return false };
    request
        .get_all(IF_NONE_MATCH)
        .iter()
        .flat_map(|line| entity_tag::members(line.as_bytes()))
        .any(|member| member != b"*" && entity_tag::member_names(member, etag.as_bytes()))
}

/// Whether the stored response was last changed at or before If-Modified-Since (RFC 9110 §13.1.3).
/// `None` when either is not a date or there are several.
fn unmodified_since(request: &HeaderMap, stored: &HeaderMap) -> Option<bool> {
    let changed = date_of(stored, &LAST_MODIFIED).or_else(|| date_of(stored, &DATE))?;
    let mut lines = request.get_all(IF_MODIFIED_SINCE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let since = date::parse(line.as_bytes(), Some(changed))?;
    Some(changed <= since)
}

fn date_of(headers: &HeaderMap, name: &HeaderName) -> Option<Time> {
    date::parse(headers.get(name)?.as_bytes(), None)
}

/// The fields that make a request conditional on a stored response being current: If-None-Match
/// from its ETag and If-Modified-Since from its Last-Modified, or nothing without a validator
/// (RFC 9111 §4.3.1). Both go out as the origin wrote them.
pub fn conditional_fields(stored: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let mut conditions = Vec::new();
    if let Some(etag) = stored.get(ETAG).filter(|etag| is_one_tag(etag.as_bytes())) {
        conditions.push((IF_NONE_MATCH, etag.clone()));
    }
    if let Some(changed) = stored.get(LAST_MODIFIED)
        && date::parse(changed.as_bytes(), None).is_some()
    {
        conditions.push((IF_MODIFIED_SINCE, changed.clone()));
    }
    conditions
}

/// Whether an ETag means itself when it is put into If-None-Match: a well-formed one, or one whose
/// quotes were forgotten, but never a list or `*`.
fn is_one_tag(etag: &[u8]) -> bool {
    let bare = |byte: &u8| byte.is_ascii_graphic() && !b",\"".contains(byte);
    let etag = etag.trim_ascii();
    EntityTag::parse(etag).is_some() || !etag.is_empty() && etag != b"*" && etag.iter().all(bare)
}

/// Whether a 304 that answered [`conditional_fields`] is about this stored response
/// (RFC 9111 §4.3.3, §4.3.4): a strong ETag must be the same, a weak one must match weakly,
/// without any the Last-Modified must not differ.
pub fn selects_stored(not_modified: &HeaderMap, stored: &HeaderMap) -> bool {
    if let Some(new) = not_modified.get(ETAG) {
        let Some(old) = stored.get(ETAG) else { return false };
        return match (EntityTag::parse(new.as_bytes()), EntityTag::parse(old.as_bytes())) {
            (Some(new), Some(old)) if new.weak => new.matches_weakly(old),
            (Some(new), Some(old)) => new.matches_strongly(old),
            // Tags without quotes are equal or not.
            _ => new == old,
        };
    }
    match (not_modified.get(LAST_MODIFIED), stored.get(LAST_MODIFIED)) {
        (Some(new), Some(old)) => {
            let time = |value: &HeaderValue| date::parse(value.as_bytes(), None);
            new == old || time(new).is_some() && time(new) == time(old)
        }
        // The only condition it can have answered is the one that was sent.
        _ => true,
    }
}

/// What an update leaves as it was stored: the description of content that is kept (RFC 9111 §3.2),
/// and cookies: a 304 answers one client's validation, its Set-Cookie is meant for that client.
static NOT_UPDATED: [HeaderName; 5] =
    [CONTENT_ENCODING, CONTENT_TYPE, CONTENT_RANGE, CONTENT_LENGTH, SET_COOKIE];

/// The stored fields after a 304 or a freshening HEAD (RFC 9111 §3.2): each field of the update
/// replaces all stored lines of that name, except those that describe the content or the hop
/// (Content-Encoding, Content-Type, Content-Range, Content-Length, hop-by-hop fields) and
/// Set-Cookie.
///
/// The age starts again (§4.2.3): Age and Date of the stored response go even when the update has
/// none. Whoever stores the result adds a missing Date (RFC 9110 §6.6.1).
pub fn freshened(stored: &HeaderMap, update: &HeaderMap) -> HeaderMap {
    let mut update = update.clone();
    fields::remove_hop_by_hop(&mut update);
    for name in &NOT_UPDATED {
        update.remove(name);
    }
    let mut fresh = stored.clone();
    fresh.remove(AGE);
    fresh.remove(DATE);
    for name in update.keys() {
        fresh.remove(name);
        for value in update.get_all(name) {
            fresh.append(name, value.clone());
        }
    }
    fresh
}

/// The strong validator of a response: its strong ETag, else its Last-Modified where that is at
/// least a second (RFC 9110 §8.8.2.2) before Date. For combining parts and If-Range.
pub fn strong_validator(headers: &HeaderMap) -> Option<StrongValidator> {
    let text = |value: &HeaderValue| value.to_str().ok().map(|text| text.trim().to_owned());
    if let Some(etag) = headers.get(ETAG)
        && EntityTag::parse(etag.as_bytes()).is_some_and(|tag| !tag.weak)
    {
        return text(etag).map(StrongValidator::ETag);
    }
    let changed = headers.get(LAST_MODIFIED)?;
    let generated = date_of(headers, &DATE)?;
    let settled = date::parse(changed.as_bytes(), Some(generated))?.plus_millis(1000) <= generated;
    if settled { text(changed).map(StrongValidator::LastModified) } else { None }
}

/// A validator that guarantees equal bytes (RFC 9110 §8.8.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StrongValidator {
    /// A strong entity tag, quotes included.
    ETag(String),
    /// A Last-Modified date as written.
    LastModified(String),
}

/// Whether a response to this method and status invalidates what is stored for the URL: a non-error
/// answer to a method that is unsafe, or not known to be safe (RFC 9111 §4.4).
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    let safe = matches!(
        method.as_str(),
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PROPFIND" | "REPORT" | "SEARCH" | "QUERY" | "PRI"
    );
    !safe && (status.is_success() || status.is_redirection())
}

#[cfg(test)]
#[path = "validation/tests.rs"]
mod tests;
