//! `/v1/popular`: what is stored, by how often it was answered from the store or in another order.

use super::ask::{Answer, ListRequest, MOST_LISTED, ask_for, asked};
use crate::auth::Caller;
use crate::call::{Call, SharedControl};
use crate::errors::ApiError;
use crate::extract::{Parameters, word};
use crate::operation::Operation;
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use weir_config::Scope;
use weir_protocol::question::{Question, StoredOrder, StoredUrl};

/// A stored URL on all nodes that were asked.
#[derive(Debug, PartialEq, Serialize)]
struct Object {
    /// Of the node with most hits, except the hits.
    #[serde(flatten)]
    stored: StoredUrl,
    nodes: Vec<String>,
}

pub(super) fn calls() -> Vec<Call> {
    let operation = Operation::new("Stored responses, the most popular first")
        .described(
            "Hits are counted since the response was stored. Nodes update the list every few \
             seconds. Each node names at most 100.",
        )
        .query("search", "Only those with each of these words in their URL or in one of their tags.")
        .query(
            "sort",
            "hits (default): most hits first; size: largest first; expiry: those whose TTL ends first; newest: \
             lowest age first; url: by URL.",
        )
        .query("limit", "The maximum number, 1 to 100; default 20.")
        .query("node", "Only this node; default: all edges together.")
        .answer_as("200", "In that order.", "Popular")
        .answer_as("404", "No such node is expected.", "Error");
    vec![Call::new("get", "/v1/popular", get(popular), operation)]
}

async fn popular(
    State(control): State<SharedControl>,
    caller: Caller,
    Parameters(parameters): Parameters,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let ListRequest { limit, nodes, search } = ListRequest::read(&control, &parameters, &["sort"])?;
    let order = order(&parameters)?;
    // More of each than are listed: what is second on every edge may be first on all together.
    let (most, sites) = (MOST_LISTED, caller.sites().to_vec());
    let question = Question::StoredUrls { most, sites, search: search.clone(), order };
    let answers = ask_for(&control, &nodes, &question).await?;
    let asked = asked(&nodes, &answers);
    let mut objects = merged(nodes.into_iter().map(|node| node.name).zip(answers), order);
    objects.retain(|Object { stored, .. }| {
        // An older node has not searched.
        let texts = std::iter::once(&stored.url).chain(&stored.tags).map(String::as_str);
        caller.may_touch(Some(&stored.site)) && search.finds(texts)
    });
    objects.truncate(limit);
    Ok(Json(json!({"nodes": asked, "objects": objects})))
}

/// The order that is asked for.
fn order(parameters: &[(String, String)]) -> Result<StoredOrder, ApiError> {
    let asked = word(parameters, "sort", &StoredOrder::ALL.map(StoredOrder::word))?;
    let order = StoredOrder::ALL.into_iter().find(|order| Some(order.word()) == asked);
    Ok(order.unwrap_or_default())
}

/// What nodes answered, by URL, in this order.
fn merged(
    answers: impl Iterator<Item = (String, Answer<Vec<StoredUrl>>)>,
    order: StoredOrder,
) -> Vec<Object> {
    let mut objects: HashMap<String, (u64, Object)> = HashMap::new();
    for (node, answer) in answers {
        for stored in answer.unwrap_or_default() {
            let Some((most, object)) = objects.get_mut(&stored.url) else {
                let object = Object { nodes: vec![node.clone()], stored };
                objects.insert(object.stored.url.clone(), (object.stored.hits, object));
                continue;
            };
            object.nodes.push(node.clone());
            let hits = object.stored.hits + stored.hits;
            let variants = object.stored.variants.max(stored.variants);
            if stored.hits > *most {
                *most = stored.hits;
                object.stored = stored;
            }
            (object.stored.hits, object.stored.variants) = (hits, variants);
        }
    }
    let mut objects: Vec<_> = objects.into_values().map(|(_, object)| object).collect();
    objects.sort_by(|a, b| order.compare(&a.stored, &b.stored));
    objects
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(url: &str, hits: u64, bytes: u64) -> StoredUrl {
        StoredUrl { url: url.into(), hits, bytes, variants: bytes, ..StoredUrl::default() }
    }

    fn merged(answers: Vec<(&str, Answer<Vec<StoredUrl>>)>, order: StoredOrder) -> Vec<Object> {
        super::merged(answers.into_iter().map(|(name, told)| (name.to_owned(), told)), order)
    }

    #[test]
    fn what_several_nodes_store_is_one_object() {
        let answers = vec![
            ("one", Ok(vec![stored("a", 5, 1), stored("b", 4, 1)])),
            ("two", Err("not there".to_owned())),
            ("three", Ok(vec![stored("b", 6, 2), stored("c", 5, 1)])),
        ];
        let nodes = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let object = |stored, names: &[&str]| Object { stored, nodes: nodes(names) };
        assert_eq!(
            merged(answers, StoredOrder::Hits),
            [
                object(stored("b", 10, 2), &["one", "three"]),
                object(stored("a", 5, 1), &["one"]),
                object(stored("c", 5, 1), &["three"]),
            ]
        );
    }

    #[test]
    fn they_are_in_the_order_that_is_asked_for() {
        let of = |url: &str, hits, bytes, ttl_seconds, age_seconds| StoredUrl {
            ttl_seconds,
            age_seconds,
            ..stored(url, hits, bytes)
        };
        let all = vec![of("a", 1, 30, 9, 2), of("b", 3, 10, -4, 3), of("c", 2, 20, 5, 1)];
        let urls = |order: StoredOrder| -> String {
            let objects = merged(vec![("one", Ok(all.clone()))], order);
            objects.iter().map(|object| &*object.stored.url).collect()
        };
        let orders = StoredOrder::ALL.map(|order| (order.word(), urls(order)));
        let expected = [
            ("hits", "bca"),
            ("size", "acb"),
            ("expiry", "bca"),
            ("newest", "cab"),
            ("url", "abc"),
        ];
        assert_eq!(orders, expected.map(|(word, urls)| (word, urls.to_owned())));
        let asked = |text: &str| order(&[("sort".to_owned(), text.to_owned())]);
        assert_eq!(asked("size").ok(), Some(StoredOrder::Size));
        assert!(asked("largest").is_err());
    }
}
