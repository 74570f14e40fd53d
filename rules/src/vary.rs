//! Selecting fields (RFC 9111 §4.1): what `Vary` names, normalised so that equal wishes meet.
//!
//! INVARIANT: two requests whose fields mean different things never get equal bytes. What a field
//! means is known here for Accept, Accept-Encoding and Accept-Language only; of every other field
//! nothing but the white space around list commas is touched.

mod encoding;
mod value;
mod weighted;

pub use encoding::accept_encoding_bucket;
pub(crate) use value::append_value;
pub(crate) use weighted::weight;

use http::header::{ACCEPT_LANGUAGE, VARY};
use http::{HeaderMap, HeaderName};

/// The `Vary` of a stored response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Vary {
    /// No `Vary`: any request selects it.
    #[default]
    Nothing,
    /// `Vary: *`: no request selects it.
    Any,
    /// These fields select it; sorted, without repeats, lower case.
    Fields(Box<[HeaderName]>),
}

impl Vary {
    /// All `Vary` lines together. A malformed member counts as `*`.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut fields = Vec::new();
        for line in headers.get_all(VARY) {
            for member in line.as_bytes().split(|&b| b == b',') {
                let member = member.trim_ascii();
                if member.is_empty() {
                    continue;
                }
                // `*` is a token too, and so a name to HeaderName: it must be asked for first.
                if member == b"*" {
                    return Self::Any;
                }
                match HeaderName::from_bytes(member) {
                    Ok(name) => fields.push(name),
                    Err(_) => return Self::Any,
                }
            }
        }
        fields.sort_unstable_by(|a: &HeaderName, b| a.as_str().cmp(b.as_str()));
        fields.dedup();
        if fields.is_empty() { Self::Nothing } else { Self::Fields(fields.into_boxed_slice()) }
    }
}

/// The normalised values of the selecting fields of one request, in the order of the fields; equal
/// bytes select the same stored response. Accept-Encoding is reduced to a bucket, Accept and
/// Accept-Language to an ordered canonical list, other fields have white space normalised and
/// their lines combined (RFC 9111 §4.1). An absent field differs from an empty one.
///
/// One line a field: `=value` when it is present, nothing when it is not. No field value holds a
/// line feed, so the lines cannot run into each other.
pub fn selecting_values(fields: &[HeaderName], request: &HeaderMap) -> Vec<u8> {
    let mut out = Vec::new();
    write_selecting_values(&mut out, fields, request);
    out
}

/// [`selecting_values`] into a buffer that is cleared first and may be used again.
pub fn write_selecting_values(out: &mut Vec<u8>, fields: &[HeaderName], request: &HeaderMap) {
    out.clear();
    for name in fields {
        if request.contains_key(name) {
            out.push(b'=');
            append_value(out, name, request);
        }
        out.push(b'\n');
    }
}

/// Names and normalised values of selecting fields, for people. An absent field is `(absent)`.
pub fn shown_values(fields: &[HeaderName], values: &[u8]) -> Vec<(String, String)> {
    let lines = values.split(|&byte| byte == b'\n');
    let shown = fields.iter().zip(lines).map(|(name, line)| {
        let value = match line.split_first() {
            Some((b'=', value)) => String::from_utf8_lossy(value).into_owned(),
            _ => "(absent)".to_owned(),
        };
        (name.to_string(), value)
    });
    shown.collect()
}

/// Whether a request selects the stored response: equal selecting values, or, where the only
/// difference is Accept-Language, the stored `Content-Language` is the language that the request
/// prefers most (RFC 9111 §4.1: the cache may know better).
pub fn selects(
    fields: &[HeaderName],
    stored_values: &[u8],
    stored_content_language: Option<&str>,
    request: &HeaderMap,
) -> bool {
    let presented = selecting_values(fields, request);
    if presented == stored_values {
        return true;
    }
    let Some(language) = stored_content_language else { return false };
    let mut stored = stored_values.split(|&b| b == b'\n');
    let mut presented = presented.split(|&b| b == b'\n');
    let only_language_differs = fields.iter().all(|name| {
        let equal = stored.next() == presented.next();
        equal || name == ACCEPT_LANGUAGE
    });
    only_language_differs && weighted::most_wanted_language_is(request, language)
}

#[cfg(test)]
mod tests;
