//! How much of a resource that all clients share one of them may hold: a client is all addresses of
//! one [`Prefix`].
//!
//! While no more than three quarters of the resource are used, there is no bound. Above that, a
//! prefix may hold a sixteenth of what is left, and in any case a few ([`most`]). All prefixes have
//! the same bound, and it sinks as the resource fills up, so that those with the largest share are
//! refused first. The bound is a part of what is left, not of the whole: one prefix, or a few, can
//! never use the resource up, and whoever holds little finds room.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A prefix gets this part of what is left.
const PART: u64 = 16;

/// The addresses that count as one client: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(IpAddr);

impl Prefix {
    /// The prefix of an address. An IPv4 address in its IPv6-mapped form is one of IPv4.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
            }
            v4 => v4,
        })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = if self.0.is_ipv4() { 32 } else { 64 };
        write!(f, "{}/{bits}", self.0)
    }
}

/// Whether an address has no meaning on the Internet: loopback, private use (RFC 1918), unique local
/// (RFC 4193) and link-local addresses.
pub fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

/// The most that one prefix may hold of a resource of which `used` of `bound` are used; `None` is no
/// bound.
pub fn most(used: u64, bound: u64) -> Option<u64> {
    if u128::from(used) * 4 <= u128::from(bound) * 3 {
        return None;
    }
    let few = (bound / 1024).max((bound / 32).min(16)).max(1);
    Some((bound.saturating_sub(used) / PART).max(few))
}

/// Whether a prefix that holds `held` may have `wanted` more of a resource of which `used` of
/// `bound` are used, `held` among them.
pub fn admits(held: u64, wanted: u64, used: u64, bound: u64) -> bool {
    most(used, bound).is_none_or(|most| held.saturating_add(wanted) <= most)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What some prefixes hold of a resource, each of which takes one after the other.
    struct Resource {
        bound: u64,
        held: Vec<u64>,
    }

    impl Resource {
        fn used(&self) -> u64 {
            self.held.iter().sum()
        }

        /// Whether a prefix gets one more.
        fn take(&mut self, prefix: usize) -> bool {
            let used = self.used();
            let gets = used < self.bound && admits(self.held[prefix], 1, used, self.bound);
            self.held[prefix] += u64::from(gets);
            gets
        }
    }

    fn prefix(address: &str) -> String {
        Prefix::of(address.parse().unwrap()).to_string()
    }

    #[test]
    fn a_prefix_is_an_ipv4_address_or_a_64_of_ipv6() {
        assert_eq!(prefix("192.0.2.7"), "192.0.2.7/32");
        assert_eq!(prefix("::ffff:192.0.2.7"), "192.0.2.7/32");
        assert_eq!(prefix("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(prefix("2001:db8:1:2:ffff::"), "2001:db8:1:2::/64");
    }

    #[test]
    fn private_addresses_are_known() {
        let private = [
            "127.0.0.2",
            "::1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.9.9",
            "169.254.1.1",
            "fe80::1",
            "fdab::1",
            "::ffff:10.0.0.1",
        ];
        for address in private {
            assert!(is_private(address.parse().unwrap()), "{address}");
        }
        for address in ["192.0.2.1", "172.32.0.1", "2001:db8::1", "100.64.0.1", "fec0::1"] {
            assert!(!is_private(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn one_prefix_gets_three_quarters_and_the_next_ones_a_part_of_the_rest() {
        let mut resource = Resource { bound: 16_384, held: vec![0; 3] };
        for prefix in 0..3 {
            while resource.take(prefix) {}
        }
        assert_eq!(resource.held, [12_289, 240, 226]);
    }

    #[test]
    fn it_takes_many_prefixes_to_use_a_resource_up() {
        for (bound, least) in [(16, 4), (256, 8), (1024, 16), (16_384, 60), (1 << 20, 60)] {
            let mut resource = Resource { bound, held: Vec::new() };
            while resource.used() < bound {
                let prefix = resource.held.len();
                resource.held.push(0);
                while resource.take(prefix) {}
            }
            let prefixes = resource.held.len();
            assert!(prefixes >= least, "{prefixes} prefixes use up {bound}");
        }
    }

    proptest! {
        #[test]
        fn nobody_is_refused_below_three_quarters(
            bound in 1u64..1 << 40, used in 0.0..0.75, part in 0.0..=1.0, wanted in any::<u64>(),
        ) {
            let used = (bound as f64 * used) as u64;
            prop_assert!(admits((used as f64 * part) as u64, wanted, used, bound));
        }

        #[test]
        fn who_holds_less_is_never_refused_while_who_holds_more_is_admitted(
            bound in 1u64..100_000, used in 0u64..200_000, less in any::<u64>(), more in any::<u64>(),
        ) {
            let (less, more) = (less.min(more), more.max(less));
            prop_assert!(admits(less, 1, used, bound) || !admits(more, 1, used, bound));
        }

        #[test]
        fn a_newcomer_is_always_admitted(bound in 1u64..1 << 40, used in any::<u64>()) {
            prop_assert!(admits(0, 1, used, bound));
        }

        #[test]
        fn a_newcomer_finds_room_whatever_a_few_prefixes_do(
            bound in 64u64..20_000,
            does in prop::collection::vec((0usize..4, any::<bool>(), 1u64..20_000), 1..60),
        ) {
            let mut resource = Resource { bound, held: vec![0; 5] };
            for (prefix, takes, count) in does {
                let mut count = count;
                while takes && count > 0 && resource.take(prefix) {
                    count -= 1;
                }
                if !takes {
                    resource.held[prefix] = resource.held[prefix].saturating_sub(count);
                }
                prop_assert!(resource.used() < bound);
            }
            prop_assert!(resource.take(4));
        }
    }
}
