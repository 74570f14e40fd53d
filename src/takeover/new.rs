//! The side of the process that takes over.

use super::channel::{Broken, Channel};
use super::old::SOCKET;
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;
use weir_protocol::takeover::{FromNew, FromOld, LONGEST_LOG, Role, Running};

/// For the old process to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// For the old process to close its log: calls that run end first.
const CLOSE: Duration = Duration::from_secs(30);

/// A takeover in progress. If it is dropped, the old process serves on.
pub(crate) struct Takeover {
    channel: Channel,
    /// The sockets that the old process listens on.
    pub(crate) sockets: Vec<(Role, TcpListener)>,
    /// The lock of the state directory, held by both processes.
    pub(crate) lock: Option<File>,
    /// What tells the old process from others of the same node.
    pub(crate) instance: Option<String>,
}

/// Asks the process that listens in `directory` for a takeover; `None` if there is none.
///
/// # Errors
/// It refuses, or does not answer.
pub(crate) async fn begin(directory: &Path, running: Running) -> Result<Option<Takeover>, String> {
    let path = directory.join(SOCKET);
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => return Ok(None),
            _ => return Err(format!("{}: {error}", path.display())),
        },
    };
    let mut channel = Channel::new(stream);
    match channel.is_of_same_user() {
        Ok(true) => {}
        Ok(false) => return Err("the running process is of another user".to_owned()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    }
    let asked = asked(&mut channel, running).await;
    let (sockets, lock, instance) = asked.map_err(|reason| reason.to_string())?;
    Ok(Some(Takeover { channel, sockets, lock, instance }))
}

/// The sockets of the running process, and the lock.
async fn asked(
    channel: &mut Channel,
    running: Running,
) -> Result<(Vec<(Role, TcpListener)>, Option<File>, Option<String>), Broken> {
    channel.send(&FromNew::Takeover(running)).await?;
    let (sockets, lock, instance) = match channel.next(ANSWER).await? {
        FromOld::Offer { sockets, lock, instance, .. } => (sockets, lock, instance),
        other => return Err(unexpected(other)),
    };
    let mut files = channel.take_files().into_iter();
    let roles = sockets.iter().map(|offered| offered.role);
    let sockets: Vec<_> =
        roles.zip(&mut files).map(|(role, file)| (role, TcpListener::from(file))).collect();
    let lock = files.next().filter(|_| lock).map(File::from);
    Ok((sockets, lock, instance))
}

impl Takeover {
    /// Says which node this process has, before that joins control.
    ///
    /// # Errors
    /// The old process is gone.
    pub(crate) async fn begins(&mut self, instance: Option<&str>) -> Result<(), String> {
        let begins = FromNew::Begins { instance: instance.map(str::to_owned) };
        self.channel.send(&begins).await.map_err(|reason| reason.to_string())
    }

    /// Says that this process can serve; returns the log that the old process had in memory. Its log
    /// in `control.data` is closed.
    ///
    /// # Errors
    /// The old process serves on.
    pub(crate) async fn prepared(&mut self) -> Result<Vec<u8>, String> {
        self.log().await.map_err(|reason| reason.to_string())
    }

    async fn log(&mut self) -> Result<Vec<u8>, Broken> {
        self.channel.send(&FromNew::Prepared).await?;
        match self.channel.next(CLOSE).await? {
            FromOld::Log { bytes } if bytes <= LONGEST_LOG => {
                let bytes = usize::try_from(bytes).map_err(|_| Broken::TooMuch)?;
                self.channel.next_bytes(bytes, ANSWER).await
            }
            other => Err(unexpected(other)),
        }
    }

    /// Says that the log is open; returns when this process is to serve.
    ///
    /// # Errors
    /// The old process serves on.
    pub(crate) async fn opened(&mut self) -> Result<(), String> {
        let go = async {
            self.channel.send(&FromNew::Opened).await?;
            match self.channel.next(CLOSE).await? {
                FromOld::Go => Ok(()),
                other => Err(unexpected(other)),
            }
        };
        go.await.map_err(|reason: Broken| reason.to_string())
    }

    /// Says that this process serves; returns when the old process accepts nothing any more. If it
    /// does not say so, it is in the log. What is returned resolves once the old process has ended.
    pub(crate) async fn serving(mut self) -> impl Future<Output = ()> {
        let draining = async {
            self.channel.send(&FromNew::Serving).await?;
            match self.channel.next(ANSWER).await? {
                FromOld::Draining => Ok(()),
                other => Err(unexpected(other)),
            }
        };
        match draining.await {
            Ok(()) => tracing::info!("took over; the old process finishes its requests"),
            Err(reason) => tracing::error!(%reason, "took over, but the old process may serve on"),
        }
        async move { self.channel.until_closed().await }
    }
}

/// Why a line is not what was asked for.
fn unexpected(line: FromOld) -> Broken {
    let reason = match line {
        FromOld::Refused { reason } => reason,
        other => format!("the running process answered {other:?}"),
    };
    Broken::Io(io::Error::other(reason))
}
