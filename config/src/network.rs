//! Networks in CIDR form.

use super::Network;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// What [`Network::from_str`] takes, for messages.
pub const NETWORK_FORM: &str = "an address or a network such as 10.0.0.0/8, 192.0.2.7 or fd00::/8";

impl Network {
    /// The networks of the loopback interface.
    pub fn loopback() -> Vec<Network> {
        vec![
            Network { address: IpAddr::from([127, 0, 0, 0]), prefix: 8 },
            Network { address: IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1u16]), prefix: 128 },
        ]
    }

    /// Whether `address` lies in it. An IPv4 address in its IPv6-mapped form is judged as IPv4,
    /// because that is what a listener on `[::]` sees of IPv4 peers.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let host_bits = 32 - u32::from(self.prefix.min(32));
                let differing = u32::from(network) ^ u32::from(address);
                differing.checked_shr(host_bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let host_bits = 128 - u32::from(self.prefix.min(128));
                let differing = u128::from(network) ^ u128::from(address);
                differing.checked_shr(host_bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| "not an address".to_string())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) => digits
                .parse::<u8>()
                .ok()
                .filter(|prefix| *prefix <= longest)
                .ok_or_else(|| format!("the prefix length is not 0 to {longest}"))?,
        };
        let network = Network { address, prefix };
        let zeroed = network.without_host_bits();
        if zeroed != network {
            return Err(format!("has host bits set; the network is {zeroed}"));
        }
        Ok(network)
    }
}

impl Network {
    fn without_host_bits(self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V4((u32::from(address) & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V6((u128::from(address) & mask).into())
            }
        };
        Self { address, prefix: self.prefix }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
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
