//! `[log]`: the node's own log, the access log, and where traces go.

use super::file_path;
use crate::section::Section;
use crate::units::{SHARE_FORM, parse_share};
use crate::{AccessLog, Level, Log, Otlp};
use http::Uri;
use std::time::Duration;

/// Where a collector takes traces, below its own URL.
const TRACES: &str = "/v1/traces";

/// What [`collector`] takes, for messages.
const COLLECTOR_FORM: &str = "the URL of a collector, such as http://127.0.0.1:4318";

pub(super) fn log(mut s: Section<'_>) -> Log {
    let log = Log {
        access: s.word("access", AccessLog::Off),
        path: s.text("path", "the path of a file", file_path),
        queue: s.count("queue", 8192, 1..=10_000_000),
        otlp: otlp(&mut s),
        level: s.word("level", Level::Info),
    };
    s.finish(&[]);
    log
}

fn otlp(s: &mut Section<'_>) -> Option<Otlp> {
    let (millisecond, minute) = (Duration::from_millis(1), Duration::from_secs(60));
    let exports = s.has("otlp");
    for name in ["otlp_sample", "otlp_queue", "otlp_timeout", "otlp_interval"] {
        if s.has(name) && !exports {
            s.mistake(name, "nothing is exported without otlp, the collector's URL");
        }
    }
    let url = s.text("otlp", COLLECTOR_FORM, collector);
    let otlp = Otlp {
        url: url.unwrap_or_default(),
        sample: s.text("otlp_sample", SHARE_FORM, parse_share).unwrap_or(10_000),
        queue: s.count("otlp_queue", 2048, 1..=1_000_000),
        timeout: s.duration("otlp_timeout", Duration::from_secs(5), millisecond..=minute),
        interval: s.duration("otlp_interval", Duration::from_secs(1), millisecond..=minute),
    };
    exports.then_some(otlp)
}

/// Reads a collector's URL; what is returned is where traces are posted.
fn collector(text: &str) -> Result<String, String> {
    let uri: Uri = text.parse().map_err(|_| "not a URL")?;
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err("neither http:// nor https:// with a host".into());
    };
    if authority.as_str().contains('@') {
        return Err("with a user name: what a collector asks for is not sent".into());
    }
    if uri.query().is_some() || text.contains('#') {
        return Err("with more than a path".into());
    }
    let url = text.trim_end_matches('/');
    Ok(if url.ends_with(TRACES) { url.to_owned() } else { format!("{url}{TRACES}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collectors_url_leads_to_where_it_takes_traces() {
        for (text, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://otel.example/", "https://otel.example/v1/traces"),
            ("https://otel.example/otlp/", "https://otel.example/otlp/v1/traces"),
            ("http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(collector(text).as_deref(), Ok(url));
        }
        for (text, reason) in [
            ("127.0.0.1:4318", "neither"),
            ("grpc://a:4317", "neither"),
            ("http://user:secret@a", "user name"),
            ("http://a/?b", "more than a path"),
            ("http://a b", "not a URL"),
            ("", "not a URL"),
        ] {
            let refused = collector(text).expect_err(text);
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }
}
