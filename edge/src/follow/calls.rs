//! Purges by method on their way to control and back.

use crate::request::PurgeAsk;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use weir_protocol::frame::FromNode;

/// Calls under way at once.
const MOST: usize = 1000;

/// How long control may take for one.
const PATIENCE: Duration = Duration::from_secs(30);

/// The calls under way over the connection to control.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// To the connection; `None` while there is none.
    out: Option<mpsc::Sender<FromNode>>,
    last: u64,
    answers: HashMap<u64, oneshot::Sender<(u16, String)>>,
}

impl Calls {
    /// From now on calls go here.
    pub(super) fn open(&self, out: mpsc::Sender<FromNode>) {
        self.lock().out = Some(out);
    }

    /// Whether none is under way.
    pub(super) fn are_idle(&self) -> bool {
        self.lock().answers.is_empty()
    }

    /// Takes no further one until the next connection, unless one is under way; whether none is.
    pub(super) fn close_if_idle(&self) -> bool {
        let mut waiting = self.lock();
        let is_idle = waiting.answers.is_empty();
        if is_idle {
            waiting.out = None;
        }
        is_idle
    }

    /// The connection is gone: nothing under way is answered any more.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.out = None;
        waiting.answers.clear();
    }

    /// Control answered a call.
    pub(super) fn answered(&self, call: u64, status: u16, body: String) {
        if let Some(answer) = self.lock().answers.remove(&call) {
            // Whoever asked may have gone.
            let _ = answer.send((status, body));
        }
    }

    /// Asks control for a purge: its status and JSON.
    pub(crate) async fn purge(self: Arc<Self>, ask: PurgeAsk) -> (u16, String) {
        let Some((call, answer)) = self.begin(ask) else {
            return refusal(
                503,
                "unavailable",
                "the node has no connection to control, or too \
                 many purges under way",
            );
        };
        let _ended = Ended { calls: &self, call };
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => refusal(
                503,
                "unavailable",
                "the connection to control was lost; the \
                 purge may have been taken or not",
            ),
            Err(_) => refusal(
                504,
                "timeout",
                "control did not answer in time; the purge may \
                 have been taken or not",
            ),
        }
    }

    fn begin(&self, ask: PurgeAsk) -> Option<(u64, oneshot::Receiver<(u16, String)>)> {
        let mut waiting = self.lock();
        if waiting.answers.len() >= MOST {
            return None;
        }
        waiting.last += 1;
        let call = waiting.last;
        let PurgeAsk { url, site, soft } = ask;
        waiting.out.as_ref()?.try_send(FromNode::Purge { call, url, site, soft }).ok()?;
        let (answer, answered) = oneshot::channel();
        waiting.answers.insert(call, answer);
        Some((call, answered))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call is over, however it ended.
struct Ended<'a> {
    calls: &'a Calls,
    call: u64,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.calls.lock().answers.remove(&self.call);
    }
}

fn refusal(status: u16, code: &str, message: &str) -> (u16, String) {
    let body = serde_json::json!({"error": {"code": code, "message": message, "field": null}});
    (status, body.to_string())
}
