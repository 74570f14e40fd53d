//! RFC 9213: a field for caches like this one takes the place of Cache-Control and Expires.

use crate::support::Expected::{Fresh, Skip, Validated};
use crate::support::{Row, judge};
use weir_rules::storability::SitePolicy;

const CDN: &[Row<'_>] = &[
    ("§2.2", &[], 200, &["CDN-Cache-Control: max-age=3600"], Fresh(3600)),
    ("§2.2 2^31", &[], 200, &["CDN-Cache-Control: max-age=2147483648"], Fresh(31_536_000)),
    ("§2.2 more", &[], 200, &["CDN-Cache-Control: max-age=99999999999"], Fresh(31_536_000)),
    (
        "RFC 9111 §4.2.3 Age counts",
        &[],
        200,
        &["CDN-Cache-Control: max-age=3600", "Age: 7200", "Date: {+0}"],
        Skip("already-stale"),
    ),
    ("§2.2 max-age=0", &[], 200, &["CDN-Cache-Control: max-age=0"], Skip("already-stale")),
    ("§2.1 unknown member", &[], 200, &["CDN-Cache-Control: foobar, max-age=3600"], Fresh(3600)),
    (
        "§2.2 past Expires",
        &[],
        200,
        &["CDN-Cache-Control: max-age=3600", "Expires: {-10000}"],
        Fresh(3600),
    ),
    (
        "§2.2 invalid Expires",
        &[],
        200,
        &["CDN-Cache-Control: max-age=3600", "Expires: 0"],
        Fresh(3600),
    ),
    (
        "§2.2 max-age=0 over Expires",
        &[],
        200,
        &["CDN-Cache-Control: max-age=0", "Expires: {+10000}"],
        Skip("already-stale"),
    ),
    (
        "§2.2 long over short",
        &[],
        200,
        &["Cache-Control: max-age=1", "CDN-Cache-Control: max-age=3600"],
        Fresh(3600),
    ),
    (
        "§2.2 short over long",
        &[],
        200,
        &["Cache-Control: max-age=3600", "CDN-Cache-Control: max-age=1"],
        Fresh(1),
    ),
    (
        "§2.2 private",
        &[],
        200,
        &["CDN-Cache-Control: private", "Cache-Control: max-age=9", "Expires: {+9}"],
        Skip("private"),
    ),
    (
        "§2.2 no-cache",
        &[],
        200,
        &["CDN-Cache-Control: no-cache", "Cache-Control: max-age=9", "Expires: {+9}"],
        Skip("no-cache"),
    ),
    (
        "§2.2 no-cache, validator",
        &[],
        200,
        &["CDN-Cache-Control: no-cache", "Cache-Control: max-age=9", "ETag: \"a\""],
        Validated,
    ),
    (
        "§2.2 no-store",
        &[],
        200,
        &["CDN-Cache-Control: no-store", "Cache-Control: max-age=9", "Expires: {+9}"],
        Skip("no-store"),
    ),
    (
        "§2.2 over no-store",
        &[],
        200,
        &["CDN-Cache-Control: max-age=10000", "Cache-Control: no-store"],
        Fresh(10_000),
    ),
    (
        "§2.2 over private",
        &[],
        200,
        &["CDN-Cache-Control: max-age=10000", "Cache-Control: private"],
        Fresh(10_000),
    ),
    (
        "§2.1 unknown type",
        &[],
        200,
        &["CDN-Cache-Control: max-age=10000, &&&&&", "Cache-Control: no-store"],
        Skip("no-store"),
    ),
    (
        "§2.1 wrong type",
        &[],
        200,
        &["CDN-Cache-Control: max-age=\"10000\"", "Cache-Control: no-store"],
        Skip("no-store"),
    ),
    ("§2.1 empty", &[], 200, &["CDN-Cache-Control: ", "Cache-Control: max-age=9"], Fresh(9)),
    (
        "§2.1 keys are lower case",
        &[],
        200,
        &["CDN-Cache-Control: Max-Age=90", "Cache-Control: max-age=9"],
        Fresh(9),
    ),
    (
        "§2.2 no lifetime, no Expires",
        &[],
        200,
        &["CDN-Cache-Control: foo", "Cache-Control: max-age=9", "Expires: {+9}"],
        Skip("nothing-to-go-by"),
    ),
];

const SURROGATE: &[Row<'_>] = &[
    ("governs", &[], 200, &["Surrogate-Control: max-age=30", "Cache-Control: no-store"], Fresh(30)),
    (
        "no-store",
        &[],
        200,
        &["Surrogate-Control: no-store", "Cache-Control: max-age=9"],
        Skip("no-store"),
    ),
    (
        "extension",
        &[],
        200,
        &["Surrogate-Control: max-age=30+60", "Cache-Control: private"],
        Fresh(30),
    ),
    (
        "content alone",
        &[],
        200,
        &["Surrogate-Control: content=\"ESI/1.0\"", "Cache-Control: max-age=9"],
        Fresh(9),
    ),
    (
        "for another",
        &[],
        200,
        &["Surrogate-Control: max-age=30;other", "Cache-Control: max-age=9"],
        Fresh(9),
    ),
    (
        "after CDN-Cache-Control",
        &[],
        200,
        &["Surrogate-Control: max-age=30", "CDN-Cache-Control: max-age=5"],
        Fresh(5),
    ),
    (
        "where that is invalid",
        &[],
        200,
        &["Surrogate-Control: max-age=30", "CDN-Cache-Control: max-age=x"],
        Fresh(30),
    ),
];

#[test]
fn cdn_cache_control() {
    judge(CDN, &SitePolicy::default());
}

#[test]
fn surrogate_control() {
    judge(SURROGATE, &SitePolicy::default());
}
