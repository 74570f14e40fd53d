//! `weir warm`: fetches URLs before clients request them.

mod list;
mod sitemap;
mod summary;

use super::{ControlArgs, Exit, complain, print, print_json, refused};
use crate::client::Client;
use crate::text::Paint;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::io::IsTerminal;
use std::path::PathBuf;
use summary::Summary;
use weir_config::words::Word;
use weir_control::{DEFAULT_WARM_RATE, MOST_WARM_RATE, MOST_WARM_URLS};
use weir_rules::tier::Tier;

/// URLs of one command.
const MOST_URLS: usize = 200_000;

/// Fetch URLs into the caches before clients request them
///
/// Each connected edge fetches each URL once. A URL that is still not stored afterwards is listed with
/// the reason, and the exit status is 1.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true)))]
pub(crate) struct Warm {
    /// URLs (http://example.com/a?b)
    #[arg(value_name = "URL", group = "what")]
    urls: Vec<String>,
    /// File of URLs, one per line; "#" starts a comment
    #[arg(long, value_name = "F", group = "what")]
    file: Vec<PathBuf>,
    /// Sitemap, or index of sitemaps, with the URLs
    #[arg(long, value_name = "URL", group = "what")]
    sitemap: Vec<String>,
    /// Maximum requests per second to each node
    #[arg(long, value_name = "N/s", default_value_t = Rate(DEFAULT_WARM_RATE), value_parser = rate)]
    rate: Rate,
    /// Tier whose stores are filled
    #[arg(long, default_value = Tier::Edge.as_str(), value_parser = tiers())]
    tier: Tier,
    #[command(flatten)]
    control: ControlArgs,
}

/// Requests a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate(u32);

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

/// The values of `--tier`: the tiers, each with its help.
fn tiers() -> impl TypedValueParser<Value = Tier> {
    let help = |tier| match tier {
        Tier::Edge => "The edges, and the parents that they fetch from",
        Tier::Parent => "The parents only",
    };
    let value = |tier: Tier| PossibleValue::new(tier.as_str()).help(help(tier));
    let values = Tier::words().filter_map(Tier::find).map(value);
    PossibleValuesParser::new(values).try_map(|word| Tier::find(&word).ok_or("not a tier"))
}

fn rate(text: &str) -> Result<Rate, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).parse::<u32>().ok();
    let known = number.filter(|rate| (1..=MOST_WARM_RATE).contains(rate));
    known.map(Rate).ok_or_else(|| format!("not from 1/s to {MOST_WARM_RATE}/s"))
}

impl Warm {
    pub(super) async fn run(self) -> Exit {
        let client = match self.control.client() {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let urls = match self.urls().await {
            Ok(urls) if urls.is_empty() => {
                return complain("there is no URL to warm", Exit::Usage);
            }
            Ok(urls) => urls,
            Err(reason) => return complain(&reason, Exit::Failed),
        };
        let bar = self.bar();
        let mut summary = Summary::new(urls.len());
        let outcome = self.warm(&client, &urls, &mut summary, &bar).await;
        bar.finish_and_clear();
        if self.control.json {
            print_json(&summary.json());
        } else {
            print(&summary.told(Paint::for_stdout()));
        }
        match outcome {
            Ok(()) if summary.is_good() => Exit::Done,
            Ok(()) => Exit::Failed,
            Err((reason, exit)) => complain(&reason, exit),
        }
    }

    /// All URLs, each once, in the given order.
    async fn urls(&self) -> Result<Vec<String>, String> {
        let mut named = self.urls.clone();
        for file in &self.file {
            named.extend(list::urls(file)?);
        }
        for url in &self.sitemap {
            named.extend(sitemap::urls(url, MOST_URLS).await?);
        }
        let mut seen = std::collections::HashSet::new();
        named.retain(|url| seen.insert(url.clone()));
        if named.len() > MOST_URLS {
            return Err(format!("{} URLs; at most {MOST_URLS} are accepted", named.len()));
        }
        Ok(named)
    }

    async fn warm(
        &self,
        client: &Client,
        urls: &[String],
        summary: &mut Summary,
        bar: &ProgressBar,
    ) -> Result<(), (String, Exit)> {
        for urls in urls.chunks(MOST_WARM_URLS) {
            let body = json!({"urls": urls, "rate": self.rate.0, "tier": self.tier});
            summary.begin();
            let read = |line| {
                summary.read(&line);
                bar.set_length(summary.expected());
                bar.set_position(summary.come());
            };
            let answer = client.post_lines("/v1/warm", &body, read).await;
            if let Some(answer) = answer.map_err(|reason| (reason, Exit::Failed))? {
                return Err((answer.refusal(), refused(&answer)));
            }
            if !summary.is_whole() {
                let reason = "control closed the connection before it reported all results";
                return Err((reason.to_owned(), Exit::Failed));
            }
        }
        Ok(())
    }

    /// On a terminal only.
    fn bar(&self) -> ProgressBar {
        if self.control.json || !std::io::stderr().is_terminal() {
            return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {eta}") {
            bar.set_style(style);
        }
        bar
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        warm: Warm,
    }

    fn parse(arguments: &str) -> Result<Warm, clap::Error> {
        Line::try_parse_from(["warm"].into_iter().chain(arguments.split_whitespace()))
            .map(|line| line.warm)
    }

    #[test]
    fn a_rate_is_a_number_a_second() {
        assert_eq!(parse("http://h/").unwrap().rate, Rate(50));
        assert_eq!(parse("http://h/ --rate 7").unwrap().rate, Rate(7));
        assert_eq!(parse("--file f --rate 10000/s").unwrap().rate, Rate(10_000));
        for wrong in ["", "--rate 7", "http://h/ --rate 0", "http://h/ --rate 10001/s"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse("http://h/ --tier origin").is_err());
    }

    #[tokio::test]
    async fn what_is_named_twice_is_fetched_once() {
        let urls = parse("http://h/b http://h/a http://h/b").unwrap().urls().await.unwrap();
        assert_eq!(urls, ["http://h/b", "http://h/a"]);
    }
}
