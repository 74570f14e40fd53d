//! A scripted origin for tests, demo and benches of a cache.
//!
//! It writes HTTP/1.1 over TCP itself, because it must be able to misbehave in ways that no
//! library allows. A test says what each path answers, and asks afterwards what arrived:
//!
//! ```
//! use weir_origin_sim::{Origin, held, reply, sequence};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let origin = Origin::start().await;
//! origin.route("/a", reply("hello").max_age(60).etag("\"v1\""));
//! origin.route("/b", sequence([reply("").status(503), reply("well again")]));
//! origin.route("/c", held("later"));
//!
//! // ... requests to origin.url() ...
//!
//! origin.release("/c");
//! assert_eq!(origin.fetches("/a"), 0);
//! # });
//! ```
//!
//! **Names of routes.** `/a` takes `/a` with any query, `/a?x=1` that target only, `/img/*` every
//! target that begins so. The most precise one answers; then the folder, if there is one; then
//! the default route; else 404. Questions such as [`Origin::requests`] take the same names.
//!
//! **Waiting.** `until_...` waits for a state and panics after [`PATIENCE`] with what was there
//! instead, so that no test sleeps and none hangs.
//!
//! **Bounds.** Request heads 1 MiB, bodies [`Builder::max_body`]; of bodies 64 KiB are kept; the
//! last [`Builder::keep_requests`] requests are kept in full; an answer's body is never held in
//! memory but the one that was given as bytes.

mod answer;
mod body;
mod builder;
mod connection;
mod control;
mod counters;
pub mod demo_site;
mod duration;
mod faults;
mod files;
mod ledger;
mod media_type;
pub mod pattern;
mod reply;
mod request;
mod respond;
mod route;
mod routes;
mod script;
mod select;
mod server;

pub use builder::Builder;
pub use counters::{Connections, Counts, Recorded};
pub use duration::parse_duration;
pub use reply::{Reply, held, reply};
pub use route::{Route, answer_with, sequence};
pub use script::{Script, ScriptError};

use files::Files;
use ledger::Ledger;
use respond::Gate;
use routes::{Found, Routes};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long the `until_...` methods wait before they panic.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running origin. Dropping it stops it: its connections close, its port is free.
#[derive(Debug)]
pub struct Origin {
    shared: Arc<OriginState>,
    addr: SocketAddr,
    server: Mutex<Option<JoinHandle<()>>>,
}

/// What connections, control endpoints and the owner of the origin all see.
#[derive(Debug)]
pub(crate) struct OriginState {
    routes: Mutex<Routes>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) files: Option<Files>,
    pub(crate) control: bool,
    pub(crate) max_body: u64,
    open: watch::Sender<bool>,
}

impl OriginState {
    pub(crate) fn routes(&self) -> MutexGuard<'_, Routes> {
        locked(&self.routes)
    }

    pub(crate) fn find(&self, target: &str) -> Found {
        self.routes().find(target, self.files.is_some())
    }

    /// A gate at which nothing waits.
    pub(crate) fn open_gate(&self) -> Gate {
        self.open.subscribe()
    }
}

/// Locks; a thread that panicked while it held the lock left nothing half-done here, because each
/// change is one insert, removal or sum.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Origin {
    /// Starts an origin without routes on loopback, at a port chosen by the system.
    ///
    /// # Panics
    /// When no port can be bound.
    pub async fn start() -> Origin {
        Origin::builder().start().await
    }

    /// Sets how an origin starts.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its URL, without a slash at the end: `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Sets or replaces what `name` answers, from the next request on. What the old route holds
    /// stays held until [`Origin::release`].
    pub fn route(&self, name: &str, route: impl Into<Route>) {
        self.shared.routes().set(name, route.into());
    }

    /// Sets or replaces what answers where no route (and no folder) does.
    pub fn default_route(&self, route: impl Into<Route>) {
        self.shared.routes().set_default(route.into());
    }

    /// Removes a route; what it holds is released.
    pub fn remove_route(&self, name: &str) {
        self.shared.routes().remove(name);
    }

    /// Lets go everything that waits at `name`, and what will come to wait there until the route
    /// is set again.
    ///
    /// # Panics
    /// When no route takes `name`: the test would wait for nothing.
    pub fn release(&self, name: &str) {
        assert!(self.shared.routes().release(name), "no route takes {name:?}: nothing to release");
    }

    /// The requests that `name` took, oldest first, as far as they are kept.
    pub fn requests(&self, name: &str) -> Vec<Recorded> {
        self.shared.ledger.requests(name)
    }

    /// How many requests for `name` arrived.
    pub fn fetches(&self, name: &str) -> usize {
        usize::try_from(self.counts(name).requests).unwrap_or(usize::MAX)
    }

    /// Counts of all targets that `name` takes.
    pub fn counts(&self, name: &str) -> Counts {
        self.shared.ledger.counts(name)
    }

    /// Connections accepted and open.
    pub fn connections(&self) -> Connections {
        self.shared.ledger.connections()
    }

    /// How many requests were no HTTP/1 or had framing in doubt; they appear nowhere else.
    pub fn malformed(&self) -> u64 {
        self.shared.ledger.malformed()
    }

    /// Forgets all counts and kept requests.
    pub fn reset_counters(&self) {
        self.shared.ledger.reset();
    }

    /// Waits until `n` requests for `name` have arrived: their heads; whether held or answered.
    ///
    /// # Panics
    /// After [`PATIENCE`].
    pub async fn until_requests(&self, name: &str, n: usize) {
        let arrived = |l: &Ledger| l.counts(name).requests >= n as u64;
        self.until(&format!("{n} requests for {name}"), name, arrived).await;
    }

    /// Waits until `n` requests for `name` were cut short by their clients (or a stop).
    ///
    /// # Panics
    /// After [`PATIENCE`].
    pub async fn until_aborted(&self, name: &str, n: usize) {
        let aborted = |l: &Ledger| l.counts(name).aborted >= n as u64;
        self.until(&format!("{n} aborted requests for {name}"), name, aborted).await;
    }

    /// Waits until no request for `name` is being answered.
    ///
    /// # Panics
    /// After [`PATIENCE`].
    pub async fn until_idle(&self, name: &str) {
        let idle = |l: &Ledger| l.counts(name).running == 0;
        self.until(&format!("no running request for {name}"), name, idle).await;
    }

    /// Waits until exactly `n` connections are open.
    ///
    /// # Panics
    /// After [`PATIENCE`].
    pub async fn until_open_connections(&self, n: u64) {
        let open = |l: &Ledger| l.connections().open == n;
        self.until(&format!("{n} open connections"), "*", open).await;
    }

    async fn until(&self, what: &str, name: &str, reached: impl Fn(&Ledger) -> bool) {
        let wait = self.shared.ledger.until(reached);
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            let (counts, connections) = (self.counts(name), self.connections());
            panic!("waited {PATIENCE:?} for {what}; there are {counts:?}, {connections:?}");
        }
    }

    /// Stops as a crash does: the port refuses, open connections close where they are. Routes and
    /// counts stay. Returns when it is done.
    pub async fn stop(&self) {
        let server = locked(&self.server).take();
        if let Some(server) = server {
            server.abort();
            // Its result says that it was aborted.
            let _ = server.await;
            // The connections' tasks were told to end, too: wait until they have.
            self.shared.ledger.until(|ledger| ledger.connections().open == 0).await;
        }
    }

    /// Stops, if it runs, and serves again on the same port.
    ///
    /// # Panics
    /// When the port was taken by another process meanwhile.
    pub async fn restart(&self) {
        self.stop().await;
        let listener = match TcpListener::bind(self.addr).await {
            Ok(listener) => listener,
            Err(error) => panic!("the origin could not listen on {} again: {error}", self.addr),
        };
        let server = tokio::spawn(server::serve(self.shared.clone(), listener));
        *locked(&self.server) = Some(server);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(server) = locked(&self.server).take() {
            server.abort();
        }
    }
}
