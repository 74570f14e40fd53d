//! Bringing an edge what is for it, over its connection, as long as that lasts.

use super::shelf::Next;
use super::{Certificates, Shelf};
use crate::control::Control;
use crate::ledger::SessionId;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use weir_protocol::frame::SiteHosts;
use weir_protocol::question::Question;
use weir_protocol::sealed::ItemName;

/// How long an edge may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// From a failure to the next attempt: the first one, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// An edge is supplied until this is dropped.
pub(crate) struct Supply {
    shelf: Arc<Shelf>,
    session: SessionId,
    task: JoinHandle<()>,
}

impl Drop for Supply {
    fn drop(&mut self) {
        self.task.abort();
        self.shelf.end(self.session);
    }
}

impl Certificates {
    /// Supplies an edge of this name, which serves these sites.
    pub(crate) fn supply(
        &self,
        control: &Arc<Control>,
        session: SessionId,
        name: &str,
        sites: Vec<SiteHosts>,
    ) -> Supply {
        let shelf = self.shelf.clone();
        shelf.begin(session, name, sites);
        let supplying = supply(shelf.clone(), control.clone(), session, name.to_owned());
        Supply { shelf, session, task: tokio::spawn(supplying) }
    }
}

async fn supply(shelf: Arc<Shelf>, control: Arc<Control>, session: SessionId, name: String) {
    let mut changes = shelf.changes();
    let (mut pause, mut said) = (FIRST_PAUSE, String::new());
    loop {
        changes.borrow_and_update();
        match bring(&shelf, &control, session).await {
            Ok(()) => {
                (pause, said) = (FIRST_PAUSE, String::new());
                if changes.changed().await.is_err() {
                    return;
                }
            }
            Err(error) => {
                shelf.fails(session);
                if said != error {
                    tracing::warn!(
                        node = name,
                        error,
                        "the node takes no certificates; trying again"
                    );
                    said = error;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Brings the edge all that it lacks.
async fn bring(shelf: &Shelf, control: &Control, session: SessionId) -> Result<(), String> {
    loop {
        match shelf.next(session) {
            Next::Nothing => return Ok(()),
            Next::Ask(items) => {
                let question = Question::LackedItems { items: items.clone() };
                let answer = control.sessions.ask(session, question, PATIENCE).await?;
                let lacked: Option<Vec<ItemName>> =
                    serde_json::from_value(answer).map_err(|error| error.to_string())?;
                shelf.lacks(session, items, lacked);
            }
            Next::Send(items, ended) => {
                let names: Vec<_> = items.iter().map(|item| item.name.clone()).collect();
                let question = Question::TakeItems { items, ended: ended.clone() };
                match control.sessions.ask(session, question, PATIENCE).await? {
                    Value::Bool(true) => shelf.took(session, &names, &ended),
                    other => return Err(format!("it answered {other}")),
                }
            }
        }
    }
}
