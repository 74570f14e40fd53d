//! The sources of responses, in one ordered list.
//!
//! A fill asks them in turn until one has an answer. Everything after that (collapsing, stamps,
//! windows, [`resume`](super::resume), storing) is the same whichever source it was. A hit in the
//! memory store never comes here.

mod begun;
mod origin;
mod parents;

use crate::error::UpstreamError;
use crate::failure::Abort;
use crate::purge::Stamp;
use crate::source::{Source, SourceBody};
use crate::state::{NodeState, Site};
use crate::store::Tags;
use crate::upstream::{Ask, Fetched, UpstreamBody};
use http::{HeaderMap, Response};
use hyper::upgrade::OnUpgrade;
use origin::Origin;
use parents::Parents;
pub(crate) use parents::with_claim;
use std::pin::Pin;
use std::sync::Arc;
use weir_rules::invalidation::Seq;
use weir_rules::storability::Terms;

/// A place that a response can come from.
pub(crate) trait FillSource: Send + Sync {
    /// Whether it is a store of this node. A store is asked only if a stored response may answer, and
    /// answers only with a response that is fresh and valid.
    fn is_store(&self) -> bool;

    /// Asks it.
    fn ask<'a>(
        &'a self,
        context: &'a FetchContext<'a>,
        ask: &'a Ask,
        body: &'a UpstreamBody,
    ) -> Asking<'a>;
}

/// A source at work.
pub(crate) type Asking<'a> = Pin<Box<dyn Future<Output = SourceReply> + Send + 'a>>;

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
    /// The seq applied here when the fetch began.
    pub(crate) begun: Seq,
    /// Tags of the stored response that is asked about; none of a plain request.
    pub(crate) tags: &'a [Box<str>],
    /// The client's fields, which select a stored variant; `None` if no stored response may answer.
    pub(crate) selects: Option<&'a HeaderMap>,
    /// Whether only a parent may be asked.
    pub(crate) parents_only: bool,
    /// Whether the answer is for one client alone, although it is for a static asset.
    pub(crate) personal: bool,
}

/// The answer of a source.
pub(crate) struct SourceAnswer {
    /// Its head. That of a store has the fields as they are stored.
    pub(crate) response: Response<()>,
    /// Its body.
    pub(crate) body: Box<dyn SourceBody>,
    /// The connection itself, after a 101.
    pub(crate) upgraded: Option<OnUpgrade>,
    /// The upstream that answered; `None` of a store of this node.
    pub(crate) source: Option<Source>,
    /// Its filled_at_seq (invariant I2) in own numbers; `None` of a parent that does not say, so
    /// that it must not be stored.
    pub(crate) filled_at: Option<Seq>,
    /// Keeps the index from forgetting the purges that the answer must still be judged by: those
    /// after this seq. A store has judged its answer by those up to it.
    pub(crate) stamp: Option<Stamp>,
    /// The terms and the tags of a stored response, judged when it was stored. `None`: both are
    /// made from the fields.
    pub(crate) judged: Option<(Terms, Tags)>,
}

impl SourceAnswer {
    /// The answer of an upstream.
    fn fetched(fetched: Fetched, filled_at: Option<Seq>, stamp: Option<Stamp>) -> Self {
        let Fetched { response, body, upgraded, source } = fetched;
        Self {
            response,
            body: Box::new(body),
            upgraded: Some(upgraded),
            source: Some(source),
            filled_at,
            stamp,
            judged: None,
        }
    }
}

/// Sources, in the order in which they are asked.
#[derive(Clone)]
pub(crate) struct Sources(Arc<[Box<dyn FillSource>]>);

impl Sources {
    /// These stores of the node, in this order, then its parents, then the origins of the site.
    pub(crate) fn with_stores(stores: impl IntoIterator<Item = Box<dyn FillSource>>) -> Self {
        let upstream: [Box<dyn FillSource>; 2] = [Box::new(Parents), Box::new(Origin)];
        Self(stores.into_iter().chain(upstream).collect())
    }

    /// The first answer.
    ///
    /// # Errors
    /// No source has one.
    pub(crate) async fn fetch(
        &self,
        context: &FetchContext<'_>,
        ask: &Ask,
        body: &UpstreamBody,
    ) -> Result<Box<SourceAnswer>, UpstreamError> {
        let may_be_stored = context.selects.is_some();
        for source in self.0.iter().filter(|source| may_be_stored || !source.is_store()) {
            match source.ask(context, ask, body).await {
                SourceReply::Answer(answer) => match begun::begun(answer).await {
                    Ok(answer) => return Ok(answer),
                    Err(Abort::Upstream(error)) => return Err(error),
                    // A store that cannot read its body has no answer.
                    Err(_) if source.is_store() => {}
                    Err(abort) => return Err(UpstreamError::BadBody(abort.to_string())),
                },
                SourceReply::Failed(error) => return Err(error),
                SourceReply::Nothing => {}
            }
        }
        Err(UpstreamError::NoParent)
    }
}
