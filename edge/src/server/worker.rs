//! One worker: a thread, its runtime, its connections, its coarse clock.

use super::charge::ConnectionCharge;
use super::clients::{Clients, Share};
use super::connection::{Connection, Order};
use super::tls::Secrets;
use crate::forward;
use crate::memory::{CONNECTION_BYTES, MemoryAccount, Use};
use arc_swap::ArcSwap;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use weir_acme::Served;
use weir_config::{Limits, Network, Tls};
use weir_rules::client_share::Prefix;

/// Bytes of the read buffer that all connections of a worker share; no read takes more.
const SCRATCH_BYTES: usize = 64 * 1024;

/// At the limit, this part of all connections is closed at once if so many are idle: finding the longest
/// idle ones looks at all of them.
const CLOSED_PART: usize = 64;

/// Looks for idle connections of one prefix that may find none between two ticks.
const FRUITLESS: u32 = 16;

/// How long a new connection waits at the limit until idle ones of other workers are closed.
const ROOM_WITHIN: Duration = Duration::from_millis(250);

/// What the workers of a server share.
pub(super) struct ServerState {
    pub(super) limits: ArcSwap<Limits>,
    pub(super) secrets: Option<ArcSwap<Secrets>>,
    /// Where those come from.
    pub(super) tls: Mutex<Option<Tls>>,
    /// Certificates that are ordered.
    pub(super) served: Arc<Served>,
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
    /// Whose they are.
    pub(super) clients: Clients,
    /// `node.proxy_protocol`: whose connections begin with the PROXY protocol.
    pub(super) proxies: ArcSwap<Vec<Network>>,
    /// What they take from.
    pub(super) memory: Arc<MemoryAccount>,
    /// The node's name, for Cache-Status.
    pub(super) name: Arc<str>,
    /// What is known of the socket of HTTP/3.
    #[cfg(feature = "http3")]
    pub(super) http3: super::http3::Http3State,
    /// How often connections have begun to rest.
    #[cfg(test)]
    pub(super) rests: AtomicU64,
}

impl ServerState {
    /// Whether connections from there begin with the PROXY protocol.
    pub(super) fn is_proxy(&self, peer: IpAddr) -> bool {
        let proxies = self.proxies.load();
        !proxies.is_empty() && forward::contains(&proxies, peer)
    }

    /// Counts a connection in; `false` at the limit.
    fn take(&self, limit: usize) -> bool {
        if self.connections.fetch_add(1, Ordering::Relaxed) >= limit {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        true
    }
}

/// The right to be one of `limits.connections`; dropping it gives it back.
pub(super) struct Permit {
    shared: Arc<ServerState>,
    /// What the connection is counted for, until it has that itself.
    pub(super) share: Option<Share>,
    /// What it has of `memory.connections`, likewise.
    pub(super) charge: Option<ConnectionCharge>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// `limits.connections` is reached, and none is idle.
    Full,
    /// `memory.connections` is used up, and none is idle.
    Memory,
    /// Its client prefix holds too large a share of them, and none of these is idle.
    ClientShare,
}

impl Refusal {
    /// A stable word for Cache-Status detail.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Full => "connection-limit",
            Self::Memory => "memory-limit",
            Self::ClientShare => "client-share",
        }
    }
}

/// See the module.
pub(super) struct Worker {
    pub(super) shared: Arc<ServerState>,
    /// The read buffer; borrowed only within one poll.
    pub(super) scratch: RefCell<Box<[u8]>>,
    /// The buffer of what the HTTP/2 connection that is polled now writes.
    pub(super) gathered: Cell<Vec<u8>>,
    limits: Cell<Limits>,
    epoch: Instant,
    now: Cell<u64>,
    draining: Cell<bool>,
    /// Connections that were accepted and are not listed yet: their task has not begun, or TLS is
    /// being negotiated.
    beginning: Cell<usize>,
    /// Connections that may be taken beyond the limit: as many idle ones are about to close.
    room: Cell<usize>,
    /// Since the last tick: connections that a prefix may take beyond its share, because as many idle
    /// ones of its own are about to close; 0 if it has no idle ones.
    own_room: RefCell<HashMap<Prefix, usize>>,
    /// How many of these are 0.
    fruitless: Cell<u32>,
    /// Clients above the limit that wait for room, or are told that there is none.
    pub(super) waiting: Cell<usize>,
    /// Clients that are told that their prefix holds too large a share.
    pub(super) told: Cell<usize>,
    /// Connections of proxies that have yet to say whose they are.
    pub(super) introduced: Cell<usize>,
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
            gathered: Cell::default(),
            limits: Cell::new(**shared.limits.load()),
            epoch: Instant::now(),
            now: Cell::new(0),
            draining: Cell::new(false),
            beginning: Cell::new(0),
            room: Cell::new(0),
            own_room: RefCell::default(),
            fruitless: Cell::new(0),
            waiting: Cell::new(0),
            told: Cell::new(0),
            introduced: Cell::new(0),
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
        self.own_room.borrow_mut().clear();
        self.fruitless.set(0);
    }

    pub(super) fn draining(&self) -> bool {
        self.draining.get()
    }

    /// Counts a connection in. At the limit, or without memory for it, idle connections of this worker are closed for it, those
    /// of the prefix with the largest share first. A connection that is too much for the share of its
    /// prefix takes the place of an idle one of the same prefix.
    pub(super) fn permit(&self, peer: IpAddr) -> Result<Permit, Refusal> {
        let limits = self.limits();
        let limit = limits.connections;
        let open = self.shared.connections.load(Ordering::Relaxed);
        let share = self.shared.clients.share(peer, &limits, open);
        let may_exceed = match &share {
            Some(share) if !share.is_admitted(open, limit) => {
                if !self.gives_way(share.prefix(), share.total()) {
                    return Err(Refusal::ClientShare);
                }
                true
            }
            _ => false,
        };
        let memory = &self.shared.memory;
        let charge = ConnectionCharge::take(memory);
        if may_exceed {
            self.shared.take(usize::MAX);
        } else if charge.is_some() && self.shared.take(limit) {
            self.room.set(0);
        } else {
            if self.room.get() == 0 {
                self.room.set(self.close_idle((limit / CLOSED_PART).max(1), None));
            }
            let refusal = if charge.is_some() { Refusal::Full } else { Refusal::Memory };
            let room = self.room.get().checked_sub(1).ok_or(refusal)?;
            self.room.set(room);
            self.shared.take(usize::MAX);
        }
        let charge = charge.unwrap_or_else(|| ConnectionCharge::take_anyway(memory));
        Ok(Permit { shared: Arc::clone(&self.shared), share, charge: Some(charge) })
    }

    /// Whether an idle connection of a prefix, which holds so many, is closed for another one of it.
    /// Several are closed at once, and what was found is kept until the next tick: looking for them
    /// looks at all connections.
    fn gives_way(&self, prefix: Prefix, held: u64) -> bool {
        let mut room = self.own_room.borrow_mut();
        match room.get_mut(&prefix) {
            Some(0) => return false,
            Some(1) => drop(room.remove(&prefix)),
            Some(left) => *left -= 1,
            None if self.fruitless.get() >= FRUITLESS => return false,
            None => {
                let most = (held as usize / CLOSED_PART).max(1);
                let closed = self.close_idle(most, Some(prefix));
                match closed {
                    0 => {
                        self.fruitless.set(self.fruitless.get() + 1);
                        room.insert(prefix, 0);
                        return false;
                    }
                    1 => {}
                    closed => drop(room.insert(prefix, closed - 1)),
                }
            }
        }
        true
    }

    /// The same, for a moment: the other workers are asked to close idle connections.
    pub(super) async fn permit_soon(&self, peer: IpAddr) -> Result<Permit, Refusal> {
        let until = tokio::time::Instant::now() + ROOM_WITHIN;
        loop {
            match self.permit(peer) {
                Err(Refusal::Full | Refusal::Memory) if tokio::time::Instant::now() < until => {}
                ended => return ended.inspect_err(|refusal| self.count_refused(*refusal)),
            }
            self.shared.full.notify_waiters();
            tokio::time::sleep(ROOM_WITHIN / 50).await;
        }
    }

    /// Counts a connection that is not taken.
    pub(super) fn count_refused(&self, refusal: Refusal) {
        let counter = match refusal {
            Refusal::Memory => return self.shared.memory.refuse(Use::Connection),
            Refusal::Full => &self.shared.refused,
            Refusal::ClientShare => &self.shared.clients.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Closes idle connections when another worker is at the limit and has none.
    pub(super) async fn make_room(&self) {
        loop {
            self.shared.full.notified().await;
            let limit = self.limits().connections;
            let full = self.shared.connections.load(Ordering::Relaxed) >= limit;
            if full || self.shared.memory.lacks(CONNECTION_BYTES) {
                self.close_idle((limit / CLOSED_PART).max(1), None);
            }
        }
    }

    /// Closes at most so many idle connections, of one prefix or of all, and returns how many. Each
    /// is the longest idle one of the prefix that then has most; those without a bound come last.
    fn close_idle(&self, most: usize, of: Option<Prefix>) -> usize {
        let connections = self.connections.borrow();
        let listed = connections.slots.iter().flatten();
        let mut idle: Vec<&Rc<Connection>> = listed
            .filter(|one| {
                (of.is_none() || one.bound_share().map(|(p, _)| p) == of) && one.is_idle()
            })
            .collect();
        if idle.len() > most {
            idle.sort_unstable_by_key(|one| one.idle_since.get());
            let mut closed: HashMap<Prefix, u64> = HashMap::new();
            let ranked = idle.iter().map(|one| {
                let Some((prefix, held)) = one.bound_share() else { return (0, *one) };
                let closed = closed.entry(prefix).or_default();
                *closed += 1;
                (held.saturating_sub(*closed) + 1, *one)
            });
            let mut ranked: Vec<_> = ranked.collect();
            ranked.sort_by_key(|(holds, _)| Reverse(*holds));
            idle = ranked.into_iter().take(most).map(|(_, one)| one).collect();
        }
        idle.iter().for_each(|one| one.order(Order::Abort));
        self.shared.closed_idle.fetch_add(idle.len() as u64, Ordering::Relaxed);
        idle.len()
    }

    /// Counts a connection that was accepted, until it is listed or gone.
    pub(super) fn begin(self: &Rc<Self>) -> Beginning {
        self.beginning.set(self.beginning.get() + 1);
        Beginning(Rc::clone(self))
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

    /// Waits until no connection is listed, or about to be.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.empty.notified();
            let none = self.connections.borrow().slots.iter().all(Option::is_none);
            if none && self.beginning.get() == 0 && self.waiting.get() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// A client that waited for room was let in, or told that there is none.
    pub(super) fn waited(&self) {
        self.waiting.set(self.waiting.get() - 1);
        self.empty.notify_one();
    }
}

/// A connection on its way into its worker's list.
pub(super) struct Beginning(Rc<Worker>);

impl Drop for Beginning {
    fn drop(&mut self) {
        self.0.beginning.set(self.0.beginning.get() - 1);
        self.0.empty.notify_one();
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
