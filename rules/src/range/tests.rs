use super::*;
use http::{HeaderName, HeaderValue};

fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
}

fn range(value: &'static str) -> Requested {
    requested(&headers(&[(RANGE, value)]))
}

fn span(start: u64, end: u64) -> Span {
    Span { start, end }
}

#[test]
fn range_fields_are_read() {
    use Spec::{From, FromTo, Suffix};
    for (value, specs) in [
        ("bytes=0-1", vec![FromTo(0, 1)]),
        ("Bytes=5-", vec![From(5)]),
        ("bytes=-5", vec![Suffix(5)]),
        ("bytes=-0", vec![Suffix(0)]),
        ("bytes= 0-0 , -1", vec![FromTo(0, 0), Suffix(1)]),
        ("bytes=,,1-2,,\t,3-4,", vec![FromTo(1, 2), FromTo(3, 4)]),
        ("bytes=007-008", vec![FromTo(7, 8)]),
        ("bytes=18446744073709551615-", vec![From(u64::MAX)]),
        ("bytes=1-99999999999999999999999", vec![FromTo(1, u64::MAX)]),
        ("bytes=-99999999999999999999999", vec![Suffix(u64::MAX)]),
    ] {
        assert_eq!(range(value), Requested::Bytes(specs), "{value}");
    }
}

#[test]
fn what_is_no_byte_range_is_ignored() {
    for value in [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=2-1",
        "bytes=1-2,3",
        "bytes=1 - 2",
        "bytes=+1-2",
        "bytes=1-2-3",
        "bytes=--1",
        "items=0-1",
        "bytes =0-1",
        "bytes=0x1-2",
        "0-1",
    ] {
        assert_eq!(range(value), Requested::Whole, "{value}");
    }
    assert_eq!(requested(&HeaderMap::new()), Requested::Whole);
    let mut two = headers(&[(RANGE, "bytes=0-1")]);
    two.append(RANGE, HeaderValue::from_static("bytes=2-3"));
    assert_eq!(requested(&two), Requested::Whole);
}

#[test]
fn too_many_parts_are_ignored() {
    let of = |n: usize| {
        let value = format!("bytes={}", vec!["0-0"; n].join(","));
        let value = HeaderValue::try_from(value).expect("digits");
        requested(&HeaderMap::from_iter([(RANGE, value)]))
    };
    assert!(matches!(of(MAX_PARTS), Requested::Bytes(specs) if specs.len() == MAX_PARTS));
    assert_eq!(of(MAX_PARTS + 1), Requested::Whole);
}

#[test]
fn ranges_resolve_against_a_length() {
    let whole = Resolved::Whole;
    let none = Resolved::Unsatisfiable;
    for (value, length, expected) in [
        ("bytes=0-1", 10, Resolved::One(span(0, 2))),
        ("bytes=0-", 10, Resolved::One(span(0, 10))),
        ("bytes=5-99", 10, Resolved::One(span(5, 10))),
        ("bytes=-3", 10, Resolved::One(span(7, 10))),
        ("bytes=-99", 10, Resolved::One(span(0, 10))),
        ("bytes=-0", 10, none.clone()),
        ("bytes=10-", 10, none.clone()),
        ("bytes=10-12,99-", 10, none.clone()),
        ("bytes=18446744073709551615-", u64::MAX, none.clone()),
        ("bytes=0-18446744073709551615", u64::MAX, Resolved::One(span(0, u64::MAX))),
        ("bytes=0-0", 0, none.clone()),
        ("bytes=-1", 0, whole.clone()),
        ("bytes=-0", 0, none),
        ("nonsense", 10, whole),
        ("bytes=0-1,50-60", 10, Resolved::One(span(0, 2))),
        ("bytes=0-1,4-5", 10, Resolved::Many(vec![span(0, 2), span(4, 6)])),
        ("bytes=8-9,0-1", 10, Resolved::Many(vec![span(8, 10), span(0, 2)])),
        ("bytes=0-1,2-3", 10, Resolved::One(span(0, 4))),
        ("bytes=0-5,3-9", 10, Resolved::One(span(0, 10))),
        ("bytes=8-9,0-1,4-5,1-4", 10, Resolved::Many(vec![span(8, 10), span(0, 6)])),
        ("bytes=0-1,4-5,2-3", 10, Resolved::One(span(0, 6))),
        ("bytes=20-30,50-60,0-10,8-22", 99, Resolved::Many(vec![span(0, 31), span(50, 61)])),
    ] {
        assert_eq!(resolve(&range(value), length), expected, "{value} of {length}");
    }
}

#[test]
fn content_range_is_read_unless_it_contradicts_itself() {
    let of = |value| content_range(&headers(&[(CONTENT_RANGE, value)]));
    let some = |span, complete_length| Some(ContentRange { span, complete_length });
    assert_eq!(of("bytes 0-4/10"), some(Some(span(0, 5)), Some(10)));
    assert_eq!(of("BYTES 4-9/*"), some(Some(span(4, 10)), None));
    assert_eq!(of("bytes */10"), some(None, Some(10)));
    for value in [
        "",
        "bytes",
        "bytes 0-4",
        "bytes 4-0/10",
        "bytes 0-10/10",
        "bytes 0-0/0",
        "bytes */*",
        "bytes a-b/c",
        "bytes 0-4/",
        "bytes -4/10",
        "bytes 0-/10",
        "items 0-4/10",
        "bytes=0-4/10",
        "bytes 0-18446744073709551615/*",
        "bytes 0-1/99999999999999999999",
        "bytes 0-4/10/10",
        "bytes 0 - 4/10",
    ] {
        assert_eq!(of(value), None, "{value}");
    }
    let mut two = headers(&[(CONTENT_RANGE, "bytes 0-4/10")]);
    two.append(CONTENT_RANGE, HeaderValue::from_static("bytes 0-4/10"));
    assert_eq!(content_range(&two), None);
}

#[test]
fn if_range_compares_strongly() {
    const OLD: &str = "Sat, 21 Nov 2026 10:00:00 GMT";
    const NEXT: &str = "Sat, 21 Nov 2026 10:00:01 GMT";
    let stored = |lines: &[(HeaderName, &'static str)]| headers(lines);
    let holds =
        |if_range, stored: &HeaderMap| if_range_holds(&headers(&[(IF_RANGE, if_range)]), stored);
    let tagged = stored(&[(ETAG, "\"a\""), (LAST_MODIFIED, OLD), (DATE, NEXT)]);
    assert!(if_range_holds(&HeaderMap::new(), &tagged));
    assert!(holds("\"a\"", &tagged));
    assert!(!holds("\"b\"", &tagged));
    assert!(!holds("W/\"a\"", &tagged));
    assert!(!holds("W/\"a\"", &stored(&[(ETAG, "W/\"a\"")])));
    assert!(!holds("\"a\"", &stored(&[(ETAG, "W/\"a\"")])));
    assert!(holds(OLD, &tagged));
    assert!(!holds(NEXT, &tagged), "later than stored is not the same");
    assert!(!holds(OLD, &stored(&[(LAST_MODIFIED, OLD), (DATE, OLD)])), "same second is weak");
    assert!(!holds(OLD, &stored(&[(LAST_MODIFIED, OLD)])), "without Date it is weak");
    assert!(!holds("nonsense", &stored(&[(LAST_MODIFIED, "nonsense"), (DATE, NEXT)])));
    assert!(!holds("", &stored(&[])));
}
