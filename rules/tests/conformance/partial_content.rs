//! RFC 9111 §3.3: which parts of a representation are stored.

use crate::support::Expected::{Fresh, Skip};
use crate::support::{Row, judge};
use weir_rules::storability::SitePolicy;

const PARTS: &[Row<'_>] = &[
    (
        "§3.3",
        &["Range: bytes=0-4"],
        206,
        &["Cache-Control: max-age=9", "Content-Range: bytes 0-4/10"],
        Fresh(9),
    ),
    (
        "§3.3 unknown length",
        &["Range: bytes=0-4"],
        206,
        &["Cache-Control: max-age=9", "Content-Range: bytes 0-4/*"],
        Fresh(9),
    ),
    (
        "§3.3 nobody asked",
        &[],
        206,
        &["Cache-Control: max-age=9", "Content-Range: bytes 0-4/10"],
        Skip("partial-content"),
    ),
    (
        "§3.3 no Content-Range",
        &["Range: bytes=0-4"],
        206,
        &["Cache-Control: max-age=9"],
        Skip("partial-content"),
    ),
    (
        "§3.3 no bytes",
        &["Range: bytes=0-4"],
        206,
        &["Cache-Control: max-age=9", "Content-Range: bytes */10"],
        Skip("partial-content"),
    ),
    (
        "§3.3 other unit",
        &["Range: x=0-4"],
        206,
        &["Cache-Control: max-age=9", "Content-Range: x 0-4/10"],
        Skip("partial-content"),
    ),
    (
        "§3.3 beyond the end",
        &["Range: bytes=0-4"],
        206,
        &["Cache-Control: max-age=9", "Content-Range: bytes 0-14/10"],
        Skip("partial-content"),
    ),
    (
        "§3.3 multipart",
        &["Range: bytes=0-4"],
        206,
        &[
            "Cache-Control: max-age=9",
            "Content-Range: bytes 0-4/10",
            "Content-Type: Multipart/ByteRanges; boundary=x",
        ],
        Skip("partial-content"),
    ),
    (
        "§3.3 longer than its range",
        &["Range: bytes=0-4"],
        206,
        &["Cache-Control: max-age=9", "Content-Range: bytes 0-4/10", "Content-Length: 6"],
        Skip("partial-content"),
    ),
    (
        "§3.3 says nothing",
        &["Range: bytes=0-4"],
        206,
        &["Content-Range: bytes 0-4/10"],
        Skip("nothing-to-go-by"),
    ),
];

#[test]
fn parts() {
    judge(PARTS, &SitePolicy::default());
}
