//! The page at control's address: what is served, how, and to whom its calls are answered.
//! What it does in a browser: `tests/page.sh`.

mod program;

use program::{Answer, TextFile, Weir};
use std::collections::BTreeSet;

/// Nothing listens there; these tests make no requests to the site.
const NO_ORIGIN: &str = "http://127.0.0.1:9";

const TOKEN: &str = "[[token]]\nname = \"me\"\nsecret = \"aaaaaaaaaaaaaaaa\"\n\
                     scopes = [\"purge\", \"read\"]\n[[site]]\norigins = [\"http://127.0.0.1:9\"]\n";

fn open(weir: &Weir, path: &str) -> Answer {
    weir.call(&format!("GET {path}"), &[("Host", "control.example")], "")
}

/// The page's files by name: the document, and whatever it or they refer to.
fn files(weir: &Weir) -> Vec<(String, Answer)> {
    let mut files: Vec<(String, Answer)> = vec![("/".into(), open(weir, "/"))];
    let mut known = BTreeSet::new();
    let mut next = 0;
    while next < files.len() {
        let text = files[next].1.body.clone();
        for quoted in text.split('"').skip(1).step_by(2) {
            let name = quoted.strip_prefix("page/").or_else(|| quoted.strip_prefix("./"));
            if let Some(name) = name.filter(|name| known.insert((*name).to_owned())) {
                let path = format!("/page/{name}");
                let answer = open(weir, &path);
                files.push((path, answer));
            }
        }
        next += 1;
    }
    files
}

#[test]
fn the_document_and_all_it_refers_to_are_served_to_everyone() {
    let config = TextFile::new("page-token.toml", TOKEN);
    let weir = Weir::serve(&["--config", config.path()]);
    let files = files(&weir);
    assert!(files.len() > 15, "{}", files.len());
    for (path, answer) in &files {
        assert_eq!(answer.status, 200, "{path}");
        let media_type = match path.rsplit('.').next() {
            Some("js") => "text/javascript",
            Some("css") => "text/css",
            Some("svg") => "image/svg+xml",
            _ => "text/html",
        };
        assert!(answer.head.contains(&format!("content-type: {media_type}")), "{}", answer.head);
        for field in [
            "cache-control: no-cache",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; \
             connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        ] {
            assert!(answer.head.contains(field), "{path}: {field}: {}", answer.head);
        }
    }
    assert_eq!(open(&weir, "/page/none.js").status, 404);
    // It shows nothing by itself: what it asks for needs the token.
    assert_eq!(open(&weir, "/v1/stats").status, 401);
}

#[test]
fn who_has_a_file_is_not_sent_it_again() {
    let weir = Weir::in_front_of(NO_ORIGIN);
    let first = open(&weir, "/page/page.js");
    let etag = first.head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("an ETag");
    let ask = |validator: &str| {
        let fields = [("Host", "localhost"), ("If-None-Match", validator)];
        weir.call("GET /page/page.js", &fields, "")
    };
    let again = ask(etag);
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert!(again.head.contains(etag), "{}", again.head);
    assert_eq!(ask(&format!("\"other\", W/{etag}")).status, 304);
    assert_eq!(ask("\"other\"").status, 200);
}

#[test]
fn nothing_in_it_is_from_elsewhere_or_becomes_markup() {
    let weir = Weir::in_front_of(NO_ORIGIN);
    for (path, answer) in files(&weir) {
        let text = answer.body;
        let addresses = text.match_indices("://").map(|(at, _)| &text[at + 3..]);
        for address in addresses.filter(|rest| rest.starts_with(char::is_alphanumeric)) {
            let known = ["www.w3.org/2000/svg", "example.com"];
            assert!(known.iter().any(|known| address.starts_with(known)), "{path}: {address:.40}");
        }
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!text.contains(sink), "{path}: {sink}");
        }
        if path == "/" {
            assert!(!text.contains(" style=") && !text.contains("<style"), "inline styles");
            let inline = text.match_indices("<script").any(|(at, _)| !text[at..].contains(" src="));
            assert!(!inline && !text.contains(" onclick="), "inline scripts");
        }
    }
}

#[test]
fn its_own_calls_are_answered_without_tokens_and_those_of_other_pages_are_not() {
    let weir = Weir::in_front_of(NO_ORIGIN);
    let host = weir.admin.to_string();
    let own = format!("http://{host}");
    let purge = |origin: &str, site: &str| {
        let fields = [
            ("Host", host.as_str()),
            ("Origin", origin),
            ("Sec-Fetch-Site", site),
            ("Content-Type", "application/json"),
        ];
        weir.call("POST /v1/purges", &fields, r#"{"paths": ["/a"]}"#).status
    };
    assert_eq!(purge(&own, "same-origin"), 200);
    for (origin, site) in [
        ("http://evil.example", "cross-site"),
        ("http://127.0.0.1:1", "same-site"),
        ("null", "cross-site"),
        (own.as_str(), "cross-site"),
    ] {
        assert_eq!(purge(origin, site), 403, "{origin} {site}");
    }
    assert_eq!(weir.json("GET /v1/purges", "").json()["head"], 1);
}

#[test]
fn a_node_that_follows_another_control_has_no_page() {
    let config = TextFile::new(
        "page-node.toml",
        "[control]\nurl = \"http://127.0.0.1:1\"\n[[site]]\norigins = [\"http://127.0.0.1:9\"]\n",
    );
    let weir = Weir::serve(&["--config", config.path()]);
    for path in ["/", "/page/page.js"] {
        assert_eq!(open(&weir, path).status, 404, "{path}");
    }
}
