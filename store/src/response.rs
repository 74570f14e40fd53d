//! A response as the store is handed it, and as it gives it back.

use bytes::Bytes;

/// A number of the invalidation log, in the node's own numbers.
pub type Seq = u64;

/// What of the log a response was held against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    /// filled_at_seq: the number that was applied when the fetch began.
    pub filled_at: Seq,
    /// The response was judged by all purges up to here; at least `filled_at`.
    pub valid_at: Seq,
    /// The last soft purge that matched it; 0 for none.
    pub soft_at: Seq,
}

/// A response, less its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The digest of host, path and query. All responses of a URL have the same one, whatever their
    /// scheme, release, key headers and Vary.
    pub url: u64,
    /// The whole cache key.
    pub key: Bytes,
    /// The selecting fields and their values (RFC 9111 §4.1); empty without Vary.
    pub selecting: Bytes,
    /// The site that it belongs to.
    pub site: Box<str>,
    /// Its cache tags.
    pub tags: Vec<Box<str>>,
    /// Whatever else the caller wants back: status, fields, terms. The store does not read it.
    pub fields: Bytes,
    /// What it was judged by.
    pub stamps: Stamps,
}

impl ResponseHead {
    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        let tags: usize = self.tags.iter().map(|tag| tag.len()).sum();
        self.key.len() + self.selecting.len() + self.site.len() + tags + self.fields.len()
    }
}
