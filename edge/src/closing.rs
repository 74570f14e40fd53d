//! The end of a request: counted, logged and exported once, when its last byte has been sent or the
//! response was cut off.

use crate::access_log::{AccessLog, LoggedRequest, RequestHead, RequestRecord, Traffic};
use crate::metrics::{Event, RequestMetrics, WorkerMetrics};
use crate::trace::Trace;
use std::sync::Arc;

/// What the access log and a collector need of a request beside its record. Made only if either is
/// on.
pub(crate) struct Notes {
    /// Its head; `None` if the request is neither logged nor exported.
    pub(crate) head: Option<RequestHead>,
    /// The id of its site, if it has one.
    pub(crate) site: Option<Arc<str>>,
    /// Its place in a trace.
    pub(crate) trace: Option<Trace>,
    /// The log.
    pub(crate) log: Arc<AccessLog>,
}

impl Notes {
    /// Logs and exports the request.
    fn finish(self, record: RequestRecord) {
        let Self { head, site, trace, log } = self;
        let Some(head) = head else { return };
        let logged = LoggedRequest { head, record, site };
        if let Some(trace) = trace.filter(Trace::is_exported) {
            trace.served(logged.clone());
        }
        log.record(logged);
    }
}

/// Ends a request when it is dropped: with the last byte of its response, or when that was cut off.
pub(crate) struct Closing {
    /// Its record.
    pub(crate) record: RequestRecord,
    /// Where it is counted.
    pub(crate) metrics: Arc<WorkerMetrics>,
    /// What is logged and exported of it.
    pub(crate) notes: Option<Box<Notes>>,
}

impl Closing {
    /// Some bytes of the body were sent.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.record.bytes_out += bytes;
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let begun = self.record.begun;
        self.record.memory = None;
        self.record.total = begun.elapsed();
        count(&self.record, &self.metrics);
        if let Some(notes) = self.notes.take() {
            notes.finish(std::mem::replace(&mut self.record, RequestRecord::new(begun)));
        }
    }
}

/// Counts a finished request. Those that no visitor caused are counted apart.
pub(crate) fn count(record: &RequestRecord, metrics: &WorkerMetrics) {
    match record.traffic {
        Traffic::Visitors => {}
        Traffic::Probe => return metrics.count(Event::Probe),
        Traffic::WarmUp => return metrics.count(Event::WarmUp),
    }
    metrics.record(&RequestMetrics {
        site: record.site,
        outcome: &record.outcome,
        status: record.status,
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        first_byte: Some(record.first_byte),
        total: record.total,
    });
}
