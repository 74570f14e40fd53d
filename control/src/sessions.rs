//! The nodes that are connected: what waits for each, and how they are asked what they alone know.

mod mailbox;
mod questions;

pub(crate) use mailbox::Mailbox;
pub(crate) use questions::AwaitedAnswers;

use crate::ledger::SessionId;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weir_protocol::question::Question;

/// Most connections of nodes at once.
const MOST_SESSIONS: usize = 4096;

/// The nodes that are connected.
pub(crate) struct Sessions {
    open: Mutex<Open>,
    /// Those that are sent entries, which are not those behind relays. Beside the others: it is held
    /// while all of them are woken.
    following: Mutex<BTreeMap<SessionId, Arc<Mailbox>>>,
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Open {
    mailboxes: HashMap<SessionId, Arc<Mailbox>>,
    /// Control stops.
    stops: bool,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        let room = Arc::new(Semaphore::new(MOST_SESSIONS));
        Self { open: Mutex::default(), following: Mutex::default(), room }
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
        let mailbox = self.open().mailboxes.get(&session).cloned();
        match mailbox {
            Some(mailbox) => questions::ask(&mailbox, what, wait).await,
            None => Err("it is not connected to control".to_owned()),
        }
    }

    /// A node is connected, and `follows` if control sends it the entries: what waits for it.
    pub(crate) fn begin(&self, session: SessionId, follows: bool) -> Arc<Mailbox> {
        let mailbox = Arc::<Mailbox>::default();
        if follows {
            self.following().insert(session, mailbox.clone());
        }
        let mut open = self.open();
        if open.stops {
            mailbox.stop();
        }
        open.mailboxes.insert(session, mailbox.clone());
        mailbox
    }

    /// Its connection ended.
    pub(crate) fn end(&self, session: SessionId) {
        self.following().remove(&session);
        let mailbox = self.open().mailboxes.remove(&session);
        if let Some(mailbox) = mailbox {
            mailbox.close();
        }
    }

    /// The log has moved.
    pub(crate) fn announce(&self) {
        self.following().values().for_each(|mailbox| mailbox.announce());
    }

    /// Control stops: all sessions end, also those that begin from now on.
    pub(crate) fn stop(&self) {
        let mut open = self.open();
        open.stops = true;
        open.mailboxes.values().for_each(|mailbox| mailbox.stop());
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn following(&self) -> MutexGuard<'_, BTreeMap<SessionId, Arc<Mailbox>>> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
