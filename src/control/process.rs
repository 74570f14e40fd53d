//! What a process has whatever its part in the topology: its configuration, perhaps a node, and
//! what its calls count.

use crate::settings::Settings;
use crate::tokens;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use weir_edge::config::Config;
use weir_edge::config::reload::Effect;
use weir_edge::node::Node;

/// A process of a topology.
pub(crate) struct Process {
    node: Option<Arc<Node>>,
    config: RwLock<Arc<Config>>,
    settings: Settings,
    /// Held while a reload runs, so that two cannot interleave.
    reloading: Mutex<()>,
    started: Instant,
    /// Calls refused because too many ran at once.
    shed: AtomicU64,
    stopping: watch::Receiver<bool>,
}

impl Process {
    /// A process that runs by `config` of `settings`, with `node` if it has one. When `stopping`
    /// turns true, calls that wait are answered with what is known.
    pub(crate) fn new(
        node: Option<Arc<Node>>,
        config: Config,
        settings: Settings,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            node,
            config: RwLock::new(Arc::new(config)),
            settings,
            reloading: Mutex::new(()),
            started: Instant::now(),
            shed: AtomicU64::new(0),
            stopping,
        }
    }

    /// The node that runs in it.
    pub(crate) fn node(&self) -> Option<&Arc<Node>> {
        self.node.as_ref()
    }

    /// The configuration in use.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Since its start.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Calls refused because too many ran at once.
    pub(crate) fn shed(&self) -> u64 {
        self.shed.load(Ordering::Relaxed)
    }

    /// Counts a call that was refused because too many ran.
    pub(crate) fn count_shed(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
    }

    /// Until the process is told to stop.
    pub(crate) async fn stopped(&self) {
        stopped(&mut self.stopping.clone()).await;
    }

    /// Reads the configuration anew and takes it into use, all or nothing. Returns the keys whose
    /// change needs a restart.
    ///
    /// # Errors
    /// What is wrong, one mistake a line; the old configuration stays in use.
    pub(crate) fn reload(&self) -> Result<Vec<&'static str>, String> {
        // Whoever moved the access log's file away tells by a reload, too.
        if let Some(node) = &self.node {
            node.reopen_log();
        }
        let _one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.take_anew();
        match &taken {
            Ok(kept) if kept.is_empty() => tracing::info!("configuration reloaded"),
            Ok(kept) => tracing::warn!(keys = kept.join(", "), "reloaded; these need a restart"),
            Err(mistakes) => {
                for mistake in mistakes.lines() {
                    tracing::error!(mistake, "not reloaded, the old configuration stays");
                }
            }
        }
        taken
    }

    fn take_anew(&self) -> Result<Vec<&'static str>, String> {
        let new = self.settings.load();
        let new = new.and_then(|new| tokens::complete_at_once(new, &self.settings));
        let new = new.map_err(|mistakes| mistakes.to_string())?;
        let (new, kept) = self.config().reloaded(new, |effect| self.needs_restart(effect));
        if let Some(node) = &self.node {
            node.reload(new.clone()).map_err(|error| error.0)?;
        }
        crate::logging::set_level(new.log.level);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(kept)
    }

    /// Whether this process takes keys of this effect when it starts, and not again.
    fn needs_restart(&self, effect: Effect) -> bool {
        match effect {
            Effect::Reload => false,
            Effect::NodeRestart => self.node.is_some(),
            Effect::ControlRestart => true,
            // With a node, control listens at its admin address.
            Effect::LoneControlRestart => self.node.is_none(),
        }
    }
}

/// Until `stopping` turns true.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone, which ends the process as well.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
