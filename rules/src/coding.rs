//! Content codings (RFC 9110 §8.4.1) that a node gives to what it has stored: which one a client gets, what
//! may be coded at all, and how the fields and validators of each form tell the forms apart.
//!
//! The *original* is the response as the upstream sent it; it is what is stored, validated and exchanged with
//! other nodes. Its *coded forms* are made of it and never leave the first node for a client.
//!
//! INVARIANT: every form has an entity tag of its own ([`marks`]), so that bytes of two forms never meet in
//! one representation; and no upstream ever gets a tag that it did not make.

mod accepted;
mod form;
pub mod marks;
mod permitted;

pub use accepted::AcceptedCodings;
pub use form::{coded_fields, decoded_fields, vary_by_coding};
pub use permitted::{Candidate, DEFAULT_TYPES, Uncoded, WhichTypes};

use std::str::FromStr;

/// A content coding that weir makes and reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Coding {
    /// `gzip` (RFC 1952).
    Gzip,
    /// `br` (RFC 7932).
    Br,
    /// `zstd` (RFC 8878).
    Zstd,
}

impl Coding {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Gzip, Self::Br, Self::Zstd];

    /// Its name in Content-Encoding and Accept-Encoding.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Br => "br",
            Self::Zstd => "zstd",
        }
    }

    /// Its place in [`Coding::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Self::Gzip => 0,
            Self::Br => 1,
            Self::Zstd => 2,
        }
    }

    /// The levels that there are, from fastest to smallest. Those of zstd end where a window of more than
    /// 8 MiB begins, which clients need not take (RFC 9659).
    pub const fn levels(self) -> std::ops::RangeInclusive<u32> {
        match self {
            Self::Gzip => 1..=9,
            Self::Br => 0..=11,
            Self::Zstd => 1..=19,
        }
    }

    /// Reads a coding as Content-Encoding and Accept-Encoding name it; `x-gzip` is gzip (RFC 9110 §8.4.1.3).
    pub fn read(name: &[u8]) -> Option<Self> {
        let name = name.trim_ascii();
        let is = |coding: &Self| name.eq_ignore_ascii_case(coding.name().as_bytes());
        let known = Self::ALL.into_iter().find(is);
        known.or_else(|| name.eq_ignore_ascii_case(b"x-gzip").then_some(Self::Gzip))
    }
}

/// What a node did to the coding of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// It gave it this coding.
    Coded(Coding),
    /// It took the origin's off.
    Decoded,
}

impl Given {
    /// The coding that the response has now.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Coded(coding) => coding.name(),
            Self::Decoded => marks::DECODED,
        }
    }
}

impl FromStr for Coding {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|coding| coding.name() == name).ok_or(())
    }
}

/// What a site compresses, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodingRules {
    /// Media types that are compressed.
    pub types: WhichTypes,
    /// Bytes below which a body is sent as it is.
    pub min: u64,
    /// Bytes above which a body is sent as it is.
    pub max: u64,
    /// The codings, the one that is preferred first; at least one, none twice.
    pub order: Vec<Coding>,
    /// The level of each coding, by [`Coding::index`].
    pub levels: [u32; 3],
}

impl CodingRules {
    /// The level of a coding.
    pub fn level(&self, coding: Coding) -> u32 {
        self.levels[coding.index()]
    }
}

#[cfg(test)]
mod tests;
