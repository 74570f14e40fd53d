//! What an edge has from control: certificates, the answers to challenges, the keys of session tickets. It is kept
//! sealed, so that the edge serves after a restart without control, and opened in memory alone.

use crate::certificate::Issued;
use crate::challenge::Proof;
use crate::files::Files;
use crate::schedule::wanted;
use crate::seal::Seal;
use crate::served::{Listed, Served};
use crate::tickets::TicketKeys;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use weir_config::{Acme, Config};
use weir_protocol::sealed::{ItemName, Purpose, Sealed};

/// The directory in `tls.acme.state`.
const DIRECTORY: &str = "received";

/// See the module.
pub struct Received {
    served: Arc<Served>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// `None` where the node takes nothing: it shares no secret with control.
    takes: Option<Takes>,
    /// The newest of each, by purpose and host.
    items: BTreeMap<(Purpose, String), Item>,
}

struct Takes {
    acme: Acme,
    seal: Seal,
    files: Files,
    /// Hosts, each with its site.
    hosts: BTreeMap<String, String>,
}

/// An item that was opened.
struct Item {
    version: u64,
    opened: Opened,
}

enum Opened {
    Certificate(Box<Issued>),
    Challenge,
    Tickets(TicketKeys),
}

impl Received {
    /// What was kept for `config` before is in force in `served` when this returns.
    pub fn new(config: &Config, served: Arc<Served>) -> Self {
        let received = Self { served, inner: Mutex::default() };
        received.reload(config);
        received
    }

    /// Goes on by this configuration.
    pub fn reload(&self, config: &Config) {
        let acme = config.tls.as_ref().and_then(|tls| tls.acme.clone());
        let with_seal = acme.and_then(|acme| Seal::of(&acme).map(|seal| (acme, seal)));
        let mut inner = self.inner();
        let was_taking = inner.takes.is_some();
        let Some((acme, seal)) = with_seal else {
            if was_taking {
                *inner = Inner::default();
                self.served.put(HashMap::new());
                self.served.tickets().share(None);
                self.served.challenges().retain(|_| false);
                self.served.list(Vec::new());
            }
            return;
        };
        let files = Files::new(&acme.state.join(DIRECTORY));
        let same = inner.takes.as_ref().is_some_and(|takes| takes.acme == acme);
        let takes = Takes { acme, seal, files, hosts: wanted(config) };
        if !same {
            inner.items.clear();
        }
        inner.load(takes);
        self.refresh(&inner);
    }

    /// Which of the items that control has this node lacks, or has in an older version; `None` if it takes none.
    /// The challenges of hosts that are not among them are over.
    pub fn lacked(&self, items: Vec<ItemName>) -> Option<Vec<ItemName>> {
        let inner = self.inner();
        let takes = inner.takes.as_ref()?;
        let running = |host: &str| {
            let is_it = |item: &ItemName| item.purpose == Purpose::Challenge && item.host == host;
            items.iter().any(is_it)
        };
        self.served.challenges().retain(running);
        let mut lacked = items;
        lacked.retain(|item| takes.wants(item) && inner.version(item) < Some(item.version));
        Some(lacked)
    }

    /// Takes items, and ends the challenges of hosts; when this returns they are in force, and those that outlast
    /// the process are on disk.
    ///
    /// # Errors
    /// One of them cannot be opened or kept, in words; the others are in force.
    pub fn take(&self, items: Vec<Sealed>, ended: &[String]) -> Result<(), String> {
        let mut inner = self.inner();
        for host in ended {
            self.served.challenges().end(host);
            inner.items.remove(&(Purpose::Challenge, host.clone()));
        }
        let mut failed = None;
        for item in items {
            if let Err(error) = inner.take(&item, &self.served) {
                failed.get_or_insert(error);
            }
        }
        self.refresh(&inner);
        match failed {
            Some(error) => {
                tracing::error!(error, "what control sent for TLS is not in force");
                Err(error)
            }
            None => Ok(()),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts all in force.
    fn refresh(&self, inner: &Inner) {
        let Some(takes) = &inner.takes else { return };
        let mut certificates = HashMap::new();
        let mut listed = Vec::new();
        for (host, site) in &takes.hosts {
            let item = inner.items.get(&(Purpose::Certificate, host.clone()));
            let issued = match item.map(|item| &item.opened) {
                Some(Opened::Certificate(issued)) => Some(Issued::clone(issued)),
                _ => None,
            };
            let held = issued.as_ref().map(|issued| issued.held);
            certificates.extend(issued.map(|issued| (host.clone(), issued)));
            listed.push(Listed {
                name: host.clone(),
                site: site.clone(),
                expires: held.map(|held| held.validity.end.as_secs()),
                renews: None,
                failures: 0,
                error: None,
                retries: None,
                unrevoked: 0,
            });
        }
        self.served.put(certificates);
        self.served.list(listed);
        let tickets = inner.items.get(&(Purpose::Tickets, String::new()));
        let keys = match tickets.map(|item| &item.opened) {
            Some(Opened::Tickets(keys)) => Some(keys.clone()),
            _ => None,
        };
        self.served.tickets().share(keys);
    }
}

impl Takes {
    fn wants(&self, item: &ItemName) -> bool {
        match item.purpose {
            Purpose::Certificate | Purpose::Challenge => self.hosts.contains_key(&item.host),
            Purpose::Tickets => item.host.is_empty(),
            Purpose::Account | Purpose::Rotations => false,
        }
    }
}

impl Inner {
    fn version(&self, item: &ItemName) -> Option<u64> {
        self.items.get(&(item.purpose, item.host.clone())).map(|held| held.version)
    }

    /// Reads what was kept, and forgets what is for hosts that are not wanted any more.
    fn load(&mut self, takes: Takes) {
        let named = |error: String| {
            let directory = takes.acme.state.join(DIRECTORY);
            tracing::error!(directory = %directory.display(), error, "tls.acme.state");
        };
        let names = takes.files.names().map_err(|error| named(error.to_string()));
        for name in names.unwrap_or_default() {
            let Ok(Some(text)) = takes.files.text(&name) else { continue };
            let Ok(item) = serde_json::from_str::<Sealed>(&text) else { continue };
            if !takes.wants(&item.name) || file_of(&item.name).as_deref() != Some(&name) {
                // It may be wanted by the other of two processes, which then gets it from control again.
                if let Err(error) = takes.files.forget(&name) {
                    named(error.to_string());
                }
                continue;
            }
            if self.version(&item.name) >= Some(item.name.version) {
                continue;
            }
            match open(&takes.seal, &item) {
                Ok(opened) => self.hold(&item.name, opened),
                Err(error) => named(error),
            }
        }
        let wanted = |purpose: &Purpose, host: &String| {
            let (purpose, host) = (*purpose, host.clone());
            takes.wants(&ItemName { purpose, host, version: 0 })
        };
        self.items.retain(|(purpose, host), _| wanted(purpose, host));
        self.takes = Some(takes);
    }

    fn take(&mut self, item: &Sealed, served: &Served) -> Result<(), String> {
        let takes = self.takes.as_ref().ok_or("this node has no tls.acme.secret_file")?;
        // Of a site that this node does not serve by tls = "auto".
        if !takes.wants(&item.name) {
            return Ok(());
        }
        // A recording that is played again brings nothing back.
        if self.version(&item.name) > Some(item.name.version) {
            let what = format!("{} {}", item.name.purpose.word(), item.name.host);
            return Err(format!("{}: this node has a newer one", what.trim_end()));
        }
        let opened = match item.name.purpose {
            Purpose::Challenge => {
                let (plain, _) = takes.seal.open(item)?;
                let proof: Proof = serde_json::from_slice(&plain)
                    .map_err(|error| format!("challenge {}: {error}", item.name.host))?;
                served.challenges().answer(&item.name.host, &proof)?;
                Opened::Challenge
            }
            _ => open(&takes.seal, item)?,
        };
        if let Some(file) = file_of(&item.name) {
            let text = serde_json::to_string(item).map_err(|error| error.to_string())?;
            let kept = takes.files.keep(&file, &text);
            kept.map_err(|error| format!("tls.acme.state: {DIRECTORY}/{file}: {error}"))?;
        }
        self.hold(&item.name, opened);
        Ok(())
    }

    fn hold(&mut self, name: &ItemName, opened: Opened) {
        let item = Item { version: name.version, opened };
        self.items.insert((name.purpose, name.host.clone()), item);
    }
}

/// Opens what outlasts the process.
fn open(seal: &Seal, item: &Sealed) -> Result<Opened, String> {
    let (plain, _) = seal.open(item)?;
    let host = &item.name.host;
    match item.name.purpose {
        Purpose::Certificate => {
            let pem = String::from_utf8(plain).map_err(|_| format!("{host}: not PEM"))?;
            let issued = Issued::read(&pem, host).map_err(|error| format!("{host}: {error}"))?;
            Ok(Opened::Certificate(Box::new(issued)))
        }
        Purpose::Tickets => {
            let keys =
                serde_json::from_slice(&plain).map_err(|error| format!("tickets: {error}"))?;
            Ok(Opened::Tickets(keys))
        }
        other => Err(format!("{}: nothing that is received", other.word())),
    }
}

/// The name of the file in which an item is kept; `None` if it does not outlast the process.
fn file_of(name: &ItemName) -> Option<String> {
    match name.purpose {
        Purpose::Certificate => match name.host.strip_prefix('*') {
            Some(rest) => Some(format!("certificate-_{rest}")),
            None => Some(format!("certificate-{}", name.host)),
        },
        Purpose::Tickets => Some("tickets".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
