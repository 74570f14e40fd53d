//! What a version looks like, as text.

use super::name::Confidence;

/// Whether text looks like a hash: at least 6 hexadecimal digits in one case, or at least 8
/// characters of mixed base64url, or the 8 upper-case base32 characters of some bundlers. There
/// must be letters and digits both: words and dates have only one of them.
pub(super) fn is_hash(text: &str, confidence: Confidence) -> bool {
    is_hex_hash(text, confidence) || is_mixed_hash(text, confidence)
}

fn is_hex_hash(text: &str, confidence: Confidence) -> bool {
    let one_case = !has(text, |b| b.is_ascii_uppercase()) || !has(text, |b| b.is_ascii_lowercase());
    let shape = (6..=128).contains(&text.len())
        && one_case
        && text.bytes().all(|b| b.is_ascii_hexdigit())
        && has(text, |b| b.is_ascii_digit())
        && has(text, |b| b.is_ascii_alphabetic());
    // `cafe24` and `1234abcd` are names that people give; a hash changes more often.
    shape && (confidence == Confidence::Likely || changes(text) >= 2)
}

/// Base64url, base62 or base32. Some digit must have a letter after it, unlike in `iPhone15`.
fn is_mixed_hash(text: &str, confidence: Confidence) -> bool {
    let upper = has(text, |b| b.is_ascii_uppercase());
    let lower = has(text, |b| b.is_ascii_lowercase());
    let digit_before_letter = text
        .as_bytes()
        .windows(2)
        .any(|pair| pair[0].is_ascii_digit() && pair[1].is_ascii_alphabetic());
    let shape = (8..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        && digit_before_letter
        && upper
        && (lower || text.len() == 8);
    // Bundlers write 8 characters, or many; words run together have any length.
    let sure = || changes(text) >= 4 && (text.len() == 8 || text.len() >= 16);
    shape && (confidence == Confidence::Likely || sure())
}

/// `v2`, `v1.2.3`: a marker and at most four numbers.
pub(super) fn is_marked(text: &str) -> bool {
    text.strip_prefix('v').is_some_and(|numbers| (1..=4).contains(&numbers_in(numbers)))
}

/// `3.7.1`: three or four numbers of at most three digits, without leading zeros, so that neither
/// `2024.10.01` nor `01.10.24` is one.
pub(super) fn is_numbered(text: &str) -> bool {
    (3..=4).contains(&numbers_in(text))
}

/// How many dotted numbers text consists of; 0 when it is anything else.
fn numbers_in(text: &str) -> usize {
    let number = |part: &str| {
        (1..=3).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    if text.split('.').all(number) { text.split('.').count() } else { 0 }
}

/// Whether a name ends in a UUID: that names a thing, whose content may change.
pub(super) fn ends_in_uuid(name: &str) -> bool {
    let bytes = name.as_bytes();
    let Some(tail) = bytes.len().checked_sub(36).map(|start| &bytes[start..]) else { return false };
    tail.iter().enumerate().all(|(i, byte)| match i {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

/// How often neighbours are of different kinds (digit, upper, lower, other).
fn changes(text: &str) -> usize {
    let kind = |b: u8| (b.is_ascii_digit(), b.is_ascii_uppercase(), b.is_ascii_lowercase());
    text.as_bytes().windows(2).filter(|pair| kind(pair[0]) != kind(pair[1])).count()
}

fn has(text: &str, what: fn(u8) -> bool) -> bool {
    text.bytes().any(what)
}
