//! How many durable purges a second: `cargo test -p weir durable_purges_a_second -- --nocapture`.

use super::*;
use crate::journal::redb::Redb;

const CALLERS: u64 = 64;
const EACH: u64 = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn durable_purges_a_second() {
    let directory = crate::journal::redb::tests::Directory::new();
    let ledger = Ledger::open(Box::new(Redb::open(&directory.0).unwrap()), bounds(10_000)).unwrap();
    let start = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                for n in 0..EACH {
                    ledger.purge(order(&format!("/{caller}/{n}"), None), me()).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let took = start.elapsed();
    let commits = ledger.counts().commits;
    let rate = (CALLERS * EACH) as f64 / took.as_secs_f64();
    println!("{rate:.0} durable purges a second, {commits} commits in {took:?}");
    assert_eq!(ledger.head(), CALLERS * EACH);
    assert!(commits < CALLERS * EACH / 4, "{commits}: whoever waits shares a commit");
}
