//! Where the log is that the node of this process follows: beside it, or, once another process took
//! over, there.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use weir_control::{Control, Onward};
use weir_edge::follow::{Dial, Undialled};
use weir_protocol::takeover::{FromNew, write};

/// Bytes on their way between a node and control of one process.
const IN_PROCESS: usize = 64 << 10;

/// Where a log is.
#[derive(Clone)]
pub(crate) enum Place {
    /// In this process.
    Here(Arc<Control>),
    /// On its way.
    Nowhere,
    /// In the process that listens on one of these sockets.
    There(Arc<[PathBuf]>),
}

/// The way to wherever the log is.
pub(super) struct ToPlace {
    /// As it changes.
    pub(super) place: watch::Receiver<Place>,
    /// Where control in this process attends connections.
    pub(super) here: Handle,
}

impl Dial for ToPlace {
    type Stream = Stream;

    async fn dial(&mut self) -> Result<Stream, Undialled> {
        let ended = |_| Undialled::Unreachable("the process ends".to_owned());
        let place = self.place.wait_for(|place| !matches!(place, Place::Nowhere)).await;
        let place = place.map_err(ended)?.clone();
        match place {
            Place::Here(control) => {
                let (node, end) = tokio::io::duplex(IN_PROCESS);
                drop(self.here.spawn(control.attend(end)));
                Ok(Stream::Here(node))
            }
            Place::There(paths) => {
                let stream = there(&paths, &FromNew::Follow).await;
                stream.map(Stream::There).map_err(Undialled::Unreachable)
            }
            Place::Nowhere => Err(Undialled::Unreachable("the log is on its way".to_owned())),
        }
    }

    fn place(&self) -> String {
        match &*self.place.borrow() {
            Place::Here(_) | Place::Nowhere => "in this process".to_owned(),
            Place::There(_) => "in the process that took over".to_owned(),
        }
    }
}

/// The way for calls to the process that listens on one of these sockets.
pub(super) fn onward(paths: Arc<[PathBuf]>) -> Onward {
    Onward::new(move |peer| {
        let paths = Arc::clone(&paths);
        async move { there(&paths, &FromNew::Call { peer }).await.map_err(io::Error::other) }
    })
}

/// A connection to the process that took over, which begins with this line.
async fn there(paths: &[PathBuf], line: &FromNew) -> Result<UnixStream, String> {
    let mut reason = String::new();
    for path in paths {
        match begin(path, line).await {
            Ok(stream) => return Ok(stream),
            Err(error) => reason = format!("{}: {error}", path.display()),
        }
    }
    Err(reason)
}

async fn begin(path: &Path, line: &FromNew) -> io::Result<UnixStream> {
    use tokio::io::AsyncWriteExt;
    let mut stream = UnixStream::connect(path).await?;
    let mut bytes = Vec::new();
    write(&mut bytes, line)?;
    stream.write_all(&bytes).await?;
    Ok(stream)
}

/// A connection to control in this process, or in the one that took over.
pub(crate) enum Stream {
    /// In this process.
    Here(DuplexStream),
    /// In another.
    There(UnixStream),
}

/// Calls a method of whichever stream it is.
macro_rules! of_either {
    ($stream:expr, $method:ident ( $($argument:expr),* )) => {
        match $stream.get_mut() {
            Stream::Here(stream) => Pin::new(stream).$method($($argument),*),
            Stream::There(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        of_either!(self, poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        of_either!(self, poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        of_either!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        of_either!(self, poll_shutdown(cx))
    }
}
