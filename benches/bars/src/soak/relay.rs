//! A relay in front of a server, which closes connections: those that are idle, or all at a word.

use crate::Error;
use crate::dice::Dice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

/// Dropping it breaks its connections.
pub(super) struct Relay {
    /// Where it listens.
    pub(super) at: SocketAddr,
    relaying: JoinHandle<()>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cut: Notify,
    closed: AtomicU64,
}

impl Relay {
    /// A relay to `to`. A connection over which an answer of HTTP/1.1 has come to its end is closed
    /// after a random time of at most `idle`.
    pub(super) async fn to(to: SocketAddr, idle: Option<Duration>) -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        let shared = Arc::<Shared>::default();
        let of_all = Arc::clone(&shared);
        let relaying = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            let mut number = 0;
            while let Ok((near, _)) = listener.accept().await {
                let (shared, dice) = (Arc::clone(&of_all), Dice::of(number));
                number += 1;
                connections.spawn(async move {
                    tokio::select! {
                        closed = relay(near, to, idle, dice) => {
                            shared.closed.fetch_add(u64::from(closed), Ordering::Relaxed);
                        }
                        () = shared.cut.notified() => {
                            shared.closed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { at, relaying, shared })
    }

    /// Closes all its connections, whatever is under way.
    pub(super) fn cut(&self) {
        self.shared.cut.notify_waiters();
    }

    /// How many connections it has closed by itself.
    pub(super) fn closed(&self) -> u64 {
        self.shared.closed.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.relaying.abort();
    }
}

/// Relays until an end closes its connection (`false`), or it was idle (`true`).
async fn relay(near: TcpStream, to: SocketAddr, idle: Option<Duration>, mut dice: Dice) -> bool {
    let Ok(far) = TcpStream::connect(to).await else { return false };
    if near.set_nodelay(true).is_err() || far.set_nodelay(true).is_err() {
        return false;
    }
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = far.into_split();
    let (mut asked, mut answered) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    let (mut is_idle, mut answers) = (false, Answers::default());
    loop {
        let patience = idle.map(|idle| {
            let most = u64::try_from(idle.as_micros()).unwrap_or(u64::MAX).max(1);
            Duration::from_micros(dice.below(most))
        });
        let written = tokio::select! {
            read = from_near.read(&mut asked) => match read {
                Ok(bytes @ 1..) => {
                    is_idle = false;
                    to_far.write_all(&asked[..bytes]).await
                }
                _ => return false,
            },
            read = from_far.read(&mut answered) => match read {
                Ok(bytes @ 1..) => {
                    answers.arrived(&answered[..bytes]);
                    is_idle = answers.are_complete();
                    to_near.write_all(&answered[..bytes]).await
                }
                _ => return false,
            },
            () = tokio::time::sleep(patience.unwrap_or_default()), if is_idle && patience.is_some() => {
                return true;
            }
        };
        if written.is_err() {
            return false;
        }
    }
}

/// Where the answers of a connection end. All of them have a Content-Length or no body.
#[derive(Debug, Default)]
struct Answers {
    head: Vec<u8>,
    left: u64,
}

impl Answers {
    fn arrived(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= taken as u64;
                bytes = &bytes[taken..];
                continue;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            if self.head.ends_with(b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.head).to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
                let has_body = !head.starts_with("http/1.1 304");
                self.left = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
                self.left *= u64::from(has_body);
                self.head.clear();
            }
        }
    }

    fn are_complete(&self) -> bool {
        self.left == 0 && self.head.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_head_says() {
        let mut answers = Answers::default();
        let mut complete = |bytes: &str| {
            answers.arrived(bytes.as_bytes());
            answers.are_complete()
        };
        assert!(!complete("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"));
        assert!(!complete("\r\nab"));
        assert!(complete("c"));
        assert!(complete("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n"));
        assert!(!complete("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\naHTTP"));
    }
}
