//! What is told of requests: each as it arrived and what became of it, and counts of many.

use crate::request::field;
use serde::Serialize;
use std::collections::BTreeMap;

/// A request as it arrived, and what became of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Recorded {
    /// The method.
    pub method: String,
    /// The request target, byte for byte (bytes outside UTF-8 replaced).
    pub target: String,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// Field names and values in the order and spelling in which they were sent.
    pub headers: Vec<(String, String)>,
    /// The first 64 KiB of the body.
    #[serde(serialize_with = "as_text")]
    pub body: Vec<u8>,
    /// Bytes of body that arrived.
    pub body_len: u64,
    /// Whether the body arrived to its announced end. A request without a body is complete.
    pub body_complete: bool,
    /// The status it was answered with; `None` while unanswered and for answers without one.
    pub status: Option<u16>,
    /// Whether the client left, or the origin was stopped, before the answer was complete.
    pub aborted: bool,
    /// The number of the connection it came on, from 1.
    pub connection: u64,
}

fn as_text<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}

impl Recorded {
    /// The first value of the field `name`, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        field(&self.headers, name)
    }

    /// All values of the field `name`, in any case and in order.
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        path_of(&self.target)
    }
}

/// `target` without its query.
pub(crate) fn path_of(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// Whether `asked` names `target`: with a `?` exactly, with a final `*` by its beginning, else
/// whatever the query.
pub(crate) fn names(asked: &str, target: &str) -> bool {
    match asked.strip_suffix('*') {
        Some(beginning) => target.starts_with(beginning),
        None if asked.contains('?') => target == asked,
        None => path_of(target) == asked,
    }
}

/// Counts of one target, or of several together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests whose head arrived.
    pub requests: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Bytes of body sent.
    pub bytes: u64,
    /// Requests whose answer was cut short by the client or by a stop.
    pub aborted: u64,
    /// Requests being answered now.
    pub running: u64,
    /// The most that were answered at once.
    pub most_at_once: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Counts) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.aborted += other.aborted;
        self.running += other.running;
        self.most_at_once = self.most_at_once.max(other.most_at_once);
        for (status, n) in &other.statuses {
            *self.statuses.entry(*status).or_default() += n;
        }
    }
}

/// Counts of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// Accepted since the start.
    pub accepted: u64,
    /// Open now.
    pub open: u64,
    /// The most that were open at once.
    pub most_open: u64,
}

/// Everything counted, as `GET /__sim/counters` shows it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Counted {
    pub(crate) connections: Connections,
    /// Requests that were no HTTP/1, or had framing in doubt.
    pub(crate) malformed: u64,
    /// All targets together.
    pub(crate) total: Counts,
    /// By request target, query included.
    pub(crate) targets: BTreeMap<String, Counts>,
}
