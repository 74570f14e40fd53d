//! `weir simulate`: the hit ratio that a log's requests would have with stores of other sizes.

mod input;
mod report;
mod svg;

use super::{Exit, complain, print, print_json, tell};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use input::{Format, Source};
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;
use weir_config::units::{format_size, parse_duration, parse_size};
use weir_rules::wildcard;
use weir_simulation::node::Stores;
use weir_simulation::sample::Sample;
use weir_simulation::survey::Survey;
use weir_simulation::topology::{Layout, Lengths, Outcome, Topology};
use weir_simulation::{Line, Request};

/// Nodes of a tier.
const MOST_NODES: u16 = 1_000;
/// Sizes of stores, of memory times disk.
const MOST_SIZES: usize = 64;

/// Show the hit ratio that a log's requests would have with stores of other sizes
///
/// The requests go through weir's own policy of admission and eviction. What counts are GET and HEAD with an
/// answer that caches store; each URL is taken to be cacheable, and fresh for ever unless --ttl is given. So the
/// hit ratio is what storage alone allows. Nothing is sent, and no configuration is read.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("input").required(true)))]
pub(crate) struct Simulate {
    /// Access logs, oldest first: weir's JSON, or common and combined lines of weir, nginx, Apache httpd or
    /// Varnish; also gzipped. "-" is standard input
    #[arg(long, value_name = "FILE", group = "input", num_args = 1..)]
    log: Vec<PathBuf>,
    /// Traces, with "URL BYTES" or "SECONDS URL BYTES" in each line; also gzipped. "-" is standard input
    #[arg(long, value_name = "FILE", group = "input", num_args = 1..)]
    trace: Vec<PathBuf>,
    /// Sizes of the memory store (memory.size) of each node
    #[arg(long, value_name = "SIZE", value_delimiter = ',', default_value = "64MiB,256MiB,1GiB,4GiB",
          value_parser = memory_size)]
    memory: Vec<u64>,
    /// Sizes of the disk store (disk.size) of each node; 0 is no disk
    #[arg(long, value_name = "SIZE", value_delimiter = ',', default_value = "0",
          value_parser = disk_size)]
    disk: Vec<Disk>,
    /// Number of edges; each client asks always the same one
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_NODES)))]
    edges: u16,
    /// Number of parents; each URL has one of them
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u16).range(0..=i64::from(MOST_NODES)))]
    parents: u16,
    /// How long each response is fresh; a request after that counts as a miss
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// Paths whose requests are left out, such as /admin/*
    #[arg(long, value_name = "PATTERN")]
    skip: Vec<String>,
    /// Share of the URLs that are simulated, such as 0.01; by default all, or a share that keeps to --urls
    #[arg(long, value_name = "SHARE", value_parser = share)]
    sample: Option<f64>,
    /// Most URLs that are simulated: they bound the memory that the command takes
    #[arg(long, value_name = "N", default_value = "1000000")]
    urls: NonZeroU64,
    /// Write the curves to a file, as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// A disk, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Disk(Option<u64>);

fn memory_size(text: &str) -> Result<u64, String> {
    let size = parse_size(text)?;
    match size {
        0..0x10_0000 => Err("less than 1MiB".to_owned()),
        size => Ok(size),
    }
}

fn disk_size(text: &str) -> Result<Disk, String> {
    let size = if text == "0" { 0 } else { parse_size(text)? };
    let least = weir_store::Geometry::SMALLEST_STORE;
    match size {
        0 => Ok(Disk(None)),
        size if size < least => Err(format!("less than {}", format_size(least))),
        size if weir_store::Geometry::of_size(size).is_none() => Err("too large".to_owned()),
        size => Ok(Disk(Some(size))),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "not above 0, up to 1".to_owned())
}

/// What a simulation came to.
struct Simulated {
    survey: Survey,
    sample: Sample,
    layout: Layout,
    outcomes: Vec<Outcome>,
}

impl Simulate {
    pub(super) fn run(self) -> Exit {
        let simulated = match self.simulated() {
            Ok(simulated) => simulated,
            Err((reason, exit)) => return complain(&reason, exit),
        };
        if let Some(file) = &self.svg {
            let curves = svg::curves(&simulated.outcomes);
            if let Err(error) = std::fs::write(file, curves) {
                let reason = format!("cannot write {}: {error}", file.display());
                return complain(&reason, Exit::Failed);
            }
        }
        match self.json {
            true => print_json(&report::json(&simulated)),
            false => print(&report::words(&simulated)),
        }
        Exit::Done
    }

    fn simulated(&self) -> Result<Simulated, (String, Exit)> {
        let sizes = self.sizes();
        if sizes.len() > MOST_SIZES {
            let reason =
                format!("{} sizes; at most {MOST_SIZES} are simulated at once", sizes.len());
            return Err((reason, Exit::Usage));
        }
        let (files, format) = match self.trace.is_empty() {
            true => (&self.log, Format::Log),
            false => (&self.trace, Format::Trace),
        };
        let source = Source::new(files, format).map_err(|reason| (reason, Exit::Failed))?;
        let is_skipped = |target: &str| self.skips(target);
        let bar = self.bar(&source);
        let simulated = self.over(&source, &is_skipped, &sizes, &bar);
        bar.finish_and_clear();
        simulated.map_err(|reason| (reason, Exit::Failed))
    }

    fn over(
        &self,
        source: &Source,
        is_skipped: &dyn Fn(&str) -> bool,
        sizes: &[Stores],
        bar: &ProgressBar,
    ) -> Result<Simulated, String> {
        let mut survey = Survey::default();
        let sample = match self.sample {
            Some(share) => Sample::of_rate(share),
            None if source.is_read_once() => Sample::ALL,
            None => {
                source.lines(is_skipped, bar, &mut |line| survey.add(line))?;
                self.of_survey(&survey, sizes)
            }
        };
        let layout = Layout { edges: self.edges.into(), parents: self.parents.into() };
        let ttl = self.ttl.map(|ttl| ttl.as_secs().max(1));
        let topology = |stores: &Stores| {
            Topology::new(layout, *stores, ttl, sample).ok_or_else(|| {
                let disk = stores.disk.map(format_size).unwrap_or_default();
                format!("--sample leaves too little of a disk of {disk}; give a larger share")
            })
        };
        let mut topologies = sizes.iter().map(topology).collect::<Result<Vec<_>, String>>()?;
        let (mut counted, mut lengths) = (Survey::default(), Lengths::default());
        let mut too_many = false;
        source.lines(is_skipped, bar, &mut |line| {
            counted.add(line);
            if let Line::Request(request) = line
                && sample.has(request.url)
            {
                too_many |= !self.simulate(&request, &mut lengths, &mut topologies);
            }
        })?;
        if counted.requests == 0 {
            return Err(format!(
                "{} has no request that a cache may answer{}",
                source.name(),
                match counted.unknown {
                    0 => String::new(),
                    unknown => format!("; {unknown} lines are of no known format"),
                }
            ));
        }
        if too_many {
            return Err(format!(
                "more than {} URLs to simulate: give a smaller --sample, or more --urls",
                self.urls
            ));
        }
        if ttl.is_some() && counted.undated > 0 {
            let (undated, all) = (counted.undated, counted.requests);
            return Err(format!("--ttl needs dates, and {undated} of {all} requests have none"));
        }
        let outcomes = topologies.iter().map(|one| one.outcome(&counted, sample)).collect();
        Ok(Simulated { survey: counted, sample, layout, outcomes })
    }

    /// Whether there was room for the request's URL.
    fn simulate(
        &self,
        request: &Request,
        lengths: &mut Lengths,
        topologies: &mut [Topology],
    ) -> bool {
        if lengths.urls() as u64 > self.urls.get() {
            return false;
        }
        let length = lengths.of(request);
        topologies.iter_mut().for_each(|topology| topology.request(request, length));
        true
    }

    /// The sample that keeps to the bound, and with which the smallest store still is one.
    fn of_survey(&self, survey: &Survey, sizes: &[Stores]) -> Sample {
        // The count is not exact, nor is the share.
        let sample = survey.sample(self.urls.get() * 9 / 10);
        let least = sizes.iter().map(|stores| stores.least_rate()).fold(0.0, f64::max);
        if sample.rate() < least { Sample::of_rate(least) } else { sample }
    }

    /// All sizes, the smallest memory first, for each disk.
    fn sizes(&self) -> Vec<Stores> {
        let (memory, disks): (BTreeSet<_>, BTreeSet<_>) =
            (self.memory.iter().copied().collect(), self.disk.iter().copied().collect());
        let of_disk =
            |disk: Disk| memory.iter().map(move |memory| Stores { memory: *memory, disk: disk.0 });
        disks.into_iter().flat_map(of_disk).collect()
    }

    /// As a purge by path takes: a pattern without a query matches whatever the query is.
    fn skips(&self, target: &str) -> bool {
        let path = target.split('?').next().unwrap_or(target);
        self.skip.iter().any(|pattern| match pattern.contains('?') {
            true => wildcard::matches(pattern, target),
            false => wildcard::matches(pattern, path),
        })
    }

    fn bar(&self, source: &Source) -> ProgressBar {
        let passes = if self.sample.is_none() && !source.is_read_once() { 2 } else { 1 };
        match source.bytes().filter(|_| std::io::stderr().is_terminal()) {
            Some(bytes) => {
                let bar = ProgressBar::with_draw_target(
                    Some(bytes * passes),
                    ProgressDrawTarget::stderr(),
                );
                // The template is a constant, and right.
                if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent}% {eta}") {
                    bar.set_style(style);
                }
                bar
            }
            None => ProgressBar::hidden(),
        }
    }
}

/// Tells of lines that are not understood: what is printed on standard output is the result.
fn warn_of(unknown: u64) {
    if unknown > 0 {
        tell(&format!("weir: {unknown} lines are of no known format, and were left out\n"));
    }
}

#[cfg(test)]
mod tests;
