//! What a request is for where rules of its site rewrite it.
//!
//! The first node rewrites before the key: everything after that, parents too, knows the request as one for that target.
//! A rewrite towards the origin is made by the node that asks an origin, of the target in the key; so that all tiers
//! have the client's path in their keys.

use crate::error::ClientError;
use crate::state::Site;
use http::uri::PathAndQuery;
use http::{StatusCode, Uri};
use weir_rules::site_rules::{AmbiguousPath, RuleSet};

/// The path has a second reading, of which something else would be made.
const AMBIGUOUS: ClientError = ClientError::refused(
    StatusCode::BAD_REQUEST,
    "ambiguous-path",
    "The path has segments . or .., or can be read in two ways, and is rewritten here.",
);

const TOO_LONG: ClientError = ClientError::refused(
    StatusCode::URI_TOO_LONG,
    "target-too-long",
    "The target is too long once it is rewritten.",
);

/// Path and query of a request.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Its path.
    pub(crate) path: &'a str,
    /// Its query, without `?`.
    pub(crate) query: Option<&'a str>,
}

/// What the key and everything else has in place of what the client asked for; `None` if that stays.
///
/// # Errors
/// It cannot be told what the target would be, or it has more than `most` bytes.
pub(crate) fn for_key(
    site: &Site,
    matching: RuleSet,
    asked: Asked<'_>,
    most: usize,
) -> Result<Option<PathAndQuery>, ClientError> {
    let rules = &site.config.rules;
    if matching.is_empty() || !rules.rewrite_key() {
        return Ok(None);
    }
    target(rules.keyed_target(rules.applied(matching), asked.path, asked.query), most)
}

/// What origins are asked for in place of the target in the key; `None` if that stays.
///
/// # Errors
/// It cannot be told what the target would be, or it has more than `most` bytes.
pub(crate) fn for_origin(
    site: &Site,
    matching: RuleSet,
    asked: Asked<'_>,
    most: usize,
) -> Result<Option<PathAndQuery>, ClientError> {
    let rules = &site.config.rules;
    if matching.is_empty() {
        return Ok(None);
    }
    target(rules.origin_target(rules.applied(matching), asked.path, asked.query), most)
}

fn target(
    rewritten: Result<Option<String>, AmbiguousPath>,
    most: usize,
) -> Result<Option<PathAndQuery>, ClientError> {
    let Some(text) = rewritten.map_err(|AmbiguousPath| AMBIGUOUS)? else { return Ok(None) };
    let target = (text.len() <= most).then(|| PathAndQuery::try_from(text).ok());
    target.flatten().map(Some).ok_or(TOO_LONG)
}

/// Gives a request this target.
pub(crate) fn put(uri: &mut Uri, target: PathAndQuery) {
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(target);
    // INVARIANT: with another path and query, what was a URI is one.
    *uri = Uri::from_parts(parts).unwrap_or_default();
}
