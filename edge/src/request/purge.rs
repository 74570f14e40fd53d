//! `PURGE /path` on the node's own listener: who may send it, and what it removes.

use super::sender::{Sender, named_client};
use crate::body::ResponseBody;
use crate::error::ClientError;
use crate::failure::Failure;
use crate::forward;
use crate::respond;
use crate::server::Intake;
use crate::state::Site;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::OnceLock;
use weir_config::Config;
use weir_rules::time::Time;

/// A purge by method, as control gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeAsk {
    /// The absolute URL.
    pub url: String,
    /// The site it belongs to.
    pub site: String,
    /// Whether it is soft (`Fastly-Soft-Purge: 1`).
    pub soft: bool,
}

/// Control's answer to a purge by method: a status and a JSON body.
pub type PurgeAnswer = Pin<Box<dyn Future<Output = (u16, String)> + Send>>;

/// Passes purges by method to control.
pub type OnPurge = Box<dyn Fn(PurgeAsk) -> PurgeAnswer + Send + Sync>;

/// Passes purges by method to control, once control has started.
#[derive(Default)]
pub(crate) struct Purger(OnceLock<OnPurge>);

impl Purger {
    /// Sets where purges by method are passed to. Only the first call has an effect.
    pub(crate) fn set(&self, on_purge: OnPurge) {
        let _ = self.0.set(on_purge);
    }

    /// Control's answer; 503 if there is no control.
    pub(super) async fn answer(&self, ask: PurgeAsk, now: Time) -> Response<ResponseBody> {
        let Some(on_purge) = self.0.get() else {
            return respond::empty(StatusCode::SERVICE_UNAVAILABLE, now);
        };
        let (status, json) = on_purge(ask).await;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = respond::empty(status, now);
        let text = Bytes::from(json);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        *response.body_mut() = ResponseBody::from_bytes(text);
        response
    }
}

/// Headers that a browser sends for a page. The page's user may be at a machine that may purge; the
/// page itself may not.
const OF_PAGES: [&str; 2] = ["origin", "sec-fetch-site"];

/// Headers by which plugins for other caches ask for more than the URL: tags, expressions.
const OF_OTHER_CACHES: [&str; 12] = [
    "x-magento-tags-pattern",
    "x-magento-tags",
    "xkey",
    "xkey-purge",
    "xkey-softpurge",
    "surrogate-key",
    "surrogate-keys",
    "cache-tag",
    "cache-tags",
    "x-cache-tags",
    "x-purge-regex",
    "x-ban-expression",
];

/// Refuses a PURGE that would purge more at the cache that it was written for: one URL in its place
/// would leave the rest in the store, and report success.
fn check_scope(headers: &HeaderMap) -> Result<(), Failure> {
    let method = headers.get("x-purge-method");
    let pattern = method.is_some_and(|method| {
        let method = method.as_bytes().trim_ascii();
        !(method.eq_ignore_ascii_case(b"default") || method.eq_ignore_ascii_case(b"exact"))
    });
    if pattern || OF_OTHER_CACHES.iter().any(|name| headers.contains_key(*name)) {
        return Err(Failure::Client(ClientError::refused(
            StatusCode::BAD_REQUEST,
            "purge-scope",
            "PURGE purges one URL. It cannot have tags or a pattern in headers; use POST /v1/purges \
             or weir purge, with tags, prefixes or paths with *.",
        )));
    }
    Ok(())
}

/// Headers by which a proxy says that it forwards a request.
const FORWARDING: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Reads a PURGE, if its client may send one: the peer itself or, if the peer is trusted, the client
/// that it names. Forwarding headers from any other peer are refused: an unknown proxy would lend
/// its own address to all its clients.
///
/// # Errors
/// [`Failure::PurgeRefused`], or a client error if it asks for more than its URL.
pub(super) fn ask(
    config: &Config,
    site: &Site,
    intake: &Intake<'_>,
    headers: &HeaderMap,
    peer: IpAddr,
    sender: &Sender,
) -> Result<PurgeAsk, Failure> {
    if OF_PAGES.iter().any(|name| headers.contains_key(*name)) {
        return Err(Failure::PurgeRefused);
    }
    let forwarded = FORWARDING.iter().any(|name| headers.contains_key(*name));
    let client = match (forwarded, sender.trusted) {
        (false, _) => peer,
        (true, true) => named_client(config, headers).ok_or(Failure::PurgeRefused)?,
        (true, false) => return Err(Failure::PurgeRefused),
    };
    if !forward::contains(&config.control.purge_acl, client) {
        return Err(Failure::PurgeRefused);
    }
    check_scope(headers)?;
    let query = intake.query.map(|query| format!("?{query}")).unwrap_or_default();
    Ok(PurgeAsk {
        url: format!("{}://{}{}{query}", intake.scheme, intake.host, intake.path),
        site: site.id.to_string(),
        soft: headers.get("fastly-soft-purge").is_some_and(|soft| soft == "1"),
    })
}
