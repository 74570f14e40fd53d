//! Relays: parents that pass the log on to edges, and acknowledge for them. What each side of a
//! relay remembers, and what it may conclude from that.
//!
//! An edge's attachment to a relay is a *link*. The relay numbers its links and uses no number
//! twice; control knows them by the session that it gave the edge when it let it be attached, which
//! ends as soon as the edge speaks to control in another way. The relay says who its links are, and
//! what they have applied, in one order. So an acknowledgement for all links can be about no link
//! that came after it was said, and about none that ended before it was heard.

use crate::invalidation::Seq;
use serde::{Deserialize, Serialize};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A relay's number for an edge that is attached to it.
pub type Link = u64;

/// The last entries that a relay has applied itself, as they are passed on, within a bound of bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Passing<T> {
    entries: VecDeque<(T, usize)>,
    bytes: usize,
    most: usize,
    /// The last seq that the relay has applied.
    at: Seq,
}

/// Why a relay cannot go on for an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpassed {
    /// The edge has applied what the relay has not: it waits, or goes elsewhere.
    Ahead,
    /// The edge needs what the relay no longer keeps: it goes elsewhere.
    Behind,
}

impl<T> Passing<T> {
    /// Keeps entries of at most so many bytes together, and at least the last one.
    pub fn new(most: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, most, at: 0 }
    }

    /// The relay begins to follow the log after `at`: what was kept may be of another one.
    pub fn begin(&mut self, at: Seq) {
        self.entries.clear();
        self.bytes = 0;
        self.at = at;
    }

    /// The relay has applied the next entry, which takes so many bytes. One that it had applied
    /// before is nothing new, and after a gap nothing of before can be passed on.
    pub fn push(&mut self, seq: Seq, entry: T, bytes: usize) {
        if seq <= self.at {
            return;
        }
        if seq != self.at + 1 {
            self.begin(seq - 1);
        }
        self.at = seq;
        self.entries.push_back((entry, bytes));
        self.bytes += bytes;
        while self.bytes > self.most && self.entries.len() > 1 {
            let Some((_, bytes)) = self.entries.pop_front() else { return };
            self.bytes -= bytes;
        }
    }

    /// The last seq that the relay has applied.
    pub fn at(&self) -> Seq {
        self.at
    }

    /// The entries after `seq`, with their seqs.
    ///
    /// # Errors
    /// The relay has not all of them.
    pub fn after(&self, seq: Seq) -> Result<impl Iterator<Item = (Seq, &T)>, Unpassed> {
        let wanted = self.at.checked_sub(seq).ok_or(Unpassed::Ahead)?;
        let wanted = usize::try_from(wanted).map_err(|_| Unpassed::Behind)?;
        let skipped = self.entries.len().checked_sub(wanted).ok_or(Unpassed::Behind)?;
        Ok((seq + 1..).zip(self.entries.iter().skip(skipped).map(|(entry, _)| entry)))
    }
}

/// What a relay says of its links, in as few words as it can. What it said before holds further on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AppliedBehind {
    /// All links have applied everything up to this seq, in the log's numbers, except those named.
    /// `None`: nothing is said of those that are not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<Seq>,
    /// Links, and how far each is.
    pub links: Vec<(Link, Seq)>,
}

/// How far the links of a relay are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Behind {
    links: BTreeMap<Link, Seq>,
    /// How many links have applied everything up to each seq, of the seqs that some have: each
    /// acknowledgement costs the same however many links there are.
    counts: BTreeMap<Seq, usize>,
    /// Those of which there is something to be said.
    news: BTreeSet<Link>,
}

impl Behind {
    /// An edge that acknowledges everything up to `seq` is being attached. Before control is asked
    /// whether it may be: from then on it is one of all, with that seq.
    pub fn begin(&mut self, link: Link, seq: Seq) {
        self.end(link);
        self.links.insert(link, seq);
        *self.counts.entry(seq).or_default() += 1;
    }

    /// Its attachment ended.
    pub fn end(&mut self, link: Link) {
        if let Some(seq) = self.links.remove(&link) {
            self.leave(seq);
            self.news.remove(&link);
        }
    }

    /// An edge has applied everything up to `seq`. Also where that is known it is said once more:
    /// when it was said last, control may not have known the link yet.
    pub fn applied(&mut self, link: Link, seq: Seq) {
        let Some(known) = self.links.get_mut(&link) else { return };
        self.news.insert(link);
        if seq > *known {
            let before = std::mem::replace(known, seq);
            *self.counts.entry(seq).or_default() += 1;
            self.leave(before);
        }
    }

    /// Whether there is something to be said.
    pub fn is_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Whether nothing is gained by waiting for more: all are equally far.
    pub fn is_even(&self) -> bool {
        self.counts.len() <= 1
    }

    /// What to say now, if there is something: of those of which there is news, or of all except
    /// those that are not as far as most, whichever names fewer. So an edge that is far away costs
    /// the others nothing, and those that are equally far cost nothing each.
    pub fn say(&mut self) -> Option<AppliedBehind> {
        let news = std::mem::take(&mut self.news);
        let (seq, most) = self.counts.iter().max_by_key(|(_, count)| **count)?;
        if news.is_empty() {
            return None;
        }
        let (seq, others) = (*seq, self.links.len() - most);
        let named = |links: &mut dyn Iterator<Item = (&Link, &Seq)>| {
            links.map(|(link, seq)| (*link, *seq)).collect()
        };
        if news.len() <= others {
            let mut links = news.iter().filter_map(|link| self.links.get_key_value(link));
            return Some(AppliedBehind { all: None, links: named(&mut links) });
        }
        let links = match others {
            0 => Vec::new(),
            _ => named(&mut self.links.iter().filter(|(_, own)| **own != seq)),
        };
        Some(AppliedBehind { all: Some(seq), links })
    }

    /// One link less is at this seq.
    fn leave(&mut self, seq: Seq) {
        if let Entry::Occupied(mut count) = self.counts.entry(seq) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// The links of one connection of a relay, as control has let them be attached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attached<T> {
    links: BTreeMap<Link, T>,
    /// The highest number so far.
    last: Option<Link>,
}

impl<T> Default for Attached<T> {
    fn default() -> Self {
        Self { links: BTreeMap::new(), last: None }
    }
}

impl<T> Attached<T> {
    /// A link begins; `false` where its number is not above all before.
    pub fn begin(&mut self, link: Link, edge: T) -> bool {
        if self.last.is_some_and(|last| link <= last) {
            return false;
        }
        self.last = Some(link);
        self.links.insert(link, edge);
        true
    }

    /// A link ends.
    pub fn end(&mut self, link: Link) -> Option<T> {
        self.links.remove(&link)
    }

    /// A link's edge.
    pub fn get(&self, link: Link) -> Option<&T> {
        self.links.get(&link)
    }

    /// The same, to change what is known of it.
    pub fn get_mut(&mut self, link: Link) -> Option<&mut T> {
        self.links.get_mut(&link)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// All edges: the connection is over.
    pub fn into_edges(self) -> impl Iterator<Item = T> {
        self.links.into_values()
    }

    /// Up to where each of those of which the relay says something has applied everything. What it
    /// says of links that control does not know, or no longer knows, counts for nobody.
    pub fn acknowledged(&self, said: &AppliedBehind) -> Vec<(&T, Seq)> {
        let Some(all) = said.all else {
            let known = |(link, seq): &(Link, Seq)| Some((self.links.get(link)?, *seq));
            return said.links.iter().filter_map(known).collect();
        };
        let except: BTreeMap<Link, Seq> = said.links.iter().copied().collect();
        let seq = |link: &Link| *except.get(link).unwrap_or(&all);
        self.links.iter().map(|(link, edge)| (edge, seq(link))).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seqs(passing: &Passing<Seq>, after: Seq) -> Result<Vec<Seq>, Unpassed> {
        let entries = passing.after(after)?;
        Ok(entries.inspect(|(seq, entry)| assert_eq!(seq, *entry)).map(|(seq, _)| seq).collect())
    }

    #[test]
    fn entries_are_passed_on_while_they_are_kept() {
        let mut passing = Passing::new(30);
        passing.begin(7);
        assert_eq!(seqs(&passing, 7), Ok(vec![]));
        assert_eq!(seqs(&passing, 6), Err(Unpassed::Behind));
        assert_eq!(seqs(&passing, 8), Err(Unpassed::Ahead));
        for seq in 8..=12 {
            passing.push(seq, seq, 10);
        }
        assert_eq!(seqs(&passing, 9), Ok(vec![10, 11, 12]));
        assert_eq!(seqs(&passing, 8), Err(Unpassed::Behind));
        passing.push(12, 0, 10);
        assert_eq!(seqs(&passing, 11), Ok(vec![12]), "a repeated entry is nothing new");
        passing.push(13, 13, 1000);
        assert_eq!(seqs(&passing, 12), Ok(vec![13]), "the last one is kept however long it is");
        assert_eq!(seqs(&passing, 11), Err(Unpassed::Behind));
        passing.push(20, 20, 1);
        assert_eq!(seqs(&passing, 19), Ok(vec![20]));
        assert_eq!(seqs(&passing, 13), Err(Unpassed::Behind), "nothing is passed over a gap");
    }

    #[test]
    fn as_few_links_are_named_as_possible() {
        let all = |seq, links: &[_]| Some(AppliedBehind { all: Some(seq), links: links.to_vec() });
        let these = |links: &[_]| Some(AppliedBehind { all: None, links: links.to_vec() });
        let mut behind = Behind::default();
        assert_eq!(behind.say(), None);
        for link in 1..=5 {
            behind.begin(link, 3);
            behind.applied(link, if link == 2 { 4 } else { 9 });
        }
        assert!(!behind.is_even());
        assert_eq!(behind.say(), all(9, &[(2, 4)]));
        assert_eq!(behind.say(), None, "nothing new");
        behind.applied(2, 9);
        assert!(behind.is_even());
        assert_eq!(behind.say(), all(9, &[]));
        behind.applied(2, 5);
        assert_eq!(behind.say(), all(9, &[]), "it never goes back");
        // One after another, as edges at different distances.
        for (link, said) in [
            (4, these(&[(4, 10)])),
            (1, these(&[(1, 10)])),
            (5, these(&[(5, 10)])),
            (3, these(&[(3, 10)])),
            (2, all(10, &[])),
        ] {
            behind.applied(link, 10);
            assert_eq!(behind.say(), said);
        }
        behind.applied(1, 11);
        behind.end(1);
        assert!(behind.is_even() && behind.say().is_none(), "it is gone");
    }

    #[test]
    fn no_number_of_a_link_is_used_twice() {
        let mut attached = Attached::default();
        assert!(attached.begin(3, 'a') && !attached.begin(3, 'b') && !attached.begin(2, 'b'));
        assert_eq!(attached.end(3), Some('a'));
        assert!(!attached.begin(3, 'b') && attached.begin(4, 'c'));
        assert_eq!((attached.len(), attached.get(4)), (1, Some(&'c')));
    }

    /// What happens at a relay and on its way to control, which keeps the order.
    #[derive(Clone, Debug)]
    enum Step {
        Begin(Seq),
        Apply(usize, Seq),
        End(usize),
        Say,
        /// Control hears the next thing.
        Hear,
        /// The edge of this link goes elsewhere: control knows that first.
        Move(usize),
    }

    enum Said {
        Begin(Link),
        End(Link),
        Applied(AppliedBehind),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..9_u64).prop_map(Step::Begin),
            (0..6_usize, 0..9_u64).prop_map(|(link, seq)| Step::Apply(link, seq)),
            (0..6_usize).prop_map(Step::End),
            Just(Step::Say),
            Just(Step::Hear),
            Just(Step::Hear),
            (0..6_usize).prop_map(Step::Move),
        ];
        prop::collection::vec(step, 0..60)
    }

    proptest! {
        /// Whatever happens in whatever order: control counts of no edge what that edge has not
        /// applied, and nothing of one that went elsewhere; and in the end it knows all of the others.
        #[test]
        fn nobody_is_acknowledged_for_what_it_has_not_applied(steps in steps()) {
            let (mut behind, mut control) = (Behind::default(), Attached::default());
            let (mut way, mut last) = (VecDeque::new(), 0);
            let mut truth = BTreeMap::<Link, Seq>::new();
            let (mut open, mut moved) = (Vec::<Link>::new(), BTreeSet::<Link>::new());
            let mut counted = BTreeMap::<Link, Seq>::new();
            let ends: Vec<_> = std::iter::repeat_n(Step::Hear, 200).collect();
            for (n, step) in steps.into_iter().chain(ends).enumerate() {
                match step {
                    Step::Begin(seq) => {
                        last += 1;
                        behind.begin(last, seq);
                        truth.insert(last, seq);
                        open.push(last);
                        way.push_back(Said::Begin(last));
                    }
                    Step::Apply(at, seq) if at < open.len() => {
                        let known = truth.get_mut(&open[at]).unwrap();
                        *known = seq.max(*known);
                        behind.applied(open[at], seq);
                    }
                    Step::End(at) if at < open.len() => {
                        let link = open.remove(at);
                        behind.end(link);
                        way.push_back(Said::End(link));
                    }
                    Step::Say => {
                        let seqs: Vec<Seq> = open.iter().map(|link| truth[link]).collect();
                        let equal = |seq: &Seq| seqs.iter().filter(|own| *own == seq).count();
                        let most = seqs.iter().map(equal).max().unwrap_or_default();
                        prop_assert_eq!(behind.is_even(), most == seqs.len());
                        let said = behind.say();
                        if let Some(said) = &said {
                            prop_assert!(said.links.len() <= seqs.len() - most);
                        }
                        way.extend(said.map(Said::Applied));
                    }
                    Step::Move(at) if at < open.len() => {
                        moved.insert(open[at]);
                        control.end(open[at]);
                    }
                    Step::Hear if way.is_empty() && n >= 60 => {
                        // As edges do once control has attached them.
                        open.iter().for_each(|link| behind.applied(*link, 0));
                        way.extend(behind.say().map(Said::Applied));
                    }
                    _ => {}
                }
                if !matches!(step, Step::Hear) {
                    continue;
                }
                match way.pop_front() {
                    Some(Said::Begin(link)) if !moved.contains(&link) => {
                        prop_assert!(control.begin(link, link));
                    }
                    Some(Said::Begin(_)) | None => {}
                    Some(Said::End(link)) => drop(control.end(link)),
                    Some(Said::Applied(said)) => {
                        for (link, seq) in control.acknowledged(&said) {
                            prop_assert!(seq <= truth[link], "{link} has not applied {seq}");
                            prop_assert!(!moved.contains(link));
                            let known = counted.entry(*link).or_default();
                            *known = seq.max(*known);
                        }
                    }
                }
            }
            for link in open.iter().filter(|link| !moved.contains(link)) {
                prop_assert_eq!(counted.get(link), truth.get(link));
            }
        }
    }
}
