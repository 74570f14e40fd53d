//! Numbers that look like chance, the same in every run.

/// A sequence of them (xorshift64*).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The sequence of this number.
    pub(crate) fn of(number: u64) -> Self {
        Self(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sides_come_up_and_two_sequences_differ() {
        let thrown = |number| {
            let mut dice = Dice::of(number);
            (0..600).map(|_| dice.below(6)).collect::<Vec<_>>()
        };
        for side in 0..6 {
            assert!(thrown(1).iter().filter(|thrown| **thrown == side).count() > 50);
        }
        assert_ne!(thrown(1), thrown(2));
        assert_eq!(thrown(1), thrown(1));
    }
}
