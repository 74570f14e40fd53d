//! How many nodes were refused, and why.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts by reason. Bounded by the reasons, which are constants.
#[derive(Debug, Default)]
pub(crate) struct RefusedJoins(Mutex<BTreeMap<&'static str, u64>>);

impl RefusedJoins {
    /// A node was refused for this reason.
    pub(crate) fn count(&self, reason: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(reason).or_default() += 1;
    }

    /// The counts since the start, of the reasons that occurred.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(reason, count)| (*reason, *count)).collect()
    }
}
