//! The certificates of names that are served by https.

use crate::commands::certificates::{SOON, within};
use crate::commands::top::figures::{Certificate, Certificates};
use crate::commands::top::listing::{Cell, Column, Listing, Tone};
use crate::commands::top::words::UNKNOWN;
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) const ORDERS: [&str; 2] = ["by expiry", "by name"];

pub(super) fn listing(told: &Certificates, order: &str, now: SystemTime) -> Listing {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut listed: Vec<_> = told.certificates.iter().collect();
    match order {
        "by name" => listed.sort_by_key(|one| one.shown()),
        // Names without one come first: nobody is served there.
        _ => listed.sort_by_key(|one| (one.expires, one.shown())),
    }
    let failing = listed.iter().filter(|one| one.error.is_some()).count();
    let failing = if failing == 0 { String::new() } else { format!(", {failing} with an error") };
    Listing {
        title: format!("certificates{failing}, {order}"),
        summary: None,
        columns: vec![
            Column::left("NAME", 0).at_most(40),
            Column::left("SOURCE", 2),
            Column::left("EXPIRES", 0),
            Column::left("RENEWS", 1),
            Column::rest("LAST ERROR", 16),
        ],
        rows: listed.into_iter().map(|one| row(one, now)).collect(),
        empty: "no certificates: [tls] is not configured",
    }
}

fn row(one: &Certificate, now: u64) -> Vec<Cell> {
    let expires = match one.expires {
        None => Cell::new("none yet", Tone::Warn),
        Some(at) if at < now.saturating_add(SOON) => Cell::new(within(at, now), Tone::Bad),
        Some(at) => Cell::plain(within(at, now)),
    };
    let error = match &one.error {
        Some(error) => Cell::new(error, Tone::Warn),
        None => Cell::new(UNKNOWN, Tone::Faint),
    };
    vec![
        Cell::plain(one.shown()),
        Cell::plain(if one.source == "file" { "file" } else { "acme" }),
        expires,
        Cell::plain(one.renews.map_or_else(|| UNKNOWN.to_owned(), |at| within(at, now))),
        error,
    ]
}
