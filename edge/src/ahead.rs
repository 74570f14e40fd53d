//! Bodies that are not stored are read at the pace of their upstream, not of their client: a slow client
//! holds no connection that others wait for. What the client has not taken yet waits in memory, then, if
//! the configuration allows it, in a [file](spool); both are bounded, for each response and together. At
//! the bounds the upstream waits for the client, and only then can the client be
//! [shed](crate::place::PlaceReaders).
//!
//! What waits is copied into parts of its own, so that it takes the memory that it is counted with: a
//! piece as it was read is often a small part of a large buffer.

mod pace;
mod spool;

pub(crate) use spool::Spool;

use crate::byte_budget::{ByteBudget, Portion};
use crate::error::{StoreError, UpstreamError};
use crate::failure::Abort;
use crate::place::PlaceReader;
use crate::source::{Piece, SourceBody};
use crate::spare_time::SpareTime;
use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use pace::Pace;
use spool::{Chunk, SpoolFile};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};
use weir_rules::client_share::Prefix;

/// What bodies that run ahead of their clients take, of the whole node.
#[derive(Debug)]
pub(crate) struct Ahead {
    /// In memory.
    pub(crate) memory: Arc<ByteBudget>,
    /// On disk.
    pub(crate) spool: Option<Arc<Spool>>,
    /// Of each worker.
    pub(crate) spare_time: Box<[SpareTime]>,
}

impl Ahead {
    /// How many bytes of a body may be at hand for its client, beyond what waits here: few once half
    /// of the memory is taken, since then there are many slow clients, or large ones.
    pub(crate) fn at_hand(&self) -> u64 {
        if self.memory.is_half_taken() { 1 } else { AT_HAND }
    }

    /// Waits until this worker has time for one more piece of a body whose client has enough at hand.
    pub(crate) async fn turn(&self, worker: usize) {
        if let Some(spare_time) = self.spare_time.get(worker) {
            spare_time.turn().await;
        }
    }
}

/// Bytes at hand for a client while there is memory. A client that has as many does not wait for more.
pub(crate) const AT_HAND: u64 = 64 * 1024;

/// Bytes of a part: what one body holds of memory that is not counted is two parts, the first and
/// the last, and one that is read back.
const PART: usize = 16 * 1024;

/// How far one body may run ahead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AheadRules {
    /// Bytes in memory.
    pub(crate) memory: u64,
    /// Whether it may be written to a file: it is for one client alone, or must not be stored at all
    /// (RFC 9111 §5.2.2.5).
    pub(crate) sensitive: bool,
    /// The client prefix that it counts for; `None` if that has no bound.
    pub(crate) counts_for: Option<Prefix>,
    /// The worker that reads it.
    pub(crate) worker: usize,
}

/// A body that runs ahead of its client.
pub(crate) struct AheadBody {
    shared: Arc<Shared>,
    length: Option<u64>,
    /// A part that is being read back from the file.
    reading: Option<JoinHandle<Result<Bytes, StoreError>>>,
    reads: AbortHandle,
}

/// What the reading task and the client's side share.
#[derive(Debug)]
struct Shared {
    ahead: Arc<Ahead>,
    rules: AheadRules,
    waiting: Mutex<Waiting>,
    /// Notified when the client takes something.
    room: Notify,
    /// Notified when the client is shed.
    shed: Notify,
}

/// What the client has not taken yet, in order. The lock is held for a few moves.
#[derive(Debug)]
struct Waiting {
    entries: VecDeque<Entry>,
    /// Bytes that were read ahead into memory.
    memory: Portion,
    /// The parts that `memory` does not count, and the piece that the client took last, until it comes for
    /// the next one: counted whatever the bounds.
    in_hand: Portion,
    /// Bytes of the piece that the client took last.
    taken: u64,
    end: Option<Result<(), Abort>>,
    client: Option<Waker>,
    pace: Pace,
}

#[derive(Debug)]
enum Entry {
    Memory(Part),
    /// Its bytes are being written to the file; they come back as `Spooled`, or as `Memory`.
    Writing,
    Spooled(Chunk, Arc<SpoolFile>),
    Trailers(HeaderMap),
}

/// Bytes in memory, at most [`PART`].
#[derive(Debug)]
struct Part {
    bytes: BytesMut,
    /// Whether its [`PART`] bytes are counted in `memory`; else they are in `in_hand`.
    counted: bool,
}

impl Part {
    fn takes_more(&self) -> bool {
        self.bytes.len() < PART
    }

    /// Moves bytes here, as many as there is room for.
    fn fill(&mut self, data: &mut Bytes) {
        let bytes = data.len().min(PART - self.bytes.len());
        self.bytes.extend_from_slice(&data[..bytes]);
        data.advance(bytes);
    }
}

impl AheadBody {
    /// The body, read ahead from now on; unchanged if all of it is here.
    pub(crate) fn of(
        body: Box<dyn SourceBody>,
        ahead: &Arc<Ahead>,
        rules: impl FnOnce() -> AheadRules,
    ) -> Box<dyn SourceBody> {
        if body.is_here() {
            return body;
        }
        let readers = body.place();
        let length = body.exact_length();
        let shared = Arc::new(Shared::of(ahead, rules()));
        if let Some(readers) = readers {
            let reader: Weak<Shared> = Arc::downgrade(&shared);
            readers.enter(reader);
        }
        let reads = tokio::spawn(read(body, Arc::clone(&shared))).abort_handle();
        Box::new(Self { shared, length, reading: None, reads })
    }
}

impl Drop for AheadBody {
    fn drop(&mut self) {
        self.reads.abort();
    }
}

/// Reads a body to its end.
async fn read(mut body: Box<dyn SourceBody>, shared: Arc<Shared>) {
    let mut file = BodyFile::None;
    let reading = async {
        let end = loop {
            match body.next().await {
                Some(Ok(Piece::Data(data))) => shared.put(data, &mut file).await,
                Some(Ok(Piece::Trailers(fields))) => shared.push(Entry::Trailers(fields)),
                Some(Err(abort)) => break Err(abort),
                None => break Ok(()),
            }
            if shared.has_enough() {
                shared.ahead.turn(shared.rules.worker).await;
            }
        };
        // The connection is free from here on.
        drop(body);
        if let BodyFile::Open(_) = &file {
            shared.write(&mut Bytes::new(), &mut file).await;
        }
        end
    };
    let end = tokio::select! {
        biased;
        () = shared.shed.notified() => Err(Abort::TooSlow),
        end = reading => end,
    };
    let mut waiting = shared.lock();
    waiting.end.get_or_insert(end);
    waiting.wake();
}

/// The file of one body.
enum BodyFile {
    None,
    Open(Arc<SpoolFile>),
    /// It cannot be made, or written on: the body goes on without it (invariant I9).
    Failed,
}

impl Shared {
    fn of(ahead: &Arc<Ahead>, rules: AheadRules) -> Self {
        let waiting = Waiting {
            entries: VecDeque::new(),
            memory: Portion::of(&ahead.memory, rules.counts_for),
            in_hand: Portion::of(ahead.memory.whole(), rules.counts_for),
            taken: 0,
            end: None,
            client: None,
            pace: Pace::new(Instant::now()),
        };
        let waiting = Mutex::new(waiting);
        Self { ahead: Arc::clone(ahead), rules, waiting, room: Notify::new(), shed: Notify::new() }
    }

    /// Adds bytes, once there is room for them.
    async fn put(&self, mut data: Bytes, file: &mut BodyFile) {
        while !data.is_empty() {
            let taken = self.room.notified();
            self.put_in_memory(&mut data);
            if data.is_empty() || self.write(&mut data, file).await {
                continue;
            }
            taken.await;
        }
    }

    /// What a client waits for is given to it whatever the bounds.
    fn put_in_memory(&self, data: &mut Bytes) {
        let mut waiting = self.lock();
        if waiting.is_shed(data) {
            return;
        }
        while !data.is_empty() {
            if let Some(Entry::Memory(part)) = waiting.entries.back_mut()
                && part.takes_more()
            {
                part.fill(data);
                continue;
            }
            let counted = !waiting.entries.is_empty();
            let part = PART as u64;
            if counted
                && (waiting.memory.bytes() + part > self.rules.memory
                    || waiting.memory.take(part).is_err())
            {
                break;
            }
            waiting.start_part(counted, data);
        }
        waiting.wake();
    }

    /// Writes the last part, unless it is counted or the client is about to take it, and `data`, as far
    /// as they make whole parts; the rest becomes the last part. Without `data` the last part is written
    /// as it is. Whether there was room.
    async fn write(&self, data: &mut Bytes, file: &mut BodyFile) -> bool {
        let Some(spool) = &self.ahead.spool else { return false };
        let forbidden = self.rules.sensitive && !spool.takes_sensitive();
        if forbidden || matches!(file, BodyFile::Failed) {
            return false;
        }
        let last = self.lock().take_last();
        let kept = last.as_ref().map_or(0, |last| last.len());
        let whole = match data.is_empty() {
            true => kept,
            false => (kept + data.len()) / PART * PART,
        };
        if whole > 0 {
            let last_bytes = last.map(BytesMut::freeze);
            let bytes = [last_bytes.clone().unwrap_or_default(), data.slice(..whole - kept)];
            let Some((chunks, written)) = self.written(bytes, spool, file).await else {
                self.lock().put_last_back(last_bytes.map(BytesMut::from));
                return false;
            };
            data.advance(whole - kept);
            let mut waiting = self.lock();
            if waiting.is_shed(data) {
                return true;
            }
            if last_bytes.is_some() {
                waiting.entries.pop_back();
                waiting.in_hand.give_back(PART as u64);
            }
            let entries =
                chunks.into_iter().map(|chunk| Entry::Spooled(chunk, Arc::clone(&written)));
            waiting.entries.extend(entries);
        } else {
            self.lock().put_last_back(last);
        }
        let mut waiting = self.lock();
        if !data.is_empty() && !waiting.is_shed(data) {
            waiting.start_part(false, data);
        }
        waiting.wake();
        true
    }

    /// The parts of the file that have these bytes; `None` if there is no room, or the file fails.
    async fn written(
        &self,
        bytes: [Bytes; 2],
        spool: &Arc<Spool>,
        file: &mut BodyFile,
    ) -> Option<(Vec<Chunk>, Arc<SpoolFile>)> {
        let open = match file {
            BodyFile::Open(open) => Some(Arc::clone(open)),
            BodyFile::None | BodyFile::Failed => None,
        };
        let (own, client) = (Arc::clone(spool), self.rules.counts_for);
        let written = spool.writing(move || {
            let open = match open {
                Some(open) => open,
                None => Arc::new(SpoolFile::create(own, client)?),
            };
            let chunks = open.write(&bytes, PART)?;
            Ok::<_, StoreError>((open, chunks))
        });
        match written.await {
            Ok((open, chunks)) => {
                *file = BodyFile::Open(Arc::clone(&open));
                chunks.map(|chunks| (chunks, open))
            }
            Err(error) => {
                tracing::warn!(
                    error = error.why(),
                    "a response is not written to spool.path, its client is waited for"
                );
                *file = BodyFile::Failed;
                None
            }
        }
    }

    /// Whether the client has something to take for a while.
    fn has_enough(&self) -> bool {
        self.lock().entries.len() as u64 > AT_HAND / PART as u64
    }

    fn push(&self, entry: Entry) {
        let mut waiting = self.lock();
        if waiting.end.is_some() {
            return;
        }
        waiting.entries.push_back(entry);
        waiting.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PlaceReader for Shared {
    fn rate(&self, now: Instant) -> Option<u64> {
        let waiting = self.lock();
        // An upstream that has sent everything holds no place.
        let held = waiting.end.is_none() && !waiting.entries.is_empty();
        waiting.pace.rate(now).filter(|_| held)
    }

    fn shed(&self) {
        let mut waiting = self.lock();
        waiting.end = Some(Err(Abort::TooSlow));
        waiting.entries.clear();
        let bytes = waiting.memory.bytes();
        waiting.memory.give_back(bytes);
        let bytes = waiting.in_hand.bytes() - waiting.taken;
        waiting.in_hand.give_back(bytes);
        waiting.wake();
        drop(waiting);
        self.shed.notify_one();
    }
}

impl Waiting {
    /// Whether the client was shed. Nothing comes after what was dropped then: `data` goes, too.
    fn is_shed(&self, data: &mut Bytes) -> bool {
        let shed = self.end.is_some();
        if shed {
            data.clear();
        }
        shed
    }

    /// Adds a part with the first of these bytes.
    fn start_part(&mut self, counted: bool, data: &mut Bytes) {
        // A client that waits takes it as it is.
        let more = if self.client.is_some() { data.len().min(PART) } else { PART };
        let mut part = Part { bytes: BytesMut::with_capacity(more), counted };
        part.fill(data);
        if !counted {
            self.in_hand.take_anyway(PART as u64);
        }
        self.entries.push_back(Entry::Memory(part));
    }

    /// The client takes a part.
    fn take_part(&mut self, counted: bool) {
        if counted {
            self.memory.give_back(PART as u64);
            self.in_hand.take_anyway(PART as u64);
        }
        self.taken = PART as u64;
    }

    /// The last part, to be written: it is not counted, and not the next that the client takes.
    fn take_last(&mut self) -> Option<BytesMut> {
        let last = self.entries.len().checked_sub(1).filter(|last| *last > 0)?;
        match &mut self.entries[last] {
            Entry::Memory(Part { bytes, counted: false }) => {
                let bytes = std::mem::take(bytes);
                self.entries[last] = Entry::Writing;
                Some(bytes)
            }
            _ => None,
        }
    }

    /// Puts it back, as it is not written. A client that was shed meanwhile has nothing to take.
    fn put_last_back(&mut self, last: Option<BytesMut>) {
        if let (Some(bytes), Some(entry)) = (last, self.entries.back_mut()) {
            *entry = Entry::Memory(Part { bytes, counted: false });
            self.wake();
        }
    }

    fn wake(&mut self) {
        if let Some(client) = self.client.take() {
            client.wake();
        }
    }
}

impl AheadBody {
    /// The part that is being read back, once it is here.
    fn poll_read_back(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Piece, Abort>>> {
        let Some(reading) = &mut self.reading else { return Poll::Pending };
        let read = std::task::ready!(Pin::new(reading).poll(context));
        self.reading = None;
        let ended = |_| Err(StoreError::new("the node stops"));
        let piece = read.unwrap_or_else(ended).map(Piece::Data).map_err(Abort::Store);
        Poll::Ready(Some(piece))
    }
}

impl SourceBody for AheadBody {
    fn exact_length(&self) -> Option<u64> {
        self.length
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Piece, Abort>>> {
        if self.reading.is_some() {
            return self.poll_read_back(context);
        }
        let shared = Arc::clone(&self.shared);
        let mut waiting = shared.lock();
        // What it took before is sent: it comes for more.
        let taken = std::mem::take(&mut waiting.taken);
        waiting.in_hand.give_back(taken);
        if let Some(Entry::Writing) = waiting.entries.front() {
            waiting.client = Some(context.waker().clone());
            return Poll::Pending;
        }
        let Some(entry) = waiting.entries.pop_front() else {
            waiting.pace.caught_up();
            return match waiting.end.take() {
                Some(end) => Poll::Ready(end.err().map(Err)),
                None => {
                    waiting.client = Some(context.waker().clone());
                    Poll::Pending
                }
            };
        };
        let bytes = match &entry {
            Entry::Memory(Part { bytes, counted }) => {
                let (bytes, counted) = (bytes.len() as u64, *counted);
                waiting.take_part(counted);
                bytes
            }
            Entry::Spooled(chunk, _) => {
                let bytes = chunk.bytes();
                waiting.in_hand.take_anyway(bytes);
                waiting.taken = bytes;
                bytes
            }
            Entry::Writing | Entry::Trailers(_) => 0,
        };
        waiting.pace.took(bytes, Instant::now());
        drop(waiting);
        shared.room.notify_one();
        match entry {
            Entry::Memory(part) => Poll::Ready(Some(Ok(Piece::Data(part.bytes.freeze())))),
            // It was not at the front.
            Entry::Writing => Poll::Pending,
            Entry::Trailers(fields) => Poll::Ready(Some(Ok(Piece::Trailers(fields)))),
            Entry::Spooled(chunk, file) => {
                let (spool, buffer) = (file.spool(), chunk.buffer());
                let reading = async move { spool.reading(move || file.read(&chunk, buffer)).await };
                self.reading = Some(tokio::spawn(reading));
                self.poll_read_back(context)
            }
        }
    }

    fn is_here(&self) -> bool {
        true
    }

    /// Its head was judged before it began to run ahead.
    fn reject(&self, _: &UpstreamError) {}
}

#[cfg(test)]
mod tests;
