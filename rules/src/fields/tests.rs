use super::*;
use http::HeaderValue;

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn fields_of_one_hop_stay_on_it() {
    let mut message = headers(&[
        ("connection", "close, X-Session"),
        ("connection", "\tx-other ,keep-alive,"),
        ("x-session", "1"),
        ("x-other", "1"),
        ("x-kept", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authenticate", "Basic"),
        ("proxy-authorization", "Basic x"),
        ("proxy-authentication-info", "x"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "x"),
    ]);
    remove_hop_by_hop(&mut message);
    assert_eq!(names(&message), ["x-kept"]);
}

#[test]
fn connection_cannot_name_away_what_the_message_means() {
    for name in END_TO_END {
        let mut message = HeaderMap::new();
        let name = HeaderName::from_static(name);
        message.insert(CONNECTION, HeaderValue::from_str(name.as_str()).expect("a token"));
        message.insert(&name, HeaderValue::from_static("x"));
        remove_hop_by_hop(&mut message);
        assert!(message.contains_key(&name), "{name}");
    }
}

#[test]
fn nonsense_in_connection_is_passed_over() {
    let mut message = headers(&[("connection", "a b, \"q\", ,x"), ("x", "1"), ("a", "1")]);
    remove_hop_by_hop(&mut message);
    assert_eq!(names(&message), ["a"]);
}

#[test]
fn the_lists_are_in_order_and_lower_case() {
    assert!(END_TO_END.is_sorted(), "binary search needs it");
    for name in POISONOUS {
        assert_eq!(
            HeaderName::from_bytes(name.as_bytes()).map(|n| n.to_string()).as_deref().ok(),
            Some(*name)
        );
        assert!(END_TO_END.binary_search(name).is_err(), "{name}");
    }
}

#[test]
fn poisonous_fields_do_not_pass_with_underscores() {
    let mut request = headers(&[
        ("x_forwarded_host", "evil"),
        ("x-original_url", "/evil"),
        ("x_request_id", "1"),
    ]);
    remove_poisonous(&mut request);
    assert_eq!(names(&request), ["x_request_id"]);
}

#[test]
fn poisonous_fields_do_not_reach_the_upstream() {
    let mut request = headers(&[
        ("host", "a"),
        ("x-original-url", "/admin"),
        ("x-forwarded-host", "evil"),
        ("x-http-method-override", "DELETE"),
        ("proxy", "http://evil"),
        ("forwarded", "host=evil"),
    ]);
    remove_poisonous(&mut request);
    assert_eq!(names(&request), ["host"]);
}

#[test]
fn tags_come_from_all_three_fields_without_repeats() {
    let response = headers(&[
        ("surrogate-key", "post-1  post-2\tfront"),
        ("surrogate-key", "post-1"),
        ("cache-tag", "front, news , ,two words"),
        ("cache-groups", "\"scripts\", \"news\";v=1"),
        ("cache-groups", "\"a, b\""),
    ]);
    assert_eq!(
        tags(&response, 7).as_deref(),
        Ok(["post-1", "post-2", "front", "news", "two words", "scripts", "a, b"]
            .map(str::to_owned)
            .as_slice())
    );
    assert_eq!(tags(&response, 6), Err(TooManyTags));
}

#[test]
fn an_invalid_cache_groups_counts_for_nothing() {
    for value in ["token", "\"a\", b", "\"a", "(\"a\")", "1", "\"a\",,\"b\""] {
        assert_eq!(tags(&headers(&[("cache-groups", value)]), 9), Ok(Vec::new()), "{value}");
    }
}

#[test]
fn a_tag_too_long_to_keep_is_not_left_out_in_silence() {
    let tagged = |length: usize| {
        let mut response = HeaderMap::new();
        let value = format!("a {}", "x".repeat(length));
        response.insert(SURROGATE_KEY, HeaderValue::try_from(value).expect("printable"));
        tags(&response, 1024).map(|tags| tags.len())
    };
    assert_eq!(tagged(MAX_TAG_LENGTH), Ok(2));
    assert_eq!(tagged(MAX_TAG_LENGTH + 1), Err(TooManyTags));
}

#[test]
fn what_is_for_caches_does_not_leave_the_last_hop() {
    let mut response = headers(&[
        ("surrogate-key", "a"),
        ("cache-tag", "a"),
        ("surrogate-control", "max-age=1"),
        ("cache-control", "max-age=1"),
        ("cache-groups", "\"a\""),
    ]);
    remove_at_last_hop(&mut response);
    assert_eq!(names(&response), ["cache-control", "cache-groups"]);
}

#[test]
fn the_look_at_names_knows_each_that_is_listed() {
    for name in POISONOUS {
        let disguised = HeaderName::from_bytes(name.replace('-', "_").as_bytes()).expect("a name");
        assert!(is_poisonous(&HeaderName::from_static(name)) && is_poisonous(&disguised), "{name}");
    }
    for name in crate::tier::FIELDS {
        assert!(crate::tier::is_own(&HeaderName::from_static(name)), "{name}");
    }
    for name in ["weir-other", "x-app", "accept", "cookie", "_"] {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        assert!(!is_poisonous(&name) && !crate::tier::is_own(&name), "{name}");
    }
}
