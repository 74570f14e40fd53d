//! Calls that are answered by what nodes alone know, asked over their connections.

use super::nodes::no_such_node;
use crate::call::SharedControl;
use crate::errors::ApiError;
use crate::extract::{number, one, only};
use crate::fields::shorten;
use crate::ledger::NodeView;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use weir_protocol::question::Question;
use weir_protocol::search::Search;
use weir_rules::tier::Tier;

/// How long a node may take.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);

/// URLs listed unless another number is asked for, and the most.
const LISTED: u64 = 20;
pub(super) const MOST_LISTED: usize = 100;

/// What a node answered, or why it did not, in words.
pub(super) type Answer<T> = Result<T, String>;

/// What a list of URLs is asked to be.
pub(super) struct ListRequest {
    /// How many at most.
    pub(super) limit: usize,
    /// Of which nodes.
    pub(super) nodes: Vec<NodeView>,
    /// Which URLs.
    pub(super) search: Search,
}

impl ListRequest {
    /// Reads the parameters; those named in `more` are read by the caller.
    pub(super) fn read(
        control: &SharedControl,
        parameters: &[(String, String)],
        more: &[&'static str],
    ) -> Result<Self, ApiError> {
        let limit = number(parameters, "limit", LISTED, 1..=MOST_LISTED as u64)?;
        let node = one(parameters, "node")?;
        let search = one(parameters, "search")?.unwrap_or_default();
        only(parameters, &[&["limit", "node", "search"][..], more].concat())?;
        if search.len() > Search::LONGEST {
            let (shown, most) = (shorten(search), Search::LONGEST);
            let message = format!("{shown:?}: too long; accepted: at most {most} bytes");
            return Err(ApiError::invalid("search", message));
        }
        Ok(Self {
            limit: usize::try_from(limit).unwrap_or(MOST_LISTED),
            nodes: edges(control, node)?,
            search: Search::new(search),
        })
    }
}

/// The expected nodes, or the one that is named.
pub(super) fn nodes(
    control: &SharedControl,
    name: Option<&str>,
) -> Result<Vec<NodeView>, ApiError> {
    let mut nodes = control.ledger.nodes(Instant::now());
    nodes.retain(|node| name.is_none_or(|name| name == node.name));
    if nodes.is_empty() && name.is_some() {
        return Err(no_such_node());
    }
    Ok(nodes)
}

/// The expected edges, or the node that is named.
fn edges(control: &SharedControl, name: Option<&str>) -> Result<Vec<NodeView>, ApiError> {
    let mut nodes = nodes(control, name)?;
    nodes.retain(|node| name.is_some() || node.tier == Tier::Edge);
    Ok(nodes)
}

/// Asks all of `nodes` at once; the answers come in their order.
pub(super) async fn ask(
    control: &SharedControl,
    nodes: &[NodeView],
    question: &Question,
) -> Result<Vec<Answer<Value>>, ApiError> {
    let mut asking = JoinSet::new();
    for (at, node) in nodes.iter().enumerate() {
        let (control, session, question) = (control.clone(), node.session, question.clone());
        asking.spawn(async move {
            let answer = match session {
                Some(session) => control.sessions.ask(session, question, LONGEST_ANSWER).await,
                None => Err("it is not connected to control".to_owned()),
            };
            (at, answer)
        });
    }
    let mut answers = Vec::with_capacity(nodes.len());
    while let Some(answer) = asking.join_next().await {
        answers.push(answer.map_err(|_| ApiError::internal())?);
    }
    answers.sort_by_key(|(at, _)| *at);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

/// The same, with answers of one form.
pub(super) async fn ask_for<T: DeserializeOwned>(
    control: &SharedControl,
    nodes: &[NodeView],
    question: &Question,
) -> Result<Vec<Answer<T>>, ApiError> {
    let read = |answer| {
        serde_json::from_value(answer).map_err(|error| format!("its answer is not valid: {error}"))
    };
    let answers = ask(control, nodes, question).await?;
    Ok(answers.into_iter().map(|answer| answer.and_then(read)).collect())
}

/// Who was asked, and why there is no answer where there is none.
pub(super) fn asked<T>(nodes: &[NodeView], answers: &[Answer<T>]) -> Vec<Value> {
    let told = |(node, answer): (&NodeView, &Answer<T>)| {
        let mut told = json!({"name": node.name, "tier": node.tier, "region": node.region});
        if let Err(error) = answer {
            told["error"] = json!(error);
        }
        told
    };
    nodes.iter().zip(answers).map(told).collect()
}
