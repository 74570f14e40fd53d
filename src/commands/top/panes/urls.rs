//! Stored responses with the most hits.

use super::{names, without};
use crate::commands::top::figures::{Object, Popular};
use crate::commands::top::listing::{Cell, Column, Listing, Tone};
use crate::commands::top::words::{bytes, count, seconds};

pub(super) const ORDERS: [&str; 4] = ["hits", "size", "TTL", "URL"];

pub(super) fn listing(popular: &Popular, order: &str) -> Listing {
    let mut objects: Vec<_> = popular.objects.iter().collect();
    match order {
        "size" => objects.sort_by_key(|object| std::cmp::Reverse(object.bytes)),
        "TTL" => objects.sort_by_key(|object| object.ttl_seconds),
        "URL" => objects.sort_by(|a, b| a.url.cmp(&b.url)),
        // As control lists them.
        _ => {}
    }
    Listing {
        title: format!("popular stored responses, by {order}{}", without(&popular.nodes)),
        summary: None,
        columns: vec![
            Column::right("HITS", 0),
            Column::right("SIZE", 3),
            Column::right("CODE", 5),
            Column::right("AGE", 6),
            Column::right("TTL", 1),
            Column::left("ON", 4).at_most(16),
            Column::rest("URL", 48),
            Column::left("TAGS", 8).at_most(48),
        ],
        rows: objects.into_iter().map(row).collect(),
        empty: "nothing is stored on any edge",
    }
}

fn row(object: &Object) -> Vec<Cell> {
    let left = object.ttl_seconds;
    let ttl = match left {
        0.. => Cell::plain(seconds(left.unsigned_abs())),
        _ => Cell::new(format!("-{}", seconds(left.unsigned_abs())), Tone::Warn),
    };
    vec![
        Cell::plain(count(object.hits)),
        Cell::plain(bytes(object.bytes as f64)),
        Cell::plain(object.status.to_string()),
        Cell::plain(seconds(object.age_seconds)),
        ttl,
        Cell::plain(names(&object.nodes)),
        Cell::plain(&object.url),
        Cell::new(object.tags.join(" "), Tone::Faint),
    ]
}
