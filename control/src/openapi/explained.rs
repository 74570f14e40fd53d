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
    }));
    object(json!({
        "node": text, "site": maybe("string"),
        "origins": list(&object(json!({"url": text, "host": text}))),
        "key": text,
        "state": {"enum": [
            "fresh", "stale", "partial", "purged", "filling", "not-stored", "unknown-host",
        ]},
        "sentence": text,
        "selected": or_null(variant.clone()),
        "variants": list(&variant),
        "hidden_on_disk": {
            "type": "boolean",
            "description": "Something is on disk that is hidden until the log was replayed.",
        },
        "not_stored": or_null(object(json!({
            "word": text, "sentence": text, "seconds_ago": whole, "status": maybe("integer"),
        }))),
        "last_purge": or_null(object(json!({"seq": whole, "soft": {"type": "boolean"}}))),
    }))
}
