//! What the commands that go on running have in common: start, signals, end.

mod terminal;
mod upgrade;

use super::{Exit, complain};
use crate::allocator;
use crate::settings::Settings;
use crate::sockets::Sockets;
use crate::supervisor;
use crate::takeover::{self, Listening, Old, Takeover};
use crate::tokens;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use terminal::{HangUp, Terminal};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
pub(super) use upgrade::upgrade;
use weir_config::Config;
use weir_config::mistakes::Mistakes;
use weir_edge::node::Node;
use weir_protocol::takeover::Role;

/// How long a node may take to join the control in its own process.
const LONGEST_JOIN: Duration = Duration::from_secs(10);

/// How long one that takes over may take to join a control elsewhere, and to catch up.
const LONGEST_CATCH_UP: Duration = Duration::from_secs(50);

/// Threads for all that is not a node's worker.
const THREADS: usize = 2;

/// Why the process does not start; already printed.
pub(super) type Refused = Exit;

/// Reads the configuration of `settings` and runs `process` by it to its end.
pub(super) fn run<F>(
    settings: Settings,
    process: impl FnOnce(Config, Settings, Signals) -> F,
) -> Exit
where
    F: Future<Output = Result<Exit, Refused>>,
{
    let config = match settings.load() {
        Ok(config) => config,
        Err(mistakes) => return refuse(&mistakes),
    };
    crate::logging::start(config.log.level);
    raise_file_limit(&config);
    // A node has its own workers; control and signals are light, but an apply or a metrics page
    // must not hold up a health check.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .on_thread_park(allocator::release_memory_now_and_then)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            runtime.spawn(wake_all_threads());
            let exit = runtime.block_on(async {
                let mut signals = Signals::new()?;
                let config = tokio::select! {
                    config = tokens::complete(config, &settings) => config,
                    () = signals.stop() => return Ok(Exit::Done),
                };
                let config = config.map_err(|mistakes| refuse(&mistakes))?;
                process(config, settings, signals).await
            });
            runtime.shutdown_background();
            exit.unwrap_or_else(|refused| refused)
        }
        Err(error) => complain(&format!("cannot start: {error}"), Exit::Failed),
    }
}

/// Has each thread look now and then whether it has free memory to give back: what crowds needed at the admin listener
/// would stay with a thread that nothing wakes any more.
async fn wake_all_threads() {
    let mut ticks = tokio::time::interval(allocator::RELEASE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A thread that has more than one task ready wakes another.
        (0..THREADS).for_each(|_| drop(tokio::spawn(async {})));
    }
}

/// A process that others reach, and that may take over from another.
pub(super) trait Service: Sized {
    /// Makes it ready to serve: on the sockets of the service manager, if it has any, or on those of the process
    /// that it takes over from, if `takes_over`.
    ///
    /// # Errors
    /// Why it does not start.
    async fn start(
        config: &Config,
        settings: Settings,
        takes_over: bool,
        sockets: Sockets,
    ) -> Result<Self, String>;

    /// Serves to its end.
    ///
    /// # Errors
    /// Why it cannot.
    async fn serve(self, config: &Config, signals: Signals) -> Result<Exit, String>;
}

/// Reads the configuration of `settings`, starts a service by it, and serves to its end.
pub(super) fn serve<S: Service>(settings: Settings, takes_over: bool) -> Exit {
    let sockets = match Sockets::of_service_manager() {
        Ok(sockets) => sockets,
        Err(reason) => return complain(&reason, Exit::Failed),
    };
    run(settings, move |config, settings, mut signals| async move {
        let started = tokio::select! {
            started = S::start(&config, settings, takes_over, sockets) => started,
            () = signals.stop() => return Ok(Exit::Done),
        };
        let failed = |reason: String| complain(&reason, Exit::Failed);
        started.map_err(failed)?.serve(&config, signals).await.map_err(failed)
    })
}

/// Prints each mistake of a configuration.
fn refuse(mistakes: &Mistakes) -> Refused {
    for mistake in &mistakes.0 {
        complain(&mistake.to_string(), Exit::Failed);
    }
    Exit::Failed
}

/// Listens at the address that `key` has: on the socket of `sockets` that does, or on a new one.
pub(super) async fn bind(
    key: &str,
    address: SocketAddr,
    sockets: &mut Sockets,
) -> Result<std::net::TcpListener, String> {
    let failed = |error: std::io::Error| format!("{key} = \"{address}\": {error}");
    match sockets.take(Role::Admin, address) {
        Some(socket) => socket.set_nonblocking(true).map(|()| socket).map_err(failed),
        None => {
            let bound = TcpListener::bind(address).await.map_err(failed)?;
            bound.into_std().map_err(failed)
        }
    }
}

/// The sockets to serve on: of the process that is taken over from, or of the service manager.
pub(super) fn sockets(
    takeover: &mut Option<Takeover>,
    of_service_manager: Sockets,
) -> Result<Sockets, String> {
    match takeover {
        Some(takeover) => Sockets::of_process(std::mem::take(&mut takeover.sockets)),
        None => Ok(of_service_manager),
    }
}

/// The message of a takeover that did not come about.
pub(super) fn not_taken_over(reason: String) -> String {
    format!("no takeover: {reason}")
}

/// Refuses sockets of the service manager that no key has: their clients would wait for ever. One of
/// the old process whose key has changed is closed with it.
pub(super) fn all_used(takes_over: bool, sockets: &Sockets, keys: &str) -> Result<(), String> {
    let unused = sockets.unused();
    for address in unused {
        if !takes_over {
            return Err(format!(
                "the service manager passed a socket that listens at {address}, which is no address \
                 of {keys}: write it there, or change ListenStream"
            ));
        }
        tracing::info!(%address, "an address is given up; the old process serves it to its end");
    }
    Ok(())
}

/// Waits in `directory` for a process that takes over; the result is published once this process
/// serves.
pub(super) fn await_takeover(directory: &Path, old: Old) -> Option<Listening> {
    let listening = takeover::listen(directory, old);
    let warn = |error| {
        tracing::warn!(%error, directory = %directory.display(), "no process can take over from this one");
    };
    listening.map_err(warn).ok()
}

/// Gives the socket of [`await_takeover`] its name.
pub(super) fn publish(listening: Option<&Listening>) {
    if let Some(Err(error)) = listening.map(Listening::publish) {
        tracing::warn!(%error, "no process can take over from this one");
    }
}

/// Until the node is one that control expects: a purge before that would be completed without it.
pub(super) async fn until_joined(node: &Node) -> Result<(), String> {
    // The node does not notify; usually it takes less than the first pause.
    let asked = async {
        while !node.is_caught_up() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let joined = tokio::time::timeout(LONGEST_JOIN, asked).await;
    joined.map_err(|_| {
        "the node could not join the built-in control; see the log for the reason".into()
    })
}

/// Until the node has what the log of a control elsewhere had when it joined.
pub(super) async fn until_caught_up(node: &Node) -> Result<(), String> {
    let caught_up = async {
        while !node.is_caught_up() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let within = tokio::time::timeout(LONGEST_CATCH_UP, caught_up).await;
    within.map_err(|_| {
        format!(
            "this node has not caught up with control within {} s; see the log for the reason",
            LONGEST_CATCH_UP.as_secs()
        )
    })
}

/// A line of an announcement for when no token is configured.
pub(super) fn tokenless(config: &Config) -> Option<(&'static str, String)> {
    let words = "none configured: control answers only programs on this machine";
    config.tokens.is_empty().then(|| ("token", words.to_owned()))
}

/// Raises the limit on open files as far as the system allows, and warns if that is not enough for
/// the connections that the configuration allows.
fn raise_file_limit(config: &Config) {
    let mut limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum;
    limit.current = hard;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files could not be raised");
    }
    let have = getrlimit(Resource::Nofile).current;
    // Clients' connections, those to each origin, and what is open anyway.
    let pools = config.sites.iter().flat_map(|site| &site.pools);
    let origins: usize = pools.map(|pool| pool.origins.len()).sum();
    let limits = config.limits;
    let to_origins = origins.saturating_mul(limits.origin_connections);
    let want = limits.connections.saturating_add(to_origins).saturating_add(256) as u64;
    if have.is_some_and(|have| have < want) {
        tracing::warn!(
            have,
            want,
            "the limit on open files is too low for limits.connections and \
             limits.origin_connections"
        );
    }
}

/// The signals that the process handles.
pub(super) struct Signals {
    terminal: Terminal,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// SIGUSR2.
    upgrade: Signal,
}

/// What a signal asks for.
enum Demand {
    Stop,
    Reload,
    Upgrade,
}

/// What a process does at signals, but end.
pub(super) struct Reactions {
    /// At SIGHUP.
    pub(super) reload: Arc<dyn Fn() + Send + Sync>,
    /// At SIGUSR2.
    pub(super) upgrade: Arc<dyn Fn() + Send + Sync>,
    /// Turns true when another process has taken over.
    pub(super) taken: watch::Receiver<bool>,
}

impl Signals {
    fn new() -> Result<Self, Refused> {
        let listened = |error: std::io::Error| {
            complain(&format!("cannot listen for signals: {error}"), Exit::Failed)
        };
        Ok(Self {
            terminal: Terminal::at_start(),
            terminate: signal(SignalKind::terminate()).map_err(listened)?,
            interrupt: signal(SignalKind::interrupt()).map_err(listened)?,
            hang_up: signal(SignalKind::hangup()).map_err(listened)?,
            upgrade: signal(SignalKind::user_defined2()).map_err(listened)?,
        })
    }

    /// Reacts to signals until one to stop, the loss of the terminal, or a takeover by another
    /// process; then waits for `end`, unless a signal to stop comes.
    pub(super) async fn serve(
        mut self,
        mut reactions: Reactions,
        end: impl Future<Output = ()>,
    ) -> Exit {
        loop {
            let demand = tokio::select! {
                demand = self.next() => demand,
                // An error says that no process can take over.
                Ok(_) = reactions.taken.wait_for(|taken| *taken) => break,
            };
            let react = match demand {
                Demand::Stop => {
                    supervisor::stopping();
                    break;
                }
                Demand::Reload => {
                    supervisor::reloading();
                    reactions.reload.clone()
                }
                Demand::Upgrade => reactions.upgrade.clone(),
            };
            // The result is in the log.
            let _ = tokio::task::spawn_blocking(move || react()).await;
            if matches!(demand, Demand::Reload) {
                supervisor::ready();
            }
        }
        tracing::info!(
            "stopping: requests in progress may finish; a second signal stops immediately"
        );
        tokio::select! {
            () = end => Exit::Done,
            () = self.told_to_stop() => complain("stopped immediately", Exit::Failed),
        }
    }

    async fn next(&mut self) -> Demand {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Demand::Stop,
                _ = self.interrupt.recv() => return Demand::Stop,
                _ = self.upgrade.recv() => return Demand::Upgrade,
                told = self.terminal.hung_up(&mut self.hang_up) => match told {
                    HangUp::Sent => return Demand::Reload,
                    HangUp::Lost => {
                        tracing::info!("the terminal is gone");
                        return Demand::Stop;
                    }
                    HangUp::Outlived => tracing::info!("the terminal is gone; continuing without"),
                },
            }
        }
    }

    /// Until the process is to stop.
    pub(super) async fn stop(&mut self) {
        while let Demand::Reload | Demand::Upgrade = self.next().await {}
    }

    /// Until the next signal to stop. One terminal that is gone may be told of several times.
    async fn told_to_stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
