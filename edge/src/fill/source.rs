//! Where a response is fetched from: the node's parents, then the origins of its site.
//!
//! Everything after that (collapsing, stamps, windows, [`resume`](super::resume), storing) is the same
//! whichever it was. What is stored, in memory or on disk, never comes here.

mod begun;
mod origin;
mod parents;

use crate::error::UpstreamError;
use crate::failure::Abort;
use crate::purge::Stamp;
use crate::source::{Source, SourceBody};
use crate::state::{NodeState, Site};
use crate::upstream::{Ask, Fetched, UpstreamBody};
use http::{Method, Response, header};
use hyper::upgrade::OnUpgrade;
pub(crate) use parents::{Claimed, with_claim};
use weir_rules::invalidation::Seq;
use weir_rules::site_rules::{Ignored, RuleSet};

/// What came of asking a source.
pub(crate) enum SourceReply {
    /// An answer.
    Answer(Box<SourceAnswer>),
    /// No answer, and no other source would have one.
    Failed(UpstreamError),
    /// No answer; the next source is asked.
    Nothing,
}

/// What a source needs to know beyond the request as an upstream gets it.
pub(crate) struct FetchContext<'a> {
    /// The node.
    pub(crate) state: &'a NodeState,
    /// The site of the URL.
    pub(crate) site: &'a Site,
    /// The worker whose connections are used.
    pub(crate) worker: usize,
    /// The cache key.
    pub(crate) key: &'a [u8],
    /// The rules of the site that the request matches.
    pub(crate) rules: RuleSet,
    /// The seq applied here when the fetch began.
    pub(crate) begun: Seq,
    /// Tags of the stored response that is asked about; none of a plain request.
    pub(crate) tags: &'a [Box<str>],
    /// Whether only a parent may be asked.
    pub(crate) parents_only: bool,
    /// Whether the answer is for one client alone, although it is for a static asset.
    pub(crate) personal: bool,
    /// Whether the request skips the store because of a cookie.
    pub(crate) bypass: bool,
}

/// The answer of a source.
pub(crate) struct SourceAnswer {
    /// Its head.
    pub(crate) response: Response<()>,
    /// Its body.
    pub(crate) body: Box<dyn SourceBody>,
    /// The connection itself, after a 101.
    pub(crate) upgraded: Option<OnUpgrade>,
    /// The upstream that answered.
    pub(crate) source: Source,
    /// Its filled_at_seq (invariant I2) in own numbers; `None` of a parent that does not say, so
    /// that it must not be stored.
    pub(crate) filled_at: Option<Seq>,
    /// Keeps the index from forgetting the purges that the answer of a parent must still be judged
    /// by: those after this seq.
    pub(crate) stamp: Option<Stamp>,
}

impl SourceAnswer {
    /// The answer of an upstream.
    fn fetched(fetched: Fetched, filled_at: Option<Seq>, stamp: Option<Stamp>) -> Self {
        let Fetched { response, body, upgraded, source } = fetched;
        Self { response, body: Box::new(body), upgraded: Some(upgraded), source, filled_at, stamp }
    }
}

/// The first answer: of the node's parents, then of the site's origins.
///
/// # Errors
/// There is none.
pub(crate) async fn fetch(
    context: &FetchContext<'_>,
    ask: &Ask,
    body: &UpstreamBody,
) -> Result<Box<SourceAnswer>, UpstreamError> {
    // Boxed, one after the other: each needs room of its own while it waits.
    let of_parents = match parents::without(context) {
        Some(reply) => reply,
        None => Box::pin(parents::ask(context, ask, body)).await,
    };
    let reply = match of_parents {
        SourceReply::Nothing => Box::pin(origin::ask(context, ask, body)).await,
        reply => reply,
    };
    match reply {
        SourceReply::Answer(mut answer) => {
            if ignores_cookies(context, ask) {
                answer.response.headers_mut().remove(header::SET_COOKIE);
            }
            begun::begun(answer).await.map_err(|abort| match abort {
                Abort::Upstream(error) => error,
                abort => UpstreamError::BadBody(abort.to_string()),
            })
        }
        SourceReply::Failed(error) => Err(error),
        SourceReply::Nothing => Err(UpstreamError::NoParent),
    }
}

/// Whether a rule has Set-Cookie ignored in what may be stored.
fn ignores_cookies(context: &FetchContext<'_>, ask: &Ask) -> bool {
    let rules = &context.site.config.rules;
    if context.rules.is_empty() || !matches!(ask.method, Method::GET | Method::HEAD) {
        return false;
    }
    let applied = rules.applied(context.rules);
    rules.ignored(applied).contains(&Ignored::SetCookie) && !rules.bypasses(applied)
}
