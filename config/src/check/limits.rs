//! `[limits]`: a bound on everything that grows.

use crate::Limits;
use crate::section::Section;
use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

pub(super) fn limits(mut s: Section<'_>) -> Limits {
    let secs = Duration::from_secs;
    let connections = s.count("connections", 16_384, 1..=10_000_000);
    let limits = Limits {
        connections,
        private_clients: s.boolean("private_clients", false),
        header_bytes: s.size("header_bytes", 32 * 1024, KIB..=16 * MIB),
        header_fields: s.count("header_fields", 100, 8..=10_000),
        target_bytes: s.size("target_bytes", 8 * 1024, 256..=MIB),
        body_bytes: s.size("body_bytes", 1 << 30, 0..=(1 << 50)),
        idle: s.duration("idle", secs(75), SECOND..=24 * HOUR),
        header_timeout: s.duration("header_timeout", secs(10), SECOND / 10..=HOUR),
        slow_client: s.duration("slow_client", secs(30), SECOND / 10..=HOUR),
        fill_window: s.size("fill_window", 4 << 20, 64 * KIB..=1 << 30),
        origin_header_bytes: s.size("origin_header_bytes", 64 * 1024, KIB..=16 * MIB),
        origin_header_fields: s.count("origin_header_fields", 256, 8..=10_000),
        retry_body_bytes: s.size("retry_body_bytes", 64 * 1024, 0..=16 * MIB),
        read_ahead: s.size("read_ahead", MIB, 0..=1 << 30),
        slow_client_rate: s.size("slow_client_rate", 8 * KIB, 0..=1 << 30),
        // 0 sets no bound of its own: then the bound on client connections holds here too, so
        // that sockets stay bounded whatever is written.
        origin_connections: match s.count("origin_connections", 256, 0..=1_000_000) {
            0 => connections,
            bound => bound,
        },
        origin_idle_connections: s.count("origin_idle_connections", 32, 0..=100_000),
        // Shorter than what common servers keep idle connections open for (Node.js: 5 s), else a
        // request meets a connection that its server is just closing.
        origin_idle: s.duration("origin_idle", secs(4), Duration::ZERO..=24 * HOUR),
        origin_queue: s.count("origin_queue", 16_384, 0..=10_000_000),
        variants: s.count("variants", 64, 1..=10_000),
        tags: s.count("tags", 1024, 0..=100_000),
        purge_targets: s.count("purge_targets", 1_000_000, 1000..=100_000_000),
        patterns: s.count("patterns", 1000, 1..=1_000_000),
        sweep: s.duration("sweep", SECOND / 50, SECOND / 1000..=SECOND),
        decisions: s.count("decisions", 10_000, 0..=10_000_000),
        hit_for_miss: s.duration("hit_for_miss", secs(120), Duration::ZERO..=24 * HOUR),
        rate_clients: s.count("rate_clients", 100_000, 1000..=10_000_000),
        passwords: s.count("passwords", 10_000, 100..=1_000_000),
        password_queue: s.count("password_queue", 64, 1..=10_000),
        compress_threads: s.count("compress_threads", 1, 1..=64),
        compress_queue: s.count("compress_queue", 1000, 1..=1_000_000),
        decompress_bytes: s.size("decompress_bytes", 64 * MIB, KIB..=1 << 40),
        decompress_ratio: s.count("decompress_ratio", 100, 2..=10_000),
        h2_streams: s.count("h2_streams", 200, 1..=100_000),
    };
    if limits.target_bytes > limits.header_bytes && s.has("target_bytes") {
        s.mistake("target_bytes", "larger than limits.header_bytes, which counts the target too");
    }
    s.finish(&[]);
    limits
}
