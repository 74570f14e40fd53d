//! Whether what is stored makes a purge dearer to apply.

use crate::check::Checks;
use crate::memory::{script, target, warm};
use crate::origin::OriginSim;
use crate::program::Programs;
use crate::{Error, scaled};
use std::time::{Duration, Instant};
use weir_config::Config;
use weir_edge::node::Node;
use weir_rules::invalidation::{Purge, Seq, Target};

/// Responses stored at most, at full size.
const MANY: u64 = 1_000_000;
/// Responses stored at least.
const FEW: u64 = 1_000;
/// Purges of each kind.
const PURGES: usize = 1_001;
/// How much dearer, and what no clock can tell apart.
const MOST: (f64, Duration) = (1.5, Duration::from_micros(2));
/// How long a sweep may take at full size.
const PATIENCE: Duration = Duration::from_secs(120);

/// Applies purges of each kind with few and with many responses stored.
pub(crate) async fn run(programs: &Programs, scale: f64, checks: &mut Checks) -> Result<(), Error> {
    let many = scaled(MANY, scale, 20 * FEW);
    let origin = OriginSim::scripted(programs, &script()).await?;
    let few = measure(&origin, FEW, checks).await?;
    let much = measure(&origin, many, checks).await?;
    for ((kind, few), (_, much)) in few.iter().zip(&much) {
        let bound = few.mul_f64(MOST.0) + MOST.1;
        let name = format!("apply: median of a purge by {kind} with {many} stored");
        let bar = format!("{bound:?} or less; with {FEW} stored it was {few:?}");
        checks.check(&name, *much <= bound, format!("{much:?}"), bar);
    }
    Ok(())
}

/// The median time that a purge of each kind takes to apply, each of everything stored.
async fn measure(
    origin: &OriginSim,
    count: u64,
    checks: &mut Checks,
) -> Result<Vec<(&'static str, Duration)>, Error> {
    println!("apply: {count} responses of 1 KB");
    // Thousands of purges of everything are counted beside, for which a fiftieth of a processor
    // would take long; what an apply takes does not depend on it.
    let text = format!(
        "[node]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 1\n\
         [memory]\nsize = \"4GiB\"\n\
         [limits]\nsweep = \"1s\"\n\
         [[site]]\nid = \"site\"\norigins = [\"http://{}\"]\n",
        origin.at
    );
    let config = Config::from_toml(&text).map_err(|mistakes| mistakes.to_string())?;
    let node = Node::start(config).map_err(|error| error.0)?;
    warm(node.listen(), "/1k/page", count).await?;
    let host = node.listen().ip().to_string();
    let kinds = [
        ("tag", Target::Tag("page".into())),
        ("prefix", Target::Prefix("/1k".into())),
        ("host", Target::Host(host)),
        ("all", Target::All),
        ("path", Target::Path(target("/1k/page", 7))),
    ];
    let mut medians = Vec::new();
    let mut seq = 0;
    for (kind, target) in kinds {
        let mut times = Vec::with_capacity(PURGES);
        for _ in 0..PURGES {
            seq += 1;
            let purge = purge(seq, &target, true);
            let begun = Instant::now();
            node.apply(&purge);
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        medians.push((kind, times[PURGES / 2]));
    }
    // The last one takes them all, for good.
    until_matched(&node, seq).await?;
    let begun = Instant::now();
    node.apply(&purge(seq + 1, &Target::Prefix("/1k".into()), false));
    let matched = until_matched(&node, seq + 1).await?;
    let name = format!("apply: taken by a purge of all of {count}");
    checks.check(&name, matched == count, matched, count);
    checks.note("apply: until they were counted and freed", format!("{:?}", begun.elapsed()));
    Ok(medians)
}

fn purge(seq: Seq, target: &Target, soft: bool) -> Purge {
    Purge { seq, targets: vec![target.clone()], site: None, soft, versions: false }
}

async fn until_matched(node: &Node, seq: Seq) -> Result<u64, Error> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(matched) = node.matched(seq) {
            return Ok(matched);
        }
        if Instant::now() > end {
            return Err(format!("the sweep is not through after {PATIENCE:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
