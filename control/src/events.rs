//! What happens in the topology, passed to as many listeners as there is room for.

use crate::ledger::Listed;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use weir_protocol::frame::Hello;
use weir_rules::invalidation::Seq;
use weir_rules::log::Welcome;

/// Events that may wait for a listener.
pub(crate) const MOST_WAITING: usize = 1024;

/// Listeners at once; further ones are refused with 429.
pub(crate) const MOST_LISTENERS: usize = 128;

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// An entry is in the log.
    Accepted(Arc<Listed>),
    /// Every node that was expected to has applied it.
    Completed(Arc<Listed>, Duration),
    /// A node applied everything up to a seq.
    Applied(Arc<str>, Seq),
    /// About a node: the event's name, and what it says.
    Node(&'static str, Arc<Value>),
}

/// Where events go.
#[derive(Debug)]
pub(crate) struct Events {
    listeners: broadcast::Sender<Event>,
    room: Arc<Semaphore>,
}

impl Events {
    pub(crate) fn new() -> Self {
        let (listeners, _) = broadcast::channel(MOST_WAITING);
        Self { listeners, room: Arc::new(Semaphore::new(MOST_LISTENERS)) }
    }

    /// A node is connected.
    pub(crate) fn joined(&self, hello: &Hello, place: &Welcome) {
        self.node("joined", || {
            json!({
                "node": hello.name,
                "tier": hello.tier,
                "region": hello.region,
                "seq": place.after,
                "kept": place.keep,
            })
        });
    }

    /// A node is connected through a relay from now on.
    pub(crate) fn attached(&self, node: &str, relay: &str) {
        self.node("attached", || json!({"node": node, "via": relay}));
    }

    /// A node's connection ended.
    pub(crate) fn parted(&self, node: &str, why: &str) {
        self.node("parted", || json!({"node": node, "reason": why}));
    }

    /// A node is not expected any more.
    pub(crate) fn forgotten(&self, node: &str) {
        self.node("forgotten", || json!({"node": node}));
    }

    /// A node applied everything up to `seq`.
    pub(crate) fn applied(&self, node: &str, seq: Seq) {
        if self.listeners.receiver_count() > 0 {
            self.tell(Event::Applied(node.into(), seq));
        }
    }

    fn node(&self, name: &'static str, say: impl FnOnce() -> Value) {
        if self.listeners.receiver_count() > 0 {
            self.tell(Event::Node(name, Arc::new(say())));
        }
    }

    /// Passes it to who listens.
    pub(crate) fn tell(&self, event: Event) {
        // Fails only when nobody listens.
        let _ = self.listeners.send(event);
    }

    /// The events from now on, and the room that a listener takes; `None` where too many listen.
    pub(crate) fn listen(&self) -> Option<(broadcast::Receiver<Event>, OwnedSemaphorePermit)> {
        let room = self.room.clone().try_acquire_owned().ok()?;
        Some((self.listeners.subscribe(), room))
    }
}
