//! The fields that caching reads, each line of the input being `name: value`: nothing panics.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use weir_rules::cache_control::{RequestDirectives, ResponseDirectives};
use weir_rules::cookies::{ANALYTICS, CookieNames, CookieRules};
use weir_rules::key::KeyRules;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in input.split(|&byte| byte == b'\n') {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().and_then(|value| HeaderValue::from_bytes(value).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let _ = ResponseDirectives::from_headers(&headers);
    let _ = RequestDirectives::from_headers(&headers);
    let _ = weir_rules::targeted::governing(&headers);
    let _ = weir_rules::vary::Vary::from_headers(&headers);
    let _ = weir_rules::fields::tags(&headers, 1024);
    let _ = weir_rules::range::content_range(&headers);
    let requested = weir_rules::range::requested(&headers);
    for length in [0, 1, 1000, u64::MAX] {
        let _ = weir_rules::range::resolve(&requested, length);
    }
    let _ = weir_rules::validation::evaluate(&headers, StatusCode::OK, &headers);
    let _ = weir_rules::validation::strong_validator(&headers);
    let accepted = weir_rules::coding::AcceptedCodings::of(&headers);
    let order = weir_rules::coding::Coding::ALL;
    assert!(accepted.choose(&order).is_none_or(|coding| accepted.reads(coding)));
    for (_, sent) in weir_rules::coding::marks::unmarked_conditions(&headers) {
        assert!(!sent.is_empty());
    }
    let _ = weir_rules::coding::marks::compared_conditions(&headers);
    let cookies = CookieRules {
        ignore: CookieNames::new(ANALYTICS.iter().copied().chain(["a*"])),
        bypass: CookieNames::in_any_spelling(["s_*"]),
    };
    weir_rules::cookies::combine(&mut headers);
    let judged = cookies.judge(&KeyRules::default(), &headers);
    judged.remaining.clone().put(&mut headers);
    let again = cookies.judge(&KeyRules::default(), &headers);
    assert!(again.bypass == judged.bypass && !again.remaining.differs());
    weir_rules::fields::remove_hop_by_hop(&mut headers);
});
