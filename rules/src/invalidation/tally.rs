//! What each of many purges took, counted in one walk over what is stored.

use super::table::Kept;
use super::targets::Targets;
use super::{KeyedPurge, Purge, Seq, Subject, Validity};
use std::ops::Range;

/// Purges in the order of their seqs, looked for together.
///
/// A stored response is counted for the first hard purge that took it, since it is gone for those
/// after, and for every soft purge before that one.
#[derive(Debug, Default)]
pub struct Tally {
    targets: Targets<Takers>,
    purges: Vec<Counted>,
    runs: Vec<Run>,
}

#[derive(Debug)]
struct Counted {
    seq: Seq,
    count: u64,
}

/// The purges that named one target, as places in [`Tally::purges`], ascending.
#[derive(Debug, Default)]
struct Takers {
    hard: Vec<u32>,
    /// Soft ones that named other targets too, any of which may find them.
    soft: Vec<u32>,
    /// Soft ones that named this target only: a place in [`Tally::runs`].
    run: Option<u32>,
    last: Seq,
}

/// Soft purges that are found by one target only. A response counts for all of them within some
/// bounds, which are all that is noted of it: else thousands of soft purges of everything would
/// cost thousands of steps for each response.
#[derive(Debug, Default)]
struct Run {
    /// Their places in [`Tally::purges`], ascending.
    places: Vec<u32>,
    /// By how much the count of each is above that of the one before.
    steps: Vec<i64>,
}

impl Run {
    /// Counts a response for those within `within`.
    fn count(&mut self, within: &Range<u32>) {
        let Range { start, end } = part(&self.places, within);
        if start == end {
            return;
        }
        self.steps.resize(self.places.len() + 1, 0);
        self.steps[start] += 1;
        self.steps[end] -= 1;
    }
}

impl Kept for Takers {
    fn last(&self) -> Seq {
        self.last
    }
}

impl Takers {
    fn add(&mut self, place: u32, purge: &Purge, runs: &mut Vec<Run>) {
        self.last = purge.seq;
        let places = match (purge.soft, purge.targets.len()) {
            (false, _) => &mut self.hard,
            (true, 1) => {
                let run = *self.run.get_or_insert(runs.len() as u32) as usize;
                runs.resize_with(runs.len().max(run + 1), Run::default);
                &mut runs[run].places
            }
            (true, _) => &mut self.soft,
        };
        // Two targets of one purge may be spellings of one.
        if places.last() != Some(&place) {
            places.push(place);
        }
    }

    fn run<'a>(&self, runs: &'a [Run]) -> &'a [u32] {
        self.run.map_or(&[], |run| &runs[run as usize].places)
    }
}

impl Tally {
    /// Looks for one purge more; its seq is higher than those of all before.
    pub fn add(&mut self, purge: &KeyedPurge) {
        let Ok(place) = u32::try_from(self.purges.len()) else { return };
        self.purges.push(Counted { seq: purge.seq, count: 0 });
        for (target, site) in purge.owned() {
            self.targets.change(target, site, purge.versions, |takers| {
                takers.add(place, purge, &mut self.runs);
            });
        }
    }

    /// How many purges it looks for.
    pub fn len(&self) -> usize {
        self.purges.len()
    }

    /// Whether it looks for none.
    pub fn is_empty(&self) -> bool {
        self.purges.is_empty()
    }

    /// The first seq; `None` without any purge.
    pub fn first(&self) -> Option<Seq> {
        self.purges.first().map(|purge| purge.seq)
    }

    /// The last seq; 0 without any purge.
    pub fn last(&self) -> Seq {
        self.purges.last().map_or(0, |purge| purge.seq)
    }

    /// What these purges did to a response: hard with the seq of the first that took it, or soft
    /// with the last.
    pub fn validity(&self, subject: &Subject<'_>) -> Validity {
        let within = self.places(subject.filled_at, Seq::MAX);
        let (mut hard, mut soft) = (None::<u32>, None::<u32>);
        self.targets.find(subject, subject.filled_at, &mut |takers| {
            let first = cut(&takers.hard, &within).first().copied();
            hard = hard.into_iter().chain(first).min();
            soft = soft.max(cut(&takers.soft, &within).last().copied());
            soft = soft.max(cut(takers.run(&self.runs), &within).last().copied());
        });
        match (hard, soft) {
            (Some(place), _) => Validity::Hard(self.seq(place)),
            (None, Some(place)) => Validity::Soft(self.seq(place)),
            (None, None) => Validity::Valid,
        }
    }

    /// Counts a response for the purges that took it, of those after its fill and after `since`,
    /// up to `until`.
    pub fn count(&mut self, subject: &Subject<'_>, since: Seq, until: Seq) {
        let mut within = self.places(since.max(subject.filled_at), until);
        let (mut hard, mut soft, mut runs) = (None::<u32>, Vec::new(), Vec::new());
        self.targets.find(subject, since, &mut |takers| {
            let first = cut(&takers.hard, &within).first().copied();
            hard = hard.into_iter().chain(first).min();
            soft.extend_from_slice(cut(&takers.soft, &within));
            runs.extend(takers.run);
        });
        if let Some(place) = hard {
            self.purges[place as usize].count += 1;
            within.end = place;
        }
        // Two tags of the response may be one in any case.
        runs.sort_unstable();
        runs.dedup();
        runs.into_iter().for_each(|run| self.runs[run as usize].count(&within));
        // Made of sorted pieces, which a stable sort merges.
        soft.sort();
        soft.dedup();
        for place in soft.into_iter().take_while(|place| *place < within.end) {
            self.purges[place as usize].count += 1;
        }
    }

    /// How many stored responses each purge took, in the order of their seqs.
    pub fn counts(&self) -> Vec<(Seq, u64)> {
        let mut counts: Vec<_> = self.purges.iter().map(|purge| (purge.seq, purge.count)).collect();
        for Run { places, steps } in &self.runs {
            let mut count = 0;
            for (place, step) in places.iter().zip(steps) {
                count += step;
                counts[*place as usize].1 += count.unsigned_abs();
            }
        }
        counts
    }

    /// The places of the purges after `since` and up to `until`.
    fn places(&self, since: Seq, until: Seq) -> Range<u32> {
        let place = |seq| self.purges.partition_point(|purge| purge.seq <= seq) as u32;
        place(since)..place(until)
    }

    fn seq(&self, place: u32) -> Seq {
        self.purges[place as usize].seq
    }
}

/// Those of ascending `places` that lie in `within`.
fn cut<'a>(places: &'a [u32], within: &Range<u32>) -> &'a [u32] {
    &places[part(places, within)]
}

/// Where those of ascending `places` are that lie in `within`.
fn part(places: &[u32], within: &Range<u32>) -> Range<usize> {
    let from = places.partition_point(|place| *place < within.start);
    let to = places.partition_point(|place| *place < within.end);
    from..to.max(from)
}
