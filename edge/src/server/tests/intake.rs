//! The intake alone: what requests mean, whatever their spelling.
#![allow(clippy::unwrap_used)]

use super::super::intake::LocalAnswer;
use super::super::{Arrival, intake};
use http::{Method, Request, Version};

const ARRIVAL: Arrival<'_> = Arrival { connection: None, node: "edge-1", body_bytes: 100 };

fn get(target: &str, host: &str) -> Request<()> {
    Request::get(target).header("host", host).body(()).unwrap()
}

fn word(request: &Request<()>) -> (u16, &'static str) {
    let error = intake(request, &ARRIVAL).unwrap_err();
    (error.status.as_u16(), error.word)
}

#[test]
fn one_host_has_one_spelling() {
    for (host, canonical) in [
        ("example.com", "example.com"),
        ("EXAMPLE.com", "example.com"),
        ("example.com:80", "example.com"),
        ("example.com:", "example.com"),
        ("Example.com.:80", "example.com"),
        ("example.com:8080", "example.com:8080"),
        ("example.com:08080", "example.com:8080"),
        ("example.com.:8080", "example.com:8080"),
        ("[::1]", "[::1]"),
        ("[0:0::1]:80", "[::1]"),
        ("[::FFFF]:81", "[::ffff]:81"),
        ("127.0.0.1:80", "127.0.0.1"),
    ] {
        let request = get("/a?b", host);
        let understood = intake(&request, &ARRIVAL).unwrap();
        assert_eq!(understood.host, canonical, "{host}");
        assert_eq!((understood.scheme, understood.path), ("http", "/a"));
        assert_eq!(understood.query, Some("b"));
        let absolute = Request::get(format!("http://{host}/a?b")).header("host", host).body(());
        // `http::Uri` knows fewer authorities than Host may have.
        if let Ok(absolute) = absolute {
            assert_eq!(intake(&absolute, &ARRIVAL).unwrap(), understood, "{host}");
        }
    }
}

#[test]
fn the_usual_host_costs_no_allocation() {
    for host in ["example.com", "example.com:80", "example.com:8080", "10.0.0.1:8080"] {
        let request = get("/", host);
        let understood = intake(&request, &ARRIVAL).unwrap();
        assert!(matches!(understood.host, std::borrow::Cow::Borrowed(_)), "{host}");
    }
}

#[test]
fn the_port_is_no_part_of_the_name() {
    for (host, name) in
        [("a.b", "a.b"), ("a.b:81", "a.b"), ("[::1]", "[::1]"), ("[::1]:81", "[::1]")]
    {
        assert_eq!(intake(&get("/", host), &ARRIVAL).unwrap().host_name(), name);
    }
}

#[test]
fn a_bare_question_mark_is_an_empty_query() {
    assert_eq!(intake(&get("/a?", "a"), &ARRIVAL).unwrap().query, Some(""));
    assert_eq!(intake(&get("/a", "a"), &ARRIVAL).unwrap().query, None);
}

#[test]
fn bad_hosts_are_refused() {
    for host in ["", "a b", "u@a", "a/b", "a..b", ".a", "a:0", "a:99999", "a,b", "[::1"] {
        assert_eq!(word(&get("/", host)), (400, "bad-host"), "{host}");
    }
    let mut two = get("/", "a");
    two.headers_mut().append("host", "a".parse().unwrap());
    assert_eq!(word(&two), (400, "bad-host"));
    assert_eq!(word(&Request::get("/").body(()).unwrap()), (400, "bad-host"));
    assert_eq!(word(&get("http://u@a/", "a")), (400, "bad-host"));
    let without = Request::get("http://a/").body(()).unwrap();
    assert_eq!(word(&without), (400, "bad-host"));
}

/// RFC 9112 §3.2.2
#[test]
fn the_host_of_an_absolute_target_counts_and_host_does_not() {
    assert_eq!(intake(&get("http://a:81/", "b"), &ARRIVAL).unwrap().host, "a:81");
    assert_eq!(word(&get("http://a/", "b b")), (400, "bad-host"));
}

#[test]
fn http_2_names_its_host_in_the_target() {
    let mut request = Request::get("http://Site:80/a").body(()).unwrap();
    *request.version_mut() = Version::HTTP_2;
    assert_eq!(intake(&request, &ARRIVAL).unwrap().host, "site");
    request.headers_mut().insert("host", "other".parse().unwrap());
    assert_eq!(word(&request), (400, "bad-host"));
}

#[test]
fn bad_targets_are_refused() {
    assert_eq!(word(&get("*", "a")), (400, "bad-target"));
    assert_eq!(word(&get("ftp://a/b", "a")), (400, "bad-target"));
    assert_eq!(word(&get("a:80", "a:80")), (400, "bad-target"));
}

#[test]
fn methods() {
    let ask = |method: &str, target: &str| {
        Request::builder().method(method).uri(target).header("host", "a").body(()).unwrap()
    };
    assert_eq!(word(&ask("CONNECT", "a:443")), (405, "connect"));
    assert_eq!(word(&ask("TRACE", "/")), (405, "trace"));
    assert_eq!(word(&ask(&"A".repeat(65), "/")), (501, "method-too-long"));
    assert_eq!(intake(&ask("M-SEARCH", "/"), &ARRIVAL).unwrap().local, None);
    let request = ask("OPTIONS", "*");
    let understood = intake(&request, &ARRIVAL).unwrap();
    assert_eq!((understood.path, understood.local), ("*", Some(LocalAnswer::Options)));
    assert_eq!(intake(&ask("OPTIONS", "/a"), &ARRIVAL).unwrap().local, None);
}

#[test]
fn max_forwards_counts_down_for_options() {
    let with = |method: Method, value: &str| {
        let request = Request::builder().method(method).uri("/").header("host", "a");
        request.header("max-forwards", value).body(()).unwrap()
    };
    let left = |value| intake(&with(Method::OPTIONS, value), &ARRIVAL).unwrap().max_forwards;
    assert_eq!(left("2"), Some(1));
    assert_eq!(left("99999999999"), Some(u32::MAX - 1));
    let last = with(Method::OPTIONS, "0");
    assert_eq!(intake(&last, &ARRIVAL).unwrap().local, Some(LocalAnswer::Options));
    assert_eq!(word(&with(Method::OPTIONS, "x")), (400, "bad-max-forwards"));
    assert_eq!(intake(&with(Method::GET, "0"), &ARRIVAL).unwrap().max_forwards, None);
}

#[test]
fn a_loop_is_found_by_our_name() {
    let looped = |value: &str| {
        let request = Request::get("/").header("host", "a").header("cdn-loop", value);
        intake(&request.body(()).unwrap(), &ARRIVAL).err().map(|error| error.status.as_u16())
    };
    assert_eq!(looped("edge-1"), Some(508));
    assert_eq!(looped("other; a=b, Edge-1; c=d"), Some(508));
    assert_eq!(looped("other, edge-10, x-edge-1"), None);
}

#[test]
fn lengths_are_bounded() {
    let with = |value: &str| {
        let request = Request::post("/").header("host", "a").header("content-length", value);
        request.body(()).unwrap()
    };
    assert!(intake(&with("100"), &ARRIVAL).is_ok());
    assert_eq!(word(&with("101")), (413, "body-too-large"));
    assert_eq!(word(&with("x")), (400, "bad-length"));
}
