use super::*;
use crate::invalidation::{Bounds, Index, KeyedPurge, Purge, Subject, Target, Validity};
use crate::time::Time;
use http::header::{CONTENT_RANGE, DATE, ETAG, LAST_MODIFIED};
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

fn fields(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
}

#[test]
fn first_the_slice_is_asked_for_in_which_the_range_begins() {
    let asked = |value: &'static str| {
        let request = fields(&[(http::header::RANGE, value)]);
        asked_first(&range::requested(&request), 100).map(|span| (span.start, span.end))
    };
    for (range, first) in [
        ("bytes=0-", Some((0, 100))),
        ("bytes=99-99", Some((0, 100))),
        ("bytes=100-5000", Some((100, 200))),
        ("bytes=18446744073709551615-", Some((18_446_744_073_709_551_600, u64::MAX))),
        // Where it begins depends on the length.
        ("bytes=-5", Some((0, 100))),
        ("bytes=-0", None),
        ("bytes=1-2,5-6", None),
        ("lines=1-2", None),
    ] {
        assert_eq!(asked(range), first, "{range}");
    }
}

#[test]
fn only_the_slice_of_the_same_file_is_joined() {
    let stored = fields(&[(ETAG, "\"a\"")]);
    let weak = fields(&[(ETAG, "W/\"a\"")]);
    let asked = Span { start: 100, end: 200 };
    let of = |stored: &HeaderMap, status: u16, tag: &'static str, range: &'static str| {
        let mut answer = fields(&[(ETAG, tag)]);
        if !range.is_empty() {
            answer.insert(CONTENT_RANGE, HeaderValue::from_static(range));
        }
        answered(stored, 250, asked, StatusCode::from_u16(status).expect("a status"), &answer)
    };
    let cases = [
        (206, "\"a\"", "bytes 100-199/250", Answered::Slice),
        (206, "\"b\"", "bytes 100-199/250", Answered::Changed),
        (206, "W/\"a\"", "bytes 100-199/250", Answered::Changed),
        (206, "\"a\"", "bytes 100-199/251", Answered::Changed),
        (206, "\"a\"", "bytes 100-149/250", Answered::NotInSlices),
        (206, "\"a\"", "bytes 100-199/*", Answered::NotInSlices),
        (206, "\"a\"", "", Answered::NotInSlices),
        (200, "\"a\"", "", Answered::NotInSlices),
        (200, "\"b\"", "", Answered::Changed),
        (416, "\"a\"", "bytes */50", Answered::Changed),
        (404, "\"a\"", "", Answered::Changed),
        (503, "\"a\"", "", Answered::Nothing),
        (304, "\"a\"", "", Answered::Nothing),
    ];
    for (status, tag, range, expected) in cases {
        assert_eq!(of(&stored, status, tag, range), expected, "{status} {tag} {range}");
    }
    assert_eq!(of(&weak, 206, "W/\"a\"", "bytes 100-199/250"), Answered::Changed);
    // A date that is a second older than the response is as good as an ETag.
    let dated = |modified| {
        fields(&[
            (LAST_MODIFIED, modified),
            (DATE, "Sun, 06 Nov 1994 08:49:40 GMT"),
            (CONTENT_RANGE, "bytes 100-199/250"),
        ])
    };
    let old = dated("Sun, 06 Nov 1994 08:49:37 GMT");
    let part = StatusCode::PARTIAL_CONTENT;
    assert_eq!(answered(&old, 250, asked, part, &old), Answered::Slice);
    let now = dated("Sun, 06 Nov 1994 08:49:40 GMT");
    assert_eq!(answered(&now, 250, asked, part, &now), Answered::Changed);
}

#[test]
fn newer_terms_are_taken_and_a_later_birth_only_when_it_matters() {
    let stored = Freshness {
        born: Time::from_millis(1_000_000),
        lifetime: 100,
        stale_while_revalidate: 0,
        stale_if_error: 0,
        validate_always: false,
        validate_when_stale: false,
        immutable: false,
    };
    let later =
        |seconds: u64| Freshness { born: stored.born.plus_millis(seconds * 1000), ..stored };
    assert!(!renews(&stored, &later(10)));
    assert!(renews(&stored, &later(11)));
    assert!(renews(&stored, &Freshness { lifetime: 99, ..stored }));
    assert!(renews(&stored, &Freshness { validate_always: true, ..stored }));
    assert!(!renews(&later(50), &stored), "an older answer of a parent");
}

/// The tags of a slice, out of few.
fn tags() -> impl Strategy<Value = Vec<Box<str>>> {
    proptest::collection::vec((0..4_u8).prop_map(|tag| format!("t{tag}").into()), 0..3)
}

fn is_purged(index: &Index, tags: &[Box<str>], filled_at: Seq) -> bool {
    let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
    let subject = Subject { site: "s", host: "h", path: "/f", query: None, tags: &tags, filled_at };
    matches!(index.validity_since(&subject, filled_at), Validity::Hard(_))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_takes_a_slice_takes_the_file(
        parts in proptest::collection::vec((0..20_u64, tags()), 1..10),
        purges in proptest::collection::vec((0..4_u8, any::<bool>()), 0..20),
    ) {
        let mut index = Index::new(Bounds::default());
        for (seq, (tag, is_all)) in purges.iter().enumerate() {
            let target = match is_all {
                true => Target::parse_path("/f").expect("a path"),
                false => Target::parse_tag(&format!("t{tag}")).expect("a tag"),
            };
            let (seq, targets) = (seq as u64 + 1, vec![target]);
            let purge = Purge { seq, targets, site: None, soft: false, versions: false };
            index.apply(&KeyedPurge::as_sent(purge));
        }
        let (mut filled_at, mut of_file) = parts[0].clone();
        for (at, tags) in &parts {
            let stored = Known { filled_at, tags: &of_file };
            match join(stored, Known { filled_at: *at, tags }) {
                Join::Covered => {}
                Join::Widened => {
                    filled_at = filled_at.min(*at);
                    let more = tags.iter().filter(|tag| !of_file.contains(tag)).cloned();
                    let more: Vec<_> = more.collect();
                    of_file.extend(more);
                }
            }
        }
        let file = is_purged(&index, &of_file, filled_at);
        for (at, tags) in &parts {
            prop_assert!(file || !is_purged(&index, tags, *at), "{:?} {}", tags, at);
        }
    }

    #[test]
    fn slices_are_the_whole_file_without_gap_or_overlap(length in 1..1000_u64, size in 1..100_u64) {
        let slices: Vec<_> = (0..).map_while(|number| span(number, size, length)).collect();
        prop_assert_eq!(slices[0].start, 0);
        prop_assert!(slices.windows(2).all(|pair| pair[0].end == pair[1].start));
        prop_assert_eq!(slices[slices.len() - 1].end, length);
        prop_assert!(slices.iter().all(|slice| slice.length() <= size));
    }
}
