//! Why the ledger refuses.

use crate::journal::JournalError;
use std::fmt;
use std::time::Duration;
use weir_rules::identity::MOST_PROCESSES;
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
    /// The name is a node's that has another secret.
    NotProven(String),
    /// So many processes of the node are expected already.
    TooManyProcesses(String),
    /// So many nodes are expected already, and this is none of them.
    TooMany(usize),
    /// The token has joined so many new names within a minute.
    TooFast {
        /// Its name.
        token: String,
        /// What is allowed.
        per_minute: u32,
    },
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
    /// Its node left, or was forgotten; or a process of the same node says that this one has ended.
    Forgotten,
    /// The log has a new id.
    Restored,
    /// It goes on through a relay.
    Attached,
}

impl JoinError {
    /// Whether the reason is control's, and the node stays what it was to it.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(self, Self::Restored | Self::Journal(_))
    }

    /// The reason as a word, for metrics.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::NameTaken { .. } => "name_taken",
            Self::NotProven(_) => "not_proven",
            Self::TooManyProcesses(_) => "too_many_processes",
            Self::TooMany(_) => "too_many_nodes",
            Self::TooFast { .. } => "join_rate",
            Self::Restored => "restored",
            Self::Journal(_) => "journal",
        }
    }
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
            Self::NotProven(name) => write!(
                f,
                "the name {name:?} belongs to a node with another secret; each node needs its own \
                 name (node.name), and keeps its secret in node.state. If that node is gone, \
                 \"weir nodes forget {name}\" frees the name"
            ),
            Self::TooManyProcesses(name) => write!(
                f,
                "{MOST_PROCESSES} processes of the node {name:?} are expected already; wait until \
                 an earlier one has drained"
            ),
            Self::TooMany(most) => write!(
                f,
                "{most} nodes are expected already (control.nodes); \"weir nodes forget\" removes \
                 those that are gone"
            ),
            Self::TooFast { token, per_minute } => write!(
                f,
                "more than {per_minute} new names, or entries that the log does not have, in a minute \
                 with the token {token:?} (control.join_rate)"
            ),
            Self::Journal(error) => error.fmt(f),
        }
    }
}
