//! RFC 9111 §3, §5.2.2: what is stored at all, by method, status and directive.

use crate::support::Expected::{Fresh, Skip, Validated};
use crate::support::{Row, decide, judge, terms};
use http::{HeaderName, Method};
use weir_rules::storability::{SitePolicy, Storability};

const FRESH: &[&str] = &["Cache-Control: max-age=9"];

const STATUSES: &[Row<'_>] = &[
    ("§3 299", &[], 299, FRESH, Fresh(9)),
    ("§3 301", &[], 301, FRESH, Fresh(9)),
    ("§3 302", &[], 302, FRESH, Fresh(9)),
    ("§3 303", &[], 303, FRESH, Fresh(9)),
    ("§3 307", &[], 307, FRESH, Fresh(9)),
    ("§3 308", &[], 308, FRESH, Fresh(9)),
    ("§3 400", &[], 400, FRESH, Fresh(9)),
    ("§3 404", &[], 404, FRESH, Fresh(9)),
    ("§3 410", &[], 410, FRESH, Fresh(9)),
    ("§3 499", &[], 499, FRESH, Fresh(9)),
    ("§3 500", &[], 500, FRESH, Fresh(9)),
    ("§3 502", &[], 502, FRESH, Fresh(9)),
    ("§3 503", &[], 503, FRESH, Fresh(9)),
    ("§3 504", &[], 504, FRESH, Fresh(9)),
    ("§3 599", &[], 599, FRESH, Fresh(9)),
    ("§3 interim", &[], 103, FRESH, Skip("status")),
    ("§4.3.4 304", &[], 304, FRESH, Skip("status")),
    ("RFC 9110 §15 invalid", &[], 999, FRESH, Skip("status")),
    ("RFC 9110 §15.5.17 416", &["Range: bytes=9-"], 416, FRESH, Skip("status")),
    ("RFC 9110 §15.5.13 412", &[], 412, FRESH, Skip("status")),
    ("RFC 6585 §5 431", &[], 431, FRESH, Skip("status")),
];

const DIRECTIVES: &[Row<'_>] = &[
    ("§5.2.2.5 no-store", &[], 200, &["Cache-Control: no-store"], Skip("no-store")),
    ("§5.2.2.5 any case", &[], 200, &["Cache-Control: No-StOrE"], Skip("no-store")),
    (
        "§5.2.2.5 with max-age",
        &[],
        200,
        &["Cache-Control: max-age=9, no-store", "Expires: {+9}"],
        Skip("no-store"),
    ),
    ("§5.2.2.5 semicolon", &[], 200, &["Cache-Control: no-store; max-age=9"], Skip("no-store")),
    (
        "§5.2.2.5 open quote",
        &[],
        200,
        &["Cache-Control: max-age=9, x=\"a, no-store"],
        Skip("no-store"),
    ),
    ("§5.2.2.7 private", &[], 200, &["Cache-Control: private, max-age=9"], Skip("private")),
    ("§5.2.2.7 any case", &[], 200, &["Cache-Control: Private, max-age=9"], Skip("private")),
    ("§5.2.2.7 fields", &[], 200, &["Cache-Control: private=\"x-a, x-b\", max-age=9"], Fresh(9)),
    ("§5.2.2.7 no fields", &[], 200, &["Cache-Control: private=\"\", max-age=9"], Skip("private")),
    (
        "§5.2.2.7 needed field",
        &[],
        200,
        &["Cache-Control: private=\"vary\", max-age=9"],
        Skip("private"),
    ),
    ("§5.2.2.4 no-cache", &[], 200, &["Cache-Control: no-cache, max-age=9"], Skip("no-cache")),
    (
        "§5.2.2.4 validator",
        &[],
        200,
        &["Cache-Control: No-CaChE, max-age=9", "ETag: \"a\""],
        Validated,
    ),
    ("§5.2.2.4 fields", &[], 200, &["Cache-Control: no-cache=\"a\", max-age=9"], Fresh(9)),
    (
        "§5.2.2.2 must-revalidate",
        &[],
        200,
        &["Cache-Control: must-revalidate, max-age=9"],
        Fresh(9),
    ),
    (
        "§5.2.2.8 proxy-revalidate",
        &[],
        200,
        &["Cache-Control: proxy-revalidate, max-age=9"],
        Fresh(9),
    ),
    (
        "§5.2.2.3 understood",
        &[],
        200,
        &["Cache-Control: no-store, must-understand, max-age=9"],
        Fresh(9),
    ),
    (
        "§5.2.2.3 not",
        &[],
        599,
        &["Cache-Control: no-store, must-understand, max-age=9"],
        Skip("not-understood"),
    ),
    (
        "§5.2.2.3 not, no no-store",
        &[],
        599,
        &["Cache-Control: must-understand, max-age=9"],
        Skip("not-understood"),
    ),
    (
        "RFC 8246 immutable is no lifetime",
        &[],
        200,
        &["Cache-Control: immutable"],
        Skip("nothing-to-go-by"),
    ),
    ("§3 nothing", &[], 200, &[], Skip("nothing-to-go-by")),
    ("§3 only ETag", &[], 200, &["ETag: \"a\""], Validated),
    ("§3 only public", &[], 200, &["Cache-Control: public"], Skip("nothing-to-go-by")),
    ("§4.1 Vary *", &[], 200, &["Cache-Control: max-age=9", "Vary: *"], Skip("vary-any")),
    (
        "§4.1 Vary a, *",
        &[],
        200,
        &["Cache-Control: max-age=9", "Vary: a", "Vary: *"],
        Skip("vary-any"),
    ),
    (
        "§5.4 Pragma in a response",
        &[],
        200,
        &["Cache-Control: max-age=9", "Pragma: no-cache"],
        Fresh(9),
    ),
    (
        "a validator needs to be one",
        &[],
        200,
        &["Last-Modified: 0", "ETag: "],
        Skip("nothing-to-go-by"),
    ),
];

#[test]
fn statuses() {
    judge(STATUSES, &SitePolicy::default());
}

#[test]
fn directives() {
    judge(DIRECTIVES, &SitePolicy::default());
}

#[test]
fn named_fields_are_left_out() {
    let response = ["Cache-Control: max-age=9, private=\"X-A, set-cookie\", no-cache=\"x-b\""];
    let mut omit = terms(&[], 200, &response, &SitePolicy::default()).omit;
    omit.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    let names = ["set-cookie", "x-a", "x-b"].map(HeaderName::from_static);
    assert_eq!(omit, names);
}

#[test]
fn a_post_is_stored_only_as_what_a_get_would_get() {
    // RFC 9110 §9.3.3
    let stored = |status, lines: &[&str]| {
        let found = decide(&Method::POST, &[], status, lines, &SitePolicy::default());
        matches!(found, Storability::Store(_))
    };
    for location in [
        "Content-Location: /page?q=1",
        "Content-Location: http://example.com/page?q=1",
        "Content-Location: HTTP://Example.COM/page?q=1",
    ] {
        assert!(stored(200, &["Cache-Control: max-age=9", location]), "{location}");
        assert!(stored(200, &["Expires: {+9}", location]), "{location}");
        assert!(!stored(200, &["ETag: \"a\"", "Last-Modified: {-900}", location]), "{location}");
        assert!(!stored(201, &["Cache-Control: max-age=9", location]), "{location}");
        let twice = ["Cache-Control: max-age=9", location, location];
        assert!(!stored(200, &twice), "{location}");
    }
    for location in [
        "Content-Location: /page",
        "Content-Location: /page?q=2",
        "Content-Location: page?q=1",
        "Content-Location: https://example.com/page?q=1",
        "Content-Location: http://example.org/page?q=1",
        "Content-Location: http://example.com:81/page?q=1",
        "Content-Location: ",
    ] {
        assert!(!stored(200, &["Cache-Control: max-age=9", location]), "{location}");
    }
    assert!(!stored(200, &["Cache-Control: max-age=9"]));
}

#[test]
fn other_methods_are_not_stored() {
    for method in ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "M-SEARCH"] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let found = decide(&method, &[], 200, FRESH, &SitePolicy::default());
        let Storability::Skip(reason) = found else { panic!("{method} is stored") };
        assert_eq!(reason.word(), "method");
    }
}
