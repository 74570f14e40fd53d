//! The side of the process that is taken over from.

use super::BuiltIn;
use super::channel::{Broken, Channel};
use super::place;
use crate::supervisor;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::timeout;
use weir_control::{Gate, answer_passed_on};
use weir_edge::node::Node;
use weir_protocol::takeover::{FromNew, FromOld, LONGEST_LOG, Offered, Role, Running};

/// The socket in `node.state`, or in `control.data` of control alone, and its name until the process
/// serves.
pub(super) const SOCKET: &str = "takeover.sock";
pub(super) const NEXT: &str = "takeover.next";

/// Connections at once: nodes that follow the log, and calls that are passed on.
const MOST: usize = 48;

/// For a process's first line.
const FIRST_LINE: Duration = Duration::from_secs(5);

/// For a new process to be prepared: its node may have to catch up with a log first.
const PREPARE: Duration = Duration::from_secs(60);

/// For each step while the log is closed.
const STEP: Duration = Duration::from_secs(10);

/// For a process to end that cannot take over.
const LAST_MOMENTS: Duration = Duration::from_secs(2);

/// How often it is looked whether the node follows the log in the new process.
const LOOK: Duration = Duration::from_millis(5);

/// A process that may be taken over from.
pub(crate) struct Old {
    /// What it is.
    pub(crate) running: Running,
    /// Its node.
    pub(crate) node: Option<Arc<Node>>,
    /// Its listener for calls, and what these go through.
    pub(crate) admin: TcpListener,
    pub(crate) gate: Arc<Gate>,
    /// Its control.
    pub(crate) built_in: Option<Arc<BuiltIn>>,
    /// The lock of its state directory, which the new process gets.
    pub(crate) lock: Option<File>,
    /// Turns true when another process has taken over.
    pub(crate) taken: watch::Sender<bool>,
}

/// A socket on which a process waits for the one that takes over from it. Dropping it ends that.
pub(crate) struct Listening {
    directory: PathBuf,
    taken: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Listening {
    /// Gives the socket its name: processes that take over find it from now on.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn publish(&self) -> io::Result<()> {
        std::fs::rename(self.directory.join(NEXT), self.directory.join(SOCKET))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
        // After a takeover the name is the new process's.
        if !*self.taken.borrow()
            && let Err(error) = std::fs::remove_file(self.directory.join(SOCKET))
        {
            tracing::debug!(%error, "the socket for a takeover cannot be removed");
        }
    }
}

/// Listens in `directory`, under a name that nobody looks for until [`Listening::publish`].
///
/// # Errors
/// The system's; the path of a socket may have at most 107 bytes.
pub(crate) fn listen(directory: &Path, old: Old) -> io::Result<Listening> {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join(NEXT);
    // One that a process left behind that did not come to serve.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) | Ok(()) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let taken = old.taken.subscribe();
    let old = Arc::new(Giving { old, directory: directory.to_owned(), one: Mutex::new(None) });
    let task = tokio::spawn(accept(listener, old));
    Ok(Listening { directory: directory.to_owned(), taken, task })
}

/// The process, and what its connections share.
struct Giving {
    old: Old,
    directory: PathBuf,
    /// Held by the takeover that runs; afterwards the connection to the new process, to the end of
    /// this one.
    one: Mutex<Option<Channel>>,
}

async fn accept(listener: UnixListener, giving: Arc<Giving>) {
    let room = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let giving = giving.clone();
                tokio::spawn(async move {
                    giving.attend(stream).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a process that takes over");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl Giving {
    async fn attend(&self, stream: UnixStream) {
        let mut channel = Channel::new(stream);
        match channel.is_of_same_user() {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!("a process of another user was refused a takeover");
                return self.refuse(channel, "it runs as another user".to_owned()).await;
            }
            Err(error) => return tracing::warn!(%error, "the user of a process is not known"),
        }
        match channel.next(FIRST_LINE).await {
            Ok(FromNew::Takeover(asked)) => self.give(channel, asked).await,
            Ok(FromNew::Follow) => {
                if let Some(built_in) = &self.old.built_in {
                    built_in.attend(channel.into_transport()).await;
                }
            }
            Ok(FromNew::Call { peer }) => {
                answer_passed_on(channel.into_transport(), peer, self.old.gate.clone()).await;
            }
            Ok(_) => {}
            Err(Broken::Misread(misread)) => {
                tracing::warn!(reason = %misread, "a takeover was refused");
                self.refuse(channel, misread.to_string()).await;
            }
            Err(broken) => tracing::debug!(reason = %broken, "no takeover"),
        }
    }

    /// Where the process that takes over listens.
    fn paths(&self) -> Arc<[PathBuf]> {
        [NEXT, SOCKET].map(|name| self.directory.join(name)).into()
    }

    async fn refuse(&self, mut channel: Channel, reason: String) {
        // Whoever is refused may have gone.
        drop(channel.send(&FromOld::Refused { reason }).await);
    }

    /// Has the process take over; if that fails, all is as before.
    async fn give(&self, mut channel: Channel, asked: Running) {
        let Ok(mut kept) = self.one.try_lock() else {
            return self.refuse(channel, "another takeover is in progress".to_owned()).await;
        };
        if *self.old.taken.borrow() {
            return self.refuse(channel, "another process has taken over".to_owned()).await;
        }
        if let Some(reason) = self.old.running.refusal(&asked) {
            tracing::warn!(reason, "a takeover was refused");
            return self.refuse(channel, reason).await;
        }
        tracing::info!(process = channel.peer(), version = asked.program, "a takeover begins");
        let mut reached = Reached::default();
        match self.steps(&mut channel, &mut reached).await {
            Ok(()) => {
                self.old.gate.close(place::onward(self.paths()));
                self.old.taken.send_replace(true);
                // Said once it is so: whoever reads it may count on the gate.
                tracing::info!("another process has taken over");
                // Its end tells the new process of this one's.
                *kept = Some(channel);
            }
            Err(reason) => {
                tracing::error!(%reason, "the takeover failed; this process serves on");
                self.restore(channel, reached).await;
            }
        }
    }

    async fn steps(&self, channel: &mut Channel, reached: &mut Reached) -> Result<(), Broken> {
        if let Some(node) = &self.old.node {
            // The new process opens it. Should it fail, this one opens it again.
            node.close_disk().await;
        }
        self.offer(channel).await?;
        match channel.next(PREPARE).await? {
            FromNew::Begins { instance } => reached.instance = instance,
            other => return Err(failed(format!("the other process said {other:?} at its begin"))),
        }
        expect(channel, &FromNew::Prepared, PREPARE).await?;
        let followed = self.old.node.as_ref().map(|node| node.followed().reconnects);
        if let Some(built_in) = &self.old.built_in {
            // From here on there is something to restore.
            let log = reached.closed.insert(None);
            *log = built_in.close().await.map_err(failed)?;
        }
        let log = reached.closed.as_ref().and_then(Option::as_deref).unwrap_or_default();
        if log.len() as u64 > LONGEST_LOG {
            let reason = "the log in memory is too large to be handed over: set control.data";
            return Err(failed(reason.to_owned()));
        }
        channel.send(&FromOld::Log { bytes: log.len() as u64 }).await?;
        timeout(STEP, channel.send_bytes(log)).await.unwrap_or(Err(Broken::Silent(STEP)))?;
        expect(channel, &FromNew::Opened, STEP).await?;
        if let (Some(built_in), Some(node), Some(before)) =
            (&self.old.built_in, &self.old.node, followed)
        {
            built_in.moved(self.paths());
            follows(node, before).await?;
        }
        channel.send(&FromOld::Go).await?;
        expect(channel, &FromNew::Serving, STEP).await?;
        if let Some(pid) = channel.peer() {
            supervisor::main_process(pid);
        }
        channel.send(&FromOld::Draining).await
    }

    async fn offer(&self, channel: &mut Channel) -> Result<(), Broken> {
        let mut sockets = Vec::new();
        let (clear, secure) = match &self.old.node {
            Some(node) => {
                let sockets = node.sockets().map_err(Broken::Io)?;
                (sockets.clear, sockets.secure)
            }
            None => (None, None),
        };
        let all = [
            (Role::Listen, clear.as_ref()),
            (Role::ListenTls, secure.as_ref()),
            (Role::Admin, Some(&self.old.admin)),
        ];
        let mut files: Vec<BorrowedFd<'_>> = Vec::new();
        for (role, socket) in all {
            if let Some(socket) = socket {
                let address = socket.local_addr().map_err(Broken::Io)?;
                sockets.push(Offered { role, address });
                files.push(socket.as_fd());
            }
        }
        files.extend(self.old.lock.as_ref().map(AsFd::as_fd));
        let program = env!("CARGO_PKG_VERSION").to_owned();
        let instance = self.old.node.as_ref().map(|node| node.instance().to_owned());
        let offer = FromOld::Offer { program, sockets, lock: self.old.lock.is_some(), instance };
        channel.send_with(&offer, &files).await
    }

    /// Serves on, after a takeover that failed.
    async fn restore(&self, channel: Channel, reached: Reached) {
        end(channel).await;
        let Reached { closed, instance } = reached;
        if let (Some(node), Some(instance)) = (&self.old.node, instance) {
            // It may have joined control, and never served.
            node.other_ended(instance);
        }
        if let Some(node) = &self.old.node {
            node.reopen_disk().await;
        }
        let (Some(built_in), Some(log)) = (&self.old.built_in, closed) else { return };
        while let Err(reason) = built_in.reopen(log.as_deref()).await {
            tracing::error!(reason, "the log cannot be opened again; trying again");
        }
        tracing::info!("the log is open again");
    }
}

/// How far a takeover has come, as far as there is something to restore.
#[derive(Default)]
struct Reached {
    /// The log is closed; it is here if it was in memory.
    closed: Option<Option<Vec<u8>>>,
    /// The node of the new process.
    instance: Option<String>,
}

/// Until the process at the other end has ended, which it does when it notices that it cannot take
/// over. One that hangs is killed: it may hold the log.
async fn end(mut channel: Channel) {
    let peer = channel.peer().and_then(Pid::from_raw);
    let Some(pidfd) = peer.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return;
    };
    if let Err(error) = channel.finish().await {
        tracing::debug!(%error, "the other process has gone");
    }
    if timeout(LAST_MOMENTS, channel.until_closed()).await.is_ok() {
        return;
    }
    match pidfd_send_signal(pidfd, Signal::KILL) {
        Ok(()) => tracing::error!("the process that was to take over is killed: it did not end"),
        Err(error) => tracing::error!(%error, "the process that was to take over does not end"),
    }
    drop(timeout(LAST_MOMENTS, channel.until_closed()).await);
}

/// A step that failed in this process.
fn failed(reason: String) -> Broken {
    Broken::Io(io::Error::other(reason))
}

/// The next line, which must be this one.
async fn expect(channel: &mut Channel, line: &FromNew, bound: Duration) -> Result<(), Broken> {
    let next: FromNew = channel.next(bound).await?;
    if next == *line {
        return Ok(());
    }
    Err(failed(format!("the other process said {next:?} in place of {line:?}")))
}

/// Until the node follows a log anew.
async fn follows(node: &Node, before: u64) -> Result<(), Broken> {
    let follows = async {
        loop {
            let followed = node.followed();
            if followed.connected && followed.reconnects > before {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let within = timeout(STEP, follows).await;
    within.map_err(|_| failed("this node cannot follow the log of the other process".to_owned()))
}
