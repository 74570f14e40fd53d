//! What an upstream is asked.

use super::balance::For;
use crate::metrics::SiteSlot;
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
    /// Fields, less Host and hop-by-hop ones. Shared, because a request that waits for its turn needs no
    /// copies of its own.
    pub(crate) headers: Arc<HeaderMap>,
    /// The client's host with its port, for members that are asked with it.
    pub(crate) client_host: Option<HeaderValue>,
    /// Interim responses are handed to this.
    pub(crate) interim: Option<InterimSink>,
    /// Whether anybody still waits for the answer; `None` if it is wanted in any case.
    pub(crate) wanted: Option<Wanted>,
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
}

/// Asked now and then while a request waits for a place: one that nobody wants is given up unsent.
pub(crate) type Wanted = Arc<dyn Fn() -> bool + Send + Sync>;

/// Takes interim responses as they arrive.
pub(crate) type InterimSink = Arc<dyn Fn(StatusCode, &HeaderMap) + Send + Sync>;
