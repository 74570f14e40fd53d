//! A change of what the origin has, and the purge that goes with it.

use crate::support::{Purge, Target};
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A purge, what it takes, and who has obeyed it.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) target: Target,
    pub(crate) site: Option<String>,
    pub(crate) soft: bool,
    pub(crate) versions: bool,
    /// Resources by number; with each the version that the origin had before the purge was asked
    /// for, or the only one that it takes.
    pub(super) takes: Vec<(u64, u64)>,
    pub(super) one_version: bool,
    began: Instant,
    obeyed: Mutex<Vec<(usize, Instant)>>,
}

impl Change {
    /// Takes all that is older.
    pub(super) fn of(target: Target, takes: Vec<(u64, u64)>) -> Self {
        let (began, obeyed) = (Instant::now(), Mutex::default());
        let (site, soft, versions, one_version) = (None, false, false, false);
        Self { target, site, soft, versions, takes, one_version, began, obeyed }
    }

    /// Takes one version of one resource.
    pub(super) fn of_version(target: Target, takes: (u64, u64)) -> Self {
        Self { one_version: true, ..Self::of(target, vec![takes]) }
    }

    /// As the log has it.
    #[allow(dead_code, reason = "a run with a control has its log")]
    pub(crate) fn purge(&self, seq: u64) -> Purge {
        let Self { target, site, soft, versions, .. } = self;
        let (targets, site) = (vec![target.clone()], site.clone());
        Purge { seq, targets, site, soft: *soft, versions: *versions }
    }

    /// A node obeys it; how long that took, if it is the first one.
    pub(super) fn obeyed(&self, node: usize) -> Option<Duration> {
        let now = Instant::now();
        let mut obeyed = self.obeyed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = obeyed.is_empty();
        if obeyed.iter().all(|(known, _)| *known != node) {
            obeyed.push((node, now));
        }
        is_first.then(|| now - self.began)
    }

    /// In words, as it concerns one resource: how long ago it began, and how long ago nodes had
    /// obeyed it.
    pub(super) fn told(&self, resource: u64) -> String {
        let version = self.takes.iter().find(|(number, _)| *number == resource);
        let which = if self.one_version { "version" } else { "up to version" };
        let hard = if self.soft { "soft" } else { "hard" };
        let mut told = format!(
            "{hard} {:?} site {:?} versions {}: {which} {:?}, begun {:?} ago, obeyed",
            self.target,
            self.site,
            self.versions,
            version.map(|(_, version)| version),
            self.began.elapsed(),
        );
        let obeyed = self.obeyed.lock().unwrap_or_else(PoisonError::into_inner);
        for (node, at) in obeyed.iter() {
            // Writing to a String cannot fail.
            let _ = write!(told, " by {node} {:?} ago", at.elapsed());
        }
        told + "\n"
    }
}
