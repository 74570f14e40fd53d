//! The bytes of one connection: the socket (TLS or not), the guard over what comes in, and the
//! notes from which the sweeper tells a slow client. hyper reads and writes through [`Io`].
//!
//! Reads go into a buffer that all connections of a worker share, are judged there, and are then
//! copied once into hyper's: only the bytes of an incomplete head are kept here. Never: a byte
//! given to hyper that was not judged, or after a refused one.

use super::connection::{Connection, Protocol};
use super::guard::{Guard, Verdict};
use super::held::HeldInput;
use super::transport::Transport;
use crate::error::ClientError;
use crate::outbox::Outbox;
use http::{HeaderMap, StatusCode};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// What hyper gets in place of a refused head, so that the handler can answer it. hyper closes the
/// connection after it.
pub(super) const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";
/// Bytes kept while it is open whether an upgrade is granted.
const HELD_BYTES: usize = 16 * 1024;
/// Bytes thrown away while a closing connection waits for its client to have read the answer.
const LINGER_BYTES: u64 = 256 * 1024;
/// Buffers of together no more than this are written as one.
const JOINED_BYTES: usize = 4096;

/// How an HTTP/2 connection begins (RFC 9113 §3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What happens to incoming bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Intake {
    /// Judged, then given to hyper.
    Guarded,
    /// A defect was found: what is cleared is still given to hyper, nothing after it.
    Ended,
    /// As `Ended`, and then an error: the body broke off.
    Broken,
    /// Given as they are: HTTP/2, or after an upgrade.
    Raw,
}

/// One direction of the socket, for the sweeper.
#[derive(Clone, Copy)]
pub(super) struct Direction {
    /// The last attempt found the client not ready.
    pub(super) blocked: bool,
    /// Worker time (ms) of the last progress.
    pub(super) progress: u64,
}

/// Bytes and state of one connection; see the module.
pub(super) struct Wire {
    pub(super) transport: Transport,
    /// What the kernel sends of bodies.
    pub(super) outbox: Rc<Outbox>,
    guard: Guard,
    intake: Intake,
    held: HeldInput,
    defect: Option<(u64, ClientError)>,
    /// The request line of a head that a stand-in took the place of, as far as it is kept.
    refused: Option<Box<[u8]>>,
    pub(super) incoming: Direction,
    pub(super) outgoing: Direction,
    /// Set by the sweeper: the next read that finds nothing ends in this error.
    overdue: bool,
    /// Worker time (ms) at which the head in hand began.
    head_since: Option<u64>,
    /// The rest of an interim response that the socket did not take.
    unsent: Vec<u8>,
    ended: bool,
    lingering: bool,
    lingered: u64,
}

/// The first line of a head, at most so much of it. Empty lines may stand before it (RFC 9112 §2.2).
fn request_line(head: &[u8]) -> Box<[u8]> {
    const MOST: usize = 1024;
    let begin = head.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(head.len());
    let line = head[begin..].split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line[..line.len().min(MOST)].into()
}

impl Wire {
    pub(super) fn new(transport: Transport, guard: Guard, now: u64) -> Self {
        let direction = Direction { blocked: false, progress: now };
        Self {
            transport,
            outbox: Rc::default(),
            guard,
            intake: Intake::Guarded,
            held: HeldInput::default(),
            defect: None,
            refused: None,
            incoming: direction,
            outgoing: direction,
            overdue: false,
            head_since: None,
            unsent: Vec::new(),
            ended: false,
            lingering: false,
            lingered: 0,
        }
    }

    /// From now on bytes pass untouched.
    pub(super) fn pass_untouched(&mut self) {
        self.intake = Intake::Raw;
        self.held.clear_all();
    }

    /// Reads until the first bytes say which protocol they belong to; `None` when the client left.
    pub(super) fn poll_preface(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        now: u64,
    ) -> Poll<Option<Protocol>> {
        loop {
            let seen = self.held.uncleared();
            let compared = seen.len().min(H2_PREFACE.len());
            if seen[..compared] != H2_PREFACE[..compared] || self.overdue {
                return Poll::Ready(Some(Protocol::Http1));
            }
            if compared == H2_PREFACE.len() {
                return Poll::Ready(Some(Protocol::Http2));
            }
            let read = match std::task::ready!(self.transport.poll_read(cx, scratch)) {
                Ok(0) | Err(_) => return Poll::Ready(None),
                Ok(read) => read,
            };
            self.head_since.get_or_insert(now);
            self.incoming.progress = now;
            self.held.keep(&scratch[..read]);
        }
    }

    /// Waits, between requests, for the first bytes of the next one, and keeps them. `false` when the client
    /// left.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        now: u64,
    ) -> Poll<bool> {
        if !self.held.is_empty() {
            return Poll::Ready(true);
        }
        let read = match std::task::ready!(self.transport.poll_read(cx, scratch)) {
            Ok(0) | Err(_) => return Poll::Ready(false),
            Ok(read) => read,
        };
        self.head_since = Some(now);
        self.incoming = Direction { blocked: false, progress: now };
        self.held.keep(&scratch[..read]);
        Poll::Ready(true)
    }

    /// Takes back what was given and not used, between requests.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.held.put_back(bytes);
        }
    }

    /// Whether nothing that was read waits to be given, nothing of a head is missing, and nothing waits to be sent.
    pub(super) fn is_quiet(&self) -> bool {
        self.held.is_empty()
            && self.unsent.is_empty()
            && self.intake == Intake::Guarded
            && self.guard.between_requests()
    }

    /// Gives this next, and then what was [put back](Self::put_back).
    pub(super) fn read_next(&mut self, bytes: &[u8]) {
        let room = self.held.ready();
        let bytes = [bytes, &self.held.take(room)].concat();
        self.held.put_back(&bytes);
    }

    pub(super) fn defect_of(&self, ordinal: u64) -> Option<ClientError> {
        match &self.defect {
            Some((at, error)) if *at == ordinal => Some(error.clone()),
            _ => None,
        }
    }

    /// The request line of the request in hand, if it is a stand-in for a refused head.
    pub(super) fn refused_line(&self, ordinal: u64) -> Option<&[u8]> {
        self.defect.as_ref().filter(|(at, _)| *at == ordinal)?;
        self.refused.as_deref()
    }

    /// The answer to an upgrade, if one was asked for, is known, and it is no. Says whether bytes
    /// that came meanwhile are to be judged now.
    pub(super) fn resume(&mut self) -> bool {
        if !self.guard.held() {
            return false;
        }
        self.guard.resume();
        self.held.judge_again()
    }

    /// Since when (worker time, ms) an incomplete head has been there.
    pub(super) fn head_since(&self) -> Option<u64> {
        let incomplete = self.guard.in_head() && self.held.waiting() > 0;
        if incomplete && self.intake == Intake::Guarded { self.head_since } else { None }
    }

    /// Whether a body's bytes are expected, and the last read found none.
    pub(super) fn awaits_body(&self) -> bool {
        self.intake == Intake::Guarded
            && !self.guard.in_head()
            && !self.guard.held()
            && self.incoming.blocked
    }

    /// The time is up: the next read that finds nothing fails.
    pub(super) fn set_overdue(&mut self) {
        self.overdue = true;
    }

    /// Bytes for hyper's buffer, at most `room` of them, given to `put`.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        room: usize,
        now: u64,
        put: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<()>> {
        loop {
            // Judged again at once if a request line was respelled.
            while self.held.judgeable() && self.intake == Intake::Guarded && !self.guard.held() {
                self.judge_held(now);
            }
            if self.held.ready() > 0 {
                put(&self.held.take(room));
                return Poll::Ready(Ok(()));
            }
            match self.intake {
                Intake::Ended => return Poll::Pending,
                Intake::Broken => return Poll::Ready(Err(broken())),
                Intake::Guarded if self.guard.held() && self.held.waiting() >= HELD_BYTES => {
                    return Poll::Pending;
                }
                Intake::Guarded | Intake::Raw => {}
            }
            let limit = room.min(scratch.len());
            let read = match self.transport.poll_read(cx, &mut scratch[..limit]) {
                Poll::Ready(read) => read?,
                Poll::Pending if self.overdue && self.give_up() => continue,
                Poll::Pending => {
                    self.incoming.blocked = true;
                    return Poll::Pending;
                }
            };
            self.overdue = false;
            self.incoming.blocked = false;
            self.incoming.progress = now;
            if read == 0 {
                self.ended = true;
                return Poll::Ready(Ok(()));
            }
            let bytes = &scratch[..read];
            if self.intake == Intake::Raw {
                put(bytes);
                return Poll::Ready(Ok(()));
            }
            if self.held.is_empty() {
                let (cleared, verdict) = self.guard.judge(bytes);
                if cleared == read && matches!(verdict, Verdict::Sound | Verdict::Held) {
                    put(bytes);
                    return Poll::Ready(Ok(()));
                }
                self.held.keep(bytes);
                self.settle(cleared, verdict, now);
            } else {
                self.held.keep(bytes);
            }
        }
    }

    fn judge_held(&mut self, now: u64) {
        let (cleared, verdict) = self.guard.judge(self.held.judge());
        self.settle(cleared, verdict, now);
    }

    fn settle(&mut self, cleared: usize, verdict: Verdict, now: u64) {
        self.held.clear(cleared);
        match verdict {
            Verdict::Sound => {
                if self.held.waiting() > 0 && (cleared > 0 || self.head_since.is_none()) {
                    self.head_since = Some(now);
                }
                if self.held.waiting() == 0 {
                    self.head_since = None;
                }
            }
            Verdict::Held => {}
            Verdict::Respelled { at, line, instead } => {
                self.held.replace(at, line, &instead);
                // The rest of the head may not be there yet.
                self.head_since.get_or_insert(now);
            }
            Verdict::BadHead(error) => self.refuse_head(error),
            Verdict::BadBody(error) => self.break_body(error),
        }
    }

    /// hyper sees a stand-in instead of the head in hand.
    fn refuse_head(&mut self, error: ClientError) {
        self.refused = Some(request_line(self.held.uncleared()));
        self.held.replace_waiting(STAND_IN);
        self.intake = Intake::Ended;
        self.defect = Some((self.guard.heads() + 1, error));
    }

    fn break_body(&mut self, error: ClientError) {
        self.held.replace_waiting(b"");
        self.intake = Intake::Broken;
        self.defect = Some((self.guard.heads(), error));
    }

    /// A deadline passed and there is still nothing to read. `false` when there is nothing that
    /// could be given up.
    fn give_up(&mut self) -> bool {
        self.overdue = false;
        if self.intake != Intake::Guarded || self.guard.held() {
            return false;
        }
        if !self.guard.in_head() {
            self.break_body(timeout("The request body came too slowly."));
        } else if self.held.waiting() > 0 {
            self.refuse_head(timeout("The request head came too slowly."));
        } else {
            return false;
        }
        true
    }

    /// Writes an interim response (RFC 9110 §15.2) now or not at all.
    pub(super) fn send_interim(&mut self, status: StatusCode, headers: &HeaderMap) -> bool {
        if self.outgoing.blocked || !self.unsent.is_empty() {
            return false;
        }
        let mut head = Vec::with_capacity(256);
        head.extend_from_slice(b"HTTP/1.1 ");
        head.extend_from_slice(status.as_str().as_bytes());
        head.push(b' ');
        head.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
        for (name, value) in headers {
            head.extend_from_slice(b"\r\n");
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
        }
        head.extend_from_slice(b"\r\n\r\n");
        match self.transport.try_write(&head) {
            Ok(0) | Err(_) => false,
            Ok(written) => {
                self.unsent.extend_from_slice(&head[written..]);
                true
            }
        }
    }

    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            match std::task::ready!(self.transport.poll_write(cx, &self.unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => drop(self.unsent.drain(..written)),
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        now: u64,
    ) -> Poll<io::Result<usize>> {
        let result = match self.poll_unsent(cx) {
            Poll::Ready(Ok(())) if self.outbox.is_empty() => {
                self.transport.poll_write_vectored(cx, bufs)
            }
            Poll::Ready(Ok(())) => self.transport.poll_write_with(cx, bufs, &self.outbox),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        self.note_write(&result, now);
        result
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, now: u64) -> Poll<io::Result<()>> {
        if !self.outbox.is_empty() {
            // All was written, and this was not: something else went out in its place.
            return Poll::Ready(Err(io::Error::other("a body was not sent as it should be")));
        }
        let result = match self.poll_unsent(cx) {
            Poll::Ready(Ok(())) => self.transport.poll_flush(cx),
            other => other,
        };
        // One that waited for this waits no longer. Else nothing was written.
        if result.is_pending() || self.outgoing.blocked {
            self.note_write(&result, now);
        }
        result
    }

    #[inline]
    fn note_write<T>(&mut self, result: &Poll<io::Result<T>>, now: u64) {
        self.outgoing.blocked = result.is_pending();
        if result.is_ready() {
            self.outgoing.progress = now;
        }
    }

    /// Says that nothing more comes, then reads on until the client closes too: closing a socket
    /// with unread bytes would reset it, and the answer might never be seen (RFC 9112 §9.6).
    pub(super) fn poll_close(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        now: u64,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_unsent(cx))?;
        std::task::ready!(self.transport.poll_shutdown(cx))?;
        let unread =
            matches!(self.intake, Intake::Ended | Intake::Broken) || !self.guard.between_requests();
        if !unread {
            return Poll::Ready(Ok(()));
        }
        if !self.lingering {
            // The sweeper ends this after `slow_client`, also for a client that goes on sending.
            self.lingering = true;
            self.outgoing = Direction { blocked: true, progress: now };
        }
        while !self.ended && self.lingered < LINGER_BYTES {
            let read = std::task::ready!(self.transport.poll_read(cx, scratch))?;
            self.lingered += read as u64;
            self.ended = read == 0;
        }
        Poll::Ready(Ok(()))
    }
}

fn timeout(message: &'static str) -> ClientError {
    ClientError::closing(StatusCode::REQUEST_TIMEOUT, "client-too-slow", message)
}

fn broken() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the framing of the request body is wrong, or it \
         stalled",
    )
}

/// The bytes of several small buffers, a head and a short body, in one. Measured: the kernel takes
/// one buffer in less time than two, copying included.
fn joined<'a>(bufs: &[IoSlice<'_>], into: &'a mut [u8]) -> Option<&'a [u8]> {
    let bytes: usize = bufs.iter().map(|buf| buf.len()).sum();
    if bufs.len() < 2 || bytes > JOINED_BYTES {
        return None;
    }
    let mut at = 0;
    for buf in bufs {
        into[at..at + buf.len()].copy_from_slice(buf);
        at += buf.len();
    }
    Some(&into[..at])
}

/// hyper's view of a connection.
pub(super) struct Io(pub(super) Rc<Connection>);

impl hyper::rt::Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let connection = &*self.0;
        let worker = &connection.worker;
        let room = cursor.remaining();
        connection.wire.borrow_mut().poll_fill(
            cx,
            &mut worker.scratch.borrow_mut(),
            room,
            worker.now(),
            |bytes| cursor.put_slice(bytes),
        )
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let worker = &self.0.worker;
        let now = worker.now();
        let wire = &mut *self.0.wire.borrow_mut();
        let scratch = &mut worker.scratch.borrow_mut();
        // What the kernel sends has no bytes here.
        let joined = if wire.outbox.is_empty() { joined(bufs, scratch) } else { None };
        match joined {
            Some(joined) => wire.poll_write(cx, &[IoSlice::new(joined)], now),
            None => wire.poll_write(cx, bufs, now),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = self.0.worker.now();
        self.0.wire.borrow_mut().poll_flush(cx, now)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let worker = &self.0.worker;
        let now = worker.now();
        self.0.wire.borrow_mut().poll_close(cx, &mut worker.scratch.borrow_mut(), now)
    }
}
