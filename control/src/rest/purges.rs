//! `/v1/purges`: to purge, and the history.

use crate::auth::Caller;
use crate::call::{Call, SharedControl};
use crate::control::Control;
use crate::errors::ApiError;
use crate::extract::{Body, Parameters, number, one as one_of, only, word};
use crate::ledger::{Arrival, Listed};
use crate::operation::Operation;
use crate::permission::{may_purge, may_see};
use crate::purge_request::PurgeRequest;
use crate::report::{PurgeNodes, RecordedPurge};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use std::sync::Arc;
use weir_config::Scope;

/// Most purges in one listing, and how many without `limit`.
const MOST_LISTED: usize = 1000;
const LISTED: usize = 100;

pub(super) fn calls() -> Vec<Call> {
    let new = Operation::new("Purge")
        .described(
            "The call returns when every expected node has applied it, or after wait_ms. Nodes \
             count the stored responses that it matched afterwards: matched is null until then.",
        )
        .query("count", "true: also wait, up to wait_ms, until every node has counted them.")
        .body("PurgeRequest")
        .answer_as("200", "Applied by every expected node.", "Purge")
        .answer_as("202", "Accepted, not yet applied by every expected node.", "Purge")
        .answer_as("404", "The site is known neither to control nor to an expected node.", "Error")
        .answer_as("409", "The reference names another purge.", "Error")
        .answer_as("503", "The log cannot be written; nothing was changed.", "Error");
    let history = Operation::new("The history of purges")
        .query("after", "Only purges with a higher seq.")
        .query("limit", "The maximum number, up to 1000.")
        .answer_as("200", "Ordered by seq.", "Purges");
    let known = Operation::new("One purge")
        .path("id", "The purge's id.")
        .answer_as("200", "The purge and its targets.", "RecordedPurge")
        .answer_as("404", "Not known, or removed from the history.", "Error");
    let arrivals = Operation::new("The nodes that one purge is for")
        .described(
            "Also of those purges for which arrivals are no longer kept one by one \
             (control.arrivals): applied_ms and matched are null then, and nodes that control no \
             longer knows are missing.",
        )
        .path("id", "The purge's id.")
        .query("state", "Only nodes in this state: applied, pending, offline or lease_over.")
        .query("after", "Only nodes whose name comes after this one.")
        .query("limit", "The maximum number, up to 1000.")
        .answer_as(
            "200",
            "Ordered by name; next is the value of after for the next page, or null.",
            "PurgeNodes",
        )
        .answer_as("404", "Not known, or removed from the history.", "Error");
    vec![
        Call::new("get", "/v1/purges/{id}/nodes", get(nodes), arrivals),
        Call::new("post", "/v1/purges", post(purge), new),
        Call::new("get", "/v1/purges", get(list), history),
        Call::new("get", "/v1/purges/{id}", get(one), known),
    ]
}

async fn purge(
    State(control): State<SharedControl>,
    caller: Caller,
    Parameters(parameters): Parameters,
    Body(body): Body,
) -> Result<Response, ApiError> {
    caller.needs(Scope::Purge)?;
    only(&parameters, &["count"])?;
    let counted = word(&parameters, "count", &["false", "true"])? == Some("true");
    let PurgeRequest { order, wait } = PurgeRequest::parse(&body)?;
    may_purge(&caller, &order.targets, order.site.as_deref(), &control.sites())?;
    control.rates.take(caller.name())?;
    let to_warm = order.warm.then(|| control.warming.purge()).transpose()?;
    let listed = control.purge(order, caller.referrer(None)).await?;
    if let Some(room) = to_warm {
        control.warm_after(listed.clone(), room);
    }
    tracing::info!(id = listed.id, caller = caller.name(), "purge");
    control.until_done(&listed, counted, wait).await;
    let told = control.report(&listed);
    Ok((told.status(), Json(told)).into_response())
}

async fn one(
    State(control): State<SharedControl>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<RecordedPurge>, ApiError> {
    let listed = found(&control, &caller, &id)?;
    Ok(Json(recorded(&control, &listed)))
}

async fn nodes(
    State(control): State<SharedControl>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(parameters): Parameters,
) -> Result<Json<Value>, ApiError> {
    let listed = found(&control, &caller, &id)?;
    let limit = number(&parameters, "limit", LISTED as u64, 1..=MOST_LISTED as u64)?;
    only(&parameters, &["state", "after", "limit"])?;
    let states = Arrival::ALL.map(Arrival::as_str);
    let state = word(&parameters, "state", &states)?;
    let after = one_of(&parameters, "after")?;
    let limit = usize::try_from(limit).unwrap_or(MOST_LISTED);
    let page = PurgeNodes::of(&listed, &control.ledger.progress(&listed), state, after, limit);
    Ok(Json(serde_json::to_value(page).map_err(|_| ApiError::internal())?))
}

/// The purge with this id, if the caller may see it.
fn found(control: &Control, caller: &Caller, id: &str) -> Result<Arc<Listed>, ApiError> {
    caller.needs(Scope::Read)?;
    let sites = control.sites();
    let listed =
        control.ledger.find(id).filter(|listed| may_see(caller, &listed.entry.change, &sites));
    listed.ok_or_else(|| {
        ApiError::not_found(
            "no such purge; the oldest are removed from the history \
             (control.retention)",
        )
    })
}

async fn list(
    State(control): State<SharedControl>,
    caller: Caller,
    Parameters(parameters): Parameters,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let after = number(&parameters, "after", 0, 0..=u64::MAX)?;
    let limit = number(&parameters, "limit", LISTED as u64, 0..=MOST_LISTED as u64)?;
    only(&parameters, &["after", "limit"])?;
    let sites = control.sites();
    let limit = usize::try_from(limit).unwrap_or(MOST_LISTED);
    let listed =
        control.ledger.list(after, limit, |listed| may_see(&caller, &listed.entry.change, &sites));
    let purges: Vec<_> = listed.iter().map(|listed| recorded(&control, listed)).collect();
    let (id, head) = (control.ledger.id(), control.ledger.head());
    Ok(Json(json!({"log_id": id, "head": head, "purges": purges})))
}

fn recorded(control: &Control, listed: &Listed) -> RecordedPurge {
    RecordedPurge::of(listed, control.report(listed))
}
