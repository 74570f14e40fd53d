//! What the document says of traffic.

use crate::operation::reference;
use serde_json::{Map, Value, json};
use weir_config::words::Word;
use weir_rules::tier::Tier;

/// The schemas of `/v1/stats`, `/v1/traffic`, `/v1/popular`, `/v1/origins` and `/v1/uncached`.
pub(super) fn schemas() -> Map<String, Value> {
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    let list = |items: Value| json!({"type": "array", "items": items});
    let (text, whole) = (json!({"type": "string"}), json!({"type": "integer"}));
    let rate = json!({"type": ["number", "null"]});
    let maybe = json!({"type": ["integer", "null"]});
    let tier = json!({"enum": Tier::words().collect::<Vec<_>>()});
    let disk = json!({"type": ["object", "null"], "properties": {
        "stored": whole, "stored_bytes": whole, "capacity_bytes": whole, "hits": whole,
        "directories": whole, "set_aside": whole,
        "read_p99_micros": {
            "type": ["integer", "null"],
            "description": "Of the last reads that had to wait for a device; null if there were none.",
        },
    }});
    let stored = json!({
        "stored": maybe, "stored_bytes": maybe, "capacity_bytes": maybe, "disk": disk,
    });
    let named = json!({"name": text, "tier": tier, "region": text});
    let point = json!({
        "requests_per_second": rate, "hits_per_second": rate, "errors_per_second": rate,
        "bytes_per_second": rate, "upstream_per_second": rate, "p50_ms": rate, "p99_ms": rate,
    });
    let rates = json!({
        "hit_ratio": rate, "collapsed_per_second": rate, "upstream_errors_per_second": rate,
        "results": {"type": ["object", "null"], "additionalProperties": {"type": "number"}},
    });
    let time = json!({"type": "string", "format": "date-time"});
    let counted = json!({
        "requests": whole, "hits": whole, "hit_ratio": rate, "errors": whole,
        "bytes": whole, "bytes_saved": whole,
        "upstream_requests": whole, "upstream_errors": whole, "origin_requests": whole,
        "status": object(json!({
            "1xx": whole, "2xx": whole, "3xx": whole, "4xx": whole, "5xx": whole,
        })),
        "p50_ms": rate, "p99_ms": rate,
    });
    let per_second = json!({"type": "number"});
    let rates_of_point = json!({
        "requests_per_second": per_second, "hits_per_second": per_second,
        "errors_per_second": per_second, "bytes_per_second": per_second,
        "collapsed_per_second": per_second, "upstream_per_second": per_second,
        "upstream_errors_per_second": per_second,
    });
    let of_node = json!({
        "state": {"enum": ["connected", "silent", "offline"]}, "listen": text,
        "applied_seq": whole, "lag": whole, "evictions": maybe, "connections": maybe,
        "probes": maybe, "warm_ups": maybe,
        "uptime_seconds": maybe,
    });
    let why = json!({"reason": text, "sentence": text});
    let url = json!({"url": text, "site": text, "nodes": list(text.clone())});
    let asked = list(object(all(&[&named, &json!({"error": text})])));
    let schemas = json!({
        "Rates": object(all(&[&point, &rates])),
        "Stats": object(json!({
            "version": text, "uptime_seconds": whole,
            "sites": whole, "site_ids": list(text.clone()),
            "log": {"type": "object"}, "nodes": {"type": "object"},
            "applied_seq": maybe, "requests": maybe, "hits": maybe,
            "stored": maybe, "stored_bytes": maybe, "disk": disk, "calls_shed": maybe,
            "window_seconds": whole,
            "traffic": reference("Rates"),
            "tiers": list(object(all(&[
                &json!({"tier": tier, "nodes": whole}), &point, &rates, &stored,
            ]))),
            "by_node": list(object(all(&[&named, &of_node, &point, &rates, &stored]))),
        })),
        "Traffic": object(json!({
            "from": time, "to": time, "step_seconds": whole,
            "begins": {
                "type": ["string", "null"], "format": "date-time",
                "description": "Since when steps of this length are kept; null where there are none.",
            },
            "totals": object(counted.clone()),
            "points": list(object(all(&[&json!({"at": time}), &rates_of_point, &counted]))),
            "groups": list(object(all(&[
                &json!({"node": text, "tier": tier, "site": text}), &counted,
            ]))),
        })),
        "Popular": object(json!({
            "nodes": asked,
            "objects": list(object(all(&[&url, &json!({
                "hits": whole, "bytes": whole, "status": whole, "age_seconds": whole,
                "ttl_seconds": whole, "tags": list(text.clone()), "variants": whole,
            })]))),
        })),
        "Origins": object(json!({
            "nodes_total": whole, "nodes": asked.clone(),
            "origins": list(object(json!({
                "site": text, "pool": text, "url": text,
                "state": {"enum": ["healthy", "ejected", "out", "mixed"]},
                "weight": whole, "requests": whole, "errors": whole, "ejections": whole,
                "running": whole, "first_byte_ms": rate, "first_byte_p99_ms": rate,
                "probe": {"type": ["object", "null"], "properties": {
                    "good": whole, "bad": whole, "error": {"type": ["string", "null"]},
                    "seconds_ago": maybe,
                }},
                "nodes": list(object(json!({
                    "name": text, "state": {"enum": ["healthy", "ejected", "out"]},
                }))),
            }))),
        })),
        "Uncached": object(json!({
            "nodes": asked,
            "reasons": list(object(all(&[&why, &json!({
                "count": whole, "remedy": {"type": ["string", "null"]},
            })]))),
            "urls": list(object(all(&[
                &url, &why, &json!({"status": maybe, "seconds_ago": whole}),
            ]))),
        })),
    });
    schemas.as_object().cloned().unwrap_or_default()
}

/// The members of all of these.
fn all(parts: &[&Value]) -> Value {
    let members = parts.iter().filter_map(|part| part.as_object()).flatten();
    Value::Object(members.map(|(name, value)| (name.clone(), value.clone())).collect())
}
