//! A thread with a runtime of its own that carries out what it was told last, and nothing else.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Orders for such a thread, which begins with the first ones. Dropping it ends the thread.
pub(super) struct Orders<T>(Mutex<Option<Running<T>>>);

struct Running<T> {
    orders: watch::Sender<Vec<T>>,
    thread: JoinHandle<()>,
}

impl<T> Default for Orders<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone + Send + Sync + 'static> Orders<T> {
    /// Has these carried out from now on, each as a task that `begin` begins, and no others. `replaced` gets those
    /// that were ordered before, if the thread runs, before anyone else can order. The first call names the thread.
    ///
    /// # Errors
    /// The thread cannot begin.
    pub(super) fn give(
        &self,
        orders: Vec<T>,
        thread: &str,
        replaced: impl FnOnce(Vec<T>),
        begin: impl Fn(&mut JoinSet<()>, T) + Send + 'static,
    ) -> io::Result<()> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*running {
            Some(running) => replaced(running.orders.send_replace(orders)),
            None if orders.is_empty() => {}
            None => *running = Some(Running::start(orders, thread, begin)?),
        }
        Ok(())
    }
}

impl<T> Drop for Orders<T> {
    fn drop(&mut self) {
        let running = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { orders, thread }) = running {
            drop(orders);
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Running<T> {
    fn start(
        orders: Vec<T>,
        name: &str,
        begin: impl Fn(&mut JoinSet<()>, T) + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (orders, given) = watch::channel(orders);
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            runtime.block_on(follow(given, begin));
            // Without waiting for a name that is still being looked up.
            runtime.shutdown_background();
        })?;
        Ok(Self { orders, thread })
    }
}

/// Carries out what is ordered, until there are no more orders.
async fn follow<T: Clone>(mut given: watch::Receiver<Vec<T>>, begin: impl Fn(&mut JoinSet<()>, T)) {
    loop {
        let mut tasks = JoinSet::new();
        for order in given.borrow_and_update().iter().cloned() {
            begin(&mut tasks, order);
        }
        if given.changed().await.is_err() {
            return;
        }
    }
}
