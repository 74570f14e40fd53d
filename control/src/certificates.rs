//! Certificates that control orders for all edges, which share the secret `tls.acme.secret_file` with it: it
//! keeps them sealed, and each edge gets, sealed, what is for the hosts that it serves.

mod etcd;
mod shelf;
mod supply;
mod tickets;

pub(crate) use supply::Supply;

use crate::etcd::Tenure;
use crate::process::Process;
use etcd::EtcdStorage;
use serde_json::{Value, json};
use shelf::Shelf;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use weir_acme::{Files, Keeper, Listed, Storage, StorageOf};
use weir_config::{Acme, Config};

/// See the module.
pub(crate) struct Certificates {
    process: Arc<Process>,
    shelf: Arc<Shelf>,
    keeper: Keeper,
    /// As the keeper's.
    storage: StorageOf,
    /// The keys of session tickets are looked at again.
    tickets: Notify,
    /// They are to be replaced at once.
    replace_tickets: std::sync::atomic::AtomicBool,
}

/// What a configuration says where control orders; `None` where it does not.
fn ordering(config: &Config) -> Option<&Acme> {
    config.tls.as_ref()?.acme.as_ref().filter(|acme| acme.secret.is_some())
}

impl Certificates {
    /// For control in `process`; in `tenure` where several processes share what is kept. It orders nothing before
    /// it is started.
    pub(crate) fn new(process: Arc<Process>, tenure: Option<&Arc<Tenure>>) -> Self {
        let config = process.config();
        let shelf = Arc::new(Shelf::new(process.clone(), tenure.cloned()));
        let trust = process.program().trust();
        let keeper = Keeper::for_edges(&config, trust, storage(tenure), shelf.clone());
        let storage = storage(tenure);
        let (tickets, replace_tickets) = (Notify::new(), false.into());
        Self { process, shelf, keeper, storage, tickets, replace_tickets }
    }

    /// Orders from now on, where the configuration wants it.
    pub(crate) fn start(&self) {
        if let Err(error) = self.keeper.start() {
            tracing::error!(%error, "tls.acme: no thread to order certificates");
        }
    }

    /// Goes on by this configuration.
    pub(crate) fn reload(&self, config: &Config) {
        if let Err(error) = self.keeper.reload(config) {
            tracing::error!(%error, "tls.acme: no thread to order certificates");
        }
        self.tickets.notify_one();
    }

    /// Orders nothing any more; an order that runs is ended soon.
    pub(crate) fn halt(&self) {
        self.keeper.halt();
    }

    /// The same; when this returns, nothing is ordered or written.
    pub(crate) fn stop(&self) {
        self.keeper.stop();
    }

    /// Whether control orders; where not, its node may.
    pub(crate) fn orders(&self) -> bool {
        ordering(&self.process.config()).is_some()
    }

    /// How each host stands, by name.
    pub(crate) fn listed(&self) -> Vec<Listed> {
        self.keeper.listed()
    }

    /// The same, with the certificates from files of the node beside control.
    pub(crate) fn told(&self) -> Vec<Value> {
        let others = self.process.program().certificates();
        if !self.orders() {
            return others;
        }
        let told = |listed: Listed| {
            let mut told = json!(listed);
            told["source"] = "ordered".into();
            told
        };
        let of_files = others.into_iter().filter(|other| other["source"] == "file");
        self.listed().into_iter().map(told).chain(of_files).collect()
    }

    /// Has the certificate of a host renewed at once; `false` if none is ordered for it.
    pub(crate) fn renew(&self, host: &str) -> bool {
        match self.orders() {
            true => self.keeper.renew(host),
            false => self.process.program().renew_certificate(host),
        }
    }

    /// Has certificates replaced at once and the old ones revoked, and the keys of session tickets replaced;
    /// `false` if none is ordered for one of the hosts.
    pub(crate) fn rotate(&self, hosts: &[&str]) -> bool {
        if !self.orders() {
            return self.process.program().rotate_certificates(hosts);
        }
        if !self.keeper.rotate(hosts) {
            return false;
        }
        self.replace_tickets.store(true, std::sync::atomic::Ordering::Relaxed);
        self.tickets.notify_one();
        true
    }
}

/// Where what is ordered is kept: in etcd where control shares its log, else in files.
fn storage(tenure: Option<&Arc<Tenure>>) -> StorageOf {
    let shared = tenure.map(|tenure| Arc::new(EtcdStorage::new(tenure.clone(), Handle::current())));
    Box::new(move |acme| match &shared {
        Some(shared) => shared.clone() as Arc<dyn Storage>,
        None => Arc::new(Files::new(&acme.state)),
    })
}
