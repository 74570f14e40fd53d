//! What control asks of a node over its connection, and the answers.

use crate::sealed::{ItemName, Sealed};
use crate::search::Search;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
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
    /// Stored responses, the first in this order; answered with a list of [`StoredUrl`]. An older node looks neither
    /// at the order nor at what is searched for: it answers with those that were sent most.
    StoredUrls {
        /// At most so many.
        most: usize,
        /// Of these sites only; of all where none is named.
        sites: Vec<String>,
        /// Those whose URL or tags it finds.
        #[serde(default, skip_serializing_if = "Search::is_empty")]
        search: Search,
        /// Which come first.
        #[serde(default, skip_serializing_if = "StoredOrder::is_default")]
        order: StoredOrder,
    },
    /// What was recently not stored, and why; answered with [`NotStored`].
    NotStoredUrls {
        /// At most so many URLs.
        most: usize,
        /// Of these sites only; of all where none is named.
        sites: Vec<String>,
        /// Those URLs that it finds. An older node tells of all.
        #[serde(default, skip_serializing_if = "Search::is_empty")]
        search: Search,
    },
    /// The members of the pools of sites' origins; answered with a list of [`OriginMember`].
    Origins {
        /// At most so many.
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
    /// Which of these items for TLS does it lack? Answered with a list of [`ItemName`], or with null if it takes
    /// none. Challenges that are not among them are over.
    LackedItems {
        /// All that control has for the node.
        items: Vec<ItemName>,
    },
    /// Take these items; answered with true once they are in force, and those that outlast the process are on disk.
    TakeItems {
        /// Those that are new.
        items: Vec<Sealed>,
        /// Hosts whose challenges are over.
        ended: Vec<String>,
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

/// In which order stored responses are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredOrder {
    /// Most answers first.
    #[default]
    Hits,
    /// Largest first.
    Size,
    /// Those that are or become stale first, first.
    Expiry,
    /// Lowest age first.
    Newest,
    /// By name.
    Url,
}

impl StoredOrder {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Hits, Self::Size, Self::Expiry, Self::Newest, Self::Url];

    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hits => "hits",
            Self::Size => "size",
            Self::Expiry => "expiry",
            Self::Newest => "newest",
            Self::Url => "url",
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Which of two comes first; of equal ones by name.
    pub fn compare(self, a: &StoredUrl, b: &StoredUrl) -> Ordering {
        let order = match self {
            Self::Hits => b.hits.cmp(&a.hits),
            Self::Size => b.bytes.cmp(&a.bytes),
            Self::Expiry => a.ttl_seconds.cmp(&b.ttl_seconds),
            Self::Newest => a.age_seconds.cmp(&b.age_seconds),
            Self::Url => Ordering::Equal,
        };
        order.then_with(|| a.url.cmp(&b.url))
    }
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

/// An origin of a site, as a node knows it. What an older node does not tell is 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OriginMember {
    /// The site it belongs to.
    pub site: String,
    /// The pool: the site's id, with the pool's name where it has one.
    pub pool: String,
    /// Its URL, and which of its addresses is meant.
    pub url: String,
    /// Whether it is asked.
    pub state: OriginState,
    /// Its share, where the balance looks at weights.
    pub weight: u32,
    /// Requests sent since the node's start, each try by itself.
    pub requests: u64,
    /// Those that failed, or were answered 502, 503 or 504.
    pub errors: u64,
    /// Times it was ejected, or taken out by its probes.
    pub ejections: u64,
    /// Requests that wait for its answer now.
    pub running: u64,
    /// How long heads of answers took ([`latency_bound_micros`](crate::stats::latency_bound_micros)), up to the last
    /// bucket that has any.
    pub first_byte: Vec<u64>,
    /// Its probes; `None` where it is not probed.
    pub probe: Option<ProbeCounts>,
}

/// Whether an origin is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OriginState {
    /// As any.
    #[default]
    Healthy,
    /// Its requests failed: only where nobody else is left, until some time has passed.
    Ejected,
    /// Its probes failed: likewise, until they succeed.
    Out,
}

impl OriginState {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Ejected => "ejected",
            Self::Out => "out",
        }
    }
}

/// What the probes of a member came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbeCounts {
    /// Probes that were answered as wanted, since the node's start.
    pub good: u64,
    /// Those that were not.
    pub bad: u64,
    /// Why the last one was not.
    pub error: Option<String>,
    /// Seconds since the last one.
    pub seconds_ago: Option<u64>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_older_nodes_and_controls_do_not_know_is_left_out_of_plain_questions() {
        let plain = "{\"question\":\"stored_urls\",\"most\":5,\"sites\":[]}";
        let (search, order) = (Search::default(), StoredOrder::default());
        let question = Question::StoredUrls { most: 5, sites: Vec::new(), search, order };
        assert_eq!(serde_json::to_string(&question).unwrap(), plain);
        assert_eq!(serde_json::from_str::<Question>(plain).unwrap(), question);
        let (search, order) = (Search::new("Blog 1"), StoredOrder::Expiry);
        let question = Question::StoredUrls { most: 5, sites: Vec::new(), search, order };
        let line = serde_json::to_string(&question).unwrap();
        assert!(line.ends_with(",\"search\":[\"blog\",\"1\"],\"order\":\"expiry\"}"), "{line}");
        assert_eq!(serde_json::from_str::<Question>(&line).unwrap(), question);
    }

    #[test]
    fn orders_are_written_as_they_are_sent() {
        for order in StoredOrder::ALL {
            assert_eq!(serde_json::to_value(order).unwrap(), order.word());
        }
    }
}
