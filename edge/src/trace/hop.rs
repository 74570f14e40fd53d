//! One request to an upstream, as a span: from when it is sent to the end of its answer's body.

use super::spans::{Finished, Spans};
use super::{SpanPlace, Trace};
use crate::error::UpstreamError;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, StatusCode};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A request to an upstream, as its span describes it.
#[derive(Clone, Copy)]
pub(crate) struct HopRequest<'a> {
    /// The site's id, or `parents`.
    pub(crate) pool: &'a Arc<str>,
    /// `http` or `https`.
    pub(crate) scheme: &'a Scheme,
    /// Host and port.
    pub(crate) authority: &'a Authority,
    /// The method.
    pub(crate) method: &'a Method,
    /// Path and query.
    pub(crate) target: &'a PathAndQuery,
}

/// A request to an upstream while it lasts. Dropping it ends it.
pub(crate) struct Hop {
    place: SpanPlace,
    spans: Spans,
    since: Instant,
    /// Taken at the end.
    told: Option<Box<Hopped>>,
}

/// What there is to say of a request to an upstream.
#[derive(Debug)]
pub(crate) struct Hopped {
    pub(crate) pool: Arc<str>,
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    pub(crate) method: Method,
    pub(crate) target: PathAndQuery,
    pub(crate) begun: SystemTime,
    pub(crate) lasted: Duration,
    pub(crate) status: Option<StatusCode>,
    pub(crate) error: Option<&'static str>,
    pub(crate) bytes: u64,
}

impl Hop {
    /// A request to an upstream on behalf of one in `trace`: the `traceparent` that it carries and,
    /// where the trace is exported, its span. Where it is not, the upstream is told the span of the
    /// request itself, which is the one in the access log.
    pub(crate) fn begin(trace: &Trace, errand: HopRequest<'_>) -> (HeaderValue, Option<Self>) {
        let Some(spans) = &trace.spans else { return (trace.place.context.field(), None) };
        let place = SpanPlace::below(trace.place.context);
        let told = Hopped {
            pool: Arc::clone(errand.pool),
            scheme: errand.scheme.clone(),
            authority: errand.authority.clone(),
            method: errand.method.clone(),
            target: errand.target.clone(),
            begun: SystemTime::now(),
            lasted: Duration::ZERO,
            status: None,
            error: None,
            bytes: 0,
        };
        let (spans, since) = (spans.clone(), Instant::now());
        (place.context.field(), Some(Self { place, spans, since, told: Some(Box::new(told)) }))
    }

    /// A head came.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        if let Some(told) = &mut self.told {
            told.status = Some(status);
        }
    }

    /// No head came, or the body broke off.
    pub(crate) fn failed(&mut self, error: &UpstreamError) {
        if let Some(told) = &mut self.told {
            told.error = Some(error.word());
        }
    }

    /// Bytes of the body came.
    pub(crate) fn received(&mut self, bytes: u64) {
        if let Some(told) = &mut self.told {
            told.bytes += bytes;
        }
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        if let Some(mut told) = self.told.take() {
            told.lasted = self.since.elapsed();
            self.spans.take(Finished::Hopped(self.place, told));
        }
    }
}
