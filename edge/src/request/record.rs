//! The spine's part in the record of a request: what is noted of its head, and how it is closed
//! ([`crate::closing`]).

use super::Spine;
use super::rules::MAINTENANCE;
use crate::access_log::{RequestHead, RequestRecord};
use crate::body::ResponseBody;
use crate::closing::{Closing, Notes, count};
use crate::error::UpstreamError;
use crate::metrics::{Event, SiteSlot};
use crate::server::Connection;
use crate::trace::Trace;
use http::{Request, Response, StatusCode};
use std::sync::Arc;

impl Spine {
    /// What the access log and a collector need of a request's head.
    #[inline(never)]
    pub(super) fn note<B>(&self, connection: &Connection, request: &Request<B>) -> Box<Notes> {
        let trace = self.tracer.place(request.headers());
        let wanted = self.log.is_on() || trace.as_ref().is_some_and(Trace::is_exported);
        let head = wanted.then(|| {
            let context = trace.as_ref().map(|trace| trace.place.context);
            let head = RequestHead::of(request, connection.peer(), connection.tls(), context);
            RequestHead { refused: connection.refused_line(), ..head }
        });
        Box::new(Notes { head, site: None, trace, log: Arc::clone(&self.log) })
    }

    /// Counts and logs a request: now if its whole response is at hand, else when that ends.
    pub(super) fn close(
        &self,
        response: Response<ResponseBody>,
        mut record: RequestRecord,
        notes: Option<Box<Notes>>,
    ) -> Response<ResponseBody> {
        record.status = response.status();
        record.first_byte = record.begun.elapsed();
        if record.outcome.collapsed {
            self.metrics.collapsed(record.site);
        }
        // A client above its share is counted where it is refused; maintenance is no limit.
        let not_shed = [UpstreamError::ClientShare.word(), MAINTENANCE];
        let is_apart = record.outcome.detail.is_some_and(|detail| not_shed.contains(&detail));
        if record.status == StatusCode::SERVICE_UNAVAILABLE
            && record.outcome.fwd_status.is_none()
            && !is_apart
        {
            self.metrics.count(Event::Shed);
        }
        let notes = notes.filter(|notes| notes.head.is_some());
        if let Some(bytes) = response.body().at_hand()
            && notes.is_none()
        {
            record.bytes_out = bytes;
            record.total = record.first_byte;
            count(&record, &self.metrics);
            return response;
        }
        let notes = notes.map(|mut notes| {
            let named = record.site != SiteSlot::NONE;
            notes.site = named.then(|| self.state.slots.label(record.site));
            notes
        });
        let closing = Closing { record, metrics: Arc::clone(&self.metrics), notes };
        response.map(|body| body.closing_with(closing))
    }
}
