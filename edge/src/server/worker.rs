//! One worker: a thread, its runtime, its connections, its coarse clock.

use super::connection::{Connection, Order};
use super::tls::Secrets;
use arc_swap::ArcSwap;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use weir_config::{Limits, Tls};

/// Bytes of the read buffer that all connections of a worker share; no read takes more.
const SCRATCH_BYTES: usize = 64 * 1024;

/// At the limit, this part of all connections is closed at once if so many are idle: finding the longest
/// idle ones looks at all of them.
const CLOSED_PART: usize = 64;

/// How long a new connection waits at the limit until idle ones of other workers are closed.
const ROOM_WITHIN: Duration = Duration::from_millis(250);

/// What the workers of a server share.
pub(super) struct ServerState {
    pub(super) limits: ArcSwap<Limits>,
    pub(super) secrets: Option<ArcSwap<Secrets>>,
    /// Where those come from.
    pub(super) tls: Mutex<Option<Tls>>,
    /// Connections open now.
    pub(super) connections: Arc<AtomicUsize>,
    /// Connections taken since the start.
    pub(super) taken: AtomicU64,
    /// Connections refused because of `limits.connections`, since the start.
    pub(super) refused: AtomicU64,
    /// Idle connections closed because of it, since the start.
    pub(super) closed_idle: AtomicU64,
    /// Notified by a worker at the limit that has no idle connection: the others may have some.
    pub(super) full: Notify,
}

impl ServerState {
    /// Counts a connection in; `None` at the limit.
    fn permit(self: &Arc<Self>, limit: usize) -> Option<Permit> {
        if self.connections.fetch_add(1, Ordering::Relaxed) >= limit {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(Permit(Arc::clone(self)))
    }
}

/// The right to be one of `limits.connections`; dropping it gives it back.
pub(super) struct Permit(Arc<ServerState>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// See the module.
pub(super) struct Worker {
    pub(super) shared: Arc<ServerState>,
    /// The read buffer; borrowed only within one poll.
    pub(super) scratch: RefCell<Box<[u8]>>,
    limits: Cell<Limits>,
    epoch: Instant,
    now: Cell<u64>,
    draining: Cell<bool>,
    /// Connections that may be taken beyond the limit: as many idle ones are about to close.
    room: Cell<usize>,
    /// Clients above the limit that wait for room, or are told that there is none.
    pub(super) waiting: Cell<usize>,
    connections: RefCell<Slots>,
    empty: Notify,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Option<Rc<Connection>>>,
    free: Vec<usize>,
}

impl Worker {
    pub(super) fn new(shared: Arc<ServerState>) -> Self {
        Self {
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice()),
            limits: Cell::new(**shared.limits.load()),
            epoch: Instant::now(),
            now: Cell::new(0),
            draining: Cell::new(false),
            room: Cell::new(0),
            waiting: Cell::new(0),
            connections: RefCell::default(),
            empty: Notify::new(),
            shared,
        }
    }

    /// Milliseconds since the worker's start, as of the last tick.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.now.get()
    }

    /// The limits in force, as of the last tick.
    pub(super) fn limits(&self) -> Limits {
        self.limits.get()
    }

    /// Moves the clock on, and takes up changed limits.
    pub(super) fn tick(&self) {
        self.now.set(self.epoch.elapsed().as_millis() as u64);
        self.limits.set(**self.shared.limits.load());
    }

    pub(super) fn draining(&self) -> bool {
        self.draining.get()
    }

    /// Counts a connection in. At the limit, idle connections of this worker are closed for it, the
    /// longest idle first; `None` if there are none.
    pub(super) fn permit(&self) -> Option<Permit> {
        let limit = self.limits().connections;
        if let Some(permit) = self.shared.permit(limit) {
            self.room.set(0);
            return Some(permit);
        }
        if self.room.get() == 0 {
            self.room.set(self.close_idle((limit / CLOSED_PART).max(1)));
        }
        self.room.get().checked_sub(1).and_then(|room| {
            self.room.set(room);
            self.shared.permit(usize::MAX)
        })
    }

    /// The same, for a moment: the other workers are asked to close idle connections.
    pub(super) async fn permit_soon(&self) -> Option<Permit> {
        let until = tokio::time::Instant::now() + ROOM_WITHIN;
        loop {
            if let Some(permit) = self.permit() {
                return Some(permit);
            }
            if tokio::time::Instant::now() >= until {
                self.shared.refused.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            self.shared.full.notify_waiters();
            tokio::time::sleep(ROOM_WITHIN / 50).await;
        }
    }

    /// Closes idle connections when another worker is at the limit and has none.
    pub(super) async fn make_room(&self) {
        loop {
            self.shared.full.notified().await;
            let limit = self.limits().connections;
            if self.shared.connections.load(Ordering::Relaxed) >= limit {
                self.close_idle((limit / CLOSED_PART).max(1));
            }
        }
    }

    /// Closes at most so many idle connections, the longest idle first; how many.
    fn close_idle(&self, most: usize) -> usize {
        let connections = self.connections.borrow();
        let listed = connections.slots.iter().flatten();
        let mut idle: Vec<&Rc<Connection>> = listed.filter(|one| one.is_idle()).collect();
        if idle.len() > most {
            idle.select_nth_unstable_by_key(most, |one| one.idle_since.get());
            idle.truncate(most);
        }
        idle.iter().for_each(|one| one.order(Order::Abort));
        self.shared.closed_idle.fetch_add(idle.len() as u64, Ordering::Relaxed);
        idle.len()
    }

    /// Lists a connection until the returned value is dropped.
    pub(super) fn enlist(self: &Rc<Self>, connection: &Rc<Connection>) -> Listed {
        let slots = &mut *self.connections.borrow_mut();
        let slot = slots.free.pop().unwrap_or_else(|| {
            slots.slots.push(None);
            slots.slots.len() - 1
        });
        slots.slots[slot] = Some(Rc::clone(connection));
        Listed { worker: Rc::clone(self), slot }
    }

    /// Calls `visit` for each connection; it may give orders, but not end one there and then.
    pub(super) fn each(&self, mut visit: impl FnMut(&Connection)) {
        for connection in self.connections.borrow().slots.iter().flatten() {
            visit(connection);
        }
    }

    /// Has every connection finish, also those yet to be listed.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        self.each(|connection| connection.order(Order::Finish));
    }

    /// Waits until no connection is listed.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.empty.notified();
            if self.connections.borrow().slots.iter().all(Option::is_none) {
                return;
            }
            emptied.await;
        }
    }
}

/// A connection's entry in its worker's list.
pub(super) struct Listed {
    worker: Rc<Worker>,
    slot: usize,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let slots = &mut *self.worker.connections.borrow_mut();
        let gone = slots.slots[self.slot].take();
        slots.free.push(self.slot);
        if slots.free.len() == slots.slots.len() {
            *slots = Slots::default();
            self.worker.empty.notify_one();
        }
        // Not while the list is borrowed: what a connection holds may look at it.
        let _ = slots;
        drop(gone);
    }
}
