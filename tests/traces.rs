//! Traces: a caller's goes on through every tier, a collector is told of it, and a collector that is
//! not there costs spans and nothing else.

mod program;
mod support;
use program::{TextFile, Weir};
use support::*;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A `traceparent` of the caller with these flags.
fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// The parts of the `traceparent` that a target's last request brought to the origin: trace id, span
/// id and flags.
fn told_to(origin: &Origin, target: &str) -> Option<(String, String, String)> {
    let request = origin.requests(target).pop().expect("it arrived");
    let parts: Vec<_> = request.header("traceparent")?.split('-').map(str::to_owned).collect();
    let [version, trace, span, flags] = <[String; 4]>::try_from(parts).expect("four parts");
    assert_eq!(version, "00");
    Some((trace, span, flags))
}

/// A collector, and what it was told.
struct Collector(Origin);

impl Collector {
    async fn start() -> Self {
        let origin = Origin::start().await;
        origin.route("/v1/traces", reply(""));
        Self(origin)
    }

    /// `[log]` of a node that exports there, with further keys.
    fn toml(&self, further: &str) -> String {
        let url = self.0.url();
        format!("[log]\notlp = {url:?}\notlp_interval = \"5ms\"\n{further}")
    }

    fn told(&self) -> Vec<Told> {
        let requests = self.0.requests("/v1/traces");
        let arrived = requests.iter().filter(|request| request.body_complete);
        let posted = arrived.flat_map(|request| {
            assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
            ExportTraceServiceRequest::decode(&*request.body).expect("a message").resource_spans
        });
        let told = posted.flat_map(|of| {
            let resource = of.resource.expect("a resource").attributes;
            assert_eq!(text(&resource, "service.name"), "weir");
            let node = text(&resource, "service.instance.id");
            let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.map(move |span| Told { node: node.clone(), span }).collect::<Vec<_>>()
        });
        told.collect()
    }

    /// What was told, once that is this many spans.
    async fn until(&self, spans: usize) -> Vec<Told> {
        let told = || self.told();
        let told = until(&format!("{spans} spans"), told, |told| told.len() >= spans).await;
        assert_eq!(told.len(), spans, "{told:#?}");
        told
    }
}

/// A span, and the node that told it.
#[derive(Clone, Debug)]
struct Told {
    node: String,
    span: Span,
}

impl Told {
    fn text(&self, key: &str) -> String {
        text(&self.span.attributes, key)
    }

    fn number(&self, key: &str) -> Option<i64> {
        match value(&self.span.attributes, key)? {
            Value::IntValue(number) => Some(number),
            other => panic!("{key} is {other:?}"),
        }
    }

    fn trace(&self) -> String {
        hex(&self.span.trace_id)
    }
}

fn value(attributes: &[KeyValue], key: &str) -> Option<Value> {
    attributes.iter().find(|of| of.key == key)?.value.clone()?.value
}

/// An attribute, empty where there is none.
fn text(attributes: &[KeyValue], key: &str) -> String {
    match value(attributes, key) {
        None => String::new(),
        Some(Value::StringValue(text)) => text,
        Some(other) => panic!("{key} is {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The span of a node and kind.
fn of(told: &[Told], node: &str, kind: SpanKind) -> Told {
    let mut found = told.iter().filter(|t| t.node == node && t.span.kind == kind as i32);
    let one = found.next().unwrap_or_else(|| panic!("no {kind:?} of {node} in {told:#?}"));
    assert!(found.next().is_none(), "two {kind:?} of {node} in {told:#?}");
    one.clone()
}

/// A sample of a node's metrics.
fn metric(edge: &Edge, series: &str) -> u64 {
    let text = edge.node.metrics();
    let sample = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    sample.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series}"))
}

fn lost(edge: &Edge, why: &str) -> u64 {
    metric(edge, &format!("weir_trace_spans_dropped_total{{why=\"{why}\"}}"))
}

#[tokio::test]
async fn a_callers_trace_goes_on_and_none_is_begun() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let edge = edge().origin(&origin).start();
    let state = ("Tracestate", "rojo=00f067aa0ba902b7");
    for (number, flags) in ["01", "00", "03"].into_iter().enumerate() {
        let target = format!("/{number}");
        let answer = edge.get_with(&target, &[("Traceparent", &traceparent(flags)), state]).await;
        assert_eq!(answer.line(), "200 hello");
        let (trace, span, sent) = told_to(&origin, &target).expect("a traceparent");
        assert_eq!((trace.as_str(), sent.as_str()), (TRACE, flags));
        assert!(span != CALLER && span != "0000000000000000", "a span of its own: {span}");
        assert_eq!(origin.requests(&target)[0].header("tracestate"), Some(state.1));
    }
    edge.send("POST", "/post", &[("Traceparent", &traceparent("01")), state], "body").await;
    assert_eq!(told_to(&origin, "/post").expect("a traceparent").0, TRACE);
    for (number, wrong) in ["00-1-2-01", &traceparent("1"), "ff", ""].into_iter().enumerate() {
        let target = format!("/wrong-{number}");
        edge.get_with(&target, &[("Traceparent", wrong), state]).await;
        assert_eq!(told_to(&origin, &target), None, "{wrong}");
        assert_eq!(origin.requests(&target)[0].header("tracestate"), None);
    }
    edge.get("/none").await;
    assert_eq!(told_to(&origin, "/none"), None);
}

#[tokio::test]
async fn one_trace_runs_through_edge_parent_and_origin() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    origin.route("/a", reply("hello").max_age(60));
    let exports = collector.toml("");
    let parent = node("name = \"parent\"\ntier = \"parent\"").origin(&origin).tables(&exports);
    let parent = parent.start();
    let url = format!("http://{}", parent.node.listen());
    let edge = edge().origin(&origin).tables(&format!("[parents]\nurls = [{url:?}]\n{exports}"));
    let edge = edge.start();
    let log = Log::new("one");
    let _leashes = (log.lead(&edge).await, log.lead(&parent).await);

    let caller = traceparent("01");
    let answer = edge.get_with("/a?b=c", &[("Traceparent", &caller)]).await;
    assert_eq!(answer.line(), "200 hello");
    let told = collector.until(4).await;
    let chain = [
        of(&told, "edge", SpanKind::Server),
        of(&told, "edge", SpanKind::Client),
        of(&told, "parent", SpanKind::Server),
        of(&told, "parent", SpanKind::Client),
    ];
    let mut above = CALLER.to_owned();
    for one in &chain {
        assert_eq!((one.trace().as_str(), hex(&one.span.parent_span_id)), (TRACE, above));
        above = hex(&one.span.span_id);
        assert!(one.span.end_time_unix_nano >= one.span.start_time_unix_nano);
        assert_eq!((one.span.name.as_str(), &one.span.status), ("GET", &None), "{one:#?}");
        assert_eq!(one.text("http.request.method"), "GET");
        assert_eq!(one.number("http.response.status_code"), Some(200));
        assert_eq!(one.number("http.response.body.size"), Some(5));
    }
    assert_eq!(told_to(&origin, "/a").expect("a traceparent").1, above);
    let [at_edge, to_parent, at_parent, to_origin] = chain;
    for one in [&at_edge, &at_parent] {
        assert_eq!(
            (one.text("weir.cache"), one.text("weir.site")),
            ("uri-miss".into(), "site".into())
        );
        assert_eq!((one.text("url.path"), one.text("url.query")), ("/a".into(), "b=c".into()));
        assert_eq!(value(&one.span.attributes, "weir.cache.stored"), Some(Value::BoolValue(true)));
    }
    assert_eq!(at_edge.text("server.address"), HOST);
    assert_eq!(at_edge.text("weir.upstream"), url);
    assert_eq!(to_parent.text("url.full"), format!("{url}/a?b=c"));
    assert_eq!(
        (to_parent.text("weir.pool"), to_origin.text("weir.pool")),
        ("parents".into(), "site".into())
    );
    assert_eq!(to_origin.number("server.port"), Some(origin.addr().port().into()));

    let hit = edge.get_with("/a?b=c", &[("Traceparent", &caller)]).await;
    assert_eq!(hit.handled_by("edge"), "hit");
    let told = collector.until(5).await;
    assert_eq!((told[4].text("weir.cache"), &told[4].node), ("hit".into(), &"edge".to_owned()));
    let exported = || metric(&edge, "weir_trace_spans_exported_total");
    until("the edge's three to be counted", exported, |exported| *exported == 3).await;
}

#[tokio::test]
async fn a_trace_is_begun_for_the_share_that_is_asked_for() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    origin.default_route(reply("hello").max_age(60));
    let always = edge().origin(&origin).tables(&collector.toml("otlp_sample = \"100%\"")).start();
    let never = edge().origin(&origin).tables(&collector.toml("otlp_sample = \"0%\"")).start();
    always.get("/always").await;
    let told = collector.until(2).await;
    let (root, below) = (of(&told, "edge", SpanKind::Server), of(&told, "edge", SpanKind::Client));
    assert!(root.span.parent_span_id.is_empty(), "nobody called: {root:#?}");
    assert_eq!(below.span.parent_span_id, root.span.span_id);
    let span = (root.trace(), hex(&below.span.span_id), "03".to_owned());
    assert_eq!(told_to(&origin, "/always"), Some(span));
    never.get("/never").await;
    let (_, _, flags) = told_to(&origin, "/never").expect("a traceparent");
    assert_eq!(flags, "02", "those further on are told that it is not recorded");
    // The callers' word goes before the share, both ways.
    always.get_with("/not", &[("Traceparent", &traceparent("00"))]).await;
    never.get_with("/yes", &[("Traceparent", &traceparent("01"))]).await;
    let told = collector.until(4).await;
    assert!(told[2..].iter().all(|one| one.trace() == TRACE), "{told:#?}");
    assert!(told.iter().all(|one| one.text("url.path") != "/not"), "{told:#?}");
}

#[tokio::test]
async fn what_failed_is_told_as_failed() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    origin.route("/500", reply("no").status(500));
    let exports = collector.toml("otlp_sample = \"100%\"");
    let before = edge().origin(&origin).tables(&exports).start();
    before.get("/500").await;
    for one in collector.until(2).await {
        assert_eq!(one.span.status.as_ref().map(|status| status.code), Some(2), "{one:#?}");
        assert_eq!(one.text("error.type"), "500");
    }
    drop(before);
    let _port = out_of_reach(&origin).await;
    let after = edge().origin(&origin).site("retries = { most = 0 }").tables(&exports).start();
    assert_eq!(after.get("/gone").await.status, 502);
    for one in &collector.until(4).await[2..] {
        assert_eq!(one.text("error.type"), "origin-connect");
        assert_eq!(one.span.status.as_ref().map(|status| status.code), Some(2));
    }
}

#[tokio::test]
async fn a_dead_collector_costs_spans_and_nothing_else() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    origin.route("/a", reply("hello").max_age(60));
    let exports = collector.toml("otlp_sample = \"100%\"\notlp_queue = 4");
    let edge = edge().origin(&origin).tables(&exports).start();
    let _port = out_of_reach(&collector.0).await;
    for _ in 0..50 {
        assert_eq!(edge.get("/a").await.line(), "200 hello");
    }
    // Fifty requests of clients, and one to the origin.
    let lost = || lost(&edge, "queue-full") + lost(&edge, "export-failed");
    until("all spans to be lost and counted", lost, |lost| *lost == 51).await;
    assert_eq!(metric(&edge, "weir_trace_spans_exported_total"), 0);
}

#[test]
fn a_dead_collector_is_told_of_once() {
    let log = "[log]\notlp = \"http://127.0.0.1:9\"\notlp_interval = \"1ms\"\n";
    let config = TextFile::new("dead-collector.toml", log);
    let weir = Weir::serve(&["--config", config.path(), "--origin", "http://127.0.0.1:9"]);
    let series = "weir_trace_spans_dropped_total{why=\"export-failed\"} ";
    let lost = || {
        let text = weir.json("GET /metrics", "").body;
        let count = text.lines().find_map(|line| line.strip_prefix(series)?.parse().ok());
        count.unwrap_or_else(|| panic!("no {series}"))
    };
    for batch in 0..3 {
        let (before, traceparent): (u64, _) = (lost(), traceparent("01"));
        assert!(batch == 0 || before > 0);
        let answer = weir.ask("GET /a", &[("Host", HOST), ("Traceparent", &traceparent)]);
        assert_eq!(answer.status, 502);
        program::until("its spans are lost", lost, |lost| *lost > before);
    }
    weir.signal(rustix::process::Signal::TERM);
    let told = weir.lines_until("stopping");
    let told: Vec<_> = told.iter().filter(|line| line.contains("traces are lost")).collect();
    assert!(matches!(&told[..], [one] if one.contains("Connection refused")), "{told:#?}");
}

#[tokio::test]
async fn a_full_queue_drops_and_counts() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    origin.route("/a", reply("hello").max_age(60));
    collector.0.route("/v1/traces", held(""));
    let exports = collector.toml("otlp_sample = \"100%\"\notlp_queue = 4");
    let edge = edge().origin(&origin).tables(&exports).start();
    edge.get("/a").await;
    let told = until("a batch to be on its way", || collector.told(), |told| !told.is_empty());
    let sent = told.await.len() as u64;
    // The collector is busy: four wait, the rest is dropped.
    for _ in 0..20 {
        assert_eq!(edge.get("/a").await.line(), "200 hello");
    }
    let full = || lost(&edge, "queue-full");
    until("the overflow to be counted", full, |lost| *lost == 18 - sent).await;
    collector.0.release("/v1/traces");
    let exported = || metric(&edge, "weir_trace_spans_exported_total");
    until("what waited to be exported", exported, |exported| *exported == sent + 4).await;
    assert_eq!(lost(&edge, "export-failed"), 0);
}

#[tokio::test]
async fn a_collector_in_trouble_is_asked_again_and_one_that_refuses_is_not() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    origin.default_route(reply("hello").header("Cache-Control", "no-store"));
    let exports = collector.toml("otlp_sample = \"100%\"");
    let edge = edge().origin(&origin).tables(&exports).start();
    let busy = || reply("").status(503);
    collector.0.route("/v1/traces", sequence([busy(), busy(), reply("")]));
    // A single span at a time, so that each is a batch.
    let get = async || edge.raw("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await;
    assert_eq!(get().await.status, 400);
    let exported = || metric(&edge, "weir_trace_spans_exported_total");
    until("the third try", exported, |exported| *exported == 1).await;
    assert_eq!((collector.0.fetches("/v1/traces"), lost(&edge, "export-failed")), (3, 0));

    collector.0.route("/v1/traces", reply("").status(400));
    get().await;
    until("the loss", || lost(&edge, "export-failed"), |lost| *lost == 1).await;
    assert_eq!(collector.0.fetches("/v1/traces"), 4, "asked once");

    let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: "no".into() };
    let partial = ExportTraceServiceResponse { partial_success: Some(partial) };
    collector.0.route("/v1/traces", reply(partial.encode_to_vec()));
    get().await;
    until("the rejection", || lost(&edge, "rejected"), |lost| *lost == 1).await;
    assert_eq!(exported(), 1);
}

#[tokio::test]
async fn what_is_queued_when_a_node_ends_is_still_sent() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    origin.route("/a", reply("hello").max_age(60));
    let url = collector.0.url();
    let exports = format!("[log]\notlp = {url:?}\notlp_sample = \"100%\"\notlp_interval = \"60s\"");
    let edge = edge().origin(&origin).tables(&exports).start();
    edge.get("/a").await;
    edge.node.drain().await;
    let ended = tokio::task::spawn_blocking(move || drop(edge));
    ended.await.expect("it ends");
    assert_eq!(collector.told().len(), 2);
}
