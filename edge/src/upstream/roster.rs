//! Which members a pool has: those that the configuration names, and in place of a name that has several addresses
//! each of these.

use super::Upstream;
use super::client::Client;
use super::endpoint::Endpoint;
use super::link::Link;
use super::lookup::Lookup;
use super::member::{Address, At, Member, Standing, Ways};
use super::names::{Addresses, Name, Named};
use super::pool::{Choosing, MOST_MEMBERS, Pool};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;
use weir_config::Protocol;

/// The most addresses of one name that are members.
pub(super) const MOST_ADDRESSES: usize = 32;

impl Upstream {
    /// A member, with a way to it for each worker; `known` is what was known of it before.
    pub(super) fn member(
        &self,
        address: Address,
        known: Option<Arc<Standing>>,
    ) -> Result<Arc<Member>, String> {
        let of_workers = || self.metrics.iter();
        let clients = of_workers()
            .map(|_| Ok(Client::new(Endpoint::of(&address, &self.manner)?, &self.limits)));
        let clients = clients.collect::<Result<_, String>>()?;
        let links = of_workers().filter(|_| address.protocol == Protocol::H2);
        let links = links.map(|_| Ok(Link::new(Endpoint::of(&address, &self.h2)?, &self.limits)));
        let ways = Ways { clients, links: links.collect::<Result<_, String>>()? };
        let Choosing { ejection, connections, .. } = self.settings.choosing;
        Member::new(address, ways, ejection, connections, known).map(Arc::new)
    }

    /// The members of the configuration, with each of several addresses of a name in its place.
    pub(super) fn expanded(&self, resolved: &Addresses) -> Vec<Address> {
        let of_name = |address: &Address| {
            let name = (address.host_name()?.to_owned(), address.port());
            resolved.get(&name).filter(|known| known.len() > 1)
        };
        let named = self.addresses.iter().filter_map(of_name).count();
        // So many are left for each of them, if all of a pool have very many.
        let room = (MOST_MEMBERS - (self.addresses.len() - named)) / named.max(1);
        let each = room.clamp(1, MOST_ADDRESSES);
        let mut expanded = Vec::with_capacity(self.addresses.len());
        for address in &self.addresses {
            match of_name(address) {
                Some(known) => expanded.extend(
                    known
                        .iter()
                        .take(each)
                        .map(|ip| Address { at: At::One(*ip), ..address.clone() }),
                ),
                None => expanded.push(address.clone()),
            }
        }
        expanded
    }

    /// Takes the addresses that a name has now; whether the pool has other members. Those that stay go on as they
    /// are, with their connections and their health.
    pub(super) fn resolved_to(&self, name: &Name, addresses: &[IpAddr]) -> bool {
        let mut known = addresses.to_vec();
        known.sort_unstable();
        known.dedup();
        let mut resolved = self.resolved();
        if resolved.get(name) == Some(&known) {
            return false;
        }
        resolved.insert(name.clone(), known);
        let before = self.pool.load_full();
        let addresses = self.expanded(&resolved);
        let members = addresses.into_iter().map(|address| match before.member(&address) {
            Some(stays) => Ok(stays),
            None => self.member(address, None),
        });
        let members: Vec<Arc<Member>> = match members.collect::<Result<_, String>>() {
            Ok(members) => members,
            Err(why) => {
                tracing::error!(pool = %self.settings.name, "the addresses of {}: {why}", name.0);
                return false;
            }
        };
        let same = members.len() == before.members().len()
            && members.iter().zip(before.members()).all(|(one, other)| Arc::ptr_eq(one, other));
        if same {
            return false;
        }
        let shown: Vec<String> = resolved[name].iter().map(ToString::to_string).collect();
        tracing::info!(pool = %self.settings.name, name = name.0, addresses = shown.join(", "), "the name has other addresses");
        self.pool.store(Arc::new(Pool::new(members, &self.settings.choosing)));
        true
    }

    pub(super) fn resolved(&self) -> MutexGuard<'_, Addresses> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names whose addresses are to be looked up.
    pub(crate) fn names(self: &Arc<Self>) -> impl Iterator<Item = Named> + '_ {
        let named = self.addresses.iter().filter(|_| self.settings.resolve.is_some());
        let names =
            named.filter_map(|address| Some((address.host_name()?.to_owned(), address.port())));
        let names: HashSet<Name> = names.collect();
        names.into_iter().map(|name| Named { upstream: Arc::clone(self), name })
    }

    /// Who is asked for the addresses of names.
    pub(super) fn lookup(&self) -> &Lookup {
        &self.settings.lookup
    }

    /// How long addresses of a name are believed at most.
    pub(super) fn resolve(&self) -> Duration {
        self.settings.resolve.unwrap_or(Duration::MAX)
    }

    /// Waits until an address takes no connection.
    pub(super) async fn unreachable(&self) {
        self.unreachable.notified().await;
    }
}
