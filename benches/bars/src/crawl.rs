//! A real site through a node, twice: every status and every byte as the origin sends them, and
//! the second time from the store.

use crate::check::{Checks, mib};
use crate::client::Client;
use crate::links::links;
use crate::origin::OriginSim;
use crate::program::{Programs, Weir};
use crate::{Error, scaled};
use clap::Args;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Pages (HTML, status 200) that a crawl must reach at full size.
const PAGES: u64 = 5_000;
/// Connections of the crawl, to the node and to the origin each.
const LANES: usize = 16;
/// `memory.size` of the node: the default.
const MEMORY: u64 = 512 << 20;
/// What the node may have beside it.
const BESIDE: u64 = 64 << 20;

/// A crawl of a static site through weir, twice: every byte as the origin sends it
#[derive(Clone, Debug, Args)]
pub(crate) struct Crawl {
    /// The folder with the site; the documentation that came with rustc by default
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Where the crawl begins
    #[arg(long, value_name = "PATH", default_value = "/std/index.html")]
    start: String,
    /// Pages to reach before it stops looking for more; 5,000, scaled, by default
    #[arg(long, value_name = "N")]
    pages: Option<u64>,
}

impl Crawl {
    pub(crate) async fn run(
        &self,
        programs: &Programs,
        scale: f64,
        checks: &mut Checks,
    ) -> Result<(), Error> {
        let root = site(self.root.as_deref())?;
        let wanted = self.pages.unwrap_or_else(|| scaled(PAGES, scale, 50));
        println!("crawl: {} from {}", root.display(), self.start);
        let origin = OriginSim::over(programs, &root).await?;
        let (targets, pages) = discover(origin.at, &self.start, wanted).await?;
        checks.check("crawl: pages found", pages >= wanted, pages, format!("at least {wanted}"));
        let targets: Arc<[String]> = targets.into();
        let weir = Weir::start(programs, origin.at, &format!("{}MiB", MEMORY >> 20))?;
        for pass in ["first", "second"] {
            let tally = compare(weir.listen, origin.at, &targets).await?;
            let name = format!("crawl, {pass} pass: answers unlike the origin's");
            let figure = format!("{} of {}", tally.unlike.len(), targets.len());
            checks.check(&name, tally.unlike.is_empty(), figure, 0);
            for unlike in tally.unlike.iter().take(10) {
                println!("         {unlike}");
            }
            let share = tally.hits as f64 * 100.0 / targets.len() as f64;
            let name = format!("crawl, {pass} pass: hits");
            let figure = format!("{share:.2} %");
            match pass {
                "second" => checks.check(&name, share > 99.0, figure, "over 99 %"),
                _ => checks.note(&name, figure),
            }
            if pass == "second" {
                checks.note("crawl: statuses", format!("{:?}", tally.statuses));
                checks.note("crawl: bytes compared in a pass", mib(tally.bytes));
            }
        }
        let (most, bound) = (weir.most_rss()?, MEMORY + BESIDE);
        checks.check("crawl: most memory of the node", most <= bound, mib(most), mib(bound));
        Ok(())
    }
}

/// The folder that was named, or the documentation that rustc was installed with.
pub(crate) fn site(named: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let printed = Command::new("rustc").args(["--print", "sysroot"]).output()?;
    let root = PathBuf::from(str::from_utf8(&printed.stdout)?.trim()).join("share/doc/rust/html");
    if root.is_dir() {
        return Ok(root);
    }
    Err(format!("{}: no such folder; give --root, or rustup component add rust-docs", {
        root.display()
    })
    .into())
}

/// Follows links from `start` until `wanted` pages are known; returns all targets met, in the
/// order in which they were asked for, and how many of them are pages.
pub(crate) async fn discover(
    origin: SocketAddr,
    start: &str,
    wanted: u64,
) -> Result<(Vec<String>, u64), Error> {
    let mut clients = Vec::new();
    for _ in 0..LANES {
        clients.push(Client::connect(origin).await?);
    }
    let mut known = HashSet::from([start.to_owned()]);
    let mut queue = VecDeque::from([start.to_owned()]);
    let (mut asked, mut pages) = (Vec::new(), 0);
    while pages < wanted && !queue.is_empty() {
        let mut wave = JoinSet::new();
        while let Some(mut client) = clients.pop() {
            let Some(target) = queue.pop_front() else {
                clients.push(client);
                break;
            };
            wave.spawn(async move {
                let answer = client.get(&target).await?;
                Ok::<_, Error>((client, target, answer))
            });
        }
        while let Some(ended) = wave.join_next().await {
            let (client, target, answer) = ended??;
            clients.push(client);
            let kind = answer.fields.get("content-type").map_or(&b""[..], |kind| kind.as_bytes());
            if answer.status == 200 && kind.starts_with(b"text/html") {
                pages += 1;
                for link in links(&target, &String::from_utf8_lossy(&answer.body)) {
                    if known.insert(link.clone()) {
                        queue.push_back(link);
                    }
                }
            }
            asked.push(target);
        }
    }
    Ok((asked, pages))
}

/// What one pass found.
#[derive(Default)]
struct Tally {
    hits: u64,
    bytes: u64,
    statuses: BTreeMap<u16, u64>,
    unlike: Vec<String>,
}

/// Asks node and origin for every target and compares.
async fn compare(
    node: SocketAddr,
    origin: SocketAddr,
    targets: &Arc<[String]>,
) -> Result<Tally, Error> {
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let targets = Arc::clone(targets);
        lanes.spawn(async move {
            let mut direct = Client::connect(origin).await?;
            let mut through = Client::connect(node).await?;
            let mut tally = Tally::default();
            for target in targets.iter().skip(lane).step_by(LANES) {
                let expected = direct.get(target).await?;
                let got = through.get(target).await?;
                tally.hits += u64::from(got.is_hit());
                tally.bytes += got.body.len() as u64;
                *tally.statuses.entry(got.status).or_default() += 1;
                if got.status != expected.status || got.body != expected.body {
                    let told = format!(
                        "{target}: {} with {} bytes, the origin: {} with {}",
                        got.status,
                        got.body.len(),
                        expected.status,
                        expected.body.len()
                    );
                    tally.unlike.push(told);
                }
            }
            Ok::<_, Error>(tally)
        });
    }
    let mut sum = Tally::default();
    while let Some(ended) = lanes.join_next().await {
        let tally = ended??;
        sum.hits += tally.hits;
        sum.bytes += tally.bytes;
        sum.unlike.extend(tally.unlike);
        for (status, count) in tally.statuses {
            *sum.statuses.entry(status).or_default() += count;
        }
    }
    Ok(sum)
}
