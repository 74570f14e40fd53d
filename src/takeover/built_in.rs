//! Control in this process, which can be closed for another process and opened again.

use super::place::{Place, ToPlace};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use weir_control::{Control, Gate, Process};
use weir_edge::follow::Dial;

/// How long calls that run may take before the log is closed.
const LAST_CALLS: Duration = Duration::from_secs(2);

/// How long it is tried to open the log again, and how often.
const REOPEN: Duration = Duration::from_secs(3);
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// See the module.
pub(crate) struct BuiltIn {
    process: Arc<Process>,
    gate: Arc<Gate>,
    place: watch::Sender<Place>,
}

impl BuiltIn {
    /// Opens the log of `process`; without `control.data` the one that another process had in memory.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub(crate) fn open(process: Arc<Process>, log: Option<&[u8]>) -> Result<Arc<Self>, String> {
        let control = Control::open_with(process.clone(), log)?;
        let gate = Gate::new(weir_control::router(control.clone()));
        Ok(Arc::new(Self { process, gate, place: watch::Sender::new(Place::Here(control)) }))
    }

    /// What its calls go through.
    pub(crate) fn gate(&self) -> Arc<Gate> {
        self.gate.clone()
    }

    /// The way to the log for the node of this process, wherever the log is.
    pub(crate) fn dial(&self, here: &Handle) -> impl Dial + use<> {
        ToPlace { place: self.place.subscribe(), here: here.clone() }
    }

    /// Reloads the configuration; what is wrong with it is in the log.
    pub(crate) fn reload(&self) {
        match self.control() {
            Some(control) => drop(control.reload()),
            None => drop(self.process.reload()),
        }
    }

    /// Writes the traffic history down for the last time, if the log is here: the process is about to end.
    pub(crate) async fn keep_history(&self) {
        if let Some(control) = self.control() {
            // Fails only if it panics, which is in the log.
            let _ = tokio::task::spawn_blocking(move || control.keep_history()).await;
        }
    }

    /// Attends the node of the process that was taken over from.
    pub(super) async fn attend(&self, transport: impl AsyncRead + AsyncWrite + Send + Unpin) {
        if let Some(control) = self.control() {
            control.attend(transport).await;
        }
    }

    /// Closes the log: calls are held, those that run end, and `control.data` is free. Returns the
    /// log where it is in memory only.
    ///
    /// # Errors
    /// The log cannot be written down, or is not here.
    pub(super) async fn close(&self) -> Result<Option<Vec<u8>>, String> {
        let Some(control) = self.control() else {
            return Err("the log is not in this process".to_owned());
        };
        self.gate.hold();
        self.place.send_replace(Place::Nowhere);
        control.end();
        if !self.gate.until_idle(LAST_CALLS).await {
            tracing::warn!("calls that have not ended are not waited for");
        }
        let closed = tokio::task::spawn_blocking(move || control.close()).await;
        closed.map_err(|error| error.to_string())?
    }

    /// Opens the log again, as [`BuiltIn::close`] gave it, once no other process has it open.
    ///
    /// # Errors
    /// It could not be opened for a while.
    pub(super) async fn reopen(&self, log: Option<&[u8]>) -> Result<(), String> {
        let end = Instant::now() + REOPEN;
        loop {
            match Control::open_with(self.process.clone(), log) {
                Ok(control) => {
                    let router = weir_control::router(control.clone());
                    self.place.send_replace(Place::Here(control));
                    self.gate.open(router);
                    return Ok(());
                }
                Err(error) if Instant::now() >= end => return Err(error),
                Err(_) => sleep(TRY_AGAIN).await,
            }
        }
    }

    /// The log is in the process that listens on one of these sockets.
    pub(super) fn moved(&self, to: Arc<[PathBuf]>) {
        self.place.send_replace(Place::There(to));
    }

    fn control(&self) -> Option<Arc<Control>> {
        match &*self.place.borrow() {
            Place::Here(control) => Some(control.clone()),
            Place::Nowhere | Place::There(_) => None,
        }
    }
}
