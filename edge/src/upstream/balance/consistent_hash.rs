//! `consistent_hash`: the same member for each key; few keys move when a member comes or goes.

use super::{Balance, Choices, For, Share, mixed};

/// A ring of points, several for each member. A key belongs to the first eligible member at or
/// after its digest. Where the points of a member lie depends on its name alone: taking one away
/// moves only its own keys, and every node has the same ring.
#[derive(Debug)]
pub(crate) struct ConsistentHash {
    /// In the order of the first half: a place on the ring, and the member whose it is.
    points: Vec<(u64, u16)>,
}

impl ConsistentHash {
    /// Points of a member of weight 1 unless said otherwise: shares are even within some 4 %.
    pub(crate) const VIRTUAL_NODES: u32 = 512;

    /// The most points that a ring has: 16 MiB of them.
    const MOST_POINTS: u64 = 1 << 20;

    /// A ring with so many points for each member and each part of its weight.
    pub(crate) fn new(shares: &[Share], virtual_nodes: u32) -> Self {
        let parts: u64 = shares.iter().map(|share| u64::from(share.weight)).sum();
        let most = (Self::MOST_POINTS / parts.max(1)).max(1);
        let each = u64::from(virtual_nodes.max(1)).min(most);
        let mut points: Vec<(u64, u16)> = Vec::new();
        for (member, share) in shares.iter().enumerate() {
            let member = u16::try_from(member).unwrap_or(u16::MAX);
            let own = each * u64::from(share.weight);
            points.extend((0..own).map(|n| (mixed(share.name, n), member)));
        }
        points.sort_unstable();
        Self { points }
    }
}

impl Balance for ConsistentHash {
    fn choose(&self, request: For, choices: &dyn Choices) -> Option<usize> {
        if !(0..choices.count()).any(|member| choices.eligible(member)) {
            return None;
        }
        let (before, after) =
            self.points.split_at(self.points.partition_point(|(place, _)| *place < request.hash));
        let mut members = after.iter().chain(before).map(|(_, member)| usize::from(*member));
        members.find(|member| choices.eligible(*member))
    }
}
