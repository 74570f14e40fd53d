//! The index against a model that keeps every purge and reads them all.

mod model;
mod sieve;
mod tally;

use model::{Response, log, model, responses, takes};
use proptest::prelude::*;
use weir_rules::invalidation::{Bounds, Index, Purge, Seq, Subject, Target, Validity};

fn severity(validity: Validity) -> u8 {
    match validity {
        Validity::Valid => 0,
        Validity::Soft(_) => 1,
        Validity::Hard(_) => 2,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_index_says_what_a_list_of_all_purges_says(
        log in log(40),
        responses in responses(),
        judged in 0..42_u64,
    ) {
        let mut index = Index::default();
        for purge in &log {
            index.apply(purge);
            index.apply(purge);
        }
        for response in &responses {
            prop_assert_eq!(index.validity(&response.subject()), model(&log, response), "{:?}", response);
            let later: Vec<_> = log.iter().filter(|purge| purge.seq > judged).cloned().collect();
            prop_assert_eq!(index.validity_since(&response.subject(), judged), model(&later, response));
            let from_the_start = Response { filled_at: 0, ..response.clone() };
            let last = match model(&log, &from_the_start) {
                Validity::Valid => None,
                _ => log.iter().rev()
                    .find(|purge| purge.targets.iter().any(|t| takes(purge, t, response)))
                    .map(|purge| (purge.seq, purge.soft)),
            };
            prop_assert_eq!(index.last_match(&response.subject()), last);
        }
    }

    #[test]
    fn a_full_index_is_never_more_lenient(
        log in log(40),
        responses in responses(),
        targets in 1..12_usize,
        patterns in 0..4_usize,
    ) {
        let mut index = Index::new(Bounds { targets, patterns });
        for (applied, purge) in (1..).zip(&log) {
            index.apply(purge);
            prop_assert!(index.len() <= targets && index.patterns_len() <= patterns);
            for response in &responses {
                let says = index.validity(&response.subject());
                let model = model(&log[..applied], response);
                prop_assert!(severity(says) >= severity(model), "{:?} {:?} {:?}", says, model, response);
                if response.filled_at >= purge.seq {
                    prop_assert_eq!(says, Validity::Valid, "nothing is later than its fill");
                }
            }
        }
    }

    #[test]
    fn what_was_checked_may_be_forgotten(
        log in log(40),
        responses in responses(),
        mark in 0..45_u64,
        targets in 3..60_usize,
    ) {
        let mut index = Index::new(Bounds { targets, patterns: 3 });
        let (before, after) = log.split_at(log.len() / 2);
        before.iter().for_each(|purge| index.apply(purge));
        index.forget_below(mark);
        let floor_when_told = index.floor();
        after.iter().for_each(|purge| index.apply(purge));
        let unchecked: Vec<_> = log.iter().filter(|purge| purge.seq >= mark).cloned().collect();
        for response in &responses {
            let says = index.validity(&response.subject());
            // What is older has been checked: only later purges can take it.
            let least = model(&unchecked, response);
            prop_assert!(severity(says) >= severity(least), "{:?} {:?} {:?}", says, least, response);
            if index.floor() == floor_when_told && response.filled_at >= index.floor() && response.filled_at + 1 >= mark {
                prop_assert_eq!(says, model(&log, response));
            }
        }
    }

    #[test]
    fn no_text_is_too_odd(path in "\\PC{0,40}", text in "\\PC{0,40}", versions: bool) {
        let mut index = Index::default();
        for target in [Target::Path(text.clone()), Target::Pattern(text.clone()), Target::Prefix(text.clone()),
            Target::Url(text.clone()), Target::Tag(text.clone()), Target::Host(text.clone())] {
            index.apply(&Purge { seq: 1, targets: vec![target], site: None, soft: false, versions });
        }
        let (path, query) = path.split_once('?').map_or((&*path, None), |(p, q)| (p, Some(q)));
        let subject = Subject { site: "", host: &text, path, query, tags: &[&text], filled_at: 0 };
        prop_assert_eq!(index.validity(&subject), Validity::Hard(1), "its tag was purged");
        for parse in [Target::parse_path, Target::parse_prefix, Target::parse_url, Target::parse_tag, Target::parse_host] {
            if let Err(message) = parse(&text) {
                prop_assert!(message.contains("accepted") && !message.chars().any(char::is_control));
            }
        }
    }
}

fn one(seq: Seq, target: Target, soft: bool) -> Purge {
    Purge { seq, targets: vec![target], site: None, soft, versions: false }
}

const PAGE: Subject<'static> =
    Subject { site: "s1", host: "h1", path: "/a", query: None, tags: &["t1"], filled_at: 5 };

#[test]
fn a_later_soft_purge_does_not_make_a_hard_one_milder() {
    let mut index = Index::default();
    index.apply(&one(6, Target::Path("/a".into()), false));
    index.apply(&one(7, Target::Path("/a".into()), true));
    assert_eq!(index.validity(&PAGE), Validity::Hard(6));
    assert_eq!(index.validity(&Subject { filled_at: 6, ..PAGE }), Validity::Soft(7));
    assert_eq!(index.validity(&Subject { filled_at: 7, ..PAGE }), Validity::Valid);
    assert_eq!(index.last_match(&PAGE), Some((7, true)));
}

#[test]
fn a_full_index_raises_its_floor_only_over_what_was_not_checked() {
    let fill = |checked| {
        let mut index = Index::new(Bounds { targets: 4, patterns: 4 });
        for seq in 1..=4 {
            index.apply(&one(seq, Target::Tag(seq.to_string()), false));
        }
        index.forget_below(checked);
        index.apply(&one(5, Target::Tag("5".into()), false));
        index
    };
    let unchecked = fill(0);
    assert!(unchecked.floor() > 0 && unchecked.len() <= 4);
    assert_eq!(
        unchecked.validity(&Subject { filled_at: 0, ..PAGE }),
        Validity::Hard(unchecked.floor())
    );
    let checked = fill(4);
    assert_eq!((checked.floor(), checked.len()), (0, 2));
    assert_eq!(checked.validity(&Subject { filled_at: 0, ..PAGE }), Validity::Valid);
}

#[test]
fn a_raised_floor_takes_everything_older() {
    let mut index = Index::default();
    index.apply(&one(3, Target::Tag("x".into()), false));
    index.raise_floor(6);
    assert_eq!(index.validity(&PAGE), Validity::Hard(6));
    assert_eq!(index.validity(&Subject { filled_at: 6, ..PAGE }), Validity::Valid);
    assert!(index.is_empty(), "what the floor takes anyway need not be kept");
}

#[test]
fn what_was_judged_since_a_floor_is_not_below_it() {
    let mut index = Index::default();
    index.raise_floor(6);
    assert_eq!(index.validity_since(&PAGE, 6), Validity::Valid);
    assert_eq!(index.validity_since(&PAGE, 5), Validity::Hard(6));
    assert_eq!(index.reach(), 6);
    index.forget_below(8);
    assert_eq!(index.reach(), 8);
}

#[test]
fn thousands_of_segments_are_no_trouble() {
    let deep = "/a".repeat(4000);
    let mut index = Index::new(Bounds { targets: 5000, patterns: 1 });
    index.apply(&one(6, Target::Prefix(deep.clone()), false));
    assert_eq!(index.validity(&Subject { path: &deep, ..PAGE }), Validity::Hard(6));
    assert_eq!(index.validity(&PAGE), Validity::Valid);
    // A second one does not fit: both go, and everything before them.
    index.apply(&one(7, Target::Prefix("/b".repeat(4000)), false));
    assert!(index.len() <= 5000);
    assert_eq!(index.validity(&Subject { path: &deep, ..PAGE }), Validity::Hard(index.floor()));
}
