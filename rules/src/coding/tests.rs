#![allow(clippy::unwrap_used)]

use super::*;
use crate::validation::{Precondition, evaluate};
use crate::vary::accept_encoding_bucket;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;

fn fields(lines: &[(HeaderName, &str)]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in lines {
        fields.append(name, HeaderValue::from_str(value).unwrap());
    }
    fields
}

fn accepted(line: &str) -> AcceptedCodings {
    AcceptedCodings::of(&fields(&[(ACCEPT_ENCODING, line)]))
}

fn rules() -> CodingRules {
    CodingRules {
        types: WhichTypes::new(DEFAULT_TYPES),
        min: 1000,
        max: 10_000,
        order: vec![Coding::Br, Coding::Zstd, Coding::Gzip],
        levels: [6, 5, 3],
    }
}

#[test]
fn a_client_gets_what_it_wants_most_and_of_equals_what_the_site_prefers() {
    use Coding::*;
    for (line, expected) in [
        ("gzip, deflate, br, zstd", Some(Br)),
        ("gzip, deflate, zstd", Some(Zstd)),
        ("gzip, deflate", Some(Gzip)),
        ("x-gzip", Some(Gzip)),
        ("*", Some(Br)),
        ("br;q=0, *;q=0.5", Some(Zstd)),
        ("br;q=0.5, gzip;q=0.9, zstd;q=0.9", Some(Zstd)),
        ("gzip, br;q=0.9", Some(Gzip)),
        ("identity, br;q=0.5", None),
        ("identity;q=0.5, br;q=0.5", Some(Br)),
        ("identity;q=0", None),
        ("deflate", None),
        ("", None),
        ("br;q=0", None),
        ("br;q=nonsense", None),
    ] {
        assert_eq!(accepted(line).choose(&rules().order), expected, "{line:?}");
    }
    let none = AcceptedCodings::of(&HeaderMap::new());
    assert_eq!((none.choose(&rules().order), none.is_present()), (None, false));
    assert_eq!(accepted("br").choose(&[Gzip, Zstd]), None, "the site has no br");
    assert!(accepted("identity, gzip;q=0.1").reads(Gzip), "what is not wanted can still be read");
    assert!(!accepted("gzip;q=0").reads(Gzip));
}

fn candidate(fields: &HeaderMap) -> Candidate<'_> {
    let key = b"http://example.com/";
    Candidate { status: StatusCode::OK, fields, length: Some(5000), key, authorized: false }
}

#[test]
fn what_may_be_compressed_and_why_the_rest_is_not() {
    let page = [(CONTENT_TYPE, "text/html; charset=utf-8")];
    let with = |name: &'static str, value: &'static str| {
        let mut all = fields(&page);
        all.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        all
    };
    let plain = fields(&page);
    let judge = |candidate: Candidate<'_>| rules().permit(&candidate).map_err(Uncoded::word);
    assert_eq!(judge(candidate(&plain)), Ok(()));
    for (changed, why) in [
        (with("content-encoding", "gzip"), "encoded"),
        (with("content-encoding", "identity, aes128gcm"), "encoded"),
        (with("cache-control", "max-age=9, No-Transform"), "no-transform"),
        (with("cdn-cache-control", "max-age=9, no-transform"), "no-transform"),
        (with("cache-control", "private"), "personal"),
        (with("cache-control", "no-store"), "personal"),
        (with("set-cookie", "a=b"), "set-cookie"),
        (with("vary", "Accept, Cookie"), "personal"),
        (with("vary", "authorization"), "personal"),
        (with("vary", "*"), "personal"),
    ] {
        assert_eq!(judge(candidate(&changed)), Err(why), "{changed:?}");
    }
    assert_eq!(judge(candidate(&with("content-encoding", "identity"))), Ok(()));
    assert_eq!(judge(candidate(&with("vary", "accept-encoding"))), Ok(()));
    for (status, why) in [(206, "status"), (304, "status"), (301, "status"), (500, "status")] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(judge(Candidate { status, ..candidate(&plain) }), Err(why));
    }
    let of_length = |length| judge(Candidate { length, ..candidate(&plain) });
    assert_eq!(of_length(Some(999)), Err("too-short"));
    assert_eq!(of_length(Some(10_001)), Err("too-long"));
    assert_eq!(
        (of_length(Some(1000)), of_length(Some(10_000)), of_length(None)),
        (Ok(()), Ok(()), Ok(()))
    );
    let keyed = Candidate { key: b"http://example.com/\ncookie currency=eur", ..candidate(&plain) };
    assert_eq!(judge(keyed), Err("cookie-in-key"));
    let authorized = Candidate { authorized: true, ..candidate(&plain) };
    assert_eq!(judge(authorized), Err("authorization"));
    for (content_type, is_taken) in [
        ("text/css", true),
        ("TEXT/Plain;charset=x", true),
        ("application/json", true),
        ("image/svg+xml", true),
        ("application/jsonp", false),
        ("image/png", false),
        ("text/event-stream", false),
        ("font/woff2", false),
        ("text", false),
        ("", false),
    ] {
        assert_eq!(rules().types.take(content_type.as_bytes()), is_taken, "{content_type}");
    }
    assert_eq!(judge(candidate(&HeaderMap::new())), Err("type"));
    let words: std::collections::HashSet<_> = Uncoded::ALL.iter().map(|why| why.word()).collect();
    assert_eq!(words.len(), Uncoded::ALL.len());
    assert!(Uncoded::ALL.iter().all(|why| !why.sentence().is_empty()));
}

#[test]
fn a_form_has_the_fields_of_the_original_but_what_its_bytes_change() {
    let original = fields(&[
        (ETAG, "\"abc\""),
        (CONTENT_LENGTH, "5000"),
        (CONTENT_TYPE, "text/css"),
        (ACCEPT_RANGES, "bytes"),
        (VARY, "Origin"),
        (HeaderName::from_static("content-md5"), "x"),
        (HeaderName::from_static("content-digest"), "x"),
        (HeaderName::from_static("repr-digest"), "x"),
        (HeaderName::from_static("digest"), "x"),
        (HeaderName::from_static("x-app"), "1"),
    ]);
    let coded = coded_fields(&original, Coding::Br, 700);
    let expected = fields(&[
        (ETAG, "\"abc-br\""),
        (CONTENT_LENGTH, "700"),
        (CONTENT_TYPE, "text/css"),
        (ACCEPT_RANGES, "bytes"),
        (CONTENT_ENCODING, "br"),
        (VARY, "Origin"),
        (VARY, "Accept-Encoding"),
        (HeaderName::from_static("x-app"), "1"),
    ]);
    assert_eq!(coded, expected);
    // Without a strong tag, ranges of two forms could not be told apart.
    for tag in [Some("W/\"abc\""), None, Some("abc")] {
        let mut other = original.clone();
        other.remove(ETAG);
        other.insert(LAST_MODIFIED, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        if let Some(tag) = tag {
            other.insert(ETAG, HeaderValue::from_static(tag));
        }
        let coded = coded_fields(&other, Coding::Gzip, 7);
        assert_eq!(
            coded.get(ETAG),
            tag.filter(|tag| tag.starts_with('W')).map(HeaderValue::from_static).as_ref()
        );
        assert!(!coded.contains_key(ACCEPT_RANGES));
    }
    let gzipped = coded_fields(&original, Coding::Gzip, 9);
    let decoded = decoded_fields(&gzipped);
    assert_eq!(decoded[ETAG], "\"abc-gzip-identity\"");
    for gone in [CONTENT_ENCODING, CONTENT_LENGTH, ACCEPT_RANGES] {
        assert!(!decoded.contains_key(&gone), "{gone}");
    }
    assert_eq!(decoded.get_all(VARY).iter().count(), 2);
}

#[test]
fn vary_is_named_once() {
    for (lines, after) in [
        (&[][..], &["Accept-Encoding"][..]),
        (&["Cookie"], &["Cookie", "Accept-Encoding"]),
        (&["Origin, accept-encoding"], &["Origin, accept-encoding"]),
        (&["*"], &["*"]),
    ] {
        let mut all = fields(&lines.iter().map(|line| (VARY, *line)).collect::<Vec<_>>());
        vary_by_coding(&mut all);
        assert_eq!(all.get_all(VARY).iter().collect::<Vec<_>>(), after);
    }
}

#[test]
fn tags_are_marked_and_mapped_back() {
    let mark = |tag: &'static str| {
        marks::marked(&HeaderValue::from_static(tag), "br")
            .map(|tag| tag.to_str().unwrap().to_owned())
    };
    assert_eq!(mark("\"abc\"").as_deref(), Some("\"abc-br\""));
    assert_eq!(mark("\"\"").as_deref(), Some("\"-br\""));
    assert_eq!(mark("W/\"abc\"").as_deref(), Some("W/\"abc\""));
    assert_eq!(mark("abc"), None);
    let unmarked =
        |tag: &str| marks::unmarked(tag.as_bytes()).map(|tag| String::from_utf8(tag).unwrap());
    assert_eq!(unmarked("\"abc-br\"").as_deref(), Some("\"abc\""));
    assert_eq!(unmarked("\"-gzip\"").as_deref(), Some("\"\""));
    assert_eq!(unmarked("W/\"abc-zstd\"").as_deref(), Some("W/\"abc\""));
    assert_eq!(unmarked("\"abc-gzip-identity\"").as_deref(), Some("\"abc-gzip\""));
    for odd in ["\"abc\"", "\"abc-BR\"", "abc-br", "*", "", "\"", "\"abcbr\"", "\"br\""] {
        assert_eq!(unmarked(odd), None, "{odd}");
    }
    let request = fields(&[
        (IF_NONE_MATCH, "\"x\", \"abc-br\""),
        (IF_NONE_MATCH, "W/\"abc-gzip\""),
        (IF_MATCH, "\"abc-zstd\""),
    ]);
    let sent = marks::unmarked_conditions(&request);
    assert_eq!(
        sent,
        [
            (IF_MATCH, HeaderValue::from_static("\"abc\"")),
            (IF_NONE_MATCH, HeaderValue::from_static("\"x\", \"abc\", W/\"abc\""))
        ]
    );
    assert!(marks::unmarked_conditions(&fields(&[(IF_NONE_MATCH, "\"x\"")])).is_empty());
    for (value, is_marked, is_date) in [
        ("\"abc-br\"", true, false),
        ("\"abc\"", false, false),
        ("W/\"abc\"", false, false),
        ("Sun, 06 Nov 1994 08:49:37 GMT", false, true),
    ] {
        let request = fields(&[(IF_RANGE, value)]);
        assert_eq!(marks::if_range_is_marked(&request), is_marked, "{value}");
        assert_eq!(marks::if_range_is_date(&request), is_date, "{value}");
    }
}

#[test]
fn a_304_names_the_copy_that_the_client_has() {
    let etag = HeaderValue::from_static("\"abc\"");
    for (named, chosen, expected) in [
        ("\"abc-br\"", Some(Coding::Br), Some("\"abc-br\"")),
        ("\"abc-gzip\"", Some(Coding::Br), Some("\"abc-gzip\"")),
        ("W/\"abc-gzip\"", None, Some("\"abc-gzip\"")),
        ("\"abc\"", Some(Coding::Br), None),
        ("\"abc\", \"abc-br\"", Some(Coding::Br), Some("\"abc-br\"")),
        ("\"abc\", \"abc-br\"", None, None),
        ("*", Some(Coding::Br), None),
    ] {
        let request = fields(&[(IF_NONE_MATCH, named)]);
        let told = marks::named(&request, &etag, chosen);
        assert_eq!(told, expected.map(HeaderValue::from_static), "{named}");
    }
}

/// Any Accept-Encoding a client may send.
fn any_line() -> impl Strategy<Value = String> {
    let name =
        prop_oneof!["gzip", "br", "zstd", "identity", "\\*", "x-gzip", "deflate", "[a-z]{0,4}"];
    let weight = prop_oneof![Just(String::new()), "; ?q=(0|1|0\\.[0-9]{1,3}|[a-z])"];
    proptest::collection::vec((name, weight), 0..6).prop_map(|all| {
        all.into_iter().map(|(name, weight)| name + &weight).collect::<Vec<_>>().join(", ")
    })
}

fn any_tag() -> impl Strategy<Value = String> {
    "(W/)?\"[a-z-]{0,6}(-br|-gzip|-zstd|-identity)?\""
}

proptest! {
    /// What is chosen is among what the site has and in the bucket that origins are asked with; more wishes never
    /// make less of it.
    #[test]
    fn a_client_never_gets_what_it_did_not_ask_for(
        line in any_line(),
        order in Just(Coding::ALL.to_vec()).prop_shuffle(),
        count in 1usize..=3,
    ) {
        let request = fields(&[(ACCEPT_ENCODING, &line)]);
        let order = &order[..count];
        let accepted = AcceptedCodings::of(&request);
        let bucket = accept_encoding_bucket(&request).unwrap();
        let in_bucket = |coding: Coding| bucket.split(", ").any(|name| name == coding.name());
        match accepted.choose(order) {
            Some(chosen) => {
                prop_assert!(order.contains(&chosen) && in_bucket(chosen) && accepted.reads(chosen));
            }
            None => prop_assert!(!order.iter().any(|coding| in_bucket(*coding))),
        }
        prop_assert!(!line.contains("br") && !line.contains('*') || accepted.is_present());
        let refused = AcceptedCodings::of(&fields(&[(ACCEPT_ENCODING, "br;q=0, gzip;q=0, zstd;q=0")]));
        prop_assert_eq!(refused.choose(order), None);
    }

    /// A mark comes off again, no form has the tag of another, and what reaches an upstream has no mark.
    #[test]
    fn marks_come_off_and_never_reach_an_upstream(tags in proptest::collection::vec(any_tag(), 1..5)) {
        for tag in &tags {
            let plain = HeaderValue::from_str(tag).unwrap();
            let forms: Vec<_> = Coding::ALL.into_iter().map(|coding| marks::marked(&plain, coding.name()).unwrap()).collect();
            for form in &forms {
                if tag.starts_with('W') {
                    prop_assert_eq!(form, &plain);
                } else {
                    prop_assert_ne!(form, &plain);
                    prop_assert_eq!(marks::unmarked(form.as_bytes()).unwrap(), tag.as_bytes());
                }
            }
        }
        let request = fields(&[(IF_NONE_MATCH, &tags.join(", "))]);
        let named: Vec<&String> = tags.iter().filter(|tag| marks::unmarked(tag.as_bytes()).is_some()).collect();
        match marks::unmarked_conditions(&request).as_slice() {
            [] => prop_assert!(named.is_empty()),
            [(_, sent)] => {
                let expected: Vec<_> = tags.iter().map(|tag| {
                    marks::unmarked(tag.as_bytes()).map_or(tag.clone(), |tag| String::from_utf8(tag).unwrap())
                }).collect();
                prop_assert_eq!(sent.to_str().unwrap(), expected.join(", "));
            }
            _ => prop_assert!(false),
        }
    }

    /// A client that names any form of a response gets 304, and one that names none of them does not.
    #[test]
    fn if_none_match_takes_every_form_and_nothing_else(
        content in "[a-z]{1,4}",
        mark in proptest::option::of(prop_oneof![Just("br"), Just("gzip"), Just("zstd"), Just("identity")]),
        other in "[A-Z]{1,4}",
    ) {
        let original = fields(&[(ETAG, &format!("\"{content}\""))]);
        let tag = match mark {
            Some(mark) => format!("\"{content}-{mark}\""),
            None => format!("\"{content}\""),
        };
        for (line, expected) in [
            (format!("\"{other}\", {tag}"), Precondition::NotModified),
            (format!("\"{other}-br\""), Precondition::Send),
            (format!("\"{content}{other}-br\""), Precondition::Send),
        ] {
            let request = fields(&[(IF_NONE_MATCH, &line)]);
            let compared = marks::compared_conditions(&request).unwrap_or(request);
            prop_assert_eq!(evaluate(&compared, StatusCode::OK, &original), expected);
        }
    }

    /// No bytes are too odd to be read.
    #[test]
    fn any_bytes_are_read(line in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(value) = HeaderValue::from_bytes(&line) {
            let request = HeaderMap::from_iter([
                (ACCEPT_ENCODING, value.clone()),
                (IF_NONE_MATCH, value.clone()),
                (IF_RANGE, value.clone()),
                (CACHE_CONTROL, value.clone()),
                (CONTENT_TYPE, value),
            ]);
            let _ = AcceptedCodings::of(&request).choose(&Coding::ALL);
            let _ = marks::compared_conditions(&request);
            let _ = marks::unmarked_conditions(&request);
            let key = b"http://h/";
            let _ = rules().permit(&Candidate { status: StatusCode::OK, fields: &request, length: None, key, authorized: false });
        }
    }
}
