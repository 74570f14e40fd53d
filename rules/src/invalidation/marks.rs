//! The last seqs of one target.

use super::table::Kept;
use super::{Purge, Seq, Validity};

/// The last hard and the last soft seq; 0 for none. Both are kept: a later soft purge does not make
/// an earlier hard one milder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    hard: Seq,
    soft: Seq,
}

impl Marks {
    pub(super) fn of(purge: &Purge) -> Self {
        if purge.soft { Self { hard: 0, soft: purge.seq } } else { Self::hard(purge.seq) }
    }

    /// What a hard purge does, or a floor to everything below it.
    pub(super) fn hard(seq: Seq) -> Self {
        Self { hard: seq, soft: 0 }
    }

    /// Takes the later seq of each kind.
    pub(super) fn raise(&mut self, other: Self) {
        self.hard = self.hard.max(other.hard);
        self.soft = self.soft.max(other.soft);
    }

    /// The later of both, and whether it is soft.
    pub(super) fn last_kind(self) -> Option<(Seq, bool)> {
        (self.last() > 0).then(|| (self.last(), self.soft > self.hard))
    }

    pub(super) fn validity(self, filled_at: Seq) -> Validity {
        if self.hard > filled_at {
            Validity::Hard(self.hard)
        } else if self.soft > filled_at {
            Validity::Soft(self.soft)
        } else {
            Validity::Valid
        }
    }
}

impl Kept for Marks {
    fn last(&self) -> Seq {
        self.hard.max(self.soft)
    }
}
