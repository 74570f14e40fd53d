//! The OpenAPI document of a list of calls, and the schemas that their entries name.

use crate::call::{Call, Kind};
use crate::operation::reference;
use crate::purge_request::LONGEST_WAIT_MS;
use crate::report::MOST_NODES;
use crate::warm::{DEFAULT_RATE, MOST_RATE, MOST_URLS};
use serde_json::{Map, Value, json};
use weir_config::words::Word;
use weir_rules::invalidation::TargetKind;
use weir_rules::tier::Tier;

mod explained;
mod traffic;

/// The document (OpenAPI 3.1).
pub(crate) fn document(calls: &[Call]) -> Value {
    let mut paths = Map::new();
    for call in calls {
        let mut operation = call.operation.value();
        if call.kind != Kind::Open {
            operation.insert("security".into(), json!([{"token": []}, {}]));
        }
        let path = paths.entry(template(call.path)).or_insert_with(|| json!({}));
        path[call.method] = Value::Object(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "weir control",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Purges, nodes and their state. If no token is configured, only programs \
                            on the same machine are accepted.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas(),
        },
    })
}

/// A path as the document has it, which does not tell parameters that may hold slashes apart.
pub(crate) fn template(path: &str) -> String {
    path.replace("{*", "{")
}

pub(crate) fn schemas() -> Value {
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let text = json!({"type": "string"});
    let yes_or_no = json!({"type": "boolean", "default": false});
    let maybe = |kind: &str| json!({"type": [kind, "null"]});
    let lists: Map<_, _> =
        TargetKind::ALL.iter().map(|kind| (kind.plural().to_owned(), texts.clone())).collect();
    let lists = Value::Object(lists);
    let named = json!({
        "all": yes_or_no, "site": maybe("string"), "soft": yes_or_no, "versions": yes_or_no,
        "warm": yes_or_no,
    });
    let tiers: Vec<_> = Tier::words().collect();
    let tier = json!({"enum": tiers});
    let node_of_purge = json!({"type": "object", "properties": {
        "name": text,
        "tier": tier,
        "state": {"enum": ["applied", "pending", "offline", "lease_over"]},
        "applied_ms": maybe("number"),
        "matched": maybe("integer"),
    }});
    let count = json!({"type": "integer"});
    let told = json!({
        "id": text,
        "seq": {"type": "integer"},
        "status": {"enum": ["completed", "in_progress"]},
        "reference": maybe("string"),
        "created_at": {"type": "string", "format": "date-time"},
        "elapsed_ms": {"type": "number"},
        "nodes": {
            "type": "array", "items": reference("NodeOfPurge"),
            "description": format!(
                "All nodes that it is for, where there are fewer than {MOST_NODES}; otherwise those \
                 that have not applied it, at most {MOST_NODES}."
            ),
        },
        "nodes_total": count,
        "nodes_lagging": count,
        "counts": {"type": "array", "items": {"type": "object", "properties": {
            "region": text, "tier": tier, "nodes": count, "applied": count, "pending": count,
            "offline": count, "lease_over": count,
        }}},
        "matched": maybe("integer"),
        "warmed": {"oneOf": [reference("Warmed"), {"type": "null"}]},
        "note": {
            "type": ["string", "null"],
            "description": "Remarks, for example what an offline node may serve until it has \
                applied this.",
        },
    });
    let wait = json!({
        "wait_ms": {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT_MS, "default": 2000},
    });
    let asked = json!({"reference": maybe("string")});
    let release = json!({"name": maybe("string")});
    let of_site = json!({"site": text, "name": maybe("string")});
    let whole = json!({"type": "integer"});
    let node = json!({"type": "object", "properties": {
        "name": text, "tier": tier, "region": text,
        "state": {"enum": ["connected", "silent", "offline"]},
        "listen": text, "version": text,
        "applied_seq": whole, "lag": whole,
        "heard_at": {"type": "string", "format": "date-time"},
        "since": {"type": "string", "format": "date-time"},
        "proven": {"type": "boolean"}, "ephemeral": {"type": "boolean"}, "processes": whole,
        "via": maybe("string"),
        "stats": {"type": ["object", "null"], "properties": {
            "requests": whole, "hits": whole,
            "stored": maybe("integer"), "stored_bytes": maybe("integer"),
        }},
    }});
    let object = |parts: &[&Value]| {
        let fields = parts.iter().filter_map(|part| part.as_object()).flatten();
        let properties: Map<_, _> = fields.map(|(k, v)| (k.clone(), v.clone())).collect();
        json!({"type": "object", "properties": properties})
    };
    let mut request = object(&[&lists, &named, &asked, &wait]);
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
                "tier": {"enum": tiers, "default": Tier::default()},
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
        "CertificateRenewal": {"type": "object", "required": ["name"], "properties": {"name": text}},
        "CertificateRotation": {"type": "object", "properties": {"name": text}},
        "Certificates": {"type": "object", "properties": {
            "certificates": {"type": "array", "items": {"type": "object", "properties": {
                "source": {"enum": ["ordered", "file"]}, "name": text, "names": texts, "site": text,
                "expires": maybe("integer"), "renews": maybe("integer"), "failures": whole,
                "error": maybe("string"), "retries": maybe("integer"), "unrevoked": whole,
            }}},
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
                "explanation": explained::schema(), "error": text,
            }}},
        }},
        "Purge": object(&[&told]),
        "NodeOfPurge": node_of_purge,
        "PurgeNodes": {"type": "object", "properties": {
            "id": text,
            "nodes": {"type": "array", "items": reference("NodeOfPurge")},
            "next": maybe("string"),
        }},
        "RecordedPurge": object(&[&told, &lists, &named]),
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
