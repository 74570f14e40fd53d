//! The way from a node to what it lacks: over its parents, the next where one fails or cannot
//! vouch, and at last to the origins themselves.

use crate::error::UpstreamError;
use crate::metrics::Event;
use crate::purge::Stamp;
use crate::state::{NodeState, Site};
use crate::store::{KeyText, release_in};
use crate::upstream::{Ask, Candidate, Fetched, Upstream, UpstreamBody};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use weir_rules::fields;
use weir_rules::invalidation::{Seq, Validity};
use weir_rules::tier::{self, Claim, Provenance};

/// What a fetch is for.
pub(crate) struct Errand<'a> {
    /// The node.
    pub(crate) state: &'a NodeState,
    /// The site asked.
    pub(crate) site: &'a Site,
    /// The worker whose connections are used.
    pub(crate) worker: usize,
    /// The key of what is asked for.
    pub(crate) key: &'a [u8],
    /// The own number that was applied when it began.
    pub(crate) begun: Seq,
    /// Tags of the stored response that is asked about; none of a plain request.
    pub(crate) tags: &'a [Box<str>],
    /// Whether nobody but a parent is to be asked.
    pub(crate) parents_only: bool,
}

/// What was fetched.
pub(crate) struct Brought {
    /// It.
    pub(crate) fetched: Fetched,
    /// Its filled_at_seq (invariant I2) in own numbers; `None` where nobody says, so that it must
    /// not be stored.
    pub(crate) filled_at: Option<Seq>,
    /// Keeps the index from forgetting what it must still be held against.
    pub(crate) stamp: Option<Stamp>,
}

/// Asks a parent or, without any that is of use, an origin. What an origin sends is taken at its
/// word about everything but seqs.
pub(crate) async fn fetch(
    errand: &Errand<'_>,
    ask: Ask,
    body: UpstreamBody,
) -> Result<Brought, UpstreamError> {
    let live = errand.state.live.load_full();
    let Some(parents) = live.parents.upstream() else {
        return match errand.parents_only {
            true => Err(UpstreamError::NoParent),
            false => ask_origin(errand, &ask, &body).await,
        };
    };
    // A node that cannot claim anything yet asks none: what strangers are sent lacks tags.
    if errand.state.purges.asking().is_some()
        && let Some(outcome) = ask_parents(errand, parents, &ask, &body).await
    {
        return outcome;
    }
    match live.config.parents.origin_fallback && !errand.parents_only {
        true => ask_origin(errand, &ask, &body).await,
        false => Err(UpstreamError::NoParent),
    }
}

async fn ask_origin(
    errand: &Errand<'_>,
    ask: &Ask,
    body: &UpstreamBody,
) -> Result<Brought, UpstreamError> {
    let of_release = of_release(errand, ask);
    let ask = of_release.as_ref().unwrap_or(ask);
    let mut fetched = errand.site.upstream.fetch(errand.worker, ask, body).await?;
    for name in tier::FIELDS {
        fetched.response.headers_mut().remove(name);
    }
    let filled_at = Some(tier::stamp(errand.begun, errand.state.purges.applied()));
    Ok(Brought { fetched, filled_at, stamp: None })
}

/// What the origin is asked of a site with releases: its path and a field tell which, and nobody
/// else may say it. `None` of a site without.
fn of_release(errand: &Errand<'_>, ask: &Ask) -> Option<Ask> {
    let rules = errand.site.config.release.as_ref()?;
    let release = release_in(errand.key);
    let mut ask = ask.clone();
    if let Some(field) = &rules.field {
        ask.headers.remove(field);
        if let Some(release) = release.and_then(|name| HeaderValue::from_str(name).ok()) {
            ask.headers.insert(field, release);
        }
    }
    if let (Some(path), Some(release)) = (&rules.path, release) {
        ask.target = path.apply(release, &ask.target);
    }
    Some(ask)
}

/// What the parents answer; `None` where none is of use and the origin may be asked.
async fn ask_parents(
    errand: &Errand<'_>,
    parents: &Upstream,
    ask: &Ask,
    body: &UpstreamBody,
) -> Option<Result<Brought, UpstreamError>> {
    for parent in parents.candidates(ask, body) {
        match ask_parent(errand, parents, &parent, ask, body).await {
            Said::Answer(brought) => return Some(Ok(*brought)),
            Said::Failed(error) => return Some(Err(error)),
            Said::Nothing if !body.is_unread() => return Some(Err(UpstreamError::NoParent)),
            Said::Nothing => errand.state.metrics[errand.worker].count(Event::ParentPassed),
        }
    }
    None
}

/// What came of asking one parent.
enum Said {
    /// An answer.
    Answer(Box<Brought>),
    /// Nobody else would fare better.
    Failed(UpstreamError),
    /// Nothing of use; another may be asked.
    Nothing,
}

async fn ask_parent(
    errand: &Errand<'_>,
    parents: &Upstream,
    parent: &Candidate<'_>,
    ask: &Ask,
    body: &UpstreamBody,
) -> Said {
    let purges = &errand.state.purges;
    let mut past = false;
    loop {
        let (Some(asking), standing) = (purges.asking(), purges.standing()) else {
            return Said::Nothing;
        };
        let release = release_in(errand.key);
        let key = standing.tier_key.as_deref();
        let Some(asked) = with_claim(ask, asking.claim(), key, release, past) else {
            return Said::Nothing;
        };
        let mut fetched = match parents.fetch_from(parent, errand.worker, &asked, body).await {
            Ok(fetched) => fetched,
            Err((_, true)) => return Said::Nothing,
            Err((error, false)) => return Said::Failed(error),
        };
        fetched.source.is_parent = true;
        let status = fetched.response.status();
        let headers = fetched.response.headers_mut();
        let provenance = headers.remove(tier::FILLED_AT);
        let provenance = provenance.and_then(|value| Provenance::parse(value.as_bytes()));
        let failure = headers.remove(tier::FAILURE);
        if let Some(said) =
            failed(failure.as_ref(), status == StatusCode::LOOP_DETECTED && provenance.is_none())
        {
            return said;
        }
        for name in tier::FIELDS.into_iter().filter(|name| *name != tier::TAGS) {
            headers.remove(name);
        }
        let Some(stamp) = purges.receive(&asking, provenance.as_ref()) else {
            // What a method that changes something came to is the client's to know, whoever tells.
            let done = !is_safe(&ask.method) || status == StatusCode::SWITCHING_PROTOCOLS;
            return match done {
                true => Said::Answer(Box::new(Brought { fetched, filled_at: None, stamp: None })),
                false => Said::Nothing,
            };
        };
        let filled_at = stamp.seq();
        let again = !past && body.is_empty();
        // Asked again, it is as new as can be had: a purge that came since does not concern those
        // who asked before it.
        if is_valid(errand, filled_at, fetched.response.headers())
            || (!again && filled_at >= asking.begun())
        {
            let (stamp, filled_at) = (Some(stamp), Some(filled_at));
            return Said::Answer(Box::new(Brought { fetched, filled_at, stamp }));
        }
        if !again {
            return Said::Nothing;
        }
        past = true;
    }
}

/// The same with what only nodes tell each other.
fn with_claim(
    ask: &Ask,
    claim: &Claim,
    key: Option<&str>,
    release: Option<&str>,
    past: bool,
) -> Option<Ask> {
    let mut ask = ask.clone();
    let mut key = HeaderValue::from_str(key?).ok()?;
    key.set_sensitive(true);
    ask.headers.insert(tier::KEY, key);
    ask.headers.insert(tier::SEQ, HeaderValue::from_str(&claim.to_string()).ok()?);
    if let Some(release) = release {
        ask.headers.insert(tier::RELEASE, HeaderValue::from_str(release).ok()?);
    }
    if past {
        ask.headers.insert(tier::PAST, HeaderValue::from_static("1"));
    }
    Some(ask)
}

/// What a parent says that has no answer from further on.
fn failed(failure: Option<&HeaderValue>, is_loop: bool) -> Option<Said> {
    if is_loop {
        return Some(Said::Failed(UpstreamError::Loop));
    }
    let word = failure?.to_str().unwrap_or_default();
    Some(match UpstreamError::told(word) {
        Some(error) => Said::Failed(error),
        None => Said::Nothing,
    })
}

/// Whether what came was touched by no purge since it began to be fetched, by its own tags and by
/// those of the response that was asked about.
fn is_valid(errand: &Errand<'_>, filled_at: Seq, headers: &HeaderMap) -> bool {
    let most = errand.state.live.load().limits().tags;
    // One with too many tags is stored nowhere, so nobody else will be shown it.
    let own = fields::tags(headers, most).unwrap_or_default();
    let tags: Vec<&str> =
        own.iter().map(String::as_str).chain(errand.tags.iter().map(|tag| &**tag)).collect();
    let subject = KeyText::of(errand.key).subject(&errand.site.id, &tags, filled_at);
    errand.state.purges.judge(&subject) == Validity::Valid
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
