//! The calls of a process that shares its log: those about the process itself are answered here, all others by the
//! writer.

use super::{Replica, Standing, Writer, forward, metrics};
use crate::auth::Caller;
use crate::call::OfProcess;
use crate::errors::ApiError;
use crate::extract::Body;
use crate::listener::Peer;
use crate::metrics as of_control;
use crate::process::Process;
use crate::rest::process::{exposition, healthz, may_scrape, reloaded};
use crate::router::framed;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

/// How long a call waits for a writer while there is none: longer than an election takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a call that waits is tried again, at least.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl OfProcess for Arc<Replica> {
    fn process(&self) -> &Process {
        &self.process
    }
}

/// The router of a process that shares its log.
pub(super) fn router(replica: Arc<Replica>) -> Router {
    let own = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .route("/v1/reload", post(reload));
    let own = framed(own, replica.process.clone());
    // Bounds and forms of all other calls are the writer's.
    own.fallback(by_writer).with_state(replica)
}

async fn readyz(State(replica): State<Arc<Replica>>) -> Result<Json<Value>, ApiError> {
    let reason = match &*replica.standing.borrow() {
        Standing::Writer(writer) if writer.tenure.is_sure() => None,
        Standing::Writer(writer) => Some(writer.tenure.trouble()),
        Standing::Standby(_) => None,
        Standing::Open => Some("no process of control is the writer".to_owned()),
        Standing::Away(reason) => Some(reason.clone()),
    };
    match reason {
        None => Ok(Json(json!({"status": "ready"}))),
        Some(reason) => Err(ApiError::unavailable(reason)),
    }
}

async fn scrape(State(replica): State<Arc<Replica>>, caller: Caller) -> Result<Response, ApiError> {
    may_scrape(&caller)?;
    let mut text = metrics::exposition(&replica);
    let standing = replica.standing.borrow().clone();
    if let Standing::Writer(writer) = standing {
        text.push_str(&of_control::exposition(&writer.control));
    }
    text.push_str(&of_control::exposition_of_calls(&replica.process));
    Ok(exposition(text))
}

async fn reload(
    State(replica): State<Arc<Replica>>,
    caller: Caller,
    Body(body): Body,
) -> Result<Json<Value>, ApiError> {
    reloaded(&caller, &body, move || replica.reloaded()).await
}

/// Has the writer answer: this process, or another one.
async fn by_writer(State(replica): State<Arc<Replica>>, mut request: Request) -> Response {
    let passed = forward::take_pass(&mut request, &replica.election.own.pass);
    if let Some(caller) = passed {
        request.extensions_mut().insert(Peer(caller));
    }
    let mut standing = replica.standing.subscribe();
    let patience = tokio::time::Instant::now() + PATIENCE;
    loop {
        let now = standing.borrow_and_update().clone();
        match now {
            Standing::Writer(writer) => return answer(writer, request).await,
            // This process may just become the writer that the other one sees in etcd.
            Standing::Open => {}
            // The other process knows an older writer than this one does: it looks again.
            _ if passed.is_some() => return forward::not_the_writer(),
            Standing::Away(reason) => return unavailable(&reason),
            Standing::Standby(writer) => {
                let over = standing.clone();
                match replica.forward.call(request, &writer, over).await {
                    Ok(response) => return response,
                    // Nothing of it was done. The writer may just have changed.
                    Err(returned) => request = *returned,
                }
            }
        }
        // A writer that was elsewhere, or not reached, may be there without a change here.
        drop(tokio::time::timeout(LOOK_AGAIN, standing.changed()).await);
        if tokio::time::Instant::now() >= patience {
            return unavailable("no process of control is the writer");
        }
    }
}

async fn answer(writer: Writer, request: Request) -> Response {
    if !writer.tenure.is_sure() {
        return unavailable(&writer.tenure.trouble());
    }
    // The router's error is none.
    writer.router.oneshot(request).await.unwrap_or_else(|never| match never {})
}

fn unavailable(reason: &str) -> Response {
    ApiError::unavailable(reason).into_response()
}
