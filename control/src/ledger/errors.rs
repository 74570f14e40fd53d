//! Why the ledger refuses.

use crate::journal::JournalError;
use std::fmt;
use std::time::Duration;
use weir_rules::invalidation::Seq;

/// Why an order is not appended. Nothing of it stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its reference belongs to another purge, which has this id.
    ReferenceReused(String),
    /// Too many orders wait to become durable.
    Full,
    /// The journal fails.
    Journal(JournalError),
}

/// Why a node is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JoinError {
    /// Another process of this name is connected, and was heard so long ago.
    NameTaken {
        /// The name.
        name: String,
        /// Since the other was heard.
        heard: Duration,
    },
    /// The node has applied what the log does not hold: the log was restored from a backup. It has
    /// a new id now, all sessions were ended, and the node is to come again.
    Restored,
    /// So many nodes are expected already, and this is none of them.
    TooMany(usize),
    /// The journal fails.
    Journal(JournalError),
}

/// Entries that were asked for are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forgotten {
    /// The last that is gone.
    pub(crate) up_to: Seq,
}

/// Why a session is over before its connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its node came again over another connection.
    Replaced,
    /// Its node left, or was forgotten.
    Forgotten,
    /// The log has a new id.
    Restored,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameTaken { name, heard } => write!(
                f,
                "another node named {name:?} is connected (last heard {} ms ago); each node \
                 needs its own name (node.name)",
                heard.as_millis()
            ),
            Self::Restored => {
                f.write_str("the log was restored from a backup and gets a new id; connect again")
            }
            Self::TooMany(most) => write!(
                f,
                "{most} nodes are expected already, which is the maximum; remove one with DELETE \
                 /v1/nodes/{{name}}"
            ),
            Self::Journal(error) => error.fmt(f),
        }
    }
}
