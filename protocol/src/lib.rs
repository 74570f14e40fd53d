//! What a node and control say to each other: one JSON object a line, each way, over a connection
//! that began as an HTTP upgrade to [`PROTOCOL`] at [`PATH`].
//!
//! The node begins with [`FromNode::Hello`], control answers [`FromControl::Welcome`], then the
//! entries after [`Welcome::after`](weir_rules::log::Welcome::after), in order and without gaps, as
//! they come to be.
//!
//! An edge may follow control through a parent, a relay: [`relay`].
//!
//! # Versions
//!
//! Nodes and control of different versions meet while they are upgraded, so each side
//!
//! - ignores a frame that it does not know, and fields that it does not know within a frame;
//! - answers a question that it cannot read with an error;
//! - ends the connection at an entry that it cannot read, which says what may be served.
//!
//! Whatever must not be left out is therefore an entry, or [`PROTOCOL`] gets another number.
//!
//! [`FromNode::Hello`]: frame::FromNode::Hello
//! [`FromControl::Welcome`]: frame::FromControl::Welcome

pub mod frame;
pub mod lines;
pub mod question;
pub mod relay;
pub mod sealed;
pub mod search;
pub mod secret;
pub mod stats;
pub mod takeover;
pub mod unread;
pub mod warm;

/// The token of the Upgrade field.
pub const PROTOCOL: &str = "weir-log/1";

/// Where control takes nodes, with GET.
pub const PATH: &str = "/v1/follow";

/// Longest line, bytes: more than the largest purge that control takes.
pub const LONGEST_LINE: usize = 8 << 20;
