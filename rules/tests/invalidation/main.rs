//! The index against a model that keeps every purge and reads them all.

mod model;
mod sieve;
mod tally;

use model::{Response, keyed, log, model, responses, takes};
use proptest::prelude::*;
use weir_rules::invalidation::{
    Bounds, Index, IndexKind, KeyedPurge, Purge, Seq, Subject, Target, Validity,
};

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
            let (keyed, before) = (keyed(purge), index.highest_floor());
            let lacked = index.lacks_room(&keyed);
            let raised = index.apply(&keyed);
            let fits = keyed.targets.len() <= targets && keyed.targets.len() <= patterns;
            prop_assert!(raised.is_empty() || lacked || !fits, "it had room for {:?}", purge);
            let highest = raised.iter().map(|raised| raised.seq).fold(before, Seq::max);
            prop_assert_eq!(index.highest_floor(), highest, "each floor is told");
            for site in [None, Some("s1"), Some("s2")] {
                prop_assert!(index.len_of(site) <= targets && index.patterns_of(site) <= patterns);
            }
            for response in &responses {
                let says = index.validity(&response.subject());
                let model = model(&log[..applied], response);
                prop_assert!(severity(says) >= severity(model), "{:?} {:?} {:?}", says, model, response);
                if response.filled_at >= index.floor_over(&response.subject()) {
                    prop_assert_eq!(says, model, "no floor is over {:?}", response);
                }
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
        own.iter().for_each(|purge| drop(index.apply(&keyed(purge))));
        index.raise_floor_where_crowded(walked);
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
        before.iter().for_each(|purge| drop(index.apply(&keyed(purge))));
        index.forget_below(mark);
        let told = ["s1", "s2"].map(|site| index.floor_of(site));
        after.iter().for_each(|purge| drop(index.apply(&keyed(purge))));
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
    (6..20).for_each(|seq| drop(index.apply(&of("s1", seq, Target::Pattern(format!("/{seq}*"))))));
    let other = Subject { site: "s2", host: "h2", ..PAGE };
    assert!(index.patterns_of(Some("s1")) <= 4 && index.floor_of("s1") > 5);
    assert_eq!(index.validity(&PAGE), Validity::Hard(index.floor_of("s1")));
    assert_eq!((index.validity(&other), index.floor_of("s2")), (Validity::Valid, 0));
    // What is forgotten where everything was checked leaves no floor.
    index.forget_below(20);
    assert_eq!((index.floor_of("s1"), index.highest_floor(), index.len()), (0, 0, 0));
    // URLs and hosts count for the site of their host, which may change.
    let url = |seq: Seq| Target::Url(format!("http://h1/{seq}"));
    (20..25).for_each(|seq| drop(index.apply(&of("s2", seq, url(seq)))));
    assert_eq!((index.len_of(Some("s1")), index.len_of(Some("s2"))), (5, 0));
    (25..40).for_each(|seq| drop(index.apply(&one(seq, url(seq), false))));
    assert!(index.len_of(Some("s1")) <= 9 && index.floor_of("s1") > 20);
    assert_eq!((index.validity(&other), index.floor()), (Validity::Valid, 0));
    let moved = KeyedPurge::as_sent(Purge { seq: 40, ..(*one(40, url(39), false)).clone() });
    let before = index.len_of(Some("s1"));
    index.apply(&moved);
    assert_eq!((index.len_of(Some("s1")), index.len_of(None)), (before - 1, 1));
}

#[test]
fn a_floor_takes_what_a_forgotten_target_could_have_taken() {
    let full = |target: fn(Seq) -> Target| {
        let mut index = Index::new(Bounds { targets: 4, patterns: 2 });
        index.apply(&one(6, Target::AnyCaseTag("t1".into()), false));
        let raised: Vec<_> =
            (7..16).flat_map(|seq| index.apply(&one(seq, target(seq), false))).collect();
        (index, raised)
    };
    let (tagged, plain) = (PAGE, Subject { tags: &[], ..PAGE });
    let asked = Subject { query: Some("x"), ..plain };
    // The rest of the cases: what is below the floor of each kind, of these three.
    for (kind, target, takes) in [
        (IndexKind::Path, (|seq| Target::Path(format!("/{seq}"))) as fn(Seq) -> _, [true; 3]),
        (IndexKind::Query, |seq| Target::Path(format!("/{seq}?")), [false, false, true]),
        (IndexKind::Tag, |seq| Target::Tag(format!("{seq}")), [true, false, false]),
        (IndexKind::AnyCaseTag, |seq| Target::AnyCaseTag(format!("{seq}")), [true, false, false]),
        (IndexKind::Prefix, |seq| Target::Prefix(format!("/{seq}")), [true; 3]),
        (IndexKind::Url, |seq| Target::Url(format!("http://h1/{seq}")), [true; 3]),
        (IndexKind::Host, |seq| Target::Host(format!("h1:{seq}")), [true; 3]),
        (IndexKind::Pattern, |seq| Target::Pattern(format!("/{seq}/*")), [true; 3]),
    ] {
        let (index, raised) = full(target);
        assert!(raised.iter().all(|floor| floor.kind == kind) && !raised.is_empty(), "{raised:?}");
        let floor = raised.last().expect("some rose").seq;
        for (subject, taken) in [tagged, plain, asked].iter().zip(takes) {
            let says = index.validity(subject);
            // The purge of its tag, which is of another kind, was not forgotten.
            match taken {
                true => assert_eq!(says, Validity::Hard(floor), "{kind:?}"),
                false if subject.tags.is_empty() => assert_eq!(says, Validity::Valid, "{kind:?}"),
                false => assert_eq!(says, Validity::Hard(6), "{kind:?}"),
            }
            assert_eq!(index.floor_over(subject), if taken { floor } else { 0 });
        }
    }
}

#[test]
fn where_it_is_crowded_floors_rise_to_what_was_judged() {
    let mut index = Index::new(Bounds { targets: 8, patterns: 4 });
    let path = |seq: Seq| Target::Path(format!("/{seq}"));
    (6..9).for_each(|seq| drop(index.apply(&one(seq, path(seq), false))));
    index.apply(&one(9, Target::Pattern("/z*".into()), false));
    assert!(!index.is_crowded() && index.fullness() == 0.5);
    index.raise_floor_where_crowded(9);
    assert_eq!((index.len(), index.floor()), (4, 0));
    index.apply(&one(10, path(10), false));
    assert!(index.is_crowded() && index.fullness() == 0.625);
    // What was judged up to there keeps what it has; the pattern is still known.
    index.raise_floor_where_crowded(9);
    assert_eq!((index.len(), index.floor(), index.patterns_of(None)), (2, 9, 1));
    assert_eq!(index.validity_since(&PAGE, 9), Validity::Valid);
    assert_eq!(index.validity_since(&PAGE, 8), Validity::Hard(9));
    (11..13)
        .for_each(|seq| drop(index.apply(&one(seq, Target::Pattern(format!("/{seq}*")), false))));
    assert!(index.is_crowded(), "patterns have a bound of their own");
    index.raise_floor_where_crowded(11);
    assert_eq!((index.patterns_of(None), index.len()), (1, 2));
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
    // Neither takes more room than any other, nor is a search longer than the longest of them.
    index.apply(&one(7, Target::Prefix("/b".repeat(4000)), false));
    assert_eq!((index.len(), index.floor()), (2, 0));
    assert_eq!(index.validity(&Subject { path: &deep, ..PAGE }), Validity::Hard(6));
    let deeper = format!("{deep}/a");
    assert_eq!(index.validity(&Subject { path: &deeper, ..PAGE }), Validity::Hard(6));
}
