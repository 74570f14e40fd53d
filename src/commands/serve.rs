//! `weir serve`: a node, with control built in or as one of a topology, from start to drain.

use super::check::{fronted, ordered};
use super::running::{
    self, Reactions, Service, Signals, bind, not_taken_over, tokenless, until_joined, upgrade,
};
use super::{Exit, tell};
use crate::program::Program;
use crate::settings::{Part, Settings};
use crate::sockets::Sockets;
use crate::supervisor;
use crate::takeover::{self, BuiltIn, Listening, Old, Takeover};
use crate::text::columns;
use clap::{ArgGroup, Args};
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_config::Config;
use weir_control::{Gate, Process};
use weir_edge::follow::Remote;
use weir_edge::node::{self, Node};
use weir_edge::state_directory::StateDirectory;
use weir_protocol::takeover::{LogPlace, Role, Running};

/// Run a node, with control built in unless the configuration sets control.url
///
/// On SIGTERM or SIGINT, or if its terminal is closed, requests in progress may finish (node.drain); a
/// second signal stops the node immediately. SIGHUP reloads the configuration. SIGUSR2 starts the program
/// anew, which then takes over. Under nohup, the node continues without its terminal.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("fronts").required(true).multiple(true).args(["origin", "config"]))]
pub(crate) struct Serve {
    /// URL of the origin; with --config, replaces the origins of the only site
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
    /// Host name to serve by https, with a certificate that weir orders and renews; may be repeated
    #[arg(long = "domain", value_name = "NAME")]
    domains: Vec<String>,
    /// Email address that the certificate authority may write to
    #[arg(long, value_name = "ADDRESS", requires = "domains")]
    email: Option<String>,
    /// Address for clients [default: 0.0.0.0:8080; with --domain, port 80 of all addresses]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Address of control [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// A configuration file (TOML); flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take over from the process that runs with the same node.state, if there is one
    #[arg(long)]
    takeover: bool,
}

impl Serve {
    pub(super) fn run(self) -> Exit {
        let Self { origin, domains, email, listen, admin, config: file, takeover } = self;
        let settings = Settings {
            part: Part::Node,
            file,
            origin,
            listen,
            admin,
            domains,
            email,
            ..Settings::default()
        };
        running::serve::<Started>(settings, takeover)
    }
}

/// A node that is ready to serve.
struct Started {
    node: Arc<Node>,
    process: Arc<Process>,
    built_in: Option<Arc<BuiltIn>>,
    /// The way to a control elsewhere, if the node does not follow it yet.
    remote: Option<Remote>,
    gate: Arc<Gate>,
    admin: TcpListener,
    listening: Option<Listening>,
    takeover: Option<Takeover>,
    taken: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
    stopping: watch::Receiver<bool>,
}

async fn start(
    config: &Config,
    settings: Settings,
    takes_over: bool,
    sockets: Sockets,
) -> Result<Started, String> {
    let running = running(config);
    let mut takeover = match (takes_over, &config.node.state) {
        (true, Some(directory)) => {
            takeover::begin(directory, running.clone()).await.map_err(not_taken_over)?
        }
        (true, None) => {
            let accepted = "the directory in which the running process waits for the new one";
            return Err(format!("--takeover: node.state is missing; accepted: {accepted}"));
        }
        (false, _) => None,
    };
    let mut sockets = running::sockets(&mut takeover, sockets)?;
    let admin = bind("node.admin", config.node.admin, &mut sockets).await?;
    let clear = sockets.take(Role::Listen, config.node.listen);
    let secure = config.tls.as_ref();
    let secure = secure.and_then(|tls| sockets.take(Role::ListenTls, tls.listen));
    running::all_used(takeover.is_some(), &sockets, "node.listen, tls.listen and node.admin")?;
    let (state, lock) = state_directory(config, takeover.as_mut())?;
    let takes_over = takeover.as_ref().and_then(|takeover| takeover.instance.clone());
    let on = node::Sockets { clear, secure };
    let node = Node::prepare(config.clone(), on, state, takes_over);
    let node = Arc::new(node.map_err(|error| error.0)?);
    if let Some(takeover) = &mut takeover {
        takeover.begins(Some(node.instance())).await.map_err(not_taken_over)?;
    }
    let admin_too = admin.try_clone().map_err(|error| error.to_string())?;
    let admin = TcpListener::from_std(admin).map_err(|error| error.to_string())?;
    let (stop, stopping) = watch::channel(false);
    let program = Program { node: Some(node.clone()), settings };
    let process = Arc::new(Process::new(program, config.clone(), stopping.clone()));
    let here = Handle::current();
    let (token, ca) = (config.control.token.as_ref(), config.control.ca.as_deref());
    let mut remote = match &*config.control.url {
        [] => None,
        urls => Some(Remote::new(urls, token, ca).map_err(|error| error.0)?),
    };
    let is_elsewhere = remote.is_some();
    let mut log = None;
    if let Some(takeover) = &mut takeover {
        // With control elsewhere the node has what the log has before it serves.
        if let Some(remote) = remote.take() {
            node.follow(remote, &here).map_err(|error| error.0)?;
            running::until_caught_up(&node).await.map_err(not_taken_over)?;
        }
        log = Some(takeover.prepared().await.map_err(not_taken_over)?);
    }
    let built_in = match is_elsewhere {
        true => None,
        false => Some(BuiltIn::open(process.clone(), log.as_deref())?),
    };
    let gate = match &built_in {
        Some(built_in) => built_in.gate(),
        None => Gate::new(weir_control::node_router(process.clone())),
    };
    let (taken, told) = watch::channel(false);
    let old = Old {
        running,
        node: Some(node.clone()),
        admin: admin_too,
        gate: gate.clone(),
        built_in: built_in.clone(),
        lock,
        taken,
    };
    let listening =
        config.node.state.as_ref().and_then(|directory| running::await_takeover(directory, old));
    if let Some(takeover) = &mut takeover {
        takeover.opened().await.map_err(not_taken_over)?;
    }
    if let Some(built_in) = &built_in {
        node.follow(built_in.dial(&here), &here).map_err(|error| error.0)?;
        until_joined(&node).await?;
    }
    let taken = told;
    Ok(Started {
        node,
        process,
        built_in,
        remote,
        gate,
        admin,
        listening,
        takeover,
        taken,
        stop,
        stopping,
    })
}

impl Service for Started {
    async fn start(
        config: &Config,
        settings: Settings,
        takes_over: bool,
        sockets: Sockets,
    ) -> Result<Self, String> {
        start(config, settings, takes_over, sockets).await
    }

    async fn serve(self, config: &Config, signals: Signals) -> Result<Exit, String> {
        let Self { node, process, built_in, remote, gate, admin, listening, .. } = self;
        let announcement =
            announcement(config, &node, admin.local_addr().unwrap_or(config.node.admin));
        node.serve();
        let admin = tokio::spawn(weir_control::serve(admin, gate, self.stopping));
        running::publish(listening.as_ref());
        // A control elsewhere may be down; the node then waits for it.
        if let Some(remote) = remote {
            node.follow(remote, &Handle::current()).map_err(|error| error.0)?;
        }
        if let Some(takeover) = self.takeover {
            let before = takeover.instance.clone();
            let ended = takeover.serving().await;
            let node = node.clone();
            // Should it end without leaving control, no purge waits for it.
            tokio::spawn(async move {
                ended.await;
                before.into_iter().for_each(|instance| node.other_ended(instance));
            });
        }
        supervisor::ready();
        // Only now: whoever reads it may call immediately.
        tell(&announcement);
        let kept = built_in.clone();
        let reload: Arc<dyn Fn() + Send + Sync> = match built_in {
            Some(built_in) => Arc::new(move || built_in.reload()),
            None => Arc::new(move || drop(process.reload())),
        };
        let upgrade: Arc<dyn Fn() + Send + Sync> = match listening {
            Some(_) => Arc::new(upgrade),
            None => Arc::new(|| {
                tracing::error!(
                    "not upgraded: node.state is missing, where processes find each other"
                );
            }),
        };
        let reactions = Reactions { reload, upgrade, taken: self.taken };
        let end = async {
            drain(&node, self.stop, admin).await;
            if let Some(built_in) = kept {
                built_in.keep_history().await;
            }
        };
        Ok(signals.serve(reactions, end).await)
    }
}

/// What the process is to one that takes over from it, or that it takes over from.
fn running(config: &Config) -> Running {
    let log = match (config.control.url.first(), &config.control.data) {
        (Some(_), _) => LogPlace::Elsewhere,
        (None, Some(data)) => LogPlace::Directory(data.clone()),
        (None, None) => LogPlace::Memory,
    };
    let program = env!("CARGO_PKG_VERSION").to_owned();
    Running { node: Some(config.node.name.clone()), log, program }
}

/// The directory `node.state`, and its lock for another process.
fn state_directory(
    config: &Config,
    takeover: Option<&mut Takeover>,
) -> Result<(Option<StateDirectory>, Option<File>), String> {
    let Some(path) = &config.node.state else { return Ok((None, None)) };
    let state = match takeover.and_then(|takeover| takeover.lock.take()) {
        Some(lock) => StateDirectory::handed(path, lock),
        None => StateDirectory::open(path),
    };
    let state = state.map_err(|error| error.to_string())?;
    let lock = state.lock_to_hand_over();
    let lock = lock.map_err(|error| format!("node.state: {}: {error}", path.display()))?;
    Ok((Some(state), Some(lock)))
}

/// Lets the node finish, while control still reports that it is not ready; then ends control.
async fn drain(node: &Node, stop: watch::Sender<bool>, admin: JoinHandle<()>) {
    node.drain().await;
    // Fails only if no receiver is left, which is the goal.
    let _ = stop.send(true);
    let _ = admin.await;
}

/// The addresses, in a few lines.
fn announcement(config: &Config, node: &Node, admin: SocketAddr) -> String {
    let mut rows = vec![("listen", format!("http://{}", node.listen()))];
    if let Some(tls) = node.listen_tls() {
        rows.push(("listen", format!("https://{tls}")));
    }
    rows.extend(ordered(config).map(|ordered| ("acme", ordered)));
    rows.extend(config.sites.iter().take(10).map(|site| ("fronts", fronted(site))));
    if config.sites.len() > 10 {
        rows.push(("fronts", format!("and {} more sites", config.sites.len() - 10)));
    }
    rows.push(("admin", format!("http://{admin}")));
    rows.extend(config.control.url.iter().map(|url| ("control", url.to_string())));
    if let Some(data) = &config.control.data {
        rows.push(("data", data.display().to_string()));
    }
    rows.extend(tokenless(config));
    columns(&rows)
}
