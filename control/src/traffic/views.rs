//! The traffic that each caller may see: of all sites, or of those of its token.
//!
//! Bounded: as much for each list of sites that some token has as for all sites, of the nodes that have
//! one of them.

use super::Traffic;
use crate::auth::Caller;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;
use weir_config::Token;
use weir_protocol::stats::Stats;
use weir_rules::tier::Tier;

/// Traffic by who may see it.
#[derive(Debug)]
pub(crate) struct TrafficViews {
    all: Arc<Traffic>,
    /// By the sites of tokens.
    confined: RwLock<BTreeMap<Vec<String>, Arc<Traffic>>>,
}

impl TrafficViews {
    pub(crate) fn new(tokens: &[Token]) -> Self {
        let views = Self { all: Arc::default(), confined: RwLock::default() };
        views.set(tokens);
        views
    }

    /// Takes the tokens of a new configuration into use.
    pub(crate) fn set(&self, tokens: &[Token]) {
        let wanted = tokens.iter().map(|token| &token.sites).filter(|sites| !sites.is_empty());
        let mut confined = self.confined.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *confined);
        for sites in wanted {
            let known = before.remove(sites);
            confined.entry(sites.clone()).or_insert_with(|| known.unwrap_or_default());
        }
    }

    /// A node told what it counts.
    pub(crate) fn hear(&self, name: &str, tier: Tier, stats: &Stats, now: Instant) {
        self.all.hear(name, tier, stats, now);
        for (sites, traffic) in self.confined().iter().filter(|(sites, _)| stats.has_any(sites)) {
            if let Some(counted) = stats.of_sites(sites) {
                traffic.hear(name, tier, &counted, now);
            }
        }
    }

    /// Forgets nodes that are not among the `expected`.
    pub(crate) fn retain(&self, expected: impl Fn(&str) -> bool) {
        self.all.retain(&expected);
        for traffic in self.confined().values() {
            traffic.retain(&expected);
        }
    }

    /// What this caller may see; `None` of a token that is not in the configuration any more.
    pub(crate) fn of(&self, caller: &Caller) -> Option<Arc<Traffic>> {
        match caller.may_touch(None) {
            true => Some(self.all.clone()),
            false => self.confined().get(caller.sites()).cloned(),
        }
    }

    fn confined(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Vec<String>, Arc<Traffic>>> {
        self.confined.read().unwrap_or_else(PoisonError::into_inner)
    }
}
