//! A store with asynchronous reads that may fail, before the origin in the list of sources: what a
//! store on disk will be. The test decides when each read ends, and how.

use super::*;
use crate::body::{FillBody, ResponseBody};
use crate::collapsing::{Collapse, Progress, Reader};
use crate::error::{StoreError, UpstreamError};
use crate::failure::Abort;
use crate::fill::source::{Asking, FetchContext, FillSource, SourceAnswer, SourceReply, Sources};
use crate::source::{Piece, SourceBody};
use crate::store::{Digest, DigestSecret, Tags};
use crate::upstream::{Ask, UpstreamBody};
use http::Response;
use http_body_util::BodyExt;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use weir_rules::freshness::Freshness;
use weir_rules::storability::{LifetimeSource, Reuse, Terms};
use weir_rules::vary::Vary;

const SECRET: [u8; 16] = *b"kept on the disk";

/// The body of every response that the store keeps.
const BODY: &[u8] = b"0123456789";

/// A read that ends when the test says so.
type Read = Result<Bytes, StoreError>;

/// Responses by the digest of their key, each with its reads to come.
#[derive(Default)]
struct SlowStore {
    kept: Mutex<HashMap<Digest, Kept>>,
    asked: AtomicUsize,
}

struct Kept {
    filled_at: u64,
    reads: mpsc::Receiver<Read>,
}

/// The list of sources holds the store, and so does the test.
struct Listed(Arc<SlowStore>);

impl FillSource for Listed {
    fn is_store(&self) -> bool {
        true
    }

    fn ask<'a>(
        &'a self,
        context: &'a FetchContext<'a>,
        _: &'a Ask,
        _: &'a UpstreamBody,
    ) -> Asking<'a> {
        Box::pin(async move {
            // Finding it takes a read, too.
            tokio::task::yield_now().await;
            self.0.asked.fetch_add(1, Ordering::Relaxed);
            // Held before it is judged: the index keeps what came since.
            let stamp = context.state.purges.stamp();
            let digest = DigestSecret::from(SECRET).digest(context.key);
            match self.0.kept.lock().unwrap().remove(&digest) {
                Some(kept) => SourceReply::Answer(Box::new(kept.answer(stamp, context.state))),
                None => SourceReply::Nothing,
            }
        })
    }
}

impl Kept {
    fn answer(self, stamp: Stamp, state: &NodeState) -> SourceAnswer {
        let mut response = Response::new(());
        // Nothing here says for how long it may be stored: the terms do.
        response.headers_mut().insert(header::VIA, HeaderValue::from_static("1.1 earlier"));
        let terms = Terms {
            freshness: Freshness { born: state.now(), ..Stored::example().freshness },
            vary: Vary::Nothing,
            lifetime_source: LifetimeSource::Expires,
            omit: Vec::new(),
            no_transform: false,
            reuse: Reuse::Fresh,
        };
        let tags = Tags::from(Box::from([Box::from("kept")]));
        SourceAnswer {
            response,
            body: Box::new(SlowBody(self.reads)),
            upgraded: None,
            source: None,
            filled_at: Some(self.filled_at),
            stamp: Some(stamp),
            judged: Some((terms, tags)),
        }
    }
}

struct SlowBody(mpsc::Receiver<Read>);

impl SourceBody for SlowBody {
    fn exact_length(&self) -> Option<u64> {
        Some(BODY.len() as u64)
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Piece, Abort>>> {
        self.0
            .poll_recv(context)
            .map(|read| read.map(|read| read.map(Piece::Data).map_err(Abort::Store)))
    }

    fn reject(&self, error: &UpstreamError) {
        panic!("a store answers what it is asked: {error}");
    }
}

/// A node with a store between its memory and its origin.
struct Tiered {
    scene: Scene,
    store: Arc<SlowStore>,
}

impl Tiered {
    fn before(origin: &str) -> Self {
        let config = Scene::config(origin);
        // The node's digests are those of the store.
        let state = NodeState::with_secret(config, DigestSecret::from(SECRET)).unwrap();
        let store = Arc::new(SlowStore::default());
        let sources = Sources::with_stores([Box::new(Listed(Arc::clone(&store))) as _]);
        Self { scene: Scene { state: Arc::new(state), sources }, store }
    }

    /// Has the store keep a response whose fetch began at this seq. Its reads end as the test sends
    /// them.
    fn keep(&self, filled_at: u64) -> mpsc::Sender<Read> {
        let (reads, read) = mpsc::channel(8);
        let digest = self.scene.state.digest(KEY);
        self.store.kept.lock().unwrap().insert(digest, Kept { filled_at, reads: read });
        reads
    }

    /// A request: it joins a running fill, or starts one.
    fn request(&self) -> Reader {
        let stamp = self.scene.state.purges.stamp();
        let task = |fill| FillTask {
            context: self.scene.context(HeaderMap::new()),
            fill,
            base: None,
            withdrawable: Withdrawable::default(),
            stamp,
        };
        let digest = self.scene.state.digest(KEY);
        let start = || Some(Fill::new(Purpose::default(), 1 << 16));
        let inflight = &self.scene.state.inflight;
        match inflight.join_or_start(digest, &HeaderMap::new(), None, |_| true, start) {
            Collapse::Joined(reader) => reader,
            Collapse::Started(fill) => {
                let reader = fill.join().unwrap();
                tokio::spawn(Box::new(task(fill)).run());
                reader
            }
            Collapse::Stored => panic!("nothing was stored"),
        }
    }
}

/// Waits for the head; what a client is sent after it.
async fn answered(mut reader: Reader) -> ResponseBody {
    match reader.progress().await {
        Progress::Answer(Ok(Answer::Response(head))) => {
            assert_eq!(head.status, StatusCode::OK);
            ResponseBody::Fill(Box::new(FillBody::new(reader, head.start, head.end, None)))
        }
        other => panic!("no response: {other:?}"),
    }
}

async fn whole(reader: Reader) -> Result<Bytes, Abort> {
    answered(reader).await.collect().await.map(http_body_util::Collected::to_bytes)
}

fn piece(bytes: &'static [u8]) -> Read {
    Ok(Bytes::from_static(bytes))
}

#[tokio::test]
async fn a_fill_from_a_store_is_collapsed_stamped_and_stored() {
    let origin = Origin::start().await;
    origin.route("/a", reply("from the origin"));
    let tiered = Tiered::before(&origin.url());
    let state = &tiered.scene.state;
    // Older than what the store keeps was judged by when it was read: it takes nothing now.
    tiered.scene.purge(5, path());
    let reads = tiered.keep(3);
    let crowd: Vec<_> = (0..3).map(|_| tiered.request()).collect();
    reads.send(piece(&BODY[..5])).await.unwrap();
    reads.send(piece(&BODY[5..])).await.unwrap();
    drop(reads);
    for reader in crowd {
        assert_eq!(whole(reader).await.unwrap(), BODY);
    }
    assert_eq!(tiered.store.asked.load(Ordering::Relaxed), 1);
    assert_eq!(origin.requests("/a").len(), 0);
    let stored = tiered.scene.stored().unwrap();
    assert_eq!(text(&stored), BODY);
    assert_eq!((stored.filled_at, stored.lifetime_source), (3, LifetimeSource::Expires));
    assert_eq!(stored.fields().first(&header::VIA), Some(&b"1.1 earlier"[..]), "it passed no hop");
    assert!(matches!(state.purges.validity(&stored), Validity::Valid));
    // Its tags came with it.
    tiered.scene.purge(6, Target::parse_tag("kept").unwrap());
    assert!(matches!(state.purges.validity(&stored), Validity::Hard(6)));
}

#[tokio::test]
async fn a_purge_while_a_store_is_read_takes_what_comes_of_it() {
    let tiered = Tiered::before("http://127.0.0.1:1");
    let reads = tiered.keep(0);
    let reader = tiered.request();
    reads.send(piece(&BODY[..5])).await.unwrap();
    let body = answered(reader).await;
    tiered.scene.purge(1, path());
    reads.send(piece(&BODY[5..])).await.unwrap();
    drop(reads);
    // Who asked before may have it.
    assert_eq!(body.collect().await.unwrap().to_bytes(), BODY);
    assert!(tiered.scene.stored().is_none(), "an old response came back");
}

#[tokio::test]
async fn a_read_that_fails_midway_cuts_the_response_and_stores_nothing() {
    let origin = Origin::start().await;
    origin.route("/a", reply("from the origin").header("Cache-Control", "max-age=60"));
    let tiered = Tiered::before(&origin.url());
    let reads = tiered.keep(0);
    let readers = [tiered.request(), tiered.request()];
    reads.send(piece(&BODY[..5])).await.unwrap();
    reads.send(Err(StoreError::new("bad checksum"))).await.unwrap();
    for reader in readers {
        let cut = whole(reader).await.unwrap_err();
        assert_eq!(cut, Abort::Store(StoreError::new("bad checksum")));
    }
    assert!(tiered.scene.stored().is_none());
    assert_eq!(tiered.scene.state.inflight.len(), 0);
    // The next request is not held up by it.
    assert_eq!(whole(tiered.request()).await.unwrap(), "from the origin");
    assert_eq!(origin.requests("/a").len(), 1);
}

#[tokio::test]
async fn a_store_that_ends_early_cuts_the_response() {
    let tiered = Tiered::before("http://127.0.0.1:1");
    let reads = tiered.keep(0);
    let reader = tiered.request();
    reads.send(piece(&BODY[..5])).await.unwrap();
    drop(reads);
    assert!(whole(reader).await.is_err());
    assert!(tiered.scene.stored().is_none());
}

#[tokio::test]
async fn what_a_store_does_not_have_comes_from_the_next_source() {
    let origin = Origin::start().await;
    origin.route("/a", reply("from the origin").header("Cache-Control", "max-age=60"));
    let tiered = Tiered::before(&origin.url());
    assert_eq!(whole(tiered.request()).await.unwrap(), "from the origin");
    assert_eq!(tiered.store.asked.load(Ordering::Relaxed), 1);
    assert_eq!(origin.requests("/a").len(), 1);
    assert_eq!(text(&tiered.scene.stored().unwrap()), b"from the origin");
}

#[tokio::test]
async fn a_request_that_no_stored_response_may_answer_passes_by_the_stores() {
    let origin = Origin::start().await;
    origin.route("/a", reply("from the origin"));
    let tiered = Tiered::before(&origin.url());
    let _reads = tiered.keep(0);
    let task = tiered.scene.task(tiered.scene.state.purges.stamp(), None, None);
    let context = FetchContext { selects: None, ..task.context.fetch_context(0) };
    let sources = &task.context.sources;
    let answer = sources.fetch(&context, &task.context.ask, &UpstreamBody::Empty).await;
    assert!(answer.is_ok_and(|answer| answer.source.is_some()));
    assert_eq!(tiered.store.asked.load(Ordering::Relaxed), 0);
}
