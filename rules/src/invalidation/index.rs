//! The index: what each purge raised, and what may be forgotten.

use super::floors::{Floors, RaisedFloor};
use super::kind::IndexKind;
use super::marks::Marks;
use super::table::Kept;
use super::targets::Targets;
use super::{KeyedPurge, Seq, Subject, Target, Validity};
use std::collections::HashMap;
use std::sync::Arc;
use strum::VariantArray;

/// How much an [`Index`] may hold of each site, and of what concerns all sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Targets of all kinds, patterns among them. Each takes at most 50 bytes; a URL or a host
    /// takes 75, and a pattern also its text.
    pub targets: usize,
    /// Patterns: each is tried on each stored response that is checked after a purge.
    pub patterns: usize,
}

impl Default for Bounds {
    /// A million targets and 1,000 patterns.
    fn default() -> Self {
        Self { targets: 1_000_000, patterns: 1000 }
    }
}

/// The last hard and soft seq for each target, bounded.
///
/// What does not fit any more is replaced by a floor: every response filled before it is invalid.
/// Bounds and floors are those of one site; what it names forgets nothing of another. Floors are those
/// of one kind, too: what no target of that kind could take stays.
#[derive(Debug, Default)]
pub struct Index {
    bounds: Bounds,
    /// Responses filled below it are invalid, whatever they are.
    floor: Seq,
    /// Floors over all sites.
    everywhere: Floors,
    /// Those over one site.
    floors: HashMap<Arc<str>, Floors>,
    /// Purges below it have been held against everything stored, and need not be kept.
    checked: Seq,
    marks: Targets<Marks>,
}

impl Index {
    /// An empty index with these bounds.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Applies one purge, in O(1) for each target, amortised. Seqs may be applied again (idempotent)
    /// but never out of order. Returns the floors that rose, for lack of room.
    pub fn apply(&mut self, purge: &KeyedPurge) -> Vec<RaisedFloor> {
        let mut raised = Vec::new();
        for (target, site) in purge.owned() {
            self.marks.change(target, site, purge.versions, |marks: &mut Marks| {
                marks.raise(Marks::of(purge));
            });
            self.keep_within_bounds(site, &mut raised);
        }
        raised
    }

    /// Whether something would have to be forgotten for a purge that fits into an empty index.
    pub fn lacks_room(&self, purge: &KeyedPurge) -> bool {
        let patterns = purge.targets.iter().filter(|target| matches!(target, Target::Pattern(_)));
        let (targets, patterns) = (purge.targets.len(), patterns.count());
        let fits = |held: usize, held_patterns: usize| {
            held + targets <= self.bounds.targets
                && held_patterns + patterns <= self.bounds.patterns
        };
        fits(0, 0) && !purge.sites().all(|site| fits(self.len_of(site), self.patterns_of(site)))
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
        let floor = self.floor_over(subject);
        if since < floor {
            found.raise(Marks::hard(floor));
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
            self.everywhere.forget_below(mark);
            self.floors.retain(|_, floors| floors.forget_below(mark));
            self.marks.retain(|marks| marks.last() >= mark);
        }
    }

    /// Responses of all sites that were filled below this seq are invalid, or some of them: where
    /// purges had to be forgotten unchecked. 0 when none had.
    pub fn floor(&self) -> Seq {
        self.floor.max(self.everywhere.highest())
    }

    /// The same for the responses of one site.
    pub fn floor_of(&self, site: &str) -> Seq {
        self.floors.get(site).map_or(0, Floors::highest).max(self.floor())
    }

    /// A response that was filled below this seq is invalid.
    pub fn floor_over(&self, subject: &Subject<'_>) -> Seq {
        let of_all = self.floor.max(self.everywhere.over(subject));
        match self.floors.is_empty() {
            true => of_all,
            false => self.floors.get(subject.site).map_or(0, |own| own.over(subject)).max(of_all),
        }
    }

    /// The highest of all floors.
    pub fn highest_floor(&self) -> Seq {
        self.floors.values().map(Floors::highest).fold(self.floor(), Seq::max)
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
            self.everywhere.forget_below(seq);
            self.floors.retain(|_, floors| floors.forget_below(seq));
            self.marks.retain(|marks| marks.last() > seq);
        }
    }

    /// Makes room where a bound is nearly reached ([`Index::is_crowded`]): raises floors to `seq`, of
    /// one kind after another, until there is.
    pub fn raise_floor_where_crowded(&mut self, seq: Seq) {
        let crowded: Vec<_> = self.crowded().map(|site| site.cloned()).collect();
        for site in crowded {
            let name = site.as_deref();
            let mut kinds = IndexKind::VARIANTS.to_vec();
            kinds.sort_by_key(|kind| std::cmp::Reverse(self.len_of_kind(name, *kind)));
            // Patterns first where they are what is crowded.
            kinds
                .sort_by_key(|kind| !(*kind == IndexKind::Pattern && self.has_many_patterns(name)));
            for kind in kinds {
                if !self.has_many(name) || self.len_of_kind(name, kind) == 0 {
                    break;
                }
                self.raise_floor_of(site.as_ref(), kind, seq);
                self.marks.retain_of(name, kind, |marks| marks.last() > seq);
            }
        }
    }

    /// Whether a site, or what concerns all sites, has used up half of a bound.
    pub fn is_crowded(&self) -> bool {
        self.crowded().next().is_some()
    }

    /// The same of the sites that a purge concerns.
    pub fn is_crowded_by(&self, purge: &KeyedPurge) -> bool {
        purge.sites().any(|site| self.has_many(site))
    }

    /// How near a bound is: the part of it that is used up, of the site that has used up most.
    pub fn fullness(&self) -> f64 {
        let part = |held: usize, bound: usize| held as f64 / bound.max(1) as f64;
        let fullest = self.marks.scopes().map(|(_, scope)| {
            let patterns = part(scope.len_of(IndexKind::Pattern), self.bounds.patterns);
            patterns.max(part(scope.len(), self.bounds.targets))
        });
        fullest.fold(0.0, f64::max)
    }

    /// Number of targets held.
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// Whether no purge is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of targets held of a site, or of what concerns all sites (`None`): at most
    /// [`Bounds::targets`].
    pub fn len_of(&self, site: Option<&str>) -> usize {
        self.marks.scope(site).map_or(0, |scope| scope.len())
    }

    /// Number of patterns held of a site, or of all sites: at most [`Bounds::patterns`].
    pub fn patterns_of(&self, site: Option<&str>) -> usize {
        self.len_of_kind(site, IndexKind::Pattern)
    }

    fn len_of_kind(&self, site: Option<&str>, kind: IndexKind) -> usize {
        self.marks.scope(site).map_or(0, |scope| scope.len_of(kind))
    }

    fn crowded(&self) -> impl Iterator<Item = Option<&Arc<str>>> {
        let sites = self.marks.scopes().map(|(site, _)| site);
        sites.filter(|site| self.has_many(site.map(|site| &**site)))
    }

    fn has_many(&self, site: Option<&str>) -> bool {
        self.len_of(site) > self.bounds.targets / 2 || self.has_many_patterns(site)
    }

    fn has_many_patterns(&self, site: Option<&str>) -> bool {
        self.patterns_of(site) > self.bounds.patterns / 2
    }

    fn matching(&self, subject: &Subject<'_>, since: Seq) -> Marks {
        let mut found = Marks::default();
        self.marks.find(subject, since, &mut |marks| found.raise(*marks));
        found
    }

    fn keep_within_bounds(&mut self, site: Option<&Arc<str>>, raised: &mut Vec<RaisedFloor>) {
        let name = site.map(|site| &**site);
        if self.patterns_of(name) > self.bounds.patterns {
            raised.extend(self.cut(site, IndexKind::Pattern));
        }
        while self.len_of(name) > self.bounds.targets {
            let most = |kind: &&IndexKind| self.len_of_kind(name, **kind);
            match IndexKind::VARIANTS.iter().max_by_key(most) {
                Some(kind) if self.len_of_kind(name, *kind) > 0 => {
                    raised.extend(self.cut(site, *kind));
                }
                // All that is left is a purge of everything.
                _ => return,
            }
        }
    }

    /// Forgets about half the targets of a kind, those purged first, so that the work is shared by as
    /// many purges to come. Returns the floor, if it rose: where they were not all checked.
    fn cut(&mut self, site: Option<&Arc<str>>, kind: IndexKind) -> Option<RaisedFloor> {
        let name = site.map(|site| &**site);
        let mut seqs = self.marks.last_seqs_of(name, kind);
        let middle = seqs.len() / 2;
        let (_, median, _) = seqs.select_nth_unstable(middle);
        let seq = *median;
        self.marks.retain_of(name, kind, |marks| marks.last() > seq);
        (seq >= self.checked).then(|| {
            self.raise_floor_of(site, kind, seq);
            RaisedFloor { site: site.cloned(), kind, seq }
        })
    }

    fn raise_floor_of(&mut self, site: Option<&Arc<str>>, kind: IndexKind, seq: Seq) {
        match site {
            None => self.everywhere.raise(kind, seq),
            Some(site) if seq > self.floor => {
                self.floors.entry(Arc::clone(site)).or_default().raise(kind, seq);
            }
            Some(_) => {}
        }
    }
}
