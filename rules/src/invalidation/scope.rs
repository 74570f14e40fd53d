//! What is kept for the targets of one site, or of all sites.

use super::kept::{ByText, Kept, change, find};
use super::pattern::Pattern;
use super::percent::normalised;
use super::spelled::{Spelled, host_names, unversioned_text, with_query};
use super::trie::Trie;
use super::{Seq, Subject, Target};
use crate::versions::unversioned;

/// What is kept for the targets that a site narrows.
#[derive(Debug)]
pub(super) struct Scope<V> {
    all: Option<V>,
    paths: ByText<V>,
    /// By path and query together.
    queries: ByText<V>,
    /// By the name without version, with the query where one was given.
    versions: ByText<V>,
    tags: ByText<V>,
    prefixes: Trie<V>,
    /// In the order of their last seqs.
    patterns: Vec<(Pattern, V)>,
    /// How many targets that name a host are of this site; they are kept beside the scopes.
    pub(super) hosted: usize,
}

impl<V: Kept> Default for Scope<V> {
    fn default() -> Self {
        Self {
            all: None,
            paths: ByText::new(),
            queries: ByText::new(),
            versions: ByText::new(),
            tags: ByText::new(),
            prefixes: Trie::default(),
            patterns: Vec::new(),
            hosted: 0,
        }
    }
}

impl<V: Kept> Scope<V> {
    /// Changes what is kept for one target; returns how many entries that added. With `versions`, a
    /// path takes all its versions.
    pub(super) fn change(
        &mut self,
        target: &Target,
        versions: bool,
        changed: impl FnOnce(&mut V),
    ) -> usize {
        match target {
            Target::All => {
                let new = self.all.is_none();
                changed(self.all.get_or_insert_default());
                usize::from(new)
            }
            Target::Path(path) if versions => {
                change(&mut self.versions, &unversioned_text(path), changed)
            }
            Target::Path(path) => {
                let path = normalised(path);
                let map = if path.contains('?') { &mut self.queries } else { &mut self.paths };
                change(map, &path, changed)
            }
            Target::Prefix(prefix) => self.prefixes.change(&normalised(prefix), changed),
            Target::Tag(tag) => change(&mut self.tags, tag, changed),
            Target::Pattern(pattern) => self.change_pattern(&normalised(pattern), changed),
            // Not narrowed by a site: kept beside the scopes.
            Target::Url(_) | Target::Host(_) => 0,
        }
    }

    fn change_pattern(&mut self, text: &str, changed: impl FnOnce(&mut V)) -> usize {
        let known = self.patterns.iter().position(|(known, _)| known.text() == text);
        let (pattern, mut kept) = match known {
            Some(at) => self.patterns.remove(at),
            None => (Pattern::new(text), V::default()),
        };
        changed(&mut kept);
        let place = self.patterns.partition_point(|(_, other)| other.last() <= kept.last());
        self.patterns.insert(place, (pattern, kept));
        usize::from(known.is_none())
    }

    /// Tells `found` of everything that matches; what has no seq above `since` may be left out.
    pub(super) fn find(
        &self,
        subject: &Subject<'_>,
        spelled: &Spelled<'_>,
        since: Seq,
        found: &mut impl FnMut(&V),
    ) {
        self.all.iter().for_each(&mut *found);
        if !self.paths.is_empty() {
            find(&self.paths, &spelled.path, found);
        }
        if !self.queries.is_empty() && spelled.has_query() {
            find(&self.queries, spelled.full(), found);
        }
        if !self.versions.is_empty() {
            self.find_versions(spelled, found);
        }
        if !self.tags.is_empty() {
            subject.tags.iter().for_each(|tag| find(&self.tags, tag, found));
        }
        if self.prefixes.len() > 0 {
            for host in host_names(subject.host).chain([""]) {
                self.prefixes.find(host, &spelled.path, found);
            }
        }
        let newest_first = self.patterns.iter().rev();
        for (pattern, kept) in newest_first.take_while(|(_, kept)| kept.last() > since) {
            if pattern.takes(spelled) {
                found(kept);
            }
        }
    }

    fn find_versions(&self, spelled: &Spelled<'_>, found: &mut impl FnMut(&V)) {
        let name = unversioned(&spelled.path);
        for path in [Some(&*spelled.path), name.as_deref()].into_iter().flatten() {
            find(&self.versions, path, found);
            if let Some(query) = spelled.query() {
                find(&self.versions, &with_query(path, Some(query)), found);
            }
        }
    }

    /// Number of entries in it, patterns among them.
    pub(super) fn len(&self) -> usize {
        usize::from(self.all.is_some())
            + self.maps().iter().map(|map| map.len()).sum::<usize>()
            + self.prefixes.len()
            + self.patterns.len()
    }

    pub(super) fn patterns_len(&self) -> usize {
        self.patterns.len()
    }

    /// The last seq of every target, into `seqs`.
    pub(super) fn last_seqs(&self, seqs: &mut Vec<Seq>) {
        seqs.extend(self.all.iter().map(Kept::last));
        for map in self.maps() {
            seqs.extend(map.values().map(Kept::last));
        }
        self.prefixes.last_seqs(seqs);
        self.pattern_seqs(seqs);
    }

    pub(super) fn pattern_seqs(&self, seqs: &mut Vec<Seq>) {
        seqs.extend(self.patterns.iter().map(|(_, kept)| kept.last()));
    }

    /// Forgets what is not to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(&V) -> bool + Copy) {
        self.all = self.all.take().filter(keep);
        for map in [&mut self.paths, &mut self.queries, &mut self.versions, &mut self.tags] {
            map.retain(|_, kept| keep(kept));
        }
        self.prefixes.retain(keep);
        self.patterns.retain(|(_, kept)| keep(kept));
    }

    pub(super) fn retain_patterns(&mut self, keep: impl Fn(&V) -> bool) {
        self.patterns.retain(|(_, kept)| keep(kept));
    }

    fn maps(&self) -> [&ByText<V>; 4] {
        [&self.paths, &self.queries, &self.versions, &self.tags]
    }
}
