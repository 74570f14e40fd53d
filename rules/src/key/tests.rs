use super::*;
use http::HeaderValue;

const PARTS: KeyParts<'static> =
    KeyParts { scheme: "https", host: "a.example", path: "/p", query: None, release: None };

fn key(parts: &KeyParts<'_>, rules: &KeyRules, request: &HeaderMap) -> String {
    let mut out = b"left over".to_vec();
    write_key(&mut out, parts, rules, request);
    String::from_utf8(out).expect("these requests are UTF-8")
}

fn query_rules(sort: bool, keep: QueryKeep) -> KeyRules {
    KeyRules { query: QueryRules { sort, keep }, ..KeyRules::default() }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_key_without_rules_is_the_url() {
    let rules = KeyRules::default();
    let none = HeaderMap::new();
    assert_eq!(key(&PARTS, &rules, &none), "https://a.example/p");
    let with = |query| key(&KeyParts { query: Some(query), ..PARTS }, &rules, &none);
    assert_eq!(with(""), "https://a.example/p?");
    assert_eq!(with("b=%2f&a=1&&b"), "https://a.example/p?b=%2f&a=1&&b");
    let released = KeyParts { release: Some("r7"), ..PARTS };
    assert_eq!(key(&released, &rules, &none), "https://a.example/p\nrelease=r7");
}

#[test]
fn default_rules_allocate_nothing_in_a_warm_buffer() {
    let mut out = Vec::with_capacity(256);
    let before = out.as_ptr();
    let parts = KeyParts { query: Some("a=1&b=2"), release: Some("r"), ..PARTS };
    write_key(&mut out, &parts, &KeyRules::default(), &HeaderMap::new());
    assert_eq!(out.as_ptr(), before);
    assert!(matches!(
        origin_query(Some("a=1"), &QueryRules::default()),
        Some(std::borrow::Cow::Borrowed("a=1"))
    ));
}

#[test]
fn fields_and_cookies_of_the_key_are_named_in_it() {
    let rules = KeyRules {
        headers: vec![HeaderName::from_static("x-a"), HeaderName::from_static("x-b")],
        cookies: names(&["lang", "sid"]),
        ..KeyRules::default()
    };
    let of = |lines: &[(&'static str, &'static str)]| {
        let mut request = HeaderMap::new();
        for (name, value) in lines {
            request.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        key(&PARTS, &rules, &request)
    };
    assert_eq!(of(&[]), "https://a.example/p");
    assert_eq!(of(&[("x-c", "1"), ("cookie", "other=1")]), "https://a.example/p");
    assert_eq!(of(&[("x-a", "")]), "https://a.example/p\nx-a: ");
    assert_eq!(of(&[("x-b", ",1")]), "https://a.example/p\nx-b: ,1");
    assert_eq!(of(&[("x-b", "1 , 2"), ("x-b", "3")]), "https://a.example/p\nx-b: 1,2,3");
    assert_eq!(
        of(&[("cookie", "sid = 7 ; LANG=x; langs=y"), ("cookie", "a=1;lang=de; lang; sid=")]),
        "https://a.example/p\ncookie lang=de\ncookie lang\ncookie sid=7\ncookie sid="
    );
    assert_ne!(of(&[("x-a", "1")]), of(&[("x-b", "1")]));
}

#[test]
fn cookies_are_named_by_the_beginning_of_their_names_too() {
    let rules = KeyRules { cookies: names(&["user_*", "user_b"]), ..KeyRules::default() };
    let of = |cookies: &'static str| {
        let field = (http::header::COOKIE, HeaderValue::from_static(cookies));
        key(&PARTS, &rules, &HeaderMap::from_iter([field]))
    };
    assert_eq!(of("user=1; auser_=2; USER_a=3"), "https://a.example/p");
    assert_eq!(of("user_=1; x=user_a"), "https://a.example/p\ncookie user_=1");
    assert_eq!(
        of("user_a=1; user_b = 2"),
        "https://a.example/p\ncookie user_a=1\ncookie user_b=2\ncookie user_b=2"
    );
    assert_ne!(of("user_a=1"), of("user_c=1"));
}

#[test]
fn parameters_are_dropped_from_key_and_origin_alike() {
    let tracking = || QueryKeep::Except(names(TRACKING));
    let only = |list: &[&str]| QueryKeep::Only(names(list));
    for (keep, query, expected) in [
        (QueryKeep::All, Some("utm_source=x"), Some("utm_source=x")),
        (QueryKeep::All, Some(""), Some("")),
        (QueryKeep::All, None, None),
        (QueryKeep::Nothing, Some("a=1"), None),
        (QueryKeep::Nothing, Some(""), None),
        (tracking(), None, None),
        (tracking(), Some(""), Some("")),
        (tracking(), Some("utm_source=x"), None),
        (tracking(), Some("a=1&utm_source=x&b=2"), Some("a=1&b=2")),
        (tracking(), Some("utm%5Fsource=x&a=1"), Some("a=1")),
        (tracking(), Some("%75tm%5fsource=x&a=1"), Some("a=1")),
        (tracking(), Some("fbclid&gclid=&a"), Some("a")),
        (tracking(), Some("UTM_SOURCE=x"), Some("UTM_SOURCE=x")),
        (tracking(), Some("xutm_source=1&fbclid2=1"), Some("xutm_source=1&fbclid2=1")),
        (tracking(), Some("a=utm_source=1"), Some("a=utm_source=1")),
        (tracking(), Some("utm%=1&utm%5=1&%zz=1"), Some("utm%=1&utm%5=1&%zz=1")),
        (tracking(), Some("b=2&a=1&&fbclid=1"), Some("b=2&a=1&")),
        (only(&["a", "p_*"]), Some("b=1&a=2&p_x=3&a=1&pp"), Some("a=2&p_x=3&a=1")),
        (only(&["a b"]), Some("a+b=1&a%20b=2&ab=3"), Some("a+b=1&a%20b=2")),
        (only(&["a"]), Some("b=1"), None),
        (only(&["a"]), Some(""), None),
        (only(&["*"]), Some("b=1&"), Some("b=1&")),
    ] {
        let rules = query_rules(false, keep);
        let asked = origin_query(query, &rules.query);
        assert_eq!(asked.as_deref(), expected, "{query:?}");
        let keyed = key(&KeyParts { query, ..PARTS }, &rules, &HeaderMap::new());
        let suffix = expected.map_or(String::new(), |query| format!("?{query}"));
        assert_eq!(keyed, format!("https://a.example/p{suffix}"), "{query:?}");
    }
}

#[test]
fn sorting_keeps_the_order_of_equal_names_and_the_origins_bytes() {
    for (query, sorted) in [
        ("b=2&a=1", "a=1&b=2"),
        ("a=2&a=1", "a=2&a=1"),
        ("c&a=2&b&a=1", "a=2&a=1&b&c"),
        ("%61=2&a=1", "%61=2&a=1"),
        ("a=1&%61=2", "a=1&%61=2"),
        ("b%3Dx=1&b=2", "b=2&b%3Dx=1"),
        ("b&&a", "&a&b"),
        ("", ""),
    ] {
        let rules = query_rules(true, QueryKeep::All);
        assert_eq!(keyed_query(Some(query), &rules.query).as_deref(), Some(sorted), "{query}");
        assert_eq!(origin_query(Some(query), &rules.query).as_deref(), Some(query));
    }
}

#[test]
fn the_order_of_equal_names_survives_among_many() {
    let rules = QueryRules { sort: true, keep: QueryKeep::All };
    let numbered = |name| (0..50).map(move |i| format!("{name}={i}"));
    let mixed: Vec<_> = numbered("b").zip(numbered("a")).flat_map(|(b, a)| [b, a]).collect();
    let sorted: Vec<_> = numbered("a").chain(numbered("b")).collect();
    let keyed = keyed_query(Some(&mixed.join("&")), &rules).map(std::borrow::Cow::into_owned);
    assert_eq!(keyed, Some(sorted.join("&")));
}

#[test]
fn a_cookie_is_in_the_key_in_every_spelling_that_php_reads_as_its_name() {
    let rules = KeyRules { cookies: names(&["wcml_currency", "plan_*"]), ..KeyRules::default() };
    for (sent, keyed) in [
        ("wcml.currency=EUR", "\ncookie wcml.currency=EUR"),
        ("wcml currency=EUR", "\ncookie wcml currency=EUR"),
        ("wcml[currency=EUR", "\ncookie wcml[currency=EUR"),
        ("plan.a=1", "\ncookie plan.a=1"),
        ("wcml-currency=EUR; plan=1", ""),
    ] {
        let field = (http::header::COOKIE, HeaderValue::from_static(sent));
        let request = HeaderMap::from_iter([field]);
        assert_eq!(key(&PARTS, &rules, &request), format!("https://a.example/p{keyed}"), "{sent}");
    }
}
