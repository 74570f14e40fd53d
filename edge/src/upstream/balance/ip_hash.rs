//! `ip_hash`: the same member for each address of a client, for as long as that member is there.

use super::{Balance, Choices, For, Share, digest, mixed};
use std::net::IpAddr;

/// Each member draws a number from the client's address and its own name; the highest, by weight,
/// is chosen (rendezvous hashing). Who goes takes along only its own clients, and who comes draws
/// from all alike.
#[derive(Debug)]
pub(crate) struct IpHash {
    shares: Vec<Share>,
}

impl IpHash {
    /// Over these members.
    pub(crate) fn new(shares: &[Share]) -> Self {
        Self { shares: shares.to_vec() }
    }
}

impl Balance for IpHash {
    fn choose(&self, request: For, choices: &dyn Choices) -> Option<usize> {
        let client = digest_of(request.client);
        let eligible = self.shares.iter().enumerate().filter(|(at, _)| choices.eligible(*at));
        let drawn = eligible.map(|(at, share)| (at, draw(client, share)));
        drawn.max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(at, _)| at)
    }
}

/// A draw whose chance to be the highest is proportional to the weight.
fn draw(client: u64, share: &Share) -> f64 {
    // Within 0 and 1, and neither.
    let uniform = ((mixed(client, share.name) >> 12) as f64 + 0.5) / (1u64 << 52) as f64;
    f64::from(share.weight) / -uniform.ln()
}

/// An IPv6 client changes its address within its network at will, so its /64 stands for it.
fn digest_of(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => digest(&address.octets()),
        IpAddr::V6(address) => digest(&address.octets()[..8]),
    }
}
