//! The body of a source's answer: to the readers and, if it may be stored, into the store.

use super::task::FillTask;
use crate::byte_budget::{NoRoom, Portion};
use crate::collapsing::{Answer, FillHead, Keeping};
use crate::decisions::Why;
use crate::error::UpstreamError;
use crate::failure::Abort;
use crate::source::{Piece, SourceBody};
use crate::store::Slice;
use std::sync::Arc;

impl FillTask {
    /// Passes a body on to the readers and, if it may be stored, into the store.
    pub(crate) async fn deliver(
        self: Box<Self>,
        head: Arc<FillHead>,
        prefix: &[Slice],
        mut body: Box<dyn SourceBody>,
    ) {
        let mut storing = head.is_stored();
        let client = self.context.ask.counts_for;
        let mut room = Portion::of(&self.context.state.filling, client);
        self.fill.count_in(Portion::of(&self.context.state.ahead.memory, client));
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
            if !self.fill.room(self.context.state.ahead.at_hand()).await {
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
                    let bytes = data.len() as u64;
                    if storing && let Err(why) = self.take(&mut room, bytes, at - head.start) {
                        storing = false;
                        self.withdraw(&head);
                        self.context.note(why, Some(head.status));
                        self.fill.let_go();
                        room.give_back(room.bytes());
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

    /// Takes memory for `bytes` more of a body that is to be stored and has `total` with them.
    fn take(&self, room: &mut Portion, bytes: u64, total: u64) -> Result<(), Why> {
        let most = self.context.state.max_object;
        if total > most {
            return Err(Why::TooLarge(most));
        }
        room.take(bytes).map_err(|no_room| match no_room {
            NoRoom::Budget => Why::NoRoom,
            NoRoom::ClientShare => Why::NoRoomForClient,
        })
    }
}
