//! What goes through a socket that takes as much as the test says.

use super::*;
use std::cell::Cell;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

/// A write: the lengths and the addresses of its buffers.
type Write = Vec<(usize, usize)>;

#[derive(Default)]
struct Socket {
    tls: bool,
    /// Bytes it takes before it is full.
    room: Cell<usize>,
    broken: Cell<bool>,
    writes: RefCell<Vec<Write>>,
    sent: RefCell<Vec<u8>>,
    waiting: RefCell<Option<Waker>>,
    /// Bytes that were sent when it was closed.
    closed: Cell<Option<usize>>,
    spare: Cell<Vec<u8>>,
    kept: Cell<usize>,
}

impl Outlet for Rc<Socket> {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.broken.get() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.room.get() == 0 {
            *self.waiting.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.writes
            .borrow_mut()
            .push(bufs.iter().map(|buf| (buf.len(), buf.as_ptr() as usize)).collect());
        let mut written = 0;
        for buf in bufs {
            let taken = buf.len().min(self.room.get());
            self.sent.borrow_mut().extend_from_slice(&buf[..taken]);
            self.room.set(self.room.get() - taken);
            written += taken;
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.closed.set(Some(self.sent.borrow().len()));
        Poll::Ready(Ok(()))
    }

    fn is_tls(&self) -> bool {
        self.tls
    }

    fn borrow_spare(&mut self) -> Vec<u8> {
        self.spare.take()
    }

    fn return_spare(&mut self, empty: Vec<u8>) {
        self.spare.set(empty);
    }

    fn keeps(&mut self, bytes: usize) {
        self.kept.set(bytes);
    }
}

impl Socket {
    fn of(room: usize, tls: bool) -> Rc<Self> {
        Rc::new(Self { tls, room: Cell::new(room), ..Self::default() })
    }

    /// The lengths of the buffers of each write.
    fn lengths(&self) -> Vec<Vec<usize>> {
        let lengths = |write: &Write| write.iter().map(|(length, _)| *length).collect();
        self.writes.borrow().iter().map(lengths).collect()
    }

    /// Takes so much more, and says so.
    fn drain(&self, room: usize) {
        self.room.set(room);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls `future` once, and counts how often it is woken.
fn poll_once<F: Future + Unpin>(future: &mut F, woken: &Arc<Woken>) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(&Waker::from(Arc::clone(woken))))
}

type Gathering = Rc<RefCell<Gather<Rc<Socket>>>>;
type Connection = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// A connection that writes `frames` in turn, flushes as h2 does, and then waits for ever.
fn connection(socket: &Rc<Socket>, frames: &[&[u8]]) -> Gathered<Gathering, Connection> {
    let gather = Rc::new(RefCell::new(Gather::new(Rc::clone(socket))));
    let mut frames: Vec<Vec<u8>> = frames.iter().rev().map(|frame| frame.to_vec()).collect();
    let writer = Rc::clone(&gather);
    let connection = poll_fn(move |cx| {
        while let Some(frame) = frames.last_mut() {
            let (head, body) = frame.split_at(frame.len().min(9));
            let written = ready!(
                writer.borrow_mut().poll_write(cx, &[IoSlice::new(head), IoSlice::new(body)])
            )?;
            if written == frame.len() {
                frames.pop();
            } else {
                frame.drain(..written);
            }
        }
        Poll::Pending
    });
    let connection: Connection = Box::pin(connection);
    Gathered::new(connection, gather)
}

#[test]
fn the_frames_of_one_poll_are_one_write() {
    let socket = Socket::of(usize::MAX, false);
    let mut connection = connection(&socket, &[&[1; 1100], &[2; 1100], &[3; 40]]);
    assert!(poll_once(&mut connection, &Arc::default()).is_pending());
    assert_eq!(socket.lengths(), [[2240]]);
    assert_eq!(*socket.sent.borrow(), [[1; 1100].as_slice(), &[2; 1100], &[3; 40]].concat());
    assert_eq!(socket.kept.get(), 0);
    assert_eq!(socket.spare.take().capacity(), GATHERED_BYTES, "the buffer is there for the next");
}

#[test]
fn a_lone_frame_is_sent_in_the_poll_that_wrote_it() {
    let socket = Socket::of(usize::MAX, false);
    assert!(poll_once(&mut connection(&socket, &[&[1; 100]]), &Arc::default()).is_pending());
    assert_eq!(socket.lengths(), [[100]]);
}

#[test]
fn what_a_write_did_not_take_follows_in_order() {
    let socket = Socket::of(1500, false);
    let woken = Arc::default();
    let mut connection = connection(&socket, &[&[1; 1000], &[2; 1000]]);
    assert!(poll_once(&mut connection, &woken).is_pending());
    assert_eq!(socket.sent.borrow().len(), 1500);
    assert_eq!(socket.kept.get(), GATHERED_BYTES, "its buffer is its own meanwhile");
    socket.drain(1000);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert!(poll_once(&mut connection, &woken).is_pending());
    assert_eq!(*socket.sent.borrow(), [[1; 1000], [2; 1000]].concat());
    assert_eq!(socket.kept.get(), 0);
}

#[test]
fn a_full_buffer_takes_nothing_more_until_the_socket_does() {
    let socket = Socket::of(0, false);
    let woken = Arc::default();
    let frames = vec![[7_u8; 8000].as_slice(); 8];
    let mut connection = connection(&socket, &frames);
    assert!(poll_once(&mut connection, &woken).is_pending());
    let gathered = connection.gather.borrow().state.bytes.len();
    assert_eq!(gathered, 32_000, "four frames fit");
    for sent in [20_000, 40_000, 60_000, 64_000] {
        socket.drain(20_000);
        assert!(poll_once(&mut connection, &woken).is_pending());
        assert_eq!(socket.sent.borrow().len(), sent);
        assert!(connection.gather.borrow().state.bytes.capacity() <= GATHERED_BYTES);
    }
    assert_eq!(woken.0.load(Ordering::Relaxed), 4);
    assert_eq!(*socket.sent.borrow(), [7; 64_000]);
}

#[test]
fn a_large_frame_is_not_copied_and_comes_after_what_was_gathered() {
    let socket = Socket::of(usize::MAX, false);
    let mut gather = Gather::new(Rc::clone(&socket));
    let mut cx = Context::from_waker(Waker::noop());
    let large = vec![2; UNCOPIED_BYTES];
    let small = gather.poll_write(&mut cx, &[IoSlice::new(&[1; 50])]);
    assert!(matches!(small, Poll::Ready(Ok(50))));
    let bufs = [IoSlice::new(&[9; 9]), IoSlice::new(&large)];
    let written = gather.poll_write(&mut cx, &bufs);
    assert!(matches!(written, Poll::Ready(Ok(bytes)) if bytes == 9 + large.len()));
    assert_eq!(socket.lengths(), [[50, 9, large.len()]]);
    assert_eq!(socket.writes.borrow()[0][2].1, large.as_ptr() as usize);
}

#[test]
fn a_large_frame_that_is_taken_in_part_says_so() {
    for room in [20, 50, 55, 59, 5000] {
        let socket = Socket::of(room, false);
        let woken = Arc::default();
        let large: Vec<u8> = (0..20_009_u32).map(|at| at as u8).collect();
        let mut connection = connection(&socket, &[&[1; 50], &large]);
        assert!(poll_once(&mut connection, &woken).is_pending());
        assert_eq!(socket.sent.borrow().len(), room);
        socket.drain(usize::MAX);
        assert!(poll_once(&mut connection, &woken).is_pending());
        assert_eq!(*socket.sent.borrow(), [[1; 50].as_slice(), &large].concat(), "{room}");
    }
}

#[test]
fn large_frames_fill_tls_records() {
    let socket = Socket::of(usize::MAX, true);
    let frame = [vec![9; 9], vec![2; RECORD_BYTES]].concat();
    let mut connection = connection(&socket, &[&[1; 50], &frame, &frame]);
    assert!(poll_once(&mut connection, &Arc::default()).is_pending());
    let bytes: Vec<usize> = socket.lengths().iter().map(|write| write.iter().sum()).collect();
    assert_eq!(bytes, [RECORD_BYTES, RECORD_BYTES, 50 + 9 + 9]);
    assert_eq!(*socket.sent.borrow(), [[1; 50].as_slice(), &frame, &frame].concat());
}

#[test]
fn what_was_gathered_is_sent_before_the_socket_is_closed() {
    let socket = Socket::of(10, false);
    let mut gather = Gather::new(Rc::clone(&socket));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(gather.poll_write(&mut cx, &[IoSlice::new(&[1; 30])]).is_ready());
    assert!(gather.poll_shutdown(&mut cx).is_pending());
    assert_eq!(socket.closed.get(), None);
    socket.drain(usize::MAX);
    assert!(matches!(gather.poll_shutdown(&mut cx), Poll::Ready(Ok(()))));
    assert_eq!(socket.closed.get(), Some(30));
}

#[test]
fn a_connection_ends_when_all_that_it_wrote_is_sent() {
    let socket = Socket::of(10, false);
    let woken = Arc::default();
    let gather = Rc::new(RefCell::new(Gather::new(Rc::clone(&socket))));
    let writer = Rc::clone(&gather);
    let ending = poll_fn(move |cx| writer.borrow_mut().poll_write(cx, &[IoSlice::new(&[1; 30])]));
    let mut connection = Gathered::new(Box::pin(ending), gather);
    assert!(poll_once(&mut connection, &woken).is_pending());
    assert!(connection.connection().is_none(), "it has ended");
    socket.drain(usize::MAX);
    assert!(matches!(poll_once(&mut connection, &woken), Poll::Ready(Ok(Ok(30)))));
    assert_eq!(socket.sent.borrow().len(), 30);
}

#[test]
fn an_error_of_sending_ends_the_connection() {
    let socket = Socket::of(usize::MAX, false);
    socket.broken.set(true);
    let ended = poll_once(&mut connection(&socket, &[&[1; 100]]), &Arc::default());
    let Poll::Ready(Err(error)) = ended else { panic!("it goes on") };
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}
