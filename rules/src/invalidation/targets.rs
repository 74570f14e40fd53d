//! Something kept for each target that was named, found again by what a stored response is.

use super::digest::Digest;
use super::kind::IndexKind;
use super::scope::Scope;
use super::spelled::{Spelled, host_names};
use super::table::{Kept, Table};
use super::target::url_as_compared;
use super::{Seq, Subject, Target};
use std::collections::HashMap;
use std::sync::Arc;

/// What is kept for targets of all kinds and sites.
#[derive(Debug)]
pub(super) struct Targets<V> {
    everywhere: Scope<V>,
    sites: HashMap<Arc<str>, Scope<V>>,
    hosts: Table<Hosted<V>>,
    urls: Table<Hosted<V>>,
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
            hosts: Table::default(),
            urls: Table::default(),
        }
    }
}

impl<V: Kept> Targets<V> {
    /// Changes what is kept for one target of a site, or of all (`None`). With `versions`, a path
    /// takes all its versions.
    pub(super) fn change(
        &mut self,
        target: &Target,
        site: Option<&Arc<str>>,
        versions: bool,
        changed: impl FnOnce(&mut V),
    ) {
        let (hosted, digest) = match target {
            Target::Host(host) => (&mut self.hosts, Digest::of(&host.to_ascii_lowercase())),
            Target::Url(url) => (&mut self.urls, Digest::of(&url_as_compared(url))),
            _ => {
                self.scope_mut(site).change(target, versions, changed);
                return;
            }
        };
        let mut before = None;
        let added = hosted.change(digest, |hosted| {
            before = std::mem::replace(&mut hosted.site, site.cloned());
            changed(&mut hosted.kept);
        });
        let moved = added == 0 && before.as_ref() != site;
        if moved {
            *self.scope_mut(before.as_ref()).hosted_mut(target) -= 1;
        }
        *self.scope_mut(site).hosted_mut(target) += added + usize::from(moved);
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
        if self.hosts.is_newer(since) {
            for host in host_names(subject.host) {
                self.hosts.find(Digest::of(host), &mut hosted);
            }
        }
        if self.urls.is_newer(since) {
            self.urls.find(spelled.after(subject.host), &mut hosted);
        }
    }

    /// Number of targets, patterns among them.
    pub(super) fn len(&self) -> usize {
        self.scopes().map(|(_, scope)| scope.len()).sum()
    }

    /// Those of each site, and of all sites (`None`).
    pub(super) fn scopes(&self) -> impl Iterator<Item = (Option<&Arc<str>>, &Scope<V>)> {
        let sites = self.sites.iter().map(|(site, scope)| (Some(site), scope));
        std::iter::once((None, &self.everywhere)).chain(sites)
    }

    /// Those of a site, or of all, if there are any.
    pub(super) fn scope(&self, site: Option<&str>) -> Option<&Scope<V>> {
        match site {
            None => Some(&self.everywhere),
            Some(site) => self.sites.get(site),
        }
    }

    /// The last seq of every target of a site, or of all, and of a kind.
    pub(super) fn last_seqs_of(&self, site: Option<&str>, kind: IndexKind) -> Vec<Seq> {
        let Some(table) = self.hosted(kind) else {
            return self.scope(site).map_or_else(Vec::new, |scope| scope.last_seqs(kind));
        };
        let own = table.kept().filter(|hosted| hosted.site.as_deref() == site);
        own.map(Kept::last).collect()
    }

    /// Forgets what is not to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(&V) -> bool + Copy) {
        self.everywhere.retain(keep);
        self.sites.values_mut().for_each(|scope| scope.retain(keep));
        self.hosts.retain(|hosted| keep(&hosted.kept));
        self.urls.retain(|hosted| keep(&hosted.kept));
        self.count_hosted();
    }

    /// Forgets of what is a site's own, or that of all, and of a kind, what is not to be kept.
    pub(super) fn retain_of(
        &mut self,
        site: Option<&str>,
        kind: IndexKind,
        keep: impl Fn(&V) -> bool,
    ) {
        match kind {
            IndexKind::Url | IndexKind::Host => {
                let is_kept =
                    |hosted: &Hosted<V>| hosted.site.as_deref() != site || keep(&hosted.kept);
                match kind {
                    IndexKind::Url => self.urls.retain(is_kept),
                    _ => self.hosts.retain(is_kept),
                }
                self.count_hosted();
            }
            _ => {
                match site {
                    None => Some(&mut self.everywhere),
                    Some(site) => self.sites.get_mut(site),
                }
                .into_iter()
                .for_each(|scope| scope.retain_of(kind, &keep));
                self.tidy();
            }
        }
    }

    fn hosted(&self, kind: IndexKind) -> Option<&Table<Hosted<V>>> {
        match kind {
            IndexKind::Url => Some(&self.urls),
            IndexKind::Host => Some(&self.hosts),
            _ => None,
        }
    }

    fn count_hosted(&mut self) {
        let Self { everywhere, sites, hosts, urls } = self;
        for scope in sites.values_mut().chain([&mut *everywhere]) {
            (scope.hosts, scope.urls) = (0, 0);
        }
        for (table, is_url) in [(&*hosts, false), (&*urls, true)] {
            for Hosted { site, .. } in table.kept() {
                let scope = match site {
                    None => &mut *everywhere,
                    Some(site) => sites.entry(Arc::clone(site)).or_default(),
                };
                *(if is_url { &mut scope.urls } else { &mut scope.hosts }) += 1;
            }
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        self.sites.retain(|_, scope| scope.len() > 0);
    }

    fn scope_mut(&mut self, site: Option<&Arc<str>>) -> &mut Scope<V> {
        match site {
            None => &mut self.everywhere,
            Some(site) => self.sites.entry(Arc::clone(site)).or_default(),
        }
    }
}

impl<V: Kept> Scope<V> {
    /// How many targets that name a host as this one does are of this site.
    fn hosted_mut(&mut self, target: &Target) -> &mut usize {
        match target {
            Target::Url(_) => &mut self.urls,
            _ => &mut self.hosts,
        }
    }
}
