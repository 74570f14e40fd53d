//! What control has for edges, and which edge has what of it.

use super::ordering;
use crate::etcd::Tenure;
use crate::ledger::SessionId;
use crate::process::Process;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;
use weir_acme::{Pending, Proof, Seal, Stage, version};
use weir_config::check::host_fit;
use weir_protocol::frame::SiteHosts;
use weir_protocol::sealed::{ItemName, Purpose, Sealed};

/// How long an order waits for the edges that serve its host to have the answer to the challenge, and how long a
/// certificate is waited for before the one that it replaces is revoked.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Bytes of items that are sent at once: below the longest line.
const BATCH: usize = 1 << 20;

/// An item, whatever its version.
type Place = (Purpose, String);

/// See the module.
pub(super) struct Shelf {
    process: Arc<Process>,
    tenure: Option<Arc<Tenure>>,
    state: Mutex<State>,
    /// Items changed.
    changed: watch::Sender<()>,
    /// An edge has something, or is gone.
    progress: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    items: BTreeMap<Place, Arc<Sealed>>,
    edges: HashMap<SessionId, Edge>,
}

/// A connected edge.
struct Edge {
    name: String,
    sites: Vec<SiteHosts>,
    standing: Standing,
    has: HashMap<Place, u64>,
}

/// What is known of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It was not asked yet what it lacks.
    Unasked,
    /// It takes what is for it.
    Takes,
    /// It has no secret.
    TakesNothing,
    /// It did not take what it was sent.
    Fails,
}

/// What an edge is to be told next.
pub(super) enum Next {
    /// It has all, or is gone.
    Nothing,
    /// All that there is for it, by name, to find out what it lacks.
    Ask(Vec<ItemName>),
    /// What it lacks, and the hosts whose challenges are over.
    Send(Vec<Sealed>, Vec<String>),
}

impl Edge {
    fn serves(&self, host: &str) -> bool {
        let mut hosts = self.sites.iter().flat_map(|site| &site.hosts);
        // The keys of tickets are for all.
        host.is_empty() || hosts.any(|named| named == host || host_fit(named, host).is_some())
    }

    fn has(&self, place: &Place, version: u64) -> bool {
        self.has.get(place).is_some_and(|has| *has >= version)
    }

    /// Whether it is waited for.
    fn is_awaited(&self) -> bool {
        matches!(self.standing, Standing::Unasked | Standing::Takes)
    }
}

impl Shelf {
    pub(super) fn new(process: Arc<Process>, tenure: Option<Arc<Tenure>>) -> Self {
        let (changed, progress) = (watch::Sender::new(()), watch::Sender::new(()));
        Self { process, tenure, state: Mutex::default(), changed, progress }
    }

    /// Seals with the secret in use.
    pub(super) fn seal(
        &self,
        purpose: Purpose,
        host: &str,
        plain: &[u8],
    ) -> Result<Sealed, String> {
        let config = self.process.config();
        let seal = ordering(&config).and_then(Seal::of).ok_or("tls.acme has no secret_file")?;
        let name = ItemName { purpose, host: host.to_owned(), version: version() };
        seal.seal(name, plain)
    }

    /// Edges get this one from now on.
    pub(super) fn put(&self, item: Sealed) {
        let place = (item.name.purpose, item.name.host.clone());
        self.state().items.insert(place, Arc::new(item));
        self.changed.send_replace(());
    }

    /// Edges get it no more.
    fn remove(&self, place: &Place) {
        self.state().items.remove(place);
        self.changed.send_replace(());
    }

    /// Told when items have changed.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// An edge is connected.
    pub(super) fn begin(&self, session: SessionId, name: &str, sites: Vec<SiteHosts>) {
        let (name, has) = (name.to_owned(), HashMap::new());
        let edge = Edge { name, sites, standing: Standing::Unasked, has };
        self.state().edges.insert(session, edge);
    }

    /// Its connection has ended.
    pub(super) fn end(&self, session: SessionId) {
        self.state().edges.remove(&session);
        self.progress.send_replace(());
    }

    /// What an edge is to be told next.
    pub(super) fn next(&self, session: SessionId) -> Next {
        let state = self.state();
        let Some(edge) = state.edges.get(&session) else { return Next::Nothing };
        let mut for_it = state.items.iter().filter(|((_, host), _)| edge.serves(host));
        match edge.standing {
            Standing::TakesNothing => Next::Nothing,
            // An older version need not learn of it while there is nothing.
            _ if state.items.is_empty() && edge.has.is_empty() => Next::Nothing,
            Standing::Unasked => Next::Ask(for_it.map(|(_, item)| item.name.clone()).collect()),
            Standing::Takes | Standing::Fails => {
                let over = |(purpose, host): &&Place| {
                    *purpose == Purpose::Challenge
                        && !state.items.contains_key(&(*purpose, host.clone()))
                };
                let ended: Vec<_> =
                    edge.has.keys().filter(over).map(|(_, host)| host.clone()).collect();
                let (mut items, mut bytes) = (Vec::new(), 0);
                while bytes < BATCH
                    && let Some((_, item)) =
                        for_it.find(|(place, item)| !edge.has(place, item.name.version))
                {
                    bytes += item.sealed.len();
                    items.push(Sealed::clone(item));
                }
                match items.is_empty() && ended.is_empty() {
                    true => Next::Nothing,
                    false => Next::Send(items, ended),
                }
            }
        }
    }

    /// An edge said which of these it lacks; `None` if it takes nothing.
    pub(super) fn lacks(
        &self,
        session: SessionId,
        of: Vec<ItemName>,
        lacked: Option<Vec<ItemName>>,
    ) {
        if let Some(edge) = self.state().edges.get_mut(&session) {
            match lacked {
                None => edge.standing = Standing::TakesNothing,
                Some(lacked) => {
                    edge.standing = Standing::Takes;
                    let has = of.into_iter().filter(|item| !lacked.contains(item));
                    edge.has = has.map(|item| ((item.purpose, item.host), item.version)).collect();
                }
            }
        }
        self.progress.send_replace(());
    }

    /// An edge has taken what it was sent.
    pub(super) fn took(&self, session: SessionId, items: &[ItemName], ended: &[String]) {
        if let Some(edge) = self.state().edges.get_mut(&session) {
            edge.standing = Standing::Takes;
            for item in items {
                edge.has.insert((item.purpose, item.host.clone()), item.version);
            }
            for host in ended {
                edge.has.remove(&(Purpose::Challenge, host.clone()));
            }
        }
        self.progress.send_replace(());
    }

    /// An edge did not take what it was sent: nobody waits for it until it does.
    pub(super) fn fails(&self, session: SessionId) {
        if let Some(edge) = self.state().edges.get_mut(&session) {
            edge.standing = Standing::Fails;
        }
        self.progress.send_replace(());
    }

    /// The names of the connected edges that serve a host and lack this version of an item for it, and that are
    /// waited for.
    fn lacking(&self, place: &Place, version: u64) -> Vec<String> {
        let state = self.state();
        let edges = state.edges.values();
        let lacking = edges
            .filter(|edge| edge.is_awaited() && edge.serves(&place.1) && !edge.has(place, version));
        lacking.map(|edge| edge.name.clone()).collect()
    }

    /// Until all connected edges that serve the host have this version, for a bounded time.
    async fn until_there(&self, name: &ItemName) {
        let place = (name.purpose, name.host.clone());
        let mut progress = self.progress.subscribe();
        let there = async {
            loop {
                progress.borrow_and_update();
                if self.lacking(&place, name.version).is_empty() {
                    return;
                }
                // The sender lives as long as `self`.
                let _ = progress.changed().await;
            }
        };
        if timeout(LONGEST_WAIT, there).await.is_err() {
            let edges = self.lacking(&place, name.version).join(", ");
            let (host, what) = (&name.host, name.purpose.word());
            tracing::warn!(
                edges,
                host,
                what,
                "tls.acme: goes on without these edges, which took nothing in time"
            );
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stage for Shelf {
    fn may_order(&self) -> bool {
        self.tenure.as_ref().is_none_or(|tenure| tenure.is_sure())
    }

    fn reaches(&self, host: &str) -> bool {
        let state = self.state();
        let takes = |edge: &Edge| edge.standing == Standing::Takes && edge.serves(host);
        // Before there is anything, edges were not asked: one that is connected may take it.
        let may_take =
            |edge: &Edge| state.items.is_empty() && edge.is_awaited() && edge.serves(host);
        state.edges.values().any(|edge| takes(edge) || may_take(edge))
    }

    fn answer<'a>(&'a self, host: &'a str, proof: &'a Proof) -> Pending<'a, Result<(), String>> {
        Box::pin(async move {
            let plain = serde_json::to_vec(proof).map_err(|error| error.to_string())?;
            let item = self.seal(Purpose::Challenge, host, &plain)?;
            let name = item.name.clone();
            self.put(item);
            self.until_there(&name).await;
            Ok(())
        })
    }

    fn end(&self, host: &str) {
        self.remove(&(Purpose::Challenge, host.to_owned()));
    }

    fn issued<'a>(&'a self, certificate: Option<Sealed>) -> Pending<'a, ()> {
        Box::pin(async move {
            if let Some(item) = certificate {
                let name = item.name.clone();
                self.put(item);
                self.until_there(&name).await;
            }
        })
    }

    fn restore(&self, certificates: Vec<Sealed>) {
        let mut state = self.state();
        state.items.retain(|(purpose, _), _| *purpose != Purpose::Certificate);
        for item in certificates {
            state.items.insert((item.name.purpose, item.name.host.clone()), Arc::new(item));
        }
        drop(state);
        self.changed.send_replace(());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
