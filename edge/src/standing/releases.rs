//! The releases that sites were switched to, as the log last said.

use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use weir_rules::log::Release;

/// Releases by site; `None` of a site that was switched to none. Written by whoever follows the log
/// alone, so that no change is lost.
#[derive(Debug, Default)]
pub(crate) struct Releases(ArcSwap<BySite>);

type BySite = HashMap<Box<str>, Option<Arc<str>>>;

impl Releases {
    /// What a site was switched to last: a release or none; `None` where it never was.
    pub(crate) fn switched(&self, site: &str) -> Option<Option<Arc<str>>> {
        self.0.load().get(site).cloned()
    }

    /// A site shows another one from now on.
    pub(crate) fn switch(&self, release: &Release) {
        let mut releases = BySite::clone(&self.0.load());
        put(&mut releases, release);
        self.0.store(Arc::new(releases));
    }

    /// These are all there are.
    pub(crate) fn replace(&self, all: &[Release]) {
        let mut releases = BySite::new();
        all.iter().for_each(|release| put(&mut releases, release));
        self.0.store(Arc::new(releases));
    }
}

fn put(releases: &mut BySite, release: &Release) {
    releases.insert(release.site.as_str().into(), release.name.as_deref().map(Arc::from));
}
