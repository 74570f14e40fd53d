//! The lives of sites: what was stored under other rules than those in force is told from what was
//! stored under these.

use siphasher::sip::SipHasher13;
use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::Arc;
use weir_config::{OriginPool, Site};
use weir_store::SiteRules;

/// The life of each site.
#[derive(Clone, Debug, Default)]
pub(super) struct SiteLives(HashMap<Arc<str>, (u64, u64)>);

impl SiteLives {
    /// The lives of these sites. One goes on if its rules are those that are `known`; else it is new.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn of(sites: &[Site], known: &[SiteRules]) -> Result<Self, getrandom::Error> {
        let life = |site: &Site| {
            let fingerprint = fingerprint(site);
            let goes_on =
                |known: &&SiteRules| known.site == site.id && known.fingerprint == fingerprint;
            let life = match known.iter().find(goes_on) {
                Some(known) => known.life,
                None => random()?,
            };
            Ok((Arc::from(site.id.as_str()), (fingerprint, life)))
        };
        sites.iter().map(life).collect::<Result<_, _>>().map(Self)
    }

    /// The life of a site.
    pub(super) fn life(&self, site: &str) -> Option<u64> {
        self.0.get(site).map(|(_, life)| *life)
    }

    /// As a checkpoint has them.
    pub(super) fn rules(&self) -> Vec<SiteRules> {
        let rules = |(site, (fingerprint, life)): (&Arc<str>, &(u64, u64))| SiteRules {
            site: site.to_string(),
            fingerprint: *fingerprint,
            life: *life,
        };
        self.0.iter().map(rules).collect()
    }
}

fn random() -> Result<u64, getrandom::Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// What decides the keys of a site's responses, and the references in them. Equal rules may have another
/// fingerprint in another version of weir: that costs what is stored.
fn fingerprint(site: &Site) -> u64 {
    let origins: Vec<_> = site.pools.iter().map(OriginPool::shaping).collect();
    let shaping: Vec<_> = site.rules.shaping().collect();
    let keys = (&site.key, &site.cookies);
    let rules = (&site.hosts, keys, &site.release, origins, shaping);
    let mut hasher = SipHasher13::new();
    hasher.write(format!("{rules:?}").as_bytes());
    hasher.finish()
}
