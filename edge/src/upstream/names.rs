//! Names of origins are looked up again and again: one thread a node, begun when a site first has an origin with a
//! name. Where a name has several addresses, each is a member of its pool.

use super::Upstream;
use super::lookup::Found;
use super::orders::Orders;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Lookups under way at once.
const AT_ONCE: usize = 64;

/// The least time between two lookups of one name.
const LEAST: Duration = Duration::from_secs(1);

/// What a lookup takes at most; the system sets itself no bound.
const BOUND: Duration = Duration::from_secs(30);

/// A name of an origin: host and port.
pub(super) type Name = (String, u16);

/// The addresses that names of a pool had last.
pub(super) type Addresses = HashMap<Name, Vec<IpAddr>>;

/// A name that is looked up for a pool.
#[derive(Clone)]
pub(crate) struct Named {
    pub(super) upstream: Arc<Upstream>,
    pub(super) name: Name,
}

/// Told when a pool has other members.
pub(crate) type OnChange = Arc<dyn Fn() + Send + Sync>;

/// Looks up the names of a node's origins. Dropping it ends the thread.
#[derive(Default)]
pub(crate) struct Names(Orders<Named>);

impl Names {
    /// Looks up these names from now on, each at once and then again and again, and no others.
    pub(crate) fn follow(&self, names: Vec<Named>, on_change: &OnChange) -> io::Result<()> {
        let (at_once, on_change) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::clone(on_change));
        let begin = move |tasks: &mut JoinSet<()>, named| {
            tasks.spawn(run(named, Arc::clone(&at_once), Arc::clone(&on_change)));
        };
        self.0.give(names, "weir-names", drop, begin)
    }
}

/// Looks up one name until it is aborted.
async fn run(named: Named, at_once: Arc<Semaphore>, on_change: OnChange) {
    let Named { upstream, name } = named;
    let mut is_lost = false;
    loop {
        let found = {
            let _permit = at_once.acquire().await;
            let lookup = upstream.lookup().addresses(&name.0);
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            timeout(BOUND, lookup).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
        };
        let asked = Instant::now();
        let found = match found {
            Ok(found) if found.addresses.is_empty() => Err("it has no address".to_owned()),
            found => found.map_err(|error| error.to_string()),
        };
        let pause = match &found {
            Ok(found) => {
                if is_lost {
                    tracing::info!(
                        pool = upstream.name(),
                        name = name.0,
                        "the name is found again"
                    );
                }
                if upstream.resolved_to(&name, &found.addresses) {
                    on_change();
                }
                pause(found, asked, upstream.resolve())
            }
            Err(why) => {
                if !is_lost {
                    tracing::warn!(
                        pool = upstream.name(),
                        name = name.0,
                        "a name of an origin is not found, and the addresses that it had stay in use: {why}"
                    );
                }
                LEAST
            }
        };
        is_lost = found.is_err();
        tokio::time::sleep(LEAST.min(pause)).await;
        // An address that takes no connection may be one that the name has no more.
        let _ = timeout(pause.saturating_sub(LEAST), upstream.unreachable()).await;
    }
}

/// How long an answer of this moment is believed.
fn pause(found: &Found, asked: Instant, longest: Duration) -> Duration {
    let valid = found.until.map(|until| until.saturating_duration_since(asked));
    valid.unwrap_or(longest).clamp(LEAST, longest.max(LEAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_believed_for_its_ttl_within_bounds() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let of = |ttl: Option<u64>| {
            let until = ttl.map(|ttl| now + Duration::from_secs(ttl));
            pause(&Found { addresses: vec![], until }, now, 10 * second)
        };
        assert_eq!(of(None), 10 * second);
        assert_eq!(of(Some(5)), 5 * second);
        assert_eq!(of(Some(600)), 10 * second);
        assert_eq!(of(Some(0)), second);
    }
}
