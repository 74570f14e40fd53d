//! What is kept for targets of one kind, by their digests: 32 bytes each for the index, of which a
//! fifth to a third lie idle beside them.
//!
//! Each has a place by its digest, and lies there or, where others are before it, right after them;
//! all lie in the order of their digests. So a search ends at the first one that is greater, and to
//! make a table larger or smaller is to copy it in order. A large table has parts, which grow one by
//! one: a purge never waits for all of it to be copied.

use super::Seq;
use super::digest::Digest;

/// What is kept for a target: nothing at first, then something of each purge that names it.
pub(super) trait Kept: Default {
    /// The last seq in it; 0 while there is none.
    fn last(&self) -> Seq;
}

/// Parts of a large table.
const PARTS: usize = 64;

/// Targets beyond which a table is large.
const LARGE: usize = 4096;

/// See the module.
#[derive(Debug)]
pub(super) struct Table<V> {
    /// None, one or [`PARTS`].
    parts: Vec<Part<V>>,
    len: usize,
    /// No seq in it is later.
    last: Seq,
}

#[derive(Debug)]
struct Part<V> {
    /// What keeps nothing is free.
    slots: Vec<Slot<V>>,
    /// So many of the slots are places; those after them take what does not fit.
    places: usize,
    len: usize,
}

#[derive(Debug, Default)]
struct Slot<V> {
    digest: Digest,
    kept: V,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { parts: Vec::new(), len: 0, last: 0 }
    }
}

impl<V> Default for Part<V> {
    fn default() -> Self {
        Self { slots: Vec::new(), places: 0, len: 0 }
    }
}

impl<V: Kept> Table<V> {
    /// Changes what is kept for a target; returns how many targets that added (0 or 1).
    pub(super) fn change(&mut self, digest: Digest, change: impl FnOnce(&mut V)) -> usize {
        if self.parts.is_empty() {
            self.parts.push(Part::default());
        }
        if self.parts.len() == 1 && self.len == LARGE {
            self.divide();
        }
        let count = self.parts.len();
        let (added, last) = self.parts[digest.part(count)].change(digest, change);
        self.last = self.last.max(last);
        self.len += added;
        added
    }

    /// Tells `found` what is kept for a target.
    pub(super) fn find(&self, digest: Digest, found: &mut impl FnMut(&V)) {
        let count = self.parts.len();
        if count > 0
            && let Some(kept) = self.parts[digest.part(count)].get(digest)
        {
            found(kept);
        }
    }

    /// Whether there may be a seq above `since` in it.
    pub(super) fn is_newer(&self, since: Seq) -> bool {
        self.last > since
    }

    /// Number of targets.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All that is kept.
    pub(super) fn kept(&self) -> impl Iterator<Item = &V> {
        let slots = self.parts.iter().flat_map(|part| &part.slots);
        slots.filter(|slot| !slot.is_free()).map(|slot| &slot.kept)
    }

    /// Forgets what is not to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(&V) -> bool) {
        for part in &mut self.parts {
            part.retain(&keep);
        }
        self.len = self.parts.iter().map(|part| part.len).sum();
        if self.len == 0 {
            *self = Self::default();
        }
    }

    fn divide(&mut self) {
        let mut parts: Vec<Part<V>> = Vec::new();
        parts.resize_with(PARTS, Part::default);
        for Slot { digest, kept } in self.parts.drain(..).flat_map(|part| part.slots) {
            if kept.last() > 0 {
                parts[digest.part(PARTS)].change(digest, |new| *new = kept);
            }
        }
        self.parts = parts;
    }
}

impl<V: Kept> Slot<V> {
    fn is_free(&self) -> bool {
        self.kept.last() == 0
    }
}

impl<V: Kept> Part<V> {
    fn get(&self, digest: Digest) -> Option<&V> {
        match self.search(digest) {
            (at, true) => Some(&self.slots[at].kept),
            (_, false) => None,
        }
    }

    /// Where a digest is, or is to be, and whether it is there.
    fn search(&self, digest: Digest) -> (usize, bool) {
        let begin = digest.place(self.places);
        let before = |slot: &&Slot<V>| !slot.is_free() && slot.digest < digest;
        let at = begin + self.slots[begin..].iter().take_while(before).count();
        let is_there =
            self.slots.get(at).is_some_and(|slot| !slot.is_free() && slot.digest == digest);
        (at, is_there)
    }

    fn change(&mut self, digest: Digest, change: impl FnOnce(&mut V)) -> (usize, Seq) {
        let (at, is_there) = self.search(digest);
        if is_there {
            let kept = &mut self.slots[at].kept;
            change(kept);
            return (0, kept.last());
        }
        let mut kept = V::default();
        change(&mut kept);
        let last = kept.last();
        // What keeps nothing would be a free slot.
        if last > 0 {
            self.add(Slot { digest, kept });
        }
        (usize::from(last > 0), last)
    }

    fn add(&mut self, new: Slot<V>) {
        if (self.len + 1) * 5 > self.places * 4 {
            self.rebuild(|_| true);
        }
        let (at, _) = self.search(new.digest);
        let free = match self.slots[at..].iter().position(Slot::is_free) {
            Some(after) => at + after,
            None => {
                self.slots.reserve_exact(1);
                self.slots.push(Slot::default());
                self.slots.len() - 1
            }
        };
        self.slots[at..=free].rotate_right(1);
        self.slots[at] = new;
        self.len += 1;
    }

    fn retain(&mut self, keep: impl Fn(&V) -> bool) {
        if self.slots.iter().any(|slot| !slot.is_free() && !keep(&slot.kept)) {
            self.rebuild(keep);
        }
    }

    /// Puts what is to be kept in half as many places again.
    fn rebuild(&mut self, keep: impl Fn(&V) -> bool) {
        let is_kept = |slot: &Slot<V>| !slot.is_free() && keep(&slot.kept);
        self.len = self.slots.iter().filter(|slot| is_kept(slot)).count();
        self.places = (self.len + 1).div_ceil(2) * 3;
        let mut slots: Vec<Slot<V>> = Vec::with_capacity(self.places + self.places / 64 + 8);
        for slot in std::mem::take(&mut self.slots) {
            if is_kept(&slot) {
                let place = slot.digest.place(self.places).max(slots.len());
                slots.resize_with(place, Slot::default);
                slots.push(slot);
            }
        }
        slots.resize_with(self.places.max(slots.len()), Slot::default);
        self.slots = slots;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidation::marks::Marks;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// As whoever could choose digests would have them: many share a place.
    fn digest(number: u16) -> Digest {
        let number = u64::from(number);
        let text = match number % 3 {
            0 => number / 256,
            _ => number,
        };
        Digest::of(&text.to_string())
    }

    proptest! {
        #[test]
        fn a_table_is_a_map(
            steps in proptest::collection::vec((0..9_u8, any::<u16>()), 0..600),
        ) {
            let (mut table, mut map) = (Table::<Marks>::default(), BTreeMap::new());
            for (seq, (step, number)) in (1..).zip(steps) {
                if step == 0 {
                    let cut = Seq::from(number) % seq;
                    table.retain(|kept| kept.last() > cut);
                    map.retain(|_, last| *last > cut);
                } else {
                    let added = table.change(digest(number), |kept| kept.raise(Marks::hard(seq)));
                    let before = map.insert(digest(number), seq);
                    prop_assert_eq!(added, usize::from(before.is_none()));
                }
                prop_assert_eq!(table.len(), map.len());
            }
            for number in 0..2000 {
                let mut found = None;
                table.find(digest(number), &mut |kept: &Marks| found = Some(kept.last()));
                prop_assert_eq!(found, map.get(&digest(number)).copied());
            }
            let mut kept: Vec<_> = table.kept().map(Kept::last).collect();
            kept.sort_unstable();
            let mut all: Vec<_> = map.into_values().collect();
            all.sort_unstable();
            prop_assert_eq!(kept, all);
        }
    }

    const MANY: u64 = 100_000;

    #[test]
    fn a_target_takes_less_than_50_bytes() {
        let mut table = Table::<Marks>::default();
        for number in 1..=MANY {
            table.change(Digest::of(&number.to_string()), |kept| kept.raise(Marks::hard(number)));
            if number.is_multiple_of(MANY / 10) {
                let slots: usize = table.parts.iter().map(|part| part.slots.capacity()).sum();
                let each = slots * size_of::<Slot<Marks>>() / table.len();
                assert!((32..50).contains(&each), "{each} bytes at {number}");
            }
        }
        let mut found = 0;
        for number in 1..=MANY {
            table.find(Digest::of(&number.to_string()), &mut |kept| {
                found += u64::from(kept.last() == number);
            });
        }
        assert_eq!(found, MANY);
        table.retain(|kept| kept.last() > MANY - 10);
        assert_eq!(table.len(), 10);
        let slots: usize = table.parts.iter().map(|part| part.slots.capacity()).sum();
        assert!(slots < 1000, "{slots}");
    }
}
