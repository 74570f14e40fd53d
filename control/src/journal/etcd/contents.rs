//! What the keys of a log hold, as JSON.

use super::super::{ArrivalsRecord, Contents, EntryRecord, JournalError, Life};
use super::NodeRecord;
use crate::etcd::{KeyValue, Layout, Operation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use weir_rules::invalidation::Seq;
use weir_rules::log::{LogId, Mark};

/// The form of the keys and values that this version writes.
const FORMAT: u32 = 1;

/// Nodes are kept in so many keys, so that a change of some rewrites these only.
const BUCKETS: usize = 64;

/// What the head's key says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    format: u32,
    /// The last entry.
    seq: Seq,
    /// The transaction that wrote it; random.
    pub(super) name: String,
    /// The id of the cluster that it was written in.
    cluster: String,
    life: Option<Life>,
}

/// What an import says of itself: of which log, up to where, and whether it has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Import {
    pub(super) log: LogId,
    pub(super) seq: Seq,
    mark: Option<Mark>,
    pub(super) ended: bool,
}

impl Import {
    pub(super) fn of(contents: &Contents, ended: bool) -> Self {
        let log =
            contents.life.as_ref().map_or_else(|| LogId(String::new()), |life| life.log.clone());
        let mark = contents.entries.last().map(|record| record.entry.mark);
        Self { log, seq: contents.last(), mark, ended }
    }
}

/// Nodes as they are written, by bucket.
pub(super) type Written = BTreeMap<usize, Vec<u8>>;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) contents: Contents,
    pub(super) seq: Seq,
    /// Of the head; 0 without one.
    pub(super) revision: i64,
    pub(super) cluster: Option<String>,
    pub(super) batches: BTreeSet<Seq>,
    pub(super) nodes: Written,
}

impl Head {
    pub(super) fn new(seq: Seq, name: &str, cluster: &str, life: Option<&Life>) -> Self {
        let (name, cluster) = (name.to_owned(), cluster.to_owned());
        Self { format: FORMAT, seq, name, cluster, life: life.cloned() }
    }

    pub(super) fn read(value: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(value)
    }
}

/// Reads the keys of a log.
///
/// # Errors
/// They are not those of a log of this version.
pub(super) fn read(layout: &Layout, keys: &[KeyValue]) -> Result<Read, JournalError> {
    let mut read = Read::default();
    let mut arrivals: Vec<(i64, Vec<(Seq, ArrivalsRecord)>)> = Vec::new();
    for found in keys {
        let Some(part) = layout.part(&found.key) else { continue };
        match part.split_once('/').unwrap_or((part, "")) {
            // Not of the log: certificates.rs reads it.
            ("writer", "") | ("tls", _) => {}
            ("import", "") => {
                let import: Import = parsed(found)?;
                if !import.ended {
                    return Err(JournalError::new(format!(
                        "the import of the log {} has not ended: run weir control import again",
                        import.log
                    )));
                }
            }
            ("head", "") => {
                let head: Head = parsed(found)?;
                if head.format != FORMAT {
                    let format = head.format;
                    return Err(JournalError::new(format!(
                        "{}: its format is {format}, and this version knows {FORMAT}",
                        found.key
                    )));
                }
                read.seq = head.seq;
                read.revision = found.mod_revision;
                read.cluster = Some(head.cluster);
                read.contents.life = head.life;
            }
            ("base", "") => read.contents.base = parsed(found)?,
            ("sites", "") => read.contents.sites = parsed(found)?,
            ("nodes", bucket) => {
                read.contents.nodes.extend(parsed::<Vec<NodeRecord>>(found)?);
                if let Ok(bucket) = usize::from_str_radix(bucket, 16) {
                    read.nodes.insert(bucket, found.value.clone());
                }
            }
            ("entries", first) => {
                read.contents.entries.extend(parsed::<Vec<EntryRecord>>(found)?);
                read.batches.extend(first.parse::<Seq>());
            }
            ("arrivals", of) => {
                let told = match (of.split_once('/'), of.parse()) {
                    (Some((_, "to")), _) => parsed(found)?,
                    (_, Ok(seq)) => vec![(seq, parsed(found)?)],
                    _ => continue,
                };
                arrivals.push((found.mod_revision, told));
            }
            _ => {
                let key = &found.key;
                return Err(JournalError::new(format!("{key}: not a key of weir's log")));
            }
        }
    }
    if read.revision == 0 && !read.contents.entries.is_empty() {
        return Err(JournalError::new("there are entries, but no head"));
    }
    let base = read.contents.base.seq;
    read.contents.entries.retain(|record| record.entry.seq > base);
    // What was written last of an entry holds.
    arrivals.sort_by_key(|(revision, _)| *revision);
    let arrivals: BTreeMap<_, _> = arrivals.into_iter().flat_map(|(_, told)| told).collect();
    read.contents.arrivals = arrivals.into_iter().filter(|(seq, _)| *seq > base).collect();
    let last = read.contents.last();
    if last != read.seq {
        let head = read.seq;
        return Err(JournalError::new(format!("its last entry is {last}, and its head {head}")));
    }
    Ok(read)
}

/// A value, and the first and the last entry that it is about.
type Packed = (Seq, Seq, Vec<u8>);

/// Entries in values of about so many bytes.
pub(super) fn entries(records: &[EntryRecord], most: usize) -> Result<Vec<Packed>, JournalError> {
    packed(records.iter().map(|record| (record.entry.seq, record)), most)
}

/// How entries arrived, in values of about so many bytes.
pub(super) fn arrivals(
    records: &[(Seq, ArrivalsRecord)],
    most: usize,
) -> Result<Vec<Packed>, JournalError> {
    packed(records.iter().map(|record| (record.0, record)), most)
}

/// Lists of about so many bytes.
fn packed<T: Serialize>(
    items: impl Iterator<Item = (Seq, T)>,
    most: usize,
) -> Result<Vec<Packed>, JournalError> {
    let mut values: Vec<Packed> = Vec::new();
    for (seq, item) in items {
        let text = super::json(&item)?;
        match values.last_mut() {
            Some((_, last, value)) if value.len() + text.len() < most => {
                *last = seq;
                value.push(b',');
                value.extend_from_slice(&text);
            }
            _ => values.push((seq, seq, [b"[", &*text].concat())),
        }
    }
    values.iter_mut().for_each(|(_, _, value)| value.push(b']'));
    Ok(values)
}

/// The nodes by bucket.
pub(super) fn buckets(nodes: &[NodeRecord]) -> Result<Written, JournalError> {
    let mut sorted: BTreeMap<usize, Vec<&NodeRecord>> = BTreeMap::new();
    for node in nodes {
        sorted.entry(bucket(&node.name)).or_default().push(node);
    }
    sorted.into_iter().map(|(bucket, nodes)| Ok((bucket, super::json(&nodes)?))).collect()
}

fn bucket(name: &str) -> usize {
    let sum = name.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31) + usize::from(byte));
    sum % BUCKETS
}

/// What makes the nodes `new` of what is there; `None` is not known.
pub(super) fn changes(layout: &Layout, old: Option<&Written>, new: &Written) -> Vec<Operation> {
    let change = |bucket: usize| {
        let key = layout.nodes(bucket);
        let before = old.map(|old| old.get(&bucket));
        match new.get(&bucket) {
            now if before == Some(now) => None,
            Some(value) => Some(Operation::Put(key, value.clone())),
            None => Some(Operation::Delete(key.clone(), format!("{key}\0"))),
        }
    };
    (0..BUCKETS).filter_map(change).collect()
}

/// A name for a transaction.
pub(super) fn name() -> Result<String, JournalError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| {
        JournalError::new(format!("the system returned no random bytes: {error}"))
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(super) fn parsed<T: DeserializeOwned>(found: &KeyValue) -> Result<T, JournalError> {
    serde_json::from_slice(&found.value)
        .map_err(|error| JournalError::new(format!("{}: {error}", found.key)))
}
