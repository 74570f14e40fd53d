//! The release that each site shows, as the log last said.

use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use weir_rules::log::Release;

/// Releases by site. Written by whoever follows the log alone, so that no change is lost.
#[derive(Debug, Default)]
pub(crate) struct Releases(ArcSwap<HashMap<Box<str>, Arc<str>>>);

impl Releases {
    /// The release that a site shows; `None` for none.
    pub(crate) fn release_of(&self, site: &str) -> Option<Arc<str>> {
        self.0.load().get(site).cloned()
    }

    /// A site shows another one from now on.
    pub(super) fn switch(&self, release: &Release) {
        let mut releases = HashMap::clone(&self.0.load());
        put(&mut releases, release);
        self.0.store(Arc::new(releases));
    }

    /// These are all there are.
    pub(super) fn replace(&self, all: &[Release]) {
        let mut releases = HashMap::new();
        all.iter().for_each(|release| put(&mut releases, release));
        self.0.store(Arc::new(releases));
    }
}

fn put(releases: &mut HashMap<Box<str>, Arc<str>>, release: &Release) {
    match &release.name {
        Some(name) => releases.insert(release.site.as_str().into(), name.as_str().into()),
        None => releases.remove(release.site.as_str()),
    };
}
