//! A line that takes time: what is sent over it arrives later, however much of it is under way.

use crate::Error;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// Parts under way at once, of at most [`PART`] bytes; the sender waits beyond that.
const PARTS: usize = 256;
const PART: usize = 16 * 1024;

/// A listener whose connections lead elsewhere. Dropping it breaks them all.
pub(crate) struct Line {
    /// Where it begins.
    pub(crate) at: SocketAddr,
    carrying: JoinHandle<()>,
}

impl Line {
    /// A line to `to` on which everything takes `one_way`, connecting too.
    pub(crate) async fn to(to: SocketAddr, one_way: Duration) -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        let carrying = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                connections.spawn(connect(near, to, one_way));
                // What has ended is of no interest: both ends know.
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { at, carrying })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

async fn connect(near: TcpStream, to: SocketAddr, one_way: Duration) {
    // The handshake of TCP goes there and back before anything else.
    tokio::time::sleep(2 * one_way).await;
    let Ok(far) = TcpStream::connect(to).await else { return };
    if near.set_nodelay(true).is_err() || far.set_nodelay(true).is_err() {
        return;
    }
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    tokio::join!(carry(from_near, to_far, one_way), carry(from_far, to_near, one_way));
}

/// One way of a connection, until its end.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, one_way: Duration) {
    let (send, mut under_way) = mpsc::channel(PARTS);
    let reading = async move {
        loop {
            let mut part = Vec::with_capacity(PART);
            match from.read_buf(&mut part).await {
                Ok(1..) if send.send((Instant::now() + one_way, part)).await.is_ok() => {}
                _ => return,
            }
        }
    };
    let writing = async move {
        while let Some((arrives, part)) = under_way.recv().await {
            sleep_until(arrives).await;
            if to.write_all(&part).await.is_err() {
                return;
            }
        }
        // The other end may be gone by itself.
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}
