//! What the access settings of a site's rules need beside the configuration: signing keys, counts of requests,
//! and which passwords were right.

mod passwords;
mod rates;

pub(crate) use passwords::{Check, Passwords};

use rates::Rates;
use std::collections::HashMap;
use std::sync::Arc;
use weir_config::Site as SiteConfig;
use weir_rules::access::signed::SigningKey;
use weir_rules::site_rules::Rule;

/// What one site needs.
#[derive(Debug, Default)]
pub(crate) struct SiteAccess {
    /// The keys of signed URLs.
    pub(crate) keys: Vec<SigningKey>,
    /// By the names of the rules that have a rate.
    rates: HashMap<Box<str>, Arc<Rates>>,
    /// Whether a request has to be looked at at all.
    is_asked: bool,
}

impl SiteAccess {
    /// That of a site, with the counts of rates that are the same as `before`; at most so many values are counted
    /// for each rate.
    pub(crate) fn new(config: &SiteConfig, most: u64, before: Option<&Self>) -> Self {
        let keys: Vec<SigningKey> = config
            .signing_keys
            .iter()
            .map(|key| SigningKey::new(&key.id, key.secret.reveal().as_bytes()))
            .collect();
        let rules = config.rules.rules().iter();
        let rates = rules.filter_map(|rule| {
            let rate = rule.settings.access.rate.as_ref()?;
            let name: Box<str> = rule.name.as_str().into();
            let same = before.and_then(|before| before.rates.get(&name));
            let same = same.filter(|rates| rates.are_of(rate, most)).cloned();
            Some((name, same.unwrap_or_else(|| Arc::new(Rates::new(rate, most)))))
        });
        let is_asked = !keys.is_empty() || config.rules.has_access();
        Self { rates: rates.collect(), keys, is_asked }
    }

    /// Whether there is anything that a request may have to satisfy, or a token to remove from it.
    #[inline]
    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// The counts of a rule's rate.
    pub(crate) fn rates(&self, rule: &Rule) -> Option<&Rates> {
        self.rates.get(rule.name.as_str()).map(|rates| &**rates)
    }
}
