//! `weir control`: the invalidation service alone, which nodes elsewhere follow.

use super::running::{self, Reactions, Service, Signals, bind, not_taken_over, tokenless, upgrade};
use super::{Exit, tell};
use crate::program::Program;
use crate::settings::{Part, Settings};
use crate::sockets::Sockets;
use crate::supervisor;
use crate::takeover::{self, BuiltIn, Listening, Old, Takeover};
use crate::text::columns;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use weir_config::Config;
use weir_control::Process;
use weir_protocol::takeover::{LogPlace, Running};

/// Run control alone: the invalidation log that nodes follow, and its API
///
/// The configuration must set control.data. Control also reads [[token]] and [log], and [[site]] if
/// it is to check the site ids in calls. SIGHUP reloads the configuration. If its terminal is closed,
/// control stops, unless it runs under nohup.
#[derive(Debug, Args)]
pub(crate) struct Control {
    /// The configuration file (TOML); flags override it
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Address that control listens on [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Take over from the process that runs with the same control.data, if there is one
    #[arg(long)]
    takeover: bool,
}

impl Control {
    pub(super) fn run(self) -> Exit {
        let Self { config, listen, takeover } = self;
        let settings =
            Settings { part: Part::Control, file: Some(config), listen, ..Settings::default() };
        running::serve::<Started>(settings, takeover)
    }
}

/// Control, ready to serve.
struct Started {
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
) -> Result<Started, String> {
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
    Ok(Started { built_in, listener, listening, takeover, taken: told, stop, stopping })
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
        let end = async {
            // Fails only if no receiver is left, which is the goal.
            let _ = stop.send(true);
            let _ = serving.await;
        };
        let reload = Arc::new(move || built_in.reload());
        Ok(signals.serve(Reactions { reload, upgrade: Arc::new(upgrade), taken }, end).await)
    }
}
