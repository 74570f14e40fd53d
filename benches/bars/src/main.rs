//! `weir-bars`: what a node must bear at full size, measured on the real programs.
//!
//! Each bar starts `weir serve` and `weir-origin-sim` as processes of their own, plays the clients
//! itself, and prints a line for each thing it checks, with the figure. The exit status is 0 when
//! every check passed.

mod affinity;
mod apply;
mod check;
mod client;
mod compress;
mod confinement;
mod costs;
mod counted;
mod crawl;
mod crowd;
mod dice;
mod disk;
mod etcd;
mod fleet;
mod ha;
mod large;
mod line;
mod links;
mod memory;
mod nginx;
mod ocean;
mod origin;
mod program;
mod propagation;
mod purged_hits;
mod rules;
mod siege;
mod soak;
mod stampede;
mod tiers;
mod topology;
mod traffic_server;

use check::Checks;
use clap::{Parser, Subcommand};
use program::Programs;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures a node at full size: a whole site, a stampede, bodies larger than memory, memory, and purges.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The weir program; by default the one beside this program
    #[arg(long, global = true, value_name = "FILE", env = "WEIR_BIN")]
    weir: Option<PathBuf>,
    /// The weir-origin-sim program; by default the one beside this program
    #[arg(long, global = true, value_name = "FILE", env = "WEIR_ORIGIN_SIM_BIN")]
    origin_sim: Option<PathBuf>,
    /// The part of the full size to run at, above 0 and at most 1; CI runs small
    #[arg(long, global = true, value_name = "PART", default_value_t = 1.0, value_parser = scale)]
    scale: f64,
    #[command(subcommand)]
    bar: Bar,
}

#[derive(Debug, Subcommand)]
enum Bar {
    /// A crawl of a static site through weir, twice: every byte as the origin sends it
    Crawl(crawl::Crawl),
    /// 10,000 clients for one cold URL, also when the first leaves or the origin dies midway
    Stampede,
    /// 2 GiB through a node with 64 MiB of memory, fast and slow readers together
    Large,
    /// What 200,000 stored responses of 1 KB cost
    Memory,
    /// What an idle connection costs, and a request that waits for the origin
    Costs {
        /// The kinds of clients, one after another; by default each of them
        #[arg(value_name = "KIND")]
        kinds: Vec<costs::Kind>,
    },
    /// memory.size filled to the brim with small and with larger responses
    Brim,
    /// How long a purge takes to apply, with 1,000 and with 1,000,000 responses stored
    Apply,
    /// Hits while 1,000 purges a second arrive, and while none does
    PurgedHits,
    /// How long a purge takes to 8 nodes, also while one sleeps
    Propagation,
    /// Control with 1,000 and 4,000 nodes, with 10,000 behind 20 relays, and 10,000 purges a second
    Fleet,
    /// Purges with the log in etcd: one after another to 8 nodes, and 5,000 a second
    Ha,
    /// 10,000 clients at three edges with two parents, for one cold URL and for 1,000
    Tiers,
    /// What edge and parent save a reader whose origin is 100 ms away
    Ocean,
    /// A node with a disk store: how soon it is back with all of it, and what its hits cost; nginx beside it
    Disk(disk::Disk),
    /// What clients see, and what memory the node takes, while others attack it; nginx beside it
    Siege(siege::Siege),
    /// Bytes of the pages that come with rustc in each coding, and what a hit of a compressed page costs, in instructions
    /// that valgrind counts; nginx beside it
    Compress(compress::Compress),
    /// What 50 rules of a site cost a hit, in instructions that valgrind counts
    Rules,
    /// Minutes of load with faults on control, a parent and an edge: no wrong body, nothing that grows
    Soak(soak::Soak),
    /// All of them but ha, which needs etcd, rules, which needs valgrind, and disk, siege, compress and soak, which take longer than the others together
    All(crawl::Crawl),
}

fn main() -> ExitCode {
    let Arguments { weir, origin_sim, scale, bar } = Arguments::parse();
    let programs = match Programs::find(weir, origin_sim) {
        Ok(programs) => programs,
        Err(message) => {
            eprintln!("weir-bars: {message}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("weir-bars: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut checks = Checks::default();
    match runtime.block_on(run(&bar, &programs, scale, &mut checks)) {
        Ok(()) if checks.all_passed() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            println!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(bar: &Bar, programs: &Programs, scale: f64, checks: &mut Checks) -> Result<(), Error> {
    match bar {
        Bar::Crawl(crawl) => crawl.run(programs, scale, checks).await,
        Bar::Stampede => stampede::run(programs, scale, checks).await,
        Bar::Large => large::run(programs, scale, checks).await,
        Bar::Memory => memory::cost(programs, scale, checks).await,
        Bar::Costs { kinds } => costs::run(kinds, programs, scale, checks).await,
        Bar::Brim => memory::brim(programs, scale, checks).await,
        Bar::Apply => apply::run(programs, scale, checks).await,
        Bar::PurgedHits => purged_hits::run(programs, scale, checks).await,
        Bar::Propagation => propagation::run(programs, scale, checks).await,
        Bar::Fleet => fleet::run(programs, scale, checks).await,
        Bar::Ha => ha::run(programs, scale, checks).await,
        Bar::Tiers => tiers::run(programs, scale, checks).await,
        Bar::Ocean => ocean::run(programs, scale, checks).await,
        Bar::Disk(disk) => disk.run(programs, scale, checks).await,
        Bar::Siege(siege) => siege.run(programs, scale, checks).await,
        Bar::Compress(compress) => compress.run(programs, scale, checks).await,
        Bar::Rules => rules::run(programs, scale, checks).await,
        Bar::Soak(soak) => soak.run(programs, scale, checks).await,
        Bar::All(crawl) => {
            stampede::run(programs, scale, checks).await?;
            large::run(programs, scale, checks).await?;
            memory::cost(programs, scale, checks).await?;
            memory::brim(programs, scale, checks).await?;
            costs::run(&[], programs, scale, checks).await?;
            apply::run(programs, scale, checks).await?;
            purged_hits::run(programs, scale, checks).await?;
            propagation::run(programs, scale, checks).await?;
            fleet::run(programs, scale, checks).await?;
            tiers::run(programs, scale, checks).await?;
            ocean::run(programs, scale, checks).await?;
            crawl.run(programs, scale, checks).await
        }
    }
}

/// Why a bar could not be measured at all.
type Error = Box<dyn std::error::Error + Send + Sync>;

fn scale(text: &str) -> Result<f64, String> {
    let scale: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if scale > 0.0 && scale <= 1.0 { Ok(scale) } else { Err("not above 0 and at most 1".into()) }
}

/// `full` at `scale`, at least `least`.
fn scaled(full: u64, scale: f64, least: u64) -> u64 {
    ((full as f64 * scale) as u64).max(least)
}
