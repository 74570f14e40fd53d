//! The terminal that the process was started from: whether a SIGHUP says that it is gone, or asks
//! for a reload.

use std::fs::File;
use std::io::IsTerminal;
use std::time::Duration;
use tokio::signal::unix::Signal;
use tokio::time::{sleep, timeout};

/// How far a SIGHUP may be from the end of the terminal that it is about: a shell that exits tells its
/// jobs first.
const LAST_MOMENTS: Duration = Duration::from_millis(500);

/// Between two looks at a terminal that may be about to go.
const PAUSE: Duration = Duration::from_millis(20);

/// Between two looks at a terminal that nothing was heard of.
const WATCH: Duration = Duration::from_secs(1);

/// The controlling terminal of the process.
pub(super) struct Terminal {
    /// Whether there was one when it was last looked for.
    is_there: bool,
    /// Whether the process is to outlive it, as `nohup` has it.
    is_outlived: bool,
}

/// What a SIGHUP says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HangUp {
    /// Somebody sent it.
    Sent,
    /// The terminal is gone, and the process ends with it.
    Lost,
    /// The terminal is gone, and the process is to outlive it.
    Outlived,
}

impl Terminal {
    /// The terminal at the start. To be called before the process listens for SIGHUP: from then on
    /// nobody can tell that it was ignored.
    pub(super) fn at_start() -> Self {
        Self { is_there: is_there(), is_outlived: ignores_hang_ups() }
    }

    /// Until the next SIGHUP, or until the terminal has gone without one: a shell that exits tells
    /// no job in the background, and later signals are not about the terminal.
    pub(super) async fn hung_up(&mut self, signal: &mut Signal) -> HangUp {
        if !self.is_there {
            signal.recv().await;
            return HangUp::Sent;
        }
        tokio::select! {
            _ = signal.recv() => {
                if timeout(LAST_MOMENTS, gone(PAUSE)).await.is_err() {
                    return HangUp::Sent;
                }
            }
            () = gone(WATCH) => {
                self.is_outlived |= timeout(LAST_MOMENTS, signal.recv()).await.is_err();
            }
        }
        self.is_there = false;
        if self.is_outlived { HangUp::Outlived } else { HangUp::Lost }
    }
}

/// Until there is no terminal.
async fn gone(pause: Duration) {
    while is_there() {
        sleep(pause).await;
    }
}

/// Whether the process has a controlling terminal. Nobody opens that of a session which lost it.
fn is_there() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether SIGHUP is ignored, as `nohup` has it for the program that it starts. Where the system
/// does not say so, a program that has none of its streams on a terminal is taken for one.
fn ignores_hang_ups() -> bool {
    match std::fs::read_to_string("/proc/self/status") {
        Ok(status) => is_ignored_in(&status),
        Err(_) => {
            !(std::io::stdin().is_terminal()
                || std::io::stdout().is_terminal()
                || std::io::stderr().is_terminal())
        }
    }
}

/// Reads the mask of ignored signals in `/proc/PID/status` (proc_pid_status(5)).
fn is_ignored_in(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is signal 1, the lowest bit.
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_bit_of_the_mask_is_sighup() {
        let status =
            |mask: &str| format!("Name:\tweir\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\n");
        assert!(is_ignored_in(&status("0000000000001001")));
        assert!(!is_ignored_in(&status("0000000000001000")));
        assert!(!is_ignored_in(""));
    }
}
