//! A running node, as the program around it sees it.

use crate::access_log::AccessLog;
use crate::config::Config;
use crate::error::StartError;
use crate::explain;
use crate::metrics::exposition::{Gauges, MEDIA_TYPE, render};
use crate::request::{OnPurge, Purger, Spine};
use crate::server::{Server, Settings};
use crate::state::{Live, NodeState, Site};
use crate::sweep::Sweeper;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use weir_rules::invalidation::{Purge, Seq, Target};
use weir_rules::key::keyed_query;

pub use crate::explain::{ExplainedDecision, ExplainedPurge, ExplainedVariant, Explanation};

/// Lines that may wait for the access log's writer.
const LOG_QUEUE: usize = 8192;

/// A running node: its workers, listeners and store. Dropping it stops it at once;
/// [`Node::drain`] lets requests under way finish.
pub struct Node {
    state: Arc<NodeState>,
    /// Taken by the drain.
    server: Mutex<Option<Server>>,
    listen: SocketAddr,
    listen_tls: Option<SocketAddr>,
    sweeper: Sweeper,
    purger: Arc<Purger>,
    log: Arc<AccessLog>,
    started: Instant,
}

impl Node {
    /// Binds the listeners of `config` (port 0 lets the system choose) and starts the workers.
    pub fn start(config: Config) -> Result<Node, StartError> {
        let settings = Settings {
            listen: config.node.listen,
            workers: config.node.workers.max(1),
            limits: config.limits,
            tls: config.tls.clone(),
        };
        let log = AccessLog::start(config.log.access, config.log.path.clone(), LOG_QUEUE)
            .map_err(|error| StartError(format!("log.path: {error}")))?;
        let (log, purger) = (Arc::new(log), Arc::new(Purger::default()));
        let state = Arc::new(NodeState::new(config)?);
        let sweeper = Sweeper::start(&state)
            .map_err(|error| StartError(format!("the sweeper's thread: {error}")))?;
        let (node, to_log, to_purger) = (Arc::clone(&state), Arc::clone(&log), Arc::clone(&purger));
        let spine = move |worker| {
            let (log, purger) = (Arc::clone(&to_log), Arc::clone(&to_purger));
            Rc::new(Spine::new(Arc::clone(&node), worker, log, purger))
        };
        let server =
            Server::start(settings, spine).map_err(|error| StartError(error.to_string()))?;
        Ok(Node {
            listen: server.listen(),
            listen_tls: server.listen_tls(),
            server: Mutex::new(Some(server)),
            state,
            sweeper,
            purger,
            log,
            started: Instant::now(),
        })
    }

    /// Where clients connect in the clear.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where TLS clients connect, when configured.
    pub fn listen_tls(&self) -> Option<SocketAddr> {
        self.listen_tls
    }

    /// Has purges by method (`PURGE /path` on the node's listener) answered by `on_purge`. Until
    /// then they get 503.
    pub fn on_purge(&self, on_purge: OnPurge) {
        self.purger.set(on_purge);
    }

    /// Takes a new configuration, all or nothing: sites, limits and TLS files at once; returns
    /// the keys whose change needs a restart (`node.listen`, …), which keep their old value.
    pub fn reload(&self, config: Config) -> Result<Vec<&'static str>, StartError> {
        let old = self.state.live.load_full();
        let old = &old.config;
        let fixed = [
            ("node.name", old.node.name != config.node.name),
            ("node.listen", old.node.listen != config.node.listen),
            ("node.admin", old.node.admin != config.node.admin),
            ("node.workers", old.node.workers != config.node.workers),
            ("memory", old.memory != config.memory),
            ("log.access", old.log.access != config.log.access),
            ("log.path", old.log.path != config.log.path),
            ("tls.listen", listens(old) != listens(&config)),
            ("limits.variants", old.limits.variants != config.limits.variants),
            ("limits.patterns", old.limits.patterns != config.limits.patterns),
            ("limits.decisions", old.limits.decisions != config.limits.decisions),
            ("limits.hit_for_miss", old.limits.hit_for_miss != config.limits.hit_for_miss),
        ];
        let live = Live::new(config, &self.state.metrics, &self.state.slots)?;
        if let Some(server) = &*self.server() {
            server
                .reload(live.config.limits, live.config.tls.as_ref())
                .map_err(|error| StartError(error.to_string()))?;
        }
        self.state.replace(live);
        Ok(fixed.into_iter().filter_map(|(key, changed)| changed.then_some(key)).collect())
    }

    /// Applies one purge; when it returns, no request whose head arrives from now on is answered
    /// with what it matches (invariant I1). Frees the space in the background.
    pub fn apply(&self, purge: &Purge) {
        let purge = as_keyed(&self.state.live.load(), purge);
        self.state.purges.apply(&purge);
        self.sweeper.sweep(&purge);
    }

    /// The highest seq applied.
    pub fn applied(&self) -> Seq {
        self.state.purges.applied()
    }

    /// How many stored responses the purge `seq` took; `None` until the sweep has been through.
    pub fn matched(&self, seq: Seq) -> Option<u64> {
        self.sweeper.matched(seq)
    }

    /// Tells what the node knows of a URL (absolute, or a path for the first site's first host)
    /// as a client sending `headers` would meet it. Changes nothing, fetches nothing.
    pub fn explain(&self, url: &str, headers: &http::HeaderMap) -> Result<Explanation, String> {
        explain::explain(&self.state, url, headers)
    }

    /// The media type of [`Node::metrics`].
    pub const METRICS_TYPE: &'static str = MEDIA_TYPE;

    /// Prometheus text exposition (prefix `weir_`).
    pub fn metrics(&self) -> String {
        let live = self.state.live.load();
        let (open, refused) = match &*self.server() {
            Some(server) => (server.connections() as u64, server.refused()),
            None => (0, 0),
        };
        let gauges = Gauges {
            node: &self.state.name,
            region: &live.config.node.region,
            tier: "edge",
            uptime: self.started.elapsed(),
            fills_running: self.state.inflight.len() as u64,
            filling_bytes: self.state.filling.used(),
            connections_open: open,
            connections_refused: refused,
            store_bytes: self.state.store.bytes(),
            store_bytes_limit: live.config.memory.size,
            store_objects: self.state.store.objects(),
            evictions: self.state.store.evicted(),
            applied_seq: self.state.purges.applied(),
            log_lines_dropped: self.log.dropped(),
        };
        render(&self.state.metrics, &self.state.slots, &gauges)
    }

    /// Clients waiting on, or reading from, the fills that run for a URL now; for tests and
    /// `explain`, which must know a crowd to be waiting rather than hope so.
    pub fn waiting(&self, url: &str) -> usize {
        explain::waiting(&self.state, url)
    }

    /// Opens the access log's file anew, after it was moved away.
    pub fn reopen_log(&self) {
        self.log.reopen();
    }

    /// Whether it accepts connections: not once it drains.
    pub fn ready(&self) -> bool {
        self.server().is_some()
    }

    /// Stops accepting, lets requests under way finish for at most `node.drain`, then stops. Only
    /// the first call drains.
    pub async fn drain(&self) {
        let bound = self.state.live.load().config.node.drain;
        let server = self.server().take();
        if let Some(server) = server {
            server.drain(bound).await;
        }
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A purge whose queries are written as keys have them: what a site's rules sort or drop of a
/// query is sorted or dropped of a target too.
fn as_keyed(live: &Live, purge: &Purge) -> Purge {
    let mut keyed = purge.clone();
    for target in &purge.targets {
        let (url, sites): (&str, Vec<_>) = match target {
            Target::Url(url) => {
                (url, host_of(url).and_then(|host| live.sites.of(host)).into_iter().collect())
            }
            Target::Path(path) => (path, live.sites.all().iter().collect()),
            _ => continue,
        };
        let Some((before, query)) = url.split_once('?') else { continue };
        let ours = |site: &&&Arc<Site>| purge.site.as_ref().is_none_or(|only| **only == *site.id);
        for site in sites.iter().filter(ours) {
            let query = keyed_query(Some(query), &site.config.key.query);
            let text = query.map_or(before.to_owned(), |query| format!("{before}?{query}"));
            let target = match target {
                Target::Url(_) => Target::Url(text),
                _ => Target::Path(text),
            };
            if !keyed.targets.contains(&target) {
                keyed.targets.push(target);
            }
        }
    }
    keyed
}

/// The host of an absolute URL.
fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    Some(&rest[..rest.find(['/', '?']).unwrap_or(rest.len())])
}

fn listens(config: &Config) -> Option<SocketAddr> {
    config.tls.as_ref().map(|tls| tls.listen)
}
