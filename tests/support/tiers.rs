//! One parent and two edges in this process.

use super::{Answer, Edge, EdgeBuilder, Leash, Log, Origin, node};

/// An edge that asks `parents`, with further keys of `[parents]`.
pub(crate) fn edge_of(name: &str, origin: &Origin, parents: &[&Edge], toml: &str) -> EdgeBuilder {
    let urls: Vec<String> =
        parents.iter().map(|parent| format!("http://{}", parent.node.listen())).collect();
    node(&format!("name = {name:?}"))
        .origin(origin)
        .tables(&format!("[parents]\nscope = \"global\"\nurls = {urls:?}\n{toml}"))
}

pub(crate) fn parent_of(name: &str, origin: &Origin, toml: &str) -> EdgeBuilder {
    node(&format!("name = {name:?}\ntier = \"parent\""))
        .origin(origin)
        .tables(&format!("[parents]\n{toml}"))
}

/// Each node's member of Cache-Status, the one closest to the origin first, less the ttl.
pub(crate) fn handled(answer: &Answer) -> Vec<String> {
    let told = answer.values("cache-status").into_iter();
    told.map(|member| {
        let parts = member.split("; ").filter(|part| !part.starts_with("ttl="));
        parts.collect::<Vec<_>>().join("; ")
    })
    .collect()
}

/// One parent, two edges and an origin, following one log.
pub(crate) struct Tiers {
    pub(crate) origin: Origin,
    pub(crate) log: Log,
    pub(crate) parent: (Edge, Leash),
    pub(crate) edges: [(Edge, Leash); 2],
}

impl Tiers {
    pub(crate) async fn start(toml: &str) -> Self {
        let origin = Origin::start().await;
        let log = Log::new("one");
        let parent = parent_of("parent", &origin, toml).start();
        let edge = |name| edge_of(name, &origin, &[&parent], "").start();
        let edges = [edge("edge-1"), edge("edge-2")];
        let [one, two] = edges;
        let leashes = [log.lead(&one).await, log.lead(&two).await];
        let [first, second] = leashes;
        let leash = log.lead(&parent).await;
        Self { origin, log, parent: (parent, leash), edges: [(one, first), (two, second)] }
    }

    pub(crate) async fn get(&self, edge: usize, target: &str) -> Answer {
        self.edges[edge].0.get(target).await
    }
}
