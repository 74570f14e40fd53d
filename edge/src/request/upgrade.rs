//! A connection that changes its protocol: 101 Switching Protocols (RFC 9110 §7.8).

use super::visit::Visit;
use crate::body::ResponseBody;
use crate::byte_budget::NoRoom;
use crate::error::UpstreamError;
use crate::failure::Failure;
use crate::fill::SourceAnswer;
use crate::memory::{UPGRADE_BYTES, Use};
use crate::respond::{self, AnswerForm};
use crate::state::NodeState;
use http::{HeaderValue, Response, header};
use tokio::io::copy_bidirectional;

/// Passes a 101 on to the client. From then on the bytes of both sides are copied unchanged.
pub(super) fn switch(
    state: &NodeState,
    visit: &Visit,
    answer: SourceAnswer,
) -> Result<Response<ResponseBody>, Failure> {
    if !visit.facts.upgrade {
        return Err(Failure::Upstream(UpstreamError::BadHead(
            "101 Switching Protocols to a request without Upgrade".into(),
        )));
    }
    let Some(memory) = state.memory.take(UPGRADE_BYTES) else {
        state.memory.refuse(Use::Protocol);
        return Err(Failure::NoMemory(NoRoom::Budget));
    };
    let (status, mut headers) = (answer.response.status(), answer.response.headers().clone());
    let protocol = headers.get(header::UPGRADE).cloned();
    weir_rules::fields::remove_hop_by_hop(&mut headers);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        headers.insert(header::UPGRADE, protocol);
    }
    let client = visit.connection.upgrade();
    let origin = answer.upgraded;
    tokio::task::spawn_local(async move {
        let _memory = memory;
        let (Some(mut client), Some(origin)) = (client.await, origin) else { return };
        let Ok(origin) = origin.await else { return };
        let mut origin = hyper_util::rt::TokioIo::new(origin);
        // Either side may close at any time. The copy then ends, and nobody waits for its result.
        let _ = copy_bidirectional(&mut client, &mut origin).await;
    });
    Ok(respond::answer(status, headers, AnswerForm::Whole, ResponseBody::Empty))
}
