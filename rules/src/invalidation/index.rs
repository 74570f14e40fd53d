//! The index: what each purge raised, and what may be forgotten.

use super::kept::Kept;
use super::marks::Marks;
use super::targets::Targets;
use super::{Purge, Seq, Subject, Target, Validity};

/// How much an [`Index`] may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Targets of all kinds, patterns among them; a prefix counts once for each new segment.
    pub targets: usize,
    /// Patterns: each is tried on each stored response that is checked after a purge.
    pub patterns: usize,
}

impl Default for Bounds {
    /// 100,000 targets and 256 patterns.
    fn default() -> Self {
        Self { targets: 100_000, patterns: 256 }
    }
}

/// The last hard and soft seq for each target, bounded.
///
/// What does not fit any more is replaced by a floor: every response filled before it is invalid.
#[derive(Debug, Default)]
pub struct Index {
    bounds: Bounds,
    /// Responses filled below it are invalid, whatever they are.
    floor: Seq,
    /// Purges below it have been held against everything stored, and need not be kept.
    checked: Seq,
    marks: Targets<Marks>,
    /// Entries and patterns, counted along.
    targets: usize,
    patterns: usize,
}

impl Index {
    /// An empty index with these bounds.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Applies one purge, in O(1), or O(depth) for a prefix, amortised. Seqs may be applied again
    /// (idempotent) but never out of order.
    pub fn apply(&mut self, purge: &Purge) {
        for target in &purge.targets {
            let added = self.marks.change(target, purge, |marks| marks.raise(Marks::of(purge)));
            self.targets += added;
            if matches!(target, Target::Pattern(_)) {
                self.patterns += added;
            }
            self.keep_within_bounds();
        }
    }

    /// Judges one stored response: hard when any hard match is later than its fill, whatever soft
    /// ones came after; else soft. O(depth + tags + patterns).
    pub fn validity(&self, subject: &Subject<'_>) -> Validity {
        self.validity_since(subject, subject.filled_at)
    }

    /// The same for a response that was found valid, or soft-purged at worst, when everything up
    /// to `judged` was applied: only what came later need be looked for, and what was forgotten
    /// before is known. A soft purge up to `judged` may not be told again.
    pub fn validity_since(&self, subject: &Subject<'_>, judged: Seq) -> Validity {
        let since = judged.max(subject.filled_at);
        let mut found = self.matching(subject, since);
        if since < self.floor {
            found.raise(Marks::of_floor(self.floor));
        }
        found.validity(since)
    }

    /// The last purge that took this response or one before it, and whether it was soft; whenever
    /// the response was filled. Purges that were forgotten are not found.
    pub fn last_match(&self, subject: &Subject<'_>) -> Option<(Seq, bool)> {
        self.matching(subject, 0).last_kind()
    }

    /// Everything stored and every pending write has been held against all purges below `mark`, and
    /// marked or removed: forgets those purges. A lower mark than before is ignored.
    pub fn forget_below(&mut self, mark: Seq) {
        if mark > self.checked {
            self.checked = mark;
            self.retain(|marks| marks.last() >= mark);
        }
    }

    /// Responses filled below this seq are invalid: where purges had to be forgotten unchecked. 0
    /// when none had.
    pub fn floor(&self) -> Seq {
        self.floor
    }

    /// What was filled below this seq cannot be judged here: purges that took it may be forgotten.
    /// 0 when none is.
    pub fn reach(&self) -> Seq {
        self.floor.max(self.checked)
    }

    /// Makes everything filled below `seq` invalid, for good: where the log does not reach back far
    /// enough. A lower floor than before is ignored.
    pub fn raise_floor(&mut self, seq: Seq) {
        if seq > self.floor {
            self.floor = seq;
            self.retain(|marks| marks.last() > seq);
        }
    }

    /// Number of entries held: at most [`Bounds::targets`].
    pub fn len(&self) -> usize {
        self.targets
    }

    /// Whether no purge is held.
    pub fn is_empty(&self) -> bool {
        self.targets == 0
    }

    /// Number of patterns held: at most [`Bounds::patterns`].
    pub fn patterns_len(&self) -> usize {
        self.patterns
    }

    fn matching(&self, subject: &Subject<'_>, since: Seq) -> Marks {
        let mut found = Marks::default();
        if !self.is_empty() {
            self.marks.find(subject, since, &mut |marks| found.raise(*marks));
        }
        found
    }

    fn keep_within_bounds(&mut self) {
        if self.patterns > self.bounds.patterns {
            let cut = self.cut(self.marks.pattern_seqs());
            self.marks.retain_patterns(|marks| marks.last() > cut);
            self.recount();
        }
        // More than once where a prefix of very many segments is the one that stays.
        while self.targets > self.bounds.targets {
            let cut = self.cut(self.marks.last_seqs());
            self.retain(|marks| marks.last() > cut);
        }
    }

    /// The seq up to which purges go: about half of them, so that the work is shared by as many
    /// purges to come. Raises the floor where they were not all checked.
    fn cut(&mut self, mut seqs: Vec<Seq>) -> Seq {
        let middle = seqs.len() / 2;
        let (_, median, _) = seqs.select_nth_unstable(middle);
        let cut = *median;
        if cut >= self.checked {
            self.floor = self.floor.max(cut);
        }
        cut
    }

    fn retain(&mut self, keep: impl Fn(&Marks) -> bool + Copy) {
        self.marks.retain(keep);
        self.recount();
    }

    fn recount(&mut self) {
        self.targets = self.marks.len();
        self.patterns = self.marks.patterns_len();
    }
}
