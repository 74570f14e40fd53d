//! The access log: one line per request, written by its own thread behind a bounded queue.
//!
//! A request never waits for the log. If the queue is full, the line is dropped and counted, and
//! the log reports the number of missing lines as soon as it can. What clients send is escaped, so
//! that no request can forge a line or a field of one.

mod format;
mod record;
mod writer;

pub(crate) use record::{LoggedRequest, RequestHead, RequestRecord, Traffic};

use format::LogFormat;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use weir_config as config;

/// How long a log that ends waits for its last lines to be written: the file or pipe may be stuck.
const LAST_LINES: Duration = Duration::from_secs(2);

/// A message to the writer thread.
#[derive(Debug)]
enum LogMessage {
    /// A request to log.
    Line(Box<LoggedRequest>),
    /// The file is to be reopened: [`LogStatus::reopen`].
    Wake,
}

/// The writer thread's end of the queue.
type LogQueue = Receiver<LogMessage>;

/// The state that the log and its writer thread share.
#[derive(Debug, Default)]
struct LogStatus {
    /// Lines dropped since the start.
    dropped: AtomicU64,
    /// Whether the file is to be reopened.
    reopen: AtomicBool,
}

/// The access log of a node. Dropping it writes the queued lines, within [`LAST_LINES`].
#[derive(Debug)]
pub(crate) struct AccessLog {
    /// `None` when the log is off.
    queue: Option<SyncSender<LogMessage>>,
    status: Arc<LogStatus>,
    /// Disconnected when the writer ends.
    writer: Mutex<Option<Receiver<()>>>,
}

impl AccessLog {
    /// Opens the log: the file at `path` (created if missing, else appended to), or standard output.
    /// At most `queue` lines (at least 1) wait to be written.
    ///
    /// # Errors
    /// The file cannot be opened. The error names its path.
    pub(crate) fn start(
        setting: config::AccessLog,
        path: Option<PathBuf>,
        queue: usize,
    ) -> io::Result<AccessLog> {
        let format = match setting {
            config::AccessLog::Off => return Ok(AccessLog::off()),
            config::AccessLog::Json => LogFormat::Json,
            config::AccessLog::Combined => LogFormat::Combined,
        };
        let output = writer::Output::open(path)?;
        let status = Arc::new(LogStatus::default());
        let (sender, receiver) = sync_channel(queue.max(1));
        let seen = status.clone();
        let (alive, writer) = channel();
        let run = move || {
            writer::run(&receiver, &seen, format, output);
            drop(alive);
        };
        std::thread::Builder::new().name("access-log".into()).spawn(run)?;
        Ok(AccessLog { queue: Some(sender), status, writer: Mutex::new(Some(writer)) })
    }

    /// A log that is off.
    pub(crate) fn off() -> AccessLog {
        AccessLog { queue: None, status: Arc::default(), writer: Mutex::new(None) }
    }

    /// Whether the log is on. If not, callers need not build anything for it.
    pub(crate) fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Queues a line, if the log is on; never waits.
    pub(crate) fn record(&self, logged: LoggedRequest) {
        let Some(queue) = &self.queue else { return };
        match queue.try_send(LogMessage::Line(Box::new(logged))) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.status.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Lines dropped since the start, because the queue was full or writing failed.
    pub(crate) fn dropped(&self) -> u64 {
        self.status.dropped.load(Ordering::Relaxed)
    }

    /// Reopens the file before the next line, for log rotation. If that fails, the old file stays in
    /// use.
    pub(crate) fn reopen(&self) {
        self.status.reopen.store(true, Ordering::Release);
        if let Some(queue) = &self.queue {
            // If the queue is full, the writer is awake already.
            let _ = queue.try_send(LogMessage::Wake);
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        // Without a sender the writer ends once the queue is empty.
        self.queue = None;
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|w| w.recv_timeout(LAST_LINES) == Err(RecvTimeoutError::Timeout)) {
            tracing::warn!(
                "the last lines of the access log are lost: its file or pipe cannot be written"
            );
        }
    }
}

#[cfg(test)]
mod tests;
