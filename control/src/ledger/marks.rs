//! Marks that control alone can make (invariant I4).
//!
//! A node that has applied an entry which the log does not have shows that the log was restored from a
//! backup, and everything stored anywhere is given up for that. Its word is not enough: it must show the
//! entry's mark. A mark is a random half and a check of it, made with a key that belongs to the log's life
//! and that control tells nobody. A backup of that life holds the key too, so a restored control knows the
//! marks of entries that it has lost.

use crate::journal::Life;
use ring::hmac;
use weir_rules::invalidation::Seq;
use weir_rules::log::Mark;

/// The mark of the entry `seq` of this life, of which no two are alike but by chance: `random` makes them
/// differ.
pub(super) fn mark(life: &Life, seq: Seq, random: u32) -> Mark {
    Mark::from(random) << 32 | Mark::from(check(life, seq, random))
}

/// Whether control made this mark for an entry `seq` of this life, whether or not it has the entry. One that
/// was made up passes once in 2^32.
pub(super) fn is_made(life: &Life, seq: Seq, mark: Mark) -> bool {
    // The low half is dropped on purpose.
    mark == self::mark(life, seq, (mark >> 32) as u32)
}

fn check(life: &Life, seq: Seq, random: u32) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA256, life.mark_key.as_bytes());
    let mut text = [0; 12];
    text[..8].copy_from_slice(&seq.to_le_bytes());
    text[8..].copy_from_slice(&random.to_le_bytes());
    let tag = hmac::sign(&key, &text);
    tag.as_ref().first_chunk().map_or(0, |four| u32::from_le_bytes(*four))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use weir_rules::log::LogId;

    fn life(key: &str) -> Life {
        Life { log: LogId("log".into()), tier_key: "tier".into(), mark_key: key.into() }
    }

    #[test]
    fn a_mark_is_of_one_entry_of_one_life() {
        let own = life("key");
        let made = mark(&own, 7, 1);
        assert!(is_made(&own, 7, made));
        assert!(!is_made(&own, 8, made), "of another entry");
        assert!(!is_made(&life("other"), 7, made), "of another life");
        assert_ne!(mark(&own, 7, 1), mark(&own, 7, 2));
    }

    proptest! {
        #[test]
        fn no_other_mark_passes(seq: Seq, random: u32, bit in 0..64_u32) {
            let own = life("key");
            let made = mark(&own, seq, random);
            prop_assert!(is_made(&own, seq, made));
            prop_assert!(!is_made(&own, seq, made ^ (1 << bit)) );
        }
    }
}
