#![allow(clippy::unwrap_used)]

use super::*;
use http::{HeaderMap, HeaderValue, header};
use proptest::prelude::*;

const NOW: Time = Time::from_secs(1_800_000_000);

fn keys() -> Vec<SigningKey> {
    vec![SigningKey::new("new", b"0123456789abcdef"), SigningKey::new("old", b"fedcba9876543210")]
}

fn page() -> Message<'static> {
    Message {
        site: "shop",
        method: "GET",
        host: "example.com",
        path: "/v/42/a.ts",
        query: Some("q=1"),
    }
}

fn unsigned() -> Token {
    Token::unsigned("new", NOW.as_secs() + 60)
}

fn signed(message: &Message<'_>, token: Token) -> String {
    message.sign(&keys()[0], token).unwrap().to_string()
}

fn judge(message: &Message<'_>, token: &str) -> Result<(), SignatureError> {
    message.judge(token, &keys(), Some("192.0.2.7".parse().unwrap()), NOW)
}

/// The scheme is documented: other programs make these.
#[test]
fn a_signature_is_made_of_these_lines() {
    let token = signed(&page(), unsigned());
    assert_eq!(
        token,
        "v1~new~1800000060~-~-~\
         d9d3792fdbb72d7f2e21cc88ae5d1c7ca7a701c273c563930de13c86116cae61"
    );
}

#[test]
fn what_was_signed_holds_however_it_is_spelled() {
    let token = signed(&page(), unsigned());
    assert_eq!(judge(&page(), &token), Ok(()));
    assert_eq!(judge(&Message { method: "HEAD", ..page() }, &token), Ok(()));
    assert_eq!(judge(&Message { path: "/v/%34%32/a%2ets", ..page() }, &token), Ok(()));
    assert_eq!(judge(&Message { query: Some("q=%31"), ..page() }, &token), Ok(()));
}

#[test]
fn a_signature_holds_for_nothing_else() {
    let token = signed(&page(), unsigned());
    for other in [
        Message { site: "blog", ..page() },
        Message { method: "POST", ..page() },
        Message { method: "PURGE", ..page() },
        Message { host: "www.example.com", ..page() },
        Message { path: "/v/42/b.ts", ..page() },
        Message { path: "/v/42/A.ts", ..page() },
        Message { path: "/v/42/a.ts/", ..page() },
        Message { path: "//v/42/a.ts", ..page() },
        Message { path: "/v/42/./a.ts", ..page() },
        Message { path: "/v%2F42/a.ts", ..page() },
        Message { query: Some("q=2"), ..page() },
        Message { query: Some("q=1&r"), ..page() },
        Message { query: Some(""), ..page() },
        Message { query: None, ..page() },
    ] {
        assert_eq!(judge(&other, &token), Err(SignatureError::Wrong), "{other:?}");
    }
}

#[test]
fn no_part_of_a_token_can_be_changed() {
    let token = signed(&page(), unsigned());
    for (part, other) in [
        ("~1800000060~", "~1800000061~"),
        ("~-~-~", "~2~-~"),
        ("~-~-~", "~-~0.0.0.0/0~"),
        ("v1~new~", "v1~old~"),
    ] {
        let changed = token.replace(part, other);
        assert_ne!(changed, token);
        assert_eq!(judge(&page(), &changed), Err(SignatureError::Wrong), "{changed}");
    }
    let unknown = token.replace("v1~new~", "v1~none~");
    assert_eq!(judge(&page(), &unknown), Err(SignatureError::Key));
    for malformed in [
        "",
        "v1",
        &token.replace("v1~", "v2~"),
        &token.replace("~1800000060~", "~+1800000060~"),
        &token.replace("~1800000060~", "~01800000060~"),
        &token.replace("~-~-~", "~-~192.0.2.7/24~"),
        &token.replace("~-~-~", "~-~192.0.2.7~"),
        &token.replace("~-~-~", "~65~-~"),
        &token.to_ascii_uppercase(),
        &token[..token.len() - 1],
        &format!("{token}~"),
        &format!("{token}0"),
        &format!(" {token}"),
    ] {
        assert_eq!(judge(&page(), malformed), Err(SignatureError::Malformed), "{malformed}");
    }
}

#[test]
fn a_signature_expires() {
    let token = signed(&page(), unsigned());
    let at =
        |seconds| page().judge(&token, &keys(), None, Time::from_secs(NOW.as_secs() + seconds));
    assert_eq!((at(59), at(60)), (Ok(()), Err(SignatureError::Expired)));
}

#[test]
fn each_key_of_the_site_holds() {
    let token = Token { key: "old".into(), ..unsigned() };
    let token = page().sign(&keys()[1], token).unwrap().to_string();
    assert_eq!(judge(&page(), &token), Ok(()));
    let left = page().judge(&token, &keys()[..1], None, NOW);
    assert_eq!(left, Err(SignatureError::Key), "a key that was taken away");
}

#[test]
fn a_signature_for_a_network_holds_for_its_clients() {
    let of = |network: &str| {
        let network = Some(network.parse().unwrap());
        judge(&page(), &signed(&page(), Token { network, ..unsigned() }))
    };
    assert_eq!(of("192.0.2.0/24"), Ok(()));
    assert_eq!(of("198.51.100.0/24"), Err(SignatureError::Network));
    assert_eq!(of("2001:db8::/32"), Err(SignatureError::Network));
    let network = Some("192.0.2.0/24".parse().unwrap());
    let token = signed(&page(), Token { network, ..unsigned() });
    let mapped = Some("::ffff:192.0.2.9".parse().unwrap());
    assert_eq!(page().judge(&token, &keys(), mapped, NOW), Ok(()));
    assert_eq!(page().judge(&token, &keys(), None, NOW), Err(SignatureError::Network));
}

#[test]
fn a_signature_for_a_prefix_holds_for_what_begins_with_its_segments() {
    let token = signed(&page(), Token { depth: Some(2), ..unsigned() });
    for path in ["/v/42/a.ts", "/v/42/", "/v/42/b/c.ts", "/%76/42/x"] {
        assert_eq!(judge(&Message { path, ..page() }, &token), Ok(()), "{path}");
    }
    for path in ["/v/42", "/v/421/a.ts", "/v", "/", "/w/42/a.ts", "/V/42/a.ts"] {
        assert_eq!(
            judge(&Message { path, ..page() }, &token),
            Err(SignatureError::Wrong),
            "{path}"
        );
    }
    for path in [
        "/v/42/../43/a.ts",
        "/v/42/%2e%2e/43/a.ts",
        "/v/42/..%2f43/a.ts",
        "/v/42/..%5c43/a.ts",
        "/v/42/..;/43/a.ts",
        "/v/42/%252e%252e/43/a.ts",
        "/v/42//a.ts",
    ] {
        assert_eq!(judge(&Message { path, ..page() }, &token), Err(SignatureError::Path), "{path}");
    }
    let root = signed(&page(), Token { depth: Some(0), ..unsigned() });
    assert_eq!(judge(&Message { path: "/x", ..page() }, &root), Ok(()));
    let whole = signed(&Message { path: "/v/42/", ..page() }, unsigned());
    assert_eq!(judge(&page(), &whole), Err(SignatureError::Wrong), "a path is no prefix");
}

fn with_cookies(lines: &[&str]) -> HeaderMap {
    lines.iter().map(|line| (header::COOKIE, line.parse().unwrap())).collect()
}

#[test]
fn tokens_are_found_in_the_query_or_in_cookies() {
    let cookies =
        with_cookies(&["a=b; weir-token=v1%7Ea", "weir-token = c ;weir-tokens=d; weir-token"]);
    let found = |query, request: &HeaderMap| tokens(query, request).map(|found| found.join(" "));
    assert_eq!(found(None, &cookies).as_deref(), Some("v1~a c "));
    assert_eq!(found(Some("x=1&%77eir-token=q%2Fr&y"), &cookies).as_deref(), Some("q/r"));
    assert_eq!(found(Some("weir-token"), &cookies).as_deref(), Some(""));
    assert_eq!(found(Some("weir-token=a&weir%2Dtoken=b"), &cookies), None);
    assert_eq!(found(Some("x=weir-token"), &HeaderMap::new()).as_deref(), Some(""));
    assert_eq!(tokens(None, &HeaderMap::new()), Some(vec![]));
    let many = "weir-token=a; ".repeat(50);
    assert_eq!(tokens(None, &with_cookies(&[&many])).unwrap().len(), 8);
}

#[test]
fn the_rest_of_the_request_has_no_token() {
    for (query, rest) in [
        ("weir-token=a", None),
        ("x=1&weir-token=a&y=%32", Some("x=1&y=%32")),
        ("x&weir%2dtoken=a&weir-token", Some("x")),
        ("x=weir-token", Some("x=weir-token")),
        ("", Some("")),
        ("weir-token=a&", Some("")),
    ] {
        assert_eq!(remaining_query(query).as_deref(), rest, "{query}");
    }
    for (line, rest) in [
        ("weir-token=a", None),
        ("a=b; weir-token=c; d=e; weir-token=f", Some("a=b; d=e")),
        ("a=b;c=d", Some("a=b;c=d")),
        ("weir-token2=a", Some("weir-token2=a")),
    ] {
        let mut request = with_cookies(&[line]);
        request.get_mut(header::COOKIE).unwrap().set_sensitive(true);
        remove_cookies(&mut request);
        let left = request.get(header::COOKIE).map(HeaderValue::as_bytes);
        assert_eq!(left, rest.map(str::as_bytes), "{line}");
        assert!(request.get(header::COOKIE).is_none_or(HeaderValue::is_sensitive), "{line}");
    }
}

proptest! {
    #[test]
    fn a_token_is_read_as_it_was_written(
        key in "[a-z0-9_.-]{1,64}", expires: u64, depth in proptest::option::of(0u8..=64), four: u32,
        bits in proptest::option::of(0u8..=32),
    ) {
        let network = bits.map(|bits| {
            ipnet::IpNet::new(std::net::Ipv4Addr::from(four).into(), bits).unwrap().trunc()
        });
        let token = Token { depth, network, ..Token::unsigned(&key, expires) };
        prop_assert_eq!(Token::parse(&token.to_string()), Some(token));
    }

    #[test]
    fn what_was_not_signed_never_holds(
        token in "v1~new~[0-9]{1,12}~(-|[0-9]{1,2})~-~[0-9a-f]{64}", path in "/.{0,40}", query in ".{0,20}",
    ) {
        let message = Message { path: &path, query: Some(&query), ..page() };
        prop_assert!(judge(&message, &token).is_err());
    }

    #[test]
    fn nothing_panics(token in ".{0,120}", query in ".{0,60}", line in "[ -~]{0,60}") {
        let _ = judge(&page(), &token);
        let mut request = with_cookies(&[&line]);
        let found = tokens(Some(&query), &request);
        let rest = remaining_query(&query);
        if let Some(rest) = rest {
            let again = remaining_query(&rest);
            prop_assert_eq!(again.as_deref(), Some(&*rest), "nothing is left to remove");
        }
        remove_cookies(&mut request);
        prop_assert!(tokens(None, &request).is_some_and(|tokens| tokens.is_empty()));
        prop_assert!(found.is_none_or(|found| found.len() <= 8));
    }
}
