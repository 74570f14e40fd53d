//! `/v1/popular`: what is stored, by how often it was answered from the store.

use super::ask::{Answer, MOST_LISTED, ask_for, asked, listing};
use crate::auth::Caller;
use crate::call::{Call, SharedControl};
use crate::errors::ApiError;
use crate::extract::Parameters;
use crate::operation::Operation;
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use weir_config::Scope;
use weir_protocol::question::{Question, StoredUrl};

/// A stored URL on all nodes that were asked.
#[derive(Debug, PartialEq, Serialize)]
struct Object {
    /// Of the node with most hits, except the hits.
    #[serde(flatten)]
    stored: StoredUrl,
    nodes: Vec<String>,
}

pub(super) fn calls() -> Vec<Call> {
    let operation = Operation::new("The most popular stored responses")
        .described(
            "Hits are counted since the response was stored. Nodes update the list every few \
                 seconds.",
        )
        .query("limit", "The maximum number, 1 to 100; default 20.")
        .query("node", "Only this node; default: all edges together.")
        .answer_as("200", "Most hits first.", "Popular")
        .answer_as("404", "No such node is expected.", "Error");
    vec![Call::new("get", "/v1/popular", get(popular), operation)]
}

async fn popular(
    State(control): State<SharedControl>,
    caller: Caller,
    Parameters(parameters): Parameters,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let (limit, nodes) = listing(&control, &parameters)?;
    // More of each than are listed: what is second on every edge may be first on all together.
    let question = Question::StoredUrls { most: MOST_LISTED, sites: caller.sites().to_vec() };
    let answers = ask_for(&control, &nodes, &question).await?;
    let asked = asked(&nodes, &answers);
    let mut objects = merged(nodes.into_iter().map(|node| node.name).zip(answers));
    objects.retain(|object| caller.may_touch(Some(&object.stored.site)));
    objects.truncate(limit);
    Ok(Json(json!({"nodes": asked, "objects": objects})))
}

/// What nodes answered, by URL, most hits first.
fn merged(answers: impl Iterator<Item = (String, Answer<Vec<StoredUrl>>)>) -> Vec<Object> {
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
    objects.sort_by(|Object { stored: a, .. }, Object { stored: b, .. }| {
        b.hits.cmp(&a.hits).then_with(|| a.url.cmp(&b.url))
    });
    objects
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(url: &str, hits: u64, bytes: u64) -> StoredUrl {
        StoredUrl { url: url.into(), hits, bytes, variants: bytes, ..StoredUrl::default() }
    }

    #[test]
    fn what_several_nodes_store_is_one_object() {
        let objects = merged(
            [
                ("one".to_owned(), Ok(vec![stored("a", 5, 1), stored("b", 4, 1)])),
                ("two".to_owned(), Err("not there".to_owned())),
                ("three".to_owned(), Ok(vec![stored("b", 6, 2), stored("c", 5, 1)])),
            ]
            .into_iter(),
        );
        let nodes = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let object = |stored, names: &[&str]| Object { stored, nodes: nodes(names) };
        assert_eq!(
            objects,
            [
                object(stored("b", 10, 2), &["one", "three"]),
                object(stored("a", 5, 1), &["one"]),
                object(stored("c", 5, 1), &["three"]),
            ]
        );
    }
}
