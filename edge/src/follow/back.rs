//! When an edge goes back to its nearest relay, after it had to go to another one. Not at once, for a
//! relay that just came back may go again; and not all edges together, for each of them joins control
//! on its way.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// How long a relay must have been well before the first edge goes back, in leases.
const SETTLED: u32 = 4;

/// Over how long edges spread from there, in leases.
const SPREAD: u32 = 8;

/// A way back that failed makes the next one come after twice as long, so often.
const MOST_FAILED: u32 = 6;

/// The way back of one edge, by the numbers of its relays; the nearest has the lowest.
#[derive(Debug, Default)]
pub(super) struct Back {
    /// The relay that the edge is on its way to.
    to: Option<usize>,
    /// How often in a row it came to another one instead.
    failed: u32,
}

impl Back {
    /// The edge leaves its relay for this one.
    pub(super) fn begins(&mut self, to: usize) {
        self.to = Some(to);
    }

    /// The edge is attached to this relay.
    pub(super) fn attached(&mut self, at: usize) {
        match self.to.take() {
            Some(to) if at > to => self.failed = (self.failed + 1).min(MOST_FAILED),
            Some(_) => self.failed = 0,
            None => {}
        }
    }

    /// How long a nearer relay must have been well for the edge to go there.
    pub(super) fn wait(&self, lease: Duration) -> Duration {
        (lease * SETTLED) * (1 << self.failed) + (lease * SPREAD).mul_f64(random_share())
    }

    /// From one look at nearer relays to the next.
    pub(super) fn pause(&self, lease: Duration) -> Duration {
        lease.mul_f64(0.5 + random_share() / 2.0)
    }
}

/// From 0 to 1, of each node another one.
fn random_share() -> f64 {
    (RandomState::new().hash_one(0) % 10_000) as f64 / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);

    #[test]
    fn edges_go_back_after_a_while_and_not_together() {
        let mut in_each = [0; SPREAD as usize];
        for _ in 0..4000 {
            let back = Back::default();
            let after = back.wait(LEASE).checked_sub(LEASE * SETTLED).expect("a while");
            in_each[after.div_duration_f64(LEASE) as usize] += 1;
            let pause = back.pause(LEASE);
            assert!(LEASE / 2 <= pause && pause <= LEASE, "{pause:?}");
        }
        assert!(in_each.iter().all(|count| (350..650).contains(count)), "{in_each:?}");
    }

    #[test]
    fn who_comes_to_another_relay_instead_waits_longer_each_time_up_to_a_bound() {
        let mut back = Back::default();
        back.attached(2);
        assert!(back.wait(LEASE) < LEASE * (SETTLED + SPREAD));
        for failed in 1..=MOST_FAILED + 2 {
            back.begins(0);
            back.attached(1);
            let least = LEASE * SETTLED * (1 << failed.min(MOST_FAILED));
            let wait = back.wait(LEASE);
            assert!(least <= wait && wait < least + LEASE * SPREAD, "{wait:?}");
        }
        // It was lost, and the edge looks on from where it is.
        back.attached(2);
        assert!(back.wait(LEASE) >= LEASE * SETTLED * (1 << MOST_FAILED));
        back.begins(1);
        back.attached(0);
        assert!(back.wait(LEASE) < LEASE * (SETTLED + SPREAD));
    }
}
