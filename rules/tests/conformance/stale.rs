//! RFC 9111 §4.2.4, RFC 5861: what may be served stale, and for how long.

use crate::support::Expected::{OnError, Refreshed, Skip, Validated};
use crate::support::{NOW, judge, terms};
use weir_rules::freshness::State;
use weir_rules::storability::SitePolicy;

fn after(seconds: u64, response: &[&str], policy: &SitePolicy) -> State {
    terms(&[], 200, response, policy).freshness.state(NOW.plus_millis(seconds * 1000))
}

const STALE: State = State::Stale { past: 1, on_error: false };

#[test]
fn windows_count_from_the_end_of_the_lifetime() {
    let site = SitePolicy::default();
    let both = ["Cache-Control: max-age=1, stale-while-revalidate=4, stale-if-error=60"];
    assert_eq!(after(0, &both, &site), State::Fresh { left: 1 });
    assert_eq!(after(3, &both, &site), State::Refreshable { past: 2 });
    assert_eq!(after(6, &both, &site), State::Stale { past: 5, on_error: true });
    assert_eq!(after(61, &both, &site), State::Stale { past: 60, on_error: false });
    assert_eq!(after(2, &["Cache-Control: max-age=1"], &site), STALE);
}

#[test]
fn directives_prohibit_stale_serving() {
    // RFC 9111 §5.2.2.2, §5.2.2.8, §5.2.2.10; the site's own windows are prohibited as well.
    let site =
        SitePolicy { stale_while_revalidate: 50, stale_if_error: 50, ..SitePolicy::default() };
    assert_eq!(after(3, &["Cache-Control: max-age=2"], &site), State::Refreshable { past: 1 });
    // s-maxage shuts the site's windows; those that the response itself opens stand.
    let shared = ["Cache-Control: s-maxage=2"];
    assert_eq!(after(3, &shared, &site), STALE);
    let opened = ["Cache-Control: s-maxage=2, stale-while-revalidate=9"];
    assert_eq!(after(3, &opened, &site), State::Refreshable { past: 1 });
    for directive in ["must-revalidate", "proxy-revalidate"] {
        let line = format!(
            "Cache-Control: max-age=2, {directive}, stale-while-revalidate=9, stale-if-error=9"
        );
        assert_eq!(after(1, &[&line], &site), State::Fresh { left: 1 }, "{directive}");
        assert_eq!(after(3, &[&line], &site), STALE, "{directive}");
        let told = terms(&[], 200, &[&line], &site).freshness;
        assert_eq!((told.stale_while_revalidate, told.stale_if_error), (0, 0), "{directive}");
    }
    // §5.2.2.4
    let no_cache = ["Cache-Control: max-age=2, no-cache, stale-if-error=9", "ETag: \"a\""];
    assert_eq!(after(1, &no_cache, &site), State::Stale { past: 0, on_error: false });
    assert_eq!(after(3, &no_cache, &site), STALE);
}

#[test]
fn a_lifetime_of_0_shuts_the_windows_of_the_site() {
    let site =
        SitePolicy { stale_while_revalidate: 50, stale_if_error: 50, ..SitePolicy::default() };
    for said in ["Cache-Control: max-age=0", "Expires: 0"] {
        let freshness = terms(&[], 200, &[said, "ETag: \"a\""], &site).freshness;
        assert!(freshness.validate_when_stale, "{said}");
        assert_eq!(freshness.state(NOW), State::Stale { past: 0, on_error: false }, "{said}");
    }
    let nothing_said = terms(&[], 200, &["ETag: \"a\""], &site).freshness;
    assert!(!nothing_said.validate_when_stale);
}

#[test]
fn the_response_speaks_before_the_site() {
    let site =
        SitePolicy { stale_while_revalidate: 50, stale_if_error: 50, ..SitePolicy::default() };
    let own = ["Cache-Control: max-age=1, stale-while-revalidate=0, stale-if-error=0"];
    assert_eq!(after(2, &own, &site), STALE);
}

#[test]
fn stale_on_arrival_is_stored_when_it_may_be_used() {
    judge(
        &[
            (
                "RFC 5861 §3",
                &[],
                200,
                &["Cache-Control: max-age=0, stale-while-revalidate=9"],
                Refreshed,
            ),
            ("RFC 5861 §4", &[], 200, &["Cache-Control: max-age=0, stale-if-error=9"], OnError),
            ("RFC 9111 §4.3", &[], 200, &["Cache-Control: max-age=0", "ETag: \"a\""], Validated),
            (
                "no use",
                &[],
                200,
                &["Cache-Control: max-age=0, must-revalidate, stale-if-error=9"],
                Skip("already-stale"),
            ),
        ],
        &SitePolicy::default(),
    );
}

#[test]
fn immutable_is_remembered() {
    // RFC 8246 §2
    let site = SitePolicy::default();
    assert!(terms(&[], 200, &["Cache-Control: max-age=9, immutable"], &site).freshness.immutable);
    assert!(!terms(&[], 200, &["Cache-Control: max-age=9"], &site).freshness.immutable);
}
