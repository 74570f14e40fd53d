//! What a simulation came to, in words and as JSON.

use super::{Simulated, warn_of};
use crate::text::{Align, table};
use serde_json::{Value, json};
use weir_config::units::format_size;
use weir_simulation::estimate::Estimate;
use weir_simulation::topology::Outcome;

/// Columns of a full bar.
const BAR: usize = 24;

pub(super) fn words(simulated: &Simulated) -> String {
    let Simulated { survey, sample, layout, outcomes } = simulated;
    warn_of(survey.unknown);
    let about = if survey.urls() > 4_096 { "about " } else { "" };
    let mut words = format!(
        "{} requests for {about}{} URLs, {}; {} other requests left out\n",
        grouped(survey.requests as f64),
        grouped(survey.urls() as f64),
        bytes(survey.bytes as f64),
        grouped(survey.passed as f64),
    );
    if sample.rate() < 1.0 {
        let rate = sample.rate() * 100.0;
        words.push_str(&format!(
            "{rate:.3} % of the URLs were simulated; ± is for 95 % confidence\n"
        ));
    }
    words.push('\n');
    let has_tiers = layout.parents > 0;
    let has_disk = outcomes.iter().any(|outcome| outcome.stores.disk.is_some());
    let mut head = vec!["memory"];
    if has_disk {
        head.push("disk");
    }
    head.push("hits");
    if has_tiers {
        head.push("at edges");
    }
    if has_disk {
        head.push("from disk");
    }
    head.extend(["bytes from hits", "origin requests", "origin bytes"]);
    if has_tiers {
        head.extend(["parent requests", "parent bytes"]);
    }
    head.push("");
    let rows: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            let mut cells = vec![format_size(outcome.stores.memory)];
            if has_disk {
                cells.push(outcome.stores.disk.map_or("-".to_owned(), format_size));
            }
            cells.push(percent(outcome.hit_ratio));
            if has_tiers {
                cells.push(percent(outcome.edge_hit_ratio));
            }
            if has_disk {
                cells.push(percent(outcome.edge_disk_ratio));
            }
            cells.push(percent(outcome.byte_hit_ratio));
            cells.push(grouped(outcome.origin_requests.value));
            cells.push(bytes(outcome.origin_bytes.value));
            if has_tiers {
                cells.push(grouped(outcome.parent_requests.value));
                cells.push(bytes(outcome.parent_bytes.value));
            }
            cells.push(bar(outcome.hit_ratio.value));
            cells.into_iter().map(|cell| (cell, None)).collect()
        })
        .collect();
    let last = head.len() - 1;
    let align = |column| if column == last { Align::Left } else { Align::Right };
    words.push_str(&table(&head, &rows, align));
    words
}

pub(super) fn json(simulated: &Simulated) -> Value {
    let Simulated { survey, sample, layout, outcomes } = simulated;
    let estimate = |of: &Estimate| json!({ "value": of.value, "error": of.error });
    let outcome = |of: &Outcome| {
        let mut shown = json!({
            "memory": of.stores.memory,
            "disk": of.stores.disk,
            "hit_ratio": estimate(&of.hit_ratio),
            "byte_hit_ratio": estimate(&of.byte_hit_ratio),
            "edge_hit_ratio": estimate(&of.edge_hit_ratio),
            "edge_disk_hit_ratio": estimate(&of.edge_disk_ratio),
            "origin_requests": estimate(&of.origin_requests),
            "origin_bytes": estimate(&of.origin_bytes),
        });
        if layout.parents > 0 {
            shown["parent_requests"] = estimate(&of.parent_requests);
            shown["parent_bytes"] = estimate(&of.parent_bytes);
        }
        shown
    };
    json!({
        "requests": survey.requests,
        "bytes": survey.bytes,
        "urls": survey.urls(),
        "passed": survey.passed,
        "unknown_lines": survey.unknown,
        "seconds": survey.seconds(),
        "sample": sample.rate(),
        "edges": layout.edges,
        "parents": layout.parents,
        "sizes": outcomes.iter().map(outcome).collect::<Vec<_>>(),
    })
}

fn percent(of: Estimate) -> String {
    match of.error > 0.0 {
        true => format!("{:.1} % ± {:.1}", of.value * 100.0, of.error * 100.0),
        false => format!("{:.1} %", of.value * 100.0),
    }
}

/// A share as a bar, to an eighth of a column.
fn bar(share: f64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * (BAR * 8) as f64).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

/// A number with commas.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Bytes to three digits: [`format_size`] is exact.
fn bytes(number: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut number, mut unit) = (number, 0);
    while number >= 1_000.0 && unit + 1 < units.len() {
        number /= 1_024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{number:.0} B"),
        _ if number < 10.0 => format!("{number:.2} {}", units[unit]),
        _ if number < 100.0 => format!("{number:.1} {}", units[unit]),
        _ => format!("{number:.0} {}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_bars_as_long_as_their_share() {
        assert_eq!(
            [0.0, 999.0, 1_000.0, 1_234_567.4].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        let sizes = [0.0, 999.0, 1_023.0, 1_536.0, 20.0 * 1_048_576.0, 1e15];
        assert_eq!(
            sizes.map(bytes),
            ["0 B", "999 B", "1.00 KiB", "1.50 KiB", "20.0 MiB", "909 TiB"]
        );
        assert_eq!([0.0, 1.0, 2.0].map(bar), [String::new(), "█".repeat(BAR), "█".repeat(BAR)]);
        assert_eq!(bar(0.5), "█".repeat(BAR / 2));
        assert_eq!(bar(1.0 / (8 * BAR) as f64), "▏");
        assert_eq!(percent(Estimate { value: 0.5, error: 0.0 }), "50.0 %");
        assert_eq!(percent(Estimate { value: 0.5, error: 0.0123 }), "50.0 % ± 1.2");
    }
}
