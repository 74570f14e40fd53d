//! The ledger, over a journal that fails and crashes as told.

mod arrivals;
mod checked;
pub(crate) mod disk;
mod identity;
mod leases;
mod log;
mod model;

mod nodes;
mod oracle;
mod oracle_arrivals;
mod rate;
mod restored;

use super::*;
use crate::journal::memory::Memory;
use disk::Disk;
use weir_rules::invalidation::Target;
use weir_rules::log::Standing;
use weir_rules::tier::Tier;

const LEASE: Duration = Duration::from_secs(15);

fn bounds(retention: usize) -> Bounds {
    Bounds {
        retention,
        bytes: 32 << 20,
        arrivals: 100_000,
        lease: LEASE,
        forget_after: Duration::from_secs(3600),
        nodes: 100,
        join_rate: 1000,
        waiting: 1000,
    }
}

fn in_memory(retention: usize) -> Arc<Ledger> {
    Ledger::open(Box::<Memory>::default(), bounds(retention)).unwrap()
}

fn on(disk: &Disk) -> Arc<Ledger> {
    Ledger::open(Box::new(disk.clone()), bounds(100)).unwrap()
}

fn order(path: &str, reference: Option<&str>) -> Order {
    Order {
        targets: vec![Target::Path(path.into())],
        site: None,
        soft: false,
        versions: false,
        warm: false,
        reference: reference.map(str::to_owned),
    }
}

fn me() -> Referrer {
    Referrer { token: "me".into(), site: None }
}

fn hello(name: &str, standing: &Standing) -> Hello {
    Hello {
        name: name.into(),
        tier: Tier::Edge,
        region: "north".into(),
        listen: "127.0.0.1:1".into(),
        instance: format!("{name}-1"),
        version: "1".into(),
        standing: standing.clone(),
        sites: None,
        secret: None,
        takes_over: None,
        validates_after_ms: None,
        ephemeral: false,
    }
}

impl Ledger {
    /// Takes in a node that shows the token of all nodes.
    async fn arrive(&self, hello: &Hello, now: Instant) -> Result<Joined, JoinError> {
        self.join(hello, &Right { token: "nodes".into(), entitled: false }, now).await
    }
}

impl Joined {
    /// Why its session is over; `None` while it is not. To be asked until it is.
    fn why_ended(&mut self) -> Option<Ended> {
        self.ended.try_recv().ok()
    }
}

/// A node that joins for the first time.
async fn stranger(ledger: &Ledger, name: &str) -> Joined {
    ledger.arrive(&hello(name, &Standing::default()), Instant::now()).await.unwrap()
}

/// Where a node stands that applied everything up to `seq` since it joined.
fn standing(ledger: &Ledger, joined: &Joined, seq: Seq) -> Standing {
    let place = &joined.welcomed.place;
    let mark = match seq {
        0 => 0,
        seq if seq == place.after => place.mark,
        seq => ledger.after(seq - 1, 1).unwrap()[0].entry.mark,
    };
    Standing {
        log: Some(place.log.clone()),
        member: Some(place.member.clone()),
        applied: seq,
        mark,
        checked: None,
    }
}

fn states(ledger: &Ledger, listed: &Listed) -> Vec<(String, Arrival)> {
    let nodes = ledger.progress(listed).nodes;
    nodes.into_iter().map(|node| (node.name.to_string(), node.state)).collect()
}
