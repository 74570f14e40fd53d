use super::*;

type Lines<'a> = &'a [(&'static str, &'a str)];

fn fields(lines: Lines<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a field value");
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

fn asked(request: Lines<'_>, stored: Lines<'_>) -> Precondition {
    evaluate(&fields(request), StatusCode::OK, &fields(stored))
}

const T0: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const T0_OBSOLETE: &str = "Sunday, 06-Nov-94 08:49:37 GMT";
const T1: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
const T9: &str = "Sun, 06 Nov 1994 09:49:37 GMT";

#[test]
fn if_none_match_compares_weakly_and_reads_lists() {
    // RFC 9110 §13.1.2
    for (condition, etag) in [
        ("\"abcdef\"", "\"abcdef\""),
        ("W/\"abcdef\"", "\"abcdef\""),
        ("\"abcdef\"", "W/\"abcdef\""),
        ("\"1\", \"2\" ,\"abcdef\"", "\"abcdef\""),
        ("\"a,b\", \"c\"", "\"a,b\""),
        ("*", "\"abcdef\""),
        ("\"abcdefü\"", "\"abcdefü\""),
        // Written wrongly, on either side.
        ("abcdef", "\"abcdef\""),
        ("\"abcdef\"", "abcdef"),
        ("abcdef", "abcdef"),
        ("w/\"abcdef\"", "w/\"abcdef\""),
        ("W\\\"abcdef\"", "W\\\"abcdef\""),
    ] {
        let found = asked(&[("if-none-match", condition)], &[("etag", etag)]);
        assert_eq!(found, Precondition::NotModified, "{condition} against {etag}");
    }
    for (condition, etag) in [
        ("\"abc\"", "\"abcdef\""),
        ("", "\"abcdef\""),
        ("\"1\", *", "\"abcdef\""),
        ("\"a\", \"b\"", "\"a, b\""),
        ("W/", "W/\"\""),
    ] {
        let found = asked(&[("if-none-match", condition)], &[("etag", etag)]);
        assert_eq!(found, Precondition::Send, "{condition} against {etag}");
    }
}

#[test]
fn if_none_match_lines_are_one_list() {
    let request = [("if-none-match", "\"1\""), ("if-none-match", "\"2\"")];
    assert_eq!(asked(&request, &[("etag", "\"2\"")]), Precondition::NotModified);
}

#[test]
fn if_none_match_goes_before_if_modified_since() {
    // RFC 9110 §13.2.2
    let matching = [("if-none-match", "\"a\""), ("if-modified-since", T0)];
    let stored = [("etag", "\"a\""), ("last-modified", T9)];
    assert_eq!(asked(&matching, &stored), Precondition::NotModified);
    let other = [("if-none-match", "\"b\""), ("if-modified-since", T9)];
    let stored = [("etag", "\"a\""), ("last-modified", T0)];
    assert_eq!(asked(&other, &stored), Precondition::Send);
    assert_eq!(asked(&other, &[("last-modified", T0)]), Precondition::Send);
}

#[test]
fn if_modified_since_compares_with_last_modified() {
    // RFC 9110 §13.1.3
    let stored = [("last-modified", T1), ("date", T9)];
    assert_eq!(asked(&[("if-modified-since", T1)], &stored), Precondition::NotModified);
    assert_eq!(asked(&[("if-modified-since", T9)], &stored), Precondition::NotModified);
    assert_eq!(asked(&[("if-modified-since", T0)], &stored), Precondition::Send);
    assert_eq!(asked(&[("if-modified-since", "yesterday")], &stored), Precondition::Send);
    let twice = [("if-modified-since", T9), ("if-modified-since", T9)];
    assert_eq!(asked(&twice, &stored), Precondition::Send);
    assert_eq!(
        asked(&[("if-modified-since", T0_OBSOLETE)], &[("last-modified", T0)]),
        Precondition::NotModified
    );
}

#[test]
fn without_last_modified_the_date_stands_in() {
    // RFC 9111 §4.3.2
    assert_eq!(asked(&[("if-modified-since", T9)], &[("date", T1)]), Precondition::NotModified);
    assert_eq!(asked(&[("if-modified-since", T0)], &[("date", T1)]), Precondition::Send);
    assert_eq!(asked(&[("if-modified-since", T9)], &[]), Precondition::Send);
}

#[test]
fn conditions_for_the_origin_are_forwarded() {
    // RFC 9111 §4.3.2
    for name in ["if-match", "if-unmodified-since"] {
        let request = [(name, "\"a\""), ("if-none-match", "\"a\"")];
        assert_eq!(asked(&request, &[("etag", "\"a\"")]), Precondition::Forward);
    }
}

#[test]
fn other_statuses_have_no_preconditions() {
    // RFC 9110 §13.2.1
    let (request, stored) = (fields(&[("if-none-match", "*")]), fields(&[("etag", "\"a\"")]));
    for (status, expected) in [
        (StatusCode::PARTIAL_CONTENT, Precondition::NotModified),
        (StatusCode::NOT_FOUND, Precondition::Send),
        (StatusCode::FOUND, Precondition::Send),
    ] {
        assert_eq!(evaluate(&request, status, &stored), expected, "{status}");
    }
}

#[test]
fn validation_sends_the_validators_as_they_were_written() {
    // RFC 9111 §4.3.1
    let sent = |stored: Lines<'_>| {
        let fields = conditional_fields(&fields(stored));
        let text = |v: HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
        fields.into_iter().map(|(name, value)| (name, text(value))).collect::<Vec<_>>()
    };
    assert_eq!(
        sent(&[("etag", "W/\"a\""), ("last-modified", T0_OBSOLETE)]),
        [(IF_NONE_MATCH, "W/\"a\"".to_owned()), (IF_MODIFIED_SINCE, T0_OBSOLETE.to_owned())]
    );
    assert_eq!(sent(&[("etag", "abc")]), [(IF_NONE_MATCH, "abc".to_owned())]);
    assert_eq!(sent(&[("etag", "*"), ("last-modified", "0")]), []);
    assert_eq!(sent(&[("etag", "a, *")]), []);
    assert_eq!(sent(&[("etag", "")]), []);
    assert_eq!(sent(&[("date", T0)]), []);
}

#[test]
fn a_304_is_about_what_its_validators_name() {
    // RFC 9111 §4.3.4
    let about = |new: Lines<'_>, old: Lines<'_>| selects_stored(&fields(new), &fields(old));
    assert!(about(&[("etag", "\"a\"")], &[("etag", "\"a\"")]));
    assert!(about(&[("etag", "W/\"a\"")], &[("etag", "\"a\"")]));
    assert!(about(&[("etag", "a")], &[("etag", "a")]));
    assert!(about(&[("last-modified", T0)], &[("last-modified", T0_OBSOLETE)]));
    assert!(about(&[], &[("etag", "\"a\"")]));
    assert!(about(&[("last-modified", T0)], &[("etag", "\"a\"")]));
    assert!(!about(&[("etag", "\"b\"")], &[("etag", "\"a\"")]));
    assert!(!about(&[("etag", "\"a\"")], &[("etag", "W/\"a\"")]));
    assert!(!about(&[("etag", "\"a\"")], &[("last-modified", T0)]));
    assert!(!about(&[("last-modified", T1)], &[("last-modified", T0)]));
}

#[test]
fn an_update_replaces_all_lines_of_its_fields_and_adds_new_ones() {
    // RFC 9111 §3.2
    let stored = fields(&[
        ("link", "</a>"),
        ("link", "</b>"),
        ("x-old", "1"),
        ("cache-control", "max-age=1"),
        ("etag", "\"a\""),
    ]);
    let update =
        fields(&[("link", "</c>"), ("x-new", "2"), ("x-new", "3"), ("cache-control", "max-age=9")]);
    let expected = fields(&[
        ("link", "</c>"),
        ("x-old", "1"),
        ("x-new", "2"),
        ("x-new", "3"),
        ("cache-control", "max-age=9"),
        ("etag", "\"a\""),
    ]);
    assert_eq!(freshened(&stored, &update), expected);
}

#[test]
fn an_update_leaves_content_cookies_and_the_hop_alone() {
    let stored = fields(&[
        ("content-length", "36"),
        ("content-encoding", "br"),
        ("content-type", "text/plain"),
        ("content-range", "bytes 0-35/99"),
    ]);
    let update = fields(&[
        ("content-length", "10"),
        ("content-encoding", "gzip"),
        ("content-type", "text/html"),
        ("content-range", "bytes 0-9/10"),
        ("set-cookie", "a=b"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "1"),
    ]);
    assert_eq!(freshened(&stored, &update), stored);
}

#[test]
fn the_age_starts_anew() {
    let stored = fields(&[("age", "500"), ("date", T0), ("x", "1")]);
    assert_eq!(freshened(&stored, &HeaderMap::new()), fields(&[("x", "1")]));
    let update = fields(&[("age", "3"), ("date", T9)]);
    assert_eq!(freshened(&stored, &update), fields(&[("age", "3"), ("date", T9), ("x", "1")]));
}

#[test]
fn strong_validators() {
    let strong = |lines: Lines<'_>| strong_validator(&fields(lines));
    assert_eq!(strong(&[("etag", "\"a\"")]), Some(StrongValidator::ETag("\"a\"".to_owned())));
    let settled = Some(StrongValidator::LastModified(T0.to_owned()));
    assert_eq!(strong(&[("last-modified", T0), ("date", T1)]), settled);
    assert_eq!(strong(&[("etag", "W/\"a\""), ("last-modified", T0), ("date", T9)]), settled);
    assert_eq!(strong(&[("last-modified", T0), ("date", T0)]), None);
    assert_eq!(strong(&[("last-modified", T0)]), None);
    assert_eq!(strong(&[("etag", "W/\"a\"")]), None);
    assert_eq!(strong(&[("etag", "a")]), None);
}

#[test]
fn unsafe_methods_that_succeed_invalidate() {
    // RFC 9111 §4.4
    let invalidates = |method: &str, status: u16| {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        invalidates(&method, StatusCode::from_u16(status).expect("a status"))
    };
    for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "FOO"] {
        assert!(invalidates(method, 200) && invalidates(method, 303), "{method}");
        assert!(!invalidates(method, 404) && !invalidates(method, 500), "{method}");
    }
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "QUERY"] {
        assert!(!invalidates(method, 200), "{method}");
    }
}
