//! Words of a fixed set: what some keys of the configuration, fields and parameters take. Each set
//! is an enum that derives [`VariantArray`] and `IntoStaticStr`, so that a word is written down
//! once; what is accepted, and which word an unknown one most likely meant, follow from that.

use super::nearest::{did_you_mean, nearest};
use strum::VariantArray;

/// A word of a fixed set.
pub trait Word: Copy + VariantArray + Into<&'static str> {
    /// All words of the set, as they are written.
    fn words() -> impl Iterator<Item = &'static str> {
        Self::VARIANTS.iter().map(|word| (*word).into())
    }

    /// The word that is written so.
    fn find(text: &str) -> Option<Self> {
        Self::VARIANTS.iter().copied().find(|word| (*word).into() == text)
    }

    /// The set, for messages: `"edge", "parent"`.
    fn accepted() -> String {
        Self::words().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
    }

    /// What is accepted instead of `text`, for messages: [`Word::accepted`] and, if `text` is near
    /// one of the words, a question: `"edge", "parent"; did you mean edge?`.
    fn instead_of(text: &str) -> String {
        hinted(Self::accepted(), text, Self::words())
    }
}

impl<T: Copy + VariantArray + Into<&'static str>> Word for T {}

/// `accepted` and, if one of `words` is near `text`, the question whether it was meant.
pub fn hinted<'a>(
    accepted: String,
    text: &str,
    words: impl IntoIterator<Item = &'a str>,
) -> String {
    match nearest(text, words) {
        Some(meant) => format!("{accepted}; {}", did_you_mean(meant)),
        None => accepted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Balance, Protocol};

    #[test]
    fn a_word_is_found_as_it_is_written() {
        for word in Balance::VARIANTS {
            assert_eq!(Balance::find((*word).into()), Some(*word));
        }
        assert_eq!(Balance::find("ip_hash"), Some(Balance::IpHash));
        assert_eq!(Balance::find("IP_HASH"), None);
        assert_eq!(Balance::find(""), None);
    }

    #[test]
    fn what_is_accepted_names_the_nearest_word() {
        assert_eq!(Protocol::accepted(), "\"h1\", \"h2\"");
        assert_eq!(Protocol::instead_of("http"), "\"h1\", \"h2\"");
        assert_eq!(Protocol::instead_of("H2"), "\"h1\", \"h2\"; did you mean h2?");
        // Both are as near.
        assert_eq!(Protocol::instead_of("h3"), "\"h1\", \"h2\"");
        assert!(Balance::instead_of("iphash").ends_with("; did you mean ip_hash?"));
        assert!(Balance::instead_of("least_conn").ends_with("; did you mean least_connections?"));
    }
}
