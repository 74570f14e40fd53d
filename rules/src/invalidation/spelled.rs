//! A stored response's path and query in the spelling of the index.

use super::Subject;
use super::digest::{Digest, Digests};
use super::percent::normalised;
use std::borrow::Cow;
use std::cell::OnceCell;

/// Made as far as it is asked for.
pub(super) struct Spelled<'a> {
    pub(super) path: Cow<'a, str>,
    /// As keyed.
    raw_query: Option<&'a str>,
    query: OnceCell<Cow<'a, str>>,
    full: OnceCell<String>,
    path_digest: OnceCell<Digest>,
    full_digest: OnceCell<Digest>,
}

impl<'a> Spelled<'a> {
    pub(super) fn new(subject: &Subject<'a>) -> Self {
        Self {
            path: normalised(subject.path),
            raw_query: subject.query,
            query: OnceCell::new(),
            full: OnceCell::new(),
            path_digest: OnceCell::new(),
            full_digest: OnceCell::new(),
        }
    }

    /// Path with query.
    pub(super) fn full(&self) -> &str {
        match self.query() {
            None => &self.path,
            Some(query) => self.full.get_or_init(|| format!("{}?{query}", self.path)),
        }
    }

    pub(super) fn has_query(&self) -> bool {
        self.raw_query.is_some()
    }

    pub(super) fn query(&self) -> Option<&str> {
        let query = self.raw_query?;
        Some(self.query.get_or_init(|| normalised(query)))
    }

    /// The digest of the path alone.
    pub(super) fn path_digest(&self) -> Digest {
        *self.path_digest.get_or_init(|| Digest::of(&self.path))
    }

    /// The digest of path with query.
    pub(super) fn full_digest(&self) -> Digest {
        *self.full_digest.get_or_init(|| match self.query() {
            None => self.path_digest(),
            Some(_) => self.after(""),
        })
    }

    /// The digest of a host with path and query behind it.
    pub(super) fn after(&self, host: &str) -> Digest {
        let mut digests = Digests::of(host);
        digests.add(&self.path);
        if let Some(query) = self.query() {
            digests.add("?");
            digests.add(query);
        }
        digests.last()
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
