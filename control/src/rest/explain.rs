//! `/v1/explain`: what each node knows of a URL, asked over its connection.

use super::ask::{ask, asked as told, nodes};
use super::nodes::no_such_node;
use crate::auth::Caller;
use crate::call::{Call, SharedControl};
use crate::errors::ApiError;
use crate::extract::{Parameters, explain_fields, one, only};
use crate::fields::shorten;
use crate::operation::Operation;
use crate::permission::may_touch_host;
use crate::process::Process;
use crate::sites::KnownSites;
use axum::Json;
use axum::extract::State;
use axum::routing::{MethodRouter, get};
use http::{HeaderMap, Uri};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::task::spawn_blocking;
use weir_config::Scope;
use weir_protocol::question::Question;

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
        if let Ok(explanation) = answer {
            told["explanation"] = explanation;
        }
    }
    Ok(Json(json!({"url": asked.url, "nodes": told})))
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
