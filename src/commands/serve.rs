//! `weir serve`: a node with control built in, from start to drain.

use super::check::fronted;
use super::{Exit, complain};
use crate::control::{self, Control};
use crate::settings::Settings;
use crate::text::columns;
use clap::Args;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use weir_edge::config::Config;
use weir_edge::node::Node;

/// Run a node with control built in
///
/// SIGTERM or SIGINT lets requests under way finish (node.drain), a second one stops at once.
/// SIGHUP reads the configuration anew.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The website to stand in front of; with --config, replaces the only site's origins
    #[arg(long, value_name = "URL", required_unless_present = "config")]
    origin: Option<String>,
    /// Where clients connect [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where control listens [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// A configuration file (TOML); flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Serve {
    pub(super) fn run(self) -> Exit {
        let Self { origin, listen, admin, config: file } = self;
        let settings = Settings { file, origin, listen, admin };
        let config = match settings.load() {
            Ok(config) => config,
            Err(mistakes) => {
                for mistake in &mistakes.0 {
                    complain(&mistake.to_string(), Exit::Failed);
                }
                return Exit::Failed;
            }
        };
        crate::logging::start(&config.log.level);
        raise_file_limit(&config);
        // The node has its own workers; control and signals are light, but an apply or a metrics
        // page must not hold up a health check.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        match runtime {
            Ok(runtime) => {
                let exit = runtime.block_on(serve(config, settings));
                runtime.shutdown_background();
                exit
            }
            Err(error) => complain(&format!("cannot start: {error}"), Exit::Failed),
        }
    }
}

async fn serve(config: Config, settings: Settings) -> Exit {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            return complain(&format!("cannot listen for signals: {error}"), Exit::Failed);
        }
    };
    let admin = match TcpListener::bind(config.node.admin).await {
        Ok(listener) => listener,
        Err(error) => {
            let address = config.node.admin;
            return complain(&format!("node.admin = \"{address}\": {error}"), Exit::Failed);
        }
    };
    let node = match Node::start(config.clone()) {
        Ok(node) => node,
        Err(error) => return complain(&error.0, Exit::Failed),
    };
    let (stop, stopping) = watch::channel(false);
    let announcement =
        announcement(&config, &node, admin.local_addr().unwrap_or(config.node.admin));
    let control = Arc::new(Control::new(node, config, settings, stopping.clone()));
    control.answer_purges_by_method();
    let router = control::router(control.clone());
    let admin = tokio::spawn(control::serve(admin, router, stopping));
    // Only now: who reads it may call at once, and finds everything in its place.
    eprint!("{announcement}");

    while let Told::Reload = signals.next().await {
        // All is in the log already.
        let reloading = control.clone();
        let _ = tokio::task::spawn_blocking(move || reloading.reload()).await;
    }
    tracing::info!("stopping: requests under way may finish; a second signal stops at once");
    tokio::select! {
        exit = drain(stop, admin, &control) => exit,
        () = signals.stop() => complain("stopped at once", Exit::Failed),
    }
}

/// Lets the node finish, while control goes on to tell that it is not ready; then ends control.
async fn drain(
    stop: watch::Sender<bool>,
    admin: tokio::task::JoinHandle<()>,
    control: &Control,
) -> Exit {
    control.node().drain().await;
    // Fails only when nobody listens any more, which is what is asked for.
    let _ = stop.send(true);
    let _ = admin.await;
    Exit::Done
}

/// What runs where, in a few lines.
fn announcement(config: &Config, node: &Node, admin: SocketAddr) -> String {
    let mut rows = vec![("listen", format!("http://{}", node.listen()))];
    if let Some(tls) = node.listen_tls() {
        rows.push(("listen", format!("https://{tls}")));
    }
    rows.extend(config.sites.iter().take(10).map(|site| ("fronts", fronted(site))));
    if config.sites.len() > 10 {
        rows.push(("fronts", format!("and {} more sites", config.sites.len() - 10)));
    }
    rows.push(("admin", format!("http://{admin}")));
    if config.tokens.is_empty() {
        let words = "none configured: control answers programs on this machine only";
        rows.push(("token", words.to_owned()));
    }
    columns(&rows)
}

/// Lets the process open as many files as the system allows it, and says so where that is not
/// enough for the connections that the configuration allows.
fn raise_file_limit(config: &Config) {
    let mut limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum;
    limit.current = hard;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files could not be raised");
    }
    let have = getrlimit(Resource::Nofile).current;
    // Clients' connections, those to each origin, and what is open anyway.
    let origins: usize = config.sites.iter().map(|site| site.origins.len()).sum();
    let limits = config.limits;
    let to_origins = origins.saturating_mul(limits.origin_connections);
    let want = limits.connections.saturating_add(to_origins).saturating_add(256) as u64;
    if have.is_some_and(|have| have < want) {
        tracing::warn!(
            have,
            want,
            "the limit on open files is below what limits.connections and \
             limits.origin_connections allow"
        );
    }
}

/// The signals that the process is told by.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a signal tells.
enum Told {
    Stop,
    Reload,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hang_up.recv() => Told::Reload,
        }
    }

    /// Until the next signal to stop.
    async fn stop(&mut self) {
        while let Told::Reload = self.next().await {}
    }
}
