//! The lifetime that a rule of a site sets: what it replaces, and what it never lifts.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use weir_rules::storability::{Exchange, LifetimeSource, SitePolicy, Storability, storability};
use weir_rules::time::Time;

/// Seconds of the lifetime, and whether the rule gave them; `None` if the response is not stored.
fn stored(status: u16, request: &[(&str, &str)], response: &[(&str, &str)]) -> Option<(u32, bool)> {
    let fields = |lines: &[(&str, &str)]| {
        let line = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        };
        lines.iter().map(line).collect::<HeaderMap>()
    };
    let (request, mut response) = (fields(request), fields(response));
    response.insert("date", HeaderValue::from_static("Thu, 01 Jan 1970 00:16:40 GMT"));
    let now = Time::from_secs(1000);
    let exchange = Exchange {
        method: &Method::GET,
        scheme: "http",
        host: "example.com",
        path: "/a",
        query: None,
        request: &request,
        status: StatusCode::from_u16(status).expect("a status"),
        response: &response,
        request_time: now,
        response_time: now,
        received: now,
    };
    let policy = SitePolicy { ttl: Some(500), ..SitePolicy::default() };
    match storability(&exchange, &policy) {
        Storability::Store(terms) => {
            let is_of_rule = terms.lifetime_source == LifetimeSource::Rule;
            Some((terms.freshness.lifetime, is_of_rule))
        }
        Storability::Skip(_) => None,
    }
}

#[test]
fn the_lifetime_of_successes_and_lasting_redirects_is_replaced() {
    let control = |value| [("cache-control", value)];
    for (status, response) in [
        (200, &control("max-age=5")[..]),
        (200, &control("max-age=0")),
        (200, &control("s-maxage=9000")),
        (200, &control("public, immutable")),
        (200, &[]),
        (203, &[]),
        (300, &[]),
        (301, &[]),
        (308, &[]),
        (200, &[("expires", "0")]),
        (200, &[("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")]),
        (200, &[("cdn-cache-control", "max-age=7")]),
    ] {
        assert_eq!(stored(status, &[], response), Some((500, true)), "{status} {response:?}");
    }
    for (status, lifetime) in
        [(404, Some((5, false))), (302, Some((5, false))), (500, Some((5, false)))]
    {
        assert_eq!(stored(status, &[], &control("max-age=5")), lifetime, "{status}");
    }
}

#[test]
fn what_must_not_be_stored_still_is_not() {
    for (request, response) in [
        (("x", "y"), ("cache-control", "no-store")),
        (("x", "y"), ("cache-control", "private")),
        (("x", "y"), ("set-cookie", "a=b")),
        (("x", "y"), ("vary", "*")),
        (("authorization", "Basic eA=="), ("cache-control", "max-age=5")),
        (("cookie", "a=b"), ("x", "y")),
        (("x", "y"), ("cache-control", "no-cache")),
    ] {
        assert_eq!(stored(200, &[request], &[response]), None, "{request:?} {response:?}");
    }
}

/// Where a user may be behind the response, one that says itself that it is over keeps saying so.
#[test]
fn what_may_be_of_one_user_and_is_to_be_validated_stays_so() {
    let etag = ("etag", "\"a\"");
    for (request, response) in [
        (("cookie", "a=b"), ("cache-control", "max-age=0")),
        (("cookie", "a=b"), ("expires", "Thu, 01 Jan 1970 00:00:00 GMT")),
        (("authorization", "Basic eA=="), ("cache-control", "public, max-age=0")),
        (("authorization", "Basic eA=="), ("cache-control", "must-revalidate, max-age=0")),
    ] {
        let kept = stored(200, &[request], &[response, etag]);
        assert!(kept.is_none_or(|kept| kept == (0, false)), "{request:?} {response:?} {kept:?}");
    }
    let shared = stored(200, &[("cookie", "a=b")], &[("cache-control", "max-age=5")]);
    assert_eq!(shared, Some((500, true)));
}
