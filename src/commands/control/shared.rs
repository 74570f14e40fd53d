//! `weir control` over a log that it shares with other processes, on etcd.

use super::running::{self, Reactions, Signals, bind};
use super::{Exit, tell};
use crate::program::Program;
use crate::settings::Settings;
use crate::sockets::Sockets;
use crate::supervisor;
use crate::text::columns;
use reqwest::redirect::Policy;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use weir_config::{Config, Etcd};
use weir_control::{Clients, Gate, Process, Replica};

/// How long a connection to a member of etcd, or to another process of control, may take.
const CONNECT: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Shared {
    replica: Arc<Replica>,
    gate: Arc<Gate>,
    listener: TcpListener,
    listen: SocketAddr,
    stop: watch::Sender<bool>,
    stopping: watch::Receiver<bool>,
}

impl Shared {
    pub(super) async fn start(
        config: &Config,
        etcd: &Etcd,
        settings: Settings,
        takes_over: bool,
        mut sockets: Sockets,
    ) -> Result<Self, String> {
        if takes_over {
            return Err(
                "--takeover: with control.log = \"etcd\", start another process of control \
                        before this one stops"
                    .to_owned(),
            );
        }
        let listener = bind("control.listen", config.control.listen, &mut sockets).await?;
        running::all_used(false, &sockets, "control.listen")?;
        let listener = TcpListener::from_std(listener).map_err(|error| error.to_string())?;
        let listen = listener.local_addr().map_err(|error| error.to_string())?;
        let (stop, stopping) = watch::channel(false);
        let process =
            Process::new(Program { node: None, settings }, config.clone(), stopping.clone());
        let advertised = etcd.advertise.as_ref().map(ToString::to_string);
        let url = advertised.unwrap_or_else(|| format!("http://{listen}"));
        let (replica, gate) = Replica::new(Arc::new(process), clients()?, url)?;
        Ok(Self { replica, gate, listener, listen, stop, stopping })
    }

    pub(super) async fn serve(self, config: &Config, signals: Signals) -> Result<Exit, String> {
        let Self { replica, gate, listener, listen, stop, stopping } = self;
        let serving = tokio::spawn(weir_control::serve(listener, gate, stopping));
        supervisor::ready();
        // Only now: whoever reads it may call immediately.
        let mut rows = vec![("control", format!("http://{listen}"))];
        let members = config.control.etcd.iter().flat_map(|etcd| &etcd.endpoints);
        rows.extend(members.map(|member| ("etcd", member.to_string())));
        tell(&columns(&rows));
        let running = tokio::spawn(replica.clone().run());
        let end = async {
            // Fails only if no receiver is left, which is the goal.
            let _ = stop.send(true);
            let _ = serving.await;
            let _ = running.await;
        };
        let reload = Arc::new(move || replica.reload());
        let upgrade = Arc::new(|| {
            tracing::error!(
                "not upgraded: with control.log = \"etcd\", start another process of control, then \
                 stop this one"
            );
        });
        let (_taken, taken) = watch::channel(false);
        Ok(signals.serve(Reactions { reload, upgrade, taken }, end).await)
    }
}

fn clients() -> Result<Clients, String> {
    let control = built(weir_edge::trust(None)?)?;
    Ok(Clients { etcd: to_etcd, control })
}

/// The client by which etcd is reached.
///
/// # Errors
/// A file of the configuration cannot be used; in words.
pub(crate) fn to_etcd(etcd: &Etcd) -> Result<reqwest::Client, String> {
    let trust = weir_edge::trust_as(etcd.ca.as_deref(), etcd.certificate.as_ref());
    built(trust.map_err(|why| format!("control.etcd: {why}"))?)
}

/// Straight to where it is sent: no proxy from the environment, no redirect to elsewhere.
fn built(trust: impl std::any::Any) -> Result<reqwest::Client, String> {
    let client = reqwest::Client::builder().no_proxy().redirect(Policy::none());
    let client = client.tls_backend_preconfigured(trust).connect_timeout(CONNECT).http1_only();
    client.build().map_err(|error| format!("no HTTP client: {error}"))
}
