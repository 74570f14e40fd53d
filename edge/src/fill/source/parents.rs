//! The parents of the node, asked with what this node has applied, so that no old response crosses
//! tiers (invariants I2 and I3). The next parent is asked if one fails or cannot vouch.

use super::{FetchContext, SourceAnswer, SourceReply};
use crate::error::UpstreamError;
use crate::metrics::Event;
use crate::state::Live;
use crate::store::{KeyText, release_in};
use crate::upstream::{Ask, Candidate, Upstream, UpstreamBody};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use weir_rules::fields;
use weir_rules::invalidation::{Seq, Validity};
use weir_rules::tier::{self, Claim, Provenance};

/// The reply of a node without parents; `None` where there are some to be asked.
pub(super) fn without(context: &FetchContext<'_>) -> Option<SourceReply> {
    let live = context.state.live.load();
    live.parents.upstream().is_none().then(|| unanswered(context, &live))
}

/// The reply where no parent answers: whether the origin may be asked.
fn unanswered(context: &FetchContext<'_>, live: &Live) -> SourceReply {
    let origin_may_answer =
        live.parents.upstream().is_none() || live.config.parents.origin_fallback;
    match origin_may_answer && !context.parents_only {
        true => SourceReply::Nothing,
        false => SourceReply::Failed(UpstreamError::NoParent),
    }
}

/// Asks the parents of the node.
pub(super) async fn ask(context: &FetchContext<'_>, ask: &Ask, body: &UpstreamBody) -> SourceReply {
    let live = context.state.live.load_full();
    // A node that cannot claim anything yet asks none: strangers get no tags from a parent.
    if let Some(parents) = live.parents.upstream()
        && context.state.purges.asking().is_some()
    {
        let reply = ask_in_turn(context, parents, ask, body).await;
        if !matches!(reply, SourceReply::Nothing) {
            return reply;
        }
    }
    unanswered(context, &live)
}

async fn ask_in_turn(
    context: &FetchContext<'_>,
    parents: &Upstream,
    ask: &Ask,
    body: &UpstreamBody,
) -> SourceReply {
    let pool = parents.pool();
    for parent in parents.candidates(&pool, ask, body) {
        match ask_parent(context, parents, &parent, ask, body).await {
            SourceReply::Nothing if !body.is_unread() => {
                return SourceReply::Failed(UpstreamError::NoParent);
            }
            SourceReply::Nothing => {
                context.state.metrics[context.worker].count(Event::ParentPassed);
            }
            reply => return reply,
        }
    }
    SourceReply::Nothing
}

async fn ask_parent(
    context: &FetchContext<'_>,
    parents: &Upstream,
    parent: &Candidate<'_>,
    ask: &Ask,
    body: &UpstreamBody,
) -> SourceReply {
    let purges = &context.state.purges;
    let mut past = false;
    loop {
        let (Some(asking), standing) = (purges.asking(), purges.standing()) else {
            return SourceReply::Nothing;
        };
        let claimed = Claimed {
            release: release_in(context.key),
            rules: context.site.config.rules.names(context.rules),
            past,
            personal: context.personal,
            bypass: context.bypass,
        };
        let key = standing.tier_key.as_deref();
        let Some(claiming) = with_claim(ask, asking.claim(), key, &claimed) else {
            return SourceReply::Nothing;
        };
        let mut fetched = match parents.fetch_from(parent, context.worker, &claiming, body).await {
            Ok(fetched) => fetched,
            Err((_, true)) => return SourceReply::Nothing,
            Err((error, false)) => return SourceReply::Failed(error),
        };
        fetched.source.is_parent = true;
        let status = fetched.response.status();
        let headers = fetched.response.headers_mut();
        let provenance = headers.remove(tier::FILLED_AT);
        let provenance = provenance.and_then(|value| Provenance::parse(value.as_bytes()));
        let failure = headers.remove(tier::FAILURE);
        if let Some(reply) =
            failed(failure.as_ref(), status == StatusCode::LOOP_DETECTED && provenance.is_none())
        {
            return reply;
        }
        fields::remove_where(headers, |name| tier::is_own(name) && name.as_str() != tier::TAGS);
        let Some(stamp) = purges.receive(&context.site.id, &asking, provenance.as_ref()) else {
            // The client must learn the outcome of a method that changes something, from any node.
            let done = !is_safe(&ask.method) || status == StatusCode::SWITCHING_PROTOCOLS;
            return match done {
                true => answer(SourceAnswer::fetched(*fetched, None, None)),
                false => SourceReply::Nothing,
            };
        };
        let filled_at = stamp.seq();
        let again = !past && body.is_empty();
        // Asked again, it is as new as can be had: a purge since then does not concern the requests
        // that came before it.
        if is_valid(context, filled_at, fetched.response.headers())
            || (!again && filled_at >= asking.begun())
        {
            return answer(SourceAnswer::fetched(*fetched, Some(filled_at), Some(stamp)));
        }
        if !again {
            return SourceReply::Nothing;
        }
        past = true;
    }
}

fn answer(answer: SourceAnswer) -> SourceReply {
    SourceReply::Answer(Box::new(answer))
}

/// What a node says of a request to a parent, beside its claim.
#[derive(Default)]
pub(crate) struct Claimed<'a> {
    /// Its release.
    release: Option<&'a str>,
    /// The names of the rules of its site that it matches.
    rules: Option<String>,
    /// Whether nothing stored will do.
    past: bool,
    /// Whether the answer is for one client alone, although it is for a static asset.
    personal: bool,
    /// Whether it skips the store because of a cookie.
    bypass: bool,
}

/// The request with the fields that only nodes send each other.
pub(crate) fn with_claim(
    ask: &Ask,
    claim: &Claim,
    key: Option<&str>,
    claimed: &Claimed<'_>,
) -> Option<Box<Ask>> {
    const SET: HeaderValue = HeaderValue::from_static("1");
    let mut ask = Box::new(ask.clone());
    let mut key = HeaderValue::from_str(key?).ok()?;
    key.set_sensitive(true);
    let mut set = |name, value| ask.headers.set(HeaderName::from_static(name), value);
    set(tier::KEY, key);
    set(tier::SEQ, HeaderValue::from_str(&claim.to_string()).ok()?);
    if let Some(release) = claimed.release {
        set(tier::RELEASE, HeaderValue::from_str(release).ok()?);
    }
    if let Some(rules) = &claimed.rules {
        set(tier::RULES, HeaderValue::from_str(rules).ok()?);
    }
    if claimed.past {
        set(tier::PAST, SET);
    }
    if claimed.personal {
        set(tier::PERSONAL, SET);
    }
    if claimed.bypass {
        set(tier::BYPASS, SET);
    }
    Some(ask)
}

/// The reply of a parent that has no answer from further on.
fn failed(failure: Option<&HeaderValue>, is_loop: bool) -> Option<SourceReply> {
    if is_loop {
        return Some(SourceReply::Failed(UpstreamError::Loop));
    }
    let word = failure?.to_str().unwrap_or_default();
    Some(match UpstreamError::told(word) {
        Some(error) => SourceReply::Failed(error),
        None => SourceReply::Nothing,
    })
}

/// Whether no purge since its fetch began takes the answer, by its own tags and by those of the
/// response that was asked about.
fn is_valid(context: &FetchContext<'_>, filled_at: Seq, headers: &HeaderMap) -> bool {
    let most = context.state.live.load().limits().tags;
    // A response with too many tags is stored nowhere, so no other request gets it.
    let own = fields::tags(headers, most).unwrap_or_default();
    let tags: Vec<&str> =
        own.iter().map(String::as_str).chain(context.tags.iter().map(|tag| &**tag)).collect();
    let subject = KeyText::of(context.key).subject(&context.site.id, &tags, filled_at);
    context.state.purges.judge(&subject) == Validity::Valid
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
