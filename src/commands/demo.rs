//! `weir demo`: a whole topology in one process, with visitors, to look at and to try things on.

mod topology;
mod traffic;
mod tries;

use super::running::{self, Reactions, Refused, Signals};
use super::{Exit, complain, print};
use crate::settings::{Part, Settings};
use clap::Args;
use std::sync::Arc;
use tokio::sync::watch;
use topology::Topology;
use traffic::Traffic;
use weir_config::Config;

/// Highest rate of traffic, requests per second: it is a demo, not a load test.
const MOST_RATE: u32 = 1000;

/// Run a demo in one process: an origin, control, two parents and three edges
///
/// Everything runs on this machine, with some traffic, and with the log of purges in memory. Prints
/// the addresses and five things to try. SIGTERM or SIGINT stops it, and so does closing its terminal.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Requests per second, or "off"
    #[arg(long, value_name = "RATE", default_value_t = Rate(30), value_parser = rate)]
    traffic: Rate,
}

/// Requests a second; none at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate(u32);

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

fn rate(text: &str) -> Result<Rate, String> {
    if text == "off" {
        return Ok(Rate(0));
    }
    let number = text.strip_suffix("/s").unwrap_or(text).parse::<u32>().ok();
    let known = number.filter(|rate| (1..=MOST_RATE).contains(rate));
    known.map(Rate).ok_or_else(|| format!("neither \"off\" nor from 1/s to {MOST_RATE}/s"))
}

impl Demo {
    pub(super) fn run(self) -> Exit {
        let Self { traffic } = self;
        let text = Some(topology::CONTROL.to_owned());
        running::run(Settings { part: Part::Any, text, ..Settings::default() }, move |c, s, g| {
            run(c, s, g, traffic)
        })
    }
}

async fn run(
    config: Config,
    settings: Settings,
    signals: Signals,
    Rate(rate): Rate,
) -> Result<Exit, Refused> {
    let failed = |error: String| complain(&error, Exit::Failed);
    let topology = Topology::start(config, settings).await.map_err(failed)?;
    let traffic = match rate {
        0 => None,
        rate => Some(
            Traffic::start(rate, topology.edges())
                .map_err(|error| failed(format!("cannot start the traffic: {error}")))?,
        ),
    };
    print(&tries::announcement(&topology, rate));
    let control = topology.control();
    let end = async {
        if let Some(traffic) = traffic {
            traffic.end().await;
        }
        topology.end().await;
    };
    let reactions = Reactions {
        reload: Arc::new(move || drop(control.reload())),
        upgrade: Arc::new(|| tracing::error!("not upgraded: a demo is stopped and started")),
        taken: watch::Sender::new(false).subscribe(),
    };
    Ok(signals.serve(reactions, end).await)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_traffic_is_a_number_or_off() {
        for (text, expected) in [("off", 0), ("1", 1), ("50/s", 50), ("1000/s", 1000)] {
            assert_eq!(rate(text), Ok(Rate(expected)), "{text}");
        }
        for text in ["0", "1001", "-1", "on", "", "/s"] {
            assert!(rate(text).unwrap_err().contains("neither \"off\" nor"), "{text}");
        }
    }
}
