//! `weir control`: the invalidation service alone, which nodes elsewhere follow.

mod import;
mod shared;

use super::running::{self, Reactions, Service, Signals, bind, not_taken_over, tokenless, upgrade};
use super::{Exit, tell};
use crate::program::Program;
use crate::settings::{Part, Settings};
use crate::sockets::Sockets;
use crate::supervisor;
use crate::takeover::{self, BuiltIn, Listening, Old, Takeover};
use crate::text::columns;
use clap::{Args, Subcommand};
use import::Import;
use shared::Shared;
pub(crate) use shared::to_etcd;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use weir_config::Config;
use weir_control::Process;
use weir_protocol::takeover::{LogPlace, Running};

/// Run control alone: the invalidation log that nodes follow, and its API
///
/// The configuration must set control.data, or control.log = "etcd". Control also reads [[token]] and [log], and [[site]] if
/// it is to check the site ids in calls. SIGHUP reloads the configuration. If its terminal is closed,
/// control stops, unless it runs under nohup.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Control {
    #[command(subcommand)]
    action: Option<Action>,
    /// The configuration file (TOML); flags override it
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// Address that control listens on [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Take over from the process that runs with the same control.data, if there is one
    #[arg(long)]
    takeover: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    Import(Import),
}

impl Control {
    pub(super) fn run(self) -> Exit {
        let Self { action, config, listen, takeover } = self;
        if let Some(Action::Import(import)) = action {
            return import.run();
        }
        let settings =
            Settings { part: Part::Control, file: config, listen, ..Settings::default() };
        running::serve::<Started>(settings, takeover)
    }
}

/// Control, ready to serve: with a log of its own, or one that it shares.
enum Started {
    Alone(Alone),
    Shared(Shared),
}

/// Control with a log of its own.
struct Alone {
    built_in: Arc<BuiltIn>,
    listener: TcpListener,
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
) -> Result<Alone, String> {
    let Some(directory) = config.control.data.as_deref() else {
        return Err("control.data: missing".to_owned());
    };
    let running = Running {
        node: None,
        log: LogPlace::Directory(directory.to_owned()),
        program: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let mut takeover = match takes_over {
        true => takeover::begin(directory, running.clone()).await.map_err(not_taken_over)?,
        false => None,
    };
    let mut sockets = running::sockets(&mut takeover, sockets)?;
    let listener = bind("control.listen", config.control.listen, &mut sockets).await?;
    running::all_used(takeover.is_some(), &sockets, "control.listen")?;
    let admin = listener.try_clone().map_err(|error| error.to_string())?;
    let listener = TcpListener::from_std(listener).map_err(|error| error.to_string())?;
    let (stop, stopping) = watch::channel(false);
    let process = Process::new(Program { node: None, settings }, config.clone(), stopping.clone());
    if let Some(takeover) = &mut takeover {
        takeover.begins(None).await.map_err(not_taken_over)?;
        takeover.prepared().await.map_err(not_taken_over)?;
    }
    let built_in = BuiltIn::open(Arc::new(process), None)?;
    let (taken, told) = watch::channel(false);
    let old = Old {
        running,
        node: None,
        admin,
        gate: built_in.gate(),
        built_in: Some(built_in.clone()),
        lock: None,
        taken,
    };
    let listening = running::await_takeover(directory, old);
    if let Some(takeover) = &mut takeover {
        takeover.opened().await.map_err(not_taken_over)?;
    }
    Ok(Alone { built_in, listener, listening, takeover, taken: told, stop, stopping })
}

impl Service for Started {
    async fn start(
        config: &Config,
        settings: Settings,
        takes_over: bool,
        sockets: Sockets,
    ) -> Result<Self, String> {
        match &config.control.etcd {
            Some(etcd) => {
                Shared::start(config, etcd, settings, takes_over, sockets).await.map(Self::Shared)
            }
            None => start(config, settings, takes_over, sockets).await.map(Self::Alone),
        }
    }

    async fn serve(self, config: &Config, signals: Signals) -> Result<Exit, String> {
        match self {
            Self::Alone(alone) => alone.serve(config, signals).await,
            Self::Shared(shared) => shared.serve(config, signals).await,
        }
    }
}

impl Alone {
    async fn serve(self, config: &Config, signals: Signals) -> Result<Exit, String> {
        let Self { built_in, listener, listening, takeover, taken, stop, stopping } = self;
        let listen = listener.local_addr().unwrap_or(config.control.listen);
        let serving = tokio::spawn(weir_control::serve(listener, built_in.gate(), stopping));
        running::publish(listening.as_ref());
        if let Some(takeover) = takeover {
            // Nothing depends on the end of the old process.
            drop(takeover.serving().await);
        }
        supervisor::ready();
        // Only now: whoever reads it may call immediately.
        let mut rows = vec![("control", format!("http://{listen}"))];
        rows.extend(config.control.data.iter().map(|data| ("data", data.display().to_string())));
        rows.extend(tokenless(config));
        tell(&columns(&rows));
        let kept = built_in.clone();
        let end = async {
            // Fails only if no receiver is left, which is the goal.
            let _ = stop.send(true);
            let _ = serving.await;
            kept.keep_history().await;
        };
        let reload = Arc::new(move || built_in.reload());
        Ok(signals.serve(Reactions { reload, upgrade: Arc::new(upgrade), taken }, end).await)
    }
}
