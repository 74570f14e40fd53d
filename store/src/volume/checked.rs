//! Which long records were checked: their checksums are not computed each time that they are sent from the
//! page cache.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of a record that is remembered, at least. Two of them never begin in one piece of so many bytes.
pub(super) const LONG: u32 = 128 << 10;

/// How long a check counts, at most.
const COUNTS: Duration = Duration::from_secs(600);

/// The records that were checked, by the generation of their segment.
#[derive(Debug, Default)]
pub(super) struct Checked(Mutex<HashMap<u64, Begins>>);

/// Where those of a segment begin.
#[derive(Debug)]
struct Begins {
    since: Instant,
    /// A bit for each [`LONG`] bytes of the segment.
    bits: Vec<u64>,
}

impl Checked {
    fn segments(&self) -> MutexGuard<'_, HashMap<u64, Begins>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record was checked, in the segment with this generation, if that `is_there` still.
    pub(super) fn note(&self, generation: u64, offset: u32, is_there: impl FnOnce() -> bool) {
        let (word, bit) = place(offset);
        let mut segments = self.segments();
        if !is_there() {
            return;
        }
        let new = || Begins { since: Instant::now(), bits: Vec::new() };
        let begins = segments.entry(generation).or_insert_with(new);
        if begins.bits.len() <= word {
            begins.bits.resize(word + 1, 0);
        }
        begins.bits[word] |= bit;
    }

    /// Whether a record was checked, not too long ago.
    pub(super) fn has(&self, generation: u64, offset: u32) -> bool {
        self.has_at(generation, offset, Instant::now())
    }

    fn has_at(&self, generation: u64, offset: u32, now: Instant) -> bool {
        let (word, bit) = place(offset);
        let mut segments = self.segments();
        let Some(begins) = segments.get(&generation) else { return false };
        if now.saturating_duration_since(begins.since) >= COUNTS {
            segments.remove(&generation);
            return false;
        }
        begins.bits.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// A record must be checked again.
    pub(super) fn forget(&self, generation: u64, offset: u32) {
        let (word, bit) = place(offset);
        if let Some(begins) = self.segments().get_mut(&generation)
            && let Some(bits) = begins.bits.get_mut(word)
        {
            *bits &= !bit;
        }
    }

    /// A segment ended.
    pub(super) fn end(&self, generation: u64) {
        self.segments().remove(&generation);
    }
}

fn place(offset: u32) -> (usize, u64) {
    let piece = offset / LONG;
    (piece as usize / 64, 1 << (piece % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_of_one_record_and_counts_for_a_while() {
        let checked = Checked::default();
        let (first, second) = (3 * LONG + 16, 4 * LONG + 16);
        checked.note(7, first, || true);
        checked.note(7, 100 * LONG, || true);
        assert!(checked.has(7, first) && checked.has(7, 100 * LONG));
        assert!(!checked.has(7, second), "another record");
        assert!(!checked.has(8, first), "another segment in the same place");
        assert!(!checked.has_at(7, first, Instant::now() + COUNTS), "too long ago");
        assert!(!checked.has(7, first), "and then all of the segment is forgotten");
    }

    #[test]
    fn what_is_forgotten_or_gone_must_be_checked_again() {
        let checked = Checked::default();
        checked.note(7, 0, || true);
        checked.note(7, LONG, || true);
        checked.forget(7, 0);
        assert!(!checked.has(7, 0) && checked.has(7, LONG));
        checked.end(7);
        assert!(!checked.has(7, LONG));
        checked.note(7, 0, || false);
        assert!(!checked.has(7, 0), "its segment ended before it was noted");
    }
}
