//! The connections of each client prefix: what one may hold of `limits.connections`, and whose hold
//! most of them.

use crate::forward;
use crate::shares::{Held, Shares, prefix_of};
use arc_swap::ArcSwap;
use http::HeaderMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use weir_config::{Limits, Network};
use weir_rules::client_share::{self, Prefix};

/// So many connections of one prefix say something about it, even if nobody else has any.
const MANY: u64 = 8;

/// The connections of a server by client prefix.
pub(super) struct Clients {
    shares: Arc<Shares>,
    /// `node.trusted_proxies`: they are counted for nobody, because one connection serves many clients.
    trusted: ArcSwap<Vec<Network>>,
    /// Connections refused because of their prefix's share, since the start.
    pub(super) refused: AtomicU64,
    /// Whether it was said that one of the prefixes seems to be a proxy.
    advised: AtomicBool,
}

/// What a connection is counted for.
#[derive(Debug)]
pub(super) struct Share {
    held: Held,
    /// Whether its prefix is bound by the rule.
    bound: bool,
    /// Whether its prefix held over half of all connections when it was taken.
    over_half: bool,
}

impl Clients {
    pub(super) fn new(trusted: Vec<Network>) -> Self {
        Self {
            shares: Arc::default(),
            trusted: ArcSwap::from_pointee(trusted),
            refused: AtomicU64::new(0),
            advised: AtomicBool::new(false),
        }
    }

    pub(super) fn trust(&self, trusted: Vec<Network>) {
        self.trusted.store(Arc::new(trusted));
    }

    /// Whether `peer` is a trusted proxy.
    #[cfg(feature = "http3")]
    pub(super) fn is_trusted(&self, peer: IpAddr) -> bool {
        forward::contains(&self.trusted.load(), peer)
    }

    /// Counts a connection from `peer` beside `open` others; `None` if it counts for nobody.
    pub(super) fn share(&self, peer: IpAddr, limits: &Limits, open: usize) -> Option<Share> {
        let trusted = self.trusted.load();
        if forward::contains(&trusted, peer) {
            return None;
        }
        let held = self.shares.hold(Prefix::of(peer), 1);
        let bound = prefix_of(&trusted, limits.private_clients, peer).is_some();
        let total = held.total();
        let over_half = total >= MANY && total * 2 > open as u64 + 1;
        Some(Share { held, bound, over_half })
    }

    /// Says once that `peer`, whose requests have these headers, seems to be a proxy.
    pub(super) fn advise(&self, peer: IpAddr, headers: &HeaderMap) {
        if forward::is_forwarded(headers) && !self.advised.swap(true, Ordering::Relaxed) {
            let peer = peer.to_canonical();
            tracing::warn!(
                %peer,
                "over half of all connections come from one address, whose requests have \
                 X-Forwarded-For or Forwarded: if it is your proxy, set node.trusted_proxies, so that \
                 its clients are told apart"
            );
        }
    }
}

impl Share {
    /// The prefix.
    pub(super) fn prefix(&self) -> Prefix {
        self.held.prefix()
    }

    /// Connections of the prefix, this one among them.
    pub(super) fn total(&self) -> u64 {
        self.held.total()
    }

    /// Whether its prefix is bound by the rule.
    pub(super) fn is_bound(&self) -> bool {
        self.bound
    }

    /// Whether its prefix held over half of all connections when it was taken.
    pub(super) fn is_over_half(&self) -> bool {
        self.over_half
    }

    /// Whether the prefix may have it, of `limit` connections of which `open` are open.
    pub(super) fn is_admitted(&self, open: usize, limit: usize) -> bool {
        let others = self.total().saturating_sub(1);
        !self.bound || client_share::admits(others, 1, open as u64, limit as u64)
    }
}
