//! Invalidation: targets, matching, and the index of last sequence numbers (seqs) that makes a
//! purge O(1) for each target to apply and a hit one integer comparison.
//!
//! INVARIANT: whatever the index forgets, it never answers more leniently than a list of all purges
//! would, for a response filled since the last checked mark.

mod digest;
mod floors;
mod index;
mod keyed;
mod kind;
mod marks;
mod pattern;
mod percent;
mod scope;
mod sieve;
mod spelled;
mod table;
mod tally;
mod target;
mod targets;
mod url_name;

pub use floors::RaisedFloor;
pub use index::{Bounds, Index};
pub use keyed::{KeyedPurge, SiteUrls};
pub use kind::IndexKind;
pub(crate) use percent::{escaped, normalised};
pub use sieve::{Sieve, Sieved};
pub use tally::Tally;
pub use target::{MAX_TAG_BYTES, MAX_TARGET_BYTES, TargetKind};
pub use url_name::{is_as_named, url_name};

use serde::{Deserialize, Serialize};

/// A seq of the invalidation log. 0 is "before the first".
pub type Seq = u64;

/// What one purge takes. Paths are compared percent-normalised (RFC 3986 §6.2.2) on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "text", rename_all = "snake_case")]
pub enum Target {
    /// An absolute path; without `?` it takes every query, with one that query only.
    Path(String),
    /// A path with `*`, which crosses `/` and `?`; a trailing `*` alone is a prefix of characters.
    /// Without `?` it takes every query too.
    Pattern(String),
    /// A prefix that matches whole path segments, on every host (`/img`) or on one
    /// (`a.example/img`). A slash at its end makes no difference.
    Prefix(String),
    /// One absolute URL, its query treated like a key's ([`KeyedPurge`]). It takes both schemes.
    Url(String),
    /// A cache tag.
    Tag(String),
    /// A cache tag, whatever the case of its ASCII letters, there and in responses.
    AnyCaseTag(String),
    /// A whole host; without a port, on every port.
    Host(String),
    /// Everything (of the site, where one is named).
    All,
}

/// One purge as the log has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {
    /// Its number.
    pub seq: Seq,
    /// What it takes; at least one.
    pub targets: Vec<Target>,
    /// The site that paths, patterns, prefixes, tags and all are confined to; hosts and URLs are
    /// not.
    pub site: Option<String>,
    /// Stale from now on, instead of never served again.
    pub soft: bool,
    /// Paths take all their versions too ([`crate::versions`]), named by any of them.
    pub versions: bool,
}

/// What of a stored response the index needs to judge it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Site id.
    pub site: &'a str,
    /// Host, lower case.
    pub host: &'a str,
    /// Path as keyed.
    pub path: &'a str,
    /// Query as keyed, without `?`.
    pub query: Option<&'a str>,
    /// Tags, in any order.
    pub tags: &'a [&'a str],
    /// filled_at_seq.
    pub filled_at: Seq,
}

/// The answer about one stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// No purge with a higher seq matches.
    Valid,
    /// A soft purge with this seq matches: stale.
    Soft(Seq),
    /// A hard purge with this seq matches: never again.
    Hard(Seq),
}
