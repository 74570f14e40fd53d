//! What a node keeps of the invalidation log with its store, so that nothing stale is shown after a
//! restart (invariant I4).

use crate::response::Seq;

/// A node's place in the log, and what it knew when it last said so. The store keeps the last one
/// and does not read more of it than [`Checkpoint::applied_own`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's id; `None` before the first.
    pub log: Option<String>,
    /// The node's membership; `None` before the first.
    pub member: Option<String>,
    /// The node's own number of the log's seq 0.
    pub base: Seq,
    /// The last seq applied, in the log's numbers.
    pub applied: Seq,
    /// The mark of that entry.
    pub mark: u64,
    /// The seq up to which everything stored was held against the log, in the log's numbers.
    pub checked: Seq,
    /// What decides the keys of each site's responses.
    pub sites: Vec<SiteRules>,
    /// The latest time of day seen, in seconds since 1970.
    pub wall: u64,
}

/// The rules of a site under which its responses were stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteRules {
    /// The site's id.
    pub site: String,
    /// A fingerprint of the rules that decide the keys of its responses.
    pub fingerprint: u64,
    /// A random number, new whenever the rules changed: the caller keeps it with each response, so that
    /// one from before a change is told from one after the rules were changed back.
    pub life: u64,
}

impl Checkpoint {
    /// The node's own number of what it applied last. No response that was judged by more becomes
    /// recoverable under this checkpoint.
    pub fn applied_own(&self) -> Seq {
        self.base.saturating_add(self.applied)
    }

    /// The node's own number of the seq up to which everything was held against the log.
    pub fn checked_own(&self) -> Seq {
        self.base.saturating_add(self.checked)
    }
}
