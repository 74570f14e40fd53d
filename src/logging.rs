//! weir's own log, on standard error. The access log is the node's.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};
use weir_config::Level;
use weir_rules::shown::shown_line;

/// Lets a reload change the level.
static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts the log at `level`. Later calls change nothing but the level.
pub(crate) fn start(level: Level) {
    let (filter, handle) = reload::Layer::new(filter(level));
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let layer =
        fmt::layer().with_writer(|| Shown(std::io::stderr())).with_ansi(ansi).with_target(false);
    if LEVEL.set(handle).is_ok() {
        // Fails only where a log was started before, which is then used.
        let _ = tracing_subscriber::registry().with(filter).with(layer).try_init();
    } else {
        set_level(level);
    }
}

/// Where lines go. Each comes as a whole; what is hidden in it is written as escapes, whoever it is
/// from.
struct Shown<W>(W);

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(shown_line(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_in_a_line_is_shown() {
        let mut out = Vec::new();
        Shown(&mut out).write_all("WARN tag=a\u{202e}b\n".as_bytes()).expect("it is written");
        assert_eq!(String::from_utf8(out).as_deref(), Ok("WARN tag=a\\u{202e}b\n"));
    }
}
