//! A line between two processes that can be cut, or hold back what is sent over it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A listener whose connections lead elsewhere, as long as the line is whole.
pub(crate) struct Line {
    at: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    to: Option<SocketAddr>,
    cut: bool,
    held: bool,
    /// What comes back is held, what is sent passes.
    answers_held: bool,
    /// Of what control says on a connection that begins, only its welcome passes.
    only_welcome: bool,
    closed: bool,
    /// Both ends of each connection.
    streams: Vec<TcpStream>,
}

impl Line {
    /// A line to `to`, whole.
    pub(crate) fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        shared.lock().to = Some(to);
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if accepting.lock().closed {
                    return;
                }
                accepting.connect(near);
            }
        });
        Self { at, shared }
    }

    /// Where it begins.
    pub(crate) fn at(&self) -> SocketAddr {
        self.at
    }

    /// Breaks every connection, and lets none come about.
    pub(crate) fn cut(&self) {
        let mut state = self.shared.lock();
        state.cut = true;
        state.streams.drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        self.shared.changed.notify_all();
    }

    /// Makes it whole again, for new connections.
    pub(crate) fn mend(&self) {
        self.shared.lock().cut = false;
    }

    /// New connections lead there from now on.
    pub(crate) fn lead_to(&self, to: SocketAddr) {
        self.shared.lock().to = Some(to);
    }

    /// Holds back, from now on, what is sent either way; nobody is told.
    pub(crate) fn hold(&self) {
        self.shared.lock().held = true;
    }

    /// Holds back, from now on, what comes back; what is sent passes.
    pub(crate) fn hold_answers(&self) {
        self.shared.lock().answers_held = true;
    }

    /// On a connection to control that begins from now on, lets control's welcome through, and holds
    /// back all that follows it.
    pub(crate) fn hold_after_welcome(&self) {
        self.shared.lock().only_welcome = true;
    }

    /// Lets go what was held back.
    pub(crate) fn let_go(&self) {
        let mut state = self.shared.lock();
        (state.held, state.answers_held, state.only_welcome) = (false, false, false);
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cut();
        self.let_go();
        self.shared.lock().closed = true;
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.at));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(self: &Arc<Self>, near: TcpStream) {
        let mut state = self.lock();
        if state.cut {
            return;
        }
        // Nobody may be there.
        let Some(Ok(far)) = state.to.map(TcpStream::connect) else { return };
        let ends = [(&near, &far, false), (&far, &near, true)];
        let welcome_alone = state.only_welcome;
        for (from, to, comes_back) in ends {
            let copy = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
            let (mut from, mut to, line) = (copy(from), copy(to), Arc::clone(self));
            std::thread::spawn(move || {
                let only_welcome = comes_back && welcome_alone;
                if only_welcome && line.carry_welcome(&mut from, &mut to).is_err() {
                    return;
                }
                line.carry(from, to, comes_back);
            });
        }
        state.streams.extend([near, far]);
    }

    /// The head of the answer that upgrades the connection, and the line after it.
    fn carry_welcome(&self, from: &mut TcpStream, to: &mut TcpStream) -> std::io::Result<()> {
        for end in [&b"\r\n\r\n"[..], b"\n"] {
            let mut read = Vec::new();
            while !read.ends_with(end) {
                let mut byte = [0];
                from.read_exact(&mut byte)?;
                read.extend(byte);
            }
            to.write_all(&read)?;
        }
        drop(self.changed.wait_while(self.lock(), |state| state.only_welcome && !state.cut));
        Ok(())
    }

    /// Until either end closes.
    fn carry(&self, mut from: TcpStream, mut to: TcpStream, comes_back: bool) {
        let mut part = [0; 16_384];
        while let Ok(read @ 1..) = from.read(&mut part) {
            let is_held = |state: &mut State| state.held || (comes_back && state.answers_held);
            drop(self.changed.wait_while(self.lock(), is_held));
            if self.lock().cut {
                break;
            }
            if to.write_all(&part[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}
