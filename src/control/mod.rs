//! Control, built into the node: the invalidation log and the REST API on the admin address.
//!
//! Life of a purge: [`rest`] authenticates ([`auth`]) and parses it ([`purges`]), [`log`] gives it
//! its seq and has the node apply it, and the answer waits, within bounds, for what it matched.

mod auth;
mod errors;
mod extract;
mod fields;
mod listener;
mod log;
mod method;
mod openapi;
mod purges;
mod rest;
mod told;

pub(crate) use listener::serve;
pub(crate) use purges::LONGEST_WAIT_MS;
pub(crate) use rest::router;

use crate::settings::Settings;
use errors::ApiError;
use log::{Entry, Log, Order};
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use weir_edge::config::Config;
use weir_edge::node::Node;

/// What the calls of control share.
pub(crate) struct Control {
    node: Node,
    log: Log,
    config: RwLock<Arc<Config>>,
    settings: Settings,
    /// Held while a reload runs, so that two cannot interleave.
    reloading: Mutex<()>,
    started: Instant,
    /// Calls refused because too many ran at once.
    shed: AtomicU64,
    stopping: watch::Receiver<bool>,
}

impl Control {
    /// Control of `node`, which runs by `config` of `settings`. When `stopping` turns true,
    /// calls that wait are answered with what is known.
    pub(crate) fn new(
        node: Node,
        config: Config,
        settings: Settings,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            node,
            log: Log::new(config.control.retention),
            config: RwLock::new(Arc::new(config)),
            settings,
            reloading: Mutex::new(()),
            started: Instant::now(),
            shed: AtomicU64::new(0),
            stopping,
        }
    }

    /// Has the node bring `PURGE /path` here.
    pub(crate) fn answer_purges_by_method(self: &Arc<Self>) {
        self.node.on_purge(method::on_purge(self));
    }

    /// The node, for its end.
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// Reads the configuration anew and takes it into use, all or nothing. Returns the keys whose
    /// change needs a restart.
    ///
    /// # Errors
    /// What is wrong, one mistake a line; the old configuration stays in use.
    pub(crate) fn reload(&self) -> Result<Vec<&'static str>, String> {
        // Whoever moved the access log's file away tells by a reload, too.
        self.node.reopen_log();
        let _one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.settings.load().map_err(|mistakes| mistakes.to_string()).and_then(|new| {
            let kept = self.node.reload(new.clone()).map_err(|error| error.0)?;
            self.log.retain(new.control.retention);
            crate::logging::set_level(&new.log.level);
            *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
            Ok(kept)
        });
        match &taken {
            Ok(kept) if kept.is_empty() => tracing::info!("configuration reloaded"),
            Ok(kept) => tracing::warn!(keys = kept.join(", "), "reloaded; these need a restart"),
            Err(mistakes) => log_mistakes(mistakes),
        }
        taken
    }

    /// Appends a purge to the log and applies it; when this returns, it holds.
    ///
    /// # Errors
    /// 409: its reference names another purge.
    fn purge(&self, order: Order) -> Result<Arc<Entry>, ApiError> {
        self.log.purge(order, |purge| self.node.apply(purge)).map_err(|reused| {
            let message = format!("it names another purge, {}; use a new reference", reused.0);
            ApiError::reference_reused(message)
        })
    }

    /// The configuration in use.
    fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the purge matched, asked of the node while it is not known.
    fn matched(&self, entry: &Entry) -> Option<u64> {
        entry.matched(|seq| self.node.matched(seq))
    }

    /// Waits until it is known what `entry` matched, for at most `wait`, or until control stops.
    /// The node's sweep tells nobody when it is through, so it is asked, ever less often.
    async fn until_matched(&self, entry: &Entry, wait: Duration) {
        let mut stopping = self.stopping.clone();
        let asked = async {
            let mut pause = Duration::from_millis(1);
            while entry.applied().is_none() || self.matched(entry).is_none() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(50));
            }
        };
        tokio::select! {
            () = asked => {}
            () = tokio::time::sleep(wait) => {}
            () = stopped(&mut stopping) => {}
        }
    }

    fn count_shed(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Until control is told to stop.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone, which ends control as well.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

fn log_mistakes(mistakes: &dyn Display) {
    for mistake in mistakes.to_string().lines() {
        tracing::error!(mistake, "not reloaded, the old configuration stays");
    }
}
