//! What an upstream is asked.

use super::balance::For;
use crate::metrics::SiteSlot;
use crate::forward::Outgoing;
use crate::trace::Trace;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::sync::Arc;
use weir_rules::client_share::Prefix;

/// What the upstream is asked.
#[derive(Clone)]
pub(crate) struct Ask {
    /// The method.
    pub(crate) method: Method,
    /// Path and query, byte for byte as they go out.
    pub(crate) target: PathAndQuery,
    /// Fields, less Host and hop-by-hop ones.
    pub(crate) headers: Outgoing,
    /// The client's host with its port, for members that are asked with it.
    pub(crate) client_host: Option<HeaderValue>,
    /// Who waits for the answer; `None` if nobody does, and it is wanted all the same.
    pub(crate) asker: Option<Arc<dyn Asking>>,
    /// The protocol to switch to, for an upgrade.
    pub(crate) upgrade: Option<HeaderValue>,
    /// What the choice of a member may depend on.
    pub(crate) chosen_by: For,
    /// The client prefix that it counts for while it waits; `None` if that has no bound.
    pub(crate) counts_for: Option<Prefix>,
    /// The site that it is counted for.
    pub(crate) site: SiteSlot,
    /// The place in a trace of the request that it is for.
    pub(crate) trace: Option<Trace>,
}

impl Ask {
    /// Whether it may be sent again though it may have been acted upon: safe methods change
    /// nothing (RFC 9110 §9.2.1). PUT and DELETE are idempotent too (§9.2.2), but what stands
    /// between two of them is not weir's to know.
    pub(super) fn is_repeatable(&self) -> bool {
        self.method.is_safe() && self.upgrade.is_none()
    }

    /// Whether somebody may still want the answer.
    pub(super) fn is_wanted(&self) -> bool {
        self.asker.as_ref().is_none_or(|asker| asker.is_waiting())
    }
}

/// Who waits for an answer.
pub(crate) trait Asking: Send + Sync {
    /// Whether anybody does still. Asked now and then while a request waits for a place: one that nobody wants
    /// is given up unsent.
    fn is_waiting(&self) -> bool;

    /// Takes an interim response when it arrives, with its fields as the upstream sent them.
    fn interim(&self, status: StatusCode, fields: &HeaderMap);
}
