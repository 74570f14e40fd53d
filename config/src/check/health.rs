//! `[site.health]`: how it is found out which origins are in health.

use super::host::host;
use crate::section::Section;
use crate::{Ejection, Health, Probe};
use http::uri::{Authority, PathAndQuery};
use std::time::Duration;

/// The shortest time from one probe to the next.
const LEAST: Duration = Duration::from_millis(10);

/// Reads the section. Without `path` nothing is probed, and what only bears on probes is refused.
pub(super) fn health(mut s: Section<'_>) -> Health {
    let probes = s.has("path");
    for name in ["interval", "timeout", "healthy", "unhealthy", "status", "host"] {
        if s.has(name) && !probes {
            s.mistake(name, "nothing is probed without path, the path that probes ask for");
        }
    }
    let path = s.text("path", "a path such as /healthz, perhaps with a query", path);
    let probe = Probe {
        path,
        interval: s.duration("interval", seconds(5), LEAST..=seconds(3600)),
        timeout: s.duration("timeout", seconds(2), Duration::from_millis(1)..=seconds(60)),
        healthy: s.count("healthy", 2, 1..=100),
        unhealthy: s.count("unhealthy", 3, 1..=100),
        status: Some(s.count("status", 0, 100..=599)).filter(|status| *status != 0),
        host: s.text("host", "a host name or address, perhaps with a port", authority),
        visitors_host: None,
    };
    let ejection = Ejection {
        failures: s.count("failures", 3, 0..=1000),
        error_percent: s.count("error_percent", 50, 0..=100),
        requests: s.count("requests", 20, 1..=1_000_000),
        window: s.duration("window", seconds(10), Duration::from_millis(100)..=seconds(600)),
        eject: s.duration("eject", seconds(1), Duration::from_millis(10)..=seconds(600)),
        eject_max: s.duration("eject_max", seconds(60), Duration::from_millis(10)..=seconds(3600)),
    };
    if ejection.eject > ejection.eject_max {
        s.mistake("eject", "longer than eject_max, the longest that an ejection lasts");
    }
    s.finish(&[]);
    Health { probe: probes.then_some(probe), ejection }
}

/// Reads `[parents.health]`: a parent is asked whether it is there. `None` where the interval is 0.
pub(super) fn of_parents(mut s: Section<'_>) -> Option<Probe> {
    let interval = s.duration("interval", seconds(5), Duration::ZERO..=seconds(3600));
    let probe = Probe {
        path: None,
        interval: interval.max(LEAST),
        timeout: s.duration("timeout", seconds(2), Duration::from_millis(1)..=seconds(60)),
        healthy: s.count("healthy", 2, 1..=100),
        unhealthy: s.count("unhealthy", 3, 1..=100),
        status: None,
        host: None,
        visitors_host: None,
    };
    s.finish(&[]);
    (!interval.is_zero()).then_some(probe)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("no path: it begins with a slash".into());
    }
    let read: PathAndQuery = text.parse().map_err(|_| "not a path")?;
    if read.as_str() == text { Ok(read.as_str().to_owned()) } else { Err("not a path".into()) }
}

fn authority(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    let read: Authority = text.parse().map_err(|_| "not a host")?;
    if text.contains('@') {
        return Err("with a user name".into());
    }
    host(read.host())?;
    Ok(text)
}
