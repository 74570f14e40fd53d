//! Who may request what: the access settings of site rules, for whatever answers a request.

#[path = "access/spellings.rs"]
mod spellings;
mod support;
use spellings::Spellings;
use support::*;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use weir_rules::access::signed::{Message, SigningKey, Token};

/// The hash of `secret`.
const HASH: &str = "$2y$04$Gz0wBDR0Kg/jvUm7wzMCouvkIempriLaRGWsWZsfZEWG04SfuBWdW";

/// `anna:secret`
const ANNA: (&str, &str) = ("Authorization", "Basic YW5uYTpzZWNyZXQ=");
/// `anna:wrong`
const WRONG: (&str, &str) = ("Authorization", "Basic YW5uYTp3cm9uZw==");
/// `nobody:secret`
const NOBODY: (&str, &str) = ("Authorization", "Basic bm9ib2R5OnNlY3JldA==");

/// A file of users, removed when it is dropped.
struct Users(PathBuf);

impl Users {
    fn new(name: &str) -> Self {
        let file = format!("weir-access-{}-{name}", std::process::id());
        let users = Self(std::env::temp_dir().join(file));
        users.write(&format!("anna:{HASH}\n"));
        users
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).expect("a file");
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A node that believes this machine's proxies, so that clients have the addresses that they name.
fn proxied() -> EdgeBuilder {
    node("name = \"edge\"\ntrusted_proxies = [\"127.0.0.0/8\"]")
}

const KEY: &str = "[[site.signing_key]]\nid = \"k\"\nsecret = \"0123456789abcdef\"\n";

fn key() -> SigningKey {
    SigningKey::new("k", b"0123456789abcdef")
}

fn in_an_hour() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    now.as_secs() + 3600
}

/// A token for GET of a target at [`HOST`].
fn token(target: &str, unsigned: Token) -> String {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let message = Message { site: "site", method: "GET", host: HOST, path, query };
    message.sign(&key(), unsigned).expect("a path that can be signed").to_string()
}

fn signed(target: &str) -> String {
    let token = token(target, Token::unsigned("k", in_an_hour()));
    let separator = if target.contains('?') { '&' } else { '?' };
    format!("{target}{separator}weir-token={token}")
}

fn refused(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.field("cache-control").map(|value| value.contains("no-store")), Some(true));
    (answer.status, answer.handled())
}

fn refusal(status: u16, word: &str) -> (u16, String) {
    (status, format!("detail={word}"))
}

#[tokio::test]
async fn clients_are_judged_by_their_address_for_hits_too() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let rule = "[[site.rule]]\nname = \"office\"\nmatch = { path = [\"/admin/*\"] }\n\
                allow = [\"192.0.2.0/24\"]\ndeny = [\"192.0.2.66\"]\n";
    let edge = proxied().origin(&origin).site(rule).start();
    let from = |address| [("X-Forwarded-For", address)];
    let inside = edge.get_with("/admin/a", &from("192.0.2.1")).await;
    assert_eq!(
        (inside.line().as_str(), inside.field("cache-control")),
        ("200 hello", Some("private, max-age=60"))
    );
    let again = edge.get_with("/admin/a", &from("192.0.2.2")).await;
    assert_eq!(again.handled(), "hit", "what is private beyond this node is shared within it");
    assert_eq!(again.field("cache-control"), Some("private, max-age=60"));
    for (address, word) in
        [("192.0.2.66", "denied"), ("198.51.100.1", "not-allowed"), ("none", "denied")]
    {
        let answer = edge.get_with("/admin/a", &from(address)).await;
        assert_eq!(refused(&answer), refusal(403, word), "{address}");
    }
    assert_eq!(edge.get("/admin/a").await.status, 403, "the proxy itself");
    let outside = edge.get_with("/b", &from("198.51.100.1")).await;
    assert_eq!(outside.field("cache-control"), Some("max-age=60"));
    assert!(edge.node.metrics().contains("weir_access_refused_requests_total{setting=\"deny\"} 2"));
    assert!(
        edge.node.metrics().contains("weir_access_refused_requests_total{setting=\"allow\"} 2")
    );
}

/// Whatever form an answer has, and whoever made it: no cache on the way to the client may keep it.
#[tokio::test]
async fn every_answer_to_who_is_admitted_is_private() {
    let origin = Origin::start().await;
    let page = reply("hello").max_age(60).etag("\"v1\"");
    let page = page.header("CDN-Cache-Control", "max-age=60").header("X-Accel-Expires", "60");
    origin.default_route(page);
    origin.route("/in/missing", reply("no").status(404).max_age(60));
    origin.route("/in/own", reply("own").header("Cache-Control", "no-store"));
    let rules = "[[site.rule]]\nname = \"office\"\nmatch = { path = [\"/in/*\"] }\nallow = [\"127.0.0.0/8\"]\n\
                 [[site.rule]]\nname = \"moved\"\nmatch = { path = [\"/in/old\"] }\nredirect = { to = \"/in/new\" }\n\
                 [[site.rule]]\nname = \"told\"\nresponse_headers = { set = { Surrogate-Control = \"max-age=60\" } }\n";
    let edge = edge().origin(&origin).site(rules).start();
    edge.get("/in/a").await;
    edge.get("/in/missing").await;
    let range = ("Range", "bytes=0-1");
    for (method, target, fields, status) in [
        ("GET", "/in/a", &[][..], 200),
        ("HEAD", "/in/a", &[], 200),
        ("GET", "/in/a", &[("If-None-Match", "\"v1\"")], 304),
        ("GET", "/in/a", &[range], 206),
        ("GET", "/in/a", &[("Range", "bytes=90-")], 416),
        ("GET", "/in/missing", &[], 404),
        ("GET", "/in/own", &[], 200),
        ("GET", "/in/old", &[], 301),
        ("POST", "/in/b", &[], 200),
        ("GET", "/in/c", &[("Cache-Control", "only-if-cached")], 504),
    ] {
        let answer = edge.ask(method, target, fields).await;
        assert_eq!(answer.status, status, "{method} {target} {fields:?}");
        let told = answer.values("cache-control").join(", ");
        assert!(told.contains("private") && !told.contains("public"), "{method} {target}: {told}");
        for name in ["cdn-cache-control", "x-accel-expires", "surrogate-control"] {
            assert_eq!(answer.field(name), None, "{method} {target} {fields:?}");
        }
    }
    let open = edge.get("/a").await;
    assert_eq!(open.field("surrogate-control"), Some("max-age=60"));
    assert!(!open.values("cache-control").join(", ").contains("private"), "{open:?}");
}

/// A refresh in the background has no client: it is neither judged nor counted.
#[tokio::test]
async fn a_refresh_is_for_nobody_and_is_not_judged() {
    let origin = Origin::start().await;
    let old = stale_with("old", "max-age=10, stale-while-revalidate=600");
    origin.route("/a", old.then(reply("new").max_age(60)));
    let rules = format!(
        "{KEY}[[site.rule]]\nname = \"films\"\nsigned = true\n\
         [[site.rule]]\nname = \"calm\"\nrate = {{ requests = 1, per = \"1h\", burst = 3 }}\n"
    );
    let edge = edge().origin(&origin).site(&rules).start();
    assert_eq!(edge.get(&signed("/a")).await.line(), "200 old");
    assert_eq!(edge.get(&signed("/a")).await.line(), "200 old", "and refreshed");
    until("the refresh", || edge.explain("/a").state, |state| *state == "fresh").await;
    assert_eq!(edge.get(&signed("/a")).await.line(), "200 new");
    assert_eq!(edge.get(&signed("/a")).await.status, 429, "three were a client's");
    assert_eq!(origin.fetches("/a"), 2);
}

/// Each way in which a request may be answered, for a client that may not have it and for one that may.
#[tokio::test]
async fn no_way_to_an_answer_leads_past_a_rule() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60).etag("\"v1\""));
    origin.route("/stale", stale("old").then(reply("").status(500)));
    origin.route("/held", held("late").max_age(60));
    origin.route("/up", reply("").upgrade_echo());
    origin.route("/missing", reply("no").status(404).max_age(60));
    origin.route("/broken", reply("no").status(500));
    let rule = "stale = { if_error = \"1h\" }\n[[site.rule]]\nname = \"deny\"\nmatch = { header = { x-me = \"evil\" } }\ndeny = [\"all\"]\n";
    let edge = edge().origin(&origin).site(rule).start();
    let evil = ("X-Me", "evil");
    edge.get("/a").await;
    edge.get("/stale").await;
    assert_eq!(edge.get("/stale").await.line(), "200 old", "stale, for others");
    assert_eq!(edge.get("/missing").await.status, 404);
    assert_eq!(edge.get("/missing").await.handled(), "hit", "an error from the store, for others");
    assert_eq!(edge.get("/broken").await.status, 500);
    let crowd = edge.get_many("/held", 2);
    edge.until_waiting("/held", 2).await;
    origin.until_requests("/held", 1).await;
    let fetches = origin.requests("*").len();
    for (method, target, fields) in [
        ("GET", "/a", &[][..]),
        ("HEAD", "/a", &[]),
        ("GET", "/a", &[("Range", "bytes=0-1")]),
        ("GET", "/a", &[("If-None-Match", "\"v1\"")]),
        ("GET", "/a", &[("Cache-Control", "only-if-cached")]),
        ("GET", "/a", &[("Range", "bytes=0-1, 3-4")]),
        ("GET", "/a", &[("Range", "bytes=90-99")]),
        ("GET", "/stale", &[]),
        ("GET", "/held", &[]),
        ("HEAD", "/held", &[]),
        ("GET", "/held", &[("Range", "bytes=0-1")]),
        ("GET", "/missing", &[]),
        ("HEAD", "/missing", &[]),
        ("GET", "/broken", &[]),
        ("POST", "/a", &[]),
        ("PUT", "/a", &[]),
        ("OPTIONS", "/a", &[]),
        ("PURGE", "/a", &[]),
        ("GET", "/up", &[("Connection", "Upgrade"), ("Upgrade", "websocket")]),
    ] {
        let mut fields = fields.to_vec();
        fields.push(evil);
        let answer = edge.ask(method, target, &fields).await;
        assert_eq!(refused(&answer), refusal(403, "denied"), "{method} {target}");
    }
    assert_eq!(origin.requests("*").len(), fetches, "the origin hears of none of them");
    assert_eq!(edge.get("/a").await.handled(), "hit", "nothing was removed or replaced");
    origin.release("/held");
    crowd.all("200 late").await;
}

#[tokio::test]
async fn every_rule_must_be_satisfied_whatever_is_final() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let rules = "[[site.rule]]\nname = \"first\"\nfinal = true\nallow = [\"192.0.2.0/24\"]\n\
                 [[site.rule]]\nname = \"second\"\nallow = [\"192.0.2.0/25\", \"198.51.100.0/24\"]\n";
    let edge = proxied().origin(&origin).site(rules).start();
    for (address, status) in [("192.0.2.1", 200), ("192.0.2.200", 403), ("198.51.100.1", 403)] {
        let answer = edge.get_with("/a", &[("X-Forwarded-For", address)]).await;
        assert_eq!(answer.status, status, "{address}");
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_or_host_leads_past_a_rule() {
    let origin = Origin::start().await;
    origin.default_route(reply("secret").max_age(60));
    let rule = "hosts = [\"example.com\"]\n[[site.rule]]\nname = \"admin\"\nmatch = { path = [\"/admin/*\"] }\ndeny = [\"all\"]\n";
    let edge = edge().origin(&origin).site(rule).start();
    for target in [
        "/admin/x",
        "/admin",
        "/ADMIN/x",
        "/%61dmin/x",
        "//admin/x",
        "/./admin/x",
        "/a/../admin/x",
        "/a/%2e%2e/admin/x",
        "/a/..%2fadmin/x",
        "/admin%2fx",
        "/admin;a=b/x",
        "/%2561dmin/x",
        "/a\\..\\admin\\x",
        "http://example.com/admin/x",
        "http://EXAMPLE.com.:80/admin/x",
    ] {
        for host in
            ["example.com", "EXAMPLE.COM", "example.com.", "example.com:80", "example.com:8080"]
        {
            let answer = edge.get_with(target, &[("Host", host)]).await;
            assert_eq!(refused(&answer), refusal(403, "denied"), "{target} at {host}");
        }
    }
    assert_eq!(origin.requests("*").len(), 0);
}

#[tokio::test]
async fn pages_of_other_sites_may_not_include_what_is_protected() {
    let origin = Origin::start().await;
    origin.default_route(reply("image").max_age(60));
    let rule = "[[site.rule]]\nname = \"hotlinks\"\nmatch = { path = [\"*.jpg\"] }\nreferer = [\"*.partner.example\"]\n\
                [[site.rule]]\nname = \"strict\"\nmatch = { path = [\"/strict/*\"] }\nreferer = { hosts = [], missing = false }\n";
    let edge = edge().origin(&origin).site(rule).start();
    for (target, referer, status) in [
        ("/a.jpg", None, 200),
        ("/a.jpg", Some("http://example.com/page"), 200),
        ("/a.jpg", Some("https://www.partner.example/"), 200),
        ("/a.jpg", Some("https://evil.example/?http://example.com/"), 403),
        ("/a.html", Some("https://evil.example/"), 200),
        ("/strict/a.css", None, 403),
        ("/strict/a.css", Some("http://example.com/"), 200),
    ] {
        let fields: Vec<_> = referer.iter().map(|page| ("Referer", *page)).collect();
        let answer = edge.get_with(target, &fields).await;
        assert_eq!(answer.status, status, "{target} {referer:?}");
        if status == 403 {
            assert_eq!(refused(&answer), refusal(403, "referer"));
        }
    }
}

#[tokio::test]
async fn a_password_is_asked_for_and_stays_here() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    let users = Users::new("stays");
    let rule = format!("[[site.rule]]\nname = \"staff\"\nbasic_auth = {:?}\n", users.0);
    let edge = edge().origin(&origin).site(&rule).start();
    let asked = edge.get("/a").await;
    assert_eq!(refused(&asked), refusal(401, "no-credentials"));
    assert_eq!(asked.field("www-authenticate"), Some("Basic realm=\"staff\", charset=\"UTF-8\""));
    for wrong in [WRONG, NOBODY, ("Authorization", "Bearer x")] {
        assert_eq!(
            refused(&edge.get_with("/a", &[wrong]).await),
            refusal(401, "wrong-credentials")
        );
    }
    assert_eq!(origin.requests("*").len(), 0);
    let first = edge.get_with("/a", &[ANNA]).await;
    assert_eq!(first.line(), "200 hello");
    assert_eq!(first.handled(), "fwd=uri-miss; fwd-status=200; stored");
    assert_eq!(first.field("cache-control"), Some("private, max-age=60"));
    assert_eq!(origin.requests("/a")[0].header("authorization"), None);
    assert_eq!(edge.get_with("/a", &[ANNA]).await.handled(), "hit");
    assert_eq!(edge.get("/a").await.status, 401, "a stored response is asked for by a client too");
    assert_eq!(edge.ask("HEAD", "/a", &[]).await.status, 401);
}

#[tokio::test]
async fn a_password_that_is_forwarded_bears_on_storing() {
    let origin = Origin::start().await;
    origin.route("/a", reply("anna's").max_age(60));
    origin.route("/public", reply("all's").header("Cache-Control", "public, max-age=60"));
    let users = Users::new("forward");
    let rule = format!(
        "[[site.rule]]\nname = \"staff\"\nbasic_auth = {{ file = {:?}, realm = \"All Staff\", forward = true }}\n",
        users.0
    );
    let edge = edge().origin(&origin).site(&rule).start();
    let challenge = edge.get("/a").await;
    assert_eq!(
        challenge.field("www-authenticate"),
        Some("Basic realm=\"All Staff\", charset=\"UTF-8\"")
    );
    for _ in 0..2 {
        assert!(!edge.get_with("/a", &[ANNA]).await.handled().contains("hit"));
    }
    assert_eq!(origin.requests("/a")[0].header("authorization"), Some(ANNA.1));
    edge.get_with("/public", &[ANNA]).await;
    let hit = edge.get_with("/public", &[ANNA]).await;
    assert_eq!(
        (hit.handled().as_str(), hit.field("cache-control")),
        ("hit", Some("private, max-age=60"))
    );
}

#[tokio::test]
async fn a_reload_reads_the_file_again() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    let users = Users::new("reload");
    let rule = format!("[[site.rule]]\nname = \"staff\"\nbasic_auth = {:?}\n", users.0);
    let builder = || edge().origin(&origin).site(&rule);
    let edge = builder().start();
    assert_eq!(edge.get_with("/a", &[ANNA]).await.status, 200);
    users.write(&format!("ben:{HASH}\n"));
    edge.node.reload(builder().config()).expect("a valid configuration");
    assert_eq!(edge.get_with("/a", &[ANNA]).await.status, 401);
}

#[tokio::test]
async fn who_guesses_passwords_has_to_wait_and_nobody_else_does() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60));
    let users = Users::new("guesses");
    let rule = format!("[[site.rule]]\nname = \"staff\"\nbasic_auth = {:?}\n", users.0);
    let edge = proxied().origin(&origin).site(&rule).start();
    let from = |address| ("X-Forwarded-For", address);
    let mut words = Vec::new();
    for n in 0..22 {
        use std::fmt::Write;
        let mut guess = String::from("Basic ");
        // `a:` and two digits, in base64.
        let _ = write!(
            guess,
            "YTox{}",
            ["MA==", "MQ==", "Mg==", "Mw==", "NA==", "NQ==", "Ng==", "Nw==", "OA==", "OQ=="]
                [n % 10]
        );
        if n >= 10 {
            guess = guess.replace("YTox", "YToy");
        }
        if n >= 20 {
            guess = guess.replace("YToy", "YToz");
        }
        let answer = edge.get_with("/a", &[from("192.0.2.1"), ("Authorization", &guess)]).await;
        words.push(answer.handled());
    }
    assert!(words[..20].iter().all(|word| word == "detail=wrong-credentials"), "{words:?}");
    assert_eq!(words[20..], ["detail=wrong-credentials-rate"; 2]);
    let throttled = edge.get_with("/a", &[from("192.0.2.1"), ANNA]).await;
    assert_eq!(refused(&throttled), refusal(429, "wrong-credentials-rate"));
    assert!(throttled.number("retry-after").is_some_and(|seconds| (1..=3).contains(&seconds)));
    assert_eq!(edge.get_with("/a", &[from("192.0.2.2"), ANNA]).await.status, 200);
    assert_eq!(edge.get_with("/a", &[from("192.0.2.1"), ANNA]).await.status, 200, "known by now");
    let again = proxied().origin(&origin).site(&rule).config();
    edge.node.reload(again).expect("a valid configuration");
    assert_eq!(edge.get_with("/a", &[from("192.0.2.1"), ANNA]).await.status, 429, "forgotten");
}

#[tokio::test]
async fn a_signed_url_is_answered_from_what_all_share() {
    let origin = Origin::start().await;
    origin.default_route(reply("film").max_age(60));
    let rule = format!(
        "{KEY}[[site.rule]]\nname = \"films\"\nmatch = {{ path = [\"/v/*\"] }}\nsigned = true\n"
    );
    let edge = edge().origin(&origin).site(&rule).start();
    for (target, word) in [
        ("/v/a.mp4".to_owned(), "signature-missing"),
        (signed("/v/a.mp4").replace("a.mp4", "b.mp4"), "signature-wrong"),
        (format!("{}&weir-token=x", signed("/v/a.mp4")), "signature-malformed"),
        (format!("{}&x=1", signed("/v/a.mp4")), "signature-wrong"),
        (
            format!("/v/a.mp4?weir-token={}", token("/v/a.mp4", Token::unsigned("k", 1000))),
            "signature-expired",
        ),
    ] {
        assert_eq!(refused(&edge.get(&target).await), refusal(403, word), "{target}");
    }
    let one = edge.get(&signed("/v/a.mp4")).await;
    assert_eq!(
        (one.line().as_str(), one.field("cache-control")),
        ("200 film", Some("private, max-age=60"))
    );
    let later = token("/v/a.mp4", Token::unsigned("k", in_an_hour() + 5));
    let other = edge.get(&format!("/v/a.mp4?weir-token={later}")).await;
    assert_eq!(other.handled(), "hit", "the signature is not in the key");
    let cookie = format!("a=b; weir-token={later}");
    let by_cookie = edge.get_with("/v/a.mp4", &[("Cookie", &cookie)]).await;
    assert_eq!(by_cookie.handled(), "hit");
    assert_eq!(edge.ask("HEAD", &signed("/v/a.mp4"), &[]).await.status, 200);
    assert_eq!(edge.ask("POST", &signed("/v/a.mp4"), &[]).await.status, 403);
    edge.get(&signed("/v/c.mp4?t=1&u=2")).await;
    edge.get_with("/w", &[("Cookie", &cookie)]).await;
    let targets: Vec<_> = origin.requests("*").into_iter().map(|asked| asked.target).collect();
    assert_eq!(targets, ["/v/a.mp4", "/v/c.mp4?t=1&u=2", "/w"]);
    let cookies: Vec<_> = origin
        .requests("/w")
        .iter()
        .map(|asked| asked.header("cookie").map(str::to_owned))
        .collect();
    assert_eq!(
        cookies,
        [Some("a=b".to_owned())],
        "the token is nobody's business, wherever it is sent"
    );
    edge.purge(path("/v/a.mp4"));
    assert!(edge.get(&signed("/v/a.mp4")).await.handled().contains("uri-miss"));
}

#[tokio::test]
async fn a_signature_may_be_for_a_prefix_and_a_network() {
    let origin = Origin::start().await;
    origin.default_route(reply("segment").max_age(60));
    let rule = format!("{KEY}[[site.rule]]\nname = \"films\"\nsigned = true\n");
    let edge = proxied().origin(&origin).site(&rule).start();
    let mut unsigned = Token::unsigned("k", in_an_hour());
    unsigned.depth = Some(2);
    unsigned.network = Some("192.0.2.0/24".parse().expect("a network"));
    let token = token("/v/42/", unsigned).replace('/', "%2F");
    for (target, address, word) in [
        ("/v/42/1.ts", "192.0.2.1", ""),
        ("/v/42/b/2.ts", "192.0.2.1", ""),
        ("/v/42/1.ts", "198.51.100.1", "signature-network"),
        ("/v/43/1.ts", "192.0.2.1", "signature-wrong"),
        ("/v/42/../43/1.ts", "192.0.2.1", "signature-path"),
        ("/v/42/..%2f43/1.ts", "192.0.2.1", "signature-path"),
    ] {
        let target = format!("{target}?weir-token={token}");
        let answer = edge.get_with(&target, &[("X-Forwarded-For", address)]).await;
        match word {
            "" => assert_eq!(answer.line(), "200 segment", "{target}"),
            word => assert_eq!(refused(&answer), refusal(403, word), "{target} {address}"),
        }
    }
}

#[tokio::test]
async fn too_many_requests_are_refused_from_the_store_too() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let rule = "[[site.rule]]\nname = \"calm\"\nmatch = { path = [\"/api/*\"] }\nrate = { requests = 1, per = \"1h\", burst = 3 }\n\
                [[site.rule]]\nname = \"keys\"\nmatch = { path = [\"/key/*\"] }\nrate = { requests = 1, per = \"1h\", burst = 2, header = \"X-Key\", client_burst = 5 }\n";
    let edge = proxied().origin(&origin).site(rule).start();
    for n in 0..5 {
        let answer = edge.get_with("/api/a", &[("X-Forwarded-For", "2001:db8::1")]).await;
        match n {
            0..3 => assert_eq!(answer.status, 200),
            _ => {
                assert_eq!(refused(&answer), refusal(429, "rate"));
                assert!(
                    answer.number("retry-after").is_some_and(|wait| (3000..=3600).contains(&wait))
                );
            }
        }
    }
    let same_network = edge.get_with("/api/a", &[("X-Forwarded-For", "2001:db8::2")]).await;
    assert_eq!(same_network.status, 429);
    assert_eq!(
        edge.get_with("/api/a", &[("X-Forwarded-For", "2001:db8:0:1::1")]).await.status,
        200
    );
    assert_eq!(edge.get_with("/b", &[("X-Forwarded-For", "2001:db8::1")]).await.status, 200);
    let mut statuses = Vec::new();
    for key in ["a", "a", "a", "b", "c", "d"] {
        let fields = [("X-Forwarded-For", "192.0.2.1"), ("X-Key", key)];
        statuses.push(edge.get_with("/key/a", &fields).await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 200, 200, 429], "new keys do not help for ever");
}

#[tokio::test]
async fn a_reload_that_leaves_a_rate_as_it_is_keeps_its_counts() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let rule = |burst: u32| {
        format!(
            "[[site.rule]]\nname = \"calm\"\nrate = {{ requests = 1, per = \"1h\", burst = {burst} }}\n"
        )
    };
    let edge = edge().origin(&origin).site(&rule(1)).start();
    assert_eq!((edge.get("/a").await.status, edge.get("/a").await.status), (200, 429));
    let reload = |burst| {
        let config = support::edge().origin(&origin).site(&rule(burst)).config();
        edge.node.reload(config).expect("a valid configuration");
    };
    reload(1);
    assert_eq!(edge.get("/a").await.status, 429);
    reload(2);
    assert_eq!(edge.get("/a").await.status, 200);
}

#[tokio::test]
async fn nodes_are_not_judged_again_and_strangers_are_at_each_tier() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let users = Users::new("tiers");
    let rules = format!(
        "{KEY}[[site.rule]]\nname = \"staff\"\nmatch = {{ path = [\"/staff/*\"] }}\nbasic_auth = {:?}\n\
         [[site.rule]]\nname = \"films\"\nmatch = {{ path = [\"/v/*\"] }}\nsigned = true\n\
         [[site.rule]]\nname = \"calm\"\nmatch = {{ path = [\"/calm/*\"] }}\nrate = {{ requests = 1, per = \"1h\", burst = 2 }}\n",
        users.0
    );
    let log = Log::new("one");
    let parent = parent_of("parent", &origin, "").site(&rules).start();
    let edge = edge_of("edge", &origin, &[&parent], "").site(&rules).start();
    let _leashes = [log.lead(&edge).await, log.lead(&parent).await];
    for (target, fields) in [("/staff/a", &[ANNA][..]), (&signed("/v/a"), &[]), ("/calm/a", &[])] {
        let through = edge.get_with(target, fields).await;
        assert_eq!(through.line(), "200 hello", "{target}");
        assert!(
            handled(&through)[0].starts_with("parent; fwd=uri-miss"),
            "{:?}",
            handled(&through)
        );
        let direct = parent.get_with(target, fields).await;
        assert_eq!(handled(&direct), ["parent; hit"], "{target}");
        let is_private =
            direct.field("cache-control").is_some_and(|value| value.contains("private"));
        assert_eq!(is_private, !target.starts_with("/calm"), "{target}");
    }
    assert!(origin.requests("*").iter().all(|asked| asked.header("authorization").is_none() && !asked.target.contains("token")));
    for (target, word) in [
        ("/staff/a", "no-credentials"),
        ("/v/a", "signature-missing"),
        ("/%76/a", "signature-missing"),
    ] {
        for fields in
            [&[][..], &[("weir-tier-key", "x")], &[("weir-seq", "one/1/1"), ("weir-rules", "")]]
        {
            for node in [&parent, &edge] {
                let answer = node.get_with(target, fields).await;
                let told = handled(&answer).join(" ");
                let vouched = answer.status == 503 && told.contains("tier-key");
                assert!(
                    vouched || told.contains(word),
                    "{target} {fields:?}: {} {told}",
                    answer.status
                );
            }
        }
    }
    // One was counted at the edge and at the parent each: what the edge asked was not.
    assert_eq!(
        (parent.get("/calm/a").await.status, parent.get("/calm/a").await.status),
        (200, 429)
    );
}

/// A client over IPv6 or IPv4 is one prefix, and an address in a list is the client's, not the proxy's.
#[tokio::test]
async fn only_trusted_proxies_say_who_a_client_is() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let rule = "[[site.rule]]\nname = \"office\"\nallow = [\"192.0.2.0/24\"]\n";
    let edge = edge().origin(&origin).site(rule).start();
    let client: IpAddr = [192, 0, 2, 1].into();
    for name in ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Client-IP", "True-Client-IP"] {
        let answer = edge.get_with("/a", &[(name, &client.to_string())]).await;
        assert_eq!(refused(&answer), refusal(403, "not-allowed"), "{name}");
    }
}

#[tokio::test]
async fn what_a_url_demands_is_explained() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let rules = format!(
        "{KEY}[[site.rule]]\nname = \"films\"\nmatch = {{ path = [\"/v/*\"] }}\nsigned = true\nreferer = []\n\
         [[site.rule]]\nname = \"all\"\nfinal = true\ndeny = [\"192.0.2.1\"]\n"
    );
    let edge = edge().origin(&origin).site(&rules).start();
    edge.get(&signed("/v/a")).await;
    let explained = edge.explain(&format!("{}&x=1", signed("/v/a")));
    assert_eq!(explained.state, "not-stored");
    let explained = edge.explain(&signed("/v/a"));
    assert_eq!(explained.state, "fresh", "the signature is not in the key");
    let access =
        explained.access.iter().map(|rule| format!("{}: {}", rule.rule, rule.settings.join(" ")));
    assert_eq!(access.collect::<Vec<_>>(), ["films: referer signed", "all: deny"]);
}

/// A rule that refuses by a header, a cookie and a host is met in every way in which those can be written, at each tier.
#[tokio::test]
async fn no_spelling_of_a_header_leads_past_a_rule_at_any_tier() {
    let origin = Origin::start().await;
    origin.default_route(reply("page").max_age(60));
    let rules = "hosts = [\"example.com\", \"other.example.com\"]\n\
                 [[site.rule]]\nname = \"robots\"\n\
                 match = { header = { User-Agent = \"*badbot/1*\" } }\ndeny = [\"all\"]\n\
                 [[site.rule]]\nname = \"banned\"\nmatch = { cookie = [\"banned\"] }\ndeny = [\"all\"]\n\
                 [[site.rule]]\nname = \"closed\"\nmatch = { host = [\"other.example.com\"] }\ndeny = [\"all\"]\n\
                 [[site.rule]]\nname = \"final\"\nfinal = true\n";
    let log = Log::new("one");
    let parent = parent_of("parent", &origin, "").site(rules).start();
    let edge = edge_of("edge", &origin, &[&parent], "").site(rules).start();
    let _leashes = [log.lead(&edge).await, log.lead(&parent).await];
    assert_eq!(edge.get("/page").await.line(), "200 page");
    assert_eq!(edge.get("/page").await.handled_by("edge"), "hit", "what is refused is stored");
    let fetches = origin.requests("*").len();
    for seed in 0..300 {
        let head = Spellings::new(seed).refused_head();
        for node in [&edge, &parent] {
            let answer = node.raw(&head).await;
            let told = handled(&answer).join(" ");
            assert_eq!(answer.status, 403, "{seed}: {head:?}: {told}");
            assert!(told.ends_with("detail=denied"), "{seed}: {head:?}: {told}");
        }
    }
    assert_eq!(origin.requests("*").len(), fetches);
}

/// At the edge, through it at its parent, and at the parent for clients that go there.
#[tokio::test]
async fn no_spelling_leads_past_a_rule_at_any_tier() {
    let origin = Origin::start().await;
    origin.default_route(reply("secret").max_age(60));
    let rules = format!(
        "hosts = [\"example.com\"]\n{KEY}[[site.rule]]\nname = \"users\"\n\
         match = {{ path = [\"/admin/users/*\"] }}\nsigned = true\n\
         [[site.rule]]\nname = \"final\"\nfinal = true\n"
    );
    let log = Log::new("one");
    let parent = parent_of("parent", &origin, "").site(&rules).start();
    let edge = edge_of("edge", &origin, &[&parent], "").site(&rules).start();
    let _leashes = [log.lead(&edge).await, log.lead(&parent).await];
    for seed in 0..600 {
        let mut spellings = Spellings::new(seed);
        let (target, host) = (spellings.target(), spellings.host());
        let method = ["GET", "HEAD", "POST"][seed as usize % 3];
        let node = if seed % 4 == 0 { &parent } else { &edge };
        let answer = node.ask(method, &target, &[("Host", &host)]).await;
        let told = handled(&answer).join(" ");
        assert_eq!(answer.status, 403, "{seed}: {method} {target} at {host}: {told}");
        assert!(told.ends_with("detail=signature-missing"), "{seed}: {target}: {told}");
    }
    assert_eq!(origin.requests("*").len(), 0);
    let admitted = edge.get(&signed("/admin/users/list")).await;
    assert_eq!(admitted.line(), "200 secret");
}
