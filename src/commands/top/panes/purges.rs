//! The latest purges, and the nodes that incomplete ones are waiting for.

use crate::commands::purges::what;
use crate::commands::top::figures::{Purge, Purges};
use crate::commands::top::listing::{Cell, Column, Listing, Tone};
use crate::commands::top::words::{UNKNOWN, count, took};
use serde_json::Value;

pub(super) const ORDERS: [&str; 2] = ["latest", "open first"];

/// Most nodes that are named in one row.
const NAMED: usize = 2;

pub(super) fn listing(purges: &Purges, order: &str) -> Listing {
    let mut listed: Vec<_> = purges.purges.iter().rev().collect();
    if order == "open first" {
        listed.sort_by_key(|purge| purge.status == "completed");
    }
    let open = listed.iter().filter(|purge| purge.status != "completed").count();
    let open = if open == 0 { "all completed".to_owned() } else { format!("{open} open") };
    Listing {
        title: format!("{open}, {order}"),
        summary: None,
        columns: vec![
            Column::right("SEQ", 2),
            Column::left("AT (UTC)", 3),
            Column::right("NODES", 1),
            Column::right("TOOK", 1),
            Column::right("MATCHED", 4),
            Column::left("STATUS", 0).at_most(44),
            Column::rest("WHAT", 16),
        ],
        rows: listed.into_iter().map(row).collect(),
        empty: "there are no purges",
    }
}

fn row(purge: &Purge) -> Vec<Cell> {
    let applied = purge.nodes.iter().filter(|node| node.state == "applied").count();
    let (applied, total) = match purge.nodes_total {
        Some(total) => (total.saturating_sub(purge.nodes_lagging), total),
        None => (applied, purge.nodes.len()),
    };
    let matched = match purge.matched {
        Some(matched) => matched,
        None => purge.nodes.iter().map(|node| node.matched).sum(),
    };
    // 2026-11-21T21:47:52.372Z
    let at = purge.created_at.get(11..19).unwrap_or(UNKNOWN);
    let status = match purge.status.as_str() {
        "completed" => Cell::new("completed", Tone::Good),
        _ => Cell::new(waits_for(purge), Tone::Warn),
    };
    vec![
        Cell::plain(purge.seq.to_string()),
        Cell::plain(at),
        Cell::plain(format!("{applied}/{total}")),
        Cell::plain(took(purge.elapsed_ms)),
        Cell::plain(matched.map_or_else(|| UNKNOWN.to_owned(), count)),
        status,
        Cell::plain(what(&Value::Object(purge.named.clone()))),
    ]
}

fn waits_for(purge: &Purge) -> String {
    let awaited = |state: &str| !["applied", "lease_over"].contains(&state);
    let open: Vec<_> = purge.nodes.iter().filter(|node| awaited(&node.state)).collect();
    let named = open.iter().take(NAMED).map(|node| match node.state.as_str() {
        "offline" => format!("{} (offline)", node.name),
        _ => node.name.clone(),
    });
    let mut words = format!("pending: {}", named.collect::<Vec<_>>().join(", "));
    // Of many nodes not all of those that lag are listed.
    let unlisted = purge.nodes_lagging.saturating_sub(purge.nodes.len());
    let more = open.len().saturating_sub(NAMED) + unlisted;
    if more > 0 {
        words.push_str(&format!(" and {more} more"));
    }
    words
}
