//! Control: what its calls and the connections of its nodes share.

use crate::certificates::Certificates;
use crate::errors::ApiError;
use crate::etcd::Tenure;
use crate::events::Events;
use crate::ledger::{Bounds, Ledger, Listed, Order, Referrer, Refusal};
use crate::process::Process;
use crate::rate::Rates;
use crate::refused_joins::RefusedJoins;
use crate::relays::Tickets;
use crate::report::EntryReport;
use crate::sessions::Sessions;
use crate::sites::KnownSites;
use crate::traffic::TrafficViews;
use crate::traffic::history::History;
use crate::traffic::history::saved::HistoryFile;
use crate::warming::Warming;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use weir_config::Config;
use weir_rules::log::Release;

/// Most purges that wait to become durable; further ones are refused with 429.
const MOST_WAITING: usize = 10_000;

/// What the calls of control share.
pub struct Control {
    pub(crate) process: Arc<Process>,
    /// Its term as the writer, where several processes share the log.
    pub(crate) tenure: Option<Arc<Tenure>>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) sessions: Sessions,
    /// Of edges that are to be attached to relays.
    pub(crate) relay_tickets: Tickets,
    pub(crate) events: Events,
    pub(crate) rates: Rates,
    pub(crate) warming: Warming,
    pub(crate) traffic: TrafficViews,
    pub(crate) history: Arc<History>,
    /// Where the history is kept; `None` in memory only.
    pub(crate) history_file: Option<Arc<HistoryFile>>,
    /// Turns true when it ends before the process does.
    pub(crate) ending: watch::Sender<bool>,
    pub(crate) refused_joins: RefusedJoins,
    pub(crate) certificates: Arc<Certificates>,
}

impl Control {
    /// Until it ends: the process is told to stop, or another process takes over the log.
    pub(crate) async fn stopped(&self) {
        let mut ending = self.ending.subscribe();
        tokio::select! {
            () = self.process.stopped() => {}
            // The sender lives as long as `self`.
            _ = ending.wait_for(|ending| *ending) => {}
        }
    }

    /// Ends the connections of nodes and the calls that wait; those are answered with what is
    /// known. To be called before [`Control::close`], which waits for none of them.
    pub fn end(&self) {
        self.ending.send_replace(true);
        self.certificates.halt();
    }

    /// Closes the log: what was accepted is durable, and `control.data` is free for another process
    /// when this returns. It blocks. The log itself where it is in memory only, for
    /// [`Control::open_with`].
    ///
    /// # Errors
    /// The log cannot be written down.
    pub fn close(&self) -> Result<Option<Vec<u8>>, String> {
        self.end();
        self.certificates.stop();
        self.ledger.close();
        self.keep_history();
        if self.tenure.is_some() || self.config().control.data.is_some() {
            return Ok(None);
        }
        let log = serde_json::to_vec(&self.ledger.contents());
        log.map(Some).map_err(|error| format!("the log in memory: {error}"))
    }

    /// Writes the traffic history down for the last time. It blocks. To be called before the process ends; what fails is
    /// in the log.
    pub fn keep_history(&self) {
        if let Some(file) = &self.history_file
            && let Err(error) = file.close(&self.history)
        {
            // What was counted since it was written last is counted when nodes tell it again.
            tracing::error!(error, "the traffic history cannot be written");
        }
    }

    /// Reloads the configuration, all or nothing. Returns the keys whose
    /// change needs a restart.
    ///
    /// # Errors
    /// What is wrong, one mistake a line; the old configuration stays in use.
    pub fn reload(&self) -> Result<Vec<&'static str>, String> {
        let kept = self.process.reload()?;
        let config = self.config();
        self.ledger.reconfigure(bounds(&config));
        self.rates.set(config.control.rate);
        self.traffic.set(&config.tokens);
        self.history.set_bound(config.control.history);
        self.certificates.reload(&config);
        Ok(kept)
    }

    /// Whether what it says of the log, and of who is expected, holds now: no other process is the writer.
    pub(crate) fn is_sure(&self) -> bool {
        self.tenure.as_ref().is_none_or(|tenure| tenure.is_sure())
    }

    /// Appends a purge; when this returns, it is durable and on its way to every node. One whose
    /// reference is listed as the same referrer's returns the first purge when the two are equal.
    ///
    /// # Errors
    /// 409: its reference names another purge. 429: too many wait. 503: the journal fails.
    pub(crate) async fn purge(
        &self,
        order: Order,
        referrer: Referrer,
    ) -> Result<Arc<Listed>, ApiError> {
        self.ledger.purge(order, referrer).await.map_err(refused)
    }

    /// Appends a release, likewise.
    ///
    /// # Errors
    /// As [`Control::purge`].
    pub(crate) async fn release(&self, release: Release) -> Result<Arc<Listed>, ApiError> {
        self.ledger.release(release).await.map_err(refused)
    }

    /// Waits until every expected node applied `listed`, and where it is `counted`, until it is known
    /// what it matched: nodes count that behind the purge, and over a large store it takes them a
    /// while. For at most `wait`, or until control stops.
    pub(crate) async fn until_done(&self, listed: &Listed, counted: bool, wait: Duration) {
        let done = async {
            self.ledger.until_completed(listed).await;
            if counted {
                self.ledger.until_counted(listed).await;
            }
        };
        tokio::select! {
            () = done => {}
            () = tokio::time::sleep(wait) => {}
            () = self.stopped() => {}
        }
    }

    /// How far `listed` has come.
    pub(crate) fn report(&self, listed: &Listed) -> EntryReport {
        EntryReport::of(listed, &self.ledger.progress(listed), Instant::now())
    }

    /// The sites that are known now.
    pub(crate) fn sites(&self) -> KnownSites {
        KnownSites::new(self.config(), self.ledger.reported_sites())
    }

    /// The configuration in use.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.process.config()
    }
}

/// What the configuration says of the ledger's bounds.
pub(crate) fn bounds(config: &Config) -> Bounds {
    let control = &config.control;
    Bounds {
        retention: control.retention,
        bytes: control.retention_bytes,
        arrivals: control.arrivals,
        lease: control.lease,
        forget_after: control.forget_after,
        nodes: control.nodes,
        join_rate: control.join_rate,
        waiting: MOST_WAITING,
    }
}

fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::ReferenceReused(id) => {
            let message = format!("it names another purge, {id}; use a new reference");
            ApiError::reference_reused(message)
        }
        Refusal::Full => ApiError::busy(),
        Refusal::Journal(error) if error.unknown => ApiError::unknown(error.to_string()),
        Refusal::Journal(error) => ApiError::journal(error.to_string()),
    }
}
