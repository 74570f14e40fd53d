//! What the node's own log says of an origin or a parent in trouble: a line a second at most for
//! each pool, with the number of failures that it stands for, so that a failing upstream does not
//! fill a disk.

use super::member::{Address, At, Role};
use crate::error::UpstreamError;
use http::uri::PathAndQuery;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A pool's failures, as far as they are to be told.
#[derive(Debug)]
pub(super) struct Trouble {
    /// The site's id, or `parents`.
    pool: String,
    began: Instant,
    /// The second after `began` in which a line was last written, from 1; 0 for never.
    told: AtomicU64,
    suppressed: AtomicU64,
}

impl Trouble {
    /// None yet.
    pub(super) fn new(pool: &str) -> Arc<Self> {
        Arc::new(Self {
            pool: pool.to_owned(),
            began: Instant::now(),
            told: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        })
    }

    /// A request to a member failed. What the client itself broke off is no trouble of it.
    pub(super) fn tell(&self, member: &Address, target: &PathAndQuery, error: &UpstreamError) {
        if !error.is_disconnect() {
            return;
        }
        if let Some(others) = self.others(self.began.elapsed().as_secs() + 1) {
            let (at, path, error) = (place(member), target.path(), error.of(member.role.word()));
            match member.role {
                Role::Origin => {
                    let site = &self.pool;
                    tracing::warn!(%site, origin = %at, path, others, "{error}");
                }
                Role::Parent => tracing::warn!(parent = %at, path, others, "{error}"),
            }
        }
    }

    /// How many failures were suppressed before this one, if this one is to be logged.
    fn others(&self, second: u64) -> Option<u64> {
        if self.told.swap(second, Ordering::Relaxed) == second {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.suppressed.swap(0, Ordering::Relaxed))
    }
}

/// Host and port, and which of the host's addresses; or a socket.
fn place(member: &Address) -> String {
    match &member.at {
        At::Authority => member.authority.to_string(),
        At::One(ip) => format!("{} ({ip})", member.authority),
        At::Socket(_) => member.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_line_which_counts_those_before() {
        let trouble = Trouble::new("shop");
        assert_eq!(trouble.others(1), Some(0));
        assert_eq!(trouble.others(1), None);
        assert_eq!(trouble.others(1), None);
        assert_eq!(trouble.others(5), Some(2));
        assert_eq!(trouble.others(6), Some(0));
    }
}
