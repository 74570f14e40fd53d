//! RFC 9111 §4.2.2: heuristics, and the lifetimes that a site gives.

use crate::support::Expected::{Fresh, Skip, Validated};
use crate::support::{NOW, Row, fields, judge, terms};
use http::{Method, StatusCode};
use weir_rules::storability::{Exchange, LifetimeSource, SitePolicy, Storability, storability};

const DAY_OLD: &[&str] = &["Last-Modified: {-86400}", "Date: {+0}"];

const HEURISTICS: &[Row<'_>] = &[
    ("§4.2.2 a tenth", &[], 200, &["Last-Modified: {-600}", "Date: {+0}"], Fresh(60)),
    ("§4.2.2 bounded", &[], 200, DAY_OLD, Fresh(3600)),
    ("§4.2.2 changed just now", &[], 200, &["Last-Modified: {-5}"], Validated),
    ("§4.2.2 changed later", &[], 200, &["Last-Modified: {+500}"], Validated),
    ("§4.2.2 counts from Date", &[], 200, &["Last-Modified: {-1100}", "Date: {-100}"], Validated),
    (
        "§4.2.2 not with no-cache",
        &[],
        200,
        &["Last-Modified: {-600}", "Cache-Control: no-cache"],
        Validated,
    ),
    ("§5.4 nor with Pragma", &[], 200, &["Last-Modified: {-600}", "Pragma: no-cache"], Validated),
    ("RFC 9110 §15.1 203", &[], 203, DAY_OLD, Fresh(3600)),
    ("RFC 9110 §15.1 204", &[], 204, DAY_OLD, Fresh(3600)),
    ("RFC 9110 §15.1 300", &[], 300, DAY_OLD, Fresh(3600)),
    ("RFC 9110 §15.1 301", &[], 301, DAY_OLD, Fresh(3600)),
    ("RFC 9110 §15.1 308", &[], 308, DAY_OLD, Fresh(3600)),
    ("RFC 9110 §15.1 404", &[], 404, DAY_OLD, Fresh(3600)),
    ("RFC 9110 §15.1 405", &[], 405, DAY_OLD, Fresh(3600)),
    ("RFC 9110 §15.1 410", &[], 410, DAY_OLD, Fresh(3600)),
    ("RFC 9110 §15.1 414", &[], 414, DAY_OLD, Fresh(3600)),
    ("RFC 9110 §15.1 501", &[], 501, DAY_OLD, Fresh(3600)),
    ("§4.2.2 not 201", &[], 201, DAY_OLD, Skip("status")),
    ("§4.2.2 not 202", &[], 202, DAY_OLD, Skip("status")),
    ("§4.2.2 not 302", &[], 302, DAY_OLD, Skip("status")),
    ("§4.2.2 not 403", &[], 403, DAY_OLD, Skip("status")),
    ("§4.2.2 not 502", &[], 502, DAY_OLD, Skip("status")),
    ("§4.2.2 not 503", &[], 503, DAY_OLD, Skip("status")),
    ("§4.2.2 not 504", &[], 504, DAY_OLD, Skip("status")),
    ("§4.2.2 not 599", &[], 599, DAY_OLD, Skip("status")),
    (
        "§5.2.2.9 599 with public",
        &[],
        599,
        &["Last-Modified: {-86400}", "Cache-Control: public"],
        Fresh(3600),
    ),
    (
        "§5.2.2.9 302 with public",
        &[],
        302,
        &["Last-Modified: {-86400}", "Cache-Control: public"],
        Fresh(3600),
    ),
];

#[test]
fn heuristics() {
    judge(HEURISTICS, &SitePolicy::default());
}

#[test]
fn a_site_may_forbid_heuristics() {
    let policy = SitePolicy { heuristic_max: 0, ..SitePolicy::default() };
    judge(&[("heuristic_max", &[], 200, DAY_OLD, Validated)], &policy);
}

#[test]
fn default_ttl_is_for_a_200_that_says_nothing() {
    let policy = SitePolicy { default_ttl: 30, ..SitePolicy::default() };
    judge(
        &[
            ("nothing said", &[], 200, &[], Fresh(30)),
            ("before heuristics", &[], 200, DAY_OLD, Fresh(30)),
            ("a heuristic is left where it does not apply", &[], 203, DAY_OLD, Fresh(3600)),
            ("explicit first", &[], 200, &["Cache-Control: max-age=5"], Fresh(5)),
            ("explicit 0", &[], 200, &["Cache-Control: max-age=0"], Skip("already-stale")),
            ("other status", &[], 404, &[], Skip("nothing-to-go-by")),
            ("no-cache", &[], 200, &["Cache-Control: no-cache"], Skip("no-cache")),
            (
                "must-revalidate",
                &[],
                200,
                &["Cache-Control: must-revalidate"],
                Skip("nothing-to-go-by"),
            ),
            ("Cookie", &["Cookie: a=b"], 200, &[], Skip("cookie-without-freshness")),
            ("Set-Cookie", &[], 200, &["Set-Cookie: a=b"], Skip("set-cookie")),
            (
                "Set-Cookie and public",
                &[],
                200,
                &["Set-Cookie: a=b", "Cache-Control: public"],
                Skip("nothing-to-go-by"),
            ),
        ],
        &policy,
    );
}

#[test]
fn negative_ttl_is_for_errors_that_say_nothing() {
    let policy = SitePolicy { negative_ttl: 7, ..SitePolicy::default() };
    judge(
        &[
            ("404", &[], 404, &[], Fresh(7)),
            ("410", &[], 410, &[], Fresh(7)),
            ("before heuristics", &[], 404, DAY_OLD, Fresh(7)),
            ("500", &[], 500, &[], Fresh(7)),
            ("503", &[], 503, &[], Fresh(7)),
            ("403", &[], 403, &[], Skip("status")),
            ("RFC 6585 §4 429", &[], 429, &[], Skip("status")),
            ("RFC 6585 §6 511", &[], 511, &[], Skip("status")),
            ("200", &[], 200, &[], Skip("nothing-to-go-by")),
            ("no-store", &[], 404, &["Cache-Control: no-store"], Skip("no-store")),
            ("explicit first", &[], 503, &["Cache-Control: max-age=2"], Fresh(2)),
            ("Cookie", &["Cookie: a=b"], 404, &[], Skip("cookie-without-freshness")),
        ],
        &policy,
    );
}

fn versioned(request: &[&str], status: u16, response: &[&str]) -> Storability {
    let exchange = Exchange {
        method: &Method::GET,
        scheme: "https",
        host: "example.com",
        path: "/static/app.3f9a1c2b.js",
        query: None,
        request: &fields(request),
        status: StatusCode::from_u16(status).expect("a status"),
        response: &fields(response),
        request_time: NOW,
        response_time: NOW,
        received: NOW,
    };
    storability(&exchange, &SitePolicy::default())
}

#[test]
fn versioned_ttl_is_for_a_plain_200() {
    for response in [&[][..], &["ETag: \"a\""], DAY_OLD, &["Cache-Control: public"]] {
        let Storability::Store(terms) = versioned(&[], 200, response) else {
            panic!("{response:?} is not stored");
        };
        assert_eq!(terms.lifetime_source, LifetimeSource::Versioned, "{response:?}");
        assert_eq!(terms.freshness.lifetime, 31_536_000);
    }
}

#[test]
fn versioned_ttl_keeps_away_where_care_is_asked_for() {
    let rows: &[(&[&str], u16, &[&str])] = &[
        (&[], 404, &["ETag: \"a\""]),
        (&["Cookie: a=b"], 200, &["ETag: \"a\""]),
        (&["Authorization: x"], 200, &["ETag: \"a\"", "Cache-Control: public"]),
        (&[], 200, &["Set-Cookie: a=b", "Cache-Control: public", "ETag: \"a\""]),
        (&[], 200, &["Cache-Control: no-cache", "ETag: \"a\""]),
        (&[], 200, &["Cache-Control: no-store", "ETag: \"a\""]),
        (&[], 200, &["Cache-Control: private", "ETag: \"a\""]),
        (&[], 200, &["Cache-Control: must-revalidate", "ETag: \"a\""]),
        (&[], 200, &["Cache-Control: max-age=5", "ETag: \"a\""]),
        (&[], 200, &["Expires: 0", "ETag: \"a\""]),
        (&[], 200, &["Pragma: no-cache", "ETag: \"a\""]),
    ];
    for (request, status, response) in rows {
        if let Storability::Store(terms) = versioned(request, *status, response) {
            assert_ne!(
                terms.lifetime_source,
                LifetimeSource::Versioned,
                "{request:?} {response:?}"
            );
            assert!(terms.freshness.lifetime <= 5, "{request:?} {response:?}");
        }
    }
}

#[test]
fn where_a_lifetime_came_from_is_told() {
    let policy = SitePolicy { default_ttl: 9, ..SitePolicy::default() };
    let source = |response| terms(&[], 200, response, &policy).lifetime_source;
    assert_eq!(source(&["Expires: {+9}"]), LifetimeSource::Expires);
    assert_eq!(source(DAY_OLD), LifetimeSource::SiteDefault);
    assert_eq!(source(&[]), LifetimeSource::SiteDefault);
    let guessed = terms(&[], 200, DAY_OLD, &SitePolicy::default());
    assert_eq!(guessed.lifetime_source, LifetimeSource::Heuristic);
    assert_eq!(source(&["ETag: \"a\"", "Cache-Control: no-cache"]), LifetimeSource::ValidatorOnly);
}
