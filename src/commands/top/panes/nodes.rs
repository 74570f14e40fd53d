//! Nodes, each tier under a line of its own.

use crate::commands::top::figures::{DiskFigures, NodeFigures, Rates, Stats};
use crate::commands::top::listing::{Cell, Column, Listing, Tone};
use crate::commands::top::words::{UNKNOWN, bytes, count, millis, rate, seconds, share};
use std::cmp::Ordering;

pub(super) const ORDERS: [&str; 5] = ["name", "requests", "fewest hits", "slowest", "errors"];

pub(super) fn listing(stats: &Stats, order: &str) -> Listing {
    let mut rows = Vec::new();
    let disks = || stats.by_node.iter().filter_map(|node| node.disk);
    let has_disk = disks().next().is_some();
    let set_aside: u64 = disks().map(|disk| disk.set_aside).fold(0, u64::saturating_add);
    for tier in &stats.tiers {
        let mut nodes: Vec<_> =
            stats.by_node.iter().filter(|node| node.tier == tier.tier).collect();
        nodes.sort_by(|a, b| compared(a, b, order).then_with(|| a.name.cmp(&b.name)));
        let present = || nodes.iter().filter(|node| node.state == "connected");
        let connected = present().count();
        let all = connected == nodes.len();
        let whole = Row {
            name: Cell::new(format!("{} \u{d7}{}", tier.tier, nodes.len()), Tone::Strong),
            region: "",
            state: match all {
                true => Cell::plain(""),
                false => Cell::new(format!("{connected} of {}", nodes.len()), Tone::Bad),
            },
            rates: &tier.rates,
            stored: in_store(tier.stored, tier.stored_bytes, tier.capacity_bytes),
            disk: tier.disk,
            lag: nodes.iter().filter_map(|node| node.lag).max(),
            connections: present().map(|node| node.connections).sum(),
            uptime: None,
        };
        rows.push(whole.row(has_disk));
        rows.extend(nodes.into_iter().map(|node| Row::of(node).row(has_disk)));
    }
    let connected = stats.by_node.iter().filter(|node| node.state == "connected").count();
    let warning = match set_aside {
        0 => String::new(),
        1 => "; 1 disk directory set aside".to_owned(),
        many => format!("; {many} disk directories set aside"),
    };
    // A directory that is set aside is seen at any width.
    let disk = Column::right("DISK", if set_aside > 0 { 0 } else { 7 });
    let disk = [disk, Column::right("ON DISK", 9)].into_iter().filter(|_| has_disk);
    Listing {
        title: format!("{connected} of {} connected, by {order}{warning}", stats.by_node.len()),
        summary: None,
        columns: [
            Column::rest("NODE", 14),
            Column::left("REGION", 9).at_most(12),
            Column::left("STATE", 4),
            Column::right("REQ/S", 0),
            Column::right("HITS", 0),
            Column::right("P50 MS", 3),
            Column::right("P99 MS", 1),
            Column::right("UP/S", 5),
            Column::right("ERR/S", 1),
            Column::right("MEM", 6),
            Column::right("USED", 8),
            Column::right("STORED", 10),
        ]
        .into_iter()
        .chain(disk)
        .chain([
            Column::right("OUT/S", 11),
            Column::right("CONNS", 12),
            Column::right("UPTIME", 13),
            Column::right("LAG", 2),
        ])
        .collect(),
        rows,
        empty: "no node is expected: none has joined yet",
    }
}

/// Most first, except for names and hits; who has no figure is last.
fn compared(a: &NodeFigures, b: &NodeFigures, order: &str) -> Ordering {
    let most = |of: fn(&Rates) -> Option<f64>| {
        let known = |node: &NodeFigures| of(&node.rates).unwrap_or(-1.0);
        known(b).total_cmp(&known(a))
    };
    match order {
        "requests" => most(|rates| rates.requests_per_second),
        "fewest hits" => most(|rates| rates.hit_ratio.map(|ratio| 1.0 - ratio)),
        "slowest" => most(|rates| rates.p99_ms),
        "errors" => most(|rates| rates.errors_per_second),
        _ => Ordering::Equal,
    }
}

/// Responses, their bytes, and how many bytes there may be, if all of that is told.
fn in_store(
    stored: Option<u64>,
    bytes: Option<u64>,
    capacity: Option<u64>,
) -> Option<(u64, u64, u64)> {
    Some((stored?, bytes?, capacity?))
}

/// A row before it is in words.
struct Row<'a> {
    name: Cell,
    region: &'a str,
    state: Cell,
    rates: &'a Rates,
    /// Responses, their bytes, and how many bytes there may be.
    stored: Option<(u64, u64, u64)>,
    disk: Option<DiskFigures>,
    lag: Option<u64>,
    connections: Option<u64>,
    uptime: Option<u64>,
}

impl<'a> Row<'a> {
    fn of(node: &'a NodeFigures) -> Self {
        let tone = match node.state.as_str() {
            "connected" => Tone::Good,
            "offline" => Tone::Bad,
            _ => Tone::Warn,
        };
        Self {
            name: Cell::plain(format!("  {}", node.name)),
            region: &node.region,
            state: Cell::new(&node.state, tone),
            rates: &node.rates,
            stored: in_store(node.stored, node.stored_bytes, node.capacity_bytes),
            disk: node.disk,
            lag: node.lag,
            connections: node.connections,
            uptime: node.uptime_seconds,
        }
    }

    fn row(self, has_disk: bool) -> Vec<Cell> {
        let Self { name, region, state, rates, stored, disk, lag, connections, uptime } = self;
        let shown = |figure: Option<f64>, words: fn(f64) -> String| {
            figure.map_or_else(
                || Cell::new(UNKNOWN, Tone::Faint),
                |figure| Cell::plain(words(figure)),
            )
        };
        let number = |figure: Option<u64>, words: fn(u64) -> String| {
            figure.map_or_else(
                || Cell::new(UNKNOWN, Tone::Faint),
                |figure| Cell::plain(words(figure)),
            )
        };
        let errors = match rates.errors_per_second {
            Some(errors) if errors > 0.0 => Cell::new(rate(errors), Tone::Bad),
            errors => shown(errors, rate),
        };
        let lag = match lag {
            Some(lag) if lag > 0 => Cell::new(count(lag), Tone::Warn),
            lag => number(lag, count),
        };
        let filled = |bytes: u64, capacity: u64| {
            (capacity > 0).then(|| format!("{:.0} %", 100.0 * bytes as f64 / capacity as f64))
        };
        let unknown = || Cell::new(UNKNOWN, Tone::Faint);
        let used = stored.and_then(|(_, bytes, capacity)| filled(bytes, capacity));
        let on_disk = match disk {
            Some(DiskFigures { set_aside, directories, .. }) if set_aside > 0 => {
                Cell::new(format!("{set_aside}/{directories} out"), Tone::Bad)
            }
            Some(disk) => {
                filled(disk.stored_bytes, disk.capacity_bytes).map_or_else(unknown, Cell::plain)
            }
            None => unknown(),
        };
        let disk = [on_disk, shown(disk.map(|disk| disk.stored_bytes as f64), bytes)];
        let first = [
            name,
            Cell::plain(region),
            state,
            shown(rates.requests_per_second, rate),
            shown(rates.hit_ratio, share),
            shown(rates.p50_ms, millis),
            shown(rates.p99_ms, millis),
            shown(rates.upstream_per_second, rate),
            errors,
            used.map_or_else(unknown, Cell::plain),
            shown(stored.map(|(_, used, _)| used as f64), bytes),
            number(stored.map(|(stored, ..)| stored), count),
        ];
        let last = [
            shown(rates.bytes_per_second, bytes),
            number(connections, count),
            number(uptime, seconds),
            lag,
        ];
        first.into_iter().chain(disk.into_iter().filter(|_| has_disk)).chain(last).collect()
    }
}
