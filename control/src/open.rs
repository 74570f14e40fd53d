//! The start of control: its log is opened, and what it does unasked begins.

use crate::control::{Control, bounds};
use crate::events::Events;
use crate::journal::memory::Memory;
use crate::journal::redb::Redb;
use crate::journal::{Contents, Journal, JournalError};
use crate::ledger::Ledger;
use crate::process::Process;
use crate::rate::Rates;
use crate::refused_joins::RefusedJoins;
use crate::session::{self, Entrance};
use crate::sessions::Sessions;
use crate::traffic::{STEP, TrafficViews};
use crate::warming::Warming;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// How often it is looked for nodes that were absent for `control.forget_after`.
const LOOK_FOR_ABSENT: Duration = Duration::from_secs(5);

/// How often it is looked for leases that are over.
const LOOK_FOR_LEASES: Duration = Duration::from_secs(1);

impl Control {
    /// Control in `process`, with the log that `control.data` holds; without that key in memory.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn open(process: Arc<Process>) -> Result<Arc<Self>, String> {
        Self::open_with(process, None)
    }

    /// The same; without `control.data` with the log that another process had in memory, as
    /// [`Control::close`] gave it.
    ///
    /// # Errors
    /// The log cannot be opened, or is none.
    pub fn open_with(process: Arc<Process>, log: Option<&[u8]>) -> Result<Arc<Self>, String> {
        let config = process.config();
        let failed = |error: JournalError| format!("control.data: {error}");
        let journal: Box<dyn Journal> = match (&config.control.data, log) {
            (Some(directory), _) => Box::new(Redb::open(directory).map_err(failed)?),
            (None, None) => Box::new(Memory::default()),
            (None, Some(log)) => {
                let held: Contents = serde_json::from_slice(log)
                    .map_err(|error| format!("the log of the other process: {error}"))?;
                Box::new(Memory::holding(held))
            }
        };
        let ledger = Ledger::open(journal, bounds(&config)).map_err(failed)?;
        let (sessions, events) = (Sessions::new(), Events::new());
        let rates = Rates::new(config.control.rate);
        let traffic = TrafficViews::new(Instant::now(), SystemTime::now(), &config.tokens);
        let warming = Warming::new();
        let refused_joins = RefusedJoins::default();
        let control = Arc::new(Self {
            process,
            ledger,
            sessions,
            events,
            rates,
            warming,
            traffic,
            refused_joins,
            ending: watch::Sender::new(false),
        });
        tokio::spawn(control.clone().note_leases());
        tokio::spawn(control.clone().tell_of_entries());
        tokio::spawn(control.clone().forget_absent());
        tokio::spawn(control.clone().point_traffic());
        Ok(control)
    }

    /// Attends the connection of a node in this process, to its end.
    pub async fn attend(self: Arc<Self>, transport: impl AsyncRead + AsyncWrite + Send) {
        session::attend(self, Entrance::InProcess, transport).await;
    }

    /// Makes points of what nodes tell of their traffic, to the end of control.
    async fn point_traffic(self: Arc<Self>) {
        let mut steps = tokio::time::interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let step = tokio::select! {
                step = steps.tick() => step,
                () = self.stopped() => return,
            };
            let expected: HashSet<String> =
                self.ledger.nodes(Instant::now()).into_iter().map(|node| node.name).collect();
            self.traffic.point(step.into_std(), |name| expected.contains(name));
        }
    }

    /// Waits no more for nodes that validate all they have stored and whose lease is over, and
    /// forgets those of them that are ephemeral.
    async fn note_leases(self: Arc<Self>) {
        let mut looks = tokio::time::interval(LOOK_FOR_LEASES);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = self.stopped() => return,
            }
            let now = Instant::now();
            self.ledger.note_leases(now);
            match self.ledger.forget_ephemeral(now).await {
                Ok(names) => {
                    for name in names {
                        tracing::info!(
                            node = name,
                            "node removed: it is ephemeral, and its lease is over"
                        );
                        self.events.forgotten(&name);
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "ephemeral nodes whose lease is over are still expected");
                }
            }
        }
    }

    /// Expects those nodes no more that were absent for `control.forget_after`.
    async fn forget_absent(self: Arc<Self>) {
        let mut looks = tokio::time::interval(LOOK_FOR_ABSENT);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = self.stopped() => return,
            }
            match self.ledger.forget_silent(Instant::now()).await {
                Ok(names) => {
                    for name in names {
                        tracing::warn!(
                            node = name,
                            "node removed: it was absent for \
                             control.forget_after"
                        );
                        self.events.forgotten(&name);
                    }
                }
                Err(error) => tracing::error!(%error, "absent nodes are still expected"),
            }
        }
    }
}
