//! The writer thread: takes lines from the queue, writes them in batches, and reports missing ones.

use super::format::LogFormat;
use super::{LogMessage, LogQueue, LogStatus};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// Bytes gathered before a write, while more lines wait.
const BATCH: usize = 64 * 1024;

/// Where lines are written.
pub(super) enum Output {
    /// A file that can be reopened.
    File { file: File, path: PathBuf },
    /// Standard output.
    Stdout(io::Stdout),
}

impl Output {
    pub(super) fn open(path: Option<PathBuf>) -> io::Result<Output> {
        let Some(path) = path else { return Ok(Output::Stdout(io::stdout())) };
        match OpenOptions::new().create(true).append(true).open(&path) {
            Ok(file) => Ok(Output::File { file, path }),
            Err(error) => {
                let message = format!("log.path {}: {error}", path.display());
                Err(io::Error::new(error.kind(), message))
            }
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Output::File { file, .. } => file.write_all(lines),
            Output::Stdout(stdout) => {
                let mut stdout = stdout.lock();
                stdout.write_all(lines)?;
                stdout.flush()
            }
        }
    }

    fn reopen(&mut self) {
        if let Output::File { path, .. } = self {
            match Output::open(Some(path.clone())) {
                Ok(output) => *self = output,
                Err(error) => tracing::error!(
                    "the access log cannot be reopened and stays in \
                     its old file: {error}"
                ),
            }
        }
    }
}

/// Writes lines until the log is dropped.
pub(super) fn run(queue: &LogQueue, status: &LogStatus, format: LogFormat, mut output: Output) {
    let mut batch = Batch::new();
    // Drops that the log has reported.
    let mut reported = 0;
    while let Ok(message) = queue.recv() {
        if status.reopen.swap(false, Ordering::AcqRel) {
            output.reopen();
        }
        batch.take(message, format);
        while batch.lines.len() < BATCH {
            let Ok(message) = queue.try_recv() else { break };
            batch.take(message, format);
        }
        let dropped = status.dropped.load(Ordering::Relaxed);
        if dropped > reported {
            format.gap(SystemTime::now(), dropped - reported, &mut batch.lines);
        }
        if batch.write(&mut output, status) {
            reported = dropped;
        }
    }
}

/// Lines that are to be written together.
pub(super) struct Batch {
    lines: Vec<u8>,
    count: u64,
    /// Whether the last write failed. That is logged once, not for every line.
    failing: bool,
}

impl Batch {
    pub(super) fn new() -> Batch {
        Batch { lines: Vec::with_capacity(BATCH), count: 0, failing: false }
    }

    pub(super) fn take(&mut self, message: LogMessage, format: LogFormat) {
        if let LogMessage::Line(logged) = message {
            format.line(&logged, &mut self.lines);
            self.count += 1;
        }
    }

    /// Writes the lines, or counts them as dropped; returns whether they were written.
    pub(super) fn write(&mut self, output: &mut Output, status: &LogStatus) -> bool {
        let written = output.write(&self.lines);
        if let Err(error) = &written {
            status.dropped.fetch_add(self.count, Ordering::Relaxed);
            if !self.failing {
                tracing::error!("the access log cannot be written: {error}");
            }
        }
        self.failing = written.is_err();
        self.lines.clear();
        if self.failing {
            // Part of a line may have been written. The next one begins on a new line.
            self.lines.push(b'\n');
        }
        self.count = 0;
        !self.failing
    }
}
