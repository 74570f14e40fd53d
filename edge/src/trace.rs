//! Traces (W3C Trace Context, OTLP): where in a trace a request stands, and what of it is exported.
//!
//! A request that names its place goes upstream under the same trace id, with a span id of this
//! node's. Without a collector (`log.otlp`) that is all: no trace is begun here. With one, a share
//! of the other requests begins a trace, and each exported request is a span, its upstream requests
//! spans below it. A thread of its own encodes and sends them ([`crate::otlp`]), behind a bounded
//! queue: what finds no place there is dropped and counted, and no request ever waits.

mod hop;
mod spans;

pub(crate) use hop::{Hop, HopRequest, Hopped};
pub(crate) use spans::{Counts, Finished, Spans, Tally};

use crate::access_log::LoggedRequest;
use http::HeaderMap;
use std::hash::{BuildHasher, RandomState};
use weir_rules::trace_context::{RANDOM, SAMPLED, TraceContext};

/// A span's place: its own ids, and whose part it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanPlace {
    /// The trace, the span's own id, and the flags.
    pub(crate) context: TraceContext,
    /// The span that it is part of.
    pub(crate) parent: Option<u64>,
}

/// A request's place in a trace.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    /// Where.
    pub(crate) place: SpanPlace,
    /// Takes its spans, where they are exported.
    spans: Option<Spans>,
}

impl Trace {
    /// The place that a request names, as long as nothing of it is exported.
    pub(crate) fn continued(request: &HeaderMap) -> Option<Self> {
        TraceContext::of(request)
            .map(|caller| Self { place: SpanPlace::below(caller), spans: None })
    }

    /// Exports the request itself, where that is wanted.
    pub(crate) fn served(&self, logged: LoggedRequest) {
        if let Some(spans) = &self.spans {
            spans.take(Finished::Served(self.place, Box::new(logged)));
        }
    }

    /// Whether anything of it is exported.
    pub(crate) fn is_exported(&self) -> bool {
        self.spans.is_some()
    }
}

impl SpanPlace {
    /// A new span as part of another.
    fn below(other: TraceContext) -> Self {
        let context = TraceContext { span_id: random_id(), ..other };
        Self { context, parent: Some(other.span_id) }
    }
}

/// What a node does about traces.
#[derive(Debug)]
pub(crate) struct Tracer {
    /// Takes spans, where there is a collector.
    spans: Option<Spans>,
    /// Traces are begun whose random part is below this.
    begun: u64,
}

/// How many values the random part of a trace id has (Level 2: its last seven bytes).
const RANDOM_PART: u64 = 1 << 56;

impl Tracer {
    /// With a collector, `spans` takes what is exported, and `sample` millionths of the requests
    /// that name no trace begin one.
    pub(crate) fn new(spans: Option<Spans>, sample: u32) -> Self {
        let begun = u128::from(RANDOM_PART) * u128::from(sample) / 1_000_000;
        // At most RANDOM_PART.
        Self { spans, begun: begun as u64 }
    }

    /// Whether there is a collector.
    pub(crate) fn is_on(&self) -> bool {
        self.spans.is_some()
    }

    /// The place of a request: the one that it names or, with a collector, a new trace.
    pub(crate) fn place(&self, request: &HeaderMap) -> Option<Trace> {
        let Some(spans) = &self.spans else { return Trace::continued(request) };
        let place = match TraceContext::of(request) {
            Some(caller) => SpanPlace::below(caller),
            None => self.begin(),
        };
        let spans = place.context.is_sampled().then(|| spans.clone());
        Some(Trace { place, spans })
    }

    /// What became of spans; `None` without a collector.
    pub(crate) fn counts(&self) -> Counts {
        self.spans.as_ref().map(Spans::counts).unwrap_or_default()
    }

    fn begin(&self) -> SpanPlace {
        let trace_id = u128::from(random_id()) << 64 | u128::from(random_id());
        let sampled = (trace_id as u64) % RANDOM_PART < self.begun;
        let flags = RANDOM | if sampled { SAMPLED } else { 0 };
        SpanPlace { context: TraceContext { trace_id, span_id: random_id(), flags }, parent: None }
    }
}

/// A random number other than zero. The standard library keys each of its hashers at random.
fn random_id() -> u64 {
    RandomState::new().hash_one(0_u8).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn request(traceparent: &'static str) -> HeaderMap {
        let name = weir_rules::trace_context::TRACEPARENT.clone();
        HeaderMap::from_iter([(name, HeaderValue::from_static(traceparent))])
    }

    const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn off() -> Tracer {
        Tracer { spans: None, begun: RANDOM_PART }
    }

    #[test]
    fn a_callers_trace_goes_on_under_a_new_span() {
        let trace = off().place(&request(CALLER)).expect("a place");
        let caller = TraceContext::parse(CALLER.as_bytes()).expect("valid");
        assert_eq!(trace.place.parent, Some(caller.span_id));
        assert_eq!(trace.place.context.trace_id, caller.trace_id);
        assert_eq!(trace.place.context.flags, caller.flags);
        assert_ne!(trace.place.context.span_id, caller.span_id);
        assert!(!trace.is_exported(), "there is no collector");
    }

    #[test]
    fn without_a_collector_no_trace_is_begun() {
        assert!(off().place(&HeaderMap::new()).is_none());
        assert!(off().place(&request("00-0-0-0")).is_none());
    }

    #[test]
    fn about_the_share_that_is_asked_for_is_begun() {
        for (begun, range) in
            [(0, 0..=0), (RANDOM_PART / 4, 1600..=2400), (RANDOM_PART, 8000..=8000)]
        {
            let tracer = Tracer { spans: None, begun };
            let places = (0..8000).map(|_| tracer.begin());
            let sampled = places.filter(|place| place.context.is_sampled()).count();
            assert!(range.contains(&sampled), "{sampled} of 8000 for {begun}");
        }
    }

    #[test]
    fn ids_are_not_given_twice() {
        let ids: std::collections::HashSet<u64> = (0..10_000).map(|_| random_id()).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
