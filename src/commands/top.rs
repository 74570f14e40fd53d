//! `weir top`: live figures of all nodes in the terminal.

mod chart;
mod draw;
mod figures;
mod layout;
mod listing;
mod live;
mod panes;
mod poll;
mod range;
mod state;
#[cfg(test)]
mod tests;
mod words;

use super::{ControlArgs, Exit, complain, print, print_json};
use crate::client::Client;
use crate::text::{Paint, columns, harmless};
use clap::Args;
use panes::Pane;
use poll::Failure;
use range::Range;
use serde_json::{Map, Value};
use state::State;
use std::io::IsTerminal;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};
use weir_config::units::parse_duration;
use weir_control::timestamp::rfc3339;

/// Shortest and longest pause between two looks.
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// Show live figures of all nodes: traffic, popular URLs, misses, purges
///
/// Press q to quit, ? for the other keys. If standard output is not a terminal, prints the current
/// figures once and exits.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Interval between updates, from 500ms to 1m
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = pause)]
    every: Duration,
    /// Range of the totals: 10m, 1h, 24h, 7d or 30d
    #[arg(long, value_name = "RANGE", default_value = "10m", value_parser = range::Range::from_str)]
    range: Range,
    /// Print the current figures once and exit
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    control: ControlArgs,
}

fn pause(text: &str) -> Result<Duration, String> {
    let pause = parse_duration(text)?;
    let accepted = (SHORTEST..=LONGEST).contains(&pause);
    accepted.then_some(pause).ok_or_else(|| "not from 500ms to 1m".to_owned())
}

impl Top {
    pub(super) async fn run(self) -> Exit {
        let client = match self.control.client() {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let mut state = State::new(self.control.control.clone(), self.every, Instant::now());
        state.range = self.range;
        let paint = Paint::for_stdout();
        let shown = if self.control.json {
            snapshot(&client, self.range).await.map(|snapshot| print_json(&self.dated(snapshot)))
        } else if self.once || !std::io::stdout().is_terminal() {
            let snapshot = snapshot(&client, self.range).await;
            snapshot.map(|snapshot| print(&printed(state, snapshot, paint)))
        } else {
            live::run(&client, state, paint.is_coloured()).await
        };
        shown.map_or_else(|reason| complain(&harmless(&reason), Exit::Failed), |()| Exit::Done)
    }

    /// A snapshot with where and when it was taken.
    fn dated(&self, snapshot: Map<String, Value>) -> Value {
        let taken = [
            ("control".to_owned(), Value::from(self.control.control.as_str())),
            ("at".to_owned(), Value::from(rfc3339(SystemTime::now()))),
        ];
        Value::Object(taken.into_iter().chain(snapshot).collect())
    }
}

async fn snapshot(client: &Client, range: Range) -> Result<Map<String, Value>, String> {
    poll::snapshot(client, range).await.map_err(|failure| match failure {
        Failure::Refused(reason) | Failure::Trouble(reason) => reason,
    })
}

/// All panes in full, one below the other.
fn printed(mut state: State, snapshot: Map<String, Value>, paint: Paint) -> String {
    let now = Instant::now();
    for (name, body) in snapshot {
        if let Some(call) = poll::named(&name) {
            state.figures.take(call, Ok(body), now);
        }
    }
    let mut rows = vec![("control", harmless(&state.control))];
    if let Some(stats) = state.figures.stats.told() {
        rows.push(("nodes", draw::nodes(stats)));
        rows.push(("traffic", draw::traffic(&stats.traffic)));
    }
    if let Some(totals) = state.figures.traffic.told().and_then(|told| told.totals.as_ref()) {
        rows.push(("totals", format!("{}  {}", state.range.name(), totals.words().join("  "))));
    }
    rows.extend(state.trouble(now).map(|trouble| ("trouble", paint.bad(&harmless(&trouble)))));
    let mut printed = columns(&rows);
    for pane in Pane::ALL {
        let Some(listing) = state.listing(pane) else { continue };
        printed.push_str(&format!("\n{}: {}\n", pane.name(), listing.title));
        printed.extend(listing.summary.iter().map(|summary| format!("{}\n", summary.full())));
        printed.push_str(&listing.printed(paint));
    }
    printed
}
