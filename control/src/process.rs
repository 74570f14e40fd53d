//! What a process has whatever its part in the topology: its configuration, perhaps a node, and
//! what its calls count.

use crate::attempts::Attempts;
use http::HeaderMap;
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use weir_config::Config;

/// The program around the calls: what it knows of its node, and how it reads its configuration.
pub trait Program: Send + Sync + 'static {
    /// Why its node is not ready, in words: it does not accept connections, or is not right to.
    /// `None` if it is, or without a node.
    fn not_ready(&self) -> Option<String>;

    /// What its node counts, as Prometheus text; empty without one.
    fn metrics(&self) -> String;

    /// Explains what its node knows of a URL (absolute, or a path for the first site's first host)
    /// as a client sending `headers` would meet it; `None` without a node.
    ///
    /// # Errors
    /// The URL is none of the node's.
    fn explain(&self, url: &str, headers: &HeaderMap) -> Option<Result<Value, String>>;

    /// How the certificates of its node stand: a list, by name; none without a node.
    fn certificates(&self) -> Vec<Value>;

    /// Has the certificate of a host renewed at once; `false` if its node orders none for it.
    fn renew_certificate(&self, host: &str) -> bool;

    /// Has the certificates of hosts replaced at once by ones with other keys, and the old ones revoked; `false` if
    /// its node orders none for one of them.
    fn rotate_certificates(&self, hosts: &[&str]) -> bool;

    /// What a CA's own certificate is held against.
    fn trust(&self) -> weir_acme::Trust;

    /// Reads the configuration again and applies it to the node, all or nothing. `old` is the one
    /// in use.
    ///
    /// # Errors
    /// What is wrong, one mistake a line; the old configuration stays in use.
    fn reload(&self, old: &Config) -> Result<Reloaded, String>;
}

/// A configuration that was read again.
#[derive(Debug)]
pub struct Reloaded {
    /// The configuration.
    pub config: Config,
    /// The keys whose change needs a restart.
    pub needs_restart: Vec<&'static str>,
}

/// A process of a topology.
pub struct Process {
    program: Box<dyn Program>,
    config: RwLock<Arc<Config>>,
    /// Held while a reload runs, so that two cannot interleave.
    reloading: Mutex<()>,
    started: Instant,
    /// Calls refused because too many were in progress.
    shed: AtomicU64,
    pub(crate) attempts: Attempts,
    stopping: watch::Receiver<bool>,
}

impl Process {
    /// A process of `program` that runs by `config`. When `stopping` turns true, calls that wait
    /// are answered with what is known.
    pub fn new(program: impl Program, config: Config, stopping: watch::Receiver<bool>) -> Self {
        Self {
            program: Box::new(program),
            config: RwLock::new(Arc::new(config)),
            reloading: Mutex::new(()),
            started: Instant::now(),
            shed: AtomicU64::new(0),
            attempts: Attempts::default(),
            stopping,
        }
    }

    /// The program around the calls.
    pub(crate) fn program(&self) -> &dyn Program {
        &*self.program
    }

    /// The configuration in use.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Since its start.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Calls refused because too many were in progress.
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

    /// Reloads the configuration, all or nothing. Returns the keys whose
    /// change needs a restart.
    ///
    /// # Errors
    /// What is wrong, one mistake a line; the old configuration stays in use.
    pub fn reload(&self) -> Result<Vec<&'static str>, String> {
        let _one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let reloaded = self.program.reload(&self.config());
        match &reloaded {
            Ok(Reloaded { needs_restart, .. }) if needs_restart.is_empty() => {
                tracing::info!("configuration reloaded");
            }
            Ok(Reloaded { needs_restart, .. }) => {
                tracing::warn!(
                    keys = needs_restart.join(", "),
                    "reloaded; these keys take effect after a restart"
                );
            }
            Err(mistakes) => {
                for mistake in mistakes.lines() {
                    tracing::error!(
                        mistake,
                        "not reloaded; the current configuration stays in \
                         use"
                    );
                }
            }
        }
        let Reloaded { config, needs_restart } = reloaded?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(needs_restart)
    }
}

/// Until `stopping` turns true.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone, which ends the process as well.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// A program without a node, which has read its configuration once.
#[cfg(test)]
pub(crate) struct Alone;

#[cfg(test)]
impl Program for Alone {
    fn not_ready(&self) -> Option<String> {
        None
    }

    fn metrics(&self) -> String {
        String::new()
    }

    fn explain(&self, _: &str, _: &HeaderMap) -> Option<Result<Value, String>> {
        None
    }

    fn certificates(&self) -> Vec<Value> {
        Vec::new()
    }

    fn renew_certificate(&self, _: &str) -> bool {
        false
    }

    fn rotate_certificates(&self, _: &[&str]) -> bool {
        false
    }

    fn trust(&self) -> weir_acme::Trust {
        |_| Err("nothing is trusted here".to_owned())
    }

    fn reload(&self, old: &Config) -> Result<Reloaded, String> {
        Ok(Reloaded { config: old.clone(), needs_restart: Vec::new() })
    }
}
