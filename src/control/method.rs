//! Purges by method: `PURGE /path` on the node's own listener, which has judged who may.

use super::Control;
use super::errors::ApiError;
use super::log::Order;
use super::purges::DEFAULT_WAIT;
use super::told::Told;
use std::sync::{Arc, Weak};
use weir_edge::{OnPurge, PurgeAsk};
use weir_rules::invalidation::Target;

/// What the node calls for each. It holds control weakly: control owns the node.
pub(crate) fn on_purge(control: &Arc<Control>) -> OnPurge {
    let control = Arc::downgrade(control);
    Box::new(move |ask| {
        let control = control.clone();
        Box::pin(async move {
            purge(&control, ask).await.unwrap_or_else(|error| {
                let (status, body) = error.into_parts();
                (status.as_u16(), body.to_string())
            })
        })
    })
}

async fn purge(control: &Weak<Control>, ask: PurgeAsk) -> Result<(u16, String), ApiError> {
    let control = control.upgrade().ok_or_else(|| ApiError::unavailable("control is stopping"))?;
    let target = Target::parse_url(&ask.url).map_err(|reason| ApiError::invalid("url", reason))?;
    let order = Order {
        targets: vec![target],
        site: Some(ask.site),
        soft: ask.soft,
        versions: false,
        reference: None,
    };
    let entry = control.purge(order)?;
    tracing::info!(id = entry.id, "purge by method");
    control.until_matched(&entry, DEFAULT_WAIT).await;
    let told = Told::of(&entry, &control.config().node.name, control.matched(&entry));
    let status = told.status().as_u16();
    let body = serde_json::to_string(&told).map_err(|_| ApiError::internal())?;
    Ok((status, body))
}
