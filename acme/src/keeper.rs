//! Keeps certificates: one thread orders and renews them, and nothing else waits for it.

mod ca;
mod task;

use crate::files::Files;
use crate::hook::Records;
use crate::schedule::{Schedule, wanted};
use crate::seal::Seal;
use crate::served::{Listed, Served};
use crate::stage::{Own, Stage};
use crate::storage::{Kept, Storage};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;
use task::{Task, load};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use weir_config::{Acme, Config};

/// Calls that may wait; there are rarely more than one.
const FORCED: usize = 64;

/// How long the end waits for the hook to remove what it has set.
const CLEAN_UP: Duration = Duration::from_secs(10);

/// What a CA's https certificate is held against: public authorities, and those in a PEM file.
pub type Trust = fn(Option<&Path>) -> Result<rustls::ClientConfig, String>;

/// Where control keeps what it orders, by the configuration.
pub type StorageOf = Box<dyn Fn(&Acme) -> Arc<dyn Storage> + Send + Sync>;

/// What is to be kept.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    acme: Acme,
    /// Hosts, each with its site.
    hosts: BTreeMap<String, String>,
}

/// For whom is ordered.
#[derive(Clone)]
struct For {
    /// For all edges that share a secret with control; else for this node alone.
    edges: bool,
    storage: Arc<StorageOf>,
    stage: Arc<dyn Stage>,
}

impl For {
    /// What a configuration wants of it. With a secret control orders, without one the node does.
    fn wanted(&self, config: &Config) -> Option<Wanted> {
        let acme = config.tls.as_ref()?.acme.clone()?;
        (acme.secret.is_some() == self.edges).then(|| Wanted { acme, hosts: wanted(config) })
    }

    fn kept(&self, acme: &Acme) -> Kept {
        let seal = Seal::of(acme).map(Arc::new);
        Kept::new((self.storage)(acme), &acme.directory, seal)
    }
}

/// What is to be done at once.
enum Call {
    /// A new certificate for this host.
    Renew(String),
    /// New certificates for these, after which the old ones are revoked.
    Rotate(Vec<String>),
}

/// Keeps the certificates of a node, or of all edges, once it is started. Dropping it ends the thread.
pub struct Keeper {
    served: Arc<Served>,
    trust: Trust,
    of: For,
    wanted: watch::Sender<Option<Wanted>>,
    thread: Mutex<Thread>,
}

/// The thread that orders.
enum Thread {
    /// Not to be, or not any more.
    Stopped,
    /// There will be one when something is wanted.
    Unneeded,
    Running(Running),
}

struct Running {
    stop: watch::Sender<bool>,
    calls: mpsc::Sender<Call>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// For a node that orders for itself: what was kept for `config` before is in force in `served` when this
    /// returns; nothing is ordered yet.
    pub fn new(config: &Config, trust: Trust, served: Arc<Served>) -> Self {
        let stage = Arc::new(Own(served.clone()));
        let storage: StorageOf = Box::new(|acme| Arc::new(Files::new(&acme.state)));
        let of = For { edges: false, storage: Arc::new(storage), stage };
        let wanted = of.wanted(config);
        if let Some(wanted) = &wanted {
            let mut schedule = Schedule::default();
            let kept = of.kept(&wanted.acme);
            at_once(load(wanted, &kept, &mut schedule, &served));
        }
        Self::with(trust, of, served, wanted)
    }

    /// For control, which orders for all edges: what it has is kept in `storage`, sealed, and put in force by
    /// `stage`. Nothing is read or ordered before it is started.
    pub fn for_edges(
        config: &Config,
        trust: Trust,
        storage: StorageOf,
        stage: Arc<dyn Stage>,
    ) -> Self {
        let of = For { edges: true, storage: Arc::new(storage), stage };
        let wanted = of.wanted(config);
        Self::with(trust, of, Arc::default(), wanted)
    }

    fn with(trust: Trust, of: For, served: Arc<Served>, wanted: Option<Wanted>) -> Self {
        let (wanted, thread) = (watch::Sender::new(wanted), Mutex::new(Thread::Stopped));
        Self { served, trust, of, wanted, thread }
    }

    /// How each host stands, by name: the hosts whose certificates are kept, also one of which nothing is known yet;
    /// those that control tells of, where the node keeps none.
    pub fn listed(&self) -> Vec<Listed> {
        let told = self.served.listed();
        let wanted = self.wanted.borrow();
        let Some(wanted) = &*wanted else { return told };
        let mut told: BTreeMap<_, _> =
            told.into_iter().map(|one| ((one.name.clone(), one.site.clone()), one)).collect();
        let hosts = wanted.hosts.clone().into_iter();
        hosts.map(|host| told.remove(&host).unwrap_or_else(|| Listed::unread(host))).collect()
    }

    /// Orders and renews from now on, if anything is wanted, now or after a reload.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(&self) -> io::Result<()> {
        let mut thread = self.thread();
        if matches!(*thread, Thread::Stopped) {
            *thread = Thread::Unneeded;
        }
        self.run_if_needed(&mut thread)
    }

    /// Keeps what this configuration wants. An order that runs comes to its end.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn reload(&self, config: &Config) -> io::Result<()> {
        let new = self.of.wanted(config);
        let acme = config.tls.as_ref().and_then(|tls| tls.acme.as_ref());
        if !self.of.edges && acme.is_some_and(|acme| acme.secret.is_some()) {
            // Control orders from now on: nothing may be taken out of force that it sent.
            self.stop();
            *self.thread() = Thread::Unneeded;
        }
        self.wanted.send_if_modified(|wanted| {
            let changed = *wanted != new;
            *wanted = new;
            changed
        });
        self.run_if_needed(&mut self.thread())
    }

    /// Has the certificate of a host renewed at once; `false` if none is kept for it.
    pub fn renew(&self, host: &str) -> bool {
        self.call(&[host], || Call::Renew(host.to_owned()))
    }

    /// Has certificates replaced at once, by ones with other keys, and the old ones revoked once the new ones are
    /// in force; `false` if none is kept for one of the hosts.
    pub fn rotate(&self, hosts: &[&str]) -> bool {
        self.call(hosts, || Call::Rotate(hosts.iter().map(|host| (*host).to_owned()).collect()))
    }

    fn call(&self, hosts: &[&str], call: impl FnOnce() -> Call) -> bool {
        let keeps = |wanted: &Wanted| hosts.iter().all(|host| wanted.hosts.contains_key(*host));
        let is_kept = self.wanted.borrow().as_ref().is_some_and(keeps);
        match &*self.thread() {
            Thread::Running(running) if is_kept => running.calls.try_send(call()).is_ok(),
            _ => false,
        }
    }

    /// Tells the thread to end, and an order that runs, and waits for nothing; certificates stay in force.
    pub fn halt(&self) {
        if let Thread::Running(running) = &*self.thread() {
            running.stop.send_replace(true);
        }
    }

    /// Ends the thread, and an order that runs; certificates stay in force.
    pub fn stop(&self) {
        let thread = std::mem::replace(&mut *self.thread(), Thread::Stopped);
        if let Thread::Running(Running { stop, thread, .. }) = thread {
            stop.send_replace(true);
            // One that panicked has said so.
            let _ = thread.join();
        }
    }

    fn thread(&self) -> MutexGuard<'_, Thread> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run_if_needed(&self, thread: &mut Thread) -> io::Result<()> {
        if matches!(thread, Thread::Unneeded) && self.wanted.borrow().is_some() {
            *thread = Thread::Running(self.run()?);
        }
        Ok(())
    }

    fn run(&self) -> io::Result<Running> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = watch::channel(false);
        let (calls, called) = mpsc::channel(FORCED);
        let records = Records::default();
        let task = Task::new(self.served.clone(), self.trust, self.of.clone(), records.clone());
        let wanted = self.wanted.subscribe();
        let name = "weir-certs".to_owned();
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            runtime.block_on(until_stopped(stopped, task.run(wanted, called)));
            end(runtime, &records);
        })?;
        Ok(Running { stop, calls, thread })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Ends the work of a thread: what the hook has set is removed.
fn end(runtime: Runtime, records: &Records) {
    // A timeout can only be made inside of the runtime.
    let cleaned = runtime.block_on(async { timeout(CLEAN_UP, records.clean_up()).await });
    if cleaned.is_err() {
        tracing::warn!("tls.acme.dns_hook: the DNS record of the order that was ended stays");
    }
    // Without waiting for a name that is still being looked up.
    runtime.shutdown_background();
}

async fn until_stopped(mut stopped: watch::Receiver<bool>, task: impl Future<Output = ()>) {
    tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => {}
        () = task => {}
    }
}

/// Runs what waits for nothing: files are read at once.
fn at_once(work: impl Future<Output = ()>) {
    let polled = pin!(work).poll(&mut Context::from_waker(Waker::noop()));
    debug_assert!(matches!(polled, Poll::Ready(())), "files are read at once");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::hook::Record;
    use weir_config::DnsHook;

    #[test]
    fn hosts_are_listed_before_what_is_kept_was_read_and_with_a_reload() {
        let path = std::env::temp_dir().join(format!("weir-keeper-listed-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("secret"), "s3".repeat(20)).unwrap();
        let config = |hosts: &str| {
            let text = format!(
                "[tls]\nlisten = \"127.0.0.1:0\"\n[tls.acme]\nstate = \"{0}\"\nsecret_file = \"{0}/secret\"\n\
                 [[site]]\nid = \"shop\"\nhosts = [{hosts}]\norigins = [\"http://127.0.0.1:9\"]\ntls = \"auto\"\n",
                path.display()
            );
            Config::from_toml(&text).unwrap()
        };
        let storage: StorageOf = Box::new(|acme| Arc::new(Files::new(&acme.state)));
        let stage = Arc::new(Own(Arc::default()));
        let trust: Trust = |_| Err("asked for no CA".to_owned());
        let keeper = Keeper::for_edges(&config("\"b.test\""), trust, storage, stage);
        let listed = || -> Vec<_> {
            keeper
                .listed()
                .into_iter()
                .map(|one| (one.name, one.site, one.error.is_some()))
                .collect()
        };
        let unread = |name: &str| (name.to_owned(), "shop".to_owned(), true);
        assert_eq!(listed(), [unread("b.test")]);
        // What is known is told, of the hosts that are wanted.
        let known = Listed { error: None, ..Listed::unread(("b.test".into(), "shop".into())) };
        keeper.served.list(vec![known]);
        keeper.reload(&config("\"a.test\", \"b.test\"")).unwrap();
        assert_eq!(listed(), [unread("a.test"), ("b.test".to_owned(), "shop".to_owned(), false)]);
        keeper.reload(&config("\"a.test\"")).unwrap();
        assert_eq!(listed(), [unread("a.test")]);
        std::fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn the_end_removes_the_dns_record_of_an_order_that_runs() {
        let path = std::env::temp_dir().join(format!("weir-keeper-{}", std::process::id()));
        let script = format!("echo \"$1\" >> {}", path.display());
        let command = ["/bin/sh", "-c", &script, "hook"].map(str::to_owned).to_vec();
        let hook = DnsHook { command, timeout: Duration::from_secs(20) };
        let record = Record { host: "a.test".to_owned(), value: "v".to_owned() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let records = Records::default();
        runtime.block_on(records.set(&hook, record)).unwrap();
        end(runtime, &records);
        let told = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(told, "present\ncleanup\n");
    }
}
