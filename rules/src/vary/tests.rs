use super::*;
use http::HeaderValue;

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

fn values(field: &'static str, lines: &[&'static str]) -> Vec<u8> {
    let lines: Vec<_> = lines.iter().map(|line| (field, *line)).collect();
    selecting_values(&[HeaderName::from_static(field)], &headers(&lines))
}

fn vary(lines: &[&'static str]) -> Vary {
    Vary::from_headers(&headers(&lines.iter().map(|line| ("vary", *line)).collect::<Vec<_>>()))
}

#[test]
fn vary_names_are_sorted_unique_and_lower_case() {
    let expected = ["accept", "foo"].map(HeaderName::from_static);
    assert_eq!(vary(&["Foo, ACCEPT,,foo", "Accept"]), Vary::Fields(Box::new(expected)));
    assert_eq!(vary(&[]), Vary::Nothing);
    assert_eq!(vary(&["", " , "]), Vary::Nothing);
}

#[test]
fn a_star_or_a_malformed_member_makes_vary_unselectable() {
    for lines in [
        &["*"][..],
        &["*, *"],
        &["*", "*"],
        &[", *"],
        &["", "*"],
        &["*, Foo"],
        &["Foo, *"],
        &["Foo Bar"],
        &["\"foo\""],
        &["Foo;q=1"],
    ] {
        assert_eq!(vary(lines), Vary::Any, "{lines:?}");
    }
}

#[test]
fn equal_wishes_meet() {
    for (field, a, b) in [
        ("foo", &["1, 2"][..], &["1", "2"][..]),
        ("foo", &["1,2"], &["1, 2 "]),
        ("foo", &["1,2"], &["1 \t,\t 2"]),
        ("accept-language", &["en, de"], &["de, en"]),
        ("accept-language", &["en, de"], &["eN, De"]),
        ("accept-language", &["en, de"], &["en ,   de"]),
        ("accept-language", &["en;q=0.5"], &["en ; Q=0.500"]),
        ("accept-language", &["en", "de"], &["de,en,,en"]),
        ("accept-language", &["de;q=1.0"], &["de"]),
        ("accept", &["text/html, image/png"], &["image/PNG,TEXT/html"]),
        ("accept", &["a/b; v=1;q=0.5, c/d"], &["c/d;q=1,a/b;v=1;q=0.50"]),
        ("accept-encoding", &["gzip, deflate"], &["deflate;q=0.1, gzip"]),
        ("cookie", &["a=1; b=2"], &["a=1", "b=2"]),
    ] {
        assert_eq!(values(field, a), values(field, b), "{field}: {a:?} {b:?}");
    }
}

#[test]
fn different_wishes_never_meet() {
    for (field, a, b) in [
        ("foo", &["1"][..], &["2"][..]),
        ("foo", &["a"], &["A"]),
        ("foo", &["1 2"], &["12"]),
        ("foo", &["1  2"], &["1 2"]),
        ("foo", &["\"1, 2\""], &["\"1,2\""]),
        ("foo", &["\"\\\", 2\""], &["\"\\\",2\""]),
        ("foo", &["\"1", "2\""], &["\"1,2\""]),
        ("foo", &["1,,2"], &["1,2"]),
        ("foo", &[""], &[]),
        ("accept-language", &[""], &[]),
        ("accept-encoding", &[""], &[]),
        ("accept-language", &["en;q=0.5, de"], &["en, de;q=0.5"]),
        ("accept-language", &["en"], &["en;q=0"]),
        ("accept-language", &["en;q=2"], &["en"]),
        ("accept", &["a/b;v=A"], &["a/b;v=a"]),
        ("accept", &["a/b;v=\"1,2\""], &["a/b;v=\"1, 2\""]),
        ("accept", &["a/b;q=0.5;x=1"], &["a/b;q=0.5"]),
        ("user-agent", &["x (KHTML, like Gecko)"], &["x (KHTML,like Gecko)"]),
        ("cookie", &["a=1,2"], &["a=1, 2"]),
        ("cookie", &["a=1"], &["A=1"]),
    ] {
        assert_ne!(values(field, a), values(field, b), "{field}: {a:?} {b:?}");
    }
}

#[test]
fn values_do_not_run_into_the_next_field() {
    let fields = ["a", "b"].map(HeaderName::from_static);
    let of = |lines| selecting_values(&fields, &headers(lines));
    let all = [
        of(&[]),
        of(&[("a", "1")]),
        of(&[("b", "1")]),
        of(&[("a", "")]),
        of(&[("a", "1"), ("b", "")]),
        of(&[("a", "=1"), ("b", "=")]),
        of(&[("a", "1"), ("b", "1")]),
    ];
    for (i, one) in all.iter().enumerate() {
        assert!(all[i + 1..].iter().all(|other| other != one), "{i}");
    }
}

fn language_selects(
    stored: &'static str,
    content_language: Option<&str>,
    presented: &'static str,
) -> bool {
    let fields = [ACCEPT_LANGUAGE];
    let stored = selecting_values(&fields, &headers(&[("accept-language", stored)]));
    selects(&fields, &stored, content_language, &headers(&[("accept-language", presented)]))
}

#[test]
fn the_most_wanted_language_selects_a_response_in_it() {
    assert!(language_selects("en, de", Some("de"), "fr;q=0.5, de;q=1.0"));
    assert!(language_selects("en, de", Some("DE"), "de, en;q=0.9"));
    assert!(language_selects("en", None, "EN"));
    assert!(!language_selects("en, de", Some("de"), "fr, de;q=0.9"));
    assert!(!language_selects("en, de", Some("de"), "fr, de"), "a tie has no most wanted");
    assert!(!language_selects("en, de", None, "de"));
    assert!(!language_selects("en, de", Some("de-AT"), "de"));
    assert!(!language_selects("en, de", Some("de, en"), "de"));
    assert!(!language_selects("en, de", Some("de"), "de;q=0"));
    assert!(!language_selects("en, de", Some("*"), ""));
}

#[test]
fn language_does_not_excuse_another_difference() {
    let fields = ["accept-language", "foo"].map(HeaderName::from_static);
    let stored =
        selecting_values(&fields, &headers(&[("accept-language", "en, de"), ("foo", "1")]));
    let with = |foo| headers(&[("accept-language", "de"), ("foo", foo)]);
    assert!(selects(&fields, &stored, Some("de"), &with("1")));
    assert!(!selects(&fields, &stored, Some("de"), &with("2")));
}
