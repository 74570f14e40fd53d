//! RFC 9111 §3.5, §7.3: responses to requests with credentials, and cookies.

use crate::support::Expected::{Fresh, Skip};
use crate::support::{Row, judge};
use weir_rules::storability::SitePolicy;

const CREDENTIALS: &[Row<'_>] = &[
    ("§3.5", &["Authorization: x"], 200, &["Cache-Control: max-age=9"], Skip("authorization")),
    ("§3.5 public", &["Authorization: x"], 200, &["Cache-Control: max-age=9, public"], Fresh(9)),
    (
        "§3.5 must-revalidate",
        &["Authorization: x"],
        200,
        &["Cache-Control: max-age=9, must-revalidate"],
        Fresh(9),
    ),
    ("§3.5 s-maxage", &["Authorization: x"], 200, &["Cache-Control: s-maxage=9"], Fresh(9)),
    (
        "§3.5 targeted max-age",
        &["Authorization: x"],
        200,
        &["CDN-Cache-Control: max-age=9", "Cache-Control: public"],
        Skip("authorization"),
    ),
    (
        "§3.5 targeted public",
        &["Authorization: x"],
        200,
        &["CDN-Cache-Control: max-age=9, public"],
        Fresh(9),
    ),
    (
        "§7.3 Set-Cookie",
        &[],
        200,
        &["Set-Cookie: a=b", "Cache-Control: max-age=9"],
        Skip("set-cookie"),
    ),
    (
        "§7.3 immutable",
        &[],
        200,
        &["Set-Cookie: a=b", "Cache-Control: max-age=9, immutable"],
        Skip("set-cookie"),
    ),
    ("§7.3 public", &[], 200, &["Set-Cookie: a=b", "Cache-Control: max-age=9, public"], Fresh(9)),
    ("§7.3 s-maxage", &[], 200, &["Set-Cookie: a=b", "Cache-Control: s-maxage=9"], Fresh(9)),
    ("§7.3 targeted", &[], 200, &["Set-Cookie: a=b", "CDN-Cache-Control: max-age=9"], Fresh(9)),
    (
        "§5.2.2.4 omitted",
        &[],
        200,
        &["Set-Cookie: a=b", "Cache-Control: max-age=9, no-cache=\"set-cookie\""],
        Fresh(9),
    ),
    ("Cookie and max-age", &["Cookie: a=b"], 200, &["Cache-Control: max-age=9"], Fresh(9)),
    ("Cookie and Expires", &["Cookie: a=b"], 200, &["Expires: {+9}"], Fresh(9)),
    (
        "Cookie, heuristics",
        &["Cookie: a=b"],
        200,
        &["Last-Modified: {-90}"],
        Skip("cookie-without-freshness"),
    ),
    (
        "Cookie, validator",
        &["Cookie: a=b"],
        200,
        &["ETag: \"a\""],
        Skip("cookie-without-freshness"),
    ),
];

#[test]
fn credentials() {
    judge(CREDENTIALS, &SitePolicy::default());
}
