//! `/v1/follow`: where nodes connect to follow the log.

use crate::auth::Caller;
use crate::call::{Call, Kind, SharedControl};
use crate::errors::ApiError;
use crate::operation::Operation;
use crate::session;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper_util::rt::TokioIo;
use weir_config::Scope;
use weir_protocol::PROTOCOL;

/// The path of the call.
pub(crate) const FOLLOW: &str = "/v1/follow";

pub(super) fn calls() -> Vec<Call> {
    let operation = Operation::new("Follow the log (for nodes)")
        .described(
            "Upgrades the connection to weir-log/1, the protocol of weir's nodes. Needs a token \
             with the scope node and without sites.",
        )
        .answer_empty("101", "The connection now speaks weir-log/1.");
    vec![Call::new("get", FOLLOW, get(follow), operation).of_kind(Kind::Lasting)]
}

async fn follow(
    State(control): State<SharedControl>,
    caller: Caller,
    mut request: Request,
) -> Result<Response, ApiError> {
    caller.needs(Scope::Node)?;
    caller.needs_all_sites("the log")?;
    let headers = request.headers();
    if !has(headers, &CONNECTION, "upgrade") || !has(headers, &UPGRADE, PROTOCOL) {
        return Err(ApiError::upgrade_required());
    }
    let room = control.sessions.room().ok_or_else(ApiError::busy)?;
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                let entrance = session::Entrance::Call(caller);
                session::attend(control, entrance, TokioIo::new(upgraded)).await;
            }
            Err(error) => tracing::warn!(%error, "the connection of a node was lost"),
        }
        drop(room);
    });
    let fields = [
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (UPGRADE, HeaderValue::from_static(PROTOCOL)),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, fields).into_response())
}

/// Whether a field that is a list has this member, in whatever case.
fn has(headers: &HeaderMap, name: &HeaderName, member: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|word| word.trim().eq_ignore_ascii_case(member))
}
