//! What hit ratio a site would have with stores of other sizes, and other numbers of nodes: requests from
//! access logs or traces go through the policy of weir's own stores, without bodies. Long logs are sampled by
//! URL.

pub mod date;
pub mod estimate;
pub mod log;
pub mod node;
pub mod sample;
pub mod survey;
pub mod topology;
pub mod trace;

use std::hash::{DefaultHasher, Hash, Hasher};

/// A request for something that a cache may store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// A hash of the URL. The same in every process.
    pub url: u64,
    /// A hash of the client's address.
    pub client: u64,
    /// Seconds since some moment, where they are known.
    pub at: Option<u64>,
    /// Bytes of the body that was sent.
    pub bytes: u64,
}

/// What a line of a log or a trace says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// A request for something that a cache may store.
    Request(Request),
    /// A request that no cache answers: of another method, or with an answer that is not stored.
    Passed,
    /// No request of a visitor: a request that weir made itself, or a gap in the log.
    Nothing,
    /// It is not understood.
    Unknown,
}

/// A hash that is the same in every process.
fn hash_of(parts: &[&[u8]]) -> u64 {
    // Its keys are fixed, and its algorithm has been the same for as long as it exists. It need not be the
    // same in the next version: nothing keeps it.
    let mut hasher = DefaultHasher::new();
    for part in parts {
        part.hash(&mut hasher);
    }
    hasher.finish()
}
