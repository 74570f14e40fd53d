//! The body of a source's answer: to the readers and, if it may be stored, into the store.

use super::task::FillTask;
use crate::collapsing::{Answer, FillHead, Keeping};
use crate::decisions::Why;
use crate::error::UpstreamError;
use crate::failure::Abort;
use crate::shares::Held;
use crate::source::{Piece, SourceBody};
use crate::state::NodeState;
use crate::store::Slice;
use bytes::Bytes;
use std::sync::Arc;
use weir_rules::client_share::{self, Prefix};

impl FillTask {
    /// Passes a body on to the readers and, if it may be stored, into the store.
    pub(crate) async fn deliver(
        self,
        head: Arc<FillHead>,
        prefix: &[Slice],
        mut body: Box<dyn SourceBody>,
    ) {
        let mut storing = head.is_stored();
        let client = self.context.ask.counts_for.filter(|_| storing);
        let mut room = Room::of(&self.context.state, client);
        if let Keeping::Pass(why) = &head.keeping {
            self.withdraw(&head);
            self.context.note(why.clone(), Some(head.status));
        }
        self.fill.begin(Answer::Response(Arc::clone(&head)), prefix, storing);
        if !storing {
            body = self.context.ahead(body, &head.fields);
        }
        let mut at = prefix.last().map_or(head.start, Slice::end);
        let mut trailers = None;
        loop {
            if head.end == Some(at) && trailers.is_none() {
                // Stored before the last byte is shown: a client that has it finds it stored.
                break;
            }
            if !self.fill.room().await {
                return self.abandoned(&head);
            }
            let piece = tokio::select! {
                biased;
                piece = body.next() => piece,
                // Not only once the next piece is there: it may never come.
                () = self.fill.deserted() => return self.abandoned(&head),
            };
            match piece {
                Some(Ok(Piece::Data(data))) => {
                    at += data.len() as u64;
                    if storing && let Err(why) = room.take(&data, at - head.start) {
                        storing = false;
                        self.withdraw(&head);
                        self.context.note(why, Some(head.status));
                        self.fill.let_go();
                        body = self.context.ahead(body, &head.fields);
                    }
                    self.fill.push(data, head.end != Some(at));
                }
                Some(Ok(Piece::Trailers(fields))) => trailers = Some(fields),
                Some(Err(abort)) => return self.broke_off(abort, head.status),
                None => break,
            }
        }
        if head.end.is_some_and(|end| end != at) {
            let why = format!("its body ended at byte {at}, not at the announced length");
            let abort = Abort::Upstream(UpstreamError::BadBody(why));
            return self.broke_off(abort, head.status);
        }
        if storing {
            self.store(&head, at);
            // After that: until then it is sent while it is refreshed, and for an answer that breaks
            // off.
            self.withdraw(&head);
        }
        self.fill.finish(trailers);
        self.context.state.inflight.leave(self.context.digest, &self.fill);
        // The connection can be used again only once the end of the message has been read.
        while let Some(Ok(_)) = body.next().await {}
    }
}

/// The bytes of one body counted against the node's budget; given back when it is dropped.
struct Room {
    state: Arc<NodeState>,
    bytes: u64,
    /// The same bytes, as those of the client whose request began the fetch.
    client: Option<Held>,
}

impl Room {
    fn of(state: &Arc<NodeState>, client: Option<Prefix>) -> Self {
        let client = client.map(|client| state.filling_shares.hold(client, 0));
        Self { state: Arc::clone(state), bytes: 0, client }
    }

    /// Whether the share of the client has room for so many more. Its only body may take what there is.
    fn is_admitted(&self, bytes: u64) -> bool {
        let budget = &self.state.filling;
        self.client.as_ref().is_none_or(|client| {
            client.is_only()
                || client_share::admits(client.total(), bytes, budget.used(), budget.bound())
        })
    }

    fn take(&mut self, data: &Bytes, total: u64) -> Result<(), Why> {
        if total > self.state.max_object {
            return Err(Why::TooLarge(self.state.max_object));
        }
        let bytes = data.len() as u64;
        if !self.is_admitted(bytes) {
            return Err(Why::NoRoomForClient);
        }
        if !self.state.filling.take(bytes) {
            return Err(Why::NoRoom);
        }
        if let Some(client) = &mut self.client {
            client.add(bytes);
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.state.filling.give_back(self.bytes);
    }
}
