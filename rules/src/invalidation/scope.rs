//! What is kept for the targets of one site, or of all sites.

use super::digest::{Digest, Digests};
use super::kind::IndexKind;
use super::pattern::Pattern;
use super::percent::normalised;
use super::spelled::{Spelled, host_names, unversioned_text, with_query};
use super::table::{Kept, Table};
use super::{Seq, Subject, Target};
use crate::versions::unversioned;
use strum::VariantArray;

/// Kinds that have a table here: those before [`IndexKind::Url`].
const TABLES: usize = IndexKind::Url as usize;

/// What is kept for the targets that a site narrows.
#[derive(Debug)]
pub(super) struct Scope<V> {
    all: Option<V>,
    /// By kind. Queries are found by path and query together, versions by the name without version
    /// (with the query where one was given), any-case tags by the tag in lower case, prefixes by host
    /// (empty for all) and segments without a slash at the end.
    tables: [Table<V>; TABLES],
    /// Segments of the longest prefix, the host among them.
    longest: usize,
    /// In the order of their last seqs.
    patterns: Vec<(Pattern, V)>,
    /// How many URLs and hosts are of this site; they are kept beside the scopes.
    pub(super) urls: usize,
    pub(super) hosts: usize,
}

impl<V: Kept> Default for Scope<V> {
    fn default() -> Self {
        Self {
            all: None,
            tables: std::array::from_fn(|_| Table::default()),
            longest: 0,
            patterns: Vec::new(),
            urls: 0,
            hosts: 0,
        }
    }
}

impl<V: Kept> Scope<V> {
    /// Changes what is kept for one target; returns how many that added. With `versions`, a path
    /// takes all its versions.
    pub(super) fn change(
        &mut self,
        target: &Target,
        versions: bool,
        changed: impl FnOnce(&mut V),
    ) -> usize {
        let Some(kind) = IndexKind::of(target, versions) else {
            let new = self.all.is_none();
            changed(self.all.get_or_insert_default());
            return usize::from(new);
        };
        let digest = match target {
            Target::Path(path) if versions => Digest::of(&unversioned_text(path)),
            Target::Path(path) => Digest::of(&normalised(path)),
            Target::Prefix(prefix) => {
                let prefix = normalised(prefix);
                self.longest = self.longest.max(segments(&prefix).count());
                Digest::of(prefix.strip_suffix('/').unwrap_or(&prefix))
            }
            Target::Tag(tag) => Digest::of(tag),
            Target::AnyCaseTag(tag) => Digest::of(&tag.to_ascii_lowercase()),
            Target::Pattern(pattern) => {
                return self.change_pattern(&normalised(pattern), changed);
            }
            // Not narrowed by a site: kept beside the scopes.
            Target::Url(_) | Target::Host(_) | Target::All => return 0,
        };
        self.tables[kind as usize].change(digest, changed)
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
        if let Some(paths) = self.newer(IndexKind::Path, since) {
            paths.find(spelled.path_digest(), found);
        }
        if spelled.has_query()
            && let Some(queries) = self.newer(IndexKind::Query, since)
        {
            queries.find(spelled.full_digest(), found);
        }
        if let Some(versions) = self.newer(IndexKind::Version, since) {
            find_versions(versions, spelled, found);
        }
        if let Some(tags) = self.newer(IndexKind::Tag, since) {
            subject.tags.iter().for_each(|tag| tags.find(Digest::of(tag), found));
        }
        if let Some(tags) = self.newer(IndexKind::AnyCaseTag, since) {
            for tag in subject.tags {
                tags.find(Digest::of(&tag.to_ascii_lowercase()), found);
            }
        }
        if let Some(prefixes) = self.newer(IndexKind::Prefix, since) {
            for host in host_names(subject.host).chain([""]) {
                self.find_prefixes(prefixes, host, &spelled.path, found);
            }
        }
        let newest_first = self.patterns.iter().rev();
        for (pattern, kept) in newest_first.take_while(|(_, kept)| kept.last() > since) {
            if pattern.takes(spelled) {
                found(kept);
            }
        }
    }

    /// What is kept for every prefix of `path` on `host`.
    fn find_prefixes(
        &self,
        prefixes: &Table<V>,
        host: &str,
        path: &str,
        found: &mut impl FnMut(&V),
    ) {
        let mut digests = Digests::of(host);
        prefixes.find(digests.last(), found);
        let segments = path.strip_prefix('/').unwrap_or(path).split('/');
        for segment in segments.take(self.longest.saturating_sub(1)) {
            digests.add("/");
            digests.add(segment);
            prefixes.find(digests.last(), found);
        }
    }

    /// The table of a kind, if there may be a seq above `since` in it.
    fn newer(&self, kind: IndexKind, since: Seq) -> Option<&Table<V>> {
        Some(&self.tables[kind as usize]).filter(|table| table.is_newer(since))
    }

    /// Number of targets, those that name a host and patterns among them.
    pub(super) fn len(&self) -> usize {
        let kinds = IndexKind::VARIANTS.iter().map(|kind| self.len_of(*kind));
        usize::from(self.all.is_some()) + kinds.sum::<usize>()
    }

    /// Number of targets of a kind.
    pub(super) fn len_of(&self, kind: IndexKind) -> usize {
        match kind {
            IndexKind::Url => self.urls,
            IndexKind::Host => self.hosts,
            IndexKind::Pattern => self.patterns.len(),
            _ => self.tables[kind as usize].len(),
        }
    }

    /// The last seq of every target of a kind but those that name a host.
    pub(super) fn last_seqs(&self, kind: IndexKind) -> Vec<Seq> {
        match self.tables.get(kind as usize) {
            Some(table) => table.kept().map(Kept::last).collect(),
            None if kind == IndexKind::Pattern => {
                self.patterns.iter().map(|(_, kept)| kept.last()).collect()
            }
            None => Vec::new(),
        }
    }

    /// Forgets what is not to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(&V) -> bool + Copy) {
        self.all = self.all.take().filter(keep);
        self.tables.iter_mut().for_each(|table| table.retain(keep));
        self.patterns.retain(|(_, kept)| keep(kept));
        self.tidy();
    }

    /// Forgets what is not to be kept of a kind that does not name a host.
    pub(super) fn retain_of(&mut self, kind: IndexKind, keep: impl Fn(&V) -> bool) {
        match self.tables.get_mut(kind as usize) {
            Some(table) => table.retain(keep),
            None if kind == IndexKind::Pattern => self.patterns.retain(|(_, kept)| keep(kept)),
            None => {}
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        self.patterns.shrink_to(2 * self.patterns.len());
        if self.len_of(IndexKind::Prefix) == 0 {
            self.longest = 0;
        }
    }
}

fn find_versions<V: Kept>(versions: &Table<V>, spelled: &Spelled<'_>, found: &mut impl FnMut(&V)) {
    let name = unversioned(&spelled.path);
    for path in [Some(&*spelled.path), name.as_deref()].into_iter().flatten() {
        versions.find(Digest::of(path), found);
        if let Some(query) = spelled.query() {
            versions.find(Digest::of(&with_query(path, Some(query))), found);
        }
    }
}

/// A prefix in segments, the host first; a slash at its end makes no difference.
pub(super) fn segments(prefix: &str) -> impl Iterator<Item = &str> {
    prefix.strip_suffix('/').unwrap_or(prefix).split('/')
}
