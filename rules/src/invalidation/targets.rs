//! Something kept for each target that was named, found again by what a stored response is.

use super::kept::{ByText, Kept, change, find};
use super::scope::Scope;
use super::spelled::{Spelled, host_names};
use super::target::url_as_compared;
use super::{Purge, Seq, Subject, Target};
use std::collections::HashMap;

/// What is kept for targets of all kinds and sites.
#[derive(Debug)]
pub(super) struct Targets<V> {
    everywhere: Scope<V>,
    sites: HashMap<Box<str>, Scope<V>>,
    hosts: ByText<V>,
    urls: ByText<V>,
}

impl<V: Kept> Default for Targets<V> {
    fn default() -> Self {
        Self {
            everywhere: Scope::default(),
            sites: HashMap::new(),
            hosts: ByText::new(),
            urls: ByText::new(),
        }
    }
}

impl<V: Kept> Targets<V> {
    /// Changes what is kept for one target of `purge`; returns how many entries that added.
    pub(super) fn change(
        &mut self,
        target: &Target,
        purge: &Purge,
        changed: impl FnOnce(&mut V),
    ) -> usize {
        match (target, &purge.site) {
            (Target::Host(host), _) => change(&mut self.hosts, &host.to_ascii_lowercase(), changed),
            (Target::Url(url), _) => change(&mut self.urls, &url_as_compared(url), changed),
            (_, None) => self.everywhere.change(target, purge, changed),
            (_, Some(site)) => match self.sites.get_mut(&**site) {
                Some(scope) => scope.change(target, purge, changed),
                None => {
                    let scope = self.sites.entry(site.as_str().into()).or_default();
                    scope.change(target, purge, changed)
                }
            },
        }
    }

    /// Tells `found` of everything that matches; what has no seq above `since` may be left out.
    pub(super) fn find(&self, subject: &Subject<'_>, since: Seq, found: &mut impl FnMut(&V)) {
        let spelled = Spelled::new(subject);
        self.everywhere.find(subject, &spelled, since, found);
        if !self.sites.is_empty()
            && let Some(scope) = self.sites.get(subject.site)
        {
            scope.find(subject, &spelled, since, found);
        }
        if !self.hosts.is_empty() {
            host_names(subject.host).for_each(|host| find(&self.hosts, host, found));
        }
        if !self.urls.is_empty() {
            find(&self.urls, &format!("{}{}", subject.host, spelled.full()), found);
        }
    }

    /// Number of entries, patterns among them.
    pub(super) fn len(&self) -> usize {
        self.scopes().map(Scope::len).sum::<usize>() + self.hosts.len() + self.urls.len()
    }

    pub(super) fn patterns_len(&self) -> usize {
        self.scopes().map(Scope::patterns_len).sum()
    }

    /// The last seq of every target.
    pub(super) fn last_seqs(&self) -> Vec<Seq> {
        let mut seqs = Vec::with_capacity(self.len());
        self.scopes().for_each(|scope| scope.last_seqs(&mut seqs));
        seqs.extend(self.hosts.values().chain(self.urls.values()).map(Kept::last));
        seqs
    }

    /// The last seq of every pattern.
    pub(super) fn pattern_seqs(&self) -> Vec<Seq> {
        let mut seqs = Vec::with_capacity(self.patterns_len());
        self.scopes().for_each(|scope| scope.pattern_seqs(&mut seqs));
        seqs
    }

    /// Forgets what is not to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(&V) -> bool + Copy) {
        self.everywhere.retain(keep);
        self.sites.retain(|_, scope| {
            scope.retain(keep);
            scope.len() > 0
        });
        self.hosts.retain(|_, kept| keep(kept));
        self.urls.retain(|_, kept| keep(kept));
    }

    /// Forgets the patterns that are not to be kept.
    pub(super) fn retain_patterns(&mut self, keep: impl Fn(&V) -> bool + Copy) {
        for scope in std::iter::once(&mut self.everywhere).chain(self.sites.values_mut()) {
            scope.retain_patterns(keep);
        }
    }

    fn scopes(&self) -> impl Iterator<Item = &Scope<V>> {
        std::iter::once(&self.everywhere).chain(self.sites.values())
    }
}
