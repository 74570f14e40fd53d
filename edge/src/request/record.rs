//! What the spine notes of a request, so that it is counted and logged at its end
//! ([`crate::closing`]).

use super::Spine;
use super::visit::Facts;
use crate::body::ResponseBody;
use crate::closing::{Closing, End, Head, Noted};
use crate::metrics::{Event, SiteSlot};
use crate::server::Connection;
use crate::source::Source;
use crate::trace::Trace;
use http::{Request, Response, StatusCode, header};
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use weir_rules::outcome::Outcome;

/// What access log and trace want of a request's head; taken only where either is on.
pub(super) struct Entry {
    time: SystemTime,
    /// `None` of a request that is neither logged nor exported.
    head: Option<Head>,
    trace: Option<Trace>,
}

impl Entry {
    /// Its place in a trace.
    pub(super) fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }
}

/// What is known of a request when its head has been answered.
pub(super) struct Known {
    /// The site that took it.
    pub(super) site: SiteSlot,
    /// Bytes of body the client announced.
    pub(super) bytes_in: u64,
    /// The digest of its key, where one was made.
    pub(super) key_hash: Option<u128>,
    /// Whom the answer is from, where it is from another.
    pub(super) source: Option<Arc<Source>>,
    /// Whether it came, or claimed to come, from a node that takes this one for its parent.
    pub(super) of_node: bool,
}

impl Default for Known {
    fn default() -> Self {
        Self { site: SiteSlot::NONE, bytes_in: 0, key_hash: None, source: None, of_node: false }
    }
}

impl Spine {
    /// What is wanted of a request's head.
    #[inline(never)]
    pub(super) fn entry<B>(&self, request: &Request<B>) -> Box<Entry> {
        let trace = self.tracer.place(request.headers());
        let wanted = self.log.is_on() || trace.as_ref().is_some_and(Trace::is_exported);
        let head = wanted.then(|| Head::of(request));
        Box::new(Entry { time: SystemTime::now(), head, trace })
    }

    /// Counts and logs a request: at once where its whole answer is at hand, else with its end.
    pub(super) fn record(
        &self,
        connection: &Connection,
        response: Response<ResponseBody>,
        outcome: Outcome,
        known: Known,
        begun: Instant,
        entry: Option<Box<Entry>>,
    ) -> Response<ResponseBody> {
        if outcome.collapsed {
            self.metrics.count(Event::Collapsed);
        }
        if response.status() == StatusCode::SERVICE_UNAVAILABLE && outcome.fwd_status.is_none() {
            self.metrics.count(Event::Shed);
        }
        let end = End {
            status: response.status(),
            outcome,
            begun,
            first_byte: begun.elapsed(),
            bytes: response.body().at_hand().unwrap_or(0),
            site: known.site,
            bytes_in: known.bytes_in,
            key_hash: known.key_hash,
            source: known.source,
        };
        let noted = entry.and_then(|entry| self.noted(*entry, connection, end.site));
        if noted.is_none() && response.body().at_hand().is_some() {
            end.count(&self.metrics, end.first_byte);
            return response;
        }
        let mut closing = Closing { end, metrics: Arc::clone(&self.metrics), noted };
        closing.end.bytes = 0;
        response.map(|body| body.closing_with(closing))
    }

    #[inline(never)]
    fn noted(&self, entry: Entry, connection: &Connection, site: SiteSlot) -> Option<Box<Noted>> {
        Some(Box::new(Noted {
            head: entry.head?,
            time: entry.time,
            trace: entry.trace,
            peer: connection.peer(),
            scheme: if connection.tls() { "https" } else { "http" },
            site: self.state.slots.label(site),
            log: Arc::clone(&self.log),
        }))
    }
}

/// Bytes of body that a request announces.
pub(super) fn announced<B>(request: &Request<B>, facts: &Facts) -> u64 {
    if !facts.body {
        return 0;
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0)
}
