use super::*;
use proptest::prelude::*;

const ORIGINS: [OriginAddress<'static>; 4] = [
    OriginAddress { https: false, host: "127.0.0.1", port: 3000, prefix: "" },
    OriginAddress { https: false, host: "web", port: 80, prefix: "" },
    OriginAddress { https: true, host: "bucket.example", port: 443, prefix: "" },
    OriginAddress { https: false, host: "::1", port: 8081, prefix: "" },
];

fn visited(target: &str) -> Visited<'_> {
    Visited { method: &Method::GET, scheme: "https", authority: "shop.example:8443", target }
}

fn rewritten(name: HeaderName, value: &str, visited: &Visited<'_>, status: u16) -> String {
    let mut fields = HeaderMap::new();
    fields.insert(&name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    rewrite(&mut fields, StatusCode::from_u16(status).unwrap(), &ORIGINS, visited);
    String::from_utf8(fields[&name].as_bytes().to_vec()).unwrap()
}

fn location(value: &str) -> String {
    rewritten(LOCATION, value, &visited("/guide"), 301)
}

#[test]
fn what_names_an_origin_becomes_an_absolute_path() {
    for (value, expected) in [
        ("http://127.0.0.1:3000/guide/", "/guide/"),
        ("HTTP://127.0.0.1:3000/guide/?a=b#part", "/guide/?a=b#part"),
        ("http://127.0.0.1:3000", "/"),
        ("http://127.0.0.1:3000?q", "/?q"),
        ("http://127.0.0.1:3000#f", "/#f"),
        ("http://Web/x", "/x"),
        ("http://web.:80/x", "/x"),
        ("http://web:/x", "/x"),
        ("//127.0.0.1:3000/x", "/x"),
        ("https://bucket.example/x", "/x"),
        ("https://bucket.example:443/x", "/x"),
        ("http://[0:0::1]:8081/x", "/x"),
        // The visitor's host with an origin's port: port_in_redirect of nginx.
        ("http://shop.example:3000/guide/", "/guide/"),
        ("http://shop.example/guide/", "/guide/"),
        ("https://shop.example/guide/", "/guide/"),
        ("http://127.0.0.1:3000/\u{e4}", "/\u{e4}"),
    ] {
        assert_eq!(location(value), expected, "{value}");
    }
}

#[test]
fn what_names_another_host_scheme_or_port_stays() {
    for value in [
        "/guide/",
        "guide/",
        "",
        "https://127.0.0.1:3000/",
        "http://127.0.0.1:3001/",
        "http://127.0.0.1/",
        "http://bucket.example/",
        "https://www.bucket.example/",
        "https://shop.example:8443/x",
        "http://shop.example:8080/x",
        "http://user@127.0.0.1:3000/",
        "http://127.0.0.1:3000.evil.example/",
        "http://127.0.0.1:3000@evil.example/",
        "https://login.example/?next=http://127.0.0.1:3000/",
        "/go?to=http://127.0.0.1:3000/",
        "mailto:web//web",
    ] {
        assert_eq!(location(value), value);
    }
}

#[test]
fn a_path_that_reads_as_a_host_keeps_an_absolute_url() {
    for path in ["//evil.example/", "/\\evil.example/", "/\t/evil.example", "\\x", "\\\\evil"] {
        let expected = format!("https://shop.example:8443{path}");
        assert_eq!(location(&format!("http://127.0.0.1:3000{path}")), expected);
    }
}

#[test]
fn a_redirect_never_becomes_the_requested_url() {
    for value in [
        "https://bucket.example/guide",
        "https://bucket.example/guide#part",
        "https://bucket.example/gu%69de",
        "https://bucket.example/x/../guide",
        "https://shop.example/guide",
    ] {
        assert_eq!(location(value), value);
    }
    let posted = Visited { method: &Method::POST, ..visited("/guide") };
    let url = "https://bucket.example/guide";
    assert_eq!(rewritten(LOCATION, url, &posted, 303), "/guide", "a GET follows");
    assert_eq!(rewritten(LOCATION, url, &posted, 201), "/guide");
    assert_eq!(rewritten(LOCATION, url, &posted, 308), url);
    assert_eq!(rewritten(CONTENT_LOCATION, url, &visited("/guide"), 200), "/guide");
    assert_eq!(
        rewritten(REFRESH, &format!("0; url={url}"), &visited("/guide"), 200),
        format!("0; url={url}")
    );
}

#[test]
fn the_url_of_refresh_is_rewritten_and_nothing_else_of_it() {
    for (value, expected) in [
        ("5; url=http://127.0.0.1:3000/a", "5; url=/a"),
        ("5;URL = http://127.0.0.1:3000/a ", "5;URL = /a"),
        ("0, url='http://web/a'; x", "0, url='/a'; x"),
        ("0; url=\"http://web/a\"", "0; url=\"/a\""),
        ("0; http://web/a", "0; /a"),
        ("5", "5"),
        ("5;", "5;"),
        ("5; url=/a", "5; url=/a"),
        ("5; url=http://other.example/", "5; url=http://other.example/"),
    ] {
        let value = value.trim();
        assert_eq!(rewritten(REFRESH, value, &visited("/guide"), 200), expected, "{value}");
    }
}

#[test]
fn every_value_of_a_field_is_rewritten() {
    let mut fields = HeaderMap::new();
    for value in ["http://web/a", "http://web/b"] {
        fields.append(LOCATION, HeaderValue::from_static(value));
    }
    rewrite(&mut fields, StatusCode::FOUND, &ORIGINS, &visited("/"));
    let values: Vec<_> = fields.get_all(LOCATION).iter().collect();
    assert_eq!(values, ["/a", "/b"]);
}

proptest! {
    /// No rewritten reference leads anywhere but to the visitor's own authority.
    #[test]
    fn a_rewritten_reference_stays_with_the_visitor(rest in "[/\\\\?#.:@a\t-]{0,12}") {
        let value = format!("http://127.0.0.1:3000{rest}");
        let Some(new) = reference(&value, &ORIGINS, &visited("/guide"), true) else {
            return Ok(());
        };
        let own = new.strip_prefix("https://shop.example:8443");
        let path = own.unwrap_or(&new);
        prop_assert!(path.starts_with('/') || (own.is_some() && path.starts_with('\\')));
        if own.is_none() {
            prop_assert!(!path[1..].starts_with(['/', '\\', '\t']));
        }
        prop_assert!(path.ends_with(&rest));
    }

    /// A second node that applied the rule again would change nothing.
    #[test]
    fn rewriting_twice_is_rewriting_once(value in "https?://(web|shop\\.example|other\\.example)(:80|:443)?(/[/a?#]{0,6})?") {
        let once = location(&value);
        prop_assert_eq!(location(&once), once);
    }

    #[test]
    fn no_text_makes_it_panic(value in "\\PC{0,40}") {
        let _ = reference(&value, &ORIGINS, &visited("/"), true);
        let _ = refresh(&value, &ORIGINS, &visited("/"));
    }
}

#[test]
fn what_is_below_the_prefix_of_an_origin_loses_it() {
    let app = OriginAddress { https: false, host: "app", port: 80, prefix: "/v1" };
    let moved = |value: &str| {
        let mut fields = HeaderMap::new();
        fields.insert(LOCATION, HeaderValue::from_str(value).unwrap());
        let found = StatusCode::FOUND;
        rewrite(&mut fields, found, &[app], &visited("/guide"));
        fields[LOCATION].to_str().unwrap().to_owned()
    };
    for (value, expected) in [
        ("http://app/v1/x?y", "/x?y"),
        ("http://app/v1", "/"),
        ("http://app/v1?q", "/?q"),
        ("/v1/x", "/x"),
        ("/v1/", "/"),
        ("http://shop.example/v1/x", "/x"),
        // By the visitor's host it may be a visitor's path already.
        ("http://shop.example/x", "/x"),
        // What follows would be taken for a host.
        ("/v1//evil", "https://shop.example:8443//evil"),
        // No visitor can ask for these, or they are a visitor's already.
        ("http://app/v10/x", "http://app/v10/x"),
        ("http://app/other", "http://app/other"),
        ("/v10", "/v10"),
        ("/x", "/x"),
        ("v1/x", "v1/x"),
    ] {
        assert_eq!(moved(value), expected, "{value}");
    }
}
