//! The dialects' entries in the OpenAPI document: enough to find them; what they take in full is
//! said by those whose APIs they are.

use crate::operation::Operation;
use serde_json::json;

/// What a call of `api` takes and gives, which answers with `status` when all is well.
pub(super) fn operation(
    api: &'static str,
    status: &str,
    path: &str,
    summary: &'static str,
) -> Operation {
    let (media_type, kind) = match api {
        "CloudFront" => ("text/xml", "string"),
        _ => ("application/json", "object"),
    };
    let schema = json!({"type": kind});
    let operation = Operation::new(summary)
        .described(format!(
            "The call of {api}'s API, with the same form of answers and errors. The zone, \
             service or distribution is the id of a site."
        ))
        .tagged(api)
        .answer_in(status, "Done.", media_type, schema.clone())
        .answer_in("default", "Refused.", media_type, schema);
    let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    names.fold(operation, |operation, name| operation.bare_path(name.trim_start_matches('*')))
}
