//! Who is behind, as counters: how many nodes are how far, so that the one that is furthest behind
//! is found without looking at the others.

use std::collections::BTreeMap;
use weir_rules::invalidation::Seq;

/// How many nodes are how far.
#[derive(Debug, Default)]
pub(super) struct Behind(BTreeMap<Seq, usize>);

impl Behind {
    /// One node more is as far as `seq`.
    pub(super) fn add(&mut self, seq: Seq) {
        *self.0.entry(seq).or_default() += 1;
    }

    /// One node less is as far as `seq`.
    pub(super) fn remove(&mut self, seq: Seq) {
        if let Some(count) = self.0.get_mut(&seq) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&seq);
            }
        }
    }

    /// Whether any of them is exactly as far as `seq`.
    pub(super) fn is_any_at(&self, seq: Seq) -> bool {
        self.0.contains_key(&seq)
    }

    /// How many of them are not as far as `seq`.
    pub(super) fn below(&self, seq: Seq) -> usize {
        self.0.range(..seq).map(|(_, count)| count).sum()
    }

    /// How far all of them are; [`Seq::MAX`] where there is none.
    pub(super) fn all(&self) -> Seq {
        self.0.keys().next().copied().unwrap_or(Seq::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_as_far_as_the_last_of_them() {
        let mut behind = Behind::default();
        assert_eq!(behind.all(), Seq::MAX);
        for seq in [7, 3, 3] {
            behind.add(seq);
        }
        let mut all = Vec::new();
        for seq in [3, 3, 7] {
            all.push(behind.all());
            assert!(behind.is_any_at(seq));
            assert_eq!((behind.below(seq), behind.below(seq + 1) > 0), (0, true));
            behind.remove(seq);
        }
        assert_eq!((all, behind.all()), (vec![3, 3, 7], Seq::MAX));
    }
}
