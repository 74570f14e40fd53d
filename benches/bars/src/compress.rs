//! What compressing saves, and what a hit of what was compressed costs; nginx beside it.

use crate::check::{Checks, mib};
use crate::client::{self, Answer, Client};
use crate::counted::Counted;
use crate::crawl::{discover, site};
use crate::nginx::{self, Nginx, Shape};
use crate::origin::OriginSim;
use crate::program::{Folder, Programs, Weir, processor_time};
use crate::purged_hits::middle_half;
use crate::{Error, scaled};
use clap::Args;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::task::JoinSet;

/// Pages of the documentation at full size.
const PAGES: u64 = 2_000;
/// Pairs of windows at full size.
const PAIRS: u64 = 15;
/// Hits whose instructions are counted, and the least that make what the node does beside them count for little.
const HITS: (u64, u64) = (3_000, 500);
/// Seconds in which hits are counted.
const WINDOW: Duration = Duration::from_millis(700);
/// Connections that ask.
const LANES: usize = 8;
/// The most instructions that a hit of a compressed page may take of those that a plain one of its size takes.
const MOST: f64 = 1.1;
/// The least hits of nginx's, per processor second.
const LEAST: f64 = 1.5;
/// How long a page may take to be compressed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of the pages that come with rustc in each coding, and what a hit of a compressed page costs; nginx beside it
#[derive(Clone, Debug, Args)]
pub(crate) struct Compress {
    /// The folder with the pages; the documentation that came with rustc by default
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The nginx program; by default the installed one
    #[arg(long, value_name = "FILE")]
    nginx: Option<PathBuf>,
}

impl Compress {
    pub(crate) async fn run(
        &self,
        programs: &Programs,
        scale: f64,
        checks: &mut Checks,
    ) -> Result<(), Error> {
        self.bytes(programs, scale, checks).await?;
        self.cost(programs, scale, checks).await
    }

    /// All pages in each coding.
    async fn bytes(
        &self,
        programs: &Programs,
        scale: f64,
        checks: &mut Checks,
    ) -> Result<(), Error> {
        let root = site(self.root.as_deref())?;
        let origin = OriginSim::over(programs, &root).await?;
        let wanted = scaled(PAGES, scale, 50);
        let (targets, _) = discover(origin.at, "/std/index.html", wanted).await?;
        let folder = Folder::new("compress")?;
        let mut totals = Vec::new();
        for coding in ["gzip", "br", "zstd"] {
            // A node for each: what it compresses, it compresses in this coding alone.
            let site = format!(
                "[[site]]\norigins = [\"http://{}\"]\ncompress = {{ min = 1, order = [\"{coding}\"] }}\n\
                 [memory]\nsize = \"1GiB\"\n",
                origin.at
            );
            let weir = Weir::configured(programs, &folder.file("weir.toml", &site)?)?;
            let mut client = Client::connect(weir.listen).await?;
            let (mut plain, mut bytes, mut pages, mut waits) = (0, 0, 0, Vec::new());
            for target in &targets {
                let answer = client.get(target).await?;
                let kind =
                    answer.fields.get("content-type").map_or(&b""[..], |kind| kind.as_bytes());
                if answer.status != 200 || !kind.starts_with(b"text/html") {
                    continue;
                }
                plain += answer.body.len() as u64;
                pages += 1;
                let (answer, waited) = coded(&mut client, target, coding).await?;
                bytes += answer.body.len() as u64;
                waits.push(waited.as_secs_f64() * 1000.0);
            }
            let took = seconds(weir.admin).await?;
            let [_, wait, most] = middle_half(&mut waits);
            let figure = format!(
                "{} of {} on {pages} pages ({:.1} %), {:.2} ms of a processor for a page, there after {wait:.1} ms \
                 (3 of 4 within {most:.1} ms)",
                mib(bytes),
                mib(plain),
                100.0 * bytes as f64 / plain as f64,
                1000.0 * took / f64::from(pages),
            );
            let name = format!("compress: bytes in {coding}");
            checks.check(&name, bytes * 4 < plain, figure, "under 25 %");
            totals.push(bytes);
        }
        let smaller = totals[1] < totals[0];
        checks.check("compress: br smaller than gzip", smaller, smaller, true);
        Ok(())
    }

    /// Hits of a compressed page, of a plain body of its size, and of nginx with gzip.
    async fn cost(
        &self,
        programs: &Programs,
        scale: f64,
        checks: &mut Checks,
    ) -> Result<(), Error> {
        let folder = Folder::new("compress-cost")?;
        let text: String =
            (0..900).map(|n| format!("<p>Paragraph {n} of {}</p>\n", n * n)).collect();
        old(&folder.file("page.html", &text)?)?;
        let origin = OriginSim::over(programs, folder.path()).await?;
        let site = format!(
            "[node]\nworkers = 1\n[[site]]\norigins = [\"http://{}\"]\ncompress = {{ order = [\"gzip\"] }}\n",
            origin.at
        );
        let weir = Weir::configured(programs, &folder.file("weir.toml", &site)?)?;
        let mut client = Client::connect(weir.listen).await?;
        let (page, _) = coded(&mut client, "/page.html", "gzip").await?;
        old(&folder.file("plain.bin", &"x".repeat(page.body.len()))?)?;
        let (hits_counted, gzip) = (scaled(HITS.0, scale, HITS.1), ("accept-encoding", "gzip"));
        let mut node =
            Counted::start(programs, &folder.path().join("weir.toml"), folder.path()).await?;
        coded(&mut node.client, "/page.html", "gzip").await?;
        let of_coded = node.of_a_hit("/page.html", gzip, hits_counted).await?;
        let of_plain = node.of_a_hit("/plain.bin", gzip, hits_counted).await?;
        drop(node);
        let part = of_coded as f64 / of_plain as f64;
        let name = "compress: instructions of a compressed hit, of a plain one of its size";
        let figure = format!("{of_coded} and {of_plain}, {part:.3} times as many");
        checks.check(name, part <= MOST, figure, format!("at most {MOST} times"));
        let shape = Shape {
            workers: "1",
            files: 1024,
            cache: "64m",
            keys: "8m",
            directives: "proxy_cache_valid 200 10m; gzip on; gzip_proxied any; gzip_comp_level 6; gzip_min_length 1; \
                         keepalive_requests 1000000000;",
        };
        let nginx =
            Nginx::start(&nginx::find(self.nginx.as_deref())?, origin.at, shape, None).await?;
        let ids = nginx.ids()?;
        let of_weir = || Ok(weir.processor_time()?.by_workers);
        let of_nginx = || ids.iter().map(|id| processor_time(*id)).sum();
        let (mut dearer, mut times, mut rates) = (Vec::new(), Vec::new(), Vec::new());
        for pair in 0..=scaled(PAIRS, scale, 3) {
            let of = |who: &'static str| move |error| format!("hits of {who}: {error}");
            let coded = hits(weir.listen, "/page.html", of_weir).await.map_err(of("a page"))?;
            let plain = hits(weir.listen, "/plain.bin", of_weir).await.map_err(of("a body"))?;
            let theirs = hits(nginx.listen, "/page.html", of_nginx).await.map_err(of("nginx"))?;
            // The first ones warm everything up.
            if pair > 0 {
                dearer.push(coded / plain);
                times.push(theirs / coded);
                rates.push(1.0 / coded);
            }
        }
        let [low, middle, high] = middle_half(&mut dearer);
        let figure =
            format!("{middle:.3} times as much, half of the pairs from {low:.3} to {high:.3}");
        checks.note("compress: processor time of a compressed hit, of a plain one", figure);
        let [_, rate, _] = middle_half(&mut rates);
        let [low, middle, high] = middle_half(&mut times);
        let figure = format!(
            "{middle:.1} times nginx's with gzip ({low:.1} to {high:.1}), {rate:.0} per processor second, {} bytes",
            page.body.len()
        );
        checks.check("compress: hits", middle >= LEAST, figure, format!("at least {LEAST} times"));
        Ok(())
    }
}

/// Has a file be of long ago: what changed a moment ago is fresh for a moment only.
fn old(file: &Path) -> Result<(), Error> {
    let long_ago = SystemTime::now() - Duration::from_secs(1000 * 86_400);
    Ok(std::fs::File::options().write(true).open(file)?.set_modified(long_ago)?)
}

/// Asks for a page until it comes in this coding; how long that took.
async fn coded(
    client: &mut Client,
    target: &str,
    coding: &str,
) -> Result<(Answer, Duration), Error> {
    let begun = Instant::now();
    loop {
        let answer = client.get_with(target, ("accept-encoding", coding)).await?;
        if answer.fields.get("content-encoding").is_some_and(|found| found == coding) {
            return Ok((answer, begun.elapsed()));
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{target} is not compressed with {coding}").into());
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

/// Time of the threads that compress.
async fn seconds(admin: SocketAddr) -> Result<f64, Error> {
    let answer = client::once(admin, "GET", "/metrics").await?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("weir_compression_seconds_total "));
    Ok(line.ok_or("no weir_compression_seconds_total")?.parse()?)
}

/// Seconds of a processor that one hit costs.
async fn hits(
    to: SocketAddr,
    target: &'static str,
    used: impl Fn() -> Result<Duration, Error>,
) -> Result<f64, Error> {
    let answered = Arc::new(AtomicU64::new(0));
    let mut asking = JoinSet::new();
    for _ in 0..LANES {
        let answered = Arc::clone(&answered);
        asking.spawn(async move {
            let mut client = Client::connect(to).await?;
            // The first may be a miss.
            client.get_with(target, ("accept-encoding", "gzip")).await?;
            loop {
                let answer = client.get_with(target, ("accept-encoding", "gzip")).await?;
                if !answer.is_hit() {
                    return Err::<(), Error>(format!("no hit: {}", answer.cache_status()).into());
                }
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tokio::time::sleep(WINDOW / 4).await;
    let (before, begun) = (used()?, answered.load(Ordering::Relaxed));
    tokio::time::sleep(WINDOW).await;
    let (after, ended) = (used()?, answered.load(Ordering::Relaxed));
    if let Some(Ok(Err(error))) = asking.try_join_next() {
        return Err(error);
    }
    if ended == begun {
        return Err("no hits at all in a window".into());
    }
    Ok((after - before).as_secs_f64() / (ended - begun) as f64)
}
