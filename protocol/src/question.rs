//! What control asks of a node over its connection, and the answers.

use serde::{Deserialize, Serialize};
use weir_rules::invalidation::Seq;
use weir_rules::tier::Tier;

/// What control asks of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "question", rename_all = "snake_case")]
pub enum Question {
    /// What it knows of a URL, as a client sending these fields would meet it.
    Explain {
        /// Absolute, or a path.
        url: String,
        /// Name and value.
        headers: Vec<(String, String)>,
    },
    /// The most popular URLs that a purge took from its store, most popular first.
    PurgedUrls {
        /// The purge, in the log's numbers.
        seq: Seq,
        /// At most so many.
        most: usize,
    },
    /// The stored responses that were sent most, most first; answered with a list of [`StoredUrl`].
    StoredUrls {
        /// At most so many.
        most: usize,
        /// Of these sites only; of all where none is named.
        sites: Vec<String>,
    },
    /// What was recently not stored, and why; answered with [`NotStored`].
    NotStoredUrls {
        /// At most so many URLs.
        most: usize,
        /// Of these sites only; of all where none is named.
        sites: Vec<String>,
    },
    /// Fetch these URLs; answered with a list of [`Fetched`](crate::warm::Fetched) in the same order.
    Warm {
        /// Absolute URLs.
        urls: Vec<String>,
        /// Requests a second at most.
        rate: u32,
        /// Into this node's store, or into those of its parents alone.
        tier: Tier,
    },
}

/// A URL that a purge took, and how often it had been answered from the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgedUrl {
    /// Absolute.
    pub url: String,
    /// Answers.
    pub hits: u64,
}

/// A URL that is stored, and how often it was answered from the store since it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredUrl {
    /// Absolute.
    pub url: String,
    /// The site it belongs to.
    pub site: String,
    /// Answers, of all its variants together.
    pub hits: u64,
    /// Bytes of body held, of the newest variant as all that follows.
    pub bytes: u64,
    /// Its status.
    pub status: u16,
    /// Its age.
    pub age_seconds: u64,
    /// Seconds of freshness left; negative once stale.
    pub ttl_seconds: i64,
    /// Its first cache tags.
    pub tags: Vec<String>,
    /// Variants stored.
    pub variants: u64,
}

/// What was not stored, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotStored {
    /// How often for which reason since the node's start.
    pub reasons: Vec<NotStoredReason>,
    /// The last URLs, most recent first.
    pub urls: Vec<NotStoredUrl>,
}

/// How often nothing was stored for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotStoredReason {
    /// A stable word, kebab-case.
    pub reason: String,
    /// In a sentence, as it was the last time.
    pub sentence: String,
    /// Times.
    pub count: u64,
}

/// A URL that was not stored when it was fetched last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotStoredUrl {
    /// Absolute.
    pub url: String,
    /// The site it belongs to.
    pub site: String,
    /// A stable word, kebab-case.
    pub reason: String,
    /// In a sentence.
    pub sentence: String,
    /// The upstream's status, when there was one.
    pub status: Option<u16>,
    /// Seconds since.
    pub seconds_ago: u64,
}
