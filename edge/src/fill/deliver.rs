//! The body of a source's answer: to the readers and, if it may be stored, into the store.

use super::task::FillTask;
use crate::ahead::AT_HAND;
use crate::byte_budget::{NoRoom, Portion};
use crate::collapsing::{Answer, FillHead, Keeping};
use crate::decisions::Why;
use crate::disk::DiskBodyWriter;
use crate::error::UpstreamError;
use crate::failure::Abort;
use crate::source::{Piece, SourceBody};
use crate::store::{Slice, StoredBody};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use weir_store::volume::Refused;

/// How long the last byte of a body that is stored on disk alone waits until it is found there.
pub(super) const WRITTEN: Duration = Duration::from_secs(2);

/// Where a body goes beside its readers.
enum Storing {
    /// Nowhere.
    No,
    /// Into memory, with all that is retained.
    Memory,
    /// To the disk, while it arrives.
    Disk(Box<DiskBodyWriter>),
}

impl Storing {
    fn is_no(&self) -> bool {
        matches!(self, Self::No)
    }
}

impl FillTask {
    /// Passes a body on to the readers and, if it may be stored, into the store.
    pub(crate) async fn deliver(
        self: Box<Self>,
        head: Arc<FillHead>,
        prefix: &[Slice],
        mut body: Box<dyn SourceBody>,
    ) {
        let mut storing = self.begin_storing(&head, prefix).await;
        let client = self.context.ask.counts_for;
        let mut room = Portion::of(&self.context.state.filling, client);
        self.fill.count_in(Portion::of(&self.context.state.ahead.memory, client));
        if let Keeping::Pass(why) = &head.keeping {
            self.withdraw(&head);
            self.context.note(why.clone(), Some(head.status));
        }
        let is_retained = matches!(storing, Storing::Memory);
        if let Storing::Disk(writer) = &storing {
            self.fill.keep_below(Arc::clone(writer.body()) as Arc<_>);
        }
        self.fill.begin(Answer::Response(Arc::clone(&head)), prefix, is_retained);
        if storing.is_no() {
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
                    let taken = self.take(&head, &mut storing, &mut room, &data, at).await;
                    if let Err(why) = taken {
                        storing = Storing::No;
                        self.withdraw(&head);
                        self.context.note(why, Some(head.status));
                        self.fill.let_go();
                        room.give_back(room.bytes());
                        body = self.context.ahead(body, &head.fields);
                    }
                    self.fill.push(data, head.end != Some(at));
                    if !storing.is_no() && self.fill.has_enough(AT_HAND) {
                        self.context.state.ahead.turn(self.context.worker).await;
                    }
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
        let is_stored = !storing.is_no();
        match storing {
            Storing::No => {}
            Storing::Memory => self.store(&head, at),
            Storing::Disk(writer) => Box::pin(self.store_on_disk(&head, *writer)).await,
        }
        if is_stored {
            // After that: until then it is sent while it is refreshed, and for an answer that breaks
            // off.
            self.withdraw(&head);
        }
        self.fill.finish(trailers);
        self.context.state.inflight.leave(self.context.digest, &self.fill);
        // The connection can be used again only once the end of the message has been read.
        while let Some(Ok(_)) = body.next().await {}
    }

    async fn begin_storing(&self, head: &FillHead, prefix: &[Slice]) -> Storing {
        match head.keeping {
            Keeping::Pass(_) => Storing::No,
            Keeping::Store => Storing::Memory,
            Keeping::StoreOnDisk => match Box::pin(self.begin_on_disk(head, prefix)).await {
                Ok(writer) => Storing::Disk(writer),
                Err(why) => {
                    self.context.note(why, Some(head.status));
                    Storing::No
                }
            },
        }
    }

    /// A writer to the disk that was handed what arrived before.
    async fn begin_on_disk(
        &self,
        head: &FillHead,
        before: &[Slice],
    ) -> Result<Box<DiskBodyWriter>, Why> {
        let disk = self.context.state.disk.as_ref().ok_or(Why::NoRoomOnDisk)?;
        let (url, selecting) = (self.fill.purpose.url, head.selecting.as_ref());
        let writer = disk.begin(url, &self.context.key, selecting);
        let mut writer = writer.ok_or(Why::NoRoomOnDisk)?;
        for slice in before {
            writer.write(slice.bytes.clone()).await.map_err(not_on_disk)?;
        }
        Ok(Box::new(writer))
    }

    /// Takes more bytes of a body that is to be stored, up to its byte `at`. One that turns out to be
    /// too large for memory goes to the disk from then on.
    async fn take(
        &self,
        head: &FillHead,
        storing: &mut Storing,
        room: &mut Portion,
        data: &Bytes,
        at: u64,
    ) -> Result<(), Why> {
        let (most, on_disk) = self.most(head);
        let total = at - head.start;
        if matches!(storing, Storing::Memory) && total > most {
            if total > on_disk || !head.has_all() {
                return Err(Why::TooLarge(most.max(on_disk)));
            }
            let writer = Box::pin(self.begin_on_disk(head, &self.fill.slices())).await?;
            self.fill.keep_below(Arc::clone(writer.body()) as Arc<_>);
            *storing = Storing::Disk(writer);
            room.give_back(room.bytes());
        }
        match storing {
            Storing::No => Ok(()),
            Storing::Memory => room.take(data.len() as u64).map_err(no_room),
            Storing::Disk(_) if total > on_disk => Err(Why::TooLarge(on_disk)),
            Storing::Disk(writer) => writer.write(data.clone()).await.map_err(not_on_disk),
        }
    }

    /// Stores a body that was written to the disk while it arrived, and waits until it is found: a
    /// client that has all of it finds it stored.
    async fn store_on_disk(&self, head: &FillHead, writer: DiskBodyWriter) {
        match writer.end().await {
            Ok(body) => {
                // Stored or not, it was sent.
                let _ = self.store_body(head, StoredBody::below(Arc::clone(&body) as Arc<_>));
                // Late, it is stored all the same.
                let _late = tokio::time::timeout(WRITTEN, body.until_written()).await;
            }
            Err(why) => self.context.note(not_on_disk(why), Some(head.status)),
        }
    }
}

/// Why a body that memory had no room for is not stored.
pub(super) fn no_room(why: NoRoom) -> Why {
    match why {
        NoRoom::Budget => Why::NoRoom,
        NoRoom::ClientShare => Why::NoRoomForClient,
    }
}

/// Why a body that the disk store refused is not stored.
pub(super) fn not_on_disk(why: Refused) -> Why {
    match why {
        Refused::Revoked => Why::Overtaken,
        _ => Why::NoRoomOnDisk,
    }
}
