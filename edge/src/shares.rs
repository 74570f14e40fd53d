//! What each client prefix holds of a resource that all clients share, for the rule of
//! [`weir_rules::client_share`].
//!
//! A table has an entry for each prefix that holds something, so that it is bounded as the resource
//! is. Its locks are taken when a prefix begins to hold something and when it ends to; in between, what
//! it holds changes without one. A hit takes none.

use crate::forward;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use weir_config::Network;
use weir_rules::client_share::{Prefix, is_private};

/// Parts of a table, each behind a lock of its own.
const PARTS: usize = 16;

/// The prefix that a client counts for; `None` if its share has no bound: it is one of
/// `node.trusted_proxies`, or its address is private and `limits.private_clients` is false.
pub(crate) fn prefix_of(
    trusted: &[Network],
    private_clients: bool,
    client: IpAddr,
) -> Option<Prefix> {
    let exempt = (!private_clients && is_private(client)) || forward::contains(trusted, client);
    (!exempt).then(|| Prefix::of(client))
}

/// What each prefix holds of one resource.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    parts: [Mutex<HashMap<Prefix, Arc<Entry>>>; PARTS],
    hasher: RandomState,
}

/// What one prefix holds.
#[derive(Debug, Default)]
struct Entry {
    units: AtomicU64,
    /// How many [`Held`] there are; changed under the lock.
    holders: AtomicUsize,
}

impl Shares {
    /// Counts so many units for a prefix, until the returned value is dropped.
    pub(crate) fn hold(self: &Arc<Self>, prefix: Prefix, units: u64) -> Held {
        let mut part = self.part(prefix);
        let entry = Arc::clone(part.entry(prefix).or_default());
        entry.holders.fetch_add(1, Ordering::Relaxed);
        drop(part);
        entry.units.fetch_add(units, Ordering::Relaxed);
        Held { shares: Arc::clone(self), prefix, entry, units }
    }

    fn part(&self, prefix: Prefix) -> MutexGuard<'_, HashMap<Prefix, Arc<Entry>>> {
        let part = self.hasher.hash_one(prefix) as usize % PARTS;
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Units that a prefix holds.
#[derive(Debug)]
pub(crate) struct Held {
    shares: Arc<Shares>,
    prefix: Prefix,
    entry: Arc<Entry>,
    units: u64,
}

impl Held {
    /// Whose they are.
    pub(crate) fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// All units that the prefix holds, these among them.
    pub(crate) fn total(&self) -> u64 {
        self.entry.units.load(Ordering::Relaxed)
    }

    /// Whether the prefix holds no others.
    pub(crate) fn is_only(&self) -> bool {
        self.entry.holders.load(Ordering::Relaxed) == 1
    }

    /// Counts so many less, of those that it has.
    pub(crate) fn remove(&mut self, units: u64) {
        let units = units.min(self.units);
        self.units -= units;
        self.entry.units.fetch_sub(units, Ordering::Relaxed);
    }

    /// Counts so many more.
    pub(crate) fn add(&mut self, units: u64) {
        self.units += units;
        self.entry.units.fetch_add(units, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.entry.units.fetch_sub(self.units, Ordering::Relaxed);
        let mut part = self.shares.part(self.prefix);
        if self.entry.holders.fetch_sub(1, Ordering::Relaxed) == 1 {
            part.remove(&self.prefix);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn prefix(address: &str) -> Prefix {
        Prefix::of(address.parse().unwrap())
    }

    #[test]
    fn a_table_holds_nothing_of_those_that_hold_nothing() {
        let shares = Arc::new(Shares::default());
        let mut one = shares.hold(prefix("192.0.2.1"), 1);
        assert!(one.is_only());
        let other = shares.hold(prefix("192.0.2.1"), 2);
        let third = shares.hold(prefix("192.0.2.2"), 9);
        one.add(4);
        assert_eq!((one.total(), other.total(), third.total()), (7, 7, 9));
        assert!(!one.is_only() && third.is_only());
        drop(one);
        assert_eq!((other.total(), other.is_only()), (2, true));
        drop((other, third));
        assert!(shares.parts.iter().all(|part| part.lock().unwrap().is_empty()));
    }

    #[test]
    fn trusted_proxies_and_private_clients_are_exempt() {
        let trusted = ["192.0.2.0/24".parse().unwrap()];
        let of = |private, client: &str| prefix_of(&trusted, private, client.parse().unwrap());
        assert_eq!(of(true, "192.0.2.7"), None);
        assert_eq!(of(false, "10.0.0.1"), None);
        assert_eq!(of(true, "10.0.0.1"), Some(prefix("10.0.0.1")));
        assert_eq!(of(false, "2001:db8::7"), Some(prefix("2001:db8::")));
    }
}
