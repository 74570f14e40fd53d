//! What TLS and HTTP look at: the certificates in force, running challenges, the keys of session tickets, and how
//! each host stands.

use crate::certificate::Issued;
use crate::challenge::{CHALLENGE_PATH, Challenges};
use crate::tickets::Tickets;
use arc_swap::ArcSwap;
use rustls::sign::CertifiedKey;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// See the module. Hosts are in lower case, without port.
#[derive(Debug, Default)]
pub struct Served {
    certificates: ArcSwap<HashMap<String, Issued>>,
    challenges: Challenges,
    tickets: Arc<Tickets>,
    listed: Mutex<Vec<Listed>>,
}

/// How a host stands. Times are seconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The host.
    pub name: String,
    /// The id of its site.
    pub site: String,
    /// When its certificate ends; `None` while it has none.
    pub expires: Option<u64>,
    /// When it is renewed.
    pub renews: Option<u64>,
    /// Failed orders since the last certificate.
    pub failures: u32,
    /// Why the last of them failed.
    pub error: Option<String>,
    /// When the next order is sent, if one failed.
    pub retries: Option<u64>,
    /// Certificates that were replaced for good and are still to be revoked.
    pub unrevoked: u32,
}

impl Listed {
    /// A host, with its site, of which nothing is known yet.
    pub(crate) fn unread((name, site): (String, String)) -> Self {
        let error = Some("what was ordered before is not read yet".to_owned());
        let (expires, renews, retries) = (None, None, None);
        Self { name, site, expires, renews, failures: 0, error, retries, unrevoked: 0 }
    }
}

/// The wildcard that stands for a host.
fn wildcard(host: &str) -> Option<String> {
    let (label, parent) = host.split_once('.')?;
    (!label.is_empty()).then(|| format!("*.{parent}"))
}

impl Served {
    /// The certificate for a host: its own, or that of a wildcard, which stands for one label (RFC 6125 §6.4.3).
    pub fn certificate(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        let certificates = self.certificates.load();
        let issued = certificates.get(host).or_else(|| certificates.get(&wildcard(host)?));
        issued.map(|issued| issued.key.clone())
    }

    /// Whether there is a certificate for a host.
    pub fn has(&self, host: &str) -> bool {
        let certificates = self.certificates.load();
        certificates.contains_key(host)
            || wildcard(host).is_some_and(|wildcard| certificates.contains_key(&wildcard))
    }

    /// What proves to the CA of a running order, in a handshake with [`crate::ALPN`] alone, that a host leads
    /// here.
    pub fn proof(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        self.challenges.tls(host)
    }

    /// The answer to a request for a host and path, if it is the challenge of a running order.
    pub fn answer(&self, host: &str, path: &str) -> Option<String> {
        self.challenges.http(host, path.strip_prefix(CHALLENGE_PATH)?)
    }

    /// Session tickets.
    pub fn tickets(&self) -> &Arc<Tickets> {
        &self.tickets
    }

    /// How each host stands, by name.
    pub fn listed(&self) -> Vec<Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn challenges(&self) -> &Challenges {
        &self.challenges
    }

    pub(crate) fn list(&self, listed: Vec<Listed>) {
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = listed;
    }

    /// The certificates in force.
    pub(crate) fn all(&self) -> Arc<HashMap<String, Issued>> {
        self.certificates.load_full()
    }

    /// Handshakes that begin from now on get these; connections stay as they are.
    pub(crate) fn put(&self, certificates: HashMap<String, Issued>) {
        self.certificates.store(Arc::new(certificates));
    }
}
