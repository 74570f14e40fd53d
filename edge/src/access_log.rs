//! The access log: one line a request, written by a thread of its own behind a bounded queue.
//!
//! A request never waits for the log: when the queue is full its line is dropped and counted, and
//! the log says how many lines are missing as soon as it can. What clients send is escaped, so
//! that no request can forge a line or an entry in one.

mod format;
mod writer;

use crate::source::Source;
use format::Form;
use http::StatusCode;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use weir_config as config;
use weir_rules::outcome::Outcome;
use weir_rules::trace_context::TraceContext;

/// How long a log that ends waits for what it still has to write: where it goes may take nothing.
const LAST_LINES: Duration = Duration::from_secs(2);

/// One finished request, as the log and a trace tell of it. Built only for either.
#[derive(Clone, Debug)]
pub(crate) struct AccessRecord {
    /// When its head arrived.
    pub(crate) time: SystemTime,
    /// Who sent it.
    pub(crate) peer: SocketAddr,
    /// `http` or `https`, on the client's connection.
    pub(crate) scheme: &'static str,
    /// Its method.
    pub(crate) method: Box<str>,
    /// The host it was for, as sent.
    pub(crate) host: Box<str>,
    /// Its target, as sent.
    pub(crate) target: Box<str>,
    /// Its protocol: `HTTP/1.1`, `HTTP/2.0`.
    pub(crate) protocol: &'static str,
    /// The status sent.
    pub(crate) status: StatusCode,
    /// Bytes of body sent.
    pub(crate) bytes: u64,
    /// The id of the site that took it, empty when none did.
    pub(crate) site: Arc<str>,
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// Whom the answer is from, where it is from another.
    pub(crate) source: Option<Arc<Source>>,
    /// From the request's head to the head of the answer.
    pub(crate) first_byte: Duration,
    /// From the request's head to the end of the answer.
    pub(crate) total: Duration,
    /// User-Agent.
    pub(crate) user_agent: Option<Box<[u8]>>,
    /// Referer.
    pub(crate) referer: Option<Box<[u8]>>,
    /// Its place in a trace.
    pub(crate) trace: Option<TraceContext>,
    /// Digest of the key, where one was made.
    pub(crate) key_hash: Option<u128>,
}

/// What the writer thread is told.
enum Message {
    Line(Box<AccessRecord>),
    /// The file is to be opened anew: [`Shared::reopen`].
    Wake,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Message::Line(_) => "Line",
            Message::Wake => "Wake",
        })
    }
}

/// What both ends of the queue see.
#[derive(Debug, Default)]
struct Shared {
    /// Lines dropped since the start.
    dropped: AtomicU64,
    /// Whether the file is to be opened anew.
    reopen: AtomicBool,
}

/// The access log of a node. Dropping it writes what is queued, within a bound.
#[derive(Debug)]
pub(crate) struct AccessLog {
    /// `None` when the log is off.
    queue: Option<SyncSender<Message>>,
    shared: Arc<Shared>,
    /// Ends with the writer.
    writer: Mutex<Option<Receiver<()>>>,
}

impl AccessLog {
    /// Opens the log: `path` (created, appended to), or standard output. At most `queue` lines
    /// wait to be written (at least 1).
    ///
    /// # Errors
    /// When the file cannot be opened, with its path.
    pub(crate) fn start(
        form: config::AccessLog,
        path: Option<PathBuf>,
        queue: usize,
    ) -> io::Result<AccessLog> {
        let form = match form {
            config::AccessLog::Off => return Ok(AccessLog::off()),
            config::AccessLog::Json => Form::Json,
            config::AccessLog::Combined => Form::Combined,
        };
        let output = writer::Output::open(path)?;
        let shared = Arc::new(Shared::default());
        let (sender, receiver) = sync_channel(queue.max(1));
        let seen = shared.clone();
        let (alive, writer) = channel();
        let run = move || {
            writer::run(&receiver, &seen, form, output);
            drop(alive);
        };
        std::thread::Builder::new().name("access-log".into()).spawn(run)?;
        Ok(AccessLog { queue: Some(sender), shared, writer: Mutex::new(Some(writer)) })
    }

    /// A log that takes nothing.
    pub(crate) fn off() -> AccessLog {
        AccessLog { queue: None, shared: Arc::default(), writer: Mutex::new(None) }
    }

    /// Whether records are wanted: where not, none need be built.
    pub(crate) fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Queues a line; never waits.
    pub(crate) fn record(&self, record: AccessRecord) {
        let Some(queue) = &self.queue else { return };
        match queue.try_send(Message::Line(Box::new(record))) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Lines dropped since the start, because the queue was full or writing failed.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Opens the file anew before the next line, for log rotation. Should that fail, the old file
    /// stays in use.
    pub(crate) fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        if let Some(queue) = &self.queue {
            // A full queue has the writer awake already.
            let _ = queue.try_send(Message::Wake);
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        // Without a sender the writer ends once the queue is empty.
        self.queue = None;
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|w| w.recv_timeout(LAST_LINES) == Err(RecvTimeoutError::Timeout)) {
            tracing::warn!("the last lines of the access log are lost: where it goes takes none");
        }
    }
}

type Queue = Receiver<Message>;

#[cfg(test)]
mod tests;
