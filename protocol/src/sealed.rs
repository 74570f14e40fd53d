//! What control gives edges for TLS: sealed, so that neither a node's token nor a recording of the connection
//! reveals any of it. What is sealed, and how, is not the protocol's to know.

use serde::{Deserialize, Serialize};

/// What a sealed item is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A certificate with its private key.
    Certificate,
    /// What proves to a CA that a host leads here, while an order runs.
    Challenge,
    /// The keys of session tickets.
    Tickets,
    /// The account at a CA; it never leaves control.
    Account,
    /// Certificates that are to be replaced or revoked; they never leave control.
    Rotations,
}

impl Purpose {
    /// Its name, as it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Challenge => "challenge",
            Self::Tickets => "tickets",
            Self::Account => "account",
            Self::Rotations => "rotations",
        }
    }
}

/// An item by its name, in one of its versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemName {
    /// What it is for.
    pub purpose: Purpose,
    /// The host that it is for, in lower case; empty where it is for all.
    pub host: String,
    /// A later version has a higher number.
    pub version: u64,
}

/// A sealed item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// What it is; bound to what is sealed.
    #[serde(flatten)]
    pub name: ItemName,
    /// What is sealed, base64.
    pub sealed: String,
}
