//! `/v1/uncached`: what was recently not stored, and why.

use super::ask::{Answer, ListRequest, ask_for, asked};
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
use weir_protocol::question::{NotStored, NotStoredReason, NotStoredUrl, Question};
use weir_rules::remedy::remedy;

/// A URL that was not stored, on all nodes that were asked.
#[derive(Debug, PartialEq, Serialize)]
struct Uncached {
    /// As the node that met it last tells it.
    #[serde(flatten)]
    last: NotStoredUrl,
    nodes: Vec<String>,
}

pub(super) fn calls() -> Vec<Call> {
    let operation = Operation::new("What was recently not stored, and why")
        .described(
            "reason is the same word as in explain and in the detail of Cache-Status. Reasons \
             are counted since the nodes started, whatever is searched for; remedy says what to do.",
        )
        .query("search", "Only those with each of these words in their URL.")
        .query("limit", "The maximum number of URLs, 1 to 100; default 20.")
        .query("node", "Only this node; default: all edges together.")
        .answer_as("200", "Reasons by count; URLs, the most recent first.", "Uncached")
        .answer_as("404", "No such node is expected.", "Error");
    vec![Call::new("get", "/v1/uncached", get(uncached), operation)]
}

async fn uncached(
    State(control): State<SharedControl>,
    caller: Caller,
    Parameters(parameters): Parameters,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let ListRequest { limit: most, nodes, search } = ListRequest::read(&control, &parameters, &[])?;
    let sites = caller.sites().to_vec();
    let question = Question::NotStoredUrls { most, sites, search: search.clone() };
    let answers: Vec<Answer<NotStored>> = ask_for(&control, &nodes, &question).await?;
    let asked = asked(&nodes, &answers);
    let told = nodes.into_iter().map(|node| node.name).zip(answers);
    let (reasons, mut urls) = merged(told.filter_map(|(node, answer)| Some((node, answer.ok()?))));
    // An older node has not searched.
    urls.retain(|Uncached { last, .. }| {
        caller.may_touch(Some(&last.site)) && search.finds([last.url.as_str()])
    });
    urls.truncate(most);
    let reasons: Vec<_> = reasons.into_iter().map(Explained::of).collect();
    Ok(Json(json!({"nodes": asked, "reasons": reasons, "urls": urls})))
}

/// A reason, and what to do about it.
#[derive(Serialize)]
struct Explained {
    #[serde(flatten)]
    reason: NotStoredReason,
    /// `None` of one that this version does not know.
    remedy: Option<&'static str>,
}

impl Explained {
    fn of(reason: NotStoredReason) -> Self {
        Self { remedy: remedy(&reason.reason), reason }
    }
}

/// What nodes told: reasons by how often, URLs by how late.
fn merged(
    told: impl Iterator<Item = (String, NotStored)>,
) -> (Vec<NotStoredReason>, Vec<Uncached>) {
    let mut reasons: HashMap<String, NotStoredReason> = HashMap::new();
    let mut urls: HashMap<String, Uncached> = HashMap::new();
    for (node, NotStored { reasons: counted, urls: last }) in told {
        for more in counted {
            match reasons.get_mut(&more.reason) {
                Some(known) => known.count += more.count,
                None => {
                    reasons.insert(more.reason.clone(), more);
                }
            }
        }
        for last in last {
            match urls.get_mut(&last.url) {
                Some(known) => {
                    known.nodes.push(node.clone());
                    if last.seconds_ago < known.last.seconds_ago {
                        known.last = last;
                    }
                }
                None => {
                    let nodes = vec![node.clone()];
                    urls.insert(last.url.clone(), Uncached { last, nodes });
                }
            }
        }
    }
    let mut reasons: Vec<_> = reasons.into_values().collect();
    reasons.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.reason.cmp(&b.reason)));
    let mut urls: Vec<_> = urls.into_values().collect();
    urls.sort_by(|Uncached { last: a, .. }, Uncached { last: b, .. }| {
        a.seconds_ago.cmp(&b.seconds_ago).then_with(|| a.url.cmp(&b.url))
    });
    (reasons, urls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(word: &str, count: u64) -> NotStoredReason {
        NotStoredReason { reason: word.into(), sentence: String::new(), count }
    }

    fn url(url: &str, reason: &str, seconds_ago: u64) -> NotStoredUrl {
        let (url, reason) = (url.into(), reason.into());
        let (site, sentence) = (String::new(), String::new());
        NotStoredUrl { url, site, reason, sentence, status: None, seconds_ago }
    }

    #[test]
    fn counts_are_added_up_and_the_last_word_of_a_url_stands() {
        let one = NotStored {
            reasons: vec![reason("private", 3), reason("no-store", 2)],
            urls: vec![url("a", "private", 4), url("b", "no-store", 9)],
        };
        let two =
            NotStored { reasons: vec![reason("no-store", 2)], urls: vec![url("b", "status", 1)] };
        let told = [("one".to_owned(), one), ("two".to_owned(), two)];
        let (reasons, urls) = merged(told.into_iter());
        assert_eq!(reasons, [reason("no-store", 4), reason("private", 3)]);
        let both = vec!["one".to_owned(), "two".to_owned()];
        let b = Uncached { last: url("b", "status", 1), nodes: both };
        let a = Uncached { last: url("a", "private", 4), nodes: vec!["one".to_owned()] };
        assert_eq!(urls, [b, a]);
    }
}
