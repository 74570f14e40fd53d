//! One client's connection: its socket, what it sent and was not read yet, and whether it is
//! still there. Everything that waits does so through this type, so that a client that leaves is
//! noticed during every delay.

use bytes::BytesMut;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes that may wait unread while an answer is under way.
const READ_AHEAD: usize = 256 * 1024;
/// How long, and for how many bytes, a client may go on sending what nobody wants.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 64 * 1024 * 1024;

/// The client left: it closed, reset, or half-closed. (Half-closing after a request is legal, but
/// no HTTP client in use does it, and a close looks the same until something is written.)
#[derive(Debug)]
pub(crate) struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Gone {
        Gone
    }
}

/// A client's connection.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Received and not yet read.
    pub(crate) input: BytesMut,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Connection {
        // Without it a paced body would be delayed by the kernel. A failure only costs time.
        let _ = stream.set_nodelay(true);
        Connection { stream, input: BytesMut::with_capacity(8 * 1024) }
    }

    /// Reads more into `input`; 0 is the end of what the client sends.
    pub(crate) async fn receive(&mut self) -> io::Result<usize> {
        self.stream.read_buf(&mut self.input).await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Waits until the client leaves. What it sends meanwhile is kept for the next request, up
    /// to a bound; a client beyond it is noticed when something is written to it.
    pub(crate) async fn client_leaves(&mut self) -> Gone {
        while self.input.len() < READ_AHEAD {
            match self.receive().await {
                Ok(0) | Err(_) => return Gone,
                Ok(_) => {}
            }
        }
        std::future::pending().await
    }

    /// Waits for `event`, unless the client leaves first.
    pub(crate) async fn until<T>(&mut self, event: impl Future<Output = T>) -> Result<T, Gone> {
        tokio::select! {
            biased;
            happened = event => Ok(happened),
            gone = self.client_leaves() => Err(gone),
        }
    }

    /// Waits for `delay`, unless the client leaves first.
    pub(crate) async fn pause(&mut self, delay: Duration) -> Result<(), Gone> {
        if delay.is_zero() { Ok(()) } else { self.until(tokio::time::sleep(delay)).await }
    }

    /// Makes the close of this connection a TCP reset.
    pub(crate) fn reset_on_close(&self) {
        // Fails only on a socket that is no longer connected, which needs no reset.
        let _ = self.stream.set_zero_linger();
    }

    /// Sends everything back, until the client closes.
    pub(crate) async fn echo(&mut self) -> Result<(), Gone> {
        loop {
            if !self.input.is_empty() {
                self.stream.write_all(&self.input).await?;
                self.input.clear();
            }
            if self.receive().await? == 0 {
                return Ok(());
            }
        }
    }

    /// Closes after an answer to a request that was not read to its end. Closing at once would
    /// reset the connection and could take the answer with it.
    pub(crate) async fn close_unread(mut self) {
        let drain = async {
            self.stream.shutdown().await?;
            let mut drained = 0;
            while drained < LINGER_BYTES {
                self.input.clear();
                match self.receive().await? {
                    0 => break,
                    n => drained += n,
                }
            }
            io::Result::Ok(())
        };
        // Whatever goes wrong here, the connection is closed next.
        let _ = tokio::time::timeout(LINGER, drain).await;
    }
}
