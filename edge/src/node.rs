//! A running node, as the program around it sees it.

use crate::access_log::AccessLog;
use crate::compressor::Compressor;
use crate::disk::{self, DiskSweeper};
use crate::error::StartError;
use crate::explain;
use crate::exposition::{Gauges, render};
use crate::follow::{Applier, Dial, Follower, Following, Identity, Thread};
use crate::geo::GeoWatch;
use crate::otlp::Exporter;
use crate::request::{OnPurge, Purger, Spine};
use crate::server::{Server, Settings};
use crate::standing::FollowStatus;
use crate::state::{Live, NodeState};
use crate::state_directory::{StateDirectory, new_secret};
use crate::sweep::Sweeper;
use crate::trace::Tracer;
use crate::upstream::{Names, OnChange, Prober, tls_with};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use weir_acme::schedule::wanted;
use weir_acme::{Keeper, Served};
use weir_config::Config;
use weir_config::reload::Effect;
use weir_rules::invalidation::{Purge, Seq};
use weir_rules::log::{Position, Standing};

pub use crate::certificate::Certificate;
pub use crate::server::Sockets;

pub use crate::explain::{
    ExplainedAccess, ExplainedCoding, ExplainedCookies, ExplainedDecision, ExplainedOrigin,
    ExplainedPurge, ExplainedRewrite, ExplainedRule, ExplainedVariant, Explanation,
};

/// A running node: its workers, listeners and store. Dropping it stops it at once;
/// [`Node::drain`] lets requests under way finish.
pub struct Node {
    state: Arc<NodeState>,
    /// Taken by the drain.
    server: Mutex<Option<Server>>,
    listen: SocketAddr,
    listen_tls: Option<SocketAddr>,
    following: Arc<Following>,
    /// Taken by the drain.
    follower: Mutex<Option<(Follower, Thread)>>,
    compressor: Compressor,
    geo: GeoWatch,
    /// Before the prober, which it tells of other members.
    names: Names,
    prober: Arc<Prober>,
    on_change: OnChange,
    keeper: Keeper,
    purger: Arc<Purger>,
    log: Arc<AccessLog>,
    tracer: Arc<Tracer>,
    /// Sends what is queued when it is dropped: after the server, whose requests make spans.
    _exporter: Option<Exporter>,
    /// Locked while the node runs.
    _directory: Option<StateDirectory>,
    _disk_sweeper: Option<DiskSweeper>,
}

impl Node {
    /// Binds the listeners of `config` (port 0 lets the system choose), starts the workers and
    /// accepts clients.
    pub fn start(config: Config) -> Result<Node, StartError> {
        let directory = config.node.state.as_deref().map(StateDirectory::open).transpose();
        let directory = directory.map_err(|error| StartError(error.to_string()))?;
        let node = Self::prepare(config, Sockets::default(), directory, None)?;
        node.serve();
        Ok(node)
    }

    /// Like [`Node::start`], on `sockets` as far as they are given, with the directory
    /// `node.state` as it was opened before, and without accepting anyone before [`Node::serve`]:
    /// clients that connect wait. With `takes_over` as the process that takes over from the one with
    /// that instance ([`Node::instance`]), which may still serve: a purge waits for both until that
    /// one has left control, or this one says that it has ended ([`Node::other_ended`]).
    pub fn prepare(
        config: Config,
        sockets: Sockets,
        directory: Option<StateDirectory>,
        takes_over: Option<String>,
    ) -> Result<Node, StartError> {
        let secret = match &directory {
            Some(directory) => directory.secret().clone(),
            None => new_secret().map_err(|error| StartError(error.to_string()))?,
        };
        if directory.is_none() && !config.control.url.is_empty() {
            tracing::warn!(
                name = config.node.name,
                "node.state is not set: if this process ends without draining, control refuses the \
                 next one of this name until \"weir nodes forget\" frees it"
            );
        }
        let log = AccessLog::start(config.log.access, config.log.path.clone(), config.log.queue)
            .map_err(|error| StartError(format!("log.path: {error}")))?;
        let exporter = config.log.otlp.as_ref().map(|otlp| Exporter::start(otlp, &config.node));
        let exporter =
            exporter.transpose().map_err(|error| StartError(format!("log.otlp: {error}")))?;
        let spans = exporter.as_ref().map(|exporter| exporter.spans().clone());
        let sample = config.log.otlp.as_ref().map_or(0, |otlp| otlp.sample);
        let tracer = Tracer::new(spans, sample);
        let (log, tracer) = (Arc::new(log), Arc::new(tracer));
        let purger = Arc::new(Purger::default());
        let disk = config.disk.as_ref().map(|disk| disk::open(&config, disk)).transpose()?;
        let position = disk
            .as_ref()
            .map_or_else(|| Position::restored(Standing::default(), 0), disk::OpenDisk::position);
        tell_of_key_log(&config);
        let served = Arc::<Served>::default();
        let keeper = Keeper::new(&config, tls_with, Arc::clone(&served));
        let state = Arc::new(NodeState::with_disk(config.clone(), disk, Arc::clone(&served))?);
        let disk_sweeper = state.disk.as_ref().map(|disk| {
            let limits = Arc::downgrade(&state);
            DiskSweeper::start(disk, move || {
                let share = limits.upgrade().map(|state| state.live.load().limits().sweep);
                share.unwrap_or_default()
            })
        });
        let disk_sweeper = disk_sweeper
            .transpose()
            .map_err(|error| StartError(format!("the disk sweeper's thread: {error}")))?;
        let settings = Settings {
            name: config.node.name.as_str().into(),
            trusted_proxies: config.node.trusted_proxies,
            proxy_protocol: config.node.proxy_protocol,
            memory: Arc::clone(&state.memory),
            listen: config.node.listen,
            workers: config.node.workers.max(1),
            limits: config.limits,
            tls: config.tls,
            served,
        };
        let prober = Arc::new(Prober::default());
        prober.follow(state.live.load().targets()).map_err(probes)?;
        let compressor = Compressor::new(&state);
        compressor.follow(&state.live.load().config).map_err(compresses)?;
        let geo = GeoWatch::default();
        follow_geo(&geo, &state.live.load())?;
        let on_change = probes_again(&state, &prober);
        let names = Names::default();
        names.follow(state.live.load().names(), &on_change).map_err(lookups)?;
        let sweeper = Sweeper::start(&state)
            .map_err(|error| StartError(format!("the sweeper's thread: {error}")))?;
        let applier = Applier::new(Arc::clone(&state), sweeper, position);
        let shared =
            (Arc::clone(&state), Arc::clone(&log), Arc::clone(&tracer), Arc::clone(&purger));
        let spine = move |worker| {
            let (state, log, tracer, purger) = shared.clone();
            Rc::new(Spine::new(state, worker, log, tracer, purger))
        };
        let server = Server::prepare(settings, sockets, spine)
            .map_err(|error| StartError(error.to_string()))?;
        let listen = server.listen();
        let identity = Identity { secret, takes_over };
        let following =
            Following::new(Arc::clone(&state), applier, listen, server.open(), identity)?;
        Ok(Node {
            listen,
            listen_tls: server.listen_tls(),
            server: Mutex::new(Some(server)),
            state,
            following: Arc::new(following),
            follower: Mutex::new(None),
            names,
            prober,
            compressor,
            geo,
            on_change,
            keeper,
            purger,
            log,
            tracer,
            _exporter: exporter,
            _directory: directory,
            _disk_sweeper: disk_sweeper,
        })
    }

    /// Accepts clients from now on, and orders certificates where they are wanted.
    pub fn serve(&self) {
        if let Some(server) = &*self.server() {
            server.serve();
        }
        if let Err(error) = self.keeper.start() {
            tracing::error!(%error, "tls.acme: no thread to order certificates");
        }
    }

    /// How each certificate stands, by name: those that are ordered, and those from files.
    pub fn certificates(&self) -> Vec<Certificate> {
        let ordered = self.keeper.listed().into_iter().map(Certificate::Ordered);
        let of_files = self.server().as_ref().map(Server::certificates_of_files);
        let of_files = of_files.unwrap_or_default().into_iter();
        ordered
            .chain(of_files.map(|(names, expires)| Certificate::File { names, expires }))
            .collect()
    }

    /// Has the certificate of a host renewed at once; `false` if none is ordered for it.
    pub fn renew_certificate(&self, host: &str) -> bool {
        self.keeper.renew(host)
    }

    /// Has the certificates of hosts replaced at once by ones with other keys, and the old ones revoked; session
    /// tickets made before are not taken any more. `false` if none is ordered for one of the hosts.
    pub fn rotate_certificates(&self, hosts: &[&str]) -> bool {
        let renewed = self.state.served.tickets().renew();
        if let Err(error) = renewed {
            tracing::error!(error, "session tickets keep their keys");
        }
        self.keeper.rotate(hosts)
    }

    /// Goes on with the certificates of a new configuration: those that the node orders, or those that control
    /// sends.
    fn reload_certificates(&self, old: &Config, new: &Config) -> Result<(), StartError> {
        let keep = || {
            self.keeper.reload(new).map_err(|error| {
                StartError(format!("tls.acme: the thread that orders certificates: {error}"))
            })
        };
        // What is in force goes with the one that put it there, before the other one begins.
        if shares_secret(new) {
            keep()?;
            self.state.received.reload(new);
        } else {
            self.state.received.reload(new);
            keep()?;
        }
        let acme = |config: &Config| config.tls.as_ref().and_then(|tls| tls.acme.clone());
        if acme(old) != acme(new) || wanted(old) != wanted(new) {
            // Control is told again what the node takes, and sends what it lacks.
            self.state.moved.send_replace(());
        }
        if new.tls.as_ref().map(|tls| &tls.key_log) != old.tls.as_ref().map(|tls| &tls.key_log) {
            tell_of_key_log(new);
        }
        Ok(())
    }

    /// The sockets that it listens on, for another process to listen on too; none once it drains.
    ///
    /// # Errors
    /// The process has no more descriptors.
    pub fn sockets(&self) -> std::io::Result<Sockets> {
        self.server().as_ref().map_or_else(|| Ok(Sockets::default()), Server::sockets)
    }

    /// Whether it has what the log had when it joined control.
    pub fn is_caught_up(&self) -> bool {
        self.following.link().is_caught_up()
    }

    /// Where clients connect in the clear.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where TLS clients connect, when configured.
    pub fn listen_tls(&self) -> Option<SocketAddr> {
        self.listen_tls
    }

    /// Follows control over the connections that `dial` makes, on a thread of its own, until the
    /// node drains or is dropped; purges by method go there too. What control asks of the node is
    /// answered on `runtime`. Only the first call counts.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn follow(&self, dial: impl Dial, runtime: &Handle) -> Result<(), StartError> {
        let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        if follower.is_none() {
            let thread = Thread::start()
                .map_err(|error| StartError(format!("the thread that follows control: {error}")))?;
            let calls = Arc::clone(self.following.calls());
            self.purger.set(Box::new(move |ask| Box::pin(Arc::clone(&calls).purge(ask))));
            let following = Arc::clone(&self.following);
            let started = Follower::start(following, dial, thread.handle(), runtime.clone());
            *follower = Some((started, thread));
        }
        Ok(())
    }

    /// Where the node stands with the log that it follows, in the log's numbers.
    pub fn followed(&self) -> FollowStatus {
        self.following.followed()
    }

    /// Has purges by method (`PURGE /path` on the node's listener) answered by `on_purge`. Until
    /// then they get 503.
    pub fn on_purge(&self, on_purge: OnPurge) {
        self.purger.set(on_purge);
    }

    /// Takes a new configuration, all or nothing: sites, limits and TLS files at once; returns
    /// the keys whose change needs a restart (`node.listen`, …), which keep their old value until
    /// then.
    pub fn reload(&self, config: Config) -> Result<Vec<&'static str>, StartError> {
        let before = self.state.live.load_full();
        let (config, kept) = before.config.reloaded(config, |effect| effect == Effect::NodeRestart);
        let live = Live::new(config, &self.state.metrics, &self.state.slots, Some(&before))?;
        if let Some(server) = &*self.server() {
            let Config { limits, node, tls, .. } = &live.config;
            server
                .reload(*limits, &node.trusted_proxies, &node.proxy_protocol, tls.as_ref())
                .map_err(|error| StartError(error.to_string()))?;
        }
        self.prober.follow(live.targets()).map_err(probes)?;
        self.compressor.follow(&live.config).map_err(compresses)?;
        let new = live.config.clone();
        self.state.replace(live);
        self.reload_certificates(&before.config, &new)?;
        let live = self.state.live.load();
        // Once more: a name may have had other addresses in between.
        self.prober.follow(live.targets()).map_err(probes)?;
        self.names.follow(live.names(), &self.on_change).map_err(lookups)?;
        follow_geo(&self.geo, &live)?;
        Ok(kept)
    }

    /// Applies one purge without a log, under a number of the node's own; when it returns, no
    /// request whose head arrives from now on is answered with what it matches (invariant I1).
    #[doc(hidden)]
    pub fn apply(&self, purge: &Purge) {
        self.following.applier().purge(purge.clone());
    }

    /// The highest seq applied, in the node's own numbers.
    #[doc(hidden)]
    pub fn applied(&self) -> Seq {
        self.state.purges.applied()
    }

    /// How many stored responses the purge of this own number took; `None` until the sweep has
    /// been through.
    #[doc(hidden)]
    pub fn matched(&self, seq: Seq) -> Option<u64> {
        self.state.matched.of(seq)
    }

    /// Tells what the node knows of a URL (absolute, or a path for the first site's first host)
    /// as a client sending `headers` would meet it. Changes nothing, fetches nothing.
    pub fn explain(&self, url: &str, headers: &http::HeaderMap) -> Result<Explanation, String> {
        explain::explain(&self.state, url, headers)
    }

    /// Prometheus text exposition (prefix `weir_`).
    pub fn metrics(&self) -> String {
        let live = self.state.live.load();
        let (open, taken, refused, refused_for_share, closed_idle) = match &*self.server() {
            Some(server) => (
                server.connections() as u64,
                server.taken(),
                server.refused(),
                server.refused_for_share(),
                server.closed_idle(),
            ),
            None => (0, 0, 0, 0, 0),
        };
        let gauges = Gauges {
            node: &self.state.name,
            geo: live.geo.as_ref().map(|geo| geo.counts()),
            region: &live.config.node.region,
            tier: self.state.tier.as_str(),
            uptime: self.state.started.elapsed(),
            fills_running: self.state.inflight.len() as u64,
            memory_used: self.state.memory.used(),
            memory_bound: self.state.memory.bound(),
            memory_refused: self.state.memory.refusals(),
            filling_bytes: self.state.filling.used(),
            read_ahead_bytes: self.state.ahead.memory.used(),
            coding: self.state.coding.counts(),
            spool_bytes: self.state.ahead.spool.as_ref().map_or(0, |spool| spool.used()),
            connections_open: open,
            connections_taken: taken,
            connections_refused: refused,
            connections_refused_for_share: refused_for_share,
            connections_closed_idle: closed_idle,
            store_bytes: self.state.store.bytes(),
            store_bytes_limit: live.config.memory.size,
            store_objects: self.state.store.objects(),
            evictions: self.state.store.evicted(),
            disk: self.state.disk.as_ref().map(|disk| disk.counts()),
            not_stored: self.state.decisions.counts(),
            followed: &self.followed(),
            relay: self
                .state
                .relay
                .as_ref()
                .map_or((0, 0), |relay| (relay.links(), relay.dropped())),
            purged: self.following.applier().purged(),
            log_lines_dropped: self.log.dropped(),
            spans: self.tracer.counts(),
            members: live.member_counts(),
            certificates: &self.certificates(),
        };
        render(&self.state.metrics, &self.state.slots, &gauges)
    }

    /// Clients waiting on, or reading from, the fills that run for a URL now; for tests and
    /// `explain`, which must know a crowd to be waiting rather than hope so.
    pub fn waiting(&self, url: &str) -> usize {
        explain::waiting(&self.state, url)
    }

    /// Reopens the file of the access log, after it was moved away.
    pub fn reopen_log(&self) {
        self.log.reopen();
    }

    /// What tells this process from others of the same node, which control may know of.
    pub fn instance(&self) -> &str {
        self.following.instance()
    }

    /// Tells control, once it is connected, that the process with this instance of the same node has
    /// ended, so that no purge waits for it. The caller must be sure of it.
    pub fn other_ended(&self, instance: String) {
        if let Some(disk) = &self.state.disk {
            disk.other_ended();
        }
        self.following.other_ended(instance);
    }

    /// Why it is not ready, in words; `None` if it is. It is ready while it accepts connections and is
    /// right to: not once it drains and, if it follows control, not before it has what the log had
    /// when it joined, and not while control refuses it. A node that cannot reach control is ready
    /// once the lease since its start is over (invariant I5); it validates everything it has stored
    /// until control lets it in.
    pub fn not_ready(&self) -> Option<String> {
        match self.server().as_ref().map(Server::is_serving) {
            None => return Some("the node drains".to_owned()),
            Some(false) => return Some("the node does not accept clients yet".to_owned()),
            Some(true) => {}
        }
        if let Some(reason) = self.following.link().refusal() {
            return Some(format!("control refuses this node: {reason}"));
        }
        let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        let follows = self.state.lease.is_finite() || follower.is_some();
        drop(follower);
        let in_time =
            self.state.lease.length().is_none_or(|lease| self.state.started.elapsed() < lease);
        let link = self.following.link();
        if !follows || link.is_caught_up() {
            return None;
        }
        match (link.is_connected(), in_time) {
            (true, _) => Some("the node has not applied the log yet".to_owned()),
            (false, true) => Some("the node has not joined control yet".to_owned()),
            (false, false) => None,
        }
    }

    /// Whether it is ready: [`Node::not_ready`] gives no reason.
    pub fn ready(&self) -> bool {
        self.not_ready().is_none()
    }

    /// Stops accepting, lets requests under way finish for at most `node.drain`, tells control
    /// that the node leaves, then stops. Only the first call drains.
    pub async fn drain(&self) {
        self.keeper.stop();
        let bound = self.state.live.load().config.node.drain;
        let Some(server) = self.server().take() else { return };
        server.drain(bound).await;
        let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((follower, _thread)) = follower {
            follower.leave().await;
        }
        self.close_disk().await;
    }

    /// Closes the disk store, for another process to open it. The node goes on without it, until
    /// [`Node::reopen_disk`]; what is removed by unsafe requests from then on is noted in `node.state` for
    /// that process.
    pub async fn close_disk(&self) {
        if let Some(disk) = &self.state.disk {
            let wait = self.state.live.load().config.disk.as_ref().map(|disk| disk.hang);
            disk.close(wait.unwrap_or_default()).await;
        }
    }

    /// Opens the disk store again, once the process has ended that was to take over.
    pub async fn reopen_disk(&self) {
        if let Some(disk) = &self.state.disk {
            disk.reopen().await;
        }
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether control orders certificates for the node.
fn shares_secret(config: &Config) -> bool {
    config.tls.as_ref().and_then(|tls| tls.acme.as_ref()).is_some_and(|acme| acme.secret.is_some())
}

/// Whoever has the file reads what clients say: nobody is to forget it.
fn tell_of_key_log(config: &Config) {
    if let Some(path) = config.tls.as_ref().and_then(|tls| tls.key_log.as_ref()) {
        tracing::warn!(
            path = %path.display(),
            "tls.key_log: the secrets of all TLS connections are written to this file, for debugging alone"
        );
    }
}

fn compresses(error: std::io::Error) -> StartError {
    StartError(format!("a thread that compresses: {error}"))
}

/// Has the members of now probed, where a name has other addresses.
fn probes_again(state: &Arc<NodeState>, prober: &Arc<Prober>) -> OnChange {
    let (state, prober) = (Arc::downgrade(state), Arc::downgrade(prober));
    Arc::new(move || {
        let (Some(state), Some(prober)) = (state.upgrade(), prober.upgrade()) else { return };
        if let Err(error) = prober.follow(state.live.load().targets()) {
            tracing::error!(%error, "the probes' thread");
        }
    })
}

fn lookups(error: std::io::Error) -> StartError {
    StartError(format!("the thread that looks up names of origins: {error}"))
}

/// Watches the database of a configuration.
fn follow_geo(watch: &GeoWatch, live: &Live) -> Result<(), StartError> {
    let every = live.config.geo.as_ref().map_or(Duration::ZERO, |geo| geo.reload);
    let followed = watch.follow(live.geo.as_ref(), every);
    followed.map_err(|error| StartError(format!("the thread that watches geo.database: {error}")))
}

fn probes(error: std::io::Error) -> StartError {
    StartError(format!("the probes' thread: {error}"))
}
