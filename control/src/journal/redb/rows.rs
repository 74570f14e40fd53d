//! Rows of arrivals: lists instead of the names of fields, of which there would be one for each
//! arrival. An older version wrote those.

use crate::journal::{ArrivalRecord, ArrivalsRecord, LeaseOverRecord, SumRecord};
use serde::{Deserialize, Serialize};
use weir_rules::tier::Tier;

/// `completed_us`; the sum as `nodes` and `matched`; the nodes; those whose lease was over.
type Row<N> = (Option<u64>, Option<(u32, Option<u64>)>, Vec<Node<N>>, Vec<(N, Tier)>);

/// Its name, its tier, `applied_us` and `matched`.
type Node<N> = (N, Tier, Option<u64>, Option<u64>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Either {
    Row(Row<String>),
    Older(ArrivalsRecord),
}

/// A row as it is written.
pub(super) fn written(record: &ArrivalsRecord) -> impl Serialize + '_ {
    let nodes = record.nodes.iter();
    let nodes = nodes.map(|node| (&*node.name, node.tier, node.applied_us, node.matched));
    let over = record.lease_over.iter().map(|over| (&*over.name, over.tier));
    let sum = record.sum.map(|sum| (sum.nodes, sum.matched));
    let row: Row<&str> = (record.completed_us, sum, nodes.collect(), over.collect());
    row
}

/// A row as it is read.
pub(super) fn read(bytes: &[u8]) -> Result<ArrivalsRecord, serde_json::Error> {
    let (completed_us, sum, nodes, over) = match serde_json::from_slice(bytes)? {
        Either::Older(record) => return Ok(record),
        Either::Row(row) => row,
    };
    let node =
        |(name, tier, applied_us, matched)| ArrivalRecord { name, tier, applied_us, matched };
    Ok(ArrivalsRecord {
        completed_us,
        nodes: nodes.into_iter().map(node).collect(),
        lease_over: over.into_iter().map(|(name, tier)| LeaseOverRecord { name, tier }).collect(),
        sum: sum.map(|(nodes, matched)| SumRecord { nodes, matched }),
    })
}
