//! Bytes of stored bodies that the kernel sends from the page cache: they never pass through the program.
//!
//! hyper writes slices of memory. So each run of such bytes has a stand-in, a slice of the same length that
//! lies in one place of the program, where nothing is ever written. The socket's side knows it by its address,
//! and has the kernel send the run in its place. Only HTTP/1 in the clear can do that: for others the body
//! is read ([`Connection::outbox`](crate::server::Connection::outbox)).
//!
//! INVARIANT: no byte of a stand-in is sent. What is taken for one and is not what comes next is an error,
//! and ends the connection.

use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::TcpStream;
use weir_store::volume::CachedBytes;

/// Bytes of a run, at most.
const MOST: usize = 1 << 20;

/// What all stand-ins are slices of.
static STAND_IN: [u8; MOST] = [0; MOST];

/// The runs of one connection that are not sent yet, in order.
#[derive(Debug, Default)]
pub(crate) struct Outbox(RefCell<VecDeque<Run>>);

#[derive(Debug)]
struct Run {
    bytes: CachedBytes,
    sent: usize,
}

/// The addresses of stand-ins.
fn addresses() -> Range<usize> {
    let begin = STAND_IN.as_ptr().addr();
    begin..begin + MOST
}

/// Whether these bytes are a stand-in, or the rest of one.
pub(crate) fn is_stand_in(bytes: &[u8]) -> bool {
    !bytes.is_empty() && addresses().contains(&bytes.as_ptr().addr())
}

impl Outbox {
    /// Whether nothing waits to be sent.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The stand-in of bytes that are to be sent next, or of the first of them: as many as it has.
    pub(crate) fn put(&self, bytes: CachedBytes) -> Bytes {
        let length = bytes.len().min(MOST);
        if length > 0 {
            self.0.borrow_mut().push_back(Run { bytes: bytes.part(0..length), sent: 0 });
        }
        Bytes::from_static(&STAND_IN[..length])
    }

    /// Sends some of the run that this rest of a stand-in is of.
    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        to: &TcpStream,
        stand_in: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut runs = self.0.borrow_mut();
        let begun = stand_in.as_ptr().addr() - addresses().start;
        let next = runs
            .front_mut()
            .filter(|run| (run.sent, run.bytes.len() - run.sent) == (begun, stand_in.len()));
        let Some(run) = next else {
            return Poll::Ready(Err(io::Error::other("a body is sent in the wrong order")));
        };
        let sent = loop {
            ready!(to.poll_write_ready(cx))?;
            let send = || run.bytes.send(std::os::fd::AsFd::as_fd(to), run.sent);
            match to.try_io(Interest::WRITABLE, send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(sent) => break sent,
            }
        };
        run.sent += sent;
        if run.sent == run.bytes.len() {
            runs.pop_front();
        }
        Poll::Ready(Ok(sent))
    }
}
