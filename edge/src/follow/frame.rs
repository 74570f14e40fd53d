//! What a node and control say to each other: one JSON object a line, each way, over a connection
//! that began as an HTTP upgrade to [`PROTOCOL`] at [`PATH`].
//!
//! The node begins with [`FromNode::Hello`], control answers [`FromControl::Welcome`], then the
//! entries after [`Welcome::after`], in order and without gaps, as they come to be.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::fmt;
use strum::{IntoStaticStr, VariantArray};
use weir_rules::invalidation::Seq;
use weir_rules::log::{Entry, Release, Standing, Welcome};

pub use super::reports::{
    LATENCY_BUCKETS, NotStored, NotStoredReason, NotStoredUrl, RESULTS, Stats, StoredUrl,
    latency_bound_micros,
};

/// The token of the Upgrade field.
pub const PROTOCOL: &str = "weir-log/1";

/// Where control takes nodes, with GET.
pub const PATH: &str = "/v1/follow";

/// Longest line, bytes: more than the largest purge that control takes.
pub const LONGEST_LINE: usize = 8 << 20;

/// A line of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub enum FromNode {
    /// The first line.
    Hello(Hello),
    /// Everything up to this seq holds on this node from now on.
    Applied {
        /// In the log's numbers.
        seq: Seq,
    },
    /// How many stored responses purges took.
    Matched {
        /// Seqs in the log's numbers, and counts.
        counts: Vec<(Seq, u64)>,
    },
    /// Still here; said in answer to each heartbeat.
    Alive(Stats),
    /// The answer to [`FromControl::Ask`] of this number.
    Answer {
        /// The number.
        ask: u64,
        /// What it led to; an error in words.
        result: Result<Value, String>,
    },
    /// A purge by method, which the node's access list lets through.
    Purge {
        /// The node's number for it.
        call: u64,
        /// The absolute URL.
        url: String,
        /// The site it belongs to.
        site: String,
        /// Stale from now on, instead of never served again.
        soft: bool,
    },
    /// The node drains, serves nothing any more and is not expected back.
    Leave,
}

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its name, unique in the topology.
    pub name: String,
    /// Its tier.
    pub tier: Tier,
    /// Its region.
    pub region: String,
    /// Where clients connect, for people.
    pub listen: String,
    /// Random for each process: tells a reconnect from a second node of one name.
    pub instance: String,
    /// The version of the program.
    pub version: String,
    /// Where it stands in the log.
    pub standing: Standing,
}

/// A node's tier.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Tier {
    /// Clients talk to it.
    #[default]
    Edge,
    /// Edges talk to it.
    Parent,
}

impl Tier {
    /// `edge` or `parent`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A line of control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
// What is derived is used by the implementations below.
#[serde(tag = "frame", rename_all = "snake_case", remote = "Self")]
pub enum FromControl {
    /// The answer to [`FromNode::Hello`].
    Welcome(Welcomed),
    /// The node is not let in; the connection ends.
    Refused {
        /// Why, in words.
        reason: String,
    },
    /// The next entry.
    Entry(Entry),
    /// The entry of this seq, which follows, is a purge whose popular URLs will be asked for.
    Remember {
        /// In the log's numbers.
        seq: Seq,
    },
    /// Said a few times a lease and at least once a second, so that the node knows that it misses
    /// nothing, and control what the node counts.
    Heartbeat {
        /// The last seq of the log.
        head: Seq,
    },
    /// Something to do or to tell.
    Ask {
        /// Control's number for it.
        ask: u64,
        /// What.
        what: Question,
    },
    /// The answer to [`FromNode::Purge`] of this number.
    Purged {
        /// The number.
        call: u64,
        /// As HTTP has it.
        status: u16,
        /// JSON.
        body: Value,
    },
}

impl Serialize for FromControl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for FromControl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Line)
    }
}

/// Reads a line of control. Entries may come a thousand a second, and are read as they stand: what
/// is derived holds each value of a line before it knows what to make of them.
struct Line;

impl<'de> Visitor<'de> for Line {
    type Value = FromControl;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a line of control")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FromControl, A::Error> {
        let mut all = serde_json::Map::new();
        // The tag comes first, as control writes it; of others it may come anywhere.
        if let Some((tag, frame)) = map.next_entry::<String, Value>()? {
            if tag == "frame" && frame == "entry" {
                return Entry::deserialize(MapAccessDeserializer::new(map)).map(FromControl::Entry);
            }
            all.insert(tag, frame);
        }
        while let Some((name, value)) = map.next_entry()? {
            all.insert(name, value);
        }
        FromControl::deserialize(Value::Object(all)).map_err(A::Error::custom)
    }
}

/// Control's welcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcomed {
    /// The place in the log.
    #[serde(flatten)]
    pub place: Welcome,
    /// The releases in force at `place.after`.
    pub releases: Vec<Release>,
    /// What nodes of this log show each other, so that the fields about seqs are believed.
    pub tier_key: String,
    /// Control's lease in milliseconds: heartbeats come every fifth of it, at least once a second.
    pub lease_ms: u64,
}

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
    Popular {
        /// The purge, in the log's numbers.
        seq: Seq,
        /// At most so many.
        most: usize,
    },
    /// The stored responses that were sent most, most first; answered with a list of [`StoredUrl`].
    Stored {
        /// At most so many.
        most: usize,
        /// Of these sites only; of all where none is named.
        sites: Vec<String>,
    },
    /// What was not stored of late, and why; answered with [`NotStored`].
    NotStored {
        /// At most so many URLs.
        most: usize,
        /// Of these sites only; of all where none is named.
        sites: Vec<String>,
    },
    /// Fetch these URLs; answered with a list of [`Fetched`] in the same order.
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
pub struct PopularUrl {
    /// Absolute.
    pub url: String,
    /// Answers.
    pub hits: u64,
}

/// What came of fetching a URL.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fetched {
    /// The URL.
    pub url: String,
    /// The status that it was answered with, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How it came to be stored; absent where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cached>,
    /// What went wrong, in words; absent where all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub ms: f64,
}

/// How a response comes to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cached {
    /// It was before.
    Hit,
    /// It was fetched for this request.
    Stored,
    /// It was being fetched for another.
    Collapsed,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use weir_rules::invalidation::{Purge, Target};
    use weir_rules::log::Change;

    #[test]
    fn lines_of_control_are_read_wherever_their_tag_stands() {
        let targets = vec![Target::Path("/a\"b".to_owned()), Target::All];
        let (site, soft, versions) = (Some("blog".to_owned()), true, false);
        let purge = Purge { seq: 7, targets, site, soft, versions };
        let entry = Entry { seq: 7, mark: u64::MAX, change: Change::Purge(purge) };
        for line in [
            FromControl::Entry(entry),
            FromControl::Heartbeat { head: 1 << 53 },
            FromControl::Refused { reason: "entry".to_owned() },
        ] {
            let text = serde_json::to_string(&line).unwrap();
            assert!(text.starts_with("{\"frame\":"), "{text}");
            assert_eq!(serde_json::from_str::<FromControl>(&text).unwrap(), line);
            // In the order of names, where the tag comes after others.
            let sorted = serde_json::to_value(&line).unwrap().to_string();
            assert_eq!(serde_json::from_str::<FromControl>(&sorted).unwrap(), line);
        }
        for (text, why) in [
            ("{}", "missing field `frame`"),
            ("{\"frame\":\"entry\",\"seq\":1}", "missing field `mark`"),
            ("{\"frame\":\"other\"}", "unknown variant `other`"),
            ("[]", "a line of control"),
        ] {
            let error = serde_json::from_str::<FromControl>(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
