//! The start of control: its log is opened, and what it does unasked begins.

use crate::certificates::Certificates;
use crate::control::{Control, bounds};
use crate::etcd::Tenure;
use crate::events::Events;
use crate::journal::etcd::EtcdJournal;
use crate::journal::memory::Memory;
use crate::journal::redb::Redb;
use crate::journal::{Contents, Journal, JournalError};
use crate::ledger::Ledger;
use crate::process::Process;
use crate::rate::Rates;
use crate::refused_joins::RefusedJoins;
use crate::relays::Tickets;
use crate::session::{self, Entrance};
use crate::sessions::Sessions;
use crate::traffic::TrafficViews;
use crate::traffic::history::saved::HistoryFile;
use crate::traffic::history::{History, Now};
use crate::warming::Warming;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// How often it is looked for nodes that were absent for `control.forget_after`.
const LOOK_FOR_ABSENT: Duration = Duration::from_secs(5);

/// How often it is looked for leases that are over.
const LOOK_FOR_LEASES: Duration = Duration::from_secs(1);

/// How often seconds of the traffic history are closed.
const SECOND: Duration = Duration::from_secs(1);

/// How often the history is written at most, and at how many bytes a second on average.
const WRITE_HISTORY: Duration = Duration::from_secs(60);
const WRITE_HISTORY_RATE: u64 = 256 << 10;

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
        Self::start(process, journal, None).map_err(failed)
    }

    /// Control in `process`, which is the writer of the log that `journal` holds for this term. It blocks.
    ///
    /// # Errors
    /// The log cannot be read, or the term is over.
    pub(crate) fn open_as_writer(
        process: Arc<Process>,
        journal: EtcdJournal,
        tenure: Arc<Tenure>,
    ) -> Result<Arc<Self>, JournalError> {
        Self::start(process, Box::new(journal), Some(tenure))
    }

    fn start(
        process: Arc<Process>,
        journal: Box<dyn Journal>,
        tenure: Option<Arc<Tenure>>,
    ) -> Result<Arc<Self>, JournalError> {
        let config = process.config();
        let ledger = Ledger::open(journal, bounds(&config))?;
        let (sessions, events) = (Sessions::new(), Events::new());
        let rates = Rates::new(config.control.rate);
        let traffic = TrafficViews::new(&config.tokens);
        let (bound, now) = (config.control.history, Now::read());
        // Several processes that share a log have nothing of this to share.
        let directory = config.control.data.as_deref().filter(|_| tenure.is_none());
        let opened = directory.map(|directory| HistoryFile::open(directory, bound, now));
        let (history_file, history) = match opened {
            Some((file, history)) => (Some(Arc::new(file)), history),
            None => (None, History::new(bound, now)),
        };
        let warming = Warming::new();
        let refused_joins = RefusedJoins::default();
        let certificates = Arc::new(Certificates::new(process.clone(), tenure.as_ref()));
        let control = Arc::new(Self {
            process,
            tenure,
            ledger,
            sessions,
            relay_tickets: Tickets::default(),
            events,
            rates,
            warming,
            traffic,
            history: Arc::new(history),
            history_file,
            refused_joins,
            certificates,
            ending: watch::Sender::new(false),
        });
        tokio::spawn(control.clone().note_leases());
        tokio::spawn(control.clone().tell_sessions());
        tokio::spawn(control.clone().tell_of_entries());
        tokio::spawn(control.clone().forget_absent());
        tokio::spawn(control.clone().tend_traffic());
        tokio::spawn(control.clone().write_history());
        tokio::spawn(control.clone().keep_tickets());
        control.certificates.start();
        Ok(control)
    }

    /// Attends the connection of a node in this process, to its end.
    pub async fn attend(self: Arc<Self>, transport: impl AsyncRead + AsyncWrite + Send + Unpin) {
        session::attend(self, Entrance::InProcess, transport).await;
    }

    /// Closes the seconds of the history, and forgets the rates of nodes that are not expected, to the end of control.
    async fn tend_traffic(self: Arc<Self>) {
        let mut seconds = tokio::time::interval(SECOND);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut has_told = false;
        loop {
            tokio::select! {
                _ = seconds.tick() => {}
                () = self.stopped() => return,
            }
            self.history.close(Now::read());
            if self.history.left_out() && !std::mem::replace(&mut has_told, true) {
                tracing::warn!(
                    "some sites of some nodes are left out of the traffic history; raise control.history"
                );
            }
            let expected = self.ledger.names();
            self.traffic.retain(|name| expected.contains(name));
        }
    }

    /// Writes the history down from time to time, to the end of control.
    async fn write_history(self: Arc<Self>) {
        let Some(file) = self.history_file.clone() else { return };
        // At once for the first time: what was counted since a crash depends on when the history began.
        let (mut pause, mut fails) = (Duration::ZERO, false);
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stopped() => return,
            }
            let (of, history) = (file.clone(), self.history.clone());
            let written = tokio::task::spawn_blocking(move || of.save(&history)).await;
            match written {
                Ok(Ok(bytes)) => {
                    pause =
                        WRITE_HISTORY.max(Duration::from_secs(bytes as u64 / WRITE_HISTORY_RATE));
                    if std::mem::take(&mut fails) {
                        tracing::info!("the traffic history is written again");
                    }
                }
                Ok(Err(error)) if !std::mem::replace(&mut fails, true) => {
                    tracing::error!(error, "the traffic history cannot be written; trying again");
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }

    /// Keeps the keys of session tickets, to the end of control.
    async fn keep_tickets(self: Arc<Self>) {
        tokio::select! {
            () = self.certificates.clone().keep_tickets() => {}
            () = self.stopped() => {}
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
