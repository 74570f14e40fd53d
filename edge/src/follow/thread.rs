//! The thread on which a node follows control.

use std::io;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A thread of its own for one task: nothing else that the program does makes an acknowledgement
/// wait, and a line of control wakes one thread, where a shared runtime wakes another to look for
/// more work. Dropping this ends the thread and what still runs on it.
pub(crate) struct Thread {
    handle: Handle,
    /// Told by being dropped.
    _end: oneshot::Sender<()>,
}

impl Thread {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has none to give.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (_end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name("weir-follow".into()).spawn(move || {
            // Nothing is ever sent.
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _end })
    }

    /// Its runtime.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}
