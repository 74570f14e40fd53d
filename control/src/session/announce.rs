//! Telling all sessions at once that the log has moved.

use crate::control::Control;
use crate::ledger::Ledger;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use weir_rules::invalidation::Seq;

/// From entries announced to the next ones, at most, while more are on their way: they go together. A
/// purge that comes alone waits for nothing; in a stream of them nodes wake less often than for each,
/// which leaves them to their hits.
pub(super) const GATHER: Duration = Duration::from_millis(4);

impl Control {
    /// Has sessions send entries as they become durable, and end with control.
    pub(crate) async fn tell_sessions(self: Arc<Self>) {
        let mut heads = self.ledger.heads();
        let announcing = async {
            let mut by = Instant::now();
            while gathered(&self.ledger, &mut heads, by).await.is_ok() {
                self.sessions.announce();
                by = Instant::now() + GATHER;
            }
        };
        tokio::select! {
            () = announcing => {}
            () = self.stopped() => {}
        }
        self.sessions.stop();
    }
}

/// Until there is something to send, and nothing more on its way or `by` is past.
async fn gathered(
    ledger: &Ledger,
    heads: &mut watch::Receiver<Seq>,
    by: Instant,
) -> Result<(), watch::error::RecvError> {
    heads.changed().await?;
    while ledger.is_busy() {
        match timeout_at(by, heads.changed()).await {
            Ok(moved) => moved?,
            Err(_) => break,
        }
    }
    Ok(())
}
