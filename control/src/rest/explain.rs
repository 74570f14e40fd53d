//! `/v1/explain`: what each node knows of a URL, asked over its connection.

use super::ask::{ask, asked as told, nodes};
use super::nodes::no_such_node;
use crate::auth::Caller;
use crate::call::{Call, SharedControl};
use crate::errors::ApiError;
use crate::extract::{Parameters, explain_fields, one, only};
use crate::fields::shorten;
use crate::operation::Operation;
use crate::permission::{may_see, may_touch_host};
use crate::process::Process;
use crate::sites::KnownSites;
use crate::timestamp::{rfc3339, spoken};
use axum::Json;
use axum::extract::State;
use axum::routing::{MethodRouter, get};
use http::{HeaderMap, Uri};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;
use tokio::task::spawn_blocking;
use weir_config::Scope;
use weir_protocol::question::Question;
use weir_rules::invalidation::Seq;

/// What is asked.
struct ExplainRequest<'a> {
    url: &'a str,
    node: Option<&'a str>,
    headers: HeaderMap,
}

impl<'a> ExplainRequest<'a> {
    fn read(parameters: &'a [(String, String)]) -> Result<Self, ApiError> {
        let accepted = "accepted: an absolute http or https URL, or a path that begins with /";
        let url = one(parameters, "url")?
            .ok_or_else(|| ApiError::invalid("url", format!("missing; {accepted}")))?;
        let node = one(parameters, "node")?;
        only(parameters, &["url", "header", "node"])?;
        let headers = explain_fields(parameters)?;
        if !explainable(url) {
            return Err(ApiError::invalid("url", format!("{:?}; {accepted}", shorten(url))));
        }
        Ok(Self { url, node, headers })
    }

    /// The host of an absolute URL.
    fn host(&self) -> Option<String> {
        let uri: Uri = self.url.parse().ok()?;
        uri.authority().map(|authority| authority.as_str().to_owned())
    }
}

fn explainable(url: &str) -> bool {
    let Ok(uri) = weir_rules::target::spelled_url(url).parse::<Uri>() else { return false };
    let absolute = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
    url.starts_with('/') || absolute
}

pub(super) fn calls() -> Vec<Call> {
    vec![call(get(explain))]
}

pub(super) fn calls_of_node() -> Vec<Call<Arc<Process>>> {
    vec![call(get(explain_own))]
}

fn call<S>(handler: MethodRouter<S>) -> Call<S> {
    let operation = Operation::new("Why a URL is, or is not, a hit")
        .required_query("url", "A URL, or a path of the first site.")
        .query("header", "A request header, Name: value; may be repeated.")
        .query("node", "Ask this node only.")
        .answer_as("200", "The answer of each node, or why there is none.", "Explained")
        .answer_as("404", "No such node is expected.", "Error");
    Call::new("get", "/v1/explain", handler, operation)
}

/// What every node of the topology knows, or the one that is named.
async fn explain(
    State(control): State<SharedControl>,
    caller: Caller,
    Parameters(parameters): Parameters,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let asked = ExplainRequest::read(&parameters)?;
    if let Some(host) = asked.host() {
        may_touch_host(&caller, &host, &control.sites())?;
    }
    let nodes = nodes(&control, asked.node)?;
    let question = Question::Explain { url: asked.url.to_owned(), headers: pairs(&asked.headers) };
    let answers = ask(&control, &nodes, &question).await?;
    for explanation in answers.iter().flatten() {
        may_read(&caller, explanation)?;
    }
    let mut told = told(&nodes, &answers);
    for (told, answer) in told.iter_mut().zip(answers) {
        if let Ok(mut explanation) = answer {
            name_purge(&mut explanation, |seq| named_purge(&control, &caller, seq));
            told["explanation"] = explanation;
        }
    }
    Ok(Json(json!({"url": asked.url, "nodes": told})))
}

/// What the log says of a purge, if it lists it and the caller may see it.
fn named_purge(control: &SharedControl, caller: &Caller, seq: Seq) -> Option<NamedPurge> {
    let listed = control.ledger.purge_at(seq)?;
    may_see(caller, &listed.entry.change, &control.sites()).then(|| NamedPurge {
        id: listed.id.clone(),
        reference: listed.reference.clone(),
        created_at: rfc3339(listed.created_at),
        seconds_ago: listed.elapsed(Instant::now()).as_secs(),
    })
}

/// A purge as the log knows it.
#[derive(Clone, Debug, Serialize)]
struct NamedPurge {
    id: String,
    reference: Option<String>,
    created_at: String,
    seconds_ago: u64,
}

impl NamedPurge {
    /// `purged 12 s ago (deploy-42)`.
    fn sentence(&self) -> String {
        let name = self.reference.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        format!("purged {} ago{name}", spoken(self.seconds_ago))
    }
}

/// Adds to the last purge of an explanation what the log says of it, and says so where it is why nothing is stored.
fn name_purge(explanation: &mut Value, of: impl FnOnce(Seq) -> Option<NamedPurge>) {
    let Some(seq) = explanation["last_purge"]["seq"].as_u64() else { return };
    let named = of(seq);
    let told = named.as_ref().and_then(|named| serde_json::to_value(named).ok());
    for member in ["id", "reference", "created_at", "seconds_ago"] {
        let value = told.as_ref().map(|told| told[member].clone());
        explanation["last_purge"][member] = value.unwrap_or_default();
    }
    let Some(named) = named else { return };
    let purge = &explanation["last_purge"];
    let is_why = purge["removed"] == true && purge["soft"] == false;
    // What a later fetch came to is why, then.
    let fetched = explanation["not_stored"]["seconds_ago"].as_u64();
    let is_last = fetched.is_none_or(|fetched| fetched > named.seconds_ago);
    if explanation["state"] == "not-stored" && is_why && is_last {
        let sentence = format!("Not stored: {}. The next request fetches it.", named.sentence());
        explanation["sentence"] = sentence.into();
    }
}

/// What the node of this process knows, in the same form.
async fn explain_own(
    State(process): State<Arc<Process>>,
    caller: Caller,
    Parameters(parameters): Parameters,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let asked = ExplainRequest::read(&parameters)?;
    let config = process.config();
    if let Some(host) = asked.host() {
        // A node knows no sites but its own.
        let sites = KnownSites::new(config.clone(), Arc::default());
        may_touch_host(&caller, &host, &sites)?;
    }
    let name = &config.node.name;
    if asked.node.is_some_and(|asked| asked != name) {
        return Err(no_such_node());
    }
    // It may wait for a disk.
    let (of, url, headers) = (Arc::clone(&process), asked.url.to_owned(), asked.headers.clone());
    let explanation = spawn_blocking(move || of.program().explain(&url, &headers)).await;
    let explanation = explanation.map_err(|_| ApiError::internal())?;
    let explanation = explanation.ok_or_else(no_such_node)?.map_err(|reason| {
        ApiError::invalid("url", format!("{:?}: {reason}", shorten(asked.url)))
    })?;
    may_read(&caller, &explanation)?;
    let (tier, region) = (config.node.tier, &config.node.region);
    let node = json!({"name": name, "tier": tier, "region": region, "explanation": explanation});
    Ok(Json(json!({"url": asked.url, "nodes": [node]})))
}

fn may_read(caller: &Caller, explanation: &Value) -> Result<(), ApiError> {
    match explanation {
        Value::Null => Ok(()),
        _ => caller.needs_site(explanation["site"].as_str(), "the site of this URL"),
    }
}

/// Field values as text; explain takes no others.
fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deploy() -> NamedPurge {
        NamedPurge {
            id: "p-4".into(),
            reference: Some("deploy-42".into()),
            created_at: "2026-11-21T20:15:00.042Z".into(),
            seconds_ago: 12,
        }
    }

    fn not_stored(last_purge: Value, fetched: Value) -> Value {
        json!({"state": "not-stored", "sentence": "Not stored.", "last_purge": last_purge, "not_stored": fetched})
    }

    #[test]
    fn the_last_purge_is_told_with_its_name_and_time() {
        let mut explanation =
            not_stored(json!({"seq": 4, "soft": false, "removed": false}), Value::Null);
        name_purge(&mut explanation, |seq| (seq == 4).then(deploy));
        let expected = json!({
            "seq": 4, "soft": false, "removed": false, "id": "p-4", "reference": "deploy-42",
            "created_at": "2026-11-21T20:15:00.042Z", "seconds_ago": 12,
        });
        assert_eq!(explanation["last_purge"], expected);
        // It may never have been stored.
        assert_eq!(explanation["sentence"], "Not stored.");
        // One that the log forgot, or that the caller must not see, has its seq alone.
        let mut explanation =
            not_stored(json!({"seq": 4, "soft": true, "removed": true}), Value::Null);
        name_purge(&mut explanation, |_| None);
        let purge = &explanation["last_purge"];
        assert_eq!(
            (&purge["seq"], &purge["id"], &purge["reference"]),
            (&json!(4), &Value::Null, &Value::Null)
        );
        assert_eq!(explanation["sentence"], "Not stored.");
        let mut explanation = not_stored(Value::Null, Value::Null);
        name_purge(&mut explanation, |_| Some(deploy()));
        assert_eq!(explanation["last_purge"], Value::Null);
    }

    #[test]
    fn what_a_purge_removed_is_not_stored_because_of_it_unless_a_fetch_came_after() {
        let told = |purge: Value, fetched: Value| {
            let mut explanation = not_stored(purge, fetched);
            name_purge(&mut explanation, |_| Some(deploy()));
            explanation["sentence"].as_str().unwrap_or_default().to_owned()
        };
        let removed = || json!({"seq": 4, "soft": false, "removed": true});
        let sentence = "Not stored: purged 12 s ago (deploy-42). The next request fetches it.";
        assert_eq!(told(removed(), Value::Null), sentence);
        assert_eq!(told(removed(), json!({"seconds_ago": 13})), sentence);
        assert_eq!(told(removed(), json!({"seconds_ago": 12})), "Not stored.");
        // A later one that was soft removed nothing.
        assert_eq!(
            told(json!({"seq": 5, "soft": true, "removed": true}), Value::Null),
            "Not stored."
        );
    }
}
