//! Two clocks: the one that dates in headers are held against may be wrong and may be set, and how long a
//! response has been stored does not depend on it.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use weir_rules::freshness::State;
use weir_rules::storability::{Exchange, SitePolicy, Storability, storability};
use weir_rules::time::Time;

const RECEIVED: Time = Time::from_secs(1_800_000_000);
const DAY: u64 = 86_400;

/// The states of a response with `max-age=60`, 10 s and 70 s after it was received, if the system's clock
/// was at `clock` then and the origin's agreed.
fn states(clock: Time) -> [State; 2] {
    let mut response = HeaderMap::new();
    response.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
    let date = HeaderValue::from_str(&clock.to_http_date()).expect("a date");
    response.insert(header::DATE, date);
    let exchange = Exchange {
        method: &Method::GET,
        scheme: "http",
        host: "example.com",
        path: "/",
        query: None,
        request: &HeaderMap::new(),
        status: StatusCode::OK,
        response: &response,
        request_time: clock,
        response_time: clock,
        received: RECEIVED,
    };
    match storability(&exchange, &SitePolicy::default()) {
        Storability::Store(terms) => {
            [10, 70].map(|after| terms.freshness.state(RECEIVED.plus_millis(after * 1000)))
        }
        Storability::Skip(reason) => panic!("{reason:?}"),
    }
}

#[test]
fn a_clock_that_is_wrong_when_a_response_is_stored_keeps_it_no_longer_and_no_shorter() {
    let right = states(RECEIVED);
    assert_eq!(right, [State::Fresh { left: 50 }, State::Stale { past: 10, on_error: false }]);
    let seconds = RECEIVED.as_secs();
    for wrong in [seconds + 2 * DAY, seconds - 2 * DAY] {
        assert_eq!(states(Time::from_secs(wrong)), right);
    }
}
