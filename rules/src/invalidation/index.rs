//! The index: what each purge raised, and what may be forgotten.

use super::kept::Kept;
use super::marks::Marks;
use super::targets::Targets;
use super::{KeyedPurge, Seq, Subject, Validity};
use std::collections::HashMap;
use std::sync::Arc;

/// How much an [`Index`] may hold of each site, and of what concerns all sites.
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
/// Bounds and floors are those of one site; what it names forgets nothing of another.
#[derive(Debug, Default)]
pub struct Index {
    bounds: Bounds,
    /// Responses filled below it are invalid, whatever they are.
    floor: Seq,
    /// The same for those of one site.
    floors: HashMap<Arc<str>, Seq>,
    /// Purges below it have been held against everything stored, and need not be kept.
    checked: Seq,
    marks: Targets<Marks>,
    /// Entries, counted along.
    targets: usize,
}

impl Index {
    /// An empty index with these bounds.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Applies one purge, in O(1), or O(depth) for a prefix, amortised. Seqs may be applied again
    /// (idempotent) but never out of order.
    pub fn apply(&mut self, purge: &KeyedPurge) {
        for (target, site) in purge.owned() {
            let raise = |marks: &mut Marks| marks.raise(Marks::of(purge));
            let added = self.marks.change(target, site, purge.versions, raise);
            self.targets += added;
            self.keep_within_bounds(site);
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
        let floor = self.floor_of(subject.site);
        if since < floor {
            found.raise(Marks::of_floor(floor));
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
            self.floors.retain(|_, floor| *floor >= mark);
            self.retain(|marks| marks.last() >= mark);
        }
    }

    /// Responses of all sites that were filled below this seq are invalid: where purges had to be
    /// forgotten unchecked. 0 when none had.
    pub fn floor(&self) -> Seq {
        self.floor
    }

    /// The same for the responses of one site.
    pub fn floor_of(&self, site: &str) -> Seq {
        match self.floors.is_empty() {
            true => self.floor,
            false => self.floors.get(site).map_or(self.floor, |own| self.floor.max(*own)),
        }
    }

    /// The highest of all floors.
    pub fn highest_floor(&self) -> Seq {
        self.floors.values().copied().fold(self.floor, Seq::max)
    }

    /// What a site has filled below this seq cannot be judged here: purges that took it may be
    /// forgotten. 0 when none is.
    pub fn reach(&self, site: &str) -> Seq {
        self.floor_of(site).max(self.checked)
    }

    /// Makes everything filled below `seq` invalid, for good: where the log does not reach back far
    /// enough. A lower floor than before is ignored.
    pub fn raise_floor(&mut self, seq: Seq) {
        if seq > self.floor {
            self.floor = seq;
            self.floors.retain(|_, floor| *floor > seq);
            self.retain(|marks| marks.last() > seq);
        }
    }

    /// Raises the floor to `seq` of those sites, and of what concerns all sites, that hold more than
    /// `most` entries.
    pub fn raise_floor_where(&mut self, most: usize, seq: Seq) {
        for site in self.marks.larger_than(most) {
            self.raise_floor_of(site.as_ref(), seq);
            self.marks.retain_of(site.as_deref(), |marks| marks.last() > seq);
        }
        self.targets = self.marks.len();
    }

    /// Number of entries held.
    pub fn len(&self) -> usize {
        self.targets
    }

    /// Whether no purge is held.
    pub fn is_empty(&self) -> bool {
        self.targets == 0
    }

    /// Number of entries held of a site, or of what concerns all sites (`None`): at most
    /// [`Bounds::targets`].
    pub fn len_of(&self, site: Option<&str>) -> usize {
        self.marks.len_of(site)
    }

    /// Number of patterns held of a site, or of all sites: at most [`Bounds::patterns`].
    pub fn patterns_of(&self, site: Option<&str>) -> usize {
        self.marks.patterns_of(site)
    }

    fn matching(&self, subject: &Subject<'_>, since: Seq) -> Marks {
        let mut found = Marks::default();
        if !self.is_empty() {
            self.marks.find(subject, since, &mut |marks| found.raise(*marks));
        }
        found
    }

    fn keep_within_bounds(&mut self, site: Option<&Arc<str>>) {
        let name = site.map(|site| &**site);
        let crowded = self.marks.patterns_of(name) > self.bounds.patterns;
        if crowded {
            let cut = self.cut(site, self.marks.pattern_seqs_of(name));
            self.marks.retain_patterns_of(name, |marks| marks.last() > cut);
        }
        let full = self.marks.len_of(name) > self.bounds.targets;
        // More than once where a prefix of very many segments is the one that stays.
        while self.marks.len_of(name) > self.bounds.targets {
            let cut = self.cut(site, self.marks.last_seqs_of(name));
            self.marks.retain_of(name, |marks| marks.last() > cut);
        }
        if crowded || full {
            self.targets = self.marks.len();
        }
    }

    /// The seq up to which purges go: about half of them, so that the work is shared by as many
    /// purges to come. Raises the floor where they were not all checked.
    fn cut(&mut self, site: Option<&Arc<str>>, mut seqs: Vec<Seq>) -> Seq {
        let middle = seqs.len() / 2;
        let (_, median, _) = seqs.select_nth_unstable(middle);
        let cut = *median;
        if cut >= self.checked {
            self.raise_floor_of(site, cut);
        }
        cut
    }

    fn raise_floor_of(&mut self, site: Option<&Arc<str>>, seq: Seq) {
        match site {
            None => self.floor = self.floor.max(seq),
            Some(site) if seq > self.floor => {
                let floor = self.floors.entry(Arc::clone(site)).or_default();
                *floor = seq.max(*floor);
            }
            Some(_) => {}
        }
    }

    fn retain(&mut self, keep: impl Fn(&Marks) -> bool + Copy) {
        self.marks.retain(keep);
        self.targets = self.marks.len();
    }
}
