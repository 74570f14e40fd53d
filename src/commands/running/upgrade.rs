//! SIGUSR2: the program is started anew, and takes over from this process.

use std::ffi::OsString;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// The option by which a process takes over.
const TAKEOVER: &str = "--takeover";

/// Whether one that was started has not ended.
static STARTED: AtomicBool = AtomicBool::new(false);

/// Starts the program by the path and with the arguments that this process was started with, and
/// [`TAKEOVER`]. What comes of it is in the log.
pub(in crate::commands) fn upgrade() {
    if std::process::id() == 1 {
        tracing::error!(
            "not upgraded: this process is the first of its container, which ends with it; replace \
             the container"
        );
        return;
    }
    if STARTED.swap(true, Ordering::Relaxed) {
        tracing::error!("not upgraded: the process that was started before has not ended");
        return;
    }
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_else(|| "weir".into());
    let started = Command::new(&program).args(with_takeover(arguments)).spawn();
    let waits = match started {
        Ok(mut child) => {
            tracing::info!(process = child.id(), "started the process that is to take over");
            std::thread::Builder::new().name("weir-upgrade".to_owned()).spawn(move || {
                match child.wait() {
                    Ok(status) => tracing::error!(
                        %status,
                        "the process that was started to take over has ended; its messages say why"
                    ),
                    Err(error) => tracing::error!(%error, "a process cannot be waited for"),
                }
                STARTED.store(false, Ordering::Relaxed);
            })
        }
        Err(error) => Err(error),
    };
    if let Err(error) = waits {
        tracing::error!(%error, program = %program.display(), "not upgraded");
        STARTED.store(false, Ordering::Relaxed);
    }
}

/// The arguments, with the option once.
fn with_takeover(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = arguments.filter(|argument| argument != TAKEOVER).collect();
    arguments.push(TAKEOVER.into());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_there_once() {
        let given = ["serve", "--takeover", "--config", "a"].map(OsString::from);
        let expected = ["serve", "--config", "a", "--takeover"].map(OsString::from);
        assert_eq!(with_takeover(given.into_iter()), expected);
    }
}
