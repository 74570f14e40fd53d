//! A parent meets the request of a node.

use crate::failure::Failure;
use crate::purge::Followed;
use crate::state::{NodeState, Site};
use http::{HeaderMap, HeaderValue};
use std::sync::Arc;
use weir_config::Tier;
use weir_rules::invalidation::Seq;
use weir_rules::release::check_name;
use weir_rules::tier::{self, Claim};

/// A node that asks, and what it must be given.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    /// The log that both follow.
    pub(super) followed: Arc<Followed>,
    /// What it has applied, in the log's numbers.
    claimed: Seq,
    /// How it is met.
    met: Met,
}

/// How a node that asks is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    /// With what is valid here. All up to `checked`, in the log's numbers, was applied before
    /// anything was looked up for it.
    Ordinary { checked: Seq },
    /// The same, but only with what began to be fetched after all that it claims.
    Past { checked: Seq },
    /// With what is fetched for it alone: what is valid here need not be there.
    Apart,
}

impl Asker {
    /// The own number below which nothing that began to be fetched will do; 0 where whatever is
    /// valid here will.
    pub(crate) fn least(&self) -> Seq {
        match self.met {
            Met::Ordinary { .. } => 0,
            Met::Past { .. } => self.followed.own(self.claimed),
            Met::Apart => Seq::MAX,
        }
    }

    /// Whether it shares neither what is stored nor a fetch that runs for others.
    pub(crate) fn is_apart(&self) -> bool {
        self.met == Met::Apart
    }

    /// What a response of this filled_at_seq, in the log's numbers, is worth to it: that seq, and
    /// the one up to which it was held against the log. What was fetched for it alone is as new as
    /// what it claims, whatever is applied here.
    pub(super) fn told(&self, filled_at: Seq) -> (Seq, Seq) {
        match self.met {
            Met::Ordinary { checked } | Met::Past { checked } => {
                (filled_at, checked.max(filled_at))
            }
            Met::Apart => (self.claimed, self.claimed),
        }
    }
}

/// What a request turns out to be.
pub(crate) enum Admission {
    /// No node's, as far as this node is concerned.
    Stranger,
    /// A node's.
    Asker(Asker),
    /// That of a node that has applied more, up to what it claims; and whether it asks past what is
    /// stored.
    Ahead(Claim, bool),
}

/// Judges who sends a request. Only parents are asked by nodes.
///
/// # Errors
/// A parent to which the fields about seqs mean nothing that it can check must not answer: the
/// node is to ask elsewhere.
#[inline]
pub(crate) fn admit(state: &NodeState, headers: &HeaderMap) -> Result<Admission, Failure> {
    if state.tier != Tier::Parent
        || !(headers.contains_key(tier::SEQ) || headers.contains_key(tier::KEY))
    {
        return Ok(Admission::Stranger);
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
        Some(asker) => Admission::Asker(asker),
        None => Admission::Ahead(claim, past),
    })
}

/// The release that a node asks for, whatever is shown here.
///
/// # Errors
/// The origin could not be told which it is.
pub(crate) fn release(site: &Site, headers: &HeaderMap) -> Result<Option<Arc<str>>, Failure> {
    const UNKNOWN: Failure = Failure::CannotVouch("weir-release");
    let Some(named) = headers.get(tier::RELEASE) else { return Ok(None) };
    let name = named.to_str().ok().filter(|name| check_name(name).is_ok()).ok_or(UNKNOWN)?;
    site.config.release.is_some().then(|| Some(Arc::from(name))).ok_or(UNKNOWN)
}

const NO_LOG: Failure = Failure::CannotVouch("no-log");

/// How a node with this claim is met; `None` where it has applied more.
fn judged(state: &NodeState, claim: &Claim, past: bool) -> Result<Option<Asker>, Failure> {
    let followed = state.purges.standing();
    // Read before anything is looked up: whatever is found valid then was held against all this.
    let checked = followed.of_log(state.purges.applied()).ok_or(NO_LOG)?;
    let met = match state.purges.admit(claim) {
        tier::Admission::OtherLog => return Err(Failure::CannotVouch("other-log")),
        tier::Admission::Behind => return Ok(None),
        tier::Admission::Apart => Met::Apart,
        tier::Admission::Ordinary if past => Met::Past { checked },
        tier::Admission::Ordinary => Met::Ordinary { checked },
    };
    Ok(Some(Asker { followed, claimed: claim.applied, met }))
}

/// Waits, within bounds, until what the node claims is applied here too. Where it is not by then,
/// the request is answered past what is stored and under way.
pub(crate) async fn catch_up(
    state: &NodeState,
    claim: Claim,
    past: bool,
) -> Result<Asker, Failure> {
    let own = state.purges.standing().own(claim.applied);
    let bound = state.live.load().config.parents.catch_up;
    state.purges.until_applied(own, bound).await;
    // Anew: meanwhile the node may have come to follow another log.
    let asker = judged(state, &claim, past)?;
    Ok(asker.unwrap_or_else(|| Asker {
        followed: state.purges.standing(),
        claimed: claim.applied,
        met: Met::Apart,
    }))
}
