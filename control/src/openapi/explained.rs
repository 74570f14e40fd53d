//! What the document says of an explanation.

use serde_json::{Value, json};

/// The schema of what a node explains.
pub(super) fn schema() -> Value {
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    let list = |items: &Value| json!({"type": "array", "items": items});
    let (text, whole) = (json!({"type": "string"}), json!({"type": "integer"}));
    let maybe = |kind: &str| json!({"type": [kind, "null"]});
    let or_null = |schema: Value| json!({"oneOf": [schema, {"type": "null"}]});
    let variant = object(json!({
        "stored_in": {
            "enum": ["memory", "disk"],
            "description": "Where its body is. A response that is in both is listed twice.",
        },
        "selecting": list(&list(&maybe("string"))),
        "status": whole, "bytes": whole, "complete_length": maybe("integer"),
        "age": whole, "lifetime": whole, "lifetime_source": text, "ttl": whole,
        "etag": maybe("string"), "last_modified": maybe("string"), "tags": list(&text),
        "hits": maybe("integer"), "filled_at_seq": maybe("integer"),
        "codings": {
            "type": "array",
            "items": object(json!({"coding": {"enum": ["gzip", "br", "zstd"]}, "bytes": whole})),
            "description": "The codings in which it is stored, too.",
        },
        "not_compressed": {
            "type": ["string", "null"],
            "description": "Why it is not compressed, at a site that compresses.",
        },
    }));
    object(json!({
        "node": text, "site": maybe("string"),
        "origins": list(&object(json!({"url": text, "host": text}))),
        "access": list(&object(json!({"rule": text, "settings": list(&text)}))),
        "rules": list(&object(json!({"setting": text, "rule": text}))),
        "rewrite": or_null(object(json!({
            "to": text,
            "key": {
                "type": "boolean",
                "description": "The key has it; if not, origins alone are asked for it.",
            },
        }))),
        "key": text,
        "cookies": or_null(object(json!({
            "bypass": list(&text), "key": list(&text), "ignored": list(&text), "other": list(&text),
            "for_everyone": {
                "type": "boolean",
                "description": "The request is for a static file, to which bypass does not apply.",
            },
        }))),
        "state": {"enum": [
            "fresh", "stale", "partial", "purged", "filling", "not-stored", "bypass", "unknown-host",
            "redirected", "refused",
        ]},
        "sentence": text,
        "selected": or_null(variant.clone()),
        "variants": list(&variant),
        "hidden_on_disk": {
            "type": "boolean",
            "description": "Something is on disk that is hidden until the log was replayed.",
        },
        "not_stored": or_null(object(json!({
            "word": text, "sentence": text, "remedy": maybe("string"), "seconds_ago": whole, "status": maybe("integer"),
        }))),
        "last_purge": or_null(object(json!({
            "seq": whole, "soft": {"type": "boolean"},
            "removed": {
                "type": "boolean",
                "description": "It, or one before it, removed what was stored, and nothing was stored since.",
            },
            "id": maybe("string"), "reference": maybe("string"), "created_at": maybe("string"),
            "seconds_ago": maybe("integer"),
        }))),
    }))
}
