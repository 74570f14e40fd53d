//! What control asks of a node.

use crate::explain;
use crate::ranking::Asked;
use crate::state::NodeState;
use crate::warm::Warmer;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use std::sync::Arc;
use weir_protocol::question::{NotStored, OriginMember, PurgedUrl, Question};
use weir_protocol::search::Search;
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
        Question::PurgedUrls { seq, most } => {
            let popular = popular(&state, seq, most)?;
            serde_json::to_value(popular).map_err(|error| error.to_string())
        }
        Question::StoredUrls { most, sites, search, order } => {
            // It may walk over the whole store.
            let ranked = move || {
                let (store, purges, now) = (&state.store, &state.purges, state.now());
                let asked = Asked { search, order };
                let told = state.ranking.first(store, purges, now, most, &sites, &asked);
                serde_json::to_value(told).map_err(|error| error.to_string())
            };
            let ranked = tokio::task::spawn_blocking(ranked).await;
            ranked.map_err(|_| "the node failed to rank what it stores".to_owned())?
        }
        Question::NotStoredUrls { most, sites, search } => {
            let told = not_stored(&state, most, &sites, &search);
            serde_json::to_value(told).map_err(|error| error.to_string())
        }
        Question::Origins { most, sites } => {
            let told = origins(&state, most, &sites);
            serde_json::to_value(told).map_err(|error| error.to_string())
        }
        Question::LackedItems { items } => {
            serde_json::to_value(state.received.lacked(items)).map_err(|error| error.to_string())
        }
        Question::TakeItems { items, ended } => {
            // They are written to disk.
            let taken = tokio::task::spawn_blocking(move || state.received.take(items, &ended));
            taken.await.map_err(|_| "the node failed to take them".to_owned())??;
            Ok(Value::Bool(true))
        }
        Question::Warm { urls, rate, tier } => {
            let fetched = warmer.warm(urls, rate, tier).await?;
            serde_json::to_value(fetched).map_err(|error| error.to_string())
        }
    }
}

/// What of the URLs that a purge took was popular, once the sweep has been through.
fn popular(state: &NodeState, seq: Seq, most: usize) -> Result<Vec<PurgedUrl>, String> {
    let own = state.purges.standing().own(seq);
    if state.matched.of(own).is_none() {
        return Err(
            "the URLs removed by this purge are not counted yet, or no longer known".to_owned()
        );
    }
    let live = state.live.load();
    let is_shown = |site: &str, url: &str, release: Option<&str>| {
        let site = live.sites.all().iter().find(|known| *known.id == *site);
        site.is_some_and(|site| {
            state.release_of(site).as_deref() == release && !explain::is_rewritten(site, url)
        })
    };
    let urls = state.popular.of(own, most, is_shown);
    urls.ok_or_else(|| "the URLs removed by this purge are not known".to_owned())
}

/// The origins of these sites; of all sites if none is named.
fn origins(state: &NodeState, most: usize, sites: &[String]) -> Vec<OriginMember> {
    let live = state.live.load();
    let is_named = |site: &str| sites.is_empty() || sites.iter().any(|named| named == site);
    let named = live.sites.all().iter().filter(|site| is_named(&site.id));
    named.flat_map(|site| site.members()).take(most).collect()
}

/// Longest list of URLs that were not stored.
const MOST_NOT_STORED: usize = 100;

/// What was recently not stored, of these sites; of all sites if none is named.
fn not_stored(state: &NodeState, most: usize, sites: &[String], search: &Search) -> NotStored {
    let live = state.live.load();
    let is_named = |site: &str| sites.is_empty() || sites.iter().any(|named| named == site);
    let named = live.sites.all().iter().filter(|site| is_named(&site.id));
    let slots: Vec<_> = named.map(|site| site.slot).filter(|slot| slot.is_own()).collect();
    let is_counted = |slot| sites.is_empty() || slots.contains(&slot);
    state.decisions.told(most.min(MOST_NOT_STORED), search, state.now(), is_counted, is_named)
}

fn fields(named: Vec<(String, String)>) -> Result<HeaderMap, String> {
    let mut fields = HeaderMap::new();
    for (name, value) in named {
        let parsed = name.parse::<HeaderName>().map_err(|_| {
            format!(
                "{name:?} is not a header \
             name"
            )
        })?;
        let value = HeaderValue::from_str(&value)
            .map_err(|_| format!("{name}: {value:?} is not a header value"))?;
        let _ = fields.try_append(parsed, value).map_err(|_| "too many fields".to_owned())?;
    }
    Ok(fields)
}
