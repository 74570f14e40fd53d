//! Rows and how they are judged.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use weir_rules::freshness::State;
use weir_rules::storability::{Exchange, SitePolicy, Storability, Terms, storability};
use weir_rules::time::Time;

/// When every response arrives: 21 November 2026, 12:00:00 GMT.
pub(crate) const NOW: Time = Time::from_secs(1_795_262_400);

/// One row: section and what it is about, request lines, status, response lines, what must follow.
///
/// A field line is `Name: value`; `{+300}` in it is the HTTP-date 300 seconds after [`NOW`].
pub(crate) type Row<'a> = (&'a str, &'a [&'a str], u16, &'a [&'a str], Expected<'a>);

/// What must become of a response on arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected<'a> {
    /// Stored, with so many seconds of freshness left.
    Fresh(u32),
    /// Stored, not used without validation.
    Validated,
    /// Stored; stale, but served while it is refreshed.
    Refreshed,
    /// Stored; stale, but served when the origin fails.
    OnError,
    /// Not stored, for the reason with this word.
    Skip(&'a str),
}

/// Judges all rows and fails with every row that differs.
pub(crate) fn judge(rows: &[Row<'_>], policy: &SitePolicy) {
    let wrong: Vec<_> = rows
        .iter()
        .filter_map(|(about, request, status, response, expected)| {
            let decision = decide(&Method::GET, request, *status, response, policy);
            let found = on_arrival(&decision);
            (found != *expected)
                .then(|| format!("{about}: {response:?} gave {found:?}, not {expected:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// The decision about one exchange for `http://example.com/page?q=1`, answered at once.
pub(crate) fn decide(
    method: &Method,
    request: &[&str],
    status: u16,
    response: &[&str],
    policy: &SitePolicy,
) -> Storability {
    let exchange = Exchange {
        method,
        scheme: "http",
        host: "example.com",
        path: "/page",
        query: Some("q=1"),
        request: &fields(request),
        status: StatusCode::from_u16(status).expect("a status"),
        response: &fields(response),
        request_time: NOW,
        response_time: NOW,
        received: NOW,
    };
    storability(&exchange, policy)
}

/// The terms of a response that must be stored.
pub(crate) fn terms(
    request: &[&str],
    status: u16,
    response: &[&str],
    policy: &SitePolicy,
) -> Terms {
    match decide(&Method::GET, request, status, response, policy) {
        Storability::Store(terms) => terms,
        Storability::Skip(reason) => panic!("{response:?} is not stored: {}", reason.sentence()),
    }
}

fn on_arrival(decision: &Storability) -> Expected<'static> {
    match decision {
        Storability::Skip(reason) => Expected::Skip(reason.word()),
        Storability::Store(terms) => match terms.freshness.state(NOW) {
            State::Fresh { left } => Expected::Fresh(left),
            State::Refreshable { .. } => Expected::Refreshed,
            State::Stale { on_error: true, .. } => Expected::OnError,
            State::Stale { on_error: false, .. } => Expected::Validated,
        },
    }
}

/// Field lines as a map.
pub(crate) fn fields(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').expect("a field line");
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a field name");
        let value = HeaderValue::from_str(dated(value.trim()).trim()).expect("a field value");
        headers.append(name, value);
    }
    headers
}

/// Replaces `{+300}` and `{-300}` by HTTP-dates.
fn dated(value: &str) -> String {
    let Some((before, rest)) = value.split_once('{') else { return value.to_owned() };
    let (offset, after) = rest.split_once('}').expect("a closing brace");
    let offset: i64 = offset.parse().expect("seconds");
    let millis = offset.unsigned_abs() * 1000;
    let time = if offset < 0 { NOW.minus_millis(millis) } else { NOW.plus_millis(millis) };
    format!("{before}{}{}", time.to_http_date(), dated(after))
}
