//! The format of a line. Everything a client sent is escaped: control characters, quotes and
//! backslashes never reach the log unescaped.

use super::{LoggedRequest, Traffic};
use crate::source::Source;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use weir_rules::calendar::{Date, SECONDS_PER_DAY};
use weir_rules::shown::is_hidden;
use weir_rules::trace_context::TraceContext;

/// The format of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogFormat {
    /// One JSON object per line; members that do not apply are left out.
    Json,
    /// The combined format of web servers.
    Combined,
}

impl LogFormat {
    /// Appends the line of a request. Writing to a Vec cannot fail, so results are dropped.
    pub(super) fn line(self, logged: &LoggedRequest, out: &mut Vec<u8>) {
        match self {
            LogFormat::Json => json(logged, out),
            LogFormat::Combined => combined(logged, out),
        }
        out.push(b'\n');
    }

    /// Appends a line that reports `dropped` missing ones.
    pub(super) fn gap(self, now: SystemTime, dropped: u64, out: &mut Vec<u8>) {
        let now = Civil::from(now);
        let _ = match self {
            LogFormat::Json => {
                let time = now.rfc3339();
                writeln!(out, "{{\"time\":\"{time}\",\"dropped_lines\":{dropped}}}")
            }
            LogFormat::Combined => {
                let time = now.common_log();
                writeln!(out, "- - - [{time}] \"-\" 0 0 \"-\" \"{dropped} lines dropped\"")
            }
        };
    }
}

fn json(logged: &LoggedRequest, out: &mut Vec<u8>) {
    let LoggedRequest { head, record, site } = logged;
    let outcome = &record.outcome;
    let _ = write!(out, "{{\"time\":\"{}\"", Civil::from(head.time).rfc3339());
    let _ = write!(out, ",\"peer\":\"{}\"", head.peer.ip());
    if let Some(line) = &head.refused {
        json_text(out, "request_line", line);
    } else {
        json_text(out, "method", head.method.as_bytes());
        json_text(out, "host", head.host.as_bytes());
        json_text(out, "target", head.target.as_bytes());
        json_text(out, "protocol", head.protocol.as_bytes());
    }
    let _ = write!(out, ",\"status\":{},\"bytes\":{}", record.status.as_u16(), record.bytes_out);
    if let Some(site) = site {
        json_text(out, "site", site.as_bytes());
    }
    if let Some(traffic) = of_nobody(record.traffic) {
        json_text(out, "traffic", traffic);
    }
    let _ = write!(out, ",\"cache\":\"{}\"", outcome.handling.word());
    if let Some(status) = outcome.fwd_status {
        let _ = write!(out, ",\"fwd_status\":{}", status.as_u16());
    }
    if let Some(ttl) = outcome.ttl {
        let _ = write!(out, ",\"ttl\":{ttl}");
    }
    let _ = write!(out, ",\"stored\":{},\"collapsed\":{}", outcome.stored, outcome.collapsed);
    if let Some(detail) = outcome.detail {
        json_text(out, "detail", detail.as_bytes());
    }
    if let Some(coding) = outcome.coding {
        json_text(out, "coding", coding.word().as_bytes());
    }
    if let Some(rules) = &record.rules {
        json_list(out, "rules", rules.names().map(str::as_bytes));
    }
    if let Some(source) = &record.source {
        json_source(out, source);
    }
    let (first_byte, total) = (Millis(record.first_byte), Millis(record.total));
    let _ = write!(out, ",\"first_byte_ms\":{first_byte},\"total_ms\":{total}");
    for (name, value) in [("user_agent", &head.user_agent), ("referer", &head.referer)] {
        if let Some(value) = value {
            json_text(out, name, value);
        }
    }
    if let Some(hash) = record.key_hash {
        let _ = write!(out, ",\"key\":\"{hash:032x}\"");
    }
    if let Some(TraceContext { trace_id, span_id, .. }) = head.trace {
        let _ = write!(out, ",\"trace_id\":\"{trace_id:032x}\",\"span_id\":\"{span_id:016x}\"");
    }
    out.push(b'}');
}

/// What a request that no visitor caused is.
fn of_nobody(traffic: Traffic) -> Option<&'static [u8]> {
    match traffic {
        Traffic::Visitors => None,
        Traffic::Probe => Some(b"probe"),
        Traffic::WarmUp => Some(b"warm-up"),
    }
}

/// The upstream that a response is from, and the Cache-Status members of the caches before it.
fn json_source(out: &mut Vec<u8>, source: &Source) {
    json_text(out, "upstream", source.member.as_bytes());
    let tier = if source.is_parent { "parent" } else { "origin" };
    let _ = write!(out, ",\"upstream_tier\":\"{tier}\"");
    if let Some(pool) = &source.pool {
        json_text(out, "upstream_pool", pool.as_bytes());
    }
    json_list(out, "tiers", source.cache_status.iter().map(|said| said.as_bytes()));
    let _ = write!(out, ",\"upstream_ms\":{}", Millis(source.waited));
}

/// Appends `,"name":["value",…]`; nothing if there is no value.
fn json_list<'a>(out: &mut Vec<u8>, name: &str, values: impl Iterator<Item = &'a [u8]>) {
    let mut before = "[";
    for value in values {
        if before == "[" {
            let _ = write!(out, ",\"{name}\":");
        }
        out.extend_from_slice(before.as_bytes());
        json_string(out, value);
        before = ",";
    }
    if before == "," {
        out.push(b']');
    }
}

/// Appends `,"name":"value"`.
fn json_text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let _ = write!(out, ",\"{name}\":");
    json_string(out, value);
}

/// Appends `"value"`, escaped (RFC 8259 §7), also what is not seen or reorders text. Bytes that are
/// not UTF-8 become U+FFFD.
fn json_string(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    for character in String::from_utf8_lossy(value).chars() {
        let _ = match character {
            '"' | '\\' => write!(out, "\\{character}"),
            c if is_hidden(c) => {
                let mut units = [0; 2];
                c.encode_utf16(&mut units).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}"))
            }
            c => write!(out, "{c}"),
        };
    }
    out.push(b'"');
}

fn combined(logged: &LoggedRequest, out: &mut Vec<u8>) {
    let LoggedRequest { head, record, .. } = logged;
    let time = Civil::from(head.time).common_log();
    let _ = write!(out, "{} - - [{time}] \"", head.peer.ip());
    if let Some(line) = &head.refused {
        combined_text(out, line);
    } else {
        combined_text(out, head.method.as_bytes());
        out.push(b' ');
        combined_text(out, head.target.as_bytes());
        out.push(b' ');
        combined_text(out, head.protocol.as_bytes());
    }
    let (status, bytes) = (record.status.as_u16(), record.bytes_out);
    let _ = write!(out, "\" {status} {bytes}");
    for value in [&head.referer, &head.user_agent] {
        out.extend_from_slice(b" \"");
        combined_text(out, value.as_deref().unwrap_or(b"-"));
        out.push(b'"');
    }
}

/// Appends `value` with `\xHH` for quotes, backslashes and everything but printable ASCII.
fn combined_text(out: &mut Vec<u8>, value: &[u8]) {
    for byte in value {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => {
                let _ = write!(out, "\\x{byte:02X}");
            }
            plain => out.push(*plain),
        }
    }
}

/// A duration in milliseconds, to the microsecond.
struct Millis(Duration);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
}

/// A time as logs write it, in UTC.
struct Civil {
    date: Date,
    /// Seconds of the day.
    second: u64,
    millis: u32,
}

impl From<SystemTime> for Civil {
    fn from(time: SystemTime) -> Civil {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Civil {
            date: Date::after_1970(since.as_secs() / SECONDS_PER_DAY),
            second: since.as_secs() % SECONDS_PER_DAY,
            millis: since.subsec_millis(),
        }
    }
}

impl Civil {
    /// `2026-11-21T20:43:30.007Z`
    fn rfc3339(&self) -> String {
        let Civil { date, second: s, millis } = self;
        let (year, month, day) = (date.year(), date.month(), date.day());
        let (hour, minute, second) = (s / 3600, s / 60 % 60, s % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }

    /// `21/Nov/2026:20:43:30 +0000`
    fn common_log(&self) -> String {
        let Civil { date, second: s, .. } = self;
        let (year, month, day) = (date.year(), date.month_name(), date.day());
        let (hour, minute, second) = (s / 3600, s / 60 % 60, s % 60);
        format!("{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_http_dates() {
        for secs in [0, 68_169_600, 951_782_399, 951_782_400, 4_107_542_399, 253_402_300_799] {
            let time = UNIX_EPOCH + Duration::from_millis(secs * 1000 + 7);
            let civil = Civil::from(time);
            let log = civil.common_log();
            // Sun, 06 Nov 1994 08:49:37 GMT against 06/Nov/1994:08:49:37 +0000
            let http = httpdate::fmt_http_date(time).replace(" GMT", " +0000");
            let words: String = log.replacen(['/', ':'], " ", 3);
            assert_eq!(&http[5..], words, "{secs}");
            assert!(civil.rfc3339().ends_with(".007Z"));
            assert_eq!(civil.rfc3339()[11..19], log[12..20]);
        }
        let leap_day = Civil::from(UNIX_EPOCH + Duration::from_secs(951_782_400));
        assert_eq!(leap_day.rfc3339(), "2000-02-29T00:00:00.000Z");
    }
}
