//! `PURGE /path` on the node's own listener: who may, and what it takes.

use crate::body::ResponseBody;
use crate::failure::Failure;
use crate::forward;
use crate::respond;
use crate::server::Intake;
use crate::state::Site;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::OnceLock;
use weir_config::Config;
use weir_rules::time::Time;

/// A purge by method, as control is asked for it.
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

/// Takes purges by method to control.
pub type OnPurge = Box<dyn Fn(PurgeAsk) -> PurgeAnswer + Send + Sync>;

/// Where purges by method go, once control is there.
#[derive(Default)]
pub(crate) struct Purger(OnceLock<OnPurge>);

impl Purger {
    /// From now on purges by method go here. Only the first call counts.
    pub(crate) fn set(&self, on_purge: OnPurge) {
        let _ = self.0.set(on_purge);
    }

    /// Asks control; without one, 503.
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

/// Fields by which a browser says that a page asks. Its user's machine may well be one that may
/// purge; the page is not.
const OF_PAGES: [&str; 2] = ["origin", "sec-fetch-site"];

/// Fields by which a proxy says that it asks for somebody else.
const FORWARDING: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Reads a PURGE, if its sender may send one: the peer itself or, where a trusted proxy names its
/// client, that client. Forwarding fields from anybody else are refused: a proxy that is not known
/// as one would lend its own address to the whole world.
pub(super) fn ask(
    config: &Config,
    site: &Site,
    intake: &Intake<'_>,
    headers: &HeaderMap,
    peer: SocketAddr,
    trusted: bool,
) -> Result<PurgeAsk, Failure> {
    if OF_PAGES.iter().any(|name| headers.contains_key(*name)) {
        return Err(Failure::PurgeRefused);
    }
    let forwarded = FORWARDING.iter().any(|name| headers.contains_key(*name));
    let sender = match (forwarded, trusted) {
        (false, _) => peer.ip(),
        (true, true) => named_client(config, headers).ok_or(Failure::PurgeRefused)?,
        (true, false) => return Err(Failure::PurgeRefused),
    };
    if !forward::contains(&config.control.purge_acl, sender) {
        return Err(Failure::PurgeRefused);
    }
    let query = intake.query.map(|query| format!("?{query}")).unwrap_or_default();
    Ok(PurgeAsk {
        url: format!("{}://{}{}{query}", intake.scheme, intake.host, intake.path),
        site: site.id.to_string(),
        soft: headers.get("fastly-soft-purge").is_some_and(|soft| soft == "1"),
    })
}

/// The client that trusted proxies name: the last address of X-Forwarded-For that is not one of
/// theirs.
pub(super) fn named_client(config: &Config, headers: &HeaderMap) -> Option<IpAddr> {
    let chain = headers.get_all("x-forwarded-for").iter().rev();
    let mut named = None;
    for line in chain {
        for address in line.to_str().ok()?.rsplit(',') {
            let address: IpAddr = address.trim().parse().ok()?;
            named = Some(address);
            if !forward::contains(&config.node.trusted_proxies, address) {
                return named;
            }
        }
    }
    named
}
