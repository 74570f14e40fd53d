//! Nothing that a client sends outside of the key changes what is stored for others: each odd
//! request comes first, on a cold store, and the plain client after it must get the plain page.

mod support;
use support::*;

/// An origin that believes everything it is told: any oddity shows in the page.
fn gullible() -> weir_origin_sim::Route {
    answer_with(|request| {
        // A part of the page is the page's (Range), and trailers are passed on (TE).
        const PLAIN: [&str; 12] = [
            "range",
            "if-range",
            "te",
            "connection",
            "host",
            "via",
            "cdn-loop",
            "accept-encoding",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "content-length",
        ];
        let told = |name: &str| request.header(name).unwrap_or_default().to_owned();
        let odd: Vec<&str> = request
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !PLAIN.contains(&name.to_lowercase().as_str()))
            .collect();
        let page = format!(
            "{} {} for {} by {} with {odd:?} {}",
            request.method,
            request.target,
            told("x-forwarded-host"),
            told("x-forwarded-proto"),
            String::from_utf8_lossy(&request.body),
        );
        let page = reply(page).max_age(60).etag("\"v1\"").ranges(true).conditional(true);
        match odd.is_empty() {
            true => page,
            // It answers the odd for this client only, as an honest origin would.
            false => page.header("X-Odd", odd.join(",")),
        }
    })
}

const PAGE: &str = "200 GET /a for example.com by http with [] ";

/// Sends one odd request, then plain ones.
async fn then_the_plain_client_gets_the_plain_page(what: &str, request: &str) {
    let origin = Origin::start().await;
    origin.route("/a", gullible());
    let edge = edge().origin(&origin).start();
    edge.raw(request).await;
    for _ in 0..2 {
        let plain = edge.get("/a").await;
        assert_eq!(plain.line(), PAGE, "{what}");
        assert_eq!(plain.field("x-odd"), None, "{what}");
    }
}

#[tokio::test]
async fn fields_that_are_removed_or_set() {
    let named = weir_rules::fields::POISONOUS.iter().map(|name| format!("{name}: evil.example"));
    let others = [
        "Range: bytes=0-3",
        "Range: bytes=0-3\r\nIf-Range: \"v1\"",
        "If-None-Match: \"v1\"",
        "If-None-Match: *",
        "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
        "If-Match: \"other\"",
        "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
        "Cache-Control: no-cache",
        "Cache-Control: no-store",
        "Cache-Control: only-if-cached",
        "Pragma: no-cache",
        "Connection: X-Forwarded-Host, Host",
        "Connection: close, Via",
        "Keep-Alive: timeout=1",
        "Proxy-Connection: close",
        "Upgrade: h2c\r\nConnection: Upgrade",
        "Expect: 100-continue",
        "Max-Forwards: 0",
        "TE: trailers",
        "Weir-Seq: 99999",
        "Weir-Filled-At: 99999",
        "Content-Length: 0",
    ];
    for field in named.chain(others.map(str::to_owned)) {
        let request = format!("GET /a HTTP/1.1\r\nHost: example.com\r\n{field}\r\n\r\n");
        then_the_plain_client_gets_the_plain_page(&field, &request).await;
    }
}

#[tokio::test]
async fn forms_of_the_request() {
    for request in [
        "GET http://example.com/a HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET http://EXAMPLE.com:80/a HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET http://evil.example/a HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: ExAmPlE.CoM\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: example.com:80\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: example.com.\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: example.com\r\nHost: evil.example\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: example.com@evil.example\r\n\r\n",
        "GET /a HTTP/1.0\r\nHost: example.com\r\n\r\n",
        "GET /a HTTP/1.0\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nevil",
        "GET /a HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nevil",
        "OPTIONS /a HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "get /a HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET /%61 HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET /b/../a HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET /a?evil HTTP/1.1\r\nHost: example.com\r\n\r\n",
    ] {
        then_the_plain_client_gets_the_plain_page(request, request).await;
    }
}

/// An origin that varies on a cookie says so, or does not let it be stored: that is its part.
/// Cookies and credentials reach it, and what comes of them without its leave is not shared.
#[tokio::test]
async fn credentials_without_leave() {
    let origin = Origin::start().await;
    let personal = answer_with(|request| {
        let who = request.header("Cookie").or(request.header("Authorization"));
        let page = reply(who.unwrap_or("nobody").to_owned());
        page.header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
    });
    origin.default_route(personal);
    let edge = edge().origin(&origin).start();
    for (target, field) in
        [("/cookie", ("Cookie", "id=1")), ("/basic", ("Authorization", "Basic x"))]
    {
        assert_eq!(edge.get_with(target, &[field]).await.text(), field.1);
        assert_eq!(edge.get(target).await.text(), "nobody");
    }
}
