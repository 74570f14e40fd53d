//! What control asks of a node.

use super::frame::{PopularUrl, Question};
use crate::explain;
use crate::state::NodeState;
use crate::warm::Warmer;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use std::sync::Arc;
use weir_rules::invalidation::Seq;

/// Answers a question; an error in words.
pub(super) async fn answer(
    state: Arc<NodeState>,
    warmer: Arc<Warmer>,
    what: Question,
) -> Result<Value, String> {
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
        Question::Popular { seq, most } => {
            let popular = popular(&state, seq, most)?;
            serde_json::to_value(popular).map_err(|error| error.to_string())
        }
        Question::Warm { urls, rate, tier } => {
            let fetched = warmer.warm(urls, rate, tier).await?;
            serde_json::to_value(fetched).map_err(|error| error.to_string())
        }
    }
}

/// What of the URLs that a purge took was popular, once the sweep has been through.
fn popular(state: &NodeState, seq: Seq, most: usize) -> Result<Vec<PopularUrl>, String> {
    let own = state.purges.standing().own(seq);
    if state.matched.of(own).is_none() {
        return Err("what this purge took is not counted yet, or no longer known".to_owned());
    }
    let live = state.live.load();
    let is_shown = |site: &str, release: Option<&str>| {
        let site = live.sites.all().iter().find(|known| *known.id == *site);
        site.is_some_and(|site| state.release_of(site).as_deref() == release)
    };
    let urls = state.popular.of(own, most, is_shown);
    urls.ok_or_else(|| "what this purge took is not remembered".to_owned())
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
