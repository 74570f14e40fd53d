//! weir's own log, on standard error. The access log is the node's.

use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};
use weir_config::Level;

/// Lets a reload change the level.
static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts the log at `level`. Later calls change nothing but the level.
pub(crate) fn start(level: Level) {
    let (filter, handle) = reload::Layer::new(filter(level));
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(ansi).with_target(false);
    if LEVEL.set(handle).is_ok() {
        // Fails only where a log was started before, which is then used.
        let _ = tracing_subscriber::registry().with(filter).with(layer).try_init();
    } else {
        set_level(level);
    }
}

/// Changes the level.
pub(crate) fn set_level(level: Level) {
    if let Some(handle) = LEVEL.get() {
        // Fails only when the log is gone, and then there is nothing to set.
        let _ = handle.reload(filter(level));
    }
}

/// `level` for weir, and warnings only of the libraries below it, whose debug log is about them.
fn filter(level: Level) -> EnvFilter {
    let level: &str = level.into();
    EnvFilter::new(format!("warn,weir={level},weir_control={level},weir_edge={level}"))
}
