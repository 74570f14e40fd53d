//! Which member of a pool is asked: a small type for each way, all of one trait. A choice is made
//! from what is handed in, and from the type's own place in turn; nothing here knows of sockets,
//! health or time.

mod consistent_hash;
mod ip_hash;
mod least_connections;
mod round_robin;
mod weighted_round_robin;

pub(crate) use consistent_hash::ConsistentHash;

use ip_hash::IpHash;
use least_connections::LeastConnections;
use round_robin::RoundRobin;
use siphasher::sip::SipHasher13;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use weighted_round_robin::WeightedRoundRobin;
use weir_config as config;

/// Whom a choice is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct For {
    /// [`digest`] of the URL as keyed, without scheme, release, headers and cookies.
    pub(crate) hash: u64,
    /// The client's address.
    pub(crate) client: IpAddr,
}

/// The members that are to be chosen from, by their number from 0.
pub(crate) trait Choices {
    /// How many members there are, eligible or not.
    fn count(&self) -> usize;
    /// Whether this one may be chosen.
    fn eligible(&self, member: usize) -> bool;
    /// Whether this request has chosen before: it takes nobody's turn again.
    fn again(&self) -> bool;
    /// Requests that it is working on.
    fn running(&self, member: usize) -> usize;
}

/// A way of choosing.
pub(crate) trait Balance: Send + Sync {
    /// One of the eligible members; `None` where there is none.
    fn choose(&self, request: For, choices: &dyn Choices) -> Option<usize>;
}

/// The way of choosing that the configuration names, over these members. `virtual_nodes` are the
/// points of each on the ring of `consistent_hash`.
pub(crate) fn of(
    balance: config::Balance,
    shares: &[Share],
    virtual_nodes: u32,
) -> Box<dyn Balance> {
    match balance {
        config::Balance::RoundRobin => Box::new(RoundRobin::default()),
        config::Balance::WeightedRoundRobin => Box::new(WeightedRoundRobin::new(shares)),
        config::Balance::LeastConnections => Box::new(LeastConnections::new(shares)),
        config::Balance::IpHash => Box::new(IpHash::new(shares)),
        config::Balance::ConsistentHash => Box::new(ConsistentHash::new(shares, virtual_nodes)),
    }
}

/// What a way of choosing knows of a member once and for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// [`digest`] of its name.
    pub(crate) name: u64,
    /// Its weight, from 1.
    pub(crate) weight: u32,
}

/// A digest that is the same in every process, so that all nodes choose alike. It guards against
/// no one: who controls many keys can have them all asked of one member, as by repeating one key.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    SipHasher13::new().hash(bytes)
}

/// The place in turn of a request; one that chooses again looks on from the next one's.
fn turn(next: &AtomicUsize, choices: &dyn Choices) -> usize {
    if choices.again() {
        return next.load(Ordering::Relaxed);
    }
    next.fetch_add(1, Ordering::Relaxed)
}

/// Joins two digests to one that depends on every bit of both.
fn mixed(a: u64, b: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&a.to_le_bytes());
    bytes[8..].copy_from_slice(&b.to_le_bytes());
    digest(&bytes)
}

#[cfg(test)]
mod tests;
