//! The calls of a node whose control is elsewhere.

use super::{bounded, framed};
use crate::errors::ApiError;
use crate::process::Process;
use crate::rest;
use axum::Router;
use axum::extract::State;
use std::sync::Arc;

/// The router of the node's own calls; for all others it names control.
pub fn router(process: Arc<Process>) -> Router {
    let router = bounded(rest::calls_of_node(), process.clone()).fallback(elsewhere);
    framed(router, process.clone()).with_state(process)
}

async fn elsewhere(State(process): State<Arc<Process>>) -> ApiError {
    let config = process.config();
    let calls: Vec<_> = rest::calls_of_node().iter().map(|call| call.path).collect();
    let control =
        config.control.url.first().map_or_else(String::new, |url| {
            format!("; for all other calls use its control, {url}")
        });
    ApiError::not_found(format!("this is a node, which answers {}{control}", calls.join(", ")))
}
