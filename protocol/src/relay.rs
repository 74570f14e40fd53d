//! What an edge and a relay, its parent, say to each other: one JSON object a line, each way, over a
//! connection that began as an HTTP upgrade to [`PROTOCOL`] at [`PATH`](crate::PATH).
//!
//! 1. The edge follows control directly, and has said who it is there with its own secret.
//! 2. It connects to the relay, which says its name ([`FromRelay::Greeting`]).
//! 3. It asks control for a [`Ticket`] to that relay, and shows it
//!    ([`ToRelay::Ticket`]). The relay shows it to control, which alone decides.
//! 4. Once the edge is attached ([`FromRelay::Linked`]), both speak as if the relay were control
//!    ([`FromControl`], [`FromNode`]), without hello and welcome, and the entries after
//!    [`ToRelay::Ticket`]'s `after` follow.
//!
//! The relay passes lines on unread, in both directions, but for two: entries are those that it
//! has applied itself, and [`FromNode::Applied`] goes into its own [`FromNode::AppliedBehind`]. So a
//! heartbeat is control's, and tells what control had heard of the edge by then: it renews the
//! edge's lease as of when the edge said that, however long anything was on its way.
//!
//! [`FromControl`]: crate::frame::FromControl
//! [`FromNode`]: crate::frame::FromNode
//! [`FromNode::Applied`]: crate::frame::FromNode::Applied
//! [`FromNode::AppliedBehind`]: crate::frame::FromNode::AppliedBehind

use crate::secret::NodeSecret;
use serde::{Deserialize, Serialize};
use std::fmt;
use weir_rules::invalidation::Seq;

/// The token of the Upgrade field.
pub const PROTOCOL: &str = "weir-relay/1";

/// By which control knows an edge that it has let in, at the one relay for which it was given: 32
/// bytes as 64 hexadecimal digits in lower case. Of use once, for a short time. Shown by nothing
/// that formats it for people.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticket(NodeSecret);

impl Ticket {
    /// The ticket that consists of these bytes.
    pub fn new(bytes: &[u8; crate::secret::BYTES]) -> Self {
        Self(NodeSecret::new(bytes))
    }

    /// Its digits.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket")
    }
}

/// A line of an edge that is not attached yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "relay", rename_all = "snake_case")]
pub enum ToRelay {
    /// The edge may be attached, as control will say.
    Ticket {
        /// Control's.
        ticket: Ticket,
        /// The edge acknowledges everything up to this seq, in the log's numbers: no more than it has
        /// acknowledged to control.
        after: Seq,
    },
}

/// A line of a relay to an edge that is not attached yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "relay", rename_all = "snake_case")]
pub enum FromRelay {
    /// The first line.
    Greeting {
        /// The relay's name, as control knows it.
        name: String,
    },
    /// The edge is attached.
    Linked,
    /// It is not; the connection ends.
    Refused {
        /// Why, in words.
        reason: String,
    },
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written_and_tickets_are_shown_by_nobody() {
        let ticket = Ticket::new(&[0xa5; 32]);
        assert_eq!(format!("{ticket:?}"), "Ticket");
        assert_eq!(ticket.reveal(), "a5".repeat(32));
        let to = ToRelay::Ticket { ticket, after: 1 << 53 };
        let text = serde_json::to_string(&to).unwrap();
        assert_eq!(serde_json::from_str::<ToRelay>(&text).unwrap(), to);
        for from in [
            FromRelay::Greeting { name: "p".to_owned() },
            FromRelay::Linked,
            FromRelay::Refused { reason: "full".to_owned() },
        ] {
            let text = serde_json::to_string(&from).unwrap();
            assert!(text.starts_with("{\"relay\":"), "{text}");
            assert_eq!(serde_json::from_str::<FromRelay>(&text).unwrap(), from);
        }
        for (text, why) in [
            ("{\"relay\":\"ticket\",\"ticket\":\"a\",\"after\":1}", "64 hexadecimal digits"),
            ("{\"relay\":\"other\"}", "unknown variant"),
            ("{\"relay\":\"ticket\",\"after\":-1}", "invalid"),
        ] {
            let error = serde_json::from_str::<ToRelay>(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
