//! The origins of a site. They are believed in everything but seqs.

use super::{Asking, FetchContext, FillSource, SourceAnswer, SourceReply};
use crate::error::UpstreamError;
use crate::store::release_in;
use crate::upstream::{Ask, UpstreamBody};
use http::HeaderValue;
use weir_rules::tier;

/// The origins of the site that is asked.
pub(super) struct Origin;

impl FillSource for Origin {
    fn is_store(&self) -> bool {
        false
    }

    fn ask<'a>(
        &'a self,
        context: &'a FetchContext<'a>,
        ask: &'a Ask,
        body: &'a UpstreamBody,
    ) -> Asking<'a> {
        Box::pin(async move {
            match fetch(context, ask, body).await {
                Ok(answer) => SourceReply::Answer(Box::new(answer)),
                Err(error) => SourceReply::Failed(error),
            }
        })
    }
}

async fn fetch(
    context: &FetchContext<'_>,
    ask: &Ask,
    body: &UpstreamBody,
) -> Result<SourceAnswer, UpstreamError> {
    let of_release = of_release(context, ask);
    let ask = of_release.as_ref().unwrap_or(ask);
    let mut fetched = context.site.upstream.fetch(context.worker, ask, body).await?;
    for name in tier::FIELDS {
        fetched.response.headers_mut().remove(name);
    }
    let filled_at = tier::stamp(context.begun, context.state.purges.applied());
    Ok(SourceAnswer::fetched(fetched, Some(filled_at), None))
}

/// The request to the origin of a site with releases: its path and a field name the release, and a
/// client cannot name another. `None` of a site without releases.
fn of_release(context: &FetchContext<'_>, ask: &Ask) -> Option<Ask> {
    let rules = context.site.config.release.as_ref()?;
    let release = release_in(context.key);
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
