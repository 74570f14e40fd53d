//! What purges of one site, or of all sites, have taken.

use super::marks::{Marks, MarksByText, raise};
use super::pattern::Pattern;
use super::percent::normalised;
use super::trie::Trie;
use super::{Purge, Seq, Subject, Target};
use crate::versions::{is_version_query, unversioned};
use std::borrow::Cow;

/// Last seqs of the targets that a site narrows.
#[derive(Debug, Default)]
pub(super) struct Scope {
    all: Marks,
    paths: MarksByText,
    /// By path and query together.
    queries: MarksByText,
    /// By the name without version, with the query where one was given.
    versions: MarksByText,
    tags: MarksByText,
    prefixes: Trie,
    patterns: Vec<(Pattern, Marks)>,
}

/// A subject's path in the spelling of the index.
pub(super) struct Spelled<'a> {
    pub(super) path: Cow<'a, str>,
    /// Path with query.
    pub(super) full: Cow<'a, str>,
}

impl<'a> Spelled<'a> {
    pub(super) fn new(subject: &Subject<'a>) -> Self {
        let path = normalised(subject.path);
        let full = match subject.query {
            None => path.clone(),
            Some(query) => Cow::Owned(format!("{path}?{}", normalised(query))),
        };
        Self { path, full }
    }

    fn query(&self) -> Option<&str> {
        self.full.get(self.path.len() + 1..)
    }
}

impl Scope {
    /// Raises one target; returns how many entries that added.
    pub(super) fn raise(&mut self, target: &Target, purge: &Purge) -> usize {
        let marks = Marks::of(purge);
        match target {
            Target::All => {
                let new = self.all == Marks::default();
                self.all.raise(marks);
                usize::from(new)
            }
            Target::Path(path) if purge.versions => self.raise_versions(path, marks),
            Target::Path(path) => {
                let path = normalised(path);
                let map = if path.contains('?') { &mut self.queries } else { &mut self.paths };
                raise(map, &path, marks)
            }
            Target::Prefix(prefix) => self.prefixes.raise(&normalised(prefix), marks),
            Target::Tag(tag) => raise(&mut self.tags, tag, marks),
            Target::Pattern(pattern) => self.raise_pattern(&normalised(pattern), marks),
            // Not narrowed by a site: the index keeps them.
            Target::Url(_) | Target::Host(_) => 0,
        }
    }

    /// A query that is a version itself says nothing of which one is meant: all are.
    fn raise_versions(&mut self, path: &str, marks: Marks) -> usize {
        let path = normalised(path);
        let (path, query) = match path.split_once('?') {
            Some((path, query)) if is_version_query(query) => (path, None),
            Some((path, query)) => (path, Some(query)),
            None => (&*path, None),
        };
        let name = unversioned(path).unwrap_or_else(|| path.to_owned());
        raise(&mut self.versions, &with_query(&name, query), marks)
    }

    fn raise_pattern(&mut self, text: &str, marks: Marks) -> usize {
        if let Some((_, known)) = self.patterns.iter_mut().find(|(known, _)| known.text() == text) {
            known.raise(marks);
            return 0;
        }
        self.patterns.push((Pattern::new(text), marks));
        1
    }

    /// Raises `found` by everything that matches.
    pub(super) fn find(&self, subject: &Subject<'_>, spelled: &Spelled<'_>, found: &mut Marks) {
        found.raise(self.all);
        found.raise_found(self.paths.get(&*spelled.path));
        found.raise_found(self.queries.get(&*spelled.full));
        if !self.versions.is_empty() {
            self.find_versions(spelled, found);
        }
        for tag in subject.tags {
            found.raise_found(self.tags.get(*tag));
        }
        if self.prefixes.len() > 0 {
            for host in host_names(subject.host).chain([""]) {
                self.prefixes.find(host, &spelled.path, found);
            }
        }
        for (pattern, marks) in &self.patterns {
            if pattern.takes(&spelled.path, &spelled.full) {
                found.raise(*marks);
            }
        }
    }

    fn find_versions(&self, spelled: &Spelled<'_>, found: &mut Marks) {
        let name = unversioned(&spelled.path);
        for path in [Some(&*spelled.path), name.as_deref()].into_iter().flatten() {
            found.raise_found(self.versions.get(path));
            if let Some(query) = spelled.query() {
                found.raise_found(self.versions.get(&*with_query(path, Some(query))));
            }
        }
    }

    /// Number of entries, patterns among them.
    pub(super) fn len(&self) -> usize {
        usize::from(self.all != Marks::default())
            + self.maps().iter().map(|map| map.len()).sum::<usize>()
            + self.prefixes.len()
            + self.patterns.len()
    }

    pub(super) fn patterns_len(&self) -> usize {
        self.patterns.len()
    }

    /// The last seq of every target, into `seqs`.
    pub(super) fn last_seqs(&self, seqs: &mut Vec<Seq>) {
        seqs.extend(Some(self.all.last()).filter(|seq| *seq > 0));
        for map in self.maps() {
            seqs.extend(map.values().map(|marks| marks.last()));
        }
        self.prefixes.last_seqs(seqs);
        self.pattern_seqs(seqs);
    }

    pub(super) fn pattern_seqs(&self, seqs: &mut Vec<Seq>) {
        seqs.extend(self.patterns.iter().map(|(_, marks)| marks.last()));
    }

    /// Forgets what is not to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(&Marks) -> bool + Copy) {
        if !keep(&self.all) {
            self.all = Marks::default();
        }
        for map in [&mut self.paths, &mut self.queries, &mut self.versions, &mut self.tags] {
            map.retain(|_, marks| keep(marks));
        }
        self.prefixes.retain(keep);
        self.patterns.retain(|(_, marks)| keep(marks));
    }

    pub(super) fn retain_patterns(&mut self, keep: impl Fn(&Marks) -> bool) {
        self.patterns.retain(|(_, marks)| keep(marks));
    }

    fn maps(&self) -> [&MarksByText; 4] {
        [&self.paths, &self.queries, &self.versions, &self.tags]
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

fn with_query<'a>(path: &'a str, query: Option<&str>) -> Cow<'a, str> {
    match query {
        None => Cow::Borrowed(path),
        Some(query) => Cow::Owned(format!("{path}?{query}")),
    }
}
