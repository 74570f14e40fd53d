//! Fills at moments that no client can choose: the test plays the spine.

#![allow(clippy::unwrap_used)]

use super::context::FillContext;
use super::exchange::FillExchange;
use super::head::clean_head;
use super::plan::Plan;
use super::task::FillTask;
use super::withdraw::Withdrawable;
use crate::collapsing::{Answer, Fill, Purpose};
use crate::derived::Stamps;
use crate::forward::{ClientFields, Outgoing};
use crate::metrics::SiteSlot;
use crate::purge::Stamp;
use crate::source::Source;
use crate::state::NodeState;
use crate::store::Stored;
use crate::upstream::{Ask, For, digest};
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use std::net::Ipv4Addr;
use std::sync::{Arc, Barrier};
use std::time::Duration;
use weir_config::Config;
use weir_origin_sim::{Origin, Reply, reply};
use weir_rules::invalidation::{KeyedPurge, Purge, Target, Validity};

const KEY: &[u8] = b"http://example.com/a";

/// A node without listeners before an origin, and one URL of it.
struct Scene {
    state: Arc<NodeState>,
}

impl Scene {
    fn before(origin: &str) -> Self {
        let state = NodeState::new(Self::config(origin)).unwrap();
        Self { state: Arc::new(state) }
    }

    fn config(origin: &str) -> Config {
        let config =
            format!("[node]\nworkers = 1\n[[site]]\nid = \"site\"\norigins = [{origin:?}]");
        Config::from_toml(&config).unwrap()
    }

    /// The stored response, valid or not.
    fn stored(&self) -> Option<Arc<Stored>> {
        let resource = self.state.store.get(self.state.digest(KEY), KEY)?;
        resource.variants().first().cloned()
    }

    fn purge(&self, seq: u64, target: Target) {
        let purge = Purge { seq, targets: vec![target], site: None, soft: false, versions: false };
        self.state.purges.apply(&KeyedPurge::as_sent(purge));
    }

    /// A fill under this stamp, of a request that found `base`.
    fn task(
        &self,
        stamp: Stamp,
        base: Option<Arc<Stored>>,
        range: Option<&'static str>,
    ) -> Box<FillTask> {
        let range = range.map(HeaderValue::from_static);
        let client = range.iter().map(|range| (header::RANGE, range.clone())).collect();
        let url = self.state.store.url_of(KEY);
        let purpose = Purpose { begun: stamp.seq(), range, alone: true, url, ..Purpose::default() };
        let fill = Fill::new(purpose, self.state.live.load().limits().fill_window);
        self.state.inflight.start_alone(self.state.digest(KEY), &fill);
        let all = self.state.store.get(self.state.digest(KEY), KEY);
        let withdrawable = Withdrawable { selected: base.clone(), all };
        Box::new(FillTask { context: self.context(client), fill, base, withdrawable, stamp })
    }

    /// What a request with these fields gives to its fetch.
    fn context(&self, client: HeaderMap) -> FillContext {
        FillContext {
            state: Arc::clone(&self.state),
            site: Arc::clone(&self.state.live.load().sites.all()[0]),
            worker: 0,
            digest: self.state.digest(KEY),
            key: KEY.into(),
            rules: weir_rules::site_rules::RuleSet::default(),
            scheme: "http",
            client: ClientFields::new(client.into()),
            codings: None,
            anonymous: false,
            ask: Ask {
                method: Method::GET,
                target: PathAndQuery::from_static("/a"),
                headers: Outgoing::default(),
                client_host: Some(HeaderValue::from_static("example.com")),
                asker: None,
                upgrade: None,
                chosen_by: For { hash: digest(KEY), client: Ipv4Addr::LOCALHOST.into() },
                counts_for: None,
                site: SiteSlot::NONE,
                trace: None,
            },
        }
    }

    /// Runs a fill that begins now to its end; the status of its response, if it had one.
    async fn fetch(&self, base: Option<Arc<Stored>>) -> Option<StatusCode> {
        let task = self.task(self.state.purges.stamp(), base, None);
        let fill = Arc::clone(&task.fill);
        task.run().await;
        match fill.answer() {
            Some(Ok(Answer::Response(head))) => Some(head.status),
            _ => None,
        }
    }
}

fn text(stored: &Stored) -> Vec<u8> {
    stored.body.slices().flat_map(|slice| slice.bytes.to_vec()).collect()
}

/// Stale when it arrives, and current for the origin as long as it has this ETag.
fn page(body: &'static str, etag: &'static str) -> Reply {
    let stale = reply(body).header("Cache-Control", "max-age=10").header("Age", "20");
    stale.etag(etag).conditional(true)
}

fn path() -> Target {
    Target::parse_path("/a").unwrap()
}

#[tokio::test]
async fn what_a_purge_took_between_lookup_and_fetch_is_not_asked_about() {
    let origin = Origin::start().await;
    origin.route("/a", page("old", "\"v1\"").then(page("new", "\"v1\"")));
    let scene = Scene::before(&origin.url());
    scene.fetch(None).await;
    let found = scene.stored();
    assert_eq!(found.as_deref().map(text), Some(b"old".to_vec()));
    // A fetch that begins now is stamped past this purge: a 304 would hide it.
    scene.purge(1, path());
    assert_eq!(scene.fetch(found).await, Some(StatusCode::OK));
    assert_eq!(origin.requests("/a")[1].header("If-None-Match"), None);
    let stored = scene.stored().unwrap();
    assert_eq!((text(&stored), stored.filled_at), (b"new".to_vec(), 1));
}

#[tokio::test]
async fn what_no_purge_took_is_asked_about() {
    let origin = Origin::start().await;
    origin.route("/a", page("old", "\"v1\"").then(page("new", "\"v1\"")));
    let scene = Scene::before(&origin.url());
    scene.fetch(None).await;
    let found = scene.stored();
    scene.purge(1, Target::parse_path("/b").unwrap());
    assert_eq!(scene.fetch(found).await, None, "a 304 brings no response");
    assert_eq!(origin.requests("/a")[1].header("If-None-Match"), Some("\"v1\""));
    let stored = scene.stored().unwrap();
    assert_eq!((text(&stored), stored.filled_at), (b"old".to_vec(), 1));
}

/// Two halves of one representation, each with its own tag.
const HALVES: [(u64, &str, &str, &str); 2] =
    [(0, "bytes=0-4", "bytes 0-4/10", "first"), (5, "bytes=5-9", "bytes 5-9/10", "second")];

/// Stores one half as if it had just arrived, once `begin` is passed.
fn store_half(scene: &Scene, half: usize, begin: &Barrier) {
    let (start, range, content_range, tag) = HALVES[half];
    let task = scene.task(scene.state.purges.stamp(), None, Some(range));
    let fields = [
        (header::ETAG, "\"v1\""),
        (header::CACHE_CONTROL, "max-age=60"),
        (header::CONTENT_RANGE, content_range),
        (HeaderName::from_static("cache-tag"), tag),
    ];
    let fields = fields.map(|(name, value)| (name, HeaderValue::from_static(value)));
    let (status, now) = (StatusCode::PARTIAL_CONTENT, scene.state.now());
    let fields = fields.into_iter().collect();
    let source =
        Arc::new(Source::of(&Arc::from("http://origin"), Duration::ZERO, &HeaderMap::new()));
    let line = (Version::HTTP_11, status);
    let cleaned = clean_head(&scene.state, line, fields, Some(5), Arc::clone(&source), now);
    let exchange = FillExchange {
        plan: Plan::Range(HeaderValue::from_static(range), None),
        request_time: now,
        response_time: now,
        received: now,
        source,
        stamps: Stamps::fetched(task.stamp.seq()),
        _held: None,
    };
    let terms = exchange.terms(&task.context, None, status, &cleaned);
    let head = Arc::new(task.head(status, cleaned, terms, exchange.stamps));
    task.fill.begin(Answer::Response(Arc::clone(&head)), &[], true);
    task.fill.push(Bytes::from_static(&b"0123456789"[start as usize..][..5]), false);
    begin.wait();
    task.store(&head, start + 5);
}

#[test]
fn two_parts_that_end_at_once_are_both_kept() {
    let scene = Scene::before("http://127.0.0.1:1");
    for round in 0..2000 {
        scene.state.store.retain(scene.state.digest(KEY), |_| false);
        let begin = Barrier::new(2);
        std::thread::scope(|scope| {
            for half in 0..2 {
                let (scene, begin) = (&scene, &begin);
                scope.spawn(move || store_half(scene, half, begin));
            }
        });
        let stored = scene.stored().unwrap();
        assert!(stored.body.is_complete(), "round {round}: {:?}", stored.body);
        assert_eq!(text(&stored), b"0123456789");
        assert_eq!(stored.fields().first(&header::CONTENT_LENGTH), Some(&b"10"[..]));
    }
}

#[test]
fn what_is_joined_of_parts_goes_with_the_tags_of_each() {
    for tag in ["first", "second"] {
        let scene = Scene::before("http://127.0.0.1:1");
        let begin = Barrier::new(1);
        store_half(&scene, 0, &begin);
        store_half(&scene, 1, &begin);
        let stored = scene.stored().unwrap();
        assert!(stored.body.is_complete());
        scene.purge(1, Target::parse_tag(tag).unwrap());
        let validity = scene.state.purges.validity(&stored);
        assert!(matches!(validity, Validity::Hard(1)), "{validity:?}");
    }
}
