//! What is compared, and on which requests: the bench and a test have both from here.

mod ghost;
pub(crate) mod lru;
mod recency;
pub(crate) mod s3_fifo;
mod sketch;
pub(crate) mod traces;
pub(crate) mod w_tinylfu;

use traces::{Asked, Trace};
use weir_edge::MemoryPolicy;

/// A cache that decides by itself what it keeps.
pub(crate) trait Policy {
    /// A request: whether it is a hit. What is missed is fetched and offered for storage.
    fn request(&mut self, asked: Asked) -> bool;
}

/// weir's own: the map of its store.
pub(crate) struct Own(MemoryPolicy);

impl Own {
    pub(crate) fn new(size: u64) -> Self {
        Self(MemoryPolicy::new(size))
    }
}

impl Policy for Own {
    fn request(&mut self, asked: Asked) -> bool {
        let is_hit = self.0.get(asked.url.into()).is_some();
        if !is_hit {
            self.0.put(asked.url.into(), asked.usage(), 0);
        }
        is_hit
    }
}

/// Hits in a hundred.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hits {
    pub(crate) by_object: f64,
    pub(crate) by_byte: f64,
}

/// What a policy finds of a trace.
pub(crate) fn hits(trace: &Trace, policy: &mut dyn Policy) -> Hits {
    let (mut hits, mut bytes, mut all) = (0_u64, 0, 0);
    for asked in &trace.requests {
        all += asked.length;
        if policy.request(*asked) {
            hits += 1;
            bytes += asked.length;
        }
    }
    let by_object = 100.0 * hits as f64 / trace.requests.len() as f64;
    Hits { by_object, by_byte: 100.0 * bytes as f64 / all as f64 }
}
