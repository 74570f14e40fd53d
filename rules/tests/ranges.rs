//! Ranges and held spans against plain bitmaps.

use http::{HeaderMap, HeaderValue, header};
use proptest::prelude::*;
use weir_rules::range::*;

const LENGTH: u64 = 64;

fn span() -> impl Strategy<Value = Span> {
    (0..LENGTH, 1..16_u64).prop_map(|(start, n)| Span { start, end: (start + n).min(LENGTH) })
}

fn spec() -> impl Strategy<Value = Spec> {
    let position = || prop_oneof![8 => 0..LENGTH + 4, 1 => Just(u64::MAX)];
    prop_oneof![
        (position(), position()).prop_map(|(a, b)| Spec::FromTo(a.min(b), a.max(b))),
        position().prop_map(Spec::From),
        position().prop_map(Spec::Suffix),
    ]
}

fn wants(spec: Spec, byte: u64, length: u64) -> bool {
    match spec {
        Spec::FromTo(first, last) => (first..=last).contains(&byte),
        Spec::From(first) => byte >= first,
        Spec::Suffix(suffix) => length - byte <= suffix,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn held_spans_are_a_bitmap(spans in proptest::collection::vec(span(), 0..24), asked in span()) {
        let mut held = HeldRanges::default();
        let mut bitmap = [false; LENGTH as usize];
        for span in spans {
            prop_assert!(held.insert(span));
            bitmap[span.start as usize..span.end as usize].fill(true);
        }
        prop_assert!(held.spans().windows(2).all(|pair| pair[0].end < pair[1].start));
        prop_assert_eq!(held.length(), bitmap.iter().filter(|bit| **bit).count() as u64);
        prop_assert_eq!(held.is_empty(), held.length() == 0);
        let range = asked.start as usize..asked.end as usize;
        prop_assert_eq!(held.covers(asked), bitmap[range.clone()].iter().all(|bit| *bit));
        let missing = held.missing(asked);
        prop_assert!(missing.windows(2).all(|pair| pair[0].end < pair[1].start));
        for byte in range {
            let is_missing = missing.iter().any(|s| (s.start..s.end).contains(&(byte as u64)));
            prop_assert_eq!(is_missing, !bitmap[byte], "{}", byte);
        }
        prop_assert!(missing.iter().all(|s| s.start >= asked.start && s.end <= asked.end && s.start < s.end));
    }

    #[test]
    fn parts_are_what_was_asked_for_and_nothing_twice(
        specs in proptest::collection::vec(spec(), 1..MAX_PARTS),
        length in 0..LENGTH,
    ) {
        let parts = match resolve(&Requested::Bytes(specs.clone()), length) {
            Resolved::Whole => {
                prop_assert_eq!(length, 0);
                return Ok(());
            }
            Resolved::One(part) => vec![part],
            Resolved::Many(parts) => {
                prop_assert!(parts.len() > 1);
                parts
            }
            Resolved::Unsatisfiable => vec![],
        };
        for (i, part) in parts.iter().enumerate() {
            prop_assert!(part.start < part.end && part.end <= length);
            prop_assert!(parts[i + 1..].iter().all(|p| p.end < part.start || part.end < p.start));
        }
        for byte in 0..length {
            let sent = parts.iter().any(|part| (part.start..part.end).contains(&byte));
            prop_assert_eq!(sent, specs.iter().any(|spec| wants(*spec, byte, length)), "{}", byte);
        }
        // Each part stands where the first range in it stood.
        let first_wish = |part: &Span| {
            specs.iter().position(|spec| (part.start..part.end).any(|b| wants(*spec, b, length)))
        };
        prop_assert!(parts.iter().map(first_wish).is_sorted());
    }

    #[test]
    fn a_written_range_is_read_back(specs in proptest::collection::vec(spec(), 1..=MAX_PARTS)) {
        let written: Vec<_> = specs.iter().map(|spec| match spec {
            Spec::FromTo(first, last) => format!("{first}-{last}"),
            Spec::From(first) => format!("{first}-"),
            Spec::Suffix(suffix) => format!("-{suffix}"),
        }).collect();
        let value = HeaderValue::try_from(format!("bytes={}", written.join(" , "))).expect("ASCII");
        let request = HeaderMap::from_iter([(header::RANGE, value)]);
        prop_assert_eq!(requested(&request), Requested::Bytes(specs));
    }

    #[test]
    fn no_field_value_is_too_odd(value in "(bytes[ =])?[-0-9,*/ \ta-z=]{0,40}") {
        let value = HeaderValue::try_from(value).expect("visible ASCII");
        let headers = HeaderMap::from_iter([
            (header::RANGE, value.clone()),
            (header::CONTENT_RANGE, value.clone()),
            (header::IF_RANGE, value),
        ]);
        if let Requested::Bytes(specs) = requested(&headers) {
            prop_assert!(!specs.is_empty() && specs.len() <= MAX_PARTS);
        }
        if let Some(range) = content_range(&headers) {
            prop_assert!(range.span.is_some() || range.complete_length.is_some());
            if let (Some(span), Some(length)) = (range.span, range.complete_length) {
                prop_assert!(span.start < span.end && span.end <= length);
            }
        }
        prop_assert!(!if_range_holds(&headers, &HeaderMap::new()), "nothing stored, nothing \
             matches");
    }

    #[test]
    fn the_length_of_a_multipart_body_is_exact(
        spans in proptest::collection::vec(span(), 1..8),
        random: u128,
    ) {
        let laid_out = multipart(&spans, &Boundary::new(random), None, LENGTH);
        let sent: u64 = laid_out.parts.iter()
            .map(|part| part.preamble.len() as u64 + part.span.length())
            .sum::<u64>() + laid_out.closing.len() as u64;
        prop_assert_eq!(laid_out.length, sent);
        prop_assert_eq!(laid_out.parts.iter().map(|part| part.span).collect::<Vec<_>>(), spans);
    }
}
