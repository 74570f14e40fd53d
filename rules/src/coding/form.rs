//! The fields of a form, as they follow from those of the original.

use super::{Coding, marks};
use crate::validation::{StrongValidator, strong_validator};
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, TRAILER, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Digests of the bytes that are sent (RFC 9530, RFC 3230, RFC 1864): in another coding they are others.
static DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
];

/// The fields of the form in this coding, which has so many bytes.
pub fn coded_fields(original: &HeaderMap, coding: Coding, length: u64) -> HeaderMap {
    let mut fields = original.clone();
    fields.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    change(&mut fields, coding.name());
    fields
}

/// The fields of the form without a coding, of an original that has one. Its length is not known.
pub fn decoded_fields(original: &HeaderMap) -> HeaderMap {
    let mut fields = original.clone();
    fields.remove(CONTENT_ENCODING);
    fields.remove(CONTENT_LENGTH);
    // Digests of the coded bytes, and ranges of bytes that are made anew each time.
    fields.remove(TRAILER);
    change(&mut fields, marks::DECODED);
    fields.remove(ACCEPT_RANGES);
    fields
}

fn change(fields: &mut HeaderMap, mark: &str) {
    for name in &DIGESTS {
        fields.remove(name);
    }
    marks::mark(fields, mark);
    // A date is that of every form: without a tag, ranges of two forms could not be told apart.
    if !matches!(strong_validator(fields), Some(StrongValidator::ETag(_))) {
        fields.remove(ACCEPT_RANGES);
    }
    vary_by_coding(fields);
}

/// Says that the response depends on Accept-Encoding (RFC 9110 §12.5.5), if it is not said already.
pub fn vary_by_coding(fields: &mut HeaderMap) {
    let named = |line: &HeaderValue| {
        let mut members = line.as_bytes().split(|&b| b == b',');
        members.any(|name| {
            let name = name.trim_ascii();
            name == b"*" || name.eq_ignore_ascii_case(ACCEPT_ENCODING.as_str().as_bytes())
        })
    };
    if !fields.get_all(VARY).iter().any(named) {
        fields.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}
