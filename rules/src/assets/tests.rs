use super::*;
use crate::key::KeyRules;
use crate::storability::{Exchange, SitePolicy, Storability, Terms, storability};
use crate::time::Time;
use http::{HeaderValue, Method, StatusCode};

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn an_asset_is_known_by_its_extension() {
    for path in ["/a.css", "/a/b.min.js", "/A.PNG", "/x.woff2", "/app.3f9a1c.js", "/a.tar.webp"] {
        assert!(is_asset(path), "{path}");
    }
    for path in ["/", "/a", "/css", "/.css", "/a.css/", "/a.php", "/a.html", "/a.json", "/a.pdf"] {
        assert!(!is_asset(path), "{path}");
    }
}

#[test]
fn a_type_fits_an_extension() {
    for (path, content_type) in [
        ("/a.css", "text/css"),
        ("/a.css", "TEXT/CSS; charset=utf-8"),
        ("/a.js", "application/javascript"),
        ("/a.js", "text/javascript"),
        ("/a.mjs", "application/octet-stream"),
        ("/a.svg", "image/svg+xml"),
        ("/a.ico", "image/x-icon"),
        ("/a.ico", "image/vnd.microsoft.icon"),
        ("/a.woff2", "font/woff2"),
        ("/a.woff", "application/font-woff"),
        ("/a.ttf", "application/x-font-ttf"),
        ("/a.eot", "application/vnd.ms-fontobject"),
        ("/a.mp4", "video/mp4"),
        ("/a.ogg", "application/ogg"),
        ("/a.map", "application/json"),
        ("/a.webmanifest", "application/manifest+json"),
        ("/a.wasm", "application/wasm"),
    ] {
        assert!(fits(path, content_type.as_bytes()), "{path}: {content_type}");
    }
    for (path, content_type) in [
        ("/a.css", "text/html"),
        ("/a.css", "text/html; charset=utf-8"),
        ("/a.css", ""),
        ("/a.css", "text/css, text/html"),
        ("/a.js", "application/json"),
        ("/a.js", "application/xhtml+xml"),
        ("/a.png", "text/plain"),
        ("/a.woff", "application/json"),
        ("/a.svg", "application/xml"),
        ("/a", "text/css"),
    ] {
        assert!(!fits(path, content_type.as_bytes()), "{path}: {content_type}");
    }
    assert!(!fits("/a.css", b"\xff"));
    for (extension, kind) in EXTENSIONS {
        for html in ["text/html", "application/xhtml+xml"] {
            assert!(!kind.has(html), "{extension}");
        }
    }
}

#[test]
fn an_anonymous_request_has_nothing_that_names_its_user() {
    let request = headers(&[
        ("host", "example.com"),
        ("accept", "text/css"),
        ("accept-encoding", "gzip"),
        ("user-agent", "Mozilla/5.0"),
        ("sec-fetch-dest", "style"),
        ("sec-ch-ua-mobile", "?0"),
        ("range", "bytes=0-1"),
        ("if-none-match", "\"a\""),
        ("x-forwarded-for", "192.0.2.1"),
        ("cookie", "session=1; lang=de; _ga=2"),
        ("x-forwarded-user", "ada"),
        ("remote-user", "ada"),
        ("cf-access-jwt-assertion", "e.e.e"),
        ("ssl-client-cert", "-"),
        ("x-theme", "dark"),
        ("priority", "u=1"),
    ]);
    let sent = |request: &HeaderMap, key: &KeyRules| {
        anonymous(request, key).map(|sent| {
            sent.iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect::<std::collections::BTreeSet<_>>()
        })
    };
    let mut kept = vec![
        "accept-encoding: gzip",
        "accept: text/css",
        "host: example.com",
        "if-none-match: \"a\"",
        "range: bytes=0-1",
        "sec-ch-ua-mobile: ?0",
        "sec-fetch-dest: style",
        "user-agent: Mozilla/5.0",
        "x-forwarded-for: 192.0.2.1",
    ];
    let strings = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect();
    assert_eq!(sent(&request, &KeyRules::default()), Some(strings(&kept)));
    let key = KeyRules {
        headers: vec![HeaderName::from_static("x-theme")],
        cookies: vec!["la*".to_owned()],
        ..KeyRules::default()
    };
    kept.extend(["cookie: lang=de", "x-theme: dark"]);
    assert_eq!(sent(&request, &key), Some(strings(&kept)));
}

#[test]
fn a_request_without_such_a_header_is_anonymous_as_it_is() {
    for lines in [
        &[][..],
        &[("host", "h"), ("connection", "keep-alive"), ("te", "trailers")],
        &[("cache-control", "no-cache"), ("pragma", "no-cache"), ("referer", "http://h/")],
        &[("priority", "u=1"), ("dnt", "1"), ("upgrade-insecure-requests", "1")],
        &[("cookie", "")],
        &[("cookie", " ; ")],
    ] {
        assert_eq!(anonymous(&headers(lines), &KeyRules::default()), None, "{lines:?}");
    }
    let key = KeyRules { cookies: vec!["lang".to_owned()], ..KeyRules::default() };
    let keyed = headers(&[("cookie", "lang=de")]);
    assert_eq!(anonymous(&keyed, &key), Some(keyed));
    assert!(anonymous(&headers(&[("cookie", "lang=de; a=1")]), &key).is_some());
    assert!(anonymous(&headers(&[("x-requested-with", "a")]), &key).is_some());
}

/// The terms of a response to a request without headers.
fn terms(path: &str, status: StatusCode, response: &HeaderMap) -> Option<Terms> {
    let request = match status {
        StatusCode::PARTIAL_CONTENT => headers(&[("range", "bytes=0-1")]),
        _ => HeaderMap::new(),
    };
    let exchange = Exchange {
        method: &Method::GET,
        scheme: "http",
        host: "h",
        path,
        query: None,
        request: &request,
        status,
        response,
        request_time: Time::from_secs(800_000_000),
        response_time: Time::from_secs(800_000_000),
        received: Time::from_secs(800_000_000),
    };
    match storability(&exchange, &SitePolicy::default()) {
        Storability::Store(terms) => Some(terms),
        Storability::Skip(_) => None,
    }
}

#[test]
fn only_what_an_anonymous_client_may_have_is_for_everyone() {
    const MODIFIED: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
    const CSS: (&str, &str) = ("content-type", "text/css");
    const ETAG: (&str, &str) = ("etag", "\"a\"");
    for (path, status, lines, expected) in [
        ("/a.css", 200, &[CSS, MODIFIED][..], true),
        ("/a.css", 200, &[CSS, ETAG, MODIFIED], true),
        ("/a.css", 200, &[CSS, ("cache-control", "max-age=60")], true),
        ("/a.css", 200, &[CSS, ETAG, ("cache-control", "no-cache")], false),
        ("/a.css", 200, &[CSS, ETAG], false),
        ("/a.3f9a1c7b.css", 200, &[CSS], true),
        ("/a.css", 206, &[CSS, MODIFIED, ("content-range", "bytes 0-1/4")], true),
        ("/a.css", 200, &[CSS, MODIFIED, ("set-cookie", "a=1")], false),
        ("/a.css", 200, &[CSS, ("cache-control", "s-maxage=9"), ("set-cookie", "a=1")], false),
        ("/a.css", 200, &[CSS, MODIFIED, ("cache-control", "private")], false),
        ("/a.css", 200, &[CSS, MODIFIED, ("cache-control", "no-store")], false),
        ("/a.css", 200, &[("content-type", "text/html"), MODIFIED], false),
        ("/a.css", 200, &[MODIFIED], false),
        ("/a.css", 404, &[CSS, ("cache-control", "max-age=60")], false),
        ("/a.css", 302, &[CSS, ("cache-control", "max-age=60")], false),
        ("/a.css", 204, &[CSS, ("cache-control", "max-age=60")], false),
    ] {
        let (status, response) = (StatusCode::from_u16(status).unwrap(), headers(lines));
        let terms = terms(path, status, &response);
        let found = is_for_everyone(path, None, status, &response, terms.as_ref());
        assert_eq!(found, expected, "{path} {status} {lines:?}");
    }
}

#[test]
fn nothing_is_guessed_about_a_service_worker() {
    let response = headers(&[
        ("content-type", "text/javascript"),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ]);
    let lifetime = |path: &str| terms(path, StatusCode::OK, &response).unwrap().freshness.lifetime;
    assert!(lifetime("/app.js") > 0);
    assert_eq!((lifetime("/sw.js"), lifetime("/a/service-worker.js")), (0, 0));
    let script = headers(&[("service-worker", "script")]);
    assert!(is_service_worker("/any.js", &script));
    assert!(!is_service_worker("/any.js", &HeaderMap::new()));
}
