//! The dialects' entries in the OpenAPI document: enough to find them; what they take in full is
//! said by those whose APIs they are.

use serde_json::{Value, json};

/// What one call takes and gives; `None` for a call of weir's own.
pub(crate) fn operation(path: &str, method: &str) -> Option<Value> {
    let (api, summary) = match (method, path) {
        ("post", "/client/v4/zones/{zone}/purge_cache") => {
            ("Cloudflare", "Purge files, prefixes, tags, hosts or everything of a zone")
        }
        ("post", "/client/v4/zones/{zone}/invalidate_cache") => {
            ("Cloudflare", "The same, softly: stale from now on")
        }
        ("post", "/service/{service}/purge/{*key}") => ("Fastly", "Purge a surrogate key"),
        ("post", "/service/{service}/purge") => ("Fastly", "Purge surrogate keys"),
        ("post", "/service/{service}/purge_all") => ("Fastly", "Purge all of a service"),
        ("post", "/purge/{*url}") => ("Fastly", "Purge a URL, named without its scheme"),
        ("post", super::cloudfront::INVALIDATIONS) => ("CloudFront", "Create an invalidation"),
        ("get", super::cloudfront::INVALIDATIONS) => ("CloudFront", "List invalidations"),
        ("get", "/2020-05-31/distribution/{distribution}/invalidation/{id}") => {
            ("CloudFront", "One invalidation")
        }
        _ => return None,
    };
    let parameters: Vec<_> = path
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
        .map(|name| {
            let name = name.trim_start_matches('*');
            let schema = json!({"type": "string"});
            json!({"name": name, "in": "path", "required": true, "schema": schema})
        })
        .collect();
    let media = if api == "CloudFront" { "text/xml" } else { "application/json" };
    let content =
        json!({media: {"schema": {"type": if media == "text/xml" { "string" } else { "object" }}}});
    let created = api == "CloudFront" && method == "post";
    let status = if created { "201" } else { "200" };
    Some(json!({
        "summary": summary,
        "description": format!("As {api}'s API has it, with its form of answers and errors. \
                                Zone, service or distribution is a site's id."),
        "tags": [api],
        "parameters": parameters,
        "responses": {
            status: {"description": "Done.", "content": content},
            "default": {"description": "Refused.", "content": content},
        },
    }))
}
