//! The lines of both sides: [`FromNode`], [`FromControl`].

use crate::question::Question;
use crate::relay::Ticket;
use crate::secret::NodeSecret;
use crate::stats::Stats;
use crate::unread::Unread;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use weir_rules::invalidation::Seq;
use weir_rules::log::{Entry, Release, Standing, Welcome};
use weir_rules::relay::{AppliedBehind, Link};
use weir_rules::tier::Tier;

/// A line of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
// What is derived is used by the implementations below.
#[serde(tag = "frame", rename_all = "snake_case", remote = "Self")]
pub enum FromNode {
    /// The first line.
    Hello(Hello),
    /// Everything up to this seq holds on this node from now on.
    Applied {
        /// In the log's numbers.
        seq: Seq,
    },
    /// Everything on the node's disk was held against the log up to this seq, durably: should the node
    /// start again, it needs the entries after it. Said only by a node with a disk store, on each
    /// connection and when it has moved.
    Checked {
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
    /// The node drains, serves nothing any more and is not expected back. If it has other processes,
    /// this one alone is not expected any more.
    Leave,
    /// The node drains and serves nothing any more. It comes back with what it has stored, and shows
    /// nothing of that before it has applied what the log had when it joined again: until then no purge
    /// waits for it. If it has other processes, this is [`FromNode::Leave`].
    Away,
    /// Another process of this node has ended, without [`FromNode::Leave`] if it crashed: it is not
    /// expected any more. Said by one that cannot be wrong about it: they share a machine.
    Ended {
        /// The [`Hello::instance`] of the other one.
        instance: String,
    },
    /// The node wants to follow control through a relay; answered with [`FromControl::Ticket`].
    Attach {
        /// The relay's name, as it says.
        relay: String,
    },
    /// An edge that shows this ticket wants to be attached to this node, a relay. Answered with
    /// [`FromControl::Linked`] or [`FromControl::Unlinked`].
    Link {
        /// The relay's number for it: above all that it used on this connection before.
        link: Link,
        /// What the edge shows.
        ticket: Ticket,
    },
    /// The attachment is over; also said in answer to [`FromControl::Unlinked`].
    Unlink {
        /// The relay's number.
        link: Link,
    },
    /// What the edges that are attached to this node have applied.
    AppliedBehind(AppliedBehind),
    /// A line of an edge that is attached to this node.
    Relayed {
        /// The relay's number for it.
        link: Link,
        /// The line.
        line: Unread,
    },
    /// A line of a newer node, which is ignored.
    #[serde(other, skip_serializing)]
    Unknown,
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
    /// Its sites; `None` of an older node, and of one that has too many to tell
    /// ([`LONGEST_SITES`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sites: Option<Vec<SiteHosts>>,
    /// Its secret, by which it proves that the name is its own; `None` of an older node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<NodeSecret>,
    /// The [`Hello::instance`] of the process of the same node that this one takes over from, and
    /// that may still serve: both are expected until that one leaves or has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes_over: Option<String>,
    /// Its lease in milliseconds, if it validates all that it has stored once the lease is over, and
    /// counts it as [`weir_rules::lease`] says: then no purge needs to wait for it any longer. `None`
    /// of a node that goes on by freshness lifetimes, and of an older one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validates_after_ms: Option<u64>,
    /// It is to be forgotten once its lease is surely over; only with `validates_after_ms`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ephemeral: bool,
}

/// A site of a node, and the hosts that it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteHosts {
    /// Its id.
    pub id: String,
    /// Its hosts, in lower case; one may begin with `*`.
    pub hosts: Vec<String>,
}

/// Bytes that the ids and hosts of [`Hello::sites`] may have together.
pub const LONGEST_SITES: usize = 2 << 20;

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
        /// The reason is control's, not the node's: what the node is to control has not changed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        temporary: bool,
    },
    /// The next entry.
    Entry(Entry),
    /// The entry of this seq, which follows, is a purge whose popular URLs will be asked for.
    Remember {
        /// In the log's numbers.
        seq: Seq,
    },
    /// Said at least five times a lease, and about once a second, so that the node knows that it misses
    /// nothing, and control what the node counts.
    Heartbeat {
        /// The last seq of the log when this was sent. The node's lease is renewed once it has
        /// applied the entries up to it ([`weir_rules::lease`]). A heartbeat without it keeps the
        /// connection, and renews no lease.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        head: Option<Seq>,
        /// How many [`FromNode::Alive`] control has heard on this connection; not said by an older
        /// control. The lease counts from when the last of them was said ([`weir_rules::lease::Spoken`]).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        heard: Option<u64>,
        /// How many entries control keeps, whatever disks need of them; not said by an older control.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retention: Option<u64>,
    },
    /// Something to do or to tell.
    Ask {
        /// Control's number for it.
        ask: u64,
        /// What; an error in words where this version cannot read it.
        #[serde(with = "asked")]
        what: Result<Question, String>,
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
    /// The answer to [`FromNode::Attach`].
    Ticket {
        /// The relay that was named.
        relay: String,
        /// What to show it; why there is none, in words.
        ticket: Result<Ticket, String>,
    },
    /// The edge is attached: from here on the connection that it had with control is over, and this
    /// node speaks for it.
    Linked {
        /// The number in [`FromNode::Link`].
        link: Link,
    },
    /// The edge is not attached, or not any more.
    Unlinked {
        /// The number in [`FromNode::Link`].
        link: Link,
        /// Why, in words.
        reason: String,
    },
    /// A line for an edge that is attached to this node. Entries do not come so: the relay passes
    /// its own on.
    Relayed {
        /// The number in [`FromNode::Link`].
        link: Link,
        /// The line.
        line: Unread,
    },
    /// A line of a newer control, which is ignored.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// A question as it is written, and read as far as it is known.
mod asked {
    use super::{Deserialize, Deserializer, Question, Serialize, Serializer, Value};
    use serde::ser::Error;

    pub(super) fn serialize<S: Serializer>(
        what: &Result<Question, String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        what.as_ref().map_err(S::Error::custom)?.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Result<Question, String>, D::Error> {
        let what = Value::deserialize(deserializer)?;
        Ok(serde_json::from_value(what).map_err(|error| error.to_string()))
    }
}

impl Serialize for FromNode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for FromNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LineOfNode)
    }
}

/// Reads a line of a node. What thousands of nodes say about each purge, and each second, is read as it
/// stands, like entries in [`Line`].
struct LineOfNode;

/// A name or a tag: borrowed from the line where it can be.
#[derive(Deserialize)]
struct Word<'a>(#[serde(borrow)] Cow<'a, str>);

/// The tag of a line, if it comes first; else what comes first is among `all`.
fn tag<'de, A: MapAccess<'de>>(
    map: &mut A,
    all: &mut serde_json::Map<String, Value>,
) -> Result<Option<Cow<'de, str>>, A::Error> {
    let Some(Word(name)) = map.next_key::<Word<'de>>()? else { return Ok(None) };
    if name == "frame" {
        let Word(frame) = map.next_value::<Word<'de>>()?;
        return Ok(Some(frame));
    }
    all.insert(name.into_owned(), map.next_value()?);
    Ok(None)
}

#[derive(Deserialize)]
struct AppliedLine {
    seq: Seq,
}

/// What a relay passes on, of both sides. Never held as a tree: it is read where it is taken.
#[derive(Deserialize)]
struct RelayedLine {
    link: Link,
    line: Unread,
}

#[derive(Deserialize)]
struct MatchedLine {
    counts: Vec<(Seq, u64)>,
}

impl<'de> Visitor<'de> for LineOfNode {
    type Value = FromNode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a line of a node")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FromNode, A::Error> {
        let mut all = serde_json::Map::new();
        // The tag comes first, as nodes write it; of others it may come anywhere.
        if let Some(frame) = tag(&mut map, &mut all)? {
            match &*frame {
                "applied" => {
                    let line = AppliedLine::deserialize(MapAccessDeserializer::new(map))?;
                    return Ok(FromNode::Applied { seq: line.seq });
                }
                "matched" => {
                    let line = MatchedLine::deserialize(MapAccessDeserializer::new(map))?;
                    return Ok(FromNode::Matched { counts: line.counts });
                }
                "alive" => {
                    let stats = Stats::deserialize(MapAccessDeserializer::new(map))?;
                    return Ok(FromNode::Alive(stats));
                }
                "relayed" => {
                    let line = RelayedLine::deserialize(MapAccessDeserializer::new(map))?;
                    return Ok(FromNode::Relayed { link: line.link, line: line.line });
                }
                _ => {}
            }
            all.insert("frame".to_owned(), Value::String(frame.into_owned()));
        }
        while let Some((name, value)) = map.next_entry()? {
            all.insert(name, value);
        }
        // What is derived holds values, and no text.
        if all.get("frame").is_some_and(|frame| frame == "relayed") {
            let line = RelayedLine::deserialize(Value::Object(all)).map_err(A::Error::custom)?;
            return Ok(FromNode::Relayed { link: line.link, line: line.line });
        }
        FromNode::deserialize(Value::Object(all)).map_err(A::Error::custom)
    }
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
        if let Some(frame) = tag(&mut map, &mut all)? {
            match &*frame {
                "entry" => {
                    let entry = Entry::deserialize(MapAccessDeserializer::new(map))?;
                    return Ok(FromControl::Entry(entry));
                }
                "relayed" => {
                    let line = RelayedLine::deserialize(MapAccessDeserializer::new(map))?;
                    return Ok(FromControl::Relayed { link: line.link, line: line.line });
                }
                _ => {}
            }
            all.insert("frame".to_owned(), Value::String(frame.into_owned()));
        }
        while let Some((name, value)) = map.next_entry()? {
            all.insert(name, value);
        }
        if all.get("frame").is_some_and(|frame| frame == "relayed") {
            let line = RelayedLine::deserialize(Value::Object(all)).map_err(A::Error::custom)?;
            return Ok(FromControl::Relayed { link: line.link, line: line.line });
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
    /// Control's lease in milliseconds: heartbeats come every fifth of it or more often.
    pub lease_ms: u64,
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
            FromControl::Heartbeat { head: Some(1 << 53), heard: Some(7), retention: Some(1) },
            FromControl::Heartbeat { head: None, heard: None, retention: None },
            FromControl::Refused { reason: "entry".to_owned(), temporary: false },
            FromControl::Refused { reason: "entry".to_owned(), temporary: true },
            FromControl::Ticket { relay: "entry".to_owned(), ticket: Ok(Ticket::new(&[7; 32])) },
            FromControl::Ticket { relay: "p".to_owned(), ticket: Err("no".to_owned()) },
            FromControl::Linked { link: 1 << 53 },
            FromControl::Unlinked { link: 7, reason: "it left".to_owned() },
            FromControl::Relayed {
                link: 7,
                line: Unread::of(&serde_json::json!({"frame": "entry", "a": [1]})).unwrap(),
            },
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
            ("[]", "a line of control"),
        ] {
            let error = serde_json::from_str::<FromControl>(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn lines_of_nodes_are_read_wherever_their_tag_stands() {
        let latency = vec![0, 7];
        let results = [("hit".to_owned(), 3)].into();
        let stats = Stats { uptime_ms: 5, requests: 10, results, latency, ..Stats::default() };
        for line in [
            FromNode::Applied { seq: 1 << 53 },
            FromNode::Matched { counts: vec![(1, 0), (2, u64::MAX)] },
            FromNode::Alive(stats),
            FromNode::Answer { ask: 7, result: Err("applied".to_owned()) },
            FromNode::Ended { instance: "matched".to_owned() },
            FromNode::Attach { relay: "alive".to_owned() },
            FromNode::Link { link: 1 << 53, ticket: Ticket::new(&[7; 32]) },
            FromNode::Unlink { link: 7 },
            FromNode::AppliedBehind(AppliedBehind { all: Some(9), links: vec![(1, 2), (7, 10)] }),
            FromNode::AppliedBehind(AppliedBehind { all: None, links: vec![(7, 11)] }),
            FromNode::Relayed {
                link: 7,
                line: Unread::of(&serde_json::json!({"frame": "leave"})).unwrap(),
            },
            FromNode::Leave,
        ] {
            let text = serde_json::to_string(&line).unwrap();
            assert!(text.starts_with("{\"frame\":"), "{text}");
            assert_eq!(serde_json::from_str::<FromNode>(&text).unwrap(), line);
            // In the order of names, where the tag comes after others.
            let sorted = serde_json::to_value(&line).unwrap().to_string();
            assert_eq!(serde_json::from_str::<FromNode>(&sorted).unwrap(), line);
        }
        for (text, why) in [
            ("{}", "missing field `frame`"),
            ("{\"frame\":\"applied\"}", "missing field `seq`"),
            ("{\"frame\":\"matched\",\"counts\":7}", "invalid type"),
            ("[]", "a line of a node"),
        ] {
            let error = serde_json::from_str::<FromNode>(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn what_another_version_says_is_told_from_what_is_malformed() {
        let other = r#"{"frame":"other","seq":1,"entry":{"a":[1]}}"#;
        assert_eq!(serde_json::from_str::<FromControl>(other).unwrap(), FromControl::Unknown);
        assert_eq!(serde_json::from_str::<FromNode>(other).unwrap(), FromNode::Unknown);
        let asked = |what: &str| {
            let line = format!(r#"{{"frame":"ask","ask":7,"what":{what}}}"#);
            match serde_json::from_str(&line).unwrap() {
                FromControl::Ask { ask: 7, what } => what,
                other => panic!("{other:?}"),
            }
        };
        let known = Question::PurgedUrls { seq: 1, most: 2 };
        assert_eq!(asked(&serde_json::to_string(&known).unwrap()), Ok(known));
        for (what, why) in [
            (r#"{"question":"other","x":1}"#, "unknown variant `other`"),
            (r#"{"question":"purged_urls","seq":1}"#, "missing field `most`"),
            ("7", "invalid type"),
        ] {
            let error = asked(what).unwrap_err();
            assert!(error.contains(why), "{what}: {error}");
        }
        // What changes a node is never left out.
        let change = r#"{"frame":"entry","seq":1,"mark":1,"change":{"change":"other"}}"#;
        assert!(serde_json::from_str::<FromControl>(change).is_err());
    }
}
