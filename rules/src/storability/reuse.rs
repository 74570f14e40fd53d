//! Which requests may be answered with a response that they did not fetch (RFC 9111 §4).

use super::facts::Facts;
use crate::freshness::{Freshness, State};

/// Which requests that waited while a response was fetched may be answered with it.
///
/// Request collapsing sends a response to requests whose own headers the origin never saw. That is
/// reuse (RFC 9111 §4): the response must be fresh, or allowed stale, or validated. Where it needs
/// validation before each use, only the request that fetched it may have it; every other request
/// validates with its own headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// All of them: it was fresh on arrival.
    Fresh,
    /// All but those of other nodes: it was stale on arrival, within stale-while-revalidate.
    WhileRevalidating,
    /// Those that were waiting already, never a later one: only the time that the fetch took made
    /// it stale. A request with Authorization is among them only if the response says `public` or
    /// `s-maxage`.
    Waiting {
        /// Whether requests with Authorization are among them.
        authorized: bool,
    },
    /// None: `no-cache`, a lifetime of 0, or stale on arrival for another reason.
    Validated,
}

impl Reuse {
    pub(super) fn of(facts: &Facts<'_>, freshness: &Freshness) -> Self {
        let exchange = facts.exchange;
        match freshness.state(exchange.received) {
            State::Fresh { .. } => return Self::Fresh,
            State::Refreshable { .. } => return Self::WhileRevalidating,
            State::Stale { .. } => {}
        }
        let fetch = exchange.response_time.millis_since(exchange.request_time);
        let age = facts.initial_age.saturating_sub(fetch);
        if freshness.validate_always || age >= u64::from(freshness.lifetime) * 1000 {
            return Self::Validated;
        }
        let directives = &facts.governing.directives;
        let authorized = directives.public || directives.s_maxage.is_some();
        match facts.authorization && !authorized {
            true => Self::Validated,
            false => Self::Waiting { authorized },
        }
    }

    /// Whether a request that waited may be answered with the response. `authorization`: it has
    /// that header; `node`: another node sent it, which is answered fresh or not at all.
    pub fn permits(self, authorization: bool, node: bool) -> bool {
        match self {
            Self::Fresh => true,
            Self::WhileRevalidating => !node,
            Self::Waiting { authorized } => authorized || !authorization,
            Self::Validated => false,
        }
    }
}
