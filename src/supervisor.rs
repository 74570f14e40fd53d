//! The service manager, if this process runs under one (sd_notify(3)). Without `NOTIFY_SOCKET` in the
//! environment nothing is said.

use sd_notify::{NotifyState, notify};

/// The process serves, or a reload is over.
pub(crate) fn ready() {
    say(&[NotifyState::Ready]);
}

/// A reload of the configuration begins.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => say(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager is not told of the reload"),
    }
}

/// The process stops.
pub(crate) fn stopping() {
    say(&[NotifyState::Stopping]);
}

/// Another process has taken over: it is the service's main process now.
pub(crate) fn main_process(pid: i32) {
    if let Ok(pid) = u32::try_from(pid) {
        say(&[NotifyState::MainPid(pid)]);
    }
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = notify(states) {
        tracing::warn!(%error, ?states, "the service manager cannot be told");
    }
}
