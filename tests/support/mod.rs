//! What scenarios are made of: a real node in this process in front of a scripted origin, a
//! client that shows what is on the wire, and waits for states. Every wait is bounded by
//! [`PATIENCE`]; nothing sleeps in the hope that something has happened.

#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

mod answer;
mod client;
mod crowd;
mod load;
mod log;
mod mmdb;
mod scratch;
mod tiers;

pub(crate) use answer::{Answer, Head};
pub(crate) use client::Client;
pub(crate) use crowd::Crowd;
pub(crate) use load::Load;
pub(crate) use log::{Leash, Log};
pub(crate) use mmdb::{BUILT as DATABASE_BUILT, mmdb};
pub(crate) use scratch::ScratchFile;
pub(crate) use tiers::{Tiers, edge_of, handled, parent_of};
pub(crate) use weir_edge::node::Explanation;
pub(crate) use weir_origin_sim::{Origin, Reply, answer_with, held, pattern, reply, sequence};
pub(crate) use weir_rules::invalidation::{Purge, Target};

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use weir_config::Config;
use weir_edge::node::Node;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The host that clients ask for unless they say otherwise.
pub(crate) const HOST: &str = "example.com";

/// A response that was stale before it arrived, so that no test has to wait for its end.
pub(crate) fn stale(body: &str) -> Reply {
    stale_with(body, "max-age=10")
}

/// The same, under further directives.
pub(crate) fn stale_with(body: &str, cache_control: &str) -> Reply {
    reply(body.to_owned()).header("Cache-Control", cache_control).header("Age", "20")
}

/// How a node starts.
pub(crate) struct EdgeBuilder {
    node: String,
    origins: Vec<String>,
    site: String,
    tables: String,
    workers: usize,
}

/// A node named `edge` with one site, `site`, for every host.
pub(crate) fn edge() -> EdgeBuilder {
    node("name = \"edge\"")
}

/// A node with these keys of `[node]`, its name among them.
pub(crate) fn node(toml: &str) -> EdgeBuilder {
    EdgeBuilder {
        node: toml.to_owned(),
        origins: Vec::new(),
        site: String::new(),
        tables: String::new(),
        workers: 2,
    }
}

impl EdgeBuilder {
    /// Fronts `origin`.
    pub(crate) fn origin(self, origin: &Origin) -> Self {
        self.origin_url(&origin.url())
    }

    /// Fronts what listens, or does not, at `url`.
    pub(crate) fn origin_url(mut self, url: &str) -> Self {
        self.origins.push(format!("{url:?}"));
        self
    }

    /// Fronts an origin that speaks HTTP/2 with prior knowledge.
    pub(crate) fn h2_origin(mut self, at: std::net::SocketAddr) -> Self {
        self.origins.push(format!("{{ url = \"http://{at}\", protocol = \"h2\" }}"));
        self
    }

    /// Further keys of the site, as TOML.
    pub(crate) fn site(mut self, toml: &str) -> Self {
        self.site.push_str(toml);
        self.site.push('\n');
        self
    }

    /// Other tables, as TOML.
    pub(crate) fn tables(mut self, toml: &str) -> Self {
        self.tables.push_str(toml);
        self.tables.push('\n');
        self
    }

    /// Worker threads; 2 unless said otherwise.
    pub(crate) fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    pub(crate) fn config(&self) -> Config {
        let Self { node, origins, site, tables, workers } = self;
        let origins = origins.join(", ");
        let text = format!(
            "[node]\n{node}\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
             workers = {workers}\n{tables}\n[[site]]\nid = \"site\"\norigins = [{origins}]\n{site}"
        );
        Config::from_toml(&text).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"))
    }

    pub(crate) fn start(self) -> Edge {
        Edge::start(self.config())
    }
}

/// A running node.
pub(crate) struct Edge {
    pub(crate) node: Arc<Node>,
    seq: AtomicU64,
}

impl Edge {
    /// A node of a whole configuration.
    pub(crate) fn start(config: Config) -> Self {
        let node = Node::start(config).expect("the node starts");
        Self { node: Arc::new(node), seq: AtomicU64::new(0) }
    }

    /// GET.
    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[]).await
    }

    /// GET with further fields.
    pub(crate) async fn get_with(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.ask("GET", target, fields).await
    }

    /// A request without a body, on a connection of its own.
    pub(crate) async fn ask(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(method, target, fields, "").await
    }

    /// A request, on a connection of its own.
    pub(crate) async fn send(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut client = self.connect().await;
        client.request(method, target, fields, body).await;
        client.answer(method).await
    }

    /// What these bytes, on a connection of their own, are answered with.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> Answer {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client.answer("GET").await
    }

    /// A connection.
    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.node.listen()).await
    }

    /// Asks again and again until the answer `holds`, and returns it. Fails with what was answered last.
    pub(crate) async fn until_answered(
        &self,
        what: &str,
        target: &str,
        fields: &[(&str, &str)],
        holds: impl Fn(&Answer) -> bool,
    ) -> Answer {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.get_with(target, fields).await;
            if holds(&answer) {
                return answer;
            }
            assert!(
                Instant::now() < end,
                "waited {PATIENCE:?} for {what}; answered last: {answer:?}"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// A GET from 127.0.0.`last`.
    pub(crate) async fn get_from(&self, last: u8, target: &str) -> Answer {
        let mut client = self.connect_from(last).await;
        client.request("GET", target, &[], "").await;
        client.answer("GET").await
    }

    /// A connection from 127.0.0.`last`.
    pub(crate) async fn connect_from(&self, last: u8) -> Client {
        Client::connect_from([127, 0, 0, last].into(), self.node.listen()).await
    }

    /// A connection that takes few bytes until it is read from.
    pub(crate) async fn connect_slow(&self) -> Client {
        Client::connect_slow(self.node.listen()).await
    }

    /// `count` clients that GET at once, each on a connection of its own.
    pub(crate) fn get_many(&self, target: &str, count: usize) -> Crowd {
        self.get_many_with(target, &[], count)
    }

    /// The same with further fields.
    pub(crate) fn get_many_with(
        &self,
        target: &str,
        fields: &[(&str, &str)],
        count: usize,
    ) -> Crowd {
        Crowd::of(self.node.listen(), target, fields, count)
    }

    /// Waits until exactly `count` clients wait on, or read from, running fills of `target`.
    pub(crate) async fn until_waiting(&self, target: &str, count: usize) {
        let url = format!("http://{HOST}{target}");
        let waiting = || self.node.waiting(&url);
        until(&format!("{count} waiting for {target}"), waiting, |waiting| *waiting == count).await;
    }

    /// What the node knows of a target.
    pub(crate) fn explain(&self, target: &str) -> Explanation {
        let url = format!("http://{HOST}{target}");
        self.node.explain(&url, &Default::default()).expect("a URL")
    }

    /// Waits until the node would answer `target` from a fresh stored response with this ETag.
    pub(crate) async fn until_fresh(&self, target: &str, etag: &str) {
        let is_fresh = |found: &Explanation| {
            let selected = found.selected.as_ref().and_then(|selected| selected.etag.as_deref());
            found.state == "fresh" && selected == Some(etag)
        };
        until(&format!("{target} to be fresh as {etag}"), || self.explain(target), is_fresh).await;
    }

    /// Purges hard.
    pub(crate) fn purge(&self, target: Target) -> u64 {
        self.apply(Purge {
            seq: 0,
            targets: vec![target],
            site: None,
            soft: false,
            versions: false,
        })
    }

    /// Purges softly.
    pub(crate) fn soft_purge(&self, target: Target) -> u64 {
        self.apply(Purge { seq: 0, targets: vec![target], site: None, soft: true, versions: false })
    }

    /// Applies a purge under the next seq, which it returns.
    pub(crate) fn apply(&self, purge: Purge) -> u64 {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        self.node.apply(&Purge { seq, ..purge });
        seq
    }

    /// How many stored responses a purge took, once that is known.
    pub(crate) async fn matched(&self, seq: u64) -> u64 {
        let matched = until("the sweep", || self.node.matched(seq), Option::is_some).await;
        matched.expect("just seen")
    }
}

/// Looks again and again until what is seen `holds`, and returns it. Fails with what was seen last.
pub(crate) async fn until<T: Debug>(
    what: &str,
    mut look: impl FnMut() -> T,
    holds: impl Fn(&T) -> bool,
) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if holds(&seen) {
            return seen;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} for {what}; seen last: {seen:#?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(crate) fn path(path: &str) -> Target {
    Target::parse_path(path).expect("a path")
}

/// Stops an origin. As long as the returned socket lives, nobody else gets its port, so that
/// connections to it are refused.
pub(crate) async fn out_of_reach(origin: &Origin) -> tokio::net::TcpSocket {
    origin.stop().await;
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(origin.addr()).expect("the port is free");
    socket
}
