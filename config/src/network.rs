//! Networks in CIDR form.

use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network in CIDR form; host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// What [`Network::from_str`] takes, for messages.
pub const NETWORK_FORM: &str = "an address or a network such as 10.0.0.0/8, 192.0.2.7 or fd00::/8";

impl Network {
    /// The networks of the loopback interface.
    pub fn loopback() -> Vec<Network> {
        let v4 = IpNet::new_assert(Ipv4Addr::LOCALHOST.into(), 8).trunc();
        let v6 = IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST));
        vec![Network(v4), Network(v6)]
    }

    /// The networks of all addresses.
    pub(super) fn all() -> [Network; 2] {
        let v4 = IpNet::new_assert(Ipv4Addr::UNSPECIFIED.into(), 0);
        let v6 = IpNet::new_assert(Ipv6Addr::UNSPECIFIED.into(), 0);
        [Network(v4), Network(v6)]
    }

    /// As the rules of sites have it.
    pub(super) fn net(self) -> IpNet {
        self.0
    }

    /// Whether `address` lies in it. An IPv4 address in its IPv6-mapped form is judged as IPv4,
    /// because that is what a listener on `[::]` sees of IPv4 peers.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = String;

    /// Reads both forms itself, because [`IpNet`] reads no bare address and gives no reasons.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| "not an address".to_string())?;
        let whole = IpNet::from(address);
        let network = match prefix {
            None => whole,
            Some(digits) => digits
                .parse::<u8>()
                .ok()
                .and_then(|prefix| IpNet::new(address, prefix).ok())
                .ok_or_else(|| {
                    format!("the prefix length is not 0 to {}", whole.max_prefix_len())
                })?,
        };
        if network.trunc() != network {
            return Err(format!("has host bits set; the network is {}", network.trunc()));
        }
        Ok(Network(network))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().expect("the test's network is valid")
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("the test's address is valid")
    }

    #[test]
    fn a_network_contains_its_addresses_only() {
        assert!(network("10.0.0.0/8").contains(address("10.255.0.1")));
        assert!(!network("10.0.0.0/8").contains(address("11.0.0.1")));
        assert!(network("192.0.2.7").contains(address("192.0.2.7")));
        assert!(!network("192.0.2.7").contains(address("192.0.2.8")));
        assert!(network("0.0.0.0/0").contains(address("203.0.113.9")));
        assert!(!network("0.0.0.0/0").contains(address("2001:db8::1")));
        assert!(network("::/0").contains(address("2001:db8::1")));
        assert!(network("fd00::/8").contains(address("fdff::1")));
        assert!(network("127.0.0.0/8").contains(address("::ffff:127.0.0.1")));
        assert!(Network::loopback().iter().any(|n| n.contains(address("::1"))));
        assert!(!Network::loopback().iter().any(|n| n.contains(address("::2"))));
    }

    #[test]
    fn what_is_no_network_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "not an address"),
            ("localhost", "not an address"),
            ("10.0.0.0/33", "0 to 32"),
            ("::/129", "0 to 128"),
            ("10.0.0.0/", "0 to 32"),
            ("10.1.2.3/8", "the network is 10.0.0.0/8"),
        ] {
            let error = text.parse::<Network>().expect_err("must be refused");
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
