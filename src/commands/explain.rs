//! `weir explain`: why a URL was or was not a hit.

use super::{ControlArgs, Exit, complain};
use crate::text::{Paint, columns, harmless};
use clap::Args;
use serde_json::Value;
use weir_config::OriginPool;
use weir_control::timestamp::spoken;

/// Explain why a URL was or wasn't a hit
///
/// Fetches nothing and changes nothing.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A URL, or a path of the first site
    url: String,
    /// A request header that the client would send; repeatable
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Ask this node only
    #[arg(long, value_name = "N")]
    node: Option<String>,
    #[command(flatten)]
    control: ControlArgs,
}

impl Explain {
    pub(super) async fn run(self) -> Exit {
        let client = match self.control.client() {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let mut query = vec![("url", self.url.as_str())];
        query.extend(self.headers.iter().map(|header| ("header", header.as_str())));
        query.extend(self.node.iter().map(|node| ("node", node.as_str())));
        let answer = client.get("/v1/explain", &query).await;
        let body = match self.control.show(answer, |body| told(body, Paint::for_stdout())) {
            Ok(body) => body,
            Err(exit) => return exit,
        };
        let nodes = nodes(&body);
        let explained = nodes.iter().filter(|node| node["explanation"].is_object()).count();
        match explained {
            0 if nodes.is_empty() => complain("control knows no node", Exit::Failed),
            0 => Exit::Failed,
            _ => Exit::Done,
        }
    }
}

fn nodes(body: &Value) -> &[Value] {
    body["nodes"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What each node says, in words.
fn told(body: &Value, paint: Paint) -> String {
    let nodes = nodes(body).iter().map(|node| {
        let (name, tier) = (text(&node["name"]), text(&node["tier"]));
        let who = format!("{name} ({tier}, {})", text(&node["region"]));
        match &node["error"] {
            Value::String(error) => {
                columns(&[("state", paint.bad("unknown")), ("", harmless(error)), ("node", who)])
            }
            _ => explained(who, &node["explanation"], paint),
        }
    });
    nodes.collect::<Vec<_>>().join("\n")
}

/// One node's explanation.
fn explained(who: String, body: &Value, paint: Paint) -> String {
    let state = text(&body["state"]);
    let state = match state.as_str() {
        "fresh" => paint.good(&state),
        "stale" | "partial" | "filling" => paint.warn(&state),
        "not-stored" | "bypass" | "redirected" | "maintenance" => paint.faint(&state),
        _ => paint.bad(&state),
    };
    let mut rows = vec![
        ("state", state),
        ("", text(&body["sentence"])),
        ("node", who),
        ("site", text(&body["site"])),
    ];
    let rewrite = &body["rewrite"];
    if rewrite.is_object() {
        let scope = if rewrite["key"] == true { "" } else { " (at the origin)" };
        rows.push(("rewritten", format!("{}{scope}", text(&rewrite["to"]))));
    }
    rows.push(("key", key(&body["key"], paint)));
    rows.extend(cookies(&body["cookies"]).map(|words| ("cookies", words)));
    for origin in body["origins"].as_array().into_iter().flatten() {
        // A node of an older version does not say.
        let pool = origin["pool"].as_str().filter(|pool| *pool != OriginPool::DEFAULT);
        let pool = pool.map_or_else(String::new, |pool| format!(" ({pool})"));
        let (url, host) = (text(&origin["url"]), text(&origin["host"]));
        rows.push(("origin", format!("{url}{pool}, Host: {host}")));
    }
    for rule in body["access"].as_array().into_iter().flatten() {
        let settings = rule["settings"].as_array().into_iter().flatten().map(text);
        let settings = settings.collect::<Vec<_>>().join(", ");
        rows.push(("access", format!("{}: {settings}", text(&rule["rule"]))));
    }
    for decided in body["rules"].as_array().into_iter().flatten() {
        rows.push(("rule", format!("{}: {}", text(&decided["setting"]), text(&decided["rule"]))));
    }
    if body["selected"].is_object() {
        rows.extend(variant("stored", &body["selected"], paint));
    }
    for other in body["variants"].as_array().into_iter().flatten() {
        let is_copy = other["selecting"] == body["selected"]["selecting"];
        rows.extend(variant(if is_copy { "copy" } else { "variant" }, other, paint));
    }
    if body["not_stored"].is_object() {
        let decision = &body["not_stored"];
        let status = decision["status"].as_u64().map_or(String::new(), |s| format!("{s}, "));
        let ago = &decision["seconds_ago"];
        let words = format!("{}: {}", text(&decision["word"]), text(&decision["sentence"]));
        // With a stored response at hand it tells of the fetch after it.
        let stored = body["selected"].is_object();
        rows.push((if stored { "last fetch" } else { "not stored" }, words));
        rows.push(("", paint.faint(&format!("{status}{ago} s ago"))));
        // A node of an older version does not say.
        if decision["remedy"].is_string() {
            rows.push(("what to do", text(&decision["remedy"])));
        }
    }
    rows.extend(last_purge(&body["last_purge"], paint));
    columns(&rows)
}

/// The last purge that concerned the URL: its name and age, then where to find it.
fn last_purge(purge: &Value, paint: Paint) -> Vec<(&'static str, String)> {
    if purge.is_null() {
        return vec![("last purge", "none known".to_owned())];
    }
    let kind = if purge["soft"] == true { "soft" } else { "hard" };
    let seq = format!("seq {}", purge["seq"]);
    // An older control does not say, and none of a purge that is no longer in the history.
    let Some(ago) = purge["seconds_ago"].as_u64() else {
        return vec![("last purge", format!("{seq}, {kind}"))];
    };
    let name = purge["reference"].as_str().map(|name| format!("{}, ", harmless(name)));
    let name = name.unwrap_or_default();
    let (at, id) = (text(&purge["created_at"]), text(&purge["id"]));
    vec![
        ("last purge", format!("{name}{kind}, {} ago", spoken(ago))),
        ("", paint.faint(&format!("{at}, {seq}, weir purges {id}"))),
    ]
}

/// The key's first line, and how it goes on, on lines of their own.
fn key(key: &Value, paint: Paint) -> String {
    let lines = key.as_str().unwrap_or("?").split('\n').map(harmless);
    lines.collect::<Vec<_>>().join(&paint.faint(" | "))
}

/// What the cookies of the request are for.
fn cookies(cookies: &Value) -> Option<String> {
    let names = |what: &str| {
        let names = cookies[what].as_array().into_iter().flatten().map(text);
        names.collect::<Vec<_>>().join(" ")
    };
    let bypass = match cookies["for_everyone"] == true {
        true => "no bypass for static files",
        false => "bypass",
    };
    let told = [
        (bypass, "bypass"),
        ("in the key", "key"),
        ("ignored", "ignored"),
        ("passed to the origin", "other"),
    ];
    let told = told.map(|(words, what)| (words, names(what)));
    let told = told.iter().filter(|(_, names)| !names.is_empty());
    let told: Vec<_> = told.map(|(words, names)| format!("{words}: {names}")).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// One stored response: what it is, how fresh, and by what it was selected.
fn variant<'a>(name: &'a str, stored: &Value, paint: Paint) -> Vec<(&'a str, String)> {
    let bytes = match stored["complete_length"].as_u64() {
        Some(length) => format!("{} of {length} bytes", stored["bytes"]),
        None => format!("{} bytes", stored["bytes"]),
    };
    let ttl = stored["ttl"].as_i64().unwrap_or_default();
    let left = match ttl {
        1.. => paint.good(&format!("{ttl} s left")),
        _ => paint.warn(&format!("stale for {} s", ttl.unsigned_abs())),
    };
    // A node of an older version does not say where.
    let place = match stored["stored_in"].as_str() {
        Some("memory") => " in memory",
        Some("disk") => " on disk",
        _ => "",
    };
    let served = match stored["hits"].as_u64() {
        None => String::new(),
        Some(1) => ", served once".to_owned(),
        Some(hits) => format!(", served {hits} times"),
    };
    let mut rows = vec![
        (name, format!("{}, {bytes}{place}{served}", stored["status"])),
        (
            "",
            format!(
                "age {} s of {} s ({}), {left}",
                stored["age"],
                stored["lifetime"],
                text(&stored["lifetime_source"])
            ),
        ),
    ];
    let selecting: Vec<_> = stored["selecting"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|field| format!("{}: {}", text(&field[0]), text(&field[1])))
        .collect();
    if !selecting.is_empty() {
        rows.push(("", format!("selected by {}", selecting.join(", "))));
    }
    let tags: Vec<_> = stored["tags"].as_array().into_iter().flatten().map(text).collect();
    if !tags.is_empty() {
        rows.push(("", format!("tags {}", tags.join(" "))));
    }
    for (field, shown) in [("etag", "ETag"), ("last_modified", "Last-Modified")] {
        if stored[field].is_string() {
            rows.push(("", format!("{shown} {}", text(&stored[field]))));
        }
    }
    let codings = stored["codings"].as_array().into_iter().flatten();
    let codings: Vec<_> =
        codings.map(|form| format!("{} {} bytes", text(&form["coding"]), form["bytes"])).collect();
    if !codings.is_empty() {
        rows.push(("", format!("compressed {}", codings.join(", "))));
    }
    if stored["not_compressed"].is_string() {
        rows.push(("", format!("not compressed: {}", text(&stored["not_compressed"]))));
    }
    let filled = match &stored["filled_at_seq"] {
        Value::Null => "filled under another log".to_owned(),
        seq => format!("filled at seq {seq}"),
    };
    rows.push(("", paint.faint(&filled)));
    rows
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| "none".to_owned(), harmless)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn by(name: &str, explanation: Value) -> Value {
        let node =
            json!({"name": name, "tier": "edge", "region": "eu", "explanation": explanation});
        json!({"url": "/a", "nodes": [node]})
    }

    #[test]
    fn a_stored_response_is_told_in_aligned_words() {
        let body = by(
            "weir",
            json!({
                "node": "weir", "site": "default", "key": "http://h/a\naccept: x", "state": "fresh",
                "sentence": "A hit.", "not_stored": null,
                "variants": [{
                    "stored_in": "disk", "hits": null,
                    "selecting": [["accept-encoding", "gzip"]], "status": 200, "bytes": 20,
                    "complete_length": null, "age": 5, "lifetime": 60,
                    "lifetime_source": "max-age of Cache-Control", "ttl": 55, "etag": null,
                    "last_modified": null, "tags": [], "filled_at_seq": 2,
                }, {
                    "hits": 0, "selecting": [], "status": 200, "bytes": 30,
                    "complete_length": null, "age": 5, "lifetime": 60,
                    "lifetime_source": "max-age of Cache-Control", "ttl": 55, "etag": null,
                    "last_modified": null, "tags": [], "filled_at_seq": 2,
                    "codings": [], "not_compressed": "it has Set-Cookie",
                }],
                "origins": [{"url": "http://127.0.0.1:3000", "host": "h"}],
                "access": [{"rule": "films", "settings": ["allow", "signed"]}],
                "last_purge": {
                    "seq": 4, "soft": true, "removed": false, "id": "p-4", "reference": "deploy-42",
                    "created_at": "2026-11-21T20:15:00.042Z", "seconds_ago": 12,
                },
                "selected": {
                    "stored_in": "memory",
                    "selecting": [["accept-encoding", "gzip"]], "status": 200, "bytes": 10,
                    "complete_length": 20, "age": 5, "lifetime": 60,
                    "lifetime_source": "max-age of Cache-Control", "ttl": 55, "etag": "\"x\"",
                    "last_modified": null, "tags": ["a", "b"], "hits": 3, "filled_at_seq": 2,
                    "codings": [{"coding": "gzip", "bytes": 7}, {"coding": "br", "bytes": 6}],
                    "not_compressed": null,
                },
            }),
        );
        let expected = [
            "state       fresh",
            "            A hit.",
            "node        weir (edge, eu)",
            "site        default",
            "key         http://h/a | accept: x",
            "origin      http://127.0.0.1:3000, Host: h",
            "access      films: allow, signed",
            "stored      200, 10 of 20 bytes in memory, served 3 times",
            "            age 5 s of 60 s (max-age of Cache-Control), 55 s left",
            "            selected by accept-encoding: gzip",
            "            tags a b",
            "            ETag \"x\"",
            "            compressed gzip 7 bytes, br 6 bytes",
            "            filled at seq 2",
            "copy        200, 20 bytes on disk",
            "            age 5 s of 60 s (max-age of Cache-Control), 55 s left",
            "            selected by accept-encoding: gzip",
            "            filled at seq 2",
            "variant     200, 30 bytes, served 0 times",
            "            age 5 s of 60 s (max-age of Cache-Control), 55 s left",
            "            not compressed: it has Set-Cookie",
            "            filled at seq 2",
            "last purge  deploy-42, soft, 12 s ago",
            "            2026-11-21T20:15:00.042Z, seq 4, weir purges p-4",
        ];
        assert_eq!(told(&body, Paint::plain()).lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_url_that_is_not_stored_is_told_with_the_reason() {
        let body = by(
            "weir",
            json!({
                "node": "weir", "site": null, "key": "http://h/a", "state": "not-stored",
                "sentence": "A miss.", "variants": [], "selected": null, "last_purge": null,
                "not_stored": {"word": "no-store", "sentence": "no-store of Cache-Control",
                               "remedy": "Change it.", "seconds_ago": 3, "status": 200},
            }),
        );
        let words = told(&body, Paint::plain());
        assert!(words.contains("not stored  no-store: no-store of Cache-Control\n"), "{words}");
        assert!(words.contains("            200, 3 s ago\nwhat to do  Change it.\n"), "{words}");
        assert!(words.ends_with("last purge  none known\n"), "{words}");
        assert!(words.contains("site        none\n"), "{words}");
    }

    #[test]
    fn a_purge_is_told_as_far_as_it_is_known() {
        let told = |purge: Value| last_purge(&purge, Paint::plain());
        let of_old = json!({"seq": 4, "soft": false});
        assert_eq!(told(of_old), [("last purge", "seq 4, hard".to_owned())]);
        let nameless = json!({"seq": 4, "soft": false, "id": "p-4", "reference": null,
                              "created_at": "2026-11-21T20:15:00.042Z", "seconds_ago": 7200});
        assert_eq!(told(nameless)[0].1, "hard, 2 h ago");
    }

    #[test]
    fn cookies_are_told_by_what_they_are_for() {
        let told = |cookies: Value| super::cookies(&cookies);
        let none: [&str; 0] = [];
        assert_eq!(told(Value::Null), None);
        assert_eq!(
            told(json!({"bypass": none, "key": none, "ignored": none, "other": none})),
            None
        );
        let all = |for_everyone: bool| {
            json!({"bypass": ["sid"], "key": ["currency", "plan"], "ignored": ["_ga"], "other": ["a"],
                   "for_everyone": for_everyone})
        };
        let rest = "in the key: currency plan; ignored: _ga; passed to the origin: a";
        assert_eq!(told(all(false)), Some(format!("bypass: sid; {rest}")));
        assert_eq!(told(all(true)), Some(format!("no bypass for static files: sid; {rest}")));
    }

    #[test]
    fn each_node_is_told_and_one_that_does_not_answer_says_why() {
        let explanation = json!({"state": "not-stored", "sentence": "A miss.", "key": "k"});
        let mut body = by("one", explanation);
        let silent = json!({"name": "two", "tier": "parent", "region": "us", "error": "offline"});
        body["nodes"].as_array_mut().expect("a list").push(silent);
        let words = told(&body, Paint::plain());
        let (one, two) = words.split_once("\n\n").expect("two parts");
        assert!(one.contains("node        one (edge, eu)"), "{words}");
        assert_eq!(two, "state  unknown\n       offline\nnode   two (parent, us)\n");
    }
}
