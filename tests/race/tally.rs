//! What was met in a run, and how often.

use std::collections::BTreeMap;

/// How many answers of which sort there were.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<String, u64>);

impl Tally {
    pub(crate) fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Tally) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }

    /// A run that met none of some sort has shown nothing about it. `least` is how many must have
    /// been met of each.
    pub(crate) fn must_have_covered<'a>(&self, least: impl IntoIterator<Item = (&'a str, u64)>) {
        for (what, least) in least {
            let met = self.0.get(what).copied().unwrap_or_default();
            assert!(met >= least, "{met} of {what:?}, not {least}: {self:?}");
        }
    }
}
