//! A parent judges the request of a node.

use crate::failure::Failure;
use crate::purge::FollowedLog;
use crate::state::{NodeState, Site};
use http::{HeaderMap, HeaderValue};
use std::sync::Arc;
use weir_config::Tier;
use weir_rules::invalidation::Seq;
use weir_rules::release::check_name;
use weir_rules::site_rules::RuleSet;
use weir_rules::tier::{self, Claim};

/// A node that asks, and how it must be answered.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    /// The log that both follow.
    pub(super) followed: Arc<FollowedLog>,
    /// What it has applied, in the log's numbers.
    claimed: Seq,
    /// How it is answered.
    met: Met,
}

/// How a node that asks is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    /// With any response that is valid here. All purges up to `checked`, in the log's numbers, were
    /// applied before the lookup.
    Ordinary { checked: Seq },
    /// The same, but only with a response whose fetch began after all purges that it claims.
    Past { checked: Seq },
    /// With a response that is fetched for it alone: what is valid here need not be valid there.
    Apart,
}

impl Asker {
    /// The own number at which the fetch of a response must have begun at the earliest; 0 if any
    /// valid response will do.
    pub(crate) fn least(&self) -> Seq {
        match self.met {
            Met::Ordinary { .. } => 0,
            Met::Past { .. } => self.followed.own(self.claimed),
            Met::Apart => Seq::MAX,
        }
    }

    /// Whether it shares neither stored responses nor running fills.
    pub(crate) fn is_apart(&self) -> bool {
        self.met == Met::Apart
    }

    /// The seqs by which it judges a response of this filled_at_seq, in the log's numbers: that
    /// seq, and the last purge that the response was judged by here. A response fetched for it alone
    /// is as new as its claim, even if less is applied here.
    pub(super) fn worth(&self, filled_at: Seq) -> (Seq, Seq) {
        match self.met {
            Met::Ordinary { checked } | Met::Past { checked } => {
                (filled_at, checked.max(filled_at))
            }
            Met::Apart => (self.claimed, self.claimed),
        }
    }
}

/// Who sends a request.
pub(crate) enum Requester {
    /// Not a node, or none that this node answers as one.
    Stranger,
    /// A node.
    Asker(Asker),
    /// A node that has applied more purges than this one, as it claims; and whether it asks past
    /// the store.
    Ahead(Claim, bool),
}

/// Judges who sends a request. Nodes ask only parents.
///
/// # Errors
/// This parent cannot check the node's seqs and must not answer: the node asks elsewhere.
#[inline]
pub(crate) fn admit(state: &NodeState, headers: &HeaderMap) -> Result<Requester, Failure> {
    if state.tier != Tier::Parent
        || !(headers.contains_key(tier::SEQ) || headers.contains_key(tier::KEY))
    {
        return Ok(Requester::Stranger);
    }
    let followed = state.purges.standing();
    let (Some(_), Some(key)) = (&followed.log, &followed.tier_key) else {
        return Err(NO_LOG);
    };
    let shown = headers.get(tier::KEY).map_or(&b""[..], HeaderValue::as_bytes);
    if !tier::is_key(key, shown) {
        return Err(Failure::CannotVouch("tier-key"));
    }
    let claim = headers.get(tier::SEQ).and_then(|claim| Claim::parse(claim.as_bytes()));
    let claim = claim.ok_or(Failure::CannotVouch("weir-seq"))?;
    let past = headers.get(tier::PAST).is_some_and(|past| past == "1");
    Ok(match judged(state, &claim, past)? {
        Some(asker) => Requester::Asker(asker),
        None => Requester::Ahead(claim, past),
    })
}

/// The release that a node asks for, whichever is live here.
///
/// # Errors
/// The site has no releases, or that is no name of one: the origin could not be asked for it.
pub(crate) fn release(site: &Site, headers: &HeaderMap) -> Result<Option<Arc<str>>, Failure> {
    const UNKNOWN: Failure = Failure::CannotVouch("weir-release");
    let Some(named) = headers.get(tier::RELEASE) else { return Ok(None) };
    let name = named.to_str().ok().filter(|name| check_name(name).is_ok()).ok_or(UNKNOWN)?;
    site.config.release.is_some().then(|| Some(Arc::from(name))).ok_or(UNKNOWN)
}

/// The rules of the site that a node found its request to match.
///
/// # Errors
/// One of them is not here: what is stored under other rules may not be what they ask for.
pub(crate) fn rules(site: &Site, headers: &HeaderMap) -> Result<RuleSet, Failure> {
    const UNKNOWN: Failure = Failure::CannotVouch("weir-rules");
    let Some(names) = headers.get(tier::RULES) else { return Ok(RuleSet::default()) };
    let names = names.to_str().map_err(|_| UNKNOWN)?;
    site.config.rules.named(names).map_err(|_| UNKNOWN)
}

const NO_LOG: Failure = Failure::CannotVouch("no-log");

/// How a node with this claim is answered; `None` if it has applied more.
fn judged(state: &NodeState, claim: &Claim, past: bool) -> Result<Option<Asker>, Failure> {
    let followed = state.purges.standing();
    let admission = state.purges.admit(claim);
    // Read before any lookup: a response that is found valid then was judged by all purges so far. And after the
    // claim was judged: a purge that is applied in between would be vouched for by nobody, and the node that asks
    // would pass this one by.
    let checked = followed.of_log(state.purges.applied()).ok_or(NO_LOG)?;
    let met = match admission {
        tier::Admission::OtherLog => return Err(Failure::CannotVouch("other-log")),
        tier::Admission::Behind => return Ok(None),
        tier::Admission::Apart => Met::Apart,
        tier::Admission::Ordinary if past => Met::Past { checked },
        tier::Admission::Ordinary => Met::Ordinary { checked },
    };
    Ok(Some(Asker { followed, claimed: claim.applied, met }))
}

/// Waits, within bounds, until the purges that the node claims are applied here too. If they are not
/// by then, the request is answered past the store and past running fills.
pub(crate) async fn catch_up(
    state: &NodeState,
    claim: Claim,
    past: bool,
) -> Result<Asker, Failure> {
    let own = state.purges.standing().own(claim.applied);
    let bound = state.live.load().config.parents.catch_up;
    state.purges.until_applied(own, bound).await;
    // Judged again: this node may follow another log by now.
    let asker = judged(state, &claim, past)?;
    Ok(asker.unwrap_or_else(|| Asker {
        followed: state.purges.standing(),
        claimed: claim.applied,
        met: Met::Apart,
    }))
}
