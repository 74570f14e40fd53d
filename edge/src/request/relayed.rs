//! An edge that wants to follow control through this node.

use crate::body::ResponseBody;
use crate::byte_budget::NoRoom;
use crate::failure::Failure;
use crate::memory::{UPGRADE_BYTES, Use};
use crate::respond::{self, AnswerForm};
use crate::server::Connection;
use crate::state::NodeState;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use std::rc::Rc;
use std::sync::Arc;
use weir_protocol::relay::PROTOCOL;

/// Whether a request asks for that.
pub(super) fn is_asked(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|protocol| protocol == PROTOCOL)
}

/// Takes the edge's connection. Only to be called for a node that asks, which has the key of the log.
///
/// # Errors
/// This node is no relay, or has no memory for another connection.
pub(super) fn follow(
    state: &NodeState,
    connection: &Rc<Connection>,
) -> Result<Response<ResponseBody>, Failure> {
    let Some(relay) = &state.relay else { return Err(Failure::CannotVouch("no-relay")) };
    let Some(memory) = state.memory.take(UPGRADE_BYTES) else {
        state.memory.refuse(Use::Protocol);
        return Err(Failure::NoMemory(NoRoom::Budget));
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    let (edge, relay) = (connection.upgrade(), Arc::clone(relay));
    tokio::task::spawn_local(async move {
        let _memory = memory;
        if let Some(edge) = edge.await {
            relay.serve(edge).await;
        }
    });
    let status = StatusCode::SWITCHING_PROTOCOLS;
    Ok(respond::answer(status, headers, AnswerForm::Whole, ResponseBody::Empty))
}
