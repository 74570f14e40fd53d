//! `/v1/events`: what happens, as server-sent events.

use super::Shared;
use crate::auth::Caller;
use crate::errors::ApiError;
use crate::extract::{Parameters, only};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use weir_config::Scope;

pub(super) async fn events(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(parameters): Parameters,
) -> Result<Response, ApiError> {
    caller.needs(Scope::Read)?;
    only(&parameters, &[])?;
    let body = control.listen(caller).ok_or_else(ApiError::busy)?;
    let fields = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    Ok((fields, body).into_response())
}
