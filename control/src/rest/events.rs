//! `/v1/events`: what happens, as server-sent events.

use crate::auth::Caller;
use crate::call::{Call, Kind, SharedControl};
use crate::errors::ApiError;
use crate::extract::{Parameters, only};
use crate::operation::Operation;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::json;
use weir_config::Scope;

pub(super) fn calls() -> Vec<Call> {
    let operation = Operation::new("Stream events")
        .described(
            "Server-sent events: purge and release (accepted), applied (a node has everything up \
             to seq), completed, joined, attached, parted, forgotten; missed is sent to a client that reads \
             too slowly, with the number of events that it did not get. A token that is limited to \
             some sites gets the events of their entries only, and null for that number.",
        )
        .answer_in(
            "200",
            "Events, each with JSON data.",
            "text/event-stream",
            json!({"type": "string"}),
        );
    vec![Call::new("get", "/v1/events", get(events), operation).of_kind(Kind::Lasting)]
}

async fn events(
    State(control): State<SharedControl>,
    caller: Caller,
    Parameters(parameters): Parameters,
) -> Result<Response, ApiError> {
    caller.needs(Scope::Read)?;
    only(&parameters, &[])?;
    let body = control.listen(caller).ok_or_else(ApiError::busy)?;
    let fields = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    Ok((fields, body).into_response())
}
