//! Bodies that are not stored are read at the pace of their upstream, not of their client: a slow client
//! holds no connection that others wait for. What the client has not taken yet waits in memory, then, if
//! the configuration allows it, in a [file](spool); both are bounded, for each response and together. At
//! the bounds the upstream waits for the client, and only then can the client be
//! [shed](crate::place::PlaceReaders).

mod pace;
mod spool;

pub(crate) use spool::Spool;

use crate::byte_budget::{ByteBudget, Portion};
use crate::error::{StoreError, UpstreamError};
use crate::failure::Abort;
use crate::place::{PlaceReader, PlaceReaders};
use crate::source::{Piece, SourceBody};
use bytes::Bytes;
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
}

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
    /// The piece that its client waits for or takes, counted whatever the bounds: it is given back when the
    /// client comes for the next one.
    in_hand: Portion,
    /// Bytes of the piece that the client took last.
    taken: u64,
    end: Option<Result<(), Abort>>,
    client: Option<Waker>,
    pace: Pace,
}

#[derive(Debug)]
enum Entry {
    /// In memory, and whether it is counted in `memory`; else it is in `in_hand`.
    Memory(Bytes, bool),
    Spooled(Chunk, Arc<SpoolFile>),
    Trailers(HeaderMap),
}

impl AheadBody {
    /// The body, read ahead from now on; unchanged if all of it is here.
    pub(crate) fn of(
        body: Box<dyn SourceBody>,
        ahead: &Arc<Ahead>,
        rules: AheadRules,
    ) -> Box<dyn SourceBody> {
        if body.is_here() {
            return body;
        }
        let readers = body.place();
        let length = body.exact_length();
        let waiting = Waiting {
            entries: VecDeque::new(),
            memory: Portion::of(&ahead.memory, rules.counts_for),
            in_hand: Portion::of(ahead.memory.whole(), rules.counts_for),
            taken: 0,
            end: None,
            client: None,
            pace: Pace::new(Instant::now()),
        };
        let shared = Arc::new(Shared {
            ahead: Arc::clone(ahead),
            rules,
            waiting: Mutex::new(waiting),
            room: Notify::new(),
            shed: Notify::new(),
        });
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
    let mut file = None;
    let reading = async {
        loop {
            match body.next().await {
                Some(Ok(Piece::Data(data))) => shared.put(data, &mut file).await,
                Some(Ok(Piece::Trailers(fields))) => shared.push(Entry::Trailers(fields)),
                Some(Err(abort)) => break Err(abort),
                None => break Ok(()),
            }
        }
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
    Open(Arc<SpoolFile>),
    /// It cannot be made, or written on: the body goes on without it (invariant I9).
    Failed,
}

impl Shared {
    /// Adds bytes, once there is room for them.
    async fn put(&self, data: Bytes, file: &mut Option<BodyFile>) {
        if data.is_empty() {
            return;
        }
        loop {
            let taken = self.room.notified();
            if self.put_in_memory(&data) {
                return;
            }
            if let Some(entry) = self.spooled(&data, file).await {
                return self.push(entry);
            }
            taken.await;
        }
    }

    /// What a client waits for is given to it whatever the bounds.
    fn put_in_memory(&self, data: &Bytes) -> bool {
        let bytes = data.len() as u64;
        let mut waiting = self.lock();
        let entry = if waiting.entries.is_empty() {
            waiting.in_hand.take_anyway(bytes);
            Entry::Memory(data.clone(), false)
        } else if waiting.memory.bytes() + bytes <= self.rules.memory
            && waiting.memory.take(bytes).is_ok()
        {
            Entry::Memory(data.clone(), true)
        } else {
            return false;
        };
        waiting.entries.push_back(entry);
        waiting.wake();
        true
    }

    async fn spooled(&self, data: &Bytes, file: &mut Option<BodyFile>) -> Option<Entry> {
        let spool = self.ahead.spool.as_ref()?;
        if self.rules.sensitive && !spool.takes_sensitive() {
            return None;
        }
        let open = match file {
            Some(BodyFile::Failed) => return None,
            Some(BodyFile::Open(open)) => Some(Arc::clone(open)),
            None => None,
        };
        let (own, data, client) = (Arc::clone(spool), data.clone(), self.rules.counts_for);
        let written = spool.run(move || {
            let open = match open {
                Some(open) => open,
                None => Arc::new(SpoolFile::create(own, client)?),
            };
            let chunk = open.write(&data)?;
            Ok::<_, StoreError>((open, chunk))
        });
        match written.await {
            Ok((open, chunk)) => {
                *file = Some(BodyFile::Open(Arc::clone(&open)));
                chunk.map(|chunk| Entry::Spooled(chunk, open))
            }
            Err(error) => {
                tracing::warn!(%error, "a response is not written to spool.path, its client is waited for");
                *file = Some(BodyFile::Failed);
                None
            }
        }
    }

    fn push(&self, entry: Entry) {
        let mut waiting = self.lock();
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
        waiting.wake();
        drop(waiting);
        self.shed.notify_one();
    }
}

impl Waiting {
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
            Entry::Memory(data, counted) => {
                let bytes = data.len() as u64;
                if *counted {
                    waiting.memory.give_back(bytes);
                    waiting.in_hand.take_anyway(bytes);
                }
                waiting.taken = bytes;
                bytes
            }
            Entry::Spooled(chunk, _) => {
                waiting.in_hand.take_anyway(chunk.bytes());
                waiting.taken = chunk.bytes();
                chunk.bytes()
            }
            Entry::Trailers(_) => 0,
        };
        waiting.pace.took(bytes, Instant::now());
        drop(waiting);
        shared.room.notify_one();
        match entry {
            Entry::Memory(data, _) => Poll::Ready(Some(Ok(Piece::Data(data)))),
            Entry::Trailers(fields) => Poll::Ready(Some(Ok(Piece::Trailers(fields)))),
            Entry::Spooled(chunk, file) => {
                let spool = file.spool();
                let reading = async move { spool.run(move || file.read(&chunk)).await };
                self.reading = Some(tokio::spawn(reading));
                self.poll_read_back(context)
            }
        }
    }

    fn is_here(&self) -> bool {
        true
    }

    fn place(&self) -> Option<Arc<PlaceReaders>> {
        None
    }

    /// Its head was judged before it began to run ahead.
    fn reject(&self, _: &UpstreamError) {}
}

#[cfg(test)]
mod tests;
