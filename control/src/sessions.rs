//! The nodes that are connected, and how they are asked what they alone know.

mod questions;

pub(crate) use questions::{AwaitedAnswers, PendingQuestion};

use crate::ledger::SessionId;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use weir_protocol::question::Question;

/// Most connections of nodes at once.
const MOST_SESSIONS: usize = 4096;

/// The nodes that are connected.
#[derive(Debug)]
pub(crate) struct Sessions {
    asks: Mutex<HashMap<SessionId, mpsc::Sender<PendingQuestion>>>,
    room: Arc<Semaphore>,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self { asks: Mutex::default(), room: Arc::new(Semaphore::new(MOST_SESSIONS)) }
    }

    /// Room for one more connection; `None` when there is none.
    pub(crate) fn room(&self) -> Option<OwnedSemaphorePermit> {
        self.room.clone().try_acquire_owned().ok()
    }

    /// Asks the node of `session`, and waits for its answer for at most `wait`.
    ///
    /// # Errors
    /// In words: the node's own error, or why there is no answer.
    pub(crate) async fn ask(
        &self,
        session: SessionId,
        what: Question,
        wait: Duration,
    ) -> Result<Value, String> {
        let asks = self.lock().get(&session).cloned();
        match asks {
            Some(asks) => questions::ask(&asks, what, wait).await,
            None => Err("it is not connected to control".to_owned()),
        }
    }

    /// A node is connected: the questions to it, as they are asked.
    pub(crate) fn begin(&self, session: SessionId) -> mpsc::Receiver<PendingQuestion> {
        let (asks, asked) = questions::channel();
        self.lock().insert(session, asks);
        asked
    }

    /// Its connection ended.
    pub(crate) fn end(&self, session: SessionId) {
        self.lock().remove(&session);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, mpsc::Sender<PendingQuestion>>> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
