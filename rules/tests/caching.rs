//! What holds for every input of the rules of caching: nothing panics, age and freshness only ever
//! run one way, reading what was written gives the same again.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use proptest::sample::select;
use weir_rules::cache_control::{RequestDirectives, ResponseDirectives};
use weir_rules::freshness::{Freshness, State, date};
use weir_rules::storability::{Exchange, SitePolicy, Storability, storability};
use weir_rules::targeted::governing;
use weir_rules::time::Time;
use weir_rules::validation::{
    conditional_fields, evaluate, freshened, head_effect, selects_stored, strong_validator,
};

/// Fields that the rules read, with any bytes a field value can hold.
fn any_fields() -> impl Strategy<Value = HeaderMap> {
    let names = select(vec![
        "age",
        "authorization",
        "cache-control",
        "cdn-cache-control",
        "content-length",
        "content-location",
        "content-range",
        "cookie",
        "date",
        "etag",
        "expires",
        "if-modified-since",
        "if-none-match",
        "last-modified",
        "pragma",
        "range",
        "set-cookie",
        "surrogate-control",
        "vary",
    ]);
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "[ -~]{0,40}".prop_map(String::into_bytes),
        r#"((max-age|private|W/|no-store|\*)?[=",;\\ 0-9a-z+.-]{0,9}){0,5}"#
            .prop_map(String::into_bytes),
    ];
    prop::collection::vec((names, bytes), 0..8).prop_map(|lines| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        headers
    })
}

fn any_policy() -> impl Strategy<Value = SitePolicy> {
    any::<[u32; 8]>().prop_map(|[a, b, c, d, e, f, g, h]| SitePolicy {
        max_ttl: a,
        ttl: (h % 3 == 0).then_some(h),
        default_ttl: b,
        versioned_ttl: c,
        negative_ttl: d,
        stale_while_revalidate: e,
        stale_if_error: f,
        heuristic_max: g,
        ignore_authorization: false,
    })
}

fn any_freshness() -> impl Strategy<Value = Freshness> {
    let bound = || prop_oneof![0u32..100, any::<u32>()];
    (any::<u32>(), bound(), bound(), bound(), any::<[bool; 3]>()).prop_map(
        |(born, lifetime, swr, sie, [always, when_stale, immutable])| Freshness {
            born: Time::from_millis(u64::from(born)),
            lifetime,
            stale_while_revalidate: swr,
            stale_if_error: sie,
            validate_always: always,
            validate_when_stale: when_stale,
            immutable,
        },
    )
}

/// The later, the larger.
fn rank(state: State) -> (u8, i64) {
    match state {
        State::Fresh { left } => (0, -i64::from(left)),
        State::Refreshable { past } => (1, i64::from(past)),
        State::Stale { past, on_error: true } => (2, i64::from(past)),
        State::Stale { past, on_error: false } => (3, i64::from(past)),
    }
}

proptest! {
    #[test]
    fn no_exchange_panics(
        request in any_fields(),
        response in any_fields(),
        status in 100u16..1000,
        post in any::<bool>(),
        times in any::<(u64, u64)>(),
        policy in any_policy(),
    ) {
        let method = if post { Method::POST } else { Method::GET };
        let exchange = Exchange {
            method: &method,
            scheme: "https",
            host: "example.com",
            path: "/a.js",
            query: None,
            request: &request,
            status: StatusCode::from_u16(status).expect("a status"),
            response: &response,
            request_time: Time::from_millis(times.0),
            response_time: Time::from_millis(times.1), received: Time::from_millis(times.1),
        };
        match storability(&exchange, &policy) {
            Storability::Skip(reason) => prop_assert!(!reason.sentence().is_empty()),
            Storability::Store(terms) => {
                prop_assert!(policy.max_ttl == 0 || terms.freshness.lifetime <= policy.max_ttl);
                prop_assert!(terms.freshness.born <= exchange.response_time);
            }
        }
    }

    #[test]
    fn no_validation_panics(a in any_fields(), b in any_fields(), status in 100u16..1000) {
        let status = StatusCode::from_u16(status).expect("a status");
        let _ = evaluate(&a, status, &b);
        let _ = selects_stored(&a, &b);
        let _ = strong_validator(&a);
        let _ = head_effect(status, &a, status, &b, None);
        for (_, value) in conditional_fields(&a) {
            prop_assert_ne!(value.as_bytes(), b"*");
        }
    }

    #[test]
    fn a_response_answers_its_own_validators(etag in "(W/)?\"[!#-~]{0,9}\"", since in 0u64..4_000_000_000) {
        let mut stored = HeaderMap::new();
        stored.insert("etag", HeaderValue::from_str(&etag).expect("a field value"));
        let since = Time::from_secs(since).to_http_date();
        stored.insert("last-modified", HeaderValue::from_str(&since).expect("a field value"));
        let request: HeaderMap = conditional_fields(&stored).into_iter().collect();
        prop_assert_eq!(request.len(), 2);
        let answer = evaluate(&request, StatusCode::OK, &stored);
        prop_assert_eq!(answer, weir_rules::validation::Precondition::NotModified);
        prop_assert!(selects_stored(&stored, &stored));
    }

    #[test]
    fn freshening_twice_is_freshening_once(stored in any_fields(), update in any_fields()) {
        let once = freshened(&stored, &update);
        prop_assert_eq!(freshened(&once, &update), once);
    }

    #[test]
    fn freshness_only_wanes(freshness in any_freshness(), times in any::<(u32, u32)>()) {
        let at = |millis: u32| Time::from_millis(u64::from(millis) * 50);
        let (earlier, later) = (at(times.0.min(times.1)), at(times.0.max(times.1)));
        prop_assert!(freshness.age(earlier) <= freshness.age(later));
        prop_assert!(rank(freshness.state(earlier)) <= rank(freshness.state(later)));
    }

    #[test]
    fn states_follow_the_directives(freshness in any_freshness(), now in any::<u32>()) {
        let now = Time::from_millis(u64::from(now));
        match freshness.state(now) {
            State::Fresh { left } => {
                prop_assert!(!freshness.validate_always && left <= freshness.lifetime);
            }
            State::Refreshable { past } => {
                prop_assert!(!freshness.validate_always);
                prop_assert!(past < freshness.stale_while_revalidate);
            }
            State::Stale { past, on_error } => prop_assert!(
                !on_error || !freshness.validate_always && past < freshness.stale_if_error
            ),
        }
        if freshness.in_last_tenth(now) {
            let fresh = matches!(freshness.state(now), State::Fresh { left } if left <= freshness.lifetime / 10);
            prop_assert!(fresh && freshness.lifetime >= 10);
        }
    }

    #[test]
    fn canonical_directives_read_as_themselves(headers in any_fields()) {
        let directives = governing(&headers).directives;
        let mut canonical = HeaderMap::new();
        let text = directives.to_string();
        canonical.insert("cache-control", HeaderValue::from_str(&text).expect("a field value"));
        let again = ResponseDirectives::from_headers(&canonical);
        prop_assert_eq!(&again, &directives);
        prop_assert_eq!(again.to_string(), text);
    }

    #[test]
    fn the_order_of_directives_does_not_matter(
        mut list in prop::collection::vec(
            "(max-age|s-maxage)(=([0-9]{1,4}|z))?|(no-cache|private)(=\"x-a\")?|no-store|public",
            0..6,
        ),
        split in 0usize..6,
    ) {
        let read = |list: &[String]| {
            let (first, second) = list.split_at(split.min(list.len()));
            let mut headers = HeaderMap::new();
            for line in [first.join(","), second.join(" , ")] {
                let value = HeaderValue::from_str(&line).expect("a field value");
                headers.append("cache-control", value);
            }
            ResponseDirectives::from_headers(&headers)
        };
        let forward = read(&list);
        list.reverse();
        prop_assert_eq!(read(&list), forward);
    }

    #[test]
    fn no_request_panics_and_bounds_hold(headers in any_fields()) {
        let said = RequestDirectives::from_headers(&headers);
        prop_assert!(said.max_age.is_none_or(|seconds| seconds <= 1 << 31));
        prop_assert!(said.min_fresh.is_none_or(|seconds| seconds <= 1 << 31));
    }

    #[test]
    fn dates_are_read_back(seconds in 0u64..253_402_300_800, near in any::<u64>()) {
        let time = Time::from_secs(seconds);
        let text = time.to_http_date();
        prop_assert_eq!(date::parse(text.as_bytes(), None), Some(time));
        prop_assert_eq!(date::parse(text.to_lowercase().as_bytes(), Some(Time::from_millis(near))), Some(time));
    }

    #[test]
    fn no_date_panics(text in prop::collection::vec(any::<u8>(), 0..40), near in any::<u64>()) {
        let _ = date::parse(&text, Some(Time::from_millis(near)));
    }

    #[test]
    fn short_years_lie_within_the_century_around(day in 1u32..29, year in 0u32..100, near in 0u64..8_000_000_000) {
        let text = format!("Monday, {day:02}-Jan-{year:02} 00:00:00 GMT");
        let near = Time::from_secs(near);
        let time = date::parse(text.as_bytes(), Some(near)).expect("a date");
        let fifty_years = 50 * 31_557_600 * 1000;
        prop_assert!(time <= near.plus_millis(fifty_years));
        let century_later = time.plus_millis(2 * fifty_years + 86_400_000);
        prop_assert!(century_later > near.plus_millis(fifty_years) || time == Time::default());
    }
}
