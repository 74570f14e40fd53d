//! Random exchanges: fields that bear on caching, right and wrong, and sites of every kind.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use weir_rules::storability::{Exchange, SitePolicy};
use weir_rules::time::Time;

pub(crate) const NOW: u64 = 1_795_262_400;

/// An exchange that owns its fields.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) request: HeaderMap,
    pub(crate) status: StatusCode,
    pub(crate) response: HeaderMap,
    pub(crate) request_time: Time,
    pub(crate) response_time: Time,
}

impl Case {
    pub(crate) fn exchange(&self) -> Exchange<'_> {
        Exchange {
            method: &self.method,
            scheme: "https",
            host: "example.com",
            path: self.path,
            query: None,
            request: &self.request,
            status: self.status,
            response: &self.response,
            request_time: self.request_time,
            response_time: self.response_time,
            received: self.response_time,
        }
    }
}

fn seconds() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (0u32..500).prop_map(|n| n.to_string()),
        1 => any::<u64>().prop_map(|n| n.to_string()),
        1 => select(vec!["", "-1", "x", "1.5", "\"60\"", " 60", "2147483648"]).prop_map(str::to_owned),
    ]
}

fn directive() -> impl Strategy<Value = String> {
    let plain = select(vec![
        "no-store",
        "no-cache",
        "private",
        "public",
        "must-revalidate",
        "proxy-revalidate",
        "must-understand",
        "immutable",
        "no-transform",
        "foo",
        "Private",
        "NO-STORE",
        "private=\"x-a\"",
        "no-cache=\"x-a, set-cookie\"",
        "no-cache=\"vary\"",
        "x=\"a, no-store\"",
        "public; no-store",
    ]);
    let valued =
        select(vec!["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error", "Max-Age"]);
    prop_oneof![
        plain.prop_map(str::to_owned),
        (valued, seconds()).prop_map(|(name, value)| format!("{name}={value}")),
    ]
}

fn directives() -> impl Strategy<Value = String> {
    prop::collection::vec(directive(), 0..4).prop_map(|list| list.join(", "))
}

fn date() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (-5_000i64..5_000).prop_map(|offset| http_date(NOW.saturating_add_signed(offset))),
        1 => (0u64..260_000_000_000).prop_map(http_date),
        1 => select(vec!["0", "foo", "", "Thursday, 18-Aug-50 02:01:18 GMT"]).prop_map(str::to_owned),
    ]
}

pub(crate) fn http_date(seconds: u64) -> String {
    Time::from_secs(seconds).to_http_date()
}

/// A field name, and the value it may have.
type Line = (&'static str, BoxedStrategy<String>);

fn lines() -> Vec<Line> {
    let one = |values: &[&'static str]| select(values.to_vec()).prop_map(str::to_owned).boxed();
    vec![
        ("cache-control", directives().boxed()),
        ("cache-control", directives().boxed()),
        ("cdn-cache-control", directives().boxed()),
        ("surrogate-control", directives().boxed()),
        ("expires", date().boxed()),
        ("expires", date().boxed()),
        ("date", date().boxed()),
        ("last-modified", date().boxed()),
        ("age", seconds().boxed()),
        ("pragma", one(&["no-cache", "foo"])),
        ("set-cookie", one(&["a=b"])),
        ("vary", one(&["*", "accept", ""])),
        ("etag", one(&["\"a\"", "W/\"a\"", ""])),
        ("content-range", one(&["bytes 0-4/10", "bytes */10", "x"])),
        ("content-location", one(&["/app.3f9a1c2b.js", "/"])),
    ]
}

fn response() -> impl Strategy<Value = HeaderMap> {
    let count = lines().len();
    subsequence((0..count).collect::<Vec<_>>(), 0..=6).prop_flat_map(|chosen| {
        let all = lines();
        let values: Vec<_> = chosen
            .into_iter()
            .map(|index| {
                let (name, value) = all[index].clone();
                value.prop_map(move |value| (name, value))
            })
            .collect();
        values.prop_map(|lines| fields(&lines))
    })
}

pub(crate) fn fields(lines: &[(&'static str, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_str(value).expect("a field value");
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

pub(crate) fn case() -> impl Strategy<Value = Case> {
    let request = subsequence(vec!["cookie", "authorization", "range"], 0..=3);
    let method = select(vec![Method::GET, Method::GET, Method::GET, Method::POST, Method::HEAD]);
    let status = prop_oneof![
        3 => Just(200u16),
        2 => select(vec![203, 204, 206, 300, 301, 302, 304, 307, 308, 404, 405, 410, 414, 501]),
        1 => 100u16..1000,
    ];
    let path = select(vec!["/", "/app.3f9a1c2b.js", "/a b\"c"]);
    let times = (0u64..20_000, 0u64..3_000);
    (method, path, request, status, response(), times).prop_map(
        |(method, path, request, status, response, (moment, delay))| {
            let request_time = Time::from_millis(NOW * 1000 + moment);
            Case {
                method,
                path,
                request: fields(
                    &request.into_iter().map(|n| (n, "x".to_owned())).collect::<Vec<_>>(),
                ),
                status: StatusCode::from_u16(status).expect("a status"),
                response,
                request_time,
                response_time: request_time.plus_millis(delay),
            }
        },
    )
}

pub(crate) fn policy() -> impl Strategy<Value = SitePolicy> {
    let ttl = || select(vec![0u32, 0, 7, 600]);
    let of_rule = select(vec![None, None, Some(0u32), Some(600)]);
    (ttl(), of_rule, ttl(), ttl(), ttl(), ttl(), ttl(), select(vec![0u32, 3600, u32::MAX]))
        .prop_map(|(max, of_rule, default, versioned, negative, swr, sie, heuristic)| SitePolicy {
            max_ttl: max,
            ttl: of_rule,
            default_ttl: default,
            versioned_ttl: versioned,
            negative_ttl: negative,
            stale_while_revalidate: swr,
            stale_if_error: sie,
            heuristic_max: heuristic,
            ignore_authorization: false,
        })
}
