//! The ways in which an origin misbehaves on purpose. Those that replace the whole answer are
//! written here; those that bend a usual answer are read by `respond`.

use crate::connection::{Connection, Gone};
use crate::reply::{Framing, Reply};
use bytes::Bytes;
use std::time::Duration;

/// One fault; a reply has at most one, the last that was set.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// A TCP reset instead of an answer.
    ResetBeforeHead,
    /// A TCP reset after the head and so many bytes of body.
    ResetAfter(u64),
    /// An orderly close after the head and so many bytes of body.
    TruncateAfter(u64),
    /// This Content-Length, whatever the body.
    ContentLength(u64),
    /// These two Content-Length fields.
    TwoLengths(u64, u64),
    /// These bytes as the answer, then a close.
    Raw(Bytes),
    /// Fields without end.
    EndlessHead,
    /// A complete head of at least so many bytes.
    HugeHead(usize),
    /// One byte of the head at a time.
    SlowHead(Duration),
    /// Nothing at all.
    NoAnswer,
}

/// Faults. A reply has at most one: the last one set.
impl Reply {
    /// Resets the connection (TCP RST) instead of answering.
    pub fn reset_before_head(self) -> Reply {
        self.fault(Fault::ResetBeforeHead)
    }

    /// Resets the connection (TCP RST) after the head and `bytes` of the body.
    pub fn reset_after(self, bytes: u64) -> Reply {
        self.fault(Fault::ResetAfter(bytes))
    }

    /// Closes the connection in order after the head and `bytes` of the body, though more was
    /// announced; a chunked body lacks its last chunk.
    pub fn truncate_after(self, bytes: u64) -> Reply {
        self.fault(Fault::TruncateAfter(bytes))
    }

    /// Announces `length` whatever the body. When more was announced than there is, the
    /// connection closes after the body; when less, the surplus follows and it stays open.
    pub fn content_length(self, length: u64) -> Reply {
        self.fault(Fault::ContentLength(length))
    }

    /// Two Content-Length fields.
    pub fn two_lengths(self, first: u64, second: u64) -> Reply {
        self.fault(Fault::TwoLengths(first, second))
    }

    /// Sends `bytes` as the whole answer (garbage, HTTP/0.9, a broken chunk, ...), then closes.
    pub fn raw(self, bytes: impl Into<Bytes>) -> Reply {
        self.fault(Fault::Raw(bytes.into()))
    }

    /// Sends a status line and then fields until the client leaves.
    pub fn endless_head(self) -> Reply {
        self.fault(Fault::EndlessHead)
    }

    /// A usual answer whose head has at least `bytes` bytes.
    pub fn huge_head(self, bytes: usize) -> Reply {
        self.fault(Fault::HugeHead(bytes))
    }

    /// A chunked body that goes on until the client leaves; `until_close()` after it makes it
    /// one without chunks.
    pub fn endless_body(mut self) -> Reply {
        self.body = crate::body::Body::Endless { seed: 0 };
        self.framing = Framing::Chunked;
        self
    }

    /// Sends the head byte by byte, one each `interval`.
    pub fn slow_head(self, interval: Duration) -> Reply {
        self.fault(Fault::SlowHead(interval))
    }

    /// Takes the request and never answers.
    pub fn no_answer(self) -> Reply {
        self.fault(Fault::NoAnswer)
    }

    fn fault(mut self, fault: Fault) -> Reply {
        self.fault = Some(fault);
        self
    }
}

/// What is left to do after a fault had its chance to replace the answer.
pub(crate) enum Replaced {
    /// It bends the answer at most: write it.
    No,
    /// It was the whole answer, of so many bytes; the connection ends.
    Yes(u64),
}

/// Commits the faults that stand in for an answer.
pub(crate) async fn replace(
    connection: &mut Connection,
    fault: Option<&Fault>,
) -> Result<Replaced, Gone> {
    match fault {
        Some(Fault::ResetBeforeHead) => {
            connection.reset_on_close();
            Ok(Replaced::Yes(0))
        }
        Some(Fault::Raw(bytes)) => {
            connection.send(bytes).await?;
            Ok(Replaced::Yes(bytes.len() as u64))
        }
        Some(Fault::NoAnswer) => Err(connection.client_leaves().await),
        Some(Fault::EndlessHead) => Err(endless_head(connection).await),
        _ => Ok(Replaced::No),
    }
}

async fn endless_head(connection: &mut Connection) -> Gone {
    let mut piece = b"HTTP/1.1 200 OK\r\n".to_vec();
    for n in 0u64.. {
        piece.extend_from_slice(format!("X-Endless-{n}: {}\r\n", "e".repeat(200)).as_bytes());
        if piece.len() > 16 * 1024 {
            if let Err(gone) = connection.send(&piece).await {
                return gone;
            }
            piece.clear();
        }
    }
    Gone
}

/// Fields that make a head larger by at least `bytes`.
pub(crate) fn padding(bytes: usize) -> Vec<u8> {
    const FIELD: usize = 1000;
    let mut fields = Vec::new();
    let mut n = 0;
    while fields.len() < bytes {
        let value = "p".repeat(FIELD.min(bytes - fields.len()));
        fields.extend_from_slice(format!("X-Padding-{n}: {value}\r\n").as_bytes());
        n += 1;
    }
    fields
}
