//! Where a node is asked.

#![allow(dead_code, reason = "each test file uses its part")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

/// A node's door on loopback, which moves when the node is restarted.
#[derive(Debug)]
pub(crate) struct Door {
    /// The node's number among those that are asked.
    pub(crate) node: usize,
    pub(crate) name: String,
    /// Whether nobody kills, cuts off or puts to sleep what is behind it.
    pub(crate) calm: bool,
    /// Whether there are others between the node and the origin. What a client changes by a POST
    /// is taken only from those that its request came by.
    pub(crate) has_parents: bool,
    port: AtomicU16,
    /// How often the node was ended or restarted: odd from shortly before its end on.
    turns: AtomicU64,
}

impl Door {
    /// The door of a node that nobody disturbs.
    #[allow(dead_code, reason = "a run with chaos has none")]
    pub(crate) fn calm(name: &str, at: SocketAddr) -> Self {
        Self { calm: true, ..Self::disturbed(0, name, at, false) }
    }

    /// The door of a node that anything may happen to.
    pub(crate) fn disturbed(node: usize, name: &str, at: SocketAddr, has_parents: bool) -> Self {
        let (name, port, turns) = (name.to_owned(), at.port().into(), AtomicU64::new(0));
        Self { node, name, calm: false, has_parents, port, turns }
    }

    pub(crate) fn at(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port.load(Ordering::Relaxed)))
    }

    /// The node is about to be ended.
    pub(crate) fn close(&self) {
        self.turns.fetch_add(1, Ordering::SeqCst);
    }

    /// The node was restarted and listens there.
    pub(crate) fn open(&self, at: SocketAddr) {
        self.port.store(at.port(), Ordering::SeqCst);
        self.turns.fetch_add(1, Ordering::SeqCst);
    }

    /// To ask [`Door::was_closed_since`] by.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::SeqCst)
    }

    /// Whether a connection that was made after `turns` may have met the node's end.
    pub(crate) fn was_closed_since(&self, turns: u64) -> bool {
        turns % 2 == 1 || turns != self.turns()
    }
}
