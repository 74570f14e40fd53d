//! A process of control that shares its log with others, on etcd. One of them is the writer: it alone opens the
//! log, answers calls about it, and has nodes connected to it, just as the only process of control does. Each of
//! the others passes on to the writer what comes to it, calls and the connections of nodes, and waits to be the
//! writer itself.

mod forward;
mod metrics;
mod router;

use crate::control::Control;
use crate::etcd::{Election, Etcd, Layout, Over, Tenure, WriterKey};
use crate::gate::Gate;
use crate::journal::JournalError;
use crate::journal::etcd::EtcdJournal;
use crate::process::Process;
use crate::router::router as router_of_control;
use axum::Router;
use forward::Forward;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// How often a process that is not the writer looks who is.
const LOOK: Duration = Duration::from_millis(200);

/// How long a process that is not the writer goes on with the one that it knows while etcd does not answer:
/// longer than etcd takes to have another leader.
const FOLLOW_ON: Duration = Duration::from_secs(4);

/// From one failure to be the writer to the next attempt.
const PAUSE: Duration = Duration::from_millis(500);

/// The clients by which a process reaches etcd, and the other processes of control.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Makes one with the certificates of `[control.etcd]`.
    pub etcd: fn(&weir_config::Etcd) -> Result<reqwest::Client, String>,
    /// For HTTP/1.1 only, without a time limit: connections of nodes go through it.
    pub control: reqwest::Client,
}

/// What this process is among the others.
#[derive(Clone)]
enum Standing {
    /// The writer.
    Writer(Writer),
    /// Another process is; what comes here is passed on to it.
    Standby(WriterKey),
    /// Nobody is known to be.
    Open,
    /// etcd does not answer; why.
    Away(String),
}

/// The writer, as calls see it.
#[derive(Clone)]
struct Writer {
    control: Arc<Control>,
    router: Router,
    tenure: Arc<Tenure>,
}

/// See the module.
pub struct Replica {
    process: Arc<Process>,
    reach: fn(&weir_config::Etcd) -> Result<reqwest::Client, String>,
    election: Arc<Election>,
    standing: watch::Sender<Standing>,
    forward: Forward,
    /// Terms as the writer.
    terms: AtomicU64,
}

impl Replica {
    /// A process that others reach at `url`, with the gate of its calls, which wait until it [runs](Self::run).
    ///
    /// # Errors
    /// The system returns no random bytes, or the configuration has no `[control.etcd]`, or files of it that
    /// cannot be used.
    pub fn new(
        process: Arc<Process>,
        clients: Clients,
        url: String,
    ) -> Result<(Arc<Self>, Arc<Gate>), String> {
        let config = process.config();
        let Some(config) = &config.control.etcd else {
            return Err("control.etcd: missing".to_owned());
        };
        let own = WriterKey { instance: random()?, url, pass: random()? };
        let election = Election {
            etcd: Arc::new(Etcd::new((clients.etcd)(config)?, config)),
            layout: Layout::new(&config.prefix),
            own,
            seen: Mutex::default(),
        };
        let replica = Arc::new(Self {
            process,
            reach: clients.etcd,
            election: Arc::new(election),
            standing: watch::Sender::new(Standing::Open),
            forward: Forward::new(clients.control),
            terms: AtomicU64::new(0),
        });
        let gate = Gate::new(router::router(replica.clone()));
        Ok((replica, gate))
    }

    /// Reloads the configuration; what is wrong with it is in the log.
    pub fn reload(&self) {
        drop(self.reloaded());
    }

    fn reloaded(&self) -> Result<Vec<&'static str>, String> {
        let standing = self.standing.borrow().clone();
        let needs_restart = match standing {
            Standing::Writer(writer) => writer.control.reload(),
            _ => self.process.reload(),
        }?;
        if let Some(etcd) = &self.process.config().control.etcd {
            match (self.reach)(etcd) {
                Ok(http) => self.election.etcd.reach(http, etcd.user.clone()),
                // They were read a moment ago.
                Err(reason) => {
                    tracing::error!(reason, "the certificates for etcd stay as they were")
                }
            }
        }
        Ok(needs_restart)
    }

    /// Looks who is the writer, and is it where nobody is, until the process stops. When this returns,
    /// another process may be the writer.
    pub async fn run(self: Arc<Self>) {
        let mut looked = Instant::now();
        loop {
            let next = tokio::select! {
                next = self.look() => next,
                () = self.process.stopped() => return,
            };
            let pause = match next {
                Ok(Some(tenure)) => {
                    self.reign(tenure).await;
                    looked = Instant::now();
                    Duration::ZERO
                }
                Ok(None) => {
                    looked = Instant::now();
                    LOOK
                }
                Err(reason) => {
                    let is_standby = matches!(&*self.standing.borrow(), Standing::Standby(_));
                    if !is_standby || looked.elapsed() >= FOLLOW_ON {
                        self.become_away(reason);
                    }
                    LOOK
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.process.stopped() => return,
            }
        }
    }

    /// Says who is the writer; a term if this process has become it.
    async fn look(&self) -> Result<Option<Arc<Tenure>>, String> {
        let view = self.election.look().await.map_err(|failure| failure.to_string())?;
        match view.writer {
            Some((writer, _)) if writer.instance != self.election.own.instance => {
                self.follow(writer);
                Ok(None)
            }
            // What is left of an earlier term of this process ends by itself.
            Some(_) => {
                self.standing.send_replace(Standing::Open);
                Ok(None)
            }
            None => {
                self.standing.send_replace(Standing::Open);
                self.election.stand().await.map_err(|failure| failure.to_string())
            }
        }
    }

    fn follow(&self, writer: WriterKey) {
        let news =
            !matches!(&*self.standing.borrow(), Standing::Standby(known) if *known == writer);
        if news {
            tracing::info!(writer = writer.url, "another process of control is the writer");
            self.standing.send_replace(Standing::Standby(writer));
        }
    }

    fn become_away(&self, reason: String) {
        let news = !matches!(&*self.standing.borrow(), Standing::Away(_));
        if news {
            tracing::error!(reason, "etcd does not answer; calls are refused");
        }
        self.standing.send_replace(Standing::Away(reason));
    }

    /// Is the writer, to the end of the term or of the process.
    async fn reign(&self, tenure: Arc<Tenure>) {
        let keeping = tokio::spawn(tenure.clone().keep());
        match self.open(tenure.clone()).await {
            Ok(control) => self.write(control, &tenure).await,
            Err(error) => {
                tracing::error!(%error, "the log in etcd cannot be opened");
                self.standing.send_replace(Standing::Away(error.to_string()));
                tenure.resign().await;
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = self.process.stopped() => {}
                }
            }
        }
        keeping.abort();
    }

    async fn open(&self, tenure: Arc<Tenure>) -> Result<Arc<Control>, JournalError> {
        let (process, here) = (self.process.clone(), Handle::current());
        let open = move || {
            let journal = EtcdJournal::new(tenure.clone(), here);
            Control::open_as_writer(process, journal, tenure)
        };
        let opened = tokio::task::spawn_blocking(open).await;
        opened.unwrap_or_else(|error| Err(JournalError::new(error.to_string())))
    }

    async fn write(&self, control: Arc<Control>, tenure: &Arc<Tenure>) {
        self.terms.fetch_add(1, Ordering::Relaxed);
        let (log, head) = (control.ledger.id(), control.ledger.head());
        tracing::info!(%log, head, "this process of control is the writer");
        let router = router_of_control(control.clone());
        let writer = Writer { control: control.clone(), router, tenure: tenure.clone() };
        self.standing.send_replace(Standing::Writer(writer));
        let over = tokio::select! {
            over = tenure.over() => Some(over),
            () = self.process.stopped() => None,
        };
        match over {
            Some(Over::Unconfirmed(reason)) => {
                tracing::error!(reason, "etcd does not answer; this process is the writer no more");
                self.standing.send_replace(Standing::Away(reason));
            }
            Some(over) => {
                tracing::warn!(reason = %over, "this process of control is the writer no more");
                self.standing.send_replace(Standing::Open);
            }
            None => {}
        }
        control.end();
        // It writes what waits; a term that is over has it refused at once.
        let closed = tokio::task::spawn_blocking(move || control.close().map(drop)).await;
        if let Ok(Err(error)) = closed {
            tracing::error!(error, "the log is not closed");
        }
        tenure.resign().await;
        // Nobody holds the log open.
        self.standing.send_if_modified(|standing| {
            let was_writer = matches!(standing, Standing::Writer(_));
            if was_writer {
                *standing = Standing::Open;
            }
            was_writer
        });
    }
}

/// 32 characters that nobody guesses.
pub(crate) fn random() -> Result<String, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| format!("the system returned no random bytes: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
