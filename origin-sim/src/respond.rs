//! Writes one answer as its script says: interim responses, hold, delay, head, body, trailers.
//! Top-down; what replaces an answer altogether is in `faults`.

use crate::answer::{Answer, push, status_line};
use crate::connection::{Connection, Gone};
use crate::counters::Recorded;
use crate::faults::{self, Fault, Replaced};
use crate::ledger::Entry;
use crate::reply::{Framing, Hold, Reply};
use std::time::Duration;
use tokio::sync::watch;

/// Most of a body that is held at once, bytes.
const PIECE: usize = 64 * 1024;

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request may follow.
    KeepOpen,
    /// It ends.
    Close,
}

/// Opens when what is held is released.
pub(crate) type Gate = watch::Receiver<bool>;

/// Answers `request` by `reply`; `keep_alive` says whether the client would go on.
pub(crate) async fn respond(
    connection: &mut Connection,
    request: &Recorded,
    reply: &Reply,
    keep_alive: bool,
    gate: &mut Gate,
    entry: &mut Entry,
) -> Result<After, Gone> {
    for interim in &reply.interim {
        let mut head = status_line(interim.status, None);
        interim.headers.iter().for_each(|(name, value)| push(&mut head, name, value.as_bytes()));
        head.extend_from_slice(b"\r\n");
        connection.send(&head).await?;
    }
    if reply.hold == Hold::BeforeHead {
        release(connection, gate).await?;
    }
    connection.pause(reply.delay).await?;
    if let Replaced::Yes(bytes) = faults::replace(connection, reply.fault.as_ref()).await? {
        entry.bytes = bytes;
        return Ok(After::Close);
    }
    if reply.upgrade_echo {
        return upgrade(connection, request, entry).await;
    }
    let answer = Answer::new(request, reply, keep_alive);
    entry.status(answer.status);
    answer.write(connection, gate, entry).await
}

async fn release(connection: &mut Connection, gate: &mut Gate) -> Result<(), Gone> {
    // The sender outlives the request; were it gone, nothing could be released any more.
    let _ = connection.until(gate.wait_for(|open| *open)).await?;
    Ok(())
}

/// Switches to echoing bytes (RFC 9110 §7.8).
async fn upgrade(
    connection: &mut Connection,
    request: &Recorded,
    entry: &Entry,
) -> Result<After, Gone> {
    let Some(protocol) = request.header("Upgrade") else {
        entry.status(426);
        let head = b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n";
        return connection.send(head).await.map(|()| After::KeepOpen);
    };
    entry.status(101);
    let mut head = status_line(101, None);
    push(&mut head, "Upgrade", protocol.as_bytes());
    head.extend_from_slice(b"Connection: Upgrade\r\n\r\n");
    connection.send(&head).await?;
    connection.echo().await?;
    Ok(After::Close)
}

impl Answer<'_> {
    async fn write(
        mut self,
        connection: &mut Connection,
        gate: &mut Gate,
        entry: &mut Entry,
    ) -> Result<After, Gone> {
        let mut head = std::mem::take(&mut self.head);
        if let Some(Fault::SlowHead(interval)) = self.reply.fault {
            for byte in head.drain(..) {
                connection.send(&[byte]).await?;
                connection.pause(interval).await?;
            }
        }
        if !self.reply.delay_body.is_zero() {
            connection.send(&head).await?;
            head.clear();
            connection.pause(self.reply.delay_body).await?;
        }
        self.write_body(connection, gate, entry, head).await
    }

    /// Sends `out`, which may still hold the head, and the body behind it.
    async fn write_body(
        &self,
        connection: &mut Connection,
        gate: &mut Gate,
        entry: &mut Entry,
        mut out: Vec<u8>,
    ) -> Result<After, Gone> {
        let (cut, reset) = match self.reply.fault {
            Some(Fault::ResetAfter(bytes)) => (Some(bytes), true),
            Some(Fault::TruncateAfter(bytes)) => (Some(bytes), false),
            _ => (None, false),
        };
        let end = self.len.unwrap_or(u64::MAX).min(cut.unwrap_or(u64::MAX));
        let mut hold_at = match self.reply.hold {
            Hold::AfterBodyBytes(bytes) => Some(bytes.min(end)),
            _ => None,
        };
        let mut sent = 0;
        loop {
            if hold_at == Some(sent) {
                connection.send(&out).await?;
                out.clear();
                release(connection, gate).await?;
                hold_at = None;
            }
            if sent >= end {
                break;
            }
            let most = self.reply.pace.map_or(PIECE, |pace| pace.bytes.min(PIECE)) as u64;
            let piece = most.min(end - sent).min(hold_at.map_or(most, |at| at - sent));
            self.append_piece(sent, piece as usize, &mut out).await?;
            connection.send(&out).await?;
            out.clear();
            sent += piece;
            entry.bytes = sent;
            match self.reply.pace {
                _ if sent >= end => {}
                Some(pace) => connection.pause(pace.every).await?,
                // Other requests have their turn, however fast the client takes this body.
                None => tokio::task::yield_now().await,
            }
        }
        self.finish(connection, out, sent, cut.map(|_| reset)).await
    }

    async fn append_piece(&self, at: u64, len: usize, out: &mut Vec<u8>) -> Result<(), Gone> {
        if self.framing == Framing::Chunked {
            out.extend_from_slice(format!("{len:x}\r\n").as_bytes());
            self.body.append(self.first + at, len, out).await?;
            out.extend_from_slice(b"\r\n");
            return Ok(());
        }
        Ok(self.body.append(self.first + at, len, out).await?)
    }

    /// Ends the body as framing or fault (`cut`: by a reset or not) demand.
    async fn finish(
        &self,
        connection: &mut Connection,
        mut out: Vec<u8>,
        sent: u64,
        cut: Option<bool>,
    ) -> Result<After, Gone> {
        if cut.is_none() && self.framing == Framing::Chunked {
            out.extend_from_slice(b"0\r\n");
            let trailers = &self.reply.trailers;
            trailers.iter().for_each(|(name, value)| push(&mut out, name, value.as_bytes()));
            out.extend_from_slice(b"\r\n");
        }
        connection.send(&out).await?;
        match (cut, &self.reply.fault) {
            (Some(reset), _) => {
                if reset {
                    // A reset discards what the system has not sent yet: let it leave.
                    connection.pause(RESET_AFTER).await?;
                    connection.reset_on_close();
                }
                Ok(After::Close)
            }
            (None, Some(Fault::ContentLength(length))) if *length > sent => Ok(After::Close),
            (None, Some(Fault::TwoLengths(one, other))) if *one.max(other) > sent => {
                Ok(After::Close)
            }
            _ => Ok(self.after),
        }
    }
}

/// How long the bytes before a scripted reset have to leave.
const RESET_AFTER: Duration = Duration::from_millis(20);
