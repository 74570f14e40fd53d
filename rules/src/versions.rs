//! Versioned URLs: fingerprinted names (`app.3f9a1c.js`), `app.v2.js`, `app.js?v=2`.
//!
//! Two questions, two measures. [`is_versioned`] lets a response be stored for a year, so it must
//! not be wrong about a name that only looks so; [`unversioned`] widens a purge that asked for all
//! versions, where a mistake costs a miss.

mod name;
mod shape;

use crate::assets;
use name::{Confidence, split};

/// Parameters that carry nothing but a version.
const PARAMETERS: &[&str] = &["v", "ver", "version", "rev", "hash"];

/// Longest value of such a parameter that is believed to be a version.
const MAX_VERSION: usize = 64;

/// Whether the last segment of a path, or its query, carries a version, with an asset's extension
/// (js, css, images, fonts, media, wasm, …). Careful: dates, plain words and short numbers in
/// names are not versions. In a query every parameter must be a version.
pub fn is_versioned(path: &str, query: Option<&str>) -> bool {
    let Some(file) = assets::file(path) else { return false };
    split(file).is_some_and(|found| found.confidence == Confidence::Sure)
        || query.is_some_and(is_version_query)
}

/// The name without its version: `/app.3f9a1c.js`, `/app-3f9a1c.js` and `/app.v2.js` all give
/// `/app.js`. `None` when the path carries no version in its name.
pub fn unversioned(path: &str) -> Option<String> {
    let file = assets::file(path)?;
    let found = split(file)?;
    let folder = &path[..path.len() - file.len()];
    Some(format!("{folder}{}{}", found.before, found.after))
}

/// Whether a query is nothing but a version: `v=2`, `ver=1.2`, or a bare hash.
pub fn is_version_query(query: &str) -> bool {
    if shape::is_hash(query, Confidence::Sure) {
        return true;
    }
    query.split('&').all(|parameter| match parameter.split_once('=') {
        Some((name, value)) => {
            PARAMETERS.contains(&name)
                && (1..=MAX_VERSION).contains(&value.len())
                && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        }
        None => false,
    })
}

#[cfg(test)]
mod tests;
