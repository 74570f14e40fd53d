//! Some of the rules of a table.

/// The most rules that a site may have.
pub const MOST_RULES: usize = 128;

/// Some of the rules of a table, by their numbers from the top. As small as a number, because every request at a site
/// with rules has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleSet(u128);

impl RuleSet {
    /// The rules that `has` picks.
    pub(super) fn of<T>(rules: &[T], has: impl Fn(&T) -> bool) -> Self {
        let mut set = Self::default();
        for (rule, n) in rules.iter().zip(0..) {
            if has(rule) {
                set.add(n);
            }
        }
        set
    }

    /// Whether it has none.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds the rule of this number.
    #[inline]
    pub(super) fn add(&mut self, n: u8) {
        self.0 |= 1u128.checked_shl(n.into()).unwrap_or(0);
    }

    /// Whether it has the rule of this number.
    #[inline]
    pub(super) fn has(self, n: u8) -> bool {
        self.0 & 1u128.checked_shl(n.into()).unwrap_or(0) != 0
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The number of the last, the one that overrides the others.
    pub(super) fn last(self) -> Option<u8> {
        u8::try_from(self.0.checked_ilog2()?).ok()
    }

    /// Its last alone.
    pub(super) fn only_last(self) -> Self {
        let mut last = Self::default();
        self.last().into_iter().for_each(|n| last.add(n));
        last
    }

    /// Its rules up to the first that is among `finals`, and that one.
    pub(super) const fn up_to_first(self, finals: Self) -> Self {
        let found = self.0 & finals.0;
        if found == 0 {
            return self;
        }
        let first = found & found.wrapping_neg();
        Self(self.0 & (first | (first - 1)))
    }

    /// Its rules that stand above the last of `others`.
    pub(super) fn before(self, others: Self) -> Self {
        match others.last() {
            Some(last) => {
                Self(self.0 & (1u128.checked_shl(last.into()).unwrap_or(0).wrapping_sub(1)))
            }
            None => Self::default(),
        }
    }

    /// The numbers of its rules, from the top.
    pub(super) fn numbers(self) -> impl Iterator<Item = u8> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let n = u8::try_from(left.trailing_zeros()).ok().filter(|_| left != 0)?;
            left &= left - 1;
            Some(n)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_RULES, RuleSet};

    fn set(numbers: &[u8]) -> RuleSet {
        let mut set = RuleSet::default();
        numbers.iter().for_each(|n| set.add(*n));
        set
    }

    #[test]
    fn a_final_rule_is_the_last_that_applies() {
        let all = set(&[0, 3, 64, 127]);
        assert_eq!(all.up_to_first(set(&[])), all);
        assert_eq!(all.up_to_first(set(&[1, 2])), all, "finals that do not match end nothing");
        assert_eq!(all.up_to_first(set(&[3, 127])), set(&[0, 3]));
        assert_eq!(all.up_to_first(set(&[127])), all);
        assert_eq!(all.up_to_first(set(&[0])), set(&[0]));
    }

    #[test]
    fn numbers_are_in_order_and_the_last_overrides() {
        let all = set(&[127, 5, 0]);
        assert_eq!(all.numbers().collect::<Vec<_>>(), [0, 5, 127]);
        assert_eq!((all.last(), set(&[]).last()), (Some(127), None));
        assert_eq!(usize::from(all.last().unwrap_or(0)), MOST_RULES - 1);
        assert_eq!(all.before(set(&[5, 6])), set(&[0, 5]));
        assert_eq!(all.before(set(&[])), set(&[]));
        assert!(all.has(5) && !all.has(6) && !all.has(200));
    }
}
