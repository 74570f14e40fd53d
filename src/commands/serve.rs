//! `weir serve`: a node, with control built in or as one of a topology, from start to drain.

use super::check::fronted;
use super::running::{self, Refused, Signals, bind, tokenless, until_joined};
use super::{Exit, complain, tell};
use crate::program::{Program, in_process};
use crate::settings::{Part, Settings};
use crate::text::columns;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_config::Config;
use weir_control::{Control, Gate, Process};
use weir_edge::follow::Remote;
use weir_edge::node::Node;

/// Run a node, with control built in unless the configuration sets control.url
///
/// On SIGTERM or SIGINT, or if its terminal is closed, requests in progress may finish (node.drain); a
/// second signal stops the node immediately. SIGHUP reloads the configuration. Under nohup, the node
/// continues without its terminal.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// URL of the origin; with --config, replaces the origins of the only site
    #[arg(long, value_name = "URL", required_unless_present = "config")]
    origin: Option<String>,
    /// Address for clients [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Address of control [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// A configuration file (TOML); flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Serve {
    pub(super) fn run(self) -> Exit {
        let Self { origin, listen, admin, config: file } = self;
        let settings =
            Settings { part: Part::Node, file, origin, listen, admin, ..Settings::default() };
        running::run(settings, serve)
    }
}

async fn serve(config: Config, settings: Settings, signals: Signals) -> Result<Exit, Refused> {
    let admin = bind("node.admin", config.node.admin).await?;
    let failed = |error: String| complain(&error, Exit::Failed);
    let node = Arc::new(Node::start(config.clone()).map_err(|error| failed(error.0))?);
    let announcement =
        announcement(&config, &node, admin.local_addr().unwrap_or(config.node.admin));
    let (stop, stopping) = watch::channel(false);
    let program = Program { node: Some(node.clone()), settings };
    let process = Process::new(program, config.clone(), stopping.clone());
    let process = Arc::new(process);
    let here = Handle::current();
    let (token, ca) = (config.control.token.as_ref(), config.control.ca.as_deref());
    let dial = config.control.url.as_ref().map(|url| Remote::new(url, token, ca)).transpose();
    let dial = dial.map_err(|error| failed(error.0))?;
    let reload: Arc<dyn Fn() + Send + Sync>;
    let router = if dial.is_some() {
        let reloaded = process.clone();
        reload = Arc::new(move || drop(reloaded.reload()));
        weir_control::node_router(process)
    } else {
        let control = Control::open(process).map_err(failed)?;
        node.follow(in_process(&control, &here), &here).map_err(|error| failed(error.0))?;
        until_joined(&node).await.map_err(failed)?;
        let reloaded = control.clone();
        reload = Arc::new(move || drop(reloaded.reload()));
        weir_control::router(control)
    };
    let admin = tokio::spawn(weir_control::serve(admin, Gate::new(router), stopping));
    // Only now: whoever reads it may call immediately. A control elsewhere may be down; the node then
    // waits for it.
    tell(&announcement);
    if let Some(dial) = dial {
        node.follow(dial, &here).map_err(|error| failed(error.0))?;
    }
    Ok(signals.serve(reload, drain(&node, stop, admin)).await)
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
    rows.extend(config.sites.iter().take(10).map(|site| ("fronts", fronted(site))));
    if config.sites.len() > 10 {
        rows.push(("fronts", format!("and {} more sites", config.sites.len() - 10)));
    }
    rows.push(("admin", format!("http://{admin}")));
    if let Some(url) = &config.control.url {
        let scheme = if url.tls { "https" } else { "http" };
        rows.push(("control", format!("{scheme}://{}", url.authority)));
    }
    if let Some(data) = &config.control.data {
        rows.push(("data", data.display().to_string()));
    }
    rows.extend(tokenless(config));
    columns(&rows)
}
