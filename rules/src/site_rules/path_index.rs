//! The paths of all rules of a site, filed so that a request is compared with few of them, however many there are.
//!
//! What a pattern demands of the beginning and of the end of a path is a literal, of which a [`Word`] of 16 bytes is
//! looked at. The pattern is filed under the longer of the two. A path finds the literals that it begins with by one
//! binary search: the literal that sorts last before it, and those that this one begins with in turn. The same
//! is done for its end. What is found there is compared with the other end, and then as a whole.

use super::path::{PathPattern, Readings};
use super::rule_set::RuleSet;
use std::ops::Range;

/// The patterns of the rules of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PathIndex {
    by_head: Shelf,
    by_tail: Shelf,
}

impl PathIndex {
    /// That of these patterns, each with the number of its rule.
    pub(super) fn of(patterns: impl Iterator<Item = (PathPattern, u8)>) -> Self {
        let filed = patterns.map(|(pattern, rule)| Filed { ends: pattern.ends(), pattern, rule });
        let (by_head, by_tail) = filed.partition(|filed: &Filed| filed.ends.head_says_more());
        Self {
            by_head: Shelf::of(by_head, |ends| ends.head),
            by_tail: Shelf::of(by_tail, |ends| ends.tail),
        }
    }

    /// The rules of the patterns that take every reading of this path.
    pub(super) fn rules(&self, path: &Readings<'_>) -> RuleSet {
        let mut rules = RuleSet::default();
        for Filed { pattern, rule, .. } in self.candidates(path) {
            if !rules.has(*rule) && pattern.takes_all(path) {
                rules.add(*rule);
            }
        }
        rules
    }

    /// The patterns that both ends of this path fit. Those that take it are among them.
    fn candidates(&self, path: &Readings<'_>) -> impl Iterator<Item = &Filed> {
        let path = path.as_sent().as_bytes();
        let (head, tail) = (word_of_head(path), word_of_tail(path));
        let by_head = self.by_head.at(head).filter(move |filed| filed.ends.tail.begins(tail));
        let by_tail = self.by_tail.at(tail).filter(move |filed| filed.ends.head.begins(head));
        by_head.chain(by_tail)
    }
}

/// A pattern in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Filed {
    ends: Ends,
    pattern: PathPattern,
    rule: u8,
}

/// Patterns by the literals at one of their ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shelf {
    /// The literals, in their order. Apart from the rest, as they are searched.
    words: Vec<Word>,
    places: Vec<Place>,
    filed: Vec<Filed>,
}

/// Where the patterns of a literal are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    literal: Literal,
    filed: Range<usize>,
    /// The place of the longest literal that this one begins with.
    shorter: Option<usize>,
}

impl Shelf {
    fn of(mut filed: Vec<Filed>, literal: impl Fn(&Ends) -> Literal) -> Self {
        // The shorter of two that begin alike comes first.
        filed.sort_by_key(|filed| (literal(&filed.ends).bytes, literal(&filed.ends).mask));
        let mut places: Vec<Place> = Vec::new();
        for (n, Filed { ends, .. }) in filed.iter().enumerate() {
            let literal = literal(ends);
            match places.last_mut() {
                Some(last) if last.literal == literal => last.filed.end = n + 1,
                _ => {
                    let mut shorter = places.len().checked_sub(1);
                    while let Some(place) = shorter.map(|at| &places[at])
                        && !literal.begins_with(place.literal)
                    {
                        shorter = place.shorter;
                    }
                    places.push(Place { literal, filed: n..n + 1, shorter });
                }
            }
        }
        Self { words: places.iter().map(|place| place.literal.bytes).collect(), places, filed }
    }

    /// What is filed under the literals that this word begins with.
    fn at(&self, word: Word) -> impl Iterator<Item = &Filed> {
        let mut next = self.words.partition_point(|literal| *literal <= word).checked_sub(1);
        let places = std::iter::from_fn(move || {
            let place = self.places.get(next?)?;
            next = place.shorter;
            Some(place)
        });
        let places = places.filter(move |place| place.literal.begins(word));
        places.flat_map(|place| &self.filed[place.filed.clone()])
    }
}

/// The bytes at one end of a text, the outermost highest, so that words sort as texts do; zeros for those that are
/// missing.
type Word = u128;

/// Bytes of a word.
const WORD: usize = size_of::<Word>();

/// The bytes that a word must have where the mask has ones. Elsewhere it has zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Literal {
    bytes: Word,
    mask: Word,
}

impl Literal {
    /// That of a word of which this many bytes count.
    fn new(word: Word, length: usize) -> Self {
        let ones = [0xff; WORD];
        Self { bytes: word, mask: word_of_head(&ones[..length.min(WORD)]) }
    }

    /// Whether this word begins with it.
    #[inline]
    const fn begins(self, word: Word) -> bool {
        word & self.mask == self.bytes
    }

    const fn begins_with(self, shorter: Self) -> bool {
        shorter.begins(self.bytes) && self.mask & shorter.mask == shorter.mask
    }
}

/// What a pattern demands of the beginning and of the end of a path, as far as a word goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    head: Literal,
    tail: Literal,
}

impl Ends {
    /// Those of a pattern with these literals before its first star and after its last.
    pub(super) fn of(head: &str, tail: &str) -> Self {
        Self {
            head: Literal::new(word_of_head(head.as_bytes()), head.len()),
            tail: Literal::new(word_of_tail(tail.as_bytes()), tail.len()),
        }
    }

    /// Those of a pattern without a star: nothing comes before or after.
    pub(super) fn of_whole(path: &str) -> Self {
        let path = path.as_bytes();
        Self {
            head: Literal::new(word_of_head(path), WORD),
            tail: Literal::new(word_of_tail(path), WORD),
        }
    }

    /// Whether a pattern is filed under its head. One of a single byte is the slash with which every path begins.
    const fn head_says_more(&self) -> bool {
        self.tail.mask == 0 || self.head.mask.count_ones() > 8 && self.head.mask >= self.tail.mask
    }
}

/// The first bytes as a word, the first of them highest.
#[inline]
fn word_of_head(bytes: &[u8]) -> Word {
    match (bytes.first_chunk(), bytes.first_chunk(), bytes.last_chunk()) {
        (Some(word), ..) => Word::from_be_bytes(*word),
        (None, Some(first), Some(last)) => {
            joined(u64::from_be_bytes(*first), u64::from_be_bytes(*last), bytes.len())
        }
        _ => short(bytes.iter()),
    }
}

/// The last bytes as a word, the last of them highest.
#[inline]
fn word_of_tail(bytes: &[u8]) -> Word {
    match (bytes.last_chunk(), bytes.last_chunk(), bytes.first_chunk()) {
        (Some(word), ..) => Word::from_le_bytes(*word),
        (None, Some(last), Some(first)) => {
            joined(u64::from_le_bytes(*last), u64::from_le_bytes(*first), bytes.len())
        }
        _ => short(bytes.iter().rev()),
    }
}

/// The word of a text that is shorter than a word, of both its halves, which have some bytes in common.
#[inline]
const fn joined(outer: u64, inner: u64, length: usize) -> Word {
    let common = u64::BITS as usize - 8 * (length - WORD / 2);
    let inner = ((inner as Word) << common) as u64;
    (outer as Word) << u64::BITS | inner as Word
}

/// The word of a text that is shorter than half a word.
#[inline]
fn short<'a>(bytes: impl Iterator<Item = &'a u8>) -> Word {
    let place = |n: usize| 8 * (WORD - 1 - n);
    bytes.take(WORD).enumerate().fold(0, |word, (n, byte)| word | Word::from(*byte) << place(n))
}

#[cfg(test)]
mod tests;
