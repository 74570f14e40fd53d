//! Where the version stands in a file name.

use super::shape;

/// How certain it is that a name carries a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confidence {
    /// Enough to widen a purge.
    Likely,
    /// Enough to store for a year.
    Sure,
}

/// A file name around its version and the separator before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Versioned<'a> {
    pub(super) before: &'a str,
    pub(super) after: &'a str,
    pub(super) confidence: Confidence,
}

/// What may stand between version and extension, as part of the name.
const KINDS: [&str; 7] = [".min", ".slim", ".bundle", ".chunk", ".module", ".umd", ".esm"];

/// Extensions of code: only there plain numbers like `3.7.1` are surely versions.
const CODE: [&str; 5] = ["js", "mjs", "css", "map", "wasm"];

/// Finds the version of a file name that has an extension.
pub(super) fn split(file: &str) -> Option<Versioned<'_>> {
    let stem = stem(file);
    let after = &file[stem.len()..];
    if shape::ends_in_uuid(stem) {
        return None;
    }
    // A version has dots or dashes of its own (`3.7.1`, base64url): the longest is tried first.
    let separators = stem.bytes().enumerate().filter(|(_, b)| matches!(b, b'.' | b'-' | b'_'));
    for (at, separator) in separators {
        let (before, version) = (&stem[..at], &stem[at + 1..]);
        if before.is_empty() {
            continue;
        }
        if let Some(confidence) = judge(separator, version, after) {
            return Some(Versioned { before, after, confidence });
        }
    }
    None
}

fn judge(separator: u8, version: &str, after: &str) -> Option<Confidence> {
    use Confidence::{Likely, Sure};
    let either = |sure: bool| Some(if sure { Sure } else { Likely });
    if shape::is_marked(version) {
        // `api-v2.js` is as often the second interface as the second edition.
        return either(separator == b'.' || separator == b'-' && version.matches('.').count() >= 2);
    }
    if shape::is_numbered(version) {
        let extension = after.rsplit('.').next().unwrap_or_default();
        return either(CODE.contains(&extension) && separator != b'_');
    }
    if !shape::is_hash(version, Likely) {
        return None;
    }
    // After a dash or an underscore people put short codes of their own.
    either((separator == b'.' || version.len() >= 8) && shape::is_hash(version, Sure))
}

/// The file name without extension, without the one before `.map`, and without such as `.min`.
fn stem(file: &str) -> &str {
    let cut = |name: &str| name.rfind('.').unwrap_or(name.len());
    let mut stem = &file[..cut(file)];
    if file.ends_with(".map") && (stem.ends_with(".js") || stem.ends_with(".css")) {
        stem = &stem[..cut(stem)];
    }
    while let Some(shorter) = KINDS.iter().find_map(|kind| stem.strip_suffix(kind)) {
        stem = shorter;
    }
    stem
}
