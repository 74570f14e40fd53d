//! Warming: nodes are asked, over their connections, to fetch URLs ahead of those who will ask for
//! them; because a caller names the URLs, or because a purge took them and they were popular.

use crate::control::Control;
use crate::ledger::{Listed, NodeState, NodeView, Warmed};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use weir_protocol::question::{PurgedUrl, Question};
use weir_protocol::warm::{AT_ONCE, Fetched, LONGEST};
use weir_rules::tier::Tier;

/// Requests a second to each node where the caller does not say.
pub const DEFAULT_RATE: u32 = 50;

/// Most requests a second to each node.
pub const MOST_RATE: u32 = 10_000;

/// Most URLs of one call.
pub const MOST_URLS: usize = 1000;

/// Most URLs that are fetched again after a purge.
const POPULAR: usize = 100;

/// How long a purge may take to be completed and counted everywhere: nodes remember what was
/// popular for somewhat longer. After that those are asked that are through.
const COUNTED: Duration = Duration::from_secs(120);

/// How long a node may take to tell what was popular.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);

/// URLs that a node is asked to fetch at once: a second's worth, so that what came of them is told
/// as it comes.
const MOST_AT_ONCE: u32 = 200;

/// Answers of nodes that may wait to be told.
const ANSWERS: usize = 16;

/// What one node is to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) node: String,
    pub(crate) urls: Arc<[String]>,
}

/// What a node answered.
#[derive(Debug)]
pub(crate) struct Came {
    pub(crate) node: Arc<str>,
    pub(crate) fetched: Vec<Fetched>,
}

/// URLs of `loads`, each counted for every node that is to fetch it.
pub(crate) fn urls_of(loads: &[Load]) -> usize {
    loads.iter().map(|load| load.urls.len()).sum()
}

impl Control {
    /// Who is to fetch `urls`: for the edges every one that is connected, for the parents one edge
    /// of each region, which asks its own.
    pub(crate) fn loads(&self, urls: Vec<String>, tier: Tier) -> Vec<Load> {
        let mut edges = self.edges();
        if tier == Tier::Parent {
            edges.sort_by(|a, b| (&a.region, &a.name).cmp(&(&b.region, &b.name)));
            edges.dedup_by(|later, first| later.region == first.region);
        }
        let urls: Arc<[String]> = urls.into();
        edges.into_iter().map(|edge| Load { node: edge.name, urls: urls.clone() }).collect()
    }

    fn edges(&self) -> Vec<NodeView> {
        let mut nodes = self.ledger.nodes(Instant::now());
        nodes.retain(|node| node.tier == Tier::Edge && node.state == NodeState::Connected);
        nodes
    }

    /// Has each node fetch what is its own, `rate` a second. What came of it can be read as it
    /// comes; who stops reading ends it.
    pub(crate) fn warm(
        self: &Arc<Self>,
        loads: Vec<Load>,
        rate: u32,
        tier: Tier,
    ) -> mpsc::Receiver<Came> {
        let (tell, came) = mpsc::channel(ANSWERS);
        for load in loads {
            let (control, tell) = (self.clone(), tell.clone());
            tokio::spawn(async move {
                let node: Arc<str> = load.node.into();
                for urls in load.urls.chunks(rate.clamp(1, MOST_AT_ONCE) as usize) {
                    let fetched = control.fetched_by(&node, urls, rate, tier).await;
                    // Fails where nobody wants to know any more.
                    if tell.send(Came { node: node.clone(), fetched }).await.is_err() {
                        return;
                    }
                }
            });
        }
        came
    }

    /// What came of one question; where there is no answer, of each URL that there is none.
    async fn fetched_by(&self, node: &str, urls: &[String], rate: u32, tier: Tier) -> Vec<Fetched> {
        let what = Question::Warm { urls: urls.to_vec(), rate, tier };
        let rounds = u32::try_from(urls.len().div_ceil(AT_ONCE)).unwrap_or(u32::MAX);
        let paced = Duration::from_secs_f64(urls.len() as f64 / f64::from(rate.max(1)));
        let answer = self.ask(node, what, paced + LONGEST * rounds + LONGEST_ANSWER).await;
        let fetched = answer.and_then(|answer| {
            serde_json::from_value::<Vec<Fetched>>(answer).map_err(|error| error.to_string())
        });
        let error = match fetched {
            Ok(fetched) if fetched.iter().map(|fetched| &fetched.url).eq(urls) => return fetched,
            Ok(_) => "the node answered for other URLs".to_owned(),
            Err(error) => error,
        };
        let failed = |url: &String| Fetched {
            url: url.clone(),
            error: Some(error.clone()),
            ..Fetched::default()
        };
        urls.iter().map(failed).collect()
    }

    /// Asks a node, by whatever connection it has now.
    async fn ask(
        &self,
        node: &str,
        what: Question,
        wait: Duration,
    ) -> Result<serde_json::Value, String> {
        let nodes = self.ledger.nodes(Instant::now());
        let session = nodes.into_iter().find(|known| known.name == node).and_then(|n| n.session);
        match session {
            Some(session) => self.sessions.ask(session, what, wait).await,
            None => Err("it is not connected to control".to_owned()),
        }
    }

    /// Fetches the most popular URLs that a purge removed again, once every node has applied it;
    /// once a purge. Nobody waits for it.
    pub(crate) fn warm_after(self: &Arc<Self>, listed: Arc<Listed>, room: OwnedSemaphorePermit) {
        if !listed.begins_to_warm() {
            return;
        }
        let control = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = control.warm_popular(&listed) => {}
                () = control.stopped() => {}
            }
            drop(room);
        });
    }

    async fn warm_popular(self: &Arc<Self>, listed: &Listed) {
        let counted = async {
            self.ledger.until_completed(listed).await;
            self.ledger.until_counted(listed).await;
        };
        // Who is not through by then says so itself.
        let _ = tokio::time::timeout(COUNTED, counted).await;
        let loads = chosen(self.purged_urls(listed).await, POPULAR);
        let mut warmed = Warmed::of(urls_of(&loads));
        listed.set_warmed(warmed);
        let mut came = self.warm(loads, DEFAULT_RATE, Tier::Edge);
        while let Some(came) = came.recv().await {
            for fetched in &came.fetched {
                if let Some(error) = &fetched.error {
                    let (node, url) = (&*came.node, &fetched.url);
                    tracing::warn!(
                        id = listed.id,
                        node,
                        url,
                        error,
                        "not fetched again after a \
                         purge"
                    );
                }
            }
            warmed.count(&came.fetched);
            listed.set_warmed(warmed);
        }
    }

    /// What each edge tells of a purge.
    async fn purged_urls(self: &Arc<Self>, listed: &Listed) -> Vec<(String, Vec<PurgedUrl>)> {
        let mut asking = JoinSet::new();
        for edge in self.edges() {
            let (control, seq) = (self.clone(), listed.seq());
            asking.spawn(async move {
                let what = Question::PurgedUrls { seq, most: POPULAR };
                let answer = control.ask(&edge.name, what, LONGEST_ANSWER).await;
                let urls = answer.and_then(|answer| {
                    serde_json::from_value(answer).map_err(|error| error.to_string())
                });
                (edge.name, urls)
            });
        }
        let mut told = Vec::new();
        while let Some(joined) = asking.join_next().await {
            match joined {
                Ok((node, Ok(urls))) => told.push((node, urls)),
                Ok((node, Err(error))) => {
                    tracing::warn!(id = listed.id, node, error, "popular URLs are not known");
                }
                Err(_) => {}
            }
        }
        told
    }
}

/// The most popular URLs over all nodes, each for those where it was popular.
fn chosen(told: Vec<(String, Vec<PurgedUrl>)>, most: usize) -> Vec<Load> {
    let mut hits: HashMap<&str, u64> = HashMap::new();
    for PurgedUrl { url, hits: more } in told.iter().flat_map(|(_, urls)| urls) {
        let sum = hits.entry(url).or_default();
        *sum = sum.saturating_add(*more);
    }
    let mut ranked: Vec<_> = hits.into_iter().collect();
    ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    ranked.truncate(most);
    let rank: HashMap<&str, usize> =
        ranked.iter().enumerate().map(|(rank, (url, _))| (*url, rank)).collect();
    let load = |(node, urls): &(String, Vec<PurgedUrl>)| {
        let mut urls: Vec<&str> =
            urls.iter().map(|popular| &*popular.url).filter(|url| rank.contains_key(url)).collect();
        urls.sort_by_key(|url| rank[url]);
        Load { node: node.clone(), urls: urls.into_iter().map(str::to_owned).collect() }
    };
    told.iter().map(load).filter(|load| !load.urls.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(node: &str, urls: &[(&str, u64)]) -> (String, Vec<PurgedUrl>) {
        let popular = |(url, hits): &(&str, u64)| PurgedUrl { url: (*url).into(), hits: *hits };
        (node.into(), urls.iter().map(popular).collect())
    }

    fn load(node: &str, urls: &[&str]) -> Load {
        Load { node: node.into(), urls: urls.iter().map(|url| (*url).to_owned()).collect() }
    }

    #[test]
    fn what_is_popular_over_all_is_fetched_where_it_was() {
        let nodes = vec![
            told("a", &[("x", 9), ("y", 5), ("w", 1)]),
            told("b", &[("z", 8), ("y", 6)]),
            told("c", &[("w", 1)]),
        ];
        assert_eq!(chosen(nodes, 3), [load("a", &["y", "x"]), load("b", &["y", "z"])]);
        assert_eq!(chosen(vec![told("a", &[])], 3), []);
        let huge = vec![told("a", &[("x", u64::MAX)]), told("b", &[("x", u64::MAX)])];
        assert_eq!(chosen(huge, 1).len(), 2);
    }

    #[test]
    fn what_came_is_counted_by_node_and_url() {
        let loads = [load("a", &["x", "y"]), load("b", &["x"])];
        let mut warmed = Warmed::of(urls_of(&loads));
        let failed = Fetched { error: Some("no".into()), ..Fetched::default() };
        warmed.count(&[Fetched::default(), failed]);
        assert_eq!(warmed, Warmed { asked: 3, done: 1, failed: 1 });
    }
}
