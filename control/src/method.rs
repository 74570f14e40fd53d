//! Purges by method: `PURGE /path` on a node's own listener, which has judged who may.

use crate::auth::Caller;
use crate::control::Control;
use crate::errors::ApiError;
use crate::ledger::Order;
use crate::purge_request::DEFAULT_WAIT;
use serde_json::Value;
use std::sync::Arc;
use weir_rules::invalidation::Target;

/// What a node asks for.
#[derive(Debug)]
pub(super) struct MethodPurge {
    /// The absolute URL.
    pub(super) url: String,
    /// The site it belongs to.
    pub(super) site: String,
    /// Stale from now on, instead of never served again.
    pub(super) soft: bool,
}

/// Has it done for a node that connected as `caller`; what the node answers its client: a status
/// and a body.
pub(super) async fn purge(
    control: &Arc<Control>,
    caller: &Caller,
    asked: MethodPurge,
) -> (u16, Value) {
    let (status, body) = match purged(control, caller, asked).await {
        Ok(answer) => answer,
        Err(error) => error.into_parts(),
    };
    (status.as_u16(), body)
}

async fn purged(
    control: &Control,
    caller: &Caller,
    asked: MethodPurge,
) -> Result<(http::StatusCode, Value), ApiError> {
    caller.needs_site(Some(&asked.site), &format!("the site {:?}", asked.site))?;
    let target =
        Target::parse_url(&asked.url).map_err(|reason| ApiError::invalid("url", reason))?;
    let order = Order {
        targets: vec![target],
        site: Some(asked.site),
        soft: asked.soft,
        versions: false,
        warm: false,
        reference: None,
    };
    control.rates.take(caller.name())?;
    let listed = control.purge(order, caller.referrer(None)).await?;
    tracing::info!(id = listed.id, "purge by method");
    control.until_done(&listed, false, DEFAULT_WAIT).await;
    let told = control.report(&listed);
    let body = serde_json::to_value(&told).map_err(|_| ApiError::internal())?;
    Ok((told.status(), body))
}
