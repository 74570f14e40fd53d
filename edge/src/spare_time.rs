//! The time that a worker has to spare for bodies which their clients do not wait for: read ahead of slow
//! clients, or for the store. Each has a turn for one piece at a time, and between two turns the worker does
//! all that has become ready meanwhile. So whatever else it has to do waits for one such piece at most, and
//! not for as many as there are slow clients.

use tokio::sync::Semaphore;

/// See the module.
#[derive(Debug)]
pub(crate) struct SpareTime(Semaphore);

impl SpareTime {
    /// Of one worker.
    pub(crate) fn new() -> Self {
        Self(Semaphore::new(1))
    }

    /// Waits for the turn to read one more piece. Those that wait have theirs in the order in which they came.
    pub(crate) async fn turn(&self) {
        // Never closed.
        let _turn = self.0.acquire().await;
        // Until the runtime has looked for what is ready, and has done all of that or a good part of it.
        tokio::task::yield_now().await;
    }
}
