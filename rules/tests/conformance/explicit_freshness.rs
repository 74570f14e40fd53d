//! RFC 9111 §4.2.1, §4.2.3, §5.1, §5.2, §5.3: what a response says of its own freshness.

use crate::support::Expected::{Fresh, Skip};
use crate::support::{Row, judge};
use weir_rules::storability::SitePolicy;

const DIRECTIVES: &[Row<'_>] = &[
    ("§5.2.2.1 max-age", &[], 200, &["Cache-Control: max-age=3600"], Fresh(3600)),
    ("§5.2.2.1 max-age=0", &[], 200, &["Cache-Control: max-age=0"], Skip("already-stale")),
    ("§5.2 any case", &[], 200, &["Cache-Control: MaX-aGe=3600"], Fresh(3600)),
    ("§5.2.3 unknown directive", &[], 200, &["Cache-Control: foobar, max-age=3600"], Fresh(3600)),
    ("§1.2.2 2^31-1", &[], 200, &["Cache-Control: max-age=2147483647"], Fresh(31_536_000)),
    ("§1.2.2 2^31", &[], 200, &["Cache-Control: max-age=2147483648"], Fresh(31_536_000)),
    ("§1.2.2 overflow", &[], 200, &["Cache-Control: max-age=99999999999"], Fresh(31_536_000)),
    ("§1.2.2 leading zeros", &[], 200, &["Cache-Control: max-age=003600"], Fresh(3600)),
    ("§5.2 quoted", &[], 200, &["Cache-Control: max-age=\"3600\""], Fresh(3600)),
    ("§4.2.1 negative", &[], 200, &["Cache-Control: max-age=-3600"], Skip("already-stale")),
    ("§4.2.1 not digits", &[], 200, &["Cache-Control: max-age='3600'"], Skip("already-stale")),
    ("§4.2.1 decimal", &[], 200, &["Cache-Control: max-age=3600.0"], Skip("already-stale")),
    ("§4.2.1 letters before", &[], 200, &["Cache-Control: max-age=a100"], Skip("already-stale")),
    ("§4.2.1 letters after", &[], 200, &["Cache-Control: max-age=100a"], Skip("already-stale")),
    ("§5.2 space before =", &[], 200, &["Cache-Control: max-age =3600"], Skip("already-stale")),
    ("§5.2 space after =", &[], 200, &["Cache-Control: max-age= 3600"], Skip("already-stale")),
    (
        "§5.2 quoted strings hold no directives",
        &[],
        200,
        &["Cache-Control: extension=\"max-age=3600\", max-age=1"],
        Fresh(1),
    ),
    (
        "§5.2 quoted strings hold no directives, after",
        &[],
        200,
        &["Cache-Control: max-age=1, extension=\"max-age=3600\""],
        Fresh(1),
    ),
    ("§4.2.1 conflict", &[], 200, &["Cache-Control: max-age=1800, max-age=1"], Fresh(1)),
    (
        "§4.2.1 conflict over lines",
        &[],
        200,
        &["Cache-Control: max-age=1", "Cache-Control: max-age=1800"],
        Fresh(1),
    ),
    ("§5.2.2.10 s-maxage", &[], 200, &["Cache-Control: s-maxage=3600"], Fresh(3600)),
    ("§4.2.1 short s-maxage", &[], 200, &["Cache-Control: s-maxage=1, max-age=3600"], Fresh(1)),
    ("§4.2.1 long s-maxage", &[], 200, &["Cache-Control: max-age=1, s-maxage=3600"], Fresh(3600)),
    (
        "§4.2.1 s-maxage over max-age=0 and Expires",
        &[],
        200,
        &["Expires: {-10}", "Cache-Control: max-age=0, s-maxage=3600"],
        Fresh(3600),
    ),
];

const EXPIRES: &[Row<'_>] = &[
    ("§5.3 future", &[], 200, &["Expires: {+2592000}", "Date: {+0}"], Fresh(2_592_000)),
    ("§5.3 past", &[], 200, &["Expires: {-2592000}", "Date: {+0}"], Skip("already-stale")),
    ("§5.3 now", &[], 200, &["Expires: {+0}", "Date: {+0}"], Skip("already-stale")),
    (
        "§4.2.1 before a fast Date",
        &[],
        200,
        &["Expires: {+300}", "Date: {+400}"],
        Skip("already-stale"),
    ),
    ("§4.2.1 from Date", &[], 200, &["Expires: {+20}", "Date: {+10}"], Fresh(10)),
    ("§4.2.1 invalid Date", &[], 200, &["Expires: {+10}", "Date: foo"], Fresh(10)),
    ("§4.2.1 no Date", &[], 200, &["Expires: {+10}"], Fresh(10)),
    ("§5.3 `0`", &[], 200, &["Expires: 0", "Date: {+0}"], Skip("already-stale")),
    ("§4.2.1 several", &[], 200, &["Expires: {+20}", "Expires: {+30}"], Skip("already-stale")),
    (
        "§5.2.2.1 max-age over past Expires",
        &[],
        200,
        &["Cache-Control: max-age=3600", "Expires: {-7200}"],
        Fresh(3600),
    ),
    (
        "§5.2.2.1 max-age over invalid Expires",
        &[],
        200,
        &["Cache-Control: max-age=3600", "Expires: 0"],
        Fresh(3600),
    ),
    (
        "§5.2.2.1 max-age=0 over Expires",
        &[],
        200,
        &["Cache-Control: max-age=0", "Expires: {+3600}"],
        Skip("already-stale"),
    ),
    (
        "RFC 9110 §5.6.7 RFC 850",
        &[],
        200,
        &["Expires: Thursday, 18-Aug-50 02:01:18 GMT"],
        Fresh(31_536_000),
    ),
    (
        "RFC 9110 §5.6.7 asctime",
        &[],
        200,
        &["Expires: Thu Aug  8 02:01:18 2050"],
        Fresh(31_536_000),
    ),
    ("§4.2 far future", &[], 200, &["Expires: Sun, 21 Nov 2286 04:46:39 GMT"], Fresh(31_536_000)),
    ("§4.2 32 bits", &[], 200, &["Expires: Tue, 19 Jan 2038 14:14:08 GMT"], Fresh(31_536_000)),
    (
        "§4.2 case of the day",
        &[],
        200,
        &["Expires: THU, 18 Aug 2050 02:01:18 GMT"],
        Fresh(31_536_000),
    ),
    (
        "§4.2 case of the month",
        &[],
        200,
        &["Expires: Thu, 18 AUG 2050 02:01:18 GMT"],
        Fresh(31_536_000),
    ),
    (
        "§4.2 case of the zone",
        &[],
        200,
        &["Expires: Thu, 18 Aug 2050 02:01:18 gMT"],
        Fresh(31_536_000),
    ),
    ("§4.2 zone UTC", &[], 200, &["Expires: Thu, 18 Aug 2050 02:01:18 UTC"], Skip("already-stale")),
    (
        "§4.2 zone AEST",
        &[],
        200,
        &["Expires: Thu, 18 Aug 2050 02:01:18 AEST"],
        Skip("already-stale"),
    ),
    (
        "§5.3 two-digit year",
        &[],
        200,
        &["Expires: Thu, 18 Aug 50 02:01:18 GMT"],
        Skip("already-stale"),
    ),
    ("§5.3 no comma", &[], 200, &["Expires: Thu 18 Aug 2050 02:01:18 GMT"], Skip("already-stale")),
    (
        "§5.3 more spaces",
        &[],
        200,
        &["Expires: Thu, 18  Aug  2050 02:01:18 GMT"],
        Skip("already-stale"),
    ),
    ("§5.3 dashes", &[], 200, &["Expires: Thu, 18-Aug-2050 02:01:18 GMT"], Skip("already-stale")),
    ("§5.3 periods", &[], 200, &["Expires: Thu, 18 Aug 2050 02.01.18 GMT"], Skip("already-stale")),
    (
        "§5.3 short hour",
        &[],
        200,
        &["Expires: Thu, 18 Aug 2050 2:01:18 GMT"],
        Skip("already-stale"),
    ),
];

const AGE: &[Row<'_>] = &[
    ("§5.1 Age", &[], 200, &["Cache-Control: max-age=3600", "Age: 600"], Fresh(3000)),
    (
        "§4.2 Age over max-age",
        &[],
        200,
        &["Cache-Control: max-age=3600", "Age: 7200"],
        Skip("already-stale"),
    ),
    (
        "§4.2.3 apparent_age",
        &[],
        200,
        &["Cache-Control: max-age=3600", "Date: {-600}"],
        Fresh(3000),
    ),
    (
        "§4.2.3 the larger",
        &[],
        200,
        &["Cache-Control: max-age=3600", "Date: {-60}", "Age: 600"],
        Fresh(3000),
    ),
    ("§4.2.3 fast Date", &[], 200, &["Cache-Control: max-age=3600", "Date: {+600}"], Fresh(3600)),
    (
        "§4.2 slow Date, Age, Expires",
        &[],
        200,
        &["Date: {-10}", "Expires: {+10}", "Age: 25"],
        Skip("already-stale"),
    ),
    (
        "§4.2 fast Date, Age, Expires",
        &[],
        200,
        &["Date: {+10}", "Expires: {+20}", "Age: 15"],
        Skip("already-stale"),
    ),
    ("§5.1 not a number", &[], 200, &["Cache-Control: max-age=3600", "Age: abc"], Fresh(3600)),
    ("§5.1 negative", &[], 200, &["Cache-Control: max-age=3600", "Age: -7200"], Fresh(3600)),
    ("§5.1 decimal", &[], 200, &["Cache-Control: max-age=3600", "Age: 7200.0"], Fresh(3600)),
    (
        "§5.1 2^31-1",
        &[],
        200,
        &["Cache-Control: max-age=3600", "Age: 2147483647"],
        Skip("already-stale"),
    ),
    (
        "§1.2.2 2^31",
        &[],
        200,
        &["Cache-Control: max-age=3600", "Age: 2147483648"],
        Skip("already-stale"),
    ),
    (
        "§1.2.2 2^64-1",
        &[],
        200,
        &["Cache-Control: max-age=3600", "Age: 18446744073709551615"],
        Skip("already-stale"),
    ),
    (
        "§5.1 list, old first",
        &[],
        200,
        &["Cache-Control: max-age=3600", "Age: 7200, 0"],
        Skip("already-stale"),
    ),
    (
        "§5.1 list, old last",
        &[],
        200,
        &["Cache-Control: max-age=3600", "Age: 0, 7200"],
        Fresh(3600),
    ),
    (
        "§5.1 lines, old first",
        &[],
        200,
        &["Cache-Control: max-age=3600", "Age: 7200", "Age: 0"],
        Skip("already-stale"),
    ),
    (
        "§5.1 lines, old last",
        &[],
        200,
        &["Cache-Control: max-age=3600", "Age: 0", "Age: 7200"],
        Fresh(3600),
    ),
    (
        "§5.1 twice the same",
        &[],
        200,
        &["Cache-Control: max-age=10000", "Age: 3600", "Age: 3600"],
        Fresh(6400),
    ),
];

#[test]
fn directives() {
    judge(DIRECTIVES, &SitePolicy::default());
}

#[test]
fn expires() {
    judge(EXPIRES, &SitePolicy::default());
}

#[test]
fn age() {
    judge(AGE, &SitePolicy::default());
}

#[test]
fn the_site_bounds_every_lifetime() {
    let policy = SitePolicy { max_ttl: 60, ..SitePolicy::default() };
    judge(
        &[
            ("max_ttl", &[], 200, &["Cache-Control: max-age=3600"], Fresh(60)),
            (
                "max_ttl counts from age 0",
                &[],
                200,
                &["Cache-Control: max-age=3600", "Age: 50"],
                Fresh(10),
            ),
            ("shorter stays", &[], 200, &["Cache-Control: max-age=6"], Fresh(6)),
        ],
        &policy,
    );
}
