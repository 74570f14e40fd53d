//! The index against a model that keeps every purge and reads them all.

mod model;
mod sieve;
mod tally;

use model::{Response, keyed, log, model, responses, takes};
use proptest::prelude::*;
use weir_rules::invalidation::{Bounds, Index, KeyedPurge, Purge, Seq, Subject, Target, Validity};

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
            index.apply(&keyed(purge));
            index.apply(&keyed(purge));
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
        let responses: Vec<_> = responses.into_iter().map(Response::of_its_host).collect();
        for (applied, purge) in (1..).zip(&log) {
            index.apply(&keyed(purge));
            for site in [None, Some("s1"), Some("s2")] {
                prop_assert!(index.len_of(site) <= targets && index.patterns_of(site) <= patterns);
            }
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
    fn what_one_site_names_forgets_nothing_of_another(
        log in log(60),
        responses in responses(),
        patterns in 0..4_usize,
        walked in 0..70_u64,
    ) {
        let mut index = Index::new(Bounds { targets: 3, patterns });
        // Whatever is not the first site's own is left out.
        let own: Vec<_> = log.into_iter().map(|purge| {
            let of_host = |target: &Target| !matches!(target, Target::Url(_) | Target::Host(_))
                || target.host().is_some_and(|host| host.to_lowercase().starts_with("h1"));
            let targets = purge.targets.iter().filter(|target| of_host(target)).cloned().collect();
            Purge { site: Some("s1".into()), targets, ..purge }
        }).collect();
        own.iter().for_each(|purge| index.apply(&keyed(purge)));
        index.raise_floor_where(2, walked);
        prop_assert_eq!((index.len_of(None), index.len_of(Some("s2"))), (0, 0));
        prop_assert_eq!((index.floor(), index.reach("s2")), (0, 0));
        for response in responses.into_iter().map(Response::of_its_host) {
            let says = index.validity(&response.subject());
            if response.site == "s2" {
                prop_assert_eq!(says, Validity::Valid, "{:?}", response);
            } else {
                prop_assert!(severity(says) >= severity(model(&own, &response)), "{:?}", response);
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
        before.iter().for_each(|purge| index.apply(&keyed(purge)));
        index.forget_below(mark);
        let told = ["s1", "s2"].map(|site| index.floor_of(site));
        after.iter().for_each(|purge| index.apply(&keyed(purge)));
        let unchecked: Vec<_> = log.iter().filter(|purge| purge.seq >= mark).cloned().collect();
        for response in responses.into_iter().map(Response::of_its_host) {
            let response = &response;
            let floor = index.floor_of(response.site);
            let floor_when_told = told[usize::from(response.site == "s2")];
            let says = index.validity(&response.subject());
            // What is older has been checked: only later purges can take it.
            let least = model(&unchecked, response);
            prop_assert!(severity(says) >= severity(least), "{:?} {:?} {:?}", says, least, response);
            if floor == floor_when_told && response.filled_at >= floor && response.filled_at + 1 >= mark {
                prop_assert_eq!(says, model(&log, response));
            }
        }
    }

    #[test]
    fn no_text_is_too_odd(path in "\\PC{0,40}", text in "\\PC{0,40}", versions: bool) {
        let mut index = Index::default();
        for target in [Target::Path(text.clone()), Target::Pattern(text.clone()), Target::Prefix(text.clone()),
            Target::Url(text.clone()), Target::Tag(text.clone()), Target::Host(text.clone())] {
            let purge = Purge { seq: 1, targets: vec![target], site: None, soft: false, versions };
            index.apply(&KeyedPurge::as_sent(purge));
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

fn one(seq: Seq, target: Target, soft: bool) -> KeyedPurge {
    keyed(&Purge { seq, targets: vec![target], site: None, soft, versions: false })
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
fn a_site_that_names_too_much_loses_what_it_has_stored_and_no_other_does() {
    let mut index = Index::new(Bounds { targets: 9, patterns: 4 });
    let of = |site: &str, seq, target| {
        keyed(&Purge {
            seq,
            targets: vec![target],
            site: Some(site.into()),
            soft: false,
            versions: false,
        })
    };
    index.apply(&of("s2", 1, Target::Pattern("/else/*".into())));
    (6..20).for_each(|seq| index.apply(&of("s1", seq, Target::Pattern(format!("/{seq}*")))));
    let other = Subject { site: "s2", host: "h2", ..PAGE };
    assert!(index.patterns_of(Some("s1")) <= 4 && index.floor_of("s1") > 5);
    assert_eq!(index.validity(&PAGE), Validity::Hard(index.floor_of("s1")));
    assert_eq!((index.validity(&other), index.floor_of("s2")), (Validity::Valid, 0));
    // What is forgotten where everything was checked leaves no floor.
    index.forget_below(20);
    assert_eq!((index.floor_of("s1"), index.highest_floor(), index.len()), (0, 0, 0));
    // URLs and hosts count for the site of their host, which may change.
    let url = |seq: Seq| Target::Url(format!("http://h1/{seq}"));
    (20..25).for_each(|seq| index.apply(&of("s2", seq, url(seq))));
    assert_eq!((index.len_of(Some("s1")), index.len_of(Some("s2"))), (5, 0));
    (25..40).for_each(|seq| index.apply(&one(seq, url(seq), false)));
    assert!(index.len_of(Some("s1")) <= 9 && index.floor_of("s1") > 20);
    assert_eq!((index.validity(&other), index.floor()), (Validity::Valid, 0));
    let moved = KeyedPurge::as_sent(Purge { seq: 40, ..(*one(40, url(39), false)).clone() });
    let before = index.len_of(Some("s1"));
    index.apply(&moved);
    assert_eq!((index.len_of(Some("s1")), index.len_of(None)), (before - 1, 1));
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
    assert_eq!(index.reach("s1"), 6);
    index.forget_below(8);
    assert_eq!(index.reach("s1"), 8);
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
