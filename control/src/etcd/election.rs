//! Which process is the writer: the one that created the writer's key, which goes with a lease that it keeps alive.

use super::{Compare, Etcd, Failure, KeyValue, Layout, Operation, Outcome, Txn};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use weir_rules::log::LogId;
use weir_rules::term::Term;
use weir_rules::time::Time;

/// The lease of the writer: the shortest that etcd grants with its default timeouts.
const LEASE: Duration = Duration::from_secs(2);

/// From one time that the lease is kept alive to the next, and after a failure.
const KEEP: Duration = Duration::from_millis(500);
const KEEP_AGAIN: Duration = Duration::from_millis(100);

/// How long a look at the log may take, and what ends a lease that nobody needs.
const LOOK: Duration = Duration::from_millis(1400);
const RESIGN: Duration = Duration::from_secs(1);

/// What the writer's key says of the writer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WriterKey {
    /// Random for each process.
    pub(crate) instance: String,
    /// Where the other processes reach it.
    pub(crate) url: String,
    /// What a process shows that passes calls on to it.
    pub(crate) pass: String,
}

/// What stands in the store now.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The writer, and the revision at which it became that.
    pub(crate) writer: Option<(WriterKey, i64)>,
    /// The log is older than it was: the cluster was restored.
    pub(crate) went_back: bool,
}

/// The election as one process takes part in it.
#[derive(Debug)]
pub(crate) struct Election {
    pub(crate) etcd: Arc<Etcd>,
    pub(crate) layout: Layout,
    /// What this process's key would say.
    pub(crate) own: WriterKey,
    /// The log's head as it was seen last.
    pub(crate) seen: Mutex<Seen>,
}

/// A log's head, as a process saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The revision at which it was written; 0 if none was seen.
    pub(crate) revision: i64,
    /// The log's id.
    pub(crate) log: Option<LogId>,
}

impl Seen {
    /// Whether `now` is of an older state of the same log: what was seen is gone.
    pub(crate) fn is_gone(&self, now: &Seen) -> bool {
        let same = now.log == self.log || now.revision == 0;
        self.revision > now.revision && same
    }
}

/// Why a term is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// Another process may be the writer.
    Lost,
    /// The cluster was restored, or its keys were changed by someone else.
    Restored,
    /// It could not be confirmed for too long; why.
    Unconfirmed(String),
}

impl std::fmt::Display for Over {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lost => f.write_str("its lease in etcd is over"),
            Self::Restored => f.write_str("etcd holds an older log than before"),
            Self::Unconfirmed(why) => f.write_str(why),
        }
    }
}

/// This process is, or was, the writer.
#[derive(Debug)]
pub(crate) struct Tenure {
    election: Arc<Election>,
    lease: i64,
    /// The revision at which the writer's key was created.
    created: i64,
    term: Mutex<Term>,
    /// Why it was not confirmed the last time.
    trouble: Mutex<Option<String>>,
    over: watch::Sender<Option<Over>>,
}

/// The clock that counts suspension, and that nobody sets.
pub(crate) fn boot_time() -> Time {
    let time = clock_gettime(ClockId::Boottime);
    // Neither is negative since the boot.
    Time::from_millis(time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000)
}

impl Election {
    /// Reads who is the writer.
    ///
    /// # Errors
    /// etcd does not answer.
    pub(crate) async fn look(&self) -> Result<View, Failure> {
        let before = self.seen().clone();
        let success =
            vec![Operation::Read(self.layout.writer()), Operation::Read(self.layout.head())];
        let outcome = self.etcd.txn(&Txn { success, ..Txn::default() }, LOOK).await?;
        let find = |key: &str| outcome.read.iter().find(|found| found.key == key);
        let now = find(&self.layout.head()).map(seen).unwrap_or_default();
        let went_back = before.is_gone(&now);
        if !went_back {
            self.saw(now);
        }
        Ok(View { writer: self.writer(&outcome), went_back })
    }

    /// Becomes the writer, unless there is one.
    ///
    /// # Errors
    /// etcd does not answer.
    pub(crate) async fn stand(self: &Arc<Self>) -> Result<Option<Arc<Tenure>>, Failure> {
        let asked = boot_time();
        let (lease, length) = self.etcd.grant(LEASE, LOOK).await?;
        let key = self.layout.writer();
        let value = serde_json::to_vec(&self.own).unwrap_or_default();
        let txn = Txn {
            compare: vec![Compare::Created(key.clone(), 0)],
            success: vec![Operation::PutLeased(key.clone(), value, lease)],
            failure: vec![Operation::Read(key)],
        };
        let created = match self.etcd.txn(&txn, LOOK).await {
            Ok(outcome) if outcome.succeeded => Some(outcome.revision),
            // An attempt whose answer was lost may have succeeded.
            Ok(outcome) => {
                let writer = self.writer(&outcome);
                writer.filter(|(writer, _)| *writer == self.own).map(|(_, created)| created)
            }
            Err(failure) => {
                self.end(lease).await;
                return Err(failure);
            }
        };
        let Some(created) = created else {
            self.end(lease).await;
            return Ok(None);
        };
        Ok(Some(Arc::new(Tenure {
            election: Arc::clone(self),
            lease,
            created,
            term: Mutex::new(Term::begin(asked, length)),
            trouble: Mutex::default(),
            over: watch::Sender::new(None),
        })))
    }

    /// A failure leaves the lease to end by itself.
    async fn end(&self, lease: i64) {
        if let Err(error) = self.etcd.revoke(lease, RESIGN).await {
            tracing::debug!(%error, "a lease in etcd ends by itself");
        }
    }

    /// The head, as it was seen last.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The head was seen like this, or was like this: what is known may be newer.
    pub(crate) fn saw(&self, now: Seen) {
        let mut seen = self.seen();
        if now.log != seen.log || now.revision > seen.revision {
            *seen = now;
        }
    }

    fn writer(&self, outcome: &Outcome) -> Option<(WriterKey, i64)> {
        let key = self.layout.writer();
        let found = outcome.read.iter().find(|found| found.key == key)?;
        let writer = serde_json::from_slice(&found.value).ok()?;
        Some((writer, found.create_revision))
    }
}

/// What a head's key says of the log.
fn seen(head: &KeyValue) -> Seen {
    #[derive(Deserialize)]
    struct Head {
        life: Option<Life>,
    }
    #[derive(Deserialize)]
    struct Life {
        log: LogId,
    }
    let read = serde_json::from_slice::<Head>(&head.value).ok();
    let log = read.and_then(|head| head.life).map(|life| life.log);
    Seen { revision: head.mod_revision, log }
}

impl Tenure {
    /// No other process is the writer now.
    pub(crate) fn is_sure(&self) -> bool {
        self.over.borrow().is_none() && self.term().is_sure(boot_time())
    }

    /// Why it is not sure, in words.
    pub(crate) fn trouble(&self) -> String {
        let over = self.over.borrow().as_ref().map(ToString::to_string);
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        over.or(trouble).unwrap_or_else(|| "its lease in etcd was not renewed in time".to_owned())
    }

    /// The key that it compares in whatever it writes.
    pub(crate) fn compare(&self) -> Compare {
        Compare::Created(self.election.layout.writer(), self.created)
    }

    /// Whether this is what the store says of the writer.
    pub(crate) fn is_own(&self, writer: Option<&KeyValue>) -> bool {
        writer.is_some_and(|writer| writer.create_revision == self.created)
    }

    /// It is over.
    pub(crate) fn depose(&self, why: Over) {
        self.over.send_if_modified(|over| {
            let first = over.is_none();
            over.get_or_insert(why);
            first
        });
    }

    /// Whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        self.over.borrow().is_some()
    }

    /// Until it is over.
    pub(crate) async fn over(&self) -> Over {
        let mut over = self.over.subscribe();
        let why = over.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        // The sender lives as long as `self`.
        why.unwrap_or(Over::Lost)
    }

    /// Keeps the lease alive, and confirms each time who is the writer, until it is over.
    pub(crate) async fn keep(self: Arc<Self>) {
        while !self.is_over() {
            let pause = match self.confirm().await {
                Ok(()) => KEEP,
                Err(failure) => {
                    let message = failure.to_string();
                    tracing::debug!(reason = message, "the writer's lease in etcd was not renewed");
                    *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(message.clone());
                    if self.term().is_lost(boot_time()) {
                        self.depose(Over::Unconfirmed(message));
                    }
                    KEEP_AGAIN
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn confirm(&self) -> Result<(), Failure> {
        let asked = boot_time();
        let length = self.election.etcd.keep(self.lease, LOOK).await?;
        let view = self.election.look().await?;
        if view.went_back {
            self.depose(Over::Restored);
        } else if length.is_zero() || view.writer.is_none_or(|(_, created)| created != self.created)
        {
            self.depose(Over::Lost);
        } else {
            self.term().confirm(asked, length);
        }
        Ok(())
    }

    /// Ends the lease, so that another process may be the writer at once.
    pub(crate) async fn resign(&self) {
        self.depose(Over::Lost);
        self.election.end(self.lease).await;
    }

    /// The election that it was won in.
    pub(crate) fn election(&self) -> &Election {
        &self.election
    }

    fn term(&self) -> MutexGuard<'_, Term> {
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(revision: i64, log: &str) -> Seen {
        Seen { revision, log: Some(LogId(log.to_owned())) }
    }

    #[test]
    fn an_older_head_of_the_same_log_tells_that_etcd_was_restored() {
        assert!(head(9, "a").is_gone(&head(8, "a")));
        assert!(head(9, "a").is_gone(&Seen::default()), "and so does none at all");
        assert!(!head(9, "a").is_gone(&head(9, "a")));
        assert!(!head(9, "a").is_gone(&head(10, "a")));
        assert!(!head(9, "a").is_gone(&head(3, "b")), "a new life was begun since");
        assert!(!Seen::default().is_gone(&head(3, "b")));
    }
}
