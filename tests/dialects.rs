//! The purge APIs of Cloudflare, Fastly and CloudFront, over the wire. What their real clients make
//! of it: tests/clients.sh.

mod program;
#[path = "dialects/sign.rs"]
mod sign;

use program::{Answer, Control, TextFile, Weir};
use serde_json::{Value, json};
use sign::Signer;
use std::time::Duration;
use weir_origin_sim::{Origin, reply};

const INVALIDATIONS: &str = "/2020-05-31/distribution/shop/invalidation";

const TWO_SITES: &str = "[[site]]\nid = \"shop\"\nhosts = [\"shop.example\", \"*.shop.example\"]\n\
    origins = [\"http://127.0.0.1:9\"]\n\
    [[site]]\nid = \"blog\"\nhosts = [\"blog.example\"]\norigins = [\"http://127.0.0.1:9\"]\n";

const ALL: &str = "aaaaaaaaaaaaaaaa";
const OF_BLOG: &str = "bbbbbbbbbbbbbbbb";
const READER: &str = "cccccccccccccccc";

fn serve(name: &str, more: &str) -> Weir {
    let config = TextFile::new(name, &format!("{TWO_SITES}{more}"));
    Weir::serve(&["--config", config.path()])
}

fn without_tokens(name: &str) -> Weir {
    serve(name, "")
}

fn with_tokens(name: &str) -> Weir {
    let tokens = format!(
        "[[token]]\nname = \"all\"\nsecret = \"{ALL}\"\nscopes = [\"purge\", \"read\"]\n\
         [[token]]\nname = \"blog\"\nsecret = \"{OF_BLOG}\"\nscopes = [\"purge\"]\n\
         sites = [\"blog\"]\n\
         [[token]]\nname = \"reader\"\nsecret = \"{READER}\"\nscopes = [\"read\"]\n"
    );
    serve(name, &tokens)
}

/// The latest purge of the history.
fn latest(weir: &Weir) -> Value {
    let list = weir.json("GET /v1/purges", "").json();
    list["purges"].as_array().and_then(|purges| purges.last()).cloned().unwrap_or_default()
}

fn head(weir: &Weir) -> Value {
    weir.json("GET /v1/purges", "").json()["head"].clone()
}

/// What a purge named, without what is empty or false.
fn named(purge: &Value) -> Value {
    let kinds = ["paths", "urls", "prefixes", "tags", "hosts", "all", "site", "soft", "reference"];
    let said = |value: &Value| *value != json!([]) && *value != json!(false) && !value.is_null();
    kinds
        .iter()
        .filter(|kind| said(&purge[**kind]))
        .map(|kind| ((*kind).to_owned(), purge[*kind].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn xml(weir: &Weir, line: &str, body: &str) -> Answer {
    weir.call(line, &[("Host", "localhost"), ("Content-Type", "text/xml")], body)
}

fn batch(reference: &str, items: &[&str]) -> String {
    let quantity = items.len();
    let items: String = items.iter().map(|item| format!("<Path>{item}</Path>")).collect();
    format!(
        "<InvalidationBatch xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Paths>\
         <Quantity>{quantity}</Quantity><Items>{items}</Items></Paths>\
         <CallerReference>{reference}</CallerReference></InvalidationBatch>"
    )
}

/// The text of the first element with this name.
fn element<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let (_, rest) = answer.body.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

#[test]
fn cloudflares_purges_are_confined_to_the_zone() {
    let weir = without_tokens("cloudflare.toml");
    for (call, body, expected) in [
        (
            "purge_cache",
            r#"{"files": ["https://shop.example/a?b=1",
                {"url": "http://www.shop.example/c", "headers": {"Accept-Language": "de"}}]}"#,
            json!({"urls": ["https://shop.example/a?b=1", "http://www.shop.example/c"],
                "site": "shop"}),
        ),
        (
            "purge_cache",
            r#"{"prefixes": ["shop.example/img"], "tags": ["t"], "hosts": ["www.shop.example"]}"#,
            json!({"prefixes": ["shop.example/img"], "tags": ["t"], "hosts": ["www.shop.example"],
                "site": "shop"}),
        ),
        ("purge_cache", r#"{"purge_everything": true}"#, json!({"all": true, "site": "shop"})),
        (
            "invalidate_cache",
            r#"{"tags": ["t"]}"#,
            json!({"tags": ["t"], "site": "shop", "soft": true}),
        ),
    ] {
        let answer = weir.json(&format!("POST /client/v4/zones/shop/{call}"), body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let purge = latest(&weir);
        let expected_answer = json!({"success": true, "errors": [], "messages": [],
            "result": {"id": purge["id"]}});
        assert_eq!((answer.json(), named(&purge)), (expected_answer, expected), "{body}");
    }
}

#[test]
fn cloudflares_older_clients_purge_with_delete() {
    let weir = without_tokens("cloudflare-delete.toml");
    let call = "DELETE /client/v4/zones/shop/purge_cache";
    let answer = weir.json(call, r#"{"files": ["https://shop.example/a"]}"#);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let expected = json!({"urls": ["https://shop.example/a"], "site": "shop"});
    assert_eq!(named(&latest(&weir)), expected);
}

#[test]
fn cloudflares_zones_are_the_sites_that_the_token_may_purge() {
    let weir = with_tokens("zones.toml");
    let get = |target: &str, secret: &str| {
        let fields = [
            ("Host", "control.example"),
            ("X-Auth-Key", secret),
            ("X-Auth-Email", "a@shop.example"),
        ];
        weir.call(&format!("GET /client/v4/{target}"), &fields, "")
    };
    for (query, secret, expected) in [
        ("zones", ALL, &[("shop", "shop.example"), ("blog", "blog.example")][..]),
        ("zones/", ALL, &[("shop", "shop.example"), ("blog", "blog.example")]),
        ("zones", OF_BLOG, &[("blog", "blog.example")]),
        ("zones?name=shop.example", ALL, &[("shop", "shop.example")]),
        ("zones/?name=WWW.shop.example&status=active", ALL, &[("shop", "www.shop.example")]),
        ("zones?name=shop.example&status=pending", ALL, &[]),
        ("zones?name=shop.example", OF_BLOG, &[]),
        ("zones?name=other.example", ALL, &[]),
        ("zones?per_page=1&page=2&account.id=a&order=name", ALL, &[("blog", "blog.example")]),
        ("zones?per_page=1&page=3", ALL, &[]),
    ] {
        let answer = get(query, secret);
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        let told = answer.json();
        let zones = told["result"].as_array().expect("a list");
        let text = |zone: &Value, name: &str| zone[name].as_str().expect("a text").to_owned();
        let seen: Vec<_> =
            zones.iter().map(|zone| (text(zone, "id"), text(zone, "name"))).collect();
        let own = |(id, name): &(&str, &str)| ((*id).to_owned(), (*name).to_owned());
        assert_eq!(seen, expected.iter().map(own).collect::<Vec<_>>(), "{query}");
        assert!(zones.iter().all(|zone| zone["status"] == "active"), "{query}");
        assert_eq!(told["success"], true);
        assert_eq!(told["result_info"]["count"], expected.len(), "{query}: {told}");
    }
    let info = get("zones?per_page=1", ALL).json()["result_info"].clone();
    let expected =
        json!({"page": 1, "per_page": 1, "count": 1, "total_count": 2, "total_pages": 2});
    assert_eq!(info, expected);
    let nobody = get("zones?name=other.example", ALL).json();
    let message = nobody["messages"][0]["message"].as_str().expect("a message");
    assert!(message.contains("has the host \"other.example\""), "{message}");

    assert_eq!(get("zones/shop", ALL).json()["result"]["name"], "shop.example");
    assert_eq!(get("user/tokens/verify", OF_BLOG).json()["result"]["status"], "active");
    for (query, secret, status, code) in [
        ("zones", "dddddddddddddddd", 401, 10_000),
        ("zones", READER, 403, 9109),
        ("zones/shop", OF_BLOG, 403, 9109),
        ("zones/none", ALL, 404, 7003),
        ("zones?name=contains:shop", ALL, 400, 1012),
        ("zones?per_page=0", ALL, 400, 1012),
        ("zones?nmae=shop.example", ALL, 400, 1012),
        ("user/tokens/verify", "dddddddddddddddd", 401, 10_000),
        // Of what does not purge there is nothing.
        ("zones/shop/settings", ALL, 404, 7003),
        ("zones/shop/dns_records", ALL, 404, 7003),
        ("accounts", ALL, 404, 7003),
        ("user", ALL, 404, 7003),
    ] {
        let answer = get(query, secret);
        assert_eq!(answer.status, status, "{query}: {}", answer.body);
        let told = answer.json();
        assert_eq!((&told["success"], &told["errors"][0]["code"]), (&json!(false), &json!(code)));
    }
}

#[test]
fn control_without_sites_says_why_it_lists_no_zone() {
    let control = Control::with("zones-of-none", "");
    let answer = control.call("GET /client/v4/zones?name=shop.example", "");
    let told = answer.json();
    assert_eq!((answer.status, &told["result"]), (200, &json!([])), "{told}");
    let message = told["messages"][0]["message"].as_str().expect("a message");
    assert!(message.contains("control knows no sites"), "{message}");
    // No node has it either.
    let zone = control.call("GET /client/v4/zones/shop", "");
    assert_eq!((zone.status, &zone.json()["success"]), (404, &json!(false)));
}

#[test]
fn a_key_with_an_address_purges_as_a_token_does() {
    let weir = with_tokens("account-keys.toml");
    let email = ("X-Auth-Email", "a@shop.example");
    for (fields, status) in [
        (&[("X-Auth-Key", ALL), email][..], 200),
        (&[("X-Auth-Key", OF_BLOG), email], 403),
        (&[("X-Auth-Key", "dddddddddddddddd"), email], 401),
        (&[("X-Auth-Key", ALL)], 401),
        (&[("X-Auth-Key", ALL), ("X-Auth-Email", "")], 401),
    ] {
        let host = [("Host", "control.example"), ("Content-Type", "application/json")];
        let fields = [&host, fields].concat();
        let body = r#"{"purge_everything": true}"#;
        let answer = weir.call("POST /client/v4/zones/shop/purge_cache", &fields, body);
        assert_eq!(answer.status, status, "{fields:?}: {}", answer.body);
    }
}

#[test]
fn cloudflares_refusals_come_in_its_envelope_and_append_nothing() {
    let weir = without_tokens("cloudflare-refusals.toml");
    let call = "POST /client/v4/zones/shop/purge_cache";
    for (line, body, status, code, part) in [
        ("POST /client/v4/zones/none/purge_cache", "{}", 404, 7003, "\"none\""),
        (call, "{", 400, 1012, "not an object"),
        (call, "{}", 400, 1012, "nothing to purge"),
        (call, r#"{"files": ["https://blog.example/"]}"#, 400, 1012, "files[0]: the host"),
        (call, r#"{"hosts": ["elsewhere.example"]}"#, 400, 1012, "hosts[0]: the host"),
        (call, r#"{"prefixes": ["blog.example/a"]}"#, 400, 1012, "prefixes[0]: the host"),
        (call, r#"{"file": ["https://shop.example/"]}"#, 400, 1012, "did you mean files?"),
        ("GET /client/v4/zones/shop/purge_cache", "", 405, 7003, "method"),
        ("POST /client/v4/zones/shop/purge", "{}", 404, 7003, "no such call"),
        ("POST /client/v4/zones/%ff/purge_cache", "{}", 400, 1012, ""),
    ] {
        let answer = weir.json(line, body);
        assert_eq!(answer.status, status, "{line} {body}: {}", answer.body);
        let told = answer.json();
        assert_eq!((&told["success"], &told["result"]), (&json!(false), &Value::Null), "{line}");
        assert_eq!(told["errors"][0]["code"], code, "{line} {body}: {told}");
        let message = told["errors"][0]["message"].as_str().expect("a message");
        assert!(message.contains(part), "{line} {body}: {message}");
    }
    let large = json!({"tags": ["a".repeat(1 << 20)]}).to_string();
    let refused = weir.json(call, &large);
    assert_eq!((refused.status, &refused.json()["success"]), (413, &json!(false)));
    assert_eq!(head(&weir), 0);
}

#[test]
fn fastlys_purges_are_confined_to_the_service() {
    let weir = without_tokens("fastly.toml");
    let soft = ("Fastly-Soft-Purge", "1");
    let key = ("Fastly-Key", "unused");
    let tags = |tags: &[&str]| json!({"tags": tags, "site": "shop"});
    let softly = |mut purge: Value| {
        purge["soft"] = json!(true);
        purge
    };
    for (line, fields, body, expected) in [
        ("POST /service/shop/purge/a%20b/c", &[key][..], "", tags(&["a b/c"])),
        ("POST /service/shop/purge/a", &[soft], "", softly(tags(&["a"]))),
        ("POST /service/shop/purge", &[("Surrogate-Key", "a  b a")], "", tags(&["a", "b"])),
        (
            "POST /service/shop/purge",
            &[key, soft],
            r#"{"surrogate_keys": ["a", "b"]}"#,
            softly(tags(&["a", "b"])),
        ),
        ("POST /service/shop/purge_all", &[key], "", json!({"all": true, "site": "shop"})),
        ("POST /service/shop/purge_all", &[soft], "{}", json!({"all": true, "site": "shop"})),
        (
            "POST /purge/shop.example/a%20b?c=d",
            &[key],
            "",
            json!({"urls": ["http://shop.example/a%20b?c=d"], "site": "shop"}),
        ),
        (
            "PURGE /purge/blog.example:8080/",
            &[soft],
            "",
            softly(json!({"urls": ["http://blog.example:8080/"], "site": "blog"})),
        ),
        (
            "PURGE /purge/blog.example",
            &[],
            "",
            json!({"urls": ["http://blog.example/"], "site": "blog"}),
        ),
    ] {
        let fields = [&[("Host", "localhost")], fields].concat();
        let answer = weir.call(line, &fields, body);
        assert_eq!(answer.status, 200, "{line}: {}", answer.body);
        let purge = latest(&weir);
        assert_eq!(named(&purge), expected, "{line}");
        let id = &purge["id"];
        let expected = match line.rsplit('/').next() {
            Some("purge") => json!({"a": id, "b": id}),
            Some("purge_all") => json!({"status": "ok"}),
            _ => json!({"status": "ok", "id": id}),
        };
        assert_eq!(answer.json(), expected, "{line}");
    }
}

#[test]
fn fastlys_refusals_have_its_form_and_append_nothing() {
    let weir = without_tokens("fastly-refusals.toml");
    let key = ("Fastly-Key", "unused");
    let staging = ("Fastly-Purge-Environment", "staging");
    for (line, fields, body, status, msg, part) in [
        ("POST /service/none/purge_all", &[key][..], "", 404, "Record not found", "\"none\""),
        ("POST /service/shop/purge", &[key], "", 400, "Bad request", "no key is named"),
        ("POST /service/shop/purge", &[key], "[]", 400, "Bad request", "not an object"),
        ("POST /service/shop/purge", &[key], r#"{"keys": ["a"]}"#, 400, "Bad request", "keys"),
        ("POST /service/shop/purge_all", &[key], r#"{"soft": 1}"#, 400, "Bad request", "soft"),
        ("POST /service/shop/purge_all", &[key, staging], "", 400, "Bad request", "Environment"),
        ("POST /service/shop/purge/%00", &[key], "", 400, "Bad request", "key: "),
        ("POST /purge/other.example/a", &[key], "", 404, "Record not found", "other.example"),
        ("POST /purge/a@shop.example/a", &[key], "", 400, "Bad request", "url: "),
        ("POST /purge/shop.example/a*", &[key], "", 400, "Bad request", "url: "),
        ("GET /purge/shop.example/a", &[key], "", 405, "Method not allowed", "Allow"),
        ("GET /service/shop/purge_all", &[key], "", 405, "Method not allowed", "Allow"),
        ("POST /service/shop", &[key], "", 404, "Record not found", "no such call"),
    ] {
        let fields = [&[("Host", "localhost")], fields].concat();
        let answer = weir.call(line, &fields, body);
        assert_eq!(answer.status, status, "{line} {body}: {}", answer.body);
        let told = answer.json();
        assert_eq!(told["msg"], msg, "{line} {body}: {told}");
        let detail = told["detail"].as_str().expect("a detail");
        assert!(detail.contains(part), "{line} {body}: {detail}");
    }
    assert_eq!(head(&weir), 0);
}

#[test]
fn cloudfronts_invalidations_are_created_got_and_listed() {
    let weir = without_tokens("cloudfront.toml");
    let create = format!("POST {INVALIDATIONS}");
    let items = ["/a%20b?c=d&amp;e", "/img/*", "#tag"];
    let created = xml(&weir, &create, &batch("r&lt;1", &items));
    assert_eq!(created.status, 201, "{}", created.body);
    let expected = json!({"paths": ["/a%20b?c=d&e", "/img/*"], "tags": ["tag"], "site": "shop",
        "reference": "r<1"});
    assert_eq!(named(&latest(&weir)), expected);
    let id = element(&created, "Id").expect("an id").to_owned();
    assert!(created.head.contains(&format!("location: {INVALIDATIONS}/{id}\r\n")));
    assert!(created.head.contains("content-type: text/xml"));
    assert_eq!(element(&created, "Status"), Some("Completed"));
    let sent = batch("r&lt;1", &items);
    let inner = |body: &str| {
        let start = body.find("<Paths>").expect("paths");
        body[start..body.find("</InvalidationBatch>").expect("an end")].to_owned()
    };
    assert_eq!(inner(&created.body), inner(&sent));

    let got = xml(&weir, &format!("GET {INVALIDATIONS}/{id}"), "");
    assert_eq!((got.status, &got.body), (200, &created.body));
    // The same once more is the same; another batch of this name is none.
    let again = xml(&weir, &create, &sent);
    assert_eq!((again.status, &again.body), (201, &created.body));
    let other = xml(&weir, &create, &batch("r&lt;1", &["/b"]));
    assert_eq!(other.status, 400);
    assert_eq!(element(&other, "Code"), Some("InvalidationBatchAlreadyExists"));

    // What is not an invalidation, or not of this distribution, is not listed.
    weir.json("POST /v1/purges", r#"{"paths": ["/a"], "site": "shop"}"#);
    weir.json("POST /v1/purges", r#"{"hosts": ["shop.example"], "reference": "h"}"#);
    xml(&weir, &create.replace("shop", "blog"), &batch("r2", &["/*"]));
    assert_eq!(named(&latest(&weir)), json!({"all": true, "site": "blog", "reference": "r2"}));
    let last = xml(&weir, &create, &batch("r3", &["/*"]));
    let last = element(&last, "Id").expect("an id").to_owned();
    let whole = xml(&weir, &format!("GET {INVALIDATIONS}"), "");
    let ids: Vec<_> =
        whole.body.split("<Id>").skip(1).filter_map(|rest| rest.split('<').next()).collect();
    assert_eq!(ids, [&last, &id]);
    assert_eq!(element(&whole, "IsTruncated"), Some("false"));
    let first = xml(&weir, &format!("GET {INVALIDATIONS}?MaxItems=1"), "");
    assert_eq!(element(&first, "IsTruncated"), Some("true"));
    assert_eq!(element(&first, "NextMarker"), Some(&*last));
    let rest = xml(&weir, &format!("GET {INVALIDATIONS}?MaxItems=1&Marker={last}"), "");
    assert_eq!((element(&rest, "Id"), element(&rest, "Quantity")), (Some(&*id), Some("1")));
    assert_eq!(element(&rest, "IsTruncated"), Some("false"));
}

#[test]
fn cloudfronts_refusals_have_its_form_and_append_nothing() {
    let weir = without_tokens("cloudfront-refusals.toml");
    let create = format!("POST {INVALIDATIONS}");
    let good = batch("r", &["/a"]);
    let bomb = format!("<!DOCTYPE a [<!ENTITY b \"&c;&c;\"><!ENTITY c \"x\">]>{good}");
    let many: Vec<_> = (0..3001).map(|_| "/a").collect();
    for (line, body, status, code) in [
        (create.replace("shop", "none"), good.clone(), 404, "NoSuchDistribution"),
        (format!("GET {INVALIDATIONS}/none-1"), String::new(), 404, "NoSuchInvalidation"),
        (format!("GET {INVALIDATIONS}?Marker=x"), String::new(), 400, "InvalidArgument"),
        (format!("GET {INVALIDATIONS}?MaxItems=x"), String::new(), 400, "InvalidArgument"),
        (format!("GET {INVALIDATIONS}?Max=1"), String::new(), 400, "InvalidArgument"),
        (create.clone(), String::new(), 400, "MalformedInput"),
        (create.clone(), bomb, 400, "MalformedInput"),
        (create.clone(), good.replace("/a", "&b;"), 400, "MalformedInput"),
        (create.clone(), good.replace("</Path>", ""), 400, "MalformedInput"),
        (create.clone(), "{}".into(), 400, "MalformedInput"),
        (create.clone(), good.replace(">1<", ">2<"), 400, "InconsistentQuantities"),
        (create.clone(), batch("", &["/a"]), 400, "InvalidArgument"),
        (create.clone(), batch("r", &["a"]), 400, "InvalidArgument"),
        (create.clone(), batch("r", &[]), 400, "InvalidArgument"),
        (create.clone(), batch("r", &many), 413, "BatchTooLarge"),
        (create.clone(), batch("r", &[&"/a".repeat(1 << 19)]), 413, "BatchTooLarge"),
        (format!("DELETE {INVALIDATIONS}"), String::new(), 405, "MethodNotAllowed"),
        ("GET /2020-05-31/distribution".into(), String::new(), 404, "InvalidAction"),
    ] {
        let answer = xml(&weir, &line, &body);
        assert_eq!(answer.status, status, "{line}: {}", answer.body);
        assert_eq!(element(&answer, "Code"), Some(code), "{line}: {}", answer.body);
        assert!(element(&answer, "Message").is_some_and(|message| !message.is_empty()));
    }
    assert_eq!(head(&weir), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_taken_in_any_case_by_the_apis_that_have_it_so() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(600).header("Cache-Tag", "News, other"));
    let weir = Weir::in_front_of(&origin.url());
    let cloudflare = "POST /client/v4/zones/any/purge_cache";
    let invalidations = "POST /2020-05-31/distribution/any/invalidation";
    for (line, body, purged) in [
        (invalidations, batch("1", &["#nEWS"]), true),
        (invalidations, batch("2", &["#New"]), false),
        (cloudflare, r#"{"tags": ["NEWS"]}"#.to_owned(), true),
        ("POST /service/any/purge/news", String::new(), false),
        ("POST /service/any/purge/News", String::new(), true),
        ("POST /v1/purges", r#"{"tags": ["news"]}"#.to_owned(), false),
        ("POST /v1/purges", r#"{"tags": ["News"]}"#.to_owned(), true),
    ] {
        assert_eq!(weir.get("/a").body, "hello");
        let fetches = origin.fetches("/a");
        let answer = weir.json(line, &body);
        assert!((200..300).contains(&answer.status), "{line}: {}", answer.body);
        assert_eq!(weir.get("/a").body, "hello");
        assert_eq!(origin.fetches("/a") - fetches, usize::from(purged), "{line} {body}");
    }
}

#[test]
fn with_one_site_any_id_means_it() {
    let weir = Weir::in_front_of("http://127.0.0.1:9");
    let everything = json!({"all": true, "site": "default"});
    for (line, body) in [
        (
            "POST /client/v4/zones/023e105f4ecef8ad9ca31a8372d0c353/purge_cache",
            r#"{"purge_everything": true}"#.to_owned(),
        ),
        ("POST /service/SU1Z0isxPaozGVKXdv0eY/purge_all", String::new()),
        ("POST /2020-05-31/distribution/EDFDVBD6EXAMPLE/invalidation", batch("r", &["/*"])),
    ] {
        let answer = weir.json(line, &body);
        assert!((200..300).contains(&answer.status), "{line}: {}", answer.body);
        let mut purge = named(&latest(&weir));
        purge.as_object_mut().expect("an object").remove("reference");
        assert_eq!(purge, everything, "{line}");
    }
}

#[test]
fn without_tokens_no_page_in_a_browser_can_purge() {
    let weir = without_tokens("pages.toml");
    let calls = [
        ("POST /client/v4/zones/shop/purge_cache", r#"{"purge_everything": true}"#.to_owned()),
        ("POST /service/shop/purge_all", String::new()),
        ("POST /service/shop/purge/a", String::new()),
        ("POST /purge/shop.example/a", String::new()),
        (&*format!("POST {INVALIDATIONS}"), batch("r", &["/*"])),
    ];
    // A page can send these to any origin: forms, texts, bodies of no type, and cached passwords.
    let sent = [
        &[][..],
        &[("Content-Type", "text/plain")],
        &[("Content-Type", "application/x-www-form-urlencoded")],
        &[("Content-Type", "multipart/form-data; boundary=x")],
        &[("Authorization", "Basic dTpw")],
        // These only after asking, which a browser tells of.
        &[("Content-Type", "application/json"), ("Origin", "http://evil.example")],
        &[("Fastly-Key", "x"), ("Sec-Fetch-Site", "cross-site")],
        &[("Authorization", "Bearer x"), ("Origin", "null")],
    ];
    for (line, body) in &calls {
        for fields in sent {
            let fields = [&[("Host", "localhost")], fields].concat();
            let answer = weir.call(line, &fields, body);
            assert_eq!(answer.status, 403, "{line} {fields:?}: {}", answer.body);
        }
        let rebound = [("Host", "rebound.example"), ("Content-Type", "application/json")];
        assert_eq!(weir.call(line, &rebound, body).status, 403);
    }
    assert_eq!(head(&weir), 0);
}

#[test]
fn tokens_are_shown_in_each_clients_own_way() {
    let weir = with_tokens("own-ways.toml");
    let bearer = |secret: &str| format!("Bearer {secret}");
    let (all, blog, reader) = (bearer(ALL), bearer(OF_BLOG), bearer(READER));
    let purge_all = "POST /service/shop/purge_all";
    let everything = r#"{"purge_everything": true}"#;
    let cloudflare = "POST /client/v4/zones/shop/purge_cache";
    for (line, field, body, status) in [
        (cloudflare, ("Authorization", all.as_str()), everything, 200),
        (cloudflare, ("Authorization", blog.as_str()), everything, 403),
        (cloudflare, ("Authorization", reader.as_str()), everything, 403),
        (cloudflare, ("Authorization", "Bearer dddddddddddddddd"), everything, 401),
        (cloudflare, ("X-Auth-Key", ALL), everything, 401),
        (cloudflare, ("Fastly-Key", ALL), everything, 401),
        (purge_all, ("Fastly-Key", ALL), "", 200),
        (purge_all, ("Authorization", all.as_str()), "", 200),
        (purge_all, ("Fastly-Key", OF_BLOG), "", 403),
        (purge_all, ("Fastly-Key", READER), "", 403),
        (purge_all, ("Fastly-Key", "dddddddddddddddd"), "", 401),
        (purge_all, ("Accept", "*/*"), "", 401),
        ("POST /purge/blog.example/a", ("Fastly-Key", OF_BLOG), "", 200),
        ("POST /purge/shop.example/a", ("Fastly-Key", OF_BLOG), "", 403),
        ("POST /service/blog/purge/a", ("Fastly-Key", OF_BLOG), "", 200),
        // Only on Fastly's own paths.
        ("POST /v1/purges", ("Fastly-Key", ALL), r#"{"all": true}"#, 401),
    ] {
        let fields = [("Host", "control.example"), field, ("Content-Type", "application/json")];
        let answer = weir.call(line, &fields, body);
        assert_eq!(answer.status, status, "{line} {field:?}: {}", answer.body);
    }
}

#[test]
fn requests_are_signed_with_a_tokens_secret() {
    let weir = with_tokens("signed.toml");
    let host = "control.example";
    let good = batch("r1", &["/a"]);
    let call = |signer: Signer<'_>, line: &str, body: &str, sent: &str| {
        let [date, authorization] = signer.sign(line, host, body);
        let fields = [("Host", host), ("X-Amz-Date", &*date), ("Authorization", &*authorization)];
        let answer = weir.call(line, &fields, sent);
        (answer.status, element(&answer, "Code").unwrap_or_default().to_owned(), answer)
    };
    let create = format!("POST {INVALIDATIONS}");
    let all = || Signer::new("all", ALL);
    let (status, _, answer) = call(all(), &create, &good, &good);
    assert_eq!(status, 201, "{}", answer.body);
    let id = element(&answer, "Id").expect("an id").to_owned();
    let listing = format!("GET {INVALIDATIONS}?Marker=&MaxItems=2");
    assert_eq!(call(all(), &listing, "", "").0, 200);
    let one = format!("GET {INVALIDATIONS}/{id}");
    assert_eq!(call(Signer::new("reader", READER), &one, "", "").0, 200);

    let minutes = |n: u64| Duration::from_secs(n * 60);
    let with = |fields, service| Signer { fields, service, ..all() };
    for (what, signer, line, sent, code) in [
        ("another body", all(), &create, &batch("r2", &["/b"]), "SignatureDoesNotMatch"),
        ("a wrong secret", Signer::new("all", OF_BLOG), &create, &good, "SignatureDoesNotMatch"),
        ("no such token", Signer::new("none", ALL), &create, &good, "SignatureDoesNotMatch"),
        ("no secret", Signer::new("none", ""), &create, &good, "SignatureDoesNotMatch"),
        ("long ago", all().earlier(minutes(6)), &create, &good, "SignatureDoesNotMatch"),
        ("to come", all().later(minutes(6)), &create, &good, "SignatureDoesNotMatch"),
        ("no host", with("x-amz-date", "cloudfront"), &create, &good, "SignatureDoesNotMatch"),
        ("no date", with("host", "cloudfront"), &create, &good, "SignatureDoesNotMatch"),
        ("for S3", with("host;x-amz-date", "s3"), &create, &good, "SignatureDoesNotMatch"),
        ("of another site", Signer::new("blog", OF_BLOG), &create, &good, "AccessDenied"),
        ("not for purges", Signer::new("reader", READER), &create, &good, "AccessDenied"),
        ("of another site", Signer::new("blog", OF_BLOG), &one, &String::new(), "AccessDenied"),
    ] {
        let body = if line == &one { "" } else { &good };
        let (status, told, answer) = call(signer, line, body, sent);
        assert_eq!((status, &*told), (403, code), "{what}: {}", answer.body);
    }
    // A clock that is a little off does no harm.
    assert_eq!(call(all().earlier(minutes(4)), &create, &good, &good).0, 201);
    // A signature for another host, as a site that a client was lured to would pass it on.
    let [date, authorization] = all().sign(&create, "elsewhere.example", &good);
    let passed_on = [("Host", host), ("X-Amz-Date", &*date), ("Authorization", &*authorization)];
    assert_eq!(weir.call(&create, &passed_on, &good).status, 403);
    // A hash in place of the body's.
    let [date, authorization] = all().sign(&create, host, &good);
    let unsigned = [
        ("Host", host),
        ("X-Amz-Date", &*date),
        ("Authorization", &*authorization),
        ("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"),
    ];
    assert_eq!(weir.call(&create, &unsigned, &good).status, 403);
    let bare = weir.call(&create, &[("Host", host)], &good);
    assert_eq!((bare.status, element(&bare, "Code")), (403, Some("MissingAuthenticationToken")));
    let [_, authorization] = all().sign("POST /v1/purges", host, "{}");
    let signed = [("Host", host), ("X-Amz-Date", &*date), ("Authorization", &*authorization)];
    assert_eq!(weir.call("POST /v1/purges", &signed, "{}").status, 401);
}

#[test]
fn each_caller_has_a_rate_and_is_told_when_to_go_on() {
    let config = format!(
        "[control]\nrate = 1\n[[token]]\nname = \"a\"\nsecret = \"{ALL}\"\nscopes = [\"purge\"]\n\
             [[token]]\nname = \"b\"\nsecret = \"{OF_BLOG}\"\nscopes = [\"purge\"]\n"
    );
    let weir = serve("rate.toml", &config);
    let host = ("Host", "control.example");
    let bearer = format!("Bearer {ALL}");
    let cloudflare = |body: &str| {
        let fields =
            [host, ("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        weir.call("POST /client/v4/zones/shop/purge_cache", &fields, body)
    };
    // What is refused is not counted.
    for _ in 0..3 {
        assert_eq!(cloudflare("{}").status, 400);
    }
    let told = until_refused(|| cloudflare(r#"{"purge_everything": true}"#));
    assert_eq!(told.json()["errors"][0]["code"], 971, "{}", told.body);
    let told = until_refused(|| {
        weir.call("POST /service/shop/purge_all", &[host, ("Fastly-Key", ALL)], "")
    });
    assert_eq!(told.json()["msg"], "Too many requests");
    let create = format!("POST {INVALIDATIONS}");
    let told = until_refused(|| {
        let body = batch("r", &["/a"]);
        let [date, authorization] = Signer::new("a", ALL).sign(&create, host.1, &body);
        let fields = [host, ("X-Amz-Date", &*date), ("Authorization", &*authorization)];
        weir.call(&create, &fields, &body)
    });
    assert_eq!(element(&told, "Code"), Some("Throttling"));
    let told = until_refused(|| {
        let fields =
            [host, ("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        weir.call("POST /v1/purges", &fields, r#"{"all": true}"#)
    });
    assert_eq!(told.json()["error"]["code"], "too_many");
    // Another caller has a rate of its own.
    let other = weir.call("POST /service/shop/purge_all", &[host, ("Fastly-Key", OF_BLOG)], "");
    assert_eq!(other.status, 200);
}

/// The first refusal for too many; each call before was taken.
fn until_refused(call: impl Fn() -> Answer) -> Answer {
    for _ in 0..100 {
        let answer = call();
        if answer.status == 429 {
            assert!(answer.head.contains("retry-after: 1\r\n"), "{}", answer.head);
            return answer;
        }
        assert!((200..300).contains(&answer.status), "{}", answer.body);
    }
    panic!("a hundred purges at once were taken");
}

#[test]
fn the_document_lists_the_dialects() {
    let weir = without_tokens("document.toml");
    let paths = weir.json("GET /openapi.json", "").json()["paths"].clone();
    for path in [
        "/client/v4/zones/{zone}/purge_cache",
        "/service/{service}/purge/{key}",
        "/purge/{url}",
        "/2020-05-31/distribution/{distribution}/invalidation",
    ] {
        assert!(paths[path]["post"]["summary"].is_string(), "{path}");
    }
}
