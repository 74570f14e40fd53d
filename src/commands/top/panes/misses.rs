//! What was not answered from the store, and why.

use super::{names, without};
use crate::commands::top::figures::{Missed, Uncached};
use crate::commands::top::listing::{Cell, Column, Listing, Summary, Tone};
use crate::commands::top::words::{UNKNOWN, count, rate, seconds};
use std::collections::BTreeMap;

pub(super) const ORDERS: [&str; 3] = ["latest", "reason", "URL"];

/// `results` are the edges' answers a second, by what became of them.
pub(super) fn listing(
    uncached: &Uncached,
    results: Option<&BTreeMap<String, f64>>,
    order: &str,
) -> Listing {
    let mut urls: Vec<_> = uncached.urls.iter().collect();
    match order {
        "reason" => urls.sort_by(|a, b| a.reason.cmp(&b.reason)),
        "URL" => urls.sort_by(|a, b| a.url.cmp(&b.url)),
        // As control lists them.
        _ => {}
    }
    Listing {
        title: format!("not stored, by {order}{}", without(&uncached.nodes)),
        summary: Some(summary(uncached, results)),
        columns: vec![
            Column::right("AGO", 2),
            Column::right("CODE", 4),
            Column::left("REASON", 0).at_most(24),
            Column::left("ON", 5).at_most(16),
            Column::rest("URL", 36),
            Column::left("WHY", 6).at_most(72),
        ],
        rows: urls.into_iter().map(row).collect(),
        empty: "all recent fetches were stored",
    }
}

fn row(missed: &Missed) -> Vec<Cell> {
    let status = missed.status.map_or_else(|| UNKNOWN.to_owned(), |status| status.to_string());
    vec![
        Cell::plain(seconds(missed.seconds_ago)),
        Cell::plain(status),
        Cell::new(&missed.reason, Tone::Warn),
        Cell::plain(names(&missed.nodes)),
        Cell::plain(&missed.url),
        Cell::new(&missed.sentence, Tone::Faint),
    ]
}

/// Recent misses by cache result, and the reasons for not storing since the nodes started.
fn summary(uncached: &Uncached, results: Option<&BTreeMap<String, f64>>) -> Summary {
    let missed = results.into_iter().flatten().filter(|(result, _)| *result != "hit");
    let mut missed: Vec<_> = missed.collect();
    missed.sort_by(|a, b| b.1.total_cmp(a.1));
    let missed = missed.into_iter().map(|(result, often)| format!("{result} {}/s", rate(*often)));
    let reasons = uncached.reasons.iter().filter(|reason| reason.count > 0);
    let reasons = reasons.map(|reason| format!("{} {}", reason.reason, count(reason.count)));
    Summary::new([("now", missed.collect()), ("not stored", reasons.collect())])
}
