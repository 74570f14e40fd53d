//! `/v1/purges`: to purge, and the history.

use super::Shared;
use crate::Control;
use crate::auth::Caller;
use crate::errors::ApiError;
use crate::extract::{Body, Parameters, number, only};
use crate::ledger::Listed;
use crate::purges::{PurgeRequest, may_purge, may_see};
use crate::told::Recorded;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use weir_config::Scope;

/// Most purges in one listing, and how many without `limit`.
const MOST_LISTED: usize = 1000;
const LISTED: usize = 100;

pub(super) async fn purge(
    State(control): State<Shared>,
    caller: Caller,
    Body(body): Body,
) -> Result<Response, ApiError> {
    caller.needs(Scope::Purge)?;
    let config = control.config();
    let PurgeRequest { order, wait } = PurgeRequest::parse(&body, &config)?;
    may_purge(&caller, &order.targets, order.site.as_deref(), &config)?;
    control.rates.take(caller.name())?;
    let to_warm = order.warm.then(|| control.warming.purge()).transpose()?;
    let listed = control.purge(order).await?;
    if let Some(room) = to_warm {
        control.warm_after(listed.clone(), room);
    }
    tracing::info!(id = listed.id, caller = caller.name(), "purge");
    control.until_done(&listed, wait).await;
    let told = control.told(&listed);
    Ok((told.status(), Json(told)).into_response())
}

pub(super) async fn one(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Recorded>, ApiError> {
    caller.needs(Scope::Read)?;
    let config = control.config();
    let listed =
        control.ledger.find(&id).filter(|listed| may_see(&caller, &listed.entry.change, &config));
    let listed = listed.ok_or_else(|| {
        ApiError::not_found("no such purge; the oldest are forgotten (control.retention)")
    })?;
    Ok(Json(recorded(&control, &listed)))
}

pub(super) async fn list(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(parameters): Parameters,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let after = number(&parameters, "after", 0, 0..=u64::MAX)?;
    let limit = number(&parameters, "limit", LISTED as u64, 0..=MOST_LISTED as u64)?;
    only(&parameters, &["after", "limit"])?;
    let config = control.config();
    let limit = usize::try_from(limit).unwrap_or(MOST_LISTED);
    let listed =
        control.ledger.list(after, limit, |listed| may_see(&caller, &listed.entry.change, &config));
    let purges: Vec<_> = listed.iter().map(|listed| recorded(&control, listed)).collect();
    let (id, head) = (control.ledger.id(), control.ledger.head());
    Ok(Json(json!({"log_id": id, "head": head, "purges": purges})))
}

fn recorded(control: &Control, listed: &Listed) -> Recorded {
    Recorded::of(listed, control.told(listed))
}
