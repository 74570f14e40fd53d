//! A stored response's path and query in the spelling of the index.

use super::Subject;
use super::percent::normalised;
use std::borrow::Cow;
use std::cell::OnceCell;

/// Made as far as it is asked for.
pub(super) struct Spelled<'a> {
    pub(super) path: Cow<'a, str>,
    /// As keyed.
    raw_query: Option<&'a str>,
    full: OnceCell<String>,
}

impl<'a> Spelled<'a> {
    pub(super) fn new(subject: &Subject<'a>) -> Self {
        Self { path: normalised(subject.path), raw_query: subject.query, full: OnceCell::new() }
    }

    /// Path with query.
    pub(super) fn full(&self) -> &str {
        match self.raw_query {
            None => &self.path,
            Some(query) => self.full.get_or_init(|| format!("{}?{}", self.path, normalised(query))),
        }
    }

    pub(super) fn has_query(&self) -> bool {
        self.raw_query.is_some()
    }

    pub(super) fn query(&self) -> Option<&str> {
        self.full().get(self.path.len() + 1..)
    }
}

/// A host as it is, and without its port: a target without a port takes every port.
pub(super) fn host_names(host: &str) -> impl Iterator<Item = &str> {
    let bare = host
        .rsplit_once(':')
        .filter(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
        .map(|(name, _)| name);
    [host].into_iter().chain(bare)
}

/// The text of a versioned target: a query that is a version itself says nothing of which one is
/// meant, so that all are.
pub(super) fn unversioned_text(path: &str) -> String {
    use crate::versions::{is_version_query, unversioned};
    let path = normalised(path);
    let (path, query) = match path.split_once('?') {
        Some((path, query)) if is_version_query(query) => (path, None),
        Some((path, query)) => (path, Some(query)),
        None => (&*path, None),
    };
    let name = unversioned(path).unwrap_or_else(|| path.to_owned());
    with_query(&name, query).into_owned()
}

pub(super) fn with_query<'a>(path: &'a str, query: Option<&str>) -> Cow<'a, str> {
    match query {
        None => Cow::Borrowed(path),
        Some(query) => Cow::Owned(format!("{path}?{query}")),
    }
}
