//! Control: the invalidation log, the nodes that follow it, and the REST API.
//!
//! Life of a purge: [`rest`] authenticates ([`auth`]) and parses it ([`purges`]), the [`ledger`]
//! gives it its seq and makes it durable, each node's [`session`] sends it and takes the
//! acknowledgement, and the answer waits, within bounds, until every expected node applied it.
//! Control that is built into a node speaks to it over the same session as to any other.

mod auth;
mod dialects;
mod errors;
mod events;
mod extract;
mod fields;
mod journal;
mod ledger;
mod listener;
mod method;
mod metrics;
mod openapi;
mod pieces;
mod process;
mod purges;
mod rate;
mod rest;
mod session;
pub mod timestamp;
mod told;
mod traffic;
mod warm;

pub use listener::serve;
pub use process::{Process, Program, Reloaded};
pub use purges::LONGEST_WAIT_MS;
pub use rest::{node_router, router};
pub use warm::{
    DEFAULT_RATE as DEFAULT_WARM_RATE, MOST_RATE as MOST_WARM_RATE, MOST_URLS as MOST_WARM_URLS,
};

use auth::Caller;
use errors::ApiError;
use events::Events;
use journal::Journal;
use journal::memory::Memory;
use journal::redb::Redb;
use ledger::{Bounds, Ledger, Listed, Order, Refusal};
use rate::Rates;
use session::Sessions;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::MissedTickBehavior;
use told::Told;
use traffic::{STEP, Traffic};
use warm::Warming;
use weir_config::Config;
use weir_rules::log::Release;

/// Bytes that listed entries take in memory; beyond it the oldest are forgotten early.
const LARGEST_LOG: usize = 64 << 20;

/// Most nodes that can be expected.
const MOST_NODES: usize = 4096;

/// Most purges that wait to become durable; further ones are refused with 429.
const MOST_WAITING: usize = 10_000;

/// Once every node applied a purge, how long its caller waits to hear what it matched: nodes count
/// that behind the purge, and over a large store it takes them a while.
const LONGEST_COUNT: Duration = Duration::from_millis(250);

/// How often it is looked for nodes that were absent for `control.forget_after`.
const LOOK_FOR_ABSENT: Duration = Duration::from_secs(5);

/// What the calls of control share.
pub struct Control {
    process: Arc<Process>,
    ledger: Arc<Ledger>,
    sessions: Sessions,
    events: Events,
    rates: Rates,
    warming: Warming,
    traffic: Traffic,
}

impl Control {
    /// Control in `process`, with the log that `control.data` holds; without that key in memory.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn open(process: Arc<Process>) -> Result<Arc<Self>, String> {
        let config = process.config();
        let failed = |error: journal::JournalError| format!("control.data: {error}");
        let journal: Box<dyn Journal> = match &config.control.data {
            Some(directory) => Box::new(Redb::open(directory).map_err(failed)?),
            None => Box::new(Memory),
        };
        let ledger = Ledger::open(journal, bounds(&config)).map_err(failed)?;
        let (sessions, events) = (Sessions::new(), Events::new());
        let rates = Rates::new(config.control.rate);
        let traffic = Traffic::new(Instant::now(), SystemTime::now());
        let warming = Warming::new();
        let control = Arc::new(Self { process, ledger, sessions, events, rates, warming, traffic });
        tokio::spawn(control.clone().tell_of_entries());
        tokio::spawn(control.clone().forget_absent());
        tokio::spawn(control.clone().point_traffic());
        Ok(control)
    }

    /// Attends the connection of a node in this process, to its end.
    pub async fn attend(self: Arc<Self>, transport: impl AsyncRead + AsyncWrite + Send) {
        session::attend(self, Caller::Local, transport).await;
    }

    /// Reads the configuration anew and takes it into use, all or nothing. Returns the keys whose
    /// change needs a restart.
    ///
    /// # Errors
    /// What is wrong, one mistake a line; the old configuration stays in use.
    pub fn reload(&self) -> Result<Vec<&'static str>, String> {
        let kept = self.process.reload()?;
        let config = self.config();
        self.ledger.reconfigure(bounds(&config));
        self.rates.set(config.control.rate);
        Ok(kept)
    }

    /// Appends a purge; when this returns, it is durable and on its way to every node. One whose
    /// reference is listed returns the first purge when the two are equal.
    ///
    /// # Errors
    /// 409: its reference names another purge. 429: too many wait. 503: the journal fails.
    async fn purge(&self, order: Order) -> Result<Arc<Listed>, ApiError> {
        self.ledger.purge(order).await.map_err(refused)
    }

    /// Appends a release, likewise.
    ///
    /// # Errors
    /// As [`Control::purge`].
    async fn release(&self, release: Release) -> Result<Arc<Listed>, ApiError> {
        self.ledger.release(release).await.map_err(refused)
    }

    /// Waits until every expected node applied `listed`, and then a little for what it matched;
    /// for at most `wait`, or until control stops.
    async fn until_done(&self, listed: &Listed, wait: Duration) {
        let done = async {
            self.ledger.until(listed, |progress| progress.completed.is_some()).await;
            let counted = self.ledger.until(listed, |progress| progress.matched().is_some());
            // What is not counted by then is told as unknown.
            let _ = tokio::time::timeout(LONGEST_COUNT, counted).await;
        };
        tokio::select! {
            () = done => {}
            () = tokio::time::sleep(wait) => {}
            () = self.process.stopped() => {}
        }
    }

    /// How far `listed` has come.
    fn told(&self, listed: &Listed) -> Told {
        Told::of(listed, &self.ledger.progress(listed), Instant::now())
    }

    /// The configuration in use.
    fn config(&self) -> Arc<Config> {
        self.process.config()
    }

    /// Makes points of what nodes tell of their traffic, to the end of control.
    async fn point_traffic(self: Arc<Self>) {
        let mut steps = tokio::time::interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let step = tokio::select! {
                step = steps.tick() => step,
                () = self.process.stopped() => return,
            };
            let expected: HashSet<String> =
                self.ledger.nodes(Instant::now()).into_iter().map(|node| node.name).collect();
            self.traffic.point(step.into_std(), |name| expected.contains(name));
        }
    }

    /// Expects those nodes no more that were absent for `control.forget_after`.
    async fn forget_absent(self: Arc<Self>) {
        let mut looks = tokio::time::interval(LOOK_FOR_ABSENT);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = self.process.stopped() => return,
            }
            match self.ledger.forget_silent(Instant::now()).await {
                Ok(names) => {
                    for name in names {
                        tracing::warn!(node = name, "absent for control.forget_after, forgotten");
                        self.events.forgotten(&name);
                    }
                }
                Err(error) => tracing::error!(%error, "absent nodes are still expected"),
            }
        }
    }
}

/// What the configuration says of the ledger's bounds.
fn bounds(config: &Config) -> Bounds {
    let control = &config.control;
    Bounds {
        retention: control.retention,
        bytes: LARGEST_LOG,
        lease: control.lease,
        forget_after: control.forget_after,
        nodes: MOST_NODES,
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
        Refusal::Journal(error) => ApiError::journal(error.to_string()),
    }
}
