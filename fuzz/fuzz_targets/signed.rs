//! Signed URLs: nothing panics, no token that was not made with the key holds, and nothing of a token is left in the
//! request.
#![no_main]

use http::{HeaderMap, HeaderValue, header};
use weir_rules::access::signed::{Message, SigningKey, Token, remaining_query, remove_cookies, tokens};
use weir_rules::time::Time;

const NOW: Time = Time::from_secs(1_800_000_000);

libfuzzer_sys::fuzz_target!(|input: (&str, &str, &[u8], &str)| {
    let (path, query, cookies, token) = input;
    let keys = [SigningKey::new("k", b"0123456789abcdef")];
    let mut request = HeaderMap::new();
    if let Ok(cookies) = HeaderValue::from_bytes(cookies) {
        request.insert(header::COOKIE, cookies);
    }
    let rest = remaining_query(query);
    let message =
        Message { site: "s", method: "GET", host: "h", path, query: rest.as_deref() };
    let found = tokens(Some(query), &request).unwrap_or_default();
    for token in found.iter().map(String::as_str).chain([token]) {
        assert!(message.judge(token, &keys, None, NOW).is_err(), "a forgery");
        if let Some(read) = Token::parse(token) {
            assert_eq!(read.to_string(), token, "two spellings");
        }
    }
    for depth in [None, Some(1)] {
        let mut unsigned = Token::unsigned("k", u64::MAX);
        unsigned.depth = depth;
        if let Ok(token) = message.sign(&keys[0], unsigned) {
            assert_eq!(message.judge(&token.to_string(), &keys, None, NOW), Ok(()));
        }
    }
    remove_cookies(&mut request);
    assert_eq!(tokens(rest.as_deref(), &request), Some(Vec::new()));
});
