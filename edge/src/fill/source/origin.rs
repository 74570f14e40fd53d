//! The origins of a site. They are believed in everything but seqs.

use super::{Asking, FetchContext, FillSource, SourceAnswer, SourceReply};
use crate::error::UpstreamError;
use crate::store::{KeyText, release_in};
use crate::upstream::{Ask, Fetched, UpstreamBody};
use http::HeaderValue;
use weir_rules::fields;
use weir_rules::redirect::{self, OriginAddress, Visited};
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
    let ask = of_release.as_deref().unwrap_or(ask);
    let mut fetched = context.site.upstream.fetch(context.worker, ask, body).await?;
    fields::remove_where(fetched.response.headers_mut(), tier::is_own);
    rewrite_references(context, ask, &mut fetched);
    let filled_at = tier::stamp(context.begun, context.state.purges.applied());
    Ok(SourceAnswer::fetched(*fetched, Some(filled_at), None))
}

/// Leads references to the origin's own address to the visitor's host. Done here, before anything
/// reads the head, so that invalidation and the store know the same URLs as visitors.
fn rewrite_references(context: &FetchContext<'_>, ask: &Ask, fetched: &mut Fetched) {
    let https = context.key.starts_with(b"https:");
    let visited = Visited {
        method: &ask.method,
        scheme: if https { "https" } else { "http" },
        authority: KeyText::of(context.key).host,
        target: ask.target.as_str(),
    };
    let origins = context.site.config.origins.iter();
    let origins: Vec<_> = origins
        .map(|origin| OriginAddress { https: origin.tls, host: &origin.host, port: origin.port })
        .collect();
    let status = fetched.response.status();
    redirect::rewrite(fetched.response.headers_mut(), status, &origins, &visited);
}

/// The request to the origin of a site with releases: its path and a field name the release, and a
/// client cannot name another. `None` of a site without releases.
fn of_release(context: &FetchContext<'_>, ask: &Ask) -> Option<Box<Ask>> {
    let rules = context.site.config.release.as_ref()?;
    let release = release_in(context.key);
    let mut ask = Box::new(ask.clone());
    if let Some(field) = &rules.field {
        match release.and_then(|name| HeaderValue::from_str(name).ok()) {
            Some(release) => ask.headers.set(field.clone(), release),
            None => ask.headers.remove(field.clone()),
        }
    }
    if let (Some(path), Some(release)) = (&rules.path, release) {
        ask.target = path.apply(release, &ask.target);
    }
    Some(ask)
}
