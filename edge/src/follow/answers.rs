//! What control asks of a node.

use super::frame::Question;
use crate::explain;
use crate::state::NodeState;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use std::sync::Arc;

/// Answers a question; an error in words.
pub(super) async fn answer(state: Arc<NodeState>, what: Question) -> Result<Value, String> {
    match what {
        Question::Explain { url, headers } => {
            let headers = fields(headers)?;
            // It may walk over the whole store.
            let explained = move || {
                let explanation = explain::explain(&state, &url, &headers)?;
                serde_json::to_value(explanation).map_err(|error| error.to_string())
            };
            let explained = tokio::task::spawn_blocking(explained).await;
            explained.map_err(|_| "the node failed to explain it".to_owned())?
        }
        Question::Popular { .. } => Err("this node does not tell popular URLs".to_owned()),
        Question::Warm { .. } => Err("this node does not warm".to_owned()),
    }
}

fn fields(named: Vec<(String, String)>) -> Result<HeaderMap, String> {
    let mut fields = HeaderMap::new();
    for (name, value) in named {
        let parsed = name.parse::<HeaderName>().map_err(|_| format!("{name:?} names no field"))?;
        let value = HeaderValue::from_str(&value)
            .map_err(|_| format!("{name}: {value:?} is no field value"))?;
        let _ = fields.try_append(parsed, value).map_err(|_| "too many fields".to_owned())?;
    }
    Ok(fields)
}
