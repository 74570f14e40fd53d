//! Something kept for each target that was named, found again by what a stored response is.

use super::kept::{ByText, Kept, change, find};
use super::scope::Scope;
use super::spelled::{Spelled, host_names};
use super::target::url_as_compared;
use super::{Seq, Subject, Target};
use std::collections::HashMap;
use std::sync::Arc;

/// What is kept for targets of all kinds and sites.
#[derive(Debug)]
pub(super) struct Targets<V> {
    everywhere: Scope<V>,
    sites: HashMap<Arc<str>, Scope<V>>,
    hosts: ByText<Hosted<V>>,
    urls: ByText<Hosted<V>>,
}

/// What is kept for a target that names a host. It is found by its text alone; its site only counts
/// it.
#[derive(Debug)]
struct Hosted<V> {
    site: Option<Arc<str>>,
    kept: V,
}

impl<V: Kept> Default for Hosted<V> {
    fn default() -> Self {
        Self { site: None, kept: V::default() }
    }
}

impl<V: Kept> Kept for Hosted<V> {
    fn last(&self) -> Seq {
        self.kept.last()
    }
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
    /// Changes what is kept for one target of a site, or of all (`None`); returns how many entries
    /// that added. With `versions`, a path takes all its versions.
    pub(super) fn change(
        &mut self,
        target: &Target,
        site: Option<&Arc<str>>,
        versions: bool,
        changed: impl FnOnce(&mut V),
    ) -> usize {
        let (hosted, text) = match target {
            Target::Host(host) => (&mut self.hosts, host.to_ascii_lowercase()),
            Target::Url(url) => (&mut self.urls, url_as_compared(url)),
            _ => return self.scope_mut(site).change(target, versions, changed),
        };
        let mut before = None;
        let added = change(hosted, &text, |hosted: &mut Hosted<V>| {
            before = std::mem::replace(&mut hosted.site, site.cloned());
            changed(&mut hosted.kept);
        });
        let moved = added == 0 && before.as_ref() != site;
        if moved {
            self.scope_mut(before.as_ref()).hosted -= 1;
        }
        if moved || added > 0 {
            self.scope_mut(site).hosted += 1;
        }
        added
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
        let mut hosted = |hosted: &Hosted<V>| found(&hosted.kept);
        if !self.hosts.is_empty() {
            host_names(subject.host).for_each(|host| find(&self.hosts, host, &mut hosted));
        }
        if !self.urls.is_empty() {
            let url = format!("{}{}", subject.host, spelled.full());
            find(&self.urls, &url, &mut hosted);
        }
    }

    /// Number of entries, patterns among them.
    pub(super) fn len(&self) -> usize {
        self.scopes().map(Scope::len).sum::<usize>() + self.hosts.len() + self.urls.len()
    }

    /// Number of entries of a site, or of all, patterns among them.
    pub(super) fn len_of(&self, site: Option<&str>) -> usize {
        self.scope(site).map_or(0, |scope| scope.len() + scope.hosted)
    }

    /// Number of patterns of a site, or of all.
    pub(super) fn patterns_of(&self, site: Option<&str>) -> usize {
        self.scope(site).map_or(0, Scope::patterns_len)
    }

    /// Who has more than `most` entries; `None` stands for all sites.
    pub(super) fn larger_than(&self, most: usize) -> Vec<Option<Arc<str>>> {
        let sites = self.sites.keys().cloned().map(Some);
        sites.chain([None]).filter(|site| self.len_of(site.as_deref()) > most).collect()
    }

    /// The last seq of every target of a site, or of all.
    pub(super) fn last_seqs_of(&self, site: Option<&str>) -> Vec<Seq> {
        let mut seqs = Vec::with_capacity(self.len_of(site));
        if let Some(scope) = self.scope(site) {
            scope.last_seqs(&mut seqs);
            if scope.hosted > 0 {
                let hosted = self.hosts.values().chain(self.urls.values());
                let own = hosted.filter(|hosted| hosted.site.as_deref() == site);
                seqs.extend(own.map(Kept::last));
            }
        }
        seqs
    }

    /// The last seq of every pattern of a site, or of all.
    pub(super) fn pattern_seqs_of(&self, site: Option<&str>) -> Vec<Seq> {
        let mut seqs = Vec::with_capacity(self.patterns_of(site));
        if let Some(scope) = self.scope(site) {
            scope.pattern_seqs(&mut seqs);
        }
        seqs
    }

    /// Forgets what is not to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(&V) -> bool + Copy) {
        self.everywhere.retain(keep);
        self.sites.values_mut().for_each(|scope| scope.retain(keep));
        self.retain_hosted(|hosted| keep(&hosted.kept));
    }

    /// Forgets of what is a site's own, or that of all, what is not to be kept.
    pub(super) fn retain_of(&mut self, site: Option<&str>, keep: impl Fn(&V) -> bool + Copy) {
        let Some(scope) = self.known_scope_mut(site) else { return };
        scope.retain(keep);
        match scope.hosted {
            0 => self.tidy(),
            _ => self.retain_hosted(|hosted| hosted.site.as_deref() != site || keep(&hosted.kept)),
        }
    }

    /// Forgets of these patterns those that are not to be kept.
    pub(super) fn retain_patterns_of(&mut self, site: Option<&str>, keep: impl Fn(&V) -> bool) {
        if let Some(scope) = self.known_scope_mut(site) {
            scope.retain_patterns(keep);
        }
        self.tidy();
    }

    fn retain_hosted(&mut self, keep: impl Fn(&Hosted<V>) -> bool) {
        self.hosts.retain(|_, hosted| keep(hosted));
        self.urls.retain(|_, hosted| keep(hosted));
        self.everywhere.hosted = 0;
        self.sites.values_mut().for_each(|scope| scope.hosted = 0);
        for Hosted { site, .. } in self.hosts.values().chain(self.urls.values()) {
            let scope = match site {
                None => Some(&mut self.everywhere),
                Some(site) => self.sites.get_mut(&**site),
            };
            scope.into_iter().for_each(|scope| scope.hosted += 1);
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        self.sites.retain(|_, scope| scope.len() + scope.hosted > 0);
    }

    fn scope(&self, site: Option<&str>) -> Option<&Scope<V>> {
        match site {
            None => Some(&self.everywhere),
            Some(site) => self.sites.get(site),
        }
    }

    fn known_scope_mut(&mut self, site: Option<&str>) -> Option<&mut Scope<V>> {
        match site {
            None => Some(&mut self.everywhere),
            Some(site) => self.sites.get_mut(site),
        }
    }

    fn scope_mut(&mut self, site: Option<&Arc<str>>) -> &mut Scope<V> {
        match site {
            None => &mut self.everywhere,
            Some(site) => self.sites.entry(Arc::clone(site)).or_default(),
        }
    }

    fn scopes(&self) -> impl Iterator<Item = &Scope<V>> {
        std::iter::once(&self.everywhere).chain(self.sites.values())
    }
}
