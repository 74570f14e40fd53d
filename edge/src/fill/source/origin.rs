//! The origins of a site. They are believed in everything but seqs.

use super::{FetchContext, SourceAnswer, SourceReply};
use crate::error::UpstreamError;
use crate::rewrite::{self, Asked};
use crate::store::{KeyText, release_in};
use crate::upstream::{Ask, Fetched, UpstreamBody};
use http::{HeaderMap, HeaderValue};
use weir_rules::fields::{self, SURROGATE_KEY};
use weir_rules::redirect::{self, OriginAddress, Visited};
use weir_rules::tier;

/// Asks the origins of the site.
pub(super) async fn ask(context: &FetchContext<'_>, ask: &Ask, body: &UpstreamBody) -> SourceReply {
    match fetch(context, ask, body).await {
        Ok(answer) => SourceReply::Answer(Box::new(answer)),
        Err(error) => SourceReply::Failed(error),
    }
}

async fn fetch(
    context: &FetchContext<'_>,
    ask: &Ask,
    body: &UpstreamBody,
) -> Result<SourceAnswer, UpstreamError> {
    let rewritten = rewritten(context, ask)?;
    let ask = rewritten.as_deref().unwrap_or(ask);
    let of_release = of_release(context, ask);
    let ask = of_release.as_deref().unwrap_or(ask);
    let (_, upstream) = context.site.origins(context.rules);
    let mut fetched = upstream.fetch(context.worker, ask, body).await?;
    fields::remove_where(fetched.response.headers_mut(), tier::is_own);
    rewrite_references(context, ask, &mut fetched);
    add_tags(context, fetched.response.headers_mut());
    let filled_at = tier::stamp(context.begun, context.state.purges.applied());
    Ok(SourceAnswer::fetched(*fetched, Some(filled_at), None))
}

/// Leads references to the origin's own address to the visitor's host. Done here, before anything
/// reads the head, so that invalidation and the store know the same URLs as visitors.
fn rewrite_references(context: &FetchContext<'_>, ask: &Ask, fetched: &mut Fetched) {
    if !redirect::has_references(fetched.response.headers()) {
        return;
    }
    let https = context.key.starts_with(b"https:");
    let visited = Visited {
        method: &ask.method,
        scheme: if https { "https" } else { "http" },
        authority: KeyText::of(context.key).host,
        target: ask.target.as_str(),
    };
    let (pool, _) = context.site.origins(context.rules);
    let origins = pool.origins.iter().map(|origin| OriginAddress {
        https: origin.tls,
        host: &origin.host,
        port: origin.port,
        prefix: &origin.prefix,
    });
    let origins: Vec<_> = origins.collect();
    let status = fetched.response.status();
    redirect::rewrite(fetched.response.headers_mut(), status, &origins, &visited);
}

/// Adds the tags that rules of the site give a response. Done here, once: they go the way of those that the origin sent.
fn add_tags(context: &FetchContext<'_>, headers: &mut HeaderMap) {
    let rules = &context.site.config.rules;
    if context.rules.is_empty() {
        return;
    }
    let url = KeyText::of(context.key);
    for tag in rules.tags(rules.applied(context.rules), url.path, url.query) {
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.append(&SURROGATE_KEY, tag);
        }
    }
}

/// The request with what rules have the origin asked for in place of what is keyed.
fn rewritten(context: &FetchContext<'_>, ask: &Ask) -> Result<Option<Box<Ask>>, UpstreamError> {
    let asked = Asked { path: ask.target.path(), query: ask.target.query() };
    let most = context.state.live.load().limits().target_bytes;
    let target = rewrite::for_origin(context.site, context.rules, asked, most);
    let target = target.map_err(UpstreamError::Client)?;
    Ok(target.map(|target| Box::new(Ask { target, ..ask.clone() })))
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
