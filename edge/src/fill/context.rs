//! What the request that started a fetch gave to it.

use super::plan::Plan;
use super::source::{self, FetchContext, SourceAnswer};
use crate::ahead::{AheadBody, AheadRules};
use crate::collapsing::{Fill, Interim};
use crate::decisions::{About, Decision, Why};
use crate::error::UpstreamError;
use crate::forward::ClientFields;
use crate::source::SourceBody;
use crate::state::{NodeState, Site};
use crate::store::{Digest, Selecting};
use crate::upstream::{Ask, Asking, UpstreamBody};
use http::{HeaderMap, StatusCode, header};
use std::sync::Arc;
use weir_config::Limits;
use weir_rules::cache_control::ResponseDirectives;
use weir_rules::client_share::Prefix;
use weir_rules::coding::AcceptedCodings;
use weir_rules::invalidation::Seq;
use weir_rules::site_rules::RuleSet;
use weir_rules::vary::{self, Vary};

/// All that a fetch needs once the client whose request started it has gone.
#[derive(Clone)]
pub(crate) struct FillContext {
    /// The node.
    pub(crate) state: Arc<NodeState>,
    /// The site of the URL.
    pub(crate) site: Arc<Site>,
    /// The worker whose upstream connections are used.
    pub(crate) worker: usize,
    /// The digest of the key.
    pub(crate) digest: Digest,
    /// The cache key.
    pub(crate) key: Box<[u8]>,
    /// The rules of the site that the request matches.
    pub(crate) rules: RuleSet,
    /// `http` or `https`, of the target URI.
    pub(crate) scheme: &'static str,
    /// The client's fields, or those of the anonymous request made of them: they select, and they
    /// bear on storing.
    pub(crate) client: ClientFields,
    /// Whether it is an anonymous request for a static asset, made of one that is not.
    pub(crate) anonymous: bool,
    /// The codings that the client accepts, if it is one whose responses are compressed.
    pub(crate) codings: Option<AcceptedCodings>,
    /// The plain request as the upstream gets it, without conditions and ranges.
    pub(crate) ask: Ask,
}

/// How far the body of a response that is not stored, with these headers, may run ahead of the client of this
/// request, which counts for this prefix.
pub(crate) fn ahead_rules(
    limits: &Limits,
    request: &HeaderMap,
    response: &HeaderMap,
    counts_for: Option<Prefix>,
    worker: usize,
) -> AheadRules {
    let sensitive = request.contains_key(header::AUTHORIZATION)
        || response.contains_key(header::SET_COOKIE)
        || ResponseDirectives::from_headers(response).no_store;
    AheadRules { memory: limits.read_ahead, sensitive, counts_for, worker }
}

/// The clients that follow a fill.
impl Asking for Fill {
    fn is_waiting(&self) -> bool {
        !self.give_up(UpstreamError::deserted())
    }

    fn interim(&self, status: StatusCode, fields: &HeaderMap) {
        self.take_interim(Interim::of(status, fields));
    }
}

impl FillContext {
    /// The body of an answer that is not stored, with these fields: read at its upstream's pace.
    pub(super) fn ahead(
        &self,
        body: Box<dyn SourceBody>,
        fields: &HeaderMap,
    ) -> Box<dyn SourceBody> {
        let live = self.state.live.load();
        let counts_for = self.ask.counts_for;
        let rules =
            || ahead_rules(live.limits(), &self.client.get(), fields, counts_for, self.worker);
        AheadBody::of(body, &self.state.ahead, rules)
    }

    /// Asks the sources in order. `begun` is the seq applied when the fetch began.
    pub(super) async fn fetch(
        &self,
        plan: &Plan,
        begun: Seq,
    ) -> Result<Box<SourceAnswer>, UpstreamError> {
        let more = plan.asks_more().then(|| {
            let (mut ask, mut more) = (Box::new(self.ask.clone()), HeaderMap::new());
            plan.write(&mut more);
            more.iter().for_each(|(name, value)| ask.headers.set(name.clone(), value.clone()));
            ask
        });
        let ask = more.as_deref().unwrap_or(&self.ask);
        let base = plan.base();
        let tags = base.map_or(&[][..], |base| &base.tags);
        let context = FetchContext { tags, ..self.fetch_context(begun) };
        source::fetch(&context, ask, &UpstreamBody::Empty).await
    }

    /// What the sources need to know to answer this request.
    pub(super) fn fetch_context(&self, begun: Seq) -> FetchContext<'_> {
        FetchContext {
            state: &self.state,
            site: &self.site,
            worker: self.worker,
            key: &self.key,
            rules: self.rules,
            begun,
            tags: &[],
            parents_only: false,
            personal: false,
            bypass: false,
        }
    }

    /// Remembers why a response is not stored.
    pub(super) fn note(&self, why: Why, status: Option<StatusCode>) {
        let about = About {
            digest: self.digest,
            key: &self.key,
            site: &self.site.id,
            slot: self.site.slot,
        };
        self.state.decisions.note(&about, Decision { why, status, at: self.state.now() });
    }

    /// The selecting fields that a response names in Vary, with this request's values.
    pub(super) fn selecting(&self, vary: &Vary) -> Option<Selecting> {
        let Vary::Fields(fields) = vary else { return None };
        let values = vary::selecting_values(fields, &self.client.get());
        Some(Selecting { fields: fields.clone(), values })
    }
}
