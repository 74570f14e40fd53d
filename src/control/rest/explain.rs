//! `/v1/explain`: what each node knows of a URL, asked over its connection.

use super::Shared;
use super::nodes::no_such_node;
use crate::control::auth::Caller;
use crate::control::errors::ApiError;
use crate::control::extract::{Parameters, explain_fields, one, only};
use crate::control::fields::shorten;
use crate::control::ledger::NodeView;
use crate::control::{Control, Process};
use axum::Json;
use axum::extract::State;
use http::{HeaderMap, Uri};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use weir_edge::config::Scope;
use weir_edge::follow::frame::Question;

/// How long a node may take.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);

/// What is asked.
struct Asked<'a> {
    url: &'a str,
    node: Option<&'a str>,
    headers: HeaderMap,
}

impl<'a> Asked<'a> {
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
}

fn explainable(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let absolute = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
    url.starts_with('/') || absolute
}

/// What every node of the topology knows, or the one that is named.
pub(super) async fn explain(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(parameters): Parameters,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let asked = Asked::read(&parameters)?;
    let mut nodes = control.ledger.nodes(Instant::now());
    nodes.retain(|node| asked.node.is_none_or(|name| name == node.name));
    if nodes.is_empty() && asked.node.is_some() {
        return Err(no_such_node());
    }
    let question = Question::Explain { url: asked.url.to_owned(), headers: pairs(&asked.headers) };
    let mut asking = JoinSet::new();
    for (at, node) in nodes.iter().enumerate() {
        let answer = answer(control.clone(), node.clone(), question.clone());
        asking.spawn(async move { (at, answer.await) });
    }
    let mut answers: Vec<(usize, Value)> = Vec::with_capacity(nodes.len());
    while let Some(answer) = asking.join_next().await {
        answers.push(answer.map_err(|_| ApiError::internal())?);
    }
    answers.sort_by_key(|(at, _)| *at);
    let answers: Vec<Value> = answers.into_iter().map(|(_, answer)| answer).collect();
    for answer in &answers {
        may_read(&caller, &answer["explanation"])?;
    }
    Ok(Json(json!({"url": asked.url, "nodes": answers})))
}

/// What the node of this process knows, in the same form.
pub(super) async fn explain_own(
    State(process): State<Arc<Process>>,
    caller: Caller,
    Parameters(parameters): Parameters,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let asked = Asked::read(&parameters)?;
    let config = process.config();
    let (name, node) = (&config.node.name, process.node().ok_or_else(no_such_node)?);
    if asked.node.is_some_and(|asked| asked != name) {
        return Err(no_such_node());
    }
    let explanation = node.explain(asked.url, &asked.headers).map_err(|reason| {
        ApiError::invalid("url", format!("{:?}: {reason}", shorten(asked.url)))
    })?;
    let explanation = serde_json::to_value(explanation).map_err(|_| ApiError::internal())?;
    may_read(&caller, &explanation)?;
    let (tier, region) = (config.node.tier, &config.node.region);
    let node = json!({"name": name, "tier": tier, "region": region, "explanation": explanation});
    Ok(Json(json!({"url": asked.url, "nodes": [node]})))
}

async fn answer(control: Arc<Control>, node: NodeView, question: Question) -> Value {
    let explained = match node.session {
        Some(session) => control.sessions.ask(session, question, LONGEST_ANSWER).await,
        None => Err("it is not connected to control".to_owned()),
    };
    let mut told = json!({"name": node.name, "tier": node.tier, "region": node.region});
    match explained {
        Ok(explanation) => told["explanation"] = explanation,
        Err(error) => told["error"] = json!(error),
    }
    told
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
