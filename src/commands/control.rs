//! `weir control`: the invalidation service alone, which nodes elsewhere follow.

use super::running::{self, Refused, Signals, bind, tokenless};
use super::{Exit, complain, tell};
use crate::program::Program;
use crate::settings::{Part, Settings};
use crate::text::columns;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;
use weir_config::Config;
use weir_control::{Gate, Process};

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
}

impl Control {
    pub(super) fn run(self) -> Exit {
        let Self { config, listen } = self;
        let settings =
            Settings { part: Part::Control, file: Some(config), listen, ..Settings::default() };
        running::run(settings, serve)
    }
}

async fn serve(config: Config, settings: Settings, signals: Signals) -> Result<Exit, Refused> {
    let listener = bind("control.listen", config.control.listen).await?;
    let listen = listener.local_addr().unwrap_or(config.control.listen);
    let (stop, stopping) = watch::channel(false);
    let process = Process::new(Program { node: None, settings }, config.clone(), stopping.clone());
    let control = weir_control::Control::open(Arc::new(process))
        .map_err(|error| complain(&error, Exit::Failed))?;
    let router = weir_control::router(control.clone());
    let serving = tokio::spawn(weir_control::serve(listener, Gate::new(router), stopping));
    // Only now: whoever reads it may call immediately.
    let mut rows = vec![("control", format!("http://{listen}"))];
    rows.extend(config.control.data.iter().map(|data| ("data", data.display().to_string())));
    rows.extend(tokenless(&config));
    tell(&columns(&rows));
    let end = async {
        // Fails only if no receiver is left, which is the goal.
        let _ = stop.send(true);
        let _ = serving.await;
    };
    Ok(signals.serve(Arc::new(move || drop(control.reload())), end).await)
}
