//! The calls of a node whose control is elsewhere.

use super::{Call, bounded, explain, framed, state};
use crate::Process;
use crate::errors::ApiError;
use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use std::sync::Arc;

fn calls() -> Vec<Call<Arc<Process>>> {
    vec![
        Call::new("get", "/v1/explain", get(explain::explain_own)),
        Call::new("post", "/v1/reload", post(state::node_reload)),
        Call::new("get", "/metrics", get(state::node_metrics)),
        Call::open("/healthz", get(state::healthz)),
        Call::open("/readyz", get(state::readyz::<Arc<Process>>)),
    ]
}

/// The router of the node's own calls; for all others it names control.
pub fn router(process: Arc<Process>) -> Router {
    let router = bounded(calls(), process.clone()).fallback(elsewhere);
    framed(router).with_state(process)
}

async fn elsewhere(State(process): State<Arc<Process>>) -> ApiError {
    let config = process.config();
    let calls: Vec<_> = calls().iter().map(|call| call.path).collect();
    let control = config.control.url.as_ref().map_or_else(String::new, |url| {
        let scheme = if url.tls { "https" } else { "http" };
        format!("; all else is at its control, {scheme}://{}", url.authority)
    });
    ApiError::not_found(format!("this is a node, which answers {}{control}", calls.join(", ")))
}
