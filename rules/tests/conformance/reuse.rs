//! RFC 9111 §4: which requests that waited for a response may be answered with it.

use crate::support::{NOW, fields};
use http::{Method, StatusCode};
use weir_rules::storability::{Exchange, Reason, Reuse, SitePolicy, Storability, storability};

/// What follows for a response with an ETag that arrived `fetch` seconds after it was asked for.
fn reuse(fetch: u64, request: &[&str], response: &[&str]) -> Reuse {
    let response: Vec<&str> = response.iter().copied().chain(["ETag: \"a\""]).collect();
    match judged(fetch, request, &response, &SitePolicy::default()) {
        Storability::Store(terms) => terms.reuse,
        Storability::Skip(reason) => panic!("{response:?}: {}", reason.sentence()),
    }
}

/// The same for a response of just these fields.
fn judged(fetch: u64, request: &[&str], response: &[&str], policy: &SitePolicy) -> Storability {
    let exchange = Exchange {
        method: &Method::GET,
        scheme: "http",
        host: "example.com",
        path: "/page",
        query: None,
        request: &fields(request),
        status: StatusCode::OK,
        response: &fields(response),
        request_time: NOW.minus_millis(fetch * 1000),
        response_time: NOW,
        received: NOW,
    };
    storability(&exchange, policy)
}

#[test]
fn a_response_that_needs_validation_before_each_use_answers_who_fetched_it_alone() {
    for response in [
        &["Cache-Control: max-age=0"][..],
        &["Cache-Control: max-age=0, must-revalidate"],
        &["Cache-Control: no-cache, max-age=0"],
        &["Cache-Control: no-cache, max-age=60"],
        &["Cache-Control: public, no-cache"],
        &["Cache-Control: s-maxage=0"],
        &["Cache-Control: max-age=60, s-maxage=0"],
        &["Cache-Control: max-age=0, stale-if-error=60"],
        &["Cache-Control: max-age=60", "CDN-Cache-Control: max-age=0"],
        &["Expires: Thu, 01 Jan 1970 00:00:00 GMT"],
        &["Date: {+0}", "Expires: {+0}"],
        &["Expires: 0"],
        &["Cache-Control: max-age=60", "Age: 60"],
        // Nothing was said of freshness.
        &[],
    ] {
        assert_eq!(reuse(0, &[], response), Reuse::Validated, "{response:?}");
        assert_eq!(reuse(5, &[], response), Reuse::Validated, "{response:?}, slowly");
    }
}

#[test]
fn a_fresh_response_answers_all_that_waited() {
    for response in ["max-age=60", "s-maxage=1", "public, max-age=60, no-cache=\"set-cookie\""] {
        let response = format!("Cache-Control: {response}");
        assert_eq!(reuse(0, &[], &[&response]), Reuse::Fresh, "{response}");
    }
    let window = ["Cache-Control: max-age=0, stale-while-revalidate=9"];
    assert_eq!(reuse(0, &[], &window), Reuse::WhileRevalidating);
}

#[test]
fn a_response_that_its_own_fetch_made_stale_answers_those_who_waited() {
    let authorization = ["Authorization: Basic dTpw"];
    let waiting = |authorized| Reuse::Waiting { authorized };
    for (request, response, expected) in [
        (&[][..], "max-age=2", waiting(false)),
        (&[], "public, max-age=2", waiting(true)),
        (&[], "s-maxage=2", waiting(true)),
        (&authorization, "must-revalidate, max-age=2", Reuse::Validated),
        (&authorization, "public, max-age=2", waiting(true)),
        (&[], "no-cache, max-age=2", Reuse::Validated),
    ] {
        let response = format!("Cache-Control: {response}");
        assert_eq!(reuse(3, request, &[&response]), expected, "{request:?} {response}");
    }
    // Old already when the fetch began.
    let old = ["Cache-Control: max-age=2", "Age: 2"];
    assert_eq!(reuse(3, &[], &old), Reuse::Validated);
}

#[test]
fn who_is_permitted() {
    for (reuse, plain, authorized, node) in [
        (Reuse::Fresh, true, true, true),
        (Reuse::WhileRevalidating, true, true, false),
        (Reuse::Waiting { authorized: true }, true, true, true),
        (Reuse::Waiting { authorized: false }, true, false, true),
        (Reuse::Validated, false, false, false),
    ] {
        let found = (reuse.permits(false, false), reuse.permits(true, false));
        assert_eq!(found, (plain, authorized), "{reuse:?}");
        assert_eq!(reuse.permits(false, true), node, "{reuse:?}");
    }
}

#[test]
fn a_slow_response_without_validator_has_terms_for_those_who_waited() {
    let waiting = |authorized| Ok(Reuse::Waiting { authorized });
    let authorization = ["Authorization: Basic dTpw"];
    for (fetch, request, response, expected) in [
        (3, &[][..], &["Cache-Control: max-age=2"][..], waiting(false)),
        (3, &[], &["Cache-Control: s-maxage=2"], waiting(true)),
        (3, &[], &["Cache-Control: max-age=60", "CDN-Cache-Control: max-age=1"], waiting(false)),
        (3, &[], &["Date: {-3}", "Expires: {-1}"], waiting(false)),
        // The site's default_ttl.
        (12, &[], &[], waiting(false)),
        (3, &authorization, &["Cache-Control: public, max-age=2"], waiting(true)),
        (3, &authorization, &["Cache-Control: must-revalidate, max-age=2"], Err("already-stale")),
        (3, &[], &["Cache-Control: max-age=2", "Age: 2"], Err("already-stale")),
        (3, &[], &["Cache-Control: max-age=0"], Err("already-stale")),
        (3, &[], &["Cache-Control: no-cache, max-age=2"], Err("no-cache")),
        (3, &[], &["Cache-Control: no-store, max-age=2"], Err("no-store")),
        (3, &[], &["Cache-Control: private, max-age=2"], Err("private")),
        (3, &[], &["Cache-Control: max-age=2", "Set-Cookie: a=1"], Err("set-cookie")),
    ] {
        let policy = SitePolicy { default_ttl: 10, ..SitePolicy::default() };
        let found = match judged(fetch, request, response, &policy) {
            Storability::Store(terms) => Ok(terms.reuse),
            Storability::Skip(reason) => Err(Reason::word(&reason)),
        };
        assert_eq!(found, expected, "{request:?} {response:?}");
    }
}
