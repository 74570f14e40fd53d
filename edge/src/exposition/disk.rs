//! The disk store.

use super::{Text, seconds};
use crate::disk::DiskCounts;
use std::fmt::Write;
use std::time::Duration;
use weir_store::Latency;

/// A metric of the whole store: name, type, help, and how it is read.
type Metric = (&'static str, &'static str, &'static str, fn(&DiskCounts) -> u64);

const METRICS: [Metric; 24] = [
    ("weir_disk_used_bytes", "gauge", "Bytes that the disk store has in use.", |disk| disk.used),
    ("weir_disk_limit_bytes", "gauge", "Bytes that the disk store may use.", |disk| disk.size),
    ("weir_disk_responses", "gauge", "Responses that the disk store holds.", |disk| disk.responses),
    ("weir_disk_slices", "gauge", "Slices of longer bodies that the disk store holds.", |disk| {
        disk.slices
    }),
    (
        "weir_disk_hits_total",
        "counter",
        "Requests for which a response was found on disk and not in memory, stale ones included.",
        |disk| disk.hits,
    ),
    ("weir_disk_promoted_total", "counter", "Responses brought from disk into memory.", |disk| {
        disk.promoted
    }),
    (
        "weir_disk_unread_total",
        "counter",
        "Reads of responses that failed, came too late or found too many others waiting. Each was a \
         miss.",
        |disk| disk.unread,
    ),
    ("weir_disk_reads_total", "counter", "Records read, or sent by the kernel.", |disk| {
        disk.store.reads
    }),
    ("weir_disk_read_bytes_total", "counter", "Bytes of records read.", |disk| {
        disk.store.bytes_read
    }),
    (
        "weir_disk_sent_bytes_total",
        "counter",
        "Bytes of bodies that the kernel sent from the page cache; they are not read.",
        |disk| disk.store.bytes_sent,
    ),
    ("weir_disk_writes_total", "counter", "Records written, moved ones included.", |disk| {
        disk.store.writes
    }),
    ("weir_disk_written_bytes_total", "counter", "Bytes written to segments.", |disk| {
        disk.store.bytes_written
    }),
    (
        "weir_disk_admitted_bytes_total",
        "counter",
        "Bytes of keys, fields, tags and bodies that were written for the first time.",
        |disk| disk.store.bytes_admitted,
    ),
    ("weir_disk_admitted_total", "counter", "Responses written.", |disk| disk.store.admitted),
    (
        "weir_disk_refused_total",
        "counter",
        "Records not taken because disk.queue was full, or because they were too large.",
        |disk| disk.store.refused,
    ),
    (
        "weir_disk_dropped_total",
        "counter",
        "Responses taken and not written: replaced, removed, or not covered by a checkpoint in time.",
        |disk| disk.store.dropped,
    ),
    ("weir_disk_evicted_total", "counter", "Records evicted to make room.", |disk| {
        disk.store.evicted
    }),
    (
        "weir_disk_moved_total",
        "counter",
        "Records moved to a newer segment because they had been hit since they were written.",
        |disk| disk.store.moved,
    ),
    (
        "weir_disk_removed_total",
        "counter",
        "Records removed: replaced, purged or invalidated.",
        |disk| disk.store.removed,
    ),
    ("weir_disk_errors_total", "counter", "Reads and writes that failed.", |disk| {
        disk.store.errors
    }),
    (
        "weir_disk_damaged_total",
        "counter",
        "Records whose checksum was wrong. Each was a miss.",
        |disk| disk.store.damaged,
    ),
    ("weir_disk_recovered_total", "counter", "Records found when the store was opened.", |disk| {
        disk.store.recovered
    }),
    (
        "weir_disk_unchecked_entries",
        "gauge",
        "Entries of the invalidation log that not everything on disk was checked against yet.",
        |disk| disk.unchecked,
    ),
    (
        "weir_disk_unsafe_at_risk_total",
        "counter",
        "Unsafe requests answered although it is not certain that what they removed stays removed \
         after a crash.",
        |disk| disk.at_risk,
    ),
];

/// A histogram of the whole store: name, help, and how it is read.
type LatencyMetric = (&'static str, &'static str, fn(&DiskCounts) -> &Latency);

const LATENCIES: [LatencyMetric; 3] = [
    (
        "weir_disk_read_seconds",
        "Seconds that a read took that had to wait for the device; reads from the page cache are not \
         counted.",
        |disk| &disk.latencies.reads,
    ),
    (
        "weir_disk_write_seconds",
        "Seconds that a write took, into the page cache or to the device.",
        |disk| &disk.latencies.writes,
    ),
    (
        "weir_disk_sync_seconds",
        "Seconds that it took until what was written was durable.",
        |disk| &disk.latencies.syncs,
    ),
];

const UP: &str = "weir_disk_directory_up";

/// Writes the metrics of the disk store.
pub(super) fn disk(text: &mut Text, disk: &DiskCounts) {
    for (name, kind, help, read) in METRICS {
        text.metric(name, kind, help);
        text.sample(name, &[], read(disk));
    }
    for (name, help, read) in LATENCIES {
        text.metric(name, "histogram", help);
        let (latency, bucket) = (read(disk), format!("{name}_bucket"));
        for (bound, count) in latency.cumulative() {
            text.sample(&bucket, &[("le", &shown(bound))], count);
        }
        text.sample(&bucket, &[("le", "+Inf")], latency.count());
        text.series(&format!("{name}_sum"), &[]);
        // Writing to a String cannot fail.
        let _ = writeln!(text.out, " {}", shown(latency.sum()));
        text.sample(&format!("{name}_count"), &[], latency.count());
    }
    text.metric(
        UP,
        "gauge",
        "1 for a directory of the disk store that works, 0 for one set aside.",
    );
    for (name, status) in &disk.directories {
        text.sample(UP, &[("directory", name)], u64::from(status.is_working()));
    }
}

/// As decimal seconds.
fn shown(duration: Duration) -> String {
    seconds(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}
