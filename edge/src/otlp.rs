//! Sends spans to the collector: one thread, OTLP over HTTP, in batches. A collector that does not
//! answer costs spans and nothing else; the node's log tells of it once, and once that it is back.

mod encoding;

use crate::trace::{Finished, Spans, Tally};
use bytes::Bytes;
use http::{StatusCode, header};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use reqwest::redirect::Policy;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as done;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use weir_config as config;

/// Spans sent at once.
const BATCH: usize = 512;

/// Times that a batch is sent before it is given up.
const TRIES: u32 = 3;

/// The longest wait before a batch is sent again.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Bytes of a collector's answer that are read.
const ANSWER: usize = 64 * 1024;

/// The thread that sends spans. Dropping it sends what is queued, within the bound.
#[derive(Debug)]
pub(crate) struct Exporter {
    spans: Spans,
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
    /// Ends with the thread.
    ended: Mutex<done::Receiver<()>>,
    patience: Duration,
}

impl Exporter {
    /// Starts the thread. `node` is named as the sender of the spans.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(config: &config::Otlp, node: &config::Node) -> io::Result<Self> {
        let (spans, queue) = Spans::new(config.queue);
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .user_agent("weir")
            .timeout(config.timeout)
            .tls_backend_preconfigured(crate::upstream::tls())
            .build()
            .map_err(io::Error::other)?;
        let collector = Collector {
            client,
            url: config.url.clone(),
            interval: config.interval,
            resource: encoding::resource(node),
            tally: Arc::clone(spans.tally()),
            failing: false,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let (alive, ended) = done::channel();
        let patience = config.timeout;
        std::thread::Builder::new().name("weir-traces".into()).spawn(move || {
            runtime.block_on(run(queue, stopped, collector, patience));
            // Without waiting for a name that is still being looked up.
            runtime.shutdown_background();
            drop(alive);
        })?;
        Ok(Self { spans, stop: Some(stop), ended: Mutex::new(ended), patience })
    }

    /// Takes the spans that are to be sent.
    pub(crate) fn spans(&self) -> &Spans {
        &self.spans
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stop = None;
        // What a batch under way may take, and what is left after it.
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(self.patience * 2 + Duration::from_secs(1));
    }
}

/// Sends until it is stopped, then what is left.
async fn run(
    mut queue: mpsc::Receiver<Finished>,
    mut stopped: oneshot::Receiver<()>,
    mut collector: Collector,
    patience: Duration,
) {
    let mut batch = Vec::with_capacity(BATCH);
    let interval = collector.interval;
    while gather(&mut batch, &mut queue, &mut stopped, interval).await {
        let mut sending = pin!(collector.send(&mut batch));
        tokio::select! {
            () = &mut sending => continue,
            _ = &mut stopped => {}
        }
        // What is lost now, nobody will count.
        let _ = timeout(patience, sending).await;
        break;
    }
    let rest = async {
        loop {
            fill_up(&mut batch, &mut queue);
            if batch.is_empty() {
                return;
            }
            collector.send(&mut batch).await;
        }
    };
    let _ = timeout(patience, rest).await;
}

/// Waits for spans and a while for more; `false` once it is to stop.
async fn gather(
    batch: &mut Vec<Finished>,
    queue: &mut mpsc::Receiver<Finished>,
    stopped: &mut oneshot::Receiver<()>,
    interval: Duration,
) -> bool {
    tokio::select! {
        some = queue.recv_many(batch, BATCH) => if some == 0 { return false },
        _ = &mut *stopped => return false,
    }
    if batch.len() < BATCH {
        tokio::select! {
            () = sleep(interval) => fill_up(batch, queue),
            _ = stopped => return false,
        }
    }
    true
}

fn fill_up(batch: &mut Vec<Finished>, queue: &mut mpsc::Receiver<Finished>) {
    while batch.len() < BATCH
        && let Ok(span) = queue.try_recv()
    {
        batch.push(span);
    }
}

/// Where spans go.
struct Collector {
    client: reqwest::Client,
    url: String,
    interval: Duration,
    resource: Resource,
    tally: Arc<Tally>,
    /// Whether the last batch was lost: told once, not for every batch.
    failing: bool,
}

/// Why a batch was not taken.
struct Refusal {
    why: String,
    /// Whether the same may be taken later.
    again: bool,
}

impl Collector {
    /// Sends a batch, a few times where that may help. It is empty afterwards.
    async fn send(&mut self, batch: &mut Vec<Finished>) {
        let spans = batch.len() as u64;
        let body = Bytes::from(encoding::request(&self.resource, batch.drain(..)).encode_to_vec());
        let mut wait = self.interval;
        let mut tries = 1;
        let refusal = loop {
            match self.post(body.clone()).await {
                Ok(rejected) => return self.taken(spans, rejected.min(spans)),
                Err(refusal) if !refusal.again || tries == TRIES => break refusal,
                Err(_) => sleep(wait).await,
            }
            tries += 1;
            wait = (wait * 2).min(LONGEST_WAIT);
        };
        count(&self.tally.failed, spans);
        if !self.failing {
            let (collector, why) = (&self.url, refusal.why);
            tracing::warn!(%collector, "traces are lost: the collector does not accept them: \
                 {why}");
        }
        self.failing = true;
    }

    fn taken(&mut self, spans: u64, rejected: u64) {
        count(&self.tally.exported, spans - rejected);
        count(&self.tally.rejected, rejected);
        if self.failing {
            tracing::info!(collector = %self.url, "the collector accepts traces again");
        }
        self.failing = false;
    }

    /// Sends once; how many spans the collector rejects of a batch that it takes.
    async fn post(&self, body: Bytes) -> Result<u64, Refusal> {
        let request = self.client.post(&self.url).body(body);
        let request = request.header(header::CONTENT_TYPE, "application/x-protobuf");
        let sent = request.send().await;
        let mut response = sent.map_err(|error| Refusal { why: innermost(&error), again: true })?;
        let status = response.status();
        if !status.is_success() {
            return Err(Refusal { why: format!("it answered {status}"), again: is_later(status) });
        }
        let mut answer = Vec::new();
        while let Ok(Some(part)) = response.chunk().await
            && answer.len() + part.len() <= ANSWER
        {
            answer.extend_from_slice(&part);
        }
        // What is no such message rejects nothing.
        let answer = ExportTraceServiceResponse::decode(&*answer).unwrap_or_default();
        let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
        Ok(rejected.max(0) as u64)
    }
}

/// The statuses after which OTLP has a batch sent again.
fn is_later(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".into();
    }
    crate::upstream::innermost(error)
}

fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
