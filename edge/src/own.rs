//! By what a node knows its own requests among those of strangers.

use crate::error::StartError;
use http::{HeaderMap, HeaderValue};
use std::sync::atomic::{AtomicUsize, Ordering};
use weir_rules::tier;
use weir_rules::tier::Tier;

/// The field that shows it.
pub(crate) const FIELD: &str = tier::WARM;

/// A secret of the process for each tier that can be warmed.
#[derive(Debug)]
pub(crate) struct Own {
    edge: String,
    parent: String,
    /// Own requests under way: while there are none, no field is looked for.
    running: AtomicUsize,
}

impl Own {
    /// New secrets.
    pub(crate) fn new() -> Result<Self, StartError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| {
            StartError(format!("the system returned no random numbers: {error}"))
        })?;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let (edge, parent) = (hex(&random[..16]), hex(&random[16..]));
        Ok(Self { edge, parent, running: AtomicUsize::new(0) })
    }

    /// An own request begins that warms this tier.
    pub(crate) fn running(&self, tier: Tier) -> OwnRequest<'_> {
        self.running.fetch_add(1, Ordering::Release);
        OwnRequest { own: self, tier }
    }

    /// Which tier a request of this node itself warms; `None` of anybody else's request.
    #[inline]
    pub(crate) fn warms(&self, headers: &HeaderMap) -> Option<Tier> {
        if self.running.load(Ordering::Acquire) == 0 {
            return None;
        }
        let shown = headers.get(FIELD).map(HeaderValue::as_bytes)?;
        match () {
            () if tier::is_key(&self.edge, shown) => Some(Tier::Edge),
            () if tier::is_key(&self.parent, shown) => Some(Tier::Parent),
            () => None,
        }
    }
}

/// An own request, while it lives.
pub(crate) struct OwnRequest<'a> {
    own: &'a Own,
    tier: Tier,
}

impl OwnRequest<'_> {
    /// What it shows.
    pub(crate) fn shown(&self) -> &str {
        match self.tier {
            Tier::Edge => &self.own.edge,
            Tier::Parent => &self.own.parent,
        }
    }
}

impl Drop for OwnRequest<'_> {
    fn drop(&mut self) {
        self.own.running.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn showing(secret: &str) -> HeaderMap {
        HeaderMap::from_iter([(FIELD.parse().unwrap(), secret.parse().unwrap())])
    }

    #[test]
    fn only_who_has_the_secret_while_it_is_used_is_the_node_itself() {
        let own = Own::new().unwrap();
        assert_eq!(own.warms(&showing(&own.edge)), None);
        let running = own.running(Tier::Parent);
        assert_eq!(own.warms(&showing(running.shown())), Some(Tier::Parent));
        assert_eq!(own.warms(&showing(&own.edge)), Some(Tier::Edge));
        assert_eq!(own.warms(&showing("0123456789abcdef0123456789abcdef")), None);
        assert_eq!(own.warms(&HeaderMap::new()), None);
        drop(running);
        assert_eq!(own.warms(&showing(&own.parent)), None);
        assert_ne!(own.edge, Own::new().unwrap().edge);
    }
}
