//! Who sent a request, and what follows from that.

use crate::body::ResponseBody;
use crate::failure::Failure;
use crate::forward;
use crate::lookup::Query;
use crate::shares;
use crate::state::{NodeState, Site};
use crate::tier::{self, Asker, NodeFields};
use http::{HeaderMap, Response};
use std::net::IpAddr;
use std::sync::Arc;
use weir_config::{Config, Tier};
use weir_rules::cache_control::RequestDirectives;
use weir_rules::client_share::Prefix;
use weir_rules::invalidation::Seq;
use weir_rules::tier::{BYPASS, PERSONAL};

/// The sender of a request.
pub(crate) struct Sender {
    /// Whether its forwarding headers are believed: it is another node, this node itself, or one of
    /// `node.trusted_proxies`. Decided here and nowhere else.
    pub(super) trusted: bool,
    /// The node that asks, if it is one.
    pub(super) asker: Option<Asker>,
    /// The tier that the request warms, if it is this node's own.
    pub(super) warms: Option<Tier>,
    /// Whether it is a node that asks for one client alone, past the rules of static assets.
    pub(super) personal: bool,
    /// Whether it is a node at which a cookie makes the request skip the store.
    pub(super) bypass: bool,
}

impl Sender {
    /// The sender of a request with these headers from `peer`; `asker` if it is a node.
    pub(super) fn of(
        state: &NodeState,
        config: &Config,
        peer: IpAddr,
        headers: &HeaderMap,
        asker: Option<Asker>,
    ) -> Self {
        let warms = state.own.warms(headers);
        let trusted = asker.is_some()
            || warms.is_some()
            || forward::contains(&config.node.trusted_proxies, peer);
        let told = |name| asker.is_some() && headers.get(name).is_some_and(|told| told == "1");
        let (personal, bypass) = (told(PERSONAL), told(BYPASS));
        Self { trusted, asker, warms, personal, bypass }
    }

    /// Whether only parents may be asked: this node warms them.
    pub(super) fn warms_parents(&self) -> bool {
        self.warms == Some(Tier::Parent)
    }

    /// Whether it is a node that has this one as its parent.
    pub(super) fn is_node(&self) -> bool {
        self.asker.is_some()
    }

    /// Whether it is a node that shares neither stored responses nor fills with others.
    pub(super) fn is_apart(&self) -> bool {
        self.asker.as_ref().is_some_and(Asker::is_apart)
    }

    /// The lowest filled_at_seq of a response that it may get; 0 is no bound.
    pub(super) fn least(&self) -> Seq {
        self.asker.as_ref().map_or(0, Asker::least)
    }

    /// The address of the client: the peer's or, if the peer is trusted, the one that it names.
    pub(super) fn address(&self, config: &Config, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        self.trusted.then(|| named_client(config, headers)).flatten().unwrap_or(peer)
    }

    /// The same for access: `None` if a trusted proxy names a client that cannot be read.
    pub(super) fn client(
        &self,
        config: &Config,
        peer: IpAddr,
        headers: &HeaderMap,
    ) -> Option<IpAddr> {
        if !self.trusted {
            return Some(peer);
        }
        let own = || (!forward::is_forwarded(headers)).then_some(peer);
        named_client(config, headers).or_else(own)
    }

    /// The client prefix that the request counts for; `None` if that has no bound: the node itself
    /// warms its store, a node or a trusted proxy names no client, or the client is exempt.
    pub(super) fn counts_for(
        &self,
        config: &Config,
        peer: IpAddr,
        headers: &HeaderMap,
    ) -> Option<Prefix> {
        let client = match self.trusted {
            true if self.warms.is_some() => return None,
            true => named_client(config, headers)?,
            false => peer,
        };
        shares::prefix_of(&config.node.trusted_proxies, config.limits.private_clients, client)
    }

    /// The release that it gets: the one that a node asks for, else the one that the site shows.
    ///
    /// # Errors
    /// A node asks for a release that this one cannot give.
    pub(super) fn release(
        &self,
        state: &NodeState,
        site: &Site,
        headers: &HeaderMap,
    ) -> Result<Option<Arc<str>>, Failure> {
        match &self.asker {
            Some(_) => tier::release(site, headers),
            None => Ok(state.release_of(site)),
        }
    }

    /// What the lookup is to answer to this sender: nodes get fresh responses only. `client` are
    /// the directives that the site honours.
    pub(super) fn query<'a>(
        &self,
        plain: Query<'a>,
        client: Option<&'a RequestDirectives>,
    ) -> Query<'a> {
        Query { client, fresh_only: self.is_node(), least: self.least(), ..plain }
    }

    /// States in a response to a node what the response is worth.
    ///
    /// # Errors
    /// The node follows another log by now.
    pub(super) fn vouch(
        &self,
        state: &NodeState,
        response: &mut Response<ResponseBody>,
        filled_at: Seq,
        told: NodeFields<'_>,
    ) -> Result<(), Failure> {
        match &self.asker {
            Some(asker) => asker.vouch(state, response.headers_mut(), filled_at, told),
            None => Ok(()),
        }
    }
}

/// The client that trusted proxies name: the last address in X-Forwarded-For that is not one of
/// theirs.
pub(super) fn named_client(config: &Config, headers: &HeaderMap) -> Option<IpAddr> {
    let chain = headers.get_all("x-forwarded-for").iter().rev();
    let mut named = None;
    for line in chain {
        for address in line.to_str().ok()?.rsplit(',') {
            let address: IpAddr = address.trim().parse().ok()?;
            named = Some(address);
            if !forward::contains(&config.node.trusted_proxies, address) {
                return named;
            }
        }
    }
    named
}
