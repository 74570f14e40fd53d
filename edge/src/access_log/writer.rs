//! The writer thread: takes lines from the queue, writes them in batches, tells what is missing.

use super::format::Form;
use super::{Message, Queue, Shared};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// Bytes gathered before a write, while more lines wait.
const BATCH: usize = 64 * 1024;

/// Where lines go.
pub(super) enum Output {
    /// A file that can be opened anew.
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
                Err(error) => tracing::error!("the access log stays in its old file: {error}"),
            }
        }
    }
}

/// Writes until the other end is gone.
pub(super) fn run(queue: &Queue, shared: &Shared, form: Form, mut output: Output) {
    let mut batch = Batch::new();
    // Drops that the log has told of.
    let mut told = 0;
    while let Ok(message) = queue.recv() {
        if shared.reopen.swap(false, Ordering::AcqRel) {
            output.reopen();
        }
        batch.take(message, form);
        while batch.lines.len() < BATCH {
            let Ok(message) = queue.try_recv() else { break };
            batch.take(message, form);
        }
        let dropped = shared.dropped.load(Ordering::Relaxed);
        if dropped > told {
            form.gap(SystemTime::now(), dropped - told, &mut batch.lines);
        }
        if batch.write(&mut output, shared) {
            told = dropped;
        }
    }
}

/// Lines on their way out.
pub(super) struct Batch {
    lines: Vec<u8>,
    count: u64,
    /// Whether the last write failed: told once, not for every line.
    failing: bool,
}

impl Batch {
    pub(super) fn new() -> Batch {
        Batch { lines: Vec::with_capacity(BATCH), count: 0, failing: false }
    }

    pub(super) fn take(&mut self, message: Message, form: Form) {
        if let Message::Line(record) = message {
            form.line(&record, &mut self.lines);
            self.count += 1;
        }
    }

    /// Writes the lines, or counts them as dropped. Whether they were written.
    pub(super) fn write(&mut self, output: &mut Output, shared: &Shared) -> bool {
        let written = output.write(&self.lines);
        if let Err(error) = &written {
            shared.dropped.fetch_add(self.count, Ordering::Relaxed);
            if !self.failing {
                tracing::error!("the access log cannot be written: {error}");
            }
        }
        self.failing = written.is_err();
        self.lines.clear();
        if self.failing {
            // Part of a line may have gone out; the next one begins on a line of its own.
            self.lines.push(b'\n');
        }
        self.count = 0;
        !self.failing
    }
}
