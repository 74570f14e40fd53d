//! The REST API of the control that is built into `weir serve`, over the wire.

mod program;

use program::{TextFile, Weir, until};
use serde_json::json;

/// Nothing listens there; these tests make no requests to the site.
const NO_ORIGIN: &str = "http://127.0.0.1:9";

#[test]
fn a_purge_is_applied_and_told() {
    let weir = Weir::in_front_of(NO_ORIGIN);
    let answer = weir.json("POST /v1/purges?count=true", r#"{"paths": ["/a", "/img/*"]}"#);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let purge = answer.json();
    assert_eq!((&purge["seq"], &purge["status"]), (&json!(1), &json!("completed")));
    let node = &purge["nodes"][0];
    assert_eq!((&node["tier"], &node["state"]), (&json!("edge"), &json!("applied")));
    // The default wait covers the sweep of an empty store.
    assert_eq!((&node["matched"], &purge["matched"]), (&json!(0), &json!(0)));
    let count = json!({
        "region": "default", "tier": "edge", "nodes": 1, "applied": 1, "pending": 0, "offline": 0,
        "lease_over": 0,
    });
    assert_eq!((&purge["counts"], &purge["nodes_total"]), (&json!([count]), &json!(1)));
    let nodes = format!("/v1/purges/{}/nodes", purge["id"].as_str().expect("an id"));
    let page = weir.json(&format!("GET {nodes}"), "").json();
    assert_eq!((&page["nodes"], &page["next"]), (&purge["nodes"], &json!(null)));
    for (query, listed) in [("state=applied", 1), ("state=offline", 0), ("after=zzz", 0)] {
        let page = weir.json(&format!("GET {nodes}?{query}"), "").json();
        assert_eq!(page["nodes"].as_array().map(Vec::len), Some(listed), "{query}");
    }
    for (line, field) in [
        (format!("GET {nodes}?state=gone"), "state"),
        (format!("GET {nodes}?limit=0"), "limit"),
        (format!("GET {nodes}?page=2"), "page"),
        ("POST /v1/purges?count=yes".to_owned(), "count"),
    ] {
        let refused = weir.json(&line, r#"{"paths": ["/a"]}"#);
        assert_eq!(refused.status, 400, "{line}");
        assert!(refused.body.contains(field), "{}", refused.body);
    }
    let again = weir.json("POST /v1/purges", r#"{"tags": ["t"], "soft": true}"#);
    assert_eq!(again.json()["seq"], 2);
}

#[test]
fn the_same_reference_with_the_same_body_is_one_purge() {
    let weir = Weir::in_front_of(NO_ORIGIN);
    let body = r#"{"paths": ["/a"], "reference": "deploy-42"}"#;
    let first = weir.json("POST /v1/purges", body).json();
    let second = weir.json("POST /v1/purges", body).json();
    assert_eq!((&first["id"], &first["seq"]), (&second["id"], &second["seq"]));
    let other = weir.json("POST /v1/purges", r#"{"paths": ["/b"], "reference": "deploy-42"}"#);
    assert_eq!(other.status, 409);
    assert_eq!(other.json()["error"]["field"], "reference");
}

#[test]
fn the_history_is_listed_and_each_purge_found() {
    let weir = Weir::in_front_of(NO_ORIGIN);
    let ids: Vec<_> = ["/a", "/b", "/c"]
        .iter()
        .map(|path| {
            let body = json!({"paths": [path]}).to_string();
            weir.json("POST /v1/purges", &body).json()["id"].as_str().expect("an id").to_owned()
        })
        .collect();
    let list = weir.json("GET /v1/purges?after=1&limit=1", "").json();
    assert_eq!((&list["head"], &list["purges"][0]["paths"]), (&json!(3), &json!(["/b"])));
    assert_eq!(list["purges"].as_array().map(Vec::len), Some(1));
    let one = weir.json(&format!("GET /v1/purges/{}", ids[2]), "").json();
    assert_eq!((&one["seq"], &one["paths"]), (&json!(3), &json!(["/c"])));
    assert_eq!(weir.json("GET /v1/purges/none-9", "").status, 404);
}

#[test]
fn refusals_have_one_form_and_name_what_is_wrong() {
    let config = TextFile::new("refusals.toml", &released());
    let weir = Weir::serve(&["--config", config.path()]);
    for (line, body, status, code, field) in [
        ("POST /v1/purges", "{", 400, "malformed", None),
        ("POST /v1/purges", "{}", 400, "malformed", None),
        ("POST /v1/purges", r#"{"paths": ["a"]}"#, 400, "invalid", Some("paths[0]")),
        ("POST /v1/purges", r#"{"path": ["/a"]}"#, 400, "invalid", Some("path")),
        ("POST /v1/purges", r#"{"all": true, "site": "x"}"#, 404, "no_such_site", Some("site")),
        ("POST /v1/purges", r#"{"all": true, "warm": 1}"#, 400, "invalid", Some("warm")),
        ("GET /v1/purges?after=x", "", 400, "invalid", Some("after")),
        ("GET /v1/purges?befor=1", "", 400, "invalid", Some("befor")),
        ("GET /v1/explain", "", 400, "invalid", Some("url")),
        ("GET /v1/explain?url=/&header=x", "", 400, "invalid", Some("header")),
        ("GET /v1/explain?url=a", "", 400, "invalid", Some("url")),
        ("GET /v1/explain?url=/&node=nobody", "", 404, "not_found", None),
        ("GET /v1/nodes/nobody", "", 404, "not_found", None),
        ("DELETE /v1/nodes/nobody", "", 404, "not_found", None),
        ("GET /v1/follow", "", 426, "upgrade_required", None),
        ("GET /v1/events?x=1", "", 400, "invalid", Some("x")),
        ("GET /v1/sites/nowhere/release", "", 404, "no_such_site", Some("site")),
        ("PUT /v1/sites/default/release", "{}", 400, "invalid", Some("name")),
        ("PUT /v1/sites/default/release", r#"{"name": ".."}"#, 400, "invalid", Some("name")),
        ("PUT /v1/sites/nowhere/release", r#"{"name": "v"}"#, 404, "no_such_site", Some("site")),
        ("GET /v1/purge", "", 404, "not_found", None),
        ("DELETE /v1/purges", "", 405, "method_not_allowed", None),
    ] {
        let answer = weir.json(line, body);
        assert_eq!(answer.status, status, "{line} {body}: {}", answer.body);
        let error = &answer.json()["error"];
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &json!(field)), "{line}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
    let unknown = weir.json("POST /v1/purges", r#"{"pahts": ["/a"]}"#).json();
    let message = unknown["error"]["message"].as_str().expect("a message");
    assert!(message.contains("did you mean paths?"), "{message}");
    assert_eq!(weir.json("GET /v1/stats", "").json()["log"]["head"], 0, "nothing was appended");
    let method = weir.json("DELETE /v1/purges", "");
    assert!(method.head.contains("allow: ") && method.head.contains("post"), "{}", method.head);
}

#[test]
fn bodies_are_json_and_bounded() {
    let weir = Weir::in_front_of(NO_ORIGIN);
    let form = [("Host", "localhost"), ("Content-Type", "application/x-www-form-urlencoded")];
    let answer = weir.call("POST /v1/purges", &form, "all=true");
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (415, Some("media_type")));
    let large = format!(r#"{{"paths": ["/{}"]}}"#, "a".repeat(1 << 20));
    let answer = weir.json("POST /v1/purges", &large);
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (413, Some("too_large")));
    assert_eq!(weir.json("GET /v1/stats", "").json()["log"]["head"], 0);
}

#[test]
fn without_tokens_pages_and_other_hosts_are_kept_out() {
    let weir = Weir::in_front_of(NO_ORIGIN);
    let line = "GET /v1/nodes";
    assert_eq!(weir.call(line, &[("Host", "localhost:1")], "").status, 200);
    for fields in [
        &[("Host", "rebound.example")][..],
        &[("Host", "localhost"), ("Origin", "http://evil.example")],
        &[("Host", "localhost"), ("Sec-Fetch-Site", "cross-site")],
        &[("Host", "localhost"), ("X-Forwarded-For", "192.0.2.1")],
    ] {
        let answer = weir.call(line, fields, "");
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("forbidden")));
    }
    // What says nothing is open to whoever asks.
    assert_eq!(weir.call("GET /healthz", &[("Host", "any.example")], "").status, 200);
}

#[test]
fn tokens_let_in_as_far_as_their_scopes_and_sites_reach() {
    let config = TextFile::new(
        "tokens.toml",
        "[[site]]\nid = \"shop\"\nhosts = [\"shop.example\"]\norigins = [\"http://127.0.0.1:9\"]\n\
         [[site]]\nid = \"blog\"\norigins = [\"http://127.0.0.1:9\"]\n\
         [[token]]\nname = \"all\"\nsecret = \"aaaaaaaaaaaaaaaa\"\nscopes = [\"purge\", \"read\"]\n\
         [[token]]\nname = \"shop\"\nsecret = \"bbbbbbbbbbbbbbbb\"\nscopes = [\"purge\", \"read\"]\n\
         sites = [\"shop\"]\n",
    );
    let weir = Weir::serve(&["--config", config.path()]);
    let call = |line: &str, secret: &str, body: &str| {
        let bearer = format!("Bearer {secret}");
        let fields = [
            ("Host", "control.example"),
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        weir.call(line, &fields, body)
    };
    let (all, shop) = ("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb");
    let missing = weir.json("GET /v1/nodes", "");
    assert!(missing.status == 401 && missing.head.contains("www-authenticate: bearer"));
    assert_eq!(call("GET /v1/nodes", "aaaaaaaaaaaaaaab", "").status, 401);
    assert_eq!(call("GET /v1/nodes", all, "").status, 200);
    assert_eq!(call("POST /v1/reload", all, "").status, 403);
    assert_eq!(call("POST /v1/purges", shop, r#"{"paths": ["/a"]}"#).status, 403);
    assert_eq!(call("POST /v1/purges", shop, r#"{"hosts": ["blog.example"]}"#).status, 403);
    assert_eq!(call("POST /v1/purges", shop, r#"{"all": true, "site": "shop"}"#).status, 200);
    assert_eq!(call("POST /v1/purges", all, r#"{"all": true}"#).status, 200);
    let seen =
        |secret| call("GET /v1/purges", secret, "").json()["purges"].as_array().map(Vec::len);
    assert_eq!((seen(all), seen(shop)), (Some(2), Some(1)));
}

#[test]
fn a_node_that_is_not_ready_yet_is_no_error_in_its_log() {
    let config = format!(
        "[control]\nurl = {NO_ORIGIN:?}\ntoken = \"nnnnnnnnnnnnnnnn\"\n[[site]]\norigins = [{NO_ORIGIN:?}]\n"
    );
    let config = TextFile::new("unready.toml", &config);
    let weir = Weir::serve(&["--config", config.path()]);
    assert_eq!(weir.json("GET /readyz", "").status, 503);
    assert_eq!(weir.json("GET /readyz/not", "").status, 404);
    let lines = weir.lines_until("/readyz/not");
    assert!(lines.iter().any(|line| line.contains("refused") && line.contains("status=503")));
    assert!(!lines.iter().any(|line| line.contains("ERROR")), "{lines:#?}");
}

#[test]
fn state_is_told() {
    let weir = Weir::in_front_of(NO_ORIGIN);
    assert_eq!(weir.json("GET /healthz", "").json()["status"], "ok");
    assert_eq!(weir.json("GET /readyz", "").json()["status"], "ready");
    let nodes = weir.json("GET /v1/nodes", "").json();
    let listen = weir.listen.to_string();
    assert_eq!(
        (&nodes["nodes"][0]["state"], &nodes["nodes"][0]["listen"]),
        (&json!("connected"), &json!(listen))
    );
    weir.json("POST /v1/purges", r#"{"all": true}"#);
    assert_eq!(weir.json("GET /v1/stats", "").json()["applied_seq"], 1);
    let metrics = weir.json("GET /metrics", "");
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"), "{}", metrics.head);
    assert!(metrics.body.contains("weir_control_log_head 1\n"), "{}", metrics.body);
    for line in ["weir_control_nodes{state=\"connected\"} 1", "weir_control_log_incomplete 0"] {
        assert!(metrics.body.lines().any(|exposed| exposed == line), "{}", metrics.body);
    }
    let document = weir.json("GET /openapi.json", "").json();
    assert!(document["paths"]["/v1/purges"]["post"]["summary"].is_string());
}

#[test]
fn a_reload_is_all_or_nothing() {
    let site = "[[site]]\nid = \"one\"\norigins = [\"http://127.0.0.1:9\"]\n";
    let config = TextFile::new("reload.toml", site);
    let weir = Weir::serve(&["--config", config.path()]);
    config.write(&format!("{site}retries = 9\nretrys = 1\n"));
    let refused = weir.json("POST /v1/reload", "{}");
    assert_eq!(refused.status, 400);
    let message = refused.json()["error"]["message"].as_str().expect("a message").to_owned();
    assert!(message.contains("line 4: site[0].retries = 9"), "{message}");
    assert!(message.contains("did you mean retries?"), "{message}");
    // The old configuration is in use: its site is known, and purges go on.
    let purge = |site: &str| {
        weir.json("POST /v1/purges", &json!({"all": true, "site": site}).to_string()).status
    };
    assert_eq!((purge("one"), purge("two")), (200, 404));
    config.write(&site.replace("one", "two"));
    let reloaded = weir.json("POST /v1/reload", "");
    assert_eq!(reloaded.status, 200, "{}", reloaded.body);
    assert_eq!(purge("two"), 200);
    until("its node has other sites too", || purge("one"), |status| *status == 404);
}

/// A site with releases.
fn released() -> String {
    format!("[[site]]\norigins = [\"{NO_ORIGIN}\"]\nrelease.field = \"x-release\"\n")
}

#[test]
fn a_release_is_switched_through_the_log() {
    let config = TextFile::new("release.toml", &released());
    let weir = Weir::serve(&["--config", config.path()]);
    let line = "GET /v1/sites/default/release";
    let current = || weir.json(line, "").json();
    assert_eq!(current(), json!({"site": "default", "name": null}));
    let put = |body: &str| weir.json("PUT /v1/sites/default/release", body);
    let switched = put(r#"{"name": "v2"}"#);
    assert_eq!(switched.status, 200, "{}", switched.body);
    let switched = switched.json();
    assert_eq!((&switched["seq"], &switched["name"]), (&json!(1), &json!("v2")));
    assert_eq!(switched["nodes"][0]["state"], "applied");
    assert_eq!(current()["name"], "v2");
    assert_eq!(put(r#"{"name": null, "wait_ms": 1000}"#).status, 200);
    assert_eq!(current()["name"], json!(null));
    assert_eq!(weir.json("POST /v1/purges", r#"{"all": true}"#).json()["seq"], 3);
}

#[test]
fn a_purge_by_method_is_one_of_the_log() {
    let weir = Weir::in_front_of(NO_ORIGIN);
    let purge = weir.ask("PURGE /a?b=1", &[("Host", "example.com"), ("Fastly-Soft-Purge", "1")]);
    assert_eq!(purge.status, 200, "{}", purge.body);
    assert_eq!(purge.json()["status"], "completed");
    let list = weir.json("GET /v1/purges", "").json();
    let recorded = &list["purges"][0];
    assert_eq!(recorded["urls"], json!(["http://example.com/a?b=1"]));
    assert_eq!((&recorded["soft"], &recorded["site"]), (&json!(true), &json!("default")));
    let forwarded = [("Host", "example.com"), ("X-Forwarded-For", "127.0.0.1")];
    assert_eq!(weir.ask("PURGE /a", &forwarded).status, 403);
    assert_eq!(weir.json("GET /v1/stats", "").json()["log"]["head"], 1);
}

#[test]
fn a_purge_for_another_cache_is_refused_and_nothing_is_purged() {
    let weir = Weir::in_front_of(NO_ORIGIN);
    let host = ("Host", "example.com");
    for header in [
        ("X-Purge-Method", "regex"),
        ("xkey", "article-1"),
        ("Surrogate-Key", "article-1"),
        ("Cache-Tags", "article-1"),
        ("X-Magento-Tags-Pattern", "((^|,)cat_p_1(,|$))"),
    ] {
        let refused = weir.ask("PURGE /a", &[host, header]);
        assert_eq!(refused.status, 400, "{header:?}: {}", refused.body);
        assert!(refused.body.contains("/v1/purges"), "{}", refused.body);
    }
    for method in ["BAN", "PURGEKEYS", "SOFTPURGE"] {
        let refused = weir.ask(&format!("{method} /a"), &[host]);
        assert_eq!(refused.status, 501, "{method}: {}", refused.body);
        assert!(refused.body.contains("/v1/purges"), "{}", refused.body);
    }
    assert_eq!(weir.json("GET /v1/stats", "").json()["log"]["head"], 0);
    let plain = weir.ask("PURGE /a", &[host, ("X-Purge-Method", "default")]);
    assert_eq!(plain.status, 200, "{}", plain.body);
}
