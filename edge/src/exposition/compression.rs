//! What a node compresses.

use super::Text;
use crate::coding::{CodingCounts, Undone};
use std::fmt::Write;
use weir_rules::coding::Coding;

pub(super) fn compression(text: &mut Text, counts: &CodingCounts) {
    let name = "weir_compressions_total";
    text.metric(name, "counter", "Stored responses compressed, by coding.");
    for coding in Coding::ALL {
        text.sample(name, &[("coding", coding.name())], counts.made[coding.index()]);
    }
    let name = "weir_compressions_undone_total";
    let help = "Stored responses not compressed, by reason: queue-full (limits.compress_queue), no-room (too many \
                bodies on their way into the store), gone (no longer stored), useless (hardly smaller).";
    text.metric(name, "counter", help);
    for why in Undone::ALL {
        text.sample(name, &[("reason", why.word())], counts.undone[why as usize]);
    }
    let name = "weir_compression_bytes_total";
    text.metric(
        name,
        "counter",
        "Bytes of the stored responses that were compressed (in), and of the results (out).",
    );
    text.sample(name, &[("direction", "in")], counts.bytes_in);
    text.sample(name, &[("direction", "out")], counts.bytes_out);
    let name = "weir_compression_seconds_total";
    text.metric(name, "counter", "Time of all threads that compress, in seconds.");
    text.series(name, &[]);
    let (seconds, micros) = (counts.micros / 1_000_000, counts.micros % 1_000_000);
    let _ = writeln!(text.out, " {seconds}.{micros:06}");
    let name = "weir_compression_queue";
    text.metric(name, "gauge", "Stored responses that wait to be compressed.");
    text.sample(name, &[], counts.waiting);
}
