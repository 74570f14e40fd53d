//! The OpenAPI document of [`super::rest::calls`]: each call must have an entry here.

use super::purges::LONGEST_WAIT_MS;
use super::rest::{Call, Kind};
use super::warm::{DEFAULT_RATE, MOST_RATE, MOST_URLS};
use serde_json::{Map, Value, json};

mod traffic;

/// The document (OpenAPI 3.1).
pub(super) fn document(calls: &[Call]) -> Value {
    let mut paths = Map::new();
    for call in calls {
        let mut operation = operation(call.path, call.method);
        if let Some(operation) = operation.as_object_mut().filter(|_| call.kind != Kind::Open) {
            operation.insert("security".into(), json!([{"token": []}, {}]));
        }
        let path = paths.entry(template(call.path)).or_insert_with(|| json!({}));
        path[call.method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "weir control",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Purges, nodes and their state. With no token configured, only programs \
                            on control's own machine are answered.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas(),
        },
    })
}

/// What one call takes and gives.
fn operation(path: &str, method: &str) -> Value {
    match (method, path) {
        ("post", "/v1/purges") => json!({
            "summary": "Purge",
            "description": "Answered once every expected node applied it, and after at most wait_ms.",
            "requestBody": body("PurgeRequest"),
            "responses": responses(&[
                ("200", "Applied by every expected node.", Some("Purge")),
                ("202", "Accepted, not yet applied by every expected node.", Some("Purge")),
                ("409", "The reference names another purge.", Some("Error")),
                ("503", "The log cannot be written: nothing was done.", Some("Error")),
            ]),
        }),
        ("get", "/v1/purges") => json!({
            "summary": "The history of purges",
            "parameters": [
                parameter("after", "query", false, "Only purges with a higher seq."),
                parameter("limit", "query", false, "At most so many, up to 1000."),
            ],
            "responses": responses(&[("200", "In the order of their seq.", Some("Purges"))]),
        }),
        ("get", "/v1/purges/{id}") => json!({
            "summary": "One purge",
            "parameters": [parameter("id", "path", true, "The purge's id.")],
            "responses": responses(&[
                ("200", "The purge and what it named.", Some("RecordedPurge")),
                ("404", "Not known, or no longer.", Some("Error")),
            ]),
        }),
        ("post", "/v1/warm") => json!({
            "summary": "Have URLs fetched ahead of those who will ask for them",
            "description": "On every connected edge or, for tier parent, from the parents of each \
                            region. Lines of JSON: what came of each URL on each node, as it \
                            comes; first and last the counts of all. Who hangs up ends it.",
            "requestBody": body("WarmRequest"),
            "responses": {
                "200": {
                    "description": "A line a URL and node (Fetched), between two with the \
                                    counts (Warmed).",
                    "content": {"application/x-ndjson": {"schema": {"oneOf": [
                        reference("Fetched"), reference("Warmed"),
                    ]}}},
                },
                "default": refused(),
            },
        }),
        ("get", "/v1/nodes") => json!({
            "summary": "The expected nodes",
            "responses": responses(&[("200", "By name.", Some("Nodes"))]),
        }),
        ("get", "/v1/nodes/{name}") => json!({
            "summary": "One expected node",
            "parameters": [parameter("name", "path", true, "The node's name.")],
            "responses": responses(&[
                ("200", "As it is now.", Some("Node")),
                ("404", "No such node is expected.", Some("Error")),
            ]),
        }),
        ("delete", "/v1/nodes/{name}") => json!({
            "summary": "Expect a node no more",
            "description": "Purges are completed without it. If it comes back it trusts nothing \
                            that it has stored.",
            "parameters": [parameter("name", "path", true, "The node's name.")],
            "responses": responses(&[
                ("200", "It is not expected any more.", None),
                ("404", "No such node is expected.", Some("Error")),
                ("503", "The log cannot be written: it is still expected.", Some("Error")),
            ]),
        }),
        ("get", "/v1/stats") => json!({
            "summary": "Figures of control and of the nodes",
            "description": "Rates are over the last window_seconds, at most; those of a node that \
                            is not connected are null. traffic is what clients saw: all edges \
                            together.",
            "responses": responses(&[("200", "As they are now.", Some("Stats"))]),
        }),
        ("get", "/v1/traffic") => json!({
            "summary": "The course of the last ten minutes",
            "parameters": [
                parameter("node", "query", false, "Of this node."),
                parameter("tier", "query", false, "Of edge or parent; edge is the default."),
            ],
            "responses": responses(&[
                ("200", "Oldest first; steps at which nothing was told are left out.",
                 Some("Traffic")),
                ("404", "No such node is expected.", Some("Error")),
            ]),
        }),
        ("get", "/v1/popular") => json!({
            "summary": "What is stored, by how often it was answered from the store",
            "description": "Hits are counted since the response was stored. Nodes look anew every \
                            few seconds.",
            "parameters": [
                parameter("limit", "query", false, "At most so many, 1 to 100; 20."),
                parameter("node", "query", false, "Of this node; else of all edges together."),
            ],
            "responses": responses(&[
                ("200", "Most hits first.", Some("Popular")),
                ("404", "No such node is expected.", Some("Error")),
            ]),
        }),
        ("get", "/v1/uncached") => json!({
            "summary": "What was not stored of late, and why",
            "description": "reason is the word that explain and the detail of Cache-Status use; \
                            reasons are counted since the nodes started.",
            "parameters": [
                parameter("limit", "query", false, "At most so many URLs, 1 to 100; 20."),
                parameter("node", "query", false, "Of this node; else of all edges together."),
            ],
            "responses": responses(&[
                ("200", "Reasons by count, URLs by how late.", Some("Uncached")),
                ("404", "No such node is expected.", Some("Error")),
            ]),
        }),
        ("get", "/v1/explain") => json!({
            "summary": "Why a URL is, or is not, a hit",
            "parameters": [
                parameter("url", "query", true, "A URL, or a path of the first site."),
                parameter("header", "query", false, "A request field, Name: value; repeatable."),
                parameter("node", "query", false, "Ask this node only."),
            ],
            "responses": responses(&[
                ("200", "What each node knows of it, or why it does not say.", Some("Explained")),
                ("404", "No such node is expected.", Some("Error")),
            ]),
        }),
        ("get", "/v1/sites/{id}/release") => json!({
            "summary": "The release that a site shows",
            "parameters": [parameter("id", "path", true, "The site's id.")],
            "responses": responses(&[
                ("200", "Its name; null for none.", Some("Release")),
                ("404", "No such site.", Some("Error")),
            ]),
        }),
        ("put", "/v1/sites/{id}/release") => json!({
            "summary": "Switch the release that a site shows",
            "description": "One entry of the log, so each node switches at once. Answered once \
                            every expected node applied it, and after at most wait_ms.",
            "parameters": [parameter("id", "path", true, "The site's id.")],
            "requestBody": body("ReleaseRequest"),
            "responses": responses(&[
                ("200", "Every expected node shows it.", Some("Switched")),
                ("202", "Accepted, not yet shown by every expected node.", Some("Switched")),
                ("404", "No such site.", Some("Error")),
                ("503", "The log cannot be written: nothing was done.", Some("Error")),
            ]),
        }),
        ("get", "/v1/events") => json!({
            "summary": "What happens, as it happens",
            "description": "Server-sent events: purge and release (accepted), applied (a node has \
                            everything up to seq), completed, joined, parted, forgotten; missed \
                            tells a listener who is too slow how many it was not told of.",
            "responses": {
                "200": {
                    "description": "Events, each with JSON data.",
                    "content": {"text/event-stream": {"schema": {"type": "string"}}},
                },
                "default": refused(),
            },
        }),
        ("get", "/v1/follow") => json!({
            "summary": "Where nodes follow the log",
            "description": "An upgrade to weir-log/1, for tokens with the scope node: nodes of \
                            this program speak it.",
            "responses": {
                "101": {"description": "The connection belongs to the log."},
                "default": refused(),
            },
        }),
        ("post", "/v1/reload") => json!({
            "summary": "Reload the configuration, all or nothing",
            "responses": responses(&[("200", "Which keys need a restart.", None)]),
        }),
        ("get", "/metrics") => json!({
            "summary": "Metrics",
            "responses": {"200": {
                "description": "Prometheus text.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            }},
        }),
        ("get", "/healthz") => simple("Whether the process lives", "It does."),
        ("get", "/readyz") => simple("Whether it takes requests", "It does; else 503."),
        ("get", "/openapi.json") => simple("This document", "It."),
        _ => super::dialects::operation(path, method).unwrap_or_else(|| json!({})),
    }
}

/// A path as the document has it, which does not tell parameters that may hold slashes apart.
fn template(path: &str) -> String {
    path.replace("{*", "{")
}

fn simple(summary: &str, description: &str) -> Value {
    json!({"summary": summary, "responses": responses(&[("200", description, None)])})
}

/// The given responses, and the refusals that every call can give.
fn responses(given: &[(&str, &str, Option<&str>)]) -> Value {
    let mut all = Map::new();
    for (status, description, schema) in given {
        let schema = schema.map_or_else(|| json!({"type": "object"}), reference);
        let content = json!({"application/json": {"schema": schema}});
        all.insert((*status).into(), json!({"description": description, "content": content}));
    }
    all.insert("default".into(), refused());
    Value::Object(all)
}

fn refused() -> Value {
    let error = json!({"application/json": {"schema": reference("Error")}});
    json!({"description": "Refused.", "content": error})
}

fn body(schema: &str) -> Value {
    let content = json!({"application/json": {"schema": reference(schema)}});
    json!({"required": true, "content": content})
}

fn parameter(name: &str, place: &str, required: bool, description: &str) -> Value {
    json!({
        "name": name,
        "in": place,
        "required": required,
        "description": description,
        "schema": {"type": "string"},
    })
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn schemas() -> Value {
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let text = json!({"type": "string"});
    let yes_or_no = json!({"type": "boolean", "default": false});
    let maybe = |kind: &str| json!({"type": [kind, "null"]});
    let named = json!({
        "paths": texts, "urls": texts, "prefixes": texts, "tags": texts, "hosts": texts,
        "all": yes_or_no, "site": maybe("string"), "soft": yes_or_no, "versions": yes_or_no,
        "warm": yes_or_no,
    });
    let told = json!({
        "id": text,
        "seq": {"type": "integer"},
        "status": {"enum": ["completed", "in_progress"]},
        "reference": maybe("string"),
        "created_at": {"type": "string", "format": "date-time"},
        "elapsed_ms": {"type": "number"},
        "nodes": {"type": "array", "items": {"type": "object", "properties": {
            "name": text,
            "tier": {"enum": ["edge", "parent"]},
            "state": {"enum": ["applied", "pending", "offline"]},
            "applied_ms": maybe("number"),
            "matched": maybe("integer"),
        }}},
        "warmed": {"oneOf": [reference("Warmed"), {"type": "null"}]},
        "note": maybe("string"),
    });
    let wait = json!({
        "wait_ms": {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT_MS, "default": 2000},
    });
    let asked = json!({"reference": maybe("string")});
    let release = json!({"name": maybe("string")});
    let of_site = json!({"site": text, "name": maybe("string")});
    let tier = json!({"enum": ["edge", "parent"]});
    let whole = json!({"type": "integer"});
    let node = json!({"type": "object", "properties": {
        "name": text, "tier": tier, "region": text,
        "state": {"enum": ["connected", "silent", "offline"]},
        "listen": text, "version": text,
        "applied_seq": whole, "lag": whole,
        "heard_at": {"type": "string", "format": "date-time"},
        "since": {"type": "string", "format": "date-time"},
        "stats": {"type": ["object", "null"], "properties": {
            "requests": whole, "hits": whole, "stored": whole, "stored_bytes": whole,
        }},
    }});
    let object = |parts: &[&Value]| {
        let fields = parts.iter().filter_map(|part| part.as_object()).flatten();
        let properties: Map<_, _> = fields.map(|(k, v)| (k.clone(), v.clone())).collect();
        json!({"type": "object", "properties": properties})
    };
    let mut request = object(&[&named, &asked, &wait]);
    request["additionalProperties"] = json!(false);
    let mut switch = object(&[&release, &wait]);
    switch["additionalProperties"] = json!(false);
    switch["required"] = json!(["name"]);
    let mut schemas = json!({
        "PurgeRequest": request,
        "WarmRequest": {
            "type": "object",
            "additionalProperties": false,
            "required": ["urls"],
            "properties": {
                "urls": {"type": "array", "items": text, "minItems": 1, "maxItems": MOST_URLS},
                "rate": {"type": "integer", "minimum": 1, "maximum": MOST_RATE,
                         "default": DEFAULT_RATE},
                "tier": {"enum": ["edge", "parent"], "default": "edge"},
            },
        },
        "Fetched": {"type": "object", "properties": {
            "node": text, "url": text, "status": whole,
            "cache": {"enum": ["hit", "stored", "collapsed"]},
            "error": text, "ms": {"type": "number"},
        }},
        "Warmed": {"type": "object", "properties": {
            "asked": whole, "done": whole, "failed": whole,
        }},
        "ReleaseRequest": switch,
        "Release": object(&[&of_site]),
        "Switched": object(&[&told, &of_site]),
        "Node": node,
        "Nodes": {"type": "object", "properties": {
            "head": {"type": "integer"},
            "nodes": {"type": "array", "items": reference("Node")},
        }},
        "Explained": {"type": "object", "properties": {
            "url": text,
            "nodes": {"type": "array", "items": {"type": "object", "properties": {
                "name": text, "tier": tier, "region": text,
                "explanation": {"type": "object"}, "error": text,
            }}},
        }},
        "Purge": object(&[&told]),
        "RecordedPurge": object(&[&told, &named]),
        "Purges": {"type": "object", "properties": {
            "log_id": text,
            "head": {"type": "integer"},
            "purges": {"type": "array", "items": reference("RecordedPurge")},
        }},
        "Error": {"type": "object", "properties": {"error": {"type": "object", "properties": {
            "code": text, "message": text, "field": maybe("string"),
        }}}},
    });
    if let Some(schemas) = schemas.as_object_mut() {
        schemas.extend(traffic::schemas());
    }
    schemas
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::rest::calls;
    use super::*;

    #[test]
    fn every_call_is_described() {
        let calls = calls();
        let document = document(&calls);
        assert!(calls.len() >= 17);
        for call in &calls {
            let operation = &document["paths"][template(call.path)][call.method];
            assert!(operation["summary"].is_string(), "{} {}", call.method, call.path);
            let done = ["101", "200", "201"];
            let done = done.iter().any(|status| operation["responses"][status].is_object());
            assert!(done, "{} {}", call.method, call.path);
            let open = call.kind == Kind::Open;
            assert_eq!(operation.get("security").is_none(), open, "{}", call.path);
        }
        let described: usize = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .map(|p| p.as_object().unwrap().len())
            .sum();
        assert_eq!(described, calls.len());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let text = document(&calls()).to_string();
        let schemas = schemas();
        let names: Vec<_> = text
            .split("#/components/schemas/")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert!(names.len() > 10);
        for name in names {
            assert!(schemas[name].is_object(), "{name}");
        }
    }
}
