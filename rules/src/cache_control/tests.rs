use super::*;
use http::header::HeaderName;

fn response(lines: &[&str]) -> ResponseDirectives {
    ResponseDirectives::from_lines(lines.iter().map(|line| line.as_bytes()))
}

fn request(lines: &[(&'static str, &str)]) -> RequestDirectives {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_str(value).expect("a field value");
        headers.append(HeaderName::from_static(name), value);
    }
    RequestDirectives::from_headers(&headers)
}

fn names(list: &[&'static str]) -> Qualified {
    Qualified::Fields(list.iter().map(|name| HeaderName::from_static(name)).collect())
}

#[test]
fn names_are_compared_without_regard_to_case() {
    let said = response(&["NO-STORE, Private, MaX-aGe=60, S-MaxAge=5, Must-Understand"]);
    assert!(said.no_store && said.must_understand);
    assert_eq!(said.private, Qualified::Whole);
    assert_eq!((said.max_age, said.s_maxage), (Some(60), Some(5)));
}

#[test]
fn lines_are_one_list() {
    let said = response(&["max-age=60", "public", "stale-if-error=9, immutable"]);
    assert_eq!(said.max_age, Some(60));
    assert!(said.public && said.immutable);
    assert_eq!(said.stale_if_error, Some(9));
}

#[test]
fn of_conflicting_ages_the_smallest_counts() {
    assert_eq!(response(&["max-age=1800, max-age=1"]).max_age, Some(1));
    assert_eq!(response(&["max-age=1", "max-age=1800"]).max_age, Some(1));
    assert_eq!(response(&["max-age=1, max-age=x"]).max_age, Some(0));
}

#[test]
fn an_age_that_is_not_a_number_is_zero() {
    for text in ["-3600", "3600.0", "a3600", "3600a", "'3600'", "", " 3600", "\"\"", "\"3600"] {
        assert_eq!(response(&[&format!("max-age={text}")]).max_age, Some(0), "{text}");
    }
    assert_eq!(response(&["max-age"]).max_age, Some(0));
    assert_eq!(response(&["max-age =3600"]).max_age, Some(0));
}

#[test]
fn quoted_and_padded_numbers_are_numbers() {
    assert_eq!(response(&["max-age=\"3600\""]).max_age, Some(3600));
    assert_eq!(response(&["max-age=003600"]).max_age, Some(3600));
    assert_eq!(response(&["max-age=99999999999"]).max_age, Some(1 << 31));
}

#[test]
fn what_a_quoted_string_holds_is_no_directive() {
    assert_eq!(response(&["extension=\"max-age=3600\", max-age=1"]).max_age, Some(1));
    assert_eq!(response(&["extension=\"a, max-age=3600\""]).max_age, None);
}

#[test]
fn qualified_directives_collect_names() {
    assert_eq!(response(&["private=\"A, b\", private=b"]).private, names(&["a", "b"]));
    assert_eq!(response(&["no-cache=\"set-cookie\""]).no_cache, names(&["set-cookie"]));
    assert_eq!(response(&["no-cache=\"a\", no-cache"]).no_cache, Qualified::Whole);
    for odd in ["private=\"\"", "private=", "private=\"a b\"", "private =\"a\"", "private; x"] {
        assert_eq!(response(&[odd]).private, Qualified::Whole, "{odd}");
    }
}

#[test]
fn a_restriction_keeps_its_effect_with_junk_a_permission_does_not() {
    let said = response(&["no-store; x, public=1, immutable=1, must-understand=1"]);
    assert!(said.no_store);
    assert!(!said.public && !said.immutable && !said.must_understand);
}

#[test]
fn unknown_directives_are_ignored() {
    assert_eq!(response(&["foobar, x=\"y\""]), ResponseDirectives::default());
}

#[test]
fn the_canonical_form_is_stable() {
    let said = response(&["Max-Age=007, PRIVATE=\"B, a\", x, no-store", "max-age=9"]);
    assert_eq!(said.to_string(), "private=\"b, a\", no-store, max-age=7");
    assert_eq!(response(&[&said.to_string()]), said);
}

#[test]
fn a_request_is_read_in_the_demanding_way() {
    let said = request(&[(
        "cache-control",
        "no-cache, No-Store, only-if-cached, max-age=5, max-age=3, min-fresh=2, min-fresh=9",
    )]);
    assert!(said.no_cache && said.no_store && said.only_if_cached);
    assert_eq!((said.max_age, said.min_fresh), (Some(3), Some(9)));
    assert_eq!(request(&[("cache-control", "max-age=x, min-fresh=x")]).max_age, Some(0));
    assert_eq!(request(&[("cache-control", "max-age=x, min-fresh=x")]).min_fresh, None);
}

#[test]
fn max_stale_has_an_optional_value() {
    assert_eq!(request(&[("cache-control", "max-stale")]).max_stale, Some(u32::MAX));
    assert_eq!(request(&[("cache-control", "max-stale, max-stale=5")]).max_stale, Some(5));
    assert_eq!(request(&[("cache-control", "max-stale=x")]).max_stale, None);
}

#[test]
fn pragma_counts_only_without_cache_control() {
    assert!(request(&[("pragma", "No-Cache")]).no_cache);
    assert!(!request(&[("pragma", "x-no-cache")]).no_cache);
    assert!(!request(&[("pragma", "no-cache"), ("cache-control", "max-age=5")]).no_cache);
}
