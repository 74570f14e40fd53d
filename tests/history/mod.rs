//! What callers of control saw, and whether one log explains it: each purge took effect at one moment between its call
//! and its answer, in the order of the seqs, and whoever looked at the log saw it as it was at one moment
//! (linearizability). An append has a name, its reference, and its answer has its place, so that the order is known and
//! the question needs no search.

use std::collections::{BTreeMap, HashMap};

/// Microseconds since the history began.
pub(crate) type Time = u64;

/// How a call to purge ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is this entry of the log.
    Taken(u64),
    /// It is none: the answer says that nothing was appended.
    Refused,
    /// There is no answer, or one that says that it is not known.
    Unknown,
}

/// A call to purge. Several calls with one reference are to be one entry.
#[derive(Clone, Debug)]
pub(crate) struct Purge {
    pub(crate) reference: String,
    pub(crate) called: Time,
    pub(crate) ended: Time,
    pub(crate) end: End,
}

/// A call that tells the log's last entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) called: Time,
    pub(crate) ended: Time,
    pub(crate) head: u64,
}

/// All calls, in any order.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) purges: Vec<Purge>,
    pub(crate) looks: Vec<Look>,
}

/// When an entry may have taken effect: after `from`, and before `until` where someone was told.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: Time,
    until: Time,
}

impl History {
    /// Whether `log`, the references of all entries from the first on, explains what was seen; why not.
    pub(crate) fn check(&self, log: &[String]) -> Result<(), String> {
        let mut seqs = HashMap::new();
        for (reference, seq) in log.iter().zip(1..) {
            if let Some(first) = seqs.insert(reference.as_str(), seq) {
                return Err(format!("{reference} is doubled: entries {first} and {seq}"));
            }
        }
        let spans = self.spans(&seqs)?;
        in_order(&spans)?;
        self.looks_fit(&spans, log.len() as u64)
    }

    /// When each entry may have taken effect.
    fn spans(&self, seqs: &HashMap<&str, u64>) -> Result<BTreeMap<u64, Span>, String> {
        let mut spans: BTreeMap<u64, Span> = BTreeMap::new();
        for purge in &self.purges {
            let Purge { reference, called, ended, end } = purge;
            let there = seqs.get(reference.as_str()).copied();
            let until = match (end, there) {
                (End::Taken(seq), None) => {
                    return Err(format!("{reference} was answered as entry {seq}, and is lost"));
                }
                (End::Taken(seq), Some(there)) if *seq != there => {
                    return Err(format!("{reference} was answered as entry {seq}, and is {there}"));
                }
                (End::Taken(_), Some(_)) => *ended,
                (End::Refused, _) | (End::Unknown, None) => continue,
                (End::Unknown, Some(_)) => Time::MAX,
            };
            let Some(seq) = there else { continue };
            let span = spans.entry(seq).or_insert(Span { from: *called, until });
            *span = Span { from: span.from.min(*called), until: span.until.min(until) };
        }
        for (reference, seq) in seqs {
            if !spans.contains_key(seq) {
                return Err(format!("entry {seq}, {reference}, was never ordered, or was refused"));
            }
        }
        Ok(spans)
    }

    fn looks_fit(&self, spans: &BTreeMap<u64, Span>, last: u64) -> Result<(), String> {
        // Up to each entry: when the first of those from it on was told at the latest, and the last of those up to it
        // was ordered at the earliest.
        let mut until_from = vec![Time::MAX; spans.len() + 2];
        let mut from_to = vec![0; spans.len() + 1];
        for (seq, span) in spans {
            let at = usize::try_from(*seq).unwrap_or(usize::MAX);
            from_to[at] = from_to[at - 1].max(span.from);
        }
        for (seq, span) in spans.iter().rev() {
            let at = usize::try_from(*seq).unwrap_or(usize::MAX);
            until_from[at] = until_from[at + 1].min(span.until);
        }
        let mut looks = self.looks.clone();
        for look in &looks {
            let Look { called, ended, head } = *look;
            if head > last {
                return Err(format!("a look saw entry {head}, and the last one is {last}"));
            }
            let head_at = usize::try_from(head).unwrap_or(usize::MAX);
            if until_from[head_at + 1] < called {
                return Err(format!("{look:?} missed an entry that was answered before"));
            }
            if from_to[head_at] > ended {
                return Err(format!("{look:?} saw an entry before it was ordered"));
            }
        }
        // None that began after another had ended saw less.
        looks.sort_by_key(|look| look.called);
        let mut by_end = looks.clone();
        by_end.sort_by_key(|look| look.ended);
        let (mut ended, mut seen) = (by_end.into_iter().peekable(), 0);
        for look in looks {
            while let Some(before) = ended.next_if(|before| before.ended < look.called) {
                seen = seen.max(before.head);
            }
            if look.head < seen {
                return Err(format!("{look:?} saw less than one that had ended, {seen}"));
            }
        }
        Ok(())
    }
}

/// No entry was told before an earlier one was ordered.
fn in_order(spans: &BTreeMap<u64, Span>) -> Result<(), String> {
    let mut told = Time::MAX;
    for (seq, span) in spans.iter().rev() {
        if told < span.from {
            return Err(format!("entry {seq} was ordered after a later one was answered"));
        }
        told = told.min(span.until);
    }
    Ok(())
}

mod tests {
    use super::*;

    fn purge(reference: &str, called: Time, ended: Time, end: End) -> Purge {
        Purge { reference: reference.to_owned(), called, ended, end }
    }

    fn look(called: Time, ended: Time, head: u64) -> Look {
        Look { called, ended, head }
    }

    fn check(purges: &[Purge], looks: &[Look], log: &[&str]) -> Result<(), String> {
        let log: Vec<_> = log.iter().map(|text| (*text).to_owned()).collect();
        History { purges: purges.to_vec(), looks: looks.to_vec() }.check(&log)
    }

    #[test]
    fn what_one_log_explains_is_right() {
        use End::{Refused, Taken, Unknown};
        let purges = [
            purge("a", 0, 10, Taken(1)),
            // Two at once: either order.
            purge("c", 20, 40, Taken(2)),
            purge("b", 21, 39, Taken(3)),
            // Refused, and then taken; asked for again later, it is the same.
            purge("d", 50, 60, Refused),
            purge("d", 70, 80, Taken(4)),
            purge("d", 200, 210, Taken(4)),
            // Not known, and there; not known, and not there.
            purge("e", 90, 95, Unknown),
            purge("f", 90, 95, Unknown),
            purge("g", 96, 120, Taken(5)),
        ];
        let log = ["a", "c", "b", "d", "g", "e"];
        let looks =
            [look(11, 12, 1), look(22, 38, 2), look(60, 75, 3), look(61, 75, 4), look(300, 301, 6)];
        assert_eq!(check(&purges, &looks, &log), Ok(()));
        assert_eq!(check(&[], &[look(0, 1, 0)], &[]), Ok(()));
    }

    #[test]
    fn what_no_log_explains_is_found() {
        use End::{Refused, Taken, Unknown};
        let (a, b) = (purge("a", 0, 10, Taken(1)), purge("b", 20, 30, Taken(2)));
        for (purges, looks, log, part) in [
            (
                vec![a.clone(), b.clone()],
                vec![],
                vec!["a"],
                "b was answered as entry 2, and is lost",
            ),
            (
                vec![a.clone(), b.clone()],
                vec![],
                vec!["a", "b", "a"],
                "a is doubled: entries 1 and 3",
            ),
            (vec![a.clone()], vec![], vec!["b", "a"], "a was answered as entry 1, and is 2"),
            (
                vec![purge("a", 20, 30, Taken(1)), purge("b", 0, 10, Taken(2))],
                vec![],
                vec!["a", "b"],
                "entry 1 was ordered after a later one was answered",
            ),
            (
                vec![purge("a", 20, 30, Unknown), purge("b", 0, 10, Taken(2))],
                vec![],
                vec!["a", "b"],
                "entry 1 was ordered after",
            ),
            (
                vec![purge("a", 0, 1, Refused)],
                vec![],
                vec!["a"],
                "was never ordered, or was refused",
            ),
            (
                vec![a.clone(), purge("a", 50, 60, Taken(2))],
                vec![],
                vec!["a"],
                "as entry 2, and is 1",
            ),
            (vec![a.clone(), b.clone()], vec![look(31, 32, 1)], vec!["a", "b"], "missed an entry"),
            (
                vec![a.clone(), b.clone()],
                vec![look(15, 19, 2)],
                vec!["a", "b"],
                "before it was ordered",
            ),
            (vec![a.clone()], vec![look(11, 12, 2)], vec!["a"], "saw entry 2"),
            (
                vec![a.clone(), purge("b", 20, 90, Taken(2))],
                vec![look(30, 40, 2), look(50, 60, 1)],
                vec!["a", "b"],
                "saw less than one that had ended",
            ),
        ] {
            let found = check(&purges, &looks, &log);
            assert!(found.as_ref().is_err_and(|why| why.contains(part)), "{part}: {found:?}");
        }
    }

    /// Whether some order of moments explains it, by trying all: for few calls.
    fn is_explained(purges: &[Purge], looks: &[Look], log: usize) -> bool {
        // Times are small: the entries' moments, in order, are tried one after the other.
        fn place(purges: &[Purge], looks: &[Look], log: usize, moments: &mut Vec<Time>) -> bool {
            if moments.len() == log {
                return looks.iter().all(|look| {
                    // It saw the log as it was between two moments.
                    let head = usize::try_from(look.head).unwrap_or(usize::MAX);
                    let after = head
                        .checked_sub(1)
                        .map_or(0, |at| moments.get(at).copied().unwrap_or(Time::MAX));
                    let before = moments.get(head).copied().unwrap_or(Time::MAX);
                    after.max(2 * look.called) <= before.min(2 * look.ended)
                });
            }
            let purge = &purges[moments.len()];
            let last = moments.last().copied().unwrap_or(0);
            (last..=40).any(|moment| {
                let fits = 2 * purge.called <= moment && moment <= 2 * purge.ended;
                fits && {
                    moments.push(moment);
                    let found = place(purges, looks, log, moments);
                    moments.pop();
                    found
                }
            })
        }
        place(purges, looks, log, &mut Vec::new())
    }

    #[test]
    fn it_agrees_with_one_that_tries_all() {
        let mut state = 7_u64;
        let mut below = |bound: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let mut counts = [0, 0];
        for _ in 0..20_000 {
            let names = ["a", "b", "c"];
            let purges: Vec<_> = names
                .iter()
                .zip(1..)
                .map(|(name, seq)| {
                    let called = below(12);
                    purge(name, called, called + 1 + below(6), End::Taken(seq))
                })
                .collect();
            let called = below(14);
            let looks = [look(called, called + 1 + below(5), below(4))];
            let right = is_explained(&purges, &looks, 3);
            let found = check(&purges, &looks, &names);
            assert_eq!(found.is_ok(), right, "{purges:?} {looks:?}: {found:?}");
            counts[usize::from(right)] += 1;
        }
        println!("{} right, {} wrong", counts[1], counts[0]);
        assert!(counts.iter().all(|count| *count > 500), "{counts:?}");
    }
}
