//! An etcd cluster, spoken to by its JSON gateway (`/v3/…`, etcd 3.4 and later): what the journal and the election
//! of the writer need of it.
//!
//! weir writes below one prefix, never compacts (others share the cluster), and holds no watch, so that neither
//! compaction nor a restored cluster can leave it with a gap.

mod client;
mod election;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod fake;
mod layout;
mod login;
mod wire;

pub(crate) use client::{Etcd, Failure, Outcome};
pub(crate) use election::{Election, Over, Seen, Tenure, WriterKey};
pub(crate) use layout::Layout;
pub(crate) use wire::{Compare, KeyValue, Operation, Txn};
