//! Active probes: one thread a node, begun when a site first wants them, asks members from time to
//! time whether they are well. reqwest asks: what a probe's path names need not be byte for byte.

use super::member::Member;
use http::{Method, header};
use reqwest::redirect::Policy;
use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use weir_config::Protocol;

/// Probes under way at once.
const AT_ONCE: usize = 64;

/// How the members of a pool are probed.
pub(crate) struct Probing {
    probe: Arc<weir_config::Probe>,
    clients: Clients,
}

/// A member, and how it is probed.
#[derive(Clone)]
pub(crate) struct Target {
    member: Arc<Member>,
    probe: Arc<weir_config::Probe>,
    clients: Clients,
}

impl Probing {
    /// Probes over TLS hold certificates against what `tls` says.
    pub(crate) fn new(
        probe: weir_config::Probe,
        tls: &rustls::ClientConfig,
    ) -> Result<Self, String> {
        let clients = Clients::new(tls).map_err(|error| format!("probes: {error}"))?;
        Ok(Self { probe: Arc::new(probe), clients })
    }

    /// A member, probed in this way.
    pub(super) fn target(&self, member: &Arc<Member>) -> Target {
        let (probe, clients) = (Arc::clone(&self.probe), self.clients.clone());
        Target { member: Arc::clone(member), probe, clients }
    }
}

/// Probes the members of a node. Dropping it ends the thread.
#[derive(Default)]
pub(crate) struct Prober(Mutex<Option<ProbeThread>>);

struct ProbeThread {
    targets: watch::Sender<Vec<Target>>,
    thread: JoinHandle<()>,
}

impl Prober {
    /// Probes these from now on, each at once and then in its interval, and no others. Who is no
    /// longer probed is not out by its probes any more.
    pub(crate) fn follow(&self, targets: Vec<Target>) -> io::Result<()> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*running {
            Some(running) => {
                let stay: HashSet<_> = targets.iter().map(Target::identity).collect();
                let before = running.targets.send_replace(targets);
                for gone in before.iter().filter(|target| !stay.contains(&target.identity())) {
                    gone.member.forget_probes();
                }
            }
            None if targets.is_empty() => {}
            None => *running = Some(ProbeThread::start(targets)?),
        }
        Ok(())
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        let running = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ProbeThread { targets, thread }) = running {
            drop(targets);
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl ProbeThread {
    fn start(targets: Vec<Target>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (targets, orders) = watch::channel(targets);
        let thread = std::thread::Builder::new().name("weir-probes".into()).spawn(move || {
            runtime.block_on(follow(orders));
            // Without waiting for a name that is still being looked up.
            runtime.shutdown_background();
        })?;
        Ok(Self { targets, thread })
    }
}

impl Target {
    /// The same for a member before and after a reload.
    fn identity(&self) -> *const () {
        Arc::as_ptr(&self.member.standing).cast()
    }
}

/// One for each protocol.
#[derive(Clone)]
struct Clients {
    h1: reqwest::Client,
    h2: reqwest::Client,
}

impl Clients {
    fn new(tls: &rustls::ClientConfig) -> Result<Self, reqwest::Error> {
        // Straight to the member, and what it redirects to is not asked.
        let builder = || {
            reqwest::Client::builder()
                .no_proxy()
                .redirect(Policy::none())
                .pool_max_idle_per_host(0)
                .user_agent("weir")
                .tls_backend_preconfigured(tls.clone())
        };
        let h1 = builder().http1_only().build()?;
        Ok(Self { h1, h2: builder().http2_prior_knowledge().build()? })
    }
}

/// Probes the members that the orders name, until there are no more orders.
async fn follow(mut orders: watch::Receiver<Vec<Target>>) {
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let mut probes = JoinSet::new();
        for target in orders.borrow_and_update().iter().cloned() {
            probes.spawn(run(target, Arc::clone(&at_once)));
        }
        if orders.changed().await.is_err() {
            return;
        }
    }
}

/// Probes one member until it is aborted.
async fn run(target: Target, at_once: Arc<Semaphore>) {
    let mut interval = tokio::time::interval(target.probe.interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let _permit = at_once.acquire().await;
        let found = ask(&target).await;
        target.member.probed(found, &target.probe, Instant::now());
    }
}

/// Asks once; the error says what is wrong.
async fn ask(target: &Target) -> Result<(), String> {
    let Target { member, probe, clients } = target;
    let client = match member.address.protocol {
        Protocol::H1 => &clients.h1,
        Protocol::H2 => &clients.h2,
    };
    let mut request = match &probe.path {
        Some(path) => client.get(format!("{}{path}", member.name)),
        // Whoever is asked with this answers, and asks nobody in turn (RFC 9110 §7.6.2).
        None => client.request(Method::OPTIONS, &*member.name).header(header::MAX_FORWARDS, 0),
    };
    request = request.timeout(probe.timeout);
    let visitors = probe.visitors_host.as_ref().filter(|_| member.address.visitors_host);
    if let Some(host) = probe.host.as_ref().or(visitors) {
        request = request.header(header::HOST, host);
    }
    let response = request.send().await.map_err(|error| innermost(&error))?;
    let status = response.status();
    let good = match probe.status {
        Some(wanted) => status.as_u16() == wanted,
        None => status.is_success() || status.is_redirection(),
    };
    if good { Ok(()) } else { Err(format!("it answered {status}")) }
}

fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".into();
    }
    super::error::innermost(error)
}
