//! Where what orders lead to is put in force: in a node that orders for itself, or by control on all edges.

use crate::challenge::Proof;
use crate::served::Served;
use crate::storage::Pending;
use std::sync::Arc;
use weir_protocol::sealed::Sealed;

/// See the module.
pub trait Stage: Send + Sync {
    /// Whether orders may be sent: exactly one of several processes of control orders.
    fn may_order(&self) -> bool;

    /// Whether somebody would answer a CA that asks for this host.
    fn reaches(&self, host: &str) -> bool;

    /// Has a challenge answered, and returns once it is, wherever the CA may ask, or after a bounded wait.
    ///
    /// # Errors
    /// It cannot be answered at all.
    fn answer<'a>(&'a self, host: &'a str, proof: &'a Proof) -> Pending<'a, Result<(), String>>;

    /// Has it answered no more.
    fn end(&self, host: &str);

    /// A certificate is in force; returns once it is wherever it is served, or after a bounded wait.
    fn issued<'a>(&'a self, certificate: Option<Sealed>) -> Pending<'a, ()>;

    /// These certificates are in force, and no others.
    fn restore(&self, certificates: Vec<Sealed>);
}

/// A node that orders for itself: what TLS and HTTP look at is all there is.
pub(crate) struct Own(pub(crate) Arc<Served>);

impl Stage for Own {
    fn may_order(&self) -> bool {
        true
    }

    fn reaches(&self, _: &str) -> bool {
        true
    }

    fn answer<'a>(&'a self, host: &'a str, proof: &'a Proof) -> Pending<'a, Result<(), String>> {
        Box::pin(async move { self.0.challenges().answer(host, proof) })
    }

    fn end(&self, host: &str) {
        self.0.challenges().end(host);
    }

    fn issued<'a>(&'a self, _: Option<Sealed>) -> Pending<'a, ()> {
        Box::pin(async {})
    }

    fn restore(&self, _: Vec<Sealed>) {}
}
